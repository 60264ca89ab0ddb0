"""What the judgement is about: an application and its secrets, the facts of a request, the decision.

Knows: plain values. Must not know: how a request looked on the wire, where an application is stored, how one decides.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets as system_random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal

from .errors import ConfigurationError, Public, Reason
from .policy import Call, Policy, SignedPolicy
from .whitelist import Whitelist

__all__ = [
    "KINDS",
    "Application",
    "Decision",
    "Limits",
    "Reason",
    "RequestFacts",
    "Secret",
    "SecretRing",
    "SecretState",
]

MAX_SECRETS = 5  # every verification tries them all, so that timing tells nothing; five bounds what that costs
MAX_GRACE = 24 * 3600  # seconds; security promise 6
MIN_SECRET_BITS = 128

#: The kinds of request that an application can ask policies of, each by itself; `decide.CALLS` says which call is of which.
KINDS = ("upload", "delivery", "conversion", "metadata")

_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_ALIAS_TARGET = re.compile(
    r"https?://[!-~]{1,1024}|folder:[A-Za-z0-9_-]{1,64}(?:/[^/\x00-\x1f\\]{1,255}){0,16}/?"
    r"|storage:[a-z0-9][a-z0-9_-]{0,63}(?:/[^/\x00-\x1f\\]{1,255}){0,16}/?"
)
_STORAGE = re.compile(r"(?:[a-z0-9][a-z0-9_-]{0,63})?")
_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}/(?:\*|[a-z0-9][a-z0-9.+-]{0,127})")
_YEARS = 100 * 366 * 86_400  # seconds; more is for ever


class SecretState(StrEnum):
    """`active` signs and verifies; `verify_only` verifies until a date; `revoked` does neither."""

    ACTIVE = "active"
    VERIFY_ONLY = "verify_only"
    REVOKED = "revoked"


def secret_bits(value: bytes) -> float:
    """An upper bound on the entropy of a configured secret, in bits, from its length and the alphabet it seems to use.

    A guess in the secret's favour: it catches words, short strings and repeated characters, not a long but poor choice.
    """
    distinct = len(set(value))
    if distinct < 8:
        return math.log2(distinct) * len(value) if distinct > 1 and len(value) > 256 else 0.0
    text = value.decode("latin-1")
    if all(character in "0123456789" for character in text):
        each = math.log2(10)
    elif all(character in "0123456789abcdef" for character in text) or all(
        character in "0123456789ABCDEF" for character in text
    ):
        each = 4.0
    elif text.isascii() and (text.isupper() or text.islower()):
        each = 5.0
    elif text.isascii():
        each = 6.0
    else:
        each = 8.0
    return each * len(value)


def new_secret() -> str:
    """256 bits from the system's source, as 43 characters of Base64URL."""
    return system_random.token_urlsafe(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """One shared secret. `value` is used byte for byte and never shown; `until` is unix seconds, for `verify_only`."""

    value: bytes = field(repr=False)
    id: str = ""
    state: SecretState = SecretState.ACTIVE
    until: int | None = None

    def __post_init__(self) -> None:
        if not self.value:
            raise ConfigurationError("an empty secret can be neither stored nor used")
        if self.state is SecretState.VERIFY_ONLY and self.until is None:
            raise ConfigurationError("a verify-only secret needs the date it ends on")

    def verifies(self, now: float) -> bool:
        """Whether signatures by this secret count at `now`."""
        if self.state is SecretState.VERIFY_ONLY:
            return now < (self.until or 0)
        return self.state is SecretState.ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRing:
    """Up to five secrets, newest first; the newest active one signs, all that are in force verify.

    Raises `ConfigurationError` for more than five or for one below 128 bits. `allow_weak` exists for published test
    vectors, whose secrets are words.
    """

    secrets: tuple[Secret, ...]
    allow_weak: bool = False
    #: Changes whenever any secret or state does; results of verification are only remembered under it.
    version: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.secrets) > MAX_SECRETS:
            raise ConfigurationError(f"at most {MAX_SECRETS} secrets per application")
        if not self.allow_weak:
            for secret in self.secrets:
                if secret_bits(secret.value) < MIN_SECRET_BITS:
                    raise ConfigurationError(f"secret {secret.id or '(unnamed)'} is weaker than {MIN_SECRET_BITS} bits")
        digest = hashlib.sha256()
        for secret in self.secrets:
            for part in (secret.value, secret.state.encode(), str(secret.until).encode()):
                digest.update(len(part).to_bytes(4, "big") + part)
        object.__setattr__(self, "version", digest.hexdigest())

    @classmethod
    def of(cls, *values: str | bytes, allow_weak: bool = False) -> SecretRing:
        """A ring of active secrets from configuration, the one that signs first. Text is taken as UTF-8."""
        return cls(
            secrets=tuple(
                Secret(value=value.encode() if isinstance(value, str) else value, id=str(index))
                for index, value in enumerate(values, 1)
            ),
            allow_weak=allow_weak,
        )

    @property
    def signing(self) -> Secret:
        """The secret that signs. Raises `ConfigurationError` when none is active."""
        for secret in self.secrets:
            if secret.state is SecretState.ACTIVE:
                return secret
        raise ConfigurationError("the application has no active secret")

    def in_force(self, now: float) -> tuple[Secret, ...]:
        """The secrets whose signatures count at `now`."""
        return tuple([secret for secret in self.secrets if secret.verifies(now)])

    def rotated(self, fresh: Secret, *, now: float, grace: int = 0) -> SecretRing:
        """The ring after regenerating: `fresh` signs, older ones are revoked at once, or verify for `grace` seconds.

        Revoked secrets leave the ring. Raises `ConfigurationError` for a grace period over 24 hours.
        """
        if not 0 <= grace <= MAX_GRACE:
            raise ConfigurationError("a grace period is 0 to 86400 seconds")
        until = int(now) + grace
        older = [
            replace(secret, state=SecretState.VERIFY_ONLY, until=min(until, secret.until or until))
            for secret in self.in_force(now)
            if grace
        ]
        return SecretRing(secrets=(fresh, *older[: MAX_SECRETS - 1]), allow_weak=self.allow_weak)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one file, and one application, may cost; all bounds are inclusive.

    Bytes of a file, pixels of one picture, pixels of all frames together; jobs at work at once, jobs waiting, pages that one
    job may draw, seconds that one may take in all.
    """

    max_bytes: int = 268_435_456  # 256 MB as the documents promise, read as binary megabytes (security.md, decision 9)
    max_pixels: int = 100_000_000
    max_animation_pixels: int = 100_000_000  # security promise 40; beyond it the first frame stands for the rest
    max_jobs: int = 8
    max_queue: int = 10_000
    max_pages: int = 100
    max_job_seconds: int = 3_600

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} is one or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """One customer of the judgement: its secrets, its switches, its whitelists.

    * `require_policy`: every request needs a policy, not only those that always do.
    * `required`: the kinds of request (`KINDS`) that need a policy where `require_policy` does not ask it of all.
    * `reported`: the kinds of request that still pass without a credential, but are told of as ones that would be refused were
      the kind required. A kind that is required already is not reported.
    * `upload_whitelist`, `delivery_whitelist`: `None` or an empty one means none is set.
    * `regex`: whether container, path and url patterns span the whole value ("full") or are searched for ("search").
    * `unknown_keys`: "refuse" a policy with keys nobody here knows, or "ignore" them, for people who migrate.
    * `standard_base64`: also accept the standard alphabet, which the official Node client emits.
    * `leeway`: seconds by which an expiry may have passed, 0 to 60, for clocks that disagree.
    * `max_age`: seconds that an allowed, signed answer may be cached by the one who asked; `public_cache` lets shared
      caches keep it too, for operators whose CDN keys by the whole query.
    * `metadata_profile`: what results keep of a picture's EXIF and XMP: nothing, copyright and author, all but the place,
      or all.
    * `aliases`: what `src://alias/path` means: the beginning of a URL (`https://assets.example.org/`), a folder that the
      operator's settings name (`folder:media/2026`), or a storage of the application (`storage:assets/2026`).
    * `storage`: where files go that name no storage: one of the application's own by its name, `server` for the server's own
      for good, or nothing for the server's own as a development storage, with a quota and an end.
    * `allowed_types`: types by content that may be uploaded (`image/*`, `application/pdf`); none means all.
    * `scan`: uploaded files are held until every installed scanner finds them clean.
    * `retention`: seconds after which a file goes by itself; 0 means never.
    * `undo`: seconds for which a deleted file can be restored; 0 means not at all.
    * `redirect`: files in storages that can are delivered by a redirect to them, which ends with the policy at the latest.
    """

    secrets: SecretRing
    api_key: str = ""
    name: str = ""
    require_policy: bool = False
    required: tuple[str, ...] = ()
    reported: tuple[str, ...] = ()
    upload_whitelist: Whitelist | None = None
    delivery_whitelist: Whitelist | None = None
    regex: Literal["full", "search"] = "full"
    unknown_keys: Literal["refuse", "ignore"] = "refuse"
    standard_base64: bool = True
    leeway: int = 0
    max_age: int = 3600
    public_cache: bool = False
    limits: Limits = Limits()
    metadata_profile: Literal["none", "copyright", "no_location", "all"] = "none"
    aliases: Mapping[str, str] = field(default_factory=dict)
    storage: str = ""
    allowed_types: tuple[str, ...] = ()
    scan: bool = False
    retention: int = 0
    undo: int = 0
    redirect: bool = False

    def __post_init__(self) -> None:
        for name in ("required", "reported"):
            kinds = getattr(self, name)
            if not isinstance(kinds, tuple) or any(kind not in KINDS for kind in kinds) or len(set(kinds)) < len(kinds):
                raise ConfigurationError(f"{name} lists kinds of request, each once; there are {', '.join(KINDS)}")
        if not _STORAGE.fullmatch(self.storage):
            raise ConfigurationError("storage is the name of a storage, server, or nothing")
        for each in self.allowed_types:
            if not _TYPE.fullmatch(each):
                raise ConfigurationError(f"allowed_types: {each!r} is neither type/subtype nor type/*")
        if not 0 <= self.retention <= _YEARS or not 0 <= self.undo <= _YEARS:
            raise ConfigurationError("retention and undo are zero or more seconds, at most a hundred years")
        if self.metadata_profile not in ("none", "copyright", "no_location", "all"):
            raise ConfigurationError("metadata_profile is none, copyright, no_location or all")
        for alias, target in self.aliases.items():
            if not _ALIAS.fullmatch(alias) or not _ALIAS_TARGET.fullmatch(target):
                raise ConfigurationError(
                    f"alias {alias!r}: a short name, and https://host/path/, folder:NAME/path or storage:NAME/path are wanted"
                )
        if not 0 <= self.leeway <= 60:
            raise ConfigurationError("leeway is 0 to 60 seconds")
        if self.max_age < 0:
            raise ConfigurationError("max_age is zero or more seconds")
        if self.regex not in ("full", "search") or self.unknown_keys not in ("refuse", "ignore"):
            raise ConfigurationError("regex is full or search; unknown_keys is refuse or ignore")

    def requires(self, kind: str) -> bool:
        """Whether requests of this kind (one of `KINDS`) need a policy."""
        return self.require_policy or kind in self.required

    def admits_type(self, mimetype: str) -> bool:
        """Whether a file of this type, found by its content, may be uploaded."""
        family = mimetype.partition("/")[0] + "/*"
        return not self.allowed_types or mimetype in self.allowed_types or family in self.allowed_types

    def sign(
        self,
        *,
        expires_in: int,
        now: float,
        round_to: int = 1,
        call: Any = None,
        **limits: Any,
    ) -> SignedPolicy:
        """A policy of this application, signed with its newest active secret. Arguments as in `Policy.lasting`."""
        policy = Policy.lasting(expires_in, now=now, round_to=round_to, call=call, **limits)
        return policy.sign(self.secrets.signing.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFacts:
    """What a request wants and shows. `None` means that it has no such thing.

    * `calls`: everything the request does; all of them must be granted.
    * `signed`: the policy shown; `secret`: the application secret shown by HTTP Basic. One credential at the most.
    * `handle`: the stored file; `container`, `path`: where an upload will really go; `url`: what will really be fetched.
    * `size`: bytes of an upload, when known before it was read.
    * `origin`, `referer`: the headers as received.
    * `authenticate`: the operation needs a credential even in an open application (account settings, intelligence tasks).
    """

    calls: frozenset[Call]
    signed: SignedPolicy | None = None
    secret: str | None = field(default=None, repr=False)
    handle: str | None = None
    container: str | None = None
    path: str | None = None
    url: str | None = None
    size: int | None = None
    origin: str | None = None
    referer: str | None = None
    authenticate: bool = False


def judge_size(size: int, min_size: int | None, max_size: int | None) -> Reason | None:
    """The reason to refuse so many bytes, or `None`. Both bounds are inclusive (security promise 17)."""
    if max_size is not None and size > max_size:
        return Reason.TOO_BIG
    if min_size is not None and size < min_size:
        return Reason.TOO_SMALL
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The verdict on one request, and why.

    `vary` names the request headers that the verdict depended on. `expiry` is the moment (unix seconds) from which the same
    credential would be refused: the end of the policy, or of the secret that signed it if that comes first.
    """

    allowed: bool
    reason: Reason
    policy: Policy | None = None
    #: Whether a credential was shown. Answers to such requests are for the one who showed it.
    authenticated: bool = False
    vary: tuple[str, ...] = ()
    expiry: int | None = None
    #: The bounds that the real number of bytes must keep, when the request uploads and the policy has any.
    min_size: int | None = None
    max_size: int | None = None
    #: The kinds of an allowed request without a credential that its application reports: required, it would be refused.
    reported: tuple[str, ...] = ()

    @property
    def would_refuse(self) -> bool:
        """Whether the request is allowed now and would be refused once a kind of it that is reported is required."""
        return self.allowed and bool(self.reported)

    @property
    def public(self) -> Public:
        """Code, status and sentence for the client."""
        return self.reason.public

    def max_age(self, limit: int, now: float) -> int:
        """Seconds an allowed answer may be kept: at most `limit`, never past the expiry, so a started second is no second."""
        return limit if self.expiry is None else max(0, min(limit, math.floor(self.expiry - now)))

    def admits_size(self, size: int) -> Reason | None:
        """Judge the real number of bytes: the reason to refuse it, or `None`. Bounds are inclusive."""
        return judge_size(size, self.min_size, self.max_size)

    def as_json(self) -> Mapping[str, object]:
        """The body of a refusal: code and sentence, nothing else (security promise 9)."""
        return {"error": {"code": self.public.code, "message": self.public.sentence}}
