"""Public clients of the tus protocol against the real server: tus-js-client in node and in a browser, Uppy in a browser.

They are installed from npm into a folder that lasts as long as pytest's cache. Where that cannot be done there is a visible
skip, and a failure on CI. In the browser they run on another site, so cross-origin rules are part of every test.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import secrets
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from live import HELPERS, Reply, Server, running
from slow_proxy import SlowProxy

from secure_delivery.gate.model import Application

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Response

PACKAGES = ("tus-js-client@4.3.1", "@uppy/core@6.3.1", "@uppy/tus@6.0.0", "esbuild@0.28.2")
INSTALL = 180  # seconds
DRIVE = 120
MB = 1 << 20
TUS = {"Tus-Resumable": "1.0.0"}

Drive = Callable[..., dict[str, Any]]


def unavailable(why: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="session")
def clients(request: pytest.FixtureRequest) -> Path:
    """The folder of the installed clients."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        unavailable("node and npm are not installed")
    folder = Path(request.config.cache.mkdir("tus-clients"))  # type: ignore[union-attr]
    done = folder / "installed"
    if not done.exists() or done.read_text() != json.dumps(PACKAGES):
        quiet = ["--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)]
        command = [npm, "install", *quiet, *PACKAGES]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL, cwd=folder, check=False)
        if ran.returncode != 0:
            unavailable(f"the clients could not be installed: {ran.stderr[-300:]}")
        done.write_text(json.dumps(PACKAGES))
    return folder / "node_modules"


@pytest.fixture(scope="session")
def bundle(clients: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Makes one script of a driver in `helpers/` and the clients it imports, for `node` or `browser`."""
    folder = tmp_path_factory.mktemp("bundles")

    def made(driver: str, platform: str) -> Path:
        out = folder / f"{platform}-{driver}"
        if not out.exists():
            command = [clients / ".bin" / "esbuild", HELPERS / driver, "--bundle", "--format=esm", "--external:node:*"]
            banner = 'import{createRequire}from"node:module";const require=createRequire(import.meta.url);'
            more = ["--platform=node", f"--banner:js={banner}"] if platform == "node" else ["--platform=browser"]
            env = {**os.environ, "NODE_PATH": str(clients)}
            ran = subprocess.run([*command, *more, f"--outfile={out}"], capture_output=True, text=True, env=env, check=False)
            assert ran.returncode == 0, ran.stderr
        return out

    return made


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("clients")) as server:
        yield server


@pytest.fixture(scope="module")
def secured(place: Server) -> Application:
    return place.application(require_policy=True)


@pytest.fixture(scope="module")
def endpoint(place: Server, secured: Application) -> str:
    """Where a browser of this application may begin uploads."""
    return f"{place.url}{_path(secured, expires_in=600, now=time.time())}"


def _path(application: Application, **terms: Any) -> str:
    signed = application.sign(call=["pick", "store"], **terms)
    return f"/tus/{application.api_key}?policy={signed.encoded}&signature={signed.signature}"


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big.bin"
    path.write_bytes(secrets.token_bytes(5 * MB + 777))
    return path


@pytest.fixture(scope="module")
def site(bundle: Callable[[str, str], Path]) -> Iterator[str]:
    """Another site, whose page loads the clients. Its address."""
    scripts = {f"/{name}": bundle(name, "browser").read_bytes() for name in ("drive_tus.mjs", "drive_uppy.mjs")}
    tags = "".join(f'<script type="module" src="{name}"></script>' for name in scripts)
    page = f"<!doctype html><title>Clients</title><input type=file multiple>{tags}".encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/javascript" if self.path in scripts else "text/html")
            self.end_headers()
            self.wfile.write(scripts.get(self.path, page))

        def log_message(self, *args: Any) -> None:
            """Silent."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def page(browser: Browser, site: str) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(site)
    page.wait_for_function("Boolean(window.drive && window.uppy)")
    yield page
    context.close()


@pytest.fixture(params=["node", pytest.param("browser", marks=pytest.mark.browser)])
def drive(request: pytest.FixtureRequest, tmp_path: Path, endpoint: str) -> Drive:
    """tus-js-client with a file: `drive(scenario, file, **options)` gives what it saw."""

    def order(scenario: str, file: Path, more: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
        metadata = {"filename": file.name, "filetype": "application/octet-stream"}
        return {"scenario": scenario, "endpoint": endpoint, "metadata": metadata, "options": options, **more}

    if request.param == "node":
        script = request.getfixturevalue("bundle")("drive_tus.mjs", "node")

        def in_node(scenario: str, file: Path, more: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
            told = order(scenario, file, more or {}, options) | {"file": str(file), "storage": str(tmp_path / "urls.json")}
            command = ["node", str(script)]
            ran = subprocess.run(command, input=json.dumps(told), capture_output=True, text=True, timeout=DRIVE, check=False)
            assert ran.returncode == 0, ran.stderr[-3000:]
            said: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
            return said

        return in_node
    page: Page = request.getfixturevalue("page")

    def in_browser(scenario: str, file: Path, more: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        page.set_input_files("input", file)
        call = "order => drive(document.querySelector('input').files[0], order)"
        said: dict[str, Any] = page.evaluate(call, order(scenario, file, more or {}, options))
        return said

    return in_browser


def checksum(source: Path | bytes) -> str:
    return hashlib.sha256(source if isinstance(source, bytes) else source.read_bytes()).hexdigest()


def is_stored(place: Server, application: Application, said: dict[str, Any], file: Path) -> None:
    """The handle that the client was told leads to the very bytes, by the record and by delivery."""
    assert said.get("handle"), json.dumps(said)
    link = place.engine.records.file(said["handle"])
    assert link is not None
    assert (link.filename, link.size, link.sha256) == (file.name, file.stat().st_size, checksum(file))
    signed = application.sign(expires_in=60, now=time.time(), call=["read"])
    reply = place.get(f"/{said['handle']}?policy={signed.encoded}&signature={signed.signature}")
    assert checksum(reply.body) == checksum(file)


def head(place: Server, address: str) -> Reply:
    return place.request("HEAD", "/" + address.split("/", 3)[3], headers=TUS)


def offsets(said: dict[str, Any]) -> list[int]:
    """Where each PATCH began, after the client had been stopped."""
    log = said["log"]
    return [
        int(offset) for method, _, offset in log[log.index("stopped") + 1 if "stopped" in log else 0 :] if method == "PATCH"
    ]


# ---------------------------------------------------------------------------------------------------------- tus-js-client


def test_tus_js_client_stores_a_file_in_one_piece_and_in_chunks(
    drive: Drive, place: Server, secured: Application, big: Path
) -> None:
    whole = drive("plain", big)
    is_stored(place, secured, whole, big)
    assert whole["link"] == f"{place.url}/{whole['handle']}"
    assert [method for method, _, _ in whole["log"]] == ["POST", "PATCH"]
    chunked = drive("plain", big, chunkSize=MB)
    is_stored(place, secured, chunked, big)
    assert offsets(chunked) == [n * MB for n in range(6)]


def test_tus_js_client_sends_data_with_the_creation(drive: Drive, place: Server, secured: Application, big: Path) -> None:
    said = drive("plain", big, uploadDataDuringCreation=True, chunkSize=2 * MB)
    is_stored(place, secured, said, big)
    assert offsets(said) == [2 * MB, 4 * MB]
    said = drive("plain", big, uploadDataDuringCreation=True)
    is_stored(place, secured, said, big)
    assert [method for method, _, _ in said["log"]] == ["POST"]


def test_tus_js_client_sends_with_the_length_told_last(drive: Drive, place: Server, secured: Application, big: Path) -> None:
    said = drive("plain", big, uploadLengthDeferred=True, chunkSize=MB)
    is_stored(place, secured, said, big)


def test_tus_js_client_uses_post_where_patch_is_not_possible(
    drive: Drive, place: Server, secured: Application, big: Path
) -> None:
    said = drive("plain", big, overridePatchMethod=True, chunkSize=3 * MB)
    is_stored(place, secured, said, big)
    assert [method for method, _, _ in said["log"]] == ["POST", "POST", "POST"]


def test_tus_js_client_goes_on_after_a_stop(drive: Drive, place: Server, secured: Application, big: Path) -> None:
    said = drive("paused", big, chunkSize=MB)
    is_stored(place, secured, said, big)
    assert offsets(said)[0] >= MB, "what had arrived was not sent again"


def test_tus_js_client_finds_the_previous_upload_and_sends_the_rest(
    drive: Drive, place: Server, secured: Application, big: Path
) -> None:
    said = drive("previous", big, chunkSize=MB)
    is_stored(place, secured, said, big)
    assert said["found"] == 1
    assert offsets(said)[0] >= MB
    assert [entry[0] for entry in said["log"] if entry != "stopped"].count("POST") == 1


def test_tus_js_client_uploads_in_parallel_and_joins_the_parts(
    drive: Drive, place: Server, secured: Application, big: Path
) -> None:
    said = drive("plain", big, parallelUploads=3)
    is_stored(place, secured, said, big)
    methods = [method for method, _, _ in said["log"]]
    assert (methods.count("POST"), methods.count("PATCH")) == (4, 3)


def test_tus_js_client_terminates_an_upload(drive: Drive, place: Server, big: Path) -> None:
    said = drive("terminated", big, chunkSize=MB)
    assert ["DELETE", 204] in [entry[:2] for entry in said["log"]]
    assert head(place, said["address"]).status in (404, 410)


def test_a_checksum_is_verified_and_a_wrong_one_stores_nothing(
    drive: Drive, place: Server, secured: Application, tmp_path: Path
) -> None:
    file = tmp_path / "summed.bin"
    file.write_bytes(secrets.token_bytes(MB))
    for name in ("sha1", "sha256", "md5"):
        right = base64.b64encode(hashlib.new(name, file.read_bytes()).digest()).decode()
        is_stored(place, secured, drive("summed", file, {"checksum": f"{name} {right}"}), file)
    wrong = base64.b64encode(hashlib.sha1(b"other").digest()).decode()
    before = len(place.blobs())
    assert drive("summed", file, {"checksum": f"sha1 {wrong}"})["failed"] == 460
    assert len(place.blobs()) == before


def test_a_refusal_reaches_the_client_with_its_words(drive: Drive, place: Server, secured: Application, big: Path) -> None:
    expired = place.url + _path(secured, expires_in=60, now=1_000_000.0)
    said = drive("plain", big, {"endpoint": expired})
    assert said["failed"] == 403
    assert json.loads(said["said"])["error"]["code"] == "policy_expired"
    small = place.url + _path(secured, expires_in=600, now=time.time(), max_size=MB)
    said = drive("plain", big, {"endpoint": small})
    assert said["failed"] == 413


def test_a_cut_connection_is_taken_up_again(drive: Drive, place: Server, secured: Application, big: Path) -> None:
    with SlowProxy(place.port) as proxy:
        proxy.cut_after(3 * MB)
        path = _path(secured, expires_in=600, now=time.time())
        said = drive("plain", big, {"endpoint": proxy.url + path}, chunkSize=2 * MB)
        is_stored(place, secured, said, big)
        assert "HEAD" in [method for method, _, _ in said["log"]], "it asked how far the server is"
        assert offsets(said).count(0) == 1, "what had arrived was not sent again"


# ------------------------------------------------------------------------------------------------------------------- Uppy


def uppy(page: Page, files: list[Path], endpoint: str, *, cancel: bool = False, **options: Any) -> dict[str, Any]:
    begin_uppy(page, files, endpoint, cancel=cancel, **options)
    said: dict[str, Any] = page.evaluate("told")
    return said


def begin_uppy(page: Page, files: list[Path], endpoint: str, *, cancel: bool = False, **options: Any) -> None:
    page.set_input_files("input", files)
    order = {"endpoint": endpoint, "cancel": cancel, "options": options}
    page.evaluate("order => { window.told = uppy([...document.querySelector('input').files], order); }", order)


@pytest.mark.browser
def test_uppy_stores_several_files(page: Page, place: Server, secured: Application, endpoint: str, big: Path) -> None:
    other = big.with_name("Ünï 写真.bin")
    other.write_bytes(secrets.token_bytes(MB))
    said = uppy(page, [big, other], endpoint, chunkSize=2 * MB)
    assert (said["successful"], said["failed"]) == (2, [])
    for file in (big, other):
        is_stored(place, secured, {"handle": said["handles"][file.name]}, file)


@pytest.mark.browser
def test_uppy_uploads_in_parallel(page: Page, place: Server, secured: Application, endpoint: str, big: Path) -> None:
    said = uppy(page, [big], endpoint, parallelUploads=2)
    is_stored(place, secured, {"handle": said["handles"][big.name]}, big)


@pytest.mark.browser
def test_uppy_pauses_and_resumes(page: Page, place: Server, secured: Application, big: Path) -> None:
    """It is paused while the connection is held in the middle of the file, so that it cannot have been finished."""
    stored: list[int] = []

    def note(answer: Response) -> None:
        if answer.request.method == "PATCH" and answer.status == 204:
            stored.append(int(answer.request.headers["upload-offset"]))

    with SlowProxy(place.port) as proxy:
        proxy.hold_after(5 * MB // 2)
        begin_uppy(page, [big], proxy.url + _path(secured, expires_in=600, now=time.time()), chunkSize=MB)
        proxy.wait_until_spent()
        page.evaluate("pause()")
        proxy.release()
        page.on("response", note)
        page.evaluate("goOn()")
        said = page.evaluate("told")
    is_stored(place, secured, {"handle": said["handles"][big.name]}, big)
    assert min(stored) >= 2 * MB, "what had arrived was not sent again"


@pytest.mark.browser
def test_uppy_takes_up_a_cut_connection(page: Page, place: Server, secured: Application, big: Path) -> None:
    with SlowProxy(place.port) as proxy:
        proxy.cut_after(3 * MB)
        said = uppy(page, [big], proxy.url + _path(secured, expires_in=600, now=time.time()), chunkSize=2 * MB)
        assert said["failed"] == []
        is_stored(place, secured, {"handle": said["handles"][big.name]}, big)


@pytest.mark.browser
def test_uppy_cancels_on_the_server_too(page: Page, place: Server, secured: Application, big: Path) -> None:
    with SlowProxy(place.port) as proxy:
        created: list[str] = []
        page.on("response", lambda answer: created.append(answer.headers.get("location", "")) if answer.status == 201 else None)
        endpoint = proxy.url + _path(secured, expires_in=600, now=time.time())
        with page.expect_response(lambda answer: answer.request.method == "DELETE" and answer.status == 204):
            said = uppy(page, [big], endpoint, cancel=True, chunkSize=MB // 4)
        assert said == {"handles": {}, "left": 0}
        assert [head(place, address).status in (404, 410) for address in created] == [True]
