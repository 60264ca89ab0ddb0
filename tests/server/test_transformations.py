"""Transformation URLs: every spelling gives the picture, made once, behind the decision, within the limits."""

from __future__ import annotations

import base64
import io
import json
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from live import Server, make_server, picture, running
from PIL import Image

from secure_delivery.engine.records import FileLink
from secure_delivery.gate.model import Application, Limits


def sign(application: Application, *call: str, lasting: int = 60, **limits: Any) -> Any:
    return application.sign(expires_in=lasting, now=time.time(), call=list(call) or None, **limits)


def size_of(body: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(body)) as image:
        image.load()
        return image.size


def b64(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(text.encode()).decode()


def spellings(handle: str, key: str, signed: Any) -> list[str]:
    """Official clients and the documentation, each in its own way: a picture of 300 pixels, turned by 90 degrees."""
    task, query = signed.as_task(), signed.as_query()
    policy, signature = signed.encoded, signed.signature
    chain = [{"name": "resize", "params": {"width": 300}}, {"name": "rotate", "params": {"deg": 90}}]
    secured = [{"name": "security", "params": {"policy": policy, "signature": signature}}, *chain]
    go = [{"Name": "resize", "Params": {"width": 300}}, {"Name": "rotate", "Params": {"deg": 90}}]
    return [
        f"/resize=width:300/rotate=deg:90/{handle}?{query}",
        f"/resize=w:300/rotate=d:90/{handle}?{query}",
        f"/resize=width:300/rotate=deg:90/{task}/{handle}",
        f"/{task}/resize=width:300/rotate=deg:90/{handle}",
        f"/resize=width:300/{task}/rotate=deg:90/{handle}",
        f"/{key}/resize=width:300/rotate=deg:90/{task}/{handle}",
        f"/{key}/security=signature:{signature},policy:{policy}/resize=width:300/rotate=deg:90/{handle}",
        f"/{key}/resize=fit:clip,width:300/rotate=deg:90/{handle}?{query}",
        f"/resize=w:300%2Frotate=d:90/{handle}?{query}",
        f"/resize=width:%22300%22/rotate=deg:90/{handle}?{query}",
        f"/resize%3Dwidth%3A300/rotate%3Ddeg%3A90/{handle}?{query}",
        f"/b64/{b64(chain)}/{handle}?{query}",
        f"/b64/{b64(go)}/{handle}?{query}",
        f"/{key}/b64/{b64(secured)}/b64://{b64(handle)}",
        f"/{key}/b64/{b64(secured)}/{handle}",
        f"/resize=width:300/rotate=deg:90/b64://{b64(handle)}?{query}",
    ]


@pytest.fixture(scope="module")
def secured(server: Server) -> Application:
    return server.application(require_policy=True)


@pytest.fixture(scope="module")
def source(server: Server, secured: Application) -> FileLink:
    return server.put(secured, picture(400, 200), "holiday.jpg")


def test_every_spelling_of_a_chain_gives_the_same_kept_result(every_server: Server) -> None:
    application = every_server.application(require_policy=True)
    link = every_server.put(application, picture(400, 200), "holiday.jpg")
    bodies = set()
    for number, target in enumerate(spellings(link.handle, application.api_key, sign(application, "convert"))):
        reply = every_server.get(target)
        assert reply.status == 200, (target, reply.body)
        assert size_of(reply.body) == (150, 300)
        assert reply.headers["content-type"] == "image/jpeg"
        assert reply.headers["content-disposition"] == 'inline; filename="holiday.jpg"'
        bodies.add(reply.body)
        kept = every_server.engine.renditions.of(application.api_key, link.handle)
        assert len(kept) == 1, (number, target)
    assert len(bodies) == 1


@pytest.mark.parametrize(
    ("chain", "size", "kind"),
    [
        ("resize=width:300", (300, 150), "image/jpeg"),
        ("resize=height:50", (100, 50), "image/jpeg"),
        ("crop=dim:[10,20,60,40]", (60, 40), "image/jpeg"),
        ("crop=dim:%5B10,20,60,40%5D", (60, 40), "image/jpeg"),
        ("rotate=deg:90", (200, 400), "image/jpeg"),
        ("flip/flop", (400, 200), "image/jpeg"),
        ("output=format:png", (400, 200), "image/png"),
        ("resize=width:40/output=format:webp", (40, 20), "image/webp"),
        ("quality=value:30", (400, 200), "image/jpeg"),
        ("compress", (400, 200), "image/jpeg"),
        ("no_metadata", (400, 200), "image/jpeg"),
    ],
)
def test_the_tasks_of_the_documentation_do_what_they_say(
    server: Server, secured: Application, source: FileLink, chain: str, size: tuple[int, int], kind: str
) -> None:
    reply = server.get(f"/{chain}/{source.handle}?{sign(secured, 'convert').as_query()}")
    assert reply.status == 200, reply.body
    assert (size_of(reply.body), reply.headers["content-type"]) == (size, kind)
    head = server.request("HEAD", f"/{chain}/{source.handle}?{sign(secured, 'convert').as_query()}")
    assert (head.status, head.headers["content-length"], head.body) == (200, str(len(reply.body)), b"")


def test_the_size_of_a_picture_is_told_as_json(server: Server, secured: Application, source: FileLink) -> None:
    reply = server.get(f"/resize=width:100/imagesize/{source.handle}?{sign(secured, 'convert').as_query()}")
    assert reply.json() == {"width": 100, "height": 50}
    assert reply.headers["content-type"].startswith("application/json")


def test_a_result_has_ranges_tags_and_downloads_like_a_file(server: Server, secured: Application, source: FileLink) -> None:
    target = f"/resize=width:120/{source.handle}?{sign(secured, 'convert').as_query()}"
    whole = server.get(target)
    assert server.get(target, {"Range": "bytes=2-9"}).body == whole.body[2:10]
    assert server.get(target, {"If-None-Match": whole.headers["etag"]}).status == 304
    assert server.get(target + "&dl=true").headers["content-disposition"].startswith("attachment")


BAD = [
    ("/resise=width:3/{handle}", 400, "bad_task"),
    ("/resize=width:0/{handle}", 400, "bad_task"),
    ("/resize=width:10001/{handle}", 400, "bad_task"),
    ("/resize=width:a/{handle}", 400, "bad_task"),
    ("/resize=width:3,width:4/{handle}", 400, "bad_task"),
    ("/resize=width:3,w:4/{handle}", 400, "bad_task"),
    ("/resize=colour:red/{handle}", 400, "bad_task"),
    ("/resize/{handle}", 400, "bad_task"),
    ("/resize=/{handle}", 400, "bad_task"),
    ("/=/{handle}", 400, "bad_task"),
    ("/resize=width:%223/{handle}", 400, "bad_task"),
    ("/resize=width:[3/{handle}", 400, "bad_task"),
    ("/resize=width:3/%00/{handle}", 400, "bad_task"),
    ("/resize=width:3/../{handle}", 400, "bad_task"),
    ("/b64/bm9uc2Vuc2U/{handle}", 400, "bad_task"),
    ("/b64/%%%/{handle}", 400, "bad_task"),
    ("/" + "flip/" * 33 + "{handle}", 400, "bad_task"),
    ("/flip/" + "a" * 9000 + "/{handle}", 400, "bad_task"),
    ("/resize=width:3/" + "Z" * 21, 404, "not_found"),
    ("/resize=width:3/short", 400, "bad_task"),
    ("/resize=width:3/https://example.org/a.png", 401, "unknown_application"),
    ("/{key}/resize=width:3/https%3A%2F%2F10.0.0.1%2Fa.png", 422, "source_unavailable"),
    ("/{key}/resize=width:3/%22http://169.254.169.254/a.png%22", 422, "source_unavailable"),
    ("/{key}/resize=width:3/src://bucket/a.png", 400, "bad_request"),
    ("/{key}/resize=width:3/[{handle},{handle}]", 400, "bad_task"),
    ("/{key}/resize=width:3/wf://abcdef", 404, "not_found"),
    ("/Anobodyhasthiskey1234z/resize=width:3/{handle}", 401, "unknown_application"),
]


@pytest.mark.parametrize(("target", "status", "code"), BAD)
def test_a_chain_that_cannot_run_says_why_before_anything_runs(
    every_server: Server, target: str, status: int, code: str
) -> None:
    application = every_server.application()
    link = every_server.put(application, picture(20, 10), "a.jpg")
    reply = every_server.get(target.format(handle=link.handle, key=application.api_key))
    assert (reply.status, reply.code) == (status, code), reply.body
    assert every_server.engine.renditions.of(application.api_key, link.handle) == []


def test_a_chain_of_more_files_than_one_job_takes_is_refused(server: Server) -> None:
    application = server.application()
    link = server.put(application, picture(20, 10), "a.jpg")
    collage = f"collage=files:[{','.join([link.handle] * 67)}],width:60,height:60"
    reply = server.get(f"/{collage}/{collage}/{collage}/{link.handle}")
    assert (reply.status, reply.code) == (400, "bad_task"), reply.body
    assert "at most 200 files" in reply.json()["error"]["message"]


def test_a_refusal_of_a_task_helps_and_tells_a_near_name(server: Server) -> None:
    link = server.put(server.application(), b"x")
    said = server.get(f"/resise=width:3/{link.handle}").json()["error"]["message"]
    assert "resise" in said and "resize" in said
    said = server.get(f"/resize=widht:3/{link.handle}").json()["error"]["message"]
    assert "widht" in said and "'width'" in said


# ------------------------------------------------------------------------------------------------------ limits, bad files


def header_only_png(width: int, height: int) -> bytes:
    """A PNG that announces a size and has next to no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (header_only_png(10_001, 10_000), 413, "too_large"),
        (header_only_png(2**31 - 1, 2**31 - 1), 413, "too_large"),
        (header_only_png(10_000, 10_000), 422, "corrupt"),
        (picture(400, 300)[:2000], 422, "corrupt"),
        (b"\xff\xd8\xff\xe0 no picture", 422, "corrupt"),
        (b"just words", 415, "unsupported"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><!ENTITY a 'b'></svg>", 422, "corrupt"),
        (b"%PDF-1.7", 415, "unsupported"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", 415, "unsupported"),
    ],
)
def test_a_file_that_cannot_be_transformed_is_a_4xx_with_its_reason_and_leaves_nothing(
    server: Server, content: bytes, status: int, code: str
) -> None:
    application = server.application()
    link = server.put(application, content, "a.jpg")
    before = server.blobs()
    reply = server.get(f"/resize=width:10/{link.handle}")
    assert (reply.status, reply.code) == (status, code), reply.body
    assert server.blobs() == before
    assert list((server.data / "work").iterdir()) == []
    assert server.get("/health/ready").status == 200


def test_the_limits_of_an_application_narrow_those_of_the_server(server: Server) -> None:
    data = picture(100, 101)
    application = server.application(limits=Limits(max_pixels=10_000))
    link = server.put(application, data, "a.jpg")
    assert server.get(f"/resize=width:10/{link.handle}").code == "too_large"
    server.engine.records.update_application(application.api_key, limits=Limits(max_bytes=len(data) - 1))
    assert server.get(f"/resize=width:10/{link.handle}").code == "too_large"
    server.engine.records.update_application(application.api_key, limits=Limits(max_bytes=len(data)))
    assert server.get(f"/resize=width:10/{link.handle}").status == 200


# ------------------------------------------------------------------------------------- kept results behind the decision


@pytest.fixture(scope="module")
def two_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Two server processes on the same data."""
    folder = tmp_path_factory.mktemp("two")
    with running(folder) as first:
        second = make_server(folder)
        try:
            second.start()
            yield first, second
        finally:
            second.stop()
            second.engine.close()


def test_a_kept_result_is_denied_by_every_process_once_policy_or_secret_are_out_of_date(
    two_servers: tuple[Server, Server],
) -> None:
    first, second = two_servers
    application = first.application(require_policy=True)
    link = first.put(application, picture(40, 20), "a.jpg")
    signed = sign(application, "convert", lasting=3600).as_query()
    target = f"/resize=width:10/{link.handle}"
    bodies = {server.get(f"{target}?{signed}").body for server in two_servers}
    assert len(bodies) == 1
    assert len(first.engine.renditions.of(application.api_key, link.handle)) == 1
    for server in two_servers:
        expired = application.sign(expires_in=60, now=time.time() - 100).as_query()
        assert server.get(f"{target}?{expired}").code == "policy_expired"
        assert server.get(f"{target}?{expired}", {"If-None-Match": "*"}).code == "policy_expired"
        assert server.get(target).code == "policy_required"
        assert server.get(f"{target}?{sign(application, 'read').as_query()}").code == "not_permitted"
    second.engine.records.rotate_secret(application.api_key)
    for server in two_servers:
        assert server.get(f"{target}?{signed}").code == "signature_invalid"
        fresh = sign(server.current(application.api_key), "convert").as_query()
        assert server.get(f"{target}?{fresh}").body in bodies
    second.engine.records.update_application(application.api_key, require_policy=False)
    assert {server.get(target).status for server in two_servers} == {200}
    first.engine.records.update_application(application.api_key, require_policy=True)
    assert {server.get(target).status for server in two_servers} == {403}


def test_both_processes_drop_results_with_their_file(two_servers: tuple[Server, Server]) -> None:
    first, second = two_servers
    application = first.application()
    link = first.put(application, picture(40, 20), "a.jpg")
    signed = sign(application).as_query()
    target = f"/resize=width:10/{link.handle}"
    old = {server.get(target).body for server in two_servers}
    assert first.post(f"/api/file/{link.handle}?{signed}", picture(20, 40)).status == 200
    new = {server.get(target).body for server in two_servers}
    assert len(new) == 1 and new != old and size_of(new.pop()) == (10, 20)
    assert second.request("DELETE", f"/api/file/{link.handle}?{signed}").status == 200
    assert {server.get(target).status for server in two_servers} == {404}
    stored = {path.name for path in first.blobs()}
    assert stored.isdisjoint({link.key}) and first.engine.records.count_files(application.api_key) == 0


def test_however_many_ask_two_processes_for_a_new_picture_it_is_made_once(two_servers: tuple[Server, Server]) -> None:
    application = two_servers[0].application()
    link = two_servers[0].put(application, picture(2000, 1500), "a.jpg")
    with ThreadPoolExecutor(32) as pool:
        replies = list(pool.map(lambda n: two_servers[n % 2].get(f"/resize=width:1000/{link.handle}"), range(32)))
    assert {reply.status for reply in replies} == {200}
    assert len({reply.body for reply in replies}) == 1
    assert len(two_servers[0].engine.renditions.of(application.api_key, link.handle)) == 1


# ---------------------------------------------------------------------------- chains that take long, counted where they run


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(
        tmp_path_factory.mktemp("counted"),
        runner="uvicorn",
        factory="counted_server:application",
        settings={"decode_queue": 60, "decode_wait": 20},
    ) as server:
        yield server


def runs(server: Server) -> int:
    file = server.data / "runs.txt"
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_equal_requests_at_the_same_moment_run_one_chain(counted: Server) -> None:
    link = counted.put(counted.application(), b"words")
    before = runs(counted)
    with ThreadPoolExecutor(32) as pool:
        replies = list(pool.map(lambda _: counted.get(f"/nap=number:500/shout/{link.handle}"), range(32)))
    assert {(reply.status, reply.body) for reply in replies} == {(200, b"WORDS")}
    assert runs(counted) == before + 1
    kept = counted.engine.renditions.of(link.application, link.handle)
    assert len(kept) == 1


def test_equal_requests_that_fail_run_one_chain_and_all_are_told(counted: Server) -> None:
    link = counted.put(counted.application(), b"words")
    before = runs(counted)
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda _: counted.get(f"/nap=number:500/refuse/{link.handle}"), range(16)))
    assert {(reply.status, reply.json()["error"]["message"]) for reply in replies} == {(415, "A sentence for the client.")}
    assert runs(counted) == before + 1


def test_a_decoder_that_crashes_is_a_4xx_and_nobody_else_notices(counted: Server) -> None:
    link = counted.put(counted.application(), b"words")
    assert counted.get(f"/crash/{link.handle}").code == "corrupt"
    assert counted.get(f"/shout/{link.handle}").body == b"WORDS"


def test_plain_files_are_delivered_while_more_transformations_wait_than_there_are_threads(counted: Server) -> None:
    # Waiting transformations once held the threads that read files, so that a large file came after all of them.
    application = counted.application()
    large = counted.put(application, b"x" * 1_000_000)
    links = [counted.put(application, b"words %d" % number) for number in range(50)]
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda link=link: statuses.append(counted.get(f"/nap=number:100/{link.handle}").status))
        for link in links
    ]
    before = runs(counted)
    for thread in threads:
        thread.start()
    while runs(counted) == before:
        pass
    for _ in range(5):
        assert len(counted.get(f"/{large.handle}").body) == 1_000_000
    assert len(statuses) < 50, "the files came before the last transformation"
    for thread in threads:
        thread.join()
    assert set(statuses) == {200}


def test_what_does_not_fit_the_queue_is_told_at_once_to_come_again(tmp_path: Path) -> None:
    settings = {"decoders": 1, "decode_queue": 2, "decode_wait": 20}
    with running(tmp_path, runner="uvicorn", factory="counted_server:application", settings=settings) as server:
        application = server.application()
        links = [server.put(application, b"words %d" % number) for number in range(12)]
        with ThreadPoolExecutor(12) as pool:
            replies = list(pool.map(lambda link: server.get(f"/nap=number:700/{link.handle}"), links))
        busy = [reply for reply in replies if reply.status == 429]
        assert {reply.status for reply in replies} == {200, 429} and busy
        assert {(reply.code, reply.headers["retry-after"]) for reply in busy} == {("overloaded", "2")}
        assert server.get(f"/shout/{links[0].handle}").status == 200


def test_a_file_that_is_deleted_while_it_is_transformed_leaves_no_result(counted: Server) -> None:
    application = counted.application()
    link = counted.put(application, b"words")
    before, stored = runs(counted), counted.blobs()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(counted.get, f"/nap=number:800/shout/{link.handle}")
        while runs(counted) == before:
            pass
        signed = sign(application).as_query()
        assert counted.request("DELETE", f"/api/file/{link.handle}?{signed}").status == 200
        assert waiting.result().code == "not_found"
    assert {path.name for path in counted.blobs()} == {path.name for path in stored} - {link.key}


def test_a_file_that_is_overwritten_while_it_is_transformed_never_answers_with_a_mixture(counted: Server) -> None:
    application = counted.application()
    link = counted.put(application, b"old")
    before = runs(counted)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(counted.get, f"/nap=number:500/shout/{link.handle}")
        while runs(counted) == before:
            pass
        assert counted.post(f"/api/file/{link.handle}?{sign(application).as_query()}", b"new").status == 200
        assert waiting.result().body in (b"OLD", b"NEW")
    assert counted.get(f"/nap=number:500/shout/{link.handle}").body == b"NEW"


def test_a_result_whose_bytes_are_lost_is_made_again(counted: Server) -> None:
    link = counted.put(counted.application(), b"words")
    assert counted.get(f"/shout/{link.handle}").body == b"WORDS"
    (kept,) = counted.engine.renditions.of(link.application, link.handle)
    counted.engine.renditions.forget(kept)
    assert counted.get(f"/shout/{link.handle}").body == b"WORDS"


def test_a_result_of_many_bytes_is_sent_in_pieces(counted: Server) -> None:
    link = counted.put(counted.application(), b"0123456789" * 200)
    reply = counted.get(f"/repeat=number:1000/{link.handle}")
    assert reply.body == b"0123456789" * 200_000
    assert counted.get(f"/repeat=number:1000/{link.handle}", {"Range": "bytes=-3"}).body == b"789"
