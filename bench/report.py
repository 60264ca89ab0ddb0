"""What a run leaves behind: the machine it ran on, the table, the file with the figures.

Knows: rows. Must not know: how they were measured.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from contenders import versions
from measure import BENCH, Row

RESULTS = BENCH / "results"
README = BENCH / "README.md"
_BEGIN, _END = "<!-- results: written by run.py --save -->", "<!-- end of results -->"
_PACKAGES = ("granian", "itsdangerous", "pyjwt", "pillow", "secure-delivery", "secure-delivery-images")


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def machine() -> dict[str, str]:
    """Processor, cores, load and versions, in words."""
    found = {
        "processor": f"{_model()}, {len(os.sched_getaffinity(0))} cores",
        "load when it began": f"{os.getloadavg()[0]:.2f}",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
    }
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    sharp = BENCH / ".node" / "node_modules" / "sharp" / "package.json"
    if sharp.exists():
        found["sharp"] = json.loads(sharp.read_text(encoding="utf-8"))["version"]
    found |= versions()
    for name, command in (("node", ("node", "--version")), ("wrk", ("wrk", "--version"))):
        words = _output(*command).split()
        if words:
            found[name] = words[1] if name == "wrk" and len(words) > 1 else words[0].lstrip("v")
    return found


def figure(row: Row) -> tuple[str, str]:
    """The value of a row and its quartiles as text."""
    digits = 0 if row.unit in ("MB", "files") else 2
    unit = "" if row.unit == "x" else f" {row.unit}"
    return f"{row.value:.{digits}f}{unit}", f"{row.low:.{digits}f} to {row.high:.{digits}f}"


def verdict(row: Row) -> str:
    return {True: "met", False: "missed", None: ""}[row.met]


def save(
    rows: Sequence[Row], about: dict[str, str], missing: dict[str, str], *, quick: bool, suites: Sequence[str] = ()
) -> None:
    """Write `results/latest.json` and the table in the README. Rows of suites that were not asked for stay as they were, and
    the table says when each suite was run."""
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    before_rows, taken = _earlier(suites)
    taken |= dict.fromkeys(dict.fromkeys(row.suite for row in rows), f"{now}{', quick' if quick else ''}")
    rows = [*before_rows, *rows]
    kept: dict[str, Any] = {"taken": now, "quick": quick, "machine": about, "missing": missing, "suites": taken}
    kept["rows"] = [asdict(row) for row in rows]
    (RESULTS / "latest.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    README.write_text(f"{before}{_BEGIN}\n{_markdown(rows, about, missing, taken)}{_END}{after}", encoding="utf-8")


def _earlier(suites: Sequence[str]) -> tuple[list[Row], dict[str, str]]:
    """The rows of the last time, of the suites that were not run now, and when they were taken."""
    path = RESULTS / "latest.json"
    if not suites or not path.exists():
        return [], {}
    last = json.loads(path.read_text(encoding="utf-8"))
    rows = [Row(**row) for row in last["rows"] if row["suite"] not in suites]
    usual = f"{last['taken']}{', quick' if last['quick'] else ''}"
    return rows, {row.suite: last.get("suites", {}).get(row.suite, usual) for row in rows}


def _markdown(rows: Sequence[Row], about: dict[str, str], missing: dict[str, str], taken: dict[str, str]) -> str:
    told = "; ".join(f"{suite} {when}" for suite, when in taken.items())
    lines = [f"\nTaken: {told}. What is quick is for orientation only.", ""]
    lines += ["; ".join(f"{name} {value}" for name, value in about.items()) + ".", ""]
    lines += ["| what / against what | result | quartiles | target | | ours | theirs |", "|---|--:|--:|--:|---|--:|--:|"]
    for row in rows:
        value, quartiles = figure(row)
        lines.append(f"| {row.name} | **{value}** | {quartiles} | {row.target} | {verdict(row)} | {row.ours} | {row.theirs} |")
    lines += ["", *(f"Not run: {name} ({why})." for name, why in missing.items()), *([""] if missing else [])]
    return "\n".join(lines)
