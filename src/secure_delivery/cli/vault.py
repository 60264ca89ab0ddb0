"""`secure-delivery vault …`: master keys, and bringing everything that is sealed under a new one."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from ..engine import Engine, open_vault
from ..engine.audit import CLI
from ..engine.settings import Settings
from ..engine.vault import Vault, add_key, drop_keys, fresh_key_id, new_master_key
from ..gate.errors import ConfigurationError
from .output import AsJson, Config, engine_for, err, say, say_json

app = typer.Typer(help="The vault: master keys, and rotating them.", no_args_is_help=True)


@app.command()
def status(config: Config = None, as_json: AsJson = False) -> None:
    """Show the ids of the master keys, and how much is sealed. Keys are never shown."""
    with engine_for(config) as engine:
        vault = open_vault(engine.settings)
        values = {
            "current": vault.current,
            "keys": sorted(vault.key_ids),
            "where": "environment" if engine.settings.master_key else str(engine.settings.key_file),
            "secrets": engine.records.sealed_secrets(),
            "storages": engine.storages.sealed(),
            "webhooks": engine.webhooks.sealed.count(),
            "jobs": engine.jobs.jobs.sealed.count(),
            "accounts": engine.people.sealed.count(),
        }
    if as_json:
        say_json(values)
        return
    for name, value in values.items():
        say(name, ", ".join(value) if isinstance(value, list) else value)


@app.command()
def rotate(
    rewrap_only: Annotated[bool, typer.Option("--rewrap", help="Make no new key: bring all under the current one.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make a new master key and bring everything that is sealed under it, row by row, beside running servers.

    When it is interrupted anywhere, run it again with --rewrap. The older keys stay in the file until `vault prune`.
    """
    settings = Settings.load(config)
    if not rewrap_only:
        _new_key(settings)
    with engine_for(config) as engine:
        changed = _rewrap(engine)
        vault = open_vault(engine.settings)
        engine.administration.note(CLI, "vault.rotate", after={"key": vault.current, "rewrapped": changed})
    older = sorted(vault.key_ids - {vault.current})
    if as_json:
        say_json({"current": vault.current, "rewrapped": changed, "older": older})
        return
    say("current key", vault.current, "bold")
    say("brought under it", f"{changed:,} secrets")
    say("older keys", f"{', '.join(older)}: `secure-delivery vault prune` takes them out" if older else "none")


@app.command()
def prune(config: Config = None, as_json: AsJson = False) -> None:
    """Take master keys out of the file that nothing is sealed under any more."""
    with engine_for(config) as engine:
        if engine.settings.master_key:
            raise ConfigurationError("the master keys are in the environment: take the older entries out there")
        vault = open_vault(engine.settings)
        columns = engine.webhooks.sealed.keys() | engine.jobs.jobs.sealed.keys() | engine.people.sealed.keys()
        used = engine.records.sealing_keys() | engine.storages.sealing_keys() | columns
    if still := sorted(used - {vault.current}):
        raise ConfigurationError(f"something is sealed under {', '.join(still)} still: run `vault rotate --rewrap` first")
    dropped = drop_keys(engine.settings.key_file, keep=vault.current)
    if as_json:
        say_json({"dropped": dropped})
    else:
        say("taken out", ", ".join(dropped) or "none")


def _new_key(settings: Settings) -> None:
    """Add a key to the file. Raises `ConfigurationError` with the text to set where keys come from the environment."""
    vault: Vault = open_vault(settings)
    name = fresh_key_id(vault)
    if settings.master_key:
        raise ConfigurationError(
            f"the master keys are in the environment: append `,{new_master_key(name)}` to them (a fresh key, which is nowhere "
            "else), then run with --rewrap"
        )
    add_key(settings.key_file, new_master_key(name))


def _rewrap(engine: Engine) -> int:
    """Bring everything under the current key, with a progress bar where there is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        rows = (engine.webhooks.sealed, engine.jobs.jobs.sealed, engine.people.sealed)
        total = engine.records.sealed_secrets() + engine.storages.sealed() + sum(one.count() for one in rows)
        task = progress.add_task("sealing afresh", total=total)
        step = lambda: progress.advance(task)
        changed = engine.records.rewrap_secrets(step) + engine.storages.rewrap(step)
        return changed + sum(one.rewrap(step) for one in rows)
