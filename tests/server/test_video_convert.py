"""`video_convert` over real sockets: the URL that begins a job and asks after it, a real ffmpeg, results that play."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from live import Server, running
from outside import Outside, ok
from PIL import Image

from secure_delivery.gate.model import Application

LATE = 120.0  # seconds after which a conversion of a second is not going to end


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A second of moving picture with a tone."""
    if shutil.which("ffmpeg") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("ffmpeg is not installed")
        pytest.skip("ffmpeg is not installed")
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    sources = ["-f", "lavfi", "-i", "testsrc=size=160x120:rate=10:duration=1", "-f", "lavfi", "-i", "sine=duration=1"]
    subprocess.run(["ffmpeg", "-v", "error", *sources, "-pix_fmt", "yuv420p", "-shortest", str(path)], check=True)
    return path.read_bytes()


@pytest.fixture(scope="module")
def world(clip: bytes) -> Iterator[Outside]:
    with Outside({"/clip.mp4": ok(clip, "Content-Type: video/mp4"), "/hook": ok(b"", status="204 No Content")}) as outside:
        yield outside


@pytest.fixture(scope="module")
def server(world: Outside, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {
        "fetch_allow": "127.0.0.1",
        "fetch_ports": str(world.port),
        "webhook_allow": "127.0.0.1",
        "webhook_ports": str(world.port),
    }
    with running(tmp_path_factory.mktemp("video"), settings=settings) as server:
        yield server


@pytest.fixture(scope="module")
def owner(server: Server) -> Application:
    return server.application()


def ended(server: Server, path: str) -> dict[str, Any]:
    ends = time.monotonic() + LATE
    while time.monotonic() < ends:
        reply = server.get(path)
        assert reply.status == 200, reply.body
        answer = dict(reply.json())
        assert set(answer) >= {"status", "uuid", "timestamp", "data", "metadata"}
        if answer["status"] not in ("pending", "started"):
            return answer
        assert answer["data"] == {}
        time.sleep(0.05)
    raise AssertionError("the conversion did not end")


def probe(data: bytes, folder: Path) -> dict[str, Any]:
    path = folder / "result"
    path.write_bytes(data)
    command = ["ffprobe", "-v", "error", "-print_format", "json", "-show_format", "-show_streams", str(path)]
    return dict(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))


def test_a_url_begins_a_job_and_tells_of_the_result(server: Server, owner: Application, clip: bytes, tmp_path: Path) -> None:
    link = server.put(owner, clip, "clip.mp4")
    path = f"/video_convert=preset:webm,width:80,height:60,filename:small/{link.handle}"
    first = server.get(path).json()
    assert first["status"] in ("pending", "started")
    assert len(first["uuid"]) == 32
    assert int(first["uuid"], 16) >= 0
    answer = ended(server, path)
    assert (answer["status"], answer["uuid"], answer["timestamp"]) == ("completed", first["uuid"], first["timestamp"])
    reply = server.get(answer["data"]["url"].removeprefix(server.url))
    assert (reply.status, reply.headers["content-type"], reply.headers["x-file-name"]) == (200, "video/webm", "small.webm")
    found = probe(reply.body, tmp_path)
    pictures = next(stream for stream in found["streams"] if stream["codec_type"] == "video")
    assert (pictures["codec_name"], pictures["width"], pictures["height"]) == ("vp9", 80, 60)
    for name, sides in (("thumb", None), ("thumb100x100", 100), ("thumb200x200", 200)):
        picture = Image.open(BytesIO(server.get(answer["data"][name].removeprefix(server.url)).body))
        assert sides is None or max(picture.size) == sides
    assert answer["metadata"]["source"]["width"] == 160


def test_the_same_url_is_the_same_job_and_its_id_asks_too(server: Server, owner: Application, clip: bytes) -> None:
    link = server.put(owner, clip, "again.mp4")
    path = f"/video_convert=preset:mp3/{link.handle}"
    uuids = {server.get(path).json()["uuid"] for _ in range(3)}
    assert len(uuids) == 1
    answer = ended(server, path)
    assert answer["status"] == "completed"
    assert ended(server, f"/video_convert/{uuids.pop()}") == answer
    other = server.get(f"/video_convert=preset:m4a/{link.handle}").json()
    assert other["uuid"] != answer["uuid"]
    forced = server.get(f"/video_convert=preset:mp3,force:true/{link.handle}").json()
    assert forced["uuid"] == answer["uuid"], "whoever polls by the URL with force must come to an end"
    handle = answer["data"]["url"].rpartition("/")[2]
    server.engine.files.remove(server.engine.files.find(handle))
    assert server.get(path).json()["uuid"] != answer["uuid"], "its result is gone"


def test_a_playlist_leads_to_its_parts_by_their_handles(server: Server, owner: Application, clip: bytes) -> None:
    link = server.put(owner, clip, "list.mp4")
    answer = ended(server, f"/video_convert=preset:hls.variant/{link.handle}")
    assert answer["status"] == "completed", answer
    todo = [answer["data"]["url"].removeprefix(server.url).removeprefix("/")]
    kinds = []
    while todo:
        reply = server.get(f"/{todo.pop()}")
        assert reply.status == 200
        kinds.append(reply.headers["content-type"])
        if reply.headers["content-type"] == "application/vnd.apple.mpegurl":
            todo += {line for line in reply.body.decode().splitlines() if line and not line.startswith("#")}
    assert kinds.count("application/vnd.apple.mpegurl") >= 2
    assert any(kind.startswith("video/") for kind in kinds)


def test_several_frames_are_told_in_their_order(server: Server, owner: Application, clip: bytes) -> None:
    link = server.put(owner, clip, "frames.mp4")
    answer = ended(server, f"/video_convert=preset:webm,width:80,frame_count:3/{link.handle}")
    assert answer["status"] == "completed", answer
    assert len(answer["data"]["thumbs"]) == 3
    assert answer["data"]["thumbs"][0] == answer["data"]["thumb"]
    pictures = [server.get(url.removeprefix(server.url)).body for url in answer["data"]["thumbs"]]
    assert len(set(pictures)) == 3


def test_an_address_is_converted_and_the_webhook_says_so(server: Server, world: Outside) -> None:
    owner = server.application()
    server.engine.webhooks.endpoints.add(owner.api_key, world.url("/hook"), events=("fp.video_converse",))
    answer = ended(server, f"/{owner.api_key}/video_convert=preset:aac/{world.url('/clip.mp4')}")
    assert answer["status"] == "completed", answer
    ends = time.monotonic() + LATE
    told: list[Any] = []
    while not told and time.monotonic() < ends:
        told = [json.loads(body) for body in world.bodies if b"fp.video_converse" in body]
        time.sleep(0.05)
    assert told[0]["action"] == "fp.video_converse"
    assert told[0]["text"]["uuid"] == answer["uuid"]
    assert told[0]["text"]["status"] == "completed"


def test_what_cannot_be_converted_fails_in_words(server: Server, owner: Application) -> None:
    link = server.put(owner, b"no video at all " * 100, "no.mp4")
    answer = ended(server, f"/video_convert/{link.handle}")
    assert answer["status"] == "failed"
    assert answer["error"]["code"] in ("unsupported", "corrupt")
    assert answer["data"] == {}


@pytest.mark.parametrize(
    "options", ["preset:exe", "width:0", "width:5000", "clip_offset:99:99:99", "fps:1000", "aspect_mode:odd", "odd:1"]
)
def test_a_wrong_option_begins_nothing(server: Server, owner: Application, clip: bytes, options: str) -> None:
    link = server.put(owner, clip, "wrong.mp4")
    reply = server.get(f"/video_convert={options}/{link.handle}")
    assert (reply.status, reply.code) == (400, "bad_task")


def test_a_conversion_stands_alone(server: Server, owner: Application, clip: bytes) -> None:
    link = server.put(owner, clip, "alone.mp4")
    for path in (f"/resize=width:10/video_convert/{link.handle}", f"/video_convert/store/{link.handle}"):
        assert server.get(path).code == "bad_task"


def test_a_secured_application_wants_a_policy_for_it(server: Server, clip: bytes) -> None:
    secured = server.application(require_policy=True)
    link = server.put(secured, clip, "secret.mp4")
    assert server.get(f"/video_convert=preset:mp3/{link.handle}").status == 403
    signed = secured.sign(expires_in=600, now=server.engine.clock(), call="convert")
    path = f"/video_convert=preset:mp3/{signed.as_task()}/{link.handle}"
    answer = ended(server, path)
    assert answer["status"] == "completed"
    assert server.get(f"/video_convert/{answer['uuid']}").status == 403
    playlist = server.get(f"/video_convert=preset:hls.variant/{signed.as_task()}/{link.handle}")
    assert playlist.status == 400
    halfway = server.application(required=("delivery",))
    link = server.put(halfway, clip, "halfway.mp4")
    playlist = server.get(f"/video_convert=preset:hls.variant/{link.handle}")
    assert (playlist.status, playlist.code) == (400, "bad_request"), "its pieces would not be delivered without a policy"
