"""What the server writes down: one line per request, and never a secret, a policy or a signature in full."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live import Server, file_part, make_server, multipart, picture, running

from secure_delivery.gate.policy import sign as sign_text
from secure_delivery.server.http import redact

POLICY = "eyJleHBpcnkiOjE1MjM1OTU2MDAsImNhbGwiOlsicmVhZCJdfQ=="
SLASHES = "eyJhYmMiOi/8/Pz8+/Pj4/Pz8/Pz8/Pz8/eyJhYmMiOi/8/Pz8"
SIGNATURE = "5191e4c6c304c08296eab217ee05236a5bacaab9b581b535d5922a41079b77e0"


def in_every_form(secret: str | bytes) -> dict[str, bytes]:
    """A text as it could stand in a file: plain, hex, percent-encoded, and Base64 at each of its three offsets."""
    raw = secret if isinstance(secret, bytes) else secret.encode()
    forms = {"plain": raw, "hex": raw.hex().encode(), "HEX": raw.hex().upper().encode()}
    for offset in range(3):
        whole = base64.b64encode(bytes(offset) + raw)
        forms[f"base64 at {offset}"] = whole[4 if offset else 0 : -4]
        forms[f"base64url at {offset}"] = base64.urlsafe_b64encode(bytes(offset) + raw)[4 if offset else 0 : -4]
    return forms


@pytest.mark.parametrize(
    "text",
    [
        f"/resize=width:300/security=policy:{POLICY},signature:{SIGNATURE}/HANDLE",
        f"/resize=width:300/security=p:{POLICY},s:{SIGNATURE}/HANDLE",
        f"/security=s:{SIGNATURE},p:{POLICY}/resize=width:300/HANDLE",
        f"/security%3Dp%3A{POLICY}%2Cs%3A{SIGNATURE}/HANDLE",
        f"/security=p:%22{SLASHES}%22,s:%22{SIGNATURE}%22/HANDLE",
        f"/security=p:{SLASHES},s:{SIGNATURE}/HANDLE",
        f"/HANDLE?policy={POLICY}&signature={SIGNATURE}",
        f"/HANDLE?signature={SIGNATURE}&policy={SLASHES}&dl=true",
        f"/HANDLE?%70olicy={POLICY}&sign%61ture={SIGNATURE}",
        f"/HANDLE?POLICY={POLICY}&Signature={SIGNATURE}",
        f"/HANDLE?policy:{POLICY}&x={SIGNATURE}",
        f"policy={POLICY}&signature={SIGNATURE}",
        "/b64/" + base64.b64encode(f'[{{"name":"security","params":{{"policy":"{POLICY}"}}}}]'.encode()).decode() + "/HANDLE",
        f"/{SIGNATURE}/{POLICY}",
    ],
)
def test_no_spelling_of_a_credential_gets_past_eight_characters(text: str) -> None:
    shown = redact(text)
    for secret in (POLICY, SLASHES, SIGNATURE):
        for start in range(len(secret) - 20):
            assert secret[start : start + 20] not in shown
    for form in in_every_form(POLICY).values():
        assert form.decode() not in shown


def test_what_operators_look_for_stays_readable() -> None:
    handle, key = "pmcGMZ0VTuEjXlh6aAhTJ", "AFFvn2S7BrcqeyZ4g1voLz"
    shown = redact(f"/{key}/resize=width:300,fit:crop/security=p:{POLICY},s:{SIGNATURE}/{handle}?dl=true")
    assert shown == f"/{key}/resize=width:300,fit:crop/security=p:eyJleHBp…,s:5191e4c6…/{handle}?dl=true"


@given(text=st.text(max_size=700))
def test_whatever_was_asked_for_is_one_short_printable_line(text: str) -> None:
    shown = redact(text)
    assert len(shown) <= 512
    assert re.fullmatch(r"[ -~…]*", shown)


@pytest.mark.parametrize("text", ["policy=" * 5000, ",p:" * 8000, "a" * 60_000, '/,p:"' * 8000, "=p: " * 10_000, ",s" * 20_000])
def test_redacting_takes_linear_time(text: str) -> None:
    before = time.process_time()
    redact(text)
    assert (time.process_time() - before) * 1000 < 1000


# ------------------------------------------------------------------------------------------------- a server that was used


@pytest.fixture(scope="module", params=["granian", "uvicorn"])
def used(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, Any]]]:
    """A server after all kinds of requests, and every secret that was around."""
    folder = tmp_path_factory.mktemp("used")
    raw_key = hashlib.sha256(b"a master key for this test").digest()
    master = base64.b64encode(raw_key).decode()
    with running(folder, runner=request.param, settings={"master_key": f"k1:{master}"}) as server:
        secrets: dict[str, Any] = {"master key": master, "master key, decoded": raw_key}
        application, secrets["secret"] = server.engine.records.create_application("used", require_policy=True)
        link = server.put(application, picture(), "a.jpg")
        for number, call in enumerate(("read", "convert", "write", "stat", "pick")):
            signed = application.sign(expires_in=600 + number, now=time.time(), call=call, path="\u00ff?>~" * 3)
            secrets |= {f"policy {number}": signed.encoded, f"signature {number}": signed.signature}
            standard = signed.encoded.replace("-", "+").replace("_", "/")
            secrets[f"standard policy {number}"] = standard
            secrets[f"standard signature {number}"] = sign_text(standard, application.secrets.signing.value)
            use(server, link.handle, application.api_key, signed.encoded, signed.signature)
            use(server, link.handle, application.api_key, standard, secrets[f"standard signature {number}"])
        basic = "Basic " + base64.b64encode(f"app:{secrets['secret']}".encode()).decode()
        for path in (f"/{link.handle}", f"/api/file/{link.handle}", "/nothing"):
            server.get(path, {"Authorization": basic})
            server.get(path, {"Authorization": basic + "x", "X-Evil": basic})
        _, secrets["newer secret"] = server.engine.records.rotate_secret(application.api_key, grace=60)
        yield server, secrets


def use(server: Server, handle: str, key: str, policy: str, signature: str) -> None:
    quoted = policy.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    queries = [
        f"policy={policy}&signature={signature}",
        f"policy={quoted}&signature={signature}",
        f"policy={quoted}&signature={signature}x",
    ]
    for query in queries:
        for path in (
            f"/{handle}",
            f"/api/file/{handle}",
            f"/{handle}/metadata",
            f"/resize=width:7/{handle}",
            "/nothing",
            f"/a//{handle}",
        ):
            server.get(f"{path}?{query}")
            server.request("OPTIONS", f"{path}?{query}", headers={"Origin": "https://a.example"})
        server.post(f"/api/store/S3?key={key}&{query}", b"x")
        server.post(f"/api/store/S3?key={key}&{query}&filename=%FF", b"x")
        body, kind = multipart(file_part(b"x"))
        server.post(f"/api/file/{handle}?{query}", body[:20], kind)
        server.exchange(
            f"POST /api/store/S3?key={key}&{query} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx".encode(), shut=True
        )
    params = {"policy": policy, "signature": signature}
    chain = base64.b64encode(json.dumps([{"name": "security", "params": params}, {"name": "flip"}]).encode()).decode()
    for task in (
        f"security=p:{policy},s:{signature}",
        f"security=p:{quoted},s:{signature}",
        f"security=p:%22{quoted}%22,s:%22{signature}%22",
        f"security%3Dp%3A{quoted}%2Cs%3A{signature}",
        f"security=p:{policy},s:{signature},x:y",
        f"securty=p:{policy},s:{signature}",
        f"resize=width:{policy}",
        f"resize={signature}:3",
        f"b64/{chain}",
    ):
        server.get(f"/{task}/{handle}")
        server.get(f"/resize=width:7/{task}/{handle}")
        server.get(f"/{task}/nothing")


def test_nothing_that_a_server_wrote_holds_a_secret_in_any_form(used: tuple[Server, dict[str, Any]]) -> None:
    server, secrets = used
    written = dict(server.written())
    assert len(written) > 3 and len(written[server.log]) > 10_000
    for name, secret in secrets.items():
        for form, needle in in_every_form(secret).items():
            for path, data in written.items():
                assert needle not in data, f"{name}, {form}, in {path.relative_to(server.data.parent)}"


def test_each_request_is_one_line_with_method_path_status_and_time(used: tuple[Server, dict[str, Any]]) -> None:
    server, _ = used
    lines = [line for line in server.log.read_text().splitlines() if "secure_delivery.access" in line]
    assert len(lines) > 500
    for line in lines:
        assert re.fullmatch(r".* secure_delivery\.access: [A-Z]+ /\S* [0-9]{1,3} [0-9.]+ ms", line), line


def test_what_a_client_puts_into_a_path_cannot_forge_or_colour_a_line(used: tuple[Server, dict[str, Any]]) -> None:
    server, _ = used
    for piece in ("%0A2026-01-01 ERROR forged", "%1B[31mred", "%C2%9B31m", "%E2%80%AE", "%E2%80%A8forged", "%0d"):
        server.get(f"/x{piece.replace(' ', '%20')}/y?{piece.replace(' ', '%20')}")
    said = server.log.read_text()
    assert "forged" in said and not re.search(r"^(2026-01-01 ERROR )?forged", said, re.MULTILINE)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", said)


def test_a_quiet_server_logs_faults_and_no_requests(tmp_path: Path) -> None:
    with running(tmp_path, settings={"quiet": "true"}) as server:
        server.get("/nothing")
        assert "secure_delivery.access" not in server.log.read_text()


def test_a_start_that_is_refused_does_not_print_the_key_it_was_given(tmp_path: Path) -> None:
    weak = base64.b64encode(b"weak weak weak").decode()
    server = make_server(tmp_path)
    server.env = {**server.env, "SECURE_DELIVERY_MASTER_KEY": f"k1:{weak}"}
    with pytest.raises(pytest.fail.Exception):
        server.start()
    server.engine.close()
    said = server.log.read_text()
    assert weak not in said and "Traceback" not in said and "master" in said
