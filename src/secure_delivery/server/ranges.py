"""Conditional and range requests over one stored representation.

Knows: RFC 9110 sections 8.8, 13 and 14. Must not know: files, storages, frameworks. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import formatdate, parsedate_to_datetime
from itertools import pairwise
from typing import Literal, NamedTuple

MAX_RANGES = 8  # CVE-2025-62727 and CVE-2026-33658: many tiny ranges cost far more than they fetch
_RANGE = re.compile(r"\s*([0-9]{0,18})\s*-\s*([0-9]{0,18})\s*")
_TAG = re.compile(r'(W/)?"([^"]*)"')


class Span(NamedTuple):
    """Bytes from `start` up to, but not including, `stop`."""

    start: int
    stop: int


class Answer(NamedTuple):
    """What to send: the status, and for 206 the spans."""

    status: Literal[200, 206, 304, 412, 416]
    spans: tuple[Span, ...] = ()


def http_date(milliseconds: int) -> str:
    """A time in the form of the Last-Modified header."""
    return formatdate(milliseconds / 1000, usegmt=True)


def _tags(value: str, *, strong: bool = False) -> list[str]:
    return [match[2] for match in _TAG.finditer(value) if not (strong and match[1])]


def _not_modified_since(value: str, modified: int) -> bool | None:
    """Whether nothing changed after a date; `None` for a text that is none, which is to be ignored."""
    try:
        since = parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError, TypeError):
        return None
    return modified // 1000 <= since


def _spans(value: str, size: int) -> tuple[Span, ...] | None:
    """The satisfiable spans of a Range header; an empty tuple when none is; `None` for one that is to be ignored."""
    unit, equals, rest = value.partition("=")
    if unit.strip().lower() != "bytes" or not equals:
        return None
    items = rest.split(",")
    if len(items) > MAX_RANGES:
        return None
    spans = []
    for item in items:
        match = _RANGE.fullmatch(item)
        if match is None or not (match[1] or match[2]):
            return None
        if match[1] and match[2] and int(match[1]) > int(match[2]):
            return None
        if not match[1]:
            start, stop = max(0, size - int(match[2])), size
        else:
            start, stop = int(match[1]), min(size, int(match[2]) + 1) if match[2] else size
        if start < stop:
            spans.append(Span(start, stop))
    ordered = sorted(spans)
    if any(earlier.stop > later.start for earlier, later in pairwise(ordered)):
        return None  # overlapping ranges ask for the same bytes twice: the whole costs less
    return tuple(spans)


def answer(headers: Mapping[str, str], *, etag: str, modified: int, size: int, ranges: bool = True) -> Answer:
    """How to answer a GET or HEAD with these lower-case request headers.

    `etag` is the strong tag without quotes, `modified` in milliseconds since the epoch, `size` in bytes. Conditions go
    before ranges, in the order of RFC 9110 section 13.2.2. A Range header that is malformed, overlapping or lists more than
    eight ranges is ignored, as section 14.2 allows; `ranges` is false for HEAD, for which it must be. A date in If-Range
    never holds: two versions of one second share it, so it is no strong validator (section 8.8.2.2).
    """
    if "if-match" in headers:
        wanted = headers["if-match"]
        if wanted.strip() != "*" and etag not in _tags(wanted, strong=True):
            return Answer(412)
    elif "if-unmodified-since" in headers and _not_modified_since(headers["if-unmodified-since"], modified) is False:
        return Answer(412)
    if "if-none-match" in headers:
        wanted = headers["if-none-match"]
        if wanted.strip() == "*" or etag in _tags(wanted):
            return Answer(304)
    elif "if-modified-since" in headers and _not_modified_since(headers["if-modified-since"], modified):
        return Answer(304)
    if not ranges or "range" not in headers:
        return Answer(200)
    if headers.get("if-range", f'"{etag}"').strip() != f'"{etag}"':
        return Answer(200)
    spans = _spans(headers["range"], size)
    if spans is None:
        return Answer(200)
    return Answer(206, spans) if spans else Answer(416)
