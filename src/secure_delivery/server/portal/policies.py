"""Policies: made in a form and signed on the server.

Knows: which fields make a policy. Must not know: how policies are signed and read. The secret never reaches a page (security
promise 67).
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from typing import Any

from ...engine import explaining
from ...engine.figures import SIGNED
from ...engine.policy_warnings import warnings
from ...gate.decide import CALLS
from ...gate.errors import ConfigurationError
from ...gate.model import Application
from ...gate.policy import CALL_NAMES, Policy
from .fields import BadField
from .frame import Action, Ask, Done, Room, View
from .policy_texts import ready

_HUNDRED_YEARS = 100 * 366 * 86_400  # seconds
#: Lives on offer, the short ones first (security promise 67).
LIVES = (
    (300, "5 minutes"),
    (3600, "1 hour"),
    (86_400, "1 day"),
    (7 * 86_400, "7 days"),
    (30 * 86_400, "30 days"),
    (366 * 86_400, "1 year"),
)
PATTERNS = ("container", "path", "url")
_UNTIL = re.compile(r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(?::\d{2})?Z?", re.ASCII)


def calls() -> list[dict[str, Any]]:
    """Every call with what it allows, for pages."""
    return [
        {
            "name": call.value,
            "allows": rule.allows,
            "always": rule.authenticated,
            "named": rule.named,
            "also": None if rule.also is None else rule.also.value,
            "whitelist": rule.whitelist,
            "limited_by": sorted(rule.limited_by),
        }
        for call, rule in CALLS.items()
    ]


def _show(ask: Ask) -> Mapping[str, Any]:
    application = ask.application()
    return {
        "calls": calls(),
        "lives": [list(pair) for pair in LIVES],
        "regex": application.regex,
        "signs_with": application.secrets.signing.id,
        "handle": ask.query.text("handle", longest=64),
        "made": None,
    }


def _policy(ask: Ask) -> tuple[Policy, int]:
    """The policy that the fields describe, and for how many seconds it is good. Raises `BadField`."""
    given, now = ask.given, ask.now
    limits: dict[str, Any] = {}
    if handle := given.text("handle", label="The handle", longest=64):
        limits["handle"] = handle
    for name in PATTERNS:
        if pattern := given.text(name, label=f"The pattern of {name}", longest=512):
            limits[name] = pattern
    for wire, name in (("minSize", "min_size"), ("maxSize", "max_size")):
        if (size := given.whole(wire, label=wire)) is not None:
            limits[name] = size
    names = None if given.flag("everything") else given.several("call", label="The calls")
    if names == []:
        raise BadField("call", "Tick at least one call, or everything.")
    for each in names or ():
        if each not in CALL_NAMES:
            raise BadField("call", f"'{each[:40]}' is not a call.")
    life = _life(ask, now)
    for name in PATTERNS:
        _check_pattern(name, limits.get(name), now)
    try:
        return Policy.lasting(life, now=now, call=names, **limits), life
    except ConfigurationError as error:
        raise BadField("", str(error)) from None


def _check_pattern(name: str, pattern: str | None, now: float) -> None:
    if pattern is None:
        return
    try:
        limit: dict[str, Any] = {name: pattern}
        Policy.lasting(60, now=now, **limit)
    except ConfigurationError as error:
        raise BadField(name, f"{str(error).removeprefix('this policy would be refused: ').capitalize()}.") from None


def _life(ask: Ask, now: float) -> int:
    """Seconds from now to the expiry: a length of time, a date, or the expiry itself."""
    given = ask.given
    until = given.text("until", label="The date", longest=40)
    if (expiry := given.whole("expiry", label="The expiry")) is not None:
        life, field = expiry - math.ceil(now), "expiry"
    elif until and given.get("expires_in") in ("", None, "date"):
        life, field = _moment(until) - math.ceil(now), "until"
    elif given.get("expires_in") == "date":
        raise BadField("until", "Give the date and time at which it ends.")
    else:
        return given.whole("expires_in", label="The time", least=1, most=_HUNDRED_YEARS, default=LIVES[0][0]) or LIVES[0][0]
    if life <= 0:
        raise BadField(field, "This moment is over already.")
    if life > _HUNDRED_YEARS:
        raise BadField(field, "This is more than a hundred years ahead. An expiry is in seconds, not in milliseconds.")
    return life


def _moment(text: str) -> int:
    found = _UNTIL.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        return int(dt.datetime.fromisoformat(f"{found[1]}T{found[2]}+00:00").timestamp())
    except (ValueError, OverflowError):
        raise BadField("until", "Give date and time as 2030-12-31 18:00.") from None


def _tries(ask: Ask, policy: Policy, application: Application) -> list[dict[str, Any]]:
    """The patterns on the values given to try them on, by the gate's own code and the application's mode."""
    search, found = application.regex == "search", []
    for name in PATTERNS:
        pattern, value = getattr(policy, name), ask.given.text(f"sample_{name}", label="The value to try", longest=3000)
        if pattern is not None and value:
            found.append(
                {"key": name, "pattern": pattern, "value": value, "matches": policy.matches(name, value, search=search)}
            )
    return found


def _sign(ask: Ask) -> Done:
    ask.given.only(
        "csrf", "expires_in", "expiry", "until", "call", "everything", "handle", "minSize", "maxSize", *PATTERNS,
        *(f"sample_{name}" for name in PATTERNS),
    )  # fmt: skip
    application = ask.application()
    key, now = application.api_key, ask.now
    policy, life = _policy(ask)
    signed = policy.sign(application.secrets.signing.value)
    members = explaining.members_of(policy)
    ask.engine.usage.add((key, SIGNED, "portal"))
    made = {
        "policy": members,
        "encoded": signed.encoded,
        "signature": signed.signature,
        "query": signed.as_query(),
        "task": signed.as_task(),
        "expiry": policy.expiry,
        "signed_with": application.secrets.signing.id,
        "warnings": [each._asdict() for each in warnings(policy, application, now=now)],
        "tries": _tries(ask, policy, application),
        "ready": ready(policy, signed, members, files=ask.files, key=key, life=life),
    }
    if ask.given.form:
        return Done(values={**_show(ask), "made": made}, page="policies.html", title="Policies")
    return Done(values=made)


_ONE = "/applications/{key}"

ROOM = Room(
    name="policies",
    views=(
        View(
            path=f"{_ONE}/policies", show=_show, page="policies.html", title="Policies", command="sign",
            says="What a policy can grant and how long it may last.",
        ),
    ),
    actions=(
        Action(
            path=f"{_ONE}/policies/sign", do=_sign, on=f"{_ONE}/policies", command="sign",
            says="Sign a policy with the newest secret; gives it in all its forms, with warnings where it is wide.",
        ),
    ),
)  # fmt: skip
