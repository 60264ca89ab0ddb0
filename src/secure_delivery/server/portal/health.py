"""How the server is: what waits, who works and how confined, what is installed and what is missing.

Knows: what confinement layers are for, in words. Must not know: how any of it is found out.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from ...engine.capabilities import capabilities
from ...engine.health import health
from .frame import Ask, Room, View

LAYERS = {
    "namespaces": "sees no network, no other process and no other file system",
    "rlimits": "has bounds of memory, time, files and processes",
    "no_new_privs": "can gain no rights by starting a program",
    "landlock": "opens only the files that it was given",
    "seccomp": "calls only a short list of functions of the system",
}
_POOLS = {"transformations": "Transformations", "jobs": "Previews and metadata", "video": "Video and audio"}


def _show(ask: Ask) -> Mapping[str, Any]:
    engine = ask.engine
    found, told = health(engine), capabilities(engine.registry)
    floor = set(engine.settings.sandbox_floor)
    return {
        "version": version("secure-delivery"),
        "python": platform.python_version(),
        "database": "SQLite" if engine.database.sqlite else "PostgreSQL",
        "queue": engine.settings.queue,
        "workers": engine.settings.workers,
        "jobs": dict(found.jobs),
        "pools": [
            {
                "name": _POOLS.get(name, name),
                "size": pool.size,
                "running": pool.running,
                "layers": [
                    {"name": layer, "what": LAYERS[layer], "active": pool.layers.get(layer, False), "needed": layer in floor}
                    for layer in LAYERS
                ]
                if pool.running
                else [],
            }
            for name, pool in found.pools.items()
        ],
        "process": found.process._asdict(),
        "plugins": [
            {
                "name": report.name,
                "distribution": f"{report.distribution} {report.version}".strip(),
                "offers": {kind: list(names) for kind, names in report.offers.items() if names},
                "problem": report.problem,
            }
            for report in engine.registry.reports
        ],
        "families": [
            {"name": each["family"], "available": each["available"], "previewers": [one["name"] for one in each["previewers"]]}
            for each in told["families"]
        ],
        "missing": [
            {"kind": each["kind"], "name": each["name"], "for": list(each["for"]), "install": each["install"] or ""}
            for each in told["missing"]
        ],
    }


ROOM = Room(
    name="health",
    views=(
        View(
            path="/health", show=_show, page="health.html", title="Health", command="doctor",
            says="The queue, pools of confined processes with their layers, plugins and programs, and what is missing.",
        ),
    ),
)  # fmt: skip
