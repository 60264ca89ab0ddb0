"""Whether a page of files comes as fast from a million as from a thousand.

Knows: the table of files, the search for files. Must not know: how pages are found.

Two databases, one with a thousand files, one with as many as asked for. A page has fifty files. Pages begin at the places of
real cursors, taken evenly from the whole of an order. Each question with a target finds at least fifty files in both, so that
the same is handed out.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from measure import CACHE, Effort, Row, Tick, in_turns, ratio

from secure_delivery.engine import Engine, build, tables
from secure_delivery.engine.file_search import ORDERS
from secure_delivery.engine.records import new_handle
from secure_delivery.engine.settings import Settings

NAME = "browsing"
FEW = 1000
_BATCH = 10_000
_PAGES = 40  # pages of a round
_PLACES = 200  # cursors that are kept of an order
_WORDS = ("holiday", "invoice", "report", "garden", "photo", "letter", "draft", "Übersicht")
_TYPES = ("image/jpeg",) * 6 + ("image/png",) * 2 + ("application/pdf", "video/mp4")
_SECOND = 1000
_BEGIN = 1_700_000_000_000

#: Questions and the most that a million may cost of a thousand; None where a million are more work, within bounds.
_QUESTIONS: tuple[tuple[str, dict[str, Any], float | None], ...] = (
    *((f"pages from all over, {order}", {"order": order}, 1.5) for order in ORDERS),
    ("pages of a type from all over", {"mimetype": "application/pdf"}, 1.5),
    ("pages of a family of types from all over", {"mimetype": "image/*"}, 1.5),
    ("the files of a few minutes by name", {"since": _BEGIN, "until": _BEGIN + 200 * _SECOND, "order": "name"}, 1.5),
    ("a word that every eighth name has", {"text": "ÜBERSICHT"}, 1.5),
    ("a type that a tenth of all have, by name", {"mimetype": "application/pdf", "order": "name"}, None),
    ("a word that no name has (20,000 looked at)", {"text": "zebra"}, None),
)


def steps(effort: Effort) -> int:
    """How often the progress moves on."""
    return len(_QUESTIONS) * effort.load_rounds


def measure(effort: Effort, tick: Tick) -> list[Row]:
    """The rows of this suite."""
    return measured(NAME, "SQLite", {"few": {}, "many": {}}, effort, tick)


def measured(suite: str, kind: str, more: Mapping[str, Mapping[str, Any]], effort: Effort, tick: Tick) -> list[Row]:
    """The rows for a kind of database; `more` are settings of the engine with few and of that with many files."""
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        places = {
            name: _Place(engine=build(Settings.read({"data": f"{folder}/{name}", **more[name]})), api_key=f"A{name:x<21}")
            for name in ("few", "many")
        }
        try:
            for name, count in (("few", FEW), ("many", effort.rows)):
                places[name].fill(count)
            return [_row(suite, kind, places, question, effort, tick) for question in _QUESTIONS]
        finally:
            for place in places.values():
                place.engine.close()


def _row(
    suite: str,
    kind: str,
    places: Mapping[str, _Place],
    question: tuple[str, dict[str, Any], float | None],
    effort: Effort,
    tick: Tick,
) -> Row:
    what, asked, at_most = question
    contenders: dict[str, Callable[[], float]] = {}
    for name, place in places.items():
        cursors = place.cursors(asked)
        contenders[name] = lambda place=place, cursors=cursors: place.asked(asked, cursors)
    taken = in_turns(contenders, effort.load_rounds, tick)
    value, low, high = ratio(taken["many"], taken["few"])
    ours, theirs = (f"{statistics.median(taken[each]) * 1e3:.1f} ms" for each in ("many", "few"))
    name = f"{kind}: {what}, {effort.rows:,} files / {FEW:,} files"
    return Row(suite=suite, name=name, value=value, low=low, high=high, ours=ours, theirs=theirs, at_most=at_most)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A database with files of one application."""

    engine: Engine
    api_key: str

    def fill(self, count: int) -> None:
        """Add so many files, one a second, the types and words in no order."""
        self.engine.records.create_application("bench", api_key=self.api_key)
        picked = random.Random(count)
        for start in range(0, count, _BATCH):
            rows = [self._file(number, picked) for number in range(start, min(start + _BATCH, count))]
            with self.engine.database.write() as connection:
                connection.execute(sa.insert(tables.file), rows)

    def _file(self, number: int, picked: random.Random) -> dict[str, Any]:
        return {
            "handle": new_handle(),
            "application": self.api_key,
            "filename": f"{picked.choice(_WORDS)} {picked.randrange(10**6)}.bin",
            "mimetype": picked.choice(_TYPES),
            "size": int(10 ** picked.uniform(2, 8)),
            "storage": "local",
            "key": f"key{number}",
            "sha256": "0" * 64,
            "uploaded": _BEGIN + number * _SECOND,
            "version": 1,
        }

    def cursors(self, question: Mapping[str, Any]) -> list[str | None]:
        """Places in an answer, evenly from all of it where there is no bound on what it takes to get there."""
        found: list[str | None] = [None]
        end = time.monotonic() + 60
        while time.monotonic() < end:
            page = self.engine.search.page(self.api_key, after=found[-1], limit=200, **question)
            if page.next is None or page.partial or len(page.files) < 200:
                break
            found.append(page.next)
        del found[-1:]  # the last page may have fewer files
        return found[:: max(1, len(found) // _PLACES)] or [None]

    def asked(self, question: Mapping[str, Any], cursors: list[str | None]) -> float:
        """The median time of a page, in seconds."""
        taken = []
        for cursor in random.choices(cursors, k=_PAGES):
            begun = time.perf_counter()
            self.engine.search.page(self.api_key, after=cursor, **question)
            taken.append(time.perf_counter() - begun)
        return statistics.median(taken)
