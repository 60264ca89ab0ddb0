"""`secure-delivery jobs`: what is queued, running and done, and what was where.

Knows: words of the command line. Must not know: how jobs are kept.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..engine import Engine
from ..engine.audit import CLI
from ..engine.job_records import ENDED, OPEN, Job
from ..gate.errors import ConfigurationError
from .output import AsJson, Config, engine_for, err, out, say, say_json, say_table

app = typer.Typer(no_args_is_help=True, help="Jobs: previews and conversions.")

_Id = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.")]
_App = Annotated[str | None, typer.Option("--app", help="API key; all applications when left out.")]
_STYLES = {"success": "green", "failure": "red", "cancelled": "yellow", "started": "cyan"}
_GLANCE = 0.5  # seconds between looks of a live view


@app.command("list")
def list_jobs(
    application: _App = None,
    state: Annotated[
        list[str] | None, typer.Option("--state", help="waiting, queued, started, success, failure, cancelled; repeatable.")
    ] = None,
    dead: Annotated[bool, typer.Option("--dead", help="Only jobs that failed for good, with the reason.")] = False,
    most: Annotated[int, typer.Option("--limit", min=1, max=1000)] = 50,
    follow: Annotated[bool, typer.Option("--follow", help="Keep looking until Ctrl-C.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """The newest jobs."""
    states = ("failure",) if dead else tuple(state or ())
    if unknown := sorted({*states} - {*OPEN, *ENDED}):
        raise ConfigurationError(f"there is no state {', '.join(unknown)}; there are: {', '.join((*OPEN, *ENDED))}")
    with engine_for(config) as engine:
        jobs, _ = engine.jobs.jobs.page(application, states=states, most=most)
        if as_json:
            say_json([plain(job) for job in jobs])
        elif follow:
            _follow(engine, application, states, most)
        else:
            out.print(_table(jobs))


def _follow(engine: Engine, application: str | None, states: tuple[str, ...], most: int) -> None:
    with Live(console=out, auto_refresh=False) as live:
        try:
            while True:
                jobs, _ = engine.jobs.jobs.page(application, states=states, most=most)
                live.update(_table(jobs, engine.jobs.jobs.counts()), refresh=True)
                time.sleep(_GLANCE)
        except KeyboardInterrupt:
            return


def _table(jobs: list[Job], counts: dict[str, int] | None = None) -> Table:
    title = None if counts is None else "  ".join(f"{state}: {count}" for state, count in sorted(counts.items()))
    names = ("job", "kind", "state", "step", "tries", "created", "secs", "reason")
    table = Table(title=title, title_justify="left", header_style="bold")
    for name in names:  # ids are copied into the next command: they are never cut
        table.add_column(name, no_wrap=name != "reason", overflow="fold" if name == "job" else "ellipsis")
    for job in jobs:
        reason = "" if job.error is None else f"{job.error['code']}: {job.error['message']}"
        spent = "" if job.started is None else f"{((job.finished or int(time.time() * 1000)) - job.started) / 1000:.1f}"
        cells = (job.id, job.kind, job.state, job.step, str(job.attempts), _moment(job.created)[5:], spent, reason)
        table.add_row(*(Text(cell, style=_STYLES.get(job.state, "") if cell == job.state else "") for cell in cells))
    return table


@app.command("show")
def show(job_id: _Id, config: Config = None, as_json: AsJson = False) -> None:
    """One job: how far it is, and how it ended."""
    with engine_for(config) as engine:
        job = engine.jobs.jobs.get(job_id)
        if as_json:
            say_json(plain(job))
            return
        for name, value in plain(job).items():
            if value is not None:
                say(name.replace("_", " "), _moment(value) if name in _TIMES else value, _STYLES.get(str(value), ""))


@app.command("retry")
def retry(
    job_id: Annotated[str, typer.Argument(metavar="[JOB]", help="Id of the job.")] = "",
    given_up: Annotated[
        bool, typer.Option("--given-up", help="All jobs of --app that ended their worker each time, instead of one.")
    ] = False,
    application: Annotated[str | None, typer.Option("--app", help="API key, for --given-up.")] = None,
    config: Config = None,
) -> None:
    """Queue a job again that failed or was cancelled, or all that were given up."""
    if given_up != (application is not None) or given_up == bool(job_id):
        raise ConfigurationError("name one JOB, or --given-up with --app")
    with engine_for(config) as engine:
        if application is not None:
            say("queued again", engine.job_changes.retry_given_up(CLI, application))
            return
        job = engine.jobs.jobs.get(job_id)
        say("state", engine.job_changes.retry(CLI, job.application, job.id).state)


@app.command("cancel")
def cancel(job_id: _Id, config: Config = None) -> None:
    """End a job that waits; one that runs is given up at its next step."""
    with engine_for(config) as engine:
        found = engine.jobs.jobs.get(job_id)
        job = engine.job_changes.cancel(CLI, found.application, found.id)
        say("state", "cancelling" if job.cancelling and job.state == "started" else job.state)


@app.command("delete")
def delete(job_id: _Id, config: Config = None) -> None:
    """Forget a job that has ended. Its results stay where they are."""
    with engine_for(config) as engine:
        job = engine.jobs.jobs.get(job_id)
        engine.job_changes.delete(CLI, job.application, job.id)
        say("deleted", job.id)


@app.command("audit")
def audit(job_id: _Id, config: Config = None, as_json: AsJson = False) -> None:
    """What existed where because of a job, and when it was deleted."""
    with engine_for(config) as engine:
        job = engine.jobs.jobs.get(job_id)
        lines = engine.jobs.jobs.trace(job_id)
        if as_json:
            traced = [{"at": line.at, "what": line.what, "place": line.place, "size": line.size} for line in lines]
            say_json({"job": job.id, "state": job.state, "purged": job.purged, "trace": traced})
            return
        say_table(
            ("when", "what", "where", "bytes"),
            [(_moment(line.at), line.what, line.place, "" if line.size is None else line.size) for line in lines],
        )
        if job.purged is not None:
            say("everything deleted", _moment(job.purged), "green")
        elif job.state in ("waiting", "queued", "started"):
            say("everything deleted", "not yet: the job has not ended")
        else:
            say("everything deleted", "not recorded: the worker ended first; what it left is swept by the next", "yellow")


@app.command("drain")
def drain(
    application: _App = None,
    seconds: Annotated[float, typer.Option("--timeout", help="Give up after so many seconds.")] = 3600.0,
    config: Config = None,
) -> None:
    """Wait until no job is open any more. Exit status 1 when that takes too long."""
    with engine_for(config) as engine, Live(console=err, auto_refresh=False, transient=True) as live:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            jobs, _ = engine.jobs.jobs.page(application, states=("waiting", "queued", "started"), most=20)
            if not jobs:
                raise typer.Exit(0)
            live.update(_table(jobs, engine.jobs.jobs.counts()), refresh=True)
            time.sleep(_GLANCE)
    raise typer.Exit(1)


_TIMES = frozenset({"created", "started", "finished", "purged", "run_at"})


def plain(job: Job) -> dict[str, Any]:
    """A job as plain values. Its request is not among them: it may hold addresses with credentials."""
    names = ("id", "application", "kind", "state", "step", "cost", "urgency", "attempts", "worker", "run_at")
    rest = ("created", "started", "finished", "purged", "error", "data", "result")
    return {name: getattr(job, name) for name in (*names, *rest)}


def _moment(value: Any) -> str:
    return datetime.fromtimestamp(int(value) / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
