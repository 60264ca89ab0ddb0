"""Storages of applications: set up, found, chosen for a file, sealed, checked; on both databases."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from buckets import KEY_ID, READING, SECRET, S3Server, bucket_server, options, spellings

from secure_delivery.builtin.local_storage import LocalStorage
from secure_delivery.engine import tables
from secure_delivery.engine.database import Database
from secure_delivery.engine.outbound import OutboundGuard
from secure_delivery.engine.records import FileLink, Records, new_handle
from secure_delivery.engine.storage_check import CheckReport, check_storage
from secure_delivery.engine.storages import Room, Storages
from secure_delivery.engine.vault import Vault
from secure_delivery.gate.errors import (
    BadRequest,
    ConfigurationError,
    NotFound,
    SecureDeliveryError,
    StorageFault,
    VaultError,
)
from secure_delivery.gate.model import Application
from secure_delivery.plugin.params import REQUIRED, Kind, Param
from secure_delivery.plugin.protocols import Dial, Placing, Storage
from secure_delivery_s3 import S3Provider

OLD = bytes((11 * number + 5) % 256 for number in range(32))
NEW = bytes((7 * number + 3) % 256 for number in range(32))


class ShelfProvider:
    """Storages of another kind: opaque keys, one option under two names, a secret under two names."""

    params = (
        Param("folder", Kind(str, "a folder"), default=REQUIRED, aliases=("directory",)),
        Param("password", Kind(str, "a password"), default="", aliases=("pass",)),
    )
    secrets = frozenset({"password"})

    def __init__(self, root: Path) -> None:
        self._root = root

    def connect(self, options: Mapping[str, Any], dial: Dial) -> Storage:
        if options["folder"] == "nowhere":
            raise ValueError("nowhere is no folder")
        return LocalStorage(self._root / options["folder"])


class House:
    """Storages on a database, with what they are made of."""

    def __init__(self, database: Database, root: Path, bucket: S3Server) -> None:
        self.database = database
        self.root = root
        self.bucket = bucket
        self.clock = count(1_700_000_000).__next__
        self.vault = Vault({"old": OLD}, current="old")
        self.records = Records(database, self.vault, self.clock)
        self.storages = self.another()
        self.application, _ = self.records.create_application("test")
        self.key = self.application.api_key

    def another(self, vault: Vault | None = None, providers: Mapping[str, Any] | None = None) -> Storages:
        return Storages(
            self.database,
            vault or self.vault,
            self.clock,
            own={"local": LocalStorage(self.root / "files"), "attic": LocalStorage(self.root / "attic")},
            providers={"s3": S3Provider(), "shelf": ShelfProvider(self.root)} if providers is None else providers,
            default="local",
            guard=OutboundGuard(allow=("127.0.0.1",), ports=(80, 443, self.bucket.port)),
        )

    def add(self, name: str = "assets", **more: str) -> Any:
        return self.storages.add(self.key, name, "s3", options(self.bucket, **more))

    def rows(self) -> str:
        with self.database.read() as connection:
            return repr(connection.execute(sa.select(tables.storage)).all())


@pytest.fixture(scope="module")
def provider() -> Iterator[S3Server]:
    with bucket_server() as server:
        yield server


@pytest.fixture
def bucket(provider: S3Server) -> Iterator[S3Server]:
    """The provider as it is at first."""
    yield provider
    for kept in (provider.denied, provider.objects, provider.uploads, provider.faults, provider.seen):
        kept.clear()
    provider.acls_disabled = provider.redirects_regions = False
    provider.clock_ahead = 0.0


@pytest.fixture
def house(database: Database, tmp_path: Path, bucket: S3Server) -> House:
    return House(database, tmp_path, bucket)


def put(storage: Storage, key: str, data: bytes) -> None:
    draft = storage.place(key, mimetype="text/plain") if isinstance(storage, Placing) else storage.create(key, mimetype="x/y")
    draft.write(data)
    draft.publish()


# -------------------------------------------------------------------------------------------------------- setting up


def test_a_storage_that_was_set_up_is_listed_found_by_name_and_used(house: House) -> None:
    row = house.add(path="incoming/", region="us-east-1")
    assert house.storages.of(house.key) == (row,) == house.another().of(house.key)
    assert house.storages.named(house.key, "assets") == row
    assert row.secrets == ("secret_access_key",) and "secret_access_key" not in row.options
    assert row.options["bucket"] == "bucket" and row.options["path"] == "incoming/"
    put(house.storages.get(row.id), "bucket/a/b.txt", b"hello")
    assert house.bucket.objects["bucket", "a/b.txt"].data == b"hello"
    with house.another().get(row.id).open("bucket/a/b.txt") as stream:
        assert stream.read() == b"hello"
    assert house.storages.name_of(row.id) == "assets" and house.storages.name_of("local") == "local"


def test_storages_are_listed_oldest_first_and_only_those_of_the_application(house: House) -> None:
    other, _ = house.records.create_application("other")
    mine = tuple(house.add(name) for name in ("b", "c", "a"))
    house.storages.add(other.api_key, "a", "s3", options(house.bucket))
    assert house.storages.of(house.key) == mine
    assert house.storages.of("Aunknown") == ()


@pytest.mark.parametrize("name", ["", "A", "ä", "-a", "a b", "a/b", "a" * 65, "server", "default", "local", "attic"])
def test_a_name_that_is_none_or_means_something_else_is_refused(house: House, name: str) -> None:
    with pytest.raises(ConfigurationError, match="lower-case"):
        house.add(name)
    assert house.storages.of(house.key) == ()


@pytest.mark.parametrize(
    ("kind", "given", "named"),
    [
        ("s3", {"bucket": ""}, "bucket is needed"),
        ("s3", {"secret_access_key": ""}, "secret_access_key is needed"),
        ("s3", {"access_key_id": ""}, "access_key_id is needed"),
        ("s3", {"bucket": "a/b"}, "bucket is the name of a bucket"),
        ("s3", {"colour": "red"}, "no option 'colour'"),
        ("s3", {"insecure": "perhaps"}, "insecure is"),
        ("s3", {"region": "eu west"}, "region is"),
        ("s3", {"insecure": "false"}, "insecure"),
        ("s3", {"kms_key": "k"}, "kms_key"),
        ("s3", {"path": "a/../b"}, "path: "),
        ("s3", {"path": "a//b"}, "path: "),
        ("s3", {"path": "x" * 2000}, "path: "),
        ("shelf", {}, "folder is needed"),
        ("shelf", {"folder": "nowhere"}, "nowhere is no folder"),
        ("floppy", {}, "'floppy'; there are: s3, shelf"),
    ],
)
def test_an_option_that_does_not_fit_is_named_and_nothing_is_set_up(
    house: House, kind: str, given: dict[str, str], named: str
) -> None:
    wanted = options(house.bucket, **given) if kind == "s3" else given
    with pytest.raises(ConfigurationError) as caught:
        house.storages.add(house.key, "assets", kind, wanted)
    assert named in str(caught.value)
    assert SECRET not in str(caught.value)
    assert house.storages.of(house.key) == ()


def test_a_name_is_taken_once_in_an_application_and_only_there(house: House) -> None:
    house.add()
    with pytest.raises(ConfigurationError, match="already"):
        house.add()
    with pytest.raises(NotFound):
        house.storages.add("Aunknown", "assets", "s3", options(house.bucket))


def test_options_change_one_by_one_and_an_empty_text_clears_one(house: House) -> None:
    row = house.add(path="in/", region="us-east-1")
    changed = house.storages.change(house.key, "assets", {"bucket": "other", "path": ""})
    assert changed.id == row.id and changed.options["bucket"] == "other" and "path" not in changed.options
    put(house.storages.get(row.id), "other/a", b"still signed with the secret that stayed")
    assert ("other", "a") in house.bucket.objects
    with pytest.raises(ConfigurationError, match="secret_access_key is needed"):
        house.storages.change(house.key, "assets", {"secret_access_key": ""})
    with pytest.raises(ConfigurationError, match="no option 'colour'"):
        house.storages.change(house.key, "assets", {"colour": "red"})
    assert house.storages.named(house.key, "assets") == changed, "a change that is refused changes nothing"
    with pytest.raises(NotFound):
        house.storages.change(house.key, "nothing", {"bucket": "other"})


def test_a_change_counts_at_once_for_another_object_that_has_connected_already(house: House) -> None:
    row, other = house.add(), house.another()
    put(other.get(row.id), "bucket/a", b"1")
    house.storages.change(house.key, "assets", {"bucket": "other"})
    assert other.named(house.key, "assets").options["bucket"] == "other"
    put(other.get(row.id), "other/a", b"2")
    house.storages.remove(house.key, "assets")
    assert other.of(house.key) == ()
    with pytest.raises(StorageFault):
        other.get(row.id)


def test_a_change_counts_at_once_in_another_process(tmp_path: Path, bucket: S3Server) -> None:
    database = Database(f"sqlite:///{tmp_path / 'service.db'}")
    database.migrate()
    house = House(database, tmp_path, bucket)
    house.add()
    script = (
        "import sys\n"
        "from secure_delivery.engine.database import Database\n"
        "from secure_delivery.engine.storages import Storages\n"
        "storages = Storages(Database(sys.argv[1]), None, lambda: 0, own={}, providers={}, default='', guard=None)\n"
        "for line in sys.stdin:\n"
        "    print([row.options['bucket'] for row in storages.of(line.strip())], flush=True)\n"
    )
    address = f"sqlite:///{tmp_path / 'service.db'}"
    with subprocess.Popen(
        [sys.executable, "-c", script, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None and other.stdout is not None

        def seen() -> str:
            print(house.key, file=other.stdin, flush=True)
            return other.stdout.readline().strip()  # type: ignore[union-attr]

        assert seen() == "['bucket']"
        house.storages.change(house.key, "assets", {"bucket": "other"})
        assert seen() == "['other']"
        house.storages.remove(house.key, "assets")
        assert seen() == "[]"
        other.stdin.close()
    database.close()


def link(house: House, storage: str, key: str = "bucket/a", **changes: Any) -> FileLink:
    values: dict[str, Any] = {"handle": new_handle(), "application": house.key, "filename": "a", "mimetype": "x/y", "size": 1}
    return FileLink(**values | {"storage": storage, "key": key, "sha256": "ab" * 32, "uploaded": 1} | changes)


def test_a_storage_with_files_in_it_is_not_forgotten_and_one_without_is(house: House) -> None:
    row = house.add()
    kept = link(house, row.id)
    house.records.add_file(kept)
    with pytest.raises(ConfigurationError, match="files are in the storage"):
        house.storages.remove(house.key, "assets")
    assert house.storages.named(house.key, "assets") == row
    house.records.remove_file(kept.handle, application=house.key)
    assert house.records.blobs_to_delete() != []
    house.storages.remove(house.key, "assets")
    assert house.storages.of(house.key) == () and SECRET not in house.rows()
    assert house.records.blobs_to_delete() == [], "nobody could ever delete what was left there"
    with pytest.raises(NotFound):
        house.storages.remove(house.key, "assets")


def test_storages_go_with_their_application_and_what_is_in_them_stays_the_customers(house: House) -> None:
    row = house.add()
    house.records.add_file(link(house, row.id))
    house.records.add_file(link(house, "local", "abc"))
    blobs = house.records.delete_application(house.key)
    assert [blob.storage for blob in blobs] == ["local"]
    assert house.rows() == "[]" and house.storages.of(house.key) == ()


def test_a_storage_whose_plugin_is_gone_is_a_fault_that_says_so(house: House) -> None:
    row = house.add()
    bare = house.another(providers={})
    with pytest.raises(StorageFault, match="'s3'"):
        bare.get(row.id)
    assert [each.name for each in bare.of(house.key)] == ["assets"], "it is listed nevertheless"


# ----------------------------------------------------------------------------------------------------------- secrets


def test_a_secret_is_in_no_repr_text_fault_or_log_and_in_no_column(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    row = house.add(session_token="marker-session-token-marker")
    said = [repr(row), str(row), repr(house.storages.of(house.key)), repr(house.storages.get(row.id)), house.rows()]
    said += [str(house.storages), json.dumps(dict(row.options))]
    house.bucket.denied.add("PutObject")
    for attempt in (
        lambda: put(house.storages.get(row.id), "bucket/a", b"1"),
        lambda: house.storages.change(house.key, "assets", {"insecure": "perhaps"}),
        lambda: house.storages.change(house.key, "assets", {"secret_access_key": SECRET + "\u00e4"}),
    ):
        with pytest.raises(SecureDeliveryError) as caught:
            attempt()
        said += [str(caught.value), repr(caught.value), caught.value.public]
    said.append(caplog.text)
    for secret in (SECRET, "marker-session-token-marker"):
        for text in said:
            assert not [spelled for spelled in spellings(secret) if spelled in text.encode()], text


def test_a_secret_under_another_of_its_names_is_sealed_like_any(house: House) -> None:
    row = house.storages.add(house.key, "shelf", "shelf", {"directory": "x", "pass": SECRET})
    assert row.options == {"folder": "x"} and row.secrets == ("password",)
    assert SECRET not in house.rows()


def test_a_dump_of_the_database_holds_no_credential_in_any_spelling(tmp_path: Path, bucket: S3Server) -> None:
    file = tmp_path / "service.db"
    database = Database(f"sqlite:///{file}")
    database.migrate()
    house = House(database, tmp_path, bucket)
    house.add(session_token="marker-session-token-marker")
    house.storages.change(house.key, "assets", {"bucket": "other", "secret_access_key": SECRET})
    database.close()
    dump = b"".join(path.read_bytes() for path in tmp_path.glob("service.db*"))
    assert KEY_ID.encode() in dump, "the dump is of the right database"
    for secret in (SECRET, "marker-session-token-marker"):
        assert [spelled for spelled in spellings(secret) if spelled in dump] == []


@pytest.mark.parametrize("moved", ["row", "application", "table", "owner"])
def test_a_sealed_credential_moved_elsewhere_does_not_open(house: House, moved: str) -> None:
    other, _ = house.records.create_application("other")
    first, second = house.add("first"), house.add("second", bucket="other")
    foreign = house.storages.add(other.api_key, "first", "s3", options(house.bucket))
    table = tables.storage
    with house.database.write() as connection:
        if moved == "table":
            sealed = connection.execute(sa.select(tables.application_secret.c.sealed)).scalars().first()
        elif moved == "owner":  # the row itself is made to belong to another application
            renamed = sa.update(table).where(table.c.id == first.id).values(application=other.api_key, name="third")
            connection.execute(renamed)
            sealed = first.sealed
        else:
            source = foreign.id if moved == "application" else second.id
            sealed = connection.execute(sa.select(table.c.sealed).where(table.c.id == source)).scalar_one()
        connection.execute(sa.update(table).where(table.c.id == first.id).values(sealed=sealed))
        house.database.bump(connection)
    with pytest.raises(VaultError):
        house.storages.get(first.id)
    house.storages.get(second.id), house.storages.get(foreign.id)


def test_rewrapping_frees_the_old_master_key_and_changes_no_credential(house: House) -> None:
    rows = [house.add(name) for name in ("a", "b", "c")]
    house.storages.add(house.key, "open", "shelf", {"folder": "x"})
    both = house.another(Vault({"old": OLD, "new": NEW}, current="new"))
    assert both.sealed() == 3 and both.sealing_keys() == {"old"}
    steps: list[int] = []

    def interrupted() -> None:
        steps.append(1)
        if len(steps) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        both.rewrap(interrupted)
    assert both.sealing_keys() == {"old", "new"}
    assert both.rewrap() == 1 and both.rewrap() == 0
    assert both.sealing_keys() == {"new"}
    fresh = house.another(Vault({"new": NEW}, current="new"))
    for row in rows:
        put(fresh.get(row.id), f"bucket/{row.name}", b"signed")
        assert house.bucket.objects["bucket", row.name].data == b"signed"


def test_a_credential_that_is_changed_while_keys_rotate_is_not_lost(house: House) -> None:
    row = house.add()
    both = house.another(Vault({"old": OLD, "new": NEW}, current="new"))
    house.add("second")

    def meanwhile() -> None:  # after the first row was done, the second is changed by another process
        house.storages.change(house.key, "second", {"bucket": "other"})

    both.rewrap(meanwhile)
    both.rewrap()
    assert both.sealing_keys() == {"new"}
    assert both.named(house.key, "second").options["bucket"] == "other"
    put(both.get(row.id), "bucket/a", b"signed")


# ------------------------------------------------------------------------------------------------- where a file goes


def described(house: House, room: Room) -> tuple[str, str, str | None, bool]:
    return house.storages.name_of(room.storage), room.container, room.path, room.development


@pytest.mark.parametrize(
    ("usual", "wanted", "container", "path", "expected"),
    [
        # no storage of its own
        ("", None, None, None, ("local", "local", None, True)),
        ("", "s3", None, None, ("local", "local", None, True)),
        ("", "S3", "any", "p/", ("local", "any", "p/", True)),
        ("", "local", None, None, ("local", "local", None, True)),
        ("", "server", None, None, ("local", "local", None, True)),
        ("", "shelf", None, None, "not configured"),
        ("", "floppy", None, None, "not configured"),
        ("", "attic", None, None, "not configured"),
        ("", "gcs", None, None, "not configured"),
        ("server", None, "any", "/p", ("local", "any", "/p", False)),
        ("server", "s3", None, None, ("local", "local", None, False)),
        ("server", "server", None, None, ("local", "local", None, False)),
        # its own storages: assets and more are buckets, shelf is of another kind
        ("assets", None, None, None, ("assets", "bucket", "in/", False)),
        ("assets", None, None, "x/", ("assets", "bucket", "x/", False)),
        ("assets", None, "other", None, ("assets", "other", "in/", False)),
        ("assets", None, "far", None, "no such container"),
        ("assets", "s3", None, None, ("assets", "bucket", "in/", False)),
        ("assets", "more", None, None, ("more", "other", None, False)),
        ("assets", "MORE", None, None, ("more", "other", None, False)),
        ("assets", "more", "bucket", None, "no such container"),
        ("assets", "shelf", None, None, ("shelf", "shelf", None, False)),
        ("assets", "shelf", "any", "x", ("shelf", "any", "x", False)),
        ("assets", "local", None, None, "not configured"),
        ("assets", "server", None, None, "not configured"),
        ("assets", "floppy", None, None, "not configured"),
        ("more", "s3", None, None, ("more", "other", None, False)),
        ("shelf", None, None, None, ("shelf", "shelf", None, False)),
        ("shelf", "s3", None, None, ("assets", "bucket", "in/", False)),
        ("own+", None, None, None, ("local", "local", None, True)),
        ("own+", "s3", None, None, ("assets", "bucket", "in/", False)),
        ("own+", "server", None, None, ("local", "local", None, True)),
    ],
)
def test_where_a_file_goes_follows_from_what_is_usual_and_what_is_wanted(
    house: House, usual: str, wanted: str | None, container: str | None, path: str | None, expected: Any
) -> None:
    if usual not in ("", "server"):
        house.add("assets", path="in/", buckets="other")
        house.add("more", bucket="other")
        house.storages.add(house.key, "shelf", "shelf", {"folder": "x"})
    application = replace(house.application, storage="" if usual == "own+" else usual)
    if isinstance(expected, str):
        with pytest.raises(BadRequest) as caught:
            house.storages.room(application, wanted, container, path)
        assert expected in caught.value.public
        return
    assert described(house, house.storages.room(application, wanted, container, path)) == expected


def test_the_storage_of_another_application_is_never_meant(house: House) -> None:
    other, _ = house.records.create_application("other")
    house.storages.add(other.api_key, "theirs", "s3", options(house.bucket))
    for application in (house.application, replace(house.application, storage="theirs")):
        with pytest.raises(BadRequest):
            house.storages.room(application, "theirs", None, None)
    assert house.storages.room(house.application, "s3", None, None).storage == "local"


def test_a_secured_dial_reaches_only_what_the_operator_admits(house: House, bucket: S3Server) -> None:
    closed = Storages(
        house.database, house.vault, lambda: 0.0, own={}, providers={"s3": S3Provider()}, default="local", guard=OutboundGuard()
    )
    row, before = house.add(), bucket.connections
    with pytest.raises(SecureDeliveryError) as caught:
        put(closed.get(row.id), "bucket/a", b"1")
    assert caught.value.status == 424 and bucket.connections == before
    assert str(bucket.port) not in caught.value.public and "127.0.0.1" not in caught.value.public


@pytest.fixture
def network_bucket() -> Iterator[tuple[str, int, list[bytes]]]:
    """Something that listens at an address of the network, as another machine would, and what it is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.200", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no network")
        address = probe.getsockname()[0]
    said: list[bytes] = []
    with socket.create_server((address, 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    said.append(connection.recv(4096))

        thread = threading.Thread(target=serve)
        thread.start()
        yield address, listener.getsockname()[1], said
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_what_is_set_insecure_is_never_sent_to_another_machine(
    house: House, network_bucket: tuple[str, int, list[bytes]]
) -> None:
    """Not even where the operator lets storages be: between machines there is TLS with a certificate that is looked at."""
    address, port, said = network_bucket
    storages = Storages(
        house.database, house.vault, lambda: 0.0, own={}, providers={"s3": S3Provider()}, default="local",
        guard=OutboundGuard(allow=(address,), ports=(port,)),
    )  # fmt: skip
    for scheme in ("http", "https"):
        row = house.add(f"far-{scheme}", endpoint=f"{scheme}://{address}:{port}", insecure="true")
        with pytest.raises(SecureDeliveryError) as caught:
            put(storages.get(row.id), "bucket/a", b"1")
        assert caught.value.status == 424
        assert not any(said)
    with pytest.raises(ConfigurationError, match="insecure"):
        house.add("far", endpoint=f"http://{address}:{port}", insecure="false")
    row = house.add("verified", endpoint=f"https://{address}:{port}", insecure="false")
    with pytest.raises(SecureDeliveryError):
        put(storages.get(row.id), "bucket/a", b"1")
    assert any(one.startswith(b"\x16\x03") for one in said)  # it reached it, and began with TLS


# ------------------------------------------------------------------------------------------------------------- checks


def checked(house: House, **more: str) -> CheckReport:
    row = house.add(**more)
    return check_storage(house.storages, row, origins=("https://www.example.com",))


def outcome(report: CheckReport) -> dict[str, bool | None]:
    return {step.name: step.good for step in report.steps}


def test_a_check_of_a_storage_with_all_rights_leaves_nothing_and_advises_the_policy_and_the_rule(house: House) -> None:
    report = checked(house)
    assert report.good
    assert outcome(report) == {"write": True, "read": True, "delete": True, "parts": True, "signed addresses": True}
    assert house.bucket.objects == {} and house.bucket.uploads == {}
    policy, cors = json.loads(report.advice["policy"]), json.loads(report.advice["cors"])
    assert set(policy["Statement"][0]["Action"]) == {
        "s3:PutObject",
        "s3:AbortMultipartUpload",
        "s3:GetObject",
        "s3:DeleteObject",
    }
    assert policy["Statement"][0]["Resource"] == ["arn:aws:s3:::bucket/*"]
    assert cors[0]["AllowedOrigins"] == ["https://www.example.com"] and "PUT" in cors[0]["AllowedMethods"]
    assert "ETag" in cors[0]["ExposeHeaders"]


def test_a_check_of_a_write_only_storage_reads_nothing_and_is_content(house: House) -> None:
    house.bucket.denied |= READING
    report = checked(house, write_only="true")
    assert report.good, report
    assert outcome(report) == {"write": True, "read": None, "delete": None, "parts": True}
    assert not {"GetObject", "HeadObject", "GetBucket", "HeadBucket"} & set(house.bucket.operations())
    assert [key.startswith("secure-delivery-probe-") for _, key in house.bucket.objects] == [True]
    left = next(step.says for step in report.steps if step.name == "delete")
    assert next(iter(house.bucket.objects))[1] in left, "it says what is left there"
    assert "s3:GetObject" not in report.advice["policy"] and "s3:DeleteObject" not in report.advice["policy"]


@pytest.mark.parametrize(
    ("more", "denied", "fails", "says"),
    [
        ({}, {"PutObject"}, "write", "grant the user the rights"),
        ({}, {"GetObject"}, "read", "grant the user the rights"),
        ({}, {"DeleteObject"}, "delete", "grant the user the rights"),
        ({}, {"CreateMultipartUpload"}, "parts", "grant the user the rights"),
        ({"secret_access_key": "wrong"}, set(), "write", "secret"),
        ({"access_key_id": "AKIAUNKNOWN"}, set(), "write", "access key"),
        ({"bucket": "missing"}, set(), "write", "bucket"),
        ({"region": "eu-west-3"}, set(), "write", "us-east-1"),
        ({"bucket": "far"}, set(), "write", "eu-west-3"),
    ],
)
def test_a_check_says_what_is_missing(house: House, more: dict[str, str], denied: set[str], fails: str, says: str) -> None:
    house.bucket.denied |= denied
    report = checked(house, **more)
    assert not report.good
    step = next(step for step in report.steps if step.name == fails)
    assert step.good is False and says.lower() in step.says.lower(), step.says
    assert SECRET not in repr(report)
    assert report.advice["policy"] and report.advice["cors"]


def test_a_check_of_another_kind_of_storage_works_without_advice(house: House) -> None:
    row = house.storages.add(house.key, "shelf", "shelf", {"folder": "x"})
    report = check_storage(house.storages, row)
    assert report.good and outcome(report) == {"write": True, "read": True, "delete": True} and report.advice == {}


def test_an_application_is_lent_a_place_only_in_storages_of_the_server(house: House) -> None:
    row = house.add()
    application: Application = house.application
    assert house.storages.is_lent(application, "local")
    assert not house.storages.is_lent(replace(application, storage="server"), "local")
    assert not house.storages.is_lent(application, row.id)
