"""Plots as SVG, made here so that pages need no script for them: `plot(series, ...)` gives the text.

Knows: SVG, time axes of hours, days and months, what makes a plot readable for everybody. Must not know: where numbers come
from, pages, HTTP.

A plot is an image with a title and a description that says its numbers, so that who cannot see it is told the same. Lines are
told apart by dashes and the form of their marks as well as by colour; parts of a stack by their order, which is that of the
legend from below. Colours are variables of the page's style sheet
(`--plot-ink`, `--plot-line`, `--plot-1` to `--plot-6`) with fallbacks for a light background; a plot that is a file of its own
(`standalone`) brings them along for light and dark. There is no script, no style attribute and, within a page, no style
element, so that the strictest Content-Security-Policy lets it be.

The drawing is 360 units wide, so that its letters can be read where it is only 320 pixels wide.

Sources: SVG 1.1 chapter 5.4 (title, desc); WCAG 2.2, 1.4.1 and 1.4.11.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from ..engine.figures import By

__all__ = ["Series", "plot", "short"]

_WIDE, _HIGH = 360, 220
_LEFT, _RIGHT, _TOP = 44, 352, 30
_FOOT = 44  # below the axis: its labels, and the first row of the legend
_ROW = 16  # for every further row of the legend
_SIZE = 11  # of letters
_MOST = 6  # series; more could not be told apart
_LABELS = 5  # of the time axis, at most
_FORMATS: dict[str, str] = {"hour": "%H:%M", "day": "%d %b", "month": "%b %Y"}
#: At least 4.5:1 against their backgrounds, white and #111827.
_LIGHT = ("#1d4ed8", "#b45309", "#047857", "#be123c", "#6d28d9", "#0e7490")
_DARK = ("#93c5fd", "#fbbf24", "#6ee7b7", "#fda4af", "#c4b5fd", "#67e8f9")
_INKS = {"ink": ("#1f2937", "#e5e7eb"), "line": ("#9ca3af", "#6b7280")}
_DASHES = ("", "6 3", "2 2", "8 3 2 3", "4 4", "1 3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Numbers of one thing, one for each time of the plot. `name` may be anything."""

    name: str
    values: Sequence[float]


def plot(
    series: Sequence[Series],
    times: Sequence[int],
    *,
    title: str,
    name: str = "plot",
    by: By = "hour",
    kind: Literal["line", "bar"] = "line",
    unit: str = "",
    standalone: bool = False,
) -> str:
    """An SVG document of up to six series over `times`, seconds since the epoch in UTC.

    Bars are stacked. `name` makes the ids of one page different from each other: letters, digits and dashes. `unit` is said
    after numbers; `bytes` makes them kB, MB and so on.

    Raises `ValueError` for more series, for one of another length than `times`, for a number below zero or none at all, and
    for a `name` that is no id.
    """
    _check(series, times, name)
    drawing = _Drawing(series, times, by, unit, stacked=kind == "bar")
    parts = [_head(name, drawing.high, title, drawing.says(), standalone), drawing.grid(), drawing.axis()]
    parts.append(drawing.bars() if kind == "bar" else drawing.lines())
    parts += [drawing.legend(), "</svg>"]
    return "\n".join(part for part in parts if part)


def short(value: float, unit: str = "") -> str:
    """A number in few letters: 950, 1.2k, 3.4M; of bytes: 1.2 kB."""
    step = 0
    size = value
    while size >= 999.5 and step < 5:
        size /= 1000
        step += 1
    digits = f"{size:.1f}" if (step and size < 9.95) or (not step and size != int(size)) else f"{size:.0f}"
    digits = digits.removesuffix(".0")
    if unit == "bytes":
        return f"{digits} {('B', 'kB', 'MB', 'GB', 'TB', 'PB')[step]}"
    return digits + ("", "k", "M", "G", "T", "P")[step]


def _check(series: Sequence[Series], times: Sequence[int], name: str) -> None:
    if len(series) > _MOST:
        raise ValueError(f"{len(series)} series; at most {_MOST} can be told apart")
    if not name.isascii() or not name.replace("-", "").isalnum():
        raise ValueError("name: letters, digits and dashes are wanted")
    for one in series:
        if len(one.values) != len(times):
            raise ValueError(f"{len(one.values)} values for {len(times)} times")
        if not all(math.isfinite(value) and value >= 0 for value in one.values):
            raise ValueError("a value is below zero or no number")


def _text(text: str) -> str:
    """Text that is never markup, without what XML cannot hold (XML 1.0 section 2.2)."""
    kept = "".join(letter if _in_xml(letter) else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return escape(kept)


def _in_xml(letter: str) -> bool:
    code = ord(letter)
    return letter in "\t\n" or (code >= 32 and not 0xD800 <= code <= 0xDFFF and code not in (0xFFFE, 0xFFFF))


def _colour(name: str) -> str:
    """A variable of the page, or what it falls back to."""
    light = _INKS[name][0] if name in _INKS else _LIGHT[int(name) - 1]
    return f"var(--plot-{name}, {light})"


def _head(name: str, high: float, title: str, says: str, standalone: bool) -> str:
    style = ""
    if standalone:
        pairs = [*_INKS.items(), *((str(number + 1), pair) for number, pair in enumerate(zip(_LIGHT, _DARK, strict=True)))]
        sides = [" ".join(f"--plot-{key}: {pair[side]};" for key, pair in pairs) for side in (0, 1)]
        style = (
            f"\n<style>:root {{ {sides[0]} background: #fff; }} "
            f"@media (prefers-color-scheme: dark) {{ :root {{ {sides[1]} background: #111827; }} }}</style>"
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {high:g}" role="img" class="plot" '
        f'aria-labelledby="{name}-title {name}-desc" font-family="system-ui, sans-serif" font-size="{_SIZE}">\n'
        f'<title id="{name}-title">{_text(title)}</title>\n<desc id="{name}-desc">{_text(says)}</desc>{style}\n'
        f'<text x="8" y="16" font-size="13" font-weight="600" fill="{_colour("ink")}">{_text(_cut(title, 48))}</text>'
    )


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


class _Drawing:
    """Where everything is."""

    def __init__(self, series: Sequence[Series], times: Sequence[int], by: By, unit: str, *, stacked: bool) -> None:
        self._series, self._times, self._by, self._unit = series, times, by, unit
        self._stacked = stacked
        tops = [sum(column) if stacked else max(column, default=0.0) for column in self._columns()]
        self._step = _step(max(tops, default=0.0))
        self._most = self._step * max(1, math.ceil(max(tops, default=0.0) / self._step))
        self._places = self._legend_places()
        rows = 1 + max((row for row, _ in self._places), default=0)
        self.high = _HIGH + _ROW * (rows - 1)
        self._base = _HIGH - _FOOT

    def _columns(self) -> list[tuple[float, ...]]:
        return list(zip(*(one.values for one in self._series), strict=True)) if self._series else []

    def _x(self, place: int) -> float:
        """The middle of one time."""
        wide = (_RIGHT - _LEFT) / max(1, len(self._times))
        return _LEFT + wide * (place + 0.5)

    def _y(self, value: float) -> float:
        return self._base - (self._base - _TOP) * value / self._most

    def says(self) -> str:
        """What is to be seen, in words."""
        if not self._times or not self._series:
            return "There is nothing to show yet."
        first, last = (self._when(moment, whole=True) for moment in (self._times[0], self._times[-1]))
        told = [f"By {self._by}, from {first} to {last} (UTC)."]
        for one in self._series:
            least, most = min(one.values), max(one.values)
            told.append(
                f"{one.name}: {self._number(math.fsum(one.values))} in all, least {self._number(least)}, "
                f"most {self._number(most)} at {self._when(self._times[list(one.values).index(most)], whole=True)}, "
                f"last {self._number(one.values[-1])}."
            )
        return " ".join(told)

    def _number(self, value: float) -> str:
        unit = f" {self._unit}" if self._unit and self._unit != "bytes" else ""
        return short(value, self._unit) + unit

    def _when(self, moment: int, *, whole: bool = False) -> str:
        at = dt.datetime.fromtimestamp(moment, dt.UTC)
        if whole and self._by != "month":
            return at.strftime("%Y-%m-%d %H:%M" if self._by == "hour" else "%Y-%m-%d")
        return at.strftime(_FORMATS[self._by])

    # -- drawing

    def grid(self) -> str:
        """Horizontal lines with their numbers."""
        found = []
        for number in range(round(self._most / self._step) + 1):
            y = self._y(number * self._step)
            found.append(
                f'<line x1="{_LEFT}" x2="{_RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_colour("line")}" '
                f'stroke-width="{1 if number == 0 else 0.4}"/>'
                f'<text x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end" fill="{_colour("ink")}">'
                f"{_text(short(number * self._step, self._unit))}</text>"
            )
        return "\n".join(found)

    def axis(self) -> str:
        """Times, as many as have room; a word where there are none."""
        y = self._base + 15
        if not self._times or not self._series:
            x, middle = (_LEFT + _RIGHT) / 2, (self._base + _TOP) / 2
            return f'<text x="{x:g}" y="{middle:g}" text-anchor="middle" fill="{_colour("ink")}">No data</text>'
        every = math.ceil(len(self._times) / _LABELS)
        return "\n".join(
            f'<text x="{self._x(place):.1f}" y="{y:g}" text-anchor="middle" fill="{_colour("ink")}">{self._when(moment)}</text>'
            for place, moment in enumerate(self._times)
            if place % every == every // 2
        )

    def lines(self) -> str:
        """A line for each series; a single point is a mark."""
        found = []
        for number, one in enumerate(self._series):
            points = [(self._x(place), self._y(value)) for place, value in enumerate(one.values)]
            if len(points) > 1:
                path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
                dashes = f' stroke-dasharray="{_DASHES[number]}"' if _DASHES[number] else ""
                found.append(
                    f'<polyline points="{path}" fill="none" stroke="{_colour(str(number + 1))}" stroke-width="1.8" '
                    f'stroke-linejoin="round"{dashes}/>'
                )
            if points and len(points) <= 31:
                found += [_mark(number, x, y) for x, y in points]
        return "\n".join(found)

    def bars(self) -> str:
        """A stack for each time, its parts parted by a gap."""
        wide = (_RIGHT - _LEFT) / max(1, len(self._times))
        thick = max(0.8, wide * 0.75)
        found = []
        for place, column in enumerate(self._columns()):
            below = 0.0
            for number, value in enumerate(column):
                top, foot = self._y(below + value), self._y(below)
                below += value
                if value:
                    high = max(0.6, foot - top - (0.6 if below > value else 0))
                    found.append(
                        f'<rect x="{self._x(place) - thick / 2:.1f}" y="{top:.1f}" width="{thick:.1f}" height="{high:.1f}" '
                        f'fill="{_colour(str(number + 1))}"/>'
                    )
        return "\n".join(found)

    def _legend_places(self) -> list[tuple[int, float]]:
        row, x, found = 0, 8.0, []
        for one in self._series:
            needed = 30 + 6.3 * len(_cut(one.name, 28))
            if x + needed > _WIDE and x > 8:
                row, x = row + 1, 8.0
            found.append((row, x))
            x += needed
        return found

    def legend(self) -> str:
        """What is what."""
        found = []
        for number, (one, (row, x)) in enumerate(zip(self._series, self._places, strict=True)):
            y = _HIGH - 8 + _ROW * row
            if self._stacked:
                key = f'<rect x="{x:g}" y="{y - 9:g}" width="14" height="10" fill="{_colour(str(number + 1))}"/>'
            else:
                dashes = f' stroke-dasharray="{_DASHES[number]}"' if _DASHES[number] else ""
                key = (
                    f'<line x1="{x:g}" x2="{x + 16:g}" y1="{y - 4:g}" y2="{y - 4:g}" stroke="{_colour(str(number + 1))}" '
                    f'stroke-width="1.8"{dashes}/>{_mark(number, x + 8, y - 4)}'
                )
            found.append(f'{key}<text x="{x + 20:g}" y="{y:g}" fill="{_colour("ink")}">{_text(_cut(one.name, 28))}</text>')
        return "\n".join(found)


def _mark(number: int, x: float, y: float) -> str:
    """A disc, a square or a diamond; filled, then hollow."""
    colour = _colour(str(number + 1))
    paint = f'fill="{colour}"' if number < 3 else f'fill="none" stroke="{colour}"'
    if number % 3 == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4" {paint}/>'
    if number % 3 == 1:
        return f'<rect x="{x - 2.2:.1f}" y="{y - 2.2:.1f}" width="4.4" height="4.4" {paint}/>'
    return f'<path d="M{x:.1f} {y - 3:.1f}l3 3l-3 3l-3 -3z" {paint}/>'


def _step(most: float) -> float:
    """The distance of grid lines: 1, 2 or 5 times a power of ten, four lines or so."""
    if most <= 4:
        return 1.0
    rough = most / 4
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * times for times in (1, 2, 5, 10) if power * times >= rough * 0.999)
