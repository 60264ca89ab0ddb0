"""Large files sent by others: the ASGI server by path, nginx by X-Accel-Redirect. The same answers, and one version each.

nginx runs with the configuration that docs/deployment.md prints.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from live import START, Reply, Server, free_port, make_server, running

from secure_delivery.engine.files import Target
from secure_delivery.engine.records import FileLink
from secure_delivery.engine.settings import Settings
from secure_delivery.gate.errors import ConfigurationError
from secure_delivery.gate.whitelist import Whitelist
from secure_delivery.server import create_app

DOCS = Path(__file__).parents[2] / "docs" / "deployment.md"
SMALL = 262_144  # bytes up to which nothing is handed on
LARGE = bytes(range(256)) * 4_000
HUGE = 8_000_000  # bytes; more than the buffers of all sockets together
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
#: What a server says about itself or the connection, which differs by who sends.
ITS_OWN = {"date", "server", "connection"}


def overwrite(server: Server, link: FileLink, data: bytes) -> FileLink:
    current = server.engine.files.find(link.handle)
    with server.engine.files.begin(server.current(link.application), Target(filename=link.filename)) as upload:
        upload.write(data)
        return server.engine.files.overwrite(current, upload)


def lent(server: Server) -> list[Path]:
    folder = server.data / "files" / "sent"
    return sorted(folder.iterdir()) if folder.exists() else []


# ---------------------------------------------------------------------------------------------------------------- nginx


@dataclass
class Nginx:
    """A running nginx before a server, which can be asked like one."""

    front: Server
    behind: Server

    def get(self, target: str, headers: dict[str, str] | None = None) -> Reply:
        return self.front.get(target, headers)


def documented(port: int, behind: int, sent: Path) -> str:
    """The configuration of the documentation, for other ports and another folder."""
    found = re.search(r"<!-- file: nginx.conf -->\n```\n(.*?)^```$", DOCS.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    text = found[1]
    for old, new in (
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("http://127.0.0.1:8000;", f"http://127.0.0.1:{behind};"),
        ("/srv/secure-delivery/sent/;", f"{sent}/;"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def nginx_before(server: Server, folder: Path, sent: Path, *, user: str = "") -> Iterator[Nginx]:
    if NGINX is None:
        if os.environ.get("CI") == "true":
            pytest.fail("nginx is not installed")
        pytest.skip("nginx is not installed")
    port = free_port()
    user = user or ("root" if os.geteuid() == 0 else "")
    temporary = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"daemon off;\n{f'user {user};' if user else ''}\nworker_processes 1;\npid {folder}/nginx.pid;\n"
        f"events {{ worker_connections 256; }}\nhttp {{\naccess_log off;\n{temporary}\n"
        f"{documented(port, server.port, sent)}}}\n"
    )
    log = folder / "nginx.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [NGINX, "-p", str(folder), "-e", str(log), "-c", str(folder / "nginx.conf")], stdout=said, stderr=said
        )
    front = replace(server, port=port, process=None)
    try:
        deadline = time.monotonic() + START
        while True:
            with contextlib.suppress(OSError):
                if front.get("/health/live").status == 200:
                    break
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield Nginx(front, server)
    finally:
        process.terminate()
        process.wait(15)


@pytest.fixture(scope="module", params=["granian", "uvicorn"])
def nginx(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    folder = tmp_path_factory.mktemp("nginx")
    with (
        running(tmp_path_factory.mktemp("behind"), runner=request.param, settings={"accel": "/_blobs/"}) as server,
        nginx_before(server, folder, server.data / "files" / "sent") as nginx,
    ):
        yield nginx


def test_a_large_file_comes_from_nginx_whole_and_with_every_header_of_ours(nginx: Nginx, server: Server) -> None:
    application = nginx.behind.application(require_policy=True, delivery_whitelist=Whitelist(["*.example.org"]))
    link = nginx.behind.put(application, b"<html><script>1</script>" + LARGE, 'ä "x".html')
    signed = application.sign(expires_in=60, now=time.time(), call=["read"], handle=link.handle).as_query()
    origin = {"Origin": "https://www.example.org"}
    reply = nginx.get(f"/{link.handle}?{signed}", origin)
    assert reply.status == 200 and reply.body == b"<html><script>1</script>" + LARGE and not reply.repeated
    assert reply.headers["server"].startswith("nginx") and "x-accel-redirect" not in reply.headers

    # The same file from a server that sends it itself.
    other = server.application(require_policy=True, delivery_whitelist=Whitelist(["*.example.org"]))
    same = server.put(other, b"<html><script>1</script>" + LARGE, 'ä "x".html')
    signed = other.sign(expires_in=60, now=time.time(), call=["read"], handle=same.handle).as_query()
    plain = server.get(f"/{same.handle}?{signed}", origin)
    assert reply.headers.keys() - ITS_OWN == plain.headers.keys() - ITS_OWN
    for name in reply.headers.keys() - ITS_OWN - {"last-modified", "cache-control"}:
        assert reply.headers[name] == plain.headers[name], name
    assert reply.headers["last-modified"] == formatdate(link.uploaded / 1000, usegmt=True)
    assert re.fullmatch(r"private, max-age=[1-6]?[0-9]", reply.headers["cache-control"])
    assert reply.headers["content-disposition"].startswith("attachment")
    assert reply.headers["content-security-policy"].startswith("sandbox")


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("0-0", 0, 1), ("100-299999", 100, 300_000), ("-5", len(LARGE) - 5, None), ("5-", 5, None), (f"-{2**40}", 0, None)],
)
def test_nginx_cuts_out_ranges(nginx: Nginx, asked: str, start: int, stop: int | None) -> None:
    link = nginx.behind.put(nginx.behind.application(), LARGE)
    for more in ({}, {"If-Range": f'"{link.sha256[:32]}"'}):
        before = len(lent(nginx.behind))
        reply = nginx.get(f"/{link.handle}", {"Range": f"bytes={asked}", **more})
        assert (reply.status, reply.body) == (206, LARGE[start:stop])
        assert reply.headers["content-range"] == f"bytes {start}-{(stop or len(LARGE)) - 1}/{len(LARGE)}"
        assert reply.headers["etag"] == f'"{link.sha256[:32]}"' and not reply.repeated
        assert reply.headers["content-security-policy"].startswith("sandbox")
        assert len(lent(nginx.behind)) == before + (1 if more == {} else 0), "it was nginx that sent it"


def test_several_ranges_come_in_parts(nginx: Nginx) -> None:
    link = nginx.behind.put(nginx.behind.application(), LARGE)
    reply = nginx.get(f"/{link.handle}", {"Range": "bytes=0-9,300000-300009"})
    assert reply.status == 206 and reply.headers["content-type"].startswith("multipart/byteranges")
    assert [part[-10:] for part in re.split(rb"\r\n--[^\r]*", reply.body)[1:-1]] == [LARGE[:10], LARGE[300_000:300_010]]


def test_conditions_are_answered_as_without_nginx(nginx: Nginx) -> None:
    link = nginx.behind.put(nginx.behind.application(), LARGE)
    tag, other = f'"{link.sha256[:32]}"', '"0123"'
    written = formatdate(link.uploaded / 1000, usegmt=True)
    earlier, later = (formatdate(link.uploaded / 1000 + by, usegmt=True) for by in (-100, 100))
    storage: Any = nginx.behind.engine.files.storage(link.storage)
    of_the_file = link.uploaded // 1000 - 50  # what nginx would go by
    os.utime(storage.locate(link.key), (of_the_file, of_the_file))
    for headers, status in (
        ({"If-None-Match": tag}, 304),
        ({"If-None-Match": f"W/{tag}"}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": other}, 200),
        ({"If-None-Match": other, "If-Modified-Since": later}, 200),
        ({"If-Modified-Since": written}, 304),
        ({"If-Modified-Since": later}, 304),
        ({"If-Modified-Since": earlier}, 200),
        ({"If-Modified-Since": formatdate(of_the_file, usegmt=True)}, 200),
        ({"If-Match": tag}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": other}, 412),
        ({"If-Unmodified-Since": earlier}, 412),
        ({"If-Unmodified-Since": later}, 200),
        ({"If-None-Match": tag, "Range": "bytes=0-9"}, 304),
        ({"If-Match": tag, "Range": "bytes=0-9"}, 206),
        ({"If-Range": other, "Range": "bytes=0-9"}, 200),
        ({"If-Range": f"W/{tag}", "Range": "bytes=0-9"}, 200),
        ({"If-Range": written, "Range": "bytes=0-9"}, 200),
        ({"If-Range": later, "Range": "bytes=0-9"}, 200),
        ({"Range": f"bytes={len(LARGE)}-"}, 416),
        ({"Range": "bytes=9-0"}, 200),
        ({"Range": "lines=0-9"}, 200),
        ({"Range": "bytes=0-9,5-20"}, 200),
        ({"Range": "bytes=" + ",".join(f"{at}-{at}" for at in range(0, 20, 2))}, 200),
    ):
        reply = nginx.get(f"/{link.handle}", headers)
        expected = {200: LARGE, 206: LARGE[:10]}.get(status, b"")
        assert (reply.status, reply.body) == (status, expected), headers
        assert not reply.repeated, reply.repeated
        assert reply.headers["etag"] == tag
        if status == 416:
            assert reply.headers["content-range"] == f"bytes */{len(LARGE)}"


def test_a_head_request_is_told_the_same_without_a_body(nginx: Nginx) -> None:
    link = nginx.behind.put(nginx.behind.application(), LARGE)
    whole = nginx.get(f"/{link.handle}")
    head = nginx.front.request("HEAD", f"/{link.handle}")
    assert (head.status, head.body) == (200, b"")
    assert {name: head.headers[name] for name in head.headers.keys() - ITS_OWN} == {
        name: whole.headers[name] for name in whole.headers.keys() - ITS_OWN
    }


def test_a_download_and_the_other_addresses_of_a_file_are_handed_on_too(nginx: Nginx) -> None:
    application = nginx.behind.application()
    link = nginx.behind.put(application, LARGE, "a.bin")
    for target in (f"/{link.handle}?dl=true", f"/api/file/{link.handle}?dl", f"/{application.api_key}/{link.handle}?dl=1"):
        reply = nginx.get(target)
        assert (reply.status, reply.body) == (200, LARGE)
        assert reply.headers["content-disposition"] == 'attachment; filename="a.bin"'


def test_refusals_are_refusals_and_name_nothing(nginx: Nginx) -> None:
    application = nginx.behind.application(require_policy=True)
    link = nginx.behind.put(application, LARGE)
    before = lent(nginx.behind)
    expired = application.sign(expires_in=60, now=time.time() - 3600, call=["read"], handle=link.handle).as_query()
    for target, code in (
        (f"/{link.handle}", "policy_required"),
        (f"/{link.handle}?{expired}", "policy_expired"),
        (f"/{link.handle[:-1]}{'a' if link.handle[-1] != 'a' else 'b'}", "not_found"),
    ):
        reply = nginx.get(target)
        assert reply.code == code and "x-accel-redirect" not in reply.headers
    assert lent(nginx.behind) == before


def test_small_files_and_results_come_from_the_server_itself(nginx: Nginx) -> None:
    application = nginx.behind.application()
    before = lent(nginx.behind)
    for size in (1, SMALL):
        link = nginx.behind.put(application, b"x" * size)
        assert nginx.get(f"/{link.handle}").body == b"x" * size
    assert lent(nginx.behind) == before
    link = nginx.behind.put(application, b"x" * (SMALL + 1))
    assert nginx.get(f"/{link.handle}").body == b"x" * (SMALL + 1)
    assert len(lent(nginx.behind)) == len(before) + 1


def test_nobody_outside_gets_at_the_internal_location(nginx: Nginx) -> None:
    link = nginx.behind.put(nginx.behind.application(), LARGE)
    assert nginx.get(f"/{link.handle}").status == 200
    name = lent(nginx.behind)[-1].name
    for target in (
        f"/_blobs/local/{name}",
        f"//_blobs/local/{name}",
        f"/_blobs//local/{name}",
        f"/%5fblobs/local/{name}",
        f"/x/../_blobs/local/{name}",
        f"/x/%2e%2e/_blobs/local/{name}",
        f"/_blobs/local/%2e%2e/blobs/{link.key[:2]}/{link.key[2:4]}/{link.key}",
        f"/_blobs/local/../tmp/{name}",
    ):
        reply = nginx.get(target)
        assert reply.status in (400, 404) and LARGE[:100] not in reply.body, target


def test_a_blob_that_was_cut_short_is_never_a_whole_answer(nginx: Nginx) -> None:
    link = nginx.behind.put(nginx.behind.application(), LARGE)
    storage: Any = nginx.behind.engine.files.storage(link.storage)
    os.truncate(storage.locate(link.key), 300_000)
    with pytest.raises(http.client.IncompleteRead):
        nginx.get(f"/{link.handle}")
    assert nginx.get("/health/ready").status == 200


def read_slowly(port: int, target: str) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", port))
    connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    return connection


@pytest.mark.parametrize("change", ["overwrite", "remove"])
def test_a_slow_reader_behind_nginx_gets_the_version_it_began_with(nginx: Nginx, change: str) -> None:
    server = nginx.behind
    link = server.put(server.application(), b"o" * HUGE)
    with read_slowly(nginx.front.port, f"/{link.handle}") as connection:
        said = bytearray(connection.recv(1000))
        assert said.startswith(b"HTTP/1.1 200")
        if change == "overwrite":
            overwrite(server, link, b"n" * HUGE)
            assert nginx.get(f"/{link.handle}").body == b"n" * HUGE
        else:
            server.engine.files.remove(server.engine.files.find(link.handle))
            assert nginx.get(f"/{link.handle}").status == 404
        while piece := connection.recv(1 << 20):
            said += piece
    assert said.partition(b"\r\n\r\n")[2] == b"o" * HUGE


def overwritten_all_the_while(server: Server, front: Server, link: FileLink, attempts: int) -> None:
    done = threading.Event()

    def change() -> None:
        number = 0
        while not done.is_set():
            number += 1
            overwrite(server, link, str(number % 10).encode() * 300_000)

    writer = threading.Thread(target=change)
    writer.start()
    try:
        for attempt in range(attempts):
            headers = {"Range": "bytes=0-9,200000-200009"} if attempt % 3 == 0 else {}
            reply = front.get(f"/{link.handle}", headers)
            assert reply.status in (200, 206), (attempt, reply.status, reply.body[:200])
            if reply.status == 200:
                assert len(reply.body) == 300_000 and len(set(reply.body)) == 1
            else:
                assert len(set(re.findall(rb"\r\n\r\n([0-9]{10})\r\n", reply.body))) == 1
    finally:
        done.set()
        writer.join()


def test_a_file_that_is_overwritten_all_the_while_is_never_missing_behind_nginx(nginx: Nginx) -> None:
    link = nginx.behind.put(nginx.behind.application(), b"0" * 300_000)
    overwritten_all_the_while(nginx.behind, nginx.front, link, 100)


def test_nginx_of_another_user_reads_what_the_group_may_read_and_nothing_else() -> None:
    """The folder of the documentation: nginx in the group, no right to anything but what was lent."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root")
    with tempfile.TemporaryDirectory(dir="/tmp") as place:  # pytest's own folders let nobody else in
        folder = Path(place)
        folder.chmod(0o755)
        root = folder / "files"
        root.mkdir()
        shutil.chown(root, "root", "www-data")
        root.chmod(0o2750)
        (folder / "private").mkdir(mode=0o700)
        server = make_server(folder / "private", settings={"accel": "/_blobs/"})
        settings = folder / "private" / "settings.toml"
        settings.write_text(f'[plugins.builtin]\nroot = "{root}"\ngroup_read = true\n')
        server.env = {**server.env, "SECURE_DELIVERY_CONFIG": str(settings)}
        try:
            server.start()
            with nginx_before(server, folder, root / "sent", user="www-data") as nginx:
                application = server.application()
                stored = server.post(f"/api/store/S3?key={application.api_key}", LARGE)
                reply = nginx.get(f"/{stored.json()['handle']}")
                assert (reply.status, reply.body) == (200, LARGE)
                assert len(list((root / "sent").iterdir())) == 1
                blob = next(path for path in (root / "blobs").rglob("*") if path.is_file())
                ask = ["setpriv", "--reuid=www-data", "--regid=www-data", "--clear-groups", "cat"]
                tried = [subprocess.run([*ask, path], capture_output=True, check=False) for path in (blob, reply_path(root))]
                assert [done.returncode == 0 for done in tried] == [False, True]
        finally:
            server.stop()
            server.engine.close()


def reply_path(root: Path) -> Path:
    return next((root / "sent").iterdir())


# ------------------------------------------------------------------------------------------------------------- by path


def test_granian_is_handed_whole_large_files_and_nothing_else(server: Server) -> None:
    application = server.application()
    large, small = server.put(application, LARGE), server.put(application, b"x" * SMALL)
    before = len(lent(server))
    for target, headers, status in (
        (f"/{small.handle}", {}, 200),
        (f"/{large.handle}", {"Range": "bytes=0-299999"}, 206),
        (f"/{large.handle}", {"If-None-Match": f'"{large.sha256[:32]}"'}, 304),
        (f"/{large.handle}", {"If-Match": '"0"'}, 412),
    ):
        assert server.get(target, headers).status == status
    assert server.request("HEAD", f"/{large.handle}").headers["content-length"] == str(len(LARGE))
    assert len(lent(server)) == before
    for _ in range(3):
        reply = server.get(f"/{large.handle}")
        assert (reply.status, reply.body) == (200, LARGE)
        assert reply.headers["content-length"] == str(len(LARGE)) and not reply.repeated
    assert len(lent(server)) == before + 1, "one name for all who ask within some seconds"


def test_what_was_handed_to_granian_says_what_a_file_in_pieces_says(server: Server, tmp_path: Path) -> None:
    with running(tmp_path, runner="uvicorn") as other:
        replies = []
        for each in (server, other):
            link = each.put(each.application(), LARGE, "a.html")
            replies.append(each.get(f"/{link.handle}?dl=1"))
        assert lent(other) == []
    by_path, in_pieces = replies
    assert by_path.body == in_pieces.body == LARGE
    assert by_path.headers.keys() - ITS_OWN == in_pieces.headers.keys() - ITS_OWN
    for name in by_path.headers.keys() - ITS_OWN - {"last-modified"}:
        assert by_path.headers[name] == in_pieces.headers[name], name


def test_a_file_that_is_overwritten_all_the_while_is_never_missing_by_path(server: Server) -> None:
    link = server.put(server.application(), b"0" * 300_000)
    overwritten_all_the_while(server, server, link, 150)


def test_a_large_file_whose_bytes_are_gone_is_a_404_in_json(server: Server) -> None:
    link = server.put(server.application(), LARGE)
    server.engine.files.discard([link.blob])
    assert server.get(f"/{link.handle}").code == "not_found"


# ---------------------------------------------------------------------------------------------------- comparing and time


@pytest.mark.parametrize("runner", ["granian", "uvicorn"])
def test_the_last_bytes_of_a_damaged_file_are_not_sent_when_they_are_compared(runner: str, tmp_path: Path) -> None:
    server = make_server(tmp_path, runner=runner)
    settings = tmp_path / "settings.toml"
    settings.write_text(f'[plugins.builtin]\nverify = true\nroot = "{server.data / "files"}"\n')
    server.env = {**server.env, "SECURE_DELIVERY_CONFIG": str(settings)}
    try:
        server.start()
        application = server.application()
        for content in (LARGE * 3, b"x" * 1_000):
            link = server.engine.files.find(
                server.post(f"/api/store/S3?key={application.api_key}", content).json()["handle"],
            )
            target = f"/{link.handle}"
            assert server.get(target, {"Range": "bytes=0-"}).body == content  # a whole file in every sense but its status
            storage: Any = server.engine.files.storage(link.storage)
            with storage.locate(link.key).open("r+b") as file:
                file.write(b"!")
            said = server.exchange(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            head, _, body = said.partition(b"\r\n\r\n")
            if len(content) > SMALL:
                assert b" 200 " in head and 0 < len(body) < len(content), "the length that was promised tells the client"
            else:
                assert b" 503 " in head and b"storage_fault" in body
            assert link.key.encode() in server.log.read_bytes()
        assert lent(server) == [], "what is compared is not handed on"
        assert server.get("/health/ready").status == 200
    finally:
        server.stop()
        server.engine.close()


class HurriedLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock can be put forward."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


def test_names_are_taken_back_when_their_time_is_over_although_nobody_asks_any_more(tmp_path: Path) -> None:
    server = make_server(tmp_path, settings={"accel": "/_blobs/"})
    app = create_app(engine=server.engine)
    link = server.put(server.application(), LARGE)
    scope = {
        "type": "http", "method": "GET", "path": f"/{link.handle}", "raw_path": f"/{link.handle}".encode(), "query_string": b"",
        "headers": [], "scheme": "http", "http_version": "1.1", "server": ("x", 80), "client": None, "root_path": "",
    }  # fmt: skip
    started: list[dict[bytes, bytes]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            started.append(dict(message["headers"]))

    async def ask_and_wait() -> None:
        await app(scope, receive, send)
        (name,) = lent(server)
        assert started[0][b"x-accel-redirect"] == f"/_blobs/local/{name.name}".encode()
        name.rename(name.with_name("1000000000-" + name.name.partition("-")[2]))  # as if it had been lent long ago
        loop.ahead += 300
        for _ in range(1_000):
            if not lent(server):
                return
            await asyncio.sleep(0.01)

    loop = HurriedLoop()
    try:
        loop.run_until_complete(ask_and_wait())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
        server.engine.close()
    assert lent(server) == []


def test_a_location_that_is_none_stops_the_start() -> None:
    for wrong in ("_blobs/", "/_blobs", "/", "/a b/", "/a/../b/", "/_blobs/\r\nX-Evil: 1/", "//", "/%5f/"):
        with pytest.raises(ConfigurationError, match="accel"):
            Settings.read({"accel": wrong})
    assert Settings.read({"accel": "/_blobs/x/"}).accel == "/_blobs/x/"
