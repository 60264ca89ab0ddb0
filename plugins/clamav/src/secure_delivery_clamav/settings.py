"""The settings under `[plugins.clamav]`, read strictly.

Knows: names, types and bounds of settings. Must not know: sockets, clamd's protocol.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secure_delivery.plugin import ConfigurationError, Settings

PORT = 3310  # what ClamAV's own examples listen on; clamd itself has no default
TIMEOUT = 120.0  # seconds; also how long clamd looks at one file (MaxScanTime)
MAX_BYTES = 25 << 20  # MaxFileSize of Debian's clamd.conf; more would be called clean unseen (see README)
#: clamd looks into no file of 2 GiB or more, and has nothing to say about one.
MOST_BYTES = 2_000_000_000
_LONGEST_TIMEOUT = 3600.0
_LONGEST_PATH = 107  # bytes of sun_path besides its NUL, unix(7)

_KNOWN = ("host", "max_bytes", "port", "socket", "timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where clamd listens, a path or host and port, and what a scan may take: `timeout` in seconds, `max_bytes` of a file."""

    address: str | tuple[str, int]
    timeout: float = TIMEOUT
    max_bytes: int = MAX_BYTES


def read_settings(settings: Settings) -> Options | None:
    """What the settings say, or `None` when they name no clamd. Raises `ConfigurationError`: nothing is guessed or ignored."""
    if unknown := sorted(str(name) for name in settings.keys() - set(_KNOWN)):
        raise ConfigurationError(f"there is no setting called {', '.join(unknown)}; there are: {', '.join(_KNOWN)}")
    timeout = _timeout(settings.get("timeout", TIMEOUT))
    max_bytes = _whole("max_bytes", settings.get("max_bytes", MAX_BYTES), MOST_BYTES)
    address = _address(settings)
    return None if address is None else Options(address=address, timeout=timeout, max_bytes=max_bytes)


def _address(settings: Settings) -> str | tuple[str, int] | None:
    path, host = settings.get("socket"), settings.get("host")
    if path is not None:
        if host is not None or "port" in settings:
            raise ConfigurationError("either socket, or host and port: a scanner asks one clamd")
        return _path(path)
    if host is not None:
        return _host(host), _whole("port", settings.get("port", PORT), 65_535)
    if "port" in settings:
        raise ConfigurationError("port: needs a host beside it")
    return None


def _path(value: Any) -> str:
    text = os.fspath(value) if isinstance(value, (str, Path)) else ""
    if not text.startswith("/") or "\0" in text:
        raise ConfigurationError("socket: the absolute path of clamd's socket is wanted")
    if len(os.fsencode(text)) > _LONGEST_PATH:
        raise ConfigurationError(f"socket: the path is longer than a socket's can be, {_LONGEST_PATH} bytes")
    return text


def _host(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    if not text or len(text) > 255 or not text.isascii() or not text.isprintable() or set(text) & set(" /@[]"):
        raise ConfigurationError("host: a host name or an address is wanted, an IPv6 address without brackets")
    return text


def _timeout(value: Any) -> float:
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not fits or not 0 < value <= _LONGEST_TIMEOUT:
        raise ConfigurationError(f"timeout: seconds are wanted, more than 0 and at most {_LONGEST_TIMEOUT:.0f}")
    return float(value)


def _whole(name: str, value: Any, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= most:
        raise ConfigurationError(f"{name}: a whole number from 1 to {most} is wanted")
    return value
