"""`secure-delivery preview FILE...`: the same previews as the server's, here and now.

Knows: words of the command line. Must not know: how a preview is made.
"""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from ..engine.local_previews import LocalPreview, opened, stem_of
from ..engine.preview_order import PreviewOrder, read_order
from ..engine.settings import Settings
from .output import AsJson, Config, complain, err, out, say_json

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
    into.mkdir(parents=True, exist_ok=True)
    with opened(Settings.load(config), size=at_once, max_pages=10_000) as previews, _bar(as_json) as bar:
        task = bar.add_task("previews", total=len(files))

        stems = Counter(stem_of(path) for path in files)

        def one(path: Path) -> LocalPreview:
            stem = path.name if stems[stem_of(path)] > 1 else None  # a.jpg and a.png must not write the same files
            told = lambda what: bar.update(task, description=f"{path.name}: {what}")
            made = previews.make(path, order, into, stem=stem, progress=told)
            bar.advance(task)
            return made

        with ThreadPoolExecutor(at_once) as pool:
            results = list(pool.map(one, files))
    if as_json:
        say_json([_plain(made) for made in results])
    else:
        for made in results:
            _say(made)
    raise typer.Exit(1 if any(made.fault for made in results) else 0)


def _order(size: list[str] | None, form: str, pages: str, metadata: str) -> PreviewOrder:
    """The same rules as those of the API, which names what it does not understand."""
    body = {"url": "http://local/", "sizes": size or None, "format": form, "pages": pages, "metadata": metadata}
    return read_order(body)[0]


def _bar(quiet: bool) -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=err, transient=True, disable=quiet or not err.is_terminal)


def _say(made: LocalPreview) -> None:
    if made.fault is not None:
        complain(f"{made.file}: {made.fault.public} ({made.fault.code})")
        return
    out.print(Text(str(made.file), style="bold"), Text(f"by {made.previewer}", style="dim"))
    for path in (*made.pictures, made.document):
        out.print(Text(f"  {path}"))


def _plain(made: LocalPreview) -> dict[str, Any]:
    fault = None if made.fault is None else {"code": made.fault.code, "message": made.fault.public}
    return {
        "file": str(made.file),
        "previewer": made.previewer,
        "pictures": [str(path) for path in made.pictures],
        "document": None if made.document is None else str(made.document),
        "error": fault,
    }
