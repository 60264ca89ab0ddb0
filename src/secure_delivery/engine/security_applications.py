"""What the security report finds about one application: its switches, whitelists, secrets, policies and uploads.

Knows: an application, the judgement, figures of policies. Must not know: accounts, settings, how findings are shown; what
belongs to storages and webhooks has a room of its own.

What needs a policy is not read from switches: the judgement itself is asked, so that both always say the same.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..gate.decide import decide
from ..gate.hosts import Host
from ..gate.model import Application, RequestFacts, SecretState
from ..gate.policy import Call
from ..gate.whitelist import Whitelist
from .policies_seen import GLOBAL, LONGER, YEAR
from .secret_strength import ENOUGH, strength
from .security_finding import Finding, Severity, command, found

__all__ = ["SEEN_DAYS", "Case", "of_application"]

#: Kinds of request, a call of each, and how it is said that they need no policy.
KINDS: Mapping[str, tuple[Call, str]] = {
    "upload": (Call.PICK, "Uploads need no policy"),
    "delivery": (Call.READ, "Files are delivered without a policy, to whoever knows their address."),
    "conversion": (
        Call.CONVERT,
        "Conversions need no policy: of files whose address is known, and pictures of other sites.",
    ),
    "metadata": (Call.STAT, "Name, size and type of a file are told without a policy, to whoever knows its address."),
}
SEEN_DAYS = 30  # for so long policies that were seen are told of
_YEAR = 365 * 86_400  # seconds

Side = Literal["upload", "delivery"]

#: Names below which anybody can have one of their own, and a name that nobody's list means.
_ANYBODYS = (
    "", ".com", ".net", ".org", ".io", ".dev", ".app", ".info", ".xyz", ".co", ".de", ".eu", ".fr", ".uk", ".co.uk", ".com.au",
    ".github.io", ".gitlab.io", ".netlify.app", ".vercel.app", ".pages.dev", ".workers.dev", ".web.app", ".herokuapp.com",
    ".azurewebsites.net", ".s3.amazonaws.com", ".cloudfront.net", ".blogspot.com", ".ngrok.io",
)  # fmt: skip
_NOBODYS = "somebody-elses-site-5f2c9"
_OPEN_END = re.compile(r"\.[^.{},:]*[*?][^.{},:]*(?::\d+)?")  # `example.*`: the last label can be any
_ADDRESSES = re.compile(r"[0-9*?.]+(?::\d+)?")  # `192.168.1.*`


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An application as it is looked at. `now` is in seconds since the epoch; `created` says when each secret was made, by its
    id, in ms; `policies` how many were seen of each class; `scanners` whether any is installed."""

    application: Application
    now: float
    created: Mapping[str, int]
    policies: Mapping[str, int]
    scanners: bool

    @property
    def key(self) -> str:
        """Its API key."""
        return self.application.api_key

    def found(self, code: str, severity: Severity, what: str | None = None, *, subject: str, page: str, **more: Any) -> Finding:
        """A finding about it, mended on one of its pages."""
        link = f"applications/{self.key}/{page}"
        return found(code, severity, what, subject=subject, application=self.key, link=link, **more)

    def switch(self, code: str, severity: Severity, name: str, *words: str, what: str | None = None) -> Finding:
        """A finding about one of its switches, which these words of a command change."""
        return self.found(code, severity, what, subject=name, page="settings", command=self.set(*words))

    def set(self, *words: str) -> str:
        """A command that changes it."""
        return command("app", "set", self.key, *words)


def of_application(case: Case) -> Iterator[Finding]:
    """Everything worth attention, in no order."""
    unsigned = frozenset(kind for kind in KINDS if _passes(case, kind))
    yield from _unsigned(case, unsigned)
    yield from _whitelist(case, "upload", unsigned="upload" in unsigned)
    yield from _whitelist(case, "delivery", unsigned=bool(unsigned - {"upload"}))
    yield from _secrets(case)
    yield from _reading(case)
    yield from _policies(case)
    yield from _files(case, unsigned="upload" in unsigned)


# ------------------------------------------------------------------------------------------------------ without a policy


def _passes(case: Case, kind: str) -> bool:
    """Whether a request of this kind passes with no credential, as far as the site that it comes from does not matter."""
    anywhere = replace(case.application, upload_whitelist=None, delivery_whitelist=None)
    facts = RequestFacts(calls=frozenset({KINDS[kind][0]}), handle=None if kind == "upload" else "any")
    return decide(anywhere, facts, now=case.now).allowed


def _unsigned(case: Case, kinds: frozenset[str]) -> Iterator[Finding]:
    severities: dict[str, Severity] = {"upload": "high", "conversion": "medium", "delivery": "low", "metadata": "low"}
    for kind in (each for each in KINDS if each in kinds):
        what, severity = KINDS[kind][1], severities[kind]
        if kind == "upload" and case.application.upload_whitelist:
            severity = "medium"
            what += ". The whitelist stops pages of other sites, and no program: programs can claim to be any page."
        elif kind == "upload":
            what += ", and there is no whitelist: everybody can store files here."
        needed = [word for each in (*case.application.required, kind) for word in ("--require", each)]
        yield case.found(f"unsigned_{kind}", severity, what, subject=kind, page="settings", command=case.set(*needed))


# -------------------------------------------------------------------------------------------------------------- whitelists


def _whitelist(case: Case, side: Side, *, unsigned: bool) -> Iterator[Finding]:
    application = case.application
    whitelist = application.upload_whitelist if side == "upload" else application.delivery_whitelist
    own = case.set(f"--{side}-domain", "www.example.org")
    if not whitelist:
        severity: Severity = "low" if unsigned else "info"
        what = f"There is no {side} whitelist: pages of every site may ask."
        yield case.found("whitelist_off", severity, what, subject=side, page="whitelists", command=own)
        return
    if wide := [pattern for pattern in whitelist.patterns if is_wide(pattern)]:
        severity = "medium" if unsigned else "low"
        what = f"The {side} whitelist lets in sites that anybody can have, by {', '.join(wide)}."
        kept = [word for pattern in whitelist.patterns if pattern not in wide for word in (f"--{side}-domain", pattern)]
        mends = case.set(*kept) if kept else own
        yield case.found("whitelist_wide", severity, what, subject=side, page="whitelists", command=mends)
    if (whitelist.missing or ("deny" if side == "upload" else "allow")) == "allow":
        severity = "medium" if side == "upload" and unsigned else "info"
        what = f"The {side} whitelist is not asked about requests that do not say where they come from."
        denied = case.set(f"--{side}-missing", "deny")
        yield case.found("whitelist_missing", severity, what, subject=side, page="whitelists", command=denied)


def is_wide(pattern: str) -> bool:
    """Whether a pattern of a whitelist covers names that strangers can register."""
    if _OPEN_END.fullmatch(pattern[pattern.rfind(".") :]) and not (_ADDRESSES.fullmatch(pattern) and pattern[0].isdigit()):
        return True
    alone = Whitelist([pattern])
    names = (f"{before}{_NOBODYS}{end}" for end in _ANYBODYS for before in ("", "www."))
    ports = (None, *(int(port) for port in re.findall(r":(\d+)", pattern)))
    return any(alone.allows(Host(name, port, "https")) for name in names for port in ports)


# ----------------------------------------------------------------------------------------------------- secrets and policies


def _secrets(case: Case) -> Iterator[Finding]:
    rotate = command("app", "rotate-secret", case.key)
    for secret in case.application.secrets.in_force(case.now):
        if strength(secret.value) < ENOUGH:
            what = "A secret that was brought along is easy to guess: words, a pattern or repetitions."
            yield case.found("secret_weak", "high", what, subject=secret.id, page="secrets", command=rotate)
        if secret.state is SecretState.VERIFY_ONLY:
            end = f"{dt.datetime.fromtimestamp(secret.until or 0, dt.UTC):%Y-%m-%d %H:%M}"
            what = f"A secret of before still counts until {end} UTC."
            end_now = command("app", "revoke-secrets", case.key)
            yield case.found("secret_grace", "low", what, subject=secret.id, page="secrets", command=end_now)
            continue
        age = case.now - case.created.get(secret.id, int(case.now * 1000)) / 1000
        if age > _YEAR:
            what = f"The secret that signs was made {int(age // 86_400)} days ago."
            yield case.found("secret_old", "medium", what, subject=secret.id, page="secrets", command=rotate)


def _reading(case: Case) -> Iterator[Finding]:
    application = case.application
    late = f"Policies count for {application.leeway} seconds after their end."
    if application.regex == "search":
        yield case.switch("regex_search", "medium", "regex", "--regex", "full")
    if application.unknown_keys == "ignore":
        yield case.switch("unknown_keys_ignored", "medium", "unknown_keys", "--unknown-keys", "refuse")
    if application.leeway:
        yield case.switch("expiry_leeway", "low", "leeway", "--leeway", "0", what=late)
    if application.public_cache:
        yield case.switch("public_cache", "low", "public_cache", "--no-public-cache")
    if application.standard_base64:
        yield case.switch("standard_base64", "info", "standard_base64", "--no-standard-base64")


def _policies(case: Case) -> Iterator[Finding]:
    rotate = command("app", "rotate-secret", case.key)
    lives: tuple[tuple[str, Severity, str], ...] = (
        (LONGER, "medium", "more than a year"),
        (YEAR, "low", "more than a week"),
    )
    for label, severity, words in lives:
        if number := case.policies.get(label, 0):
            what = f"In the last {SEEN_DAYS} days at least {_times(number)} a policy was let in that had {words} left."
            yield case.found("policy_long", severity, what, subject=label, page="policies", command=rotate)
    if number := case.policies.get(GLOBAL, 0):
        what = f"In the last {SEEN_DAYS} days at least {_times(number)} a policy was let in that names no calls and no file."
        yield case.found("policy_global", "medium", what, subject=GLOBAL, page="policies", command=rotate)


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"


# ------------------------------------------------------------------------------------------------------------------- files


def _files(case: Case, *, unsigned: bool) -> Iterator[Finding]:
    application = case.application
    if not application.allowed_types:
        severity: Severity = "low" if unsigned else "info"
        what = "Files of every type may be uploaded" + (", by everybody." if unsigned else ".")
        types = case.set("--allow-type", "image/*")
        yield case.found("any_type", severity, what, subject="allowed_types", page="settings", command=types)
    if unsigned and not application.scan:
        what = "Uploads need no policy, and no scanner looks at the files."
        fix = "Switch scanning on." if case.scanners else _NO_SCANNER
        scan = case.set("--scan") if case.scanners else None
        yield case.found("uploads_unscanned", "low", what, subject="scan", page="settings", fix=fix, command=scan)
    if not application.retention and application.storage:
        days = case.set("--retention-days", "365")
        yield case.found("no_retention", "info", "Files are kept for ever.", subject="retention", page="settings", command=days)
    if not application.storage:
        what = "New files go to the development storage, which is only lent."
        server = case.set("--storage", "server")
        yield case.found("development_storage", "low", what, subject="storage", page="storages", command=server)


_NO_SCANNER = (
    "Install a scanner (secure-delivery-clamav), set it up, then switch scanning on: without one, all uploads would be refused."
)
