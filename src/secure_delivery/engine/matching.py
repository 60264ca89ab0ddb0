"""Which previewers and extractors are for a file, and whether they can work here.

Knows: what they declare, which programs and libraries are installed. Must not know: how one is run, jobs, HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

from ..gate.errors import MissingDependency, ProcessingLimit
from ..plugin.manager import Registry
from ..plugin.previewing import Extractor, Needs, Previewer
from ..plugin.protocols import Program
from .programs import missing

#: Types that say too little: what is told by content alone is a container, or nothing. There the extension counts, too.
VAGUE = frozenset(
    {
        "application/gzip",
        "application/json",
        "application/octet-stream",
        "application/pdf",
        "application/postscript",
        "application/x-ole-storage",
        "application/xml",
        "application/zip",
        "image/tiff",
        "text/csv",
        "text/html",
        "text/plain",
        "text/xml",
        "video/mp4",
        "video/webm",
        "audio/ogg",
        "video/x-ms-asf",
    }
)


def extension(filename: str) -> str:
    """The extension of a name in lower case, without dot; empty when there is none."""
    stem, dot, last = filename.rpartition(".")
    return last.lower() if dot and stem else ""


def fits(one: Previewer | Extractor, mimetype: str, filename: str) -> bool:
    """Whether something declares that it is for such files: by type, by family, or by extension where the type is vague."""
    family = mimetype.partition("/")[0] + "/*"
    if any(kind in one.mimetypes for kind in (mimetype, family, "*/*")):
        return True
    return mimetype in VAGUE and extension(filename) in one.extensions


def previewers_for(registry: Registry, mimetype: str, filename: str) -> list[str]:
    """The names of the previewers to be tried with such a file, in order: one that names the type or the extension goes before
    one for whole families with the same priority."""
    return [name for name, one in registry.previewers.items() if fits(one, mimetype, filename)]


def lacking(needs: Needs, programs: Mapping[str, Program]) -> str | None:
    """What is missing for something to work here, in words for the operator; None when nothing is."""
    for name in needs.programs:
        program = programs.get(name)
        lack = f"no plugin declares the program {name}" if program is None else missing(program)
        if lack:
            return f"the program {lack} is not installed" if program is not None else lack
    for library in needs.libraries:
        if not _installed(library):
            return f"the library {library} is not installed"
    return None


@lru_cache(maxsize=256)
def _installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def check(needs: Needs, programs: Mapping[str, Program], *, memory: int | None = None) -> None:
    """Raise `MissingDependency` for what cannot work here, `ProcessingLimit` for what needs more than `memory` bytes."""
    lack = lacking(needs, programs)
    if lack:
        raise MissingDependency(lack)
    if memory is not None and needs.memory > memory:
        raise ProcessingLimit(f"it needs {needs.memory} bytes of memory, and a job may use {memory}")
