"""`webpage`: what a page says about itself, as an extractor.

Knows: titles, Open Graph (ogp.me), icons, oEmbed discovery (oembed.com, section 4). Must not know: networks. Nothing that a
page names is fetched, so `oembed`, the answer of somebody else's server, is always null.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from secure_delivery.plugin import Needs, Work

from .pages import EXTENSIONS, MIMETYPES

_MOST_BYTES = 4_000_000  # read of a page: what it says about itself stands at its start
_MOST = 50  # images, videos, icons of each sort
_MOST_TEXT = 5_000  # characters of a title or description
_MOST_ADDRESS = 4_096
_ODD = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]+")

_TEXT = {"type": ["string", "null"]}
_NUMBER = {"type": ["integer", "null"], "minimum": 0}


def _record(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _list(**properties: Any) -> dict[str, Any]:
    return {"type": "array", "maxItems": 2 * _MOST, "items": _record(**properties)}


class WebpageFacts:
    """Title, description, address, locale, pictures and videos of a page, by its own words."""

    section = "webpage"
    call = "stat"
    mimetypes = MIMETYPES
    extensions = EXTENSIONS
    needs = Needs(libraries=("lxml",), install="pip install secure-delivery-web")
    schema: Mapping[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_record(
            title=_TEXT,
            description=_TEXT,
            url=_TEXT,
            locale=_TEXT,
            language=_TEXT,
            site_name=_TEXT,
            images=_list(type={"enum": ["og:image", "favicon"]}, src={"type": "string"}),
            videos=_list(type=_TEXT, src=_TEXT, secure_src=_TEXT, width=_NUMBER, height=_NUMBER),
            icons=_list(rel={"type": "string"}, src={"type": "string"}, sizes=_TEXT, type=_TEXT),
            oembed={"type": "null"},
            oembed_links=_list(type={"type": "string"}, src={"type": "string"}),
        ),
    }

    def warm(self) -> None:
        from . import markup

        markup.warm()

    def extract(self, work: Work) -> dict[str, Any]:
        """Never raises for what a page says; of a page that says nothing everything is null or empty."""
        from . import markup

        with work.media.open() as stream:
            data = stream.read(_MOST_BYTES)
        return _Told(markup.tree_of(markup.text_of(data)), work.address).section()


class _Told:
    """One page and what it says."""

    def __init__(self, root: Any, address: str | None) -> None:
        self._root = root
        self._address = address or ""
        base = next((element.get("href") for element in root.iter("base") if element.get("href")), "")
        self._base = _joined(self._address, base or "") or self._address
        self._meta = list(self._metas())

    def section(self) -> dict[str, Any]:
        canonical = next((self._resolved(link.get("href")) for link, rels in self._links() if "canonical" in rels), None)
        icons = list(self._icons())[:_MOST]
        images = [{"type": "og:image", "src": src} for src in self._images()][:_MOST]
        images += [{"type": "favicon", "src": icon["src"]} for icon in icons if "icon" in icon["rel"].split()]
        return {
            "title": self._first("og:title") or self._title() or self._first("twitter:title"),
            "description": self._first("og:description", "description", "twitter:description"),
            "url": self._resolved(self._first("og:url")) or canonical or self._resolved(self._address),
            "locale": self._first("og:locale"),
            "language": _text(self._root.get("lang") or self._root.get("xml:lang"), 100),
            "site_name": self._first("og:site_name"),
            "images": images,
            "videos": self._videos(),
            "icons": icons,
            "oembed": None,
            "oembed_links": self._embeddings(),
        }

    def _metas(self) -> Iterator[tuple[str, str]]:
        for element in self._root.iter("meta"):
            name = (element.get("property") or element.get("name") or "").strip().lower()
            content = element.get("content")
            if name and content:
                yield name[:100], content

    def _links(self) -> Iterator[tuple[Any, list[str]]]:
        for element in self._root.iter("link"):
            if element.get("href"):
                yield element, (element.get("rel") or "")[:200].lower().split()

    def _first(self, *names: str) -> str | None:
        """The first of these names that the page has words for."""
        found = (_text(content) for name in names for said, content in self._meta if said == name)
        return next((text for text in found if text), None)

    def _title(self) -> str | None:
        # A drawing inside a page has titles, too.
        titles = (element for element in self._root.iter("title") if not any(up.tag == "svg" for up in element.iterancestors()))
        element = next(titles, None)
        return None if element is None else _text("".join(element.itertext()))

    def _resolved(self, address: str | None) -> str | None:
        return _joined(self._base, address) if address and address.strip() else None

    def _images(self) -> list[str]:
        found = (self._resolved(content) for name, content in self._meta if name in ("og:image", "og:image:url"))
        return list(dict.fromkeys(src for src in found if src))

    def _videos(self) -> list[dict[str, Any]]:
        """Open Graph has arrays: what follows `og:video` belongs to it until the next one."""
        videos: list[dict[str, Any]] = []
        for name, content in self._meta:
            if name == "og:video" or (name == "og:video:url" and (not videos or videos[-1]["src"])):
                videos.append({"type": None, "src": self._resolved(content), "secure_src": None, "width": None, "height": None})
            elif name.startswith("og:video:") and videos:
                self._more(videos[-1], name.removeprefix("og:video:"), content)
        return [video for video in videos if video["src"] or video["secure_src"]][:_MOST]

    def _more(self, video: dict[str, Any], name: str, content: str) -> None:
        if name in ("secure_url", "url"):
            key = "secure_src" if name == "secure_url" else "src"
            video[key] = video[key] or self._resolved(content)
        elif name == "type":
            video["type"] = _text(content, 200)
        elif name in ("width", "height") and re.fullmatch(r"\s*[0-9]{1,6}\s*", content, re.ASCII):
            video[name] = int(content)

    def _icons(self) -> Iterator[dict[str, Any]]:
        for link, rels in self._links():
            wanted = [rel for rel in rels if rel in ("icon", "apple-touch-icon", "apple-touch-icon-precomposed", "mask-icon")]
            src = self._resolved(link.get("href")) if wanted else None
            if src:
                yield {
                    "rel": " ".join(wanted),
                    "src": src,
                    "sizes": _text(link.get("sizes"), 200),
                    "type": _text(link.get("type"), 200),
                }

    def _embeddings(self) -> list[dict[str, str]]:
        """Where an oEmbed answer could be had."""
        kinds = {"application/json+oembed": "json", "text/xml+oembed": "xml", "application/xml+oembed": "xml"}
        found = []
        for link, _ in self._links():
            kind = kinds.get((link.get("type") or "").strip().lower())
            src = self._resolved(link.get("href")) if kind else None
            if kind and src:
                found.append({"type": kind, "src": src})
        return found[:_MOST]


def _text(text: str | None, most: int = _MOST_TEXT) -> str | None:
    """One line of text, or None when there is nothing in it."""
    return (" ".join(_ODD.sub(" ", text[: 4 * most]).split())[:most] or None) if text else None


def _joined(base: str, address: str) -> str | None:
    """An address in full, as far as the base allows; None for one that is not of the web."""
    try:
        joined = urljoin(base, _ODD.sub("", address[: _MOST_ADDRESS + 1]).strip())
        scheme = urlsplit(joined).scheme
    except ValueError:
        return None
    return joined if scheme in ("http", "https", "") and 0 < len(joined) <= _MOST_ADDRESS else None
