"""The tables, and why each column exists.

Knows: names, types, keys. Must not know: queries, connections, what the values are used for.

Security promise 82: the database holds name, size, type and statistics of a file and nothing of its content. So a
column cannot be declared here without its reason, and a test compares the reasons with a freshly migrated database.
Texts have no declared length, because SQLite would ignore it and PostgreSQL would not; times are whole numbers, because
SQLite has no type for them. A change here needs a new step in `migrations/versions`; a test compares the two.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={  # constraints need the same names in both databases to be alterable by a migration
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def column(name: str, kind: Any, *constraints: Any, reason: str, nullable: bool = False, **options: Any) -> sa.Column[Any]:
    """A column with the reason for which it may exist, kept in `info["reason"]`; not null unless asked for."""
    if not reason.strip():
        raise ValueError(f"column {name} has no reason")
    return sa.Column(name, kind, *constraints, nullable=nullable, info={"reason": reason}, **options)


def _owner(**options: Any) -> sa.Column[Any]:
    return column(
        "application",
        sa.Text,
        sa.ForeignKey("application.api_key", ondelete="CASCADE"),
        reason="owner; every access names it, and the row goes when the owner goes",
        **options,
    )


generation = sa.Table(
    "generation",
    metadata,
    column(
        "name",
        sa.Text,
        sa.CheckConstraint("name IN ('applications', 'files')", name="known"),
        reason="what the row counts changes of",
        primary_key=True,
    ),
    column("value", sa.BigInteger, reason="grows with each change, so that every process sees it at once"),
)

application = sa.Table(
    "application",
    metadata,
    column("api_key", sa.Text, reason="public identifier of the application", primary_key=True),
    column("name", sa.Text, reason="what its owner calls it"),
    column("settings", sa.JSON, reason="switches, whitelists and limits: read and written as a whole, never searched by"),
    column("created", sa.BigInteger, reason="milliseconds since the epoch; order of the list of applications"),
)

application_secret = sa.Table(
    "application_secret",
    metadata,
    _owner(primary_key=True),
    column("id", sa.Text, reason="names the secret in lists and binds the sealed value to this row", primary_key=True),
    column("number", sa.BigInteger, reason="order of the ring, highest is newest; times can be equal"),
    column("sealed", sa.Text, reason="the secret, encrypted by the vault for exactly this row"),
    column("state", sa.Text, reason="active, verify_only or revoked"),
    column("until", sa.BigInteger, nullable=True, reason="seconds since the epoch; end of a grace period"),
    column("created", sa.BigInteger, reason="milliseconds since the epoch; age of the secret, shown to its owner"),
    sa.UniqueConstraint("application", "number"),
)

#: A text that files are ordered by: byte by byte, whatever the language of a PostgreSQL database, as SQLite does.
_ordered = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

file = sa.Table(
    "file",
    metadata,
    column("handle", _ordered, reason="public identifier of the file, random", primary_key=True),
    _owner(),
    column("filename", _ordered, reason="name given by the uploader, sent back on download"),
    column("mimetype", _ordered, reason="type found by content, sent on download"),
    column("size", sa.BigInteger, reason="bytes; sent on download, judged by policies and limits"),
    column("storage", sa.Text, reason="name of the storage that holds the bytes"),
    column("key", sa.Text, reason="where the bytes are in that storage"),
    column("container", sa.Text, nullable=True, reason="container asked for at upload; judged by policies"),
    column("path", sa.Text, nullable=True, reason="path asked for at upload; judged by policies"),
    column("sha256", sa.Text, reason="digest in hex; names results and entity tags, finds damage"),
    column("uploaded", sa.BigInteger, reason="milliseconds since the epoch; shown as metadata, order of lists"),
    column("version", sa.BigInteger, reason="grows by one with each overwrite, so that no overwrite is lost unseen"),
    column("expires", sa.BigInteger, nullable=True, reason="milliseconds since the epoch; when the file goes by itself"),
    column("removed", sa.BigInteger, nullable=True, reason="milliseconds since the epoch; deleted, but it can still be undone"),
    column("held", sa.BigInteger, nullable=True, reason="milliseconds since the epoch; since when scanners have to judge it"),
    column("source_url", sa.Text, nullable=True, reason="where it was fetched from, without query; shown as metadata"),
    column("lasting", sa.BigInteger, nullable=True, reason="seconds after which it goes by itself, as the uploader asked"),
    sa.UniqueConstraint("application", "handle"),  # no row refers to it any more; SQLite would have to rebuild the table
    sa.Index(None, "application", "uploaded", "handle"),
    sa.Index(None, "application", "size", "handle"),
    sa.Index(None, "application", "mimetype", "uploaded", "handle"),
    sa.Index(None, "storage", "key"),  # who else refers to these bytes
    sa.Index(None, "application", "sha256"),  # whether the application has these bytes already
)
#: Few files have these times, so their indexes hold only those.
for _name in ("expires", "removed", "held"):
    sa.Index(
        f"ix_file_{_name}", file.c[_name], sqlite_where=file.c[_name].is_not(None), postgresql_where=file.c[_name].is_not(None)
    )
#: Without capitals, of ASCII alone: both databases mean the same by that.
sa.Index("ix_file_application_name", file.c.application, sa.func.lower(file.c.filename), file.c.handle)
sa.Index(
    "ix_file_application_removed",
    *(file.c.application, file.c.uploaded, file.c.handle),
    sqlite_where=file.c.removed.is_not(None),
    postgresql_where=file.c.removed.is_not(None),
)

usage = sa.Table(
    "usage",
    metadata,
    _owner(primary_key=True),
    column("storage", sa.Text, reason="name of the storage that is counted", primary_key=True),
    column("files", sa.BigInteger, reason="how many files there are, so that no quota has to count them"),
    column("bytes", sa.BigInteger, reason="bytes of these files, for quotas and usage figures"),
)

storage = sa.Table(
    "storage",
    metadata,
    column("id", sa.Text, reason="what rows of files call it; binds the sealed credentials to this row", primary_key=True),
    _owner(),
    column("name", sa.Text, reason="what its owner calls it"),
    column("provider", sa.Text, reason="kind of storage, by the name of its plugin"),
    column("options", sa.JSON, reason="bucket, region and other options that are no secret"),
    column("sealed", sa.Text, nullable=True, reason="credentials, encrypted by the vault for exactly this row"),
    column("created", sa.BigInteger, reason="milliseconds since the epoch; order of lists"),
    sa.UniqueConstraint("application", "name"),
)

upload = sa.Table(
    "upload",
    metadata,
    column(
        "id",
        sa.Text,
        reason="digest of the token that the uploader holds: the token itself is not written down",
        primary_key=True,
    ),
    _owner(),
    column("filename", sa.Text, reason="name of the file to come"),
    column("mimetype", sa.Text, nullable=True, reason="type that the uploader declared; storages are told it"),
    column("size", sa.BigInteger, nullable=True, reason="bytes announced; nothing else is accepted at the end"),
    column("min_size", sa.BigInteger, nullable=True, reason="bound of the policy that the upload was begun with"),
    column("max_size", sa.BigInteger, nullable=True, reason="bound of the policy that the upload was begun with"),
    column("storage", sa.Text, reason="name of the storage that the file will go to"),
    column("container", sa.Text, nullable=True, reason="container asked for; the policy judged it"),
    column("path", sa.Text, nullable=True, reason="path asked for; the policy judged it"),
    column("access", sa.Text, nullable=True, reason="access asked for: private or public"),
    column("mode", sa.Text, reason="how the bytes come: parts, chunks of parts, or one after the other"),
    column("key", sa.Text, nullable=True, reason="where parts go when the storage takes them itself"),
    column("remote", sa.Text, nullable=True, reason="the storage's own name of the upload it takes in parts"),
    column("options", sa.JSON, reason="workflows, tags and other words of the uploader that the answer repeats"),
    column("created", sa.BigInteger, reason="milliseconds since the epoch"),
    column("expires", sa.BigInteger, reason="milliseconds since the epoch; unfinished, it is swept then"),
    column("handle", sa.Text, nullable=True, reason="the file that came of it: asking again gives the same answer"),
    column("finished", sa.BigInteger, nullable=True, reason="milliseconds since the epoch; nothing more is taken then"),
    column("received", sa.BigInteger, reason="bytes that have arrived, so that no piece has to count the others"),
    column("pieces", sa.BigInteger, reason="rows of its pieces, so that there are not too many"),
    sa.Index(None, "expires"),
    sa.Index(None, "application"),
)

upload_part = sa.Table(
    "upload_part",
    metadata,
    column("upload", sa.Text, sa.ForeignKey("upload.id", ondelete="CASCADE"), reason="the upload it is of", primary_key=True),
    column("number", sa.BigInteger, reason="place among the parts, from 1", primary_key=True),
    column("start", sa.BigInteger, reason="bytes from the start of the part, for those sent in chunks", primary_key=True),
    column("size", sa.BigInteger, reason="bytes of it"),
    column("md5", sa.Text, reason="digest in hex: the ETag, which the uploader repeats at the end"),
    column("name", sa.Text, reason="file of the work folder that holds it"),
)

blob_to_delete = sa.Table(
    "blob_to_delete",
    metadata,
    column("storage", sa.Text, reason="name of the storage that holds bytes without a file", primary_key=True),
    column("key", sa.Text, reason="where they are in it, until they are deleted", primary_key=True),
)

webhook = sa.Table(
    "webhook",
    metadata,
    column("id", sa.Text, reason="names the endpoint in lists and binds the sealed secrets to this row", primary_key=True),
    _owner(),
    column("url", sa.Text, reason="where events are sent"),
    column("events", sa.JSON, reason="names of the events that it wants; an empty list means all"),
    column("secret", sa.Text, reason="what signs, encrypted by the vault for exactly this row"),
    column("previous", sa.Text, nullable=True, reason="the secret before, sealed; it signs too until its time is over"),
    column("until", sa.BigInteger, nullable=True, reason="milliseconds since the epoch; when the secret before stops signing"),
    column("state", sa.Text, reason="active; off by its owner; gone, because the endpoint itself said so"),
    column("created", sa.BigInteger, reason="milliseconds since the epoch; order of lists"),
    sa.Index(None, "application"),
)

webhook_delivery = sa.Table(
    "webhook_delivery",
    metadata,
    column("id", sa.Text, reason="names the delivery in the log and binds what is sealed to this row", primary_key=True),
    _owner(),
    column(
        "webhook",
        sa.Text,
        sa.ForeignKey("webhook.id", ondelete="CASCADE"),
        nullable=True,
        reason="the endpoint it is for; none when a request named an address of its own",
    ),
    column("url", sa.Text, nullable=True, reason="the address that a request named, sealed: such addresses hold credentials"),
    column("lane", sa.Text, reason="deliveries of one lane wait for each other, so that a dead receiver delays no other"),
    column("event", sa.Text, reason="name of the event, shown in the log"),
    column("event_id", sa.Text, reason="sent with every try, so that receivers can tell repetitions"),
    column("job", sa.Text, nullable=True, reason="the job it tells of: its body can be made again from the job's record"),
    column("body", sa.Text, nullable=True, reason="what is sent, sealed; goes early when it tells of a file's content"),
    column("size", sa.BigInteger, reason="bytes of the body; statistics"),
    column("state", sa.Text, reason="waiting, sending, delivered or failed"),
    column("due", sa.BigInteger, nullable=True, reason="milliseconds since the epoch; next try, or the end of the lease"),
    column("fence", sa.BigInteger, reason="grows with each lease: who has lost one cannot report any more"),
    column("attempts", sa.BigInteger, reason="tries so far; statistics"),
    column("earlier", sa.BigInteger, reason="tries before it was sent again by hand: the delays begin anew there"),
    column("status", sa.BigInteger, nullable=True, reason="status of the last answer, shown in the log"),
    column("answer", sa.Text, nullable=True, reason="start of the last answer, or what went wrong; shown in the log"),
    column("created", sa.BigInteger, reason="milliseconds since the epoch; order of the log"),
    column("finished", sa.BigInteger, nullable=True, reason="milliseconds since the epoch; the log forgets it by its age"),
    sa.Index(None, "application", "created", "id"),
    sa.Index(None, "webhook"),
    sa.Index(None, "job"),
)
#: Of very many deliveries few wait, and those that are over leave by age.
for _name in ("due", "finished"):
    _there = webhook_delivery.c[_name].is_not(None)
    sa.Index(f"ix_webhook_delivery_{_name}", webhook_delivery.c[_name], sqlite_where=_there, postgresql_where=_there)

webhook_attempt = sa.Table(
    "webhook_attempt",
    metadata,
    column(
        "delivery",
        sa.Text,
        sa.ForeignKey("webhook_delivery.id", ondelete="CASCADE"),
        reason="the delivery that was tried",
        primary_key=True,
    ),
    column("number", sa.BigInteger, reason="which try it was, from 1", primary_key=True),
    column("started", sa.BigInteger, reason="milliseconds since the epoch; shown in the log"),
    column("took", sa.BigInteger, reason="milliseconds; shown in the log"),
    column("status", sa.BigInteger, nullable=True, reason="status of the answer, shown in the log"),
    column("answer", sa.Text, nullable=True, reason="start of the answer, or what went wrong; shown in the log"),
)

job = sa.Table(
    "job",
    metadata,
    column("id", sa.Text, reason="UUID by which clients ask; names of results derive from it", primary_key=True),
    _owner(),
    column("kind", sa.Text, reason="what is to be done: which code runs it"),
    column(
        "state",
        sa.Text,
        reason="waiting until run_at, queued, started, success, failure or cancelled",
    ),
    column("step", sa.Text, reason="how far a started job is, for whoever looks at it"),
    column("urgency", sa.BigInteger, reason="order of jobs of one application, lowest first"),
    column("cost", sa.Text, reason="light or heavy, by which queues route"),
    column("run_at", sa.BigInteger, reason="milliseconds since the epoch; not begun earlier"),
    column("attempts", sa.BigInteger, reason="how often it was begun: one that ends its worker each time is given up"),
    column("fence", sa.BigInteger, reason="grows with each holder, so that one who lost it can write nothing any more"),
    column("lease", sa.BigInteger, nullable=True, reason="milliseconds since the epoch; until when its holder may be silent"),
    column("worker", sa.Text, nullable=True, reason="who holds it"),
    column("cancelling", sa.BigInteger, reason="1 when its holder is to give it up"),
    column("told", sa.BigInteger, reason="milliseconds since the epoch; when a queue was last told of it"),
    column("key", sa.Text, nullable=True, reason="idempotency key: asking again gives the same job"),
    column("digest", sa.Text, nullable=True, reason="of what was asked with that key: for another request it is refused"),
    column("sealed", sa.Text, nullable=True, reason="the request, which may hold credentials in addresses; gone with success"),
    column("data", sa.JSON, nullable=True, reason="the requester's own data, which answers repeat untouched"),
    column("result", sa.JSON, nullable=True, reason="name, size, type and statistics, and where results are; no content"),
    column("error", sa.JSON, nullable=True, reason="code and public sentence of a failure"),
    column("created", sa.BigInteger, reason="milliseconds since the epoch; order of lists"),
    column("started", sa.BigInteger, nullable=True, reason="milliseconds since the epoch; statistics"),
    column("finished", sa.BigInteger, nullable=True, reason="milliseconds since the epoch; statistics, end of keeping"),
    column("purged", sa.BigInteger, nullable=True, reason="milliseconds since the epoch; when the last file of it was deleted"),
    sa.UniqueConstraint("application", "key"),
    sa.Index(None, "state", "application", "urgency", "run_at", "id"),  # the next job of an application
    sa.Index(None, "state", "run_at"),  # what is due, and (as told) what nobody holds
    sa.Index(None, "application", "created", "id"),
)
for _name in ("lease", "finished"):
    sa.Index(
        f"ix_job_{_name}", job.c[_name], sqlite_where=job.c[_name].is_not(None), postgresql_where=job.c[_name].is_not(None)
    )

job_trace = sa.Table(
    "job_trace",
    metadata,
    column("job", sa.Text, sa.ForeignKey("job.id", ondelete="CASCADE"), reason="the job it is about", primary_key=True),
    column("number", sa.BigInteger, reason="order within the job", primary_key=True),
    column("at", sa.BigInteger, reason="milliseconds since the epoch"),
    column("what", sa.Text, reason="what happened: a folder made, a file written, sent or deleted"),
    column("place", sa.Text, reason="where it was: the name of a folder, a storage, a host"),
    column("size", sa.BigInteger, nullable=True, reason="bytes concerned"),
)

account = sa.Table(
    "account",
    metadata,
    column("id", sa.Text, reason="names the account and binds what is sealed to this row", primary_key=True),
    column("login", sa.Text, reason="what its person signs in with; shown in lists and in the audit log"),
    column("role", sa.Text, reason="owner, developer or viewer: what it may do"),
    column("password", sa.Text, nullable=True, reason="argon2id hash; none until the invitation is accepted"),
    column("totp", sa.Text, nullable=True, reason="secret of the second factor, encrypted by the vault for exactly this row"),
    column("totp_since", sa.BigInteger, nullable=True, reason="milliseconds since the epoch; asked for from then on"),
    column("totp_step", sa.BigInteger, reason="time step of the last code that was taken: none counts twice"),
    column("disabled", sa.BigInteger, nullable=True, reason="milliseconds since the epoch; it cannot be used from then on"),
    column("created", sa.BigInteger, reason="milliseconds since the epoch; order of lists"),
    column("seen", sa.BigInteger, nullable=True, reason="milliseconds since the epoch; the last time somebody signed in"),
    sa.UniqueConstraint("login"),
)


def _account(**options: Any) -> sa.Column[Any]:
    return column(
        "account",
        sa.Text,
        sa.ForeignKey("account.id", ondelete="CASCADE"),
        reason="whose it is; the row goes when the account goes",
        **options,
    )


recovery_code = sa.Table(
    "recovery_code",
    metadata,
    _account(primary_key=True),
    column("digest", sa.Text, reason="SHA-256 of a code of 80 random bits, deleted when it is used", primary_key=True),
)

account_link = sa.Table(
    "account_link",
    metadata,
    column("digest", sa.Text, reason="SHA-256 of the token in the link; the token itself is nowhere", primary_key=True),
    column("kind", sa.Text, reason="setup of the first owner, or invitation to choose a password"),
    _account(nullable=True),
    column("created", sa.BigInteger, reason="milliseconds since the epoch; shown in lists"),
    column("expires", sa.BigInteger, reason="milliseconds since the epoch; worth nothing from then on, and swept"),
    sa.Index(None, "account"),
)

session = sa.Table(
    "session",
    metadata,
    column("id", sa.Text, reason="names the session in its owner's list", primary_key=True),
    column("digest", sa.Text, reason="SHA-256 of the token in the cookie; the token itself is nowhere"),
    _account(),
    column("stage", sa.Text, reason="code while the second factor is missing, then full"),
    column("fresh", sa.BigInteger, reason="milliseconds since the epoch; when the password was last asked for"),
    column("created", sa.BigInteger, reason="milliseconds since the epoch; shown in its owner's list"),
    column("used", sa.BigInteger, reason="milliseconds since the epoch; idle for too long, it is over"),
    column("expires", sa.BigInteger, reason="milliseconds since the epoch; over then in any case, and swept"),
    column("address", sa.Text, reason="from where it was opened, shown in its owner's list"),
    sa.UniqueConstraint("digest"),
    sa.Index(None, "account"),
    sa.Index(None, "expires"),
)

api_token = sa.Table(
    "api_token",
    metadata,
    column("id", sa.Text, reason="names the token in lists and in the audit log", primary_key=True),
    _account(),
    column("name", sa.Text, reason="what its owner calls it"),
    column("prefix", sa.Text, reason="the first characters, by which its owner knows it again"),
    column("digest", sa.Text, reason="SHA-256 of the token; the token itself is nowhere"),
    column("scopes", sa.JSON, reason="what it may be used for, within what its owner may do"),
    column("created", sa.BigInteger, reason="milliseconds since the epoch; order of lists"),
    column("expires", sa.BigInteger, nullable=True, reason="milliseconds since the epoch; worth nothing from then on"),
    column("used", sa.BigInteger, nullable=True, reason="milliseconds since the epoch; so that unused ones are found"),
    sa.UniqueConstraint("digest"),
    sa.Index(None, "account"),
)

attempt = sa.Table(
    "attempt",
    metadata,
    column("key", sa.Text, reason="SHA-256 of what is counted: an account, an address, or both", primary_key=True),
    column("count", sa.BigInteger, reason="tries that did not succeed; 0 where the row only says who was let in before"),
    column("since", sa.BigInteger, reason="milliseconds since the epoch; when counting began"),
    column("until", sa.BigInteger, reason="milliseconds since the epoch; the next try is not before then"),
    column("ends", sa.BigInteger, reason="milliseconds since the epoch; forgotten from then on, and swept"),
    sa.Index(None, "ends"),
)

audit = sa.Table(
    "audit",
    metadata,
    column("id", sa.Text, reason="names the entry; order among those of one moment", primary_key=True),
    column("at", sa.BigInteger, reason="milliseconds since the epoch; when it was done"),
    column("actor", sa.Text, reason="who: id of the account, or cli; no key, because entries outlive accounts"),
    column("name", sa.Text, reason="what the actor was called then"),
    column("means", sa.Text, reason="how: by the command line, in a session, or with which token"),
    column("address", sa.Text, nullable=True, reason="from where; none for the command line"),
    column("action", sa.Text, reason="what was done, as application.change"),
    column("application", sa.Text, nullable=True, reason="API key of the application concerned; entries outlive it"),
    column("subject", sa.Text, reason="what it was done to: the name or id of an account, a storage, a webhook"),
    column("before", sa.JSON(none_as_null=True), nullable=True, reason="what was changed, as it was before; no secrets"),
    column("after", sa.JSON(none_as_null=True), nullable=True, reason="what was changed, as it is since; no secrets"),
    sa.Index(None, "at", "id"),
    sa.Index(None, "application", "at", "id"),
    sa.Index(None, "actor", "at", "id"),
)

figure = sa.Table(
    "figure",
    metadata,
    column("period", sa.Text, reason="hour, day or ever: each is kept for a time of its own", primary_key=True),
    column("at", sa.BigInteger, reason="milliseconds since the epoch; start of the hour or day, 0 for ever", primary_key=True),
    column(
        "application",
        sa.Text,
        reason="whose requests were counted, empty for those of nobody; outlives its owner, so that sums never shrink",
        primary_key=True,
    ),
    column("name", sa.Text, reason="what was counted: requests, refusals, bytes, jobs; a fixed list", primary_key=True),
    column("label", sa.Text, reason="kind, reason, state or the like, from lists that no client can add to", primary_key=True),
    column("value", sa.BigInteger, reason="how many; usage figures"),
)

would_refuse = sa.Table(
    "would_refuse",
    metadata,
    _owner(primary_key=True),
    column(
        "kind", sa.Text, reason="upload, delivery, conversion or metadata: what the owner thinks of requiring", primary_key=True
    ),
    column("who", sa.Text, reason="host of the page that asked, so that its owner can mend it; no path", primary_key=True),
    column("count", sa.BigInteger, reason="requests without a credential; what requiring one would break"),
    column("first", sa.BigInteger, reason="milliseconds since the epoch; shown to the owner"),
    column("last", sa.BigInteger, reason="milliseconds since the epoch; unseen for thirty days, the row goes"),
)
