"""Which paths and methods are which calls.

Knows: URL patterns and calls. Must not know: policies, applications, what happens after a rule matched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from posixpath import normpath
from typing import Any, NamedTuple

from .errors import ConfigurationError
from .policy import CALL_NAMES, Call

#: The names in a pattern that become facts of the request. Other names may be used; they only match.
FACTS = ("handle", "container", "path", "url", "key")

_PLACEHOLDER = re.compile(r"<(?:(path):)?([a-z_][a-z0-9_]*)>")
_METHOD = re.compile(r"[A-Z]+")
#: Path spellings that two parsers read differently: empty and dot segments, backslashes, control characters, slashes
#: and dots that are still encoded after one decoding.
_AMBIGUOUS = re.compile(r"//|/\.{1,2}(?:/|$)|\\|[\x00-\x1f\x7f]|%2[eEfF]|%5[cC]")
_REMEMBERED, _LONGEST_REMEMBERED = 4096, 256  # paths outside every rule, and characters of each
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
#: Paths that nobody reads in two ways: no empty segment, none that begins with a dot, no tasks, nothing encoded. Much
#: faster to tell than that a path is not ambiguous, and true of nearly all that a server is asked for.
_PLAIN = re.compile(r"(?:/[\w~@+,-][\w~@+,.-]*)*/?").fullmatch


def _without_dots(path: str) -> str:
    """The path without dot segments as RFC 3986, section 5.2.4, removes them: empty segments stay and count."""
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == ".." and len(kept) > 1:
            kept.pop()
        elif segment not in (".", ".."):
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/".join(kept)


def _calls(value: object, method: str) -> frozenset[Call]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, Iterable):
        raise ConfigurationError(f"{method}: a call name or a list of them is wanted")
    calls = set()
    for name in names:
        if not isinstance(name, str) or name not in CALL_NAMES:
            raise ConfigurationError(f"{method}: {name!r} is not a call; known are {', '.join(sorted(CALL_NAMES))}")
        calls.add(CALL_NAMES[name])
    if not calls:
        raise ConfigurationError(f"{method}: at least one call is needed")
    return frozenset(calls)


class Rule:
    """One guarded path: `Rule("/files/<handle>", GET="read", PUT="write", DELETE="remove")`.

    * `<name>` stands for one segment, `<path:name>` for the rest of the path. `handle`, `container`, `path`, `url` and
      `key` (the API key) become facts that policies are judged on. A trailing slash makes no difference.
    * Methods in capitals name the calls they are. `HEAD` is what `GET` is unless it is named; a method that is not named is
      answered 405, so that nothing on a guarded path is reachable unjudged.
    * `body=True`: a policy may also travel in a JSON or form body, of which the door reads the beginning.
    * Other keywords are facts that are the same for each request: `container="uploads"`.

    Raises `ConfigurationError` for unknown calls, no method, or a pattern that is not one.
    """

    def __init__(self, pattern: str, /, *, body: bool = False, **named: Any) -> None:
        methods = {name: value for name, value in named.items() if _METHOD.fullmatch(name)}
        facts = {name: value for name, value in named.items() if name not in methods}
        if not pattern.startswith("/"):
            raise ConfigurationError(f"rule {pattern!r}: a pattern begins with a slash")
        if not methods:
            raise ConfigurationError(f"rule {pattern!r}: name at least one method, such as GET='read'")
        for name, value in facts.items():
            if name not in FACTS or not isinstance(value, str):
                raise ConfigurationError(f"rule {pattern!r}: {name} is neither a method nor a fact ({', '.join(FACTS)})")
        for _, name in _PLACEHOLDER.findall(pattern):
            if name in facts:
                raise ConfigurationError(f"rule {pattern!r}: {name} is in the pattern and a fact; which one should count?")
        self.pattern = pattern
        self.body = body
        self.facts: Mapping[str, str] = facts
        self.calls = {method: _calls(value, f"rule {pattern!r}, {method}") for method, value in methods.items()}
        if "GET" in self.calls:
            self.calls.setdefault("HEAD", self.calls["GET"])
        self.regex = self._compile(pattern)

    @staticmethod
    def _compile(pattern: str) -> str:
        bare = pattern.rstrip("/")
        parts, literals, end, seen = [], [], 0, set()
        for placeholder in _PLACEHOLDER.finditer(bare):
            whole, name = placeholder.group(1), placeholder.group(2)
            if name in seen:
                raise ConfigurationError(f"rule {pattern!r}: <{name}> stands twice")
            seen.add(name)
            literals.append(bare[end : placeholder.start()])
            parts.append(re.escape(literals[-1]))
            parts.append(f"(?P<{name}>{'.+' if whole else '[^/]+'})")
            end = placeholder.end()
        rest = bare[end:]
        if any("<" in literal or ">" in literal for literal in (*literals, rest)):
            raise ConfigurationError(f"rule {pattern!r}: a placeholder is <name> or <path:name>")
        return "".join(parts) + re.escape(rest) + "/?"

    def __repr__(self) -> str:
        methods = ", ".join(f"{method}={'+'.join(sorted(calls))!r}" for method, calls in self.calls.items())
        return f"Rule({self.pattern!r}, {methods})"

    @classmethod
    def from_settings(cls, table: Mapping[str, Any]) -> Rule:
        """A rule from a settings table: `pattern`, methods in capitals, `body` and facts as in the constructor."""
        named = dict(table)
        pattern = named.pop("pattern", None)
        if not isinstance(pattern, str):
            raise ConfigurationError("rules: each rule has a pattern")
        body = named.pop("body", False)
        if not isinstance(body, bool):
            raise ConfigurationError(f"rule {pattern!r}: body is true or false")
        return cls(pattern, body=body, **named)


class Match(NamedTuple):
    """A path under one or more rules: the facts by method, and the methods that are served."""

    rules: tuple[tuple[Rule, Mapping[str, str]], ...]

    def find(self, method: str) -> tuple[Rule, Mapping[str, str]] | None:
        """The first rule that names the method."""
        for rule, names in self.rules:
            if method in rule.calls:
                return rule, names
        return None

    @property
    def methods(self) -> list[str]:
        return sorted({method for rule, _ in self.rules for method in rule.calls} | {"OPTIONS"})


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """A path that is not plainly outside every rule: routers that read it differently would disagree about it."""

    path: str


class RuleSet:
    """All rules of a guard, compiled into one look-up.

    A path that no rule matches costs one regular expression. Patterns have no nested repetition, so that matching is linear
    for one `<path:…>` and at worst polynomial in the handful of placeholders of a pattern the operator wrote.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        if not self.rules:
            raise ConfigurationError("a guard without rules guards nothing: give it at least one Rule")
        self._each = [(rule, re.compile(rule.regex, re.DOTALL).fullmatch) for rule in self.rules]
        unnamed = (re.sub(r"\(\?P<[^>]+>", "(?:", rule.regex) for rule in self.rules)
        self._any = re.compile("|".join(f"(?:{regex})" for regex in unnamed), re.DOTALL).fullmatch
        self._ambiguous = _AMBIGUOUS.search
        self._outside: set[str] = set()
        self._beginnings = tuple({rule.pattern.rstrip("/").partition("<")[0] for rule in self.rules})

    def outside(self, path: str) -> bool:
        """Whether a decoded path is sure to match nothing: it begins like no rule and cannot be read in another way.

        Cheaper than `match`, for the requests that are nobody's business. `False` says nothing.
        """
        if path in self._outside:
            return True
        if path.startswith(self._beginnings) or _PLAIN(path) is None:
            return False
        if len(self._outside) >= _REMEMBERED:
            self._outside.clear()
        if len(path) <= _LONGEST_REMEMBERED:
            self._outside.add(path)
        return True

    def match(self, path: str) -> Match | Ambiguous | None:
        """The rules a decoded path falls under; `None` when the wrapped app may have it unjudged.

        A spelling that some router would fold into a guarded path (`//`, `/./`, `/../`, backslashes, encoded slashes)
        is `Ambiguous`: judged on one reading and routed on another, it would slip through (security promise 96).
        """
        if self._ambiguous(path) is not None:
            return self._match_ambiguous(path)
        if self._any(path) is None:
            return None
        return Match(tuple((rule, found.groupdict()) for rule, full in self._each if (found := full(path))))

    def _match_ambiguous(self, path: str) -> Ambiguous | None:
        for spelling in (path, *self._readings(path)):
            if self._any(spelling) is not None:
                return Ambiguous(path)
        return None

    @staticmethod
    def _readings(path: str) -> Iterable[str]:
        """The paths that routers of various habits could make of one spelling."""
        slashed = re.sub(r"%2[fF]|%5[cC]|\\", "/", re.sub("%2[eE]", ".", path))
        plain = _CONTROLS.sub("", slashed)
        ended = _CONTROLS.split(slashed, maxsplit=1)[0]  # what a router written in C makes of a NUL
        for text in (slashed, plain, ended):
            merged = re.sub(r"/{2,}", "/", text)
            yield merged
            yield "/" + normpath(merged).lstrip("/")
            yield _without_dots(text)
            yield re.sub(r"/\.(?=/|$)", "", merged) or "/"
