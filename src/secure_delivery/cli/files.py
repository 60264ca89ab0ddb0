"""`secure-delivery store`: put a file into the server's storage from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from ..engine import Engine
from ..engine.files import Target, clean_name
from ..engine.records import FileLink
from ..gate.errors import ConfigurationError
from ..gate.model import Application
from .output import AsJson, Config, engine_for, err, known_application, say, say_json


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
        link = engine.files.restore(known_application(engine, link.application), handle)
    if as_json:
        say_json({"handle": link.handle, "filename": link.filename})
    else:
        say("restored", f"{link.handle}  {link.filename}")


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
