"""Small pictures of files: drawn anew, of any kind of file, for those who may see the application and for nobody else."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import pytest
from live import Reply, picture
from PIL import Image
from portal_site import VIEWER, Site

from secure_delivery.engine.files import Target
from secure_delivery.engine.records import FileLink
from secure_delivery.gate.model import Application

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="300" height="100"><rect width="300" height="100" fill="red"/></svg>'
HOSTILE = b"<script>document.title='taken'</script><img src=x onerror=alert(1)>"


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", "hello")
    return out.getvalue()


def _get(site: Site, link: FileLink, query: str = "", headers: Mapping[str, str] | None = None) -> Reply:
    path = f"/applications/{link.application}/files/{link.handle}/picture{query}"
    return site.call("GET", path, token=site.token(VIEWER), headers=headers)


@pytest.fixture
def application(site: Site) -> Application:
    return site.server.application()


def _drawn(reply: Reply) -> Image.Image:
    assert reply.status == 200
    assert reply.headers["content-type"] in ("image/webp", "image/png", "image/jpeg")
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert reply.headers["cache-control"].startswith("private") or reply.headers["cache-control"] == "no-store"
    image = Image.open(io.BytesIO(reply.body))
    image.load()
    return image


def test_a_picture_is_drawn_into_the_square_asked_for_and_never_enlarged(site: Site, application: Application) -> None:
    link = site.server.put(application, picture(800, 400), "owl.jpg")
    assert _drawn(_get(site, link)).size == (160, 80)
    assert _drawn(_get(site, link, "?w=600")).size == (640, 320)
    assert _drawn(_get(site, link, "?w=2048")).size == (800, 400)
    assert site.server.engine.renditions.of(application.api_key, link.handle) == []  # no result that a client asked for


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.svg", SVG), ("a.zip", _zip()), ("a.txt", b"hello there\n" * 40), ("page.html", HOSTILE), ("x.bin", b"\0\1\2" * 99)],
    ids=["svg", "zip", "txt", "html", "bin"],
)
def test_any_file_has_a_picture_and_none_is_sent_as_it_is(site: Site, application: Application, name: str, data: bytes) -> None:
    link = site.server.put(application, data, name)
    reply = _get(site, link)
    assert 0 < max(_drawn(reply).size) <= 160
    assert data[:24] not in reply.body


def test_a_damaged_picture_is_an_icon(site: Site, application: Application) -> None:
    link = site.server.put(application, picture()[:400], "broken.jpg")
    assert _drawn(_get(site, link)).size[0] <= 160


def test_a_picture_is_kept_by_browsers_as_long_as_its_version_is_named(site: Site, application: Application) -> None:
    link = site.server.put(application, picture(), "owl.jpg")
    named = _get(site, link, f"?v={link.version}")
    assert "max-age=31536000" in named.headers["cache-control"]
    assert "max-age=60" in _get(site, link).headers["cache-control"]
    assert "max-age=60" in _get(site, link, "?v=99").headers["cache-control"]
    again = _get(site, link, headers={"if-none-match": named.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


def test_an_overwritten_file_has_another_picture(site: Site, application: Application) -> None:
    link = site.server.put(application, picture(100, 100), "owl.jpg")
    assert _drawn(_get(site, link)).size == (100, 100)
    with site.server.engine.files.begin(application, Target(filename="owl.jpg")) as upload:
        upload.write(picture(50, 20))
        site.server.engine.files.overwrite(link, upload)
    assert _drawn(_get(site, link)).size == (50, 20)


def test_files_of_others_have_none_here(site: Site, application: Application) -> None:
    other = site.server.application()
    link = site.server.put(other, picture(), "owl.jpg")
    path = f"/applications/{application.api_key}/files/{link.handle}/picture"
    assert site.call("GET", path, token=site.token(VIEWER)).code == "not_found"
    missing = f"/applications/{application.api_key}/files/{'x' * 21}/picture"
    assert site.call("GET", missing, token=site.token(VIEWER)).code == "not_found"


def test_nobody_sees_a_picture_without_signing_in(site: Site, application: Application) -> None:
    link = site.server.put(application, picture(), "owl.jpg")
    assert site.call("GET", f"/applications/{application.api_key}/files/{link.handle}/picture").code == "not_signed_in"


@pytest.mark.parametrize("query", ["?w=15", "?w=2049", "?w=x", "?w=-1", "?w=160&w=160"])
def test_a_size_that_is_none_is_a_bad_field(site: Site, application: Application, query: str) -> None:
    link = site.server.put(application, picture(), "owl.jpg")
    assert _get(site, link, query).code == "bad_field"


def test_pictures_of_the_portal_are_no_transformations_of_the_application(site: Site, application: Application) -> None:
    link = site.server.put(application, picture(), "owl.jpg")
    _drawn(_get(site, link))
    site.server.engine.usage.flush()
    counted = [each for each in site.server.engine.figures.totals(each=True) if each.application == application.api_key]
    assert [each for each in counted if each.name in ("results", "requests")] == []
