"""What `secure-delivery doctor` finds about the work itself: confinement, programs, detectors, and what may be reached.

Knows: the engine. Must not know: how findings are printed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..engine import Engine, confine, programs
from ..gate.errors import SecureDeliveryError
from ..plugin.params import REQUIRED
from ..plugin.protocols import Asking, Transformation
from ..plugin.selection import providers

Grade = Literal["good", "note", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report."""

    subject: str
    grade: Grade
    says: str


def work(engine: Engine) -> Iterator[Finding]:
    """How decoders and programs are confined, what is installed, what is missing."""
    yield from _confinement(engine)
    yield from _programs(engine)
    yield from _detectors(engine)


def reach(engine: Engine) -> Iterator[Finding]:
    """What the server may fetch and read besides what it stores (security promise 38)."""
    settings = engine.settings
    ports = ", ".join(str(port) for port in sorted({80, 443, *settings.fetch_ports}))
    how = f"by https only, ports {ports}" if settings.fetch_https_only else f"ports {ports}"
    yield Finding("fetching", "note" if settings.fetch_ports else "good", f"public addresses, {how}")
    if settings.fetch_allow:
        yield Finding("fetching", "note", f"fetch_allow: also {', '.join(settings.fetch_allow)}, although not public")
    if settings.storage_allow or settings.storage_ports:
        also = ", ".join((*settings.storage_allow, *(f"port {port}" for port in settings.storage_ports)))
        yield Finding("storages", "note", f"applications' storages may also be at {also}, although not public or usual")
    yield from _storages(engine)
    data = settings.data.resolve()
    for name, text in sorted(settings.folders.items()):
        path = Path(text).resolve()
        if not path.is_dir():
            yield Finding(f"folder {name}", "bad", f"{text} is no folder")
        elif data.is_relative_to(path) or path.is_relative_to(data):
            yield Finding(f"folder {name}", "bad", f"{text} and the data of the server are in one another: keys could be read")
        else:
            yield Finding(f"folder {name}", "note", f"storage aliases may read {text}")


def _storages(engine: Engine) -> Iterator[Finding]:
    """Where files of applications go, and what is missing for it."""
    providers = ", ".join(sorted(engine.storages.providers)) or "none"
    yield Finding("storage providers", "good", providers)
    applications = engine.records.applications()
    lent = [each.name or each.api_key for each in applications if not each.storage]
    if lent:
        days, quota = engine.settings.development_days, engine.settings.development_bytes
        yield Finding(
            "development storage",
            "note",
            f"{len(lent)} applications have no storage of their own ({', '.join(lent[:5])}): "
            f"files go after {days:g} days, {quota:,} bytes for each",
        )
    for application in applications:
        for row in engine.storages.of(application.api_key):
            if row.provider not in engine.storages.providers:
                subject = f"storage {row.name}"
                yield Finding(subject, "bad", f"of {application.api_key}: no installed plugin provides {row.provider}")
        if application.scan and not engine.registry.scanners:
            yield Finding(
                "scanners", "bad", f"{application.api_key} wants uploads scanned, and no scanner is set up: all are refused"
            )
    if engine.registry.scanners:
        yield Finding("scanners", "good", ", ".join(sorted(engine.registry.scanners)))


def _confinement(engine: Engine) -> Iterator[Finding]:
    layers = confine.available()
    missing = [layer for layer in engine.settings.sandbox_floor if not layers.get(layer)]
    active = ", ".join(name if there is True else f"{name} ({there})" for name, there in layers.items() if there) or "none"
    if missing:
        yield Finding("decoders", "bad", f"confinement below the floor: {', '.join(missing)} missing; active: {active}")
        return
    try:
        engine.start()
    except SecureDeliveryError as fault:
        yield Finding("decoders", "bad", str(fault))
        return
    yield Finding("decoders", "good", f"{engine.settings.decoders} confined by {active}")
    for layer in (name for name, there in layers.items() if not there):
        yield Finding(f"confinement {layer}", "note", _WITHOUT.get(layer, "this machine does not have it"))


_WITHOUT = {
    "namespaces": "not to be had here: external programs share /tmp and the list of processes with others of this user, a "
    "browser can speak to local sockets, and what starts processes without end may outlive its run"
}


def _programs(engine: Engine) -> Iterator[Finding]:
    for name, program in sorted(engine.registry.programs.items()):
        missing = programs.missing(program)
        if missing is None:
            yield Finding(f"program {name}", "good", f"{programs.find(program)}{', reaches pages' if program.network else ''}")
        else:
            how = f": {program.install}" if program.install else ""
            yield Finding(f"program {name}", "note", f"{missing} is not installed{how}")


def _detectors(engine: Engine) -> Iterator[Finding]:
    provided = set(engine.registry.detectors)
    asked: dict[str, list[str]] = {}
    for task, transformation in sorted(engine.registry.transformations.items()):
        for detector in sorted(_asked(transformation) - provided):
            asked.setdefault(detector, []).append(task)
    if provided:
        yield Finding("detectors", "good", f"provided: {', '.join(sorted(provided))}")
    for detector, tasks in asked.items():
        yield Finding(f"detector {detector}", "note", f"no plugin provides it: {', '.join(tasks)} answer 501")


def _asked(transformation: Transformation) -> set[str]:
    """The detectors that a task asks for when its options are not given."""
    found: set[str] = set()
    for one in providers(transformation):
        if isinstance(one, Asking):
            options = {param.name: None if param.default is REQUIRED else param.default for param in one.params}
            found.update(one.asks(options))
    return found
