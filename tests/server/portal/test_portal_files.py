"""Files in the portal: found, put in, looked at, handed out, deleted and brought back; by people and by programs."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import pytest
import sqlalchemy as sa
from axe_core import violations
from live import Reply, file_part, multipart, picture
from PIL import Image
from portal_site import DEVELOPER, LOOKS, OWNER, VIEWER, Site, fits
from slow_proxy import SlowProxy
from widget import drop_on, payload

from secure_delivery.engine import tables
from secure_delivery.engine.records import FileLink
from secure_delivery.gate.model import Application, Limits

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

HOSTILE = '"><img src=x onerror=alert(1)>'
RIGHT_TO_LEFT = "\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe"
DAY = 86_400
MB = 1 << 20
Visit = Callable[..., "Page"]


@pytest.fixture
def application(site: Site) -> Application:
    return site.server.application(require_policy=True, undo=7 * DAY)


def _base(application: Application) -> str:
    return f"/applications/{application.api_key}/files"


def _asked(site: Site, application: Application, **query: Any) -> Any:
    reply = site.call("GET", f"{_base(application)}?{urlencode(query)}", token=site.token(VIEWER))
    assert reply.status == 200, reply.body
    return reply.json()


def _names(answer: Any) -> list[str]:
    return [each["filename"] for each in answer["files"]]


def _raw(
    site: Site,
    method: str,
    path: str,
    body: bytes | None = None,
    *,
    role: str = DEVELOPER,
    headers: dict[str, str] | None = None,
) -> Reply:
    """A request to the API with a body that is no JSON."""
    sent = {"Host": site.host, "Authorization": f"Bearer {site.token(role)}", **(headers or {})}
    return site.server.request(method, f"/api/v1{path}", body=body, headers=sent)


def _read(site: Site, link: FileLink) -> bytes:
    with site.server.engine.files.open(link) as stream:
        return stream.read()


def _only(site: Site, application: Application) -> FileLink:
    """The one file of an application."""
    (link,) = site.server.engine.records.files(application.api_key)
    return link


def _entries(site: Site, application: Application) -> list[tuple[str, str]]:
    """What the audit log tells of an application: actions and who did them, oldest first."""
    page = site.server.engine.people.audit.page(application=application.api_key)
    return [(each.action, each.name) for each in reversed(page)]


def _done(page: Page, count: int = 1) -> Any:
    found = page.locator("#upload li[data-state=done]")
    found.nth(count - 1).wait_for()
    return found


def _choose(page: Page, *files: Path | dict[str, Any]) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose files").click()
    chooser.value.set_files(list(files))  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------------ putting in


def test_a_dropped_file_is_stored_and_stands_in_the_list_at_once(visit: Visit, site: Site, application: Application) -> None:
    page = visit(_base(application), role=DEVELOPER)
    page.get_by_text("There is no file yet.").wait_for()
    page.evaluate("window.never = 'loaded again'")
    data = picture(300, 200)
    drop_on(page, "dragover", ("Owls at noon.jpg", "image/jpeg", data))
    drop_on(page, "drop", ("Owls at noon.jpg", "image/jpeg", data))
    _done(page)
    row = page.get_by_role("row", name="Owls at noon.jpg")
    row.wait_for()
    assert page.evaluate("window.never") == "loaded again"
    link = _only(site, application)
    assert (link.filename, link.mimetype, _read(site, link)) == ("Owls at noon.jpg", "image/jpeg", data)
    assert ("file.upload", "developer@example.org") in _entries(site, application)
    small = row.locator("img")
    small.evaluate("picture => picture.decode()")
    assert small.evaluate("picture => picture.naturalWidth") == 160
    page.locator("#upload li a").click()
    page.get_by_role("heading", name="Owls at noon.jpg", level=1).wait_for()
    assert page.url == f"{site.url}{_base(application)}/{link.handle}"


def _parts(site: Site) -> set[Path]:
    """The files in which uploads are gathered."""
    return {path for path in (site.server.data / "uploads").rglob("*") if path.is_file()}


def _arrived(site: Site, before: set[Path], *, more_than: int) -> None:
    """Waits until the server has so many bytes of a new upload on its disk."""
    end = time.monotonic() + 30
    while max((path.stat().st_size for path in _parts(site) - before), default=0) <= more_than:
        assert time.monotonic() < end, "nothing arrives"
        time.sleep(0.01)


def test_an_upload_that_is_cut_goes_on_where_it_was(visit: Visit, site: Site, application: Application, tmp_path: Path) -> None:
    big = tmp_path / "big.bin"
    big.write_bytes(secrets.token_bytes(5 * MB))
    with SlowProxy(site.server.port) as proxy:
        page = visit("/", role=None)
        login = site.person(DEVELOPER)
        there = f"http://portal.localhost:{proxy.port}"
        page.goto(f"{there}/sign-in?to={_base(application)}")
        page.get_by_label("Name").fill(login)
        page.get_by_label("Password").fill("three brown owls at noon")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Choose files").wait_for()
        offsets: list[int] = []
        page.on(
            "request",
            lambda one: offsets.append(int(one.headers["upload-offset"])) if one.method == "PATCH" else None,
        )
        proxy.hold_after(3 * MB)
        before = _parts(site)
        _choose(page, big)
        proxy.wait_until_spent()
        # A reset takes along what the server has not read yet, so the cut comes once it has written enough down.
        _arrived(site, before, more_than=MB)
        proxy.reset()
        proxy.release()
        _done(page)
        page.get_by_role("row", name="big.bin").wait_for()
    assert offsets[0] == 0
    assert offsets[-1] > MB, "what had arrived was not sent again"
    link = _only(site, application)
    assert link.sha256 == hashlib.sha256(big.read_bytes()).hexdigest()


def test_an_upload_that_is_given_up_leaves_nothing(visit: Visit, site: Site, application: Application, tmp_path: Path) -> None:
    big = tmp_path / "big.bin"
    big.write_bytes(secrets.token_bytes(2 * MB))
    page = visit(_base(application), role=DEVELOPER)
    page.route("**/tus/*", lambda route: route.abort() if route.request.method == "PATCH" else route.continue_())
    with page.expect_response(lambda answer: answer.request.method == "POST" and "/tus" in answer.url) as begun:
        _choose(page, big)
    place = urlsplit(begun.value.headers["location"]).path.removeprefix("/api/v1")
    assert begun.value.headers["location"].startswith(f"{site.url}/api/v1{_base(application).removesuffix('files')}tus/")
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        page.get_by_role("button", name="Cancel: big.bin").click()
    assert _raw(site, "HEAD", place, headers={"Tus-Resumable": "1.0.0"}).status == 404
    assert site.server.engine.records.count_files(application.api_key) == 0


def test_what_an_application_does_not_take_is_refused_with_a_sentence(visit: Visit, site: Site) -> None:
    narrow = site.server.application(allowed_types=("image/*",))
    page = visit(_base(narrow), role=DEVELOPER)
    _choose(page, payload("notes.txt", b"just words " * 20, "text/plain"))
    failed = page.locator("#upload li[data-state=failed]")
    failed.wait_for()
    assert "type" in failed.inner_text()
    assert site.server.engine.records.count_files(narrow.api_key) == 0


@pytest.mark.parametrize("by", ["tus", "form", "overwrite"])
def test_limits_of_an_application_hold_for_people_too(site: Site, by: str) -> None:
    small = site.server.application(limits=Limits(max_bytes=1000))
    at, data = f"/applications/{small.api_key}", b"x" * 1001
    if by == "tus":
        answer = _raw(site, "POST", f"{at}/tus", b"", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "1001"})
    elif by == "form":
        answer = _raw(site, "POST", f"{at}/upload?filename=big.bin", data)
    else:
        link = site.server.put(small, b"a text", "note.txt")
        answer = _raw(site, "POST", f"{at}/files/{link.handle}/upload", data)
        assert _read(site, link) == b"a text"
    assert (answer.status, answer.code) == (413, "too_large")
    assert site.server.engine.records.used(small.api_key)[1] == (6 if by == "overwrite" else 0)


def test_a_program_stores_a_file_in_one_request(site: Site, application: Application) -> None:
    path = f"/applications/{application.api_key}/upload"
    answer = _raw(site, "POST", f"{path}?filename=..%2Fowl.jpg", picture(30, 20))
    assert (answer.status, answer.json()["handle"]) == (201, _only(site, application).handle)
    assert (answer.json()["filename"], answer.json()["type"]) == ("owl.jpg", "image/jpeg")
    for body, headers in (
        (b"", {}),
        (b'{"url": "https://example.org/a.jpg"}', {"Content-Type": "application/json"}),
        (b"url=https://example.org/a.jpg", {"Content-Type": "application/x-www-form-urlencoded"}),
        (b"--x\r\n", {"Content-Type": "multipart/form-data; boundary=x"}),
        (b"nothing", {"Content-Type": "multipart/form-data"}),
    ):
        assert _raw(site, "POST", path, body, headers=headers).status == 400, body
    assert site.server.engine.records.count_files(application.api_key) == 1


def test_without_scripts_a_form_does_the_same(visit: Visit, site: Site, application: Application) -> None:
    page = visit(_base(application), role=DEVELOPER, java_script_enabled=False)
    page.get_by_label("File", exact=True).set_input_files(payload("plain.txt", b"no script", "text/plain"))
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("heading", name="plain.txt", level=1).wait_for()
    assert _read(site, _only(site, application)) == b"no script"
    assert ("file.upload", "developer@example.org") in _entries(site, application)


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "HEAD", "form", "overwrite"])
def test_a_viewer_puts_nothing_in(site: Site, application: Application, method: str) -> None:
    link = site.server.put(application, b"a text", "note.txt")
    at = _base(application).removesuffix("/files")
    paths = {"POST": f"{at}/tus", "form": f"{at}/upload", "overwrite": f"{at}/files/{link.handle}/upload"}
    verb = method if method.isupper() else "POST"
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "4", "Content-Type": "application/octet-stream"}
    answer = _raw(site, verb, paths.get(method, f"{at}/tus/{'x' * 43}"), b"text", role=VIEWER, headers=headers)
    assert answer.status == 403
    assert method == "HEAD" or answer.code == "not_allowed"
    assert _only(site, application).version == 1


def test_a_form_of_a_strangers_page_stores_nothing(visit: Visit, site: Site, application: Application) -> None:
    page = visit(_base(application), role=DEVELOPER)
    body, headers = multipart(file_part(b"evil", "evil.txt"))
    cookies = "; ".join(f"{each['name']}={each['value']}" for each in page.context.cookies())
    csrf = page.locator("body").get_attribute("data-csrf")
    path = f"{_base(application).removesuffix('/files')}/upload"

    def send(target: str, origin: str) -> Reply:
        sent = {"Host": site.host, "Cookie": cookies, "Origin": origin, **headers}
        return site.server.request("POST", target, body=body, headers=sent)

    for target, origin in (
        (path, site.url),
        (f"{path}?csrf=", site.url),
        (f"{path}?csrf={'0' * 64}", site.url),
        (f"{path}?csrf={csrf}", "https://evil.example"),
        (f"{path}?csrf={csrf}", "null"),
    ):
        assert send(target, origin).status == 403, (target, origin)
    assert site.server.engine.records.count_files(application.api_key) == 0
    assert send(f"{path}?csrf={csrf}", site.url).status == 303
    assert csrf not in site.server.log.read_text(), "the log has only its beginning"


def test_an_upload_of_one_application_is_none_of_another(site: Site, application: Application) -> None:
    other = site.server.application()
    at, there = (_base(each).removesuffix("/files") + "/tus" for each in (application, other))
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "4"}
    begun = _raw(site, "POST", at, b"", headers=headers)
    assert begun.status == 201
    token = begun.headers["location"].rpartition("/")[2]
    piece = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    assert _raw(site, "PATCH", f"{there}/{token}", b"text", headers=piece).code == "not_found"
    assert not [name for name in begun.headers if name.startswith("access-control-")]
    done = _raw(site, "PATCH", f"{at}/{token}", b"text", headers=piece)
    assert (done.status, done.headers["filestack-handle"]) == (204, _only(site, application).handle)
    assert _raw(site, "POST", "/applications/Anobody/tus", b"", headers=headers).code == "not_found"


# --------------------------------------------------------------------------------------------------------------- finding


def test_files_are_found_by_name_type_size_date_and_handle(site: Site, application: Application) -> None:
    put = site.server.put
    owl, note = put(application, picture(60, 40), "Owl.jpg"), put(application, b"words " * 200, "notes.txt")
    assert _names(_asked(site, application, order="name")) == ["notes.txt", "Owl.jpg"]
    assert _names(_asked(site, application, text="OWL")) == ["Owl.jpg"]
    assert _names(_asked(site, application, type="text/*")) == ["notes.txt"]
    assert _names(_asked(site, application, handle=note.handle)) == ["notes.txt"]
    assert _names(_asked(site, application, min_size="1.2 kB", max_size=f"{1200}")) == ["notes.txt"]
    today = dt.datetime.fromtimestamp(owl.uploaded / 1000, dt.UTC).date()
    assert len(_names(_asked(site, application, since=today, until=today))) == 2
    assert _names(_asked(site, application, until=today - dt.timedelta(days=1))) == []
    assert _names(_asked(site, application, storage=site.server.engine.storages.default, text="owl")) == ["Owl.jpg"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("since=yesterday", "bad_field"),
        ("since=1960-01-01", "bad_field"),
        ("min_size=10+elephants", "bad_field"),
        ("max_size=9999999+TB", "bad_field"),
        ("order=best", "bad_field"),
        ("storage=moon", "bad_field"),
        ("limit=201", "bad_field"),
        ("type=nonsense", "bad_request"),
        ("after=nonsense", "bad_request"),
        ("text=" + "x" * 300, "bad_request"),
        ("text=a%00b", "bad_field"),
    ],
)
def test_questions_that_are_none_are_refused(site: Site, application: Application, query: str, code: str) -> None:
    assert site.call("GET", f"{_base(application)}?{query}", token=site.token(VIEWER)).code == code


def test_a_search_is_a_form_that_keeps_what_was_asked(visit: Visit, site: Site, application: Application) -> None:
    for name in ("owl.txt", "cat.txt"):
        site.server.put(application, b"a text", name)
    page = visit(_base(application), role=VIEWER)
    page.get_by_label("Part of the name").fill("owl")
    page.get_by_label("Type").select_option("text/plain")
    page.get_by_text("Dates, sizes, places").click()
    page.get_by_label("At most").fill("1 kB")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("row", name="owl.txt").wait_for()
    assert page.get_by_role("row", name="cat.txt").count() == 0
    assert page.get_by_label("Part of the name").input_value() == "owl"
    assert page.get_by_label("At most").input_value() == "1 kB"
    page.get_by_role("link", name="Show all").click()
    page.get_by_role("row", name="cat.txt").wait_for()


def test_a_hundred_thousand_files_page_through(visit: Visit, site: Site) -> None:
    many = site.server.application()
    _fill(site, many, 100_000)
    page = visit(f"{_base(many)}?order=name", role=VIEWER)
    assert "100,000 files" in page.inner_text("#list")
    names = page.locator(".files tbody bdi").all_inner_texts()
    for _ in range(2):
        page.get_by_role("link", name="Next").click()
        page.wait_for_url(lambda url: "after=" in url)
        page.get_by_text(f"file {len(names):06}", exact=True).wait_for()
        names += page.locator(".files tbody bdi").all_inner_texts()
    assert names == [f"file {number:06}" for number in range(150)]
    page.get_by_role("link", name="First").click()
    page.get_by_text("file 000000", exact=True).wait_for()
    seen, after = 0, {}
    while True:
        answer = _asked(site, many, order="largest", limit=200, **after)
        seen += len(answer["files"])
        if answer["next"] is None or seen >= 2_000:
            break
        after = {"after": answer["next"]}
    assert seen == 2_000
    assert _names(_asked(site, many, handle=f"{99_999:021}")) == ["file 099999"]
    site.server.engine.records.delete_application(many.api_key)  # other tests are not to look through them


def _fill(site: Site, application: Application, count: int) -> None:
    """Rows of files whose bytes nobody asks for."""
    row = {
        "application": application.api_key, "mimetype": "application/octet-stream", "storage": "local", "key": "none",
        "sha256": "0" * 64, "version": 1,
    }  # fmt: skip
    with site.server.engine.database.write() as connection:
        for start in range(0, count, 10_000):
            rows = [
                {**row, "handle": f"{n:021}", "filename": f"file {n:06}", "size": n + 1, "uploaded": 1_700_000_000_000 + n}
                for n in range(start, min(count, start + 10_000))
            ]
            connection.execute(sa.insert(tables.file), rows)
        used = {"application": application.api_key, "storage": "local", "files": count, "bytes": count}
        connection.execute(sa.insert(tables.usage).values(**used))


# --------------------------------------------------------------------------------------------------------------- looking


def test_a_file_shows_its_picture_and_all_that_is_known(visit: Visit, site: Site, application: Application) -> None:
    image = Image.linear_gradient("L").resize((900, 600)).convert("RGB")
    exif = image.getexif()
    exif[271] = f"Owl Cameras {HOSTILE}"
    out = io.BytesIO()
    image.save(out, "JPEG", exif=exif)
    link = site.server.put(application, out.getvalue(), "owl.jpg")
    page = visit(f"{_base(application)}/{link.handle}", role=VIEWER)
    shown = page.get_by_role("img", name="Small picture of the file")
    shown.evaluate("picture => picture.decode()")
    assert shown.evaluate("picture => [picture.width / picture.height, picture.naturalWidth]") == [1.5, 640]
    text = page.inner_text("main")
    for fact in (link.handle, "image/jpeg", "900 × 600 pixels", link.sha256, "development storage", "EXIF"):
        assert fact in text
    page.get_by_role("heading", name="EXIF").click()
    assert f"Owl Cameras {HOSTILE}" in page.inner_text("main")
    assert page.get_by_role("button", name="Delete").count() == 0
    answer = site.call("GET", f"{_base(application)}/{link.handle}", token=site.token(VIEWER)).json()
    assert (answer["width"], answer["height"], answer["sha256"]) == (900, 600, link.sha256)


def test_results_of_a_file_are_counted_and_dropped(visit: Visit, site: Site, application: Application) -> None:
    link = site.server.put(application, picture(300, 200), "owl.jpg")
    tried = {"handle": link.handle, "tasks": "resize=width:30"}
    assert (
        site.call("POST", f"/applications/{application.api_key}/playground", tried, token=site.token(DEVELOPER)).status == 200
    )
    page = visit(f"{_base(application)}/{link.handle}", role=DEVELOPER)
    page.get_by_text("1 result,").wait_for()
    page.get_by_role("button", name="Drop all of them").click()
    page.get_by_text("Nothing is kept.").wait_for()
    assert site.server.engine.records.file(link.handle) is not None
    assert ("file.purge", "developer@example.org") in _entries(site, application)


@pytest.mark.parametrize(
    ("use", "proof"),
    [("read", "inline"), ("download", "attachment"), ("convert", "image")],
)
def test_a_signed_address_works_for_its_use_and_no_other(
    visit: Visit, site: Site, application: Application, use: str, proof: str
) -> None:
    link = site.server.put(application, picture(300, 200), "owl.jpg")
    page = visit(f"{_base(application)}/{link.handle}", role=DEVELOPER)
    assert page.get_by_label("Good for").input_value() == "300", "the shortest life is offered first"
    page.get_by_label("What it is for").select_option(use)
    page.get_by_label("Tasks").fill("resize=width:30")
    page.get_by_role("button", name="Sign", exact=True).click()
    page.get_by_text("Good until").wait_for()
    assert page.locator("#link .note.warn").count() == 0
    url = page.get_by_label("the signed address", exact=True).inner_text()
    parts = urlsplit(url)
    reply = site.server.get(f"{parts.path}?{parts.query}" if parts.query else parts.path)
    assert reply.status == 200
    if use == "convert":
        assert Image.open(io.BytesIO(reply.body)).size == (30, 20)
        assert site.server.get(f"/sepia{parts.path}").status == 200, "the policy is for converting"
    else:
        assert reply.headers["content-disposition"].startswith(proof)
        deleted = site.server.request("DELETE", f"/api/file/{link.handle}?{parts.query.removesuffix('&dl=true')}")
        assert deleted.status == 403
    assert site.server.get(f"/{link.handle}").status == 403


def test_a_long_life_is_warned_of_and_bad_tasks_are_told_at_their_field(
    visit: Visit, site: Site, application: Application
) -> None:
    link = site.server.put(application, picture(300, 200), "owl.jpg")
    page = visit(f"{_base(application)}/{link.handle}", role=DEVELOPER)
    page.get_by_label("Good for").select_option(str(30 * DAY))
    page.get_by_role("button", name="Sign", exact=True).click()
    page.get_by_text("more than 24 hours").wait_for()
    page.get_by_label("What it is for").select_option("convert")
    page.get_by_label("Tasks").fill("resize=depth:3")
    page.get_by_role("button", name="Sign", exact=True).click()
    page.get_by_role("alert").wait_for()
    assert page.get_by_label("Tasks").get_attribute("aria-invalid") == "true"
    assert page.get_by_label("Tasks").input_value() == "resize=depth:3"
    at, token = f"{_base(application)}/{link.handle}/link", site.token(DEVELOPER)
    for fields in (
        {"expires_in": 299}, {"expires_in": 30 * DAY + 1}, {"use": "remove"}, {"use": "convert"}, {"call": "remove"},
        {"use": "convert", "tasks": "watermark=file:" + link.handle},
    ):  # fmt: skip
        assert site.call("POST", at, fields, token=token).code == "bad_field", fields
    assert site.call("POST", at, {}, token=site.token(VIEWER)).code == "not_allowed"


def test_new_content_keeps_handle_and_name(visit: Visit, site: Site, application: Application) -> None:
    link = site.server.put(application, b"the first words", "note.txt")
    page = visit(f"{_base(application)}/{link.handle}", role=DEVELOPER)
    page.get_by_label("New content").set_input_files(payload("other.txt", b"other words", "text/plain"))
    page.get_by_role("button", name="Overwrite").click()
    page.get_by_text("it was overwritten").wait_for()
    now = _only(site, application)
    assert (now.handle, now.filename, now.version, _read(site, now)) == (link.handle, "note.txt", 2, b"other words")
    assert ("file.overwrite", "developer@example.org") in _entries(site, application)


# -------------------------------------------------------------------------------------------------------------- deleting


def test_a_deletion_is_undone_at_once_or_later(visit: Visit, site: Site, application: Application) -> None:
    link = site.server.put(application, b"a text", f"note {HOSTILE}.txt")
    page = visit(_base(application), role=DEVELOPER)
    page.get_by_role("button", name="Delete note").click()
    page.get_by_text("It can be brought back until").wait_for()
    assert link.filename in page.inner_text("#deleted")
    assert page.locator(".files").count() == 0
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("The file is back.").wait_for()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_text("It can be brought back until").wait_for()
    page.goto(f"{site.url}{_base(application)}?removed=on")
    page.get_by_role("button", name="Restore note").click()
    page.get_by_text("The file is back.").wait_for()
    assert _read(site, _only(site, application)) == b"a text"
    person = "developer@example.org"
    assert _entries(site, application) == [(f"file.{what}", person) for what in ("remove", "restore") * 2]


def test_where_nothing_can_be_undone_it_is_said_before(visit: Visit, site: Site) -> None:
    final = site.server.application()
    link = site.server.put(final, b"a text", "note.txt")
    page = visit(_base(final), role=DEVELOPER)
    assert page.get_by_role("button", name="Delete").count() == 0
    page.get_by_role("link", name="note.txt").click()
    page.get_by_text("It goes at once and for good").wait_for()
    page.get_by_role("button", name="Delete for good").click()
    page.get_by_role("alert").wait_for()
    assert site.server.engine.records.file(link.handle) is not None
    page.get_by_label("I know that it cannot be undone").check()
    page.get_by_role("button", name="Delete for good").click()
    page.get_by_text("note.txt is deleted for good.").wait_for()
    assert site.server.engine.records.file(link.handle) is None


@pytest.mark.parametrize("what", ["", "/link", "/purge", "/remove", "/restore", "/upload"])
def test_a_file_of_another_application_is_not_there(site: Site, application: Application, what: str) -> None:
    other = site.server.application(undo=DAY)
    link = site.server.put(other, b"a text", "note.txt")
    if what == "/restore":
        site.server.engine.files.remove(link, undo=DAY)
    path, token = f"{_base(application)}/{link.handle}{what}", site.token(OWNER)
    assert site.call("POST" if what else "GET", path, {} if what else None, token=token).code == "not_found"
    known = site.server.engine.records.file(link.handle)
    assert known is not None
    assert (known.version, known.removed is None) == (1, what != "/restore")


@pytest.mark.parametrize("what", ["link", "purge", "remove", "restore"])
def test_a_viewer_changes_nothing(site: Site, application: Application, what: str) -> None:
    link = site.server.put(application, b"a text", "note.txt")
    answer = site.call("POST", f"{_base(application)}/{link.handle}/{what}", {}, token=site.token(VIEWER))
    assert answer.code == "not_allowed"
    assert _only(site, application).removed is None


# ----------------------------------------------------------------------------------------------------------------- looks


@pytest.mark.parametrize("look", LOOKS)
def test_hostile_names_are_texts_and_pages_are_accessible_and_fit(
    visit: Visit, site: Site, application: Application, axe: str, look: str
) -> None:
    put = site.server.put
    names = [f"{HOSTILE}.txt", f"{RIGHT_TO_LEFT}.txt", "long" * 60 + ".txt"]
    links = [put(application, f"words of {number}".encode(), name) for number, name in enumerate(names)]
    owl = put(application, picture(300, 200), "owl.jpg")
    site.server.engine.files.remove(put(application, b"gone", f"gone {HOSTILE}"), undo=DAY)
    page = visit(f"{_base(application)}?text=", **LOOKS[look])
    page.get_by_text(f"{HOSTILE}.txt", exact=True).wait_for()
    seen = page.inner_text(".files")
    assert RIGHT_TO_LEFT in seen
    assert page.locator('img[src="x"]').count() == 0
    assert violations(page, axe) == []
    assert fits(page)
    for path in (f"?removed=on&text={HOSTILE}", f"/{links[0].handle}", f"/{links[2].handle}", f"/{owl.handle}"):
        page.goto(f"{site.url}{_base(application)}{path}")
        page.get_by_role("heading", level=1).wait_for()
        assert page.locator('img[src="x"]').count() == 0
        assert violations(page, axe) == [], path
        assert fits(page), path
