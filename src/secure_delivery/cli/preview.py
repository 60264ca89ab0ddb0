"""`secure-delivery preview FILE...`: the same previews as the server's, here and now.

Knows: words of the command line. Must not know: how a preview is made.
"""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from ..engine.local_previews import LocalPreview, identity, opened, stem_of
from ..engine.names import clean_name
from ..engine.preview_order import PreviewOrder, read_order
from ..engine.settings import Settings
from ..gate.errors import ConfigurationError
from .output import AsJson, Config, complain, err, out, say_json, shown

_USUAL = 4  # files at work at once, where there are as many processors: more than that is a matter of memory


def preview(
    files: Annotated[list[Path], typer.Argument(help="Files to preview.", show_default=False)],
    into: Annotated[Path, typer.Option("--into", "-o", help="Folder that pictures and JSON are written to.")] = Path(),
    size: Annotated[
        list[str] | None,
        typer.Option("--size", "-s", help="WIDTHxHEIGHT, WIDTH, xHEIGHT, with > to never enlarge; repeatable."),
    ] = None,
    form: Annotated[str, typer.Option("--format", "-f", help="jpg, png, webp or avif.")] = "png",
    pages: Annotated[str, typer.Option("--pages", "-p", help="1, 1-3, 1,3,5 or all.")] = "1",
    metadata: Annotated[
        str, typer.Option("--metadata", "-m", help="Sections, separated by commas, or all; see: secure-delivery plugins.")
    ] = "",
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", help="Files at work at once; as many as there are processors, at most 4.", min=1, max=64),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Write a picture of each page and a JSON file with what is known of each file.

    Exit status 1 when one could not be done.
    """
    order = _order(size, form, pages, metadata)
    at_once = min(jobs or min(_USUAL, os.cpu_count() or 1), len(files))
    try:
        into.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{shown(into)} cannot be made: {error.strerror}") from None
    keep = _identities(files)
    stems = _stems(files, into, keep)
    with opened(Settings.load(config), size=at_once, max_pages=10_000) as previews, _bar(as_json) as bar:
        task = bar.add_task("previews", total=len(files))

        def one(path: Path, stem: str) -> LocalPreview:
            told = lambda what: bar.update(task, description=f"{shown(path.name)}: {what}")
            made = previews.make(path, order, into, stem=stem, keep=keep, progress=told)
            bar.advance(task)
            return made

        with ThreadPoolExecutor(at_once) as pool:
            results = list(pool.map(one, files, stems))
    if as_json:
        say_json([_plain(made) for made in results])
    else:
        for made in results:
            _say(made)
    raise typer.Exit(1 if any(made.fault for made in results) else 0)


def _identities(files: list[Path]) -> set[tuple[int, int]]:
    """The files themselves, which no result may replace."""
    found = set()
    for path in files:
        with suppress(OSError):  # it is told of when it is its turn
            found.add(identity(path))
    return found


def _stems(files: list[Path], into: Path, keep: set[tuple[int, int]]) -> list[str]:
    """What the results of each file are called by: its name without extension; the whole of it where several have that stem, or
    where its JSON file would replace a file that is previewed; with a number where several have the same name."""
    counts = Counter(clean_name(stem_of(path)).casefold() for path in files)
    found: list[str] = []
    for path in files:
        stem = clean_name(stem_of(path))
        document = _identities([into / clean_name(f"{stem}.json")])
        if counts[stem.casefold()] > 1 or document & keep:
            stem = clean_name(path.name)
        taken = {other.casefold() for other in found}
        numbers = (stem if number == 1 else f"{stem}~{number}" for number in count(1))
        found.append(next(name for name in numbers if name.casefold() not in taken))
    return found


def _order(size: list[str] | None, form: str, pages: str, metadata: str) -> PreviewOrder:
    """The same rules as those of the API, which names what it does not understand."""
    body = {"url": "http://local/", "sizes": size or None, "format": form, "pages": pages, "metadata": metadata}
    return read_order(body)[0]


def _bar(quiet: bool) -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=err, transient=True, disable=quiet or not err.is_terminal)


def _say(made: LocalPreview) -> None:
    if made.fault is not None:
        complain(f"{shown(made.file)}: {made.fault.public} ({made.fault.code})")
        return
    out.print(Text(shown(made.file), style="bold"), Text(f"by {made.previewer}", style="dim"))
    for path in (*made.pictures, made.document):
        out.print(Text(f"  {shown(path or '')}"))


def _plain(made: LocalPreview) -> dict[str, Any]:
    fault = None if made.fault is None else {"code": made.fault.code, "message": made.fault.public}
    return {
        "file": str(made.file),
        "previewer": made.previewer,
        "pictures": [str(path) for path in made.pictures],
        "document": None if made.document is None else str(made.document),
        "error": fault,
    }
