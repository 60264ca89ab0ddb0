"""Stored files in the words that clients expect.

Knows: the members of answers (Filestack documentation: store, overwrite, `store` task, complete). Must not know: how a file
came to be stored.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request

from ..engine.records import FileLink
from ..engine.storages import SERVER
from ..gate.model import Application
from .http import Context

logger = logging.getLogger("secure_delivery.server")

LONGEST = 100 * 366 * 86_400  # seconds that a file may be asked to last
#: What the documentation calls a file that is taken in but cannot be read yet.
IN_TRANSIT, STORED = "InTransit", "Stored"
_NOTICE = (
    "Kept on the development storage of this server{until}. Before you go into production, set up a storage of your own "
    "or have the server keep your files for good."
)


def file_url(context: Context, request: Request, handle: str) -> str:
    """The address by which a file is delivered, on the host that was asked."""
    return f"{context.base_url(request)}/{handle}"


def object_name(context: Context, link: FileLink) -> str:
    """The key as customers know it: in a storage of their own the object's, without the container before it."""
    if link.container is not None and link.key.startswith(f"{link.container}/") and not is_lent(context, link):
        return link.key[len(link.container) + 1 :]
    return link.key


def is_lent(context: Context, link: FileLink) -> bool:
    """Whether a file is in a storage of the server, not of its application."""
    return link.storage in context.engine.storages.own


def described(
    context: Context, request: Request, application: Application, link: FileLink, more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A file that was stored. `container` is always there: official clients read it."""
    answer: dict[str, Any] = {
        "url": file_url(context, request, link.handle),
        "handle": link.handle,
        "filename": link.filename,
        "size": link.size,
        "type": link.mimetype,
        "container": link.container or context.engine.storages.name_of(link.storage),
        "key": object_name(context, link),
    }
    if link.held is not None:
        answer["status"] = IN_TRANSIT
    answer |= more or {}
    if notice := notice_of(context, application, link):
        answer["notice"] = notice
    return answer


def notice_of(context: Context, application: Application, link: FileLink) -> str | None:
    """What is said of a file that is only lent a place; None for all others."""
    if not is_lent(context, link) or application.storage == SERVER:
        return None
    until = ""
    if link.expires is not None:
        until = f" until {datetime.fromtimestamp(link.expires / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    if application.api_key not in context.noticed:
        context.noticed.add(application.api_key)
        logger.warning("application %s has no storage of its own: its files are lent a place", application.api_key)
    return _NOTICE.format(until=until)


def tags_of(given: Any) -> dict[str, str]:
    """Upload tags: at most 10, names of at most 128 characters, values of 256. Raises `ValueError` with a sentence."""
    if given is None:
        return {}
    if not isinstance(given, dict) or len(given) > 10:
        raise ValueError("upload_tags are an object of at most 10 members.")
    for name, value in given.items():
        if not isinstance(value, str) or len(name) > 128 or len(value) > 256:
            raise ValueError("An upload tag is a text of at most 256 characters under a name of at most 128.")
    return dict(given)


def workflow_ids(given: Any) -> tuple[str, ...]:
    """Workflows to run after storing: a list of ids, of objects with an `id`, or a text with commas. Raises `ValueError`."""
    if given in (None, ""):
        return ()
    if isinstance(given, str):
        given = [item.strip(" \"'") for item in given.strip("[] ").split(",")]
    if not isinstance(given, Sequence) or len(given) > 20:
        raise ValueError("workflows are a list of at most 20 ids.")
    found = [item.get("id") if isinstance(item, dict) else item for item in given]
    if not all(isinstance(item, str) and 0 < len(item) <= 64 for item in found):
        raise ValueError("workflows are a list of at most 20 ids.")
    return tuple(str(item) for item in found)
