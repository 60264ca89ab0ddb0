"""The options of a storage in Google Cloud Storage: how they are read, and whether they go together.

Knows: texts, the form of a service account key. Must not know: the client library, the network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from secure_delivery.plugin import REQUIRED, Kind, Param, Value, boolean, choice

DEFAULT_UNIVERSE = "googleapis.com"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_KMS_KEY = re.compile(r"projects/[^/\s]+/locations/[^/\s]+/keyRings/[^/\s]+/cryptoKeys/[^/\s]+")
_HOST = re.compile(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]")
_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_CLASSES = ("standard", "nearline", "coldline", "archive")
_LONGEST_KEY_FILE = 16_384
_MOST_BUCKETS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccount:
    """A service account key, as Google hands it out. Nothing of it but the e-mail address is ever shown."""

    info: Mapping[str, str] = field(repr=False)

    @property
    def email(self) -> str:
        return self.info["client_email"]

    @property
    def token_uri(self) -> str:
        return self.info["token_uri"]

    @property
    def project(self) -> str:
        return self.info.get("project_id", "-")

    @property
    def universe(self) -> str:
        return self.info.get("universe_domain", DEFAULT_UNIVERSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Bound options that go together. `endpoint` is scheme, host and port."""

    account: ServiceAccount
    buckets: tuple[str, ...]
    endpoint: str
    access: str | None = None
    storage_class: str | None = None
    kms_key: str | None = None
    write_only: bool = False
    insecure: bool = False


def service_account(text: str) -> ServiceAccount:
    """Read the JSON text of a key. Raises `ValueError`, without a word of the text.

    Only keys of service accounts: other kinds of credential files name programs to run, files to read and addresses to ask.
    """
    try:
        info = json.loads(text) if len(text) <= _LONGEST_KEY_FILE else None
    except ValueError:
        info = None
    if not isinstance(info, dict) or info.get("type") != "service_account":
        raise ValueError("not the JSON text of a service account key")
    kept = {
        name: info[name]
        for name in ("type", "project_id", "private_key_id", "private_key", "client_email", "token_uri", "universe_domain")
        if isinstance(info.get(name), str)
    }
    if not {"private_key", "client_email", "token_uri"} <= kept.keys():
        raise ValueError("the service account key is not complete")
    if "-----BEGIN" not in kept["private_key"] or not _DOMAIN.fullmatch(kept.get("universe_domain", DEFAULT_UNIVERSE)):
        raise ValueError("the service account key is not valid")
    return ServiceAccount(info=kept)


def _credentials() -> Kind:
    def read(value: Value) -> str:
        if not isinstance(value, str):
            raise ValueError
        service_account(value)
        return value

    return Kind(read, "the JSON text of a service account key")


def _bucket() -> Kind:
    def read(value: Value) -> str:
        if not isinstance(value, str) or not _BUCKET.fullmatch(value):
            raise ValueError
        return value

    return Kind(read, "the name of a bucket")


def _buckets() -> Kind:
    def read(value: Value) -> tuple[str, ...]:
        items = tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value
        names = tuple(item for item in items if item)
        if len(names) > _MOST_BUCKETS or not all(isinstance(name, str) and _BUCKET.fullmatch(name) for name in names):
            raise ValueError
        return tuple(str(name) for name in names)

    return Kind(read, "names of buckets, separated by commas")


def _pattern(pattern: re.Pattern[str], allowed: str) -> Kind:
    def read(value: Value) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError
        return value

    return Kind(read, allowed)


def _endpoint() -> Kind:
    def read(value: Value) -> str:
        if not isinstance(value, str):
            raise ValueError
        return origin(value)

    return Kind(read, "https://HOST or https://HOST:PORT")


def origin(text: str) -> str:
    """Scheme, host and port of a URL that has nothing else. Raises `ValueError`."""
    parts = urlsplit(text)
    port = f":{parts.port}" if parts.port else ""
    host = parts.netloc.removesuffix(port)
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or parts.path not in ("", "/"):
        raise ValueError
    if parts.query or parts.fragment:
        raise ValueError
    return f"{parts.scheme}://{host.lower()}{port}"


PARAMS = (
    Param("bucket", _bucket(), default=REQUIRED, says="Where files go that name no other."),
    Param("buckets", _buckets(), default=(), says="A request may choose one."),
    Param("credentials", _credentials(), default=REQUIRED),
    Param("access", choice("private", "public"), says="Who may read objects at the provider."),
    Param("storage_class", choice(*_CLASSES)),
    Param("kms_key", _pattern(_KMS_KEY, "projects/P/locations/L/keyRings/R/cryptoKeys/K")),
    Param("endpoint", _endpoint(), says="Empty for Google itself."),
    Param(
        "insecure",
        boolean(),
        default=False,
        says="Let files and signatures travel by plain http: only for a storage on this machine.",
    ),
    Param(
        "write_only",
        boolean(),
        default=False,
        says="Never read what lies there: enough for results of jobs. Files in it cannot be delivered.",
    ),
)
SECRETS = frozenset({"credentials"})


def bind(texts: Mapping[str, Any]) -> dict[str, Any]:
    """A value for every param, from texts as a settings file has them. Raises `ValueError` that names the option."""
    bound: dict[str, Any] = {}
    for param in PARAMS:
        if param.name not in texts:
            if param.default is REQUIRED:
                raise ValueError(f"{param.name} is required")
            bound[param.name] = param.default
            continue
        given = texts[param.name]
        value = str(given).lower() if isinstance(given, bool) else tuple(given) if isinstance(given, list) else given
        try:
            bound[param.name] = param.kind.read(value)
        except ValueError:
            raise ValueError(f"{param.name}: {param.kind.allowed} is wanted") from None
    return bound


def check(bound: Mapping[str, Any]) -> Options:
    """Options that go together. Raises `ValueError` with a sentence for whoever sets the storage up."""
    account = service_account(bound["credentials"])
    insecure = bool(bound.get("insecure"))
    endpoint = bound.get("endpoint") or f"https://storage.{account.universe}"
    for name, url in (("endpoint", endpoint), ("token_uri of the credentials", account.token_uri)):
        if not url.startswith("https://") and not (insecure and url.startswith("http://")):
            raise ValueError(f"The {name} must be https; `insecure` allows http, for test servers.")
    return Options(
        account=account,
        buckets=tuple(dict.fromkeys((bound["bucket"], *bound.get("buckets", ())))),
        endpoint=endpoint,
        access=bound.get("access"),
        storage_class=bound["storage_class"].upper() if bound.get("storage_class") else None,
        kms_key=bound.get("kms_key"),
        write_only=bool(bound.get("write_only")),
        insecure=insecure,
    )
