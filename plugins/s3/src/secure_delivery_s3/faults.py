"""What went wrong, in our words: a fault of the tree for each answer of S3 and each failure on the way to it.

Knows: the error codes of S3 and its likes, the exceptions of botocore and urllib3. Must not know: requests, when to try again.

Messages of providers and libraries are never passed on: they repeat access key ids, signed texts and addresses. What is said
is the error's code and a sentence of ours. `StorageFault` is what another try may mend; every other fault is final.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)

from secure_delivery.plugin import SecureDeliveryError, StorageFault, StorageFull, StorageRefused


class Verdict(NamedTuple):
    """The provider's code, empty when it said nothing, and the fault it amounts to."""

    code: str
    fault: SecureDeliveryError


class _Refusal(NamedTuple):
    public: str
    advice: str


_CREDENTIALS = _Refusal("the credentials are not valid", "give the access key and secret of an active user")
_REGION = _Refusal("the bucket is in another region", "set region to that of the bucket")
_RIGHTS = _Refusal(
    "the credentials do not have the right to do this",
    "grant the user the rights of the policy in advice(); without s3:ListBucket a missing object looks like this too",
)
_ACL = _Refusal("the bucket does not take an access of single files", "set access to private, or enable ACLs on the bucket")
_KEY = _Refusal("its encryption key cannot be used", "check kms_key, that the key is enabled, and the user's rights on it")
_CLOCK = _Refusal("its clock and that of the server differ", "set the clock of this machine")
_OPTION = _Refusal("it does not know an option", "the provider may not have the storage_class, sse or access that is set")
_REFUSALS = {
    "NoSuchBucket": _Refusal("the bucket does not exist", "create the bucket, or correct its name or the endpoint"),
    "InvalidBucketName": _Refusal("the bucket does not exist", "correct the name of the bucket"),
    "AccessDenied": _RIGHTS,
    "AllAccessDisabled": _RIGHTS,
    "AccountProblem": _Refusal("the account at the provider has a problem", "ask the provider about the account"),
    "403": _RIGHTS,
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "InvalidSecurity": _CREDENTIALS,
    "InvalidToken": _CREDENTIALS,
    "ExpiredToken": _Refusal("the credentials have expired", "give new credentials"),
    "401": _CREDENTIALS,
    "RequestTimeTooSkewed": _CLOCK,
    "PermanentRedirect": _REGION,
    "TemporaryRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "AuthorizationQueryParametersError": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "301": _REGION,
    "302": _REGION,
    "307": _REGION,
    "308": _REGION,
    "AccessControlListNotSupported": _ACL,
    "InvalidBucketAclWithObjectOwnership": _ACL,
    "InvalidStorageClass": _OPTION,
    "InvalidArgument": _OPTION,
    "NotImplemented": _OPTION,
    "InvalidObjectState": _Refusal("the file is in an archive", "restore the object, or use another storage_class"),
    "KMS.DisabledException": _KEY,
    "KMS.NotFoundException": _KEY,
    "KMS.KMSInvalidStateException": _KEY,
    "KMS.InvalidKeyUsageException": _KEY,
}
_FULL = frozenset({"XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded", "InsufficientStorage", "507"})
#: What passes, among answers that are not 5xx: throttling, and bytes that were lost or changed on the way.
_PASSING = frozenset(
    {
        "SlowDown", "SlowDownRead", "SlowDownWrite", "RequestTimeout", "RequestThrottled", "RequestLimitExceeded", "Throttling",
        "ThrottlingException", "TooManyRequests", "OperationAborted", "BadDigest", "IncompleteBody",
        "XAmzContentSHA256Mismatch", "ConditionalRequestConflict", "408", "429",
    }
)  # fmt: skip
_CODE = re.compile(r"[A-Za-z0-9.]{1,64}")
_NAME = re.compile(r"[A-Za-z0-9-]{1,40}")


def judge(error: Exception, doing: str) -> Verdict:
    """The verdict on whatever came instead of an answer. `doing` is what was tried, for the operator."""
    if isinstance(error, SecureDeliveryError):
        return Verdict("", error)
    if isinstance(error, ClientError):
        return _answered(error.response, doing)
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
        detail = f"{doing}: the certificate of the endpoint is not valid here; its issuer must be trusted by this machine"
        return Verdict("", _refused(detail, "the certificate of the endpoint is not valid"))
    if isinstance(error, (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)):
        return Verdict(
            "", _refused(f"{doing}: the environment has no credentials ({type(error).__name__})", _CREDENTIALS.public)
        )
    if isinstance(error, ParamValidationError):
        return Verdict(
            "", _refused(f"{doing}: the bucket or the key cannot be written in a request", "it cannot take this name")
        )
    kind = type(error).__name__
    if isinstance(error, BotoCoreError):
        return Verdict("", StorageFault(f"{doing}: the answer is not one of S3 ({kind})"))
    return Verdict("", StorageFault(f"{doing}: no answer ({kind}{_reason(error)})"))


def _answered(response: dict[str, Any], doing: str) -> Verdict:
    error, meta = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, status = str(error.get("Code", "")), int(meta.get("HTTPStatusCode") or 0)
    code = code if _CODE.fullmatch(code) else str(status)
    said = f"{doing}: {code} (HTTP {status})"
    if code in _FULL or status == 507:
        return Verdict(code, StorageFull(said))
    if code in _PASSING or (status >= 500 and code != "NotImplemented"):
        return Verdict(code, StorageFault(said))
    refusal = _REFUSALS.get(code) or (_KEY if code.startswith("KMS.") else None)
    if refusal is None:
        return Verdict(code, StorageRefused(f"{said}: not expected"))
    return Verdict(code, _refused(f"{said}: {refusal.advice}{_more(refusal, error, meta)}", refusal.public))


def _more(refusal: _Refusal, error: dict[str, Any], meta: dict[str, Any]) -> str:
    """What the answer adds that helps the operator: the bucket's region, how far the clocks are apart."""
    headers = meta.get("HTTPHeaders", {})
    if refusal is _REGION:
        region = str(headers.get("x-amz-bucket-region") or error.get("Region") or "")
        return f": {region}" if _NAME.fullmatch(region) else " (the provider does not say which)"
    if refusal is _CLOCK:
        try:
            return f": it is {time.time() - parsedate_to_datetime(headers.get('date', '')).timestamp():+.0f} seconds off"
        except (TypeError, ValueError):
            return ""
    return ""


def _refused(detail: str, public: str) -> StorageRefused:
    return StorageRefused(detail, public=f"The storage of this application refuses: {public}.")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and those inside it: urllib3 hands the first one on as an argument, or as a cause."""
    seen: list[BaseException] = []
    wanted = [error]
    while wanted and len(seen) < 16:
        one = wanted.pop()
        if one is None or any(one is other for other in seen):
            continue
        seen.append(one)
        yield one
        wanted += [one.__cause__, one.__context__, *(item for item in one.args if isinstance(item, BaseException))]


def _reason(error: Exception) -> str:
    """The kind of the failure beneath: `ConnectionResetError`, say."""
    kinds = [type(cause).__name__ for cause in _causes(error) if isinstance(cause, OSError)]
    return f": {kinds[-1]}" if kinds else ""
