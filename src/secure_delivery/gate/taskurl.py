"""The grammar of transformation URLs: `/[KEY/]{task/}source`, read and written.

Knows: the order of a path, its spellings by every official client, and one canonical spelling.
Must not know: requests, hosts, which tasks exist, who may do what.

Two rules hold in this module. First, the path comes in raw and is decoded once, piece by piece, after the pieces were
told apart; so what is judged is what is run (security promise 96). Second, what can be read in two ways is refused, not
guessed: a policy with an unquoted `/`, for one, splits like any other text and is never glued together again.

Source of the rules: the Filestack documentation on processing and security, and what its official clients send.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .errors import TaskURLError
from .policy import SignedPolicy
from .tasksource import HANDLE, MAX_SOURCES, SOURCE_START, Source, SourceKind, is_raw_url, read_source
from .taskvalues import (
    MAX_NESTING,
    MAX_TASKS,
    Task,
    Value,
    check_text,
    decode_percent,
    fits_path,
    read_base64_tasks,
    read_json_tasks,
    read_task,
    security_task,
    split_security,
    too_many_tasks,
    write_base64_tasks,
)

__all__ = [
    "MAX_NESTING",
    "MAX_PATH",
    "MAX_SOURCES",
    "MAX_TASKS",
    "Source",
    "SourceKind",
    "Task",
    "TaskURL",
    "Value",
    "parse",
    "read_json_tasks",
    "split_security",
]

MAX_PATH = 8192  # characters, as received and with a query string that belongs to the path (security promise 41)

_API_KEY = re.compile(r"[A-Za-z0-9]{20,32}")
_ISSUED_KEY = re.compile(r"[A-Za-z0-9]{22}")  # the length that both Filestack and this project give out
_FORCED = re.compile(rf"({HANDLE.pattern})&force=true")
_VIDEO_TASKS = ("video_convert", "video_playlist")

_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HIDDEN_UNSAFE = re.compile(r"%(?:[01][0-9A-F]|7F|5C)", re.IGNORECASE)  # C0 controls, DEL, backslash
_EVENT = re.compile(r'"|%22|\[|%5B|\]|%5D|/|%2F', re.IGNORECASE)
_MARKS = {"%22": '"', "%5B": "[", "%5D": "]", "%2F": "/"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskURL:
    """A transformation URL, understood.

    * `api_key`: the key in the path, or None.
    * `tasks`: the chain in order, without `security` and `debug`.
    * `source`: what the chain works on; None for the few tasks that need nothing, such as `workflow_status`.
    * `signed`: the credential of the path, not verified; None where there is none.
    * `debug`: whether the client asks what would be done instead of for the result.
    * `takes_query`: whether the request's query string became part of what is above. It must then not be read as
      options or credentials of this request. No part of the identity: the canonical form has no query string.
    """

    api_key: str | None = None
    tasks: tuple[Task, ...] = ()
    source: Source | None = None
    signed: SignedPolicy | None = field(default=None, repr=False)
    debug: bool = False
    takes_query: bool = field(default=False, compare=False)

    def format(self) -> str:
        """The canonical path, beginning with `/`: `parse(x.format()) == x` for every x that `parse` returned.

        Every character in it is one that RFC 3986 allows in a path as it is. The chain is written out unless only the
        JSON spelling (`b64/…`) says the same. Encoding may make it longer than the `MAX_PATH` that `parse` accepts.
        """
        parts = [] if self.api_key is None else [self.api_key]
        if self.debug:
            parts.append("debug")
        if self.signed is not None:
            parts.append(str(security_task(self.signed)))
        if self._needs_json(at_start=not parts):
            parts += ["b64", write_base64_tasks(self.tasks)]
        else:
            parts += map(str, self.tasks)
        if self.source is not None:
            parts.append(str(self.source))
        return "/" + "/".join(parts)

    def _needs_json(self, *, at_start: bool) -> bool:
        """Whether the chain written out would be read as something else: a value, a source or a key."""
        if not self.tasks:
            return False
        no_end = self.source is None and not self.tasks[-1].options
        like_key = at_start and _API_KEY.fullmatch(str(self.tasks[0])) is not None
        return no_end or like_key or not all(map(fits_path, self.tasks))


def parse(path: str, *, query: str = "", known_key: Callable[[str], bool] | None = None) -> TaskURL:
    """Read a transformation URL.

    `path` is the raw path of the request, with the percent-encoding it arrived with; `query` the raw query string
    without its `?`. A query string belongs to the path in two cases, and `takes_query` then says so: after an external
    URL that is given raw, and where the path breaks off inside quotes or brackets, which is what a `?` in a quoted URL
    looks like.

    `known_key` tells whether a text is an API key. Without it the first of several segments is one when it has exactly
    22 letters and digits.

    Raises `TaskURLError` (400) for everything outside the grammar and the limits, `CredentialConflict` (400) for more
    than one credential. Takes time linear in the length, which is bounded.
    """
    _check_raw(path)
    outline = _outline(path)
    takes_query = False
    if outline.open and query:
        path = f"{path}?{query}"
        _check_raw(path)
        outline, takes_query = _outline(path), True
    source: Source | None = None
    if outline.source is not None:
        text = outline.source
        if query and not takes_query and is_raw_url(text):
            text, takes_query = f"{text}?{check_text(query)}", True
            _check_length(path, query)
        source = read_source(text)
    segments = [_decode_segment(segment) for segment in outline.segments]
    api_key = _key(segments, alone=source is None and len(segments) == 1, known_key=known_key)
    chain, source = _read_chain(segments if api_key is None else segments[1:], source)
    tasks, signed = split_security(chain)
    tasks, debug = _split_debug(tasks)
    if len(tasks) > MAX_TASKS:
        raise too_many_tasks()
    if not tasks and source is None:
        raise TaskURLError(public="The path names neither a source nor anything to do.")
    return TaskURL(api_key=api_key, tasks=tasks, source=source, signed=signed, debug=debug, takes_query=takes_query)


def _check_length(*parts: str) -> None:
    if sum(map(len, parts)) > MAX_PATH:
        raise TaskURLError(public=f"The path is longer than {MAX_PATH} characters.")


def _check_raw(path: str) -> None:
    _check_length(path)
    if not path.startswith("/"):
        raise TaskURLError(public="The path does not begin with a slash.")
    check_text(path)
    if _HIDDEN_UNSAFE.search(path):
        raise TaskURLError(public="The URL holds a control character or a backslash.")
    if _BAD_PERCENT.search(path):
        raise TaskURLError(public="A percent sign in the URL is not followed by two hexadecimal digits.")


class _Outline(NamedTuple):
    """A path cut at its slashes, still encoded. `source` is None where only the last segment can be one.

    `open` says that the path ends inside quotes or brackets.
    """

    segments: list[str]
    source: str | None
    open: bool


def _outline(path: str) -> _Outline:
    """Cut a path at every slash, raw or encoded, outside quotes and brackets, up to where a source begins.

    The encoded slash counts because the Java client sends a whole chain as one segment (`resize=w:10%2Frotate=d:90`).
    """
    segments: list[str] = []
    start, depth, quoted = 1, 0, False
    begins = SOURCE_START.match(path, start)
    for event in _EVENT.finditer(path, start):
        if begins and begins[1]:  # a URL runs to the end, and nothing in it means anything here
            break
        mark = _MARKS.get(event[0].upper(), event[0])
        if mark == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif mark == "[":
            depth += 1
        elif mark == "]":
            depth -= 1
        elif depth <= 0 and not begins:
            segments.append(path[start : event.start()])
            start = event.end()
            begins = SOURCE_START.match(path, start)
            if len(segments) > MAX_TASKS + 6:  # a key, debug, security, b64 with its tasks, a handle
                raise too_many_tasks()
    if begins and begins[1]:
        return _Outline(segments, path[start:], False)
    if begins:
        return _Outline(segments, path[start:], quoted or depth > 0)
    return _Outline([*segments, path[start:]], None, quoted or depth > 0)


def _decode_segment(text: str) -> str:
    decoded = decode_percent(text)
    if decoded in ("", ".", ".."):
        raise TaskURLError(public="The path has an empty segment, a trailing slash or a dot segment.")
    return decoded


def _key(segments: Sequence[str], *, alone: bool, known_key: Callable[[str], bool] | None) -> str | None:
    """The API key that leads a path, if one does. A segment that stands alone is a source."""
    if alone or not segments:
        return None
    first = segments[0]
    if known_key is None:
        return first if _ISSUED_KEY.fullmatch(first) else None
    return first if _API_KEY.fullmatch(first) and known_key(first) else None


def _read_chain(segments: Sequence[str], source: Source | None) -> tuple[list[Task], Source | None]:
    """The tasks of a path, and its source: the one found before, or the handle at the end of the segments."""
    tasks: list[Task] = []
    waiting = list(reversed(segments))
    while waiting:
        text = waiting.pop()
        if text == "b64":
            if not waiting:
                raise TaskURLError(public="'b64' is followed by a slash and a list of tasks.")
            tasks += read_base64_tasks(waiting.pop())
        elif waiting or source is not None:
            tasks.append(read_task(text))
        else:
            return _read_end(text, tasks)
    return tasks, source


def _read_end(text: str, tasks: list[Task]) -> tuple[list[Task], Source | None]:
    """Read a last segment: a handle, a handle with the PHP client's `&force=true`, or a task without a source."""
    if HANDLE.fullmatch(text):
        return tasks, Source(kind=SourceKind.HANDLE, text=text)
    forced = _FORCED.fullmatch(text)
    if forced:
        return _force(tasks), Source(kind=SourceKind.HANDLE, text=forced[1])
    if "=" not in text:
        raise TaskURLError(public="The path does not end in a source. A file handle has 20 to 64 characters.")
    return [*tasks, read_task(text)], None


def _force(tasks: list[Task]) -> list[Task]:
    """The chain with `force:true` given to its video task, as if it stood among the options."""
    for index, task in enumerate(tasks):
        if task.name in _VIDEO_TASKS and task.get("force") is None:
            forced = Task(name=task.name, options=(*task.options, ("force", "true")))
            return [*tasks[:index], forced, *tasks[index + 1 :]]
    raise TaskURLError(public="'&force=true' belongs to a video task that does not say 'force' itself.")


def _split_debug(tasks: tuple[Task, ...]) -> tuple[tuple[Task, ...], bool]:
    """The tasks without `debug`, which stands before the chain (PHP, Java) or at its end (Ruby)."""
    rest = tuple(task for task in tasks if task.name != "debug")
    if len(rest) == len(tasks):
        return tasks, False
    at_edge = tasks[0].name == "debug" or tasks[-1].name == "debug"
    if len(rest) != len(tasks) - 1 or not at_edge or any(task.name == "debug" and task.options for task in tasks):
        raise TaskURLError(public="'debug' stands once, before the first task or after the last, without options.")
    return rest, True
