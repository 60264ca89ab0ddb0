"""`secure-delivery vault …`: keys are rotated beside running servers, survive being killed anywhere, and can be thrown away."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from buckets import SECRET, S3Server, bucket_server, bucket_settings, options
from commands import Run, commands
from live import Server, running

from secure_delivery.engine import Engine, build, open_vault
from secure_delivery.engine.files import Target
from secure_delivery.engine.outbound import OutboundGuard
from secure_delivery.engine.records import Records
from secure_delivery.engine.settings import PREFIX, Settings
from secure_delivery.engine.storages import Storages
from secure_delivery.engine.vault import Vault, new_master_key
from secure_delivery.gate.model import Application


@pytest.fixture(scope="module")
def bucket() -> Iterator[S3Server]:
    with bucket_server() as server:
        yield server


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, bucket: S3Server) -> Iterator[Run]:
    """Runs commands in this process, on a data folder of the test's own."""
    command = commands(monkeypatch, capsys, tmp_path)
    for name, value in ({"data": str(tmp_path / "data")} | bucket_settings(bucket)).items():
        monkeypatch.setenv(PREFIX + name.upper(), value)

    return command


@pytest.fixture
def engine(run: Run, tmp_path: Path, bucket: S3Server) -> Iterator[Engine]:
    engine = build(Settings.read({"data": str(tmp_path / "data")} | bucket_settings(bucket)))
    yield engine
    engine.close()


def keys(file: Path) -> dict[str, str]:
    """The entries of a key file, in order."""
    lines = (line.strip() for line in file.read_text().splitlines())
    return dict(line.split(":", 1) for line in lines if line and not line.startswith("#"))


def furnish(engine: Engine, bucket: S3Server, count: int) -> list[tuple[str, bytes]]:
    """Applications with a secret and a storage each; keys and secrets."""
    made = []
    for number in range(count):
        application, secret = engine.records.create_application(f"number {number}")
        engine.storages.add(application.api_key, "assets", "s3", options(bucket))
        made.append((application.api_key, secret.encode()))
    return made


def opens_all(engine: Engine, bucket: S3Server, made: list[tuple[str, bytes]]) -> None:
    """Every secret is what it was, and every storage signs as before."""
    for api_key, secret in made:
        application = engine.records.application(api_key)
        assert application is not None and application.secrets.signing.value == secret
        (row,) = engine.storages.of(api_key)
        storage: Any = engine.storages.get(row.id)
        draft = storage.place("bucket/probe", mimetype="x/y")
        draft.write(api_key.encode())
        draft.publish()
        assert bucket.objects["bucket", "probe"].data == api_key.encode()


def test_status_tells_ids_and_numbers_and_no_key(run: Run, engine: Engine, bucket: S3Server, tmp_path: Path) -> None:
    furnish(engine, bucket, 3)
    found = run("vault", "status", "--json").json()
    (only,) = keys(tmp_path / "data" / "master.key")
    assert found == {
        "current": only,
        "keys": [only],
        "where": str(tmp_path / "data" / "master.key"),
        "secrets": 3,
        "storages": 3,
        "webhooks": 0,
        "jobs": 0,
        "accounts": 0,
    }
    assert only in run("vault", "status").out


def test_rotating_brings_everything_under_a_new_key_and_pruning_throws_the_old_one_away(
    run: Run, engine: Engine, bucket: S3Server, tmp_path: Path
) -> None:
    file = tmp_path / "data" / "master.key"
    made = furnish(engine, bucket, 4)
    (old,) = keys(file)
    file.write_text(f"# a remark that stays\n{file.read_text()}")
    rotated = run("vault", "rotate", "--json").json()
    assert rotated["rewrapped"] == 8 and rotated["older"] == [old] and rotated["current"] != old
    assert list(keys(file)) == [old, rotated["current"]] and file.stat().st_mode & 0o777 == 0o600
    assert engine.records.sealing_keys() == engine.storages.sealing_keys() == {rotated["current"]}
    opens_all(engine, bucket, made)
    assert run("vault", "prune", "--json").json() == {"dropped": [old]}
    assert list(keys(file)) == [rotated["current"]] and "# a remark that stays" in file.read_text()
    assert run("vault", "prune", "--json").json() == {"dropped": []}
    fresh = build(Settings.read({"data": str(tmp_path / "data")} | bucket_settings(bucket)))
    opens_all(fresh, bucket, made)
    fresh.close()
    assert file.stat().st_mode & 0o777 == 0o600 and [path.name for path in file.parent.glob("*master*")] == ["master.key"]
    said = run("vault", "rotate")
    assert said.status == 0 and "8 secrets" in said.out and "vault prune" in said.out


def test_rewrapping_makes_no_key_and_changes_nothing_that_is_under_the_current_one(
    run: Run, engine: Engine, bucket: S3Server, tmp_path: Path
) -> None:
    furnish(engine, bucket, 2)
    before = keys(tmp_path / "data" / "master.key")
    assert run("vault", "rotate", "--rewrap", "--json").json() == {"current": list(before)[-1], "rewrapped": 0, "older": []}
    assert keys(tmp_path / "data" / "master.key") == before


def test_pruning_is_refused_while_anything_is_under_an_old_key(
    run: Run, engine: Engine, bucket: S3Server, tmp_path: Path
) -> None:
    file = tmp_path / "data" / "master.key"
    made = furnish(engine, bucket, 2)
    (old,) = keys(file)
    run("vault", "rotate")
    for what in ("application_secret", "storage"):
        stale = Vault.from_text(f"{old}:{keys(file)[old]}")  # a process that has not seen the new key
        if what == "storage":
            providers = engine.registry.storage_providers
            late = Storages(engine.database, stale, time.time, own={}, providers=providers, default="", guard=OutboundGuard())
            late.add(made[0][0], "late", "s3", options(bucket))
        else:
            Records(engine.database, stale, time.time).create_application("late")
        before = file.read_text()
        said = run("vault", "prune")
        assert said.status == 2 and old in said.err and "--rewrap" in said.err
        assert file.read_text() == before
        assert run("vault", "rotate", "--rewrap", "--json").json()["rewrapped"] == 1
    assert run("vault", "prune", "--json").json() == {"dropped": [old]}
    opens_all(engine, bucket, made[1:])


@pytest.mark.parametrize("command", [("status",), ("rotate",), ("rotate", "--rewrap"), ("prune",)], ids=" ".join)
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_key_file_that_others_can_read_or_write_is_refused(
    run: Run, tmp_path: Path, command: tuple[str, ...], mode: int
) -> None:
    run("app", "create", "shop")
    file = tmp_path / "data" / "master.key"
    before = file.read_text()
    file.chmod(mode)
    said = run("vault", *command)
    assert said.status == 2 and "chmod 600" in said.err and said.out == ""
    assert file.read_text() == before
    for key in keys(file).values():
        assert key not in said.err


def test_keys_of_the_environment_are_told_to_be_set_there(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = new_master_key("first")
    monkeypatch.setenv(PREFIX + "MASTER_KEY", first)
    key = run("app", "create", "shop", "--json").json()["api_key"]
    said = run("vault", "rotate")
    assert said.status == 2 and first.partition(":")[2] not in said.err
    entry = re.search(r"`,([A-Za-z0-9_-]+:[A-Za-z0-9+/=]+)`", " ".join(said.err.split()))
    assert entry is not None and len(base64.b64decode(entry[1].partition(":")[2])) == 32
    monkeypatch.setenv(PREFIX + "MASTER_KEY", f"{first},{entry[1]}")
    rotated = run("vault", "rotate", "--rewrap", "--json").json()
    assert rotated["rewrapped"] == 1 and rotated["older"] == ["first"]
    refused = run("vault", "prune")
    assert refused.status == 2 and "environment" in refused.err
    monkeypatch.setenv(PREFIX + "MASTER_KEY", entry[1])
    assert run("app", "show", key).status == 0 and run("vault", "status", "--json").json()["where"] == "environment"
    assert not (tmp_path / "data" / "master.key").exists()


# --------------------------------------------------------------------------------------------------- beside a server


def environment(data: Path, bucket: S3Server) -> dict[str, str]:
    env = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    env[PREFIX + "DATA"] = str(data)
    return env | {PREFIX + name.upper(): value for name, value in bucket_settings(bucket).items()}


def vault(server: Server, bucket: S3Server, *words: str) -> Any:
    line = [sys.executable, "-m", "secure_delivery", "vault", *words, "--json"]
    done = subprocess.run(line, env=environment(server.data, bucket), capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Customer:
    """A secured application with a bucket, whose owner uploads and reads all the time."""

    def __init__(self, server: Server, bucket: S3Server) -> None:
        self.server, self.bucket = server, bucket
        self.application: Application = server.application(require_policy=True)
        server.engine.storages.add(self.application.api_key, "assets", "s3", options(bucket))
        server.engine.records.update_application(self.application.api_key, storage="assets")
        signed = self.application.sign(expires_in=3600, now=time.time(), call=["pick", "store", "read"])
        self.shown = f"policy={signed.encoded}&signature={signed.signature}"
        self.wrong: list[object] = []
        self.rounds = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Customer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._over.is_set():
            try:
                self.round()
            except Exception as error:
                self.wrong.append(error)
                return

    def round(self) -> None:
        """One file in and out by a signed request, and a request with a signature that is none."""
        data = os.urandom(500)
        stored = self.server.post(f"/api/store/S3?key={self.application.api_key}&filename=a.bin&{self.shown}", data)
        got = self.server.get(f"/{stored.json().get('handle')}?{self.shown}")
        false = self.server.get(f"/{stored.json().get('handle')}?{self.shown[:-4]}0000")
        if (stored.status, got.status, got.body, false.status) != (200, 200, data, 403):
            self.wrong.append((stored.status, got.status, false.status))
        self.rounds += 1

    def wait_for(self, rounds: int) -> None:
        wanted, deadline = self.rounds + rounds, time.monotonic() + 60
        while self.rounds < wanted and not self.wrong and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.rounds >= wanted, self.wrong


def test_a_server_goes_on_verifying_and_using_its_buckets_while_keys_rotate(tmp_path: Path, bucket: S3Server) -> None:
    with running(tmp_path, settings=bucket_settings(bucket)) as server:
        made = furnish(server.engine, bucket, 10)
        (old,) = keys(server.data / "master.key")
        with Customer(server, bucket) as customer:
            customer.wait_for(3)
            for _ in range(3):
                vault(server, bucket, "rotate")
                customer.wait_for(2)
                vault(server, bucket, "prune")
                # The rows are read again, and secrets are sealed, by a server that has never been told of the new key.
                server.engine.storages.change(customer.application.api_key, "assets", {"path": f"x{time.time_ns()}/"})
                customer.wait_for(3)
        assert customer.wrong == []
        assert old not in keys(server.data / "master.key") and len(keys(server.data / "master.key")) == 1
        opens_all(server.engine, bucket, made)
        customer.round()
        server.stop()
        server.start()
        customer.round()
        assert customer.wrong == []


def test_a_rotation_that_is_killed_is_finished_by_the_next_one(tmp_path: Path, bucket: S3Server) -> None:
    with running(tmp_path, settings=bucket_settings(bucket)) as server:
        made = furnish(server.engine, bucket, 150)
        (old,) = keys(server.data / "master.key")
        records, storages = server.engine.records, server.engine.storages
        line = [sys.executable, "-m", "secure_delivery", "vault", "rotate"]
        with Customer(server, bucket) as customer:
            process = subprocess.Popen(line, env=environment(server.data, bucket), stdout=subprocess.DEVNULL)
            deadline = time.monotonic() + 60
            while len(records.sealing_keys()) < 2 and process.poll() is None and time.monotonic() < deadline:
                pass
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL, "it was still at work"
            assert len(records.sealing_keys() | storages.sealing_keys()) == 2, "it was in the middle"
            customer.wait_for(2)
            refused = subprocess.run(
                [*line[:-1], "prune"], env=environment(server.data, bucket), capture_output=True, timeout=120, check=False
            )
            assert refused.returncode == 2 and old.encode() in refused.stderr
            finished = vault(server, bucket, "rotate", "--rewrap")
            assert 0 < finished["rewrapped"] < 302 and finished["older"] == [old]
            customer.wait_for(2)
            assert vault(server, bucket, "prune") == {"dropped": [old]}
            customer.wait_for(2)
        assert customer.wrong == []
        assert records.sealing_keys() == storages.sealing_keys() == {finished["current"]}
        fresh = build(Settings.read({"data": str(server.data)} | bucket_settings(bucket)))
        opens_all(fresh, bucket, made)
        assert open_vault(fresh.settings).key_ids == {finished["current"]}
        with fresh.files.begin(fresh.records.applications()[0], Target()) as upload:
            upload.write(SECRET.encode())
        fresh.close()
