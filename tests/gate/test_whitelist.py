"""Whitelists: the dialect row by row, hosts out of headers, and the shipped matcher against a naive one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from itertools import count, pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from secure_delivery.gate.errors import ConfigurationError, PatternError
from secure_delivery.gate.hosts import Host, parse_origin, parse_referer
from secure_delivery.gate.whitelist import Whitelist

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "whitelist.json").read_text(encoding="utf-8")
)["cases"]


def cases(kind: str) -> list[Any]:
    return [pytest.param(case, id=case["id"]) for case in CASES if case["kind"] == kind]


def outcome(pattern: str, host: str) -> str:
    try:
        whitelist = Whitelist([pattern])
    except PatternError:
        return "refused"
    return "match" if whitelist.allows_host(host) else "nomatch"


def best_ms(work: Callable[[], object]) -> float:
    """The quickest of three runs, so that a busy machine does not decide."""
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        taken.append((time.perf_counter() - start) * 1000)
    return min(taken)


# --- the shared cases ---


@pytest.mark.parametrize("case", cases("match"))
def test_a_pattern_covers_exactly_the_hosts_of_its_case(case: dict[str, Any]) -> None:
    assert outcome(case["pattern"], case["host"]) == case["expect"], case.get("note")


@pytest.mark.parametrize("case", [each for each in cases("match") if "max_ms" in each.values[0]])
def test_no_pattern_and_no_host_costs_much_time(case: dict[str, Any]) -> None:
    assert best_ms(lambda: outcome(case["pattern"], case["host"])) < case["max_ms"]


@pytest.mark.parametrize("case", cases("save"))
def test_a_list_is_kept_in_its_saved_form_or_refused_whole(case: dict[str, Any]) -> None:
    if case["expect"] == "refused":
        with pytest.raises(PatternError):
            Whitelist(case["patterns"])
    else:
        assert list(Whitelist(case["patterns"]).patterns) == case["saved_as"]


def test_the_cases_hold_the_twelve_rows_of_the_documentation() -> None:
    rows = [case for case in CASES if case["id"].startswith("table-")]
    assert len(rows) == 12
    assert [row["expect"] for row in rows].count("match") == 7


# --- Origin and Referer ---

GOOD_ORIGINS = {
    "https://mydomain.com": Host("mydomain.com", None, "https"),
    "http://mydomain.com": Host("mydomain.com", None, "http"),
    "HTTPS://MyDomain.COM": Host("mydomain.com", None, "https"),
    "https://mydomain.com:443": Host("mydomain.com", None, "https"),
    "http://mydomain.com:443": Host("mydomain.com", 443, "http"),
    "http://mydomain.com:80": Host("mydomain.com", None, "http"),
    "https://mydomain.com:80": Host("mydomain.com", 80, "https"),
    "http://localhost:3000": Host("localhost", 3000, "http"),
    "http://a:0": Host("a", 0, "http"),
    "http://a:65535": Host("a", 65535, "http"),
    "https://mydomain.com.": Host("mydomain.com", None, "https"),
    "https://mydomain.com.:8443": Host("mydomain.com", 8443, "https"),
    "https://my_domain.com": Host("my_domain.com", None, "https"),
    "https://-a-.com": Host("-a-.com", None, "https"),
    "http://127.0.0.1:3000": Host("127.0.0.1", 3000, "http"),
    "http://127.1": Host("127.1", None, "http"),
    "http://[::1]": Host("[::1]", None, "http"),
    "http://[::1]:8080": Host("[::1]", 8080, "http"),
    "http://[0:0:0:0:0:0:0:1]:80": Host("[::1]", None, "http"),
    "http://[2001:DB8::A]": Host("[2001:db8::a]", None, "http"),
    "http://[::ffff:127.0.0.1]": Host("[::ffff:7f00:1]", None, "http"),
    "https://xn--mnchen-3ya.de": Host("xn--mnchen-3ya.de", None, "https"),
    "https://XN--MNCHEN-3YA.de": Host("xn--mnchen-3ya.de", None, "https"),
    "https://münchen.de:8443": Host("xn--mnchen-3ya.de", 8443, "https"),
    "https://mydomain\uff0ecom": Host("mydomain.com", None, "https"),
    "https://mydomain\u3002com\uff61": Host("mydomain.com", None, "https"),
    f"https://{'a' * 63}.com": Host(f"{'a' * 63}.com", None, "https"),
}

NO_HOST = [
    "",
    "null",
    "NULL",
    "*",
    "://",
    "https://",
    "https:///",
    "https:mydomain.com",
    "https:/mydomain.com",
    "//mydomain.com",
    "mydomain.com",
    "mydomain.com:443",
    "ftp://mydomain.com",
    "ws://mydomain.com",
    "file://",
    "file:///etc/passwd",
    "data:text/html,x",
    "about:blank",
    "chrome-extension://abcdefgh",
    "http\u017f://mydomain.com",
    "httpss://mydomain.com",
    " https://mydomain.com",
    "https ://mydomain.com",
    "https://user@mydomain.com",
    "https://user:secret@mydomain.com",
    "https://@mydomain.com",
    "https://mydomain.com@evil.test",
    "https://evil.test\\.mydomain.com",
    "https://mydomain.com\\@evil.test",
    "https:\\\\mydomain.com",
    "https://mydomain.com:",
    "https://mydomain.com:abc",
    "https://mydomain.com:-1",
    "https://mydomain.com:+80",
    "https://mydomain.com:8_0",
    "https://mydomain.com:65536",
    "https://mydomain.com:999999999999",
    "https://mydomain.com:0443",
    "https://mydomain.com:80:80",
    "https://mydomain.com:\u0664\u0664\u0663",
    "https://mydomain.com\uff1a443",
    "https://:443",
    "https://.",
    "https://.mydomain.com",
    "https://my..domain.com",
    "https://mydomain.com..",
    "https://mydomain%2ecom",
    "https://exa%6dple.com",
    "https://my\tdomain.com",
    "https://mydomain.com\n",
    "https://mydomain.com\r\nX: y",
    "https://mydomain.com\x00",
    "\x01https://mydomain.com",
    "https://my domain.com",
    "https://mydomain.com ",
    "https://a.com, https://b.com",
    "https://a.com https://b.com",
    "https://my,domain.com",
    "https://my*domain.com",
    "https://{a,b}.com",
    "https://my!domain.com",
    "https://my\uff0fdomain.com",
    "https://\u2603.com",
    "https://\u2026.com",
    "https://\u00ad.com",
    "https://\ud800.com",
    "https://xn--\u00fc.com",
    "https://::1",
    "https://[::1",
    "https://::1]",
    "https://[]",
    "https://[:::]",
    "https://[1.2.3.4]",
    "https://[mydomain.com]",
    "https://[fe80::1%25eth0]",
    "https://[fe80::1%eth0]",
    "https://[v1.a]",
    "https://[::1]x",
    "https://[::1]]",
    f"https://{'a' * 64}.com",
    f"https://{'a.' * 127}com",
    f"https://{'a' * 100_000}",
    f"https://{chr(0xE4) * 200}",
]


@pytest.mark.parametrize(("text", "host"), GOOD_ORIGINS.items(), ids=ascii)
def test_an_origin_is_read_as_its_comparable_host(text: str, host: Host) -> None:
    assert parse_origin(text) == host


@pytest.mark.parametrize("text", NO_HOST, ids=lambda text: ascii(text)[:40])
def test_what_is_no_origin_is_none_in_either_header(text: str) -> None:
    assert parse_origin(text) is None
    assert parse_referer(text) is None


@pytest.mark.parametrize("tail", ["/", "/a", "?a", "#a", "/a?b#c", "#@evil.test"])
def test_an_origin_has_nothing_after_the_host_and_a_referer_may(tail: str) -> None:
    assert parse_origin(f"https://mydomain.com{tail}") is None
    assert parse_referer(f"https://mydomain.com{tail}") == Host("mydomain.com", None, "https")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("https://mydomain.com/gallery?x=1#y", "mydomain.com"),
        ("https://evil.test/https://mydomain.com/", "evil.test"),
        ("https://evil.test?https://mydomain.com/", "evil.test"),
        ("https://evil.test#https://mydomain.com/", "evil.test"),
        ("https://evil.test/@mydomain.com", "evil.test"),
        ("https://mydomain.com/a@b,c%20\\d\u00fc", "mydomain.com"),
        ("http://[::1]:8080/x", "[::1]"),
        ("https://m\u00fcnchen.de/x", "xn--mnchen-3ya.de"),
        ("https://mydomain.com/" + "x" * 100_000, "mydomain.com"),
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_a_referer_names_the_host_before_its_path(text: str, name: str) -> None:
    host = parse_referer(text)
    assert host is not None
    assert host.name == name


@pytest.mark.parametrize(
    "text",
    [
        "https://mydomain.com/, https://evil.test/",
        "https://mydomain.com/ x",
        "https://mydomain.com/\n",
        "https://mydomain.com/\x00",
        "https://mydomain.com/\x7f",
        "https://user@mydomain.com/",
        "https://mydomain.com\\/x",
        "https:///x",
        "https://mydomain.com:/x",
    ],
)
def test_a_referer_that_two_readers_could_read_differently_is_none(text: str) -> None:
    assert parse_referer(text) is None


# --- ports and schemes ---


@pytest.mark.parametrize(
    ("pattern", "origin", "allowed"),
    [
        ("mydomain.com", "http://mydomain.com", True),
        ("mydomain.com", "https://mydomain.com:8443", True),
        ("https://mydomain.com", "http://mydomain.com", True),
        ("mydomain.com:443", "https://mydomain.com", True),
        ("mydomain.com:443", "https://mydomain.com:443", True),
        ("mydomain.com:443", "http://mydomain.com", False),
        ("mydomain.com:443", "http://mydomain.com:443", True),
        ("mydomain.com:80", "http://mydomain.com", True),
        ("mydomain.com:80", "https://mydomain.com", False),
        ("mydomain.com:{80,443}", "https://mydomain.com", True),
        ("mydomain.com:8080", "http://mydomain.com", False),
        ("[::1]:443", "https://[::1]", True),
    ],
)
def test_a_default_port_equals_an_absent_one_if_the_scheme_says_so(pattern: str, origin: str, allowed: bool) -> None:
    host = parse_origin(origin)
    assert host is not None
    assert Whitelist([pattern]).allows(host) is allowed


# --- the object ---


def test_an_empty_list_means_no_whitelist_is_set() -> None:
    nothing = Whitelist([])
    assert not nothing
    assert nothing.allows(Host("evil.test", None, "https"))
    assert nothing.allows_host("evil.test:8080")
    assert not nothing.allows_host("evil test")
    assert nothing.pattern_for(Host("evil.test", None, "https")) is None
    assert Whitelist(["a.com"])


def test_whitelists_are_equal_by_patterns_and_missing_only() -> None:
    one, other = Whitelist(["http://A.com/"]), Whitelist(["a.com"])
    one.allows_host("a.com")
    assert one == other
    assert hash(one) == hash(other)
    assert len({one, other, Whitelist(["a.com"], missing="deny"), Whitelist(["b.com"])}) == 3
    assert Whitelist(["a.com", "b.com"]) != Whitelist(["b.com", "a.com"])


def test_a_whitelist_cannot_be_changed() -> None:
    whitelist = Whitelist(["a.com"])
    with pytest.raises(AttributeError):
        whitelist.patterns = ("*",)  # type: ignore[misc]
    with pytest.raises((AttributeError, TypeError)):
        whitelist.extra = 1  # type: ignore[attr-defined]
    assert not whitelist.allows_host("b")


def test_the_representation_shows_the_patterns() -> None:
    assert repr(Whitelist(["*.a.com"], missing="deny")) == "Whitelist(patterns=('*.a.com',), missing='deny')"


def test_missing_is_carried_and_checked() -> None:
    assert Whitelist([]).missing is None
    assert Whitelist([], missing="allow").missing == "allow"
    with pytest.raises(ConfigurationError):
        Whitelist([], missing="perhaps")  # type: ignore[arg-type]


def test_one_text_is_not_taken_for_a_list_of_letters() -> None:
    with pytest.raises(PatternError):
        Whitelist("mydomain.com")


@pytest.mark.parametrize("pattern", [None, 1, b"mydomain.com", ["mydomain.com"]])
def test_a_pattern_that_is_no_text_is_refused(pattern: Any) -> None:
    with pytest.raises(PatternError):
        Whitelist([pattern])


def test_a_list_without_end_is_refused_at_its_twenty_first_pattern() -> None:
    with pytest.raises(PatternError, match=r"d20\.com.*at most 20"):
        Whitelist(f"d{number}.com" for number in count())


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(bad).com", "parentheses"),
        ("bad|worse.com", "bar"),
        ("bad worse.com", "blanks"),
        ("bad.com/x", "paths"),
        ("me@bad.com", "user information"),
        ("bad\\.com", "escapes"),
        ("bad[c-a].com", "backwards"),
        ("bad[].com", "empty"),
        ("bad[a", "not closed"),
        ("bad{a", "not closed"),
        ("bad}", "not opened"),
        ("bad..com", "empty label"),
        ("bad**.com", "two stars"),
        ("bad.com:x", "port"),
        ("bad.com:99999", "65535"),
        ("xn--bad*.com", "international"),
        ("{a,{b,{c,{d,bad}}}}", "nested"),
        ("bad" + "{a,b}" * 9, "256"),
        ("", "empty"),
    ],
)
def test_a_refusal_names_the_pattern_and_the_rule(pattern: str, why: str) -> None:
    with pytest.raises(PatternError) as caught:
        Whitelist(["ok.com", pattern])
    for text in (str(caught.value), caught.value.public):
        assert ascii(pattern) in text
        assert why in text
        assert "ok.com" not in text


def test_a_refusal_stays_short_and_printable_whatever_the_pattern() -> None:
    for pattern in ("a" * 100_000, "\n\x1b[31m", "\ud800", "\u202e"):
        with pytest.raises(PatternError) as caught:
            Whitelist([pattern])
        assert len(caught.value.public) < 400
        assert caught.value.public.isprintable()
        assert caught.value.public.isascii()


def test_the_first_pattern_that_covers_a_host_is_the_one_named() -> None:
    whitelist = Whitelist(["other.org", "{x,*}.com:8080", "http://*.com", "a.com", "[a-b].com"])
    a = parse_origin("https://a.com")
    assert a is not None
    assert whitelist.pattern_for(a) == "*.com"
    assert whitelist.pattern_for(a) == "*.com"
    assert whitelist.pattern_for(a._replace(port=8080)) == "{x,*}.com:8080"
    assert whitelist.pattern_for(Host("a.net", None, "https")) is None
    assert Whitelist(["a.com", "*.com"]).pattern_for(a) == "a.com"
    assert Whitelist(["*.com", "a.com"]).pattern_for(a) == "*.com"


def test_known_answers_are_bounded_and_stay_right() -> None:
    whitelist = Whitelist(["*[05].com"])
    for number in [*range(5000), *range(5000)]:
        assert whitelist.allows(Host(f"a{number}.com", None, "https")) is (number % 5 == 0)
    assert 0 < len(whitelist._known) <= 1024


def test_twenty_patterns_at_their_costliest_decide_in_time() -> None:
    texts = ["{*,?,[ab],a*}." * 3 + f"{{*,?,[ab],a*}}.d{number}" for number in range(20)]
    whitelist = Whitelist(texts)
    assert whitelist.allows_host("a.a.a.a.d19")
    misses = iter(range(10))
    assert best_ms(lambda: whitelist.allows_host(f"a.a.a{next(misses)}.a.e")) < 50


# --- against a naive matcher that knows nothing of labels, trees or wcmatch ---


def naive(pattern: str, text: str) -> bool:
    """Plain backtracking over the characters, after the prose of the documentation."""
    if "{" in pattern:
        return any(naive(alternative, text) for alternative in spelled(pattern))
    if not pattern or (pattern == "." and not text):  # a pattern may spell a name with its root dot
        return not text
    mark, rest = pattern[0], pattern[1:]
    inside = bool(text) and text[0] not in ".:"
    if mark == "." and rest.startswith(":") and text.startswith(":"):
        return naive(rest, text)
    if mark == "*":
        return naive(rest, text) or (inside and naive(pattern, text[1:]))
    if mark == "?":
        return inside and naive(rest, text[1:])
    if mark == "[":
        members, rest = rest.split("]", 1)
        negated, members = members.startswith("!"), members.removeprefix("!")
        low, high = members[0], members[-1]
        return inside and (low <= text[0] <= high) is not negated and naive(rest, text[1:])
    return text[:1] == mark and naive(rest, text[1:])


def spelled(pattern: str) -> Iterator[str]:
    """The pattern with its first brace replaced by each of the alternatives in it."""
    opened = pattern.index("{")
    depth, commas = 0, [opened]
    for at in range(opened, len(pattern)):
        depth += (pattern[at] == "{") - (pattern[at] == "}")
        if depth == 0 or (depth == 1 and pattern[at] == ","):
            commas.append(at)
        if depth == 0:
            break
    for start, end in pairwise(commas):
        yield pattern[:opened] + pattern[start + 1 : end] + pattern[commas[-1] + 1 :]


ATOMS = st.sampled_from(["a", "b", "ab", "-", "*", "?", "[a-b]", "[!a-b]", "[!b-b]", "[a-a]"])


def braces(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(inner, min_size=1, max_size=3).map(lambda parts: "{" + ",".join(parts) + "}")


FLAT = braces(ATOMS | st.sampled_from(["a.b", "*.b", ""]))
PIECES = ATOMS | ATOMS | ATOMS | FLAT | braces(ATOMS | FLAT)
PATTERNS = st.builds(
    lambda labels, port: ".".join(labels).replace("**", "*") + port,
    st.lists(st.lists(PIECES, min_size=1, max_size=3).map("".join), min_size=1, max_size=3),
    st.sampled_from(["", "", "", ":80", ":{80,81}", "{:80,}", "{.a:80,-}", "{.,:80}"]),
)
NAMES = st.lists(st.text("ab-", min_size=1, max_size=3), min_size=1, max_size=4).map(".".join)
PORTS = st.sampled_from([None, None, 80, 81])


@settings(max_examples=400, deadline=None)
@given(pattern=PATTERNS, names=st.lists(NAMES, min_size=5, max_size=10), port=PORTS)
def test_the_matcher_agrees_with_plain_backtracking(pattern: str, names: list[str], port: int | None) -> None:
    try:
        whitelist = Whitelist([pattern])
    except PatternError:
        reject()
    for name in names:
        expected = naive(pattern, name) or (port is not None and naive(pattern, f"{name}:{port}"))
        assert whitelist.allows(Host(name, port, "")) is expected, name
        assert whitelist.allows_host(name if port is None else f"{name}:{port}") is expected, name


@settings(max_examples=100, deadline=None)
@given(patterns=st.lists(PATTERNS, max_size=4), name=NAMES)
def test_a_list_answers_like_its_patterns_one_by_one(patterns: list[str], name: str) -> None:
    alone: list[Whitelist] = []
    for pattern in patterns:
        try:
            alone.append(Whitelist([pattern]))
        except PatternError:
            continue
    host = Host(name, None, "https")
    hits = [each.patterns[0] for each in alone if each.allows(host)]
    together = Whitelist([each.patterns[0] for each in alone])
    assert together.pattern_for(host) == (hits[0] if hits else None)


# --- whatever is thrown at it ---

ANY_TEXT = st.text(st.characters()) | st.text("ab.*?[]{},:!-x/\\()|%@1 \u00fc\u3002\ud800", max_size=40)


@settings(max_examples=600, deadline=None)
@given(text=ANY_TEXT | PATTERNS)
def test_any_text_is_a_pattern_or_a_pattern_error(text: str) -> None:
    try:
        whitelist = Whitelist([text])
    except PatternError:
        return
    assert whitelist.patterns[0].isascii()
    assert whitelist.patterns[0] == whitelist.patterns[0].lower()
    assert Whitelist(whitelist.patterns) == whitelist, "the saved form is stable"
    whitelist.allows_host("a.com")


@settings(max_examples=600, deadline=None)
@given(text=ANY_TEXT, prefix=st.sampled_from(["", "https://", "http://a.com", "https://a.com:"]))
def test_any_text_is_a_host_or_none(text: str, prefix: str) -> None:
    origin = parse_origin(prefix + text)
    referer = parse_referer(prefix + text)
    assert origin is None or origin == referer, "what is an origin is the same host as a referer"
    Whitelist(["*.com"]).allows_host(text)
    if origin is not None:
        assert origin.name.isascii()
        assert origin.name == origin.name.lower()
        spelled_out = f"{origin.scheme}://{origin.name}" + (f":{origin.port}" if origin.port is not None else "")
        assert parse_origin(spelled_out) == origin, "the comparable form is stable"


@settings(max_examples=600, deadline=None)
@given(text=st.text("aB.:@/\\#?[]%08-_ ", max_size=20))
def test_the_host_parser_never_disagrees_with_the_standard_library(text: str) -> None:
    host = parse_referer(f"https://{text}")
    if host is None:
        return
    parts = urlsplit(f"https://{text}")
    assert parts.hostname is not None
    assert host.name.strip("[]") == parts.hostname.removesuffix(".")
    assert host.port == (None if parts.port == 443 else parts.port)


@settings(max_examples=300, deadline=None)
@given(name=NAMES, port=st.integers(0, 65535), scheme=st.sampled_from(["http", "https", "HTTP", "hTTps"]))
def test_a_well_formed_origin_is_always_read(name: str, port: int, scheme: str) -> None:
    host = parse_origin(f"{scheme}://{name.upper()}:{port}")
    default = {"http": 80, "https": 443}[scheme.lower()]
    assert host == Host(name, None if port == default else port, scheme.lower())
    assert parse_referer(f"{scheme}://{name}.:{port}/x") == host
