"""Pages out of templates.

Knows: Jinja2, how times and sizes are said, which pages there are to go to. Must not know: requests, what any page is about.

Everything is escaped: what is markup is made by templates and by `plot`, which escapes what it is given (a hostile file name,
metadata value or webhook answer never becomes markup).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import segno
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ...engine.account_rows import ACCOUNTS, READ
from ...engine.figures import By
from ..plots import Series, plot, short
from .frame import Ask
from .statics import address_of

#: What there is to go to: title, address, the scope it needs. First what concerns all, then what concerns one application.
EVERYWHERE = (
    ("Applications", "/applications", READ),
    ("Usage", "/usage", READ),
    ("Health", "/health", READ),
    ("Security", "/security", READ),
    ("People", "/people", ACCOUNTS),
    ("Audit log", "/audit", ACCOUNTS),
)
WITHIN = (
    ("Start", ""),
    ("Settings", "/settings"),
    ("Secrets", "/secrets"),
    ("Whitelists", "/whitelists"),
    ("Policies", "/policies"),
    ("Debugger", "/debugger"),
    ("Files", "/files"),
    ("Playground", "/playground"),
    ("Storage", "/storages"),
    ("Jobs", "/jobs"),
    ("Webhooks", "/webhooks"),
    ("Usage", "/usage"),
    ("Security", "/security-report"),
)


class Renderer:
    """Fills templates in. `more` are functions that templates may call."""

    def __init__(self, now: Callable[[], float], **more: Any) -> None:
        self._now = now
        self._environment = Environment(
            loader=PackageLoader("secure_delivery.server.portal", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "when": self._when,
            "size": size,
            "seconds": seconds,
            "pretty": pretty,
            "plain": lambda number: f"{number:g}",
            "segment": lambda text: quote(str(text), safe=""),
        }
        self._environment.globals |= {"static": address_of, "name_of": _name_of, "plot": _plot, "qr": _qr, **more}

    def page(
        self, template: str, ask: Ask, *, title: str, values: Mapping[str, Any], csrf: str, note: str, where: str, **told: Any
    ) -> str:
        """A whole page. `values` are what the view gave, each by its name; `told` is what was wrong with a form."""
        known = {"problem": "", "wrong": "", "given": {}, "form": "", **told}
        return self._environment.get_template(template).render(
            **{
                **values,
                **known,
                "ask": ask,
                "visitor": ask.visitor,
                "may": (lambda scope: False) if ask.visitor is None else ask.visitor.may,
                "title": title,
                "csrf": csrf,
                "note": note,
                "where": where,
                "key": ask.path.get("key", ""),
                "everywhere": EVERYWHERE,
                "within": WITHIN,
                "now": self._now(),
            }
        )

    def _when(self, moment: float | None, *, ms: bool = True) -> Markup:
        """A moment (ms since the epoch, or seconds) as a `time` element; scripts may say it in the reader's own zone."""
        if moment is None:
            return Markup("<span>never</span>")
        try:
            at = dt.datetime.fromtimestamp(moment / 1000 if ms else moment, dt.UTC)
        except (ValueError, OverflowError, OSError):
            return Markup("<span>in a far future</span>")
        said = at.strftime("%d %b %Y, %H:%M UTC")
        return Markup('<time datetime="{}">{}</time>').format(at.strftime("%Y-%m-%dT%H:%M:%SZ"), said)


def _plot(values: Mapping[str, Any], times: Sequence[int], by: By) -> Markup:
    """A plot of plain values. What is drawn escapes every text (`plots`)."""
    series = [Series(name=each["name"], values=each["values"]) for each in values["series"]]
    drawn = plot(
        series,
        times,
        title=values["title"],
        name=f"plot-{values['name'].replace('_', '-')}",
        by=by,
        kind="bar",
        unit=values["unit"],
    )
    return Markup(drawn)  # noqa: S704


def _qr(text: str) -> Markup:
    """A text as a QR code: dark on white whatever the page is, because readers want it so."""
    drawn = segno.make_qr(text).svg_inline(scale=4, border=4, light="white", omitsize=True, svgclass=None, lineclass=None)
    return Markup(drawn.replace("<svg ", '<svg role="img" aria-label="QR code of the secret" ', 1))  # noqa: S704


def _name_of(ask: Ask) -> str:
    """What the application of a page is called."""
    found = ask.engine.records.application(ask.path["key"])
    return (found.name if found is not None else "") or ask.path["key"]


def size(count: float | None) -> str:
    """Bytes in few letters."""
    return "unknown" if count is None else short(count, "bytes")


def seconds(count: float | None) -> str:
    """A length of time in few words, from a number of seconds."""
    if count is None:
        return "unknown"
    for length, name in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if count >= length:
            number = f"{count / length:.1f}".removesuffix(".0")
            return f"{number} {name}" + ("" if number == "1" else "s")
    number = f"{count:.3f}".rstrip("0").rstrip(".") if count < 1 else f"{count:.1f}".removesuffix(".0")
    return f"{number} second" + ("" if number == "1" else "s")


def pretty(value: Any) -> str:
    """A value as JSON that people can read."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def options(pairs: Sequence[tuple[str, str]], chosen: str) -> Markup:
    """The options of a `select`."""
    found = (
        Markup('<option value="{}"{}>{}</option>').format(value, Markup(" selected") if value == chosen else "", label)
        for value, label in pairs
    )
    return Markup("").join(found)


__all__ = ["EVERYWHERE", "WITHIN", "Renderer", "options", "pretty", "seconds", "size"]
