"""The debugger: paste what was refused, or what will be sent, and see step by step how it is judged.

Knows: what of a judgement is asked for and shown. Must not know: how requests are read, policies verified or judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...engine import explaining, pasted
from ...engine.account_rows import READ
from ...engine.trials import RequestHead, Trial, trial_for
from ...gate.credentials import signed_from_path, signed_from_query
from ...gate.errors import BadRequest, ConfigurationError, PolicyError, SecureDeliveryError
from ...gate.model import Application, RequestFacts
from ...gate.policy import CALL_NAMES, Call, SignedPolicy
from ...gate.reading import read_policy
from .fields import BadField
from .frame import Action, Ask, Done, Room, View
from .policies import calls

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")


def _debugger(ask: Ask) -> Mapping[str, Any]:
    ask.application()
    return {"calls": calls(), "methods": list(METHODS), "explained": None}


def _explain(ask: Ask) -> Done:
    given, application = ask.given, ask.application()
    given.only(
        "csrf", "text", "policy", "signature", "method", "chosen", "calls", "handle", "container", "path", "url", "size",
        "origin", "referer",
    )  # fmt: skip
    read = _read(ask)
    method = given.choice("method", METHODS, default="") or read.method or "GET"
    told: dict[str, Any] = {"answered": None, "host": read.host, "method": method}
    try:
        trial = _trial(ask, application, read, method)
    except SecureDeliveryError as fault:
        if fault.status >= 500 and not isinstance(fault, ConfigurationError):
            raise
        told["answered"] = {"status": fault.status, "code": fault.code, "sentence": fault.public}
        facts = RequestFacts(calls=frozenset({Call.READ}), signed=_shown(read), origin=read.origin, referer=read.referer)
        trial = Trial(application, facts, ())
    facts = _changed(ask, trial.facts)
    told |= explaining.told(application, facts, now=ask.now)
    told["remarks"] = [*read.remarks, *_host_remark(ask, read), *trial.remarks]
    told["asked"] = _asked(facts)
    if told["answered"] is not None and not given.flag("chosen"):
        told |= {"allowed": False, "todo": "Mend the address first. What follows judges the credential in it as for reading."}
    values = {**_debugger(ask), "explained": told}
    if given.form:
        return Done(values=values, page="debugger.html", title="Why was it refused?")
    return Done(values=told)


def _read(ask: Ask) -> pasted.Pasted:
    given = ask.given
    if policy := given.text("policy", label="The policy", longest=pasted.MOST):
        signature = given.text("signature", label="The signature", longest=1000)
        if not given.has("text"):
            return pasted.Pasted(signed=SignedPolicy(policy, signature))
    text = given.text("text", label="The address", longest=pasted.MOST, lines=True, needed=True)
    try:
        return pasted.read(text)
    except BadRequest as fault:
        raise BadField("text", fault.public) from None


def _trial(ask: Ask, application: Application, read: pasted.Pasted, method: str) -> Trial:
    """What the request would be judged on. Raises what the server answers before it judges."""
    nothing: frozenset[Call] = frozenset()
    said = RequestFacts(calls=nothing, secret=read.secret, origin=read.origin, referer=read.referer, size=read.size)
    if not read.path:
        return _alone(ask, application, replace(said, signed=read.signed))
    prefix = ask.files.partition("://")[2].partition("/")[2]
    path = read.path.removeprefix(f"/{prefix}") if prefix else read.path
    trial = trial_for(ask.engine, application, RequestHead(path=path or "/", query=read.query, method=method, said=said))
    if read.signed is not None and trial.facts.signed is None:
        trial = trial._replace(facts=replace(trial.facts, signed=read.signed))
    return trial


def _shown(read: pasted.Pasted) -> SignedPolicy | None:
    """The credential in an address that cannot be understood otherwise."""
    try:
        return read.signed or signed_from_query(read.query) or signed_from_path(read.path)
    except SecureDeliveryError:
        return None


def _alone(ask: Ask, application: Application, facts: RequestFacts) -> Trial:
    """A policy without a request: it is tried on something that it says itself."""
    remark = "A policy alone is no request: below, choose what it would be used for."
    try:
        policy = None if facts.signed is None else read_policy(application, facts.signed, now=ask.now).policy
    except PolicyError:
        policy = None
    named = sorted(policy.call) if policy is not None and policy.call is not None else []
    call = Call.READ if not named or Call.READ in named else named[0]
    handle = None if policy is None else policy.handle
    return Trial(application, replace(facts, calls=frozenset({call}), handle=handle), (remark,))


def _changed(ask: Ask, facts: RequestFacts) -> RequestFacts:
    """The facts with what was given in fields of their own. With `chosen`, what is empty there is nothing."""
    given, chosen = ask.given, ask.given.flag("chosen")
    changes: dict[str, Any] = {}
    names = given.several("calls", label="What the request does")
    if names or chosen:
        if not names:
            raise BadField("calls", "Tick at least one thing that the request does.")
        for each in names:
            if each not in CALL_NAMES:
                raise BadField("calls", f"'{each[:40]}' is not a call.")
        changes["calls"] = frozenset(CALL_NAMES[each] for each in names)
    for name in ("handle", "container", "path", "url", "origin", "referer"):
        value = given.text(name, label=name, longest=3000)
        if value or chosen:
            changes[name] = value or None
    size = given.whole("size", label="The size")
    if size is not None or chosen:
        changes["size"] = size
    return replace(facts, **changes)


def _host_remark(ask: Ask, read: pasted.Pasted) -> list[str]:
    ours = ask.files.partition("://")[2].partition("/")[0]
    if not read.host or read.host.lower() == ours.lower():
        return []
    return [f"The address names {read.host[:200]}; files of this server are at {ours}."]


def _asked(facts: RequestFacts) -> dict[str, Any]:
    """What is judged, as plain values; of credentials only which kind was shown."""
    shown = "secret" if facts.secret is not None else "policy" if facts.signed is not None else "none"
    return {
        "calls": sorted(facts.calls),
        "handle": facts.handle,
        "container": facts.container,
        "path": facts.path,
        "url": facts.url,
        "size": facts.size,
        "origin": facts.origin,
        "referer": facts.referer,
        "credential": shown,
    }


_ONE = "/applications/{key}/debugger"

ROOM = Room(
    name="debugger",
    views=(
        View(
            path=_ONE, show=_debugger, page="debugger.html", title="Why was it refused?", command="explain",
            says="What the debugger can be asked about.",
        ),
    ),
    actions=(
        Action(
            path=_ONE, do=_explain, on=_ONE, scope=READ, command="explain",
            says="Explain step by step how a request, or a policy and its signature, would be judged.",
        ),
    ),
)  # fmt: skip
