"""How storages in Google Cloud Storage reach their provider, what they take from the environment, and what they cost."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from gcs_fake import FakeGcs, ServiceKey, WayOut

from secure_delivery.plugin import StorageFault, StorageRefused
from secure_delivery.plugin.tries import Patience
from secure_delivery_gcs import GcsProvider, options
from secure_delivery_gcs.storage import GcsStorage

Connect = Callable[..., GcsStorage]
HASTE = Patience(connect=5.0, read=5.0, tries=2, sleep=lambda seconds: None)


def put(storage: GcsStorage, key: str, data: bytes) -> None:
    draft = storage.create(key, mimetype="text/plain")
    draft.write(data)
    draft.publish()


def everything(storage: GcsStorage) -> None:
    """Each kind of request once."""
    put(storage, "files/small", b"small")
    put(storage, "files/large", bytes(9 << 20))
    with storage.open("files/small") as stream:
        assert stream.read() == b"small"
    storage.remove("files/large")
    given_up = storage.create("files/x", mimetype="text/plain")
    given_up.write(bytes(9 << 20))
    given_up.discard()


# --------------------------------------------------------------------------------------------------------- the way out


def test_every_connection_is_dialled(connect: Connect, way_out: WayOut, monkeypatch: pytest.MonkeyPatch) -> None:
    """No name is looked up by anybody but the dial, and its hosts exist for nobody else."""

    def looked_up(*arguments: Any, **_: Any) -> Any:
        raise AssertionError(f"a name was looked up past the dial: {arguments}")

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    monkeypatch.setattr(socket, "create_connection", looked_up)
    everything(connect())
    assert way_out.calls and {host for host, _, _ in way_out.calls} == {FakeGcs.HOST}
    assert all(0 < seconds <= 5 for _, _, seconds in way_out.calls)


def test_nothing_of_the_environment_changes_the_way(
    connect: Connect, fake: FakeGcs, way_out: WayOut, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Proxies, emulators, endpoints, other credentials, metadata servers: what variables name is not used."""
    with socket.create_server(("127.0.0.1", 0)) as canary:
        canary.settimeout(0)
        there = f"127.0.0.1:{canary.getsockname()[1]}"
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://{there}")
        for name in ("STORAGE_EMULATOR_HOST", "API_ENDPOINT_OVERRIDE"):
            monkeypatch.setenv(name, f"http://{there}")
        for name in ("GCE_METADATA_HOST", "GCE_METADATA_IP", "GCE_METADATA_ROOT"):
            monkeypatch.setenv(name, there)
        other = tmp_path / "other.json"
        other.write_text(json.dumps(fake.credentials() | {"client_email": "other@example.org"}))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(other))
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "other")
        monkeypatch.setenv("GOOGLE_CLOUD_UNIVERSE_DOMAIN", "other.test")
        monkeypatch.setenv("GOOGLE_API_USE_CLIENT_CERTIFICATE", "true")
        netrc = tmp_path / "netrc"
        netrc.write_text(f"machine {FakeGcs.HOST} login other password other\n")
        monkeypatch.setenv("NETRC", str(netrc))
        everything(connect())
        with pytest.raises(BlockingIOError):
            canary.accept()
    assert {host for host, _, _ in way_out.calls} == {FakeGcs.HOST}


def test_no_thread_of_a_library_stays_behind(connect: Connect, fake: FakeGcs) -> None:
    before = {thread.name for thread in threading.enumerate() if "process_request" not in thread.name}
    everything(connect())
    assert {thread.name for thread in threading.enumerate() if "process_request" not in thread.name} <= before
    assert not [target for _, target, _ in fake.asked if target.startswith("/storage/v1/b/files?")]


def test_a_dial_that_refuses_an_address_is_final(connect: Connect, texts: dict[str, Any]) -> None:
    calls: list[str] = []

    def guarded(host: str, port: int, seconds: float) -> socket.socket:
        calls.append(host)
        raise PermissionError("10.0.0.1 is not an address to go to")

    storage = GcsProvider(HASTE).connect(options.bind(texts), guarded)
    with pytest.raises(StorageRefused, match="not permitted"):
        put(storage, "files/a", b"data")
    assert len(calls) >= 1


def test_a_dial_that_fails_is_a_fault(texts: dict[str, Any]) -> None:
    storage = GcsProvider(HASTE).connect(options.bind(texts), WayOut({}))
    with pytest.raises(StorageFault):
        put(storage, "files/a", b"data")


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


_PEM = serialization.Encoding.PEM


@pytest.fixture
def secured(service_key: ServiceKey, tmp_path: Path) -> Iterator[tuple[FakeGcs, Path]]:
    authority, context = certified(tmp_path, FakeGcs.HOST)
    with FakeGcs(service_key, context) as fake:
        yield fake, authority


def in_secured(fake: FakeGcs) -> tuple[GcsStorage, WayOut]:
    texts = {"bucket": "files", "credentials": json.dumps(fake.credentials()), "endpoint": fake.endpoint}
    ways = WayOut({fake.HOST: fake.port})
    return GcsProvider(HASTE).connect(options.bind(texts), ways), ways


def test_https_works_with_an_authority_that_is_trusted(secured: tuple[FakeGcs, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    fake, authority = secured
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    storage, _ = in_secured(fake)
    put(storage, "files/small", b"small")
    with storage.open("files/small") as stream:
        assert stream.read() == b"small"


def test_a_certificate_that_is_not_trusted_is_refused_once(
    secured: tuple[FakeGcs, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where variables name a bundle of their own, as requests would take it."""
    fake, authority = secured
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(authority))
    storage, _ = in_secured(fake)
    with pytest.raises(StorageRefused, match="certificate"):
        put(storage, "files/small", b"small")
    assert fake.asked == []


def test_a_certificate_for_another_host_is_refused(
    service_key: ServiceKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, context = certified(tmp_path, "elsewhere.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with FakeGcs(service_key, context) as fake, pytest.raises(StorageRefused, match="certificate"):
        put(in_secured(fake)[0], "files/small", b"small")


def test_a_session_cannot_be_talked_into_not_verifying(secured: tuple[FakeGcs, Path]) -> None:
    import requests

    from secure_delivery.plugin.dialled import equip

    fake, _ = secured
    session = equip(requests.Session(), WayOut({fake.HOST: fake.port}))
    session.verify = False
    with pytest.raises(requests.exceptions.SSLError):
        session.get(f"{fake.endpoint}/", verify=False)
    with pytest.raises(PermissionError):
        session.get(f"http://{fake.HOST}:{fake.port}/")


# --------------------------------------------------------------------------------------------------------- signed URLs


def fetch(url: str, fake: FakeGcs, method: str = "GET") -> Any:
    """By a plain client that has nothing but the URL."""
    there = url.replace(f"//{fake.HOST}:", "//127.0.0.1:")
    request = urllib.request.Request(there, method=method, headers={"Host": f"{fake.HOST}:{fake.port}"})
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10)


def test_a_signed_url_is_made_without_a_request_and_serves_what_it_says(
    connect: Connect, fake: FakeGcs, way_out: WayOut
) -> None:
    storage = connect()
    fake.store("files", "täglich/a b+c%2F.html", b"<b>", {"name": "", "contentType": "text/html"}, None)
    headers = {"Content-Type": "text/plain", "content-disposition": "attachment; filename=\"a b.txt\"; filename*=UTF-8''%C3%A4"}
    url = storage.presigned_url("files/täglich/a b+c%2F.html", seconds=60, headers=headers)
    assert way_out.calls == []
    with fetch(url, fake) as answer:
        assert (answer.status, answer.read()) == (200, b"<b>")
        assert answer.headers["Content-Type"] == "text/plain"
        assert answer.headers["Content-Disposition"] == headers["content-disposition"]
    with fetch(url, fake, "HEAD") as answer:
        assert (answer.status, answer.headers["Content-Length"]) == (200, "3")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("X-Goog-Expires=60", "X-Goog-Expires=61"),
        ("/files/a", "/files/b"),
        ("text%2Fplain", "text%2Fhtml"),
        ("Signature=", "Signature=00"),
    ],
)
def test_a_signed_url_that_was_tampered_with_is_refused(connect: Connect, fake: FakeGcs, old: str, new: str) -> None:
    for name in "ab":
        fake.store("files", name, b"data", {"contentType": "text/html"}, None)
    url = connect().presigned_url("files/a", seconds=60, headers={"content-type": "text/plain"})
    assert old in url
    with pytest.raises(urllib.error.HTTPError) as caught:
        fetch(url.replace(old, new), fake)
    caught.value.close()
    assert caught.value.code == 403


def test_a_signed_url_ends(connect: Connect, fake: FakeGcs) -> None:
    import time

    fake.store("files", "a", b"data", {"contentType": "text/html"}, None)
    url = connect().presigned_url("files/a", seconds=60, headers={})
    begin = time.time()
    fake.clock = lambda: begin + 55
    fetch(url, fake).close()
    fake.clock = lambda: begin + 61
    with pytest.raises(urllib.error.HTTPError) as caught:
        fetch(url, fake)
    caught.value.close()
    assert caught.value.code == 400


def test_a_signed_url_lasts_a_week_at_most(connect: Connect) -> None:
    assert "X-Goog-Expires=604800&" in connect().presigned_url("files/a", seconds=10**9, headers={})
    with pytest.raises(ValueError, match="one second"):
        connect().presigned_url("files/a", seconds=0, headers={})


# --------------------------------------------------------------------------------------------------------------- costs


def test_start_up_and_workers_do_not_load_the_client_library(texts: dict[str, Any]) -> None:
    program = """
        import json, sys
        import secure_delivery_gcs as plugin
        from secure_delivery_gcs import options
        texts = json.loads(sys.stdin.read())
        plugin.self_test({}), plugin.self_test(texts)
        assert list(plugin.register_storages(texts)) == ["gcs"]
        storage = plugin.register_storage_providers({})["gcs"].connect(options.bind(texts), None)
        storage.place("files/a", mimetype="text/plain").discard()
        storage.advice()
        heavy = {"google.auth", "google.cloud.storage", "google_crc32c", "requests", "urllib3", "cryptography"}
        assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
    """
    given = json.dumps({name: value for name, value in texts.items() if name != "buckets"})
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], input=given, text=True, capture_output=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr


def test_a_file_of_200_megabytes_needs_little_memory(texts: dict[str, Any], fake: FakeGcs) -> None:
    """Measured in a process of its own, beyond what it needs for a small file."""
    program = """
        import json, resource, socket, sys
        from secure_delivery_gcs import GcsProvider, options

        port = int(sys.argv[1])
        def dial(host, wanted, seconds):
            return socket.create_connection(("127.0.0.1", port), seconds)
        storage = GcsProvider().connect(options.bind(json.loads(sys.stdin.read())), dial)
        def put(key, pieces):
            draft = storage.create(key, mimetype="text/plain")
            for number in range(pieces):
                draft.write(bytes([number]) * (1 << 20))
            draft.publish()
        put("files/small", 1)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        put("files/large", 200)
        with storage.open("files/large") as stream:
            size = 0
            while piece := stream.read(1 << 20):
                size += len(piece)
        assert size == 200 << 20
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(fake.port)],
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
    assert len(fake.buckets["files"]["large"].data) == 200 << 20
