"""How storages in Azure reach their provider, what they take from the environment, what they show, and what they cost."""

from __future__ import annotations

import datetime
import io
import ipaddress
import json
import logging
import os
import socket
import ssl
import subprocess
import sys
import textwrap
import traceback
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import pytest
from azure_stage import HOST, Azurite, Stage, WayOut
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from secure_delivery.plugin import SecureDeliveryError, StorageFault, StorageRefused
from secure_delivery.plugin.tries import Patience
from secure_delivery_azure import AzureProvider, options
from secure_delivery_azure.storage import AzureStorage

Connect = Callable[..., AzureStorage]
HASTE = Patience(connect=5.0, read=5.0, tries=2, sleep=lambda seconds: None)
WORDS = "secret words of the provider"  # what it writes may quote anything: it is not passed on
_PEM = serialization.Encoding.PEM


def put(storage: AzureStorage, name: str, data: bytes) -> None:
    draft = storage.create(f"{storage.containers[0]}/{name}", mimetype="text/plain")
    draft.write(data)
    draft.publish()


def everything(storage: AzureStorage) -> None:
    """Each kind of request once."""
    put(storage, "small", b"small")
    put(storage, "large", bytes(9 << 20))
    with storage.open(f"{storage.containers[0]}/small") as stream:
        assert stream.read() == b"small"
    storage.remove(f"{storage.containers[0]}/large")


def signature(azurite: Azurite, container: str) -> str:
    from azure.storage.blob import generate_container_sas

    return str(
        generate_container_sas(
            azurite.account,
            container,
            account_key=azurite.key,
            permission="rcwd",
            expiry=datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1),
        )
    )


# --------------------------------------------------------------------------------------------------------- the way out


def test_every_connection_is_dialled(connect: Connect, way_out: WayOut, monkeypatch: pytest.MonkeyPatch) -> None:
    """No name is looked up by anybody but the dial, and its host exists for nobody else."""
    looked_up: list[Any] = []
    real = socket.getaddrinfo

    def look_up(host: Any, *arguments: Any, **more: Any) -> Any:
        if host != "127.0.0.1":  # the proxy's own way to the emulator
            looked_up.append(host)
        return real(host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    everything(connect())
    assert looked_up == []
    assert way_out.calls and {host for host, _, _ in way_out.calls} == {HOST}
    assert all(0 < seconds <= 5 for _, _, seconds in way_out.calls)


def test_nothing_of_the_environment_changes_the_way(
    connect: Connect, way_out: WayOut, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as canary:
        canary.settimeout(0)
        there = f"127.0.0.1:{canary.getsockname()[1]}"
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://{there}")
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://{there}")
        monkeypatch.setenv("MSI_ENDPOINT", f"http://{there}")
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", f"BlobEndpoint=http://{there}")
        netrc = tmp_path / "netrc"
        netrc.write_text(f"machine {HOST} login other password other\n")
        monkeypatch.setenv("NETRC", str(netrc))
        everything(connect())
        with pytest.raises(BlockingIOError):
            canary.accept()
    assert {host for host, _, _ in way_out.calls} == {HOST}


def test_a_dial_that_refuses_an_address_is_final(texts: dict[str, Any]) -> None:
    calls: list[str] = []

    def guarded(host: str, port: int, seconds: float) -> socket.socket:
        calls.append(host)
        raise PermissionError("10.0.0.1 is not an address to go to")

    storage = AzureProvider(HASTE).connect(options.bind(texts), guarded)
    for act in (lambda: put(storage, "a", b"data"), lambda: storage.open(f"{storage.containers[0]}/a")):
        with pytest.raises(StorageRefused, match="not permitted"):
            act()
    assert calls == [HOST] * 2


def test_a_dial_that_fails_is_a_fault(texts: dict[str, Any]) -> None:
    storage = AzureProvider(HASTE).connect(options.bind(texts), WayOut({}))
    for act in (lambda: put(storage, "a", b"data"), lambda: storage.open(f"{storage.containers[0]}/a")):
        with pytest.raises(StorageFault):
            act()


# ----------------------------------------------------------------------------------------------------------------- TLS


def certified(folder: Path, host: str) -> tuple[Path, ssl.SSLContext]:
    """An authority made up for this test, and a server's context with a certificate by it."""
    now = datetime.datetime.now(datetime.UTC)

    def sign(name: str, key: Any, issuer: str, issuer_key: Any, authority: bool) -> x509.Certificate:
        names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(issuer_key, hashes.SHA256())
        )

    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = folder / "authority.pem"
    authority.write_bytes(sign("authority", authority_key, "authority", authority_key, True).public_bytes(_PEM))
    chain, private = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(sign(host, key, "authority", authority_key, False).public_bytes(_PEM))
    private.write_bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, private)
    return authority, context


class _Accepting(BaseHTTPRequestHandler):
    """Takes whatever is put, and keeps it in `taken`."""

    taken: list[bytes]

    def do_PUT(self) -> None:
        self.taken.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(201)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Nothing is printed."""


class Secured(NamedTuple):
    port: int
    authority: Path
    taken: list[bytes]


@pytest.fixture(params=[HOST])
def secured(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Secured]:
    authority, context = certified(tmp_path, request.param)
    taken: list[bytes] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Accepting,), {"taken": taken}))
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield Secured(server.server_address[1], authority, taken)
    server.shutdown()
    server.server_close()
    thread.join()


def in_secured(port: int, texts: dict[str, Any]) -> AzureStorage:
    given = texts | {"endpoint": f"https://{HOST}:{port}", "insecure": "false"}
    return AzureProvider(HASTE).connect(options.bind(given), WayOut({HOST: port}))


def test_https_works_with_an_authority_that_is_trusted(
    secured: Secured, texts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, authority, taken = secured
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    put(in_secured(port, texts), "a", b"data")
    assert taken == [b"data"]


def test_a_certificate_that_is_not_trusted_is_refused(
    secured: Secured, texts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, authority, taken = secured
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    with pytest.raises(StorageRefused, match="certificate"):
        put(in_secured(port, texts), "a", b"data")
    assert taken == [], "nothing was said to a server that nobody vouches for"


@pytest.mark.parametrize("secured", ["elsewhere.test"], indirect=True)
def test_a_certificate_for_another_host_is_refused(
    secured: Secured, texts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, authority, taken = secured
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with pytest.raises(StorageRefused, match="certificate"):
        put(in_secured(port, texts), "a", b"data")
    assert taken == [], "nothing was said to a server that nobody vouches for"


# --------------------------------------------------------------------------------------------------------- signed URLs


def fetch(url: str, method: str = "GET") -> Any:
    """By a plain client that has nothing but the URL."""
    request = urllib.request.Request(url.replace(f"//{HOST}:", "//127.0.0.1:"), method=method)
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30)


def refused(url: str) -> int:
    with pytest.raises(urllib.error.HTTPError) as caught:
        fetch(url)
    caught.value.close()
    return caught.value.code


def test_a_signed_url_is_made_without_a_request_and_serves_what_it_says(connect: Connect, way_out: WayOut) -> None:
    storage = connect()
    put(storage, "täglich/a b+c%2F.html", b"<b>")
    before = len(way_out.calls)
    headers = {
        "Content-Type": "text/plain",
        "content-disposition": "attachment; filename=\"a b.txt\"; filename*=UTF-8''%C3%A4",
        "cache-control": "private, max-age=7",
    }
    url = storage.presigned_url(f"{storage.containers[0]}/täglich/a b+c%2F.html", seconds=60, headers=headers)  # type: ignore[attr-defined]
    assert len(way_out.calls) == before
    with fetch(url) as answer:
        assert (answer.status, answer.read()) == (200, b"<b>")
        assert {name.lower(): answer.headers[name] for name in headers} == {name.lower(): headers[name] for name in headers}
    with fetch(url, "HEAD") as answer:
        assert (answer.status, answer.headers["Content-Length"]) == (200, "3")
    allowed = parse_qs(url.partition("?")[2])
    assert (allowed["sp"], allowed["sr"]) == (["r"], ["b"])


def test_a_signed_url_that_was_tampered_with_is_refused(connect: Connect) -> None:
    storage = connect()
    for name in "ab":
        put(storage, name, b"data")
    url = storage.presigned_url(f"{storage.containers[0]}/a", seconds=60, headers={"content-type": "text/plain"})  # type: ignore[attr-defined]
    year = str(datetime.datetime.now(datetime.UTC).year)
    for old, new in (("/a?", "/b?"), ("text/plain", "text/html"), (f"se={year}", f"se={int(year) + 1}"), ("sp=r", "sp=rw")):
        changed = url.replace(old, new) if old in url else url.replace(old.replace("/", "%2F"), new.replace("/", "%2F"))
        assert changed != url, old
        assert refused(changed) == 403


def test_a_signed_url_ends_when_it_says(connect: Connect) -> None:
    url = connect().presigned_url("other/a", seconds=60, headers={})  # type: ignore[attr-defined]
    ends = datetime.datetime.fromisoformat(parse_qs(url.partition("?")[2])["se"][0])
    left = (ends - datetime.datetime.now(datetime.UTC)).total_seconds()
    assert 0 < left <= 60
    with pytest.raises(ValueError, match="one second"):
        connect().presigned_url("other/a", seconds=0, headers={})  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------------------------- secrets


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Everything that is logged by anybody, at the lowest level, with all that is attached to it."""
    text = io.StringIO()

    class Everything(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text.write(f"{record.getMessage()} {record.__dict__}\n")
            if record.exc_info:
                text.write("".join(traceback.format_exception(*record.exc_info)))

    handler = Everything(logging.DEBUG)
    levels = {name: logging.getLogger(name).level for name in ("", "azure", "urllib3")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    logging.getLogger().addHandler(handler)
    yield text
    logging.getLogger().removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def attempt(act: Callable[[], object], said: list[str]) -> None:
    try:
        act()
    except SecureDeliveryError as error:
        said.append("".join(traceback.format_exception(error)) + repr(error) + str(error) + error.public)
        assert error.public == type(error).sentence


@pytest.mark.parametrize("by_key", [True, False])
@pytest.mark.parametrize("how", [None, 400, 401, 403, 404, 409, 412, 418, 429, 500, 503, "reset", "late", "cut"])
def test_nothing_that_is_said_or_logged_holds_a_secret(
    connect: Connect, azurite: Azurite, container: str, stage: Stage, written: io.StringIO, how: Any, by_key: bool
) -> None:
    sas = signature(azurite, container)
    storage = connect() if by_key else connect(account_key=None, sas_token=sas)
    said: list[str] = []
    put(storage, "a", b"data")
    if how is not None:
        for method in ("PUT", "GET", "DELETE"):
            stage.trouble(method, "/", how, times=5)
    for act in (
        lambda: put(storage, "a", b"data"),
        lambda: put(storage, "a", bytes(9 << 20)),
        lambda: storage.open(f"{container}/a").read(),
        lambda: storage.remove(f"{container}/a"),
    ):
        attempt(act, said)
    draft = storage.create(f"{container}/a", mimetype="text/plain")
    account = storage._account
    shown = [repr(storage), repr(draft), repr(account), repr(account.options), repr(storage.advice()), repr(draft.__dict__)]
    assert "urllib3" in written.getvalue(), "the libraries did log"
    secrets = {azurite.key, *parse_qs(sas)["sig"], sas.partition("sig=")[2].partition("&")[0]}
    secrets |= {part for _, target, _ in stage.asked for part in parse_qs(target.partition("?")[2]).get("sig", ())}
    for secret in secrets:
        assert not [text for text in (*shown, *said, written.getvalue()) if secret in text], secret
    assert not [text for text in said if WORDS in text]


@pytest.mark.parametrize("name", ["account_key", "sas_token"])
def test_credentials_that_are_refused_are_not_repeated(texts: dict[str, Any], name: str) -> None:
    marker = "marked".upper()  # not as it stands in this file, whose lines a traceback shows
    with pytest.raises(ValueError, match=name) as caught:
        options.bind(texts | {name: marker})
    assert marker not in "".join(traceback.format_exception(caught.value))


# --------------------------------------------------------------------------------------------------------------- costs


def test_start_up_and_workers_do_not_load_the_client_library(texts: dict[str, Any]) -> None:
    program = """
        import json, sys
        import secure_delivery_azure as plugin
        from secure_delivery_azure import options
        texts = json.loads(sys.stdin.read())
        plugin.self_test({}), plugin.self_test(texts)
        assert list(plugin.register_storages(texts)) == ["azure"]
        storage = plugin.register_storage_providers({})["azure"].connect(options.bind(texts), None)
        storage.place(f"{storage.containers[0]}/a", mimetype="text/plain").discard()
        storage.advice()
        heavy = {"azure.core.pipeline", "azure.storage.blob", "requests", "urllib3", "cryptography"}
        assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
    """
    given = json.dumps({name: value for name, value in texts.items() if name != "containers"})
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], input=given, text=True, capture_output=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr


def test_a_file_of_200_megabytes_needs_little_memory(
    azurite: Azurite, container: str, texts: dict[str, Any], stage: Stage
) -> None:
    """Measured in a process of its own, beyond what it needs for a small file."""
    program = """
        import json, resource, socket, sys
        from secure_delivery_azure import AzureProvider, options

        port = int(sys.argv[1])
        def dial(host, wanted, seconds):
            return socket.create_connection(("127.0.0.1", port), seconds)
        storage = AzureProvider().connect(options.bind(json.loads(sys.stdin.read())), dial)
        def put(name, pieces):
            draft = storage.create(f"{storage.containers[0]}/{name}", mimetype="text/plain")
            for number in range(pieces):
                draft.write(bytes([number]) * (1 << 20))
            draft.publish()
        put("small", 1)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        put("large", 200)
        with storage.open(f"{storage.containers[0]}/large") as stream:
            size = 0
            while piece := stream.read(1 << 20):
                size += len(piece)
        assert size == 200 << 20
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(stage.port)],
        input=json.dumps(texts),
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
        env={**os.environ, "MALLOC_ARENA_MAX": "2"},
    )
    assert run.returncode == 0, run.stderr
    grown = int(run.stdout) * 1024
    assert grown <= 64 << 20, f"{grown >> 20} MiB more"
    with azurite.service() as service:
        assert service.get_blob_client(container, "large").get_blob_properties().size == 200 << 20
