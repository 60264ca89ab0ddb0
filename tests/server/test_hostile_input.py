"""Bad input in every place of a request, against live servers: always a 4xx with a code, never a fault, never silence."""

from __future__ import annotations

import json
import time
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live import Reply, Server, picture

from secure_delivery.engine.records import FileLink

FEW = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
#: What http servers let through of a request line: no blank, no control, no fragment.
LINE = st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#")
HEADER = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=80).map(str.strip)


@pytest.fixture(scope="module")
def files(server: Server) -> tuple[FileLink, FileLink]:
    """One file of an open application, one of a secured one."""
    return server.put(server.application(), picture(20, 10), "a.jpg"), server.put(server.application(require_policy=True), b"x")


def check(reply: Reply) -> None:
    assert reply.status < 500, (reply.status, reply.body)
    if reply.status >= 400 and reply.body:
        error = json.loads(reply.body)["error"]
        assert error["code"] and error["message"]
        assert "Traceback" not in reply.body.decode() and "/data/" not in reply.body.decode()


WORDS = [
    "resize=width:3",
    "resize",
    "security=p:abc,s:def",
    "security=",
    "b64",
    "W10",
    "debug",
    "metadata",
    "api",
    "file",
    "store",
    "%2F",
    "%22",
    "[",
    "]",
    "..",
    "",
    "src://a",
    "b64://YQ",
    "https://a.example/x?y=z",
    "%00",
    "%ff",
    "%C0%AF",
    "health",
    "=:,",
    "A" * 22,
    "cache=false",
]


@FEW
@given(data=st.data())
def test_any_path_is_answered(server: Server, files: tuple[FileLink, FileLink], data: st.DataObject) -> None:
    handles = [link.handle for link in files] + [link.application for link in files]
    part = st.one_of(st.sampled_from(WORDS + handles), st.text(LINE, max_size=12))
    parts = data.draw(st.lists(part, max_size=6))
    method = data.draw(st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]))
    query = data.draw(st.sampled_from(["", "?", "?dl", "?key=x", "?policy=a&signature=b", "?&&=&", '?"x"]']))
    check(server.request(method, "/" + "/".join(parts) + query, body=b"body" if method in ("POST", "PUT") else None))


NAMES = [
    "key",
    "policy",
    "signature",
    "dl",
    "cache",
    "filename",
    "mimetype",
    "path",
    "container",
    "base64decode",
    "size",
    "md5",
    "exif",
]
TEXT = st.one_of(
    st.text(LINE, max_size=40),
    st.text(max_size=40).map(lambda text: quote(text.encode("utf-8", "surrogatepass"), safe="")),
    st.binary(max_size=40).map(lambda raw: quote(raw, safe="")),
    st.sampled_from(["", "%", "%zz", "%00", "true", "-1", "9" * 400, "../..", "a" * 5000]),
)


@FEW
@given(data=st.data())
def test_any_query_is_answered(server: Server, files: tuple[FileLink, FileLink], data: st.DataObject) -> None:
    link = data.draw(st.sampled_from(files))
    values = data.draw(st.lists(st.tuples(st.sampled_from(NAMES), TEXT), max_size=6))
    good_key = [("key", link.application)] if data.draw(st.booleans()) else []
    query = data.draw(st.sampled_from(["&", "&&", ";"])).join(f"{name}={value}" for name, value in [*good_key, *values])
    method, target = data.draw(
        st.sampled_from(
            [
                ("GET", f"/{link.handle}"),
                ("GET", f"/api/file/{link.handle}"),
                ("GET", f"/{link.handle}/metadata"),
                ("GET", f"/resize=width:3/{link.handle}"),
                ("POST", "/api/store/S3"),
                ("PUT", f"/api/file/{link.handle}"),
                ("DELETE", f"/api/file/{link.handle}"),
                ("OPTIONS", "/api/store/S3"),
            ]
        )
    )
    check(server.request(method, f"{target}?{query}", body=b"body" if method in ("POST", "PUT") else None))


HEADERS = [
    "Authorization",
    "Origin",
    "Referer",
    "Range",
    "If-Range",
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
    "Content-Type",
    "Accept",
    "Accept-Encoding",
    "X-Forwarded-For",
    "X-Original-URL",
    "Cookie",
    "Filestack-Source",
    "Access-Control-Request-Method",
]


@FEW
@given(
    headers=st.dictionaries(st.sampled_from(HEADERS), HEADER, max_size=5),
    method=st.sampled_from(["GET", "HEAD", "POST", "OPTIONS"]),
    which=st.integers(0, 3),
)
def test_any_header_is_answered(
    server: Server, files: tuple[FileLink, FileLink], headers: dict[str, str], method: str, which: int
) -> None:
    link = files[which % 2]
    target = (
        f"/{link.handle}",
        f"/resize=width:3/{link.handle}",
        f"/{link.handle}/metadata",
        f"/api/store/S3?key={link.application}",
    )
    check(server.request(method, target[which], body=b"x" if method == "POST" else None, headers=headers))


@FEW
@given(credential=st.one_of(HEADER, st.binary(max_size=60).map(lambda raw: __import__("base64").b64encode(raw).decode())))
def test_no_invented_credential_opens_anything(server: Server, files: tuple[FileLink, FileLink], credential: str) -> None:
    for scheme in ("Basic", "basic", "Bearer", ""):
        headers = {"Authorization": f"{scheme} {credential}".strip()}
        reply = server.request("DELETE", f"/api/file/{files[1].handle}", headers=headers)
        check(reply)
        assert reply.status in (400, 403)


@pytest.mark.parametrize("size", [4_000, 60_000, 200_000])
@pytest.mark.parametrize("place", ["path", "query", "header", "tasks"])
def test_a_very_long_request_is_refused_in_time(every_server: Server, place: str, size: int) -> None:
    link = every_server.put(every_server.application(), b"x")
    before = time.perf_counter()
    target, headers = f"/{link.handle}", {}
    if place == "path":
        target = f"/resize=width:{'1' * size}/{link.handle}"
    elif place == "query":
        target += "?policy=" + "a" * size + "&signature=b"
    elif place == "tasks":
        target = "/" + "flip/" * (size // 5) + link.handle
    else:
        headers = {"If-None-Match": '"a", ' * (size // 5)}
    try:
        reply = every_server.request("GET", target, headers=headers)
        assert reply.status < 500 and (place == "header" or reply.status >= 400)
    except (ConnectionError, OSError):
        pass  # the server closed the connection on a head beyond what it reads
    assert (time.perf_counter() - before) * 1000 < 5000
    assert every_server.get(f"/{link.handle}").status == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n X: folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET http://[::1/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET ?x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ],
)
def test_what_is_no_request_does_not_hurt(every_server: Server, raw: bytes) -> None:
    said = every_server.exchange(raw, shut=True)
    assert b" 500 " not in said.partition(b"\r\n")[0]
    assert every_server.get("/health/live").status == 200
