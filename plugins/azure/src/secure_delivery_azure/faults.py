"""What an answer of Azure Blob Storage means: which fault it is, and whether asking again helps.

Knows: statuses and error codes of the service, exceptions of the client library by their attributes. Must not know: requests.

Details say our own words and the code's name. What the service writes besides quotes signatures, so it is read, but never
passed on.
"""

from __future__ import annotations

import re
from typing import Any

from secure_delivery.plugin import NotFound, StorageFault, StorageFull, StorageRefused
from secure_delivery.plugin.tries import Judge, Verdict, on_the_way

_CODE = re.compile(r"[A-Za-z0-9]{1,64}")
_MOST = 8192  # bytes of an answer that are looked at
_PASSING = frozenset(
    {"ServerBusy", "InternalError", "OperationTimedOut", "Md5Mismatch", "Crc64Mismatch", "RequestBodyIncomplete"}
)
_NO_CONTAINER = frozenset({"ContainerNotFound", "ContainerDisabled", "ContainerBeingDeleted"})
_REFUSED = {
    "AuthenticationFailed": "the credentials are not accepted",
    "AuthorizationFailure": "the credentials, or the network rules of the account, do not permit this",
    "AuthorizationPermissionMismatch": "the credentials may not do this",
    "AuthorizationProtocolMismatch": "the shared access signature is for https only",
    "AuthorizationResourceTypeMismatch": "the shared access signature is not for blobs",
    "AuthorizationServiceMismatch": "the shared access signature is not for this service",
    "AuthorizationSourceIPMismatch": "the shared access signature is for other addresses",
    "InsufficientAccountPermissions": "the account may not do this",
    "AccountIsDisabled": "the account is disabled",
    "KeyBasedAuthenticationNotPermitted": "the account does not permit access keys",
    "BlobImmutableDueToPolicy": "the container does not let blobs change",
    "BlobArchived": "the blob is in the archive tier",
    "LeaseIdMissing": "somebody holds a lease on the blob",
    "InvalidBlobType": "there is a blob of another type under this name",
    "UnsupportedHeader": "the account does not have the tier that was asked for",
}
_BY_STATUS = {401: "the credentials are not accepted", 403: "the credentials may not do this"}


class Answered(Exception):
    """An answer that is not what was wanted. Its text is empty on purpose."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__()
        self.status = status
        self.code = code if _CODE.fullmatch(code) else ""
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
        return cls(response.status_code, response.headers.get("x-ms-error-code", ""), body.decode("utf-8", "replace"))


def judging(doing: str) -> Judge:
    """A judge of everything that one request can end in."""

    def judge(error: Exception) -> Verdict | None:
        if isinstance(error, Answered):
            return _by_answer(doing, error)
        status = getattr(error, "status_code", None)
        if isinstance(status, int):
            code = getattr(error, "error_code", "") or ""
            return _by_answer(doing, Answered(status, str(getattr(code, "value", code)), str(error)))
        return on_the_way(doing, error)

    return judge


def _by_answer(doing: str, answer: Answered) -> Verdict:
    status, code = answer.status, answer.code
    detail = f"{doing}: {status}{f' {code}' if code else ''}"
    if code in _NO_CONTAINER:
        return Verdict(StorageRefused(f"{detail}: there is no such container"))
    if status == 404:
        return Verdict(NotFound(f"{detail}: no such blob"))
    if status == 507 or code.endswith(("QuotaExceeded", "CapacityExceeded", "SizeLimitReached")):
        return Verdict(StorageFull(f"{detail}: the account has no room left"))
    if status in (408, 429) or status >= 500 or code in _PASSING:
        return Verdict(StorageFault(detail), again=True)
    if code in ("InvalidBlockList", "InvalidBlobOrBlock"):
        return Verdict(StorageFault(f"{detail}: another upload under this name came between"))
    if status == 412 or 200 <= status < 300:
        return Verdict(StorageFault(f"{detail}: the blob was changed meanwhile"))
    if status == 403 and ("request date header too old" in answer.message or "not within the" in answer.message):
        return Verdict(StorageRefused(f"{detail}: the clock of this machine is wrong"))
    if status == 403 and ("signature not valid in the specified time frame" in answer.message):
        return Verdict(StorageRefused(f"{detail}: the shared access signature is not valid at this time"))
    words = _REFUSED.get(code) or _BY_STATUS.get(status)
    words = words or ("the endpoint leads elsewhere" if 300 <= status < 400 else "the storage refuses")
    return Verdict(StorageRefused(f"{detail}: {words}"))
