"""`secure-delivery renditions …`: what is kept of results, and dropping it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ..gate.errors import ConfigurationError
from .output import AsJson, Config, engine_for, err, say, say_json, say_table

app = typer.Typer(help="Kept results of transformations: how much they take, and dropping them.", no_args_is_help=True)

Application = Annotated[str | None, typer.Option("--app", help="API key of an application: only, or all of, its results.")]


@contextmanager
def _counting(says: str) -> Iterator[Callable[[], None]]:
    """A line that counts steps, where there is a terminal."""
    columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed:,.0f}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(says, total=None)
        yield lambda: progress.advance(task)


@app.command()
def stats(application: Application = None, config: Config = None, as_json: AsJson = False) -> None:
    """Count what is kept, by application."""
    with engine_for(config) as engine, _counting("sources looked at") as step:
        keys = [application] if application is not None else engine.renditions.applications()
        found = {key: engine.renditions.kept(key, step=step) for key in keys}
        budget = engine.settings.rendition_bytes
    total = sum(kept.size for kept in found.values())
    if as_json:
        by_key = {key: kept._asdict() for key, kept in found.items()}
        say_json({"applications": by_key, "size": total, "budget": budget})
        return
    rows = [(key, f"{kept.results:,}", f"{kept.copies:,}", f"{kept.size:,}") for key, kept in found.items()]
    say_table(("API key", "results", "smaller copies", "bytes"), rows)
    say("bytes in all", f"{total:,} of {budget:,}")


@app.command()
def purge(
    handle: Annotated[str | None, typer.Argument(help="Handle of the file whose results are dropped.")] = None,
    application: Application = None,
    everything: Annotated[bool, typer.Option("--all", help="Drop the results of all applications.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Drop results: of a file, of an application, or all. Running servers notice at once and make them again when asked."""
    if (handle is not None) + (application is not None) + everything != 1:
        raise ConfigurationError("say what to purge: HANDLE, --app KEY or --all")
    with engine_for(config) as engine, _counting("dropped from applications") as step:
        count = 0
        for key in [application] if application is not None else engine.renditions.applications():
            count += engine.renditions.purge_application(key) if handle is None else engine.renditions.purge(key, handle)
            step()
    if as_json:
        say_json({"dropped": count})
    else:
        say("dropped", f"{count:,} results and copies")
