"""The world for clients of the previews API: a server, a site with files, a receiver of webhooks, and a way in for clients
whose host name is a constant.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from live import Server, running
from outside import Outside, ok
from sdk_authority import Authority, make_authority
from sdk_front import Front
from sdk_tunnel import Tunnel
from sdk_world import PHOTO, SECONDS, pages

from secure_delivery.gate.model import Application, Limits

HOST = "api.filepreviews.io"  # what the clients have as a constant
LATE = 60.0  # seconds after which nothing comes any more


@dataclass
class PreviewPlace:
    """Everything that runs, and who asks."""

    server: Server
    web: Outside
    front: Front
    tunnel: Tunnel
    authority: Authority
    application: Application
    small: Application
    released: threading.Event

    def environment(self, library: Mapping[str, str]) -> dict[str, str]:
        """What a client's process is told: the proxy, whom to trust, and where the client is."""
        trusted = str(self.authority.certificate)
        quiet = {name: text for name, text in os.environ.items() if not name.lower().endswith("_proxy")}
        told = {"HTTPS_PROXY": self.tunnel.url, "NODE_EXTRA_CA_CERTS": trusted, "REQUESTS_CA_BUNDLE": trusted}
        return quiet | told | dict(library)

    @staticmethod
    def _keys(application: Application) -> dict[str, str]:
        return {"key": application.api_key, "secret": application.secrets.signing.value.decode()}

    def order(self) -> dict[str, Any]:
        """What a driver is told."""
        files = {"photo": "/photo.jpg", "paper": "/paper.pdf", "missing": "/none.jpg", "slow": "/slow.jpg", "hook": "/hook"}
        return {
            **self._keys(self.application),
            **{name: self.web.url(path) for name, path in files.items()},
            "quiet": self.web.url("/quiet.jpg"),
            "small": self._keys(self.small),
            "api_url": f"{self.server.url}/v2",
            "seconds": SECONDS,
        }

    def fetched(self, url: str) -> Any:
        """A result, by its address in an answer: the built-in host is this server."""
        assert url.startswith(f"https://{HOST}/")
        return self.server.get(url.removeprefix(f"https://{HOST}"))

    def received(self, job: str) -> dict[str, Any]:
        """The webhook of a job, when it came."""
        ends = time.monotonic() + LATE
        while time.monotonic() < ends:
            for head, body in zip(self.web.seen, self.web.bodies, strict=False):
                if head.startswith(b"POST /hook ") and job.encode() in body:
                    return dict(json.loads(body))
            time.sleep(0.02)
        raise AssertionError(f"no webhook of {job}")

    def asked_for(self, path: str) -> None:
        """Wait until somebody fetched a file of the site."""
        ends = time.monotonic() + LATE
        while not any(head.startswith(f"GET {path} ".encode()) for head in list(self.web.seen)):
            assert time.monotonic() < ends, f"nobody fetched {path}"
            time.sleep(0.02)


@contextmanager
def previews_standing(folder: Path) -> Iterator[PreviewPlace]:
    """The place, until the block ends."""
    released = threading.Event()
    jpeg = ok(PHOTO, "Content-Type: image/jpeg")
    scripts: dict[str, Any] = {
        "/photo.jpg": jpeg,
        "/quiet.jpg": jpeg,
        "/paper.pdf": ok(pages(), "Content-Type: application/pdf"),
        "/hook": ok(b"", status="204 No Content"),
        "/slow.jpg": lambda connection: (released.wait(300), connection.sendall(jpeg)),
    }
    with ExitStack() as stack:
        web = stack.enter_context(Outside(scripts))
        stack.callback(released.set)
        settings = {
            "fetch_allow": "127.0.0.1",
            "fetch_ports": str(web.port),
            "webhook_allow": "127.0.0.1",
            "webhook_ports": str(web.port),
            "public_url": f"https://{HOST}",
            "job_workers": "3",
        }
        server = stack.enter_context(running(folder, settings=settings))
        authority = make_authority(folder, HOST.partition(".")[2])
        front = stack.enter_context(Front(authority.context, server.port))
        tunnel = stack.enter_context(Tunnel(None, front.port, host=HOST))
        small = server.application(limits=replace(Limits(), max_queue=1, max_jobs=1))
        yield PreviewPlace(server, web, front, tunnel, authority, server.application(), small, released)
