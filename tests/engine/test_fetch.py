"""Fetching: which URLs, whom it connects to, what it carries along, how long it waits, how much it takes."""

from __future__ import annotations

import gzip
import hashlib
import io
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outside import Outside, answer, certificate, fetch, moved, never_connect, ok, resolver

from secure_delivery.engine.addresses import Address
from secure_delivery.engine.fetch import Fetched, Fetcher
from secure_delivery.engine.httpwire import Fields, Head
from secure_delivery.engine.outbound import Patience, read_url, tcp_connect
from secure_delivery.gate.errors import BadRequest, ConfigurationError, NotFound, SecureDeliveryError, SourceFault, TooLarge

SOON = Patience(resolve=0.3, connect=0.3, first_byte=0.3, whole=20.0, rate=1000.0, grace=0.3)


# ----------------------------------------------------------------------------------------------------------- whom it meets


def test_a_file_arrives_whole_with_what_is_known_of_it() -> None:
    body = b"\x89PNG\r\n\x1a\n" + bytes(100_000)
    with Outside(
        {"/a%20b.png?x=1": ok(body, "Content-Type: text/html", "Cache-Control: public, max-age=60", "Age: 10")}
    ) as web:
        fetched, content = fetch(Fetcher(allow=(web.at,)), web.url("/a b.png?x=1#f"))
    assert content == body
    assert fetched == Fetched(
        url=web.url("/a%20b.png?x=1"),
        mimetype="image/png",
        filename="a b.png",
        size=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
        max_age=50,
    )


def test_the_request_says_no_more_than_it_must() -> None:
    with Outside({"/": ok()}) as web:
        fetch(Fetcher(allow=(web.at,), resolve=resolver(a_test="127.0.0.1")), web.url(host="A.test."))
    assert web.seen[0].decode().split("\r\n") == [
        "GET / HTTP/1.1",
        f"Host: a.test:{web.port}",
        "Connection: close",
        "Accept-Encoding: gzip, identity",
        "User-Agent: secure-delivery",
        "Accept: */*",
    ]


def test_nothing_is_allowed_by_default() -> None:
    with Outside({"/": ok()}) as web:
        fetcher = Fetcher(ports=(80, web.port), resolve=resolver(a_test="127.0.0.1"))
        for host in ("127.0.0.1", "a.test", "[::ffff:127.0.0.1]", "[::1]"):
            with pytest.raises(SourceFault) as caught:
                fetch(fetcher, web.url(host=host))
            assert caught.value.public == "The source could not be fetched.", "no address, and not why"
    assert web.connections == 0


def test_the_names_of_this_machine_are_refused_by_the_real_resolver() -> None:
    for name in ("localhost", "localhost.", "LOCALHOST"):
        with pytest.raises(SourceFault):
            fetch(Fetcher(connect=never_connect), f"http://{name}/")


def test_a_connection_that_is_gone_before_it_is_checked_is_a_fault_of_the_source() -> None:
    def gone(address: Address, port: int, seconds: float) -> socket.socket:
        return socket.socket()

    with pytest.raises(SourceFault, match="gone"):
        fetch(Fetcher(resolve=resolver(a_test="8.8.8.8"), connect=gone), "http://a.test/")


def test_one_bad_answer_among_good_ones_refuses_the_name() -> None:
    for answers in ("8.8.8.8 10.0.0.1", "10.0.0.1 8.8.8.8", "8.8.8.8 fe80::1%2", "8.8.8.8 nonsense", ""):
        with pytest.raises(SourceFault):
            fetch(Fetcher(resolve=resolver(a_test=answers), connect=never_connect), "http://a.test/")


def test_a_name_is_resolved_once_and_the_connection_goes_to_that_answer() -> None:
    """A name server that answers differently the second time is never asked a second time."""
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1" if len(asked) == 1 else "127.0.0.2"]

    with Outside({"/": ok(b"right")}) as web:
        assert fetch(Fetcher(allow=(web.at,), resolve=rebinding), web.url(host="a.test"))[1] == b"right"
    assert asked == ["a.test"]


def test_the_other_end_of_the_connection_is_checked_again() -> None:
    """Whatever lies between, an answer from another address than the checked one is not read."""
    with Outside({"/": ok()}) as web:
        fetcher = Fetcher(
            resolve=resolver(a_test="8.8.8.8"), connect=lambda _a, _p, s: socket.create_connection(("127.0.0.1", web.port), s)
        )
        with pytest.raises(SourceFault, match=r"connected to 127\.0\.0\.1 instead of 8\.8\.8\.8"):
            fetch(fetcher, "http://a.test/")
    assert web.seen == []


def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    with Outside({"/": ok(b"second")}) as web:
        fetcher = Fetcher(allow=(f"127.0.0.0/8:{web.port}",), resolve=resolver(a_test="127.0.0.9 127.0.0.1"))
        assert fetch(fetcher, web.url(host="a.test"))[1] == b"second"


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    with Outside({"/": ok(b"direct")}) as web, Outside({}) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url())
        assert fetch(Fetcher(allow=(web.at,)), web.url())[1] == b"direct"
    assert proxy.connections == 0


def test_a_host_on_the_list_may_have_an_address_of_the_house_but_not_the_metadata_one() -> None:
    with Outside({"/": ok(b"inside")}) as web:
        allow = (f"files.intranet.example:{web.port}", "meta.intranet.example")
        names = {"files.intranet.example": ["127.0.0.1"], "meta.intranet.example": ["169.254.169.254"]}
        fetcher = Fetcher(allow=allow, resolve=lambda host, _: names[host])
        assert fetch(fetcher, web.url(host="files.intranet.example"))[1] == b"inside"
        with pytest.raises(SourceFault):
            fetch(fetcher, "http://meta.intranet.example/")


def test_a_list_with_a_mistake_stops_the_start() -> None:
    with pytest.raises(ConfigurationError):
        Fetcher(allow=("10.0.0.1/8",))


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return certificate(tmp_path_factory.mktemp("tls"), "a.test", "127.0.0.1")


def test_https_is_verified_by_the_name_in_the_url_and_goes_to_the_checked_address(
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    with Outside({"/": ok(b"safe")}, tls=tls[0]) as web:
        fetcher = Fetcher(allow=(web.at,), resolve=resolver(a_test="127.0.0.1", b_test="127.0.0.1"), tls=tls[1])
        assert fetch(fetcher, web.url(host="a.test"))[1] == b"safe"
        assert fetch(fetcher, web.url())[1] == b"safe", "an address is verified as one"
        with pytest.raises(SourceFault, match="no TLS"):
            fetch(fetcher, web.url(host="b.test"))
        with pytest.raises(SourceFault, match="no TLS"):
            fetch(Fetcher(allow=(web.at,)), web.url())
    assert web.names == ["a.test", None, "b.test", None] and len(web.seen) == 2


def test_a_body_without_a_length_is_only_whole_when_tls_says_so(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    def cut(connection: socket.socket) -> None:
        connection.sendall(answer("200 OK", body=b"part"))
        connection.shutdown(socket.SHUT_RDWR)

    with Outside({"/cut": cut, "/whole": answer("200 OK", body=b"whole")}, tls=tls[0]) as web:
        fetcher = Fetcher(allow=(web.at,), tls=tls[1])
        assert fetch(fetcher, web.url("/whole"))[1] == b"whole"
        with pytest.raises(SourceFault):
            fetch(fetcher, web.url("/cut"))


# ------------------------------------------------------------------------------------------------------------ redirects


@pytest.mark.parametrize("status", ["301 x", "302 x", "303 x", "307 x", "308 x"])
def test_redirects_are_followed_and_every_hop_is_shown_to_the_check(status: str) -> None:
    with Outside({"/a/b": moved("../c?d#e", status), "/c?d": moved("/ü z", status), "/%C3%BC%20z": ok(b"end")}) as web:
        seen: list[str] = []
        fetched, content = fetch(Fetcher(allow=(web.at,)), web.url("/a/b"), check=seen.append)
    assert content == b"end"
    assert seen == [web.url("/a/b"), web.url("/c?d"), web.url("/%C3%BC%20z")]
    assert fetched.url == seen[-1]


def test_what_the_check_raises_stops_the_hop_before_anybody_is_asked() -> None:
    class Forbidden(Exception):
        pass

    def check(url: str) -> None:
        if "next" in url:
            raise Forbidden(url)

    asked: list[str] = []
    with Outside({"/": moved("http://next.test/")}) as web:
        fetcher = Fetcher(allow=(web.at,), resolve=lambda host, _: asked.append(host) or ["8.8.8.8"], connect=tcp_connect)
        with pytest.raises(Forbidden, match=r"http://next\.test/"):
            fetch(fetcher, web.url(), check=check)
    assert asked == []


def test_three_redirects_are_followed_and_a_fourth_is_not() -> None:
    with Outside({f"/{n}": moved(f"/{n + 1}") for n in range(10)} | {"/9": ok(b"end")}) as web:
        fetcher = Fetcher(allow=(web.at,))
        assert fetch(fetcher, web.url("/6"))[1] == b"end"
        web.seen.clear()
        with pytest.raises(SourceFault, match="more than 3"):
            fetch(fetcher, web.url("/5"))
    assert len(web.seen) == 4


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{other}/",
        "//127.0.0.1:{other}/",
        "http://0x7f.1:{other}/",
        "http://[::ffff:127.0.0.1]:{other}/",
        "http://private.test/",
        "http://169.254.169.254/latest/meta-data/",
        "http://user:secret@127.0.0.1:{port}/end",
        "http://127.0.0.1:{port}\\@8.8.8.8/",
        "http://8.8.8.8:22/",
        "file:///etc/passwd",
        "ftp://example.com/",
        "javascript:alert(1)",
        "data:text/plain,x",
        "http://",
        "http:///",
        "http://[::1",
        "/a\tb",
        "/\x7f",
        "/%2e%2e/x",
        "/" + "a" * 3000,
        "",
    ],
)
def test_a_redirect_is_judged_like_a_url_of_its_own(location: str) -> None:
    with Outside({"/": ok(b"secret")}) as other:
        with Outside({"/end": ok(b"end")}) as web:
            web.scripts["/"] = moved(location.format(other=other.port, port=web.port))
            fetcher = Fetcher(allow=(web.at,), resolve=resolver(private_test="10.0.0.1"))
            with pytest.raises(SourceFault):
                fetch(fetcher, web.url())
        assert len(web.seen) == 1
    assert other.connections == 0


def test_https_never_leads_to_http(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    with Outside({"/": ok()}) as plain, Outside({"/": moved(plain.url())}, tls=tls[0]) as web:
        fetcher = Fetcher(allow=(web.at, plain.at), tls=tls[1])
        with pytest.raises(SourceFault, match="https to http"):
            fetch(fetcher, web.url())
    assert plain.connections == 0


def test_headers_go_to_the_first_origin_and_are_left_behind_for_good() -> None:
    """Also when a later hop leads back."""
    with Outside({"/end": ok()}) as web, Outside({}) as other:
        web.scripts |= {"/": moved("/same"), "/same": moved(other.url("/"))}
        other.scripts["/"] = moved(web.url("/end"))
        secrets = {"Authorization": "Bearer x", "X-Key": "y", "User-Agent": "mine"}
        fetch(Fetcher(allow=(web.at, other.at)), web.url(), headers=secrets)
        assert ["Bearer x" in head.decode() for head in web.seen] == [True, True, False]
        assert web.seen[0].count(b"User-Agent: mine") == web.seen[0].count(b"User-Agent") == 1
        assert b"Bearer" not in other.seen[0] and b"X-Key" not in other.seen[0] and b"mine" not in other.seen[0]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "x"},
        {"X": "a\r\nY: b"},
        {"X\r\n": "a"},
        {"X Y": "a"},
        {"": "a"},
        {"X": "\x00"},
        {"Transfer-Encoding": "chunked"},
        {"Proxy-Authorization": "x"},
        {"X": "snow\u2603"},
        {"X": "\ud800"},
    ],
)
def test_a_header_that_would_not_stay_in_its_place_is_refused(headers: dict[str, str]) -> None:
    with Outside({"/": ok()}) as web, pytest.raises(BadRequest):
        fetch(Fetcher(allow=(web.at,)), web.url(), headers=headers)
    assert web.seen == []


@given(st.text(max_size=60))
def test_no_location_whatever_leads_anywhere_but_through_the_guard(location: str) -> None:
    fetcher = Fetcher(resolve=resolver(), connect=never_connect, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))

    head = Head(version=1, status=302, fields=Fields(items=(("location", location.encode().decode("latin-1")),)))
    try:
        following = fetcher._follow(read_url("https://a.test/x/y"), head)
    except SourceFault:
        return
    assert following == fetcher.guard.read(following.url) and following.scheme == "https"


# ------------------------------------------------------------------------------------------------------ what is answered


@pytest.mark.parametrize(
    ("script", "fault", "public"),
    [
        (ok(status="404 Not Found"), NotFound, "The source does not exist."),
        (ok(status="410 Gone"), NotFound, "The source does not exist."),
        (ok(status="403 Forbidden"), SourceFault, "The source answered with status 403."),
        (ok(status="500 x"), SourceFault, "The source answered with status 500."),
        (answer("204 No Content"), SourceFault, "The source answered with status 204."),
        (ok(status="206 Partial Content"), SourceFault, "The source answered with status 206."),
        (answer("304 Not Modified"), SourceFault, "The source answered with status 304."),
        (answer("302 Found"), SourceFault, "The source could not be fetched."),
    ],
)
def test_a_status_that_is_no_file_is_a_fault_of_the_source(
    script: bytes, fault: type[SecureDeliveryError], public: str
) -> None:
    with Outside({"/": script}) as web, pytest.raises(fault) as caught:
        fetch(Fetcher(allow=(web.at,)), web.url())
    assert caught.value.public == public
    assert "127.0.0.1" not in caught.value.public


# ---------------------------------------------------------------------------------------------------------------- sizes


def test_exactly_the_limit_passes_and_one_byte_more_does_not() -> None:
    body = bytes(range(256)) * 1000
    framings = {
        "/length": ok(body),
        "/end": answer("200 OK", body=body),
        "/chunks": answer("200 OK", "Transfer-Encoding: chunked", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)),
        "/gzip": ok(gzip.compress(body), "Content-Encoding: gzip"),
    }
    with Outside(framings) as web:
        fetcher = Fetcher(allow=(web.at,))
        for path in framings:
            assert fetch(fetcher, web.url(path), max_bytes=len(body))[1] == body
            into = io.BytesIO()
            with pytest.raises(TooLarge):
                fetcher.fetch(web.url(path), into=into, max_bytes=len(body) - 1)
            assert len(into.getvalue()) < len(body)


def test_a_body_announced_as_too_large_is_not_read_at_all() -> None:
    into = io.BytesIO()
    with Outside({"/": answer("200 OK", "Content-Length: 1001", body=b"x")}) as web, pytest.raises(TooLarge):
        Fetcher(allow=(web.at,)).fetch(web.url(), into=into, max_bytes=1000)
    assert into.getvalue() == b""


def test_a_small_body_that_inflates_without_end_is_cut_at_the_limit() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    into = io.BytesIO()
    with Outside({"/": ok(bomb, "Content-Encoding: gzip")}) as web, pytest.raises(TooLarge):
        Fetcher(allow=(web.at,)).fetch(web.url(), into=into, max_bytes=100_000)
    assert len(bomb) < 100_000 and len(into.getvalue()) <= 100_000


def test_compressed_bytes_that_become_no_content_are_bounded_too() -> None:
    """A gzip stream may go on for ever in empty members."""
    empty = gzip.compress(b"") * 10_000
    with Outside({"/": answer("200 OK", "Content-Encoding: gzip", body=empty)}) as web, pytest.raises(TooLarge):
        fetch(Fetcher(allow=(web.at,)), web.url(), max_bytes=1000)


def test_a_body_that_inflates_a_thousandfold_arrives_whole() -> None:
    for compress, coding in ((gzip.compress, "gzip"), (zlib.compress, "deflate")):
        with Outside({"/": ok(compress(bytes(20_000_000)), f"Content-Encoding: {coding}")}) as web:
            assert fetch(Fetcher(allow=(web.at,)), web.url(), max_bytes=20_000_000)[1] == bytes(20_000_000)


def test_a_hundred_header_fields_are_read() -> None:
    with Outside({"/": ok(b"hello", *(f"X-{n}: y" for n in range(99)))}) as web:
        assert fetch(Fetcher(allow=(web.at,)), web.url())[1] == b"hello"


# ----------------------------------------------------------------------------------------------------------------- time


def drip(pieces: Iterable[bytes], web: Callable[[], Outside]) -> Callable[[socket.socket], None]:
    """Send pieces, then hold the connection open until the test is over."""

    def script(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)
        web().released.wait(30)

    return script


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        ([], "stopped"),
        ([b"HTTP/1.1 200 OK\r\n"], "stopped"),
        ([answer("200 OK", "Content-Length: 10", body=b"x")], "stopped"),
        ([answer("200 OK", "Transfer-Encoding: chunked", body=b"1\r\nx\r\n")], "stopped"),
        ([answer("200 OK", body=b"x")], "stopped"),
    ],
    ids=["no byte", "half a head", "half a body", "half the chunks", "no end"],
)
def test_a_source_that_stops_is_given_up(pieces: list[bytes], says: str) -> None:
    with Outside({}) as web:
        web.scripts["/"] = drip(pieces, lambda: web)
        with pytest.raises(SourceFault, match=says) as caught:
            fetch(Fetcher(allow=(web.at,), patience=SOON), web.url())
        assert caught.value.public == "The source is too slow."


class Ticking:
    """A clock that moves on by itself with every look at it."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_a_source_that_drips_is_given_up_although_it_never_stops() -> None:
    """Each piece comes at once, by a clock that says a second went by: fewer than 1,000 bytes a second are too few."""
    pieces = answer("200 OK", "Transfer-Encoding: chunked") + b"1\r\nx\r\n" * 100_000

    def one_by_one(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        for at in range(0, len(pieces), 64):
            connection.sendall(pieces[at : at + 64])

    with Outside({"/": one_by_one}) as web:
        patient = Patience(whole=1e9, rate=1e6, grace=5.0)
        fetcher = Fetcher(allow=(web.at,), patience=patient, clock=Ticking(1.0))
        with pytest.raises(SourceFault, match="too slowly"):
            fetch(fetcher, web.url())


def test_the_whole_fetch_has_an_end_however_fast_it_is() -> None:
    """Redirects included: the time that one hop took is missing for the next."""
    with Outside({"/": moved("/a"), "/a": moved("/b"), "/b": ok(b"x" * 1000)}) as web:
        allow = (web.at,)
        counted = Ticking(1.0)
        fetch(Fetcher(allow=allow, patience=Patience(whole=1e6, grace=1e6), clock=counted), web.url())
        with pytest.raises(SourceFault):
            fetch(Fetcher(allow=allow, patience=Patience(whole=counted.now - 5, grace=1e6), clock=Ticking(1.0)), web.url())


def test_a_name_server_that_does_not_answer_is_given_up() -> None:
    over = threading.Event()
    try:
        fetcher = Fetcher(patience=SOON, resolve=lambda *_: over.wait(30) and [], connect=never_connect)
        with pytest.raises(SourceFault, match="name server"):
            fetch(fetcher, "http://a.test/")
    finally:
        over.set()


def test_a_host_that_does_not_shake_hands_is_given_up() -> None:
    """A server that takes the connection and never says a word of TLS."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        fetcher = Fetcher(allow=(f"127.0.0.1:{port}",), patience=SOON)
        with pytest.raises(SourceFault, match="no TLS"):
            fetch(fetcher, f"https://127.0.0.1:{port}/")


def test_no_fault_tells_the_query_of_a_url_which_may_hold_a_credential() -> None:
    scripts = {
        "/?signature=s3cret": ok(status="500 x"),
        "/gone?signature=s3cret": ok(status="404 x"),
        "/large?signature=s3cret": ok(bytes(2000)),
        "/cut?signature=s3cret": answer("200 OK", "Content-Length: 5"),
        "/away?signature=s3cret": moved("http://127.0.0.1:1/?signature=s3cret"),
        "/round?signature=s3cret": moved("/round?signature=s3cret"),
    }
    with Outside(scripts) as web:
        fetcher = Fetcher(allow=(web.at,))
        for path in scripts:
            with pytest.raises(SecureDeliveryError) as caught:
                fetch(fetcher, web.url(path), max_bytes=1000)
            assert "s3cret" not in str(caught.value) + caught.value.public


def test_a_host_that_is_not_there_is_a_fault_without_details_for_strangers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(SourceFault, match=r"127\.0\.0\.1") as caught:
        fetch(Fetcher(allow=(f"127.0.0.1:{port}",)), f"http://127.0.0.1:{port}/")
    assert caught.value.public == "The source could not be fetched."
    assert (caught.value.status, caught.value.code) == (422, "source_unavailable")


# ------------------------------------------------------------------------------------------------- names and ages


@pytest.mark.parametrize(
    ("fields", "path", "filename"),
    [
        ((), "/a/b%20c.png?x=/y", "b c.png"),
        ((), "/", "file"),
        ((), "/a/", "file"),
        ((), "/..%2f..%2fetc%2fpasswd", "passwd"),
        ((), "/%ff.png", "\ufffd.png"),
        (("Content-Disposition: attachment; filename=x.png",), "/y", "x.png"),
        (('Content-Disposition: attachment; filename="a \\"b\\".png"; x=y',), "/y", "a _b_.png"),
        (('Content-Disposition: inline; FileName = "../../x.png"',), "/y", "x.png"),
        (("Content-Disposition: attachment; filename=x.png; filename*=UTF-8''%C3%BC.png",), "/y", "ü.png"),
        (('Content-Disposition: attachment; filename="\xc3\xbc.png"',), "/y", "ü.png"),
        (('Content-Disposition: attachment; filename="\xfc.png"',), "/y", "ü.png"),
        (("Content-Disposition: attachment",), "/y", "y"),
        (('Content-Disposition: attachment; filename="' + "\\" * 9000,), "/y", "y"),
    ],
)
def test_a_file_is_called_what_the_sender_calls_it_made_safe(fields: tuple[str, ...], path: str, filename: str) -> None:
    with Outside({path: ok(b"hello", *fields)}) as web:
        assert fetch(Fetcher(allow=(web.at,)), web.url(path))[0].filename == filename


@pytest.mark.parametrize(
    ("fields", "max_age"),
    [
        ((), None),
        (("Cache-Control: public",), None),
        (("Cache-Control: max-age=10",), 10),
        (('Cache-Control: s-maxage="20", MAX-AGE=10',), 20),
        (("Cache-Control: max-age=10", "Age: 4"), 6),
        (("Cache-Control: max-age=10", "Age: 40"), 0),
        (("Cache-Control: max-age=10", "Cache-Control: no-store"), 0),
        (("Cache-Control: private, max-age=10",), 0),
        (("Cache-Control: max-age=x",), 0),
        (("Cache-Control: max-age=10", "Vary: *"), 0),
    ],
)
def test_how_long_a_file_may_be_kept_is_what_the_sender_says(fields: tuple[str, ...], max_age: int | None) -> None:
    with Outside({"/": ok(b"hello", *fields)}) as web:
        assert fetch(Fetcher(allow=(web.at,)), web.url())[0].max_age == max_age
