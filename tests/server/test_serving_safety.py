"""Hostile files in a real browser: opened, framed and named as anything a page can name, none runs on the serving origin.

Every file of the set is a live one: from a careless server, which sends each as what its sender says it is and nothing more,
it runs on that server's origin, by the same steps. So these tests can fail.
"""

from __future__ import annotations

import io
import re
import threading
import wave
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from browser_stage import DRAWING, FRAME, GROUPS, LAST, NAMES, RAN, SET, Careless, Stage
from hostile_documents import ONE, TEXT, page, pdf
from hypothesis import given
from hypothesis import strategies as st
from live import Server, file_part, multipart, picture

from secure_delivery.engine.names import clean_name
from secure_delivery.engine.types import HARMLESS, INLINE
from secure_delivery.gate.model import Application
from secure_delivery.server.http import content_headers

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog


@pytest.fixture(scope="module")
def careless() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Careless) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


@pytest.fixture
def stage(browser: Browser, careless: str) -> Iterator[Stage]:
    context = browser.new_context()
    stage = Stage(context, (careless, careless.replace("127.0.0.1", "localhost")))
    context.expose_binding("ran", lambda source, number, origin: stage.heard.add((NAMES.get(number, number), origin)))
    yield stage
    context.close()


@pytest.fixture(scope="module")
def application(server: Server) -> Application:
    return server.application()


@pytest.fixture(scope="module")
def addresses(server: Server, application: Application) -> dict[str, str]:
    """Where each hostile file is delivered."""
    stored = {number: server.put(application, hostile.data, hostile.filename) for number, hostile in SET.items()}
    return {number: f"{server.url}/{link.handle}" for number, link in stored.items()}


@pytest.mark.parametrize("group", GROUPS)
def test_each_hostile_file_runs_on_the_origin_of_a_server_that_believes_its_sender(
    stage: Stage, careless: str, group: str
) -> None:
    urls = {number: f"{careless}/{number}" for number in GROUPS[group]}
    # A shared worker of what is no script is an error that nobody is told of, so these cannot be waited for.
    ran = stage.embedded(urls, careless, workers=group == "text/javascript") | stage.opened(urls, careless)
    assert {(NAMES[number], careless) for number in urls} - ran == set()


@pytest.mark.parametrize("group", GROUPS)
def test_no_hostile_file_runs_however_it_is_opened_or_named(
    stage: Stage, server: Server, addresses: dict[str, str], careless: str, group: str
) -> None:
    urls = {number: addresses[number] for number in GROUPS[group]}
    assert stage.opened(urls, server.url) == set()
    assert stage.embedded(urls, server.url) == set(), "by a page of the same origin"
    elsewhere = careless.replace("127.0.0.1", "localhost")
    assert stage.embedded(urls, elsewhere, workers=False) == set(), "by a page of another site"


# ------------------------------------------------------------------------------------------- what is meant to be shown


def acting_pdf() -> bytes:
    """A PDF that tries from its own world to run a script in the page around it, and then says what that world has."""
    words = ("window", "document", "fetch", "ran", "localStorage")
    script = (
        "try{app.launchURL\\('javascript:ran\\(`pdf`,origin\\)',false\\)}catch\\(e\\){}"
        "try{this.getURL\\('javascript:ran\\(`pdf`,origin\\)'\\)}catch\\(e\\){}"
        f"app.alert\\('sees '+[{','.join(f'typeof {word}' for word in words)}].join\\(\\)\\)"
    ).encode()
    catalogue = b"<</Type/Catalog/Pages 2 0 R/OpenAction 5 0 R>>"
    acts = b"<</S/JavaScript/JS(%s)/Next<</S/URI/URI(javascript:ran\\('pdf',origin\\))>>>>" % script
    return pdf(catalogue, ONE, page(), TEXT, acts)


def test_a_pdf_is_shown_and_its_scripts_see_nothing_of_the_page(
    stage: Stage, server: Server, application: Application, careless: str
) -> None:
    url = f"{server.url}/{server.put(application, acting_pdf(), 'a.pdf').handle}"
    said: list[str] = []

    def hears(dialog: Dialog) -> bool:
        said.append(dialog.message)
        return len(said) == wanted

    window, wanted = stage.page(server.url), 1
    with window.expect_event("dialog", hears):
        window.goto(url)
    assert said == ["sees " + ",".join(["undefined"] * 5)]
    assert any(frame.url.startswith("chrome-extension://") for frame in window.frames), "the viewer of PDF is there"
    window.evaluate("0")
    window.close()
    for origin in (server.url, careless.replace("127.0.0.1", "localhost")):
        around, said, wanted = stage.page(origin), [], 3
        with around.expect_event("dialog", hears):
            around.evaluate(FRAME, {"pdf": url})
        with around.expect_console_message(lambda message: message.text == "the last one"):
            around.evaluate(LAST)
        around.close()
        assert set(said) == {"sees " + ",".join(["undefined"] * 5)}
    assert stage.heard == set()


def sound() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(1600))
    return out.getvalue()


def test_pictures_words_and_sound_are_shown_in_an_origin_of_their_own(
    stage: Stage, server: Server, application: Application
) -> None:
    page = stage.context.new_page()
    shown = [
        (picture(40, 30), "a.jpg", "document.images[0].naturalWidth", 40),
        (picture(40, 30, "PNG"), "a.html", "document.images[0].naturalWidth", 40),
        ("Grüße <b>\n".encode(), "a.txt", "document.body.innerText.trim()", "Grüße <b>"),
        (b'{"a": 1}', "a.json", "JSON.parse(document.body.querySelector('pre').innerText).a", 1),
        (
            sound(),
            "a.wav",
            "new Promise(done => { const made = document.querySelector('video'), end = () => done(made.duration);"
            " made.readyState ? end() : made.onloadedmetadata = end })",
            0.1,
        ),
    ]
    for data, name, question, answer in shown:
        page.goto(f"{server.url}/{server.put(application, data, name).handle}")
        assert (page.evaluate(question), page.evaluate("self.origin")) == (answer, "null"), name
    page.close()


def test_a_drawing_is_an_attachment_and_a_page_of_another_site_shows_it_as_a_picture(
    stage: Stage, server: Server, application: Application, careless: str
) -> None:
    drawing = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="7"><style>rect{{fill:#f00}}</style>'
        f'<rect width="9" height="7"/><script>{RAN}</script></svg>'
    )
    url = f"{server.url}/{server.put(application, drawing.encode(), 'a.svg').handle}"
    page = stage.page(careless.replace("127.0.0.1", "localhost"))
    drawn = page.evaluate(
        """async url => {
          const picture = Object.assign(new Image(), {src: url, crossOrigin: 'anonymous'});
          await picture.decode();
          const canvas = new OffscreenCanvas(9, 7).getContext('2d');
          canvas.drawImage(picture, 0, 0);
          return [picture.naturalWidth, ...canvas.getImageData(4, 4, 1, 1).data];
        }""",
        url,
    )
    assert drawn == [9, 255, 0, 0, 255]
    with page.expect_download() as download:
        page.evaluate("url => { location.href = url }", url)
    assert download.value.suggested_filename == "a.svg"
    page.close()
    assert stage.heard == set()


def test_a_script_runs_where_a_page_of_another_site_asks_a_task_for_it_and_a_stored_one_does_not(
    stage: Stage, server: Server, application: Application, careless: str
) -> None:
    """What `minify_js` and `minify_css` are for; it runs as what the page is, on the page's origin."""
    elsewhere = careless.replace("127.0.0.1", "localhost")
    handle = server.put(application, f"{RAN};".encode().replace(b"@@", b"ed"), "a.js").handle
    page = stage.page(elsewhere)
    load = """url => new Promise(done => {
      const made = Object.assign(document.createElement('script'), {src: url});
      made.onload = made.onerror = event => done(event.type);
      document.head.append(made);
    })"""
    assert page.evaluate(load, f"{server.url}/{handle}") == "error"
    assert stage.heard == set()
    assert page.evaluate(load, f"{server.url}/minify_js/{handle}") == "load"
    assert stage.heard == {("ed", elsewhere)}
    page.close()


@pytest.mark.parametrize(
    ("filename", "saved"),
    [
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("../../etc/passwd", "passwd"),
        ('a"; filename="evil.exe', "a_; filename=_evil.exe"),
        ("%2e%2e%2fa.txt", "%2e%2e%2fa.txt"),
        ("文件 ünï.svg", "文件 ünï.svg"),
        ("CON.svg", "_CON.svg"),
        ("a" * 10_000 + ".svg", "a" * 251 + ".svg"),
    ],
)
def test_a_browser_saves_a_file_under_its_clean_name(
    stage: Stage, server: Server, application: Application, filename: str, saved: str
) -> None:
    body, form = multipart(file_part(DRAWING.encode(), filename.replace('"', '\\"')))
    kept = server.post(f"/api/store/S3?key={application.api_key}", body, form).json()
    assert kept["filename"] == saved
    page = stage.page(server.url)
    with page.expect_download() as download:
        page.evaluate("path => { location.href = path }", f"/{kept['handle']}")
    page.close()
    assert download.value.suggested_filename == saved


# ---------------------------------------------------------------------------------------------------------- headers


@pytest.mark.parametrize(
    ("disposition_of_part", "kept"),
    [
        ("filename=\"plain.txt\"; filename*=UTF-8''other.txt", "plain.txt"),
        ("filename*=UTF-8''..%2f..%2fother.txt; filename=\"plain.txt\"", "plain.txt"),
        ("filename*=UTF-8''other.txt", "file"),
        ('filename*0="oth"; filename*1="er.txt"', "file"),
    ],
)
def test_an_extended_name_of_a_part_is_not_listened_to(
    server: Server, application: Application, disposition_of_part: str, kept: str
) -> None:
    """RFC 7578 section 4.2 forbids it, and whoever looked at `filename` before us saw another name (GHSA-vffw-93wf-4j4q)."""
    body, form = multipart((f'Content-Disposition: form-data; name="fileUpload"; {disposition_of_part}', b"x"))
    assert server.post(f"/api/store/S3?key={application.api_key}", body, form).json()["filename"] == kept


@given(filename=st.text(max_size=300), extension=st.text("abcXYZ019", min_size=1, max_size=8))
def test_every_name_is_sent_whole_and_with_a_plain_one_of_the_same_extension(filename: str, extension: str) -> None:
    headers = content_headers("image/png", f"{filename}.{extension}", download=False)
    name = clean_name(f"{filename}.{extension}")
    header = headers["content-disposition"]
    assert all(value.isascii() and value.isprintable() for value in headers.values())
    found = re.fullmatch(r"inline; filename=\"([^\"\\%]*)\"(?:; filename\*=UTF-8''([A-Za-z0-9._~%-]+))?", header)
    assert found is not None
    assert (unquote(found[2], errors="strict") if found[2] else found[1]) == name
    assert found[1].rpartition(".")[2] == extension and len(found[1]) == len(name)
    assert unquote(headers["x-file-name"], errors="strict") == name


@pytest.mark.parametrize("mimetype", sorted({*INLINE, *HARMLESS, *(hostile.declared for hostile in SET.values()), "a/b"}))
def test_every_type_is_sent_with_what_keeps_it_from_running(mimetype: str) -> None:
    headers = content_headers(mimetype, "a.bin", download=False)
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("sandbox; default-src 'none'; ")
    assert not re.search(r"allow-|script|object-src|frame-src|\*", headers["content-security-policy"])
    assert headers["cross-origin-resource-policy"] == "cross-origin"
    assert headers["referrer-policy"] == "no-referrer"
    assert (headers["content-disposition"].partition(";")[0] == "inline") == (mimetype in INLINE)
    assert not re.search(r"javascript|ecmascript|css|wasm", headers["content-type"])
    assert content_headers(mimetype, "a.bin", download=True)["content-disposition"].startswith("attachment")
