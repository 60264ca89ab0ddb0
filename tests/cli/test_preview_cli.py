"""`secure-delivery preview` and `jobs` with what people may have in their folders: nothing is overwritten that is somebody's,
nothing is written elsewhere, and a terminal is shown no more than text."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from commands import Run, commands
from live import picture

from secure_delivery.cli.output import engine_for
from secure_delivery.engine.settings import PREFIX

PHOTO = picture(60, 40)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs commands in this process and in a folder of the test's own."""
    command = commands(monkeypatch, capsys, tmp_path)
    monkeypatch.setenv(f"{PREFIX}DATA", str(tmp_path / "data"))
    (tmp_path / "here").mkdir()

    return command


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_file_is_not_replaced_by_its_own_description(run: Run) -> None:
    Path("notes.json").write_bytes(b'{"mine": 1}')
    Path("photo.png").write_bytes(PHOTO)
    said = run("preview", "notes.json", "photo.png", "--json")
    assert said.status == 0, said.err
    assert Path("notes.json").read_bytes() == b'{"mine": 1}'
    assert json.loads(Path("notes.json.json").read_bytes())["original_file"]["extension"] == "json"
    assert Path(said.json()[1]["document"]).name == "photo.json"


def test_a_file_is_not_replaced_by_the_picture_of_another(run: Run) -> None:
    Path("a.jpg").write_bytes(PHOTO)
    Path("a_original-1.png").write_bytes(PHOTO + b"mine")
    said = run("preview", "a.jpg", "a_original-1.png", "--json")
    assert said.status == 1
    assert "would replace" in said.json()[0]["error"]["message"]
    assert Path("a_original-1.png").read_bytes() == PHOTO + b"mine"
    assert said.json()[1]["error"] is None


def test_files_of_one_name_have_results_of_their_own(run: Run) -> None:
    names = ["x/a.jpg", "y/a.jpg", "a.jpg", "a.png", "A.gif", "a.jpg.jpg"]
    for name in names:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(PHOTO)
    said = run("preview", *names, "-o", "out", "--json")
    assert said.status == 0, said.err
    written = [path for made in said.json() for path in (*made["pictures"], made["document"])]
    assert len({path.casefold() for path in written}) == len(written) == 2 * len(names)
    assert len(files(Path("out"))) == len(written)
    for made, name in zip(said.json(), names, strict=True):
        assert made["file"] == name
        assert json.loads(Path(made["document"]).read_bytes())["thumbnails"][0]["file"] == Path(made["pictures"][0]).name


def test_links_in_the_target_are_replaced_and_not_followed(run: Run, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_bytes(b"mine")
    Path("out").mkdir()
    for name in ("a.json", "a_original-1.png"):
        (Path("out") / name).symlink_to(outside)
    Path("a.jpg").write_bytes(PHOTO)
    assert run("preview", "a.jpg", "-o", "out").status == 0
    assert outside.read_bytes() == b"mine"
    assert not any(path.is_symlink() for path in Path("out").iterdir())
    assert json.loads(Path("out/a.json").read_bytes())["previewer"]


def test_what_cannot_be_read_is_told_and_the_rest_is_done(run: Run) -> None:
    Path("folder").mkdir()
    os.mkfifo("pipe")
    Path("dangling").symlink_to("nowhere")
    Path("loop").symlink_to("loop")
    Path("link").symlink_to("photo.png")
    Path("photo.png").write_bytes(PHOTO)
    names = ["missing.png", "folder", "pipe", "dangling", "loop", "/dev/zero", "/dev/null", "link", "photo.png"]
    said = run("preview", *names, "-o", "out", "--json")
    assert said.status == 1
    assert [made["error"] is None for made in said.json()] == [False] * 7 + [True] * 2
    assert all(made["error"]["message"] for made in said.json()[:7])
    assert {Path(name).suffix for name in files(Path("out"))} == {".png", ".json"}
    text = run("preview", *names[:7], "-o", "out")
    assert text.status == 1
    assert text.err.count("error: ") == 7


def test_an_empty_file_and_one_of_nothing_known_get_a_stand_in_or_a_sentence(run: Run) -> None:
    Path("empty").write_bytes(b"")
    Path("odd.bin").write_bytes(b"\x00\x01\x02\xff")
    said = run("preview", "empty", "odd.bin", "--json")
    for made in said.json():
        assert made["error"] is not None or made["pictures"]


def test_names_do_nothing_to_a_terminal(run: Run) -> None:
    names = ["\x1b[31mred.png", "a\nb.png", "[bold]x[red].png", "\u202egpj.png", os.fsdecode(b"\xff\xfe.png"), "-.png"]
    for name in names:
        Path(name).write_bytes(PHOTO)
    said = run("preview", "-o", "out", "--", *names)
    assert said.status == 0, said.err
    assert "\x1b[31m" not in said.out + said.err
    assert "\u202e" not in said.out
    assert "[bold]x[red].png" in said.out
    assert len(files(Path("out"))) == 2 * len(names)
    assert all(name.isprintable() for name in files(Path("out")))
    missing = run("preview", "\x1b]0;title\x07nothing.png")
    assert missing.status == 1
    assert "\x1b" not in missing.err


@pytest.mark.parametrize(
    "words",
    [
        ["--size", "0x0"],
        ["--size", "99999"],
        ["--format", "gif"],
        ["--pages", "0"],
        ["--pages", "x"],
        ["--metadata", "a-b"],
        ["--into", "photo.png"],
        ["--into", "photo.png/sub"],
    ],
)
def test_wrong_words_are_a_sentence_and_exit_status_two(run: Run, words: list[str]) -> None:
    Path("photo.png").write_bytes(PHOTO)
    said = run("preview", "photo.png", *words)
    assert said.status == 2
    assert said.err.startswith("error: ")
    assert files(Path()) == {"photo.png": PHOTO}


def test_a_folder_that_cannot_be_written_to_is_told(run: Run) -> None:
    Path("photo.png").write_bytes(PHOTO)
    Path("out/photo.json").mkdir(parents=True)
    said = run("preview", "photo.png", "-o", "out", "--json")
    assert said.status == 1
    assert said.json()[0]["error"]["message"]
    assert not [path for path in Path("out").iterdir() if path.name.endswith(".part")], "no draft is left"


# ------------------------------------------------------------------------------------------------------------------- jobs


@pytest.mark.parametrize("command", ["show", "retry", "cancel", "delete", "audit"])
@pytest.mark.parametrize("name", ["no-such-job", "", "x" * 5000, "\x1b[31m", "3f2b8a9e-9a0e-4f4e-8f43-0d3f9f5f6a11"])
def test_an_unknown_job_is_a_sentence_and_exit_status_two(run: Run, command: str, name: str) -> None:
    said = run("jobs", command, "--", name)
    assert said.status == 2
    assert said.err.startswith("error: ")
    assert "\x1b[31m" not in said.err
    assert len(said.err) < 300


def test_a_state_that_does_not_exist_is_a_sentence(run: Run) -> None:
    said = run("jobs", "list", "--state", "pending")
    assert said.status == 2
    assert "queued" in said.err
    assert run("jobs", "list", "--state", "queued", "--json").json() == []


def test_jobs_are_cancelled_tried_again_and_forgotten_with_entries(run: Run) -> None:
    key = run("app", "create", "shop", "--json").json()["api_key"]
    with engine_for(None) as engine:
        jobs = [engine.jobs.jobs.submit(key, "preview", {})[0].id for _ in range(2)]
        given_up = engine.jobs.leases.claim("w", 1)[0]
        engine.jobs.leases.finish(given_up, "failure", error={"code": "abandoned", "message": "It was given up."})
    waiting = next(job for job in jobs if job != given_up.id)
    assert "cancelled" in run("jobs", "cancel", waiting).out
    assert "deleted" in run("jobs", "delete", waiting).out
    assert "1" in run("jobs", "retry", "--given-up", "--app", key).out
    assert run("jobs", "show", given_up.id, "--json").json()["state"] == "queued"
    for words in (["retry"], ["retry", given_up.id, "--given-up", "--app", key], ["retry", "--given-up"]):
        assert run("jobs", *words).status == 2
    with engine_for(None) as engine:
        entries = engine.people.audit.page(application=key, action="job.")
    assert [(each.action, each.means) for each in entries] == [
        ("job.retry", "cli"),
        ("job.delete", "cli"),
        ("job.cancel", "cli"),
    ]
