"""The options of an S3 storage: how each is written, and whether they go together.

Knows: the spelling of buckets, regions and endpoints. Must not know: requests, botocore, where options are kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from secure_delivery.plugin import REQUIRED, Kind, Param, Value, boolean, choice

#: Names of buckets: today's rule, and the older one with capitals and underscores. No ARN: its colons choose an address.
_BUCKET = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
#: Buckets of one zone have another protocol, with sessions of their own and without the checksums used here.
_DIRECTORY = "--x-s3"
_ENDPOINT = re.compile(
    r"https?://(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]{0,255})?"
)
_SSE = {"none": None, "aes256": "AES256", "aws:kms": "aws:kms"}


def _pattern(pattern: str, allowed: str, change: Callable[[str], str] = str) -> Kind:
    """Text that fits a pattern as a whole."""
    compiled = re.compile(pattern)

    def read(value: Value) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(changed := change(value)):
            raise ValueError
        return changed

    return Kind(read, allowed)


def _bucket(value: Value) -> str:
    if not isinstance(value, str) or not _BUCKET.fullmatch(value) or value.endswith(_DIRECTORY):
        raise ValueError
    return value


def _buckets(value: Value) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value
    return tuple(dict.fromkeys(_bucket(name.strip() if isinstance(name, str) else name) for name in names if name != ""))


def _endpoint(value: Value) -> str:
    if not isinstance(value, str) or (value and not _ENDPOINT.fullmatch(value)):
        raise ValueError
    parts = urlsplit(value)
    if any(segment in (".", "..") for segment in parts.path.split("/")) or not (parts.port is None or parts.port > 0):
        raise ValueError
    return value.rstrip("/")


_WORD = r"[\x21-\x7e]"  # what can stand in a header
_PLACE = (
    Param("bucket", Kind(_bucket, "the name of a bucket"), default=REQUIRED, says="Where files go that name no other."),
    Param("region", _pattern(r"[A-Za-z0-9-]{1,40}", "a region such as eu-west-1"), default="us-east-1"),
    Param("endpoint", Kind(_endpoint, "empty for Amazon, or an address such as https://s3.example.com"), default=""),
    Param(
        "insecure",
        boolean(),
        default=False,
        says="Let files and signatures travel by plain http: only for a storage on this machine.",
    ),
    # None: as the provider is likely to want it.
    Param("path_style", boolean(), default=None, says="Write the bucket into the path of addresses, not into the host."),
    Param("storage_class", _pattern(r"[A-Z0-9_]{0,40}", "a storage class such as STANDARD_IA", str.upper), default=""),
    Param("sse", choice(*_SSE), default="none", says="How the provider encrypts what lies there."),
    Param("kms_key", _pattern(r"[A-Za-z0-9:/_.-]{0,256}", "the ARN or the id of a key"), default="", says="With aws:kms."),
)
_CREDENTIALS = (
    Param("access_key_id", _pattern(r"[\x21-\x2b\x2d\x2e\x30-\x7e]{1,128}", "an access key id"), default=REQUIRED),
    Param("secret_access_key", _pattern(rf"{_WORD}{{1,256}}", "a secret access key"), default=REQUIRED),
    Param(
        "session_token",
        _pattern(rf"{_WORD}{{0,8192}}", "a session token, or nothing"),
        default="",
        says="With temporary credentials only.",
    ),
)
PARAMS = (
    *_PLACE,
    Param(
        "buckets",
        Kind(_buckets, "names of further buckets, with commas between them"),
        default=(),
        says="A request may choose one.",
    ),
    *_CREDENTIALS,
    Param("access", choice("private", "public"), default="private", says="Who may read objects at the provider."),
    Param(
        "write_only",
        boolean(),
        default=False,
        says="Never read what lies there: enough for results of jobs. Files in it cannot be delivered.",
    ),
)
#: What the server's own storage is set up with: one bucket, readable, private.
SERVER_PARAMS = (
    *_PLACE,
    *(Param(param.name, param.kind, default="") for param in _CREDENTIALS),
    Param("prefix", _pattern(r"(?:[A-Za-z0-9_-]{1,64}/){0,4}(?:[A-Za-z0-9_-]{1,64})?", "a folder such as files/"), default=""),
    Param("credentials", choice("given", "environment"), default="given"),
)
SECRETS = frozenset({"secret_access_key", "session_token"})


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Options:
    """Where objects go and how. Without an access key the environment of the process is asked for credentials."""

    buckets: tuple[str, ...]
    region: str = "us-east-1"
    endpoint: str = ""
    path_style: bool = False
    access_key_id: str = field(default="", repr=False)
    secret_access_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    public: bool = False
    storage_class: str = ""
    sse: str | None = None
    kms_key: str = field(default="", repr=False)
    write_only: bool = False

    def headers(self) -> dict[str, str]:
        """What goes with every new object, as arguments of botocore."""
        wanted = {"StorageClass": self.storage_class, "ServerSideEncryption": self.sse, "SSEKMSKeyId": self.kms_key}
        return {name: value for name, value in wanted.items() if value}


def read_options(bound: Mapping[str, Any]) -> S3Options:
    """Options of bound params. Raises `ValueError` when they do not go together."""
    endpoint = bound["endpoint"]
    if endpoint.startswith("http:") and not bound["insecure"]:
        raise ValueError("the endpoint is not https: set insecure to send files and signatures in the clear")
    if bound["kms_key"] and bound["sse"] != "aws:kms":
        raise ValueError("kms_key goes with sse = aws:kms")
    path_style = bool(endpoint) if bound["path_style"] is None else bound["path_style"]
    return S3Options(
        buckets=tuple(dict.fromkeys((bound["bucket"], *bound.get("buckets", ())))),
        region=bound["region"],
        endpoint=endpoint,
        path_style=path_style,
        access_key_id=bound["access_key_id"],
        secret_access_key=bound["secret_access_key"],
        session_token=bound["session_token"],
        public=bound.get("access") == "public",
        storage_class=bound["storage_class"],
        sse=_SSE[bound["sse"]],
        kms_key=bound["kms_key"],
        write_only=bound.get("write_only", False),
    )
