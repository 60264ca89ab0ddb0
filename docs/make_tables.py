"""The tables of the documentation that repeat what the code says: `python docs/make_tables.py` writes them into the pages.

Knows: where the code keeps calls, tasks, hooks, settings, faults, reasons and commands, and how a page marks a table.
Must not know: anything that is explained in prose.

A page marks the place with `<!-- table: NAME -->` and `<!-- end -->`; a test compares what stands between with the code.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from secure_delivery.cli import cli
from secure_delivery.engine.controls import CONTROLS
from secure_delivery.engine.security_report import CODES
from secure_delivery.engine.settings import Settings
from secure_delivery.gate import errors
from secure_delivery.gate.decide import CALLS
from secure_delivery.plugin import hookspecs
from secure_delivery.plugin.manager import Registry, load
from secure_delivery.plugin.params import REQUIRED, Param
from secure_delivery.server.portal import ROOMS

DOCS = Path(__file__).parent
MARK = re.compile(r"(<!-- table: ([a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)

#: Options that every command has; the page says so once.
_COMMON = frozenset({"config", "as_json", "help"})


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table. Bars in cells are escaped, line breaks become blanks."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def _sentence(text: str | None) -> str:
    """The first paragraph of a docstring as one line."""
    return " ".join(inspect.cleandoc(text or "").partition("\n\n")[0].split())


def calls() -> str:
    """The default-authentication table of calls."""
    rows = []
    for call, rule in CALLS.items():
        granted = "only when named" if rule.named else "yes"
        with_it = f"`{rule.also}`" if rule.also else ""
        limits = ", ".join(sorted(rule.limited_by))
        needed = "always" if rule.kind is None else f"if `{rule.kind}` is required"
        rows.append((f"`{call}`", rule.allows, needed, granted, with_it, rule.whitelist or "", limits))
    columns = ("call", "allows", "policy needed", "without `call`", "also needs", "whitelist", "limited by")
    return table(columns, rows)


def installed() -> Registry:
    """Everything that the plugins of this project offer."""
    return load(settings={"builtin": {"root": "files"}})


def _default(param: Param) -> str:
    if param.default is REQUIRED:
        return "required"
    if param.default is None:
        return ""
    if isinstance(param.default, bool):
        return f"`{str(param.default).lower()}`"
    if isinstance(param.default, tuple):
        return "`white`" if param.default == (255, 255, 255, 255) else f"`{param.default}`"
    return f"`{param.default}`"


def params_table(params: Sequence[Param]) -> str:
    """Every parameter of a task."""
    if not params:
        return "Takes no options."
    rows = []
    for param in params:
        short = ", ".join(f"`{alias}`" for alias in param.aliases)
        rows.append((f"`{param.name}`", short, param.kind.allowed, _default(param)))
    return table(("option", "short", "value", "default"), rows)


def controls() -> str:
    """The control tasks with every parameter."""
    rows: list[Sequence[object]] = []
    for name, params in CONTROLS.items():
        for param in params:
            short = ", ".join(f"`{alias}`" for alias in param.aliases)
            rows.append((f"`{name}`", f"`{param.name}`", short, param.kind.allowed, _default(param)))
    return table(("task", "option", "short", "value", "default"), rows)


def programs() -> str:
    """External programs that tasks have run, and how to get them."""
    found = installed().programs
    return table(
        ("program", "looked for as", "how to get it"),
        [
            (f"`{name}`", ", ".join(f"`{one}`" for one in program.executables), program.install)
            for name, program in found.items()
        ],
    )


def hooks() -> str:
    """Every hook with the first paragraph of its specification."""
    found = [item for item in vars(hookspecs).values() if hasattr(item, f"{hookspecs.PROJECT}_spec")]
    return table(
        ("hook", "what for"),
        [(f"`{hook.__name__}({', '.join(inspect.signature(hook).parameters)})`", _sentence(hook.__doc__)) for hook in found],
    )


def _value(name: str, value: Any) -> str:
    if name == "decoders":  # depends on the machine
        return "one for each CPU, at most 8"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value) or "none"
    if isinstance(value, Mapping) or value == "":
        return "empty"
    return f"`{value}`"


def settings() -> str:
    """Every setting of the server with its default."""
    defaults = Settings.defaults()
    rows = [(f"`{name}`", _value(name, defaults[name]), says) for name, says in Settings.names().items()]
    return table(("setting", "default", "what for"), rows)


def _faults() -> Iterator[type[errors.SecureDeliveryError]]:
    waiting: list[type[errors.SecureDeliveryError]] = [errors.SecureDeliveryError]
    while waiting:
        fault = waiting.pop(0)
        if fault.__module__ == errors.__name__:  # those of single rooms are told as the one they are a kind of
            yield fault
        waiting += fault.__subclasses__()


def faults() -> str:
    """Every fault of the tree: code, status, sentence, class."""
    found = sorted(_faults(), key=lambda fault: (fault.status, fault.code, fault.__name__))
    return table(
        ("code", "status", "sentence, unless the fault says more", "class"),
        [(f"`{fault.code}`", fault.status, fault.sentence, f"`{fault.__name__}`") for fault in found],
    )


def reasons() -> str:
    """Every reason of a decision, and what the client is told."""
    rows = []
    for reason in errors.Reason:
        public = reason.public
        rows.append((f"`{reason.value}`", f"`{public.code}`", public.status, public.sentence))
    return table(("reason (for operators)", "code (for clients)", "status", "sentence"), rows)


def _option(param: Any) -> tuple[str, str]:
    names = " / ".join(f"`{name}`" for name in (*param.opts, *param.secondary_opts))
    says = " ".join((param.help or "").split())
    if param.default not in (None, False, "", ()) and not callable(param.default) and not param.required:
        says += f" Default: {str(param.default).lower() if isinstance(param.default, bool) else param.default}."
    return names, says


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def commands() -> str:
    """Every command with its arguments and options."""
    parts = []
    for path, command in _commands(typer.main.get_command(cli), "secure-delivery"):
        arguments, options = [], []
        for param in command.params:
            if param.name in _COMMON:
                continue
            if param.param_type_name == "argument":
                arguments.append((f"`{param.metavar or param.name.upper()}`", " ".join((param.help or "").split())))
            else:
                options.append(_option(param))
        parts.append(f"### {path.removeprefix('secure-delivery ')}\n\n{_sentence(command.help)}")
        if arguments or options:
            parts.append(table(("argument or option", "meaning"), [*arguments, *options]))
    return "\n\n".join(parts)


def findings() -> str:
    """Everything that the security report can find."""
    rows = [(f"`{code}`", " or ".join(each.severities), each.what, each.why, each.fix) for code, each in CODES.items()]
    return table(("code", "severity", "what", "why it matters", "fix"), rows)


def portal() -> str:
    """Everything below /api/v1 of the portal, with its scope and the command that does the same."""
    rows = []
    for room in ROOMS:
        told: list[tuple[str, str, str | None, str, str]] = []
        told += [("GET", each.path, each.scope, each.says, each.command) for each in room.views if each.api]
        told += [("POST", each.path, each.scope, each.says, each.command) for each in room.actions if each.api]
        told += [(each.method, each.path, each.scope, each.says, each.command) for each in room.raws]
        rows += [
            (f"`{method} {path}`", f"`{scope}`", says, f"`{command}`" if command else "")
            for method, path, scope, says, command in told
        ]
    return table(("below `/api/v1`", "scope", "what it does", "command"), rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "calls": calls,
    "controls": controls,
    "programs": programs,
    "hooks": hooks,
    "settings": settings,
    "faults": faults,
    "reasons": reasons,
    "commands": commands,
    "findings": findings,
    "portal": portal,
}


def filled(page: str) -> str:
    """A page with every table as the code has it."""
    return MARK.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n\n{found[3]}", page)


def main() -> None:
    """Write the tables into all pages."""
    for page in sorted(DOCS.glob("*.md")):
        before = page.read_text(encoding="utf-8")
        after = filled(before)
        if after != before:
            page.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
