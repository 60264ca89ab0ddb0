"""A guard from settings: a mapping, or the `[gate]` table of a TOML file.

Knows: which settings there are and what each may hold. Must not know: how one judges, or any framework's own settings.

Everything is checked at once, before the first request: a setting nobody knows, a value of the wrong kind or a weak secret
is a `ConfigurationError` that names the setting, and never the secret.
"""

from __future__ import annotations

import os
import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from .errors import ConfigurationError, PatternError
from .guard import Guard
from .heads import Head, Reply
from .model import KINDS, Application, Decision, SecretRing
from .rules import Rule
from .whitelist import Whitelist

#: The variable that holds the secret, so that the file can be committed without one.
SECRET_VARIABLE = "SECURE_DELIVERY_SECRET"  # noqa: S105 - the name of a variable
DEFAULT_FILE = "secure-delivery.toml"

T = TypeVar("T")
OnDenied = Callable[[Decision, Head], Reply | None]


class _Kind(NamedTuple):
    """What a setting holds: the Python types, and how to say it to an operator."""

    types: tuple[type, ...]
    wanted: str


_TEXT = _Kind((str,), "text")
_SWITCH = _Kind((bool,), "true or false")
_SECONDS = _Kind((int,), "a whole number of seconds")
_LIST = _Kind((list, tuple), "a list")
_KINDS = _Kind((list, tuple), f"a list of kinds of request ({', '.join(KINDS)})")
_PATTERNS = _Kind((list, tuple, Mapping), "a list of patterns, or a table with patterns and missing")

_SETTINGS: dict[str, _Kind] = {
    "secret": _TEXT,
    "secrets": _LIST,
    "api_key": _TEXT,
    "name": _TEXT,
    "require_policy": _SWITCH,
    "required": _KINDS,
    "reported": _KINDS,
    "upload_whitelist": _PATTERNS,
    "delivery_whitelist": _PATTERNS,
    "regex": _TEXT,
    "unknown_keys": _TEXT,
    "standard_base64": _SWITCH,
    "leeway": _SECONDS,
    "max_age": _SECONDS,
    "public_cache": _SWITCH,
    "report_only": _SWITCH,
    "rules": _LIST,
}

#: Settings that go into the application as they are.
_PLAIN = (
    "api_key",
    "name",
    "require_policy",
    "required",
    "reported",
    "regex",
    "unknown_keys",
    "standard_base64",
    "leeway",
    "max_age",
    "public_cache",
)


def guard_from_settings(
    settings: Mapping[str, Any],
    *,
    on_denied: OnDenied | None = None,
    clock: Callable[[], float] = time.time,
) -> Guard:
    """A guard from a mapping of settings.

    * `secret`, or `secrets` (newest first, at most five): texts of at least 128 bits.
    * `rules`: tables with `pattern` and methods in capitals, as in `Rule`.
    * `upload_whitelist`, `delivery_whitelist`: a list of patterns, or a table with `patterns` and `missing` (allow, deny).
    * `report_only`, and every switch of `Application` under its own name.

    `on_denied` and `clock` are as in `Guard`. Raises `ConfigurationError`, naming the setting, for anything else.
    """
    _check_kinds(settings)
    ring = _ring(settings)
    values: dict[str, Any] = {}
    for name in _PLAIN:
        if name in settings:
            values[name] = tuple(settings[name]) if _SETTINGS[name] is _KINDS else settings[name]
            # One more at a time, so that a value out of bounds is reported under its name.
            _named(name, Application, secrets=ring, **values)
    for name in ("upload_whitelist", "delivery_whitelist"):
        if name in settings:
            values[name] = _whitelist(name, settings[name])
    return Guard(
        Application(secrets=ring, **values),
        _rules(settings),
        report_only=settings.get("report_only", False),
        on_denied=on_denied,
        clock=clock,
    )


def guard_from_file(
    path: str | os.PathLike[str] = DEFAULT_FILE,
    environ: Mapping[str, str] = os.environ,
    *,
    on_denied: OnDenied | None = None,
    clock: Callable[[], float] = time.time,
) -> Guard:
    """A guard from the `[gate]` table of a TOML file; other tables are somebody else's.

    The variable `SECURE_DELIVERY_SECRET`, when it is set, takes the place of `secret` and `secrets` in the file. Raises
    `ConfigurationError` for a file that is not there or not TOML, and as `guard_from_settings` does.
    """
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError; neither quotes more than a character
        raise ConfigurationError(f"{path}: not TOML: {error}") from None
    table = document.get("gate")
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path}: there is no [gate] table")
    if SECRET_VARIABLE in environ:
        table = {name: value for name, value in table.items() if name not in ("secret", "secrets")}
        table["secret"] = environ[SECRET_VARIABLE]
    return guard_from_settings(table, on_denied=on_denied, clock=clock)


def _check_kinds(settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        kind = _SETTINGS.get(name)
        if kind is None:
            known = ", ".join(sorted(_SETTINGS))
            raise ConfigurationError(f"gate.{name}: there is no such setting; there are {known}")
        # A switch is an int in Python; `leeway = true` is not one second.
        if not isinstance(value, kind.types) or (isinstance(value, bool) and kind is not _SWITCH):
            raise ConfigurationError(f"gate.{name}: {kind.wanted} is wanted")


def _named(name: str, make: Callable[..., T], /, *given: Any, **named: Any) -> T:
    """What `make` gives, with its complaint put under the setting's name."""
    try:
        return make(*given, **named)
    except (ConfigurationError, PatternError) as error:
        raise ConfigurationError(f"gate.{name}: {error}") from None


def _ring(settings: Mapping[str, Any]) -> SecretRing:
    if "secret" in settings and "secrets" in settings:
        raise ConfigurationError("gate.secret: give either secret or secrets")
    name = "secrets" if "secrets" in settings else "secret"
    values = settings.get("secrets", [settings["secret"]] if "secret" in settings else [])
    if not values:
        raise ConfigurationError(f"gate.{name}: set it, or the variable {SECRET_VARIABLE}; without one nothing can be verified")
    if not all(isinstance(value, str) for value in values):
        raise ConfigurationError(f"gate.{name}: a list of texts is wanted")
    return _named(name, SecretRing.of, *values)


def _whitelist(name: str, value: Any) -> Whitelist:
    table = dict(value) if isinstance(value, Mapping) else {"patterns": value}
    patterns, missing = table.pop("patterns", None), table.pop("missing", None)
    if table:
        raise ConfigurationError(f"gate.{name}.{min(table)}: there is no such setting; there are missing, patterns")
    if not isinstance(patterns, list | tuple):
        raise ConfigurationError(f"gate.{name}.patterns: a list of patterns is wanted")
    if missing not in (None, "allow", "deny"):
        raise ConfigurationError(f"gate.{name}.missing: allow or deny is wanted")
    return _named(name, Whitelist, patterns, missing=missing)


def _rules(settings: Mapping[str, Any]) -> list[Rule]:
    rules = []
    for index, table in enumerate(settings.get("rules", [])):
        name = f"rules[{index}]"
        if not isinstance(table, Mapping):
            raise ConfigurationError(f"gate.{name}: a table with a pattern and methods is wanted")
        rules.append(_named(name, Rule.from_settings, table))
    if not rules:
        raise ConfigurationError("gate.rules: at least one is needed; without one nothing is guarded")
    return rules
