"""Where people begin: the first page, and the page of an application with what to do next.

Knows: the steps from an empty application to a finished preview. Must not know: how any step is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...engine.figures import REQUESTS, RESULTS
from ...engine.preview_job import KIND as PREVIEW
from .applications import ROOM as APPLICATIONS
from .applications import summary
from .frame import Ask, Room, View


def _transformed(ask: Ask, key: str) -> bool:
    """Whether anything was ever transformed for an application, by an address or in the playground."""
    ask.engine.usage.flush()
    mine = [each for each in ask.engine.figures.totals(each=True) if each.application == key]
    return any(each.name == RESULTS or (each.name, each.label) == (REQUESTS, "transformation") for each in mine)


def _start(ask: Ask) -> Mapping[str, Any]:
    application = ask.application()
    key, engine = application.api_key, ask.engine
    base, told = f"/applications/{key}", summary(ask, application)
    jobs, _ = engine.jobs.jobs.page(key, states=["success"], kinds=[PREVIEW], most=1)
    webhooks = engine.webhooks.endpoints.of(key)
    steps = [
        ("Upload a file", "files", told["files"] > 0, "Drop one on the page of files; it is stored under a handle."),
        (
            "See it transformed",
            "playground",
            _transformed(ask, key),
            "Put tasks together, look at the result, and copy its signed address.",
        ),
        ("Name a webhook", "webhooks", bool(webhooks), "Where the server tells you what has happened, signed."),
        (
            "Make a preview",
            "jobs",
            bool(jobs),
            "Thumbnails and metadata of a document, made by a job that leaves nothing behind.",
        ),
        (
            "Use a storage of your own",
            "storages",
            bool(application.storage),
            "Files in the development storage go after some days.",
        ),
        ("Say which pages may use it", "whitelists", bool(application.upload_whitelist), "Domains, checked as you type them."),
    ]
    names = ("what", "to", "done", "why")
    return {
        **told,
        "steps": [dict(zip(names, (what, f"{base}/{to}", done, why), strict=True)) for what, to, done, why in steps],
    }


ROOM = Room(
    name="start",
    views=(
        View(path="/", show=APPLICATIONS.views[0].show, page="applications.html", title="Applications", says="", api=False),
        View(
            path="/applications/{key}",
            show=_start,
            page="start.html",
            title="Start",
            says="An application, and which first steps are done.",
            command="app show",
        ),
    ),
)
