"""The part both doors share: a request head in, a verdict out.

Knows: rules, applications, how a credential travels in a head, what an answer's headers must say.
Must not know: WSGI or ASGI, sockets, bodies beyond what a door hands over.

Order of work: everything that can be compiled is compiled when a guard is made; a request is one look-up when no rule
concerns it, and one more when the same request was judged a moment ago.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import unquote

from .credentials import one_credential, secret_from_authorization, signed_from_path, signed_from_query, without_security
from .decide import decide, demands, explain, who_asks
from .errors import (
    BadRequest,
    ConfigurationError,
    MethodNotAllowed,
    Reason,
    SecureDeliveryError,
)
from .heads import Admission, Head, Reply, WantsBody, error_reply, facts_of, fault_reply, read_length
from .hosts import parse_origin
from .model import Application, Decision, RequestFacts
from .policy import SignedPolicy
from .reading import PolicyCache
from .rules import Ambiguous, Match, Rule, RuleSet

logger = logging.getLogger("secure_delivery.gate")

ApplicationSource = Application | Callable[[str | None], Application | None]

_MEMO = 4096  # decisions remembered; with heads of at most 2 KiB each that is 8 MiB at the worst
_MEMO_HEAD = 2048
_TOLD = 1024  # lines about requests that are only reported; strangers choose the hosts in them
_PREFLIGHT_AGE = "600"  # seconds a browser may keep a preflight answer; short, because whitelists change


class _Judged(NamedTuple):
    key: str | None
    application: Application
    admission: Admission
    until: float


class Guard:
    """Rules and applications, compiled; answers for each request head whether the app may have it.

    * `application`: one application, or a function from the API key in the request (`<key>` or `?key=`, else `None`) to
      one; it is asked on every request, so a rotated secret counts at once.
    * `rules`: which paths and methods are which calls. What no rule matches is none of the guard's business.
    * `report_only`: let everything through, but log and count (`counts`) who would have been refused.
    * `on_denied(decision, head)`: may return a `Reply` of its own for a refusal, or `None` for the usual JSON.
    * `clock`: the moment in unix seconds.

    Raises `ConfigurationError` for anything it should not start with: no rules, no secret in force.
    """

    def __init__(
        self,
        application: ApplicationSource,
        rules: Iterable[Rule],
        *,
        report_only: bool = False,
        on_denied: Callable[[Decision, Head], Reply | None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.rules = RuleSet(rules)
        self.report_only = report_only
        self.on_denied = on_denied
        self.clock = clock
        #: How many requests were refused, or would have been, by reason.
        self.counts: Counter[str] = Counter()
        self._cache = PolicyCache()
        self._memo: dict[Head, _Judged] = {}
        self._told: set[tuple[str, str, str]] = set()  # application, kind, host of what was reported
        self._telling = threading.Lock()
        self._fixed: Application | None = application if isinstance(application, Application) else None
        self._lookup: Callable[[str | None], Application | None] = (
            (lambda _: self._fixed) if isinstance(application, Application) else application
        )
        if self._fixed is not None:
            _ = self._fixed.secrets.signing  # raises when nothing could ever be signed: fail closed at start-up

    def application(self, api_key: str | None = None) -> Application | None:
        """The application for an API key, or the only one."""
        return self._lookup(api_key)

    # -- judging

    def check(
        self,
        head: Head,
        shown: SignedPolicy | None = None,
        *,
        peeked: bool = False,
        fault: SecureDeliveryError | None = None,
    ) -> Admission | Reply | WantsBody | None:
        """Judge a request head: `None`, the app may have it unjudged; an `Admission`; or a `Reply` to send instead.

        `WantsBody` asks the door to look into the body and to call again with `peeked=True` and the credential that it
        found there as `shown`, or the `fault` that it met.
        """
        known = self._memo.get(head)
        if known is not None and not peeked:
            fresh = known.application if self._fixed is not None else self._lookup(known.key)
            if fresh is known.application and self.clock() < known.until:
                return known.admission
        path = without_security(head.path)
        match = self.rules.match(path)
        if match is None and (path == head.path or self.rules.match(head.path) is None):
            return None
        try:
            if fault is not None:
                raise fault
            return self._check(head, path, match, shown, peeked=peeked)
        except SecureDeliveryError as broken:
            if self.report_only and not isinstance(broken, ConfigurationError):
                return self._let_through(broken.code, Reason.MALFORMED, head, path)
            return fault_reply(broken)

    def _check(
        self, head: Head, path: str, match: Match | Ambiguous | None, shown: SignedPolicy | None, *, peeked: bool
    ) -> Admission | Reply | WantsBody:
        if not isinstance(match, Match):  # `None`: guarded only if `security=…` were the name of something
            raise BadRequest("ambiguous path", public="The path can be read in more than one way.")
        method = head.method
        if method == "OPTIONS":
            method = head.preflight or "GET"
            if head.preflight is not None and head.origin is not None:
                return self._preflight(head, path, match)
        found = match.find(method)
        if found is None:
            return self._not_allowed(head, path, match)
        rule, names = found
        if rule.body and not peeked and method not in ("GET", "HEAD", "DELETE"):
            return WantsBody(head.content_type)
        credential = one_credential(
            signed_from_query(head.query),
            signed_from_path(head.path),
            secret_from_authorization(head.authorization),
            shown,
        )
        return self._judge(head, path, rule, method, names, credential)

    def _judge(
        self,
        head: Head,
        path: str,
        rule: Rule,
        method: str,
        names: Mapping[str, str],
        credential: SignedPolicy | str | None,
    ) -> Admission | Reply:
        key = self.key_of(head.query, names)
        application = self._lookup(key)
        now = self.clock()
        if application is None:
            return self._refuse(Decision(allowed=False, reason=Reason.UNKNOWN_APPLICATION), head, path)
        given = {**names, **rule.facts}
        size = None
        calls = rule.calls[method]
        if "size" in demands(calls).limited_by:
            size = _declared_size(head)
        facts = facts_of(calls, credential, given, size=size, origin=head.origin, referer=head.referer)
        decision = decide(application, facts, now=now, cache=self._cache)
        if decision.would_refuse:
            self._tell(application, facts, decision.reported)
        approved = head.origin if decision.allowed and "Origin" in decision.vary else None
        if not decision.allowed:
            return self._refuse(decision, head, path, application)
        admission = Admission(application, decision, path, approved, head.method, {})
        if not rule.body:
            self._remember(head, key, application, admission)
        return admission

    def _remember(self, head: Head, key: str | None, application: Application, admission: Admission) -> None:
        """Keep what was allowed, until the credential ends. Refusals are not kept: strangers would fill the memory."""
        if sum(map(len, filter(None, head))) > _MEMO_HEAD:
            return
        if len(self._memo) >= _MEMO:
            for oldest in list(self._memo)[: _MEMO // 4]:
                self._memo.pop(oldest, None)
        expiry = admission.decision.expiry
        self._memo[head] = _Judged(key, application, admission, float("inf") if expiry is None else expiry)

    def key_of(self, query: str, names: Mapping[str, str]) -> str | None:
        """The API key of a request: of its path, else of its query. Raises `BadRequest` for two in one query."""
        if self._fixed is not None:
            return None
        if "key" in names:
            return names["key"]
        if "key=" not in query and "%" not in query:
            return None
        parts = (part.partition("=") for part in query.split("&"))
        found = [unquote(value) for name, _, value in parts if unquote(name) == "key"]
        if len(found) > 1:
            raise BadRequest("two API keys", public="Send exactly one API key.")
        return found[0] if found else None

    # -- refusing

    def _count(self, reason: str, path: str) -> None:
        self.counts[reason] += 1
        verb = "would refuse" if self.report_only else "refused"
        logger.warning("%s %r: %s", verb, path[:512], reason)

    def _let_through(self, code: str, reason: Reason, head: Head, path: str) -> Admission:
        """What reporting only does instead of refusing: count, and say in the decision what would have been."""
        self._count(code, path)
        return Admission(None, Decision(allowed=False, reason=reason), path, None, head.method)

    def _refuse(self, decision: Decision, head: Head, path: str, application: Application | None = None) -> Reply | Admission:
        self._count(decision.reason.value, path)
        if self.report_only:
            return Admission(application, decision, path, None, head.method)
        return self._refusal(decision, head, application)

    def _refusal(self, decision: Decision, head: Head, application: Application | None) -> Reply:
        if self.on_denied is not None:
            reply = self.on_denied(decision, head)
            if reply is not None:
                return reply
        public = decision.public
        reply = error_reply(public.status, public.code, public.sentence, vary=decision.vary)
        if head.origin is not None and application is not None and self._approves(application, head.origin):
            reply.headers.append(("access-control-allow-origin", head.origin))
        return reply

    def overrun(self, broken: Reason | SecureDeliveryError, admission: Admission, head: Head) -> Reply | None:
        """The answer for a body that turned out, while it was read, to break the bounds of its policy.

        `None` while only reporting: the body goes on, uncounted from here.
        """
        self._count(broken.value if isinstance(broken, Reason) else broken.code, admission.path)
        if self.report_only:
            return None
        if not isinstance(broken, Reason):
            return fault_reply(broken)
        try:
            return self._refusal(replace(admission.decision, allowed=False, reason=broken), head, admission.application)
        except Exception:  # the app has begun, so that there is nobody above to turn this into an answer
            logger.exception("on_denied failed")
            return fault_reply(SecureDeliveryError())

    def _not_allowed(self, head: Head, path: str, match: Match) -> Reply | Admission:
        fault = MethodNotAllowed()
        if self.report_only:
            return self._let_through(fault.code, Reason.CALL_NOT_ALLOWED, head, path)
        return error_reply(fault.status, fault.code, fault.public, extra=[("allow", ", ".join(match.methods))])

    def _tell(self, application: Application, facts: RequestFacts, kinds: Iterable[str]) -> None:
        """Say once for each kind and host that such requests would be refused if a policy were required. The log is for finding
        out who asks, not for counting."""
        who = who_asks(facts)
        for kind in kinds:
            told = (application.api_key, kind, who)
            if told in self._told:
                continue
            with self._telling:
                if told in self._told or len(self._told) > _TOLD:
                    continue
                self._told.add(told)
                last = len(self._told) > _TOLD
            if last:
                logger.warning("more requests would be refused if a policy were required; they are not told of any more")
            else:
                logger.warning("would refuse %s from %s, if a policy were required", kind, who or "nowhere in particular")

    # -- CORS

    @staticmethod
    def _approves(application: Application, origin: str) -> bool:
        """Whether either whitelist names the origin: its pages must be able to read why they were refused."""
        host = parse_origin(origin)
        if host is None:
            return False
        lists = (application.upload_whitelist, application.delivery_whitelist)
        return any(whitelist.allows(host) for whitelist in lists if whitelist)

    def _preflight(self, head: Head, path: str, match: Match) -> Reply | Admission:
        """Answer a preflight from the whitelist of what it announces; without one it is the app's own business.

        A preflight shows no credential of its own, so that only the step which judges origins is asked.
        """
        method = head.preflight or ""
        found = match.find(method)
        if found is None:
            return self._not_allowed(head, path, match)
        rule, names = found
        application = self._lookup(self.key_of(head.query, names))
        if application is None:
            return self._refuse(Decision(allowed=False, reason=Reason.UNKNOWN_APPLICATION), head, path)
        judged = explain(application, RequestFacts(calls=rule.calls[method], origin=head.origin), now=self.clock())
        vary = judged.decision.vary
        if not vary:
            return Admission(application, Decision(allowed=True, reason=Reason.OPEN), path, None, head.method)
        if any(step.name == "origin" and step.verdict == "refuse" for step in judged.steps):
            return self._refuse(Decision(allowed=False, reason=Reason.ORIGIN_NOT_ALLOWED, vary=vary), head, path)
        return Reply(
            204,
            [
                ("access-control-allow-origin", head.origin or ""),
                ("access-control-allow-methods", ", ".join(match.methods)),
                (
                    "access-control-allow-headers",
                    "Authorization, Content-Type, Range, If-Match, If-None-Match, If-Range",
                ),
                ("access-control-max-age", _PREFLIGHT_AGE),
                ("vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
                ("content-length", "0"),
            ],
            b"",
        )

    # -- signing

    def sign(self, *, expires_in: int = 3600, api_key: str | None = None, **policy: Any) -> SignedPolicy:
        """A signed policy of the guard's application; other arguments as in `Policy.lasting`."""
        application = self._lookup(api_key)
        if application is None:
            raise ConfigurationError("there is no application to sign for")
        return application.sign(expires_in=expires_in, now=self.clock(), **policy)

    def signed_url(
        self,
        url: str,
        *,
        method: str = "GET",
        expires_in: int = 3600,
        round_to: int = 300,
        api_key: str | None = None,
        **policy: Any,
    ) -> str:
        """A guarded URL (path, optional query) with a policy that covers just that: the rule's call, the path's handle.

        The expiry is rounded up to `round_to` seconds, so that a page shown twice names the same URL and browsers cache it.
        Raises `ConfigurationError` for a path that no rule guards: a typing mistake, found where it is made.
        """
        url, hash_sign, fragment = url.partition("#")
        path, _, query = url.partition("?")
        match = self.rules.match(unquote(path))
        found = match.find(method) if isinstance(match, Match) else None
        if found is None:
            raise ConfigurationError(f"no rule guards {method} {path}")
        rule, names = found
        policy.setdefault("call", sorted(rule.calls[method]))
        if "handle" in names:
            policy.setdefault("handle", names["handle"])
        signed = self.sign(expires_in=expires_in, round_to=round_to, api_key=api_key, **policy)
        return f"{path}?{query + '&' if query else ''}{signed.as_query()}{hash_sign}{fragment}"

    def require(self, call: str | Sequence[str], **facts: str) -> Any:
        """Guard one route instead of a path: a decorator for views, a dependency for endpoints. See `gate.require`."""
        from .require import Requirement

        return Requirement(self, call, facts)

    def decide_facts(self, facts: RequestFacts, api_key: str | None = None) -> Decision:
        """Judge facts that somebody else collected, with this guard's application, cache and clock; counts refusals."""
        application = self._lookup(api_key)
        if application is None:
            decision = Decision(allowed=False, reason=Reason.UNKNOWN_APPLICATION)
        else:
            decision = decide(application, facts, now=self.clock(), cache=self._cache)
            if decision.would_refuse:
                self._tell(application, facts, decision.reported)
        return self.counted(decision)

    def counted(self, decision: Decision) -> Decision:
        """The decision of a guarded view, counted when it is a refusal."""
        if not decision.allowed:
            self._count(decision.reason.value, "(a guarded view)")
        return decision


def _declared_size(head: Head) -> int | None:
    """The size of a raw body by its Content-Length. A multipart body is longer than its file: its parts are counted."""
    if (head.content_type or "").lower().startswith("multipart/"):
        return None
    return read_length(head.content_length)
