"""Whitelists tried out: each line with what is wrong with it, and whether a page is let in, by which pattern and why.

Knows: how people type origins. Must not know: how patterns are read and compared (the gate does both).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..gate.decide import explain
from ..gate.errors import PatternError
from ..gate.hosts import Host, parse_origin, parse_referer
from ..gate.model import Application, RequestFacts, SecretRing
from ..gate.policy import Call
from ..gate.whitelist import Whitelist

Side = Literal["upload", "delivery"]
SIDES: tuple[Side, ...] = ("upload", "delivery")
MISSING: dict[Side, Literal["allow", "deny"]] = {"upload": "deny", "delivery": "allow"}  # where an application says nothing
MOST_READ = 60  # lines of a list that are read at all, so that a long paste costs little

_CALLS = {"upload": Call.PICK, "delivery": Call.READ}
_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One pattern as it was typed, the form in which it is saved, and what is wrong with it; one of the two is empty."""

    given: str
    saved: str = ""
    fault: str = ""


def checked(patterns: Sequence[str]) -> tuple[Line, ...]:
    """Every pattern of a list by itself, those over the number that a list may have too."""
    found: list[Line] = []
    good = 0
    for given in patterns[:MOST_READ]:
        try:
            saved = Whitelist([given]).patterns[0]
        except PatternError as error:
            found.append(Line(given=given, fault=error.public))
            continue
        good += 1
        over = len(found) >= Whitelist.MAX_PATTERNS
        fault = f"A list holds at most {Whitelist.MAX_PATTERNS} patterns." if over else ""
        found.append(Line(given=given, saved="" if over else saved, fault=fault))
    if len(patterns) > MOST_READ:
        found.append(Line(given="…", fault=f"Only the first {MOST_READ} lines were read."))
    return tuple(found)


def told(patterns: Sequence[str], missing: Literal["allow", "deny"] | None, side: Side) -> dict[str, Any]:
    """A list as it would be saved, line by line; `good` is whether it can be."""
    lines = checked(patterns)
    return {
        "lines": [asdict(line) for line in lines],
        "count": len(patterns),
        "most": Whitelist.MAX_PATTERNS,
        "good": not any(line.fault for line in lines),
        "missing": missing or "",
        "missing_means": missing or MISSING[side],
    }


def tried(text: str, upload: Whitelist, delivery: Whitelist) -> dict[str, Any]:
    """Whether a page is let in, for an origin or the address of a page as somebody typed it.

    `upload` and `delivery` each have `allowed`, the `pattern` that covers the page, and `why`, in a sentence.
    """
    origin, remark = _as_origin(text.strip())
    host = parse_origin(origin)
    lists = {"upload": upload, "delivery": delivery}
    return {
        "given": text,
        "origin": origin,
        "remark": remark,
        "host": None if host is None else _shown(host),
        "malformed": _malformed(origin) if host is None else "",
        **{side: _verdict(side, lists[side], origin, host) for side in SIDES},
    }


def _as_origin(text: str) -> tuple[str, str]:
    """What a browser would send as Origin, and what was made of the text for that."""
    if parse_origin(text) is not None:
        return text, ""
    if "://" not in text and text != "null" and parse_origin(f"https://{text}") is not None:
        return f"https://{text}", "Taken for a page by https; http differs only where a pattern names a port."
    page = text if "://" in text else f"https://{text}"
    host = parse_referer(page) if text != "null" else None
    if host is not None and "/" in page.partition("://")[2]:
        scheme, _, rest = page.partition("://")
        authority = re.split("[/?#]", rest, maxsplit=1)[0]
        return (
            f"{scheme.lower()}://{authority}",
            "A browser on this page sends this as Origin; path and query are no part of it.",
        )
    return text, ""


def _shown(host: Host) -> str:
    return host.name + (f":{host.port}" if host.port is not None else "")


def _malformed(text: str) -> str:
    """Why a text is no origin, as far as can be told."""
    if not text:
        return "It is empty."
    if text == "null":
        return "Browsers send 'null' for pages in files and sandboxed frames. It says nothing, so no list approves of it."
    if "@" in text:
        return "It holds user information, which is no part of an origin and a way to disguise one."
    if "," in text or any(letter.isspace() for letter in text):
        return "It holds more than one origin, or blanks."
    if "\\" in text or "%" in text:
        return "It holds a backslash or a percent sign, which parsers read in different ways."
    if not text.lower().startswith(("http://", "https://")):
        return "An origin begins with http:// or https://."
    return "It is not scheme, host and port: a name has wrong characters or is too long, or the port is none."


def _verdict(side: Side, whitelist: Whitelist, origin: str, host: Host | None) -> dict[str, Any]:
    """What the gate itself says about a request from this page that needs nothing else."""
    application = Application(secrets=SecretRing(secrets=()), upload_whitelist=whitelist, delivery_whitelist=whitelist)
    facts = RequestFacts(calls=frozenset({_CALLS[side]}), origin=origin)
    allowed = explain(application, facts, now=0).decision.allowed
    pattern = whitelist.pattern_for(host) if host is not None else None
    if not whitelist:
        why = "No list is set, so every page is let in."
    elif host is None:
        why = "It is not an origin, and a list approves of origins only."
    elif pattern is not None:
        why = _covers(pattern, host)
    else:
        near = [hint for each in whitelist.patterns if (hint := _near(each, host))]
        why = " ".join(["No pattern covers it.", *near[:3]])
    return {"allowed": allowed, "pattern": pattern, "why": why}


def _covers(pattern: str, host: Host) -> str:
    """How a pattern comes to cover a host."""
    port = found[1] if (found := re.search(r":([0-9]+)$", pattern)) else ""
    name = pattern.removesuffix(f":{port}")
    ports = f" and the port {port}" if port else ", on any port"
    if host.name.startswith("[") or (not _WILD.search(name) and "{" not in name):
        return f"The pattern names this host{ports}."
    pairs = list(zip(name.split("."), host.name.split("."), strict=False))
    if "{" in name or len(pairs) != len(name.split(".")) or len(pairs) != len(host.name.split(".")):
        return f"One of the texts that the pattern stands for is this host{ports}."
    parts = [f"{mine} stands for {theirs}" for mine, theirs in pairs if _WILD.search(mine)]
    return f"In the pattern, {', '.join(parts)}{ports}."


def _near(pattern: str, host: Host) -> str:
    """What keeps a pattern from covering a host, where it is one of the usual things; else nothing."""
    one = Whitelist([pattern])
    for port in re.findall(r":([0-9]{1,5})", pattern):
        if one.allows(host._replace(port=int(port))):
            return f"{pattern} would, on port {port}."
    if host.name.startswith("["):
        return ""
    if one.allows(host._replace(name=f"www.{host.name}")):
        return f"{pattern} covers names below {host.name}, not {host.name} itself."
    labels = host.name.split(".")
    for start in range(1, len(labels)):
        if one.allows(host._replace(name=(rest := ".".join(labels[start:])))):
            return f"{pattern} covers {rest}, not names below it: a star never crosses a dot."
    if any(one.allows(host._replace(name=".".join(labels[:at] + labels[at + 1 :]))) for at in range(len(labels))):
        return f"{pattern} has one name less than this host: a star never crosses a dot."
    return ""


__all__ = ["MISSING", "SIDES", "Line", "Side", "checked", "told", "tried"]
