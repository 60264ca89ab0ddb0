"""Applications: creating, changing and deleting them, and their secrets.

Knows: which settings are changed together, what of a secret may be shown. Must not know: how any of it is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ...engine.account_rows import SECRETS
from ...engine.applications import settings_of
from ...gate.model import Application, Limits
from .fields import BadField
from .frame import Action, Ask, Done, Room, View

_PAGE = 50  # applications of a page
KINDS = (
    ("upload", "uploads"),
    ("delivery", "delivery of files"),
    ("conversion", "transformations"),
    ("metadata", "metadata of files"),
)
LIMITS = (
    ("max_bytes", "Bytes of one file"),
    ("max_pixels", "Pixels of one picture"),
    ("max_animation_pixels", "Pixels of all frames of an animation"),
    ("max_jobs", "Jobs at work at once"),
    ("max_queue", "Jobs that may wait"),
    ("max_pages", "Pages that one preview may draw"),
    ("max_job_seconds", "Seconds that one job may take"),
)


def summary(ask: Ask, application: Application) -> dict[str, Any]:
    """An application as lists show it."""
    files, used = ask.engine.records.used(application.api_key)
    return {
        "api_key": application.api_key,
        "name": application.name,
        "require_policy": application.require_policy,
        "required": list(application.required),
        "storage": application.storage,
        "files": files,
        "bytes": used,
    }


def _all(ask: Ask) -> Mapping[str, Any]:
    text, after = ask.query.text("text", longest=100), ask.query.text("after", longest=100)
    found, more = ask.engine.records.applications_page(text=text, after=after, limit=_PAGE)
    return {"applications": [summary(ask, each) for each in found], "text": text, "after": after, "next": more}


def _create(ask: Ask) -> Done:
    ask.given.only("csrf", "name", "require_policy")
    name = ask.given.text("name", label="The name", longest=100, needed=True)
    secured = ask.given.flag("require_policy", default=True)
    made, secret = ask.engine.administration.create_application(ask.actor, name, require_policy=secured)
    return Done(
        values={**summary(ask, made), "secret": secret, "go_on": f"/applications/{made.api_key}"},
        page="secret_once.html",
        title=f"{name} is there",
        status=201,
    )


def _settings(ask: Ask) -> Mapping[str, Any]:
    application = ask.application()
    known = settings_of(application)
    reports = [asdict(each) for each in ask.engine.reports.of(application.api_key)]
    return {
        **known,
        "api_key": application.api_key,
        "name": application.name,
        "kinds": [list(pair) for pair in KINDS],
        "limit_names": [list(pair) for pair in LIMITS],
        "reports": reports,
    }


def _change(ask: Ask) -> Done:
    given, application = ask.given, ask.application()
    given.only(
        "csrf", "name", "allowed_types", "metadata_profile", "max_age", "public_cache", "scan", "redirect",
        "retention_days", "undo_days", "limits",
    )  # fmt: skip
    changes: dict[str, Any] = {}
    if given.has("name"):
        changes["name"] = given.text("name", label="The name", longest=100, needed=True)
    if given.has("allowed_types"):
        changes["allowed_types"] = tuple(given.several("allowed_types", label="Types", longest=200))
    if given.has("metadata_profile"):
        changes["metadata_profile"] = given.choice("metadata_profile", ("none", "copyright", "no_location", "all"))
    if (age := given.whole("max_age", label="Caching", most=31_536_000)) is not None:
        changes["max_age"] = age
    for name in ("public_cache", "scan", "redirect"):
        if given.has(name):
            changes[name] = given.flag(name)
    for name in ("retention", "undo"):
        if (days := given.number(f"{name}_days", label="Days", most=36_500)) is not None:
            changes[name] = int(days * 86_400)
    limits = _limits(application.limits, given.table("limits"))
    if limits is not None:
        changes["limits"] = limits
    after = ask.engine.administration.change_application(ask.actor, application.api_key, **changes)
    return Done(values=_told(after), to=f"/applications/{after.api_key}/settings", note="The settings are saved.")


def _limits(before: Limits, given: Mapping[str, Any]) -> Limits | None:
    """The limits with what is given; None where nothing is."""
    from .fields import Fields

    known = asdict(before)
    values = Fields(given)
    for name in given:
        if name not in known:
            raise BadField(f"limits.{name}", "There is no such limit.")
    for name, label in LIMITS:
        if (number := values.whole(name, label=label, least=1, most=2**50)) is not None:
            known[name] = number
    return Limits(**known) if given else None


def _secure(ask: Ask) -> Done:
    given, key = ask.given, ask.application().api_key
    given.only(
        "csrf",
        "password",
        "username",
        "require_policy",
        "required",
        "reported",
        "regex",
        "unknown_keys",
        "standard_base64",
        "leeway",
    )
    changes: dict[str, Any] = {}
    for name in ("require_policy", "standard_base64"):
        if given.has(name):
            changes[name] = given.flag(name)
    for name in ("required", "reported"):
        if given.form or given.has(name):  # a form without a tick says nothing of its boxes
            changes[name] = _kinds(ask, name)
    for name, words in (("regex", ("full", "search")), ("unknown_keys", ("refuse", "ignore"))):
        if given.has(name):
            changes[name] = given.choice(name, words)
    if (leeway := given.whole("leeway", label="Leeway", most=60)) is not None:
        changes["leeway"] = leeway
    after = ask.engine.administration.change_application(ask.actor, key, **changes)
    return Done(values=_told(after), to=f"/applications/{key}/settings", note="The security settings are saved, and in force.")


def _kinds(ask: Ask, name: str) -> tuple[str, ...]:
    known = [word for word, _ in KINDS]
    found = ask.given.several(name)
    if unknown := [word for word in found if word not in known]:
        raise BadField(name, f"There is no kind '{unknown[0][:40]}': {', '.join(known)}.")
    return tuple(word for word in known if word in found)


def _told(application: Application) -> dict[str, Any]:
    return {"api_key": application.api_key, "name": application.name, **settings_of(application)}


def _clear_reports(ask: Ask) -> Done:
    key = ask.application().api_key
    ask.engine.reports.clear(key)
    ask.engine.administration.note(ask.actor, "reports.clear", application=key)
    return Done(to=f"/applications/{key}/settings", note="The list is empty.")


def _delete(ask: Ask) -> Done:
    application = ask.application()
    if ask.given.text("confirm") != application.api_key:
        raise BadField("confirm", "Type the API key exactly as it is.")
    ask.engine.administration.delete_application(ask.actor, application.api_key)
    return Done(to="/applications", note=f"{application.name or application.api_key} is deleted.")


def _secrets(ask: Ask) -> Mapping[str, Any]:
    """The ring, newest first. Of a secret only its end is told (security promise 60)."""
    application = ask.application()
    since = ask.engine.records.secret_dates(application.api_key)
    return {
        "api_key": application.api_key,
        "secrets": [
            {
                "id": each.id,
                "last4": each.value.decode("utf-8", "replace")[-4:],
                "state": each.state.value,
                "until": each.until,
                "created": since.get(each.id),
            }
            for each in application.secrets.secrets
        ],
    }


def _rotate(ask: Ask) -> Done:
    key = ask.application().api_key
    grace = ask.given.whole("grace", label="The grace period", most=86_400, default=0) or 0
    after, text = ask.engine.administration.rotate_secret(ask.actor, key, grace=grace)
    return Done(
        values={"api_key": key, "secret": text, "id": after.secrets.signing.id, "go_on": f"/applications/{key}/secrets"},
        page="secret_once.html",
        title="The new secret",
    )


def _revoke(ask: Ask) -> Done:
    key = ask.application().api_key
    ask.engine.administration.end_grace(ask.actor, key)
    return Done(to=f"/applications/{key}/secrets", note="Only the newest secret counts now.")


_ONE = "/applications/{key}"

ROOM = Room(
    name="applications",
    views=(
        View(
            path="/applications", show=_all, page="applications.html", title="Applications", command="app list",
            says="Applications with what they have stored, newest first, page by page: by `text`, a part of the name or the "
            "beginning of an API key; `after` as `next` says.",
        ),
        View(
            path=f"{_ONE}/settings", show=_settings, page="settings.html", title="Settings", command="app show",
            says="Switches, limits and types of an application, and who would be refused (report only).",
        ),
        View(
            path=f"{_ONE}/secrets", show=_secrets, page="secrets.html", title="Secrets", command="app show",
            says="The secrets of an application: their states, never their texts.",
        ),
    ),
    actions=(
        Action(
            path="/applications", do=_create, on="/applications", command="app create",
            says="Create an application; its secret is in the answer, this once.",
        ),
        Action(
            path=f"{_ONE}/settings", do=_change, on=f"{_ONE}/settings", command="app set",
            says="Change name, types, metadata profile, caching, retention and limits.",
        ),
        Action(
            path=f"{_ONE}/security", do=_secure, on=f"{_ONE}/settings", scope=SECRETS, fresh=True, command="app set",
            says="Say which requests need a policy, and how strictly policies are read.",
        ),
        Action(
            path=f"{_ONE}/reports/clear", do=_clear_reports, command="app report",
            says="Empty the list of who would be refused.",
        ),
        Action(
            path=f"{_ONE}/secrets/rotate", do=_rotate, on=f"{_ONE}/secrets", scope=SECRETS, fresh=True,
            command="app rotate-secret", says="Make a new secret; it is in the answer, this once.",
        ),
        Action(
            path=f"{_ONE}/secrets/revoke", do=_revoke, on=f"{_ONE}/secrets", scope=SECRETS, fresh=True,
            command="app revoke-secrets", says="Have the older secrets stop counting at once.",
        ),
        Action(
            path=f"{_ONE}/delete", do=_delete, on=f"{_ONE}/settings", scope=SECRETS, fresh=True, command="app delete",
            says="Delete an application with its secrets and files.",
        ),
    ),
)  # fmt: skip
