"""The section `text`: encoding, counts, language, headings, front matter, and the text itself when it is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from secure_delivery.plugin import MemoryFile, Unsupported
from secure_delivery.plugin.testing import extracted
from secure_delivery_text.extractors import Text


def section(data: bytes, filename: str, mimetype: str = "text/plain", **options: Any) -> Any:
    return extracted(Text(), MemoryFile(data, mimetype, filename), options=options)


@pytest.mark.parametrize(
    ("data", "encoding", "mark"),
    [
        (b"plain words\n", "us-ascii", False),
        ("schöne Wörter".encode(), "utf-8", False),
        ("\ufeffschöne".encode(), "utf-8", True),
        ("schöne Wörter".encode("utf-16"), "utf-16-le", True),
        ("schöne Wörter hier".encode("utf-16-be"), "utf-16-be", False),
        ("schöne Wörter".encode("utf-32"), "utf-32-le", True),
        ("Привет, как дела? Это обычный текст на русском языке.".encode("cp1251"), "windows-1251", False),
    ],
)
def test_the_encoding_is_told(data: bytes, encoding: str, mark: bool) -> None:
    """By its common name, and whether it begins with a mark."""
    told = section(data, "a.txt")
    assert (told["encoding"], told["mark"]) == (encoding, mark)


@pytest.mark.parametrize(
    ("text", "counts"),
    [("", (0, 0, 0)), ("one", (1, 1, 3)), ("one two\nthree\n", (2, 3, 14)), ("a\r\nb\rc", (3, 3, 5)), ("\n\n", (2, 0, 2))],
)
def test_lines_words_and_characters_are_counted(text: str, counts: tuple[int, int, int]) -> None:
    """A line feed at the end begins no line; all line ends count as one character."""
    told = section(text.encode(), "a.txt")
    assert (told["lines"], told["words"], told["characters"]) == counts


def test_the_language_of_code_is_told() -> None:
    """By the name; plain texts and tables have none."""
    assert section(b"x = 1", "a.py")["language"] == "Python"
    assert section(b"{}", "data", "application/json").get("language", "JSON") == "JSON"
    assert "language" not in section(b"x = 1", "a.txt")
    assert "language" not in section(b"a,b", "a.csv", "text/csv")


def test_headings_and_front_matter_of_markdown_are_told() -> None:
    """Headings of both spellings with their levels; simple lines of front matter."""
    front = b'---\ntitle: "A title"\ndate: 2024-02-29\ntags:\n  - a\n---\n'
    text = front + b"# One *two*\n\nThree\n-----\n\n```\n# none\n```\n### `four`\n"
    told = section(text, "a.md", "text/markdown")
    assert told["headings"] == [
        {"level": 1, "text": "One two"},
        {"level": 2, "text": "Three"},
        {"level": 3, "text": "four"},
    ]
    assert told["front_matter"] == {"title": "A title", "date": "2024-02-29"}


def test_the_text_is_there_only_when_asked_for() -> None:
    """Its first 100,000 characters, without controls."""
    data = b"secret\x07 words\x0c\x1b[31m red\n" + b"and plain words\n" * 20_000
    assert "text" not in section(data, "a.txt")
    assert "text" not in section(data, "a.txt", content="yes")
    told = section(data, "a.txt", content=True)["text"]
    assert len(told) == 100_000
    assert told.startswith("secret words\n red\nand plain")


def test_what_is_no_text_is_refused() -> None:
    """The section is then reported as failed."""
    with pytest.raises(Unsupported):
        section(bytes(range(256)) * 20, "a.txt")


def test_immense_texts_are_counted_as_far_as_is_allowed() -> None:
    """The first 32 MB, and that is said."""
    told = section(b"word \n" * 6_000_000, "a.txt")
    assert told["truncated"] is True
    assert told["lines"] == 5_333_334
    assert section(b"word", "a.txt")["truncated"] is False


def test_hostile_front_matter_is_no_fault() -> None:
    """Endless, deep, or not what it says."""
    for front in (b"a: b\n" * 100_000, b"a" * 100_000 + b": b\n", b"? [[[[\n", b"a: " + b" " * 100_000 + b"\n", b"\n" * 20_000):
        told = section(b"---\n" + front + b"---\n# x\n", "a.md", "text/markdown")
        assert len(told.get("front_matter", {})) <= 50
