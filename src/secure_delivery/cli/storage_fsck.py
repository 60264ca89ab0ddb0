"""`secure-delivery storage fsck`: whether every file has its bytes, and all bytes have a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from ..engine.fsck import Finding, Fsck, Report
from ..gate.errors import ConfigurationError
from .output import AsJson, Config, complain, engine_for, err, out, say, say_json

_SHOWN = 100  # findings that a person is shown one by one
_WORDS = {
    "missing": "its bytes are gone",
    "size": "its bytes are not as many as recorded",
    "damaged": "its bytes are not those that were stored",
    "unreadable": "its bytes could not be read",
    "orphan": "no file refers to it",
}


def fsck(
    name: Annotated[str | None, typer.Argument(help="Storage to check; all when left out.")] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Read every file and compare its SHA-256.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Delete bytes that no file refers to, after asking.")] = False,
    forget_missing: Annotated[
        bool, typer.Option("--forget-missing", help="Delete the records of files whose bytes are gone, after asking.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Compare records with storages. Servers may run meanwhile. Exit status 1 when something is wrong and was not repaired."""
    if (repair or forget_missing) and not yes and not sys.stdin.isatty():
        raise ConfigurationError("there is nobody to ask: say --yes")
    with engine_for(config) as engine:
        if name is not None:
            engine.files.storage(name)  # an unknown one is a mistake of who asks, not a finding
        if forget_missing and not yes:
            typer.confirm("Delete the records of all files whose bytes are gone?", abort=True, err=True)
        with _following(quiet=as_json) as (progress, found, ask):
            check = Fsck(
                engine.database,
                engine.records,
                engine.files,
                engine.registry.storages,
                deep=deep,
                clock=engine.clock,
                progress=progress,
                found=found,
            )
            consent = (lambda count, size: True) if yes else ask
            report = check.run(name, repair=repair, forget_missing=forget_missing, consent=consent)
    if as_json:
        say_json({**asdict(report), "counts": dict(report.counts), "wrong": report.wrong})
    else:
        _say(report)
    raise typer.Exit(1 if report.wrong else 0)


@contextmanager
def _following(*, quiet: bool) -> Iterator[tuple[Callable[..., None], Callable[[Finding], None], Callable[[int, int], bool]]]:
    """A bar for what goes on where there is a terminal, a line for each finding, and the question before a deletion."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    shown = 0
    tasks: dict[tuple[str, str], Any] = {}
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:

        def progress(what: str, storage: str, done: int, total: int | None) -> None:
            if (what, storage) not in tasks:
                tasks[what, storage] = bar.add_task(f"{storage}: {what}", total=total)
            bar.update(tasks[what, storage], completed=done)

        def found(finding: Finding) -> None:
            nonlocal shown
            shown += 1
            if quiet or shown > _SHOWN:
                return
            of = f"file {finding.handle}" if finding.handle is not None else f"{finding.size:,} bytes"
            out.print(
                Text(f"{finding.kind:<11}", style="yellow" if finding.kind == "orphan" else "red")
                + Text(f"{of}, {finding.storage} {finding.key}: {_WORDS[finding.kind]}")
                + Text(f" ({finding.detail})" if finding.detail else "")
            )

        def ask(count: int, size: int) -> bool:
            bar.stop()
            agreed: bool = typer.confirm(f"Delete {count:,} blobs with {size:,} bytes that no file refers to?", err=True)
            bar.start()
            return agreed

        yield progress, found, ask


def _say(report: Report) -> None:
    """What was looked at, what was done, and the verdict."""
    say("storages", ", ".join(report.storages) or "none")
    for name, why in report.skipped.items():
        say("not checked" if name not in report.storages else "note", f"{name}: {why}")
    say("files", f"{report.files:,} with {report.bytes:,} bytes")
    say("blobs listed", f"{report.blobs:,}")
    for kind, count in sorted(report.counts.items()):
        say(kind, f"{count:,}" + (f" with {report.orphan_bytes:,} bytes" if kind == "orphan" else ""), "bold")
    for label, count in (
        ("deleted", report.deleted),
        ("forgotten", report.forgotten),
        ("waiting for deletion", report.waiting),
        ("abandoned drafts", report.drafts),
    ):
        if count:
            say(label, f"{count:,}")
    if report.wrong:
        complain(f"{report.wrong:,} problems remain")
    else:
        say("verdict", "everything is as it should be", "green")
