"""What can be previewed and described here, what cannot, and what would change that.

Knows: what plugins declare, which programs and libraries are installed. Must not know: HTTP, tables, how a file is previewed.

`capabilities` is for operators; it names what is missing. `published` is the same for strangers, who learn only what works.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from mimetypes import MimeTypes
from typing import Any, Literal

from ..plugin.manager import Registry
from ..plugin.previewing import Extractor, Needs, Previewer
from ..plugin.protocols import Program
from . import matching
from .programs import missing
from .types import UNKNOWN

#: Families that distributions of this project cover, for the command that brings a family nobody covers.
SHIPPED = {
    "archive": "secure-delivery-archives",
    "audio": "secure-delivery-media",
    "book": "secure-delivery-books",
    "document": "secure-delivery-documents",
    "drawing": "secure-delivery-svg",
    "font": "secure-delivery-fonts",
    "mail": "secure-delivery-mail",
    "markdown": "secure-delivery-text",
    "picture": "secure-delivery-images",
    "raw": "secure-delivery-raw",
    "source": "secure-delivery-text",
    "text": "secure-delivery-text",
    "video": "secure-delivery-media",
    "web": "secure-delivery-web",
}


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that is not here: a `program` or a `library`, its name, and the command that brings it ("" when unknown)."""

    kind: Literal["program", "library"]
    name: str
    install: str


def lacks(needs: Needs, programs: Mapping[str, Program]) -> tuple[Lack, ...]:
    """All that must be installed before a previewer or extractor can work here."""
    return tuple(_lacks(needs, programs))


def _lacks(needs: Needs, programs: Mapping[str, Program]) -> Iterator[Lack]:
    for name in needs.programs:
        program = programs.get(name)
        if program is None:
            yield Lack("program", name, needs.install)
        elif lack := missing(program):
            yield Lack("program", lack, needs.install or program.install)
    for library in needs.libraries:
        if not _installed(library):
            yield Lack("library", library, needs.install or f"pip install {library}")


def _installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def capabilities(registry: Registry) -> dict[str, Any]:
    """Families, extractors, programs and what is missing, as JSON values.

    * `families`: by name; of each its `mimetypes` and `extensions`, its `previewers` in the order in which they are tried, and
      whether any of them is `available`. Previewers whose priority is below 0 are stand-ins.
    * `extractors`: by section, with `call`, `schema`, `mimetypes`, `extensions`, `available`, `lacks`.
    * `programs`: by the name that plugins give them, with `executables`, `available`, `install`, `for`.
    * `missing`: each thing that is not here once, with `install` and what it is `for`.
    """
    extractors = [_extractor(one, registry) for _, one in sorted(registry.extractors.items())]
    families = _families(registry)
    programs = [_program(name, one, registry) for name, one in sorted(registry.programs.items())]
    return {"families": families, "extractors": extractors, "programs": programs, "missing": _missing(families, extractors)}


def _families(registry: Registry) -> list[dict[str, Any]]:
    found: dict[str, list[tuple[str, Previewer]]] = {}
    for name, one in registry.previewers.items():
        found.setdefault(one.family, []).append((name, one))
    rows = []
    for family, members in sorted(found.items()):
        previewers = [_previewer(name, one, registry) for name, one in members]
        rows.append(
            {
                "family": family,
                "mimetypes": _all(one.mimetypes for _, one in members),
                "extensions": _all(one.extensions for _, one in members),
                "available": any(previewer["available"] for previewer in previewers),
                "previewers": previewers,
            }
        )
    return rows


def _all(values: Iterable[Iterable[str]]) -> list[str]:
    return sorted({value for one in values for value in one})


def _previewer(name: str, one: Previewer, registry: Registry) -> dict[str, Any]:
    return {"name": name, "priority": one.priority, "network": one.needs.network, **_state(one, registry)}


def _extractor(one: Extractor, registry: Registry) -> dict[str, Any]:
    return {"section": one.section, "call": one.call, "schema": _plain(one.schema), **_state(one, registry)}


def _state(one: Previewer | Extractor, registry: Registry) -> dict[str, Any]:
    lacking = lacks(one.needs, registry.programs)
    return {
        "mimetypes": list(one.mimetypes),
        "extensions": list(one.extensions),
        "available": not lacking,
        "lacks": [asdict(lack) for lack in lacking],
    }


def _program(name: str, one: Program, registry: Registry) -> dict[str, Any]:
    users = [user for user, previewer in registry.previewers.items() if name in previewer.needs.programs]
    users += [user for user, extractor in registry.extractors.items() if name in extractor.needs.programs]
    lack = missing(one)
    return {
        "name": name,
        "executables": list(one.executables),
        "available": lack is None,
        "lacks": lack,
        "network": one.network,
        "install": one.install,
        "for": users,
    }


def _missing(families: list[dict[str, Any]], extractors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str, str], list[str]] = {}
    users = [(one["name"], one) for family in families for one in family["previewers"]]
    for user, state in [*users, *((one["section"], one) for one in extractors)]:
        for lack in state["lacks"]:
            found.setdefault((lack["kind"], lack["name"], lack["install"]), []).append(user)
    covered = {row["family"] for row in families}
    for family, distribution in SHIPPED.items():
        if family not in covered:
            found.setdefault(("plugin", distribution, f"pip install {distribution}"), []).append(f"family {family}")
    return [{"kind": kind, "name": name, "install": install, "for": users} for (kind, name, install), users in found.items()]


def _plain(value: Any) -> Any:
    """The same with mappings as dicts and tuples as lists, however a plugin wrote its schema."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


# ------------------------------------------------------------------------------------------------------- for strangers

_PRIVATE = ("lacks", "network", "priority")


def published(data: Mapping[str, Any]) -> dict[str, Any]:
    """What of `capabilities` anybody may read: what works, and how sections look. Nothing about the machine."""
    families = []
    for family in data["families"]:
        working = [one for one in family["previewers"] if one["available"]]
        families.append(
            {
                "family": family["family"],
                "mimetypes": _all(one["mimetypes"] for one in working),
                "extensions": _all(one["extensions"] for one in working),
                "available": bool(working),
                "previewers": [_shown(one) for one in working],
            }
        )
    return {"families": families, "extractors": [_shown(one) for one in data["extractors"]]}


def _shown(one: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in one.items() if name not in _PRIVATE}


def of_file(registry: Registry, mimetype: str | None, filename: str) -> dict[str, Any]:
    """Whether a file of this type and name can be previewed and described, as far as that can be said without its bytes.

    * `preview`: whether a previewer that works here is for it; `icon`: whether there is at least a stand-in;
    * `previewers`: those, in the order in which they are tried, stand-ins last; `family`: that of the first;
    * `metadata`: sections that can be filled.

    A type that is not given is guessed from the name.
    """
    kind = mimetype or _GUESSES.guess_type(_base(filename))[0] or UNKNOWN
    named = "" if mimetype else matching.extension(filename)

    def fits(one: Previewer | Extractor) -> bool:
        return (matching.fits(one, kind, filename) or named in one.extensions) and not lacks(one.needs, registry.programs)

    fitting = {name: one for name, one in registry.previewers.items() if fits(one)}
    real = [name for name, one in fitting.items() if one.priority >= 0]
    return {
        "mimetype": kind,
        "preview": bool(real),
        "icon": len(fitting) > len(real),
        "family": fitting[real[0]].family if real else None,
        "previewers": [*real, *(name for name in fitting if name not in real)],
        "metadata": sorted(name for name, one in registry.extractors.items() if fits(one)),
    }


def _base(filename: str) -> str:
    """A name that is no address, whatever it looks like: guessing would read those otherwise."""
    return f"file.{matching.extension(filename)}"


_GUESSES = MimeTypes()  # the table of the standard library alone, the same on every machine
