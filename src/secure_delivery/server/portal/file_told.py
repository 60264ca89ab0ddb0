"""A stored file as pages and programs are told of it.

Knows: which facts there are, and which of them a decoder has to read. Must not know: who looks, what a page is like.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...engine import Engine
from ...engine.convert import Plan, bind
from ...engine.records import FileLink
from ...engine.sources import SourceFile
from ...gate.errors import SecureDeliveryError
from ...gate.model import Application
from ...gate.taskurl import Task

_READINGS = ("imagesize", "exif")
_MOST_TEXT = 1 << 20  # bytes of what a decoder reports
_MOST_RESULTS = 100  # of a list
_MOST_TAGS = 500


def told(engine: Engine, application: Application, link: FileLink, names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A file as lists show it. `names` are those of the application's storages by id."""
    return {
        "handle": link.handle,
        "filename": link.filename,
        "type": link.mimetype,
        "size": link.size,
        "uploaded": link.uploaded,
        "version": link.version,
        "storage": (storage_names(engine, application) if names is None else names).get(link.storage, link.storage),
        "container": link.container,
        "path": link.path,
        "expires": link.expires,
        "removed": link.removed,
        "held": link.held,
    }


def storage_names(engine: Engine, application: Application) -> dict[str, str]:
    """What the storages are called that files of an application can be in, by how records name them."""
    own = {name: name for name in engine.storages.own}
    return own | {row.id: row.name for row in engine.storages.of(application.api_key)}


def whole(engine: Engine, application: Application, link: FileLink) -> dict[str, Any]:
    """All that is known of a file: what records say, what a decoder reads in it, what is kept of what was made of it."""
    read = {} if link.held is not None else _read(engine, application, link)
    made = _made(engine, application, link)
    return {
        **told(engine, application, link),
        "sha256": link.sha256,
        "source_url": link.source_url,
        "kind": engine.storages.kind_of(link.storage),
        "lent": engine.storages.is_lent(application, link.storage),
        "width": read.get("width"),
        "height": read.get("height"),
        "exif": read.get("exif", {}),
        "results": made[:_MOST_RESULTS],
        "results_count": len(made),
        "results_bytes": sum(each["size"] for each in made),
    }


def _plans(engine: Engine) -> dict[str, Plan]:
    known = engine.registry.transformations
    return {name: bind(engine.registry, [Task(name=name, options=())]) for name in _READINGS if name in known}


def _read(engine: Engine, application: Application, link: FileLink) -> dict[str, Any]:
    """Width, height and EXIF of a picture, read by a confined decoder; what it could not read is left out."""
    if not link.mimetype.startswith("image/"):
        return {}
    found: dict[str, Any] = {}
    for name, plan in _plans(engine).items():
        try:
            rendition = engine.renditions.get(application, [SourceFile.stored(link, engine.files)], plan)
            if rendition.size > _MOST_TEXT:
                continue
            value = json.loads(engine.renditions.read(rendition))
        except (SecureDeliveryError, ValueError, RecursionError):  # no picture, or nobody has time just now
            continue
        if not isinstance(value, dict):
            continue
        if name == "exif":
            found["exif"] = dict(list(value.items())[:_MOST_TAGS])
        else:
            found |= {side: value.get(side) for side in ("width", "height")}
    return found


def _made(engine: Engine, application: Application, link: FileLink) -> list[dict[str, Any]]:
    """What is kept of what was made of a file, newest first, but for what this page had read itself."""
    source = [SourceFile.stored(link, engine.files)]
    own = {engine.renditions.key(application, source, plan) for plan in _plans(engine).values()}
    kept = [each for each in engine.renditions.of(application.api_key, link.handle) if each.key not in own]
    return [
        {"type": each.mimetype, "size": each.size, "created": each.created, "filename": each.filename}
        for each in reversed(kept)
    ]
