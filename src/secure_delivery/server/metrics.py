"""`GET /metrics`: figures and health in the text format of Prometheus.

Knows: HTTP, the text format (version 0.0.4) and its conventions for names, who may ask. Must not know: who counts what.

Who shows the token of the settings may ask. Without a token in the settings, only a program on this machine may that asked
for it directly: a request that says of itself that it was forwarded, or that asked for another host, came through a proxy or
from a page in somebody's browser. Counters come from the database, so that they are of all processes and never go back;
labels come from short lists. Applications are told apart only where the settings say so, because each is one series more.

Sources: Prometheus, "Exposition formats", "Metric and label naming".
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from ..engine import Engine, figures
from ..engine.figures import Figure, Stored
from ..engine.health import Health, health
from ..engine.setting_values import on_this_machine
from ..engine.settings import Settings
from .http import error_response, single
from .transport import peer_of

TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "secure_delivery_"

Labels = Mapping[str, str]


class _Counter(NamedTuple):
    """How a figure is told: its name, what it is, and the labels that its label is made of (`a/b` fills two)."""

    name: str
    says: str
    labels: tuple[str, ...]


_COUNTERS = {
    figures.REQUESTS: _Counter("requests_total", "Requests by kind.", ("kind",)),
    figures.ANSWERS: _Counter("answers_total", "Answers by class of status.", ("status",)),
    figures.REFUSALS: _Counter("refusals_total", "Refused requests by reason.", ("reason",)),
    figures.BYTES: _Counter("body_bytes_total", "Bytes of bodies of requests (in) and answers (out).", ("direction",)),
    figures.RESULTS: _Counter(
        "results_total", "Results of transformations by where they came from: hot, disk, made.", ("source",)
    ),
    figures.JOBS: _Counter("jobs_ended_total", "Jobs that have ended, by kind and state.", ("kind", "state")),
    figures.PREVIEWS: _Counter("previews_total", "Successful previews by family and previewer.", ("family", "previewer")),
    figures.WEBHOOKS: _Counter("webhook_tries_total", "Tries to deliver a webhook, by outcome.", ("outcome",)),
    figures.WOULD_REFUSE: _Counter(
        "would_refuse_total", "Requests let in that would be refused if a policy were required, by kind.", ("kind",)
    ),
}


class Metrics:
    """The endpoint."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def answer(self, request: Request) -> Response:
        """The numbers as they are now; this process writes down first what it has counted."""
        settings = self._engine.settings
        token = settings.metrics_token
        if not (_shown(request, token) if token else _near(request, settings)):
            headers = {"www-authenticate": "Bearer"} if token else {}
            return error_response(401 if token else 403, "not_permitted", "These numbers are not for everybody.", headers)
        text = await anyio.to_thread.run_sync(self._text)
        return Response(text, 200, {"cache-control": "no-store", "content-type": TYPE, "x-content-type-options": "nosniff"})

    def _text(self) -> str:
        engine = self._engine
        engine.usage.flush()
        each = engine.settings.metrics_applications
        totals, stored = engine.figures.totals(each=each), engine.figures.stored()
        return "\n".join(lines(totals, stored, health(engine), each=each)) + "\n"


def _shown(request: Request, token: str) -> bool:
    """Whether the request shows the token."""
    scheme, _, given = (single(request, "authorization") or "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode("utf-8", "surrogatepass"), token.encode())


def _near(request: Request, settings: Settings) -> bool:
    """Whether a program on this machine asks, for this machine, with nobody in between."""
    peer, host = peer_of(request.scope, settings), request.url.hostname or ""
    own = on_this_machine(host) and not host.endswith(".localhost")  # names below it may be pages of other programs
    return peer.loopback and not peer.forwarded and own


# ------------------------------------------------------------------------------------------------------------- the text


def lines(totals: Iterable[Figure], stored: Sequence[Stored], now: Health, *, each: bool = False) -> Iterator[str]:
    """The lines of the text. `each` tells applications apart."""
    found: dict[str, list[tuple[Labels, float]]] = {name: [] for name in _COUNTERS}
    for figure in totals:
        if (counter := _COUNTERS.get(figure.name)) is not None:
            owner = {"application": figure.application} if each else {}
            values = figure.label.split("/", len(counter.labels) - 1)
            labels = dict(zip(counter.labels, values, strict=False))
            found[figure.name].append((owner | labels, figure.value))
    for name, counter in _COUNTERS.items():
        yield from _family(_PREFIX + counter.name, "counter", counter.says, found[name])
    yield from _stored(stored, each)
    yield from _health(now)


def _stored(stored: Sequence[Stored], each: bool) -> Iterator[str]:
    files: list[tuple[Labels, float]] = [({}, sum(one.files for one in stored))]
    size: list[tuple[Labels, float]] = [({}, sum(one.size for one in stored))]
    if each:
        files = [({"application": one.application}, one.files) for one in stored]
        size = [({"application": one.application}, one.size) for one in stored]
    yield from _family(_PREFIX + "stored_files", "gauge", "Files that are stored.", files)
    yield from _family(_PREFIX + "stored_bytes", "gauge", "Bytes of the files that are stored.", size)


def _health(now: Health) -> Iterator[str]:
    jobs = [({"state": state}, number) for state, number in now.jobs.items()]
    yield from _family(_PREFIX + "jobs", "gauge", "Jobs that have not ended, by state.", jobs)
    pools = [({"pool": name}, pool.size) for name, pool in now.pools.items()]
    yield from _family(_PREFIX + "pool_workers", "gauge", "Confined processes that a pool may have at work.", pools)
    running = [({"pool": name}, int(pool.running)) for name, pool in now.pools.items()]
    yield from _family(_PREFIX + "pool_running", "gauge", "Whether the pool was started in the process that answers.", running)
    layers = [
        ({"pool": name, "layer": layer}, int(active))
        for name, pool in now.pools.items()
        for layer, active in pool.layers.items()
    ]
    yield from _family(_PREFIX + "confinement_active", "gauge", "Layers of confinement in effect in a pool that runs.", layers)
    plugins = [({"plugin": name}, int(works)) for name, works in sorted(now.plugins.items())]
    yield from _family(_PREFIX + "plugin_available", "gauge", "Whether a plugin that was found is in use.", plugins)
    process = now.process
    if process.resident is not None:
        says = "Resident memory size in bytes."
        yield from _family("process_resident_memory_bytes", "gauge", says, [({}, process.resident)])
    if process.files is not None:
        yield from _family("process_open_fds", "gauge", "Number of open file descriptors.", [({}, process.files)])
    yield from _family(
        "process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.", [({}, process.cpu)]
    )


def _family(name: str, kind: str, says: str, samples: Iterable[tuple[Labels, float]]) -> Iterator[str]:
    yield f"# HELP {name} {says}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{name}{{{shown}}} {value}" if shown else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
