"""What a person should know before a policy is handed out: where it is wider than it has to be, where it grants nothing.

Knows: the table of calls, what each key limits (security promise 67). Must not know: who signs, how a warning is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..gate.decide import CALLS, Restriction, demands
from ..gate.model import Application
from ..gate.policy import Call, Policy

LONG = 24 * 3600  # seconds
_OF_FILES = frozenset({Call.READ, Call.CONVERT, Call.STAT, Call.EXIF, Call.WRITE, Call.REMOVE, Call.RUN_WORKFLOW})
_UPLOADS = frozenset({Call.PICK, Call.STORE})
_KEYS: tuple[tuple[str, str, Restriction], ...] = (
    ("container", "container", "container"),
    ("path", "path", "path"),
    ("url", "url", "url"),
    ("min_size", "minSize", "size"),
    ("max_size", "maxSize", "size"),
)


class Caution(NamedTuple):
    """Something worth a second look: a stable code, the key it is about, a sentence."""

    code: str
    key: str
    sentence: str


def warnings(policy: Policy, application: Application, *, now: float) -> tuple[Caution, ...]:
    """What is worth a second look in a policy of an application, the weightiest first."""
    return tuple(_wide(policy, now)) + tuple(_patterns(policy, application)) + tuple(_idle(policy))


def _granted(policy: Policy) -> frozenset[Call]:
    return frozenset(call for call in Call if policy.grants(call))


def _wide(policy: Policy, now: float) -> Iterator[Caution]:
    if policy.call is None:
        yield Caution(
            "no_call",
            "call",
            "No call is named, so it grants everything but EXIF: deleting and overwriting too. Name only what is needed.",
        )
    if policy.expiry - now > LONG:
        yield Caution(
            "long",
            "expiry",
            "It is good for more than 24 hours. Whoever gets hold of the address can use it all that time; only renewing the "
            "secret ends it sooner. Sign shorter ones, more often.",
        )
    if policy.handle is None and (policy.call is None or policy.call & _OF_FILES):
        named = ", ".join(sorted(_granted(policy) & _OF_FILES))
        yield Caution("no_handle", "handle", f"No handle is named, so it is good for every file of the application ({named}).")


def _patterns(policy: Policy, application: Application) -> Iterator[Caution]:
    for name in ("container", "path", "url"):
        pattern = getattr(policy, name)
        if pattern is None:
            continue
        anchored = pattern.startswith("^") and pattern.endswith("$")
        if application.regex == "search" and not anchored:
            yield Caution(
                "unanchored",
                name,
                f"The pattern of {name} is not anchored, and this application searches for patterns: it matches anywhere in "
                "the value. Begin it with ^ and end it with $.",
            )
        if "|" in pattern and anchored and application.regex == "search" and not _grouped(pattern):
            yield Caution(
                "alternatives",
                name,
                f"In the pattern of {name}, ^ and $ hold for one alternative each: write ^(a|b)$.",
            )


def _grouped(pattern: str) -> bool:
    """Whether every bar of a pattern is within parentheses or brackets."""
    depth, escaped, in_set = 0, False, False
    for letter in pattern:
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif in_set:
            in_set = letter != "]"
        elif letter == "[":
            in_set = True
        elif letter in "()":
            depth += 1 if letter == "(" else -1
        elif letter == "|" and depth == 0:
            return False
    return True


def _idle(policy: Policy) -> Iterator[Caution]:
    """What is granted in vain, and limits that limit nothing."""
    granted = _granted(policy)
    if policy.handle is not None and policy.call is not None and granted and granted <= _UPLOADS:
        yield Caution("handle_upload", "handle", "A policy with a handle covers no new upload, so this one grants nothing.")
    for call in sorted(granted):
        also = CALLS[call].also
        if also is not None and also not in granted:
            yield Caution("needs_also", "call", f"{call} counts only together with {also}: name that too.")
    limited = demands(granted).limited_by
    for name, key, restriction in _KEYS:
        if getattr(policy, name) is not None and restriction not in limited:
            yield Caution("idle", key, f"{key} limits nothing here: none of the granted calls looks at it.")
    if policy.min_size is not None and policy.max_size is not None and policy.min_size > policy.max_size:
        yield Caution("empty", "maxSize", "minSize is above maxSize, so no file fits.")


__all__ = ["LONG", "Caution", "warnings"]
