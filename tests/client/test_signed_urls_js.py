"""The script for pages, in node, against a backend and the real server over sockets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from live import Server, picture
from recorder import Shop

import secure_delivery.server
from secure_delivery.client import Client
from secure_delivery.gate.policy import SignedPolicy
from secure_delivery.gate.taskurl import parse

SCRIPT = Path(secure_delivery.server.__file__).parent / "static" / "signed-urls.js"
HANDLE = "handlehandlehandle01"
FAR = 4_000_000_000


class Backend(ThreadingHTTPServer):
    """A site's own endpoint: answers `grant`, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Endpoint)
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.grant: Any = {"policy": "cG9saWN5", "signature": "0" * 64, "expiry": FAR}
        self.status: list[int] = []
        self.date: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Endpoint(BaseHTTPRequestHandler):
    server: Backend

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        return

    def date_time_string(self, timestamp: float | None = None) -> str:
        return self.server.date or super().date_time_string(timestamp)

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0"))).decode()
        query = urlsplit(self.path).query if self.command == "GET" else body
        values = {name: found[0] for name, found in parse_qs(query, keep_blank_values=True).items()}
        self.server.asked.append((self.command, values, {name.lower(): value for name, value in self.headers.items()}))
        grant = self.server.grant(values) if callable(self.server.grant) else self.server.grant
        answer = json.dumps(grant).encode()
        self.send_response(self.server.status.pop(0) if self.server.status else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET  # noqa: N815


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend() as backend:
        thread = threading.Thread(target=backend.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield backend
        finally:
            backend.shutdown()
            thread.join()


def run(backend: Backend, tmp_path: Path, program: str, options: str = "") -> Any:
    """The result of a program in node, in which `sign` is the script's; the clock is `clock` seconds ahead."""
    node = shutil.which("node")
    if node is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no node for the tests of signed-urls.js")
        pytest.skip("no node")
    script = tmp_path / "program.mjs"
    (tmp_path / "signed-urls.mjs").write_bytes(SCRIPT.read_bytes())
    script.write_text(
        'import { signedUrls } from "./signed-urls.mjs";\n'
        "const real = Date.now; let clock = 0; Date.now = () => real() + clock * 1000;\n"
        f'const sign = signedUrls({{ endpoint: "{backend.url}/sign", base: "https://files.test/", {options} }});\n'
        f"const handle = {json.dumps(HANDLE)};\n"
        f"const result = await (async () => {{ {program} }})();\n"
        "console.log(JSON.stringify(result));\n"
    )
    done = subprocess.run([node, script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_is_at_most_two_kilobytes_and_needs_nothing() -> None:
    text = SCRIPT.read_text("ascii")
    assert len(text) <= 2048
    assert "import" not in text
    assert max(map(len, text.splitlines())) <= 128, "as it is written is as it is read"


def test_a_url_is_signed_by_the_backend_and_read_by_the_server_as_it_was_meant(backend: Backend, tmp_path: Path) -> None:
    url = run(backend, tmp_path, 'return sign.url(handle, "resize=width:300,align:[top,left]/flip");')
    assert url.startswith("https://files.test/security=policy:")
    found = parse(urlsplit(url).path)
    assert found.signed == SignedPolicy("cG9saWN5", "0" * 64)
    assert [str(task) for task in found.tasks] == ["resize=width:300,align:%5Btop,left%5D", "flip"]
    assert found.source is not None
    assert found.source.text == HANDLE
    ((method, values, _),) = backend.asked
    assert (method, values) == ("GET", {"handle": HANDLE, "tasks": "resize=width:300,align:[top,left]/flip"})


@pytest.mark.parametrize("text", ["https://x.test/a.png?y=1&z=%20#f", "ü 🦄 / , : [ ] ? # %41 +", "a&b=c", "'\\"[:-1]])
def test_nothing_in_quotes_breaks_out_of_them(backend: Backend, tmp_path: Path, text: str) -> None:
    tasks = f'watermark=file:"{text}",size:30'
    url = run(backend, tmp_path, f"return sign.url(handle, {json.dumps(tasks)});")
    assert urlsplit(url).query == ""
    assert "//" not in urlsplit(url).path, "proxies merge them"
    (task,) = parse(urlsplit(url).path).tasks
    assert task.options == (("file", text), ("size", "30"))
    assert backend.asked[0][1]["tasks"] == tasks


def test_a_policy_in_the_standard_alphabet_stays_one_piece(backend: Backend, tmp_path: Path) -> None:
    backend.grant = {"policy": "ab/+cd==", "signature": "0" * 64, "expiry": FAR}
    url = run(backend, tmp_path, "return sign.url(handle);")
    assert parse(urlsplit(url).path).signed == SignedPolicy("ab/+cd==", "0" * 64)


def test_the_backend_is_asked_once_however_many_ask(backend: Backend, tmp_path: Path) -> None:
    program = """
        const first = await Promise.all([1, 2, 3, 4, 5].map(() => sign.url(handle, "flip")));
        first.push(await sign.url(handle, "flip"));
        return [new Set(first).size, await sign.url(handle, "flop")];
    """
    assert run(backend, tmp_path, program)[0] == 1
    assert [values["tasks"] for _, values, _ in backend.asked] == ["flip", "flop"]


def test_scope_says_what_one_answer_is_good_for(backend: Backend, tmp_path: Path) -> None:
    program = 'return [await sign.url(handle, "flip"), await sign.url(handle, "flop"), await sign.url("other", "flip")];'
    urls = run(backend, tmp_path, program, "scope: (handle) => handle")
    assert len(set(urls)) == 3
    assert [values["handle"] for _, values, _ in backend.asked] == [HANDLE, "other"]


@pytest.mark.parametrize(("clock", "asked"), [(0, 1), (29, 1), (31, 2), (3600, 2)])
def test_an_answer_is_used_until_shortly_before_it_expires(backend: Backend, tmp_path: Path, clock: int, asked: int) -> None:
    """It is good for a minute, and `early` is 30 seconds. Date has whole seconds, hence the fixed time."""
    backend.date = "Thu, 01 Jan 2026 00:00:00 GMT"
    backend.grant = {"policy": "cG9saWN5", "signature": "0" * 64, "expiry": 1767225600 + 60}
    run(backend, tmp_path, f"await sign.url(handle); clock = {clock}; return sign.url(handle);")
    assert len(backend.asked) == asked


@pytest.mark.parametrize("expiry", [1, None, "soon"])
def test_an_answer_that_is_no_longer_good_or_does_not_say_is_not_kept(backend: Backend, tmp_path: Path, expiry: object) -> None:
    backend.grant = {"policy": "cG9saWN5", "signature": "0" * 64, "expiry": expiry}
    run(backend, tmp_path, "await sign.url(handle); return sign.url(handle);")
    assert len(backend.asked) == 2


def test_a_fresh_one_is_had_on_demand(backend: Backend, tmp_path: Path) -> None:
    run(
        backend,
        tmp_path,
        'await sign.url(handle, "flip"); await sign.url(handle, "flip", true); return sign.url(handle, "flip");',
    )
    assert len(backend.asked) == 2


def test_a_refusal_is_told_and_not_kept(backend: Backend, tmp_path: Path) -> None:
    backend.status = [403]
    program = """
        const told = await Promise.all([1, 2].map(() => sign.url(handle).catch((error) => error.message)));
        return [...told, await sign.url(handle)];
    """
    first, second, url = run(backend, tmp_path, program)
    assert first == second == "refused: 403"
    assert url.startswith("https://")
    assert len(backend.asked) == 2


def test_post_and_headers_of_ones_own_are_possible(backend: Backend, tmp_path: Path) -> None:
    run(backend, tmp_path, 'return sign.url(handle, "flip");', 'method: "POST", init: {headers: {"X-CSRF-Token": "t"}}')
    ((method, values, headers),) = backend.asked
    assert (method, values, headers["x-csrf-token"]) == ("POST", {"handle": HANDLE, "tasks": "flip"}, "t")


def test_the_real_server_delivers_what_a_backend_with_the_client_signed(
    backend: Backend, tmp_path: Path, server: Server, shop: Shop
) -> None:
    with Client(server.url, **shop._asdict()) as client:
        file = client.upload(picture(60, 40), filename="a.jpg")
        backend.grant = lambda values: client.grant(expires_in=60, call=["convert"], handle=values["handle"])
        program = f"""
            const url = await sign.url({json.dumps(file.handle)}, "resize=width:30/output=format:png");
            const response = await fetch(url);
            return [response.status, response.headers.get("content-type")];
        """
        assert run(backend, tmp_path, program, f'base: "{server.url}"') == [200, "image/png"]
