"""`plugins`: what is installed, which families of files are covered and how well, what is missing and what brings it.

Knows: how to show it. Must not know: how it is found out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from ..engine.capabilities import capabilities
from ..plugin.manager import PluginReport
from .output import AsJson, Config, engine_for, out, say_json, say_table


def plugins(config: Config = None, as_json: AsJson = False) -> None:
    """List plugins and what each offers, the families of files they cover, what is missing and the command that brings it."""
    with engine_for(config) as engine:
        reports = engine.registry.reports
        told = capabilities(engine.registry)
    if as_json:
        say_json({"plugins": [_plugin(report) for report in reports], **told})
        return
    _say_plugins(reports)
    _say_families(told["families"])
    _say_extractors(told["extractors"])
    _say_missing(told["missing"])


def _plugin(report: PluginReport) -> dict[str, Any]:
    return {
        "name": report.name,
        "distribution": report.distribution,
        "version": report.version,
        "origin": report.origin,
        "offers": {kind: list(names) for kind, names in report.offers.items() if names},
        "overshadowed": {kind: list(names) for kind, names in report.overshadowed.items() if names},
        "problem": report.problem,
    }


def _say_plugins(reports: Sequence[PluginReport]) -> None:
    rows = []
    for report in reports:
        offers = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in report.offers.items()) or "nothing"
        problem = Text(report.problem, style="red") if report.problem else Text("available", style="green")
        rows.append((report.name, f"{report.distribution} {report.version}".strip(), report.origin, offers, problem))
    say_table(("plugin", "distribution", "origin", "offers", "state"), rows, title="Plugins")


def _say_families(families: Sequence[Mapping[str, Any]]) -> None:
    rows = []
    for family in families:
        previewers = Text()
        for number, one in enumerate(family["previewers"]):
            previewers.append(", " if number else "")
            previewers.append(
                one["name"] if one["available"] else f"{one['name']} (missing)", "" if one["available"] else "red"
            )
        covers = ", ".join((*family["mimetypes"], *(f".{extension}" for extension in family["extensions"])))
        state = Text("covered", style="green") if family["available"] else Text("missing", style="red")
        rows.append((family["family"], covers, previewers, state))
    if rows:
        say_table(("family", "types and extensions", "previewers, in order", "state"), rows, title="Families of files")


def _say_extractors(extractors: Sequence[Mapping[str, Any]]) -> None:
    rows = []
    for one in extractors:
        state = Text("available", style="green") if one["available"] else Text("missing", style="red")
        covers = ", ".join((*one["mimetypes"], *(f".{extension}" for extension in one["extensions"])))
        rows.append((one["section"], one["call"], covers, state))
    if rows:
        say_table(("section", "call", "types and extensions", "state"), rows, title="Extractors")


def _say_missing(missing: Sequence[Mapping[str, Any]]) -> None:
    if missing:
        rows = [(one["kind"], one["name"], ", ".join(one["for"]), one["install"] or "-") for one in missing]
        say_table(("missing", "name", "for", "install"), rows, title="Missing")
    else:
        out.print(Text("Nothing is missing.", style="green"))
