"""`secure-delivery storage …`: storages of applications: set up, check, change, move files, and compare with the records."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..engine import Engine
from ..engine.audit import CLI
from ..engine.storage_check import check_storage
from ..engine.storages import SERVER, StorageRow
from ..gate.errors import Busy, ConfigurationError, SecureDeliveryError
from ..gate.model import Application
from .output import AsJson, Config, Key, complain, engine_for, err, known_application, out, say, say_json, say_table, verdict
from .storage_fsck import fsck

_TRIES = 5  # times a file is moved again that was changed meanwhile

app = typer.Typer(help="Storages of applications: set up, check, move files, fsck.", no_args_is_help=True)
app.command("fsck")(fsck)

Name = Annotated[str, typer.Argument(metavar="NAME", help="What the application calls the storage.")]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", help="An option of the provider as NAME=VALUE; repeat it. NAME=@FILE reads the value."),
]
Secrets = Annotated[
    list[str] | None,
    typer.Option("--secret", help="An option whose value is asked for, so that no history of commands has it; repeat it."),
]


def _options(given: list[str] | None, secrets: list[str] | None) -> dict[str, str]:
    """The options of a command line. Raises `ConfigurationError`."""
    found: dict[str, str] = {}
    for item in given or ():
        name, equals, value = item.partition("=")
        if not equals or name in found:
            raise ConfigurationError(f"option {name!r}: NAME=VALUE is wanted, each name once")
        if value.startswith("@"):
            try:
                value = Path(value[1:]).read_text(encoding="utf-8").strip()
            except (OSError, ValueError):
                raise ConfigurationError(f"option {name!r}: {value[1:]} cannot be read") from None
        found[name] = value
    for name in secrets or ():
        if sys.stdin.isatty():
            found[name] = typer.prompt(name, hide_input=True, err=True)
        else:
            found[name] = sys.stdin.readline().rstrip("\n")
    return found


def described_storage(row: StorageRow, application: Application) -> dict[str, Any]:
    """A storage as plain values; of its secrets only which are set (security promise 60)."""
    return {
        "name": row.name,
        "provider": row.provider,
        "usual": application.storage == row.name,
        "options": dict(row.options),
        "secrets": list(row.secrets),
    }


def _show(row: StorageRow, application: Application, *, as_json: bool) -> None:
    values = described_storage(row, application)
    if as_json:
        say_json(values)
        return
    say("storage", row.name, "bold")
    say("provider", row.provider)
    say("new files go there", "yes" if values["usual"] else "only when they ask for it")
    for name, value in row.options.items():
        say(name, value)
    for name in row.secrets:
        say(name, "set, and sealed")


@app.command()
def providers(config: Config = None, as_json: AsJson = False) -> None:
    """List the kinds of storages that installed plugins provide, with their options."""
    with engine_for(config) as engine:
        found = {
            name: [
                {"option": param.name, "allowed": param.kind.allowed, "secret": param.name in provider.secrets}
                for param in provider.params
            ]
            for name, provider in sorted(engine.storages.providers.items())
        }
    if as_json:
        say_json(found)
        return
    rows = [
        (name, each["option"], each["allowed"], "secret" if each["secret"] else "") for name, of in found.items() for each in of
    ]
    say_table(("provider", "option", "allowed", ""), rows)


@app.command()
def add(
    api_key: Key,
    name: Name,
    provider: Annotated[str, typer.Option(help="Kind of storage: see `storage providers`.")],
    option: Options = None,
    secret: Secrets = None,
    usual: Annotated[bool, typer.Option("--default/--no-default", help="Have new files go there.")] = True,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Set a storage up for an application. Its credentials are sealed, and never shown again."""
    with engine_for(config) as engine:
        known_application(engine, api_key)
        row = engine.administration.add_storage(CLI, api_key, name, provider, _options(option, secret), usual=usual)
        _show(row, known_application(engine, api_key), as_json=as_json)


@app.command("set")
def set_(
    api_key: Key,
    name: Name,
    option: Options = None,
    secret: Secrets = None,
    usual: Annotated[bool | None, typer.Option("--default/--no-default", help="Whether new files go there.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Change options of a storage; those not named stay, and an empty value clears one."""
    with engine_for(config) as engine:
        application = known_application(engine, api_key)
        given = _options(option, secret)
        row = engine.administration.change_storage(CLI, api_key, name, given) if given else engine.storages.named(api_key, name)
        if usual is not None and usual != (application.storage == name):
            application = engine.administration.change_application(CLI, api_key, storage=name if usual else "")
        _show(row, application, as_json=as_json)


@app.command("list")
def list_(api_key: Key, config: Config = None, as_json: AsJson = False) -> None:
    """List the storages of an application, and what it uses of each."""
    with engine_for(config) as engine:
        application = known_application(engine, api_key)
        found = [
            described_storage(row, application) | dict(zip(("files", "bytes"), _used(engine, application, row.id), strict=True))
            for row in engine.storages.of(api_key)
        ]
        lent = _used(engine, application, engine.settings.storage)
    word = "the server's own, for good" if application.storage == SERVER else "development storage"
    if as_json:
        say_json({"storages": found, "server": {"files": lent[0], "bytes": lent[1], "kind": word}})
        return
    rows = [(each["name"], each["provider"], "yes" if each["usual"] else "", each["files"], each["bytes"]) for each in found]
    say_table(("name", "provider", "default", "files", "bytes"), [*rows, (f"({word})", "", "", *lent)])


def _used(engine: Engine, application: Application, storage: str) -> tuple[int, int]:
    return engine.records.used(application.api_key, storage)


@app.command()
def show(api_key: Key, name: Name, config: Config = None, as_json: AsJson = False) -> None:
    """Show one storage; of its secrets only which are set."""
    with engine_for(config) as engine:
        _show(engine.storages.named(api_key, name), known_application(engine, api_key), as_json=as_json)


@app.command()
def check(
    api_key: Key,
    name: Name,
    origin: Annotated[list[str] | None, typer.Option(help="A page origin for the CORS rule; repeat it.")] = None,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="See too whether a storage that is only written to can be read.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Write, read and delete a probe, and say what is missing, with texts to paste at the provider. Exit status 1 when
    something is missing."""
    with engine_for(config) as engine:
        row = engine.storages.named(known_application(engine, api_key).api_key, name)
        report = check_storage(engine.storages, row, origins=tuple(origin or ("*",)), thorough=thorough)
    if as_json:
        steps = [{"step": step.name, "good": step.good, "says": step.says, "state": step.state} for step in report.steps]
        say_json({"good": report.good, "steps": steps, "advice": dict(report.advice)})
    else:
        words = {True: verdict(True, "works"), False: verdict(False, word_bad="fails"), None: "left out"}
        rows = [(step.name, "too much" if step.surplus else words[step.good], step.says) for step in report.steps]
        say_table(("step", "", "why"), rows)
        for what, text in report.advice.items():
            out.print(f"\n{what} to paste:", style="bold", markup=False)
            out.print(text, markup=False)
    if not report.good:
        sys.exit(1)


@app.command()
def remove(
    api_key: Key,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Forget a storage and its credentials. Refused while files are in it: move them first."""
    with engine_for(config) as engine:
        application = known_application(engine, api_key)
        if not yes:
            typer.confirm(f"Forget the storage {name} of {application.name or api_key}?", abort=True, err=True)
        engine.administration.remove_storage(CLI, api_key, name)
    if as_json:
        say_json({"removed": name})
    else:
        say("removed", name)


@app.command()
def migrate(
    api_key: Key,
    source: Annotated[str, typer.Option("--from", help="Storage to empty: a name, or `server` for the server's own.")],
    target: Annotated[str, typer.Option("--to", help="Storage to fill: a name, or `server`.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Move all files of an application to another storage, each checked against its checksum. Servers may run meanwhile; when
    interrupted, run it again: what is moved is moved. Exit status 1 when some could not be."""
    with engine_for(config) as engine:
        application = known_application(engine, api_key)
        here, there = _place(engine, api_key, source), target if target != SERVER else engine.settings.storage
        if _place(engine, api_key, target) == here:
            raise ConfigurationError("these are the same storage")
        moved, failed = _move_all(engine, application, here, there)
    if as_json:
        say_json({"moved": moved, "failed": [{"handle": handle, "why": why} for handle, why in failed]})
    else:
        say("moved", f"{moved:,} files")
        for handle, why in failed[:20]:
            complain(f"{handle}: {why}")
    if failed:
        sys.exit(1)


def _place(engine: Engine, api_key: str, name: str) -> str:
    return engine.settings.storage if name == SERVER else engine.storages.named(api_key, name).id


def _move_all(engine: Engine, application: Application, here: str, there: str) -> tuple[int, list[tuple[str, str]]]:
    """Move file by file, with a progress bar where there is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    moved, failed, last = 0, [], ""
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("moving files", total=engine.records.used(application.api_key, here)[0])
        while links := engine.records.files_in(application.api_key, here, after=last):
            for link in links:
                outcome = _move(engine, application, link.handle, here, there)
                moved += outcome is None
                failed += [(link.handle, outcome)] if outcome else []
                progress.advance(task)
            last = links[-1].handle
    return moved, failed


def _move(engine: Engine, application: Application, handle: str, here: str, there: str) -> str | None:
    """Move one file as it is now; says what was in the way, "" when there is nothing to move any more."""
    for _ in range(_TRIES):
        link = engine.records.file(handle, application=application.api_key)
        if link is None or link.storage != here or (link.expires is not None and link.expires <= engine.clock() * 1000):
            return ""
        try:
            engine.files.move(application, link, there)
        except Busy:  # it was changed while its bytes were copied
            continue
        except SecureDeliveryError as fault:
            return "" if engine.records.file(handle) is None else str(fault)
        return None
    return "it is changed again and again"
