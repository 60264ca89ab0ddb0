"""No spelling of a path gets past the guard: whatever reaches a guarded view was judged, on the same reading of it.

A differential test (security promise 96): the routers of five frameworks behind four servers are the second opinion. The
application is secured and the only policy about is bound to `mine`, so that a view that answers for anything else, or
without a verdict, was reached by a trick.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from door_apps import SECRET, sign
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secure_delivery import Application, Guard, Rule, SecretRing
from secure_delivery.gate.heads import Admission, Head, Reply

MINE = sign(call=["read"], handle="mine")

#: Spellings that some router, proxy or file system reads as `/photos/theirs`, or as something near it.
SPELLINGS = [
    "/photos/theirs",
    "/photos/theirs/",
    "/photos/theirs//",
    "//photos/theirs",
    "///photos/theirs",
    "/photos//theirs",
    "/photos/./theirs",
    "/./photos/theirs",
    "/photos/../photos/theirs",
    "/open/../photos/theirs",
    "/x/../photos/theirs",
    "/..//photos/theirs",
    "/photos/theirs/.",
    "/photos/theirs/..",
    "/photos/theirs/../theirs",
    "/photos/x/../theirs",
    "/photos/%2e/theirs",
    "/%2e%2e/photos/theirs",
    "/open/%2e%2e/photos/theirs",
    "/open/%2E%2E/photos/theirs",
    "/open/.%2e/photos/theirs",
    "/open/%252e%252e/photos/theirs",
    "/photos%2Ftheirs",
    "/photos%2ftheirs",
    "/photos%252ftheirs",
    "%2fphotos/theirs",
    "/%2fphotos/theirs",
    "/photos%2f/theirs",
    "/photos\\theirs",
    "\\photos\\theirs",
    "/\\photos/theirs",
    "/photos%5ctheirs",
    "/photos%5Ctheirs",
    "/PHOTOS/theirs",
    "/Photos/theirs",
    "/%70hotos/theirs",
    "/%50hotos/theirs",
    "/photos/%74heirs",
    "/photos/theirs.",
    "/photos./theirs",
    "/photos/theirs%20",
    "/photos/%20theirs",
    "/photos/theirs%09",
    "/photos/theirs%0a",
    "/photos/theirs%0d%0a",
    "/photos/theirs%00",
    "/photos/theirs%00.jpg",
    "/photos%00/theirs",
    "/%00/photos/theirs",
    "/photos/theirs;x=1",
    "/photos;x=1/theirs",
    "/photos/theirs%3f",
    "/photos/theirs%23x",
    "/photos/theirs#x",
    "/photos%c0%aftheirs",
    "/photos%ef%bc%8ftheirs",
    "/photos%e2%81%84theirs",
    "/photos/theirs%ff",
    "/photos/%ff%feheirs",
    "photos/theirs",
    "./photos/theirs",
    "../photos/theirs",
    "*/photos/theirs",
    "http://photos/theirs",
    "http://localhost/photos/theirs",
    "http://localhost//photos/theirs",
    "http:///photos/theirs",
    "http:/photos/theirs",
    "https://localhost/open/../photos/theirs",
    "ftp://localhost/photos/theirs",
    "//localhost/photos/theirs",
    "/photos/security=policy:a,signature:b/theirs",
    "/security=policy:a,signature:b/photos/theirs",
    "/photos/security=policy:a,signature:b",
    "/photos/security=x",
    "/photos/security=",
    "/photos/theirs/security=",
    '/photos/security="/theirs',
    '/photos/security="/"/theirs',
    "/photos/Security=x",
    "/photos/security%3dx",
    "/photos/%73ecurity=x",
    "/photos/security=x%2ftheirs",
    "/security=/photos/theirs",
    "/photos/security=..;/theirs",
    "/photos/theirs?",
    "/photos/theirs??",
    "/photos/theirs?a=b?policy=x",
    "/photos/theirs&policy=x",
    "/open?/../photos/theirs",
]

#: Headers by which some servers and frameworks let a client rename the path, the prefix or the method.
HEADERS = [
    [],
    [("X-Original-URL", "/photos/theirs"), ("X-Rewrite-URL", "/photos/theirs")],
    [("X-Forwarded-Prefix", "/photos"), ("X-Script-Name", "/photos"), ("SCRIPT_NAME", "/photos"), ("Script-Name", "/photos")],
    [("X-HTTP-Method-Override", "DELETE"), ("X-Method-Override", "PUT")],
    [("Path-Info", "/photos/theirs"), ("PATH_INFO", "/photos/theirs"), ("X-Forwarded-Uri", "/photos/theirs")],
]


def _view(answer: Any) -> dict[str, Any] | None:
    """What a guarded view saw, if one answered."""
    try:
        seen = answer.json
    except (ValueError, UnicodeDecodeError):
        return None
    return seen if isinstance(seen, dict) and seen.get("view") in ("photo", "exif") else None


def _ask(stack: Any, target: str, headers: Any = ()) -> Any:
    try:
        return stack("secured", "GET", target, headers=headers)
    except (OSError, ValueError):  # the server hung up on it, which lets nothing through
        return None


def test_no_spelling_reaches_a_guarded_view_without_a_policy(stack: Any) -> None:
    """With nothing to show, the photo is not to be had, however its path is written."""
    reached = [target for target in SPELLINGS if (answer := _ask(stack, target)) and _view(answer) is not None]

    assert reached == []


def test_a_policy_for_one_handle_opens_no_other_spelling(stack: Any) -> None:
    """What a policy bound to `mine` opens is `mine`: door and router read the same handle off every path."""
    opened = {}
    for spelling in SPELLINGS:
        for name in ("theirs", "mine"):
            target = spelling.replace("theirs", name).replace("%74heirs", name)
            answer = _ask(stack, target + ("&" if "?" in target else "?") + MINE.as_query())
            if answer is not None and (view := _view(answer)) is not None:
                opened[target] = (view["handle"], view["decision"])

    assert set(opened.values()) == {("mine", "ok")}


@pytest.mark.parametrize("headers", HEADERS, ids=lambda headers: headers[0][0] if headers else "none")
def test_no_header_renames_the_path_after_it_was_judged(stack: Any, headers: list[tuple[str, str]]) -> None:
    """A policy for `mine` and a free path stay what they are, whatever else the head claims."""
    mine = _ask(stack, f"/photos/mine?{MINE.as_query()}", headers)
    free = _ask(stack, "/open", headers)

    assert (mine.json["handle"], mine.json["method"], mine.json["decision"]) == ("mine", "GET", "ok")
    assert (free.json["view"], free.json["decision"]) == ("open", None)
    assert _ask(stack, "/photos/theirs", headers).status == 403


@pytest.mark.parametrize("method", ["get", "Get", "G", "GETT", "put", "delete", "CONNECT", "PROPFIND", "M-SEARCH", "DELETE\t"])
def test_no_odd_method_is_served(stack: Any, method: str) -> None:
    """Methods are compared as they are; what is no method of the rule is never routed as one."""
    try:
        answer = stack("open", method, "/photos/theirs")
    except (OSError, ValueError):
        return

    assert answer.status >= 400
    assert _view(answer) is None


# ------------------------------------------------------------------------------------------------------ without servers

GUARD = Guard(
    Application(secrets=SecretRing.of(SECRET), require_policy=True),
    [Rule("/photos/<handle>", GET="read"), Rule("/tree/<path:path>", GET="read")],
)
PIECES = st.sampled_from(
    ["/", "//", "\\", ".", "..", "%2f", "%2e", "photos", "tree", "x", "security=", '"', "%5c", "\x00", "\n", ";", "é", "�", " "]
)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(PIECES, max_size=12))
def test_what_the_guard_leaves_alone_no_router_takes_for_guarded(pieces: list[str]) -> None:
    """A property over paths put together from what routers disagree about: werkzeug's router never routes to a guarded
    view what the guard calls none of its business."""
    path = "".join(pieces)
    if GUARD.check(Head("GET", path if path.startswith("/") else f"/{path}")) is None:
        assert not _werkzeug_routes(path)


def _werkzeug_routes(path: str) -> bool:
    from werkzeug.exceptions import HTTPException
    from werkzeug.routing import Map
    from werkzeug.routing import Rule as Route

    routes = Map(
        [Route("/photos/<handle>", endpoint="photo", strict_slashes=False), Route("/tree/<path:path>", endpoint="tree")]
    )
    try:
        routes.bind("localhost").match(path)
    except HTTPException:
        return False
    return True


@settings(max_examples=600, deadline=None)
@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=20))
def test_no_head_makes_the_guard_raise_or_admit(path: str, query: str, authorization: str) -> None:
    """Any text in the head gives an answer of the guard; without a good credential it is a refusal."""
    for prefix in ("/photos/", "/photos/security=", ""):
        head = Head("GET", f"/{prefix}{path}", query, authorization=f"Basic {authorization}")
        verdict = GUARD.check(head)
        assert verdict is None or (isinstance(verdict, Reply) and 400 <= verdict.status < 500)
        assert not isinstance(verdict, Admission)


def test_a_very_odd_path_is_judged_quickly() -> None:
    """Eight thousand characters of what the guard looks for take no longer than a generous limit."""
    paths = ["/photos/" + text * (8000 // len(text)) for text in ("/security=", '/security="', "/../", "%2e%2e/", "\\", "//")]
    before = time.process_time()
    for path in paths:
        GUARD.check(Head("GET", path))

    assert time.process_time() - before < 2
