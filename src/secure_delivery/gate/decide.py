"""The judgement: may this request pass?

Knows: an application, the facts of a request, a moment. Must not know: WSGI, ASGI, storage, a clock of its own.
`decide` is pure; there is no hook inside it. `explain` runs the same steps for an operator and says what each one found.

Sources: the Filestack "Security" document (the two tables below), security promises 1 to 32, 6 to 8 above all.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from .errors import PolicyError, Reason
from .hosts import parse_origin, parse_referer
from .model import KINDS, Application, Decision, RequestFacts, judge_size
from .policy import Call, Policy
from .reading import PolicyCache, read_policy
from .whitelist import Whitelist

Restriction = Literal["handle", "container", "path", "url", "size"]


class CallRule(NamedTuple):
    """What holds for one call, whatever the application."""

    allows: str
    kind: str | None  # one of `KINDS`, whose requests need a policy where it is required; None: a policy is always needed
    named: bool  # a policy without `call` does not grant it
    also: Call | None  # another call the policy must grant with it
    whitelist: Literal["upload", "delivery"] | None
    limited_by: frozenset[Restriction]

    @property
    def authenticated(self) -> bool:
        """Whether a policy is needed even in an open application."""
        return self.kind is None


_HANDLE: frozenset[Restriction] = frozenset({"handle"})
_UPLOAD: frozenset[Restriction] = frozenset({"handle", "container", "path", "size"})

#: The calls and the default-authentication table of the document, in one place. Requests that modify existing files, EXIF
#: data and workflows always need a policy; uploads and delivery only where the application requires it. Overwriting and
#: deleting are done by backends, which send no Origin: the policy they always need is the guard there, not a whitelist.
CALLS: dict[Call, CallRule] = {
    Call.PICK: CallRule("uploading", "upload", False, None, "upload", _UPLOAD | {"url"}),
    Call.STORE: CallRule("saving to custom storage", "upload", False, Call.PICK, None, _UPLOAD),
    Call.READ: CallRule("reading", "delivery", False, None, "delivery", _HANDLE),
    Call.STAT: CallRule("file metadata", "metadata", False, None, "delivery", _HANDLE),
    Call.CONVERT: CallRule("converting and viewing", "conversion", False, None, "delivery", _HANDLE | {"url"}),
    Call.EXIF: CallRule("EXIF metadata", None, True, None, "delivery", _HANDLE),
    Call.WRITE: CallRule("overwriting", None, False, None, None, _HANDLE | {"size"}),
    Call.REMOVE: CallRule("deleting", None, False, None, None, _HANDLE),
    Call.RUN_WORKFLOW: CallRule("running workflows", None, False, None, "delivery", _HANDLE),
}


class Demands(NamedTuple):
    """What the calls of one request ask for together."""

    authenticated: bool
    kinds: frozenset[str]  # which may be required or reported
    granted: frozenset[Call]  # the calls, and those that must be granted with them
    whitelist: Literal["upload", "delivery"] | None  # the list that is asked; uploading outweighs delivery
    limited_by: frozenset[Restriction]


@lru_cache(maxsize=1 << len(CALLS))  # there are no more sets of calls than that
def demands(calls: frozenset[Call]) -> Demands:
    """The rules of several calls, put together once for each set of them."""
    rules = [CALLS[call] for call in calls]
    sides = {rule.whitelist for rule in rules}
    return Demands(
        authenticated=any(rule.authenticated for rule in rules),
        kinds=frozenset(rule.kind for rule in rules if rule.kind is not None),
        granted=calls.union(rule.also for rule in rules if rule.also is not None),
        whitelist="upload" if "upload" in sides else "delivery" if "delivery" in sides else None,
        limited_by=frozenset[Restriction]().union(*(rule.limited_by for rule in rules)),
    )


_WITHOUT_NAMES = frozenset(call for call, rule in CALLS.items() if not rule.named)  # what a policy without `call` grants


@dataclass(slots=True)
class _Trial:
    """One request on its way through the steps."""

    application: Application
    facts: RequestFacts
    now: float
    cache: PolicyCache | None
    explaining: bool = False
    policy: Policy | None = None
    until: int | None = None  # the end of the secret that signed, when it has one
    note: str = ""


def _needs_credential(trial: _Trial) -> bool:
    application, asked = trial.application, demands(trial.facts.calls)
    if application.require_policy or trial.facts.authenticate or asked.authenticated:
        return True
    return bool(application.required) and not asked.kinds.isdisjoint(application.required)


def _reported(application: Application, facts: RequestFacts) -> tuple[str, ...]:
    """The kinds of a request without a credential that are reported: each, once required, would refuse it."""
    kinds = demands(facts.calls).kinds
    return tuple(kind for kind in KINDS if kind in kinds and kind in application.reported)


def _credential(trial: _Trial) -> Reason | None:
    """A credential is there where one is needed; the owner's own secret is right when it is shown."""
    facts = trial.facts
    if facts.secret is not None:
        shown = facts.secret.encode("utf-8", "surrogatepass")
        right = False
        for secret in trial.application.secrets.secrets:
            right |= hmac.compare_digest(secret.value, shown) and secret.state == "active"
        trial.note = "the application secret"
        return None if right else Reason.BAD_SECRET
    if facts.signed is None:
        trial.note = "no policy was shown"
        if _needs_credential(trial):
            return Reason.MISSING
        if trial.explaining and (kinds := _reported(trial.application, facts)):
            trial.note += f"; reported, because it would be refused if a policy were required for {' or '.join(kinds)}"
        return None
    if not facts.signed.encoded or not facts.signed.signature:
        trial.note = "half a credential: a policy and its signature go together"
        return Reason.MISSING
    trial.note = "a policy was shown"
    return None


def _signature(trial: _Trial) -> Reason | None:
    """The text was signed by a secret in force; only then is it decoded."""
    signed = trial.facts.signed
    if signed is None:
        return None
    try:
        trial.policy, trial.until, secret = read_policy(trial.application, signed, now=trial.now, cache=trial.cache)
    except PolicyError as error:
        trial.note = str(error)
        return error.reason
    if trial.explaining:
        trial.note = f"made by secret {secret}"
    return None


def _expiry(trial: _Trial) -> Reason | None:
    """The policy has not expired: its expiry lies after now. Equal to now is expired."""
    policy = trial.policy
    if policy is None:
        return None
    if trial.explaining:
        trial.note = f"expiry {policy.expiry}, now {int(trial.now)}"
        if policy.expiry > 100_000_000_000:
            trial.note += "; so far ahead that it looks like milliseconds"
    return Reason.EXPIRED if policy.expiry + trial.application.leeway <= trial.now else None


def _calls(trial: _Trial) -> Reason | None:
    """Every call the request makes is granted, with those that must go with it."""
    policy = trial.policy
    if policy is None:
        return None
    if trial.explaining:
        granted = "all but exif" if policy.call is None else ", ".join(sorted(policy.call)) or "nothing"
        trial.note = f"asked: {', '.join(sorted(trial.facts.calls)) or 'nothing'}; granted: {granted}"
    named = _WITHOUT_NAMES if policy.call is None else policy.call
    if demands(trial.facts.calls).granted <= named:
        return None
    lacking = trial.facts.calls - named
    if not lacking:  # what was asked for is granted, but not the call that has to go with it
        return Reason.STORE_NEEDS_PICK
    return Reason.EXIF_NOT_EXPLICIT if policy.call is None else Reason.CALL_NOT_ALLOWED


def _handle(trial: _Trial) -> Reason | None:
    """A policy bound to a handle covers that file only, and no request without one (security promise 15)."""
    policy = trial.policy
    if policy is None or policy.handle is None:
        return None
    if trial.explaining:
        trial.note = f"bound to {policy.handle!r}, asked for {trial.facts.handle!r}"
    return None if policy.handle == trial.facts.handle else Reason.HANDLE_MISMATCH


_MISMATCH: tuple[tuple[Literal["container", "path", "url"], Reason], ...] = (
    ("container", Reason.CONTAINER_MISMATCH),
    ("path", Reason.PATH_MISMATCH),
    ("url", Reason.URL_MISMATCH),
)


def _applies(key: Restriction, facts: RequestFacts) -> bool:
    """Whether a restriction concerns this request. `url` also concerns whatever fetches one."""
    if key == "url" and Call.CONVERT not in facts.calls:
        return facts.url is not None
    return key in demands(facts.calls).limited_by


def _places(trial: _Trial) -> Reason | None:
    """Where an upload goes and what is fetched satisfy the patterns, on the values that will really be used."""
    policy, facts = trial.policy, trial.facts
    if policy is None or (policy.container is None and policy.path is None and policy.url is None):
        return None
    search = trial.application.regex == "search"
    notes = []
    for key, reason in _MISMATCH:
        pattern = getattr(policy, key)
        if pattern is None or not _applies(key, facts):
            continue
        if trial.explaining:
            how = "found in" if search else "spanning"
            notes.append(f"{key} pattern {pattern!r} {how} {getattr(facts, key)!r}")
            if search and not (pattern.startswith("^") and pattern.endswith("$")):
                notes.append(f"{key} pattern is not anchored: it matches anywhere in the value")
            trial.note = "; ".join(notes)
        value = getattr(facts, key)
        if value is None or not policy.matches(key, value, search=search):
            return reason
    return None


def _size(trial: _Trial) -> Reason | None:
    """The size, where it is known already, lies within the bounds. What is not known yet is judged while streaming."""
    policy, size = trial.policy, trial.facts.size
    if policy is None or (policy.min_size is None and policy.max_size is None and not trial.explaining):
        return None
    if not _applies("size", trial.facts):
        return None
    if trial.explaining:
        trial.note = f"{'not known yet' if size is None else size} within {policy.min_size}..{policy.max_size}"
    if size is None:
        return None
    return judge_size(size, policy.min_size, policy.max_size)


def _whitelist_of(trial: _Trial) -> tuple[Literal["upload", "delivery"], Whitelist] | None:
    """The whitelist that concerns this request, if one is set."""
    side = demands(trial.facts.calls).whitelist
    if side is None:
        return None
    application = trial.application
    whitelist = application.upload_whitelist if side == "upload" else application.delivery_whitelist
    return (side, whitelist) if whitelist else None


def _origin(trial: _Trial) -> Reason | None:
    """The page that asks is on the whitelist: by Origin for uploads; by Origin, else Referer, for delivery."""
    found = _whitelist_of(trial)
    if found is None:
        trial.note = "no whitelist is set"
        return None
    side, whitelist = found
    shown, parse = trial.facts.origin, parse_origin
    if shown is None and side == "delivery":
        shown, parse = trial.facts.referer, parse_referer
    if shown is None:
        missing = whitelist.missing or ("deny" if side == "upload" else "allow")
        trial.note = f"the request does not say where it comes from; for {side} that is: {missing}"
        return Reason.ORIGIN_MISSING if missing == "deny" else None
    host = parse(shown)
    if host is None:
        trial.note = f"{shown[:200]!r} is not an origin"
        return Reason.ORIGIN_MALFORMED
    if trial.explaining:
        pattern = whitelist.pattern_for(host)
        trial.note = f"{host.name} matches {pattern}" if pattern else f"{host.name} is not on the {side} whitelist"
    return None if whitelist.allows(host) else Reason.ORIGIN_NOT_ALLOWED


#: The steps in their order: each gives a reason to refuse, or none. Signature before decoding, decoding before judging.
STEPS: tuple[tuple[str, Callable[[_Trial], Reason | None]], ...] = (
    ("credential", _credential),
    ("signature", _signature),
    ("expiry", _expiry),
    ("calls", _calls),
    ("handle", _handle),
    ("places", _places),
    ("size", _size),
    ("origin", _origin),
)


def _decision(trial: _Trial, reason: Reason | None) -> Decision:
    policy = trial.policy
    found = _whitelist_of(trial)
    vary = () if found is None else ("Origin",) if found[0] == "upload" else ("Origin", "Referer")
    authenticated = trial.facts.signed is not None or trial.facts.secret is not None
    if reason is not None:
        return Decision(allowed=False, reason=reason, policy=policy, authenticated=authenticated, vary=vary)
    sized = policy is not None and _applies("size", trial.facts)
    expiry = None if policy is None else policy.expiry + trial.application.leeway
    if expiry is not None and trial.until is not None:
        expiry = min(expiry, trial.until)
    return Decision(
        allowed=True,
        reason=Reason.OK if authenticated else Reason.OPEN,
        policy=policy,
        authenticated=authenticated,
        vary=vary,
        expiry=expiry,
        min_size=policy.min_size if policy is not None and sized else None,
        max_size=policy.max_size if policy is not None and sized else None,
        reported=() if authenticated or not trial.application.reported else _reported(trial.application, trial.facts),
    )


def who_asks(facts: RequestFacts) -> str:
    """The host of the page that a request says it comes from, as whitelists compare it: that of Origin, else of Referer; empty
    where neither says one. At most 253 ASCII characters, whatever a client sends."""
    host = None if facts.origin is None else parse_origin(facts.origin)
    if host is None and facts.referer is not None:
        host = parse_referer(facts.referer)
    return "" if host is None else host.name


def decide(application: Application, facts: RequestFacts, *, now: float, cache: PolicyCache | None = None) -> Decision:
    """Judge one request at the moment `now` (unix seconds). Pure: the cache only saves reading a policy twice.

    A refusal is a value with its `Reason`; nothing a client sends makes this raise.
    """
    trial = _Trial(application, facts, now, cache)
    for _, step in STEPS:
        reason = step(trial)
        if reason is not None:
            return _decision(trial, reason)
    return _decision(trial, None)


class Step(NamedTuple):
    """One line of an explanation: the step, `pass`, `refuse` or `not reached`, and what it found."""

    name: str
    verdict: Literal["pass", "refuse", "not reached"]
    note: str


class Explanation(NamedTuple):
    """A decision with every step in its order, for operators. Never sent to a client."""

    decision: Decision
    steps: tuple[Step, ...]


def explain(application: Application, facts: RequestFacts, *, now: float) -> Explanation:
    """The same judgement with its trace. Steps after a refusal are tried too where they do not need what failed."""
    trial = _Trial(application, facts, now, None, explaining=True)
    first: Reason | None = None
    steps: list[Step] = []
    for name, step in STEPS:
        trial.note = ""
        unread = facts.signed is not None and trial.policy is None
        if first is not None and unread and name not in ("signature", "origin"):
            steps.append(Step(name, "not reached", "the policy could not be read"))
            continue
        reason = step(trial)
        first = first or reason
        if reason is None:
            steps.append(Step(name, "pass", trial.note))
        else:
            steps.append(Step(name, "refuse", f"{reason.value}: {trial.note}" if trial.note else reason.value))
    return Explanation(_decision(trial, first), tuple(steps))
