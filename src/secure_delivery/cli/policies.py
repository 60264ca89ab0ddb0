"""`sign`, `verify`, `explain` and `whitelist test`: the judgement, on the command line."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.text import Text

from ..engine.explaining import told
from ..engine.policy_warnings import warnings
from ..engine.trials import RequestHead, trials
from ..engine.whitelist_try import SIDES, tried
from ..gate.decide import decide
from ..gate.errors import ConfigurationError
from ..gate.model import Application, RequestFacts, SecretRing
from ..gate.policy import CALL_NAMES, Call, Policy, SignedPolicy
from ..gate.whitelist import Whitelist
from .output import AsJson, Config, engine_for, known_application, out, say, say_json, say_table, verdict

SECRET_VARIABLE = "SECURE_DELIVERY_SECRET"  # noqa: S105 - the name of a variable
whitelist = typer.Typer(help="Domain whitelists.", no_args_is_help=True)

AppKey = Annotated[str | None, typer.Option("--app", help=f"API key; without it the secret in ${SECRET_VARIABLE} is used.")]
Origin = Annotated[str | None, typer.Option(help="The Origin header of the request.")]
Referer = Annotated[str | None, typer.Option(help="The Referer header of the request.")]


def _application(api_key: str | None, config: Path | None) -> Application:
    """The application to judge for: one of the server's, or one made of the secret in the environment."""
    if api_key is not None:
        with engine_for(config) as engine:
            return known_application(engine, api_key)
    secret = os.environ.get(SECRET_VARIABLE)
    if not secret:
        raise ConfigurationError(f"name an application with --app, or put its secret into {SECRET_VARIABLE}")
    return Application(secrets=SecretRing.of(secret), require_policy=True)


def _known_call(name: str) -> Call:
    if name not in CALL_NAMES:
        raise ConfigurationError(f"{name!r} is not a call; known are {', '.join(sorted(CALL_NAMES))}")
    return CALL_NAMES[name]


def sign(
    call: Annotated[list[str] | None, typer.Option(help="A call to grant; repeat it. Without any: all but exif.")] = None,
    expires_in: Annotated[int, typer.Option(help="Seconds until the policy expires.")] = 3600,
    round_to: Annotated[int, typer.Option(help="Round the expiry up to a multiple of so many seconds.")] = 1,
    handle: Annotated[str | None, typer.Option(help="Only this file.")] = None,
    container: Annotated[str | None, typer.Option(help="Pattern for the container of uploads.")] = None,
    path: Annotated[str | None, typer.Option(help="Pattern for the path of uploads.")] = None,
    url: Annotated[str | None, typer.Option(help="Pattern for source URLs.")] = None,
    min_size: Annotated[int | None, typer.Option(help="Bytes an upload has at least.")] = None,
    max_size: Annotated[int | None, typer.Option(help="Bytes an upload has at most.")] = None,
    app: AppKey = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Sign a policy and print it as query, path segment and File API fields."""
    for name in call or ():
        _known_call(name)
    limits: dict[str, Any] = {
        "handle": handle,
        "container": container,
        "path": path,
        "url": url,
        "min_size": min_size,
        "max_size": max_size,
    }
    application = _application(app, config)
    now = time.time()
    signed = application.sign(expires_in=expires_in, now=now, round_to=round_to, call=call, **limits)
    policy = Policy.decode(signed.encoded)
    forms = {"policy": signed.encoded, "signature": signed.signature, "query": signed.as_query(), "task": signed.as_task()}
    cautions = warnings(policy, application, now=now)
    if as_json:
        told_of = [each._asdict() for each in cautions]
        say_json(forms | {"fields": signed.as_fields(), "expiry": policy.expiry, "warnings": told_of})
        return
    for name, value in forms.items():
        say(name, value)
    for each in cautions:
        say("note", each.sentence, "yellow")


def verify(
    policy: Annotated[str, typer.Argument(help="The encoded policy.")],
    signature: Annotated[str, typer.Argument(help="Its signature.")],
    call: Annotated[str, typer.Option(help="The call to check it for.")] = "read",
    handle: Annotated[str | None, typer.Option(help="The file it is used on.")] = None,
    app: AppKey = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Check a signed policy for one call. Exit status 0 when it is good, 1 when it is refused."""
    facts = RequestFacts(calls=frozenset({_known_call(call)}), signed=SignedPolicy(policy, signature), handle=handle)
    _say_explanation(_application(app, config), facts, as_json=as_json)


def _say_explanation(application: Application, facts: RequestFacts, *, as_json: bool) -> None:
    said = told(application, facts, now=time.time())
    if as_json:
        say_json(said)
    else:
        rows = [(step["name"], _coloured(step["verdict"]), step["note"]) for step in said["steps"]]
        say_table(("step", "verdict", "what was found"), rows)
        out.print(verdict(said["allowed"]) + Text(f"  {said['reason']}; the client sees: {said['client_sees']['sentence']}"))
        if said["todo"]:
            say("what to do", said["todo"])
    if not said["allowed"]:
        raise typer.Exit(1)


def _coloured(word: str) -> Text:
    return Text(word, style={"pass": "green", "refuse": "red"}.get(word, "dim"))


def explain_url(
    url: Annotated[str, typer.Argument(help="The URL, or its path and query, exactly as it is requested.")],
    method: Annotated[str, typer.Option(help="The method it is requested with.")] = "GET",
    origin: Origin = None,
    referer: Referer = None,
    size: Annotated[int | None, typer.Option(help="Bytes of the upload.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Say step by step how a request for a URL would be judged. Exit status 0 when it is allowed, 1 when not."""
    parts = urlsplit(url)
    said = RequestFacts(calls=frozenset(), origin=origin, referer=referer, size=size)
    head = RequestHead(path=parts.path or "/", query=parts.query, method=method.upper(), said=said)
    with engine_for(config) as engine:
        *others, last = trials(engine, head)
    for each in others:
        if not decide(each.application, each.facts, now=time.time()).allowed:
            _say_explanation(each.application, each.facts, as_json=as_json)
    _say_explanation(last.application, last.facts, as_json=as_json)


@whitelist.command("test")
def whitelist_test(
    origins: Annotated[list[str], typer.Argument(help="Origins (https://www.example.org) or hosts (www.example.org:8080).")],
    pattern: Annotated[list[str] | None, typer.Option(help="A pattern; repeat it. Else the application's list.")] = None,
    app: Annotated[str | None, typer.Option("--app", help="API key of the application whose list is tested.")] = None,
    uploads: Annotated[bool, typer.Option("--uploads/--delivery", help="Which of the application's lists.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Say for each origin whether a whitelist allows it, and by which pattern. Exit status 1 if any is refused."""
    chosen = Whitelist(pattern) if pattern else None
    if chosen is None:
        if app is None:
            raise ConfigurationError("give patterns with --pattern, or an application with --app")
        with engine_for(config) as engine:
            application = known_application(engine, app)
        chosen = (application.upload_whitelist if uploads else application.delivery_whitelist) or Whitelist([])
    side = SIDES[0] if uploads else SIDES[1]
    results: list[dict[str, Any]] = []
    for origin in origins:
        said = tried(origin, chosen, chosen)
        results.append({"origin": origin, **said[side], "remark": said["remark"], "malformed": said["malformed"]})
    if as_json:
        say_json({"patterns": list(chosen.patterns), "results": results})
    else:
        say("patterns", ", ".join(chosen.patterns) or "none: everything is allowed")
        rows = [(each["origin"], verdict(each["allowed"]), each["pattern"] or "", each["why"]) for each in results]
        say_table(("origin", "verdict", "by pattern", "why"), rows)
    if not all(result["allowed"] for result in results):
        raise typer.Exit(1)
