"""What operators ask: alive, able to work; and what they see when a part does not."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import psycopg
import pytest
from live import Server, make_server, running
from sqlalchemy.engine import URL


def test_a_working_server_is_live_and_ready_and_says_so_to_nobody_s_cache(every_server: Server) -> None:
    for path, answer in (
        ("/health/live", {"status": "live"}),
        ("/health/ready", {"status": "ready", "parts": {"database": True, "storage": True, "decoders": True}}),
    ):
        reply = every_server.get(path)
        assert (reply.status, reply.json()) == (200, answer)
        assert reply.headers["cache-control"] == "no-store"
        assert every_server.request("HEAD", path).status == 200
    assert every_server.get("/").json()["service"] == "secure_delivery"


def test_a_database_out_of_reach_is_not_ready_and_still_live_and_recovers(tmp_path: Path, postgres_url: URL) -> None:
    plain = postgres_url.set(drivername="postgresql")
    name = f"{postgres_url.database}_ops"
    admin = plain.set(database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            url = postgres_url.set(database=name).render_as_string(hide_password=False)
            with running(tmp_path, runner="uvicorn", database=url) as server:
                link = server.put(server.application(), b"x")
                server.engine.database.close()
                connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
                connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
                ready = server.get("/health/ready")
                assert (ready.status, ready.json()["parts"]["database"]) == (503, False)
                assert name not in ready.body.decode()
                assert server.get("/health/live").status == 200
                asked = server.get(f"/{link.handle}")
                assert (asked.status, asked.code) == (503, "busy")
                assert asked.headers["retry-after"]
                connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
                assert server.get(f"/{link.handle}").body == b"x"
                assert server.get("/health/ready").status == 200
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.skipif(os.getuid() == 0 and not hasattr(os, "setresuid"), reason="needs a folder that cannot be written")
def test_a_storage_that_cannot_be_written_is_a_503_for_uploads_and_nothing_for_readers(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        application = server.application()
        link = server.put(application, b"kept")
        folder = server.data / "files" / "tmp"
        folder.rename(server.data / "files" / "away")
        folder.write_text("a file where a folder should be")
        try:
            reply = server.post(f"/api/store/S3?key={application.api_key}", b"x")
            assert (reply.status, reply.code) == (503, "storage_fault")
            assert str(tmp_path) not in reply.body.decode()
            assert server.get(f"/{link.handle}").body == b"kept"
        finally:
            folder.unlink()
            (server.data / "files" / "away").rename(folder)
        assert server.post(f"/api/store/S3?key={application.api_key}", b"x").status == 200


def test_a_server_that_is_told_to_stop_does_and_leaves_no_process(tmp_path: Path) -> None:
    server = make_server(tmp_path)
    try:
        server.start()
        assert server.process is not None
        group = server.process.pid
        children = descendants(group)
        assert children, "decoder processes"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(15) == 0
        server.process = None
        assert {pid for pid in children if alive(pid)} == set()
    finally:
        server.stop()
        server.engine.close()


def test_decoders_do_not_outlive_a_server_that_is_killed(tmp_path: Path) -> None:
    server = make_server(tmp_path, runner="uvicorn")
    try:
        server.start()
        assert server.process is not None
        children = descendants(server.process.pid)
        assert children
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        server.process = None
        for pid in children:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                wait_for_end(pid)
    finally:
        server.stop()
        server.engine.close()


def wait_for_end(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    try:
        import select

        assert select.select([descriptor], [], [], 5)[0], f"process {pid} lives on"
    finally:
        os.close(descriptor)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descendants(pid: int) -> set[int]:
    """Every process below one, from /proc."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    below: set[int] = set()
    front = {pid}
    while front:
        front = {child for child, parent in parents.items() if parent in front}
        below |= front
    return below
