"""Files of an application: looked for, looked at, put in, handed out by signed addresses, deleted and brought back.

Knows: which questions and changes there are. Must not know: how files are kept, looked for or signed for.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

from ...engine.figures import SIGNED
from ...engine.file_links import FileAddress, Use, address_of
from ...engine.file_search import ORDERS
from ...engine.records import FileLink
from ...gate.errors import BadRequest
from ...gate.model import Application
from .fields import BadField
from .file_told import storage_names, told, whole
from .frame import Action, Ask, Done, Room, View
from .pictures import own_file
from .uploading import RAWS

_PAGE, _MOST = 50, 200  # files of a page
_DAY = 86_400_000  # ms
_SHOWN = 640  # pixels of the side of the large picture
_TYPES = 60  # types that are offered to choose from
FAMILIES = (
    ("image/*", "pictures"),
    ("video/*", "videos"),
    ("audio/*", "sound"),
    ("text/*", "text"),
    ("application/*", "documents and others"),
)
ORDER_WORDS = {"newest": "newest first", "oldest": "oldest first", "name": "by name", "largest": "largest first"}
#: Lives of signed addresses, short ones first (security promise 67).
LIVES = (
    (300, "5 minutes"),
    (3600, "1 hour"),
    (86_400, "1 day"),
    (7 * 86_400, "7 days"),
    (30 * 86_400, "30 days"),
)
USES = (
    (Use.READ, "show the file"),
    (Use.DOWNLOAD, "download it"),
    (Use.CONVERT, "show a transformed picture of it"),
)
_ASKED = (
    "text", "type", "since", "until", "min_size", "max_size", "storage", "container", "path", "handle", "removed", "order",
    "after",
)  # fmt: skip
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*(?:([kmgt])(i?))?b?", re.IGNORECASE | re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


# ---------------------------------------------------------------------------------------------------------------- lists


def _all(ask: Ask) -> Mapping[str, Any]:
    engine, application = ask.engine, ask.application()
    key, names = application.api_key, storage_names(engine, application)
    asked = {name: ask.query.text(name, label=name, longest=1000) for name in _ASKED}
    removed = ask.query.flag("removed")
    page = engine.search.page(
        key,
        text=asked["text"] or None,
        mimetype=asked["type"] or None,
        storage=_storage(names, asked["storage"]),
        container=asked["container"] or None,
        path=asked["path"] or None,
        handle=asked["handle"] or None,
        since=_day(asked["since"], "since"),
        until=_day(asked["until"], "until", more=_DAY),  # the day that is named belongs to it
        min_size=_size(asked["min_size"], "min_size"),
        max_size=_size(asked["max_size"], "max_size"),
        removed=removed,
        order=ask.query.choice("order", ORDERS, label="The order", default=ORDERS[0]),
        after=asked["after"] or None,
        limit=ask.query.whole("limit", least=1, most=_MOST, default=_PAGE) or _PAGE,
    )
    count, used = engine.records.used(key)
    return {
        "files": [told(engine, application, link, names) for link in page.files],
        "next": page.next,
        "partial": page.partial,
        "asked": asked,
        "removed": removed,
        "count": count,
        "bytes": used,
        "undo": application.undo,
        "types": engine.search.types(key, limit=_TYPES),
        "families": [list(pair) for pair in FAMILIES],
        "storages": sorted(set(names.values())),
        "orders": [[order, ORDER_WORDS[order]] for order in ORDERS],
        "max_bytes": min(engine.settings.max_bytes, application.limits.max_bytes),
        "allowed_types": list(application.allowed_types),
        "deleted": _deleted(ask, application),
    }


def _storage(names: Mapping[str, str], wanted: str) -> str | None:
    if not wanted:
        return None
    found = next((stored for stored, name in names.items() if name == wanted), None)
    if found is None:
        raise BadField("storage", "This application has no such storage.")
    return found


def _day(text: str, name: str, *, more: int = 0) -> int | None:
    if not text:
        return None
    try:
        day = dt.datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=dt.UTC).timestamp()
        if day < 0:
            raise ValueError
    except ValueError:
        raise BadField(name, "A date looks like 2026-11-26.") from None
    return int(day * 1000) + more


def _size(text: str, name: str) -> int | None:
    """Bytes, as a number or with a unit: 2000, 10 kB, 1.5 MB, 2 GiB."""
    if not text:
        return None
    found = _SIZE.fullmatch(text)
    if found is None:
        raise BadField(name, "A size is a number of bytes, or one with a unit: 500 kB, 1.5 MB.")
    count = float(found[1]) * (1024 if found[3] else 1000) ** _POWERS[(found[2] or "").lower()]
    if count > 2**50:
        raise BadField(name, "No file is as large as that.")
    return int(count)


def _deleted(ask: Ask, application: Application) -> dict[str, Any] | None:
    """The file that was deleted just now, as long as that can be undone."""
    handle = ask.query.text("deleted", longest=64)
    link = ask.engine.records.file(handle, application=application.api_key) if handle else None
    if link is None or link.removed is None or (link.expires is not None and link.expires <= ask.now * 1000):
        return None
    return {"handle": link.handle, "filename": link.filename, "until": link.expires}


# ------------------------------------------------------------------------------------------------------------- one file


def _link(ask: Ask, application: Application) -> FileLink:
    return own_file(ask, application, ask.path["handle"], held=True)


def _one(ask: Ask) -> Mapping[str, Any]:
    engine, application = ask.engine, ask.application()
    link = _link(ask, application)
    known = whole(engine, application, link)
    required = application.required
    return {
        **known,
        "api_key": application.api_key,
        "url": f"{ask.files}/{link.handle}",
        "shown": _fit(known["width"], known["height"]),
        "needs_policy": application.require_policy or "delivery" in required,
        "undo": application.undo,
        "metadata_profile": application.metadata_profile,
        "max_bytes": min(engine.settings.max_bytes, application.limits.max_bytes),
        "uses": [[use.value, says] for use, says in USES],
        "lives": [list(pair) for pair in LIVES],
        "made": None,
    }


def _fit(width: Any, height: Any) -> list[int] | None:
    """The size at which a picture is shown: within a square, never enlarged."""
    if type(width) is not int or type(height) is not int or width < 1 or height < 1:
        return None
    scale = min(1.0, _SHOWN / max(width, height))
    return [max(1, round(width * scale)), max(1, round(height * scale))]


def _sign(ask: Ask) -> Done:
    given, application = ask.given, ask.application()
    given.only("csrf", "use", "tasks", "expires_in")
    link = _link(ask, application)
    use = Use(given.choice("use", [use.value for use in Use], label="The use", default=Use.READ.value))
    tasks = given.text("tasks", label="The tasks", longest=4000)
    life = given.whole("expires_in", label="The life", least=LIVES[0][0], most=LIVES[-1][0], default=LIVES[0][0]) or LIVES[0][0]
    try:
        made = address_of(ask.engine.registry, application, link.handle, use, tasks=tasks, expires_in=life, now=ask.now)
    except BadRequest as fault:
        raise BadField("tasks" if use is Use.CONVERT else "", fault.public) from None
    ask.engine.usage.add((application.api_key, SIGNED, "portal"))
    values = _address(ask, made)
    if given.form:
        return Done(values={**_one(ask), "made": values}, page="file.html", title=_TITLE)
    return Done(values=values)


def _address(ask: Ask, made: FileAddress) -> dict[str, Any]:
    return {
        "url": ask.files + made.path,
        "expiry": made.expiry,
        "policy": made.signed.encoded,
        "signature": made.signed.signature,
        "warnings": [each._asdict() for each in made.warnings],
    }


def _remove(ask: Ask) -> Done:
    given, application = ask.given, ask.application()
    given.only("csrf", "for_good")
    key = application.api_key
    if not application.undo and given.form and not given.flag("for_good"):
        raise BadField("for_good", "Tick this first: it cannot be undone.")
    link = ask.engine.administration.remove_file(ask.actor, key, ask.path["handle"])
    values = {"removed": link.handle, "undo": application.undo}
    to = f"/applications/{key}/files"
    if application.undo:
        return Done(values=values, to=f"{to}?deleted={link.handle}")
    return Done(values=values, to=to, note=f"{link.filename[:200]} is deleted for good.")


def _restore(ask: Ask) -> Done:
    application = ask.application()
    link = ask.engine.administration.restore_file(ask.actor, application.api_key, ask.path["handle"])
    return Done(
        values=told(ask.engine, application, link),
        to=f"/applications/{application.api_key}/files/{link.handle}",
        note="The file is back.",
    )


def _purge(ask: Ask) -> Done:
    key, handle = ask.application().api_key, ask.path["handle"]
    count = ask.engine.administration.purge_renditions(ask.actor, key, handle)
    return Done(
        values={"purged": count},
        to=f"/applications/{key}/files/{handle}",
        note="Everything made of this file is dropped. It is made again when somebody asks for it.",
    )


_TITLE = "File"
_ALL, _FILE = "/applications/{key}/files", "/applications/{key}/files/{handle}"

ROOM = Room(
    name="files",
    views=(
        View(
            path=_ALL, show=_all, page="files.html", title="Files", command="files list",
            says="Files, page by page: by `text`, `type`, `since`, `until`, `min_size`, `max_size`, `storage`, `container`, "
            "`path`, `handle`, `removed`; `order`, `limit`, and `after` as `next` says.",
        ),
        View(
            path=_FILE, show=_one, page="file.html", title=_TITLE, command="files show",
            says="One file: what is known of it, what was read in it, what is kept of what was made of it.",
        ),
    ),
    actions=(
        Action(
            path=f"{_FILE}/link", do=_sign, on=_FILE, command="sign",
            says="Sign an address of a file to `read`, `download` or `convert` it (`use`, `tasks`, `expires_in`).",
        ),
        Action(
            path=f"{_FILE}/purge", do=_purge, on=_FILE, command="files purge",
            says="Drop everything that was made of a file.",
        ),
        Action(
            path=f"{_FILE}/remove", do=_remove, on=_FILE, command="files remove",
            says="Delete a file; it can be restored where the application lets deletions be undone.",
        ),
        Action(
            path=f"{_FILE}/restore", do=_restore, command="restore", says="Undo the deletion of a file.",
        ),
    ),
    raws=RAWS,
)  # fmt: skip
