"""Rules: which paths and methods are which calls, and which spellings of a path nobody may use."""

from __future__ import annotations

import re
import time
from posixpath import normpath
from typing import Any
from urllib.parse import unquote, urljoin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_delivery.gate.errors import ConfigurationError
from secure_delivery.gate.policy import Call
from secure_delivery.gate.rules import Ambiguous, Match, Rule, RuleSet

FILES = Rule("/files/<handle>", GET="read", PUT="write", DELETE="remove")
UPLOADS = Rule("/uploads/<path:path>", POST=["pick", "store"], container="uploads", body=True)
RULES = RuleSet([FILES, UPLOADS, Rule("/health", GET="stat")])


def names(path: str, method: str = "GET", rules: RuleSet = RULES) -> dict[str, str] | None:
    """The facts of a plain match, or None."""
    match = rules.match(path)
    assert not isinstance(match, Ambiguous)
    found = match.find(method) if match is not None else None
    return None if found is None else {**found[1], **found[0].facts}


# ------------------------------------------------------------------------------------------------------- what rules mean


@pytest.mark.parametrize(
    ("path", "method", "facts"),
    [
        ("/files/abc", "GET", {"handle": "abc"}),
        ("/files/abc/", "GET", {"handle": "abc"}),
        ("/files/abc", "HEAD", {"handle": "abc"}),
        ("/files/abc", "DELETE", {"handle": "abc"}),
        ("/files/abc", "POST", None),
        ("/files/abc", "get", None),
        ("/files/abc/def", "GET", None),
        ("/files/", "GET", None),
        ("/files", "GET", None),
        ("/Files/abc", "GET", None),
        ("/files/abc.", "GET", {"handle": "abc."}),
        ("/files/a b", "GET", {"handle": "a b"}),
        ("/files/é漢", "GET", {"handle": "é漢"}),
        ("/files/a;b=c", "GET", {"handle": "a;b=c"}),
        ("/files/...", "GET", {"handle": "..."}),
        ("/files/.a", "GET", {"handle": ".a"}),
        ("/xfiles/abc", "GET", None),
        ("/x/files/abc", "GET", None),
        ("files/abc", "GET", None),
        ("/uploads/a/b/c.jpg", "POST", {"path": "a/b/c.jpg", "container": "uploads"}),
        ("/uploads/a", "POST", {"path": "a", "container": "uploads"}),
        ("/uploads/", "POST", None),
        ("/health", "GET", {}),
        ("/health/", "GET", {}),
        ("/healthy", "GET", None),
        ("/", "GET", None),
        ("", "GET", None),
    ],
)
def test_matching(path: str, method: str, facts: dict[str, str] | None) -> None:
    """A placeholder is one segment, `<path:…>` the rest; a pattern spans the path; a slash at the end is no difference."""
    assert names(path, method) == facts


def test_calls_of_methods() -> None:
    """One name or several; the older names count as the calls they are; HEAD is GET unless it is named."""
    rule = Rule("/x", GET="read", PUT="writeUrl", DELETE=("revoke",), POST=["pick", Call.STORE])
    assert rule.calls == {
        "GET": {Call.READ},
        "HEAD": {Call.READ},
        "PUT": {Call.WRITE},
        "DELETE": {Call.REMOVE},
        "POST": {Call.PICK, Call.STORE},
    }
    assert Rule("/x", GET="read", HEAD="stat").calls["HEAD"] == {Call.STAT}
    assert set(Rule("/x", POST="pick").calls) == {"POST"}


def test_methods_that_are_served() -> None:
    """What a 405 names: the methods of all rules on the path, and OPTIONS."""
    rules = RuleSet([Rule("/a/<handle>", GET="read"), Rule("/a/<path:path>", PUT="write")])
    match = rules.match("/a/b")
    assert isinstance(match, Match)
    assert match.methods == ["GET", "HEAD", "OPTIONS", "PUT"]
    assert match.find("PATCH") is None


def test_the_first_rule_that_names_the_method_counts() -> None:
    """Order is the operator's: an earlier rule outweighs a later one, and leaves it the methods it does not name."""
    rules = RuleSet([Rule("/a/<handle>", GET="read"), Rule("/a/<url>", GET="convert", POST="pick")])
    assert names("/a/b", "GET", rules) == {"handle": "b"}
    assert names("/a/b", "POST", rules) == {"url": "b"}


def test_patterns_are_no_regular_expressions() -> None:
    """Everything outside the placeholders is literal."""
    rules = RuleSet([Rule("/a.b+(c)/<handle>.jpg", GET="read")])
    assert names("/a.b+(c)/x.jpg", rules=rules) == {"handle": "x"}
    assert names("/aXb+(c)/x.jpg", rules=rules) is None
    assert names("/a.b+(c)/xXjpg", rules=rules) is None


def test_placeholders_that_are_no_facts() -> None:
    """Other names may be used; they match and mean nothing."""
    rules = RuleSet([Rule("/<tenant>/<key>/<handle>", GET="read")])
    assert names("/t/k/h", rules=rules) == {"tenant": "t", "key": "k", "handle": "h"}


def test_rules_on_the_root() -> None:
    """A guard may cover a whole app."""
    everything = RuleSet([Rule("/", GET="read"), Rule("/<path:path>", GET="read")])
    assert names("/", rules=everything) == {}
    assert names("/a/b", rules=everything) == {"path": "a/b"}


def test_repr_reads_like_the_rule() -> None:
    """For logs and start-up messages."""
    assert repr(Rule("/x/<handle>", GET="read", POST=["store", "pick"])) == (
        "Rule('/x/<handle>', GET='read', POST='pick+store', HEAD='read')"
    )


# -------------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("pattern", "named", "why"),
    [
        ("files/<handle>", {"GET": "read"}, "begins with a slash"),
        ("", {"GET": "read"}, "begins with a slash"),
        ("/files/<handle>", {}, "at least one method"),
        ("/files/<handle>", {"GET": "read", "get": "read"}, "get is neither a method nor a fact"),
        ("/files/<handle>", {"GET": "peek"}, "'peek' is not a call"),
        ("/files/<handle>", {"GET": ["read", "peek"]}, "'peek' is not a call"),
        ("/files/<handle>", {"GET": ["read", 5]}, "5 is not a call"),
        ("/files/<handle>", {"GET": [["read"]]}, "is not a call"),
        ("/files/<handle>", {"GET": b"read"}, "is not a call"),
        ("/files/<handle>", {"GET": []}, "at least one call"),
        ("/files/<handle>", {"GET": None}, "a call name or a list"),
        ("/files/<handle>", {"GET": 5}, "a call name or a list"),
        ("/files/<handle>", {"GET": "read", "bucket": "x"}, "bucket is neither"),
        ("/files/<handle>", {"GET": "read", "container": 5}, "container is neither"),
        ("/files/<handle>", {"GET": "read", "handle": "fixed"}, "which one should count"),
        ("/files/<path:path>", {"GET": "read", "path": "fixed"}, "which one should count"),
        ("/files/<handle>/<handle>", {"GET": "read"}, "stands twice"),
        ("/files/<handle", {"GET": "read"}, "placeholder"),
        ("/files/handle>", {"GET": "read"}, "placeholder"),
        ("/files/<Handle>", {"GET": "read"}, "placeholder"),
        ("/files/<int:handle>", {"GET": "read"}, "placeholder"),
        ("/files/<>", {"GET": "read"}, "placeholder"),
        ("/<a/<handle>", {"GET": "read"}, "placeholder"),
        ("/<int:tenant>/<handle>", {"GET": "read"}, "placeholder"),
    ],
)
def test_bad_rules_are_refused_when_they_are_made(pattern: str, named: dict[str, Any], why: str) -> None:
    """A rule that would guard something else than its author thinks never starts, and the message names what is wrong."""
    with pytest.raises(ConfigurationError, match=re.escape(why)):
        RuleSet([Rule(pattern, **named)])


def test_no_rules_guard_nothing() -> None:
    """An empty list is a mistake, not a guard that lets everything through."""
    with pytest.raises(ConfigurationError):
        RuleSet([])


def test_rules_from_settings() -> None:
    """A settings table says what the constructor says."""
    table = {"pattern": "/up/<path:path>", "POST": ["pick"], "body": True, "container": "c"}
    rule = Rule.from_settings(table)
    assert (rule.pattern, rule.body, rule.facts) == ("/up/<path:path>", True, {"container": "c"})
    assert rule.calls == {"POST": frozenset({Call.PICK})}
    assert table["pattern"] == "/up/<path:path>"


@pytest.mark.parametrize(
    "table",
    [{}, {"GET": "read"}, {"pattern": 5, "GET": "read"}, {"pattern": "/x"}, {"pattern": "/x", "GET": "read", "body": "yes"}],
    ids=str,
)
def test_bad_settings_are_refused(table: dict[str, Any]) -> None:
    """No pattern, no method, a switch that is neither true nor false."""
    with pytest.raises(ConfigurationError):
        Rule.from_settings(table)


# ---------------------------------------------------------------------------------------------------- ambiguous spellings


@pytest.mark.parametrize(
    "path",
    [
        "//files/abc",
        "/files//abc",
        "/files/./abc",
        "/./files/abc",
        "/x/../files/abc",
        "/files/abc/.",
        "/files/abc/x/..",
        "/files/..",
        "/files/../files/abc",
        "\\files\\abc",
        "/files\\abc",
        "/files%2fabc",
        "/files%2Fabc",
        "/files%5cabc",
        "/files%5Cabc",
        "/x/%2e%2e/files/abc",
        "/x/%2E./files/abc",
        "/%2e/files/abc",
        "/x%2f%2e%2e%2ffiles%2fabc",
        "/files/abc\x00",
        "/fi\x00les/abc",
        "/files/a\nb",
        "/files/abc\n",
        "/files/abc\x7f",
        "/x/.\x00./files/abc",
        "///files///abc///",
        "/x//../files/abc",
        "/files/x//../abc",
        "/files//../abc",
        "/..//files/abc",
        "/uploads/a/../../x",
        "/uploads//etc",
        "/uploads/%2e%2e/x",
    ],
)
def test_spellings_that_routers_fold_are_ambiguous(path: str) -> None:
    """Security promise 96: whatever some router would fold into a guarded path is not judged on another reading."""
    assert RULES.match(path) == Ambiguous(path)


@pytest.mark.parametrize(
    "path", ["/blog//post", "/blog/../x", "/a\\b", "/x%2fy", "/blog/a\nb", "//", "/.", "/x/%2e%2e/y", "/\x00", "\x00"]
)
def test_odd_paths_elsewhere_are_left_alone(path: str) -> None:
    """What no reading leads under a rule is none of the guard's business."""
    assert RULES.match(path) is None


def _router_readings(path: str) -> set[str]:
    """What routers of the field make of a path, written independently of the code under test."""
    readings = {path, unquote(path), path.replace("\\", "/"), path.split("\x00")[0]}
    readings |= {re.sub("/+", "/", each) for each in set(readings)}
    for each in set(readings):
        if each.startswith("/"):
            readings.add("/" + normpath(each).lstrip("/"))
            if "?" not in each and "#" not in each and ";" not in each:
                readings.add(urljoin("http://host/", "http://host" + each).removeprefix("http://host"))
    return readings


@settings(deadline=None, max_examples=800)
@given(
    path=st.lists(
        st.sampled_from(["/", "/", "files", "abc", ".", "..", "%2e", "%2f", "%2E%2e", "\\", "%5c", "x", "\x00", "uploads"]),
        max_size=9,
    ).map(lambda parts: "/" + "".join(parts))
)
def test_no_reading_of_an_unmatched_path_is_guarded(path: str) -> None:
    """What reaches the app unjudged leads under no rule however it is read."""
    if RULES.match(path) is None:
        for reading in _router_readings(path):
            if not any(mark in reading for mark in ("//", "%", "\\", "\x00")):
                assert RULES.match(reading) is None, reading


@settings(deadline=None)
@given(path=st.text(max_size=60))
def test_any_path_is_answered(path: str) -> None:
    """No path raises, and every plain match names what its rule names."""
    match = RULES.match(path)
    assert match is None or isinstance(match, Match | Ambiguous)


@settings(deadline=None)
@given(handle=st.text(st.characters(exclude_characters="/\\", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30))
def test_any_plain_segment_is_the_handle(handle: str) -> None:
    """The fact is the segment, character for character."""
    if handle not in (".", "..") and not re.search("%2[ef]|%5c", handle, re.IGNORECASE):
        assert names(f"/files/{handle}") == {"handle": handle}


def test_matching_is_quick_on_long_paths() -> None:
    """A path of 8,000 characters costs little, whichever way it nearly matches."""
    rules = RuleSet([Rule("/a/<path:path>/b/<handle>", GET="read"), FILES, UPLOADS])
    paths = ["/a" * 4000, "/a/" + "b/" * 4000, "/" * 8000, "/." * 4000, "%2f" * 2600, "/uploads" + "/x" * 4000, "/x/.." * 1600]
    for path in paths:
        best = float("inf")
        for _ in range(3):
            start = time.perf_counter()
            rules.match(path)
            best = min(best, time.perf_counter() - start)
        assert best < 0.05, path[:10]
