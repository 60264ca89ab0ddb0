"""A server whose disk is full says so, keeps nothing of what it could not take, goes on reading, and recovers by itself."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live import Reply, Server, file_part, make_server, multipart

from secure_delivery.engine.records import FileLink
from secure_delivery.gate.model import Application

DISK = 96 << 20  # bytes; what was handed to a web server a moment ago still takes room when it is deleted
MUCH = 6_000_000  # bytes of a file for which there is no room while the filler is there
ROOM = 2 << 20  # bytes that the filler leaves, for the database


@pytest.fixture(scope="module", params=["granian", "uvicorn"])
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with all of its data on a small disk. Only root may mount one; elsewhere the tests are skipped, visibly."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "data").mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={DISK}", "none", folder / "data"], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.decode().strip()}")
    try:
        server = make_server(folder, runner=request.param)
        try:
            server.start()
            yield server
        finally:
            server.stop()
            server.engine.close()
    finally:
        subprocess.run(["umount", "--lazy", folder / "data"], check=True)


def fill(server: Server) -> Path:
    """Take the room on the disk, but for what the database needs."""
    filler = server.data / "filler"
    status = os.statvfs(server.data)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - ROOM)
    return filler


def stored(server: Server) -> set[Path]:
    """Blobs and drafts; not the names by which blobs were handed to the web server."""
    return {path for path in server.blobs() if path.parent.name != "sent"}


def raw(server: Server, application: Application, content: bytes) -> Reply:
    return server.post(f"/api/store/S3?key={application.api_key}", content, {"Content-Type": "application/octet-stream"})


def form(server: Server, application: Application, content: bytes) -> Reply:
    body, headers = multipart(file_part(content))
    return server.post(f"/api/store/S3?key={application.api_key}", body, headers)


def encoded(server: Server, application: Application, content: bytes) -> Reply:
    return server.post(f"/api/store/S3?key={application.api_key}&base64decode=true", base64.b64encode(content))


Way = Callable[[Server, Application, bytes], Reply]


@pytest.mark.parametrize("way", [raw, form, encoded])
def test_an_upload_to_a_full_disk_is_a_507_that_leaves_nothing_and_later_ones_are_stored(small: Server, way: Way) -> None:
    application = small.application()
    kept = small.put(application, b"k" * 300_000)
    before = stored(small)
    filler = fill(small)
    try:
        for _ in range(2):
            reply = way(small, application, b"x" * MUCH)
            assert (reply.status, reply.code) == (507, "storage_full")
            assert reply.headers["content-type"] == "application/json" and reply.headers["cache-control"] == "no-store"
            assert str(small.data) not in reply.body.decode()
            assert stored(small) == before
        assert small.get(f"/{kept.handle}").body == b"k" * 300_000
        assert small.get("/health/ready").status == 200
        little = way(small, application, b"y" * 50_000)
        assert little.status == 200, "what there is room for is still taken"
        assert small.get(f"/{handle(little)}").body == b"y" * 50_000
    finally:
        filler.unlink()
    reply = way(small, application, b"x" * MUCH)
    assert reply.status == 200
    assert small.get(f"/{handle(reply)}").body == b"x" * MUCH
    small.engine.files.remove(small.engine.files.find(handle(reply)))
    assert b"Traceback" not in small.log.read_bytes()


def handle(reply: Reply) -> str:
    said = json.loads(reply.body)
    return str(said.get("handle") or said["url"].rpartition("/")[2])


def test_an_overwrite_that_finds_no_room_leaves_the_old_content(small: Server) -> None:
    application = small.application()
    link = small.put(application, b"old" * 100_000)
    signed = application.sign(expires_in=60, now=time.time(), call=["write"], handle=link.handle).as_query()
    filler = fill(small)
    try:
        reply = small.post(f"/api/file/{link.handle}?{signed}", b"x" * MUCH)
        assert (reply.status, reply.code) == (507, "storage_full")
        assert small.get(f"/{link.handle}").body == b"old" * 100_000
    finally:
        filler.unlink()
    assert small.post(f"/api/file/{link.handle}?{signed}", b"new" * 100_000).status == 200
    assert small.get(f"/{link.handle}").body == b"new" * 100_000


def test_a_reader_is_undisturbed_while_the_disk_fills_and_uploads_fail(small: Server) -> None:
    application = small.application()
    link: FileLink = small.put(application, b"r" * MUCH)
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.settimeout(30)
        reader.connect(("127.0.0.1", small.port))
        reader.sendall(f"GET /{link.handle} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        said = bytearray(reader.recv(1_000))
        filler = fill(small)
        try:
            assert raw(small, application, b"x" * MUCH).status == 507
            small.engine.files.remove(link)
            while piece := reader.recv(1 << 20):
                said += piece
        finally:
            filler.unlink()
    assert said.partition(b"\r\n\r\n")[2] == b"r" * MUCH


def test_a_delete_makes_room(small: Server) -> None:
    application = small.application()
    large = small.put(application, b"l" * MUCH)
    filler = fill(small)
    try:
        assert raw(small, application, b"x" * 3_000_000).status == 507
        small.engine.files.remove(large)
        assert raw(small, application, b"x" * 3_000_000).status == 200
    finally:
        filler.unlink()
