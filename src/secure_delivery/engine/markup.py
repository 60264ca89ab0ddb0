"""Whether a text is one that browsers read as a page, a drawing or XML.

Knows: how HTML and XML begin, and what browsers step over before. Must not know: other kinds of files.

The rules are those of WHATWG MIME Sniffing, and wider: that standard lists the tags pages began with, while a browser that is
told a file is HTML takes any. Nothing of ours tells it that, but a list of allowed types means what browsers see.
"""

from __future__ import annotations

import re

HTML = "text/html"
SVG = "image/svg+xml"
XML = "application/xml"

_SPACE = b"\t\n\f\r "
_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
#: UTF-16 without a mark, as XML is allowed to begin.
_UNMARKED = ((b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"))

#: Elements of HTML with which a text is taken for a page: not those that data in XML begins with as often (`data`, `time`,
#: `title` is in the standard). What follows must end the name of a tag: words of plain text stand in angle brackets too.
_ELEMENTS = (
    "a abbr address applet area article aside audio b base basefont bdo big blink blockquote body br button canvas center"
    " cite details dialog dir div dl em embed fieldset figure font footer form frame frameset h1 h2 h3 h4 h5 h6 head header"
    " hr html i iframe image img input isindex kbd li link marquee math meta nav nobr noembed noframes noscript ol p"
    " plaintext pre script small span strike strong style sub sup table tbody td template textarea th thead title tr tt u ul"
    " video wbr xmp"
)
_TAG = re.compile(rb"<(?:" + _ELEMENTS.replace(" ", "|").encode() + rb")(?=[\t\n\f\r />]|$)", re.IGNORECASE)
_DOCTYPE = re.compile(rb"<!doctype[\t\n\f\r ]*([^\t\n\f\r >\[]*)", re.IGNORECASE)
_ROOT = re.compile(rb"<(?:[A-Za-z_][\w.-]{0,60}:)?([A-Za-z_][\w.-]{0,60})(?=[\t\n\f\r />]|$)")
#: What makes a page of a text that begins with any other tag.
_ACTIVE = re.compile(
    rb"<(?:[\w.-]{1,60}:)?(?:script|iframe|object|embed)[\s/>]|[\s/\"']on[a-z]{3,30}\s{0,20}=|javascript:", re.IGNORECASE
)
_DRAWING = re.compile(rb"<(?:[A-Za-z_][\w.-]{0,60}:)?svg(?=[\t\n\f\r />:]|$)", re.IGNORECASE)
_NAMESPACE = re.compile(rb"[\t\n\r ]xmlns(?::[A-Za-z_][\w.-]{0,60})?[\t\n\r ]*=")


def markup(head: bytes) -> str | None:
    """`text/html`, `image/svg+xml` or `application/xml` for a text that begins as one of them; None for any other.

    All XML that is no drawing is `application/xml`: XHTML, style sheets, MathML, feeds.
    """
    return _told(_bytes(head))


def _bytes(head: bytes) -> bytes:
    """The text in an encoding where ASCII is ASCII, without a mark and blanks before it."""
    for mark, encoding in (*_MARKS, *_UNMARKED):
        if head.startswith(mark):
            rest = head.removeprefix(mark) if (mark, encoding) in _MARKS else head
            if encoding != "utf-8":
                rest = rest[: len(rest) & ~1].decode(encoding, "replace").encode("utf-8")
            return rest.lstrip(_SPACE)
    return head.lstrip(_SPACE)


def _told(text: bytes) -> str | None:
    if text[:5].lower() == b"<?xml":
        return _xml(text)
    at, commented = _past_comments(text)
    if at is None:
        return HTML  # a page of nothing but a comment, as far as one can see
    doctype = _DOCTYPE.match(text, at)
    if doctype is not None:
        kind = doctype[1].lower()
        return HTML if kind in (b"", b"html") else SVG if kind == b"svg" else XML
    root = _ROOT.match(text, at)
    if root is not None and root[1].lower() == b"svg":
        return SVG
    if _TAG.match(text, at):
        return HTML
    if root is not None and _NAMESPACE.search(text, at, at + 1024):
        return _xml(text)
    if root is not None and _ACTIVE.search(text, at):
        return HTML
    return HTML if commented else None  # a comment alone makes a page


def _xml(text: bytes) -> str:
    return SVG if _DRAWING.search(text) else XML


def _past_comments(text: bytes) -> tuple[int | None, bool]:
    """Where the text goes on after blanks, comments and what browsers take for comments; None if one does not end. And
    whether there was a comment. Each is looked at once."""
    at, commented = 0, False
    while text.startswith((b"<!", b"<?", b"</"), at) and not _DOCTYPE.match(text, at):
        if not text.startswith(b"<!--", at):
            end = text.find(b">", at)
            if end < 0:
                return at, commented
        elif text.startswith((b">", b"->"), at + 4):  # HTML ends these at once
            commented, end = True, text.index(b">", at)
        else:
            commented, end = True, _end_of_comment(text, at + 4)
            if end < 0:
                return None, True
        at = end + 1
        at += len(text[at:]) - len(text[at:].lstrip(_SPACE))
    return at, commented


def _end_of_comment(text: bytes, at: int) -> int:
    """The place of the `>` that ends a comment, for XML or HTML; negative without one."""
    ends = [text.find(b"-->", at), text.find(b"--!>", at)]
    first = min((end for end in ends if end >= 0), default=-1)
    return first if first < 0 else text.index(b">", first)
