"""Webhooks of an application: where events go, what was sent and answered, sending it again.

Knows: which values pages about webhooks need, what each event means. Must not know: how anything is signed, sent or kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import quote, urlencode

from ...engine.account_rows import SECRETS
from ...engine.webhook_endpoints import MAX_GRACE, Endpoint
from ...engine.webhook_log import DELIVERED, STATES, Delivery
from ...engine.webhook_sign import told_headers
from ...engine.webhooks import EVENTS, TEST
from ...gate.errors import BadRequest
from ..webhooks_api import described_delivery, described_webhook
from .fields import BadField
from .frame import Action, Ask, Done, Room, View
from .webhook_samples import JAVASCRIPT, PYTHON

_PAGE = 50  # deliveries on one page
_LONGEST_URL = 2048
_MOST_SHOWN = 100_000  # characters of a payload on a page; programs get all of it

#: What each event tells, in the order of the list.
MEANINGS = {
    "fp.upload": "A file was stored.",
    "fp.converse": "The result of a transformation was stored.",
    "fp.video_converse": "The conversion of a video has ended.",
    "fp.overwrite": "A file got new content.",
    "fp.delete": "A file was deleted, or its time was over.",
    "fs.workflow": "A workflow has ended.",
    "fp.preview": "A preview job has ended.",
    TEST: "A test that somebody sent from here.",
}
GRACES = (("0", "stops signing at once"), ("3600", "signs too for one more hour"), ("86400", "signs too for one more day"))


def _demo(ask: Ask, key: str) -> str:
    """The address of this server's own receiver, for this application; empty where there is none."""
    found = ask.engine.settings.demo_webhook
    return f"{found}?key={quote(key)}" if found else ""


def _summary(ask: Ask, endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint, with the end of the secret that signs now (security promise 60)."""
    last = ask.engine.webhooks.endpoints.keys(endpoint)[0][-4:]
    return described_webhook(endpoint) | {
        "secret_ends": last,
        "demo": endpoint.url == _demo(ask, endpoint.application),
    }


def _events() -> list[dict[str, str]]:
    return [{"name": name, "means": MEANINGS[name]} for name in EVENTS]


# ------------------------------------------------------------------------------------------------------------ endpoints


def _all(ask: Ask) -> Mapping[str, Any]:
    key = ask.application().api_key
    webhooks = ask.engine.webhooks
    return {
        "api_key": key,
        "webhooks": [_summary(ask, each) for each in webhooks.endpoints.of(key)],
        "events": _events(),
        "demo_url": _demo(ask, key),
        "use_demo": ask.query.flag("demo"),
        "latest": [described_delivery(each) for each in webhooks.log.page(key, limit=5)],
        "samples": {"python": PYTHON, "javascript": JAVASCRIPT},
    }


def _url(ask: Ask) -> str:
    url = ask.given.text("url", label="The address", longest=_LONGEST_URL, needed=True)
    try:
        ask.engine.webhooks.check_url(url)
    except BadRequest as fault:
        raise BadField("url", fault.public) from None
    return url


def _wanted(ask: Ask) -> list[str]:
    wanted = ask.given.several("events", label="Events")
    if unknown := [name for name in wanted if name not in EVENTS]:
        raise BadField("events", f"There is no event '{unknown[0][:60]}'.")
    return wanted


def _add(ask: Ask) -> Done:
    given, key = ask.given, ask.application().api_key
    given.only("csrf", "url", "events", "active", "demo")
    url, events = _url(ask), _wanted(ask)
    active = given.flag("active", default=True)
    made, secret = ask.engine.administration.add_webhook(ask.actor, key, url, events=events, active=active)
    return _once(ask, made, secret, title="The webhook is there", status=201)


def _once(ask: Ask, endpoint: Endpoint, secret: str, *, title: str, status: int = 200) -> Done:
    go_on = f"/applications/{endpoint.application}/webhooks/{endpoint.id}"
    told = {"secret": secret, "secret_name": "Secret of the webhook", "go_on": go_on}
    return Done(values=_summary(ask, endpoint) | told, page="secret_once.html", title=title, status=status)


def _endpoint(ask: Ask) -> Endpoint:
    return ask.engine.webhooks.endpoints.get(ask.application().api_key, ask.path["webhook"])


def _one(ask: Ask) -> Mapping[str, Any]:
    endpoint = _endpoint(ask)
    latest = ask.engine.webhooks.log.page(endpoint.application, webhook=endpoint.id, limit=5)
    return {
        "api_key": endpoint.application,
        "webhook": _summary(ask, endpoint),
        "events": _events(),
        "latest": [described_delivery(each) for each in latest],
        "graces": [list(pair) for pair in GRACES],
        "samples": {"python": PYTHON, "javascript": JAVASCRIPT},
    }


def _done(ask: Ask, endpoint: Endpoint, note: str) -> Done:
    to = f"/applications/{endpoint.application}/webhooks/{endpoint.id}"
    return Done(values=_summary(ask, endpoint), to=to, note=note)


def _change(ask: Ask) -> Done:
    given, endpoint = ask.given, _endpoint(ask)
    given.only("csrf", "url", "events")
    url = _url(ask) if given.form or given.has("url") else None
    events = _wanted(ask) if given.form or given.has("events") else None  # a form without a tick says nothing of its boxes
    after = ask.engine.administration.change_webhook(ask.actor, endpoint.application, endpoint.id, url=url, events=events)
    return _done(ask, after, "The webhook is saved.")


def _switch(ask: Ask) -> Done:
    given, endpoint = ask.given, _endpoint(ask)
    given.only("csrf", "active")
    if not given.has("active"):
        raise BadField("active", "active is yes or no.")
    active = given.flag("active")
    after = ask.engine.administration.change_webhook(ask.actor, endpoint.application, endpoint.id, active=active)
    return _done(ask, after, "Events are sent from now on." if active else "No more events are sent.")


def _rotate(ask: Ask) -> Done:
    given, endpoint = ask.given, _endpoint(ask)
    given.only("csrf", "password", "username", "grace")
    grace = given.whole("grace", label="The grace period", most=MAX_GRACE, default=86_400)
    after, secret = ask.engine.administration.rotate_webhook(
        ask.actor, endpoint.application, endpoint.id, grace=86_400 if grace is None else grace
    )
    return _once(ask, after, secret, title="The new secret of the webhook")


def _remove(ask: Ask) -> Done:
    endpoint = _endpoint(ask)
    ask.engine.administration.remove_webhook(ask.actor, endpoint.application, endpoint.id)
    note = "The webhook is gone, with its secret, its log and what waited for it."
    return Done(values={"removed": endpoint.id}, to=f"/applications/{endpoint.application}/webhooks", note=note)


def _test(ask: Ask) -> Done:
    """Send a test and wait for the answer: at most as long as one try may take."""
    endpoint = _endpoint(ask)
    done = ask.engine.webhooks.test(endpoint.application, endpoint.id)
    ask.engine.administration.note(ask.actor, "webhook.test", application=endpoint.application, subject=endpoint.id)
    arrived = done.state == DELIVERED
    note = f"The test arrived: the answer was {done.status}." if arrived else "The test did not arrive: see the answer below."
    return Done(values=_told(ask, done), to=_address(done), note=note)


# ------------------------------------------------------------------------------------------------------------ deliveries


def _address(delivery: Delivery) -> str:
    return f"/applications/{delivery.application}/webhooks/deliveries/{delivery.id}"


def _log(ask: Ask) -> Mapping[str, Any]:
    key, query = ask.application().api_key, ask.query
    log, endpoints = ask.engine.webhooks.log, ask.engine.webhooks.endpoints.of(key)
    asked = {
        "state": query.choice("state", ["", *STATES], default=""),
        "event": query.choice("event", ["", *EVENTS, TEST], default=""),
        "webhook": query.choice("webhook", ["", *(each.id for each in endpoints)], default=""),
        "job": query.text("job", longest=100),
    }
    only: dict[str, Any] = {name: value for name, value in asked.items() if value}
    after = query.text("after", longest=100)
    limit = query.whole("limit", least=1, most=1000, default=_PAGE) or _PAGE
    page = log.page(key, limit=limit + 1, after=after or None, **only)
    more = page[limit - 1].id if len(page) > limit else None
    return {
        "api_key": key,
        "deliveries": [described_delivery(each) for each in page[:limit]],
        "next": more,
        "next_page": urlencode({**only, "after": more}) if more else "",
        "after": after,
        "asked": asked,
        "states": list(STATES),
        "events": [*EVENTS, TEST],
        "webhooks": [{"id": each.id, "url": each.url} for each in endpoints],
    }


def _found(ask: Ask) -> Delivery:
    return ask.engine.webhooks.log.one(ask.path["delivery"], application=ask.application().api_key)


def _told(ask: Ask, delivery: Delivery) -> dict[str, Any]:
    """A delivery with its tries, what it told where that is kept, and what was sent around it."""
    webhooks = ask.engine.webhooks
    body = webhooks.log.body(delivery.id, application=delivery.application)
    text = None if body is None else body.decode("utf-8", "replace")
    tries = webhooks.log.tries(delivery.id)
    url = None
    if delivery.webhook is not None:
        url = webhooks.endpoints.get(delivery.application, delivery.webhook).url
    return described_delivery(delivery) | {
        "api_key": delivery.application,
        "url": url,
        "payload": text,
        "tries": [
            asdict(each) | {"headers": [list(pair) for pair in told_headers(delivery.event_id, each.started // 1000)]}
            for each in tries
        ],
    }


def _delivery(ask: Ask) -> Mapping[str, Any]:
    found = _found(ask)
    told = _told(ask, found)
    return told | {"shown": _pretty(told["payload"]), "means": MEANINGS.get(found.event, "")}


def _pretty(payload: str | None) -> str | None:
    """What was told, for people: JSON with lines, as much of it as a page can bear."""
    if payload is None:
        return None
    try:
        shown = json.dumps(json.loads(payload), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        shown = payload
    return shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}\n… ({len(shown) - _MOST_SHOWN} characters more)"


def _redeliver(ask: Ask) -> Done:
    """Send it once more and wait for one try; when that fails, servers go on trying."""
    found = _found(ask)
    ask.engine.webhooks.redeliver(found.id, application=found.application)
    ask.engine.administration.note(ask.actor, "webhook.redeliver", application=found.application, subject=found.id)
    ask.engine.webhooks.deliver(found.id)
    done = ask.engine.webhooks.log.one(found.id, application=found.application)
    note = "It arrived." if done.state == DELIVERED else "It is being sent again."
    return Done(values=_told(ask, done), to=_address(done), note=note)


_BASE = "/applications/{key}/webhooks"
_HOOK = f"{_BASE}/{{webhook}}"
_LOG = f"{_BASE}/deliveries"

ROOM = Room(
    name="webhooks",
    views=(
        View(
            path=_BASE, show=_all, page="webhooks.html", title="Webhooks", command="webhook list",
            says="Webhooks of an application, and the events there are.",
        ),
        View(
            path=_HOOK, show=_one, page="webhook.html", title="Webhook", command="webhook show",
            says="One webhook: its address, its events, the end of its secret, what was sent last.",
        ),
        View(
            path=_LOG, show=_log, page="deliveries.html", title="Deliveries", command="webhook deliveries",
            says="The log, newest first: by `state`, `event`, `webhook`, `job`; `limit`, and `after` as `next` says.",
        ),
        View(
            path=f"{_LOG}/{{delivery}}", show=_delivery, page="delivery.html", title="Delivery", command="webhook delivery",
            says="One delivery: what it told, where that is kept, and every try with its answer.",
        ),
    ),
    actions=(
        Action(
            path=_BASE, do=_add, on=_BASE, command="webhook add",
            says="Have events sent to an address; the secret that signs them is in the answer, this once.",
        ),
        Action(
            path=_HOOK, do=_change, on=_HOOK, command="webhook set",
            says="Change the address and the events of a webhook; no event named means all.",
        ),
        Action(
            path=f"{_HOOK}/switch", do=_switch, on=_HOOK, command="webhook set",
            says="Switch a webhook on or off.",
        ),
        Action(
            path=f"{_HOOK}/rotate", do=_rotate, on=_HOOK, scope=SECRETS, fresh=True, command="webhook rotate",
            says="Make a new secret of a webhook; it is in the answer, this once.",
        ),
        Action(
            path=f"{_HOOK}/remove", do=_remove, on=_HOOK, scope=SECRETS, fresh=True, command="webhook remove",
            says="Forget a webhook, with its secret, its log and what waits for it.",
        ),
        Action(
            path=f"{_HOOK}/test", do=_test, on=_HOOK, command="webhook test",
            says="Send a test event now; the answer is the delivery.",
        ),
        Action(
            path=f"{_LOG}/{{delivery}}/redeliver", do=_redeliver, on=f"{_LOG}/{{delivery}}", command="webhook redeliver",
            says="Send a delivery once more, with the same event id.",
        ),
    ),
)  # fmt: skip
__all__ = ["MEANINGS", "ROOM"]
