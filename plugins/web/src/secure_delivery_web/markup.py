"""Pages as trees: bytes become text, text becomes elements, within limits.

Knows: lxml's reader of HTML, how pages say their encoding. Must not know: what is looked for in a page, programs.

The reader fetches nothing and knows no entities but those of HTML; elements are counted by libxml2, which gives up on trees
that are too deep.
"""

from __future__ import annotations

import codecs
import re
from typing import Any

import lxml.html
from lxml import etree

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_SAID = re.compile(
    rb"<meta[^>]{0,300}charset\s{0,9}=\s{0,9}[\"']?\s{0,9}([a-z0-9._:-]{1,40})|<\?xml[^>]{0,200}encoding=[\"']([a-z0-9._-]{1,40})",
    re.IGNORECASE,
)
_SAID_WITHIN = 4096
#: Encodings that pages are in (WHATWG Encoding). Others that Python knows are not for texts, or slow.
_KNOWN = re.compile(
    r"utf-?8|us-ascii|ascii|latin-?1|iso-?8859-?\d{1,2}|(?:windows|cp)-?125\d|koi8-[ru]|macintosh|gbk?|gb2312|gb18030|big5"
    r"|shift[_-]jis|sjis|euc-(?:jp|kr)|iso-2022-jp|tis-620",
    re.IGNORECASE,
)
_LATIN = re.compile(r"(?:us-)?ascii|latin-?1|iso-?8859-?1", re.IGNORECASE)  # browsers read all of these as windows-1252


def text_of(data: bytes) -> str:
    """The text of a page, in whatever encoding it says or seems to be in; what does not fit becomes U+FFFD."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    said = _SAID.search(data[:_SAID_WITHIN])
    name = (said[1] or said[2]).decode("ascii") if said else ""
    if _LATIN.fullmatch(name):
        name = "windows-1252"
    if _KNOWN.fullmatch(name):
        try:
            return data.decode(name, "replace")
        except LookupError:
            pass  # a name of that kind that Python does not know
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        cut = error.reason == "unexpected end of data"  # else it is from before everybody used UTF-8
        return data.decode("utf-8" if cut else "windows-1252", "replace")


def tree_of(text: str) -> Any:
    """The root element of a page, which may be empty. Never raises for what a page says."""
    parser = lxml.html.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True, huge_tree=False)
    try:
        return lxml.html.document_fromstring(text.replace("\0", "\ufffd").encode("utf-8", "replace"), parser=parser)
    except (etree.LxmlError, ValueError, AssertionError):
        return lxml.html.document_fromstring(b"<html><body></body></html>", parser=parser)


def warm() -> None:
    """Have lxml and the codecs load what they load late."""
    tree_of("<title>x</title>")
    for name in ("windows-1252", "gb18030", "shift_jis", "euc-jp", "euc-kr", "big5", "koi8-r", "iso8859-15", "windows-1251"):
        b"".decode(name)
