"""Measure everything side by side and print the ratios: `python bench/run.py [--quick] [--only NAME] [--save]`.

Knows: the suites and their order. Must not know: what they measure.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from dataclasses import replace
from types import ModuleType

from measure import Effort, Row, UnavailableError
from report import figure, machine, save, verdict
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

SUITES = (
    "verification",
    "doors",
    "images",
    "service",
    "peers",
    "uploads",
    "sending",
    "lookups",
    "lookups_postgres",
    "browsing",
    "browsing_postgres",
    "jobs",
    "previewing",
)
#: Several suites by one name.
GROUPS = {"files": ("uploads", "sending", "lookups", "lookups_postgres", "browsing", "browsing_postgres")}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure secure_delivery beside its peers.")
    parser.add_argument(
        "--only",
        action="append",
        choices=[*SUITES, *GROUPS],
        metavar="NAME",
        help=f"one of {', '.join(SUITES)}; files for the six of stored files; repeat it",
    )
    parser.add_argument("--megabytes", type=int, metavar="N", help="MiB of the large upload, 1024 unless told otherwise")
    parser.add_argument("--rows", type=int, metavar="N", help="files of the large database, 1,000,000 unless told otherwise")
    parser.add_argument("--quick", action="store_true", help="few, short rounds: does it run, roughly where does it stand")
    parser.add_argument("--save", action="store_true", help="write results/latest.json, the plots and the table in README.md")
    return parser.parse_args()


def _measure(modules: dict[str, ModuleType], effort: Effort, console: Console) -> tuple[list[Row], dict[str, str]]:
    rows: list[Row] = []
    missing: dict[str, str] = {}
    columns = (TextColumn("{task.description:<16}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        for name, module in modules.items():
            task = progress.add_task(name, total=module.steps(effort))
            try:
                rows += module.measure(effort, lambda task=task: progress.advance(task))
            except UnavailableError as error:
                missing[name] = str(error)
            except Exception as error:  # what the other suites measured is worth showing all the same
                missing[name] = f"it failed: {error!r}"
            if name in missing:
                console.print(f"{name}: not run, {missing[name]}", markup=False)
            progress.update(task, completed=module.steps(effort))
    return rows, missing


def _show(rows: list[Row], console: Console) -> None:
    table = Table("what / against what", "target", "", title="ratios are medians over rounds taken in turns")
    for name in ("result", "quartiles", "ours", "theirs"):
        table.add_column(name, justify="right")
    suite = ""
    for row in rows:
        if suite and row.suite != suite:
            table.add_section()
        suite = row.suite
        colour = {True: "green", False: "red", None: "default"}[row.met]
        value, quartiles = figure(row)
        table.add_row(
            row.name, row.target, f"[{colour}]{verdict(row)}[/]", f"[{colour}]{value}[/]", quartiles, row.ours, row.theirs
        )
    console.print(table)


def main() -> int:
    """Run the suites. The exit status is 0 when all of them ran and every target was met."""
    arguments = _arguments()
    console, progress = Console(), Console(stderr=True)
    if not console.is_terminal:
        console = Console(width=150)
    about = machine()
    console.print("; ".join(f"{name} {value}" for name, value in about.items()), markup=False)
    effort = Effort.quick() if arguments.quick else Effort()
    told = {name: getattr(arguments, name) for name in ("megabytes", "rows") if getattr(arguments, name)}
    effort = replace(effort, **told)
    wanted = [each for name in arguments.only or SUITES for each in GROUPS.get(name, (name,))]
    modules = {name: importlib.import_module(name) for name in wanted}
    rows, missing = _measure(modules, effort, progress)
    _show(rows, console)
    if arguments.save:
        from plot import draw

        told = machine() | {"load when it began": about["load when it began"]}
        save(rows, told, missing, quick=arguments.quick, suites=wanted if arguments.only else ())
        draw()
    return 1 if missing or any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
