"""One task of a transformation URL: its name, its options, and the two ways of writing both.

Knows: the path spelling (`resize=width:300,align:[top,left]`), the JSON spelling (`{"name": …, "params": …}`), and what
text may be a value.
Must not know: sources, API keys, the order of a path, and which tasks or options exist; the registry of plugins does.

Everything here reads text whose percent-encoding is already gone, once. A structural character therefore counts the
same however it travelled, and only quotes protect one. Every reader is a single pass; lists recurse, but only
`MAX_NESTING` deep.

Source of the rules: the Filestack documentation on transformations, and what its official clients send.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote, unquote_to_bytes

from .errors import BadRequest, CredentialConflict, TaskURLError
from .policy import SignedPolicy

MAX_TASKS = 32  # security promise 41; `security` and `debug` are not counted, they transform nothing
MAX_NESTING = 3  # objects:[[x,y,w,h],…] needs two

#: What an option holds: text, or a list of values. Numbers and booleans stay the text they were written as.
Value: TypeAlias = "str | tuple[Value, ...]"

_TASK = re.compile(r"([a-z][a-z0-9_]{0,39})(?:=(.*))?", re.DOTALL)
_OPTION = re.compile(r"([A-Za-z][A-Za-z0-9_]{0,39}):")
_TOKEN = re.compile(r'[^",\[\]]+')
_PLAIN = re.compile(r"[A-Za-z0-9._~=+-]+")  # what is written without quotes; narrower than what is read without them
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\\\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One step of a chain.

    `options` holds (key, value) pairs in the order given, no key twice. A value without a key, which the grammar has in
    `cache=false` and `metadata=[size,md5]` only, stands under the empty key.
    """

    name: str
    options: tuple[tuple[str, Value], ...] = ()

    def get(self, key: str) -> Value | None:
        """The value of an option, or None where it is not given."""
        for name, value in self.options:
            if name == key:
                return value
        return None

    def __str__(self) -> str:
        """The path spelling, percent-encoded. For a value with a `"` in it only the JSON spelling can be read back."""
        if not self.options:
            return self.name
        return f"{self.name}={','.join(f'{key}:{_write(v)}' if key else _write(v) for key, v in self.options)}"


def too_many_tasks() -> TaskURLError:
    """The refusal of a chain longer than `MAX_TASKS`."""
    return TaskURLError(public=f"A chain has at most {MAX_TASKS} tasks.")


# ------------------------------------------------------------------------------------------------------------ decoding


def check_text(text: str) -> str:
    """The text itself. Raises `TaskURLError` for control characters, backslashes and halves of characters."""
    if _UNSAFE.search(text):
        raise TaskURLError(public="The URL holds a control character or a backslash.")
    return text


def decode_percent(text: str) -> str:
    """The text with its percent-encoding removed once. Raises `TaskURLError` when that is not clean UTF-8."""
    if "%" not in text:
        return check_text(text)
    try:
        return check_text(unquote_to_bytes(text).decode("utf-8"))
    except UnicodeError:
        raise TaskURLError(public="The URL is not UTF-8.") from None


def decode_base64(text: str) -> str:
    """The UTF-8 text behind Base64 in either alphabet of RFC 4648, padded or not, with no stray character or bit."""
    url_safe = text.translate(_TO_STANDARD)
    bare = url_safe.rstrip("=")
    padded = bare + "=" * (-len(bare) % 4)
    mixed = url_safe != text and ("+" in text or "/" in text)
    try:
        if mixed or not text or url_safe not in (bare, padded):
            raise ValueError("two alphabets, or wrong padding")
        raw = binascii.a2b_base64(padded, strict_mode=True)
        if binascii.b2a_base64(raw, newline=False).decode("ascii") != padded:
            raise ValueError("spare bits")
        return raw.decode("utf-8")
    except ValueError:  # binascii.Error and UnicodeDecodeError are ValueErrors too
        raise TaskURLError(public="A b64 part of the URL is not Base64 of UTF-8 text.") from None


_TO_STANDARD = str.maketrans("-_", "+/")


# ------------------------------------------------------------------------------------------------------- path spelling


def read_task(text: str) -> Task:
    """One task as it stands between two slashes, already decoded.

    Raises `TaskURLError` for what is not `name`, `name=options` or one of the two documented values without a key.
    """
    match = _TASK.fullmatch(text)
    if match is None:
        raise TaskURLError(public="A part of the path is neither a task nor a source.")
    name, options = _checked_name(match[1]), match[2]
    if options is None:
        return Task(name=name)
    if not options:
        raise TaskURLError(public=f"The task '{name}' has nothing after its '='.")
    if name == "cache" and options in ("false", "f"):
        return _UNCACHED
    if name == "metadata" and options[0] == "[":
        value, end = _read_value(options, 0, f"The list of '{name}'")
        if end != len(options):
            raise TaskURLError(public=f"Something follows the list of '{name}'.")
        return Task(name=name, options=(("", value),))
    task = Task(name=name, options=_read_options(name, options))
    if name == "security":  # here already: of a policy cut by its own slash the next segment would be blamed
        _read_security(task)
    return task


def _checked_name(name: str) -> str:
    if name == "b64":  # reserved: in a path it announces a list of tasks and is not one itself
        raise TaskURLError(public="'b64' is followed by a slash and a list of tasks.")
    return name


def _read_options(name: str, text: str) -> tuple[tuple[str, Value], ...]:
    found: dict[str, Value] = {}
    at = 0
    while True:
        match = _OPTION.match(text, at)
        if match is None:
            raise TaskURLError(public=f"An option of '{name}' has no value, or an unusable name.")
        key = match[1]
        if key in found:
            raise _given_twice(name, key)
        found[key], at = _read_value(text, match.end(), f"The option '{key}' of '{name}'")
        if at == len(text):
            return tuple(found.items())
        if text[at] != ",":
            raise TaskURLError(public=f"Quotes or brackets do not match in the option '{key}' of '{name}'.")
        at += 1


def _given_twice(name: str, key: str) -> BadRequest:
    if name == "security":  # two policies are two credentials, however they are written
        return CredentialConflict()
    return TaskURLError(public=f"The option '{key}' of '{name}' is given twice.")


def _read_value(text: str, at: int, what: str, depth: int = 0) -> tuple[Value, int]:
    """The value that starts at a position, and the position after it. `what` begins the sentence of a refusal."""
    if text.startswith('"', at):
        end = text.find('"', at + 1)
        if end < 0:
            raise TaskURLError(public=f"{what} has a quote that is never closed.")
        return text[at + 1 : end], end + 1
    if text.startswith("[", at):
        return _read_list(text, at + 1, what, depth)
    match = _TOKEN.match(text, at)
    if match is None:
        raise TaskURLError(public=f"{what} has an empty value.")
    return match[0], match.end()


def _read_list(text: str, at: int, what: str, depth: int) -> tuple[Value, int]:
    if depth == MAX_NESTING:
        raise TaskURLError(public=f"{what} has lists nested deeper than {MAX_NESTING}.")
    items: list[Value] = []
    while True:
        start = _skip_blanks(text, at)
        item, at = _read_value(text, start, what, depth + 1)
        if isinstance(item, str) and text[start] != '"':
            item = item.rstrip(" ")
        items.append(item)
        at = _skip_blanks(text, at)
        if text.startswith("]", at):
            return tuple(items), at + 1
        if not text.startswith(",", at):
            raise TaskURLError(public=f"{what} has a list that is not closed.")
        at += 1


def _skip_blanks(text: str, at: int) -> int:
    while text.startswith(" ", at):
        at += 1
    return at


def _write(value: Value) -> str:
    if not isinstance(value, str):
        return f"%5B{','.join(map(_write, value))}%5D"
    return value if _PLAIN.fullmatch(value) else f"%22{quote(value, safe='')}%22"


def fits_path(task: Task) -> bool:
    """Whether the path spelling can carry the task: it has no way to write a quote inside a value."""
    return not any(_has_quote(value) for _, value in task.options)


def _has_quote(value: Value) -> bool:
    return '"' in value if isinstance(value, str) else any(map(_has_quote, value))


# ------------------------------------------------------------------------------------------------------- JSON spelling


def read_json_tasks(tasks: object) -> tuple[Task, ...]:
    """Tasks from decoded JSON: `[{"name": "resize", "params": {"width": 80}}, …]`.

    They stand after `b64/` in a path and in the body of `POST /process`. Member names are matched without regard to
    case, since the Go client writes `Name` and `Params`. Numbers and booleans become their JSON text. Raises
    `TaskURLError` for anything else: other members, null or objects as a value, empty lists.
    """
    if not isinstance(tasks, list):
        raise TaskURLError(public="The tasks are not a list.")
    if len(tasks) > MAX_TASKS + 2:
        raise too_many_tasks()
    return tuple(_read_json_task(task) for task in tasks)


def _read_json_task(task: object) -> Task:
    members = {key.lower(): value for key, value in task.items()} if isinstance(task, dict) else {}
    if not isinstance(task, dict) or len(members) != len(task) or not members.keys() <= {"name", "params"}:
        raise TaskURLError(public="A task is not an object of 'name' and 'params'.")
    name, params = members.get("name"), members.get("params")
    if not isinstance(name, str) or "=" in name or _TASK.fullmatch(name) is None:
        raise TaskURLError(public="A task has no usable name.")
    _checked_name(name)
    if params is None or params is True or params == {}:
        return Task(name=name)
    if name == "cache" and (params is False or params == "false"):
        return _UNCACHED
    if name == "metadata" and isinstance(params, list):
        return Task(name=name, options=(("", _from_json(params, f"The list of '{name}'")),))
    if not isinstance(params, dict):
        raise TaskURLError(public=f"The params of '{name}' are not an object.")
    for key in params:
        if _OPTION.fullmatch(f"{key}:") is None:
            raise TaskURLError(public=f"An option of '{name}' has an unusable name.")
    return Task(
        name=name,
        options=tuple((key, _from_json(value, f"The option '{key}' of '{name}'")) for key, value in params.items()),
    )


def _from_json(value: object, what: str, depth: int = 0) -> Value:
    if isinstance(value, str):
        return check_text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float) and abs(value) < 2**63:  # false for NaN and infinity, which are not JSON
        return json.dumps(value)
    if isinstance(value, list) and value and depth < MAX_NESTING:
        return tuple(_from_json(item, what, depth + 1) for item in value)
    raise TaskURLError(public=f"{what} is empty, nested too deep, or no value at all.")


def read_base64_tasks(text: str) -> tuple[Task, ...]:
    """The tasks of the segment after `b64/`. The JSON is strict: no member twice, no NaN, nothing after its end."""
    try:
        # Numbers are kept as written: "1.50" must not become another text, and a thousand digits need no arithmetic.
        tasks = json.loads(
            decode_base64(text),
            object_pairs_hook=_no_duplicates,
            parse_int=str,
            parse_float=str,
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError):  # deep nesting exhausts the parser, not this process
        raise TaskURLError(public="The tasks after 'b64' are not JSON.") from None
    return read_json_tasks(tasks)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise TaskURLError(public="A task or option after 'b64' is given twice.")
    return members


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def write_base64_tasks(tasks: Iterable[Task]) -> str:
    """The Base64URL text of the JSON spelling, padded: the inverse of `read_base64_tasks`."""
    text = json.dumps([_to_json(task) for task in tasks], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode("utf-8")).decode("ascii")


def _to_json(task: Task) -> dict[str, object]:
    if not task.options:
        return {"name": task.name}
    alone = task.get("")
    if alone is None:
        return {"name": task.name, "params": dict(task.options)}
    return {"name": task.name, "params": False if alone == "false" else alone}


_UNCACHED = Task(name="cache", options=(("", "false"),))


# ------------------------------------------------------------------------------------------------------------ security

_CREDENTIALS = {"policy": "policy", "p": "policy", "signature": "signature", "s": "signature"}


def split_security(tasks: Sequence[Task]) -> tuple[tuple[Task, ...], SignedPolicy | None]:
    """The tasks without their `security`, and what that one carried.

    Raises `CredentialConflict` for a second credential (security promise 7) and `TaskURLError` for an unknown option, a
    missing half, or a half that is no text.
    """
    signed: SignedPolicy | None = None
    for task in tasks:
        if task.name != "security":
            continue
        if signed is not None:
            raise CredentialConflict
        signed = _read_security(task)
    return tuple(task for task in tasks if task.name != "security"), signed


def _read_security(task: Task) -> SignedPolicy:
    halves: dict[str, str] = {}
    for key, value in task.options:
        half = _CREDENTIALS.get(key)
        if half is None:
            raise TaskURLError(public="The task 'security' takes a policy and a signature, nothing else.")
        if half in halves:
            raise CredentialConflict
        if not isinstance(value, str) or not value or '"' in value:
            raise TaskURLError(public=f"The {half} of the task 'security' is not a text.")
        halves[half] = value
    if len(halves) != 2:
        raise TaskURLError(public="'security' needs a policy and a signature, in quotes where they hold a slash.")
    return SignedPolicy(halves["policy"], halves["signature"])


def security_task(signed: SignedPolicy) -> Task:
    """The task that carries a credential in a path."""
    return Task(name="security", options=(("policy", signed.encoded), ("signature", signed.signature)))
