"""Celery for secure-delivery: the queue `celery`, whose messages are ids of jobs and nothing else.

Knows: the hooks. Must not know: Celery, brokers, what a job is.
"""

from __future__ import annotations

from collections.abc import Mapping

from secure_delivery.plugin import Queue, Settings, hookimpl

from .queue import CeleryQueue
from .settings import Options, read_settings

__all__ = ["CeleryQueue", "Options", "read_settings", "register_queues", "self_test"]


@hookimpl
def self_test(settings: Settings) -> None:
    """Refuse settings that are unknown or make no sense. Asks no broker: one may start later than the server."""
    read_settings(settings)


@hookimpl
def register_queues(settings: Settings) -> Mapping[str, Queue] | None:
    """`celery`, where the settings say where the broker is."""
    options = read_settings(settings)
    return None if options is None else {"celery": CeleryQueue(options)}
