"""Whitelists: which pages may upload to an application and show its files; tried out before they are saved.

Knows: the two lists of an application, how they are edited together. Must not know: how patterns are read and compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

from ...engine.whitelist_try import MISSING, SIDES, Side, told, tried
from ...gate.model import Application
from ...gate.whitelist import Whitelist
from .fields import BadField
from .frame import Action, Ask, Done, Room, View

_MOST_LINES = 200
_LABELS = {"upload": "Pages that may upload", "delivery": "Pages that may show files"}
#: What each switch for requests that name no page says, in the order in which it is offered.
_WORDS = {"": "as usual: {}", "allow": "let in", "deny": "refuse"}
_USUAL = {"allow": "let in", "deny": "refused"}

Missing = Literal["allow", "deny"] | None


def _of(application: Application, side: Side) -> Whitelist:
    found = application.upload_whitelist if side == "upload" else application.delivery_whitelist
    return found or Whitelist([])


def _show(ask: Ask) -> Mapping[str, Any]:
    application = ask.application()
    lists = {side: _of(application, side) for side in SIDES}
    origin = ask.query.text("origin", label="The page", longest=2000)
    return {
        "lists": {side: _told(lists[side].patterns, lists[side].missing, side) for side in SIDES},
        "most": Whitelist.MAX_PATTERNS,
        "tested": tried(origin, **lists) if origin else None,
    }


def _told(patterns: tuple[str, ...] | list[str], missing: Missing, side: Side) -> dict[str, Any]:
    usual = _USUAL[MISSING[side]]
    choices = [[word, says.format(usual)] for word, says in _WORDS.items()]
    return {**told(patterns, missing, side), "patterns": list(patterns), "label": _LABELS[side], "choices": choices}


def _given(ask: Ask, side: Side) -> list[str]:
    return ask.given.several(side, label=_LABELS[side], longest=300, most=_MOST_LINES)


def _missing(ask: Ask, side: Side) -> Missing:
    word = ask.given.choice(f"{side}_missing", _WORDS, label="Requests that name no page", default="")
    return cast("Missing", word or None)


def _save(ask: Ask) -> Done:
    ask.given.only("csrf", "password", "username", *SIDES, *(f"{side}_missing" for side in SIDES))
    application = ask.application()
    changes: dict[str, Any] = {}
    for side in SIDES:
        before = _of(application, side)
        if not ask.given.has(side) and not ask.given.has(f"{side}_missing"):
            continue
        patterns = _given(ask, side) if ask.given.has(side) else list(before.patterns)
        missing = _missing(ask, side) if ask.given.has(f"{side}_missing") else before.missing
        lines = told(patterns, missing, side)["lines"]
        faults = list(dict.fromkeys(line["fault"] for line in lines if line["fault"]))
        if faults:
            more = f" And {len(faults) - 5} more." if len(faults) > 5 else ""
            raise BadField(side, " ".join(faults[:5]) + more)
        changes[f"{side}_whitelist"] = Whitelist(patterns, missing=missing)
    if not changes:
        raise BadField(SIDES[0], "There is nothing to change.")
    key = application.api_key
    after = ask.engine.administration.change_application(ask.actor, key, **changes)
    lists = {side: _told(_of(after, side).patterns, _of(after, side).missing, side) for side in SIDES}
    return Done(values={"lists": lists}, to=f"/applications/{key}/whitelists", note="The whitelists are saved, and in force.")


def _check(ask: Ask) -> Done:
    """Lists as they are typed: nothing is kept of them. A page is tried on what is good in them."""
    ask.given.only("csrf", "origin", *SIDES, *(f"{side}_missing" for side in SIDES))
    key = ask.application().api_key
    lists = {side: told(_given(ask, side), _missing(ask, side), side) for side in SIDES}
    origin = ask.given.text("origin", label="The page", longest=2000)
    good = {side: Whitelist([line["saved"] for line in lists[side]["lines"] if line["saved"]]) for side in SIDES}
    tested = tried(origin, **good) if origin else None
    return Done(values={"lists": lists, "tested": tested}, to=f"/applications/{key}/whitelists")


_ONE = "/applications/{key}/whitelists"

ROOM = Room(
    name="whitelists",
    views=(
        View(
            path=_ONE, show=_show, page="whitelists.html", title="Whitelists", command="whitelist test",
            says="Which pages may upload and show files; with `?origin=`, whether a page may and why.",
        ),
    ),
    actions=(
        Action(
            # Emptying a list switches a protection off, so the password is asked for (security promise 66).
            path=_ONE, do=_save, on=_ONE, fresh=True, command="app set",
            says="Save the whitelists: patterns, and what becomes of requests that name no page.",
        ),
        Action(
            path=f"{_ONE}/check", do=_check, on=_ONE, scope="read", command="whitelist test",
            says="Check patterns, and try a page on them, without saving anything.",
        ),
    ),
)  # fmt: skip
