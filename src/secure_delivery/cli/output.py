"""How commands speak: for people with colours and tables, for programs as JSON.

Knows: rich and typer. Must not know: what is said.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..engine import Engine, build
from ..engine.settings import Settings
from ..gate.errors import ConfigurationError
from ..gate.model import Application
from ..gate.whitelist import Whitelist


def _size() -> dict[str, Any]:
    """How wide to write: as the terminal is. A pipe has no width; what is cut to eighty columns there is lost to its reader.

    Rich takes a width only with a height.
    """
    if sys.stdout.isatty():
        return {}
    columns = os.environ.get("COLUMNS", "")
    return {"width": int(columns) if columns.isdigit() and int(columns) > 0 else 240, "height": 50}


out = Console(highlight=False, soft_wrap=True, **_size())
err = Console(stderr=True, highlight=False, soft_wrap=True)

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Settings file; else $SECURE_DELIVERY_CONFIG, else secure-delivery.toml here."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Key = Annotated[str, typer.Argument(metavar="API_KEY", help="API key of the application.")]


def shown(text: object) -> str:
    """A name that a stranger may have given, as one line that does nothing to a terminal and that any terminal takes."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(text))


def complain(sentence: str) -> None:
    """A fault, on standard error."""
    err.print(Text("error: ", style="bold red") + Text(sentence))


def say_json(value: Any) -> None:
    """One JSON document on standard output."""
    typer.echo(json.dumps(value, indent=2, default=str))


def say(label: str, value: object, style: str = "") -> None:
    """A labelled line. Values are never taken for markup."""
    out.print(Text(f"{label + ':':<22}", style="dim") + Text(str(value), style=style))


def say_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
    """A table; cells are plain text."""
    table = Table(*columns, title=title, title_justify="left", header_style="bold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    out.print(table)


def verdict(good: bool, word_good: str = "allowed", word_bad: str = "refused") -> Text:
    """A coloured verdict."""
    return Text(word_good, style="bold green") if good else Text(word_bad, style="bold red")


def ms_of(text: str | None, option: str) -> int | None:
    """A moment of a command line as ms since the epoch. Raises `ConfigurationError`."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{option} is a date or a time as 2026-11-30 or 2026-11-30T12:00, in UTC") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def moment_of(ms: int | None) -> str | None:
    """Such a moment as people read it, in UTC."""
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


@contextmanager
def engine_for(config: Path | None, **overrides: Any) -> Iterator[Engine]:
    """The engine of the settings, closed afterwards. No decoder is started unless the command does."""
    engine = build(Settings.load(config, **overrides))
    try:
        yield engine
    finally:
        engine.close()


def known_application(engine: Engine, api_key: str) -> Application:
    """The application of a key. Raises `ConfigurationError` when there is none."""
    application = engine.records.application(api_key)
    if application is None:
        raise ConfigurationError(f"there is no application with the API key {api_key}")
    return application


def described(application: Application) -> Mapping[str, Any]:
    """An application as plain values; of secrets only their last four characters (security promise 60)."""

    def patterns(whitelist: Any) -> list[str]:
        return list(whitelist.patterns) if whitelist else []

    return {
        "api_key": application.api_key,
        "name": application.name,
        "require_policy": application.require_policy,
        "required": list(application.required),
        "reported": list(application.reported),
        "upload_whitelist": patterns(application.upload_whitelist),
        "delivery_whitelist": patterns(application.delivery_whitelist),
        "upload_missing": (application.upload_whitelist or Whitelist([])).missing or "deny",
        "delivery_missing": (application.delivery_whitelist or Whitelist([])).missing or "allow",
        "regex": application.regex,
        "unknown_keys": application.unknown_keys,
        "standard_base64": application.standard_base64,
        "leeway": application.leeway,
        "max_age": application.max_age,
        "public_cache": application.public_cache,
        "max_bytes": application.limits.max_bytes,
        "max_pixels": application.limits.max_pixels,
        "max_animation_pixels": application.limits.max_animation_pixels,
        "max_jobs": application.limits.max_jobs,
        "max_queue": application.limits.max_queue,
        "max_pages": application.limits.max_pages,
        "max_job_seconds": application.limits.max_job_seconds,
        "metadata_profile": application.metadata_profile,
        "aliases": dict(application.aliases),
        "storage": application.storage or "development",
        "allowed_types": list(application.allowed_types),
        "scan": application.scan,
        "retention": application.retention,
        "undo": application.undo,
        "redirect": application.redirect,
        "secrets": [
            {
                "id": secret.id,
                "state": secret.state.value,
                "until": secret.until,
                "ends_in": secret.value[-4:].decode("utf-8", "replace"),
            }
            for secret in application.secrets.secrets
        ],
    }
