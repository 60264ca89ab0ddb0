"""`secure-delivery store`, `restore`, `files …`: files of the server from the command line.

Knows: words of the command line. Must not know: how files are kept or looked for.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from ..engine import Engine
from ..engine.audit import CLI
from ..engine.files import Target, clean_name
from ..engine.records import FileLink
from ..gate.errors import ConfigurationError
from ..gate.model import Application
from .output import (
    AsJson,
    Config,
    Key,
    engine_for,
    err,
    known_application,
    moment_of,
    ms_of,
    out,
    say,
    say_json,
    say_table,
    shown,
)

app = typer.Typer(help="Stored files: look for them, see what was made of them, delete.", no_args_is_help=True)

_Handle = Annotated[str, typer.Argument(metavar="HANDLE", help="Handle of the file.")]


class Order(StrEnum):
    """The orders of `engine.file_search`, for the help."""

    NEWEST = "newest"
    OLDEST = "oldest"
    NAME = "name"
    LARGEST = "largest"


def store(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="The file to store.")],
    app: Annotated[str, typer.Option("--app", help="API key of the application it will belong to.")],
    filename: Annotated[str | None, typer.Option(help="Record it under another name.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Store a file and print its handle."""
    with engine_for(config) as engine:
        link = store_file(engine, known_application(engine, app), file, filename or file.name)
    if as_json:
        say_json({"handle": link.handle, "filename": link.filename, "size": link.size, "type": link.mimetype})
        return
    say("handle", link.handle, "bold")
    say("type", link.mimetype)
    say("size", f"{link.size} bytes")


def restore(
    handle: Annotated[str, typer.Argument(metavar="HANDLE", help="Handle of a deleted file.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Undo the deletion of a file, while its application lets it be undone."""
    with engine_for(config) as engine:
        link = engine.records.file(handle)
        if link is None:
            raise ConfigurationError(f"there is no file {handle}, or it is too late")
        link = engine.administration.restore_file(CLI, known_application(engine, link.application).api_key, handle)
    if as_json:
        say_json({"handle": link.handle, "filename": link.filename})
    else:
        say("restored", f"{link.handle}  {shown(link.filename)}")


@app.command("list")
def list_files(
    key: Key,
    name: Annotated[str | None, typer.Option(help="Only those with this in their name, capitals or not.")] = None,
    mimetype: Annotated[str | None, typer.Option("--type", help="Only of this type: image/png, or image/* for all.")] = None,
    path: Annotated[str | None, typer.Option(help="Only those whose path begins so.")] = None,
    since: Annotated[str | None, typer.Option(help="Only stored at this date or time or later, in UTC.")] = None,
    until: Annotated[str | None, typer.Option(help="Only stored before this date or time, in UTC.")] = None,
    order: Annotated[Order, typer.Option(help="Which come first.")] = Order.NEWEST,
    removed: Annotated[bool, typer.Option("--removed", help="Only deleted ones that can be restored.")] = False,
    after: Annotated[str | None, typer.Option(help="Go on behind a page: the `next` that it printed.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many at most.")] = 50,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Look for files of an application, page by page."""
    begin, end = ms_of(since, "--since"), ms_of(until, "--until")
    with engine_for(config) as engine:
        page = engine.search.page(
            known_application(engine, key).api_key,
            text=name,
            mimetype=mimetype,
            path=path,
            since=begin,
            until=end,
            removed=removed,
            order=order.value,
            after=after,
            limit=limit,
        )
        rows = [_plain(engine, link) for link in page.files]
    if as_json:
        say_json({"files": rows, "next": page.next, "partial": page.partial})
        return
    cells = [(row["handle"], shown(row["filename"]), row["type"], f"{row['size']:,}", row["uploaded"]) for row in rows]
    say_table(("handle", "name", "type", "bytes", "stored (UTC)"), cells)
    if page.partial:
        out.print("not all files were looked at for this page", style="yellow")
    if page.next is not None:
        say("next", page.next)


@app.command()
def show(handle: _Handle, config: Config = None, as_json: AsJson = False) -> None:
    """Show what is known of a file, and what is kept of what was made of it."""
    with engine_for(config) as engine:
        link = _known(engine, handle)
        made = engine.renditions.of(link.application, link.handle)
        values = _plain(engine, link)
    results = [{"type": each.mimetype, "size": each.size, "created": moment_of(each.created)} for each in made]
    if as_json:
        say_json({**values, "renditions": results})
        return
    for label, value in values.items():
        if value is not None:
            say(label, shown(f"{value:,}" if label == "size" else value))
    say("renditions", f"{len(made):,}, {sum(each.size for each in made):,} bytes")
    if results:
        say_table(("type", "bytes", "made (UTC)"), [(each["type"], f"{each['size']:,}", each["created"]) for each in results])


@app.command()
def remove(handle: _Handle, config: Config = None, as_json: AsJson = False) -> None:
    """Delete a file and everything made of it. It can be restored where the application lets deletions be undone."""
    with engine_for(config) as engine:
        link = _known(engine, handle)
        engine.administration.remove_file(CLI, link.application, handle)
        days = known_application(engine, link.application).undo / 86_400
    if as_json:
        say_json({"removed": handle, "undo_days": days})
        return
    say("removed", f"{handle}  {shown(link.filename)}")
    if days:
        say("restored by", f"secure-delivery restore {handle}, for {days:g} days")


@app.command()
def purge(handle: _Handle, config: Config = None, as_json: AsJson = False) -> None:
    """Drop everything that was made of a file. Running servers notice at once and make it again when asked."""
    with engine_for(config) as engine:
        count = engine.administration.purge_renditions(CLI, _known(engine, handle).application, handle)
    if as_json:
        say_json({"purged": count})
    else:
        say("purged", f"{count:,} results and copies")


def _known(engine: Engine, handle: str) -> FileLink:
    """The record of a handle, also of a deleted file. Raises `ConfigurationError` when there is none."""
    link = engine.records.file(handle)
    if link is None:
        raise ConfigurationError(f"there is no file {shown(handle)}")
    return link


def _plain(engine: Engine, link: FileLink) -> dict[str, Any]:
    """A file as plain values, times in UTC."""
    return {
        "handle": link.handle,
        "application": link.application,
        "filename": link.filename,
        "type": link.mimetype,
        "size": link.size,
        "uploaded": moment_of(link.uploaded),
        "storage": engine.storages.name_of(link.storage),
        "container": link.container,
        "path": link.path,
        "sha256": link.sha256,
        "version": link.version,
        "expires": moment_of(link.expires),
        "removed": moment_of(link.removed),
        "held": moment_of(link.held),
        "source_url": link.source_url,
    }


def store_file(engine: Engine, application: Application, file: Path, filename: str) -> FileLink:
    """Stream one file into the storage, with a progress bar where there is a terminal."""
    columns = ("[progress.description]{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with (
        file.open("rb") as stream,
        engine.files.begin(application, Target(filename=clean_name(filename)), limit=engine.settings.max_bytes) as upload,
        Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress,
    ):
        task = progress.add_task("storing", total=file.stat().st_size)
        while piece := stream.read(1 << 20):
            upload.write(piece)
            progress.advance(task, len(piece))
        return engine.files.add(application, upload)
