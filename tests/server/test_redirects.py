"""Delivery by redirect to a customer's bucket: who is sent there, for how long, and who is not."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from buckets import S3Server, bucket_server, bucket_settings, options
from live import Server, picture, running

from secure_delivery.engine.files import Target
from secure_delivery.engine.records import FileLink
from secure_delivery.gate.model import Application

PAGE = b"<script>alert(1)</script>"


@pytest.fixture(scope="module")
def bucket() -> Iterator[S3Server]:
    with bucket_server() as server:
        yield server


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, bucket: S3Server) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("redirects"), settings=bucket_settings(bucket)) as server:
        yield server


def owner(place: Server, bucket: S3Server, **switches: Any) -> Application:
    made = place.application(**switches)
    place.engine.storages.add(made.api_key, "assets", "s3", options(bucket))
    return place.engine.records.update_application(made.api_key, storage="assets")


def put(place: Server, application: Application, data: bytes, filename: str) -> FileLink:
    with place.engine.files.begin(application, Target(filename=filename)) as upload:
        upload.write(data)
        return place.engine.files.add(application, upload)


def fetched(url: str) -> tuple[bytes, dict[str, str]]:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read(), {name.lower(): text for name, text in answer.headers.items()}


def test_a_file_is_delivered_by_a_redirect_that_ends_with_the_policy(place: Server, bucket: S3Server) -> None:
    application = owner(place, bucket, redirect=True, require_policy=True)
    link = put(place, application, picture(40, 30), "a b.jpg")
    signed = application.sign(expires_in=90, now=time.time(), call=["read"], handle=link.handle)
    reply = place.get(f"/{link.handle}?{signed.as_query()}")
    assert (reply.status, reply.body) == (302, b"")
    assert reply.headers["cache-control"] == "no-store" and reply.headers["referrer-policy"] == "no-referrer"
    asked = parse_qs(urlsplit(reply.headers["location"]).query)
    assert 1 <= int(asked["X-Amz-Expires"][0]) <= 90
    body, headers = fetched(reply.headers["location"])
    assert body == picture(40, 30)
    assert headers["content-type"] == "image/jpeg"
    assert headers["content-disposition"] == 'inline; filename="a b.jpg"'
    with pytest.raises(urllib.error.HTTPError) as refused:
        fetched(reply.headers["location"].replace("a_b", "other").replace("a%20b", "other") + "&x=y")
    refused.value.close()
    assert refused.value.code == 403, "the address is for this object alone"


def test_without_a_policy_it_lasts_an_hour_at_the_longest(place: Server, bucket: S3Server) -> None:
    application = owner(place, bucket, redirect=True)
    link = put(place, application, b"words", "a.txt")
    asked = parse_qs(urlsplit(place.get(f"/{link.handle}").headers["location"]).query)
    assert 1 <= int(asked["X-Amz-Expires"][0]) <= 3600


def test_refusals_are_not_redirected(place: Server, bucket: S3Server) -> None:
    application = owner(place, bucket, redirect=True, require_policy=True)
    link = put(place, application, b"words", "a.txt")
    assert place.get(f"/{link.handle}").code == "policy_required"
    late = application.sign(expires_in=60, now=time.time() - 100, call=["read"])
    assert place.get(f"/{link.handle}?{late.as_query()}").code == "policy_expired"


def test_what_a_browser_could_run_is_an_attachment_there_too(place: Server, bucket: S3Server) -> None:
    application = owner(place, bucket, redirect=True)
    link = put(place, application, PAGE, "a.html")
    _, headers = fetched(place.get(f"/{link.handle}").headers["location"])
    assert headers["content-disposition"].startswith("attachment")


def test_an_application_that_streams_is_not_redirected_nor_are_files_of_the_server(place: Server, bucket: S3Server) -> None:
    streams = owner(place, bucket)
    link = put(place, streams, b"words", "a.txt")
    assert (place.get(f"/{link.handle}").status, place.get(f"/{link.handle}").body) == (200, b"words")
    own = place.application(redirect=True)
    assert place.get(f"/{place.put(own, b'words', 'a.txt').handle}").status == 200


def test_transformations_and_heads_are_answered_here(place: Server, bucket: S3Server) -> None:
    application = owner(place, bucket, redirect=True)
    link = put(place, application, picture(40, 30), "a.jpg")
    assert place.get(f"/resize=width:10/{link.handle}").status == 200
    head = place.request("HEAD", f"/{link.handle}")
    assert (head.status, head.headers["content-length"]) == (200, str(len(picture(40, 30))))
    known = place.request("HEAD", f"/{link.handle}").headers["etag"]
    assert place.get(f"/{link.handle}", {"If-None-Match": known}).status == 304


def test_a_storage_that_may_not_be_read_is_not_pointed_to(place: Server, bucket: S3Server) -> None:
    made = place.application(redirect=True)
    place.engine.storages.add(made.api_key, "drop", "s3", options(bucket, write_only="true"))
    application = place.engine.records.update_application(made.api_key, storage="drop")
    link = put(place, application, b"words", "a.txt")
    assert place.get(f"/{link.handle}").code == "storage_refused"
