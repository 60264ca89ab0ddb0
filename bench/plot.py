"""Draws `results/latest.json`: how far each measure is from its target, what an app keeps, how files come and go.

Knows: the file of a run, matplotlib. Must not know: how anything was measured.
"""

from __future__ import annotations

import json
from typing import Any

import matplotlib as mpl
from measure import Row
from report import RESULTS

mpl.use("Agg")  # no screen is needed, so none is looked for
from matplotlib import pyplot as plt

_FILES = ("uploads", "sending", "lookups", "lookups_postgres", "browsing", "browsing_postgres")
_MET, _MISSED, _OTHER, _NAIVE = "#2f7d5b", "#b4452f", "#8a8f98", "#c9a24b"


def _rows() -> tuple[list[Row], str]:
    kept = json.loads((RESULTS / "latest.json").read_text(encoding="utf-8"))
    return [Row(**row) for row in kept["rows"]], kept["taken"] + (" (quick)" if kept["quick"] else "")


def _finish(figure: Any, axes: Any, name: str) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(RESULTS / name, dpi=120)
    plt.close(figure)


def _times(row: Row) -> float:
    """How many times better than its target a row is; sixteen times is off the scale."""
    if row.at_most is None:
        return row.value / (row.at_least or 1)
    return row.at_most / max(row.value, row.at_most / 16)


def _targets(rows: list[Row], taken: str) -> None:
    """Every measure that has a target, as a multiple of it: right of the line is better than asked for."""
    aimed = [row for row in rows if row.met is not None and row.at_most != 0][::-1]  # of none at all there are no multiples
    if not aimed:
        return
    better = [_times(row) for row in aimed]
    figure, axes = plt.subplots(figsize=(10, 1.2 + 0.36 * len(aimed)))
    axes.barh([row.name for row in aimed], better, color=[_MET if row.met else _MISSED for row in aimed], height=0.62)
    for index, (row, times) in enumerate(zip(aimed, better, strict=True)):
        axes.text(
            times, index, f" {row.value:.2f}{'' if row.unit == 'x' else ' ' + row.unit} ({row.target})", va="center", fontsize=8
        )
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(0.4, max(4.0, 2.2 * max(better)))
    axes.set_xticks([0.5, 1, 2, 4, 8], ["half as good", "target", "2 x better", "4 x", "8 x"], fontsize=8)
    axes.minorticks_off()
    axes.tick_params(axis="y", labelsize=8)
    axes.set_title(f"Targets and what was measured, {taken}", fontsize=10, loc="left")
    _finish(figure, axes, "targets.png")


def _doors(rows: list[Row], taken: str) -> None:
    """What an app keeps of its requests per second, guarded and with a naive verifier."""
    doors = [row for row in rows if row.suite == "doors"]
    guarded = [row for row in doors if "naive" not in row.name]
    naive = [row for row in doors if "naive" in row.name]
    if not guarded:
        return
    figure, axes = plt.subplots(figsize=(12, 5.2))
    for offset, group, colour, label in ((-0.2, guarded, _MET, "the gate"), (0.2, naive, _NAIVE, "a naive verifier")):
        places = [index + offset for index in range(len(group))]
        spans = [[row.value - row.low for row in group], [row.high - row.value for row in group]]
        axes.bar(places, [row.value for row in group], 0.38, yerr=spans, color=colour, label=label, ecolor="#444", capsize=2)
        for place, row in zip(places, group, strict=True):
            axes.text(place, row.value / 2, f"{row.value:.2f}", ha="center", fontsize=8, color="white")
    for index, row in enumerate(guarded):
        if row.at_least is not None:
            axes.hlines(row.at_least, index - 0.42, index + 0.02, color="black", linewidth=1.4)
    axes.set_ylim(0, 1.25)
    axes.axhline(1, color=_OTHER, linewidth=0.8, linestyle=":")
    labels = [
        row.name.removesuffix(" / bare")
        .replace(": ", ":\n")
        .replace(" (", "\n(")
        .replace(" in turn", "")
        .replace(" that", "\nthat")
        for row in guarded
    ]
    axes.set_xticks(range(len(guarded)), labels, fontsize=7)
    axes.set_ylabel("part of the bare app's requests per second", fontsize=8)
    axes.set_title(f"What a do-nothing app on granian keeps (black: target), {taken}", fontsize=10, loc="left")
    axes.legend(fontsize=8, frameon=False, loc="upper left", ncols=2)
    _finish(figure, axes, "doors.png")


def _files(rows: list[Row], taken: str) -> None:
    """Files that come, go and are looked up, as multiples of what they stand beside."""
    shown = [row for row in rows if row.suite in _FILES and row.unit == "x"][::-1]
    if not shown:
        return
    figure, axes = plt.subplots(figsize=(11, 1.2 + 0.34 * len(shown)))
    colours = [{True: _MET, False: _MISSED, None: _OTHER}[row.met] for row in shown]
    spans = [[row.value - row.low for row in shown], [row.high - row.value for row in shown]]
    axes.barh(range(len(shown)), [row.value for row in shown], xerr=spans, color=colours, height=0.6, ecolor="#444", capsize=2)
    for place, row in enumerate(shown):
        target = row.at_least if row.at_least is not None else row.at_most
        if target is not None:
            axes.vlines(target, place - 0.42, place + 0.42, color="black", linewidth=1.6)
        axes.text(0.03, place, f"{row.value:.2f}", va="center", fontsize=8, color="white")
    axes.axvline(1, color=_OTHER, linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(shown)), [row.name for row in shown], fontsize=8)
    axes.set_title(f"Files in and out, as multiples of their peers (black: target), {taken}", fontsize=10, loc="left")
    _finish(figure, axes, "files.png")


def draw() -> None:
    """Write the plots beside the figures they show."""
    rows, taken = _rows()
    _targets(rows, taken)
    _doors(rows, taken)
    _files(rows, taken)


if __name__ == "__main__":
    draw()
