"""Domain whitelists: reading patterns, asking whether a host is covered.

Knows: the glob dialect of the Filestack "Security" document.
Must not know: requests, applications, what follows from a missing or foreign host (that is for `decide`).

Two rules hold in this module. First, hosts and patterns become comparable by the same steps (lower case, A-labels, one
trailing dot dropped), and what cannot be made comparable is refused, never guessed at. Second, wcmatch is handed one
label at a time and only what the front gate below has rewritten: no dot, brace, escape or range reaches it, so nothing
of its wider dialect can be used from outside.

The dialect. `*` is any run of characters and `?` one character, neither crosses a dot or a colon. `{a,b}` is one of
several texts, which may hold dots and ports. `[a-d]`, `[abc]` and `[!a-d]` are one character, never a dot. A pattern
covers whole hosts. One with a port wants that port, where `:80` and `:443` equal an absent port if the scheme says so;
one without a port covers every port. `[::1]:8080` is an address, not a set.

Sources: the Filestack "Security" document (table and restrictions), RFC 1035
(lengths), security promises 27 to 29.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice, product
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

from wcmatch import fnmatch

from .errors import ConfigurationError, PatternError
from .hosts import DEFAULT_PORTS, DOTS, MAX_PORT, Host, a_label, canonical_address, parse_authority

MAX_PATTERN = 256  # characters, without the scheme; a host name has 253 at most
MAX_ALTERNATIVES = 256  # texts that the braces of one pattern may stand for, counted before any is written out
MAX_NESTING = 3  # braces within braces
# Two budgets keep a pattern within the 5 ms of security promise 28. 256 alternatives of five labels each fit into the
# first. Each different label with wildcards costs 0.1 ms to compile and each star in it 0.01 ms: two dozen fit.
MAX_DOTS = 1024  # in all alternatives together, counted before any is written out
MAX_WILDCARD_COST = 280
_COST_OF_LABEL, _COST_OF_STAR = 10, 1

_MAX_LABEL = 63
_KNOWN_HOSTS = 1024  # answers kept per whitelist; a browser sends the same few hosts over and over
_LABEL_CHARACTERS = "-0123456789_abcdefghijklmnopqrstuvwxyz"  # in code point order: ranges are cut out of it

# wcmatch: case was folded already; no flag adds syntax. DOTMATCH and FORCEUNIX only switch off readings that vary.
_FLAGS = fnmatch.CASE | fnmatch.FORCEUNIX | fnmatch.DOTMATCH

_PORT = re.compile(r"0|[1-9][0-9]{0,4}")
_SCHEME = re.compile(r"https?://", re.IGNORECASE | re.ASCII)
_LITERAL = re.compile(r"[a-z0-9_.:-]+")
_RUN = re.compile(r"(\[[^\]]*\])|([^.:{},*?\[\]]*[^\x00-\x7f.:{},*?\[\]][^.:{},*?\[\]]*)")  # a set | a run with non-ASCII
_SET = re.compile(r"\[[^\]]*\]")
_STARS = re.compile(r"\*{2,}")

_REFUSED = {
    "(": "parentheses are not accepted",
    ")": "parentheses are not accepted",
    "|": "a bar is no operator here, write {a,b}",
    "\\": "escapes are not part of the dialect",
    "%": "percent signs do not occur in host names",
    "@": "user information is not part of a domain",
    "/": "paths are not part of a domain",
}


# --- patterns: from text to the labels and ports they stand for ---

#: Texts in a row; a list among them is a brace with its alternatives.
_Sequence: TypeAlias = "list[str | list[_Sequence]]"


class _Alternative(NamedTuple):
    """One of the texts that a pattern stands for once its braces are written out."""

    labels: list[str]  # from left to right; an IPv6 address is a single label in brackets
    port: int | None


def _normalise(pattern: str) -> str:
    """The saved form of *pattern*: no scheme, no lone trailing slash, lower case, A-labels. Raises ValueError."""
    if len(pattern) > MAX_PATTERN + len("https:///"):
        raise ValueError(f"it is longer than {MAX_PATTERN} characters")
    scheme = _SCHEME.match(pattern)
    text = pattern[scheme.end() if scheme else 0 :].removesuffix("/")
    for character in text:
        if character.isspace() or not character.isprintable():
            raise ValueError("blanks and control characters are not accepted")
        if character in _REFUSED:
            raise ValueError(_REFUSED[character])
    if not text.isascii():
        text = _RUN.sub(_convert_run, text.translate(DOTS))
    if not text:
        raise ValueError("it is empty")
    if len(text) > MAX_PATTERN:
        raise ValueError(f"it is longer than {MAX_PATTERN} characters")
    return text.lower()


def _convert_run(run: re.Match[str]) -> str:
    """A run of literal characters as it is compared. Whether it is a whole label, `_read` judges."""
    if run[1] is not None:
        if not run[1].isascii():
            raise ValueError("a set holds only a to z, digits, hyphen and underscore")
        return run[1]
    return a_label(run[2])


class _Reader:
    """Reads a saved pattern from left to right into a sequence; raises ValueError at what is outside the dialect."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def read(self) -> _Sequence:
        """The whole pattern."""
        for pair, why in (("..", "an empty label"), ("**", "two stars in a row")):
            if pair in self.text:
                raise ValueError(why)
        sequence = self._sequence(0)
        if self.at < len(self.text):
            mark = self.text[self.at]
            raise ValueError("a brace is closed that was not opened" if mark == "}" else "a comma outside braces")
        return sequence

    def _sequence(self, depth: int) -> _Sequence:
        found: _Sequence = []
        while self.at < len(self.text) and (mark := self.text[self.at]) not in ",}":
            if literal := _LITERAL.match(self.text, self.at):
                self.at = literal.end()
                found.append(literal[0])
            elif mark in "*?":
                self.at += 1
                found.append(mark)
            elif mark == "[":
                found.append(self._brackets())
            elif mark == "{":
                found.append(self._braces(depth + 1))
            else:
                raise ValueError(f"{mark!r} is not part of the dialect here")
        return found

    def _braces(self, depth: int) -> list[_Sequence]:
        if depth > MAX_NESTING:
            raise ValueError(f"braces are nested more than {MAX_NESTING} deep")
        alternatives: list[_Sequence] = []
        while not alternatives or self.text[self.at] == ",":
            self.at += 1
            alternatives.append(self._sequence(depth))
            if self.at == len(self.text):
                raise ValueError("a brace is not closed")
        self.at += 1
        if alternatives == [[]]:
            raise ValueError("the braces are empty")
        return alternatives

    def _brackets(self) -> str:
        """A set, with its ranges written out so that no matcher has to interpret them, or an IPv6 address."""
        end = self.text.find("]", self.at)
        if end < 0:
            raise ValueError("a bracket is not closed")
        inner = self.text[self.at + 1 : end]
        self.at = end + 1
        if ":" in inner:  # never part of a set, so nothing that could be one is taken for an address
            try:
                return canonical_address(inner)
            except ValueError:
                raise ValueError("the brackets hold neither a set nor an IPv6 address") from None
        negated = inner.startswith("!")
        members = "".join(sorted(set(_members(inner[negated:]))))
        if not members:
            raise ValueError("a set is empty")
        return f"[{'!' * negated}{members}]"


def _members(text: str) -> Iterator[str]:
    """The characters of a set. A hyphen at either end is itself; between two characters it makes a range."""
    at = 0
    while at < len(text):
        low = high = text[at]
        if text[at + 1 : at + 2] == "-" and at + 2 < len(text):
            high = text[at + 2]
            at += 2
        at += 1
        if low not in _LABEL_CHARACTERS or high not in _LABEL_CHARACTERS:
            raise ValueError("a set holds only a to z, digits, hyphen and underscore")
        if high < low:
            raise ValueError("a range runs backwards")
        yield from _LABEL_CHARACTERS[_LABEL_CHARACTERS.index(low) : _LABEL_CHARACTERS.index(high) + 1]


def _measure(sequence: _Sequence) -> tuple[int, int]:
    """How many texts *sequence* stands for and how many dots they hold together, by arithmetic."""
    texts, dots = 1, 0
    for part in sequence:
        if isinstance(part, str):
            dots += texts * part.count(".")
        else:
            measured = [_measure(alternative) for alternative in part]
            more_texts, more_dots = sum(each[0] for each in measured), sum(each[1] for each in measured)
            texts, dots = texts * more_texts, dots * more_texts + texts * more_dots
    return texts, dots


def _expand(sequence: _Sequence) -> Iterator[str]:
    """Every text that *sequence* stands for. Only called once `_measure` found them few."""
    choices = ([part] if isinstance(part, str) else [text for each in part for text in _expand(each)] for part in sequence)
    return map("".join, product(*choices))


def _split(text: str) -> _Alternative:
    """One written-out text as labels and port. Raises ValueError when the port is none."""
    if text.startswith("[") and ":" in (address := text.partition("]")[0]):
        labels = [f"{address}]"]
        rest = text[len(address) + 1 :]
        colon, digits = rest[:1], rest[1:]
        if colon not in ("", ":"):
            raise ValueError("only a port may follow an IPv6 address")
    else:
        name, colon, digits = text.partition(":")
        labels = name.removesuffix(".").split(".")
    if colon and (_PORT.fullmatch(digits) is None or int(digits) > MAX_PORT):
        raise ValueError(f"a port is a number up to {MAX_PORT}")
    return _Alternative(labels, int(digits) if colon else None)


def _check_label(label: str) -> None:
    """Raises ValueError when *label* can be no host's, or would cover more than its author can see."""
    if not label:
        raise ValueError("an empty label")
    if label.startswith("xn--") and _is_wild(label):
        raise ValueError("a wildcard within an international label would match names nobody can read off it")
    if len(_SET.sub("?", label).replace("*", "")) > _MAX_LABEL and ":" not in label:
        raise ValueError(f"a label is longer than {_MAX_LABEL} characters")


def _is_wild(label: str) -> bool:
    return ":" not in label and any(mark in label for mark in "*?[")


def _read(pattern: str) -> tuple[str, list[_Alternative]]:
    """A pattern's saved form and what it stands for. Raises ValueError with the reason in a few words."""
    saved = _normalise(pattern)
    sequence = _Reader(saved).read()
    texts, dots = _measure(sequence)
    if texts > MAX_ALTERNATIVES or dots > MAX_DOTS:
        raise ValueError(f"its braces stand for more than {MAX_ALTERNATIVES} texts or {MAX_DOTS} dots")
    # {*,a}* writes out two stars in a row, which say no more than one
    alternatives = [_split(_STARS.sub("*", text)) for text in dict.fromkeys(_expand(sequence))]
    labels = {label for each in alternatives for label in each.labels}
    for label in labels:
        _check_label(label)
    if sum(_COST_OF_LABEL + _COST_OF_STAR * label.count("*") for label in labels if _is_wild(label)) > MAX_WILDCARD_COST:
        raise ValueError("its braces and wildcards make too many different labels; write several patterns")
    if not pattern.isascii():
        converted = set(re.findall(r"xn--[a-z0-9-]+", saved))
        if any(run in label and run != label for run in converted for label in labels):
            raise ValueError("an international label cannot be put together from pieces")
    return saved, alternatives


# --- the whitelist ---


@dataclass(slots=True)
class _Node:
    """A place in the tree of labels. It is walked from the right: most foreign hosts end at the first step."""

    literal: dict[str, _Node] = field(default_factory=dict)
    wild: dict[str, tuple[fnmatch.WcMatcher[str], _Node]] = field(default_factory=dict)
    ends: dict[int | None, int] = field(default_factory=dict)  # port wanted (None: any) -> first pattern that ends here

    def child(self, label: str, globs: dict[str, fnmatch.WcMatcher[str]]) -> _Node:
        """The node below for *label*, made when there is none. *globs*: the wildcard labels compiled so far."""
        if label in self.literal:
            return self.literal[label]
        if label not in self.wild:
            if not _is_wild(label):
                return self.literal.setdefault(label, _Node())
            if label not in globs:
                globs[label] = fnmatch.compile(label, flags=_FLAGS)
            self.wild[label] = globs[label], _Node()
        return self.wild[label][1]


@dataclass(frozen=True, slots=True, init=False)
class Whitelist:
    """At most twenty domain patterns, compiled once.

    *patterns*: the texts as an owner types them. `patterns` keeps their saved form: scheme and a lone trailing slash
    removed, lower case, international labels as A-labels. An empty list means that no whitelist is set: it is false
    and allows every host. *missing* says what becomes of a request that names no host; None leaves that to its kind
    (refused for uploads, passed for delivery). This class only carries it.

    Raises `PatternError`, naming the pattern, for one outside the dialect or a twenty-first; nothing is half built.
    Raises `ConfigurationError` for another *missing*. Source: security promises 27 to 29.
    """

    MAX_PATTERNS: ClassVar[int] = 20

    patterns: tuple[str, ...]
    missing: Literal["allow", "deny"] | None
    _root: _Node = field(repr=False, compare=False)
    _known: dict[Host, str | None] = field(repr=False, compare=False)

    def __init__(self, patterns: Iterable[str], *, missing: Literal["allow", "deny"] | None = None) -> None:
        if missing not in ("allow", "deny", None):
            raise ConfigurationError("the missing switch of a whitelist is allow, deny or None")
        if isinstance(patterns, str):  # a list of one-letter hosts is never what was meant
            raise PatternError("a whitelist is a list of patterns, not one text", public="Give a list of domain patterns.")
        given: list[Any] = list(islice(patterns, self.MAX_PATTERNS + 1))
        if len(given) > self.MAX_PATTERNS:
            raise _refusal(given[-1], f"a whitelist holds at most {self.MAX_PATTERNS} patterns")
        saved: list[str] = []
        root, globs = _Node(), dict[str, fnmatch.WcMatcher[str]]()
        for index, pattern in enumerate(given):
            if not isinstance(pattern, str):
                raise _refusal(pattern, "it is not text")
            try:
                text, alternatives = _read(pattern)
            except ValueError as error:
                why = "it is not an international domain name" if isinstance(error, UnicodeError) else str(error)
                raise _refusal(pattern, why) from error
            saved.append(text)
            for labels, port in alternatives:
                node = root
                for label in reversed(labels):
                    node = node.child(label, globs)
                node.ends.setdefault(port, index)
        object.__setattr__(self, "patterns", tuple(saved))
        object.__setattr__(self, "missing", missing)
        object.__setattr__(self, "_root", root)
        object.__setattr__(self, "_known", {})

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def allows(self, host: Host) -> bool:
        """Whether *host* is covered by a pattern, or no whitelist is set. A host asked for before costs a look-up."""
        return not self.patterns or self.pattern_for(host) is not None

    def allows_host(self, text: str) -> bool:
        """`allows` for `host` or `host:port` without a scheme, as in the documentation's table; False when malformed.

        Without a scheme an absent port is no port at all: `mydomain.com:443` does not cover `mydomain.com` then.
        """
        parsed = parse_authority(text)
        return parsed is not None and self.allows(Host(*parsed, ""))

    def pattern_for(self, host: Host) -> str | None:
        """The saved form of the first pattern of the list that covers *host*, or None."""
        try:
            return self._known[host]
        except KeyError:
            found = self._find(host)
        if len(self._known) >= _KNOWN_HOSTS:  # strangers choose the hosts: forgetting is cheap, growing is not
            self._known.clear()
        self._known[host] = found
        return found

    def _find(self, host: Host) -> str | None:
        is_address = host.name.startswith("[")
        labels = [host.name] if is_address else host.name.split(".")
        level = [self._root]
        for label in reversed(labels):
            matched: dict[str, bool] = {}  # per level: many nodes ask the same question about this label
            below: list[_Node] = []
            for node in level:
                if (literal := node.literal.get(label)) is not None:
                    below.append(literal)
                for text, (matcher, child) in () if is_address else node.wild.items():
                    if text not in matched:
                        matched[text] = matcher.match(label)
                    if matched[text]:
                        below.append(child)
            level = below
            if not level:
                return None
        port = host.port if host.port is not None else DEFAULT_PORTS.get(host.scheme)
        ends = [node.ends[wanted] for node in level for wanted in {None, port} if wanted in node.ends]
        return self.patterns[min(ends)] if ends else None


def _refusal(pattern: object, why: str) -> PatternError:
    shown = ascii(pattern) if isinstance(pattern, str) and len(pattern) <= MAX_PATTERN else f"{ascii(pattern)[:64]}..."
    return PatternError(f"{shown}: {why}", public=f"The domain pattern {shown} is not valid: {why}.")
