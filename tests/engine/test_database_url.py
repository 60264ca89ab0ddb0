"""PostgreSQL on another machine is spoken to by TLS with a certificate for its name, or not at all."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outside import certificate

from secure_delivery.engine import build
from secure_delivery.engine.database import Database
from secure_delivery.engine.database_url import read_url
from secure_delivery.engine.settings import Settings
from secure_delivery.gate.errors import ConfigurationError

BASE = "postgresql+psycopg://me:marker-pw@"
WEAK = ("disable", "allow", "prefer", "require", "verify-ca", "VERIFY-FULL", "verify-full ")
_SSL_REQUEST = struct.pack(">II", 8, 80877103)


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGSSLMODE", "PGSSLROOTCERT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "place",
    [
        "localhost/n", "LOCALHOST:5432/n", "127.0.0.1/n", "127.8.0.1:99/n", "[::1]/n", "/n", "/n?host=/run/postgresql",
        "/n?host=@abstract", "/n?host=127.0.0.1:5&host=localhost:6", "127.0.0.1/n?hostaddr=127.0.0.1", "localhost/n?host=",
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", [*WEAK[:5], "verify-full", None])
def test_on_this_machine_every_mode_is_left_as_it_is(place: str, mode: str | None) -> None:
    url = BASE + place + ("" if mode is None else f"{'&' if '?' in place else '?'}sslmode={mode}")
    assert read_url(url).query.get("sslmode") == mode


ELSEWHERE = [
    "db.example/n", "db.example:5432/n", "192.0.2.1/n", "[2001:db8::1]/n", "0.0.0.0/n", "127.0.0.1.nip.example/n",
    "db.localhost/n", "localhost.example/n", "/n?host=db.example", "/n?host=localhost&host=db.example",
    "localhost,db.example/n", "db.example/n?hostaddr=127.0.0.1", "/n?hostaddr=192.0.2.1", "localhost/n?service=far",
    "localhost/n?hostaddr=192.0.2.1", "localhost/n?host=db.example", "/n?host=/run/postgresql&host=192.0.2.1", "127.1/n",
]  # fmt: skip


@pytest.mark.parametrize("place", ELSEWHERE)
def test_elsewhere_the_certificate_is_looked_at_whatever_the_url_leaves_out(place: str) -> None:
    assert read_url(BASE + place).query["sslmode"] == "verify-full"
    joined = BASE + place + ("&" if "?" in place else "?")
    assert read_url(f"{joined}sslmode=verify-full&sslrootcert=system").query["sslmode"] == "verify-full"
    assert "sslmode" not in read_url(BASE + place, plain=True).query
    assert read_url(f"{joined}sslmode=disable", plain=True).query["sslmode"] == "disable"


@pytest.mark.parametrize("place", ELSEWHERE)
@pytest.mark.parametrize("mode", [*WEAK, "require&sslmode=verify-full"])
def test_elsewhere_nothing_weaker_is_taken(place: str, mode: str) -> None:
    with pytest.raises(ConfigurationError, match="database") as caught:
        Database(f"{BASE}{place}{'&' if '?' in place else '?'}sslmode={mode}")
    assert "marker-pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("PGHOST", "db.example"), ("PGHOSTADDR", "192.0.2.1"), ("PGSERVICE", "far"), ("PGHOST", "/run,db.example")],
)
def test_what_libpq_finds_in_the_environment_counts(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("PGSSLMODE", "disable")
    assert read_url(f"{BASE}/n").query["sslmode"] == "verify-full"
    with pytest.raises(ConfigurationError, match="database_plain"):
        read_url(f"{BASE}/n?sslmode=prefer")


def test_the_setting_says_so_by_name_and_stops_the_start_otherwise(tmp_path: Path) -> None:
    values = {"data": str(tmp_path / "data"), "database": f"{BASE}db.invalid:1/n?sslmode=prefer"}
    with pytest.raises(ConfigurationError, match="database_plain = true") as caught:
        build(Settings.read(values))
    assert "marker-pw" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="cannot be brought up to date"):  # it went and found no such host
        build(Settings.read(values | {"database_plain": True}))


@given(
    place=st.lists(
        st.sampled_from(
            ["localhost", "127.0.0.1", "[::1]", "db.example", ",", ":5", "/n", "?", "&", "host=", "hostaddr=", "sslmode="]
        )
        | st.sampled_from(
            ["verify-full", "disable", "service=x", "@", "/run", "192.0.2.1", "%2C", "%20", "[", "sslmode=require"]
        ),
        max_size=8,
    ).map("".join)
)
def test_any_address_is_read_or_refused_without_its_password(place: str) -> None:
    try:
        parsed = read_url(BASE + place)
    except ConfigurationError as error:
        assert "marker-pw" not in str(error)
        return
    if parsed.query.get("sslmode") != "verify-full":
        _, options = parsed.get_dialect()().create_connect_args(parsed)
        for name in ("host", "hostaddr"):
            for host in options.get(name, "").split(","):
                assert host.lower() in ("", "localhost", "127.0.0.1", "::1") or host[0] in "/@", (place, options)


# ---------------------------------------------------------------------------------------------- what goes over the wire


@contextmanager
def postgres(context: ssl.SSLContext | None) -> Iterator[tuple[int, list[bytes]]]:
    """Something that speaks the beginning of PostgreSQL's protocol, with TLS or without, and what it was sent in each
    conversation once that had begun."""
    said: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(10)
                    try:
                        first = connection.recv(4096)
                        if first == _SSL_REQUEST and context is not None:
                            connection.sendall(b"S")
                            with context.wrap_socket(connection, server_side=True) as inner:
                                said.append(inner.recv(4096))
                            continue
                        while first == _SSL_REQUEST:
                            connection.sendall(b"N")
                            first = connection.recv(4096)
                        said.append(first)
                    except OSError:
                        said.append(b"")

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], said
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def told(said: list[bytes]) -> bool:
    """Whether anybody said who he is: the first thing a client says once it trusts the connection."""
    return any(b"user\0me\0" in one for one in said)


@pytest.mark.parametrize("query", ["", "&sslmode=verify-full"])
def test_a_server_without_tls_is_told_nothing(monkeypatch: pytest.MonkeyPatch, query: str) -> None:
    monkeypatch.setenv("PGSSLMODE", "disable")
    with postgres(None) as (port, said):
        with pytest.raises(ConfigurationError):
            Database(f"{BASE}db.example:{port}/n?hostaddr=127.0.0.1{query}").migrate()
        assert said and not told(said)
        with pytest.raises(ConfigurationError):
            Database(f"{BASE}db.example:{port}/n?hostaddr=127.0.0.1&sslmode=prefer", plain=True).migrate()
        assert told(said)


@pytest.mark.parametrize(
    ("names", "trusted", "reached"), [("db.example", True, True), ("other.example", True, False), ("db.example", False, False)]
)
def test_a_server_is_told_who_asks_when_its_certificate_is_for_its_name(
    tmp_path: Path, names: str, trusted: bool, reached: bool
) -> None:
    context, _ = certificate(tmp_path, names)
    (tmp_path / "another").mkdir()
    certificate(tmp_path / "another", names)
    roots = tmp_path / "outside.pem" if trusted else tmp_path / "another" / "outside.pem"
    with postgres(context) as (port, said):
        with pytest.raises(ConfigurationError):
            Database(f"{BASE}db.example:{port}/n?hostaddr=127.0.0.1&sslrootcert={roots}").migrate()
        assert said and told(said) is reached
