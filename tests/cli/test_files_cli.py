"""`secure-delivery files …`: stored files looked for, shown, deleted and brought back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Run, commands

KEY = "AshopShopShopShopShop1"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs commands in this process, on a data folder of the test's own, with an application that undoes deletions."""
    command = commands(monkeypatch, capsys, tmp_path)

    assert command("app", "create", "shop", "--api-key", KEY, "--undo-days", "3").status == 0
    return command


@pytest.fixture
def store(run: Run, tmp_path: Path) -> Callable[..., str]:
    """Stores a file; its handle."""

    def stored(name: str, content: bytes = b"a text") -> str:
        file = tmp_path / "file"
        file.write_bytes(content)
        said = run("store", str(file), "--app", KEY, "--filename", name, "--json")
        assert said.status == 0
        return str(said.json()["handle"])

    return stored


def test_files_are_listed_page_by_page_and_go_on_where_the_last_page_ended(run: Run, store: Callable[..., str]) -> None:
    names = ["cherry.txt", "apple.txt", "banana.txt"]
    handles = {name: store(name, name.encode()) for name in names}
    first = run("files", "list", KEY, "--order", "name", "--limit", "2", "--json").json()
    assert [(file["filename"], file["handle"]) for file in first["files"]] == [
        (name, handles[name]) for name in ("apple.txt", "banana.txt")
    ]
    assert first["partial"] is False
    rest = run("files", "list", KEY, "--order", "name", "--limit", "2", "--after", first["next"], "--json").json()
    assert [file["filename"] for file in rest["files"]] == ["cherry.txt"]
    assert rest["next"] is None

    shown = run("files", "list", KEY, "--order", "name", "--limit", "2").out
    assert shown.index("apple.txt") < shown.index("banana.txt")
    assert "cherry.txt" not in shown
    assert first["next"] in shown


def test_files_are_found_by_name_type_and_date(run: Run, store: Callable[..., str]) -> None:
    store("Invoice May.txt")
    picture = store("scan.gif", b"GIF89a\x01\x00\x01\x00\x00\x00\x00;")
    found = [
        [file["filename"] for file in run("files", "list", KEY, *words, "--json").json()["files"]]
        for words in (
            ("--name", "invoice"),
            ("--type", "image/*"),
            ("--since", "2020-01-01", "--until", "2020-02-01"),
            ("--since", "2020-01-01T12:00", "--order", "largest"),
        )
    ]
    assert found == [["Invoice May.txt"], ["scan.gif"], [], ["scan.gif", "Invoice May.txt"]]
    assert run("files", "show", picture, "--json").json()["type"] == "image/gif"


def test_a_file_is_shown_with_what_was_made_of_it(run: Run, store: Callable[..., str]) -> None:
    handle = store("note.txt")
    values = run("files", "show", handle, "--json").json()
    assert (values["filename"], values["size"], values["storage"], values["renditions"]) == ("note.txt", 6, "local", [])
    said = run("files", "show", handle).out
    assert "note.txt" in said
    assert "0, 0 bytes" in said
    assert run("files", "purge", handle, "--json").json() == {"purged": 0}


def test_a_deleted_file_is_listed_as_such_and_comes_back(run: Run, store: Callable[..., str]) -> None:
    handle = store("note.txt")
    assert run("files", "remove", handle, "--json").json() == {"removed": handle, "undo_days": 3}
    assert run("files", "list", KEY, "--json").json()["files"] == []
    (gone,) = run("files", "list", KEY, "--removed", "--json").json()["files"]
    assert gone["handle"] == handle
    assert gone["removed"] is not None
    assert run("restore", handle).status == 0
    assert [file["handle"] for file in run("files", "list", KEY, "--json").json()["files"]] == [handle]
    actions = [entry["action"] for entry in run("audit", "list", "--action", "file.", "--json").json()["entries"]]
    assert actions == ["file.restore", "file.remove"]


def test_a_name_does_nothing_to_a_terminal(run: Run, store: Callable[..., str]) -> None:
    handle = store("[red]no markup[bold].txt")
    for said in (run("files", "list", KEY), run("files", "show", handle), run("files", "remove", handle)):
        assert "[red]no markup[bold].txt" in said.out
        assert "\x1b" not in said.out


@pytest.mark.parametrize(
    "words",
    [
        ("list", "Anobody"),
        ("list", KEY, "--after", "nothing"),
        ("list", KEY, "--type", "pictures"),
        ("list", KEY, "--since", "yesterday"),
        ("list", KEY, "--order", "best"),
        ("list", KEY, "--limit", "201"),
        ("show", "nobody"),
        ("remove", "nobody"),
        ("purge", "nobody"),
    ],
)
def test_wrong_words_end_with_a_sentence_and_status_2(run: Run, words: tuple[str, ...]) -> None:
    said = run("files", *words)
    assert (said.status, said.out) == (2, "")
    assert said.err
