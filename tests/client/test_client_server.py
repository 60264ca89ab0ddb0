"""Uploads in parts and by URL, against the real server over a socket."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from live import Server
from outside import Outside
from recorder import Shop

from secure_delivery.client import ClientError, Denied, ResponseError, State, TooLarge, UploadError

Connect = Callable[..., Any]
PART = 5 << 20
DATA = os.urandom(2 * PART) + b"the end"


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("upload") / "big file ü.bin"
    path.write_bytes(DATA)
    return path


def test_a_large_file_arrives_whole(connect: Connect, server: Server, shop: Shop, big: Path) -> None:
    seen: list[int] = []
    client = connect(server.url, **shop._asdict())
    file = client.upload(
        big, part_size=PART, tags={"a": "b"}, path="/x/", concurrency=3, progress=lambda done, total: seen.append(done)
    )
    assert (file.filename, file.size, file.tags) == ("big file ü.bin", len(DATA), {"a": "b"})
    assert client.metadata(file.handle, "sha256", "size") == {
        "sha256": hashlib.sha256(DATA).hexdigest(),
        "size": len(DATA),
    }
    assert client.read(file.handle) == DATA
    assert seen[-1] == len(DATA)


def test_an_open_application_takes_a_large_file_without_a_policy(connect: Connect, server: Server, big: Path) -> None:
    client = connect(server.url, api_key=server.application().api_key)
    assert client.read(client.upload(big, part_size=PART).handle) == DATA


def test_a_stream_of_unknown_length_arrives_whole(connect: Connect, server: Server, shop: Shop) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    client = connect(server.url, **shop._asdict())
    file = client.upload(Pipe(DATA), filename="a.bin", part_size=PART)
    assert client.read(file.handle) == DATA


def test_a_small_file_with_tags_goes_in_one_part(connect: Connect, server: Server, shop: Shop) -> None:
    file = connect(server.url, **shop._asdict()).upload(b"small", filename="a.txt", tags={"a": "b"})
    assert (file.size, file.tags) == (5, {"a": "b"})


def test_an_upload_that_stopped_goes_on_where_it_stopped(connect: Connect, server: Server, shop: Shop, big: Path) -> None:
    kept: list[str] = []

    def note(state: State) -> None:
        kept.append(state.to_json())
        if len(state.parts) == 1:
            raise KeyboardInterrupt

    client = connect(server.url, **shop._asdict())
    with pytest.raises(KeyboardInterrupt):
        client.upload(big, part_size=PART, concurrency=1, checkpoint=note)
    seen: list[int] = []
    file = client.upload(big, resume=State.from_json(kept[-1]), concurrency=1, progress=lambda done, total: seen.append(done))
    assert seen == [PART, 2 * PART, len(DATA)]
    assert client.read(file.handle) == DATA


def test_an_upload_goes_on_after_a_restart_of_the_server(connect: Connect, server: Server, shop: Shop, big: Path) -> None:
    kept: list[State] = []

    def note(state: State) -> None:
        kept.append(state)
        if len(state.parts) == 1:
            raise KeyboardInterrupt

    client = connect(server.url, **shop._asdict())
    with pytest.raises(KeyboardInterrupt):
        client.upload(big, part_size=PART, concurrency=1, checkpoint=note)
    server.stop()
    server.start()
    assert client.read(client.upload(big, resume=kept[-1]).handle) == DATA


def test_an_upload_without_a_policy_is_refused_at_once(connect: Connect, server: Server, shop: Shop, big: Path) -> None:
    with pytest.raises(Denied) as caught:
        connect(server.url, api_key=shop.api_key).upload(big, part_size=PART)
    assert (caught.value.status, caught.value.code) == (403, "policy_required")


def test_an_upload_over_the_size_of_the_policy_is_refused_at_once(
    connect: Connect, server: Server, shop: Shop, big: Path
) -> None:
    backend = connect(server.url, **shop._asdict())
    signed = backend.sign(expires_in=60, call=["pick", "store"], max_size=1000)
    with pytest.raises(TooLarge):
        connect(server.url, api_key=shop.api_key, signed=signed).upload(big, part_size=PART)


def test_an_upload_that_nobody_began_cannot_be_resumed(connect: Connect, server: Server, shop: Shop, big: Path) -> None:
    forged = State(
        uri="/x/y", region="us-east-1", upload_id="x" * 40, location_url=f"127.0.0.1:{server.port}", filename="a",
        mimetype="text/plain", size=len(DATA), part_size=PART, store={"location": "s3"},
    )  # fmt: skip
    with pytest.raises(UploadError) as caught:
        connect(server.url, **shop._asdict()).upload(big, resume=forged)
    assert caught.value.status is not None
    assert 400 <= caught.value.status < 500


# --------------------------------------------------------------------------------------------------------------- /process


def test_a_url_is_taken_in(connect: Connect, server: Server, shop: Shop, web: Outside) -> None:
    client = connect(server.url, **shop._asdict())
    before = len(web.seen)
    file = client.upload_url(web.url("/a.jpg"), headers={"X-Token": "t0ken"}, tags={"a": "b"})
    assert file.mimetype == "image/jpeg"
    assert client.metadata(file.handle, "width", "height") == {"width": 60, "height": 40}
    assert b"x-token: t0ken" in web.seen[before].lower()


def test_a_url_that_cannot_be_fetched_is_told_as_a_4xx(connect: Connect, server: Server, shop: Shop, web: Outside) -> None:
    client = connect(server.url, **shop._asdict())
    for url in (web.url("/gone.jpg"), "http://169.254.169.254/latest/meta-data/"):
        with pytest.raises(ResponseError) as caught:
            client.upload_url(url)
        assert caught.value.status is not None
        assert 400 <= caught.value.status < 500


def test_a_url_is_not_taken_in_without_a_policy(connect: Connect, server: Server, shop: Shop, web: Outside) -> None:
    before = len(web.seen)
    with pytest.raises(ClientError) as caught:
        connect(server.url, api_key=shop.api_key).upload_url(web.url("/a.jpg"))
    assert caught.value.status == 403
    assert len(web.seen) == before
