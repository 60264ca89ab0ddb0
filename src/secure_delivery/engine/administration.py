"""Changes of applications and of their files, each with an entry in the audit log.

Knows: which change is called what, and what of it may be told. Must not know: HTTP, who may change what, how a change is made.

Everything that people and their programs change goes through here, from the command line as from the portal. The change and its
entry are one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..gate.errors import NotFound
from ..gate.model import Application
from .applications import no_application, settings_of
from .audit import Actor, Audit
from .database import Database
from .files import Files, Upload
from .records import FileLink, Records
from .renditions import Renditions
from .storages import StorageRow, Storages
from .webhook_endpoints import Endpoint, Endpoints


class Administration:
    """The changes. Thread-safe. Every method takes who does it first, and raises what the room it calls raises."""

    def __init__(
        self,
        database: Database,
        audit: Audit,
        records: Records,
        files: Files,
        storages: Storages,
        endpoints: Endpoints,
        renditions: Renditions,
    ) -> None:
        self._database = database
        self._audit = audit
        self._records = records
        self._files = files
        self._storages = storages
        self._endpoints = endpoints
        self._renditions = renditions

    # -- applications

    def create_application(
        self, actor: Actor, name: str, *, api_key: str | None = None, secret: str | None = None, **switches: Any
    ) -> tuple[Application, str]:
        """A new application and the text of its secret: see `Records.create_application`."""
        with self._database.whole():
            made, text = self._records.create_application(name, api_key=api_key, secret=secret, **switches)
            self._note(actor, "application.create", made.api_key, made.name, after=_told(made))
        return made, text

    def change_application(self, actor: Actor, api_key: str, **changes: Any) -> Application:
        """Change the name, switches, whitelists, limits: see `Records.update_application`."""
        with self._database.whole():
            before = self._application(api_key)
            after = self._records.update_application(api_key, **changes)
            self._note(actor, "application.change", api_key, after.name, before=_told(before), after=_told(after))
        return after

    def delete_application(self, actor: Actor, api_key: str) -> None:
        """Delete an application with its secrets and files, and everything made of them: see `Files.remove_application`."""
        with self._database.whole():
            before = self._application(api_key)
            blobs = self._records.delete_application(api_key)
            self._note(actor, "application.delete", api_key, before.name, before=_told(before))
        self._files.forget_application(api_key, blobs)

    # -- secrets

    def rotate_secret(self, actor: Actor, api_key: str, *, grace: int = 0) -> tuple[Application, str]:
        """A new secret, whose text is shown this once: see `Records.rotate_secret`."""
        with self._database.whole():
            before = self._application(api_key)
            after, text = self._records.rotate_secret(api_key, grace=grace)
            self._note(actor, "secret.rotate", api_key, after.name, before=_ring(before), after=_ring(after))
        return after, text

    def end_grace(self, actor: Actor, api_key: str) -> Application:
        """Revoke now what a rotation left in force: see `Records.end_grace`."""
        with self._database.whole():
            before = self._application(api_key)
            after = self._records.end_grace(api_key)
            self._note(actor, "secret.revoke", api_key, after.name, before=_ring(before), after=_ring(after))
        return after

    # -- files. Policies are not asked: who may do this is decided by the role of a person or the scopes of a token.

    def remove_file(self, actor: Actor, api_key: str, handle: str, *, keep_blob: bool = False) -> FileLink:
        """Delete a file, so that it can be restored where the application lets deletions be undone: see `Files.remove`.
        `keep_blob` leaves the object in a storage of the customer's own. Raises `NotFound`."""
        application = self._application(api_key)
        link = self._file(api_key, handle)
        keep = keep_blob and link.storage not in self._files.storages.own
        undo = 0 if keep else application.undo
        noted = self._noted(actor, "file.remove", link, before=_told_file(link), after={"undo": undo, "kept": keep})
        self._files.remove(link, keep_blob=keep, undo=undo, within=noted)
        return link

    def restore_file(self, actor: Actor, api_key: str, handle: str) -> FileLink:
        """Undo a deletion: see `Files.restore`. Raises `NotFound` when it is too late."""
        with self._database.whole():
            link = self._files.restore(self._application(api_key), handle)
            self._note(actor, "file.restore", api_key, handle, after=_told_file(link))
        return link

    def uploaded(self, actor: Actor, link: FileLink) -> None:
        """Have the log tell of a file that somebody has stored just now. The entry follows the file: its handle and what it is
        are known once it is there."""
        self._note(actor, "file.upload", link.application, link.handle, after=_told_file(link))

    def overwrite_file(self, actor: Actor, link: FileLink, upload: Upload) -> FileLink:
        """Put an upload in the place of a file's content: see `Files.overwrite`. Of the new content the entry says size and
        digest."""
        after = {"size": upload.size, "sha256": upload.sha256}
        noted = self._noted(actor, "file.overwrite", link, before={"size": link.size, "sha256": link.sha256}, after=after)
        return self._files.overwrite(link, upload, within=noted)

    def purge_renditions(self, actor: Actor, api_key: str, handle: str) -> int:
        """Drop everything that was made of a file; returns how many results: see `Renditions.purge`. Raises `NotFound`."""
        link = self._file(api_key, handle)
        with self._database.whole():
            count = self._renditions.purge(api_key, handle)
            self._note(actor, "file.purge", api_key, link.handle, after={"results": count})
        return count

    def _file(self, api_key: str, handle: str) -> FileLink:
        """A file that is there, whether scanners have judged it or not. Raises `NotFound`, also for one of somebody else."""
        link = self._files.find(handle, held=True)
        if link.application != api_key:
            raise NotFound("the file belongs to another application")
        return link

    @contextmanager
    def _noted(
        self, actor: Actor, action: str, link: FileLink, *, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> Iterator[None]:
        """A block that changes the row of a file: both it and the entry are written, or neither is."""
        with self._database.whole():
            yield
            self._note(actor, action, link.application, link.handle, before=before, after=after)

    # -- storages

    def add_storage(
        self, actor: Actor, api_key: str, name: str, provider: str, options: Mapping[str, str], *, usual: bool = False
    ) -> StorageRow:
        """Set a storage up, and with `usual` have new files go there: see `Storages.add`."""
        with self._database.whole():
            row = self._storages.add(api_key, name, provider, options)
            self._note(actor, "storage.add", api_key, name, after=_storage(row))
            if usual:
                self.change_application(actor, api_key, storage=name)
        return row

    def change_storage(self, actor: Actor, api_key: str, name: str, options: Mapping[str, str]) -> StorageRow:
        """Give a storage other options: see `Storages.change`. Of secrets the entry says only which were given."""
        with self._database.whole():
            before = self._storages.named(api_key, name)
            row = self._storages.change(api_key, name, options)
            given = {"given": sorted(options)}
            self._note(actor, "storage.change", api_key, name, before=_storage(before), after=_storage(row) | given)
        return row

    def remove_storage(self, actor: Actor, api_key: str, name: str) -> None:
        """Forget a storage with its credentials, also as the one that new files go to: see `Storages.remove`."""
        with self._database.whole():
            row = self._storages.named(api_key, name)
            self._storages.remove(api_key, name)
            self._note(actor, "storage.remove", api_key, name, before=_storage(row))
            if self._application(api_key).storage == name:
                self.change_application(actor, api_key, storage="")

    # -- webhooks

    def add_webhook(
        self,
        actor: Actor,
        api_key: str,
        url: str,
        *,
        events: Iterable[str] = (),
        secret: str | None = None,
        active: bool = True,
    ) -> tuple[Endpoint, str]:
        """A new endpoint and the text of its secret: see `Endpoints.add`."""
        with self._database.whole():
            made, text = self._endpoints.add(api_key, url, events=events, secret=secret, active=active)
            self._note(actor, "webhook.add", api_key, made.id, after=_webhook(made))
        return made, text

    def change_webhook(
        self,
        actor: Actor,
        api_key: str,
        webhook: str,
        *,
        url: str | None = None,
        events: Iterable[str] | None = None,
        active: bool | None = None,
    ) -> Endpoint:
        """Change an endpoint: see `Endpoints.change`."""
        with self._database.whole():
            before = self._endpoints.get(api_key, webhook)
            after = self._endpoints.change(api_key, webhook, url=url, events=events, active=active)
            self._note(actor, "webhook.change", api_key, webhook, before=_webhook(before), after=_webhook(after))
        return after

    def rotate_webhook(
        self, actor: Actor, api_key: str, webhook: str, *, grace: int = 86_400, secret: str | None = None
    ) -> tuple[Endpoint, str]:
        """A new secret of an endpoint, whose text is shown this once: see `Endpoints.rotate`."""
        with self._database.whole():
            after, text = self._endpoints.rotate(api_key, webhook, grace=grace, secret=secret)
            self._note(actor, "webhook.rotate", api_key, webhook, after={"grace": grace, "until": after.until})
        return after, text

    def remove_webhook(self, actor: Actor, api_key: str, webhook: str) -> None:
        """Forget an endpoint with its secrets and its log: see `Endpoints.remove`."""
        with self._database.whole():
            before = self._endpoints.get(api_key, webhook)
            self._endpoints.remove(api_key, webhook)
            self._note(actor, "webhook.remove", api_key, webhook, before=_webhook(before))

    def note(
        self,
        actor: Actor,
        action: str,
        *,
        application: str | None = None,
        subject: str = "",
        after: Mapping[str, Any] | None = None,
    ) -> None:
        """Have the log tell of what was done to an application or the whole service and changed no row of its own."""
        self._note(actor, action, application, subject, after=after)

    # -- helpers

    def _application(self, api_key: str) -> Application:
        found = self._records.application(api_key)
        if found is None:
            raise no_application()
        return found

    def _note(
        self,
        actor: Actor,
        action: str,
        application: str | None,
        subject: str,
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        with self._database.write() as connection:
            self._audit.write(connection, actor, action, subject=subject, application=application, before=before, after=after)


def _told(application: Application) -> dict[str, Any]:
    """An application without its secrets. What its settings call a secret is left out by the log."""
    return {"name": application.name, **settings_of(application)}


def _told_file(link: FileLink) -> dict[str, Any]:
    """A file in the words of answers: which one it was, once it is gone."""
    return {"filename": link.filename, "type": link.mimetype, "size": link.size}


def _ring(application: Application) -> dict[str, Any]:
    """The secrets of an application, by their ids."""
    ring = application.secrets.secrets
    return {"ring": [{"id": each.id, "state": each.state.value, "until": each.until} for each in ring]}


def _storage(row: StorageRow) -> dict[str, Any]:
    return {"provider": row.provider, "options": dict(row.options), "sealed_options": len(row.secrets)}


def _webhook(endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint; of its address only scheme, host and path, because queries hold credentials."""
    where = endpoint.url.partition("#")[0].partition("?")
    return {"url": where[0] + ("?…" if where[1] else ""), "events": list(endpoint.events), "state": endpoint.state}
