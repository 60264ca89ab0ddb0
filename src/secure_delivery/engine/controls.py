"""The tasks that change no file but what becomes of the result: `store`, `cache`, `fallback`, `metadata`.

Knows: their options, from the Filestack documentation (processing, control tasks). Must not know: HTTP, how a chain is run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..gate.errors import TaskURLError
from ..gate.tasksource import Source, SourceKind, read_source
from ..gate.taskurl import Task
from ..plugin.params import REQUIRED, Kind, Param, Value, boolean, choice, either, integer, text

MOST_WORKFLOWS = 20
MAX_AGE = 31_536_000  # seconds: a year, which is what `cache=expiry:max` means
#: Every fact of a file that can be asked for by name (File API, metadata).
METADATA = frozenset(
    {"size", "mimetype", "filename", "width", "height", "uploaded", "writeable", "cloud", "source_url", "location", "path"}
    | {"container", "key", "exif", "md5", "sha1", "sha224", "sha256", "sha384", "sha512"}
)


def _workflows(value: Value) -> tuple[str, ...]:
    items = (value,) if isinstance(value, str) else value
    if len(items) > MOST_WORKFLOWS or not all(isinstance(item, str) and len(item) <= 64 for item in items):
        raise ValueError
    return tuple(str(item) for item in items)


STORE: tuple[Param, ...] = (
    Param("filename", text(1024), ("f",)),
    Param("location", text(64), ("l",)),
    Param("path", text(1024), ("p",)),
    Param("container", text(255), ("c",)),
    Param("region", text(64), ("r",)),
    Param("access", choice("public", "private"), ("a",)),
    Param("base64decode", boolean(), ("b", "base64"), False),
    Param("workflows", Kind(_workflows, f"at most {MOST_WORKFLOWS} ids"), ("w",), ()),
    Param("mimetype", text(255)),
    Param("expires_in", integer(1, 100 * 366 * 86_400)),
)
CACHE: tuple[Param, ...] = (
    Param("expiry", either(choice("max"), integer(1, MAX_AGE)), ("e",)),
    Param("false", boolean(), ("f",)),
)
FALLBACK: tuple[Param, ...] = (
    Param("handle", text(2048), ("h", "file", "f"), REQUIRED),
    Param("cache", either(choice("max"), integer(1, MAX_AGE)), ("c",)),
)
#: Every control task with its parameters; `metadata` takes a list of names instead.
CONTROLS: Mapping[str, tuple[Param, ...]] = {"store": STORE, "cache": CACHE, "fallback": FALLBACK, "metadata": ()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """What a chain says besides its transformations.

    * `store`: the options of `store`, or None. * `cache`: seconds, False for never, or None where nothing is said.
    * `fallback`: what is served when something goes wrong, and for how many seconds it may be cached.
    * `metadata`: names of facts that are asked for instead of the file; empty for the usual ones; None where not asked.
    """

    store: Mapping[str, Any] | None = None
    cache: int | Literal[False] | None = None
    fallback: Source | None = None
    fallback_age: int | None = None
    metadata: tuple[str, ...] | None = None


def seconds(value: Any) -> int | None:
    """The seconds that a bound expiry means."""
    return MAX_AGE if value == "max" else value


def source_of(option: str, what: str) -> Source:
    """The source that an option names. Raises `TaskURLError` with `what` for one that is none, or a list."""
    try:
        source = read_source(option, percent=False)
    except TaskURLError as error:
        raise TaskURLError(public=f"{what}: {error.public}") from None
    if source.kind is SourceKind.LIST:
        raise TaskURLError(public=f"{what} is one file, not a list.")
    return source


def metadata_names(task: Task) -> tuple[str, ...]:
    """The names that `metadata=[...]` asks for. Raises `TaskURLError` for any other option and any other name."""
    if not task.options:
        return ()
    (key, value), *more = task.options
    if key or more or isinstance(value, str):
        raise TaskURLError(public="metadata takes a list of names, as in metadata=[size,mimetype].")
    return checked_names([name for name in value if isinstance(name, str)] if value else [])


def checked_names(names: Sequence[str]) -> tuple[str, ...]:
    """Those names. Raises `TaskURLError` for one that is no fact of a file."""
    for name in names:
        if name not in METADATA:
            raise TaskURLError(public=f"metadata knows no '{name[:60]}'. It knows {', '.join(sorted(METADATA))}.")
    return tuple(dict.fromkeys(names))
