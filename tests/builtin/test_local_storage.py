"""The local storage keeps whole blobs, inside its folder, whatever the disk and the moment do to it."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secure_delivery import builtin
from secure_delivery.builtin.local_storage import LocalStorage
from secure_delivery.gate.errors import ConfigurationError, NotFound, SecureDeliveryError, StorageFault, StorageFull
from secure_delivery.plugin import Listed, Located
from secure_delivery.plugin.testing import StorageContract

KEY = "a1b2c3d4e5f6071829304152"
OTHER = "00ff00ff00ff00ff00ff00ff"


class TestLocalStorageHoldsTheContract(StorageContract):
    def make_storage(self, tmp_path: Path) -> LocalStorage:
        return LocalStorage(tmp_path / "deep" / "root")


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "root")


def put(storage: LocalStorage, key: str, data: bytes) -> None:
    draft = storage.create(key, mimetype="text/plain")
    try:
        draft.write(data)
        draft.publish()
    finally:
        draft.discard()


def get(storage: LocalStorage, key: str) -> bytes:
    with storage.open(key) as stream:
        return stream.read()


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


# ----------------------------------------------------------------------------------------------------- files and names


def test_files_and_folders_are_for_the_owner_only_whatever_the_umask(storage: LocalStorage, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        put(storage, KEY, b"private")
        draft = storage.create(OTHER, mimetype="text/plain")
    finally:
        os.umask(before)
    root = tmp_path / "root"
    for path in [root, *root.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    draft.discard()


def test_nothing_is_made_before_the_first_blob(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "root")
    for act in (storage.open, storage.locate):
        with pytest.raises(NotFound):
            act(KEY)
    storage.remove(KEY)
    assert storage.sweep(0) == 0
    assert list(tmp_path.iterdir()) == []


def test_blobs_are_spread_over_two_levels_of_folders(storage: LocalStorage, tmp_path: Path) -> None:
    put(storage, KEY, b"1")
    put(storage, f"renditions/{OTHER}", b"2")
    found = [str(path.relative_to(tmp_path / "root")) for path in files(tmp_path)]
    assert found == [f"blobs/00/ff/renditions-{OTHER}", f"blobs/a1/b2/{KEY}"]


def test_a_blob_can_be_located(storage: LocalStorage) -> None:
    put(storage, KEY, b"here")
    assert isinstance(storage, Located)
    assert storage.locate(KEY).read_bytes() == b"here"


def test_a_relative_root_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    storage = LocalStorage(Path("root"))
    put(storage, KEY, b"1")
    monkeypatch.chdir("/")
    assert get(storage, KEY) == b"1"


def test_two_storages_on_one_root_see_each_others_blobs(tmp_path: Path) -> None:
    first, second = LocalStorage(tmp_path), LocalStorage(tmp_path)
    put(first, KEY, b"1")
    put(second, KEY, b"2")
    assert get(first, KEY) == b"2"


def test_a_folder_that_somebody_emptied_and_removed_is_made_again(storage: LocalStorage, tmp_path: Path) -> None:
    put(storage, KEY, b"1")
    shutil.rmtree(tmp_path / "root" / "blobs")
    put(storage, KEY, b"2")
    assert get(storage, KEY) == b"2"


HOSTILE = [
    "",
    "short",
    "../../etc/passwd",
    "/etc/passwd",
    "aaaaaaaa/../bbbbbbbb",
    "aaaaaaaa//bbbbbbbb",
    "aaaaaaaa/",
    "/aaaaaaaa",
    "aaaaaaaa\0",
    "aaaaaaaa\n",
    "AAAAAAAA",
    "aaaa.aaaa",
    "aaaa-aaaa",
    "\uff41aaaaaaa",
    "a" * 65,
    "a/b/c/dddddddd",
    "~root/aaaaaaaa",
]
NAMES = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(["..", ".", "", "/", "a1b2c3d4", "~", "\0", "tmp", "blobs", "%2e%2e"]), max_size=6).map("/".join),
    st.from_regex(r"(?:[a-z0-9]{1,64}/){0,2}[a-z0-9]{8,64}", fullmatch=True),
)


@pytest.mark.parametrize("key", HOSTILE)
def test_what_is_no_key_is_refused_by_every_method_and_not_told_to_clients(storage: LocalStorage, key: str) -> None:
    for act in (lambda: storage.create(key, mimetype="a/b"), lambda: storage.open(key), lambda: storage.locate(key)):
        with pytest.raises(StorageFault) as caught:
            act()
        assert caught.value.public == StorageFault.sentence
    with pytest.raises(StorageFault):
        storage.remove(key)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(key=NAMES)
def test_no_name_writes_or_removes_outside_the_root(tmp_path: Path, key: str) -> None:
    outside = tmp_path / "outside"
    root = outside / "a" / "b" / "root"
    if not outside.exists():
        root.mkdir(parents=True)
        for folder in (outside, outside / "a", outside / "a" / "b", root):
            (folder / "a1b2c3d4").write_bytes(b"keep")
    kept = [path for path in files(outside) if path.name == "a1b2c3d4" and path.parent.name != "b2"]
    storage = LocalStorage(root)
    try:
        put(storage, key, b"written")
        assert get(storage, key) == b"written"
        assert root / "blobs" in storage.locate(key).parents
        storage.remove(key)
    except StorageFault:
        pass
    assert files(outside) == kept
    assert all(path.read_bytes() == b"keep" for path in kept)


@given(keys=st.lists(NAMES, min_size=2, max_size=2, unique=True))
def test_two_keys_never_share_a_file(keys: list[str]) -> None:
    storage = LocalStorage(Path("/nowhere"))
    paths = []
    for key in keys:
        try:
            paths.append(storage._path(key))
        except StorageFault:
            return
    first, second = paths
    assert first != second
    assert first not in second.parents
    assert second not in first.parents


# ------------------------------------------------------------------------------------------------------------- reading


def test_a_stream_of_the_whole_has_a_descriptor_and_one_of_a_part_has_none(storage: LocalStorage) -> None:
    put(storage, KEY, b"0123456789")
    with storage.open(KEY) as whole:
        assert os.pread(whole.fileno(), 100, 0) == b"0123456789"
    with storage.open(KEY, length=10) as whole:
        assert os.fstat(whole.fileno()).st_size == 10
    for window in ({"start": 1}, {"length": 9}, {"start": 10}):
        with storage.open(KEY, **window) as part, pytest.raises(OSError):
            part.fileno()


def test_a_window_can_be_read_again_and_not_left(storage: LocalStorage) -> None:
    put(storage, KEY, b"0123456789")
    with storage.open(KEY, start=2, length=5) as part:
        assert part.read() == b"23456"
        assert part.seek(-2, os.SEEK_END) == 3
        assert part.read() == b"56"
        assert part.seek(50) == 50
        assert part.read() == b""
        with pytest.raises(ValueError):
            part.seek(-1)
        assert part.seek(0) == 0
        assert part.read(100) == b"23456"


def test_a_closed_stream_gives_nothing_and_keeps_no_descriptor(storage: LocalStorage) -> None:
    put(storage, KEY, b"0123456789")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        stream = storage.open(KEY)
        stream.close()
        stream.close()
        with pytest.raises(ValueError):
            stream.read(1)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("window", [{"start": -1}, {"length": -1}])
def test_a_negative_window_is_a_mistake_of_the_caller(storage: LocalStorage, window: dict[str, int]) -> None:
    put(storage, KEY, b"0123456789")
    with pytest.raises(ValueError):
        storage.open(KEY, **window)


# -------------------------------------------------------------------------------------------------------------- drafts


def test_a_discarded_draft_leaves_no_file(storage: LocalStorage, tmp_path: Path) -> None:
    draft = storage.create(KEY, mimetype="text/plain")
    draft.write(b"given up")
    assert len(files(tmp_path)) == 1
    draft.discard()
    assert files(tmp_path) == []


def test_a_draft_that_is_over_takes_nothing_more(storage: LocalStorage) -> None:
    published, discarded = (storage.create(key, mimetype="text/plain") for key in (KEY, OTHER))
    published.publish()
    discarded.discard()
    for draft in (published, discarded):
        with pytest.raises(StorageFault):
            draft.write(b"late")
        with pytest.raises(StorageFault):
            draft.publish()
    assert get(storage, KEY) == b""


def test_a_sweep_removes_abandoned_drafts_and_only_those(storage: LocalStorage, tmp_path: Path) -> None:
    put(storage, KEY, b"published")
    tmp = tmp_path / "root" / "tmp"
    for name, age in (("young", 10), ("old", 5_000), ("older", 9_000)):
        (tmp / name).write_bytes(b"left behind")
        os.utime(tmp / name, (1_000_000 - age, 1_000_000 - age))
    (tmp / "folder").mkdir()
    (tmp / "link").symlink_to(tmp_path)
    assert storage.sweep(3_600, now=1_000_000) == 2
    assert {path.name for path in tmp.iterdir()} == {"young", "folder", "link"}
    assert get(storage, KEY) == b"published"


def test_a_sweep_leaves_a_draft_that_is_still_being_written(storage: LocalStorage) -> None:
    draft = storage.create(KEY, mimetype="text/plain")
    draft.write(b"slow ")
    assert storage.sweep(-1_000_000) == 0
    draft.write(b"upload")
    draft.publish()
    assert get(storage, KEY) == b"slow upload"


# ---------------------------------------------------------------------------------------------------------------- disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB. Only root may mount one; elsewhere the test is skipped, visibly."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    done = subprocess.run([mount, "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_refuses_writes_keeps_reads_and_deletes_and_recovers(small_disk: Path) -> None:
    storage = LocalStorage(small_disk / "root")
    put(storage, KEY, b"x" * 20_000)
    draft = storage.create(OTHER, mimetype="text/plain")
    with pytest.raises(StorageFull) as caught:
        for _ in range(100):
            draft.write(b"y" * 4_096)
    assert caught.value.status == 507
    assert str(small_disk) not in caught.value.public
    with pytest.raises(StorageFault):
        draft.publish()
    draft.discard()
    with pytest.raises(NotFound):
        storage.open(OTHER)
    assert list((small_disk / "root" / "tmp").iterdir()) == []
    assert get(storage, KEY) == b"x" * 20_000
    storage.remove(KEY)
    put(storage, OTHER, b"z" * 20_000)
    assert get(storage, OTHER) == b"z" * 20_000


def test_a_read_only_disk_is_a_fault_for_writers_only_and_recovers(small_disk: Path) -> None:
    storage = LocalStorage(small_disk / "root")
    put(storage, KEY, b"before")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    writers: list[Callable[[], None]] = [lambda: put(storage, OTHER, b"x"), lambda: storage.remove(KEY)]
    for act in writers:
        with pytest.raises(StorageFault) as caught:
            act()
        assert (caught.value.status, caught.value.public) == (503, StorageFault.sentence)
        assert errno.errorcode[errno.EROFS] in str(caught.value)
    assert get(storage, KEY) == b"before"
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    put(storage, OTHER, b"after")
    assert get(storage, OTHER) == b"after"


def _limited(code: str, folder: Path) -> str:
    """The output of a script in a process of its own, so that its limits are its own too."""
    script = f"import resource\nfrom pathlib import Path\nfrom {LocalStorage.__module__} import LocalStorage\n"
    script += f"storage = LocalStorage(Path({str(folder)!r}))\n{code}"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def test_a_file_that_may_not_grow_is_a_full_storage(tmp_path: Path) -> None:
    code = f"""
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
draft = storage.create({KEY!r}, mimetype="text/plain")
try:
    draft.write(b"x" * 10_000)
except Exception as error:
    print(type(error).__name__)
"""
    assert _limited(code, tmp_path / "root") == "StorageFull"
    assert files(tmp_path) == []


def test_no_descriptors_left_is_a_fault_and_passes(tmp_path: Path) -> None:
    code = f"""
import os
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
storage.create({KEY!r}, mimetype="text/plain").publish()
taken = []
while True:
    try:
        taken.append(os.open("/", os.O_RDONLY))
    except OSError:
        break
for act in (lambda: storage.create({OTHER!r}, mimetype="text/plain"), lambda: storage.open({KEY!r})):
    try:
        act()
    except Exception as error:
        print(type(error).__name__)
for descriptor in taken:
    os.close(descriptor)
storage.create({OTHER!r}, mimetype="text/plain").publish()
storage.open({OTHER!r}).close()
print("recovered")
"""
    assert _limited(code, tmp_path / "root").split() == ["StorageFault", "StorageFault", "recovered"]


# -------------------------------------------------------------------------------------------------------------- crashes

WRITER = f"""
import sys
from pathlib import Path
from {LocalStorage.__module__} import LocalStorage
from secure_delivery.gate.errors import SecureDeliveryError
storage = LocalStorage(Path(sys.argv[1]))
for key in sys.argv[2:]:
    try:
        draft = storage.create(key, mimetype="text/plain")
        try:
            draft.write(b"new" * 5_000)
            draft.write(b"new" * 5_000)
            draft.publish()
        finally:
            draft.discard()
        print(key, "published", flush=True)
    except SecureDeliveryError as error:
        print(key, type(error).__name__, flush=True)
"""
OLD, NEW = b"old" * 10_000, b"new" * 10_000


@pytest.fixture(scope="module")
def strace(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of strace, where it is there and may trace; elsewhere the tests are skipped, visibly."""
    found = shutil.which("strace")
    if found is None:
        pytest.skip("strace is not installed")
    probe = subprocess.run([found, "-f", "-e", "inject=fsync:error=EIO", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("strace may not trace here")
    return found


def _traced(strace: str, root: Path, expression: str, *keys: str, log: Path | None = None) -> subprocess.CompletedProcess[str]:
    options = ["-o", str(log or os.devnull), "-e", "signal=none", *(part for one in expression.split() for part in ("-e", one))]
    command = [strace, "-f", *options, sys.executable, "-c", WRITER, str(root), *keys]
    return subprocess.run(command, capture_output=True, text=True, check=False)


#: The calls of one publication, and how often each is made at most: with old folders there, and without.
MOMENTS = [("fsync", when) for when in (1, 2, 3, 6, 7)] + [
    ("/^rename", 1),
    ("/^mkdir", 2),
    ("/^mkdir", 4),
    ("write", 1),
    ("write", 2),
]


@pytest.mark.parametrize("exists", [True, False], ids=["replacing", "new"])
@pytest.mark.parametrize(("call", "when"), MOMENTS)
def test_a_crash_at_any_call_leaves_old_new_or_nothing_whole(
    strace: str, storage: LocalStorage, tmp_path: Path, call: str, when: int, exists: bool
) -> None:
    if exists:
        put(storage, KEY, OLD)
    done = _traced(strace, tmp_path / "root", f"inject={call}:signal=KILL:when={when}", KEY)
    assert (done.returncode == 0) == ("published" in done.stdout)
    assert done.returncode or when > 1, "the first call of each kind is always made, so the crash must have happened"
    try:
        assert get(storage, KEY) in ((OLD, NEW) if exists else (NEW,))
    except NotFound:
        assert not exists, "an old blob was lost"
    storage.sweep(-1_000_000)
    assert len(files(tmp_path)) <= 1, "a sweep removes what the crash left"
    put(storage, KEY, b"later")
    assert get(storage, KEY) == b"later"


@pytest.mark.parametrize("exists", [True, False], ids=["replacing", "new"])
@pytest.mark.parametrize(("call", "when"), MOMENTS)
def test_an_input_output_error_at_any_call_is_a_fault_and_the_next_blob_is_kept(
    strace: str, storage: LocalStorage, tmp_path: Path, call: str, when: int, exists: bool
) -> None:
    if exists:
        put(storage, KEY, OLD)
    done = _traced(strace, tmp_path / "root", f"inject={call}:error=EIO:when={when}", KEY, OTHER)
    assert done.returncode == 0, done.stderr
    outcome = dict(line.split() for line in done.stdout.splitlines())
    assert set(outcome.values()) <= {"published", "StorageFault"}
    assert "published" in outcome.values()
    for key, result in outcome.items():
        if result == "published":
            assert get(storage, key) == NEW
        elif key == KEY and exists:
            assert get(storage, key) in (OLD, NEW)
        else:
            with pytest.raises(NotFound):
                storage.open(key)
    assert list((tmp_path / "root" / "tmp").iterdir()) == []


def test_the_bytes_are_durable_before_the_name_and_the_name_before_the_answer(strace: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = _traced(strace, tmp_path / "root", "trace=/^(fsync|rename|mkdir|write|openat)", KEY, log=log)
    assert done.stdout.split() == [KEY, "published"]
    told = re.sub(r"\s*\n\d+\s+", "\n", "\n" + log.read_text())
    descriptors: dict[str, str] = {}
    steps: list[str] = []
    for line in told.splitlines():
        if (opened := re.match(r'openat\(AT_FDCWD[^,]*, "([^"]+)".*\) = (\d+)$', line)) is not None:
            descriptors[opened[2]] = opened[1]
        elif (synced := re.match(r"fsync\((\d+)\)\s+= 0", line)) is not None:
            steps.append(f"fsync {descriptors[synced[1]]}")
        elif (renamed := re.match(r'rename\w*\(.*?"([^"]+)",.*?"([^"]+)".*= 0', line)) is not None:
            steps.append("rename")
            draft, target = renamed[1], renamed[2]
        elif (made := re.match(r'mkdir\w*\(.*?"([^"]+)".*= 0', line)) is not None:
            steps.append(f"mkdir {made[1]}")
        elif line.startswith("write(1,"):
            steps.append("answer")
    ending = steps[steps.index("rename") :]
    assert ending[:3] == ["rename", f"fsync {Path(target).parent}", "answer"]
    assert steps.index(f"fsync {draft}") < steps.index("rename"), "the bytes come before the name"
    for place, step in enumerate(steps):
        if step.startswith("mkdir"):
            assert steps[place + 1] == f"fsync {Path(step.split()[1]).parent}", "a folder is durable before it is used"


def test_every_fault_is_of_the_one_tree_and_names_no_path_to_clients(storage: LocalStorage, tmp_path: Path) -> None:
    (tmp_path / "root").write_bytes(b"a file where the folder should be")
    for act in (
        lambda: put(storage, KEY, b"x"),
        lambda: storage.open(KEY),
        lambda: storage.locate(KEY),
        lambda: storage.sweep(0),
    ):
        with pytest.raises(SecureDeliveryError) as caught:
            act()
        assert str(tmp_path) not in caught.value.public
        assert isinstance(caught.value, StorageFault)


# -------------------------------------------------------------------------------------------------------------- listing


def test_all_keys_are_listed_with_their_sizes_and_times_and_nothing_else_is(storage: LocalStorage, tmp_path: Path) -> None:
    before = time.time() - 1
    put(storage, KEY, b"1")
    put(storage, f"renditions/{OTHER}", b"22")
    draft = storage.create("d" * 16, mimetype="text/plain")
    blobs = tmp_path / "root" / "blobs"
    (blobs / "README").write_bytes(b"not a folder")
    (blobs / "a1" / "b2" / f"{KEY}.sum").write_bytes(b"not a blob")
    (blobs / "a1" / "b2" / OTHER).write_bytes(b"in a folder where no key leads")
    (blobs / "a1" / "b2" / "a1b2aaaaaaaa").symlink_to(tmp_path)
    found = {key: (size, moment) for key, size, moment in storage.keys()}  # noqa: SIM118 - no mapping
    assert {key: size for key, (size, _) in found.items()} == {KEY: 1, f"renditions/{OTHER}": 2}
    assert all(before <= moment <= time.time() + 1 for _, moment in found.values())
    assert isinstance(storage, Listed)
    draft.discard()


def test_listing_goes_on_while_blobs_and_folders_vanish_and_come(storage: LocalStorage, tmp_path: Path) -> None:
    keys = [hashlib.sha256(b"%d" % number).hexdigest()[:40] for number in range(300)]
    for key in keys:
        put(storage, key, b"x")
    together = [f"0000{number:020d}" for number in range(50)]
    for key in together:
        put(storage, key, b"x")
    listing = storage.keys()
    while next(listing)[0] not in together:
        pass
    for key in together:
        storage.remove(key)
    assert not set(together) & {key for key, _, _ in listing}, "known to the listing already, and gone"
    listing = storage.keys()
    seen = [next(listing)[0] for _ in range(100)]
    gone = set(keys) - set(seen)
    for key in gone:
        storage.remove(key)
    shutil.rmtree(tmp_path / "root" / "blobs" / min(gone)[:2])
    seen += [key for key, _, _ in listing]
    assert set(seen) <= set(keys) and len(seen) == len(set(seen)) and len(seen) < 110, "what is gone is not listed"


def test_a_listing_holds_one_blob_at_a_time_however_many_there_are(storage: LocalStorage) -> None:
    for number in range(400):
        put(storage, f"aaaa{number:020d}", b"x")  # all in one folder
    tracemalloc.start()
    try:
        listing = storage.keys()
        assert sum(1 for _ in listing) == 400
        assert tracemalloc.get_traced_memory()[1] < 60_000, "a list of 400 entries takes more"
    finally:
        tracemalloc.stop()


# ------------------------------------------------------------------------------------------------------------ checksums


@pytest.fixture(params=["attribute", "side file"])
def verified(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalStorage]:
    """A storage that compares, on a file system with user attributes and on one without, which is mounted."""
    if request.param == "attribute":
        if not _takes_attributes(tmp_path):
            pytest.skip("this file system keeps no user attributes")
        yield LocalStorage(tmp_path / "root", verify=True)
        return
    folder = tmp_path / "plain"
    folder.mkdir()
    ramfs = ["mount", "-t", "ramfs", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(ramfs, capture_output=True, check=False).returncode:
        pytest.skip("a file system without attributes cannot be mounted here")
    try:
        if _takes_attributes(folder):
            pytest.skip("ramfs keeps user attributes here")
        yield LocalStorage(folder / "root", verify=True)
    finally:
        subprocess.run(["umount", folder], check=True)


def _takes_attributes(folder: Path) -> bool:
    probe = folder / "probe"
    probe.write_bytes(b"")
    try:
        os.setxattr(probe, "user.sha256", b"x")
    except OSError:
        return False
    finally:
        probe.unlink()
    return True


class TestLocalStorageThatComparesHoldsTheContract(StorageContract):
    def make_storage(self, tmp_path: Path) -> LocalStorage:
        return LocalStorage(tmp_path / "root", verify=True)


def _damage(path: Path, at: int, with_: bytes = b"!") -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(with_)


BIG = bytes(range(256)) * 4_000  # more than one piece of any reader


@pytest.mark.parametrize("at", [0, 500_000, len(BIG) - 1])
@pytest.mark.parametrize("piece", [-1, 1_000, 300_000])
def test_the_last_bytes_of_a_damaged_blob_are_never_given_out(
    verified: LocalStorage, at: int, piece: int, caplog: pytest.LogCaptureFixture
) -> None:
    put(verified, KEY, BIG)
    assert get(verified, KEY) == BIG
    _damage(verified.locate(KEY), at)
    got = 0
    with verified.open(KEY) as stream:
        with pytest.raises(StorageFault) as caught:
            while part := stream.read(piece):
                got += len(part)
        with pytest.raises(StorageFault):
            stream.read()
    assert got < len(BIG)
    assert KEY in caplog.text and "damaged" in caplog.text
    assert KEY not in caught.value.public


def test_a_blob_that_was_cut_short_or_grew_is_damaged(verified: LocalStorage) -> None:
    for change in (lambda path: os.truncate(path, 999), lambda path: _damage(path, 1_000)):
        put(verified, KEY, b"x" * 1_000)
        change(verified.locate(KEY))
        with pytest.raises(StorageFault):
            get(verified, KEY)


def test_a_part_is_read_without_comparing_and_reading_about_does_not_raise_a_false_alarm(verified: LocalStorage) -> None:
    put(verified, KEY, BIG)
    with verified.open(KEY) as stream:
        stream.read(1_000)
        stream.seek(0)
        stream.read(200_000)
        stream.seek(-10, os.SEEK_END)
        assert stream.read() == BIG[-10:]
        stream.seek(0)
        assert stream.read() == BIG
    _damage(verified.locate(KEY), 0)
    with verified.open(KEY, start=1) as part:
        assert part.read() == BIG[1:]
    with verified.open(KEY, length=len(BIG) - 1) as part:
        assert part.read() == b"!" + BIG[1:-1]


def test_a_blob_that_is_compared_has_no_descriptor_to_read_it_by_otherwise(verified: LocalStorage) -> None:
    put(verified, KEY, BIG)
    with verified.open(KEY) as stream, pytest.raises(OSError):
        stream.fileno()
    assert verified.lend(KEY) is None


def test_blobs_from_before_are_read_and_those_of_others_are_not_compared(storage: LocalStorage, tmp_path: Path) -> None:
    put(storage, KEY, b"before")
    later = LocalStorage(tmp_path / "root", verify=True)
    assert get(later, KEY) == b"before"
    put(later, OTHER, b"after")
    _damage(later.locate(OTHER), 0)
    assert get(storage, OTHER) == b"!fter"


def test_a_blob_takes_its_checksum_with_it_when_it_is_replaced_or_removed(verified: LocalStorage, tmp_path: Path) -> None:
    for content in (b"one", b"three", b"seven"):
        put(verified, KEY, content)
        assert get(verified, KEY) == content
    verified.create(OTHER, mimetype="text/plain").discard()
    verified.remove(KEY)
    assert [path for path in files(tmp_path) if path.name != "probe"] == []


def test_a_checksum_beside_another_inode_says_nothing(verified: LocalStorage) -> None:
    put(verified, KEY, b"one")
    path = verified.locate(KEY)
    content = b"restored, or replaced this very moment"
    copy = path.with_name("copy")
    copy.write_bytes(content)
    copy.rename(path)
    assert get(verified, KEY) == content


# -------------------------------------------------------------------------------------------------------------- lending


def test_what_was_lent_stays_that_version_and_goes_after_its_time(storage: LocalStorage, tmp_path: Path) -> None:
    put(storage, KEY, b"old")
    lent = storage.lend(KEY)
    again = storage.lend(KEY)
    assert lent is not None and again is not None and lent != again
    put(storage, KEY, b"new")
    storage.remove(KEY)
    assert lent.read_bytes() == b"old"
    assert storage.reclaim(now=time.time() + 50) == 0
    assert lent.exists()
    (tmp_path / "root" / "sent" / "something else").write_bytes(b"")
    assert storage.reclaim(now=time.time() + 100) == 2
    assert [path.name for path in files(tmp_path)] == ["something else"]


def test_a_sweep_takes_back_what_a_crash_left_lent(storage: LocalStorage) -> None:
    put(storage, KEY, b"old")
    lent = storage.lend(KEY)
    assert lent is not None
    assert storage.sweep(86_400) == 0
    assert lent.exists()
    assert storage.sweep(86_400, now=time.time() + 200) == 0
    assert not lent.exists()


def test_what_cannot_be_lent_is_not(storage: LocalStorage, small_disk: Path) -> None:
    with pytest.raises(NotFound):
        storage.lend(KEY)
    small = LocalStorage(small_disk / "root")
    put(small, KEY, b"x")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert small.lend(KEY) is None
    assert get(small, KEY) == b"x"


def test_the_group_of_the_root_may_read_what_is_lent_and_enter_nothing_else(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "root"
    storage = LocalStorage(root, group_read=True)
    before = os.umask(0o077)
    try:
        put(storage, KEY, b"x")
        lent = storage.lend(KEY)
    finally:
        os.umask(before)
    assert lent is not None
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [root.parent, root, *root.iterdir()]}
    assert modes == {"deep": 0o700, "root": 0o750, "sent": 0o750, "tmp": 0o700, "blobs": 0o700}
    assert stat.S_IMODE(lent.stat().st_mode) == 0o640


# ------------------------------------------------------------------------------------------------------------- settings


def test_the_settings_of_the_plugin_reach_the_storage_and_wrong_ones_are_refused(tmp_path: Path) -> None:
    found = builtin.register_storages({"root": str(tmp_path / "root"), "verify": True})
    assert found is not None
    storage = found["local"]
    assert isinstance(storage, LocalStorage)
    put(storage, KEY, b"x")
    assert storage.lend(KEY) is None, "it compares"
    for wrong in ({"verify": "yes"}, {"group_read": 1}, {"verfiy": True}):
        with pytest.raises(ConfigurationError) as caught:
            builtin.self_test(wrong)
        assert next(iter(wrong)) in str(caught.value)
    builtin.self_test({"root": str(tmp_path), "verify": True, "group_read": False})
