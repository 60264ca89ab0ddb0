"""What a transformation URL is about: a file, a URL, a path in a storage alias, a workflow result, or a list of those.

Knows: every spelling in which a source may end a path, and the one in which this project writes it.
Must not know: tasks, API keys, whether a handle exists or a host may be fetched.

A source is read once from the characters that arrived (`percent=True`: they may be percent-encoded) and once more, for
`b64://`, from the text that was wrapped (`percent=False`: a `%` is a percent sign). Nothing is ever decoded twice.

Source of the rules: the Filestack documentation on processing, and what its official clients send.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

from .errors import TaskURLError
from .taskvalues import check_text, decode_base64, decode_percent

MAX_SOURCES = 100  # of one list; more is an archive job, not a URL

HANDLE = re.compile(r"[A-Za-z0-9_-]{20,64}")

#: Where a source begins although it is not the last segment: a URL (group 1), a quote or a list.
SOURCE_START = re.compile(r'((?:https?|src|b64|wf)(?::|%3A))|"|%22|\[|%5B', re.IGNORECASE)

_RAW_URL = re.compile(r"https?:/", re.IGNORECASE)
_ENCODED_SCHEME = re.compile(r"(https?|src|b64|wf)(:|%3A)((?:/|%2F)*)", re.IGNORECASE)
_PLAIN_SCHEME = re.compile(r"(https?|src|b64|wf)(:)(/*)", re.IGNORECASE)
_ENCODED_MARK = re.compile(r'"|%22|\[|%5B|\]|%5D|,|%2C', re.IGNORECASE)
_PLAIN_MARK = re.compile(r'["\[\],]')
_MARKS = {"%22": '"', "%5B": "[", "%5D": "]", "%2C": ","}

_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_WORKFLOW = re.compile(r"[A-Za-z0-9_=+.~-]+(?:/[A-Za-z0-9_=+.~-]+)*")


class SourceKind(StrEnum):
    """What kind of thing a source names."""

    HANDLE = "handle"
    EXTERNAL = "external"
    ALIAS = "alias"
    LIST = "list"
    WORKFLOW = "workflow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source, or a list of them.

    `text` is the handle; the URL to fetch, with scheme; `alias/path` with the path decoded; the id of a workflow
    result, without `wf://`; and empty for a list, whose members are `items` (a list holds no list).
    """

    kind: SourceKind
    text: str = ""
    items: tuple[Source, ...] = ()

    def __str__(self) -> str:
        """The canonical spelling in a path: no character that a proxy merges, splits or decodes."""
        match self.kind:
            case SourceKind.HANDLE:
                return self.text
            case SourceKind.LIST:
                return f"%5B{','.join(item._as_item() for item in self.items)}%5D"
            case SourceKind.ALIAS:
                return quote(f"src://{self.text}", safe="")
            case SourceKind.WORKFLOW:
                return quote(f"wf://{self.text}", safe="")
            case SourceKind.EXTERNAL:
                return quote(self.text, safe="")

    def _as_item(self) -> str:
        return self.text if self.kind is SourceKind.HANDLE else f"%22{self}%22"


def is_raw_url(text: str) -> bool:
    """Whether a source is an external URL given as it is, so that the query string of the request belongs to it."""
    return _RAW_URL.match(text) is not None


def read_source(text: str, *, percent: bool = True) -> Source:
    """The source spelled by the end of a path, or with `percent=False` by the text inside `b64://`.

    Raises `TaskURLError` for what is none, with no word about whether it exists.
    """
    marks = _ENCODED_MARK if percent else _PLAIN_MARK
    opening = marks.match(text)
    if opening is None or _meaning(opening) != "[":
        return _read_single(text, marks, percent=percent)
    items = _split_list(text, marks)
    sources = tuple(_read_item(item, marks, percent=percent) for item in items)
    return Source(kind=SourceKind.LIST, items=sources)


def _meaning(match: re.Match[str]) -> str:
    return _MARKS.get(match[0].upper(), match[0])


def _split_list(text: str, marks: re.Pattern[str]) -> list[str]:
    """The members of a bracketed list, split at commas outside quotes."""
    items: list[str] = []
    start, quoted = 0, False
    for match in marks.finditer(text):
        mark = _meaning(match)
        if mark == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif mark == "[":
            if match.start():
                raise TaskURLError(public="A list of sources holds another list.")
            start = match.end()
        else:
            items.append(text[start : match.start()])
            start = match.end()
            if len(items) > MAX_SOURCES:
                raise TaskURLError(public=f"A list has at most {MAX_SOURCES} sources.")
            if mark == "]":
                break
    else:
        raise TaskURLError(public="A list of sources is not closed.")
    if start != len(text):
        raise TaskURLError(public="Something follows the list of sources.")
    return items


def _read_item(text: str, marks: re.Pattern[str], *, percent: bool) -> Source:
    first = marks.match(text)
    if first is None and marks.search(text):
        raise TaskURLError(public="A source in a list holds a quote; write it in quotes or percent-encode it.")
    source = _read_single(text, marks, percent=percent)
    if source.kind is SourceKind.LIST:
        raise TaskURLError(public="A list of sources holds another list.")
    return source


def _read_single(text: str, marks: re.Pattern[str], *, percent: bool) -> Source:
    opening = marks.match(text)
    if opening is None:
        return _read_plain(text, percent=percent)
    closing = None
    if _meaning(opening) == '"':
        closing = next((m for m in marks.finditer(text, opening.end()) if _meaning(m) == '"'), None)
    if closing is None or closing.end() != len(text):
        raise TaskURLError(public="The quotes around a source do not match.")
    return _read_plain(text[opening.end() : closing.start()], percent=percent)


def _read_plain(text: str, *, percent: bool) -> Source:
    match = (_ENCODED_SCHEME if percent else _PLAIN_SCHEME).match(text)
    if match is None:
        handle = decode_percent(text) if percent else text
        if HANDLE.fullmatch(handle) is None:
            raise TaskURLError(public="The source is neither a file handle nor a URL of a kind that is known.")
        return Source(kind=SourceKind.HANDLE, text=handle)
    scheme, rest = match[1].lower(), text[match.end() :]
    if match[3].upper() not in _SEPARATORS:
        raise TaskURLError(public=f"'{scheme}:' is followed by two slashes.")
    # A raw external URL is passed on as it came: its own percent-encoding is part of it.
    if percent and not is_raw_url(text):
        rest = decode_percent(rest)
    if '"' in rest:
        raise TaskURLError(public="A source holds a quote.")
    if scheme == "src":
        return _alias(rest)
    if scheme == "wf":
        return _workflow(rest)
    if scheme == "b64":
        return _wrapped(rest, percent=percent)
    return _external(scheme, rest)


#: One slash is what proxies leave of two; it is repaired, so that nothing relative is ever fetched.
_SEPARATORS = frozenset({"/", "//", "%2F", "%2F%2F"})


def _external(scheme: str, rest: str) -> Source:
    path = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, *segments = path.split("/")
    if not host:
        raise TaskURLError(public="The URL of the source has no host.")
    if any(segment.lower().replace("%2e", ".") in (".", "..") for segment in segments):
        raise TaskURLError(public="The URL of the source holds a dot segment.")
    return Source(kind=SourceKind.EXTERNAL, text=f"{scheme}://{rest}")


def _alias(rest: str) -> Source:
    alias, *segments = rest.split("/")
    if _ALIAS.fullmatch(alias) is None or not segments or not {"", ".", ".."}.isdisjoint(segments):
        raise TaskURLError(public="'src://' is followed by the name of a storage alias and a path in it.")
    return Source(kind=SourceKind.ALIAS, text=rest)


def _workflow(rest: str) -> Source:
    if _WORKFLOW.fullmatch(rest) is None or not {".", ".."}.isdisjoint(rest.split("/")):
        raise TaskURLError(public="'wf://' is followed by the id of a workflow result.")
    return Source(kind=SourceKind.WORKFLOW, text=rest)


def _wrapped(rest: str, *, percent: bool) -> Source:
    if not percent:
        raise TaskURLError(public="A b64 source holds another one.")
    return read_source(check_text(decode_base64(rest)), percent=False)
