"""The audit log: who changed what, when, from where, before and after.

Knows: filters, pages, CSV. Must not know: how entries come about.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ...engine.account_rows import ACCOUNTS
from ...engine.audit import Entry
from ...gate.errors import NotFound
from .fields import BadField
from .frame import Ask, Raw, Room, View

_PAGE = 50
_MOST = 10_000  # entries of one file
_DAY = 86_400_000  # ms
KINDS = ("account.", "application.", "file.", "job.", "secret.", "session.", "storage.", "token.", "webhook.")
#: What a spreadsheet would take for a formula (OWASP, CSV injection).
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def _show(ask: Ask) -> Mapping[str, Any]:
    asked = _asked(ask)
    limit = ask.query.whole("limit", least=1, most=1000, default=_PAGE) or _PAGE
    page = ask.engine.people.audit.page(**_filter(ask, asked), after=asked["after"] or None, limit=limit + 1)
    return {
        "entries": [asdict(each) for each in page[:limit]],
        "next": page[limit - 1].id if len(page) > limit else None,
        "asked": asked,
        "kinds": list(KINDS),
    }


def _asked(ask: Ask) -> dict[str, str]:
    return {name: ask.query.text(name, longest=200) for name in ("actor", "application", "action", "since", "until", "after")}


def _filter(ask: Ask, asked: Mapping[str, str]) -> dict[str, Any]:
    """What the log is asked for. Raises `BadField` for dates that are none."""
    actor = asked["actor"] or None
    if actor is not None and "@" in actor:
        try:
            actor = ask.engine.people.accounts.named(actor).id
        except NotFound:
            raise BadField("actor", "There is nobody of this name.") from None
    since, until = _day(asked["since"], "since"), _day(asked["until"], "until")
    return {
        "actor": actor,
        "application": asked["application"] or None,
        "action": asked["action"] or None,
        "since": since,
        "until": None if until is None else until + _DAY,  # the day that is named belongs to it
    }


def _day(text: str, name: str) -> int | None:
    if not text:
        return None
    try:
        return int(dt.datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=dt.UTC).timestamp() * 1000)
    except ValueError:
        raise BadField(name, "A date looks like 2026-11-26.") from None


async def _csv(request: Request, ask: Ask) -> Response:
    def text() -> str:
        wanted, out = _filter(ask, _asked(ask)), io.StringIO()
        writer = csv.writer(out, lineterminator="\r\n")
        writer.writerow(("time", "who", "means", "address", "action", "application", "subject", "before", "after"))
        after: str | None = None
        for _ in range(_MOST // 1000):
            page = ask.engine.people.audit.page(**wanted, after=after, limit=1000)
            writer.writerows(_row(each) for each in page)
            if len(page) < 1000:
                break
            after = page[-1].id
        return out.getvalue()

    headers = {
        "content-type": "text/csv; charset=utf-8",
        "content-disposition": 'attachment; filename="audit.csv"',
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
    }
    return Response(await ask.context.run(text), 200, headers)


def _row(entry: Entry) -> list[str]:
    at = dt.datetime.fromtimestamp(entry.at / 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    cells = (entry.name, entry.means, entry.address or "", entry.action, entry.application or "", entry.subject)
    values = ("" if each is None else json.dumps(each, ensure_ascii=False) for each in (entry.before, entry.after))
    return [at, *(f"'{cell}" if cell.startswith(_FORMULAS) else cell for cell in (*cells, *values))]


ROOM = Room(
    name="audit",
    views=(
        View(
            path="/audit",
            show=_show,
            page="audit.html",
            title="Audit log",
            scope=ACCOUNTS,
            command="audit list",
            says="Who changed what, newest first; by `actor`, `application`, `action`, `since`, `until`, behind `after`.",
        ),
    ),
    raws=(
        Raw(
            path="/audit.csv",
            method="GET",
            answer=_csv,
            scope=ACCOUNTS,
            command="audit list",
            says="The same as CSV, up to 10,000 entries.",
        ),
    ),
)
