"""The settings under `[plugins.celery]`, read strictly.

Knows: names, types and bounds of settings. Must not know: Celery. The broker's address holds a password: no complaint here
repeats it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from secure_delivery.plugin import ConfigurationError, Settings

LIGHT, HEAVY = "light", "heavy"
COSTS = (LIGHT, HEAVY)
#: Twice what the longest job may take with the server's own settings (a video of 900 s and what goes with it), and a margin.
VISIBILITY = 3600
#: Seconds for which an announcement may wait for the broker: it is made while a client waits for the answer to a request.
PATIENCE = 3.0

_SCHEMES = ("redis", "rediss", "amqp", "amqps", "sqs")
_VERIFIED = ("rediss", "amqps")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")  # what every broker takes; SQS is the strictest
_KNOWN = ("broker", "ca", "heavy", "light", "options", "patience", "plain", "quorum", "takes", "visibility")
#: Transport options that say where the broker is and how it is trusted: that stands in `broker` and `ca`, where it is checked.
_ELSEWHERE = re.compile(r".*ssl.*|(?:ca_)?certs?.*|hosts?|hostname|server_hostname|endpoint_url|connection_class.*|verify")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where the broker is and how it is used. `queues` are names by cost class; `takes` are the classes that a worker works on;
    `visibility` and `patience` are seconds; `extra` goes to the transport as it is."""

    broker: str = field(repr=False)
    queues: Mapping[str, str]
    takes: tuple[str, ...] = COSTS
    visibility: int = VISIBILITY
    patience: float = PATIENCE
    quorum: bool = False
    ca: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def scheme(self) -> str:
        """`redis`, `rediss`, `amqp`, `amqps` or `sqs`."""
        return urlsplit(self.broker).scheme

    @property
    def place(self) -> str:
        """Scheme, host and port of the broker: what may be shown."""
        parts = urlsplit(self.broker)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname or ''}{port}"


def read_settings(settings: Settings) -> Options | None:
    """What the settings say, or `None` when they name no broker. Raises `ConfigurationError`: nothing is guessed or ignored."""
    if unknown := sorted(str(name) for name in settings.keys() - set(_KNOWN)):
        raise ConfigurationError(f"there is no setting called {', '.join(unknown)}; there are: {', '.join(_KNOWN)}")
    queues = {cost: _name(cost, settings.get(cost, f"secure-delivery-{cost}")) for cost in COSTS}
    options = Options(
        broker=_broker(settings.get("broker", "")),
        queues=queues,
        takes=_takes(settings.get("takes", list(COSTS))),
        visibility=int(_seconds("visibility", settings.get("visibility", VISIBILITY), 43_200)),  # the most that SQS takes
        patience=_seconds("patience", settings.get("patience", PATIENCE), 60),
        quorum=_flag("quorum", settings.get("quorum", False)),
        ca=_file("ca", settings.get("ca")),
        extra=_table("options", settings.get("options", {})),
    )
    if not options.broker:
        return None
    if not _flag("plain", settings.get("plain", False)):
        _check_way(options)
    if options.quorum and not options.scheme.startswith("amqp"):
        raise ConfigurationError("quorum: only RabbitMQ (amqp://) has quorum queues")
    if options.ca and options.scheme not in _VERIFIED:
        raise ConfigurationError("ca: needs a broker that is spoken to by TLS (rediss:// or amqps://)")
    return options


def _broker(value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigurationError("broker: a URL is wanted")
    text: str = value.strip()
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ConfigurationError("broker: this is no URL") from None
    if parts.scheme not in _SCHEMES:
        raise ConfigurationError(f"broker: a URL is wanted that begins with {', '.join(f'{one}://' for one in _SCHEMES)}")
    if parts.scheme != "sqs" and not parts.hostname:
        raise ConfigurationError("broker: the URL names no host")
    if ";" in text:
        raise ConfigurationError("broker: one address is wanted; several brokers belong behind one name")
    if parts.query and parts.scheme != "sqs":  # a password there would be shown by what shows addresses
        raise ConfigurationError("broker: what stands behind a ? goes into options, the password before the @")
    return text


def _check_way(options: Options) -> None:
    """Between machines there is TLS, and certificates are looked at (security promise 69). Raises `ConfigurationError`."""
    host = urlsplit(options.broker).hostname or ""
    secure = options.extra.get("is_secure", not host) is True if options.scheme == "sqs" else options.scheme in _VERIFIED
    if not secure and not _is_here(host):
        raise ConfigurationError(
            "broker: one on another machine is spoken to by TLS (rediss://, amqps://, is_secure for sqs://); "
            "plain = true goes without"
        )
    if elsewhere := sorted(str(name) for name in options.extra if _ELSEWHERE.fullmatch(str(name).lower())):
        raise ConfigurationError(f"options: {', '.join(elsewhere)} cannot be set there: broker and ca say where and how")
    if _has_clear_url(options.extra):
        raise ConfigurationError("options: a URL begins with http://; plain = true goes without TLS")


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _has_clear_url(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_has_clear_url(one) for one in value.values())
    if isinstance(value, list | tuple):
        return any(_has_clear_url(one) for one in value)
    return isinstance(value, str) and value.strip().lower().startswith("http://")


def _name(setting: str, value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ConfigurationError(f"{setting}: the name of a queue is made of letters, digits, - and _, at most 80")
    return value


def _takes(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(one in COSTS for one in value):
        raise ConfigurationError(f"takes: a list of {' and '.join(COSTS)} is wanted, or of one of them")
    return tuple(dict.fromkeys(value))


def _seconds(setting: str, value: Any, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= most:
        raise ConfigurationError(f"{setting}: seconds are wanted, from 1 to {most:g}")
    return float(value)


def _flag(setting: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{setting}: true or false is wanted")
    return value


def _file(setting: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not Path(value).is_file():
        raise ConfigurationError(f"{setting}: the path of a file of certificates is wanted")
    return value


def _table(setting: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{setting}: a table is wanted: [plugins.celery.{setting}]")
    return dict(value)
