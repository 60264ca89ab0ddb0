"""Applications and their secrets at rest.

Knows: how an application becomes rows and rows become an application; that secrets are sealed; when a remembered
application is out of date.
Must not know: HTTP, who may change an application, what its switches mean.

A remembered application counts only as long as `Database.generation()` stands still, so a rotation, a switch or a
deletion is effective at once in every process (security promise 6).
"""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Callable, Iterable
from dataclasses import asdict, fields, replace
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from ..gate.errors import BadRequest, ConfigurationError, NotFound
from ..gate.model import Application, Limits, Secret, SecretRing, SecretState, new_secret
from ..gate.whitelist import Whitelist
from . import tables
from .database import Database, check_text
from .vault import Place, Vault, key_of

Clock = Callable[[], float]  # seconds since the epoch, like time.time

_ALPHANUMERIC = string.ascii_letters + string.digits
_API_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_REMEMBERED = 1024  # applications per process; beyond it the memory starts anew
_OWN_COLUMNS = frozenset({"api_key", "name", "secrets"})  # everything else of an application is in `settings`
_WHITELISTS = frozenset({"upload_whitelist", "delivery_whitelist"})
_TUPLES = frozenset({"required", "reported", "allowed_types"})  # lists in JSON


class Blob(NamedTuple):
    """Bytes in a storage that no row refers to any more: the caller deletes them."""

    storage: str
    key: str


def new_api_key() -> str:
    """A public identifier in the shape that official clients know: `A`, 20 letters or digits, `z`."""
    return f"A{random_text(20)}z"


def random_text(length: int) -> str:
    """`length` letters or digits from the system source; 5.95 bits each."""
    return "".join(secrets.choice(_ALPHANUMERIC) for _ in range(length))


def no_application() -> NotFound:
    """The fault for an application that does not exist, or not any more."""
    return NotFound("no such application", public="There is no such application.")


class Applications:
    """Creates, finds, changes and deletes applications. Thread-safe; one per process is enough.

    `clock` gives seconds since the epoch. Callers see `Application` objects, never rows or sealed texts.
    """

    def __init__(self, database: Database, vault: Vault, clock: Clock) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._remembered: dict[str, tuple[object, Application]] = {}

    def create_application(
        self, name: str, *, api_key: str | None = None, secret: str | None = None, **switches: Any
    ) -> tuple[Application, str]:
        """A new application and the text of its secret, which is shown this once (security promises 4 and 60).

        Without `secret` one of 256 bits is made. `switches` are the fields of `Application`. Raises
        `ConfigurationError` for an empty or weak secret, `BadRequest` for an API key that is malformed or taken,
        `TypeError` for a switch that does not exist.
        """
        text = new_secret() if secret is None else secret
        key = new_api_key() if api_key is None else api_key
        if not _API_KEY.fullmatch(key):
            raise BadRequest(public="An API key is 1 to 64 letters, digits, _ or -.")
        check_text(name)
        ring = SecretRing(secrets=(_fresh(text),))
        application = Application(secrets=ring, api_key=key, name=name, **switches)
        try:
            with self._database.write() as connection:
                row = {"api_key": key, "name": name, "settings": settings_of(application), "created": self._now_ms()}
                connection.execute(sa.insert(tables.application).values(**row))
                self._save_ring(connection, key, ring)
                self._database.bump(connection)
        except IntegrityError:
            raise BadRequest("API key in use", public="This API key is taken.") from None
        return application, text

    def application(self, api_key: str) -> Application | None:
        """The application as it is at this moment, or None. Raises `VaultError` when its secrets cannot be opened."""
        token = self._database.generation()  # before reading: a change in between makes the next call read again
        known = self._remembered.get(api_key)
        if known is not None and known[0] == token:
            return known[1]
        if not _API_KEY.fullmatch(api_key):
            return None
        with self._database.read() as connection:
            application = self._load(connection, api_key)
        if application is None:
            self._remembered.pop(api_key, None)
            return None
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[api_key] = (token, application)
        return application

    def applications(self) -> list[Application]:
        """All applications, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(tables.application).order_by(tables.application.c.created, tables.application.c.api_key)
            ).all()
            return [self._build(row, self._rows_of_ring(connection, row.api_key)) for row in rows]

    def applications_page(self, *, text: str = "", after: str = "", limit: int = 50) -> tuple[list[Application], str]:
        """A page of applications, newest first, and what the next call gives as `after`: nothing at the end.

        `text` is a part of the name, in whatever case, or the beginning of an API key. Raises `BadRequest` for an `after` that
        no call gave.
        """
        columns, wanted = tables.application.c, text.casefold()
        query = sa.select(columns.api_key, columns.name, columns.created)
        if after:
            created, dot, key = after.partition(".")
            if not (dot and created.isascii() and created.isdigit() and len(created) < 16 and _API_KEY.fullmatch(key)):
                raise BadRequest(public="There is no such page.")
            query = query.where(sa.tuple_(columns.created, columns.api_key) < sa.tuple_(int(created), key))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(columns.created.desc(), columns.api_key.desc())).all()
            found = [row for row in rows if wanted in row.name.casefold() or row.api_key.startswith(text)]
            page = [each for row in found[:limit] if (each := self._load(connection, row.api_key)) is not None]
        last = found[limit - 1] if len(found) > limit else None
        return page, "" if last is None else f"{last.created}.{last.api_key}"

    def update_application(self, api_key: str, **changes: Any) -> Application:
        """Change the name or switches, named as in `Application`; all of them or, when one is refused, none.

        Raises `NotFound`, `ConfigurationError` for values that an application cannot have, and `TypeError` for the API
        key, the secrets (see `rotate_secret`) and unknown names.
        """
        if not changes.keys().isdisjoint({"api_key", "secrets"}):
            raise TypeError("the API key stays, and secrets are rotated")
        with self._database.write() as connection:
            application = replace(self._locked(connection, api_key), **changes)
            check_text(application.name)
            connection.execute(
                sa.update(tables.application)
                .where(tables.application.c.api_key == api_key)
                .values(name=application.name, settings=settings_of(application))
            )
            self._database.bump(connection)
        return application

    def rotate_secret(self, api_key: str, *, grace: int = 0) -> tuple[Application, str]:
        """A new secret of 256 bits; returns the application and the secret's text, shown this once.

        Older secrets stop counting everywhere when this returns, or after `grace` seconds, at most 86,400 (security
        promise 6). Raises `NotFound`, and `ConfigurationError` for a longer grace period.
        """
        text = new_secret()
        with self._database.write() as connection:
            application = self._locked(connection, api_key)
            ring = application.secrets.rotated(_fresh(text), now=self._clock(), grace=grace)
            self._save_ring(connection, api_key, ring)
            self._database.bump(connection)
        return replace(application, secrets=ring), text

    def end_grace(self, api_key: str) -> Application:
        """Revoke now what a rotation left in force for a while. Raises `NotFound`."""
        with self._database.write() as connection:
            application = self._locked(connection, api_key)
            active = tuple(secret for secret in application.secrets.secrets if secret.state is SecretState.ACTIVE)
            ring = replace(application.secrets, secrets=active)
            self._save_ring(connection, api_key, ring)
            self._database.bump(connection)
        return replace(application, secrets=ring)

    def delete_application(self, api_key: str) -> list[Blob]:
        """Delete an application with its secrets, storages and files; returns the stored bytes to delete.

        What lies in storages of its own stays there: it is the customer's, and the credentials go with this.
        Raises `NotFound`. Nothing can be added to the application while or after this runs.
        """
        file, storage = tables.file, tables.storage
        theirs = sa.select(storage.c.id).where(storage.c.application == api_key)
        owned = sa.select(file.c.storage, file.c.key).distinct()
        owned = owned.where(file.c.application == api_key, file.c.storage.not_in(theirs))
        with self._database.write() as connection:
            self._lock(connection, api_key)
            blobs = [Blob(*row) for row in connection.execute(owned)]
            connection.execute(sa.insert(tables.blob_to_delete).from_select(["storage", "key"], owned))
            connection.execute(sa.delete(tables.application).where(tables.application.c.api_key == api_key))
            self._database.bump(connection)
            self._database.bump(connection, "files")
        return blobs

    def secret_dates(self, api_key: str) -> dict[str, int]:
        """When each secret of an application was made, by its id, in ms since the epoch."""
        secret = tables.application_secret
        query = sa.select(secret.c.id, secret.c.created).where(secret.c.application == api_key)
        with self._database.read() as connection:
            return {row.id: row.created for row in connection.execute(query)}

    def sealed_secrets(self) -> int:
        """How many secrets are sealed."""
        with self._database.read() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(tables.application_secret)).scalar_one()

    def sealing_keys(self) -> set[str]:
        """The ids of the master keys that secrets are sealed under."""
        with self._database.read() as connection:
            return {key_of(text) for text in connection.execute(sa.select(tables.application_secret.c.sealed)).scalars()}

    def rewrap_secrets(self, progress: Callable[[], object] | None = None) -> int:
        """Bring every secret under the current master key; returns how many had to be changed (security promise 58).

        Works row by row beside a running service, and can be interrupted and repeated. When it returns, older master
        keys are needed for nothing that these tables hold. `progress` is called after each. Raises `VaultError` for a secret
        that does not open.
        """
        secret = tables.application_secret
        changed = 0
        with self._database.read() as connection:
            rows = connection.execute(sa.select(secret.c.application, secret.c.id, secret.c.sealed)).all()
        for row in rows:
            sealed = self._vault.rewrap(row.sealed, place=_place(row.application, row.id))
            if sealed != row.sealed:
                same = (secret.c.application == row.application, secret.c.id == row.id, secret.c.sealed == row.sealed)
                with self._database.write() as connection:  # a row that was deleted meanwhile needs nothing
                    changed += connection.execute(sa.update(secret).where(*same).values(sealed=sealed)).rowcount
            if progress is not None:
                progress()
        return changed

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _lock(self, connection: Connection, api_key: str) -> sa.Row[Any]:
        query = sa.select(tables.application).where(tables.application.c.api_key == api_key).with_for_update()
        row = connection.execute(query).one_or_none()
        if row is None:
            raise no_application()
        return row

    def _locked(self, connection: Connection, api_key: str) -> Application:
        return self._build(self._lock(connection, api_key), self._rows_of_ring(connection, api_key))

    def _load(self, connection: Connection, api_key: str) -> Application | None:
        query = sa.select(tables.application).where(tables.application.c.api_key == api_key)
        row = connection.execute(query).one_or_none()
        return None if row is None else self._build(row, self._rows_of_ring(connection, api_key))

    def _rows_of_ring(self, connection: Connection, api_key: str) -> Iterable[sa.Row[Any]]:
        secret = tables.application_secret
        return connection.execute(
            sa.select(secret).where(secret.c.application == api_key).order_by(secret.c.number.desc())
        ).all()

    def _build(self, row: sa.Row[Any], ring: Iterable[sa.Row[Any]]) -> Application:
        opened = (
            Secret(
                value=self._vault.open(each.sealed, place=_place(row.api_key, each.id)),
                id=each.id,
                state=SecretState(each.state),
                until=each.until,
            )
            for each in ring
        )
        switches = _switches(row.settings)
        return Application(secrets=SecretRing(secrets=tuple(opened)), api_key=row.api_key, name=row.name, **switches)

    def _save_ring(self, connection: Connection, api_key: str, ring: SecretRing) -> None:
        """Make the rows say what `ring` says. What left the ring is deleted, not marked: nobody needs it again."""
        secret = tables.application_secret
        mine = secret.c.application == api_key
        rows = connection.execute(sa.select(secret.c.id, secret.c.number).where(mine)).all()
        known = {row.id: row.number for row in rows}
        connection.execute(sa.delete(secret).where(mine, secret.c.id.not_in([each.id for each in ring.secrets])))
        number = max(known.values(), default=0)
        for each in reversed(ring.secrets):  # oldest first, so that the newest gets the highest number
            state = {"state": each.state.value, "until": each.until}
            if each.id in known:
                connection.execute(sa.update(secret).where(mine, secret.c.id == each.id).values(**state))
                continue
            number += 1
            sealed = self._vault.seal(each.value, place=_place(api_key, each.id))
            row = {"application": api_key, "id": each.id, "number": number, "sealed": sealed, "created": self._now_ms()}
            connection.execute(sa.insert(secret).values(**row, **state))


def _fresh(text: str) -> Secret:
    return Secret(value=text.encode(), id=random_text(12))


def _place(api_key: str, secret_id: str) -> Place:
    return Place(table="application_secret", row=secret_id, field="sealed", application=api_key)


def settings_of(application: Application) -> dict[str, Any]:
    """The switches, whitelists and limits as JSON values, under the names that `Application` gives them."""
    settings: dict[str, Any] = {}
    for field in fields(Application):
        if field.name in _OWN_COLUMNS:
            continue
        value = getattr(application, field.name)
        if isinstance(value, Whitelist):
            value = {"patterns": list(value.patterns), "missing": value.missing}
        elif isinstance(value, Limits):
            value = asdict(value)
        settings[field.name] = value
    return settings


def _switches(settings: dict[str, Any]) -> dict[str, Any]:
    """The inverse of `settings_of`. A name nobody here knows was a restriction to somebody: it is refused, not skipped.

    Names that are missing, because the row is older than the switch, take the default. Raises `ConfigurationError`.
    """
    if unknown := settings.keys() - {field.name for field in fields(Application)} | settings.keys() & _OWN_COLUMNS:
        raise ConfigurationError(f"an application was stored by a newer release: unknown settings {sorted(unknown)}")
    switches = dict(settings)
    for name in _WHITELISTS & switches.keys():
        if (stored := switches[name]) is not None:
            switches[name] = Whitelist(stored["patterns"], missing=stored["missing"])
    for name in _TUPLES & switches.keys():
        switches[name] = tuple(switches[name])
    if "limits" in switches:
        switches["limits"] = Limits(**switches["limits"])
    return switches
