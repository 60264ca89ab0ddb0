"""The server with the counted tasks, which writes down each chain that it really runs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import counted_tasks
from starlette.applications import Starlette

from secure_delivery.engine import Engine, build
from secure_delivery.engine.rendition_budget import Budget
from secure_delivery.engine.renditions import Renditions
from secure_delivery.engine.sandbox import Chain, Outcome, PluginChoice, Sandbox
from secure_delivery.engine.settings import Settings
from secure_delivery.plugin.manager import load
from secure_delivery.plugin.protocols import WorkLimits
from secure_delivery.server import create_app


class CountingSandbox(Sandbox):
    """Leaves one line per chain in a file, so that several processes can be counted together."""

    runs: Path

    def run(self, chain: Chain) -> Outcome:
        descriptor = os.open(self.runs, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, " ".join(name for name, _ in chain.tasks).encode() + b"\n")
        os.close(descriptor)
        return super().run(chain)


def counted_engine(settings: Settings) -> Engine:
    """An engine as `build` wires it, but for the tasks and the counting."""
    base = build(settings)
    registry = load(
        settings={"builtin": {"root": str(settings.data / "files")}},
        blocked=("images",),
        extra={"counted_tasks": counted_tasks},
    )
    sandbox = CountingSandbox(
        settings.decoders,
        plugins=PluginChoice(blocked=("images", "builtin"), extra=("counted_tasks",), path=(str(Path(__file__).parent),)),
        limits=WorkLimits(bytes=settings.max_bytes, seconds=10.0, cpu_seconds=5, memory=400_000_000),
        queue=settings.decode_queue,
        wait=settings.decode_wait,
    )
    sandbox.runs = settings.data / "runs.txt"
    store = base.renditions.store
    renditions = Renditions(
        base.records,
        store,
        Budget(store, limit=settings.rendition_bytes, days=settings.rendition_days, clock=base.clock),
        sandbox,
        work=settings.data / "work",
        clock=base.clock,
    )
    return replace(base, registry=registry, sandbox=sandbox, renditions=renditions)


def application() -> Starlette:
    return create_app(engine=counted_engine(Settings.load()))
