"""A broker is told nothing before its certificate was found to be for its name."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from secure_delivery_celery import CeleryQueue, read_settings


def certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate for this name with its key, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "broker")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    folder.mkdir(exist_ok=True)
    file = folder / "broker.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return file


@contextmanager
def broker(file: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Something that speaks TLS, and what it was told inside of it; empty where a client went away first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    said: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connection.settimeout(10)
                try:
                    with connection, context.wrap_socket(connection, server_side=True) as inner:
                        said.append(inner.recv(4096))
                except OSError:
                    said.append(b"")

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], said
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize("scheme", ["rediss", "amqps"])
@pytest.mark.parametrize(
    ("name", "trusted", "reached"), [("localhost", True, True), ("other.example", True, False), ("localhost", False, False)]
)
def test_a_broker_is_told_something_only_when_its_certificate_is_for_its_name(
    tmp_path: Path, scheme: str, name: str, trusted: bool, reached: bool
) -> None:
    file = certificate(tmp_path / "own", name)
    ca = file if trusted else certificate(tmp_path / "another", name)
    with broker(file) as (port, said):
        options = read_settings({"broker": f"{scheme}://user:secret-word@localhost:{port}/0", "ca": str(ca), "patience": 2})
        assert options is not None
        queue = CeleryQueue(options)
        try:
            with pytest.raises(Exception) as caught:
                queue.announce("nowhere", cost="light")
        finally:
            queue.close()
        assert "secret-word" not in str(caught.value)
    assert said
    assert any(said) is reached
