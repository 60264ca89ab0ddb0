"""The options of a storage in Azure Blob Storage: how they are read, and whether they go together.

Knows: texts, the forms of account keys and shared access signatures. Must not know: the client library, the network.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from secure_delivery.plugin import REQUIRED, Kind, Param, Value, boolean, choice

_CONTAINER = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(?:-[a-z0-9]+)*")
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_HOST = re.compile(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]")
_PATH = re.compile(r"/[a-z0-9]{3,24}")
_SAS = re.compile(r"\??[A-Za-z0-9_.~%&=:+/-]{10,2000}")
_MOST_CONTAINERS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Bound options that go together. `endpoint` is the URL of the account, without a slash at its end; one of `key` and
    `sas` is there."""

    account: str
    containers: tuple[str, ...]
    endpoint: str
    key: str = field(default="", repr=False)
    sas: str = field(default="", repr=False)
    tier: str | None = None
    write_only: bool = False
    insecure: bool = False


def _matching(pattern: re.Pattern[str], allowed: str) -> Kind:
    def read(value: Value) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError
        return value

    return Kind(read, allowed)


def _containers() -> Kind:
    def read(value: Value) -> tuple[str, ...]:
        items = tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value
        names = tuple(item for item in items if item)
        if len(names) > _MOST_CONTAINERS or not all(isinstance(name, str) and _CONTAINER.fullmatch(name) for name in names):
            raise ValueError
        return tuple(str(name) for name in names)

    return Kind(read, "names of containers, separated by commas")


def _account_key() -> Kind:
    def read(value: Value) -> str:
        if not isinstance(value, str) or not 16 <= len(base64.b64decode(value, validate=True)) <= 256:
            raise ValueError
        return value

    return Kind(read, "an access key of the account, in Base64")


def _sas_token() -> Kind:
    def read(value: Value) -> str:
        if not isinstance(value, str) or not _SAS.fullmatch(value):
            raise ValueError
        token = value.removeprefix("?")
        if not {"sig", "sv"} <= parse_qs(token).keys():
            raise ValueError
        return token

    return Kind(read, "a shared access signature, as in sv=...&sig=...")


def _endpoint() -> Kind:
    def read(value: Value) -> str:
        if not isinstance(value, str):
            raise ValueError
        parts = urlsplit(value)
        port = f":{parts.port}" if parts.port else ""
        path = parts.path.rstrip("/")
        well = parts.scheme in ("http", "https") and _HOST.fullmatch(parts.netloc.removesuffix(port))
        if not well or (path and not _PATH.fullmatch(path)) or parts.query or parts.fragment:
            raise ValueError
        return f"{parts.scheme}://{parts.netloc.lower()}{path}"

    return Kind(read, "https://HOST, https://HOST:PORT or, where hosts are shared, https://HOST:PORT/ACCOUNT")


PARAMS = (
    Param(
        "container",
        _matching(_CONTAINER, "the name of a container"),
        default=REQUIRED,
        says="Where files go that name no other.",
    ),
    Param("containers", _containers(), default=(), says="A request may choose one."),
    Param("account", _matching(_ACCOUNT, "the name of a storage account"), default=REQUIRED),
    Param("account_key", _account_key(), says="This or a shared access signature."),
    Param("sas_token", _sas_token(), says="Better than the key of the account: it can be for one container, and revoked."),
    Param("endpoint", _endpoint(), says="Empty for Azure itself."),
    Param("access_tier", choice("hot", "cool", "cold", "archive")),
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
SECRETS = frozenset({"account_key", "sas_token"})


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
    key, sas = bound.get("account_key") or "", bound.get("sas_token") or ""
    if bool(key) == bool(sas):
        raise ValueError("Exactly one of account_key and sas_token is needed.")
    insecure, write_only = bool(bound.get("insecure")), bool(bound.get("write_only"))
    endpoint = bound.get("endpoint") or f"https://{bound['account']}.blob.core.windows.net"
    if not endpoint.startswith("https://") and not insecure:
        raise ValueError("The endpoint must be https; `insecure` allows http, for test servers.")
    if bound.get("access_tier") == "archive" and not write_only:
        raise ValueError("Blobs of the archive tier cannot be read: it needs write_only.")
    return Options(
        account=bound["account"],
        containers=tuple(dict.fromkeys((bound["container"], *bound.get("containers", ())))),
        endpoint=endpoint,
        key=key,
        sas=sas,
        tier=bound.get("access_tier"),
        write_only=write_only,
        insecure=insecure,
    )
