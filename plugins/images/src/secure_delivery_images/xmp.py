"""The basics of an XMP packet: who, when, what it is called.

Knows: RDF as XMP writes it (ISO 16684-1, 7.4 to 7.9), a closed list of properties. Must not know: pictures, who may see what.

A packet is XML of strangers: no document type, so no entities; a bound on elements; what is not on the list is not read.
"""

from __future__ import annotations

from typing import NoReturn
from xml.parsers import expat

LARGEST = 1 << 20  # bytes
_MOST_ELEMENTS = 20_000
_MOST_VALUES = 100  # of one property
_LONGEST = 2_000  # characters of a value
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_PROPERTIES = {
    "http://purl.org/dc/elements/1.1/": {"creator", "rights", "title", "description", "subject"},
    "http://ns.adobe.com/xap/1.0/": {"CreatorTool", "CreateDate", "ModifyDate", "Rating", "Label"},
    "http://ns.adobe.com/xap/1.0/rights/": {"UsageTerms", "WebStatement", "Marked"},
    "http://ns.adobe.com/photoshop/1.0/": {"Credit", "Headline", "DateCreated", "City", "State", "Country"},
    "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/": {"Location", "CountryCode"},
    "http://ns.adobe.com/exif/1.0/": {"GPSLatitude", "GPSLongitude", "GPSAltitude", "DateTimeOriginal"},
    "http://ns.adobe.com/exif/1.0/aux/": {"Lens"},
}
#: What of these names a place.
PLACES = frozenset(
    {"City", "State", "Country", "Location", "CountryCode", "GPSLatitude", "GPSLongitude", "GPSAltitude"},
)
#: What of these names who made the picture, and who may use it.
RIGHTS = frozenset({"creator", "rights", "UsageTerms", "WebStatement", "Marked", "Credit"})


def read(packet: bytes) -> dict[str, str | list[str]]:
    """Properties by name: a text, or several. What was read until a fault counts. Never raises."""
    reader = _Reader()
    if not 0 < len(packet) <= LARGEST:
        return {}
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = parser.ExternalEntityRefHandler = _refuse
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(packet.strip(b"\0 \r\n\t"), True)
    except (expat.ExpatError, _Enough, LookupError, ValueError):
        pass
    return {name: values[0] if len(values) == 1 else values for name, values in reader.found.items()}


class _Enough(Exception):
    """More than is wanted, or than is proper."""


def _refuse(*_: object) -> NoReturn:
    raise _Enough


class _Reader:
    def __init__(self) -> None:
        self.found: dict[str, list[str]] = {}
        self._path: list[str] = []
        self._property: tuple[str, int] | None = None  # its name, and how deep it stands
        self._words: list[str] = []
        self._count = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > _MOST_ELEMENTS:
            raise _Enough
        inside = bool(self._path) and self._path[-1] == f"{_RDF} Description"
        self._path.append(name)
        if self._property is None:
            if name == f"{_RDF} Description":
                for key, value in attributes.items():
                    self._keep(_known(key), value)
            elif inside and (known := _known(name)) is not None:
                self._property = (known, len(self._path))
        self._words = []

    def text(self, data: str) -> None:
        if self._property is not None and sum(map(len, self._words)) < _LONGEST:
            self._words.append(data)

    def end(self, _name: str) -> None:
        if self._property is not None:
            self._keep(self._property[0], "".join(self._words))
            if self._property[1] == len(self._path):
                self._property = None
        self._words = []
        self._path.pop()

    def _keep(self, name: str | None, value: str) -> None:
        clean = "".join(letter if letter.isprintable() else " " for letter in value[:_LONGEST]).strip()
        values = self.found.setdefault(name, []) if name is not None and clean else None
        if values is not None and len(values) < _MOST_VALUES:
            values.append(clean)


def _known(name: str) -> str | None:
    space, _, local = name.rpartition(" ")
    return local if local in _PROPERTIES.get(space, ()) else None
