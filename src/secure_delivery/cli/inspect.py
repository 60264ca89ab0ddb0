"""`doctor`: what is installed, configured, reachable, missing, insecure."""

from __future__ import annotations

import platform
import shutil
import stat
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import typer
from rich.text import Text

from ..engine import Engine
from ..gate.model import KINDS
from . import examine
from .examine import Finding, Grade
from .output import AsJson, Config, engine_for, out, say_json, say_table

_STYLE = {"good": "green", "note": "yellow", "bad": "bold red"}


def doctor(config: Config = None, as_json: AsJson = False) -> None:
    """Check what is configured, reachable, missing and insecure. Exit status 1 when something is bad."""
    with engine_for(config) as engine:
        findings = list(_examine(engine))
    bad = any(finding.grade == "bad" for finding in findings)
    if as_json:
        say_json([{"subject": item.subject, "grade": item.grade, "says": item.says} for item in findings])
    else:
        say_table(
            ("subject", "", "finding"),
            [(item.subject, Text(item.grade, style=_STYLE[item.grade]), item.says) for item in findings],
        )
        out.print(Text("Something needs attention." if bad else "All is well.", style="bold red" if bad else "bold green"))
    if bad:
        raise typer.Exit(1)


def _examine(engine: Engine) -> Iterator[Finding]:
    settings = engine.settings
    yield Finding("version", "good", f"secure-delivery {version('secure-delivery')}, Python {platform.python_version()}")
    yield Finding("data", *_private(str(settings.data.absolute())))
    yield Finding("database", "good", f"{engine.database!r} answers and is up to date")
    yield from _key_findings(engine)
    yield Finding("storage", "good", f"{settings.storage}: provided by an installed plugin")
    yield from examine.work(engine)
    yield from examine.reach(engine)
    for report in engine.registry.reports:
        offers = sum(len(names) for names in report.offers.values())
        if report.problem:
            yield Finding(f"plugin {report.name}", "bad", report.problem)
        else:
            yield Finding(f"plugin {report.name}", "good", f"offers {offers} things")
    if not engine.registry.transformations:
        yield Finding("transformations", "note", "none installed: pip install secure-delivery-images")
    yield from _applications(engine)
    if settings.host not in ("127.0.0.1", "::1", "localhost") and not settings.public_url.startswith("https://"):
        yield Finding("transport", "bad", f"host: {settings.host} is reachable from outside and public_url is not https")
    free = shutil.disk_usage(settings.data).free
    yield Finding("disk", "good" if free > settings.max_bytes else "bad", f"{free / 2**30:.1f} GiB free where data is")


def _private(path: str) -> tuple[Grade, str]:
    mode = stat.S_IMODE(Path(path).stat().st_mode)
    if mode & 0o077:
        return "bad", f"{path} may be entered by others (mode {mode:o}): chmod 700"
    return "good", f"{path}, private"


def _key_findings(engine: Engine) -> Iterator[Finding]:
    if engine.settings.master_key:
        yield Finding("master key", "good", "from the environment")
    else:
        file = engine.settings.key_file
        beside = file.parent.absolute() == engine.settings.data.absolute()
        advice = "; keep a copy elsewhere, apart from the data" if beside else ""
        yield Finding("master key", "note" if beside else "good", f"from {file}{advice}")


def _applications(engine: Engine) -> Iterator[Finding]:
    for application in engine.records.applications():
        name = f"application {application.name or application.api_key}"
        if missing := [kind for kind in KINDS if not application.requires(kind)]:
            yield Finding(name, "note", f"open: no policy is needed for {', '.join(missing)}")
        elif application.regex == "search":
            yield Finding(name, "note", 'regex = "search": patterns match anywhere in a value')
        else:
            yield Finding(name, "good", "every request needs a policy")
