"""What is worth attention: the security report, each finding with its fix and the page where it is mended.

Knows: how findings are grouped. Must not know: how they are found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ...engine.security_report import SEVERITIES, Finding, report, report_of
from .frame import Action, Ask, Done, Room, View


def _told(findings: list[Finding], names: Mapping[str, str], checked: bool) -> dict[str, Any]:
    counts = Counter(each.severity for each in findings)
    return {
        "counts": {severity: counts[severity] for severity in SEVERITIES},
        "findings": [{**asdict(each), "name": names.get(each.application or "", "")} for each in findings],
        "checked": checked,
    }


def _found(ask: Ask, *, check: bool = False) -> dict[str, Any]:
    if "key" in ask.path:
        application = ask.application()
        return _told(report_of(ask.engine, application.api_key, check=check), {}, check)
    names = {each.api_key: each.name for each in ask.engine.records.applications()}
    return _told(report(ask.engine, check=check), names, check)


def _check(ask: Ask) -> Done:
    return Done(values=_found(ask, check=True), page="security.html", title="Security")


_ONE = "/applications/{key}/security-report"

ROOM = Room(
    name="security",
    views=(
        View(
            path="/security", show=_found, page="security.html", title="Security", command="security",
            says="Everything worth attention in the service and its applications, most urgent first.",
        ),
        View(
            path=_ONE, show=_found, page="security.html", title="Security", command="security",
            says="Everything worth attention in one application, most urgent first.",
        ),
    ),
    actions=(
        Action(
            path="/security/check", do=_check, on="/security", command="security",
            says="The same, with every storage tried out: a probe is written, read and deleted.",
        ),
        Action(
            path=f"{_ONE}/check", do=_check, on=_ONE, command="security",
            says="The same for one application, with its storages tried out.",
        ),
    ),
)  # fmt: skip
