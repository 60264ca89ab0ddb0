"""The one tree of faults, and the list of reasons for a verdict.

Knows: for each fault and each refusal a stable code, an HTTP status and a sentence that a client may read.
Must not know: HTTP frameworks, requests, where a sentence is shown.

A refusal is a value (`Reason` in a `Decision`); an exception is a fault. `str(error)` is for the operator's log and may
name details; `error.public` is for the client and never does.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, NamedTuple


class SecureDeliveryError(Exception):
    """Base of every fault this project raises.

    Attributes: `code`, a stable identifier; `status`, the HTTP status a server answers with; `public`, a sentence fit
    for strangers. `SecureDeliveryError("detail")` keeps *detail* for the operator only; `public=` replaces the sentence
    where the fault is the client's own input and saying so helps.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    sentence: ClassVar[str] = "The server could not complete this request."

    def __init__(self, detail: str = "", *, public: str | None = None) -> None:
        super().__init__(detail or public or self.sentence)
        self.public = public or self.sentence


class ConfigurationError(SecureDeliveryError):
    """Settings, secrets or rules that must not be started with. Raised at start-up, never during a request."""

    code = "configuration"
    sentence = "The server is not configured correctly."


class BadRequest(SecureDeliveryError):
    """The request itself is malformed; the sentence says what is wrong with it."""

    code = "bad_request"
    status = 400
    sentence = "The request is malformed."


class SizeMismatch(BadRequest):
    """Another number of bytes than was announced."""

    code = "size_mismatch"
    sentence = "The upload does not have the announced size."


class ChecksumMismatch(BadRequest):
    """Other bytes than those whose digest was announced."""

    code = "checksum_mismatch"
    sentence = "The bytes are not those whose checksum was announced."


class PartsMissing(BadRequest):
    """An upload was declared complete that is not."""

    code = "parts_missing"
    sentence = "Parts of the upload are missing."


class CredentialConflict(BadRequest):
    """More than one credential in one request (security promise 7): none is chosen over another."""

    code = "credential_conflict"
    sentence = "Send exactly one policy and signature."


class TaskURLError(BadRequest):
    """A transformation URL that does not follow the grammar, or names an unknown task, option or value."""

    code = "bad_task"
    sentence = "The transformation URL is not valid."


class PatternError(BadRequest):
    """A whitelist pattern outside the dialect; the sentence names the pattern. Nothing of the list is saved."""

    code = "bad_pattern"
    sentence = "The domain pattern is not valid."


class PolicyError(SecureDeliveryError):
    """A policy text that grants nothing because it cannot be understood. `reason` says which rule it broke."""

    code = "policy_invalid"
    status = 403
    sentence = "The policy is not valid."

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(detail or reason.value)
        self.reason = reason


class HttpsRequired(SecureDeliveryError):
    """Asked for in the clear what goes by https only."""

    code = "https_required"
    status = 403
    sentence = "This is answered by https only."


class NotFound(SecureDeliveryError):
    """No such file, or none that this application may know of."""

    code = "not_found"
    status = 404
    sentence = "There is no such file."


class MethodNotAllowed(SecureDeliveryError):
    code = "method_not_allowed"
    status = 405
    sentence = "This method is not allowed here."


class Conflict(SecureDeliveryError):
    """The request builds on a state that is not the present one."""

    code = "conflict"
    status = 409
    sentence = "The request does not fit what is there."


class TooLarge(SecureDeliveryError):
    """More bytes or pixels than the policy or the application admits."""

    code = "too_large"
    status = 413
    sentence = "The file is larger than this request may be."


class QuotaExceeded(TooLarge):
    """The development storage of an application is full. No 5xx: only its owner can mend it, and clients would try again."""

    code = "quota_exceeded"
    sentence = "The development storage of this application is full: delete files, or set up a storage of your own."


class Held(SecureDeliveryError):
    """A file that scanners have to find clean before anybody may read it (RFC 4918 section 11.3)."""

    code = "held"
    status = 423
    sentence = "The file is being checked and cannot be read yet."


class Locked(Held):
    """Another request is at work on the same upload (tus 1.0, PATCH)."""

    code = "locked"
    sentence = "Another request is at work on this upload. Try again in a moment."


class Infected(SecureDeliveryError):
    """A scanner found something; the file was deleted."""

    code = "infected"
    status = 422
    sentence = "The file was refused: a scanner found something harmful in it."


class Unsupported(SecureDeliveryError):
    """A format, or a pair of formats, that no installed plugin handles."""

    code = "unsupported"
    status = 415
    sentence = "This kind of file cannot be processed."


class Encrypted(Unsupported):
    """A file that only its password opens. No other previewer can do better."""

    code = "encrypted"
    status = 422
    sentence = "The file is encrypted."


class MissingDependency(Unsupported):
    """What would handle this file needs a program or library that is not installed; the detail names it."""

    code = "missing_dependency"
    sentence = "This server lacks a program that this kind of file needs."


class NotProvided(SecureDeliveryError):
    """A documented task that needs a provider nobody installed."""

    code = "not_provided"
    status = 501
    sentence = "This server has no provider for this task."


class SourceFault(SecureDeliveryError):
    """A source outside that could not be fetched: refused address, no answer, an error status, too slow. A 4xx on purpose:
    official clients retry every 5xx."""

    code = "source_unavailable"
    status = 422
    sentence = "The source could not be fetched."


class Corrupt(SecureDeliveryError):
    """The bytes are not what their type says, or end too early."""

    code = "corrupt"
    status = 422
    sentence = "The file is damaged or not what it claims to be."


class ProcessingLimit(SecureDeliveryError):
    """A decoder needed more time or memory than it is given. A 4xx on purpose: official clients retry every 5xx."""

    code = "processing_limit"
    status = 422
    sentence = "The file needs more time or memory to process than is allowed."


class TimedOut(ProcessingLimit):
    """It took longer than it may."""

    code = "timed_out"
    sentence = "The file takes longer to process than is allowed."


class Busy(SecureDeliveryError):
    """All decoders are taken; asking again later helps."""

    code = "busy"
    status = 503
    sentence = "The server is busy. Try again in a moment."


class Overloaded(Busy):
    """So much waits for decoders already that nothing more is taken in (RFC 6585 section 4)."""

    code = "overloaded"
    status = 429
    sentence = "Too many files are waiting to be processed. Try again in a moment."


class TooManyUploads(Overloaded):
    """An application has begun more uploads than it may leave unfinished."""

    code = "too_many_uploads"
    sentence = "Too many uploads are unfinished. Finish or abort some, or try again later."


class StorageFull(SecureDeliveryError):
    code = "storage_full"
    status = 507
    sentence = "There is no space left to store this file."


class StorageFault(SecureDeliveryError):
    """The storage failed for a reason of its own; nothing is half visible."""

    code = "storage_fault"
    status = 503
    sentence = "The storage is not available."


class StorageRefused(SecureDeliveryError):
    """The customer's own storage says no, and will say so again: credentials, rights, a bucket that is not there. A 4xx on
    purpose: official clients retry every 5xx, and only the owner of the storage can mend it."""

    code = "storage_refused"
    status = 424
    sentence = "The storage of this application does not accept the request."


class VaultError(SecureDeliveryError):
    """A sealed value that does not open: changed, moved to another place, or sealed under a key that is gone."""

    code = "vault"
    sentence = "A stored secret could not be opened."


class Public(NamedTuple):
    """What a client is told about a refusal: a stable code, the status, one sentence."""

    code: str
    status: int
    sentence: str


class Reason(StrEnum):
    """Why a decision fell the way it did. The value is for operators; `public` is the coarser answer for clients.

    Clients get a short list of codes on purpose: which of several hidden checks failed is nobody's business
    (security promise 9).
    """

    OK = "ok"
    OPEN = "open_by_default"
    MISSING = "missing"
    BAD_SIGNATURE = "bad_signature"
    BAD_SECRET = "bad_secret"
    BAD_ENCODING = "bad_encoding"
    BAD_JSON = "bad_json"
    NOT_AN_OBJECT = "not_an_object"
    UNKNOWN_KEY = "unknown_key"
    MALFORMED = "malformed"
    BAD_EXPIRY = "bad_expiry"
    BAD_REGEX = "bad_regex"
    EXPIRED = "expired"
    CALL_NOT_ALLOWED = "call_not_allowed"
    EXIF_NOT_EXPLICIT = "exif_not_explicit"
    STORE_NEEDS_PICK = "store_needs_pick"
    HANDLE_MISMATCH = "handle_mismatch"
    CONTAINER_MISMATCH = "container_mismatch"
    PATH_MISMATCH = "path_mismatch"
    URL_MISMATCH = "url_mismatch"
    TOO_SMALL = "too_small"
    TOO_BIG = "too_big"
    ORIGIN_MISSING = "origin_missing"
    ORIGIN_MALFORMED = "origin_malformed"
    ORIGIN_NOT_ALLOWED = "origin_not_allowed"
    UNKNOWN_APPLICATION = "unknown_application"

    @property
    def public(self) -> Public:
        """The client's view of this reason."""
        return _PUBLIC[self]


_INVALID = Public("policy_invalid", 403, "The policy is not valid.")
_COVERED = Public("not_permitted", 403, "The policy does not permit this request.")
_FOREIGN = Public("origin_not_allowed", 403, "Requests from this site are not allowed.")

_PUBLIC: dict[Reason, Public] = {
    Reason.OK: Public("ok", 200, "Allowed."),
    Reason.OPEN: Public("ok", 200, "Allowed."),
    Reason.MISSING: Public("policy_required", 403, "This request needs a policy and a signature."),
    Reason.BAD_SIGNATURE: Public("signature_invalid", 403, "The signature is not valid."),
    Reason.BAD_SECRET: Public("credentials_invalid", 403, "The credentials are not valid."),
    Reason.BAD_ENCODING: _INVALID,
    Reason.BAD_JSON: _INVALID,
    Reason.NOT_AN_OBJECT: _INVALID,
    Reason.UNKNOWN_KEY: _INVALID,
    Reason.MALFORMED: _INVALID,
    Reason.BAD_EXPIRY: Public("policy_invalid", 403, "The policy is not valid: expiry must be whole seconds."),
    Reason.BAD_REGEX: _INVALID,
    Reason.EXPIRED: Public("policy_expired", 403, "The policy has expired."),
    Reason.CALL_NOT_ALLOWED: _COVERED,
    Reason.EXIF_NOT_EXPLICIT: _COVERED,
    Reason.STORE_NEEDS_PICK: _COVERED,
    Reason.HANDLE_MISMATCH: _COVERED,
    Reason.CONTAINER_MISMATCH: _COVERED,
    Reason.PATH_MISMATCH: _COVERED,
    Reason.URL_MISMATCH: _COVERED,
    Reason.TOO_SMALL: Public("too_small", 403, "The file is smaller than the policy permits."),
    Reason.TOO_BIG: Public("too_large", 413, "The file is larger than the policy permits."),
    Reason.ORIGIN_MISSING: _FOREIGN,
    Reason.ORIGIN_MALFORMED: _FOREIGN,
    Reason.ORIGIN_NOT_ALLOWED: _FOREIGN,
    Reason.UNKNOWN_APPLICATION: Public("unknown_application", 401, "The API key is missing or not known."),
}
