"""Where files go and where they are: the server's own storages, and those of applications with the credentials of their owners.

Knows: rows of storages, the vault, providers of the registry, the guard of the way out. Must not know: HTTP, files, policies.

A storage of an application is a row; what opens it is sealed for exactly that row. An object is made of it when it is first
needed, and kept until any process changes an application or a storage.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from ..gate.errors import BadRequest, ConfigurationError, NotFound, SourceFault, StorageFault
from ..gate.model import Application
from ..plugin.params import REQUIRED, Param
from ..plugin.protocols import Placing, Storage, StorageProvider
from ..plugin.straight import is_near
from . import tables
from .applications import Clock, no_application, random_text
from .database import Database
from .names import effective_path
from .outbound import AddressRefused, OutboundGuard, Target
from .vault import Place, Vault, key_of

SERVER = "server"  # what an application calls the server's own storage when it is to be kept there for good
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_RESERVED = frozenset({SERVER, "default"})
#: What clients call a storage when they do not know better: the documentation's default.
_ANY = "s3"


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageRow:
    """A storage of an application. `options` are those that are no secret; `secrets` names the others that are set."""

    id: str
    application: str
    name: str
    provider: str
    options: Mapping[str, Any]
    secrets: tuple[str, ...] = ()
    created: int = 0
    sealed: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Where a new file goes: the storage by the name that records know, and what of the place is decided.

    `container` is the effective one, as policies see it. `development` says that it is only lent (quota, end, notice).
    """

    storage: str
    container: str
    path: str | None
    development: bool = False
    placing: bool = False


class Storages:
    """All storages. Thread-safe. `own` are the server's by name, `default` the one of them that new files go to."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        clock: Clock,
        *,
        own: Mapping[str, Storage],
        providers: Mapping[str, StorageProvider],
        default: str,
        guard: OutboundGuard,
    ) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self.own = own
        self.providers = providers
        self.default = default
        self._guard = guard
        self._made: dict[str, tuple[object, Storage]] = {}
        self._listed: dict[str, tuple[object, tuple[StorageRow, ...]]] = {}

    # -- finding

    def get(self, name: str) -> Storage:
        """The storage that a record names. Raises `StorageFault` when its plugin or its row is gone."""
        own = self.own.get(name)
        if own is not None:
            return own
        token = self._database.generation()
        known = self._made.get(name)
        if known is not None and known[0] == token:
            return known[1]
        row = self._row(tables.storage.c.id == name)
        if row is None:
            raise StorageFault(f"no installed plugin provides the storage {name!r}, and no application has it")
        made = self.connect(row)
        if len(self._made) >= 256:
            self._made.clear()
        self._made[name] = (token, made)
        return made

    def connect(self, row: StorageRow) -> Storage:
        """A storage object of a row. Raises `StorageFault` when its plugin is gone, `VaultError` for credentials that do not
        open, `ConfigurationError` for options that its provider no longer takes."""
        provider = self.providers.get(row.provider)
        if provider is None:
            raise StorageFault(f"no installed plugin provides storages of the kind {row.provider!r}")
        secrets = {} if row.sealed is None else json.loads(self._vault.open(row.sealed, place=_place(row)))
        options = _bound(row.provider, provider, {**row.options, **secrets})
        try:
            return provider.connect(options, self._dial_near if options.get("insecure") else self._dial)
        except ValueError as error:
            raise ConfigurationError(f"storage {row.name!r}: {error}") from None

    def of(self, application: str) -> tuple[StorageRow, ...]:
        """The storages of an application, oldest first."""
        token = self._database.generation()
        known = self._listed.get(application)
        if known is not None and known[0] == token:
            return known[1]
        query = sa.select(tables.storage).where(tables.storage.c.application == application)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(tables.storage.c.created, tables.storage.c.id)).all()
        found = tuple(_read(row) for row in rows)
        if len(self._listed) >= 1024:
            self._listed.clear()
        self._listed[application] = (token, found)
        return found

    def named(self, application: str, name: str) -> StorageRow:
        """A storage of an application by its name. Raises `NotFound`."""
        for row in self.of(application):
            if row.name == name:
                return row
        raise NotFound(f"no storage {name!r}", public="This application has no such storage.")

    def name_of(self, storage: str) -> str:
        """What the owner of a storage calls it, for answers: ids are nobody's business."""
        if storage in self.own:
            return storage
        row = self._row(tables.storage.c.id == storage)
        return storage if row is None else row.name

    def kind_of(self, storage: str) -> str:
        """The provider of a storage, as clients call it; for one of the server's own, its name."""
        if storage in self.own:
            return storage
        row = self._row(tables.storage.c.id == storage)
        return storage if row is None else row.provider

    def is_lent(self, application: Application, storage: str) -> bool:
        """Whether files of an application in this storage are only lent a place there."""
        return storage in self.own and application.storage != SERVER

    def is_placing(self, storage: str) -> bool:
        """Whether keys in this storage are what customers asked for."""
        return isinstance(self.get(storage), Placing)

    def room(self, application: Application, wanted: str | None, container: str | None, path: str | None) -> Room:
        """Where a file goes that asks for this provider or storage, container and path.

        `wanted` may be the name of one of the application's storages or the kind of one; `s3` means any where there is none of
        that kind. Raises `BadRequest` for one that is not set up, and for a container that the storage does not have.
        """
        name = (wanted or "").lower()
        rows = self.of(application.api_key)
        row = self._chosen(application, rows, name)
        if row is None:
            return self._lent(application, container, path)
        return self._in(row, container, path)

    def place(self, application: Application, name: str, path: str | None) -> Room:
        """Where a file goes that is moved to one of the application's storages, or to the server's own. Raises `NotFound`."""
        if name in (SERVER, self.default):
            return self._lent(application, None, path)
        return self._in(self.named(application.api_key, name), None, path)

    def _in(self, row: StorageRow, container: str | None, path: str | None) -> Room:
        storage = self.get(row.id)
        path = path or row.options.get("path")
        if not isinstance(storage, Placing):
            return Room(storage=row.id, container=container or row.name, path=path)
        if container is not None and container not in storage.containers:
            raise BadRequest(
                f"storage {row.name!r} has no container {container[:80]!r}", public="This storage has no such container."
            )
        return Room(storage=row.id, container=container or storage.containers[0], path=path, placing=True)

    def _chosen(self, application: Application, rows: tuple[StorageRow, ...], name: str) -> StorageRow | None:
        """The row that is meant; None for the server's own."""
        usual = next((row for row in rows if row.name == application.storage), None)
        if name == "":
            return usual
        found = next((row for row in rows if row.name == name), None)
        found = found or (usual if usual is not None and usual.provider == name else None)
        found = found or next((row for row in rows if row.provider == name), None)
        if found is not None:
            return found
        if name == _ANY:
            return usual
        if name in (SERVER, self.default) and usual is None:
            return None
        if name in self.providers or name in self.own:
            raise BadRequest(f"storage {name!r} is not configured", public="This storage provider is not configured.")
        raise BadRequest(f"no storage provider {name[:80]!r}", public="This storage provider is not configured.")

    def _lent(self, application: Application, container: str | None, path: str | None) -> Room:
        development = application.storage != SERVER
        return Room(storage=self.default, container=container or self.default, path=path, development=development)

    # -- changing

    def add(self, application: str, name: str, provider: str, options: Mapping[str, str]) -> StorageRow:
        """Set a storage up. `options` are texts, by the names of the provider's params; secrets among them are sealed.

        Raises `ConfigurationError` for a name that is none or taken, a provider that is not installed and options that do not
        fit, `NotFound` without the application.
        """
        if not _NAME.fullmatch(name) or name in _RESERVED or name in self.own:
            raise ConfigurationError(f"a storage is called by lower-case letters, digits, - and _, and not {name!r}")
        plugin = self._provider(provider)
        row = StorageRow(
            id=f"st_{random_text(20)}", application=application, name=name, provider=provider, options={}, created=self._now()
        )
        row, values = self._filled(row, plugin, options)
        try:
            with self._database.write() as connection:
                connection.execute(sa.insert(tables.storage).values(**values))
                self._database.bump(connection)
        except IntegrityError:
            if self._exists(application):
                raise ConfigurationError(f"there is a storage {name!r} already") from None
            raise no_application() from None
        return row

    def change(self, application: str, name: str, options: Mapping[str, str]) -> StorageRow:
        """Give a storage other options; those not named stay, an empty text clears one. Raises like `add`, and `NotFound`."""
        row = self.named(application, name)
        sealed = {} if row.sealed is None else json.loads(self._vault.open(row.sealed, place=_place(row)))
        merged = {**row.options, **sealed, **options}
        kept = {key: value for key, value in merged.items() if value != ""}
        row, values = self._filled(row, self._provider(row.provider), kept)
        with self._database.write() as connection:
            connection.execute(sa.update(tables.storage).where(tables.storage.c.id == row.id).values(**values))
            self._database.bump(connection)
        return row

    def remove(self, application: str, name: str) -> None:
        """Forget a storage with its credentials. Raises `NotFound`, and `ConfigurationError` while files are in it. Objects
        that could not be deleted so far stay: nobody will be able to."""
        row = self.named(application, name)
        inside = sa.select(tables.file.c.handle).where(tables.file.c.storage == row.id).limit(1)
        with self._database.write() as connection:
            if connection.execute(inside).first() is not None:
                raise ConfigurationError(f"files are in the storage {name!r}: move or delete them first")
            connection.execute(sa.delete(tables.blob_to_delete).where(tables.blob_to_delete.c.storage == row.id))
            connection.execute(sa.delete(tables.storage).where(tables.storage.c.id == row.id))
            self._database.bump(connection)

    def rewrap(self, progress: Any = None) -> int:
        """Bring every sealed credential under the current master key; returns how many had to be changed. Can be interrupted
        anywhere and repeated (security promise 58). `progress` is called after each."""
        storage, changed = tables.storage, 0
        with self._database.read() as connection:
            rows = [_read(row) for row in connection.execute(sa.select(storage).where(storage.c.sealed.is_not(None)))]
        for row in rows:
            sealed = self._vault.rewrap(row.sealed or "", place=_place(row))
            if sealed != row.sealed:
                same = (storage.c.id == row.id, storage.c.sealed == row.sealed)
                with self._database.write() as connection:  # a row that was deleted or changed meanwhile needs nothing
                    changed += connection.execute(sa.update(storage).where(*same).values(sealed=sealed)).rowcount
            if progress is not None:
                progress()
        return changed

    def sealing_keys(self) -> set[str]:
        """The ids of the master keys that credentials are sealed under."""
        with self._database.read() as connection:
            texts = connection.execute(sa.select(tables.storage.c.sealed).where(tables.storage.c.sealed.is_not(None)))
            return {key_of(text) for text in texts.scalars() if text is not None}

    def sealed(self) -> int:
        """How many sealed credentials there are."""
        query = sa.select(sa.func.count()).select_from(tables.storage).where(tables.storage.c.sealed.is_not(None))
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()

    def _provider(self, name: str) -> StorageProvider:
        if name not in self.providers:
            known = ", ".join(sorted(self.providers)) or "none"
            raise ConfigurationError(f"no installed plugin provides storages of the kind {name!r}; there are: {known}")
        return self.providers[name]

    def _filled(
        self, row: StorageRow, provider: StorageProvider, options: Mapping[str, Any]
    ) -> tuple[StorageRow, dict[str, Any]]:
        """A row with its options checked and its secrets sealed, and the columns to write."""
        spelled = {alias: param.name for param in provider.params for alias in param.aliases}
        given = {spelled.get(name, name): str(value) for name, value in options.items()}
        bound = _bound(row.provider, provider, given)
        try:
            effective_path(given.get("path"))
        except BadRequest as fault:
            raise ConfigurationError(f"{row.provider}: path: {fault.public}") from None
        try:
            provider.connect(bound, self._dial)
        except ValueError as error:
            raise ConfigurationError(f"storage {row.name!r}: {error}") from None
        secrets = {name: value for name, value in given.items() if name in provider.secrets}
        plain = {name: value for name, value in given.items() if name not in provider.secrets}
        sealed = self._vault.seal(json.dumps(secrets).encode(), place=_place(row)) if secrets else None
        made = StorageRow(
            id=row.id,
            application=row.application,
            name=row.name,
            provider=row.provider,
            options=plain,
            secrets=tuple(sorted(secrets)),
            created=row.created,
            sealed=sealed,
        )
        values = {
            "id": made.id,
            "application": made.application,
            "name": made.name,
            "provider": made.provider,
            "options": {**plain, "secrets": sorted(secrets)},
            "sealed": sealed,
            "created": made.created,
        }
        return made, values

    def _row(self, where: sa.ColumnElement[bool]) -> StorageRow | None:
        with self._database.read() as connection:
            row = connection.execute(sa.select(tables.storage).where(where)).one_or_none()
        return None if row is None else _read(row)

    def _exists(self, application: str) -> bool:
        query = sa.select(tables.application.c.api_key).where(tables.application.c.api_key == application)
        with self._database.read() as connection:
            return connection.execute(query).one_or_none() is not None

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _dial_near(self, host: str, port: int, seconds: float) -> socket.socket:
        """The same for a storage that is set `insecure`: it may be on this machine, and on no other (security promise 69)."""
        connection = self._dial(host, port, seconds)
        if is_near(connection.getpeername()[0]):
            return connection
        connection.close()
        raise PermissionError("a storage that is set insecure may only be on this machine")

    def _dial(self, host: str, port: int, seconds: float) -> socket.socket:
        """A connection for a storage plugin, to an address that was checked (security promises 33 to 38).

        Raises `PermissionError` for an address that may not be connected to, another `OSError` for what may pass.
        """
        ends = self._guard.clock() + seconds
        target = Target(scheme="https", host=host.lower(), port=port, resource="/", address=None)
        if not self._guard.allow_list.opens(port):
            raise PermissionError(f"port {port} is not one that storages may use")
        try:
            addresses = self._guard.admit(target, ends=ends)
        except AddressRefused as fault:
            raise PermissionError(str(fault)) from None
        except SourceFault as fault:  # no answer from the name server
            raise ConnectionError(str(fault)) from None
        try:
            return self._guard.dial(target, addresses, ends=ends)
        except SourceFault as fault:
            raise ConnectionRefusedError(str(fault)) from None


def _place(row: StorageRow) -> Place:
    return Place(table="storage", row=row.id, field="sealed", application=row.application)


def _read(row: sa.Row[Any]) -> StorageRow:
    options = dict(row.options)
    secrets = tuple(options.pop("secrets", ()))
    return StorageRow(
        id=row.id,
        application=row.application,
        name=row.name,
        provider=row.provider,
        options=options,
        secrets=secrets,
        created=row.created,
        sealed=row.sealed,
    )


#: Options that every storage of an application has, besides those of its provider.
COMMON = frozenset({"path"})


def _bound(kind: str, provider: StorageProvider, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every param of a provider with its value. Raises `ConfigurationError` naming the option; never shows a secret's value."""
    params: dict[str, Param] = {name: param for param in provider.params for name in (param.name, *param.aliases)}
    values: dict[str, Any] = {}
    for name, text in given.items():
        if name in COMMON:
            continue
        if name not in params:
            known = ", ".join(sorted(param.name for param in provider.params))
            raise ConfigurationError(f"{kind} knows no option {name!r}; it knows {known}")
        try:
            values[params[name].name] = params[name].kind.read(text)
        except ValueError:
            raise ConfigurationError(f"{kind}: {name} is {params[name].kind.allowed}") from None
    for param in provider.params:
        if param.name not in values and param.default is REQUIRED:
            raise ConfigurationError(f"{kind}: {param.name} is needed")
        values.setdefault(param.name, param.default)
    return values
