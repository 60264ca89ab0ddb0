"""`secure-delivery serve`: the standalone server, and its first steps for newcomers."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.text import Text

from ..engine import Engine
from ..engine.audit import CLI
from ..engine.settings import PREFIX, Settings
from ..gate.errors import ConfigurationError
from ..gate.model import Application
from .files import store_file
from .output import Config, engine_for, out, say

_DEMO = "demo"


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Server processes.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder for database, files and keys.")] = None,
    demo: Annotated[bool, typer.Option("--demo/--no-demo", help="Make a secured application with a picture to try.")] = False,
    config: Config = None,
) -> None:
    """Run the server until it is stopped."""
    given: dict[str, Any] = {"host": host, "port": port, "workers": workers, "data": str(data) if data else None}
    given["demo_receiver"] = True if demo else None  # webhooks need somebody who takes them before a newcomer has that
    settings = Settings.load(config, **given)
    address = settings.host, _port(settings.host, settings.port)
    given["port"] = address[1]
    base = settings.public_url.rstrip("/") or f"http://{_in_url(address[0])}:{address[1]}"
    with engine_for(config, **given) as engine:
        say("server", base, "bold")
        say("data", engine.settings.data.absolute())
        _portal(engine)
        if demo:
            _demonstrate(engine, base)
        elif not engine.records.applications():
            out.print(Text("There is no application yet: secure-delivery app create NAME", style="yellow"))
    # Each server process reads the settings again: what the command line said travels in the environment.
    if config is not None:
        os.environ["SECURE_DELIVERY_CONFIG"] = str(config.absolute())
    for name, value in given.items():
        if value is not None:
            os.environ[PREFIX + name.upper()] = str(value)
    out.file.flush()
    _become_launcher(address[0], address[1], settings.workers)


#: What the process becomes once everything is said: it only watches over the server processes, and holds nothing else.
_LAUNCH = """'secure-delivery serve'
import sys
from granian.constants import Interfaces
from granian.server import Server
host, port, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
Server("secure_delivery.server:application", factory=True, address=host, port=port, interface=Interfaces.ASGI, workers=workers,
    websockets=False, log_access=False).serve()
"""


def _become_launcher(host: str, port: int, workers: int) -> NoReturn:
    """Go on as a process that has not loaded database, vault and command line: some twenty megabytes less to hold."""
    sys.stdout.flush()
    sys.stderr.flush()
    # -P: what lies about in the working folder is not to be imported.
    argv = [sys.executable, "-P", "-c", _LAUNCH, host, str(port), str(workers)]
    os.execv(sys.executable, argv)  # noqa: S606 - our own interpreter, fixed words


def _port(host: str, port: int) -> int:
    """The port to listen on: the wanted one if it is free, a free one for 0. Raises `ConfigurationError` otherwise."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigurationError(f"host, port: cannot listen on {host}:{port}: {error.strerror}") from None
        chosen: int = probe.getsockname()[1]
    return chosen


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _portal(engine: Engine) -> None:
    """Where the portal is; and as long as it has no owner, the link by which the first one is set up."""
    address, accounts = engine.settings.portal_address, engine.people.accounts
    if not address:
        return
    say("portal", address, "bold")
    if not accounts.has_owner():
        say("set it up, once", f"{address}/setup/{accounts.setup_link(CLI)}", "green")


def _demonstrate(engine: Engine, base: str) -> None:
    """A secured application with a sample picture, one URL that works and one that does not."""
    application, secret = _demo_application(engine)
    handle = _sample(engine, application)
    signed = application.sign(expires_in=24 * 3600, now=time.time(), call=["read", "convert"], handle=handle)
    say("API key", application.api_key, "bold")
    if secret is not None:
        out.print(Text(f"{'secret (shown once):':<22}", style="dim") + Text(secret, style="bold yellow"))
    else:
        say("secret", f"was shown when it was made; a new one: secure-delivery app rotate-secret {application.api_key}")
    say("this one works", f"{base}/resize=width:300/{signed.as_task()}/{handle}", "green")
    say("this one is refused", f"{base}/resize=width:300/{handle}", "red")
    upload = application.sign(expires_in=24 * 3600, now=time.time(), call=["pick"])
    say("upload here", f"{base}/upload/{application.api_key}?{upload.as_query()}", "green")
    shown = f"{application.api_key}:{secret or 'SECRET'}"
    body = json.dumps({"url": f"{base}/{handle}", "sizes": ["300"], "metadata": ["image"]})
    say("preview it", f"curl -u {shown} -H 'Content-Type: application/json' -d '{body}' {base}/v2/previews/")


def _demo_application(engine: Engine) -> tuple[Application, str | None]:
    for application in engine.records.applications():
        if application.name == _DEMO:
            return application, None
    return engine.administration.create_application(CLI, _DEMO, require_policy=True)


def _sample(engine: Engine, application: Application) -> str:
    """The handle of the bundled picture, stored now if it is not."""
    for link in engine.records.files(application.api_key):
        if link.filename == "sample.jpg":
            return link.handle
    with as_file(files("secure_delivery.engine") / "assets" / "sample.jpg") as path:
        return store_file(engine, application, path, "sample.jpg").handle
