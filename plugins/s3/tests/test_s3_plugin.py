"""The plugin as the server finds it: options, settings, what it takes from the environment, what loading it costs."""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from s3_bench import KEY_ID, SECRET, TOKEN, Bench, Dialler, get, put
from s3_server import S3Server

from secure_delivery.plugin import ConfigurationError, StorageRefused
from secure_delivery.plugin.manager import load
from secure_delivery.plugin.protocols import Advising, Multipart, Placing, Presigned, Storage, StorageProvider
from secure_delivery_s3 import S3Provider
from secure_delivery_s3.options import S3Options
from secure_delivery_s3.provider import server_storage

PARAMS = {param.name: param for param in S3Provider().params}


def _load(**settings: Any) -> Any:
    return load(settings={"s3": settings} if settings else {}, blocked=_others())


def _others() -> list[str]:
    from importlib.metadata import entry_points

    return [point.name for point in entry_points(group="secure_delivery") if point.name != "s3"]


def test_the_entry_point_offers_the_kind_and_no_storage_of_its_own() -> None:
    registry = _load()
    assert isinstance(registry.storage_providers["s3"], StorageProvider)
    assert registry.storages == {}
    assert [report.problem for report in registry.reports if report.name == "s3"] == [None]


def test_a_bucket_in_the_settings_is_a_storage_of_the_server(bench: Bench) -> None:
    settings = {"bucket": "bucket", "endpoint": bench.server.endpoint, "insecure": True, "prefix": "a/b/"}
    storage = _load(**settings, access_key_id=KEY_ID, secret_access_key=SECRET).storages["s3"]
    bench.made.append(storage)
    put(storage.create("0123456789", mimetype="text/plain"), b"kept")
    assert get(storage, "0123456789") == b"kept"
    assert list(bench.server.objects) == [("bucket", "a/b/0123456789")]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"region": "eu-west-1"}, "bucket is needed"),
        ({"bucket": "x"}, "bucket is the name"),
        ({"bucket": "bucket"}, "access_key_id and secret_access_key are needed"),
        ({"bucket": "bucket", "access_key_id": KEY_ID}, "secret_access_key are needed"),
        ({"bucket": "bucket", "credentials": "environment", "access_key_id": KEY_ID}, "goes without"),
        ({"bucket": "bucket", "access": "public"}, "no setting 'access'"),
        ({"bucket": "bucket", "credentials": "environment", "endpoint": "http://h"}, "not https"),
        ({"bucket": "bucket", "secret_access_key": f"{SECRET} {SECRET}"}, "secret_access_key is a secret"),
    ],
)
def test_settings_that_do_not_fit_are_a_problem_of_the_plugin(settings: dict[str, Any], problem: str) -> None:
    registry = _load(**settings)
    (report,) = [report for report in registry.reports if report.name == "s3"]
    assert report.problem is not None and problem in report.problem
    assert SECRET not in report.problem and registry.storages == {}


def test_a_connected_storage_has_every_ability_of_a_bucket(bench: Bench) -> None:
    storage = bench.storage()
    for ability in (Storage, Placing, Presigned, Multipart, Advising):
        assert isinstance(storage, ability)
    assert storage.part_sizes == (5 * 1024**2, 5 * 1024**3)
    assert bench.storage(buckets="other, far,bucket").containers == ("bucket", "other", "far")
    assert S3Provider().secrets == {"secret_access_key", "session_token"}


def test_connecting_makes_no_request_and_loads_nothing_large() -> None:
    script = """
import sys
from secure_delivery_s3 import S3Provider
from secure_delivery_s3.provider import server_storage
provider = S3Provider()
given = {"bucket": "bucket", "access_key_id": "k", "secret_access_key": "s"}
bound = {param.name: given.get(param.name, param.default) for param in provider.params}
def dial(*_): raise SystemExit("dialled")
storage = provider.connect(bound, dial)
server_storage({"bucket": "bucket", "credentials": "environment"})
print(repr(storage), storage.containers, storage.advice()["cors"][:1])
print([name for name in ("botocore", "urllib3", "ssl", "boto3") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["S3Storage('bucket') ('bucket',) [", "[]"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bucket", ""), ("bucket", "ab"), ("bucket", "a/b"), ("bucket", "a..b"), ("bucket", "arn:aws:s3:::b"),
        ("bucket", "b" * 256), ("bucket", "data--use1-az4--x-s3"), ("bucket", "a@b.c"), ("bucket", "-ab"),
        ("buckets", "good,b/d"), ("buckets", "b d"),
        ("region", ""), ("region", "eu west"), ("region", "x.example.com/"), ("region", "a#b"),
        ("endpoint", "s3.example.com"), ("endpoint", "ftp://h"), ("endpoint", "https://u:p@h"), ("endpoint", "https://h/a?b"),
        ("endpoint", "https://h/#f"), ("endpoint", "https://h/../a"), ("endpoint", "https://h:99999"), ("endpoint", "https://h:0"),
        ("endpoint", "https://h\\@g"), ("endpoint", "https://h\n"), ("endpoint", "https://"), ("endpoint", "https://%31/"),
        ("access_key_id", ""), ("access_key_id", "a/b"), ("access_key_id", "a b"), ("access_key_id", "a\nb"),
        ("secret_access_key", "a\r\nb"), ("secret_access_key", ""), ("session_token", "a b"), ("session_token", "a\n"),
        ("sse", "yes"), ("access", "everybody"), ("storage_class", "A B"), ("kms_key", "a b"), ("insecure", "1"),
    ],
)  # fmt: skip
def test_values_that_are_none_are_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError):
        PARAMS[name].kind.read(value)
    assert PARAMS[name].kind.allowed


@given(st.sampled_from(sorted(PARAMS)), st.text(max_size=60))
def test_any_text_is_read_or_refused(name: str, value: str) -> None:
    try:
        PARAMS[name].kind.read(value)
    except ValueError as error:
        assert str(error) == "" or len(value) > 0


@pytest.mark.parametrize(
    "value", ["https://s3.example.com", "https://[::1]:9000", "http://10.0.0.1:9000", "https://h.example/storage/v1/s3"]
)
def test_endpoints_are_read(value: str) -> None:
    assert PARAMS["endpoint"].kind.read(f"{value}/") == value


def test_plain_http_wants_to_be_asked_for(bench: Bench) -> None:
    with pytest.raises(ValueError, match="insecure"):
        bench.options(insecure="false")
    with pytest.raises(ValueError, match="kms_key"):
        bench.options(kms_key="key")
    assert bench.options(endpoint="https://s3.example").path_style is True
    assert bench.options(endpoint="").path_style is False
    assert bench.options(endpoint="https://s3.example", path_style="false").path_style is False


def test_nothing_of_the_environment_plays_a_part(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials, profiles, endpoints, proxies, certificates: each of these would break or redirect the request."""
    broken = tmp_path / "config"
    broken.write_text("[default]\nendpoint_url = http://127.0.0.1:1\nregion = nowhere\n")
    for name, value in {
        "AWS_ACCESS_KEY_ID": "other", "AWS_SECRET_ACCESS_KEY": "other", "AWS_SESSION_TOKEN": "other", "AWS_PROFILE": "missing",
        "AWS_CONFIG_FILE": str(broken), "AWS_SHARED_CREDENTIALS_FILE": str(broken), "AWS_REGION": "nowhere",
        "AWS_DEFAULT_REGION": "nowhere", "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "HTTP_PROXY": "http://127.0.0.1:1", "HTTPS_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1",
        "AWS_CA_BUNDLE": "/nowhere", "REQUESTS_CA_BUNDLE": "/nowhere", "AWS_MAX_ATTEMPTS": "9", "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true", "AWS_REQUEST_CHECKSUM_CALCULATION": "when_supported",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    storage = bench.storage()
    put(storage.place("bucket/a", mimetype="text/plain"), b"content")
    assert get(storage, "bucket/a") == b"content"
    assert set(bench.dial.asked) == {("127.0.0.1", bench.server.port)}
    assert not [name for one in bench.server.seen for name in one.headers if "checksum" in name or name == "x-amz-trailer"]
    bench.dial.trouble = PermissionError("no")
    with pytest.raises(StorageRefused):
        bench.storage(endpoint="").remove("bucket/a")
    assert bench.dial.asked[-1] == ("bucket.s3.us-east-1.amazonaws.com", 443)


def test_credentials_of_the_environment_are_used_when_the_operator_says_so(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    settings = {"bucket": "bucket", "endpoint": bench.server.endpoint, "insecure": "true", "credentials": "environment"}
    with pytest.raises(StorageRefused, match="the environment has no credentials"):
        server_storage(settings).remove("0123456789")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    bench.server.tokens.add(TOKEN)
    bench.made.append(storage := server_storage(settings))
    put(storage.create("0123456789", mimetype="text/plain"), b"kept")
    assert get(storage, "0123456789") == b"kept"


def test_settings_are_refused_by_raising() -> None:
    with pytest.raises(ConfigurationError):
        server_storage({"bucket": "bucket", "nonsense": 1})


def _certificate(folder: Path, *names: str) -> tuple[Path, Path]:
    """A self-signed certificate and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
    made = made.not_valid_after(now + datetime.timedelta(days=1))
    others = [x509.DNSName(one) for one in names] + [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = made.add_extension(x509.SubjectAlternativeName(others), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    signed = made.sign(key, hashes.SHA256())
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return certificate, private


def test_certificates_are_verified_by_name_and_issuer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, private = _certificate(tmp_path, "*.s3.us-east-1.amazonaws.com", "s3.us-east-1.amazonaws.com")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private)
    domain = "s3.us-east-1.amazonaws.com"
    with S3Server({KEY_ID: SECRET}, {"bucket": "us-east-1"}, domain=domain, tls=context) as server:
        bench = Bench(server, Dialler(server.port))
        with pytest.raises(StorageRefused, match="must be trusted by this machine") as caught:
            bench.storage(endpoint="").remove("bucket/a")
        assert "certificate" in caught.value.public and server.seen == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        storage = bench.storage(endpoint="")
        put(storage.place("bucket/a", mimetype="text/plain"), b"x" * (9 << 20))
        assert get(storage, "bucket/a") == b"x" * (9 << 20)
        assert set(bench.dial.asked) == {(f"bucket.{domain}", 443)}
        with pytest.raises(StorageRefused, match="certificate"):
            bench.storage(endpoint="https://another.example", path_style="true").remove("bucket/a")
        bench.close()


def test_no_option_switches_verification_off() -> None:
    assert not [name for name in PARAMS if "verify" in name or "tls" in name or "ssl" in name]
    assert S3Options.__dataclass_params__.frozen  # type: ignore[attr-defined]
