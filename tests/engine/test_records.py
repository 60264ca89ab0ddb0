"""Records: secrets sealed at rest, rotations effective at once, files reached through their owner only."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from secure_delivery.engine import tables
from secure_delivery.engine.database import Database
from secure_delivery.engine.records import Blob, FileLink, Records, new_api_key, new_handle
from secure_delivery.engine.vault import Vault
from secure_delivery.gate.errors import BadRequest, Busy, ConfigurationError, NotFound, StorageFault, VaultError
from secure_delivery.gate.model import Application, Limits, SecretState
from secure_delivery.gate.whitelist import Whitelist

OLD_KEY = bytes((11 * number + 5) % 256 for number in range(32))
NEW_KEY = bytes((7 * number + 3) % 256 for number in range(32))
NOW = 1_800_000_000.25
MARKER = "Zk3-marker-Secret_9pQwLr8sTnV2xYbC"

ROTATE = """
import sys
from secure_delivery.engine.database import Database
from secure_delivery.engine.records import Records
from secure_delivery.engine.vault import Vault
database = Database(sys.argv[1])
records = Records(database, Vault({"old": bytes.fromhex(sys.argv[2])}, current="old"), lambda: 1_800_000_000.0)
print(records.rotate_secret(sys.argv[3])[1])
database.close()
"""
OVERWRITE = """
import sys
from dataclasses import replace
from secure_delivery.engine.database import Database
from secure_delivery.engine.records import Records
from secure_delivery.engine.vault import Vault
from secure_delivery.gate.errors import Busy
database = Database(sys.argv[1])
records = Records(database, Vault({"old": bytes.fromhex(sys.argv[2])}, current="old"), lambda: 1_800_000_000.0)
for _ in range(10):
    while True:
        link = records.file(sys.argv[3])
        try:
            records.replace_file(link.handle, replace(link, version=link.version + 1, size=link.size + 1))
            break
        except Busy:
            pass
database.close()
"""


class Clock:
    """A clock that stands where it was put."""

    now = NOW

    def __call__(self) -> float:
        return self.now


def vault(*names: str) -> Vault:
    keys = {"old": OLD_KEY, "new": NEW_KEY}
    return Vault({name: keys[name] for name in names}, current=names[-1])


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def records(database: Database, clock: Clock) -> Records:
    return Records(database, vault("old"), clock)


def owner(records: Records, api_key: str = "Aowner") -> str:
    return records.create_application("Owner", api_key=api_key)[0].api_key


def link(application: str = "Aowner", **changes: Any) -> FileLink:
    values: dict[str, Any] = {
        "handle": new_handle(),
        "application": application,
        "filename": "report.pdf",
        "mimetype": "application/pdf",
        "size": 2**40,
        "storage": "local",
        "key": f"blobs/{new_handle()}",
        "sha256": "ab" * 32,
        "uploaded": 1_800_000_000_123,
    }
    return FileLink(**values | changes)


def values_of(application: Application | None) -> list[bytes]:
    assert application is not None
    return [secret.value for secret in application.secrets.secrets]


def everything(database: Database) -> str:
    """All rows of all tables, as text."""
    with database.read() as connection:
        return "\n".join(repr(connection.execute(sa.select(table)).all()) for table in tables.metadata.sorted_tables)


# --- identifiers -----------------------------------------------------------------------------------------------------


def test_handles_are_21_letters_or_digits_and_do_not_repeat() -> None:
    handles = {new_handle() for _ in range(5000)}
    assert len(handles) == 5000
    assert all(re.fullmatch("[A-Za-z0-9]{21}", handle) for handle in handles)
    assert len(set("".join(handles))) == 62


def test_api_keys_have_the_known_shape_and_never_the_length_of_a_handle() -> None:
    keys = {new_api_key() for _ in range(2000)}
    assert len(keys) == 2000
    assert all(re.fullmatch("A[A-Za-z0-9]{20}z", key) for key in keys)


# --- applications ----------------------------------------------------------------------------------------------------


def test_a_created_application_is_found_again_with_its_secret(records: Records) -> None:
    made, text = records.create_application("Shop")
    assert values_of(made) == [text.encode()]
    assert records.application(made.api_key) == made
    assert len(base64.urlsafe_b64decode(text + "=")) == 32


def test_an_unknown_api_key_is_nothing_at_all(records: Records) -> None:
    for api_key in ("Anobody", "", "a\0b", "\ud800", "x" * 100, "' OR 1=1 --"):
        assert records.application(api_key) is None


SWITCHES: dict[str, Any] = {
    "require_policy": True,
    "upload_whitelist": Whitelist(["*.example.com", "b\u00fccher.example:8080"]),
    "delivery_whitelist": Whitelist(["{a,b}.example.org"], missing="deny"),
    "regex": "search",
    "unknown_keys": "ignore",
    "standard_base64": False,
    "leeway": 60,
    "max_age": 0,
    "public_cache": True,
    "limits": Limits(max_bytes=2**40, max_pixels=7, max_animation_pixels=9),
    "metadata_profile": "no_location",
    "aliases": {"assets": "https://assets.example.org/", "media": "folder:media/2026", "own": "storage:assets/2026"},
    "storage": "assets",
    "allowed_types": ("image/*", "application/pdf"),
    "required": ("upload", "metadata"),
    "reported": ("conversion",),
    "scan": True,
    "retention": 3600,
    "undo": 86_400,
    "redirect": True,
}


def test_the_table_of_switches_names_every_switch_there_is() -> None:
    assert {field.name for field in fields(Application)} - {"api_key", "name", "secrets"} == SWITCHES.keys()


@pytest.mark.parametrize("name", SWITCHES)
def test_each_switch_survives_storing_and_changing_back(records: Records, database: Database, name: str) -> None:
    made, _ = records.create_application("Shop", **{name: SWITCHES[name]})
    fresh = Records(database, vault("old"), Clock())
    assert fresh.application(made.api_key) == made
    assert getattr(made, name) == SWITCHES[name]
    default = getattr(Application(secrets=made.secrets), name)
    assert records.update_application(made.api_key, **{name: default}) == replace(made, **{name: default})
    assert getattr(fresh.application(made.api_key), name) == default


def test_applications_are_listed_oldest_first_with_their_own_secrets(records: Records, clock: Clock) -> None:
    made = []
    for number in range(3):
        clock.now = NOW + number
        made.append(records.create_application(f"Shop {number}")[0])
    assert records.applications() == made


@pytest.mark.parametrize("secret", ["", "mysecret", "a" * 40, "0123456789" * 3])
def test_a_weak_secret_is_refused_and_nothing_is_stored(records: Records, secret: str) -> None:
    with pytest.raises(ConfigurationError):
        records.create_application("Shop", secret=secret)
    assert records.applications() == []


@pytest.mark.parametrize("api_key", ["", "a b", "a/b", "\u00e4", "a\0", "a\n", "x" * 65])
def test_a_malformed_api_key_is_refused(records: Records, api_key: str) -> None:
    with pytest.raises(BadRequest):
        records.create_application("Shop", api_key=api_key)


def test_an_api_key_is_given_once(records: Records) -> None:
    made, _ = records.create_application("First", api_key="Aone")
    with pytest.raises(BadRequest):
        records.create_application("Second", api_key="Aone")
    assert records.application("Aone") == made


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"leeway": 61}, ConfigurationError),
        ({"regex": "glob"}, ConfigurationError),
        ({"name": "a\0b"}, BadRequest),
        ({"api_key": "Aother"}, TypeError),
        ({"secrets": None}, TypeError),
        ({"colour": "red"}, TypeError),
    ],
)
def test_a_change_that_is_refused_changes_nothing(records: Records, changes: dict[str, Any], fault: type[Exception]) -> None:
    made, _ = records.create_application("Shop")
    with pytest.raises(fault):
        records.update_application(made.api_key, **{"require_policy": True} | changes)
    assert records.application(made.api_key) == made


def test_a_setting_of_a_newer_release_is_refused_and_not_skipped(records: Records, database: Database) -> None:
    owner(records)
    with database.write() as connection:
        connection.execute(sa.update(tables.application).values(settings={"only_on_sundays": True}))
        database.bump(connection)
    with pytest.raises(ConfigurationError, match="only_on_sundays"):
        records.application("Aowner")


def test_a_row_older_than_a_switch_takes_its_default(records: Records, database: Database) -> None:
    owner(records)
    with database.write() as connection:
        connection.execute(sa.update(tables.application).values(settings={"leeway": 5}))
        database.bump(connection)
    found = records.application("Aowner")
    assert found is not None
    assert (found.leeway, found.max_age, found.limits) == (5, 3600, Limits())


def test_operations_on_an_application_that_is_not_there_say_so(records: Records) -> None:
    operations: list[Callable[[], object]] = [
        lambda: records.update_application("Anobody", name="x"),
        lambda: records.rotate_secret("Anobody"),
        lambda: records.end_grace("Anobody"),
        lambda: records.delete_application("Anobody"),
        lambda: records.add_file(link("Anobody")),
    ]
    for operation in operations:
        with pytest.raises(NotFound, match="application"):
            operation()


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_rotating_puts_a_new_secret_in_the_place_of_the_old_one(records: Records, database: Database) -> None:
    made, first = records.create_application("Shop")
    rotated, second = records.rotate_secret(made.api_key)
    assert first != second
    assert values_of(rotated) == [second.encode()]
    assert records.application(made.api_key) == rotated
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tables.application_secret)).scalar_one() == 1


def test_a_grace_period_keeps_the_old_secret_verifying_until_its_end(records: Records) -> None:
    made, first = records.create_application("Shop")
    _, second = records.rotate_secret(made.api_key, grace=600)
    found = records.application(made.api_key)
    assert found is not None
    assert values_of(found) == [second.encode(), first.encode()]
    assert [secret.state for secret in found.secrets.secrets] == [SecretState.ACTIVE, SecretState.VERIFY_ONLY]
    assert len(found.secrets.in_force(NOW + 599)) == 2
    assert [secret.value for secret in found.secrets.in_force(NOW + 600)] == [second.encode()]


def test_a_grace_period_can_be_ended_at_once(records: Records) -> None:
    made, _ = records.create_application("Shop")
    _, second = records.rotate_secret(made.api_key, grace=600)
    assert values_of(records.end_grace(made.api_key)) == [second.encode()]
    assert values_of(records.application(made.api_key)) == [second.encode()]


@pytest.mark.parametrize("grace", [-1, 86_401])
def test_a_grace_period_over_a_day_is_refused_and_the_secret_stays(records: Records, grace: int) -> None:
    made, text = records.create_application("Shop")
    with pytest.raises(ConfigurationError):
        records.rotate_secret(made.api_key, grace=grace)
    assert values_of(records.application(made.api_key)) == [text.encode()]


def test_many_rotations_with_grace_keep_the_newest_five_in_order(records: Records) -> None:
    made, first = records.create_application("Shop")
    texts = [first] + [records.rotate_secret(made.api_key, grace=86_400)[1] for _ in range(7)]
    assert values_of(records.application(made.api_key)) == [text.encode() for text in reversed(texts[-5:])]


def test_a_rotation_counts_at_once_for_another_object_that_remembers_the_old_secret(
    records: Records, database_url: str
) -> None:
    made, _ = records.create_application("Shop")
    other_database = Database(database_url)
    other = Records(other_database, vault("old"), Clock())
    for _ in range(3):
        assert values_of(other.application(made.api_key)) == values_of(made)
        made, _ = records.rotate_secret(made.api_key)
        assert other.application(made.api_key) == made
    other_database.close()


def test_a_rotation_by_another_process_counts_at_once(records: Records, database_url: str) -> None:
    made, first = records.create_application("Shop")
    assert values_of(records.application(made.api_key)) == [first.encode()]
    command = [sys.executable, "-c", ROTATE, database_url, OLD_KEY.hex(), made.api_key]
    second = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    assert values_of(records.application(made.api_key)) == [second.encode()]


def test_an_application_that_did_not_change_is_remembered_and_adding_files_changes_none(records: Records) -> None:
    owner(records)
    first = records.application("Aowner")
    records.add_file(link())
    assert records.application("Aowner") is first


def test_the_secret_is_nowhere_in_the_database_in_any_spelling(
    records: Records, database: Database, database_url: str, tmp_path: Path
) -> None:
    records.create_application("Shop", api_key="Ashop", secret=MARKER)
    records.rotate_secret("Ashop", grace=60)
    plain = MARKER.encode()
    spellings = [plain, plain.hex().encode(), plain.hex().upper().encode()]
    for shift in range(3):  # Base64 looks different for each position in its groups of three
        coded = base64.b64encode(b"\0" * shift + plain)[4:-4]
        spellings += [coded, coded.translate(bytes.maketrans(b"+/", b"-_"))]
    places = [everything(database).encode()]
    places += [path.read_bytes() for path in tmp_path.iterdir()]
    assert all(b"Ashop" in place for place in places[:1])
    for place in places:
        assert not [spelling for spelling in spellings if spelling in place]


def test_a_sealed_secret_copied_to_another_application_does_not_open(records: Records, database: Database) -> None:
    owner(records, "Aone")
    owner(records, "Atwo")
    secret = tables.application_secret
    with database.write() as connection:
        stolen = connection.execute(sa.select(secret.c.sealed).where(secret.c.application == "Aone")).scalar_one()
        connection.execute(sa.update(secret).where(secret.c.application == "Atwo").values(sealed=stolen))
        database.bump(connection)
    assert records.application("Aone") is not None
    with pytest.raises(VaultError):
        records.application("Atwo")


def test_rewrapping_frees_the_old_master_key_and_changes_no_secret(records: Records, database: Database) -> None:
    made = [records.create_application(f"Shop {number}")[0] for number in range(3)]
    records.rotate_secret(made[0].api_key, grace=600)
    both, only_new = Records(database, vault("old", "new"), Clock()), Records(database, vault("new"), Clock())
    before = records.applications()
    assert both.rewrap_secrets() == 4
    assert both.rewrap_secrets() == 0
    assert only_new.applications() == before


def test_rewrapping_goes_on_where_it_was_interrupted(records: Records, database: Database) -> None:
    owner(records, "Aone")
    both = Records(database, vault("old", "new"), Clock())
    both.create_application("Two", api_key="Atwo")  # already under the new key
    before = both.applications()
    assert both.rewrap_secrets() == 1
    assert Records(database, vault("new"), Clock()).applications() == before


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"container": "bucket", "path": "/a/b.pdf"},
        {"container": "", "path": ""},
        {"filename": "\u202e\U0001f600 \"'\r\n\\%00.png", "mimetype": ""},
        {"size": 0, "uploaded": 0},
    ],
)
def test_a_file_is_read_back_exactly(records: Records, changes: dict[str, Any]) -> None:
    owner(records)
    stored = link(**changes)
    records.add_file(stored)
    assert records.file(stored.handle) == stored
    assert records.file(stored.handle, application="Aowner") == stored


@pytest.mark.parametrize("field", ["filename", "mimetype", "path", "container", "key"])
def test_a_text_that_cannot_be_stored_is_refused_before_anything_is(field: str) -> None:
    with pytest.raises(BadRequest):
        link(**{field: "a\0b"})


@pytest.mark.parametrize("handle", ["", "nobody", "a\0b", "\ud800", "\u00e4", "x" * 5000, "' OR 1=1 --"])
def test_an_unknown_handle_is_nothing_at_all(records: Records, handle: str) -> None:
    owner(records)
    records.add_file(link())
    assert records.file(handle) is None
    with pytest.raises(NotFound):
        records.remove_file(handle, application="Aowner")


def test_a_handle_in_use_is_never_given_to_another_file(records: Records) -> None:
    owner(records)
    first = link()
    records.add_file(first)
    with pytest.raises(StorageFault):
        records.add_file(link(handle=first.handle))
    assert records.file(first.handle) == first


def test_overwriting_returns_the_old_file_and_keeps_the_handle(records: Records) -> None:
    owner(records)
    old = link()
    records.add_file(old)
    new = replace(old, size=9, key="blobs/other", version=2)
    assert records.replace_file(old.handle, new) == old
    assert records.file(old.handle) == new


@pytest.mark.parametrize("version", [1, 3])
def test_an_overwrite_of_a_version_that_is_not_the_last_one_is_refused(records: Records, version: int) -> None:
    owner(records)
    old = link()
    records.add_file(old)
    with pytest.raises(Busy):
        records.replace_file(old.handle, replace(old, version=version, size=9))
    assert records.file(old.handle) == old


def test_an_overwrite_cannot_change_the_handle(records: Records) -> None:
    owner(records)
    old = link()
    records.add_file(old)
    with pytest.raises(ValueError, match="handle"):
        records.replace_file(old.handle, replace(old, handle=new_handle(), version=2))


def test_threads_and_processes_overwriting_at_once_lose_no_overwrite(records: Records, database_url: str) -> None:
    owner(records)
    first = link(size=0)
    records.add_file(first)
    command = [sys.executable, "-c", OVERWRITE, database_url, OLD_KEY.hex(), first.handle]
    others = [subprocess.Popen(command) for _ in range(2)]

    def overwrite_ten_times() -> None:
        done = 0
        while done < 10:
            found = records.file(first.handle)
            assert found is not None
            try:
                records.replace_file(found.handle, replace(found, version=found.version + 1, size=found.size + 1))
                done += 1
            except Busy:
                pass

    threads = [threading.Thread(target=overwrite_ten_times) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait() for other in others] == [0, 0]
    assert records.file(first.handle) == replace(first, size=50, version=51)


def test_removing_forgets_the_file_and_nothing_else(records: Records) -> None:
    owner(records)
    gone, kept = link(), link()
    for each in (gone, kept):
        records.add_file(each)
    assert records.remove_file(gone.handle, application="Aowner") == gone
    assert records.file(gone.handle) is None
    assert records.file(kept.handle) == kept
    with pytest.raises(NotFound):
        records.remove_file(gone.handle, application="Aowner")


def test_the_pages_of_a_list_are_newest_first_and_hold_every_file_once(records: Records) -> None:
    owner(records)
    owner(records, "Aother")
    made = [link(uploaded=number // 3) for number in range(11)]  # several in the same millisecond
    for each in [*made, link("Aother")]:
        records.add_file(each)
    pages, after = [], None
    while page := records.files("Aowner", after=after, limit=4):
        pages.append(page)
        after = page[-1]
    assert [len(page) for page in pages] == [4, 4, 3]
    listed = [each for page in pages for each in page]
    assert listed == sorted(made, key=lambda each: (each.uploaded, each.handle), reverse=True)
    assert records.count_files("Aowner") == 11
    assert len(records.files("Aowner", limit=-5)) == 1


# --- bytes to be deleted ---------------------------------------------------------------------------------------------


def test_bytes_whose_row_goes_are_listed_until_they_are_deleted(records: Records) -> None:
    owner(records)
    owner(records, "Agone")
    removed, overwritten, kept = link(key="a"), link(key="b"), link(key="c")
    for each in (removed, overwritten, kept, link("Agone", key="d")):
        records.add_file(each)
    assert records.blobs_to_delete() == []
    records.remove_file(removed.handle, application="Aowner")
    records.replace_file(overwritten.handle, replace(overwritten, key="e", version=2))
    records.delete_application("Agone")
    listed = [Blob("local", key) for key in ("a", "b", "d")]
    assert records.blobs_to_delete() == listed
    assert records.blobs_to_delete(after=listed[0], limit=1) == [listed[1]]
    records.blobs_deleted([listed[0], listed[2], Blob("other", "b")])
    assert records.blobs_to_delete() == [listed[1]]
    records.blobs_deleted([])


def test_a_change_that_fails_lists_no_bytes(records: Records) -> None:
    owner(records)
    stored = link()
    records.add_file(stored)
    with pytest.raises(Busy):
        records.replace_file(stored.handle, replace(stored, key="new", version=5))
    with pytest.raises(NotFound):
        records.remove_file(stored.handle, application="Aother")
    records.remove_file(stored.handle, application="Aowner", keep_blob=True)
    assert records.blobs_to_delete() == []


# --- what is remembered ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["overwrite", "remove", "drop results", "delete the application"])
def test_what_is_remembered_of_files_is_out_of_date_after_a_change(records: Records, database_url: str, change: str) -> None:
    owner(records)
    stored = link()
    records.add_file(stored)
    other_database = Database(database_url)
    other = Records(other_database, vault("old"), Clock())
    before, of_all = other.generation(), other.generations()
    records.add_file(link())
    assert other.generations() == of_all
    records.update_application("Aowner", name="Renamed")
    assert other.generation() == before
    assert other.generations() != of_all
    of_all = other.generations()
    changes: dict[str, Callable[[], object]] = {
        "overwrite": lambda: records.replace_file(stored.handle, replace(stored, version=2)),
        "remove": lambda: records.remove_file(stored.handle, application="Aowner"),
        "drop results": records.touch_files,
        "delete the application": lambda: records.delete_application("Aowner"),
    }
    changes[change]()
    assert other.generation() != before
    assert other.generations() != of_all
    other_database.close()


# --- one application never reaches another's -------------------------------------------------------------------------


def test_no_operation_reaches_a_file_through_another_application(records: Records, database: Database) -> None:
    owner(records)
    owner(records, "Aother")
    victim = link()
    records.add_file(victim)
    before = everything(database)
    assert records.file(victim.handle, application="Aother") is None
    assert records.files("Aother") == []
    assert records.files("Aother", after=replace(victim, uploaded=2**60)) == []
    assert records.count_files("Aother") == 0
    with pytest.raises(NotFound):
        records.remove_file(victim.handle, application="Aother")
    with pytest.raises(NotFound):
        records.replace_file(victim.handle, replace(victim, application="Aother", version=2))
    assert everything(database) == before


def test_deleting_an_application_takes_all_that_is_its_own_and_nothing_else(records: Records) -> None:
    for api_key in ("Agone", "Akept"):
        owner(records, api_key)
        source = link(api_key, handle=f"h{api_key}", key=f"blobs/{api_key}")
        records.add_file(source)
    kept = records.application("Akept")
    assert records.application("Agone") is not None
    blobs = records.delete_application("Agone")
    assert blobs == [("local", "blobs/Agone")]
    assert records.application("Agone") is None
    assert records.file("hAgone") is None
    assert records.files("Agone") == []
    assert records.application("Akept") == kept
    assert records.file("hAkept") is not None


def test_an_application_made_again_under_the_same_key_starts_empty(records: Records) -> None:
    _, first = records.create_application("Shop", api_key="Ashop")
    records.add_file(link("Ashop"))
    records.delete_application("Ashop")
    made, second = records.create_application("Shop", api_key="Ashop")
    assert first != second
    assert records.application("Ashop") == made
    assert records.count_files("Ashop") == 0


def test_secrets_are_in_no_repr(records: Records) -> None:
    made, text = records.create_application("Shop")
    assert text not in repr(made)
    assert text not in repr(records)
    assert text not in repr(vars(records))
