"""`secure-delivery app …`: create, list, show, change and delete applications, rotate secrets, tell who would be refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Annotated, Any

import typer
from rich.text import Text

from ..engine import Engine
from ..engine.audit import CLI
from ..engine.reports import OTHERS, WouldRefuse
from ..engine.storages import SERVER
from ..gate.errors import ConfigurationError
from ..gate.model import KINDS, Limits
from ..gate.whitelist import Whitelist
from .output import AsJson, Config, Key, described, engine_for, known_application, out, say, say_json, say_table

app = typer.Typer(help="Applications: their keys, secrets, switches and whitelists.", no_args_is_help=True)

Secured = Annotated[
    bool | None,
    typer.Option("--secured/--open", help="Whether every request needs a policy, or only those that always do."),
]
Require = Annotated[
    list[str] | None,
    typer.Option(
        "--require",
        help="A kind of request that needs a policy while others do not: upload, delivery, conversion or metadata; repeat it. "
        "'' clears the list.",
    ),
]
Report = Annotated[
    list[str] | None,
    typer.Option(
        "--report",
        help="A kind of request of which those are counted that would be refused if it were required; repeat it. '' clears it.",
    ),
]
Uploads = Annotated[
    list[str] | None, typer.Option("--upload-domain", help="A pattern of the upload whitelist; repeat it. '' clears the list.")
]
Deliveries = Annotated[
    list[str] | None, typer.Option("--delivery-domain", help="A pattern of the delivery whitelist; repeat it. '' clears it.")
]
UploadMissing = Annotated[str | None, typer.Option(help="Whether to allow or deny uploads that show no Origin (deny).")]
DeliveryMissing = Annotated[
    str | None, typer.Option(help="Whether to allow or deny delivery to requests that show neither Origin nor Referer (allow).")
]
Regex = Annotated[str | None, typer.Option(help="full: patterns span the whole value; search: they are searched for.")]
UnknownKeys = Annotated[str | None, typer.Option(help="refuse or ignore policies with keys nobody knows.")]
StandardBase64 = Annotated[bool | None, typer.Option(help="Accept policies in the standard Base64 alphabet too.")]
Leeway = Annotated[int | None, typer.Option(help="Seconds an expiry may have passed, 0 to 60.")]
MaxAge = Annotated[int | None, typer.Option(help="Seconds an allowed, signed answer may be cached.")]
MaxBytes = Annotated[int | None, typer.Option(help="Bytes of the largest file.")]
MaxPixels = Annotated[int | None, typer.Option(help="Pixels of the largest picture.")]
MaxAnimationPixels = Annotated[
    int | None, typer.Option(help="Pixels of all frames of an animation together; beyond it the first frame is used.")
]
MaxJobs = Annotated[int | None, typer.Option(help="Jobs at work at once.")]
MaxQueue = Annotated[int | None, typer.Option(help="Jobs that may wait; one more is refused.")]
MaxPages = Annotated[int | None, typer.Option(help="Pages that one preview may draw.")]
MaxJobSeconds = Annotated[int | None, typer.Option(help="Seconds that one job may take in all.")]
Profile = Annotated[
    str | None,
    typer.Option("--metadata-profile", help="What results keep of EXIF and XMP: none, copyright, no_location or all (none)."),
]
Aliases = Annotated[
    list[str] | None,
    typer.Option(
        "--alias",
        help="A storage alias, NAME=https://host/path/ or NAME=folder:FOLDER/path; repeat it. '' clears the list.",
    ),
]
StorageName = Annotated[
    str | None,
    typer.Option(
        "--storage",
        help="Where new files go: one of its storages, `server` for the server's own for good, '' for the development storage.",
    ),
]
Types = Annotated[
    list[str] | None,
    typer.Option("--allow-type", help="A type by content that may be uploaded (image/*); repeat it. '' allows all."),
]
Scan = Annotated[
    bool | None, typer.Option("--scan/--no-scan", help="Hold uploaded files until every scanner finds them clean.")
]
Retention = Annotated[
    float | None, typer.Option("--retention-days", help="Days after which files go by themselves; 0 for never.")
]
Undo = Annotated[float | None, typer.Option("--undo-days", help="Days for which a deleted file can be restored; 0 for none.")]
Redirect = Annotated[
    bool | None, typer.Option("--redirect/--stream", help="Deliver from storages that can by a redirect to them.")
]


def _ingest(
    types: list[str] | None, scan: bool | None, retention: float | None, undo: float | None, redirect: bool | None
) -> dict[str, Any]:
    """What options say of taking files in and keeping them."""
    return _changes(
        allowed_types=None if types is None else tuple(item for item in types if item),
        scan=scan,
        retention=None if retention is None else int(retention * 86_400),
        undo=None if undo is None else int(undo * 86_400),
        redirect=redirect,
    )


def _kinds(given: list[str] | None) -> tuple[str, ...] | None:
    """The kinds of request that options name; one empty text clears them."""
    return None if given is None else tuple(dict.fromkeys(kind for kind in given if kind))


def _whitelist(patterns: list[str] | None, missing: str | None, before: Whitelist | None = None) -> Any:
    """The whitelist that options describe; absent options change nothing, one empty pattern clears the list."""
    if missing not in (None, "allow", "deny"):
        raise ConfigurationError("a request that does not say where it comes from is: allow or deny")
    if patterns is None and missing is None:
        return None
    kept = (before.patterns if before else ()) if patterns is None else () if patterns == [""] else patterns
    return Whitelist(kept, missing=missing or (before.missing if before else None))  # type: ignore[arg-type]


def _aliases(given: list[str] | None, folders: Mapping[str, str]) -> dict[str, str] | None:
    """The aliases that options describe; one empty text clears them."""
    if given is None or given == [""]:
        return None if given is None else {}
    found: dict[str, str] = {}
    for item in given:
        name, equals, target = item.partition("=")
        if not equals or name in found:
            raise ConfigurationError(f"alias {item!r}: NAME=TARGET is wanted, each name once")
        folder = target.removeprefix("folder:").partition("/")[0]
        if target.startswith("folder:") and folder not in folders:
            raise ConfigurationError(f"alias {name!r}: the settings name no folder {folder!r}")
        found[name] = target
    return found


def _storage(engine: Engine, api_key: str, name: str | None) -> str | None:
    """The storage that is named, which has to be there."""
    if name not in (None, "", SERVER):
        engine.storages.named(api_key, name)
    return name


def _limits(before: Limits, **given: int | None) -> Limits | None:
    """The limits with what options say; None where they say nothing."""
    changed = {option: value for option, value in given.items() if value is not None}
    for option, value in changed.items():
        if value < 1:
            raise ConfigurationError(f"{option} is one or more")
    return replace(before, **changed) if changed else None


def _changes(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        value = [f"{name}={target}" for name, target in value.items()]
    return ", ".join(value) or "none" if isinstance(value, list) else value


def _security(values: Mapping[str, Any]) -> str:
    """Which requests of an application need a policy, in few words."""
    if values["require_policy"] or set(values["required"]) == set(KINDS):
        return "secured"
    return f"secured: {', '.join(values['required'])}" if values["required"] else "open"


def _show(application: Any, *, as_json: bool, secret: str | None = None) -> None:
    values = dict(described(application))
    if as_json:
        say_json(values | ({"secret": secret} if secret is not None else {}))
        return
    for name, value in values.items():
        if name == "secrets":
            for item in value:
                until = f", until {item['until']}" if item["until"] else ""
                say("secret", f"…{item['ends_in']} ({item['state']}{until})")
        else:
            say(name, _listed(value))
    if secret is not None:
        out.print(Text("secret, shown this once: ", style="bold") + Text(secret, style="bold yellow"))


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="A name for people.")],
    secured: Secured = None,
    require: Require = None,
    report: Report = None,
    upload_domain: Uploads = None,
    delivery_domain: Deliveries = None,
    upload_missing: UploadMissing = None,
    delivery_missing: DeliveryMissing = None,
    api_key: Annotated[str | None, typer.Option(help="Use this key instead of a new one, when moving from elsewhere.")] = None,
    secret_file: Annotated[typer.FileText | None, typer.Option(help="Read the secret from a file, likewise.")] = None,
    metadata_profile: Profile = None,
    alias: Aliases = None,
    storage: StorageName = None,
    allow_type: Types = None,
    scan: Scan = None,
    retention_days: Retention = None,
    undo_days: Undo = None,
    redirect: Redirect = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Create an application; its secret is printed once."""
    given = secret_file.read().strip() if secret_file is not None else None
    with engine_for(config) as engine:
        switches = _changes(
            require_policy=secured,
            required=_kinds(require),
            reported=_kinds(report),
            upload_whitelist=_whitelist(upload_domain, upload_missing),
            delivery_whitelist=_whitelist(delivery_domain, delivery_missing),
            metadata_profile=metadata_profile,
            aliases=_aliases(alias, engine.settings.folders),
            storage=_storage(engine, "", storage),
        ) | _ingest(allow_type, scan, retention_days, undo_days, redirect)
        application, secret = engine.administration.create_application(CLI, name, api_key=api_key, secret=given, **switches)
    _show(application, as_json=as_json, secret=None if given else secret)


@app.command("list")
def list_(config: Config = None, as_json: AsJson = False) -> None:
    """List all applications."""
    with engine_for(config) as engine:
        found = [(described(each), engine.records.count_files(each.api_key)) for each in engine.records.applications()]
    if as_json:
        say_json([dict(values) | {"files": files} for values, files in found])
        return
    rows = [(values["api_key"], values["name"], _security(values), files) for values, files in found]
    say_table(("API key", "name", "security", "files"), rows)


@app.command()
def show(api_key: Key, config: Config = None, as_json: AsJson = False) -> None:
    """Show one application; of its secrets only the last four characters."""
    with engine_for(config) as engine:
        _show(known_application(engine, api_key), as_json=as_json)


@app.command("set")
def set_(
    api_key: Key,
    name: Annotated[str | None, typer.Option(help="A new name.")] = None,
    secured: Secured = None,
    require: Require = None,
    report: Report = None,
    upload_domain: Uploads = None,
    delivery_domain: Deliveries = None,
    upload_missing: UploadMissing = None,
    delivery_missing: DeliveryMissing = None,
    regex: Regex = None,
    unknown_keys: UnknownKeys = None,
    standard_base64: StandardBase64 = None,
    leeway: Leeway = None,
    max_age: MaxAge = None,
    public_cache: Annotated[bool | None, typer.Option(help="Let shared caches keep signed answers.")] = None,
    max_bytes: MaxBytes = None,
    max_pixels: MaxPixels = None,
    max_animation_pixels: MaxAnimationPixels = None,
    max_jobs: MaxJobs = None,
    max_queue: MaxQueue = None,
    max_pages: MaxPages = None,
    max_job_seconds: MaxJobSeconds = None,
    metadata_profile: Profile = None,
    alias: Aliases = None,
    storage: StorageName = None,
    allow_type: Types = None,
    scan: Scan = None,
    retention_days: Retention = None,
    undo_days: Undo = None,
    redirect: Redirect = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given; everything or, when a value is refused, nothing."""
    with engine_for(config) as engine:
        before = known_application(engine, api_key)
        changes = _changes(
            name=name,
            require_policy=secured,
            required=_kinds(require),
            reported=_kinds(report),
            upload_whitelist=_whitelist(upload_domain, upload_missing, before.upload_whitelist),
            delivery_whitelist=_whitelist(delivery_domain, delivery_missing, before.delivery_whitelist),
            regex=regex,
            unknown_keys=unknown_keys,
            standard_base64=standard_base64,
            leeway=leeway,
            max_age=max_age,
            public_cache=public_cache,
            limits=_limits(
                before.limits,
                max_bytes=max_bytes,
                max_pixels=max_pixels,
                max_animation_pixels=max_animation_pixels,
                max_jobs=max_jobs,
                max_queue=max_queue,
                max_pages=max_pages,
                max_job_seconds=max_job_seconds,
            ),
            metadata_profile=metadata_profile,
            aliases=_aliases(alias, engine.settings.folders),
            storage=_storage(engine, api_key, storage),
        ) | _ingest(allow_type, scan, retention_days, undo_days, redirect)
        if not changes:
            raise ConfigurationError("nothing to change: give at least one option")
        _show(engine.administration.change_application(CLI, api_key, **changes), as_json=as_json)


@app.command("report")
def report_(
    api_key: Key,
    clear: Annotated[bool, typer.Option("--clear", help="Begin anew: forget what was counted.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show who would be refused if the kinds of request that are reported were required. Running servers write down what they
    counted every few seconds."""
    with engine_for(config) as engine:
        application = known_application(engine, api_key)
        cleared = engine.reports.clear(api_key) if clear else None
        if clear:
            engine.administration.note(CLI, "reports.clear", application=api_key)
        found = engine.reports.of(api_key)
    if as_json:
        rows = [asdict(one) | {"first": _moment(one.first), "last": _moment(one.last)} for one in found]
        more = {} if cleared is None else {"cleared": cleared}
        kinds = {"required": list(application.required), "reported": list(application.reported)}
        say_json({"api_key": api_key, "require_policy": application.require_policy, **kinds, "would_refuse": rows, **more})
        return
    say("reported", ", ".join(application.reported) or "nothing: choose kinds with `app set --report KIND`")
    if cleared is not None:
        say("cleared", cleared)
    columns = ("kind", "asked from", "requests", "first", "last (UTC)")
    cells = [(one.kind, _asked_from(one), f"{one.count:,}", _moment(one.first), _moment(one.last)) for one in found]
    say_table(columns, cells)


def _asked_from(one: WouldRefuse) -> str:
    return {"": "(no Origin or Referer)", OTHERS: "(other hosts)"}.get(one.who, one.who)


def _moment(ms: int) -> str:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@app.command("revoke-secrets")
def revoke_secrets(api_key: Key, config: Config = None, as_json: AsJson = False) -> None:
    """End the grace of a rotation now: signatures of all secrets but the newest stop working everywhere."""
    with engine_for(config) as engine:
        known_application(engine, api_key)
        application = engine.administration.end_grace(CLI, api_key)
    _show(application, as_json=as_json)


@app.command("rotate-secret")
def rotate_secret(
    api_key: Key,
    grace: Annotated[int, typer.Option(help="Seconds the old secret still verifies, at most 86400. 0 ends it at once.")] = 0,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Regenerate the secret. Signatures made with the old one stop working everywhere, at once or after the grace."""
    with engine_for(config) as engine:
        application, secret = engine.administration.rotate_secret(CLI, api_key, grace=grace)
    _show(application, as_json=as_json, secret=secret)


@app.command()
def delete(
    api_key: Key,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Delete an application with its secrets and all of its files."""
    with engine_for(config) as engine:
        application = known_application(engine, api_key)
        files = engine.records.count_files(api_key)
        if not yes:
            typer.confirm(f"Delete {application.name or api_key} and its {files} files?", abort=True, err=True)
        engine.administration.delete_application(CLI, api_key)
    if as_json:
        say_json({"deleted": api_key, "files": files})
    else:
        say("deleted", f"{api_key} with {files} files")
