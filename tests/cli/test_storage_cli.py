"""`secure-delivery storage …` and `restore`: setting up, checking, moving files while servers run and commands are killed."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from buckets import KEY_ID, READING, SECRET, S3Server, bucket_server, bucket_settings, options, spellings
from live import Server, running

from secure_delivery import cli
from secure_delivery.engine import Engine, build
from secure_delivery.engine.files import Target
from secure_delivery.engine.records import FileLink
from secure_delivery.engine.settings import PREFIX, Settings


class Said(NamedTuple):
    """What one command printed, and its exit status."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Said]


@pytest.fixture(scope="module")
def provider() -> Iterator[S3Server]:
    with bucket_server() as server:
        yield server


@pytest.fixture
def bucket(provider: S3Server) -> Iterator[S3Server]:
    yield provider
    for kept in (provider.denied, provider.objects, provider.uploads, provider.faults, provider.seen):
        kept.clear()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, bucket: S3Server) -> Iterator[Run]:
    """Runs commands in this process, on a data folder of the test's own; `typed` is what is typed on standard input."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SECURE_DELIVERY_DATA", str(tmp_path / "data"))
    for name, value in bucket_settings(bucket).items():
        monkeypatch.setenv(PREFIX + name.upper(), value)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.chdir(tmp_path)

    def command(*words: str, typed: str = "") -> Said:
        monkeypatch.setattr(sys, "argv", ["secure-delivery", *words])
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        for text in (said.out, said.err):
            assert not [spelled for spelled in spellings(SECRET) if spelled.decode("latin-1") in text]
        return Said(status, said.out, said.err)

    return command


@pytest.fixture
def engine(run: Run, tmp_path: Path, bucket: S3Server) -> Iterator[Engine]:
    """An engine on the same data."""
    engine = build(Settings.read({"data": str(tmp_path / "data")} | bucket_settings(bucket)))
    yield engine
    engine.close()


@pytest.fixture
def key(run: Run) -> str:
    return str(run("app", "create", "shop", "--json").json()["api_key"])


def words(server: S3Server, **more: str) -> list[str]:
    """The options of a bucket as a command line has them, without the secret."""
    given = {name: value for name, value in options(server, **more).items() if name != "secret_access_key"}
    return [word for name, value in given.items() for word in ("-o", f"{name}={value}")]


def add(run: Run, server: S3Server, key: str, *more: str, name: str = "assets", secret: str = SECRET, **given: str) -> Said:
    line = ("storage", "add", key, name, "--provider", "s3", *words(server, **given), "--secret", "secret_access_key")
    return run(*line, *more, typed=f"{secret}\n")


def put(engine: Engine, key: str, data: bytes, **target: Any) -> FileLink:
    application = engine.records.application(key)
    assert application is not None
    with engine.files.begin(application, Target(**target)) as upload:
        upload.write(data)
        return engine.files.add(application, upload)


# -------------------------------------------------------------------------------------------------------- setting up


def test_every_command_has_a_help_that_says_what_it_does(run: Run, tmp_path: Path) -> None:
    for name in ("", "providers", "add", "set", "list", "show", "check", "remove", "migrate", "fsck"):
        said = run(*("storage", name, "--help") if name else ("storage", "--help"))
        assert said.status == 0 and "Usage: " in said.out and said.err == ""
    assert not (tmp_path / "data").exists()


def test_kinds_of_storages_are_listed_with_their_options_and_which_are_secret(run: Run) -> None:
    found = run("storage", "providers", "--json").json()
    secrets = {each["option"] for each in found["s3"] if each["secret"]}
    assert secrets == {"secret_access_key", "session_token"}
    assert {"bucket", "region", "write_only"} <= {each["option"] for each in found["s3"]}
    shown = run("storage", "providers")
    assert "secret_access_key" in shown.out and "secret" in shown.out


def test_a_storage_is_set_up_with_its_secret_from_standard_input_and_shown_without_it(
    run: Run, bucket: S3Server, key: str
) -> None:
    made = add(run, bucket, key, "--json", path="in/").json()
    assert made == {
        "name": "assets",
        "provider": "s3",
        "usual": True,
        "options": {
            "bucket": "bucket",
            "endpoint": bucket.endpoint,
            "insecure": "true",
            "access_key_id": KEY_ID,
            "path": "in/",
        },
        "secrets": ["secret_access_key"],
    }
    assert run("storage", "show", key, "assets", "--json").json() == made
    listed = run("storage", "list", key, "--json").json()
    assert listed == {
        "storages": [made | {"files": 0, "bytes": 0}],
        "server": {"files": 0, "bytes": 0, "kind": "development storage"},
    }
    for shown in (run("storage", "show", key, "assets"), run("storage", "list", key)):
        assert shown.status == 0 and "assets" in shown.out
    assert "set, and sealed" in run("storage", "show", key, "assets").out
    assert run("app", "show", key, "--json").json()["storage"] == "assets"


def test_a_storage_can_be_beside_the_usual_one_and_become_it(run: Run, bucket: S3Server, key: str) -> None:
    add(run, bucket, key)
    assert add(run, bucket, key, "--no-default", "--json", name="more", bucket="other").json()["usual"] is False
    assert run("app", "show", key, "--json").json()["storage"] == "assets"
    assert run("storage", "set", key, "more", "--default", "--json").json()["usual"] is True
    assert run("app", "show", key, "--json").json()["storage"] == "more"
    assert run("storage", "set", key, "more", "--no-default", "--json").json()["usual"] is False
    assert run("app", "show", key, "--json").json()["storage"] == "development"


def test_options_are_changed_one_by_one_and_a_secret_can_come_from_a_file(
    run: Run, bucket: S3Server, key: str, tmp_path: Path
) -> None:
    add(run, bucket, key, secret="wrong")
    assert run("storage", "check", key, "assets").status == 1
    (tmp_path / "secret").write_text(SECRET + "\n")
    changed = run(
        "storage", "set", key, "assets", "-o", f"secret_access_key=@{tmp_path / 'secret'}", "-o", "path=x/", "--json"
    ).json()
    assert changed["options"]["path"] == "x/" and changed["options"]["bucket"] == "bucket"
    assert run("storage", "check", key, "assets").status == 0
    cleared = run("storage", "set", key, "assets", "-o", "path=", "--json").json()
    assert "path" not in cleared["options"]


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["-o", "colour=red"], "colour"),
        (["-o", "path=a/../b"], "path"),
        (["-o", "bucket"], "bucket"),
        (["-o", "region=a", "-o", "region=b"], "region"),
        (["-o", "session_token=@/nowhere"], "session_token"),
        (["-o", "insecure=perhaps"], "insecure"),
    ],
)
def test_an_option_that_does_not_fit_is_named_and_nothing_is_set_up(
    run: Run, bucket: S3Server, key: str, more: list[str], named: str
) -> None:
    left_out = {one.partition("=")[0]: "" for one in more if one in ("bucket", "insecure=perhaps")}
    given = [*words(bucket, **left_out), *more]
    line = ("storage", "add", key, "assets", "--provider", "s3", *given, "--secret", "secret_access_key")
    said = run(*line, typed=f"{SECRET}\n")
    assert said.status == 2 and said.out == "" and named in said.err, said
    assert run("storage", "list", key, "--json").json()["storages"] == []


@pytest.mark.parametrize(
    "line",
    [
        ("storage", "add", "Anobody", "assets", "--provider", "s3"),
        ("storage", "add", "{key}", "Bad Name", "--provider", "s3"),
        ("storage", "add", "{key}", "assets", "--provider", "floppy"),
        ("storage", "show", "{key}", "nothing"),
        ("storage", "set", "{key}", "nothing", "-o", "bucket=x"),
        ("storage", "check", "{key}", "nothing"),
        ("storage", "remove", "{key}", "nothing", "--yes"),
        ("storage", "migrate", "{key}", "--from", "server", "--to", "nothing"),
        ("storage", "migrate", "{key}", "--from", "server", "--to", "server"),
        ("app", "set", "{key}", "--storage", "nothing"),
    ],
    ids=" ".join,
)
def test_what_is_not_there_is_said_on_standard_error(run: Run, key: str, line: tuple[str, ...]) -> None:
    said = run(*(word.replace("{key}", key) for word in line))
    assert said.status != 0 and said.out == "" and said.err


def test_a_storage_is_forgotten_when_it_is_empty_and_not_before(run: Run, bucket: S3Server, key: str, engine: Engine) -> None:
    add(run, bucket, key)
    link = put(engine, key, b"content")
    refused = run("storage", "remove", key, "assets", "--yes")
    assert refused.status == 2 and "move or delete them first" in refused.err
    assert run("app", "show", key, "--json").json()["storage"] == "assets"
    engine.files.remove(link)
    assert run("storage", "remove", key, "assets", "--yes", "--json").json() == {"removed": "assets"}
    assert run("storage", "list", key, "--json").json()["storages"] == []
    assert run("app", "show", key, "--json").json()["storage"] == "development"


def test_no_credential_is_in_any_file_that_commands_leave(run: Run, bucket: S3Server, key: str, tmp_path: Path) -> None:
    add(run, bucket, key)
    run("storage", "check", key, "assets")
    run("storage", "set", key, "assets", "-o", "bucket=other")
    written = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert any(KEY_ID.encode() in path.read_bytes() for path in written), "the right files are looked at"
    for path in written:
        assert [spelled for spelled in spellings(SECRET) if spelled in path.read_bytes()] == [], path


# ------------------------------------------------------------------------------------------------------------- check


def test_a_check_of_a_good_storage_is_status_0_with_the_texts_to_paste(run: Run, bucket: S3Server, key: str) -> None:
    add(run, bucket, key)
    said = run("storage", "check", key, "assets", "--origin", "https://www.example.com", "--json")
    assert said.status == 0
    report = said.json()
    assert report["good"] and all(step["good"] for step in report["steps"])
    assert {step["step"] for step in report["steps"]} == {"write", "read", "delete", "parts", "signed addresses"}
    assert json.loads(report["advice"]["cors"])[0]["AllowedOrigins"] == ["https://www.example.com"]
    assert "s3:PutObject" in json.loads(report["advice"]["policy"])["Statement"][0]["Action"]
    shown = run("storage", "check", key, "assets")
    assert shown.status == 0 and "policy to paste" in shown.out and "cors to paste" in shown.out
    assert '"AllowedMethods"' in shown.out, "brackets of JSON are no markup"
    start = shown.out.index("cors to paste:") + len("cors to paste:")
    assert json.loads(shown.out[start:])[0]["AllowedOrigins"] == ["*"]
    assert bucket.objects == {} and bucket.uploads == {}


def test_a_check_of_a_write_only_storage_is_content_with_writing(run: Run, bucket: S3Server, key: str) -> None:
    bucket.denied |= READING
    add(run, bucket, key, write_only="true")
    said = run("storage", "check", key, "assets", "--json")
    assert said.status == 0 and said.json()["good"]
    assert {step["step"]: step["good"] for step in said.json()["steps"]} == {
        "write": True,
        "read": None,
        "delete": None,
        "parts": True,
    }
    assert "left out" in run("storage", "check", key, "assets").out
    assert "GetObject" not in bucket.operations()


def test_a_thorough_check_tells_of_a_write_only_storage_that_can_be_read(run: Run, bucket: S3Server, key: str) -> None:
    add(run, bucket, key, write_only="true")
    said = run("storage", "check", key, "assets", "--thorough", "--json")
    assert said.status == 0
    assert {step["step"]: step["state"] for step in said.json()["steps"]}["read"] == "too much"
    assert "too much" in run("storage", "check", key, "assets", "--thorough").out
    bucket.denied |= READING
    again = run("storage", "check", key, "assets", "--thorough", "--json").json()["steps"]
    assert {step["step"]: step["state"] for step in again}["read"] == "left out"


@pytest.mark.parametrize(
    ("given", "denied", "says"),
    [
        ({}, {"PutObject"}, "rights"),
        ({}, {"GetObject"}, "rights"),
        ({"secret": "wrong"}, set(), "secret"),
        ({"bucket": "missing"}, set(), "bucket"),
        ({"region": "eu-west-3"}, set(), "us-east-1"),
    ],
)
def test_a_check_that_finds_something_missing_is_status_1_and_explains(
    run: Run, bucket: S3Server, key: str, given: dict[str, str], denied: set[str], says: str
) -> None:
    bucket.denied |= denied
    add(run, bucket, key, **given)
    said = run("storage", "check", key, "assets")
    assert said.status == 1 and "fails" in said.out and says in said.out.lower()
    assert "policy to paste" in said.out and "cors to paste" in said.out
    report = run("storage", "check", key, "assets", "--json")
    assert report.status == 1 and report.json()["good"] is False


# ----------------------------------------------------------------------------------------------------------- migrate


def figures(engine: Engine, key: str) -> list[tuple[int, int]]:
    names = ["local", *(row.id for row in engine.storages.of(key))]
    found = [engine.records.used(key, name) for name in names]
    for name, used in zip(names, found, strict=True):
        links = engine.records.files_in(key, name, limit=10_000)
        assert used == (len(links), sum(link.size for link in links)), "a recount says the same"
    return found


def read(engine: Engine, handle: str) -> bytes:
    with engine.files.open(engine.files.find(handle)) as stream:
        return stream.read()


def blobs(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "data" / "files").rglob("*") if path.is_file()]


def test_files_are_moved_to_a_bucket_and_back_whole(
    run: Run, bucket: S3Server, key: str, engine: Engine, tmp_path: Path
) -> None:
    content = {put(engine, key, os.urandom(1000 + number), filename=f"{number}.bin").handle: number for number in range(7)}
    data = {handle: read(engine, handle) for handle in content}
    add(run, bucket, key)
    moved = run("storage", "migrate", key, "--from", "server", "--to", "assets", "--json")
    assert moved.status == 0 and moved.json() == {"moved": 7, "failed": []}
    assert len(bucket.objects) == 7 and blobs(tmp_path) == []
    assert {handle: read(engine, handle) for handle in data} == data
    assert all(engine.files.find(handle).expires is None for handle in data), "they are not lent a place any more"
    assert figures(engine, key) == [(0, 0), (7, sum(map(len, data.values())))]
    again = run("storage", "migrate", key, "--from", "server", "--to", "assets", "--json")
    assert again.json() == {"moved": 0, "failed": []}
    back = run("storage", "migrate", key, "--from", "assets", "--to", "server")
    assert back.status == 0 and "7 files" in back.out
    assert bucket.objects == {} and len(blobs(tmp_path)) == 7
    assert {handle: read(engine, handle) for handle in data} == data
    assert figures(engine, key)[0] == (7, sum(map(len, data.values())))


def test_only_the_files_of_the_application_are_moved(run: Run, bucket: S3Server, key: str, engine: Engine) -> None:
    other = run("app", "create", "other", "--json").json()["api_key"]
    mine, theirs = put(engine, key, b"same bytes"), put(engine, other, b"same bytes")
    add(run, bucket, key)
    assert run("storage", "migrate", key, "--from", "server", "--to", "assets", "--json").json()["moved"] == 1
    assert engine.files.find(mine.handle).storage != "local" and engine.files.find(theirs.handle) == theirs


def test_what_cannot_be_moved_is_named_and_the_rest_is_moved(
    run: Run, bucket: S3Server, key: str, engine: Engine, tmp_path: Path
) -> None:
    links = [put(engine, key, f"content {number}".encode()) for number in range(3)]
    damaged, missing, good = links
    for path in blobs(tmp_path):
        if path.name == Path(damaged.key).name:
            path.chmod(0o600)
            path.write_bytes(b"rotten!!!")
        if path.name == Path(missing.key).name:
            path.unlink()
    add(run, bucket, key)
    said = run("storage", "migrate", key, "--from", "server", "--to", "assets", "--json")
    assert said.status == 1 and said.json()["moved"] == 1
    assert {each["handle"] for each in said.json()["failed"]} == {damaged.handle, missing.handle}
    shown = run("storage", "migrate", key, "--from", "server", "--to", "assets")
    assert shown.status == 1 and damaged.handle in shown.err and "not what was stored" in shown.err
    assert read(engine, good.handle) == b"content 2" and len(bucket.objects) == 1


def test_files_that_are_gone_or_have_expired_are_no_failure(run: Run, bucket: S3Server, key: str, engine: Engine) -> None:
    expired, kept = put(engine, key, b"expired"), put(engine, key, b"kept")
    engine.records.mark_file(expired.handle, application=key, expires=1)
    add(run, bucket, key)
    said = run("storage", "migrate", key, "--from", "server", "--to", "assets", "--json")
    assert said.status == 0 and said.json() == {"moved": 1, "failed": []}
    assert read(engine, kept.handle) == b"kept" and engine.files.tend() == 1


def test_a_file_that_is_overwritten_while_it_is_moved_is_moved_with_its_new_content(
    run: Run, bucket: S3Server, key: str, engine: Engine, tmp_path: Path
) -> None:
    link = put(engine, key, b"old content")
    add(run, bucket, key)
    application = engine.records.application(key)
    assert application is not None

    def overwrite() -> None:
        """While the bucket is busy with the old content."""
        deadline = time.monotonic() + 30
        while "PutObject" not in bucket.operations() and time.monotonic() < deadline:
            time.sleep(0.005)
        with engine.files.begin(application, Target(), over=link) as upload:
            upload.write(b"new content")
            engine.files.overwrite(link, upload)
        bucket.lock.release()

    bucket.lock.acquire()
    thread = threading.Thread(target=overwrite)
    thread.start()
    said = run("storage", "migrate", key, "--from", "server", "--to", "assets", "--json")
    thread.join()
    assert said.status == 0 and said.json() == {"moved": 1, "failed": []}
    assert read(engine, link.handle) == b"new content"
    assert [blob.data for blob in bucket.objects.values()] == [b"new content"] and blobs(tmp_path) == []


def test_a_bucket_that_refuses_is_told_once_for_each_file_and_nothing_is_lost(
    run: Run, bucket: S3Server, key: str, engine: Engine
) -> None:
    links = [put(engine, key, f"content {number}".encode()) for number in range(3)]
    add(run, bucket, key)
    bucket.denied.add("PutObject")
    said = run("storage", "migrate", key, "--from", "server", "--to", "assets", "--json")
    assert said.status == 1 and said.json()["moved"] == 0 and len(said.json()["failed"]) == 3
    assert [read(engine, link.handle) for link in links] == [b"content 0", b"content 1", b"content 2"]


def environment(data: Path, bucket: S3Server) -> dict[str, str]:
    env = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    env[PREFIX + "DATA"] = str(data)
    return env | {PREFIX + name.upper(): value for name, value in bucket_settings(bucket).items()}


def test_a_migration_that_is_killed_is_finished_by_the_next_one_and_loses_no_file(tmp_path: Path, bucket: S3Server) -> None:
    """The command is killed where it is, three times, while a server answers readers; then it is let to its end."""
    with running(tmp_path, settings=bucket_settings(bucket)) as server:
        application = server.application()
        key = application.api_key
        server.engine.storages.add(key, "assets", "s3", options(bucket))
        data = {server.put(application, os.urandom(20_000), f"{number}.bin").handle: number for number in range(60)}
        content = {handle: server.get(f"/{handle}").body for handle in data}
        command = ["storage", "migrate", key, "--from", "server", "--to", "assets", "--json"]
        line = [sys.executable, "-m", "secure_delivery", *command]
        wrong: list[object] = []
        over = threading.Event()

        def readers() -> None:
            while not over.is_set():
                for handle, body in content.items():
                    reply = server.get(f"/{handle}")
                    if reply.status != 200 or reply.body != body:
                        wrong.append((handle, reply.status, reply.body[:100]))

        threads = [threading.Thread(target=readers) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for wanted in (5, 20, 40):
                process = subprocess.Popen(line, env=environment(server.data, bucket), stdout=subprocess.DEVNULL)
                deadline = time.monotonic() + 60
                while len(bucket.objects) < wanted and process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.002)
                process.send_signal(signal.SIGKILL)
                assert process.wait() == -signal.SIGKILL, "it was still at work"
            done = subprocess.run(line, env=environment(server.data, bucket), capture_output=True, timeout=120, check=False)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["failed"] == [] and 0 < json.loads(done.stdout)["moved"] <= 55
        assert wrong == []
        check_moved(server, key, content, bucket)


def check_moved(server: Server, key: str, content: dict[str, bytes], bucket: S3Server) -> None:
    """Everything is in the bucket, whole, and nothing is left where it was; of a killed move an object may be left over."""
    figures(server.engine, key)
    links = [server.engine.files.find(handle) for handle in content]
    assert {link.storage for link in links} == {row.id for row in server.engine.storages.of(key)}
    for link in links:
        assert bucket.objects["bucket", link.key.removeprefix("bucket/")].data == content[link.handle]
        assert server.get(f"/{link.handle}").body == content[link.handle]
    assert len(bucket.objects) <= len(content) + 3
    server.stop()
    server.start()  # what a killed command should have deleted goes at the next start
    assert server.blobs() == set()


# ----------------------------------------------------------------------------------------------------------- restore


def test_a_deleted_file_is_restored_by_command_while_it_can_be(run: Run, key: str, engine: Engine) -> None:
    link = put(engine, key, b"content", filename="a.txt")
    never = run("restore", link.handle)
    assert never.status != 0 and never.err
    engine.files.remove(link, undo=3600)
    assert run("restore", link.handle, "--json").json() == {"handle": link.handle, "filename": "a.txt"}
    assert read(engine, link.handle) == b"content"
    engine.files.remove(engine.files.find(link.handle), undo=3600)
    engine.records.mark_file(link.handle, application=key, expires=1)
    late = run("restore", link.handle)
    assert late.status != 0 and late.err
    assert run("restore", "nothing").status != 0
