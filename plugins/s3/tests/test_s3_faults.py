"""Failures by class: what is tried again, what is final, what is told to whom, and what is told to nobody."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from s3_bench import KEY_ID, SECRET, TOKEN, Bench, Dialler, get, put
from s3_server import S3Server

from secure_delivery.plugin import BadRequest, SecureDeliveryError, StorageFault, StorageFull, StorageRefused

#: One call of each kind that makes a request.
CALLS: dict[str, Callable[[Any], object]] = {
    "PutObject": lambda storage: put(storage.place("bucket/a", mimetype="text/plain"), b"x"),
    "GetObject": lambda storage: get(storage, "bucket/a"),
    "DeleteObject": lambda storage: storage.remove("bucket/a"),
    "CreateMultipartUpload": lambda storage: storage.begin_parts("bucket/a", mimetype="text/plain"),
    "CompleteMultipartUpload": lambda storage: storage.finish_parts("bucket/a", "upload", [(1, '"e"')]),
    "AbortMultipartUpload": lambda storage: storage.abort_parts("bucket/a", "upload"),
}
FINAL = [
    (403, "AccessDenied", "rights"),
    (403, "InvalidAccessKeyId", "access key"),
    (403, "SignatureDoesNotMatch", "access key"),
    (404, "NoSuchBucket", "create the bucket"),
    (400, "ExpiredToken", "new credentials"),
    (403, "RequestTimeTooSkewed", "clock of this machine"),
    (301, "PermanentRedirect", "set region"),
    (400, "AuthorizationHeaderMalformed", "set region"),
    (400, "AccessControlListNotSupported", "ACLs"),
    (400, "KMS.DisabledException", "kms_key"),
    (501, "NotImplemented", "storage_class"),
    (400, "SomethingNew", "not expected"),
]
PASSING = [
    (503, "SlowDown"), (503, "ServiceUnavailable"), (500, "InternalError"), (400, "RequestTimeout"), (429, "TooManyRequests"),
    (409, "OperationAborted"), (400, "BadDigest"), (502, "BadGateway"),
]  # fmt: skip
FULL = [(507, "XMinioStorageFull"), (403, "QuotaExceeded"), (507, "Whatever")]


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize(("status", "code", "advice"), FINAL)
def test_what_another_try_cannot_mend_is_final(bench: Bench, operation: str, status: int, code: str, advice: str) -> None:
    bench.server.fail(operation, status=status, code=code, times=99)
    with pytest.raises(StorageRefused, match=advice) as caught:
        CALLS[operation](bench.storage())
    assert code in str(caught.value)
    assert caught.value.public.startswith("The storage of this application ")
    assert bench.server.operations() == [operation] and bench.waited == []


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize(("status", "code"), PASSING)
def test_what_passes_is_tried_four_times(bench: Bench, operation: str, status: int, code: str) -> None:
    bench.server.fail(operation, status=status, code=code, times=99)
    with pytest.raises(StorageFault, match=code):
        CALLS[operation](bench.storage())
    assert bench.server.operations() == [operation] * 4
    assert len(bench.waited) == 3 and bench.waited[-1] <= 2 and all(pause > 0 for pause in bench.waited)


@pytest.mark.parametrize(("status", "code"), FULL)
def test_no_room_is_said_as_such(bench: Bench, status: int, code: str) -> None:
    bench.server.fail("PutObject", status=status, code=code, times=99)
    with pytest.raises(StorageFull):
        CALLS["PutObject"](bench.storage())
    assert bench.waited == []


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("how", ["silent", "hold"])
def test_connections_that_break_or_say_nothing_are_tried_again(bench: Bench, operation: str, how: str) -> None:
    bench.server.fail(operation, how=how, times=99)
    with pytest.raises(StorageFault, match="no answer"):
        CALLS[operation](bench.storage(read=0.1))
    assert len(bench.waited) == 3


def test_a_provider_that_is_not_there_is_tried_again(bench: Bench) -> None:
    bench.dial.trouble = ConnectionRefusedError(111, "refused")
    with pytest.raises(StorageFault):
        CALLS["PutObject"](bench.storage())
    assert len(bench.dial.asked) == 4


def test_an_address_that_the_guard_refuses_is_final_and_not_connected_to(bench: Bench) -> None:
    bench.dial.trouble = PermissionError("127.0.0.1 is not an address to connect to")
    for call in CALLS.values():
        bench.dial.asked.clear()
        with pytest.raises(StorageRefused, match="not an address to connect to") as caught:
            call(bench.storage())
        assert bench.dial.asked == [("127.0.0.1", bench.server.port)]
        assert "127.0.0.1" not in caught.value.public
    assert bench.server.connections == 0 and bench.waited == []


def test_every_connection_is_made_by_the_dial(bench: Bench) -> None:
    """Amazon's own addresses: nothing of them exists here, and the dial leads elsewhere."""
    bench.server.domain = "s3.us-east-1.example"
    storage = bench.storage(endpoint="http://s3.us-east-1.example:8080", path_style="false")
    put(storage.place("bucket/a/b", mimetype="text/plain"), bytes(9 << 20))
    assert len(get(storage, "bucket/a/b")) == 9 << 20
    storage.remove("bucket/a/b")
    assert set(bench.dial.asked) == {("bucket.s3.us-east-1.example", 8080)}
    assert len(bench.dial.asked) == bench.server.connections


def test_the_region_chooses_the_address_at_amazon(bench: Bench) -> None:
    bench.dial.trouble = PermissionError("no")
    for region, host in (("us-east-1", "s3.us-east-1.amazonaws.com"), ("eu-west-3", "s3.eu-west-3.amazonaws.com")):
        with pytest.raises(StorageRefused):
            bench.storage(endpoint="", region=region).remove("bucket/a")
        assert bench.dial.asked[-1] == (f"bucket.{host}", 443)


def test_a_redirect_is_not_followed(bench: Bench) -> None:
    with S3Server({KEY_ID: SECRET}, {"bucket": "us-east-1"}) as other:
        for status in (301, 302, 307, 308):
            bench.server.fail("PutObject", how="redirect", status=status, at_url=f"{other.endpoint}/bucket/a")
            with pytest.raises(StorageRefused):
                CALLS["PutObject"](bench.storage())
        assert other.connections == 0
    assert set(bench.dial.asked) == {("127.0.0.1", bench.server.port)}


def test_a_clock_that_is_wrong_is_said_with_how_much(bench: Bench) -> None:
    bench.server.clock_ahead = 7200
    with pytest.raises(StorageRefused, match=r"clock of this machine: it is -7(19\d|20[01]) seconds off"):
        CALLS["PutObject"](bench.storage())


def test_parts_that_do_not_fit_are_the_senders_mistake(bench: Bench) -> None:
    storage = bench.storage()
    for code in ("InvalidPart", "InvalidPartOrder", "EntityTooSmall", "NoSuchUpload", "MalformedXML"):
        bench.server.fail("CompleteMultipartUpload", status=400, code=code)
        with pytest.raises(BadRequest, match=code) as caught:
            storage.finish_parts("bucket/a", "upload", [(1, '"e"')])
        assert caught.value.public.endswith(".")


def test_aborting_and_removing_what_is_not_there_is_no_fault(bench: Bench) -> None:
    bench.storage().abort_parts("bucket/a", "nothing")
    bench.server.fail("DeleteObject", status=404, code="NoSuchKey")
    bench.storage().remove("bucket/a")


#: Where an answer has nothing that S3 would have to say: status 200, and for what is gone 404.
SILENT = {
    200: {"PutObject", "GetObject", "DeleteObject", "AbortMultipartUpload"},
    404: {"DeleteObject", "AbortMultipartUpload"},
}


@pytest.mark.parametrize(
    ("status", "operation"),
    [(status, name) for status in (200, 403, 404, 500) for name in CALLS if name not in SILENT.get(status, ())],
)
def test_an_endpoint_that_speaks_something_else_ends_in_a_fault_of_ours(bench: Bench, status: int, operation: str) -> None:
    bench.server.fail(operation, how="rubbish", status=status, at=5, times=4)
    with pytest.raises(SecureDeliveryError):
        CALLS[operation](bench.storage())


def test_an_endless_answer_is_broken_off(bench: Bench) -> None:
    bench.server.fail("PutObject", how="rubbish", status=403, at=100_000, times=4)
    with pytest.raises(StorageFault):
        CALLS["PutObject"](bench.storage())


def _everything(error: BaseException) -> str:
    """All that any log could make of an exception: with causes and contexts."""
    texts, wanted, seen = [], [error], set()
    while wanted:
        one = wanted.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        texts += [str(one), repr(one), repr(getattr(one, "public", "")), *traceback.format_exception(one), repr(vars(one))]
        wanted += [other for other in (one.__cause__, one.__context__) if other is not None]
    return "\n".join(texts)


@pytest.mark.parametrize("wrong", ["", "secret", "key", "token"])
def test_secrets_are_in_no_error_log_or_repr(bench: Bench, caplog: pytest.LogCaptureFixture, wrong: str) -> None:
    """Also where the provider's own message repeats them, and with every log opened."""
    caplog.set_level(logging.DEBUG)
    bench.server.tokens.add(TOKEN)
    given = {"session_token": TOKEN}
    given |= {"secret": {"secret_access_key": SECRET[::-1]}, "key": {"access_key_id": KEY_ID[::-1]}}.get(wrong, {})
    given |= {"session_token": TOKEN[::-1]} if wrong == "token" else {}
    storage = bench.storage(**given)
    said = [repr(storage), str(storage), repr(bench.options(**given)), repr(storage.containers), repr(dict(storage.advice()))]
    if not wrong:
        for code in ("AccessDenied", "SlowDown", "NoSuchBucket"):
            bench.server.fail("*", status=403, code=code, times=99)
            for call in CALLS.values():
                with pytest.raises(SecureDeliveryError) as caught:
                    call(storage)
                said.append(_everything(caught.value))
            bench.server.faults.clear()
        draft = storage.place("bucket/a", mimetype="text/plain")
        draft.write(bytes(9 << 20))
        said += [repr(draft), str(draft)]
        draft.publish()
        with storage.open("bucket/a") as stream:
            said += [repr(stream), repr(stream.raw)]  # type: ignore[attr-defined]
    else:
        for call in CALLS.values():
            with pytest.raises(StorageRefused) as caught:
                call(storage)
            said.append(_everything(caught.value))
    text = "\n".join([*said, caplog.text])
    for marker in (SECRET, TOKEN, KEY_ID, SECRET[::-1], TOKEN[::-1], KEY_ID[::-1], "AWS4-HMAC", "words of the provider"):
        assert marker not in text


def test_a_dialler_is_asked_with_the_time_it_may_take(bench: Bench) -> None:
    asked: list[float] = []

    class Timed(Dialler):
        def __call__(self, host: str, port: int, seconds: float) -> Any:
            asked.append(seconds)
            return super().__call__(host, port, seconds)

    bench.dial = Timed(bench.server.port)
    CALLS["PutObject"](bench.storage())
    assert asked == [5.0]
