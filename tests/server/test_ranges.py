"""Conditional and range requests, as a function and over sockets (RFC 9110, sections 8.8, 13 and 14)."""

from __future__ import annotations

import re
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live import Server

from secure_delivery.engine.records import FileLink
from secure_delivery.server.ranges import MAX_RANGES, answer, http_date

TAG = "0123456789abcdef"
MODIFIED = 1_700_000_000_900  # milliseconds; the header knows seconds only
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
EARLIER, LATER = "Tue, 14 Nov 2023 22:13:19 GMT", "Tue, 14 Nov 2023 22:13:21 GMT"


def ask(size: int = 1000, *, ranges: bool = True, **headers: str) -> tuple[int, list[tuple[int, int]]]:
    lowered = {name.replace("_", "-"): value for name, value in headers.items()}
    found = answer(lowered, etag=TAG, modified=MODIFIED, size=size, ranges=ranges)
    return found.status, [tuple(span) for span in found.spans]


WHOLE = (200, [])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-0", (206, [(0, 1)])),
        ("bytes=0-999", (206, [(0, 1000)])),
        ("bytes=0-5000", (206, [(0, 1000)])),
        ("bytes=500-", (206, [(500, 1000)])),
        ("bytes=999-", (206, [(999, 1000)])),
        ("bytes=-1", (206, [(999, 1000)])),
        ("bytes=-5000", (206, [(0, 1000)])),
        ("BYTES=0-1", (206, [(0, 2)])),
        ("bytes= 0 - 1 ", (206, [(0, 2)])),
        ("bytes=0-0,-1", (206, [(0, 1), (999, 1000)])),
        ("bytes=-1,0-0", (206, [(999, 1000), (0, 1)])),
        ("bytes=0-1,2-3", (206, [(0, 2), (2, 4)])),
        ("bytes=0-0,1000-", (206, [(0, 1)])),
        ("bytes=1000-", (416, [])),
        ("bytes=1000-1001,2000-", (416, [])),
        ("bytes=-0", (416, [])),
        ("bytes=5-3", WHOLE),
        ("bytes=a-b", WHOLE),
        ("bytes=-", WHOLE),
        ("bytes=", WHOLE),
        ("bytes", WHOLE),
        ("bytes=1", WHOLE),
        ("bytes=1-2-3", WHOLE),
        ("bytes=--1", WHOLE),
        ("bytes=0-1,", WHOLE),
        ("bytes=0x1-2", WHOLE),
        ("bytes=\u0661-\u0662", WHOLE),
        ("lines=0-1", WHOLE),
        ("", WHOLE),
        ("bytes=0-10,5-20", WHOLE),
        ("bytes=0-10,0-10", WHOLE),
        ("bytes=" + "9" * 30 + "-", WHOLE),
        ("bytes=" + ",".join(f"{n}-{n}" for n in range(0, 2 * MAX_RANGES, 2)), (206, [(n, n + 1) for n in range(0, 16, 2)])),
        ("bytes=" + ",".join(f"{n}-{n}" for n in range(0, 2 * MAX_RANGES + 2, 2)), WHOLE),
        ("bytes=" + "0-," * 100_000, WHOLE),
    ],
)
def test_a_range_is_cut_to_the_file_refused_or_ignored(value: str, expected: tuple[int, list[tuple[int, int]]]) -> None:
    assert ask(range=value) == expected


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if_none_match": f'"{TAG}"'}, 304),
        ({"if_none_match": f'W/"{TAG}"'}, 304),
        ({"if_none_match": f'"other", "{TAG}"'}, 304),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"other"'}, 200),
        ({"if_none_match": TAG}, 200),
        ({"if_none_match": f'"{TAG}'}, 200),
        ({"if_none_match": ""}, 200),
        ({"if_modified_since": DATE}, 304),
        ({"if_modified_since": LATER}, 304),
        ({"if_modified_since": EARLIER}, 200),
        ({"if_modified_since": "yesterday"}, 200),
        ({"if_modified_since": "Tue, 14 Nov 99999999 22:13:20 GMT"}, 200),
        ({"if_none_match": '"other"', "if_modified_since": LATER}, 200),
        ({"if_match": f'"{TAG}"'}, 200),
        ({"if_match": "*"}, 200),
        ({"if_match": '"other"'}, 412),
        ({"if_match": f'W/"{TAG}"'}, 412),
        ({"if_match": '"other"', "if_none_match": f'"{TAG}"'}, 412),
        ({"if_match": f'"{TAG}"', "if_none_match": f'"{TAG}"'}, 304),
        ({"if_unmodified_since": DATE}, 200),
        ({"if_unmodified_since": EARLIER}, 412),
        ({"if_unmodified_since": "yesterday"}, 200),
        ({"if_match": "*", "if_unmodified_since": EARLIER}, 200),
        ({"if_none_match": f'"{TAG}"', "range": "bytes=0-0"}, 304),
        ({"if_range": f'"{TAG}"', "range": "bytes=0-0"}, 206),
        ({"if_range": f'W/"{TAG}"', "range": "bytes=0-0"}, 200),
        ({"if_range": '"other"', "range": "bytes=0-0"}, 200),
        ({"if_range": DATE, "range": "bytes=0-0"}, 200),
        ({"if_range": '"other"', "range": "bytes=5000-"}, 200),
        ({"if_range": f'"{TAG}"'}, 200),
    ],
)
def test_conditions_go_before_ranges_in_the_order_of_the_standard(headers: dict[str, str], status: int) -> None:
    assert ask(**headers)[0] == status


def test_a_head_has_no_ranges_but_has_conditions() -> None:
    assert ask(ranges=False, range="bytes=0-0") == WHOLE
    assert ask(ranges=False, range="bytes=5000-") == WHOLE
    assert ask(ranges=False, if_none_match="*")[0] == 304


def test_a_date_is_written_as_headers_want_it() -> None:
    assert http_date(MODIFIED) == DATE


number = st.one_of(st.integers(0, 30).map(str), st.just(""), st.text("0123456789", max_size=20))


@given(size=st.integers(1, 20), items=st.lists(st.tuples(number, number), max_size=10), junk=st.text(max_size=3))
def test_spans_are_always_inside_the_file_apart_and_few(size: int, items: list[tuple[str, str]], junk: str) -> None:
    for value in (
        f"bytes={','.join('-'.join(item) for item in items)}",
        f"bytes={junk}{','.join('-'.join(item) for item in items)}",
    ):
        found = answer({"range": value}, etag=TAG, modified=MODIFIED, size=size)
        assert (found.status == 206) == bool(found.spans)
        assert all(0 <= span.start < span.stop <= size for span in found.spans)
        assert len(found.spans) <= MAX_RANGES
        ordered = sorted(found.spans)
        assert all(first.stop <= second.start for first, second in pairwise(ordered))


@given(
    headers=st.dictionaries(st.sampled_from(["range", "if-range", "if-match", "if-none-match", "if-modified-since"]), st.text())
)
def test_no_header_makes_it_raise(headers: dict[str, str]) -> None:
    assert answer(headers, etag=TAG, modified=MODIFIED, size=10).status in (200, 206, 304, 412, 416)


@pytest.mark.parametrize("value", ['"' * 60_000, 'W/"' * 20_000, "W/" * 30_000, '"a",' * 15_000])
def test_long_lists_of_tags_take_linear_time(value: str) -> None:
    before = time.process_time()
    ask(if_none_match=value)
    assert (time.process_time() - before) * 1000 < 1000


# -------------------------------------------------------------------------------------------------------- over sockets

CONTENT = bytes(range(256)) * 4 + b"the end"
LARGE = bytes(range(256)) * 8192  # two megabytes: sent in pieces


@pytest.fixture(scope="module")
def small(server: Server) -> FileLink:
    return server.put(server.application(), CONTENT, "a.bin")


@pytest.fixture(scope="module")
def large(server: Server) -> FileLink:
    return server.put(server.application(), LARGE, "a.bin")


@pytest.mark.parametrize(
    ("value", "start", "stop"),
    [("bytes=0-0", 0, 1), ("bytes=5-9", 5, 10), ("bytes=-7", 1024, 1031), ("bytes=1000-", 1000, 1031)],
)
def test_one_range_is_sent_with_where_it_is(server: Server, small: FileLink, value: str, start: int, stop: int) -> None:
    for target in (f"/{small.handle}", f"/api/file/{small.handle}"):
        reply = server.get(target, {"Range": value})
        assert (reply.status, reply.body) == (206, CONTENT[start:stop])
        assert reply.headers["content-range"] == f"bytes {start}-{stop - 1}/1031"
        assert reply.headers["content-length"] == str(stop - start)
        assert reply.headers["accept-ranges"] == "bytes"
        assert reply.headers["etag"]


@pytest.mark.parametrize("which", ["small", "large"])
def test_several_ranges_come_as_parts_that_add_up(server: Server, request: pytest.FixtureRequest, which: str) -> None:
    link: FileLink = request.getfixturevalue(which)
    content = CONTENT if which == "small" else LARGE
    spans = [(0, 3), (500, 1000), (link.size - 2, link.size)]
    value = "bytes=" + ",".join(f"{start}-{stop - 1}" for start, stop in spans)
    reply = server.get(f"/{link.handle}", {"Range": value})
    assert reply.status == 206
    assert reply.headers["content-length"] == str(len(reply.body))
    boundary = re.fullmatch(r"multipart/byteranges; boundary=([0-9a-f]{32})", reply.headers["content-type"])
    assert boundary is not None
    first, *parts, last = reply.body.split(f"--{boundary[1]}".encode())
    assert (first, last) == (b"\r\n", b"--\r\n")
    for (start, stop), part in zip(spans, parts, strict=True):
        head, _, data = part.partition(b"\r\n\r\n")
        assert head.split(b"\r\n")[1:] == [
            b"content-type: application/octet-stream",
            f"content-range: bytes {start}-{stop - 1}/{link.size}".encode(),
        ]
        assert data.removesuffix(b"\r\n") == content[start:stop]


def test_a_large_file_comes_whole_and_in_ranges(every_server: Server) -> None:
    link = every_server.put(every_server.application(), LARGE)
    reply = every_server.get(f"/{link.handle}")
    assert (reply.status, reply.body == LARGE, reply.headers["content-length"]) == (200, True, str(len(LARGE)))
    reply = every_server.get(f"/{link.handle}", {"Range": "bytes=100-1500000"})
    assert (reply.status, reply.body == LARGE[100:1500001]) == (206, True)


def test_a_range_outside_says_how_large_the_file_is_and_is_not_kept(server: Server, small: FileLink) -> None:
    reply = server.get(f"/{small.handle}", {"Range": "bytes=5000-"})
    assert (reply.status, reply.body, reply.headers["content-range"]) == (416, b"", "bytes */1031")
    assert reply.headers["cache-control"] == "no-store"


def test_a_not_modified_answer_has_no_body_and_the_headers_of_the_file(server: Server, small: FileLink) -> None:
    whole = server.get(f"/{small.handle}")
    for headers in ({"If-None-Match": whole.headers["etag"]}, {"If-Modified-Since": whole.headers["last-modified"]}):
        for method in ("GET", "HEAD"):
            reply = server.request(method, f"/{small.handle}", headers=headers)
            assert (reply.status, reply.body) == (304, b"")
            assert reply.headers["etag"] == whole.headers["etag"]
            assert reply.headers["cache-control"] == whole.headers["cache-control"]
    assert server.get(f"/{small.handle}", {"If-Match": '"x"'}).status == 412


def test_a_head_with_a_range_is_about_the_whole_file(server: Server, small: FileLink) -> None:
    reply = server.request("HEAD", f"/{small.handle}", headers={"Range": "bytes=0-0"})
    assert (reply.status, reply.headers["content-length"], reply.body) == (200, "1031", b"")


def test_neither_ranges_nor_conditions_go_around_the_decision(every_server: Server) -> None:
    application = every_server.application(require_policy=True)
    link = every_server.put(application, CONTENT)
    etag = f'"{link.sha256[:32]}"'
    good = application.sign(expires_in=60, now=time.time()).as_query()
    old = application.sign(expires_in=60, now=time.time() - 100).as_query()
    for headers in (
        {"If-None-Match": etag},
        {"If-None-Match": "*"},
        {"Range": "bytes=0-0"},
        {"If-Match": '"x"'},
        {"Range": "bytes=9999-"},
    ):
        for target in (f"/{link.handle}", f"/api/file/{link.handle}"):
            assert every_server.get(f"{target}?{good}", headers).status in (206, 304, 412, 416)
            assert every_server.get(target, headers).code == "policy_required"
            assert every_server.get(f"{target}?{old}", headers).code == "policy_expired"
            for method in ("HEAD", "TRACE", "OPTIONS"):
                reply = every_server.request(method, target, headers=headers)
                assert reply.status in (403, 405) or (method, reply.status, reply.body) == ("OPTIONS", 204, b"")


def test_an_overwrite_changes_tag_and_size_together_and_an_old_tag_gets_the_new_file_whole(server: Server) -> None:
    application = server.application()
    link = server.put(application, CONTENT)
    before = server.get(f"/{link.handle}")
    signed = application.sign(expires_in=60, now=time.time()).as_query()
    assert server.post(f"/api/file/{link.handle}?{signed}", b"other content").status == 200
    after = server.get(f"/{link.handle}", {"Range": "bytes=5-", "If-Range": before.headers["etag"]})
    assert (after.status, after.body) == (200, b"other content")
    assert after.headers["etag"] != before.headers["etag"]
    assert server.get(f"/{link.handle}", {"If-None-Match": before.headers["etag"]}).status == 200
    ranged = server.get(f"/{link.handle}", {"Range": "bytes=5-", "If-Range": after.headers["etag"]})
    assert (ranged.status, ranged.body) == (206, b" content")
