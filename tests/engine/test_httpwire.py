"""HTTP/1.1 read strictly: every framing, every coding, everything that is not exactly a message."""

from __future__ import annotations

import gzip
import socket
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outside import Outside, answer, fetch, ok

from secure_delivery.engine.fetch import Fetcher
from secure_delivery.engine.httpwire import Wire, body, inflated, read_head, request_head
from secure_delivery.engine.outbound import Patience
from secure_delivery.gate.errors import SourceFault

CHUNKED = "Transfer-Encoding: chunked"

GOOD_BODIES = {
    "length": ok(b"hello"),
    "until the end": answer("200 OK", body=b"hello"),
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\nhello",
    "no reason": b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello",
    "same length twice": answer("200 OK", "Content-Length: 5", "content-length:5", body=b"hello"),
    "interim answers": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + ok(b"hello"),
    "chunks": answer("200 OK", CHUNKED, body=b"1\r\nh\r\n0004;x=y\r\nello\r\n0\r\n\r\n"),
    "chunks and trailers": answer("200 OK", "Transfer-Encoding:Chunked", body=b"5 \r\nhello\r\n000\r\nX: y\r\n\r\n"),
    "gzip": ok(gzip.compress(b"hello"), "Content-Encoding: gzip"),
    "two members": ok(gzip.compress(b"hel") + gzip.compress(b"lo"), "Content-Encoding: x-gzip"),
    "zlib": ok(zlib.compress(b"hello"), "Content-Encoding: Deflate"),
    "bare deflate": ok(zlib.compress(b"hello")[2:-4], "Content-Encoding: deflate"),
    "identity": ok(b"hello", "Content-Encoding: identity"),
    "gzip in chunks": answer(
        "200 OK",
        CHUNKED,
        "Content-Encoding: gzip",
        body=b"".join(b"1\r\n%c\r\n" % byte for byte in gzip.compress(b"hello")) + b"0\r\n\r\n",
    ),
}


@pytest.mark.parametrize("script", GOOD_BODIES.values(), ids=GOOD_BODIES)
def test_a_body_is_read_however_it_is_framed(script: bytes) -> None:
    with Outside({"/": script}) as web:
        fetched, content = fetch(Fetcher(allow=(web.at,)), web.url())
    assert (content, fetched.size) == (b"hello", 5)


BAD_ANSWERS = {
    "nothing": b"",
    "no http": b"SSH-2.0-OpenSSH\r\n",
    "http/2": b"HTTP/2 200\r\n\r\n",
    "http/0.9": b"hello",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
    "switching protocols": answer("101 Switching Protocols", "Upgrade: x"),
    "interim for ever": b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
    "folded line": answer("200 OK", "X: a", " b", "Content-Length: 0"),
    "blank before the colon": answer("200 OK", "Content-Length : 5", body=b"hello"),
    "no colon": answer("200 OK", "nonsense"),
    "NUL in a value": answer("200 OK", "X: a\x00b"),
    "bare CR in a value": answer("200 OK", "X: a\rb"),
    "101 header fields": answer("200 OK", *(f"X-{n}: y" for n in range(101))),
    "a head too long": answer("200 OK", *(f"X: {'y' * 7000}" for _ in range(10))),
    "an endless line": b"HTTP/1.1 200 " + b"y" * 200_000,
    "short": answer("200 OK", "Content-Length: 6", body=b"hello"),
    "two lengths": answer("200 OK", "Content-Length: 5", "Content-Length: 6", body=b"hello!"),
    "a list of lengths": answer("200 OK", "Content-Length: 5, 5", body=b"hello"),
    "a negative length": answer("200 OK", "Content-Length: -5", body=b"hello"),
    "a signed length": answer("200 OK", "Content-Length: +5", body=b"hello"),
    "length and chunks": answer("200 OK", "Content-Length: 5", CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"),
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "other transfer coding": answer("200 OK", "Transfer-Encoding: gzip, chunked", body=b"5\r\nhello\r\n0\r\n\r\n"),
    "chunked twice": answer("200 OK", CHUNKED, CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"),
    "chunks without an end": answer("200 OK", CHUNKED, body=b"5\r\nhello\r\n"),
    "chunks without their last line": answer("200 OK", CHUNKED, body=b"5\r\nhello\r\n0\r\n"),
    "a chunk too long": answer("200 OK", CHUNKED, body=b"4\r\nhello\r\n0\r\n\r\n"),
    "a chunk too short": answer("200 OK", CHUNKED, body=b"6\r\nhello\r\n0\r\n\r\n"),
    "a chunk without a size": answer("200 OK", CHUNKED, body=b"\r\nhello\r\n0\r\n\r\n"),
    "a chunk of 0x5": answer("200 OK", CHUNKED, body=b"0x5\r\nhello\r\n0\r\n\r\n"),
    "a negative chunk": answer("200 OK", CHUNKED, body=b"-5\r\nhello\r\n0\r\n\r\n"),
    "a huge chunk": answer("200 OK", CHUNKED, body=b"f" * 30 + b"\r\nhello\r\n0\r\n\r\n"),
    "trailers for ever": answer("200 OK", CHUNKED, body=b"0\r\n" + b"X: y\r\n" * 200),
    "mostly framing": answer("200 OK", CHUNKED, body=b"1;aaaaaaaaaaaaaaaaaa\r\nx\r\n" * 60_000 + b"0\r\n\r\n"),
    "an unknown coding": ok(b"hello", "Content-Encoding: br"),
    "two codings": ok(gzip.compress(gzip.compress(b"x")), "Content-Encoding: gzip, gzip"),
    "coded twice in two lines": ok(b"x", "Content-Encoding: gzip", "Content-Encoding: gzip"),
    "no gzip": ok(b"hello", "Content-Encoding: gzip"),
    "empty gzip": ok(b"", "Content-Encoding: gzip"),
    "cut gzip": ok(gzip.compress(b"hello" * 1000)[:-9], "Content-Encoding: gzip"),
    "something after gzip": ok(gzip.compress(b"hello") + b"x", "Content-Encoding: gzip"),
    "something after zlib": ok(zlib.compress(b"hello") + b"x", "Content-Encoding: deflate"),
    "damaged gzip": ok(gzip.compress(b"hello")[:-8] + bytes(8), "Content-Encoding: gzip"),
    "redirect to two places": answer("302 Found", "Location: /a", "Location: /b"),
}


@pytest.mark.parametrize("script", BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_an_answer_that_is_not_exactly_http_is_a_fault_of_the_source(script: bytes) -> None:
    with Outside({"/": script}) as web, pytest.raises(SourceFault) as caught:
        fetch(Fetcher(allow=(web.at,)), web.url())
    assert caught.value.public == "The source could not be fetched."


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", answer("200 OK", CHUNKED), ok(b"", "Content-Encoding: gzip")]),
)
def test_no_bytes_whatever_raise_outside_the_fault_tree(data: bytes, before: bytes) -> None:
    """Through a pair of sockets: the reader's side is the real one."""

    near, far = socket.socketpair()
    with near, far:
        far.sendall(before + data)
        far.shutdown(socket.SHUT_WR)
        wire = Wire(near, patience=Patience(), ends=20.0, clock=lambda: 0.0)
        try:
            head = read_head(wire)
            for _ in inflated(body(wire, head), head.fields):
                pass
        except SourceFault:
            pass


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=20), st.booleans())
def test_what_is_framed_in_chunks_and_compressed_comes_out_the_same(pieces: list[bytes], packed: bool) -> None:

    content = b"".join(pieces)
    sent = [gzip.compress(piece) for piece in pieces or [b""]] if packed else pieces
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in sent) + b"0\r\n\r\n"
    near, far = socket.socketpair()
    with near, far:
        far.sendall(answer("200 OK", CHUNKED, *(["Content-Encoding: gzip"] if packed else [])) + framed)
        wire = Wire(near, patience=Patience(), ends=20.0, clock=lambda: 0.0)
        head = read_head(wire)
        assert b"".join(inflated(body(wire, head), head.fields)) == content


@pytest.mark.parametrize(
    ("method", "resource", "field"),
    [
        ("get", "/", ("a", "b")),
        ("GET", "/ x", ("a", "b")),
        ("GET", "", ("a", "b")),
        ("GET", "/\r\n", ("a", "b")),
        ("GET", "/ü", ("a", "b")),
        ("GET", "/", ("a b", "c")),
        ("GET", "/", ("a", "b\r\nc: d")),
        ("GET", "/", ("", "x")),
    ],
)
def test_a_request_that_would_not_stay_in_its_place_is_not_made(method: str, resource: str, field: tuple[str, str]) -> None:
    with pytest.raises(ValueError):
        request_head(method, resource, [field])
