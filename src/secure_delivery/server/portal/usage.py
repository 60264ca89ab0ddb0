"""What was used: requests, refusals, bytes, results, jobs, webhooks and storage, as plots and as numbers.

Knows: which figures make a plot, and what reasons and labels are called. Must not know: how figures are counted or drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from ...engine import figures
from ...engine.figures import BYS, By, Figure, starts
from ...gate.errors import Reason
from .frame import Ask, Raw, Room, View

_LAST: Mapping[By, int] = {"hour": 24, "day": 30, "month": 12}
_SERIES = 6  # of a plot; more could not be told apart
OTHERS = "others"


class _Plot(NamedTuple):
    figure: str
    title: str
    unit: str = ""


_PLOTS = (
    _Plot(figures.REQUESTS, "Requests by kind"),
    _Plot(figures.ANSWERS, "Answers by status"),
    _Plot(figures.REFUSALS, "Refused requests by reason"),
    _Plot(figures.BYTES, "Bytes", "bytes"),
    _Plot(figures.RESULTS, "Results of transformations"),
    _Plot(figures.JOBS, "Jobs that ended"),
    _Plot(figures.PREVIEWS, "Previews by family"),
    _Plot(figures.WEBHOOKS, "Webhooks by outcome"),
)
_CALLED = {
    (figures.RESULTS, "hot"): "kept in memory",
    (figures.RESULTS, "disk"): "kept on disk",
    (figures.RESULTS, "made"): "made anew",
    (figures.BYTES, "in"): "received",
    (figures.BYTES, "out"): "sent",
    (figures.ANSWERS, "none"): "nobody waited",
    (figures.REQUESTS, "file_api"): "file API",
    (figures.REQUESTS, "previews_api"): "previews API",
    (figures.REQUESTS, "api"): "webhooks API",
    (figures.WEBHOOKS, "given_up"): "given up",
}


def _show(ask: Ask) -> Mapping[str, Any]:
    by, times = _times(ask)
    key = ask.application().api_key if "key" in ask.path else None
    ask.engine.usage.flush()  # what this process has counted so far
    found = ask.engine.figures.series(by, since=times[0], until=ask.now + 1, application=key)
    names = {each.api_key: each.name for each in ask.engine.records.applications()} if key is None else {}
    stored = ask.engine.figures.stored(key)
    return {
        "by": by,
        "bys": list(BYS),
        "times": times,
        "plots": [_plot(plot, found, times) for plot in _PLOTS],
        "stored": [
            {"application": each.application, "name": names.get(each.application, ""), "files": each.files, "bytes": each.size}
            for each in stored
        ],
        "refusals": _refusals(found),
        "kept": _kept(found),
    }


def _times(ask: Ask) -> tuple[By, list[int]]:
    by: By = ask.query.choice("by", BYS, default="hour")  # type: ignore[assignment]
    last = ask.query.whole("last", least=1, most=1000, default=_LAST[by]) or _LAST[by]
    return by, starts(by, last, ask.now)


def _label(name: str, label: str) -> str:
    """What a label is called. Of previews the family counts, of jobs the kind and how they ended."""
    if name == figures.PREVIEWS:
        return label.partition("/")[0]
    if name == figures.JOBS:
        return label.replace("/", ": ").replace("_", " ")
    return _CALLED.get((name, label), label.replace("_", " "))


def _plot(plot: _Plot, found: Sequence[Figure], times: Sequence[int]) -> dict[str, Any]:
    """A plot as plain values: its series, the largest first, and the smallest together as others."""
    sums: Counter[tuple[str, int]] = Counter()
    totals: Counter[str] = Counter()
    for figure in found:
        if figure.name == plot.figure:
            label = _label(plot.figure, figure.label)
            sums[label, figure.at] += figure.value
            totals[label] += figure.value
    labels = [label for label, _ in sorted(totals.items(), key=lambda pair: (-pair[1], pair[0]))]
    named, rest = (labels, []) if len(labels) <= _SERIES else (labels[: _SERIES - 1], labels[_SERIES - 1 :])
    series = [{"name": label, "values": [sums[label, at] for at in times]} for label in named]
    if rest:
        series.append({"name": OTHERS, "values": [sum(sums[label, at] for label in rest) for at in times]})
    return {"name": plot.figure, "title": plot.title, "unit": plot.unit, "series": series, "total": sum(totals.values())}


def _refusals(found: Sequence[Figure]) -> list[dict[str, Any]]:
    """Every reason with how often it was given, and the sentence that clients were told."""
    counts: Counter[str] = Counter()
    for figure in found:
        if figure.name == figures.REFUSALS:
            counts[figure.label] += figure.value
    known = {reason.value: reason.public.sentence for reason in Reason}
    return [{"reason": reason, "count": count, "told": known.get(reason, "")} for reason, count in counts.most_common()]


def _kept(found: Sequence[Figure]) -> float | None:
    """Which share of results was there already; None before there was any."""
    counts: Counter[str] = Counter()
    for figure in found:
        if figure.name == figures.RESULTS:
            counts[figure.label] += figure.value
    whole = sum(counts.values())
    return None if not whole else (whole - counts["made"]) / whole


async def _csv(request: Request, ask: Ask) -> Response:
    by, times = _times(ask)

    def text() -> str:
        key = ask.application().api_key if "key" in ask.path else None
        ask.engine.usage.flush()
        found = ask.engine.figures.series(by, since=times[0], until=ask.now + 1, application=key, each=True)
        return figures.as_csv(found)

    headers = {
        "content-type": "text/csv; charset=utf-8",
        "content-disposition": f'attachment; filename="usage-by-{by}.csv"',
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
    }
    return Response(await ask.context.run(text), 200, headers)


ROOM = Room(
    name="usage",
    views=(
        View(
            path="/usage", show=_show, page="usage.html", title="Usage", command="usage",
            says="Figures of all applications together, by hour, day or month (`by`, `last`), and what each has stored.",
        ),
        View(
            path="/applications/{key}/usage", show=_show, page="usage.html", title="Usage", command="usage",
            says="The figures of one application, by hour, day or month (`by`, `last`).",
        ),
    ),
    raws=(
        Raw(
            path="/usage.csv", method="GET", answer=_csv, command="usage",
            says="Every figure of every application as CSV.",
        ),
        Raw(
            path="/applications/{key}/usage.csv", method="GET", answer=_csv, command="usage",
            says="Every figure of one application as CSV.",
        ),
    ),
)  # fmt: skip
