"""Multipart uploads against a strict server that fails on demand: nothing is lost, nothing is asked in vain."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recorder import HANDLE, KEY, QUICK, Recorder

from secure_delivery.client import (
    Client,
    Denied,
    NetworkError,
    NotFound,
    ProtocolError,
    ResponseError,
    Retry,
    ServerError,
    SourceChanged,
    State,
    TooMany,
    UploadError,
)
from secure_delivery.gate.policy import Policy, SignedPolicy

Connect = Callable[..., Any]
PART = 5 << 20
DATA = b"".join(bytes([number]) * PART for number in range(3)) + b"the end"  # four parts, each of them different


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("upload") / "big file.bin"
    path.write_bytes(DATA)
    return path


def arrived(recorder: Recorder) -> bool:
    """Whether exactly the file is there, part by part."""
    slices = [DATA[offset : offset + PART] for offset in range(0, len(DATA), PART)]
    return recorder.session.digests == {n: hashlib.md5(part).hexdigest() for n, part in enumerate(slices, 1)}


def sent(recorder: Recorder) -> list[int]:
    """The part of each PUT, in order."""
    return [recorder.tickets[asked.path.rpartition("/")[2]][1] for asked in recorder.steps("put")]


# ----------------------------------------------------------------------------------------------------------- the protocol


def test_a_file_arrives_whole_and_the_answer_says_what_the_server_said(connect: Connect, recorder: Recorder, big: Path) -> None:
    file = connect(recorder.url, api_key=KEY).upload(
        big, part_size=PART, tags={"a": "b"}, path="/x/", container="c", access="private", workflows=["w1"]
    )
    assert arrived(recorder)
    assert recorder.session.done
    assert (file.handle, file.filename, file.size, file.container) == (HANDLE, "big file.bin", len(DATA), "c")
    assert file.mimetype == "application/octet-stream"
    assert file.tags == {"a": "b"}
    assert file.jobs == {"w1": "job-w1"}
    (start,) = recorder.steps("start")
    store = {"location": "s3", "path": "/x/", "container": "c", "access": "private", "workflows": ["w1"]}
    assert start.json["store"] == store
    assert start.json["size"] == len(DATA)
    assert start.headers["filestack-source"].startswith("secure-delivery-python/")
    assert start.headers["user-agent"] == start.headers["filestack-source"]


@pytest.mark.parametrize(
    "source",
    [
        lambda path: str(path),
        lambda path: path.read_bytes(),
        lambda path: memoryview(path.read_bytes()),
        lambda path: io.BytesIO(path.read_bytes()),
    ],
    ids=["str", "bytes", "memoryview", "BytesIO"],
)
def test_paths_bytes_and_file_objects_are_the_same_to_it(
    connect: Connect, recorder: Recorder, big: Path, source: Callable[[Path], Any]
) -> None:
    connect(recorder.url, api_key=KEY).upload(source(big), part_size=PART, filename="n.bin")
    assert arrived(recorder)
    assert recorder.steps("start")[0].json["filename"] == "n.bin"


class Pipe(io.RawIOBase):
    """A stream that cannot seek, and gives less than it is asked for."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, 100_000) if size >= 0 else size)


@pytest.mark.parametrize("size", [len(DATA), None], ids=["said", "unknown"])
def test_a_stream_that_cannot_seek_arrives_with_and_without_its_size(
    connect: Connect, recorder: Recorder, size: int | None
) -> None:
    connect(recorder.url, api_key=KEY).upload(Pipe(DATA), filename="a.bin", size=size, part_size=PART, concurrency=3)
    assert arrived(recorder)


def test_a_file_object_is_sent_from_where_it_stands_and_stays_open(connect: Connect, recorder: Recorder) -> None:
    stream = io.BytesIO(b"skipped" + DATA)
    stream.seek(len(b"skipped"))
    connect(recorder.url, api_key=KEY).upload(stream, part_size=PART)
    assert arrived(recorder)
    assert not stream.closed


@pytest.mark.parametrize("said", [len(DATA) + 1, len(DATA) - 1])
def test_a_stream_of_another_length_than_said_is_never_completed(connect: Connect, recorder: Recorder, said: int) -> None:
    with pytest.raises(UploadError) as caught:
        connect(recorder.url, api_key=KEY).upload(Pipe(DATA), filename="a", size=said, part_size=PART)
    assert isinstance(caught.value.__cause__, SourceChanged)
    assert recorder.steps("complete") == []


def test_parts_are_under_way_at_the_same_time_and_never_more_than_asked_for(
    connect: Connect, recorder: Recorder, big: Path
) -> None:
    recorder.meet(2)
    connect(recorder.url, api_key=KEY).upload(big, part_size=PART, concurrency=2)
    assert recorder.most_at_once == 2
    assert arrived(recorder)


def test_one_at_a_time_goes_in_order(connect: Connect, recorder: Recorder, big: Path) -> None:
    connect(recorder.url, api_key=KEY).upload(big, part_size=PART, concurrency=1)
    assert sent(recorder) == [1, 2, 3, 4]
    assert recorder.most_at_once == 1


def test_connections_are_used_again(recorder: Recorder, big: Path) -> None:
    with Client(recorder.url, api_key=KEY, retry=QUICK) as client:
        client.upload(big, part_size=PART, concurrency=1)
    assert len(recorder.asked) == 10
    assert len({asked.connection for asked in recorder.asked}) == 1


def test_a_small_file_takes_one_request_unless_it_has_tags(connect: Connect, recorder: Recorder) -> None:
    client = connect(recorder.url, api_key=KEY)
    file = client.upload(b"small", filename="ü &.txt", path="/x/")
    (asked,) = recorder.asked
    assert (asked.path, asked.body) == ("/api/store/S3", b"small")
    assert asked.query == {"key": KEY, "filename": "ü &.txt", "mimetype": "text/plain", "path": "/x/"}
    assert (file.handle, file.mimetype, file.size) == (HANDLE, "text/plain", 5)
    client.upload(b"small", tags={"a": "b"})
    assert recorder.session.done


def test_json_is_sent_as_a_file_and_never_as_json(connect: Connect, recorder: Recorder) -> None:
    """A server takes a JSON body of the store endpoint for parameters: a URL to fetch, for one."""
    connect(recorder.url, api_key=KEY).upload(b'{"url": "http://elsewhere.test/"}', filename="a.json")
    (asked,) = recorder.asked
    assert asked.headers["content-type"] == "application/octet-stream"
    assert asked.query["mimetype"] == "application/json"


def test_progress_grows_from_nothing_to_everything(connect: Connect, recorder: Recorder, big: Path) -> None:
    seen: list[tuple[int, int]] = []
    connect(recorder.url, api_key=KEY).upload(big, part_size=PART, progress=lambda *step: seen.append(step))
    assert [total for _, total in seen] == [len(DATA)] * 5
    done = [step for step, _ in seen]
    assert done[0] == 0
    assert done[-1] == len(DATA)
    assert done == sorted(set(done))


def test_what_progress_raises_ends_the_upload(connect: Connect, recorder: Recorder, big: Path) -> None:
    class Enough(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done:
            raise Enough

    with pytest.raises(Enough):
        connect(recorder.url, api_key=KEY).upload(big, part_size=PART, concurrency=1, progress=stop)
    assert sent(recorder) == [1]


def test_memory_is_that_of_the_parts_under_way_and_not_of_the_file(
    connect: Connect, recorder: Recorder, tmp_path: Path
) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(20 * PART)
    client = connect(recorder.url, api_key=KEY)
    tracemalloc.start()
    try:
        client.upload(path, part_size=PART, concurrency=2)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert recorder.session.done
    assert peak < 4 * PART, "two parts, and what the sockets of both sides hold"


# ------------------------------------------------------------------------------------------------------- it gets through


@pytest.mark.parametrize("step", ["start", "upload", "put", "complete"])
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500, "times": 3},
        {"status": 503, "times": 2},
        {"status": 429, "headers": {"Retry-After": "0"}, "times": 2},
        {"kind": "reset", "times": 2},
    ],
    ids=["500", "503", "429", "reset"],
)
def test_what_may_be_different_next_time_is_tried_again(
    connect: Connect, recorder: Recorder, big: Path, step: str, fault: dict[str, Any]
) -> None:
    recorder.fail(step, **fault)
    connect(recorder.url, api_key=KEY).upload(big, part_size=PART)
    assert arrived(recorder)
    assert recorder.session.done
    usual = {"start": 1, "upload": 4, "put": 4, "complete": 1}[step]
    assert len(recorder.steps(step)) == usual + fault["times"]


@pytest.mark.parametrize("step", ["upload", "put", "complete"])
def test_a_lost_answer_is_asked_for_again(connect: Connect, recorder: Recorder, big: Path, step: str) -> None:
    recorder.fail(step, kind="reset", late=True)
    connect(recorder.url, api_key=KEY).upload(big, part_size=PART)
    assert arrived(recorder)
    assert recorder.session.done


def test_a_server_that_falls_silent_is_asked_again(connect: Connect, recorder: Recorder, big: Path) -> None:
    recorder.fail("put", kind="silence", part=2)
    connect(recorder.url, api_key=KEY, timeout=0.5).upload(big, part_size=PART)
    assert arrived(recorder)
    assert sorted(sent(recorder)) == [1, 2, 2, 3, 4]


@pytest.mark.parametrize("status", [403, 401, 410])
def test_an_address_that_ran_out_is_replaced_by_a_fresh_one(
    connect: Connect, recorder: Recorder, big: Path, status: int
) -> None:
    recorder.fail("put", status=status, part=3, body=b"<Error><Code>RequestTimeTooSkewed</Code></Error>")
    connect(recorder.url, api_key=KEY).upload(big, part_size=PART)
    assert arrived(recorder)
    assert sorted(asked.json["part"] for asked in recorder.steps("upload")) == [1, 2, 3, 3, 4]
    paths = [asked.path for asked in recorder.steps("put")]
    assert len(set(paths)) == 5


def test_a_bucket_that_waited_for_a_body_in_vain_is_asked_again(connect: Connect, recorder: Recorder, big: Path) -> None:
    late = b"<Error><Code>RequestTimeout</Code><Message>Your socket connection was idle.</Message></Error>"
    recorder.fail("put", status=400, body=late)
    connect(recorder.url, api_key=KEY).upload(big, part_size=PART)
    assert arrived(recorder)


def test_not_ready_yet_is_asked_again_until_it_is(
    connect: Connect, recorder: Recorder, big: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secure_delivery.client.multipart._WAIT", 0.001)
    recorder.not_ready = 3
    assert connect(recorder.url, api_key=KEY).upload(big, part_size=PART).handle == HANDLE
    assert len(recorder.steps("complete")) == 4


# ----------------------------------------------------------------------------------------------------------- it gives up


def test_a_refusal_at_the_start_is_raised_as_what_it_is_and_asked_for_once(
    connect: Connect, recorder: Recorder, big: Path
) -> None:
    body = b'{"error": {"code": "policy_expired", "message": "The policy has expired."}}'
    recorder.fail("start", status=403, body=body)
    with pytest.raises(Denied) as caught:
        connect(recorder.url, api_key=KEY).upload(big, part_size=PART)
    assert (caught.value.status, caught.value.code) == (403, "policy_expired")
    assert caught.value.message == "The policy has expired."
    assert len(recorder.asked) == 1


@pytest.mark.parametrize("step", ["upload", "put", "complete"])
@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_4xx_is_final(connect: Connect, recorder: Recorder, big: Path, step: str, status: int) -> None:
    recorder.fail(step, status=status, times=99)
    with pytest.raises(UploadError) as caught:
        connect(recorder.url, api_key=KEY).upload(big, part_size=PART, concurrency=1)
    assert caught.value.status == status
    assert isinstance(caught.value.__cause__, ResponseError)
    assert len(recorder.steps(step)) == 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [({"status": 500}, ServerError), ({"status": 429}, TooMany), ({"kind": "reset"}, NetworkError)],
    ids=["500", "429", "reset"],
)
def test_after_all_attempts_the_last_fault_is_raised(
    connect: Connect, recorder: Recorder, big: Path, fault: dict[str, Any], kind: type[Exception]
) -> None:
    recorder.fail("put", times=99, **fault)
    with pytest.raises(UploadError) as caught:
        connect(recorder.url, api_key=KEY).upload(big, part_size=PART, concurrency=1)
    assert isinstance(caught.value.__cause__, kind)
    assert len(recorder.steps("put")) == QUICK.attempts


def test_an_address_that_is_refused_again_and_again_is_final(connect: Connect, recorder: Recorder, big: Path) -> None:
    recorder.fail("put", status=403, times=99)
    with pytest.raises(UploadError):
        connect(recorder.url, api_key=KEY).upload(big, part_size=PART, concurrency=1)
    assert len(recorder.steps("upload")) == 4


def test_a_server_that_asks_for_more_patience_than_there_is_gets_none(connect: Connect, recorder: Recorder, big: Path) -> None:
    recorder.fail("start", status=429, headers={"Retry-After": "3600"}, times=99)
    with pytest.raises(TooMany) as caught:
        connect(recorder.url, api_key=KEY).upload(big, part_size=PART)
    assert caught.value.retry_after == 3600
    assert len(recorder.asked) == 1


@pytest.mark.parametrize("part", [1, 2])
def test_one_part_that_fails_ends_the_others(connect: Connect, recorder: Recorder, tmp_path: Path, part: int) -> None:
    recorder.meet(2)  # so that two workers have one part each
    path = tmp_path / "long"
    with path.open("wb") as file:
        file.truncate(30 * PART)
    recorder.fail("put", status=400, part=part)
    with pytest.raises(UploadError) as caught:
        connect(recorder.url, api_key=KEY).upload(path, part_size=PART, concurrency=2)
    assert caught.value.status == 400
    assert len(recorder.steps("put")) < 10


def test_a_storage_without_etags_is_told_as_such(connect: Connect, recorder: Recorder, big: Path) -> None:
    recorder.fail("put", kind="no etag")
    with pytest.raises(UploadError) as caught:
        connect(recorder.url, api_key=KEY).upload(big, part_size=PART)
    assert isinstance(caught.value.__cause__, ProtocolError)


@pytest.mark.parametrize(
    ("place", "held"), [("http://{at}/deep", True), ("http://{at}", True), ("ftp://{at}", False), ("https://", False)]
)
def test_later_requests_go_where_the_server_says_or_nowhere(
    connect: Connect, recorder: Recorder, big: Path, place: str, held: bool
) -> None:
    recorder.location = place.format(at=recorder.at)
    client = connect(recorder.url, api_key=KEY)
    if held:
        client.upload(big, part_size=PART)
        path = recorder.location.partition(recorder.at)[2]
        assert {asked.path for asked in recorder.steps("complete")} == {f"{path}/multipart/complete"}
    else:
        with pytest.raises(UploadError):
            client.upload(big, part_size=PART)
        assert [asked.step for asked in recorder.asked] == ["start"]


# --------------------------------------------------------------------------------------------------------- it goes on later


def test_after_a_fault_only_what_is_missing_is_sent(connect: Connect, recorder: Recorder, big: Path) -> None:
    recorder.fail("put", status=400, part=3)
    client = connect(recorder.url, api_key=KEY)
    with pytest.raises(UploadError) as caught:
        client.upload(big, part_size=PART, concurrency=1, tags={"a": "b"})
    state = caught.value.state
    assert state is not None
    assert sorted(state.parts) == [1, 2]
    before = len(recorder.asked)
    seen: list[int] = []
    file = client.upload(
        big, resume=State.from_json(state.to_json()), concurrency=1, progress=lambda done, total: seen.append(done)
    )
    assert [asked.step for asked in recorder.asked[before:]] == ["upload", "put", "upload", "put", "complete"]
    assert arrived(recorder)
    assert seen == [2 * PART, 3 * PART, len(DATA)]
    assert file.tags == {"a": "b"}


def test_a_checkpoint_survives_what_no_error_can_tell(connect: Connect, recorder: Recorder, big: Path) -> None:
    kept: list[str] = []

    def note(state: State) -> None:
        kept.append(state.to_json())
        if len(state.parts) == 2:
            raise KeyboardInterrupt

    client = connect(recorder.url, api_key=KEY)
    with pytest.raises(KeyboardInterrupt):
        client.upload(big, part_size=PART, concurrency=1, checkpoint=note)
    client.upload(big, resume=State.from_json(kept[-1]), concurrency=1)
    assert sent(recorder) == [1, 2, 3, 4]
    assert arrived(recorder)


def test_a_part_that_is_another_one_by_now_is_sent_again(connect: Connect, recorder: Recorder, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"another beginning".ljust(PART, b"-") + DATA[PART:])
    recorder.fail("put", status=400, part=3)
    client = connect(recorder.url, api_key=KEY)
    with pytest.raises(UploadError) as caught:
        client.upload(path, part_size=PART, concurrency=1)
    path.write_bytes(DATA)
    client.upload(path, resume=caught.value.state, concurrency=1)
    assert sent(recorder) == [1, 2, 3, 1, 3, 4]
    assert arrived(recorder)


def test_a_stream_that_cannot_seek_is_resumed_from_its_beginning(connect: Connect, recorder: Recorder) -> None:
    recorder.fail("put", status=400, part=4)
    client = connect(recorder.url, api_key=KEY)
    with pytest.raises(UploadError) as caught:
        client.upload(Pipe(DATA), filename="a", size=len(DATA), part_size=PART, concurrency=1)
    client.upload(Pipe(DATA), size=len(DATA), resume=caught.value.state, concurrency=1)
    assert sent(recorder) == [1, 2, 3, 4, 4]
    assert arrived(recorder)


def test_parts_that_complete_refuses_are_all_sent_again(connect: Connect, recorder: Recorder, big: Path) -> None:
    recorder.fail("put", kind="wrong etag", part=2)
    client = connect(recorder.url, api_key=KEY)
    with pytest.raises(UploadError) as caught:
        client.upload(big, part_size=PART, concurrency=1)
    assert caught.value.message == "invalid params: parts"
    client.upload(big, resume=caught.value.state, concurrency=1)
    assert sent(recorder) == [1, 2, 3, 4, 1, 2, 3, 4]
    assert recorder.session.done


def test_an_upload_that_the_server_forgot_has_no_state_to_go_on_from(connect: Connect, recorder: Recorder, big: Path) -> None:
    recorder.fail("upload", status=404, part=2)
    with pytest.raises(UploadError) as caught:
        connect(recorder.url, api_key=KEY).upload(big, part_size=PART, concurrency=1)
    assert isinstance(caught.value.__cause__, NotFound)
    assert caught.value.state is None


def test_a_file_of_another_size_resumes_nothing(connect: Connect, recorder: Recorder, big: Path) -> None:
    recorder.fail("put", status=400)
    client = connect(recorder.url, api_key=KEY)
    with pytest.raises(UploadError) as caught:
        client.upload(big, part_size=PART, concurrency=1)
    before = len(recorder.asked)
    with pytest.raises(ValueError, match="not 5"):
        client.upload(b"short", resume=caught.value.state)
    assert len(recorder.asked) == before


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"parts": 1}', "{", '{"parts": {"x": []}}'])
def test_a_text_that_is_no_state_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the state"):
        State.from_json(text)


# ------------------------------------------------------------------------------------------------------------ credentials


def test_the_credential_is_a_brief_policy_for_uploads_and_goes_to_the_server_only(
    connect: Connect, recorder: Recorder, big: Path
) -> None:
    secret = "s3cret-of-the-application"
    connect(recorder.url, api_key=KEY, secret=secret, clock=lambda: 1000.0).upload(big, part_size=PART)
    (start,) = recorder.steps("start")
    policy = Policy.decode(start.json["policy"])
    assert policy.call == {"pick", "store"}
    assert policy.expiry == 1900
    assert policy.sign(secret.encode()).signature == start.json["signature"]
    (complete,) = recorder.steps("complete")
    assert complete.json["policy"] == start.json["policy"]
    for asked in recorder.steps("put"):
        assert "policy" not in asked.query
    everything = b"".join(asked.body + json.dumps(asked.headers).encode() + asked.path.encode() for asked in recorder.asked)
    assert secret.encode() not in everything
    assert base64.b64encode(secret.encode())[:-4] not in everything


def test_an_upload_that_outlives_its_policy_is_completed_with_a_fresh_one(
    connect: Connect, recorder: Recorder, big: Path
) -> None:
    times = iter([1000.0, 2000.0])
    recorder.fail("complete", status=403)
    connect(recorder.url, api_key=KEY, secret="s", clock=lambda: next(times)).upload(big, part_size=PART)
    first, second = (Policy.decode(asked.json["policy"]).expiry for asked in recorder.steps("complete"))
    assert (first, second) == (1900, 2900)


def test_a_policy_that_was_given_is_shown_as_it_is(connect: Connect, recorder: Recorder, big: Path) -> None:
    given = SignedPolicy("cG9saWN5", "0" * 64)
    connect(recorder.url, api_key=KEY, signed=given).upload(big, part_size=PART)
    for step in ("start", "complete"):
        assert {**recorder.steps(step)[0].json, **given.as_fields()} == recorder.steps(step)[0].json


def test_neither_secret_nor_upload_id_is_in_any_repr_or_error(recorder: Recorder, big: Path) -> None:
    secret = "s3cret-of-the-application"
    recorder.fail("put", status=400, times=9)
    with Client(recorder.url, api_key=KEY, secret=secret, retry=QUICK) as client:
        with pytest.raises(UploadError) as caught:
            client.upload(big, part_size=PART, tags={"a": "b"})
        (upload_id,) = recorder.sessions
        state = caught.value.state
        shown = " ".join(map(repr, (client, client._core.signer, caught.value, caught.value.__cause__, state)))
        assert secret not in shown + str(caught.value)
        assert f"upload_id={upload_id!r}" not in shown
        assert "upload_id" not in repr(state)


@pytest.mark.parametrize(
    "arguments",
    [
        {"base": "files.example.org", "api_key": KEY},
        {"base": "https://a:b@files.example.org", "api_key": KEY},
        {"base": "https://files.example.org/?x=1", "api_key": KEY},
        {"base": "https://files.example.org", "api_key": "a/b"},
        {"base": "https://files.example.org", "api_key": KEY, "secret": ""},
        {"base": "https://files.example.org", "api_key": KEY, "secret": "s", "signed": SignedPolicy("a", "b")},
    ],
)
def test_a_client_that_cannot_be_meant_is_not_made(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Client(arguments.pop("base"), **arguments)


@pytest.mark.parametrize("options", [{"part_size": 5 * 2**20 - 1}, {"size": -1}, {"concurrency": 0}])
def test_numbers_that_cannot_be_meant_are_refused(recorder: Recorder, big: Path, options: dict[str, int]) -> None:
    with Client(recorder.url, api_key=KEY) as client, pytest.raises(ValueError, match=r"\w"):
        client.upload(big, **options)  # type: ignore[arg-type]


def test_text_is_no_file(recorder: Recorder) -> None:
    with Client(recorder.url, api_key=KEY) as client, pytest.raises(TypeError, match="binary"):
        client.upload(io.StringIO("text"))  # type: ignore[arg-type]
    assert recorder.asked == []


def test_a_client_may_be_used_by_several_threads_at_once(recorder: Recorder, tmp_path: Path) -> None:
    contents = [os.urandom(PART + number) for number in range(4)]
    with Client(recorder.url, api_key=KEY, retry=Retry(attempts=2, first=0.001)) as client:
        threads = [threading.Thread(target=client.upload, args=(data,), kwargs={"part_size": PART}) for data in contents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(session.done for session in recorder.sessions.values())
    assert {session.digests[1] for session in recorder.sessions.values()} == {
        hashlib.md5(data[:PART]).hexdigest() for data in contents
    }
