"""Who asks, by which scheme and under which name; what may be answered in the clear; behind a real proxy too."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from live import START, Reply, Server, free_port, picture, running
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from secure_delivery.engine.settings import Settings
from secure_delivery.gate.errors import ConfigurationError
from secure_delivery.server.transport import Peer, hsts, peer_of, plain_http, refusal

PROXY = "10.0.0.2"
LISTED = Settings.read({"proxies": ["10.0.0.0/8", "2001:db8:aaaa::/48", "127.0.0.1"]})
RFC = Settings.read({"proxies": ["10.0.0.0/8", "127.0.0.1"], "forwarded": "forwarded"})
NOBODY = Settings.read({})
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

Headers = list[tuple[str, str]]


def scope(client: str | None, headers: Headers, scheme: str = "http", host: str = "files.example") -> dict[str, Any]:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in [("Host", host), *headers]]
    return {"type": "http", "scheme": scheme, "client": None if client is None else (client, 4711), "headers": raw}


def seen(peer: Peer) -> tuple[str, str, str]:
    return peer.address, peer.scheme, peer.host


def x(nodes: str, scheme: str | None = None, host: str | None = None) -> Headers:
    told = [("X-Forwarded-For", nodes), ("X-Forwarded-Proto", scheme), ("X-Forwarded-Host", host)]
    return [(name, value) for name, value in told if value is not None]


@pytest.mark.parametrize(
    ("client", "headers", "who"),
    [
        (PROXY, x("203.0.113.9", "https", "a.example"), ("203.0.113.9", "https", "a.example")),
        (PROXY, x("203.0.113.9", "https"), ("203.0.113.9", "https", "files.example")),
        (PROXY, x("203.0.113.9"), ("203.0.113.9", "http", "files.example")),
        (PROXY, x("198.51.100.7, 203.0.113.9", "https"), ("203.0.113.9", "https", "files.example")),
        (PROXY, x("203.0.113.9, 10.1.1.1", "https"), ("203.0.113.9", "https", "files.example")),
        (PROXY, x("127.0.0.1, 203.0.113.9", "https"), ("203.0.113.9", "https", "files.example")),
        (PROXY, x("garbage, 203.0.113.9", "https"), ("203.0.113.9", "https", "files.example")),
        (PROXY, x("10.9.9.9, 10.1.1.1", "https"), ("10.9.9.9", "https", "files.example")),
        (PROXY, x("::ffff:203.0.113.9", "https"), ("203.0.113.9", "https", "files.example")),
        (PROXY, x("2001:DB8:0:0::1", "https"), ("2001:db8::1", "https", "files.example")),
        ("::ffff:10.0.0.2", x("203.0.113.9", "https"), ("203.0.113.9", "https", "files.example")),
        ("2001:db8:aaaa::5", x("203.0.113.9", "https"), ("203.0.113.9", "https", "files.example")),
        (PROXY, x("unknown", "https"), (PROXY, "https", "files.example")),
        (PROXY, x("203.0.113.9, unknown, 10.1.1.1", "https"), ("10.1.1.1", "https", "files.example")),
        (PROXY, [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "10.1.1.1"), ("X-Forwarded-Proto", "https")],
         ("203.0.113.9", "https", "files.example")),
        (PROXY, x("203.0.113.9", "https, http"), ("203.0.113.9", "http", "files.example")),
        # What cannot be read: the proxy's own address, over plain HTTP.
        (PROXY, x("garbage", "https", "a.example"), (PROXY, "http", "files.example")),
        (PROXY, x("203.0.113.9, garbage", "https"), (PROXY, "http", "files.example")),
        (PROXY, x("garbage, 10.1.1.1", "https"), (PROXY, "http", "files.example")),
        (PROXY, x("", "https"), (PROXY, "http", "files.example")),
        (PROXY, x("203.0.113.9", "gopher"), (PROXY, "http", "files.example")),
        (PROXY, x("203.0.113.9", "https", "a.example, "), (PROXY, "http", "files.example")),
        # The other kind does not count, beside it or alone.
        (PROXY, [*x("203.0.113.9", "https"), ("Forwarded", "for=198.51.100.7;proto=http;host=b.example")],
         ("203.0.113.9", "https", "files.example")),
        (PROXY, [("Forwarded", "for=198.51.100.7;proto=https;host=b.example")], (PROXY, "http", "files.example")),
        # Nor does anybody who is not listed.
        ("203.0.113.1", x("127.0.0.1", "https", "a.example"), ("203.0.113.1", "http", "files.example")),
        ("::1", x("203.0.113.9", "https", "a.example"), ("::1", "http", "files.example")),
        (None, x("127.0.0.1", "https", "a.example"), ("", "http", "files.example")),
    ],
)  # fmt: skip
def test_who_asks_is_the_first_from_the_right_that_is_no_proxy_of_ours(
    client: str | None, headers: Headers, who: tuple[str, str, str]
) -> None:
    assert seen(peer_of(scope(client, headers), LISTED)) == who


@pytest.mark.parametrize(
    ("header", "who"),
    [
        ("for=203.0.113.9;proto=https;host=a.example", ("203.0.113.9", "https", "a.example")),
        ('for="[2001:db8::1]:4711";proto=https;by=_us', ("2001:db8::1", "https", "files.example")),
        ('for="[::ffff:203.0.113.9]";proto=https', ("203.0.113.9", "https", "files.example")),
        ("for=198.51.100.7;proto=https, for=203.0.113.9;proto=http", ("203.0.113.9", "http", "files.example")),
        (
            "for=203.0.113.9;proto=https;host=a.example, for=10.1.1.1;proto=http;host=inner",
            ("203.0.113.9", "https", "a.example"),
        ),
        ("for=203.0.113.9, for=10.1.1.1;proto=https", ("203.0.113.9", "http", "files.example")),
        ("for=_hidden;proto=https", (PROXY, "https", "files.example")),
        ("for=unknown;proto=https;host=a.example", (PROXY, "https", "a.example")),
        ("proto=https", (PROXY, "https", "files.example")),
        ('for="203.0.113.9;proto=https', (PROXY, "http", "files.example")),
        ("for=203.0.113.9;for=203.0.113.8;proto=https", (PROXY, "http", "files.example")),
        ("for=[::1];proto=https", (PROXY, "http", "files.example")),
        ("for=203.0.113.9;proto=https;host=a/b", (PROXY, "http", "files.example")),
        ("", (PROXY, "http", "files.example")),
    ],
)
def test_forwarded_headers_tell_the_same_in_the_words_of_rfc_7239(header: str, who: tuple[str, str, str]) -> None:
    other = x("198.51.100.1", "https", "wrong.example")
    assert seen(peer_of(scope(PROXY, [("Forwarded", header), *other]), RFC)) == who
    assert seen(peer_of(scope("203.0.113.1", [("Forwarded", header)]), RFC)) == ("203.0.113.1", "http", "files.example")


@pytest.mark.parametrize(
    ("client", "headers", "settings", "near"),
    [
        ("127.0.0.1", [], NOBODY, True),
        ("127.8.8.8", [], NOBODY, True),
        ("::1", [], NOBODY, True),
        ("::ffff:127.0.0.1", [], NOBODY, True),
        ("203.0.113.9", [], NOBODY, False),
        ("testclient", [], NOBODY, False),
        (None, [], NOBODY, False),
        ("127.0.0.1", [], LISTED, True),
        ("127.0.0.1", x("127.0.0.1", "http"), LISTED, True),  # a browser of this machine, by a proxy of this machine
        ("127.0.0.1", x("203.0.113.9", "http"), LISTED, False),
        ("127.0.0.1", x("127.0.0.1, 203.0.113.9", "http"), LISTED, False),
        ("127.0.0.1", x("127.0.0.1, 10.1.1.1", "http"), LISTED, False),  # the loopback of another machine
        (PROXY, x("127.0.0.1", "http"), LISTED, False),
        ("127.0.0.1", x("rubbish", "http"), LISTED, False),
        ("127.0.0.1", x("unknown", "http"), LISTED, False),
        ("127.0.0.1", [("Forwarded", "")], RFC, False),
        ("127.0.0.1", [("Forwarded", "for=127.0.0.1")], LISTED, False),  # the kind that does not count
        ("127.0.0.1", [("Via", "1.1 somebody")], NOBODY, False),  # passed on by somebody who is not listed
        ("127.0.0.1", x("127.0.0.1"), NOBODY, False),
    ],
)
def test_near_is_only_what_comes_from_this_machine_all_the_way(
    client: str | None, headers: Headers, settings: Settings, near: bool
) -> None:
    peer = peer_of(scope(client, headers), settings)
    assert peer.loopback is near
    assert plain_http(peer) is near
    assert (refusal(peer, "GET", api=True, location="") is None) is near


@pytest.mark.parametrize(
    "headers", [x("203.0.113.9"), x("203.0.113.9", "http"), x("rubbish", "https"), x("203.0.113.9", "wss")]
)
def test_tls_between_the_proxy_and_us_says_nothing_of_the_client(headers: Headers) -> None:
    peer = peer_of(scope(PROXY, headers, scheme="https"), LISTED)
    assert peer.scheme == "http" and refusal(peer, "POST", api=True, location="") is not None
    assert peer_of(scope(PROXY, [], scheme="https"), LISTED).scheme == "https"


def test_a_listed_proxy_is_answered_for_itself_and_not_for_others() -> None:
    assert plain_http(peer_of(scope(PROXY, []), LISTED))  # a look at whether we are there
    for headers in (x("203.0.113.9", "http"), x("203.0.113.9"), x("unknown"), [("Via", "1.1 us")]):
        assert not plain_http(peer_of(scope(PROXY, headers), LISTED))
    assert refusal(peer_of(scope(PROXY, x("203.0.113.9", "https")), LISTED), "POST", api=True, location="") is None


def test_pages_go_on_to_https_and_calls_are_refused() -> None:
    peer = peer_of(scope("203.0.113.9", [], host="Portal.Example:8080"), NOBODY)
    for method in ("GET", "HEAD"):
        for location in ("/files/ä?a=b", "https://portal.example/files/ä?a=b"):
            moved = refusal(peer, method, api=False, location=location)
            assert moved is not None
            assert (moved.status_code, moved.headers["location"]) == (308, "https://portal.example/files/%C3%A4?a=b")
    for method, api in (("POST", False), ("PUT", False), ("GET", True), ("DELETE", True), ("get", False)):
        refused = refusal(peer, method, api=api, location="/x")
        assert refused is not None
        assert (refused.status_code, json.loads(refused.body)["error"]["code"]) == (403, "https_required")
        assert "location" not in refused.headers
    for bad in ("http://portal.example/", "", "javascript:1"):
        refused = refusal(peer, "GET", api=False, location=bad)
        assert refused is not None and refused.status_code == 403
    nameless = refusal(peer_of(scope("203.0.113.9", [], host="a b"), NOBODY), "GET", api=False, location="/x")
    assert nameless is not None and nameless.status_code == 403
    for evil in ("/\r\nset-cookie: a=b", "//other.example/", "/\\other.example"):
        moved = refusal(peer, "GET", api=False, location=evil)
        assert moved is not None and moved.headers["location"].startswith("https://portal.example/")
        assert not {"\r", "\n"} & set(moved.headers["location"]) and "set-cookie" not in moved.headers


def test_browsers_are_told_to_stay_with_https_where_it_is_spoken() -> None:
    told = {"strict-transport-security": "max-age=31536000"}
    assert hsts(peer_of(scope("203.0.113.9", [], scheme="https"), NOBODY)) == told
    assert hsts(peer_of(scope(PROXY, x("203.0.113.9", "https")), LISTED)) == told
    assert hsts(peer_of(scope("203.0.113.9", x("203.0.113.9", "https")), LISTED)) == {}
    assert hsts(peer_of(scope("203.0.113.9", []), NOBODY)) == {}
    for host in ("localhost:8443", "portal.localhost", "127.0.0.1", "[::1]:8443", "a b"):
        assert hsts(peer_of(scope("127.0.0.1", [], scheme="https", host=host), NOBODY)) == {}


@pytest.mark.parametrize(
    ("host", "scheme", "origin"),
    [
        ("Files.Example.", "http", "http://files.example"),
        ("files.example:80", "http", "http://files.example"),
        ("files.example:443", "https", "https://files.example"),
        ("files.example:80", "https", "https://files.example:80"),
        ("[::1]:8000", "http", "http://[::1]:8000"),
        ("bücher.example", "http", "http://xn--bcher-kva.example"),
        ("files.example:0x50", "http", "http://"),
        ("user@files.example", "http", "http://"),
    ],
)
def test_the_host_is_read_as_browsers_write_it(host: str, scheme: str, origin: str) -> None:
    peer = peer_of(scope("203.0.113.9", [], scheme=scheme, host=host), NOBODY)
    assert peer.origin == origin


def test_two_host_headers_are_none() -> None:
    peer = peer_of(scope("203.0.113.9", [("Host", "files.example")]), NOBODY)
    assert (peer.host, peer.port) == ("", None)


NAMES = st.sampled_from(["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "Via", "X-Real-IP"])
PARTS = st.sampled_from(
    (
        *(
            "127.0.0.1",
            "::1",
            "[::1]",
            "10.0.0.3",
            "203.0.113.9",
            "unknown",
            "_x",
            "https",
            "http",
            "portal.localhost",
            "rubbish",
        ),
        *(", ", ",", ";", "for=", "proto=", "host=", '"', "\\", " ", "\xff", "a.example:80"),
    )
)
ANY = st.lists(st.tuples(NAMES, st.lists(PARTS, max_size=6).map("".join)), max_size=5)


@given(headers=ANY, client=st.sampled_from(["203.0.113.1", "::1", "127.0.0.1", "fe80::1%eth0", "nonsense"]))
def test_nobody_who_is_not_listed_changes_who_he_is(headers: Headers, client: str) -> None:
    settings = Settings.read({"proxies": ["10.0.0.0/8"]})
    alone, told = peer_of(scope(client, []), settings), peer_of(scope(client, headers), settings)
    assert (seen(told), told.port) == (seen(alone), alone.port)
    assert told.loopback <= alone.loopback and told.trusted_proxy is False


@given(headers=ANY, kind=st.sampled_from(["x-forwarded", "forwarded"]), client=st.sampled_from([PROXY, "127.0.0.1"]))
def test_what_a_client_says_through_a_proxy_that_appends_never_counts(headers: Headers, kind: str, client: str) -> None:
    """The proxy adds who asked, on a line of its own or behind a comma: that is who asks, or the request is refused."""
    settings = replace(LISTED, forwarded=kind)
    added = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http", "Forwarded": "for=203.0.113.9;proto=http"}
    for joined in (False, True):
        sent = list(headers)
        for name, value in added.items():
            places = [place for place, (other, _) in enumerate(sent) if other == name]
            if joined and places:
                sent[places[-1]] = (name, f"{sent[places[-1]][1]}, {value}")
            else:
                sent.append((name, value))
        peer = peer_of(scope(client, sent), settings)
        assert peer.address in ("203.0.113.9", client)
        assert not peer.loopback and not plain_http(peer) and peer.scheme == "http"
        assert refusal(peer, "POST", api=True, location="") is not None


# ------------------------------------------------------------------------------------------------------ the settings


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"proxies": ["proxy.example"]}, "no address and no network"),
        ({"proxies": ["10.0.0.1/8"]}, "no address and no network"),
        ({"proxies": ["*"]}, "no address and no network"),
        ({"proxies": ["0.0.0.0/0"]}, "everybody"),
        ({"proxies": ["::/0"]}, "everybody"),
        ({"proxies": ["::ffff:0:0/96"]}, "everybody"),
        ({"proxies": "10.0.0.1, x"}, "no address and no network"),
        ({"proxies": 5}, "a list"),
        ({"forwarded": "both"}, "x-forwarded or forwarded"),
        ({"forwarded": 5}, "x-forwarded or forwarded"),
        ({"portal_host": "portal.example:8000"}, "without a port"),
        ({"portal_host": "https://portal.example"}, "a host name"),
        ({"portal_host": "a b"}, "a host name"),
        ({"portal_url": "portal.example"}, "https://"),
        ({"portal_url": "http://portal.example"}, "https:// is wanted"),
        ({"portal_url": "https://portal.example/under"}, "nothing behind it"),
        ({"portal_url": "https://..example"}, "https://"),
        ({"public_url": "https://files.example", "portal_url": "https://Files.example:8443"}, "portal_url: files.example"),
        ({"public_url": "https://portal.example", "portal_host": "portal.EXAMPLE"}, "portal_host: portal.example"),
        ({"public_url": "http://portal.localhost:8000"}, "portal_host: portal.localhost"),
    ],
)
def test_settings_that_cannot_be_stop_the_start(values: dict[str, Any], says: str) -> None:
    """Promise 54 as well: what strangers uploaded and the portal are never of one host."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.read(values)
    assert says in str(caught.value)
    assert next(iter(values)) in str(caught.value) or "public_url" in str(caught.value)


def test_the_portal_can_be_switched_off_and_two_places_may_set_what_belongs_together(tmp_path: Path) -> None:
    assert Settings.read({"public_url": "https://portal.localhost", "portal_host": ""}).portal_name == ""
    assert Settings.read({"portal_url": "https://Portal.example:8443/"}).portal_name == "portal.example"
    assert Settings.read({}).portal_name == "portal.localhost"
    assert Settings.read({"proxies": "::ffff:10.0.0.0/104, fd00::/8"}).proxies == ("10.0.0.0/8", "fd00::/8")
    file = tmp_path / "settings.toml"
    file.write_text('public_url = "https://portal.localhost"\n')
    with pytest.raises(ConfigurationError, match="portal_host"):
        Settings.load(file, environ={})
    assert Settings.load(file, environ={"SECURE_DELIVERY_PORTAL_HOST": "portal.example"}).portal_name == "portal.example"


# ------------------------------------------------------------------------------------------------- over real sockets


class Thread(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        return


def guarded(settings: Settings) -> Starlette:
    """An app that answers nothing before the transport was judged, as the portal does."""

    async def answer(request: Request) -> Response:
        peer = peer_of(request.scope, settings)
        refused = refusal(peer, request.method, api=request.url.path.startswith("/api/"), location=request.url.path)
        return refused or JSONResponse({"address": peer.address, "origin": peer.origin}, headers=hsts(peer))

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])


@contextlib.contextmanager
def serving(settings: Settings, server: Server) -> Iterator[Server]:
    port = free_port()
    config = uvicorn.Config(guarded(settings), port=port, log_level="critical", lifespan="off", proxy_headers=False)
    running = Thread(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        assert thread.is_alive()
    try:
        yield replace(server, port=port, process=None)
    finally:
        running.should_exit = True
        thread.join()


@contextlib.contextmanager
def nginx(folder: Path, behind: Server, lines: str) -> Iterator[Server]:
    """A real nginx before a server: what it says of clients is in `lines`."""
    if NGINX is None:
        if os.environ.get("CI") == "true":
            pytest.fail("nginx is not installed")
        pytest.skip("nginx is not installed")
    port = free_port()
    temporary = "".join(f"{kind}_temp_path {folder}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"daemon off; {user} worker_processes 1; pid {folder}/nginx.pid; events {{ worker_connections 64; }}\n"
        f"http {{ access_log off; {temporary}\nserver {{ listen 127.0.0.1:{port};\n"
        f"location / {{ proxy_pass http://127.0.0.1:{behind.port};\n{lines}\n}} }} }}\n"
    )
    log = folder / "nginx.log"
    command = [NGINX, "-p", str(folder), "-e", str(log), "-c", str(folder / "nginx.conf")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    front = replace(behind, port=port, process=None)
    try:
        deadline = time.monotonic() + START
        while True:
            with contextlib.suppress(OSError):
                front.connect(1).close()
                break
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        yield front
    finally:
        process.terminate()
        process.wait(15)


def documented(scheme: str, client: str = '"203.0.113.9"') -> str:
    """The lines of docs/server.md by which nginx says who asks; `client` stands for the address of one elsewhere, which no test
    machine has, and `scheme` for a certificate."""
    page = (Path(__file__).parents[2] / "docs" / "server.md").read_text("utf-8")
    found = re.search(r"<!-- file: proxy.conf -->\n```\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    lines = "\n".join(line for line in found[1].splitlines() if line.strip().startswith("proxy_set_header"))
    assert lines.count("$remote_addr") == lines.count("$scheme") == 1
    return lines.replace("$remote_addr", client).replace("$scheme", scheme)


#: As `proxy_add_x_forwarded_for` has it: what the client said first, then the client.
_APPENDED = '"$http_x_forwarded_for, 203.0.113.9"'


def forged() -> list[dict[str, str]]:
    return [
        {},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-Proto": "https"},
        {"X-Forwarded-Host": "evil.example"},
        {"Forwarded": "for=127.0.0.1;proto=https;host=evil.example"},
        {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"},
    ]


@pytest.mark.parametrize("client", ['"203.0.113.9"', _APPENDED], ids=["overwritten", "appended"])
def test_behind_nginx_the_client_is_seen_and_cannot_say_who_he_is(tmp_path: Path, server: Server, client: str) -> None:
    settings = Settings.read({"proxies": ["127.0.0.1"]})
    (tmp_path / "tls").mkdir()
    (tmp_path / "plain").mkdir()
    with (
        serving(settings, server) as behind,
        nginx(tmp_path / "tls", behind, documented("https", client)) as tls,
        nginx(tmp_path / "plain", behind, documented("http", client)) as clear,
    ):
        for headers in forged():
            asked = {"Host": "portal.example", **headers}
            reply = tls.get("/page", asked)
            assert (reply.status, reply.json()) == (200, {"address": "203.0.113.9", "origin": "https://portal.example"}), (
                headers
            )
            assert reply.headers["strict-transport-security"].startswith("max-age=")
            assert tls.post("/api/x", b"", asked).status == 200
            moved = clear.get("/page", asked)
            assert (moved.status, moved.headers.get("location")) == (308, "https://portal.example/page"), headers
            for refused in (clear.get("/api/x", asked), clear.post("/page", b"", asked)):
                assert (refused.status, refused.code) == (403, "https_required"), headers
        assert behind.get("/page").status == 200  # this machine itself


def test_behind_nginx_that_is_not_listed_nothing_is_answered_in_the_clear(tmp_path: Path, server: Server) -> None:
    with serving(NOBODY, server) as behind, nginx(tmp_path, behind, documented("https")) as front:
        assert front.get("/page", {"Host": "portal.example"}).status == 308
        assert front.post("/api/x", b"", {"Host": "portal.example"}).code == "https_required"
        assert behind.get("/page").json()["address"] == "127.0.0.1"


def test_urls_of_stored_files_name_the_host_that_the_proxy_was_asked_for(tmp_path: Path, server: Server) -> None:
    """And a URL that was handed out is known as one of our own when it comes back as a source."""

    def stored(asked: Server, headers: dict[str, str]) -> str:
        application = asked.engine.records.create_application("test")[0]
        made = asked.post(f"/api/store/S3?key={application.api_key}", picture(), {"Content-Type": "image/jpeg", **headers})
        assert made.status == 200, made.body
        url: str = made.json()["url"]
        back: Reply = asked.get(f"/{application.api_key}/resize=width:10/{url}", headers)
        if url.startswith("https://"):
            assert (back.status, back.headers["content-type"]) == (200, "image/jpeg")
        return url.rpartition("/")[0]

    told = {"Host": "inner.example", **dict(x("203.0.113.9", "https", "files.example"))}
    with running(tmp_path, settings={"proxies": "127.0.0.1"}) as listed:
        assert stored(listed, told) == "https://files.example"
        assert stored(listed, {**told, "X-Forwarded-Host": "files.example:8443"}) == "https://files.example:8443"
        assert stored(listed, {"Host": "inner.example"}) == "http://inner.example"
        assert stored(listed, {**told, "X-Forwarded-Proto": "x"}) == "http://inner.example"
        assert listed.get("/metrics").status == 200
        assert listed.get("/metrics", dict(x("127.0.0.1", "http"))).status == 403
    assert stored(server, told) == "http://inner.example"
