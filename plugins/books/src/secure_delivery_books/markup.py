"""XML of books as trees, without anything that XML can name elsewhere.

Knows: lxml, how XML declares entities and encodings. Must not know: what is looked for.

Entities are not resolved, no document type is loaded, nothing is fetched, and a text that declares entities is refused. What is
damaged is read as far as it goes, as readers of books do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lxml import etree

from secure_delivery.plugin import Corrupt

_ENTITY = re.compile(rb"\0{0,3}".join(bytes([letter]) for letter in b"<!ENTITY"))  # in encodings of one, two and four bytes
_ENCODING = re.compile(rb"<\?xml[^>]{0,200}encoding\s{0,9}=\s{0,9}[\"']([A-Za-z0-9._-]{1,40})[\"']")
_KNOWN = re.compile(
    rb"utf-?8|utf-?16(?:le|be)?|us-ascii|ascii|iso-?8859-\d{1,2}|windows-125\d|cp125\d|koi8-[ru]|gbk|gb2312|gb18030|big5|shift_jis|euc-jp",
    re.IGNORECASE,
)


def tree(data: bytes) -> Any:
    """The root element. Raises `Corrupt` for a text that declares entities, or that has no root."""
    _check(data)
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        recover=True,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(data.lstrip(b"\r\n\t "), parser)
    except (etree.LxmlError, ValueError) as error:
        raise Corrupt(f"xml: {error}") from None
    if root is None:
        raise Corrupt("xml: no root element")
    return root


def _check(data: bytes) -> None:
    if _ENTITY.search(data):
        raise Corrupt("xml: it declares entities")
    said = _ENCODING.search(data[:1024])
    if said is not None and not _KNOWN.fullmatch(said[1]):
        raise Corrupt("xml: an encoding that books are not in")


def local(element: Any) -> str:
    """The name of an element without its namespace; "" for what is no element."""
    tag = element.tag
    return tag.rpartition("}")[2].lower() if isinstance(tag, str) else ""


def named(root: Any, *names: str) -> Iterator[Any]:
    """All elements of these names, in any namespace, in order."""
    return (element for element in root.iter() if local(element) in names)


def children(element: Any, *names: str) -> list[Any]:
    """The children of these names, in any namespace."""
    return [child for child in element if local(child) in names]


def attribute(element: Any, name: str) -> str:
    """An attribute in any namespace, "" when it is not there."""
    return next((str(value) for key, value in element.attrib.items() if key.rpartition("}")[2].lower() == name), "")


def text(element: Any) -> str:
    """All the text in an element."""
    return "".join(element.itertext())
