"""`secure-delivery security`: what is worth attention, most urgent first, each with its fix.

Knows: how findings are printed. Must not know: what is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from ..engine.security_report import SEVERITIES, Finding, report, report_of
from .output import AsJson, Config, engine_for, out, say_json, shown

_STYLE = {"high": "bold red", "medium": "bold yellow", "low": "bold cyan", "info": "dim"}


def security(
    api_key: Annotated[
        str | None, typer.Argument(metavar="API_KEY", help="Only this application, and not the service.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Try every storage out as well: a probe is written, read and deleted there.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show what is open, weak, old, too wide or missing, and how each is mended. Exit status 1 when something is high."""
    with engine_for(config) as engine:
        findings = report(engine, check=check) if api_key is None else report_of(engine, api_key, check=check)
    if as_json:
        say_json([asdict(finding) for finding in findings])
    else:
        _show(findings)
    if any(finding.severity == "high" for finding in findings):
        raise typer.Exit(1)


def _show(findings: Sequence[Finding]) -> None:
    """Every finding with its reason, its fix and its command, below a heading for each severity."""
    for severity in SEVERITIES:
        some = [finding for finding in findings if finding.severity == severity]
        if not some:
            continue
        out.print(Text(f"{severity} ({len(some)})", style=_STYLE[severity]))
        for finding in some:
            whose = f"{finding.application} " if finding.application else ""
            subject = "" if finding.subject == finding.application else shown(finding.subject)
            out.print(Text("  ") + Text(finding.code, style=_STYLE[severity]) + Text(f"  {whose}{subject}", style="bold"))
            _line("", finding.what)
            _line("why", finding.why)
            _line("fix", finding.fix)
            if finding.command is not None:
                _line("run", finding.command, style="green")
        out.print()
    if not findings:
        out.print(Text("Nothing was found.", style="bold green"))


def _line(label: str, text: str, style: str = "") -> None:
    out.print(Text(f"    {label + ':' if label else '':<5}", style="dim") + Text(shown(text), style=style))
