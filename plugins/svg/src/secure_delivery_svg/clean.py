"""An SVG file read strictly and written again with only what draws.

Knows: XML by expat, with every way to entities closed; the vocabulary. Must not know: pictures, limits on pixels, tasks.

Text goes in, events come out, text is written: nothing is built that deep nesting could overflow. What is written has one
root of the SVG namespace, no processing instruction, no comment, no document type, and prefixes of our own.

Documents may name a document type, as older editors do, but bring none along: an internal subset is where entities are made
(billion laughs, XXE; CWE-776, CWE-611). Nothing named outside is ever read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from secure_delivery.plugin import Corrupt, TooLarge, Unsupported

from . import styles
from .vocabulary import (
    ANIMATIONS,
    ATTRIBUTES,
    ELEMENTS,
    EMBEDDING,
    LINKS,
    STYLE,
    SVG,
    TEXT,
    XLINK,
    XML,
)

MOST_ELEMENTS = 200_000
DEEPEST = 500  # what draws it goes down by calling itself; drawings in use stay below 50
MOST_BYTES = 32 * 1024 * 1024
_CHUNK = 65_536
_OCTAVES, _MOST_OCTAVES = "numOctaves", 10
_PICTURE = re.compile(r"data:image/(png|jpe?g|gif|webp);base64,[A-Za-z0-9+/=\s]*", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x20]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A cleaned drawing: the attributes of its root, all the rest as text, whether it has text to be set in a font, and the
    pictures it holds, as data URLs."""

    root: dict[str, str]
    body: str = field(repr=False)
    has_text: bool = False
    pictures: tuple[str, ...] = field(default=(), repr=False)

    def text(self, **changed: str) -> str:
        """The whole file, with some attributes of the root set otherwise."""
        attributes = "".join(f" {name}={quoteattr(value)}" for name, value in (self.root | changed).items())
        return f'<svg xmlns="{SVG}" xmlns:xlink="{XLINK}"{attributes}>{self.body}</svg>'


def clean(data: bytes) -> Drawing:
    """Read an SVG file. Raises `Corrupt` for what is not XML, `Unsupported` for other XML and for entities, `TooLarge`."""
    if len(data) > MOST_BYTES:
        raise TooLarge(f"{len(data)} bytes of SVG, limit {MOST_BYTES}", public="The SVG file is too large.")
    cleaner = _Cleaner()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _doctype
    parser.EntityDeclHandler = parser.UnparsedEntityDeclHandler = parser.ExternalEntityRefHandler = _entities
    parser.SkippedEntityHandler = _entities
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.StartElementHandler = cleaner.start
    parser.EndElementHandler = cleaner.end
    parser.CharacterDataHandler = cleaner.text
    try:
        for start in range(0, len(data), _CHUNK):
            parser.Parse(data[start : start + _CHUNK], False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise Corrupt(f"not well-formed XML: {error}") from None
    except (LookupError, ValueError) as error:  # an encoding that is not there
        raise Corrupt(f"{type(error).__name__}: {error}") from None
    return cleaner.drawing()


def _doctype(name: str, system: str | None, public: str | None, has_internal_subset: int) -> None:
    if has_internal_subset:
        _entities()


def _entities(*_: object) -> NoReturn:
    raise Unsupported("a document type of its own, or entities", public="SVG files with entities are not read.")


class _Cleaner:
    """Takes the events of the parser and writes down what may stay."""

    def __init__(self) -> None:
        self._root: dict[str, str] | None = None
        self._out: list[str] = []
        self._open: list[str] = []  # names of what is being written
        self._skipping = 0  # how deep we are inside something that is left out
        self._sheet: list[str] = []
        self._count = 0
        self._has_text = False
        self._pictures: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > MOST_ELEMENTS:
            raise TooLarge(f"more than {MOST_ELEMENTS} elements", public="The SVG file has too many elements.")
        if len(self._open) + self._skipping >= DEEPEST:
            raise Unsupported(f"more than {DEEPEST} levels", public="The SVG file is nested too deeply.")
        space, _, local = name.rpartition(" ")
        if self._root is None:
            self._begin(space, local, attributes)
        elif (
            self._skipping or space != SVG or local not in ELEMENTS or self._open[-1] == STYLE or _misleading(local, attributes)
        ):
            self._skipping += 1
        else:
            self._has_text = self._has_text or local in TEXT
            self._open.append(local)
            if local == STYLE:
                self._sheet = []
            kept = "".join(f" {key}={quoteattr(value)}" for key, value in self._kept(local, attributes).items())
            self._out.append(f"<{local}{kept}>")

    def _begin(self, space: str, local: str, attributes: dict[str, str]) -> None:
        if local != "svg" or space != SVG:
            raise Unsupported("the root is not an svg element", public="Unsupported input format.")
        self._root = self._kept(local, attributes)
        self._open.append(local)

    def end(self, name: str) -> None:
        if self._skipping:
            self._skipping -= 1
            return
        local = self._open.pop()
        if local == STYLE:
            self._out.append(escape(styles.clean_sheet("".join(self._sheet))))
        if self._open:
            self._out.append(f"</{local}>")

    def text(self, data: str) -> None:
        if self._skipping:
            return
        if self._open[-1] == STYLE:
            self._sheet.append(data)
        else:
            self._out.append(escape(data))

    def drawing(self) -> Drawing:
        return Drawing(root=self._root or {}, body="".join(self._out), has_text=self._has_text, pictures=tuple(self._pictures))

    # ---------------------------------------------------------------------------------------------------- attributes

    def _kept(self, local: str, attributes: dict[str, str]) -> dict[str, str]:
        kept = {}
        for name, value in attributes.items():
            space, _, word = name.rpartition(" ")
            if word in LINKS and space in ("", XLINK):
                target = self._target(local, value)
                if target is not None:
                    kept[f"xlink:{word}" if space else word] = target
            elif space == XML and word in ("space", "lang"):
                kept[f"xml:{word}"] = value
            elif not space and word in ATTRIBUTES:
                clean = _bounded(value) if word == _OCTAVES else _styled(word, value)
                if clean is not None:
                    kept[word] = clean
        return kept

    def _target(self, local: str, value: str) -> str | None:
        """A link that stays: to a place in the same file, or a picture that is in the value itself."""
        target = value.strip()
        if target.startswith("#"):
            return target
        if local in EMBEDDING and _PICTURE.fullmatch(target):
            self._pictures.append(target)
            return _CONTROL.sub("", target)
        return None


def _styled(word: str, value: str) -> str | None:
    return styles.clean_declarations(value) if word == "style" else styles.clean_value(value)


def _bounded(value: str) -> str | None:
    """The number of octaves of a noise: each takes the same time, and from the ninth on none is seen in eight bits."""
    digits = value.strip()
    if not digits.isascii() or not digits.isdecimal():
        return None
    return digits if len(digits) < 3 and int(digits) <= _MOST_OCTAVES else str(_MOST_OCTAVES)


def _drawing(space: str, local: str, attributes: dict[str, str]) -> bool:
    return space == SVG and local in ELEMENTS and not _misleading(local, attributes)


def _misleading(local: str, attributes: dict[str, str]) -> bool:
    """Whether an animation would set what is cleaned elsewhere: links, styles, handlers of events."""
    if local not in ANIMATIONS:
        return False
    wanted = attributes.get("attributeName", "").strip().rpartition(":")[2]
    return local != "animateMotion" and (wanted not in ATTRIBUTES or wanted in ("style", "class", "id"))


def is_svg(head: bytes) -> bool:
    """Whether the first bytes of a file look like an SVG document: mark-up whose first element is `svg`.

    `head` should be the first few kilobytes; comments and declarations before the root are stepped over.
    """
    text = _decoded(head)
    match = _PROLOGUE.match(text)
    return match is not None and _ROOT.match(text, match.end()) is not None


_PROLOGUE = re.compile(
    r"\ufeff?\s*(?:<\?[^>]{0,1000}\?>\s*|<!--(?:[^-]|-(?!->)){0,4000}-->\s*|<!DOCTYPE\s[^\[>]{0,1000}(?:\[[^\]]{0,4000}\]\s*)?>\s*){0,20}",
    re.IGNORECASE,
)
_ROOT = re.compile(r"<(?:[A-Za-z_][\w.-]{0,60}:)?svg[\s>/]")


def _decoded(head: bytes) -> str:
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"<\0", "utf-16-le"), (b"\0<", "utf-16-be")):
        if head.startswith(mark):
            return head[: len(head) & ~1].decode(encoding, "replace")
    return head.decode("utf-8", "replace")


def embedded(pictures: Sequence[str]) -> list[bytes]:
    """The bytes of pictures held as data URLs. Raises `Corrupt`."""
    import base64
    import binascii

    try:
        return [base64.b64decode(_CONTROL.sub("", url.partition(",")[2]), validate=True) for url in pictures]
    except (binascii.Error, ValueError):
        raise Corrupt("a picture inside the SVG file is not Base64") from None
