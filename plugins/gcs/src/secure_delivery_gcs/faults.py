"""What an answer of Google Cloud Storage means: which fault it is, and whether asking again helps.

Knows: statuses and reasons of the JSON API, exceptions of the client library by their attributes. Must not know: requests.

Details say our own words and the reason's name. What the provider writes besides may quote signatures and addresses, so it is
read, but never passed on.
"""

from __future__ import annotations

import json
import re
from typing import Any

from secure_delivery.plugin import NotFound, StorageFault, StorageFull, StorageRefused
from secure_delivery.plugin.tries import Judge, Verdict, on_the_way

_REASON = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MOST = 8192  # bytes of an answer that are looked at
_SLOW_DOWN = frozenset({"rateLimitExceeded", "userRateLimitExceeded"})
_FULL = frozenset({"quotaExceeded", "storageQuotaExceeded", "dailyLimitExceeded", "bucketQuotaExceeded"})
_WORDS = {
    400: "the request is not accepted",
    401: "the credentials are not accepted",
    402: "the project has no billing",
    403: "the credentials may not do this",
    413: "the blob is larger than the storage takes",
}


class Answered(Exception):
    """An answer that is not what was wanted. Its text is empty on purpose."""

    def __init__(self, status: int, reason: str = "", message: str = "") -> None:
        super().__init__()
        self.status = status
        self.reason = reason if _REASON.fullmatch(reason) else ""
        self.message = message.lower()

    @classmethod
    def of(cls, response: Any) -> Answered:
        """From an answer of requests, whose body may not have been read yet."""
        try:
            body = next(response.iter_content(_MOST), b"")
        except Exception:  # an answer that breaks off is still an answer
            body = b""
        finally:
            response.close()
        return cls(response.status_code, *_said(body))


def _said(body: bytes) -> tuple[str, str]:
    """Reason and message of an answer's body."""
    text = body.decode("utf-8", "replace")
    try:
        error = json.loads(text)["error"]
        if isinstance(error, str):
            return error, text
        reasons = [item.get("reason", "") for item in error.get("errors", ())]
        return str(reasons[0]) if reasons else str(error.get("status", "")), text
    except (ValueError, TypeError, KeyError, AttributeError):
        found = re.search(r"<Code>([A-Za-z0-9]+)</Code>", text)
        return found[1] if found else "", text


def judging(doing: str, *, blob: bool) -> Judge:
    """A judge of everything that one request can end in. `blob`: whether the blob is expected to be there, so that it can be
    what a 404 misses; else it is the bucket."""

    def judge(error: Exception) -> Verdict | None:
        if isinstance(error, Answered):
            return _by_answer(doing, error, blob)
        response = getattr(error, "response", None)
        if response is not None and hasattr(response, "status_code"):
            return _by_answer(doing, Answered.of(response), blob)
        kind = type(error).__name__
        if kind == "RefreshError":
            return _by_token(doing, error)
        if kind == "DataCorruption":
            return Verdict(StorageFault(f"{doing}: bytes were changed on the way"), again=True)
        return on_the_way(doing, error)

    return judge


def _by_answer(doing: str, answer: Answered, blob: bool) -> Verdict:
    status, said = answer.status, answer.message
    detail = f"{doing}: {status}{f' {answer.reason}' if answer.reason else ''}"
    if status == 404:
        if blob and "bucket does not exist" not in said and answer.reason != "NoSuchBucket":
            return Verdict(NotFound(f"{detail}: no such blob"))
        return Verdict(StorageRefused(f"{detail}: there is no such bucket"))
    if status == 507 or answer.reason in _FULL:
        return Verdict(StorageFull(f"{detail}: a quota of the project is used up"))
    if status in (408, 429) or status >= 500 or answer.reason in _SLOW_DOWN:
        return Verdict(StorageFault(detail), again=True)
    if status == 400 and any(word in said for word in ("md5", "crc32c", "checksum")):
        return Verdict(StorageFault(f"{detail}: bytes were changed on the way"), again=True)
    if status == 412 or 200 <= status < 300:
        return Verdict(StorageFault(f"{detail}: an answer that was not expected"))
    if "uniform bucket-level access" in said:
        return Verdict(StorageRefused(f"{detail}: the bucket has uniform bucket-level access: leave `access` out"))
    if "public access prevention" in said:
        return Verdict(StorageRefused(f"{detail}: the bucket does not let files be public"))
    if "skew" in said or answer.reason == "RequestTimeTooSkewed":
        return Verdict(StorageRefused(f"{detail}: the clock of this machine is wrong"))
    words = "the endpoint leads elsewhere" if 300 <= status < 400 else _WORDS.get(status, "the storage refuses")
    return Verdict(StorageRefused(f"{detail}: {words}"))


def _by_token(doing: str, error: Exception) -> Verdict:
    """No access token was given out: by `RefreshError`, whose second argument is the answer."""
    answer = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], dict) else {}
    reason = str(answer.get("error", ""))
    detail = f"{doing}: no access token{f' ({reason})' if _REASON.fullmatch(reason) else ''}"
    if getattr(error, "retryable", False):
        return Verdict(StorageFault(detail), again=True)
    if "reasonable timeframe" in str(error).lower():
        return Verdict(StorageRefused(f"{detail}: the clock of this machine is wrong"))
    return Verdict(StorageRefused(f"{detail}: the service account key is not accepted"))
