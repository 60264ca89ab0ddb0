"""Storages of an application: set up, tried out, chosen for new files, forgotten.

Knows: which values pages about storages need. Must not know: what a provider is, how credentials are kept.

Credentials go in and never come out: a page says which are set, and a form is never filled with them (security promise 60).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ...engine.account_rows import SECRETS
from ...engine.security_places import read_in_vain
from ...engine.storage_check import WRITE_ONLY, Step, advice_of, check_storage
from ...engine.storage_forms import misfit, options_of, title_of
from ...engine.storages import SERVER, StorageRow
from ...gate.errors import SecureDeliveryError
from ...gate.hosts import parse_origin
from ...gate.model import Application
from ...plugin.protocols import StorageProvider
from .fields import BadField, Fields
from .frame import Action, Ask, Done, Room, View

_LONGEST = 20_000  # characters of one option: keys of service accounts are JSON texts
_MOST_ORIGINS = 20
#: What each step of a check is called, and what it is needed for.
RIGHTS = {
    "write": ("Write objects", "for every file that goes there"),
    "read": ("Read objects", "to deliver and transform files"),
    "delete": ("Delete objects", "to delete files, and to put others in their place"),
    "parts": ("Take uploads in parts", "for large files"),
    "signed addresses": ("Sign addresses", "so that browsers can fetch straight from there"),
}


def _summary(ask: Ask, application: Application, row: StorageRow) -> dict[str, Any]:
    """A storage as lists show it; of its secrets only which are set."""
    files, used = ask.engine.records.used(application.api_key, row.id)
    provider = ask.engine.storages.providers.get(row.provider)
    return {
        "name": row.name,
        "provider": row.provider,
        "kind": title_of(row.provider, provider),
        "installed": provider is not None,
        "usual": application.storage == row.name,
        "write_only": str(row.options.get(WRITE_ONLY, "")).lower() == "true",
        "options": dict(row.options),
        "secrets": list(row.secrets),
        "files": files,
        "bytes": used,
    }


def _form(provider: StorageProvider | None, row: StorageRow | None = None) -> list[dict[str, Any]]:
    """The options of a provider with their values in a row; whether a secret is set, never what it is."""
    if provider is None:
        return []
    return [
        {
            **asdict(option),
            "choices": list(option.choices),
            "value": "" if row is None else str(row.options.get(option.name, "")),
            "set": row is not None and option.name in row.secrets,
        }
        for option in options_of(provider)
    ]


# ------------------------------------------------------------------------------------------------------------- the list


def _all(ask: Ask) -> Mapping[str, Any]:
    application, engine = ask.application(), ask.engine
    settings, providers = engine.settings, engine.storages.providers
    wanted = ask.given.get("provider") or ask.query.get("provider")
    adding = wanted if isinstance(wanted, str) and wanted in providers else ""
    files, used = engine.records.used(application.api_key, settings.storage)
    return {
        "api_key": application.api_key,
        "new_files": application.storage,
        "storages": [_summary(ask, application, row) for row in engine.storages.of(application.api_key)],
        "server": {"files": files, "bytes": used},
        "development": {
            "in_use": application.storage == "",
            "days": settings.development_days,
            "quota": settings.development_bytes,
            "bytes": used,
        },
        "providers": [{"name": name, "kind": title_of(name, provider)} for name, provider in sorted(providers.items())],
        "adding": adding,
        "form_options": _form(providers.get(adding)),
    }


def _add(ask: Ask) -> Done:
    given, application = ask.given, ask.application()
    given.only("csrf", "name", "provider", "options", "usual")
    providers = ask.engine.storages.providers
    kind = given.choice("provider", sorted(providers), label="The provider")
    name = given.text("name", label="The name", longest=64, needed=True)
    if any(row.name == name for row in ask.engine.storages.of(application.api_key)):
        raise BadField("name", "There is a storage of this name already.")
    options = {name: value for name, value in _options(given).items() if value != ""}
    _check(providers[kind], options)
    usual = given.flag("usual")
    row = ask.engine.administration.add_storage(ask.actor, application.api_key, name, kind, options, usual=usual)
    return Done(
        values=_summary(ask, ask.application(), row),
        to=f"/applications/{application.api_key}/storages/{row.name}",
        note="The storage is set up. Check it now: so far nobody has asked the provider.",
        status=201,
    )


def _options(given: Fields) -> dict[str, str]:
    """The options of a form or of JSON, as texts."""
    found: dict[str, str] = {}
    for name, value in given.table("options").items():
        if isinstance(value, bool):
            value = str(value).lower()
        if not isinstance(value, str | int) or len(str(value)) > _LONGEST:
            raise BadField(f"options.{name[:60]}", f"An option is a text of at most {_LONGEST} characters.")
        found[name] = str(value).strip()
    return found


def _check(provider: StorageProvider | None, options: Mapping[str, str], kept: frozenset[str] = frozenset()) -> None:
    wrong = None if provider is None else misfit(provider, options, kept=kept)
    if wrong is not None:
        raise BadField(f"options.{wrong[0][:60]}", wrong[1])


def _choose(ask: Ask) -> Done:
    """Where new files go."""
    application, given = ask.application(), ask.given
    given.only("csrf", "storage")
    names = [row.name for row in ask.engine.storages.of(application.api_key)]
    chosen = given.choice("storage", ["", SERVER, *names], label="Where new files go")
    after = ask.engine.administration.change_application(ask.actor, application.api_key, storage=chosen)
    return Done(
        values={"api_key": after.api_key, "storage": after.storage},
        to=f"/applications/{after.api_key}/storages",
        note="From now on new files go there. Those that are stored stay where they are.",
    )


# ------------------------------------------------------------------------------------------------------------------ one


def _row(ask: Ask) -> tuple[Application, StorageRow]:
    application = ask.application()
    return application, ask.engine.storages.named(application.api_key, ask.path["name"])


def _one(ask: Ask) -> Mapping[str, Any]:
    application, row = _row(ask)
    origins = _origins(ask.query)
    return {
        "api_key": application.api_key,
        **_summary(ask, application, row),
        "form_options": _form(ask.engine.storages.providers.get(row.provider), row),
        "origins": list(origins),
        "advice": _advice(ask, row, origins),
        "narrow": _narrow(ask, application, row),
    }


def _origins(given: Fields) -> tuple[str, ...]:
    """Origins of pages, for the rule that lets them fetch; any where none is named."""
    found = given.several("origins", label="Pages", longest=300, most=_MOST_ORIGINS)
    for each in found:
        if each != "*" and (parse_origin(each) is None or not each.startswith(("http://", "https://"))):
            raise BadField("origins", "A page is named by its origin, as https://www.example.com.")
    return tuple(found) or ("*",)


def _advice(ask: Ask, row: StorageRow, origins: tuple[str, ...]) -> dict[str, Any]:
    """Texts to paste at the provider; none for a storage that is no use, which a check explains."""
    try:
        return {name: dict(texts) for name, texts in advice_of(ask.engine.storages, row, origins=origins).items()}
    except SecureDeliveryError:
        return {}


def _narrow(ask: Ask, application: Application, row: StorageRow) -> bool:
    """Whether it may be read although nothing asks for that."""
    try:
        return read_in_vain(ask.engine, application, row)
    except SecureDeliveryError:
        return False


def _change(ask: Ask) -> Done:
    application, row = _row(ask)
    given = ask.given
    given.only("csrf", "password", "username", "options", "forget")
    forget = given.several("forget", label="What to forget")
    if unknown := [name for name in forget if name not in row.secrets]:
        raise BadField("forget", f"'{unknown[0][:60]}' is not set.")
    provider = ask.engine.storages.providers.get(row.provider)
    secrets = frozenset() if provider is None else provider.secrets
    # An empty field of a secret keeps it: the form is never filled with what is set.
    options = {name: value for name, value in _options(given).items() if value or name not in secrets}
    options |= dict.fromkeys(forget, "")
    _check(provider, options, frozenset({*row.options, *row.secrets}))
    after = ask.engine.administration.change_storage(ask.actor, application.api_key, row.name, options)
    return Done(
        values=_summary(ask, application, after),
        to=f"/applications/{application.api_key}/storages/{row.name}",
        note="The options are saved. Check the storage again.",
    )


def _checked(ask: Ask) -> Done:
    """Try it out: a probe is written, read and deleted. It takes as long as the provider takes."""
    application, row = _row(ask)
    ask.given.only("csrf", "origins")
    origins = _origins(ask.given)
    report = check_storage(ask.engine.storages, row, origins=origins, thorough=True)
    values = {
        "api_key": application.api_key,
        **_summary(ask, application, row),
        "good": report.good,
        "rights": [_right(step) for step in report.steps],
        "narrow": _narrow(ask, application, row),
        "origins": list(origins),
        "advice": _advice(ask, row, origins),
    }
    return Done(values=values, page="storage_check.html", title=f"What {row.name} can do")


def _right(step: Step) -> dict[str, Any]:
    label, needed = RIGHTS.get(step.name, (step.name, ""))
    return {
        "name": step.name, "label": label, "needed": needed, "state": step.state, "says": step.says, "public": step.public
    }  # fmt: skip


def _remove(ask: Ask) -> Done:
    application, row = _row(ask)
    ask.engine.administration.remove_storage(ask.actor, application.api_key, row.name)
    return Done(
        values={"removed": row.name},
        to=f"/applications/{application.api_key}/storages",
        note=f"The storage {row.name} and its credentials are forgotten. What lies at the provider stays there.",
    )


_BASE = "/applications/{key}/storages"
_STORAGE = f"{_BASE}/{{name}}"

ROOM = Room(
    name="storages",
    views=(
        View(
            path=_BASE, show=_all, page="storages.html", title="Storage", command="storage list",
            says="Storages of an application, where new files go, and the options of each provider.",
        ),
        View(
            path=_STORAGE, show=_one, page="storage.html", title="Storage", command="storage show",
            says="One storage, which of its secrets are set, and the policy and CORS rule to paste at the provider.",
        ),
    ),
    actions=(
        Action(
            path=_BASE, do=_add, on=_BASE, scope=SECRETS, command="storage add",
            says="Set a storage up; its credentials are sealed and never shown again.",
        ),
        Action(
            path="/applications/{key}/storage", do=_choose, on=_BASE, command="app set",
            says="Say where new files go: a storage by its name, `server`, or nothing for the development storage.",
        ),
        Action(
            path=_STORAGE, do=_change, on=_STORAGE, scope=SECRETS, fresh=True, by_form=True, command="storage set",
            says="Change options of a storage; secrets that are left empty stay.",
        ),
        Action(
            path=f"{_STORAGE}/check", do=_checked, on=_STORAGE, command="storage check",
            says="Write, read and delete a probe: what the credentials can do, cannot do, and need not.",
        ),
        Action(
            path=f"{_STORAGE}/remove", do=_remove, on=_STORAGE, scope=SECRETS, fresh=True, command="storage remove",
            says="Forget a storage and its credentials. Refused while files are in it.",
        ),
    ),
)  # fmt: skip
__all__ = ["ROOM"]
