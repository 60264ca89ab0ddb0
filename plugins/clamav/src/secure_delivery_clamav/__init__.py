"""ClamAV for secure-delivery: the scanner `clamav`, which asks a clamd.

Knows: the hooks. Must not know: sockets, what clamd says.
"""

from __future__ import annotations

from collections.abc import Mapping

from secure_delivery.plugin import Scanner, Settings, hookimpl

from .scanner import ClamavScanner
from .settings import read_settings

__all__ = ["ClamavScanner", "register_scanners", "self_test"]


@hookimpl
def self_test(settings: Settings) -> None:
    """Refuse settings that are unknown or make no sense. Asks no clamd: one that starts later than the server is no problem."""
    read_settings(settings)


@hookimpl
def register_scanners(settings: Settings) -> Mapping[str, Scanner] | None:
    """`clamav`, where the settings say where clamd listens."""
    options = read_settings(settings)
    return None if options is None else {"clamav": ClamavScanner(options)}
