"""The servers that are compared: ours, thumbor and ipx, each started as its operators would, on the same files.

Knows: how each is installed, started, and asked for a width of a file. Must not know: what is measured.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from images import NODE, install
from measure import BENCH, CACHE, UnavailableError, free_port, running

from secure_delivery import Call, Policy
from secure_delivery.engine import Engine, build
from secure_delivery.engine.files import Target
from secure_delivery.engine.records import new_handle
from secure_delivery.engine.settings import Settings

IPX = "ipx@3"
THUMBOR = "thumbor==7.8.*"
QUALITY = 80
DECODERS = 2  # as many as the others have threads that decode
_VENV = BENCH / ".thumbor"
_KEY = "a key that only this comparison knows"
_COMMAND = [sys.executable, "-m", "secure_delivery"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A running server: `path(number, width)` asks for picture `number`, `width` pixels wide; `forget()` makes everything
    cold again."""

    name: str
    port: int
    pid: int
    path: Callable[[int, int], str]
    forget: Callable[[], None] = field(default=lambda: None)


def install_thumbor() -> None:
    """thumbor from the package index, into an environment of its own. Done once."""
    if (_VENV / "bin" / "thumbor").exists():
        return
    python = [sys.executable, "-m", "venv", str(_VENV)], [str(_VENV / "bin" / "pip"), "install", "--quiet", THUMBOR]
    for command in python:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            shutil.rmtree(_VENV, ignore_errors=True)
            said = done.stderr.strip().splitlines() or ["no word"]
            raise UnavailableError(f"thumbor cannot be installed (pycurl needs the headers of libcurl): {said[-1]}")


def install_ipx() -> None:
    """ipx from the npm registry, beside sharp."""
    install("ipx", IPX)


def linked(source: Path, count: int, folder: Path) -> list[str]:
    """Many names for one file: pictures that nobody has seen yet, without as many copies on the disk."""
    folder.mkdir()
    names = [f"picture-{number:04d}{source.suffix}" for number in range(count)]
    for name in names:
        os.link(source, folder / name)
    return names


# ------------------------------------------------------------------------------------------------------------------ ours


@contextmanager
def ours(source: Path, count: int, folder: Path, *, pin: Sequence[str] = ()) -> Iterator[Contender]:
    """`secure-delivery serve` with one server process, all pictures stored in a secured application."""
    data = folder / f"ours-{len(pin)}"
    settings = Settings.read({"data": str(data), "quiet": True, "decoders": DECODERS})
    engine = build(settings)
    try:
        application, _ = engine.records.create_application("bench", require_policy=True)
        handles = _stored(engine, application.api_key, source, count)
        tasks = [
            Policy(expiry=int(time.time()) + 86_400, call=frozenset({Call.READ, Call.CONVERT}), handle=handle)
            .sign(application.secrets.signing.value)
            .as_task()
            for handle in handles
        ]
        port = free_port()
        environment = {"SECURE_DELIVERY_DATA": str(data), "SECURE_DELIVERY_QUIET": "true"}
        environment["SECURE_DELIVERY_DECODERS"] = str(DECODERS)
        command = [*pin, *_COMMAND, "serve", "--port", str(port), "--workers", "1"]
        with running(command, port=port, environment=environment, log=CACHE / "peers-ours.log") as pid:
            yield Contender(
                name="ours",
                port=port,
                pid=pid,
                path=lambda number, width: f"/resize=width:{width}/{tasks[number]}/{handles[number]}",
                forget=lambda: _forgotten(engine, application.api_key),
            )
    finally:
        engine.close()


def _forgotten(engine: Engine, api_key: str) -> None:
    engine.renditions.purge_application(api_key)


def _stored(engine: Engine, api_key: str, source: Path, count: int) -> list[str]:
    """Handles of one stored file: as many records, one copy of the bytes, as `linked` gives the others."""
    application = engine.records.application(api_key)
    if application is None:
        raise UnavailableError("the application is gone")
    with engine.files.begin(application, Target(filename=source.name)) as upload:
        upload.write(source.read_bytes())
        first = engine.files.add(application, upload)
    links = [replace(first, handle=new_handle()) for _ in range(count - 1)]
    for link in links:
        engine.records.add_file(link)
    return [first.handle, *(link.handle for link in links)]


# -------------------------------------------------------------------------------------------------------------- thumbor


@contextmanager
def thumbor(
    names: Sequence[str], pictures: Path, folder: Path, *, kept: bool = False, pin: Sequence[str] = ()
) -> Iterator[Contender]:
    """thumbor with one process and two engine threads, signed addresses; results are kept on disk where `kept` is."""
    install_thumbor()
    settings = {
        "SECURITY_KEY": _KEY,
        "ALLOW_UNSAFE_URL": False,
        "LOADER": "thumbor.loaders.file_loader",
        "FILE_LOADER_ROOT_PATH": str(pictures),
        "STORAGE": "thumbor.storages.no_storage",
        "ENGINE_THREADPOOL_SIZE": DECODERS,
        "QUALITY": QUALITY,
    }
    if kept:
        settings["RESULT_STORAGE"] = "thumbor.result_storages.file_storage"
        settings["RESULT_STORAGE_FILE_STORAGE_ROOT_PATH"] = str(folder / "thumbor-results")
    configuration = folder / f"thumbor-{kept}.conf"
    configuration.write_text("".join(f"{name} = {value!r}\n" for name, value in settings.items()))
    port = free_port()
    command = [*pin, str(_VENV / "bin" / "thumbor"), "--port", str(port), "--ip", "127.0.0.1", "--conf", str(configuration)]

    def path(number: int, width: int) -> str:
        asked = f"{width}x0/{names[number]}"
        digest = hmac.new(_KEY.encode(), asked.encode(), hashlib.sha1).digest()
        return f"/{base64.urlsafe_b64encode(digest).decode()}/{asked}"

    with running(command, port=port, environment={}, log=CACHE / "peers-thumbor.log") as pid:
        yield Contender(name="thumbor", port=port, pid=pid, path=path)


# ------------------------------------------------------------------------------------------------------------------ ipx


@contextmanager
def ipx(names: Sequence[str], pictures: Path) -> Iterator[Contender]:
    """ipx on Node: no signatures, no cache."""
    install_ipx()
    port = free_port()
    command = ["node", str(BENCH / "ipx_server.mjs"), str(NODE), str(pictures), str(port)]
    with running(command, port=port, environment={}, log=CACHE / "peers-ipx.log") as pid:
        yield Contender(
            name="ipx", port=port, pid=pid, path=lambda number, width: f"/w_{width},q_{QUALITY},f_jpeg/{names[number]}"
        )


def versions() -> Mapping[str, str]:
    """What is installed of the peers."""
    found = {}
    package = NODE / "node_modules" / "ipx" / "package.json"
    if package.exists():
        found["ipx"] = str(json.loads(package.read_text(encoding="utf-8"))["version"])
    for metadata in _VENV.glob("lib/python*/site-packages/thumbor-*.dist-info"):
        found["thumbor"] = metadata.name.removeprefix("thumbor-").removesuffix(".dist-info")
    return found
