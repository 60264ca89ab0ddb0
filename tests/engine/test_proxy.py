"""The proxy a browser draws pages through: the same guard, one budget, one end."""

from __future__ import annotations

import http.client
import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from outside import Outside, answer, certificate, never_connect, ok, resolver

from secure_delivery.engine.outbound import OutboundGuard
from secure_delivery.engine.proxy import MAX_CONNECTIONS, GuardProxy


def session(guard: OutboundGuard, *, budget_bytes: int = 10_000_000, seconds: float = 20.0) -> GuardProxy:
    return GuardProxy(guard, budget_bytes=budget_bytes, seconds=seconds)


def say(proxy: GuardProxy, data: bytes, *, end: bool = False) -> bytes:
    """Everything that comes back when these bytes are sent, and with `end` no more to come."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as connection:
        connection.sendall(data)
        if end:
            connection.shutdown(socket.SHUT_WR)
        back = b""
        while piece := connection.recv(65536):
            back += piece
    return back


def get(proxy: GuardProxy, url: str, *fields: str, method: str = "GET", body: bytes = b"") -> bytes:
    head = "\r\n".join([f"{method} {url} HTTP/1.1", "Host: wrong.test", "Proxy-Connection: keep-alive", *fields, "", ""])
    return say(proxy, head.encode("latin-1") + body)


def status(back: bytes) -> int:
    return int(back.split(b" ", 2)[1])


# ----------------------------------------------------------------------------------------------------------- plain http


def test_a_page_comes_through_with_its_fields_and_body() -> None:
    with Outside({"/a?b": ok(b"page", "Content-Type: text/html", "Connection: keep-alive, X-Hop", "X-Hop: 1")}) as web:
        guard = OutboundGuard(allow=(web.at,), resolve=resolver(a_test="127.0.0.1"))
        with session(guard) as proxy:
            back = get(proxy, web.url("/a?b", host="a.test"), "Accept: x", "Proxy-Authorization: y", "Upgrade: websocket")
    head, _, content = back.partition(b"\r\n\r\n")
    assert content == b"page"
    assert head.split(b"\r\n") == [b"HTTP/1.1 200 -", b"Connection: close", b"content-length: 4", b"content-type: text/html"]
    assert web.seen[0].decode().split("\r\n") == [
        "GET /a?b HTTP/1.1",
        f"Host: a.test:{web.port}",
        "Connection: close",
        "accept: x",
    ], "the host is that of the URL, and nothing is left that was for the proxy"


def test_a_body_goes_out_and_chunks_come_back_as_they_are() -> None:
    with (
        Outside({"/": answer("200 OK", "Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\n\r\n")}) as web,
        session(OutboundGuard(allow=(web.at,))) as proxy,
    ):
        back = get(proxy, web.url(), "Content-Length: 5", method="POST", body=b"hello")
        assert status(get(proxy, web.url(), "Transfer-Encoding: chunked", method="POST")) == 400
    assert back.endswith(b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    assert web.bodies == [b"hello"]


def test_an_http_client_can_use_it_as_it_is() -> None:
    with Outside({"/x": ok(b"through")}) as web, session(OutboundGuard(allow=(web.at,))) as proxy:
        client = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
        client.request("GET", web.url("/x"))
        response = client.getresponse()
        assert (response.status, response.read()) == (200, b"through")
        client.close()


def test_a_second_request_on_the_same_connection_is_not_passed_on() -> None:
    """Nobody would have judged it."""
    with Outside({"/": ok(b"one"), "/two": ok(b"two")}) as web, session(OutboundGuard(allow=(web.at,))) as proxy:
        request = f"GET {web.url()} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        back = say(proxy, request + b"GET http://169.254.169.254/two HTTP/1.1\r\n\r\n")
    assert back.count(b"HTTP/1.1") == 1 and back.endswith(b"one")
    assert len(web.seen) == 1


# ------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "request_line",
    [
        "GET http://127.0.0.1/ HTTP/1.1",
        "GET http://private.test/ HTTP/1.1",
        "GET http://mixed.test/ HTTP/1.1",
        "GET http://unknown.test/ HTTP/1.1",
        "GET http://public.test:22/ HTTP/1.1",
        "GET http://user@public.test/ HTTP/1.1",
        "GET http://0x7f.1/ HTTP/1.1",
        "GET http://[::ffff:127.0.0.1]/ HTTP/1.1",
        "GET https://public.test/ HTTP/1.1",
        "GET ftp://public.test/ HTTP/1.1",
        "GET file:///etc/passwd HTTP/1.1",
        "GET / HTTP/1.1",
        "CONNECT 127.0.0.1:443 HTTP/1.1",
        "CONNECT private.test:443 HTTP/1.1",
        "CONNECT [::1]:443 HTTP/1.1",
        "CONNECT 169.254.169.254:443 HTTP/1.1",
        "CONNECT public.test:22 HTTP/1.1",
        "CONNECT public.test:80 HTTP/1.1",
        "CONNECT public.test HTTP/1.1",
        "CONNECT public.test:443/ HTTP/1.1",
        "CONNECT user@public.test:443 HTTP/1.1",
        "CONNECT 2130706433:443 HTTP/1.1",
    ],
)
def test_what_the_guard_refuses_is_forbidden_before_any_packet(request_line: str) -> None:
    names = resolver(private_test="10.0.0.1", mixed_test="8.8.8.8 10.0.0.1", public_test="8.8.8.8")
    with session(OutboundGuard(resolve=names, connect=never_connect)) as proxy:
        assert status(say(proxy, f"{request_line}\r\nHost: public.test\r\n\r\n".encode())) == 403
        assert proxy.refused == 1


def test_https_only_holds_for_pages_too() -> None:
    with session(OutboundGuard(https_only=True, resolve=resolver(a_test="8.8.8.8"), connect=never_connect)) as proxy:
        assert status(get(proxy, "http://a.test/")) == 403


def test_a_host_that_is_not_there_is_a_bad_gateway_and_a_bad_answer_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with Outside({"/": b"SSH-2.0\r\n"}) as web, session(OutboundGuard(allow=(web.at, f"127.0.0.1:{port}"))) as proxy:
        assert status(get(proxy, f"http://127.0.0.1:{port}/")) == 502
        assert status(get(proxy, web.url())) == 502


@pytest.mark.parametrize(
    "data", [b"nonsense\r\n\r\n", b"get http://a.test/ HTTP/1.1\r\n\r\n", b"GET http://a.test/ HTTP/2\r\n\r\n"]
)
def test_a_request_that_is_none_is_a_bad_request(data: bytes) -> None:
    with session(OutboundGuard(connect=never_connect)) as proxy:
        assert status(say(proxy, data)) == 400


@settings(max_examples=30)
@given(st.binary(max_size=60))
def test_no_bytes_whatever_end_the_proxy(data: bytes) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with session(OutboundGuard(connect=never_connect, resolve=resolver(), tls=tls)) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1000)
        assert status(say(proxy, b"GET / HTTP/1.1\r\n\r\n")) == 403


# -------------------------------------------------------------------------------------------------------------- tunnels


def test_https_goes_through_a_tunnel_and_the_browser_verifies_it(tmp_path: Path) -> None:
    server, client = certificate(tmp_path, "a.test")
    with Outside({"/": ok(b"safe")}, tls=server) as web:
        guard = OutboundGuard(allow=(web.at,), resolve=resolver(a_test="127.0.0.1"))
        with session(guard) as proxy:
            browser = http.client.HTTPSConnection("127.0.0.1", proxy.port, context=client, timeout=30)
            browser.set_tunnel("a.test", web.port)
            browser.request("GET", "/", headers={"Connection": "close"})
            assert browser.getresponse().read() == b"safe"
            browser.close()
            assert proxy.spent > len(b"safe")
    assert web.names == ["a.test"]


def test_a_tunnel_carries_what_was_sent_early_and_ends_when_both_sides_have() -> None:
    with Outside({"/": answer("200 OK", body=b"bye")}) as web, session(OutboundGuard(allow=(web.at,))) as proxy:
        back = say(proxy, f"CONNECT {web.at} HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n".encode(), end=True)
    assert back.startswith(b"HTTP/1.1 200 ") and back.endswith(b"bye")


# ------------------------------------------------------------------------------------------------------ budget and time


def test_all_connections_share_one_budget_and_nothing_is_allowed_after_it() -> None:
    with Outside({"/": ok(bytes(600_000))}) as web, session(OutboundGuard(allow=(web.at,)), budget_bytes=1_000_000) as proxy:
        assert len(get(proxy, web.url())) > 600_000
        assert len(get(proxy, web.url())) < 600_000
        assert proxy.spent == 1_000_000
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", proxy.port), timeout=30).close()


def test_more_connections_than_a_browser_opens_are_not_served() -> None:
    with session(OutboundGuard(connect=never_connect)) as proxy, ExitStack() as stack:
        at = ("127.0.0.1", proxy.port)
        idle = [stack.enter_context(socket.create_connection(at, timeout=30)) for _ in range(MAX_CONNECTIONS)]
        assert stack.enter_context(socket.create_connection(at, timeout=30)).recv(1) == b""
        idle[0].sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert status(idle[0].recv(1000)) == 403, "those that are open go on"


def test_a_request_that_breaks_off_is_dropped() -> None:
    with Outside({}) as web, session(OutboundGuard(allow=(web.at,))) as proxy:
        request = f"POST {web.url()} HTTP/1.1\r\nContent-Length: 10\r\n\r\nhello".encode()
        assert say(proxy, request, end=True) == b""


def test_when_the_time_is_over_every_connection_is_closed() -> None:
    with Outside({}) as web:
        web.scripts["/"] = lambda _: bool(web.released.wait(30)) and None
        with session(OutboundGuard(allow=(web.at,)), seconds=0.3) as proxy:
            back = say(proxy, f"CONNECT {web.at} HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n".encode())
        assert not web.released.is_set()
    assert back.startswith(b"HTTP/1.1 200 ") and back.count(b"HTTP/1.1") == 1


def test_leaving_closes_the_port_and_every_connection_and_thread() -> None:
    before = threading.active_count()
    with Outside({}) as web:
        web.scripts["/"] = lambda _: bool(web.released.wait(30)) and None
        with session(OutboundGuard(allow=(web.at,))) as proxy:
            idle = socket.create_connection(("127.0.0.1", proxy.port), timeout=30)
            tunnel = socket.create_connection(("127.0.0.1", proxy.port), timeout=30)
            tunnel.sendall(f"CONNECT {web.at} HTTP/1.1\r\n\r\n".encode())
            assert tunnel.recv(1000).startswith(b"HTTP/1.1 200")
        assert tunnel.recv(1000) == b""
        assert idle.recv(1000) == b""
        tunnel.close()
        idle.close()
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", proxy.port), timeout=30)
    assert threading.active_count() == before


def test_two_sessions_know_nothing_of_each_other() -> None:
    with (
        Outside({"/": ok(b"x")}) as web,
        session(OutboundGuard(allow=(web.at,))) as mine,
        session(OutboundGuard(connect=never_connect)) as other,
    ):
        assert mine.port != other.port
        assert status(get(mine, web.url())) == 200
        assert status(get(other, web.url())) == 403
        assert (mine.refused, other.refused) == (0, 1)


# -------------------------------------------------------------------------------------------------------- a real browser


@pytest.mark.browser
def test_a_real_browser_reaches_the_outside_and_nothing_inside(tmp_path: Path) -> None:
    """A page with a script and a picture of its own, and pictures from this machine under three names."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium: install one to run this test")
    with Outside({}) as inside, Outside({}) as web:
        inner = "".join(f"<img src='{inside.url(host=host)}'>" for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"))
        page = f"<p id=x></p>{inner}<img src=/own.png><script src=/own.js></script>"
        web.scripts |= {
            "/": ok(page.encode(), "Content-Type: text/html"),
            "/own.js": ok(b"document.getElementById('x').textContent = 'scripted'", "Content-Type: text/javascript"),
        }
        guard = OutboundGuard(allow=(web.at,), resolve=resolver(page_test="127.0.0.1"))
        with session(guard, seconds=60) as proxy:
            flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--dump-dom"]
            way = [f"--proxy-server=127.0.0.1:{proxy.port}", "--proxy-bypass-list=<-loopback>", f"--user-data-dir={tmp_path}"]
            shown = subprocess.run(
                [program, *flags, *way, web.url(host="page.test")], capture_output=True, timeout=90, check=True
            )
        assert b'<p id="x">scripted</p>' in shown.stdout
        assert {head.split(b" ")[1] for head in web.seen} >= {b"/", b"/own.png", b"/own.js"}
        assert inside.connections == 0
        assert proxy.refused >= 3
