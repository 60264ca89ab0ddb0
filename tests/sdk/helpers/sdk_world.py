"""The world that the official clients are let loose in: a server behind TLS, two applications with files, a site outside."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import skimage.data
from live import Server, picture, running
from outside import Outside, ok
from PIL import Image, ImageDraw, ImageFont
from sdk_authority import Authority, make_authority
from sdk_front import Front

from secure_delivery.engine.records import FileLink
from secure_delivery.gate.model import Application

DOMAIN = "media.test"
HELPERS = Path(__file__).parent
SECONDS = 60  # that one case may take; the slowest, a page's screenshot, takes 5
DRIVE = 540
ALL_CALLS = ("pick", "read", "stat", "write", "writeUrl", "store", "convert", "remove", "exif")
WORKFLOW = "4e8a3c0e-5d2f-4c3b-9a7b-0f6d1c2e3b4a"
PHOTO = picture(400, 200)
BIG = random.Random(4).randbytes(13_000_001)  # three parts of any client, the last one small
CSS, SCRIPT = b"body  {  color:  red;  }\n", b"function add (first, second) { return first + second }\nadd(1, 2)\n"
#: The vector of the reference: it holds for both clients.
HOOK = {
    "secret": "Y5cWb1rdRDSTSqEjF5pv",
    "timestamp": "1559199901",
    "body": '{"id": 6844, "action": "fp.upload", "timestamp": 1559199901, "text": {"url": '
    '"http://cdn.filestackapi.dev/xK88QArxRiyVvFzo4p33", "client": "Computer", "data": {"filename": "01 (1).png", '
    '"type": "image/png", "size": 881855}}}',
    "signature": "14495b54b246e1352bb69cd91c5c1bfe2221f2d0330414b3df8f5fb2903db730",
}


def pages() -> bytes:
    """A PDF of two pages."""
    out = io.BytesIO()
    first, second = (Image.new("RGB", (width, 80), "white") for width in (60, 90))
    first.save(out, "PDF", save_all=True, append_images=[second])
    return out.getvalue()


def face() -> bytes:
    out = io.BytesIO()
    Image.fromarray(skimage.data.astronaut()).save(out, "JPEG")
    return out.getvalue()


def written(text: str) -> bytes:
    """A picture of a text, large and black on white."""
    image = Image.new("RGB", (600, 120), "white")
    ImageDraw.Draw(image).text((20, 20), text, "black", ImageFont.load_default(60))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def with_exif() -> bytes:
    image = Image.open(io.BytesIO(PHOTO))
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    out = io.BytesIO()
    image.save(out, "JPEG", exif=exif)
    return out.getvalue()


def clip() -> bytes:
    """A second of moving picture with a tone, 160 by 120. Without ffmpeg it is none, and tests of its results are skipped."""
    if shutil.which("ffmpeg") is None:
        return b"no video"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        sources = ("-f", "lavfi", "-i", "testsrc=size=160x120:rate=10:duration=1", "-f", "lavfi", "-i", "sine=duration=1")
        command = ["ffmpeg", "-v", "error", *sources, "-pix_fmt", "yuv420p", "-shortest", str(path)]
        subprocess.run(command, check=True, timeout=SECONDS)
        return path.read_bytes()


def needs_ffmpeg() -> None:
    """Skip a test that looks at a converted video where there cannot be one; on CI there must be."""
    if shutil.which("ffmpeg") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("ffmpeg is not installed")
        pytest.skip("ffmpeg is not installed: converted videos are not tested")


def _guarded(connection: socket.socket) -> None:
    connection.sendall(ok(PHOTO, "Content-Type: image/jpeg"))


FILES: Mapping[str, tuple[str, bytes]] = {
    "photo": ("photo.jpg", with_exif()),
    "mark": ("mark.png", picture(50, 50, "PNG")),
    "pdf": ("paper.pdf", pages()),
    "css": ("a.css", CSS),
    "js": ("a.js", SCRIPT),
    "face": ("face.jpg", face()),
    "text": ("text.png", written("Hello World")),
}


@dataclass
class Place:
    """Everything that runs, and what is stored in it at the start."""

    server: Server
    web: Outside
    front: Front
    authority: Authority
    work: Path
    applications: Mapping[str, Application] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def environment(self, authority: Path | None = None) -> dict[str, str]:
        """What a client's process is told: where names lead, and whom to trust."""
        trusted = str(authority or self.authority.certificate)
        told = {"SDK_DOMAIN": DOMAIN, "SDK_PORT": str(self.front.port)}
        quiet = {name: text for name, text in os.environ.items() if not name.lower().endswith("_proxy")}
        return quiet | told | {"NODE_EXTRA_CA_CERTS": trusted, "REQUESTS_CA_BUNDLE": trusted}

    def put(self, mode: str, data: bytes, name: str = "victim.txt") -> FileLink:
        return self.server.put(self.applications[mode], data, name)

    def read(self, mode: str, handle: str) -> Any:
        """A file as it is now, asked for past TLS and SDK."""
        signed = self.applications[mode].sign(expires_in=600, now=time.time(), call=["read"])
        return self.server.get(f"/{handle}?{signed.as_query()}")

    def stat(self, mode: str, handle: str) -> Any:
        signed = self.applications[mode].sign(expires_in=600, now=time.time(), call=["stat"])
        return self.server.get(f"/api/file/{handle}/metadata?{signed.as_query()}").json()


@contextmanager
def standing(folder: Path) -> Iterator[Place]:
    """The whole world, in an empty folder, until the end of the block."""
    authority = make_authority(folder, DOMAIN)
    with ExitStack() as stack:
        web = stack.enter_context(Outside({}))
        jpeg = ok(PHOTO, "Content-Type: image/jpeg")
        html = ok(b"<!doctype html><title>A page</title><h1>Hello</h1>", "Content-Type: text/html")
        web.scripts |= {"/a.jpg": jpeg, "/a.jpg?x=1": jpeg, "/guarded.jpg": _guarded, "/page.html": html}
        settings = {
            "fetch_allow": web.at,
            "fetch_ports": str(web.port),
            "own_hosts": f"cdn.{DOMAIN},www.{DOMAIN},process.{DOMAIN}",
            "public_url": f"https://cdn.{DOMAIN}",
            "folders": f"shelf={folder / 'shelf'}",
        }
        (folder / "shelf").mkdir()
        (folder / "shelf" / "book.jpg").write_bytes(PHOTO)
        server = stack.enter_context(running(folder, settings=settings))
        front = stack.enter_context(Front(authority.context, server.port, {}))
        work = folder / "work"
        work.mkdir()
        for name, data in {"photo.jpg": PHOTO, "big.bin": BIG, "empty.bin": b"", "new.txt": b"new content"}.items():
            (work / name).write_bytes(data)
        place = Place(server, web, front, authority, work)
        aliases = {"shelf": "folder:shelf/"}
        place.applications = {
            "open": server.application(aliases=aliases),
            "secured": server.application(aliases=aliases, require_policy=True),
        }
        files = {**FILES, "video": ("clip.mp4", clip())}
        place.files = {
            mode: {name: str(place.put(mode, data, called).handle) for name, (called, data) in files.items()}
            for mode in place.applications
        }
        yield place


# --------------------------------------------------------------------------------------------------------------- orders


def _policies(place: Place, mode: str) -> dict[str, dict[str, Any]]:
    """Policies as plain values: one that carries every call, and those that are refused, by what is wrong with them."""
    now = int(time.time())
    secret = place.applications[mode].secrets.signing.value.decode()
    full = {"expiry": now + 3600, "call": list(ALL_CALLS)}
    return {
        "always": {"policy": full, "secret": secret},
        "wrong secret": {"policy": full, "secret": "x" * 43},
        "expired": {"policy": full | {"expiry": now - 60}, "secret": secret},
        "another call": {"policy": full | {"call": ["runWorkflow"]}, "secret": secret},
        "another file": {"policy": full | {"handle": "B" * 20, "container": "^none$"}, "secret": secret},
    }


def order_for(place: Place, mode: str, shape: Any) -> dict[str, Any]:
    """What a driver is told. `shape` makes of a policy and a secret what its client takes."""
    policies = {name: shape(made) for name, made in _policies(place, mode).items()}
    secured = mode == "secured"
    refused = {"no policy": None} | {name: made for name, made in policies.items() if name != "always"}
    return {
        "key": place.applications[mode].api_key,
        "secret": place.applications[mode].secrets.signing.value.decode(),
        "domain": DOMAIN,
        "files": place.files[mode],
        "security": policies["always"] if secured else None,
        "always": policies["always"],
        "exif": policies["always"],
        "expiry": int(time.time()) + 3600,
        "odd": "^>>>>>$",  # its Base64 has a + in it, which only the standard alphabet has
        "refused": refused if secured else {},
        "victims": [str(place.put(mode, b"old").handle) for _ in range(6)],
        "outside": place.web.url("/a.jpg"),
        "guarded": place.web.url("/guarded.jpg"),
        "page": place.web.url("/page.html"),
        "missing": place.web.url("/none.jpg"),
        "names": ["size", "filename", "mimetype", "md5", "sha256", "width", "height"],
        "workflow": WORKFLOW,
        "cloud": "customsource",
        "folder": "/shelf/",
        "listed": "/shelf/book.jpg",
        "alias": "src://shelf/book.jpg",
        "hook": HOOK,
        "work": str(place.work),
        "seconds": SECONDS,
    }


def encoded(made: dict[str, Any]) -> dict[str, str]:
    """What the JavaScript client takes: the policy as its own helper encodes it, and its signature."""
    policy = base64.b64encode(json.dumps(made["policy"], separators=(",", ":")).encode()).decode()
    return {"policy": policy, "signature": hmac.new(made["secret"].encode(), policy.encode(), hashlib.sha256).hexdigest()}


# --------------------------------------------------------------------------------------------------------------- driving


@dataclass
class Said:
    """What a driver told: an outcome for each case, and at the end what ran."""

    cases: Mapping[str, Any]
    end: Mapping[str, Any]
    uncaught: list[Any]
    errors: str
    order: Mapping[str, Any]

    def value(self, name: str) -> Any:
        """What a case gave. A case that failed fails the test with what the SDK said."""
        outcome = self.cases[name]
        assert outcome["ok"], f"{name}: {json.dumps(outcome['error'], indent=1)}"
        return outcome["value"]

    def error(self, name: str) -> Any:
        outcome = self.cases[name]
        assert not outcome["ok"], f"{name} succeeded: {str(outcome['value'])[:400]}"
        return outcome["error"]


def drive(command: list[str], order: Mapping[str, Any], environment: Mapping[str, str]) -> Said:
    """Run a driver to its end."""
    ran = subprocess.run(
        command, input=json.dumps(order), capture_output=True, text=True, timeout=DRIVE, env=dict(environment), check=False
    )
    lines = [json.loads(line[1:]) for line in ran.stdout.split("\n") if line.startswith("\x1e")]
    assert ran.returncode == 0, (ran.stderr[-3000:], lines[-1:])
    return Said(
        cases={line["case"]: line for line in lines if "case" in line},
        end=next(line for line in lines if "ran" in line),
        uncaught=[line for line in lines if "uncaught" in line],
        errors=ran.stderr,
        order=order,
    )
