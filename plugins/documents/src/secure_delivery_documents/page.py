"""Web pages: read as text, and without anything that acts or fetches.

Knows: HTML by lxml's reader, an allow-list of HTML by nh3. Must not know: options of tasks, programs.
"""

from __future__ import annotations

import codecs
import html
import re
from typing import Any

import lxml.html
import nh3
from lxml import etree

from secure_delivery.plugin import TooLarge

from .faults import faults
from .plain import decoded

_MOST_BYTES = 32_000_000
_DEEPEST = 2_000  # elements inside each other: the cleaner's time grows with the square, pages in use stay below 100
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
_ALONE = frozenset(  # elements that hold nothing, or that the next of their sort ends
    [
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "param",
        "source",
        "track",
        "wbr",
        "p",
        "li",
        "dt",
        "dd",
        "tr",
        "td",
        "th",
        "thead",
        "tbody",
        "tfoot",
        "option",
    ]
)
_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([A-Za-z0-9._:-]{1,40})", re.IGNORECASE)
_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp|bmp);base64,[A-Za-z0-9+/=\s]*")
_UNSEEN = ("script", "style", "head", "template", "noscript", "iframe", "object", "svg", "math", "select", "textarea")
_BLOCKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "center",
        "dd",
        "details",
        "dialog",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "html",
        "li",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "summary",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "tr",
        "ul",
    ]
)
_SPACED = frozenset(["h1", "h2", "h3", "h4", "h5", "h6", "p", "pre", "table", "ul", "ol", "dl", "blockquote"])
_STYLES = frozenset(
    [
        "background-color",
        "border",
        "border-collapse",
        "color",
        "direction",
        "font-family",
        "font-size",
        "font-style",
        "font-weight",
        "height",
        "line-height",
        "list-style-type",
        "margin",
        "margin-bottom",
        "margin-left",
        "margin-right",
        "margin-top",
        "padding",
        "text-align",
        "text-decoration",
        "text-indent",
        "vertical-align",
        "white-space",
        "width",
        "page-break-before",
        "page-break-after",
    ]
)
_MORE_TAGS = frozenset({"font", "u", "s", "strike", "big", "main", "section"})
_LOOKS = {"style", "align", "dir", "lang", "title", "width", "height", "bgcolor", "color", "class", "id"}


def text_of(data: bytes) -> str:
    """The page in characters: by its mark, by what it declares, else UTF-8 or Windows-1252."""
    if len(data) > _MOST_BYTES:
        raise TooLarge(f"html over {_MOST_BYTES} bytes")
    if data[:3] != codecs.BOM_UTF8 and data[:2] not in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        declared = _CHARSET.search(data[:2048])
        if declared is not None:
            try:
                codec = codecs.lookup(declared[1].decode())
                if codec._is_text_encoding and not codec.name.startswith(("utf-16", "utf-32", "utf-7")):
                    return data.decode(codec.name, "replace").replace("\r\n", "\n")
            except (LookupError, ValueError):
                pass  # an unknown name says nothing
    return decoded(data)


def cleaned(data: bytes) -> bytes:
    """The page in UTF-8 with its text, tables, links, looks and the pictures it brings along: no scripts, no handlers, no
    forms, no addresses that something is loaded from."""
    source = text_of(data)
    _check_depth(source)
    with faults("html"):
        body = nh3.clean(
            source,
            tags=nh3.ALLOWED_TAGS | _MORE_TAGS,
            clean_content_tags={"script", "style", "title", "template", "noscript", "iframe", "object", "svg", "math"},
            attributes=_attributes(),
            attribute_filter=_filtered,
            url_schemes={"http", "https", "mailto", "data"},
            strip_comments=True,
            link_rel="noopener noreferrer",
            filter_style_properties=set(_STYLES),
        )
        title = html.escape(_title(source))
    head = f'<!DOCTYPE html>\n<html>\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n</head>\n'
    return f"{head}<body>\n{body}\n</body>\n</html>\n".encode()


def _check_depth(source: str) -> None:
    """Raise `TooLarge` for a page of elements inside each other without end, counted by tags alone."""
    depth = 0
    for match in _TAG.finditer(source):
        if match[2].lower() in _ALONE:
            continue
        depth = max(0, depth - 1) if match[1] else depth + 1
        if depth > _DEEPEST:
            raise TooLarge("html: nested too deeply", public="The page is nested too deeply.")


def _attributes() -> dict[str, set[str]]:
    known = {tag: set(names) - {"cite"} for tag, names in nh3.ALLOWED_ATTRIBUTES.items()}
    return known | {"*": _LOOKS | known.get("*", set()), "font": {"face", "size", "color"}}


def _filtered(tag: str, name: str, value: str) -> str | None:
    """An attribute that may stay: pictures only as part of the page, links never as data, looks without addresses."""
    if name == "src":
        return value if tag == "img" and _PICTURE.fullmatch(value.strip()) else None
    if name in ("href", "cite", "longdesc", "action", "background"):
        return value if tag == "a" and value.strip().lower().startswith(("http://", "https://", "mailto:", "#")) else None
    if name == "style":
        lowered = value.lower()
        return None if any(word in lowered for word in ("url", "\\", "expression", "@", "image", "var(")) else value
    return value


def _parsed(source: str) -> Any:
    parser = lxml.html.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True, huge_tree=False)
    try:
        return lxml.html.document_fromstring(source.encode(), parser=parser)
    except etree.ParserError:  # nothing in it
        return lxml.html.document_fromstring(b"<html><body></body></html>", parser=parser)


def _title(source: str) -> str:
    found = _parsed(source).find(".//title")
    return " ".join((found.text or "").split())[:300] if found is not None else ""


def as_text(data: bytes) -> str:
    """What a reader sees of a page: blocks on lines of their own, cells with tabs between, list items with dashes."""
    with faults("html"):
        root = _parsed(text_of(data))
        etree.strip_elements(root, *_UNSEEN, with_tail=False)
        parts: list[str] = []
        for event, element in etree.iterwalk(root, events=("start", "end")):
            _take(parts, event, element)
    text = "".join(parts)
    lines = (re.sub(r"[ \f\v]+", " ", line).strip(" ") for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") + "\n"


def _take(parts: list[str], event: str, element: Any) -> None:
    name = element.tag if isinstance(element.tag, str) else ""
    kept = any(parent.tag == "pre" for parent in element.iterancestors()) or name == "pre"
    if event == "start":
        if name in _BLOCKS:
            parts.append("\n\n" if name in _SPACED else "\n")
        parts += {"br": ["\n"], "li": ["- "], "img": [element.get("alt") or ""]}.get(name, [])
        parts.append((element.text or "") if kept else _folded(element.text))
        return
    if name in ("td", "th") and element.getnext() is not None:
        parts.append("\t")
    if name in _BLOCKS:
        parts.append("\n\n" if name in _SPACED else "\n")
    inside = kept and name != "pre"
    parts.append((element.tail or "") if inside else _folded(element.tail))


def _folded(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "")
