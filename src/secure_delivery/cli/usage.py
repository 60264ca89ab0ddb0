"""`secure-delivery usage`: what was counted, as a table with bars, as CSV, as JSON.

Knows: which figures make a row, how numbers are shown. Must not know: how they are counted or kept.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from ..engine import figures
from ..engine.figures import By, Figure, Stored, moment, starts
from ..gate.errors import ConfigurationError
from .output import AsJson, Config, engine_for, known_application, say_json, say_table

_LAST: Mapping[By, int] = {"hour": 24, "day": 30, "month": 12}
_FORMATS: Mapping[By, str] = {"hour": "%Y-%m-%d %H:00", "day": "%Y-%m-%d", "month": "%Y-%m"}
_BAR = 20  # characters of the longest bar
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


class Times(StrEnum):
    """What one row is of."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


def usage(
    application: Annotated[str | None, typer.Option("--app", help="API key of an application; else the sums of all.")] = None,
    by: Annotated[Times, typer.Option("--by", help="What one row is of; hours are kept for 90 days, days for two years.")] = (
        Times.HOUR
    ),
    last: Annotated[
        int | None, typer.Option("--last", min=1, max=10_000, help="Rows; else 24 hours, 30 days or 12 months.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print every figure of every application as CSV.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show requests, refusals, bytes, results, jobs and webhooks over hours, days or months of UTC, and what is stored. Running
    servers write down what they counted every few seconds."""
    if as_csv and as_json:
        raise ConfigurationError("say --csv or --json, not both")
    times: By = by.value
    with engine_for(config) as engine:
        if application is not None:
            known_application(engine, application)
        now = engine.clock()
        rows = starts(times, last or _LAST[times], now)
        found = engine.figures.series(times, since=rows[0], until=now + 1, application=application, each=as_csv or as_json)
        stored = engine.figures.stored(application)
    if as_csv:
        typer.echo(figures.as_csv(found), nl=False)
    elif as_json:
        say_json(
            {
                "by": times,
                "figures": [figure._asdict() | {"at": moment(figure.at)} for figure in found],
                "stored": [one._asdict() for one in stored],
            }
        )
    else:
        _show(rows, found, times)
        _show_stored(stored)


def _show(rows: Sequence[int], found: Sequence[Figure], by: By) -> None:
    sums: Counter[tuple[int, str, str]] = Counter()
    for figure in found:
        for label in (figure.label, ""):
            sums[figure.at, figure.name, label] += figure.value
        if figure.name == figures.JOBS:
            sums[figure.at, figure.name, figure.label.rpartition("/")[2]] += figure.value
    most = max((sums[at, figures.REQUESTS, ""] for at in rows), default=0)

    def row(at: int) -> tuple[object, ...]:
        def number(name: str, label: str = "") -> int:
            return sums[at, name, label]

        results = number(figures.RESULTS)
        kept = results - number(figures.RESULTS, "made")
        lost = number(figures.JOBS) - number(figures.JOBS, "success")
        unsent = number(figures.WEBHOOKS) - number(figures.WEBHOOKS, "delivered")
        return (
            dt.datetime.fromtimestamp(at, dt.UTC).strftime(_FORMATS[by]),
            f"{number(figures.REQUESTS):,}",
            Text(bar(number(figures.REQUESTS), most), style="cyan"),
            f"{number(figures.REFUSALS):,}",
            _size(number(figures.BYTES, "in")),
            _size(number(figures.BYTES, "out")),
            f"{100 * kept // results} %" if results else "",
            f"{number(figures.JOBS, 'success'):,} / {lost:,}",
            f"{number(figures.WEBHOOKS, 'delivered'):,} / {unsent:,}",
        )

    columns = ("UTC", "requests", "", "refused", "in", "out", "results kept", "jobs done / not", "webhooks sent / not")
    say_table(columns, [row(at) for at in rows])


def _show_stored(stored: Sequence[Stored]) -> None:
    most = max((one.size for one in stored), default=0)
    rows = [(one.application, f"{one.files:,}", _size(one.size), Text(bar(one.size, most), style="cyan")) for one in stored]
    say_table(("API key", "files", "bytes", ""), rows, title="stored")


def bar(value: int, most: int) -> str:
    """A bar of blocks; a value above nothing is never an empty one."""
    if most <= 0 or value <= 0:
        return ""
    whole, rest = divmod(max(1, round(8 * _BAR * value / most)), 8)
    return _EIGHTHS[8] * whole + (_EIGHTHS[rest] if rest else "")


def _size(number: int) -> str:
    step, size = 0, float(number)
    while size >= 999.5 and step < len(_UNITS) - 1:
        size, step = size / 1000, step + 1
    return f"{size:.0f} {_UNITS[step]}" if not step or size >= 99.5 else f"{size:.1f} {_UNITS[step]}"
