"""`secure-delivery webhook …`: where events go, trying it out, the log of what was sent, and sending it again."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from ..engine.audit import CLI
from ..engine.webhook_log import DELIVERED, FAILED, STATES, Delivery
from ..engine.webhooks import EVENTS, Endpoint
from ..gate.errors import ConfigurationError
from .output import AsJson, Config, Key, complain, engine_for, known_application, out, say, say_json, say_table

app = typer.Typer(help="Webhooks: where events go, what was sent, and sending it again.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Id of the webhook: see `webhook list`.")]
Events = Annotated[
    list[str] | None,
    typer.Option("--event", help=f"An event it takes; repeat it. All when there is none: {', '.join(EVENTS)}."),
]


def _described(endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint as plain values, without its secrets (security promise 60)."""
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "events": list(endpoint.events),
        "state": endpoint.state,
        "created": _moment(endpoint.created),
        "previous_secret_until": _moment(endpoint.until),
    }


def _told(delivery: Delivery) -> dict[str, Any]:
    values = asdict(delivery)
    for name in ("application", "kept"):
        del values[name]
    return values | {name: _moment(values[name]) for name in ("created", "due", "finished")}


def _moment(moment: int | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _show(endpoint: Endpoint, secret: str | None, *, as_json: bool) -> None:
    if as_json:
        say_json(_described(endpoint) | ({} if secret is None else {"secret": secret}))
        return
    say("webhook", endpoint.id, "bold")
    say("url", endpoint.url)
    say("events", ", ".join(endpoint.events) or "all")
    say("state", endpoint.state)
    if endpoint.until is not None:
        say("secret before, until", f"{_moment(endpoint.until)} UTC")
    if secret is not None:
        out.print(Text(f"{'secret (shown once):':<22}", style="dim") + Text(secret, style="bold yellow"))


@app.command()
def add(
    api_key: Key,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where events are sent.")],
    event: Events = None,
    active: Annotated[bool, typer.Option("--active/--off", help="Whether events are sent from now on.")] = True,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Have events of an application sent to an address. Prints the secret that signs them, this once."""
    with engine_for(config) as engine:
        known_application(engine, api_key)
        endpoint, secret = engine.administration.add_webhook(CLI, api_key, url, events=event or (), active=active)
    _show(endpoint, secret, as_json=as_json)


@app.command("set")
def set_(
    api_key: Key,
    webhook: Name,
    url: Annotated[str | None, typer.Option("--url", help="Another address.")] = None,
    event: Events = None,
    every: Annotated[bool, typer.Option("--all-events", help="Take all events.")] = False,
    active: Annotated[bool | None, typer.Option("--active/--off", help="Switch it on or off.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Change a webhook; what is not named stays."""
    if event and every:
        raise ConfigurationError("--event and --all-events: one of them")
    events = () if every else event
    with engine_for(config) as engine:
        endpoint = engine.administration.change_webhook(CLI, api_key, webhook, url=url, events=events, active=active)
    _show(endpoint, None, as_json=as_json)


@app.command("list")
def list_(api_key: Key, config: Config = None, as_json: AsJson = False) -> None:
    """List the webhooks of an application."""
    with engine_for(config) as engine:
        known_application(engine, api_key)
        found = [_described(each) for each in engine.webhooks.endpoints.of(api_key)]
    if as_json:
        say_json({"webhooks": found})
        return
    rows = [(each["id"], each["url"], ", ".join(each["events"]) or "all", each["state"], each["created"]) for each in found]
    say_table(("id", "url", "events", "state", "created"), rows)


@app.command()
def show(api_key: Key, webhook: Name, config: Config = None, as_json: AsJson = False) -> None:
    """Show one webhook; of its secret only the last four characters."""
    with engine_for(config) as engine:
        known_application(engine, api_key)
        endpoints = engine.webhooks.endpoints
        endpoint = endpoints.get(api_key, webhook)
        last = endpoints.keys(endpoint)[0][-4:]
    if as_json:
        say_json(_described(endpoint) | {"secret_ends": last})
        return
    _show(endpoint, None, as_json=False)
    say("secret ends in", last)


@app.command()
def remove(
    api_key: Key,
    webhook: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Forget a webhook, with its secret, its log and what waits for it."""
    with engine_for(config) as engine:
        endpoint = engine.webhooks.endpoints.get(api_key, webhook)
        if not yes:
            typer.confirm(f"Forget the webhook to {endpoint.url}?", abort=True, err=True)
        engine.administration.remove_webhook(CLI, api_key, webhook)
    if as_json:
        say_json({"removed": webhook})
    else:
        say("removed", webhook)


@app.command()
def rotate(
    api_key: Key,
    webhook: Name,
    grace: Annotated[int, typer.Option(help="Seconds for which the secret before signs too, at most a week.")] = 86_400,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make a new secret and print it, this once. Both sign until the grace is over."""
    with engine_for(config) as engine:
        endpoint, secret = engine.administration.rotate_webhook(CLI, api_key, webhook, grace=grace)
    _show(endpoint, secret, as_json=as_json)


@app.command()
def test(api_key: Key, webhook: Name, config: Config = None, as_json: AsJson = False) -> None:
    """Send an event of our own, and say what came of it. Exit status 1 when it did not arrive."""
    with engine_for(config) as engine:
        done = engine.webhooks.test(api_key, webhook)
        engine.administration.note(CLI, "webhook.test", application=api_key, subject=webhook)
    _outcome(done, as_json=as_json)


@app.command()
def deliveries(
    api_key: Key,
    webhook: Annotated[str | None, typer.Option(help="Only those to this webhook.")] = None,
    state: Annotated[str | None, typer.Option(help=f"Only those that are {', '.join(STATES)}.")] = None,
    event: Annotated[str | None, typer.Option(help="Only those of this event.")] = None,
    job: Annotated[str | None, typer.Option(help="Only those that tell of this job.")] = None,
    after: Annotated[str | None, typer.Option(help="Go on behind this delivery.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 50,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show the log of an application, newest first."""
    if state is not None and state not in STATES:
        raise ConfigurationError(f"state is one of {', '.join(STATES)}")
    with engine_for(config) as engine:
        known_application(engine, api_key)
        page = engine.webhooks.log.page(api_key, webhook=webhook, state=state, event=event, job=job, after=after, limit=limit)
    if as_json:
        say_json({"deliveries": [_told(each) for each in page], "next": page[-1].id if len(page) == limit else None})
        return
    styles = {DELIVERED: "green", FAILED: "bold red"}
    rows = [
        (
            each.id,
            _moment(each.created) or "",
            each.event,
            Text(each.state, style=styles.get(each.state, "")),
            each.attempts,
            each.status or "",
            (each.answer or "")[:60],
        )
        for each in page
    ]
    say_table(("id", "when (UTC)", "event", "state", "tries", "status", "answer"), rows)


@app.command()
def delivery(
    api_key: Key,
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="Id of the delivery: see `webhook deliveries`.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show one delivery: what it told, where that is kept, and every try with its answer."""
    with engine_for(config) as engine:
        log = engine.webhooks.log
        found = log.one(delivery, application=known_application(engine, api_key).api_key)
        tries, body = log.tries(delivery), log.body(delivery, application=api_key)
    text = None if body is None else body.decode("utf-8", "replace")
    if as_json:
        say_json(_told(found) | {"payload": text, "tries": [asdict(each) for each in tries]})
        return
    say("delivery", found.id, "bold")
    say("event", found.event)
    say("event id", found.event_id)
    say("state", found.state)
    rows = [
        (each.number, _moment(each.started) or "", each.took, each.status or "no answer", each.answer or "") for each in tries
    ]
    say_table(("try", "when (UTC)", "ms", "status", "answer"), rows)
    say("body", "not kept any more" if text is None else text)


@app.command()
def redeliver(
    api_key: Key,
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="Id of the delivery: see `webhook deliveries`.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Send a delivery once more, now, with the same event id. When it fails, servers go on trying. Exit status 1 then."""
    with engine_for(config) as engine:
        engine.webhooks.redeliver(delivery, application=api_key)
        engine.administration.note(CLI, "webhook.redeliver", application=api_key, subject=delivery)
        engine.webhooks.deliver(delivery)
        done = engine.webhooks.log.one(delivery)
    _outcome(done, as_json=as_json)


def _outcome(done: Delivery, *, as_json: bool) -> None:
    if as_json:
        say_json(_told(done))
    else:
        say("delivery", done.id, "bold")
        say("event id", done.event_id)
        say("state", done.state, "green" if done.state == DELIVERED else "bold red")
        say("status", "no answer" if done.status is None else done.status)
        if done.answer:
            say("answer", done.answer)
    if done.state != DELIVERED:
        if not as_json:
            complain("it did not arrive")
        sys.exit(1)
