"""Handing files out: what strangers uploaded never runs, no name breaks a header, and one reader sees one version."""

from __future__ import annotations

import re
import socket
import threading
import time
import unicodedata
from email.message import Message
from typing import Any
from urllib.parse import quote, unquote

import pytest
from live import Server, file_part, multipart, picture

from secure_delivery.engine.files import Target, clean_name
from secure_delivery.engine.records import FileLink
from secure_delivery.gate.model import Application
from secure_delivery.gate.whitelist import Whitelist
from secure_delivery.server.http import disposition

LARGE = 8_000_000  # bytes; more than the buffers of both sockets together


def sign(application: Application, *call: str, lasting: int = 60, **limits: Any) -> Any:
    return application.sign(expires_in=lasting, now=time.time(), call=list(call) or None, **limits)


def overwrite(server: Server, link: FileLink, data: bytes) -> FileLink:
    current = server.engine.files.find(link.handle)
    with server.engine.files.begin(server.current(link.application), Target(filename=link.filename)) as upload:
        upload.write(data)
        return server.engine.files.overwrite(current, upload)


# --------------------------------------------------------------------------------------------- every way of asking


def test_a_credential_is_taken_from_query_or_path_wherever_it_stands(every_server: Server) -> None:
    application = every_server.application(require_policy=True)
    link = every_server.put(application, b"content")
    signed = sign(application, "read")
    policy, signature, handle, key = signed.encoded, signed.signature, link.handle, application.api_key
    quoted = policy.replace("=", "%3D")
    for target in (
        f"/{handle}?policy={policy}&signature={signature}",
        f"/{handle}?signature={signature}&policy={quoted}&dl=false",
        f"/{key}/{handle}?{signed.as_query()}",
        f"/security=policy:{policy},signature:{signature}/{handle}",
        f"/security=p:{policy},s:{signature}/{handle}",
        f"/security=s:{signature},p:{quoted}/{handle}",
        f"/{key}/security=p:{policy},s:{signature}/{handle}",
        f"/security%3Dp%3A{policy}%2Cs%3A{signature}/{handle}",
        f"/security=p:%22{policy}%22,s:%22{signature}%22/{handle}",
        f"/api/file/{handle}?{signed.as_query()}",
        f"/api/file/{handle}+txt?key={key}&{signed.as_query()}",
        f"/api/file/{handle}?dl=true&cache=false&key={key}&{signed.as_query()}",
    ):
        reply = every_server.get(target)
        assert (reply.status, reply.body) == (200, b"content"), target
    for target, code in (
        (f"/{handle}", "policy_required"),
        (f"/{handle}?policy={policy}", "policy_required"),
        (f"/{handle}?policy={policy}&signature={signature.upper()}", "signature_invalid"),
        (f"/{handle}?policy={policy}&signature={signature}0", "signature_invalid"),
        (f"/{handle}?policy={policy}%20&signature={signature}", "signature_invalid"),
        (f"/{handle}?policy=&signature=", "policy_required"),
        (f"/{handle}?policy=%00&signature=%ff", "signature_invalid"),
        (f"/security=p:{policy},s:{signature}/{handle}?{signed.as_query()}", "credential_conflict"),
        (f"/security=p:{policy},s:{signature}/security=p:{policy},s:{signature}/{handle}", "credential_conflict"),
        (f"/{handle}?{signed.as_query()}&{signed.as_query()}", "credential_conflict"),
        (f"/{handle}?%70olicy={policy}&{signed.as_query()}", "credential_conflict"),
    ):
        assert every_server.get(target).code == code, target


def test_a_policy_in_the_alphabet_of_the_node_client_is_taken_with_its_plus_and_slash(every_server: Server) -> None:
    application = every_server.application(require_policy=True)
    link = every_server.put(application, b"content")
    for number in range(200):  # until the text holds both characters of the standard alphabet
        text = sign(application, path=f"\u00ff?>{number}").encoded.replace("-", "+").replace("_", "/")
        if "+" in text and "/" in text:
            break
    from secure_delivery.gate.policy import sign as sign_text

    signature = sign_text(text, application.secrets.signing.value)
    for target in (
        f"/{link.handle}?policy={text}&signature={signature}",
        f"/{link.handle}?policy={quote(text, safe='')}&signature={signature}",
        f"/security=policy:%22{text}%22,signature:{signature}/{link.handle}",
    ):
        assert every_server.get(target).status == 200, target


@pytest.mark.parametrize("value", ["", "=true", "=True", "=1"])
def test_a_download_is_an_attachment_whatever_it_is(server: Server, value: str) -> None:
    link = server.put(server.application(), picture(), "a.jpg")
    assert server.get(f"/{link.handle}").headers["content-disposition"] == 'inline; filename="a.jpg"'
    for path in ("", "/api/file"):
        assert server.get(f"{path}/{link.handle}?dl{value}").headers["content-disposition"] == 'attachment; filename="a.jpg"'
    assert server.get(f"/{link.handle}?dl=false").headers["content-disposition"].startswith("inline")


# ------------------------------------------------------------------------------------------------------ what browsers do


@pytest.mark.parametrize(
    ("content", "name", "kind", "shown"),
    [
        (picture(), "a.jpg", "image/jpeg", True),
        (picture(kind="PNG"), "page.html", "image/png", True),
        (b"%PDF-1.7", "a.pdf", "application/pdf", True),
        (b"plain words", "a.txt", "text/plain; charset=utf-8", True),
        (b"words in a page's clothing", "a.html", "text/plain; charset=utf-8", True),
        (b"<html><script>alert(1)</script>", "a.html", "text/html", False),
        (b"<html><script>alert(1)</script>", "a.jpg", "text/html", False),
        (b"<!-- x -->\n<script>alert(1)</script>", "a.txt", "text/html", False),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "a.svg", "image/svg+xml", False),
        (
            b"<?xml version='1.0'?><x:script xmlns:x='http://www.w3.org/1999/xhtml'>alert(1)</x:script>",
            "a.xml",
            "application/xml",
            False,
        ),
        (b"alert(1)", "a.js", "text/plain; charset=utf-8", False),
        (b"body{}", "a.css", "text/plain; charset=utf-8", False),
        (b"\x00\x01", "a.swf", "application/octet-stream", False),
        (b"CWS\x0a\x00flash", "a.swf", "application/x-shockwave-flash", False),
        (b"PK\x03\x04nothing", "a.zip", "application/zip", False),
    ],
)
def test_what_a_browser_could_run_is_an_attachment_in_a_sandbox(
    every_server: Server, content: bytes, name: str, kind: str, shown: bool
) -> None:
    application = every_server.application()
    body, form = multipart(file_part(content, name, more="\r\nContent-Type: image/png"))
    handle = every_server.post(f"/api/store/S3?key={application.api_key}&mimetype=image/gif", body, form).json()["handle"]
    for target in (f"/{handle}", f"/api/file/{handle}", f"/api/file/{handle}+html"):
        headers = every_server.get(target).headers
        assert headers["content-type"] == kind
        assert headers["content-disposition"].partition(";")[0] == ("inline" if shown else "attachment")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("sandbox; default-src 'none'")
        assert "script" not in headers["content-security-policy"]
        assert headers["cross-origin-resource-policy"] == "cross-origin"
        assert headers["referrer-policy"] == "no-referrer"
        assert "set-cookie" not in headers


EXPECTED = {
    "content-type",
    "content-length",
    "content-disposition",
    "content-security-policy",
    "x-file-name",
    "x-content-type-options",
    "cross-origin-resource-policy",
    "referrer-policy",
    "etag",
    "last-modified",
    "accept-ranges",
    "cache-control",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "date",
    "server",
    "connection",
}


def parsed_name(header: str) -> str:
    """The file name a browser would take from a Content-Disposition (RFC 6266)."""
    extended = re.search(r"filename\*=UTF-8''([^;]*)$", header)
    if extended:
        return unquote(extended[1])
    message = Message()
    message["Content-Disposition"] = header
    return str(message.get_filename())


def test_no_file_name_below_u0100_adds_a_header_or_ends_one(server: Server) -> None:
    application = server.application()
    every = "".join(map(chr, range(0x100)))
    names = [f"a{character}b" for character in every] + [every[at : at + 64] for at in range(0, 256, 32)]
    names += ['a"; filename=evil', "a\r\nX-Evil: 1\r\n\r\nbody", "a\nX-Evil: 1", "a\x85X-Evil: 1", "'%0d%0aX-Evil: 1"]
    for name in names:
        handle = server.post(f"/api/store/S3?key={application.api_key}&filename={quote(name)}", b"x").json()["handle"]
        reply = server.get(f"/{handle}")
        assert reply.status == 200 and reply.body == b"x"
        assert set(reply.headers) <= EXPECTED and not reply.repeated, (name, reply.headers)
        clean = clean_name(name)
        assert parsed_name(reply.headers["content-disposition"]) == clean
        assert unquote(reply.headers["x-file-name"]) == clean
        assert reply.headers["content-disposition"].isascii() and reply.headers["x-file-name"].isascii()


def test_any_name_has_a_disposition_of_printable_ascii_that_gives_it_back() -> None:
    for code in [*range(0x20, 0x3000), *range(0xFF00, 0x10000), 0x1F600, 0x10FFFD]:
        if unicodedata.category(chr(code)).startswith("C"):
            continue
        name = clean_name(f"a{chr(code)}b.txt")
        for attachment in (True, False):
            header = disposition(name, attachment=attachment)
            assert header.isascii() and header.isprintable()
            assert parsed_name(header) == name
            assert header.count('"') == 2


# ---------------------------------------------------------------------------------------------------- caches


def max_age(header: str) -> tuple[str, int]:
    scope, age = re.fullmatch(r"(public|private), max-age=([0-9]+)", header).groups()  # type: ignore[union-attr]
    return scope, int(age)


def test_answers_to_signed_requests_are_private_and_no_older_than_the_policy(every_server: Server) -> None:
    application = every_server.application(require_policy=True, max_age=1000)
    link = every_server.put(application, picture(40, 30), "a.jpg")
    for lasting, most in ((100, 100), (5000, 1000)):
        signed = sign(application, lasting=lasting).as_query()
        for target in (f"/{link.handle}", f"/api/file/{link.handle}", f"/resize=width:5/{link.handle}"):
            scope, age = max_age(every_server.get(f"{target}?{signed}").headers["cache-control"])
            assert scope == "private" and most - 20 <= age <= most


def test_an_owner_may_let_shared_caches_keep_signed_answers_and_then_too_no_longer_than_the_policy(server: Server) -> None:
    application = server.application(require_policy=True, public_cache=True)
    link = server.put(application, b"x")
    scope, age = max_age(server.get(f"/{link.handle}?{sign(application, lasting=50).as_query()}").headers["cache-control"])
    assert scope == "public" and age <= 50


def test_answers_in_an_open_application_may_be_kept_and_a_signed_one_among_them_is_private(server: Server) -> None:
    application = server.application()
    link = server.put(application, b"x")
    assert server.get(f"/{link.handle}").headers["cache-control"] == "public, max-age=3600"
    signed = sign(application).as_query()
    assert server.get(f"/{link.handle}?{signed}").headers["cache-control"].startswith("private")


def test_what_depends_on_where_a_request_comes_from_says_so(server: Server) -> None:
    application = server.application(delivery_whitelist=Whitelist(["*.example.org"]))
    link = server.put(application, b"x")
    origin = {"Origin": "https://www.example.org"}
    for headers in ({}, origin, {"Referer": "https://www.example.org/page"}, {"Origin": "https://evil.example.net"}):
        reply = server.get(f"/{link.handle}", headers)
        assert reply.status == (403 if "evil" in str(headers) else 200)
        assert {"Origin", "Referer"} <= set(reply.headers["vary"].split(", "))
    assert server.get(f"/{link.handle}", origin).headers["access-control-allow-origin"] == "https://www.example.org"
    assert "access-control-allow-origin" not in server.get(f"/{link.handle}").headers


# ------------------------------------------------------------------------------------------------- one version for one reader


def read_slowly(server: Server, target: str) -> socket.socket:
    """A connection that has asked for a file and read but a little of it."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    return connection


def rest_of(connection: socket.socket) -> bytes:
    said = bytearray()
    with connection:
        while piece := connection.recv(1 << 20):
            said += piece
    return bytes(said)


@pytest.mark.parametrize("change", ["overwrite", "remove"])
@pytest.mark.parametrize("ranges", ["", "bytes=0-3999999,4000000-"])
def test_a_slow_reader_gets_the_version_it_began_with_to_the_last_byte(every_server: Server, change: str, ranges: str) -> None:
    link = every_server.put(every_server.application(), b"o" * LARGE)
    connection = read_slowly(every_server, f"/{link.handle}" + (f" HTTP/1.1\r\nRange: {ranges}\r\nX:" if ranges else ""))
    first = connection.recv(1000)
    assert first.startswith(b"HTTP/1.1 20")
    if change == "overwrite":
        overwrite(every_server, link, b"n" * LARGE)
        assert every_server.get(f"/{link.handle}").body == b"n" * LARGE
    else:
        every_server.engine.files.remove(every_server.engine.files.find(link.handle))
        assert every_server.get(f"/{link.handle}").status == 404
    said = first + rest_of(connection)
    head, _, body = said.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: ([0-9]+)", head)
    assert length is not None and len(body) == int(length[1])
    assert body.count(b"o") >= LARGE and body.count(b"n" * 100) == 0


def test_a_file_that_is_overwritten_again_and_again_is_never_missing_and_never_mixed(every_server: Server) -> None:
    application = every_server.application()
    link = every_server.put(application, b"0" * 300_000)
    done = threading.Event()

    def change() -> None:
        number = 0
        while not done.is_set():
            number += 1
            overwrite(every_server, link, str(number % 10).encode() * 300_000)

    writer = threading.Thread(target=change)
    writer.start()
    try:
        for attempt in range(120):
            headers = {"Range": "bytes=0-9,200000-200009"} if attempt % 3 == 0 else {}
            reply = every_server.get(f"/{link.handle}", headers)
            assert reply.status in (200, 206), (attempt, reply.status, reply.body[:200])
            if reply.status == 200:
                assert len(reply.body) == 300_000 and len(set(reply.body)) == 1
            else:
                assert len(set(re.findall(rb"\r\n\r\n([0-9]{10})\r\n", reply.body))) == 1
    finally:
        done.set()
        writer.join()


def test_a_client_that_leaves_in_the_middle_of_a_file_is_no_fault_of_the_server(every_server: Server) -> None:
    link = every_server.put(every_server.application(), b"x" * LARGE)
    at = every_server.log.stat().st_size
    for _ in range(5):
        with read_slowly(every_server, f"/{link.handle}") as connection:
            connection.recv(100)
    assert every_server.get("/health/ready").status == 200
    said = every_server.log.read_bytes()[at:]
    assert b"Traceback" not in said and b"ERROR" not in said, said.decode()[-3000:]


def test_bytes_that_are_lost_are_a_404_and_not_a_fault(server: Server) -> None:
    link = server.put(server.application(), b"lost")
    server.engine.files.discard([link.blob])
    assert server.get(f"/{link.handle}").code == "not_found"
    assert server.get(f"/{link.handle}", {"Range": "bytes=0-0,2-2"}).code == "not_found"


@pytest.mark.parametrize(
    "target",
    [
        "/{key}/{handle}/",
        "//{handle}",
        "/{handle}/",
        "/./{handle}",
        "/x/../{handle}",
        "/%2e%2e/{handle}",
        "/{handle}%00",
        "/{handle}%0a",
        "/{handle}%2F..%2F{handle}",
        "/{handle}\\",
        "/{handle};x",
        "/{handle}.jpg",
        "/{key}/{key}/{handle}",
        "/Anobodyhasthiskey1234z/{handle}",
        "/api/file/{handle}/",
        "/api/file/{handle}/metadata/",
        "/api//file/{handle}",
        "/API/file/{handle}",
        "/api/file/",
        "/api/file",
        "/api",
    ],
)
def test_a_path_that_is_nearly_right_finds_nothing(server: Server, target: str) -> None:
    application = server.application()
    link = server.put(application, b"x")
    reply = server.get(target.format(key=application.api_key, handle=link.handle))
    assert reply.status in (400, 401, 404) and not reply.code.startswith("no JSON")


def test_the_encoding_of_a_path_does_not_matter_to_what_it_names(server: Server) -> None:
    link = server.put(server.application(), b"x")
    encoded = "".join(f"%{ord(character):02x}" for character in link.handle)
    for target in (f"/{encoded}", f"/api/file/{encoded}", f"/%61pi/file/{link.handle}", f"/{encoded}/metadata"):
        assert server.get(target).status == 200, target
