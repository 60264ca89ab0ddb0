"""What the official clients for Ruby, PHP, Go, Java and Swift send, and what comes of it.

They are not run here. Their requests were read from their sources; each has its traps (a count where parts are expected, a zero
that is left out, a body of `null` on a DELETE), and these are what the tests are for.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json
import time
from string import Template
from typing import Any
from urllib.parse import quote

import pytest
from live import Reply, read_reply
from PIL import Image
from sdk_dialects import DIALECTS, Dialect
from sdk_requests import TABLE, Recorded
from sdk_world import BIG, DOMAIN, FILES, PHOTO, Place

FILE = BIG[:9_000_001]  # two parts of any client, of which the last is small
CALLS = ("pick", "read", "stat", "write", "writeUrl", "store", "convert", "remove")


def say(place: Place, head: list[str], body: bytes | None = None) -> Reply:
    """One request exactly as given, on a connection of its own."""
    lines = [*head, *([f"Content-Length: {len(body)}"] if body is not None else []), "", ""]
    with place.server.connect(60) as connection:
        connection.sendall("\r\n".join(lines).encode("latin-1") + (body or b""))
        response = http.client.HTTPResponse(connection, method=head[0].partition(" ")[0])
        response.begin()
        return read_reply(response)


class Names(dict[str, Any]):
    """What stands for `$NAMES` in recorded requests."""

    def __init__(self, place: Place, mode: str) -> None:
        application = place.applications[mode]
        signed = application.sign(expires_in=600, now=time.time(), call=list(CALLS))
        files = {name.upper(): handle for name, handle in place.files[mode].items()}
        url = place.web.url("/a.jpg")
        super().__init__(
            **files,
            K=application.api_key,
            P=signed.encoded,
            PQ=quote(signed.encoded, safe=""),
            S=signed.signature,
            URL=url,
            URLQ=quote(url, safe=""),
            V=str(place.put(mode, b"old", "victim.txt").handle),
            Q="policy=$PQ&signature=$S",
            LONG="security=policy:$P,signature:$S",
        )

    def fill(self, text: str) -> str:
        return Template(Template(text).substitute(self)).substitute(self)


# ---------------------------------------------------------------------------------------------------------------- uploads


class Run:
    """One upload in a dialect, call after call."""

    def __init__(self, place: Place, mode: str, dialect: Dialect) -> None:
        self.place, self.dialect = place, dialect
        self.names = Names(place, mode) | {"NAME": "photo.jpg", "SIZE": len(FILE)}
        self.etags: dict[int, str] = {}

    def call(self, path: str, body: Any, **more: object) -> Any:
        headers, data = self.dialect.body(body, {**self.names, **more})
        head = [f"POST {path} HTTP/1.1", f"Host: upload.{DOMAIN}", *self.dialect.headers, *headers]
        reply = say(self.place, head, data)
        assert reply.status == 200, (path, data[-900:], reply.status, reply.body)
        assert reply.headers["content-type"].startswith("application/json")
        return reply.json()

    def start(self) -> None:
        found = self.call("/multipart/start", self.dialect.start)
        assert all(isinstance(found[name], str) and found[name] for name in ("uri", "region", "upload_id", "location_url"))
        self.names |= {"URI": found["uri"], "REGION": found["region"], "ID": found["upload_id"], "WHERE": found["location_url"]}
        assert (found.get("upload_type") == "intelligent_ingestion") or not self.dialect.chunk

    def send(self, number: int, offset: int, length: int) -> None:
        start = (number - 1) * self.dialect.part + offset
        data = FILE[start : start + length]
        digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        body = self.dialect.upload
        if self.dialect.no_first_offset and offset == 0:
            assert isinstance(body, str)
            body = body.replace(',"offset":$OFFSET', "")
        found = self.call("/multipart/upload", body, PART=number, BYTES=length, MD5=digest, OFFSET=offset)
        base = f"https://cdn.{DOMAIN}"
        assert found["url"].startswith(base)
        told = [f"{name}: {value}" for name, value in found["headers"].items()]
        head = [f"PUT {found['url'].removeprefix(base)} HTTP/1.1", f"Host: cdn.{DOMAIN}", *told, *self.dialect.put]
        reply = say(self.place, head, data)
        assert reply.status == 200, (head, reply.body)
        self.etags[number] = reply.headers["etag"]

    def complete(self) -> Any:
        numbers = sorted(self.etags, reverse=self.dialect.backwards)
        each = [
            Template(self.dialect.each).substitute(PART=number, ETAG=json.dumps(self.etags[number]), QUOTED=self.etags[number])
            for number in numbers
        ]
        parts = {"PARTS": self.dialect.between.join(each), "COUNT": len(numbers)}
        return self.call("/multipart/complete", self.dialect.complete, **parts)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_an_upload_in_the_words_of_a_client_arrives_whole(place: Place, mode: str, dialect: Dialect) -> None:
    run = Run(place, mode, dialect)
    run.start()
    last = 0
    for number, offset, length in dialect.pieces(len(FILE)):
        if dialect.commit and number > last > 0:
            run.call("/multipart/commit", dialect.commit, PART=last)
        run.send(number, offset, length)
        last = number
    if dialect.commit:
        run.call("/multipart/commit", dialect.commit, PART=last)
    found = run.complete()
    assert (found["filename"], found["size"], found["status"]) == ("photo.jpg", len(FILE), "Stored")
    assert found["url"].rpartition("/")[2] == found["handle"]
    assert hashlib.sha256(place.read(mode, found["handle"]).body).digest() == hashlib.sha256(FILE).digest()


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_an_upload_with_a_wrong_signature_is_refused_at_its_start(place: Place, dialect: Dialect) -> None:
    run = Run(place, "secured", dialect)
    run.names["S"] = "0" * 64
    headers, data = dialect.body(dialect.start, run.names)
    head = ["POST /multipart/start HTTP/1.1", f"Host: upload.{DOMAIN}", *dialect.headers, *headers]
    reply = say(place, head, data)
    assert (reply.status, reply.code) == (403, "signature_invalid")


# ------------------------------------------------------------------------------------------------------------ all the rest


def _sent(place: Place, names: Names, row: Recorded) -> Reply:
    _, line, host, headers, body, _ = row
    head = [f"{names.fill(line)} HTTP/1.1", f"Host: {host}.{DOMAIN}", *headers]
    return say(place, head, None if body is None else names.fill(body).encode())


def check(reply: Reply, wanted: object) -> None:
    assert reply.status == 200, reply.body
    if isinstance(wanted, tuple):
        with Image.open(io.BytesIO(reply.body)) as image:
            image.load()
            assert image.size == wanted
    elif isinstance(wanted, set):
        assert reply.headers["content-type"].startswith("application/json")
        assert wanted <= reply.json().keys(), reply.body
    else:
        assert reply.body.decode() == wanted


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_a_recorded_request_is_understood(place: Place, mode: str, row: Any) -> None:
    names = Names(place, mode)
    reply = _sent(place, names, row)
    check(reply, row[5])
    if "overwrites" in row[0]:
        wanted = PHOTO if "URL" in row[0] else b"new" if "ruby" in row[0] or "Base64" in row[0] else b"new content"
        assert place.read(mode, names["V"]).body == wanted
    if "deletes" in row[0]:
        assert place.read(mode, names["V"]).status == 404
    if "stores" in row[0] and "cloud" not in row[0]:
        found = reply.json()
        handle = found.get("handle") or found["url"].rpartition("/")[2]
        stored = place.read(mode, handle)
        assert stored.status == 200 and stored.body != FILES["photo"][1]


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_the_same_with_a_wrong_signature_is_refused(place: Place, row: Any) -> None:
    names = Names(place, "secured")
    names["S"] = "0" * 64
    reply = _sent(place, names, row)
    if "may do" in row[0]:
        assert reply.json()["blocked"] is True
    elif "logs out" in row[0]:
        assert reply.status == 200  # there is nothing to be protected: sessions are the client's own
    else:
        assert (reply.status, reply.code) == (403, "signature_invalid"), reply.body
    assert place.read("secured", names["V"]).body == b"old"
