"""Texts, tables, code and Markdown as pages: what stands where, in which letters and colours."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from secure_delivery.plugin import MemoryFile, Unsupported, WorkLimits
from secure_delivery.plugin.testing import SimpleWorkshop
from secure_delivery_text import lettering, markdown, rows, sheet
from secure_delivery_text.previewers import previewers


def image_of(page: Any) -> Image.Image:
    image: Image.Image = page.media.decoded()
    return image


def inked(image: Image.Image) -> tuple[int, int, int, int] | None:
    return ImageChops.invert(image.convert("L")).getbbox()


def texts(made: Any) -> list[str | None]:
    return [None if row is None else "".join(run.text for run in row) for row in made]


# ----------------------------------------------------------------------------------------------------------------- text


def test_sixty_lines_are_a_page(shown: Any) -> None:
    """The last line of a page is on it, the next begins another; trailing line feeds begin none."""
    assert [page.total for page in shown("text", "x\n" * 60 + "\n\n", "a.txt")] == [1]
    pages = shown("text", "x\n" * 61, "a.txt", pages="all")
    assert [(page.number, page.total) for page in pages] == [(1, 2), (2, 2)]
    first, second = (inked(image_of(page)) for page in pages)
    assert first is not None
    assert second is not None
    assert first[1] == second[1]
    assert second[3] < image_of(pages[1]).height / 10 < first[3]


def test_a_form_feed_begins_a_page(shown: Any) -> None:
    """As printers had it."""
    assert shown("text", "one\ftwo\fthree", "a.log")[0].total == 3


def test_long_lines_are_broken_between_words() -> None:
    """And within a word only where it is longer than a line; no letter is lost."""
    line = " ".join(["word"] * 50)
    made = [text or "" for text in texts(rows.of_text(line))]
    assert all(len(text) <= sheet.COLUMNS and not text.startswith(" ") for text in made)
    assert "".join(made).split() == line.split()
    assert texts(rows.of_text("y" * 250)) == ["y" * 100, "y" * 100, "y" * 50]


def test_wide_letters_take_two_columns() -> None:
    """Fifty of them fill a line; what stands on another letter takes none."""
    assert texts(rows.of_text("日" * 60)) == ["日" * 50, "日" * 10]
    assert len(texts(rows.of_text("e\u0301" * 100))) == 1


@pytest.mark.parametrize("hint", [None, (800, 800), (96, 96), (2_000, 0), (0, 300)])
def test_a_page_is_about_as_large_as_is_wanted(hint: Any, shown: Any) -> None:
    """At least as large, so that it is never blown up, and of A4's proportions."""
    for name, filename in (("text", "a.txt"), ("source", "a.py"), ("markdown", "a.md")):
        (page,) = shown(name, "# some words\n\nmore", filename, size=hint)
        width, height = page.media.dimensions()
        assert height / width == pytest.approx(2**0.5, abs=0.02)
        wanted_width = min([side for side in ((hint or (0, 0))[0], (hint or (0, 0))[1] / 2**0.5) if side] or [1_080])
        assert wanted_width - 1 <= width <= max(4.2 * wanted_width, 200)


def test_limits_hold_for_pages(shown: Any) -> None:
    """A page is drawn smaller where a picture may not be so large."""
    shop = SimpleWorkshop(limits=WorkLimits(pixels=200_000, output_side=600))
    for name, filename in (("text", "a.txt"), ("markdown", "a.md")):
        (page,) = shown(name, "words", filename, size=(3_000, 3_000), shop=shop)
        width, height = page.media.dimensions()
        assert width * height <= 200_000
        assert height <= 600


def test_the_same_pages_whatever_the_size(shown: Any) -> None:
    """How many there are is a matter of the file."""
    text = "\n\n".join(f"# Heading {number}\n\n" + "some words " * 60 for number in range(30))
    for name, filename in (("text", "a.txt"), ("source", "a.py"), ("markdown", "a.md")):
        assert len({shown(name, text, filename, size=size)[0].total for size in (None, (96, 96), (777, 500), (2_500, 0))}) == 1


# ------------------------------------------------------------------------------------------------------------ encodings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_encodings_give_the_same_page(encoding: str, shown: Any) -> None:
    """With a byte order mark and without."""
    text = "Größe und Maße: zwölf Stühle aus Eiche, für die Küche bestellt.\n" * 10
    expected = image_of(shown("text", text, "a.txt")[0])
    assert ImageChops.difference(image_of(shown("text", text.encode(encoding), "a.txt")[0]), expected).getbbox() is None


@pytest.mark.parametrize("data", [b"\x00\x01\x02\x03" * 500, bytes(range(256)) * 8, b"\x7fELF\x02\x01\x01" + b"\x00" * 999])
def test_bytes_that_are_no_text_are_refused(data: bytes, shown: Any) -> None:
    """By every previewer here, whatever they are called."""
    for name, filename in (("text", "a.txt"), ("source", "a.py"), ("markdown", "a.md"), ("text", "a.csv")):
        with pytest.raises(Unsupported):
            shown(name, data, filename)


def test_odd_characters_are_no_fault(shown: Any) -> None:
    """Wide, combining, turned around, private, beyond any font, controls, escapes of terminals."""
    odd = "日本語 한국어 العربية עברית e\u0301\u0302\u0303 \U0001f469\u200d\U0001f469 \ue000 \U0010fffd "
    odd += "\u202eabc \x1b[31mred\x1b[0m \x07"
    odd += "\u0301" * 300 + "\n\u0301\n\ufeff\n" + "".join(chr(code) for code in range(0x2000, 0x2070))
    for name, filename in (("text", "a.txt"), ("source", "a.py"), ("markdown", "a.md"), ("text", "a.csv")):
        assert inked(image_of(shown(name, odd, filename)[0])) is not None


def test_letters_that_our_fonts_lack_come_from_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a font whose name says what it has."""
    symbols = Path("/usr/share/fonts/truetype/libreoffice/opens___.ttf")
    if not symbols.is_file():
        pytest.skip("no font with letters of its own on this machine")
    shutil.copy(symbols, tmp_path / "NotoSansCJK-Regular.ttf")
    sign = "\ue12b"
    caches = (lettering.fallbacks, lettering._holder, lettering._fallback)
    seen = []
    for places in ((), (str(tmp_path),)):
        monkeypatch.setattr(lettering, "_PLACES", places)
        for cache in caches:
            cache.cache_clear()
        seen.append(lettering.pieces(lettering.MONO, 20, sign)[0][0].getname()[0])
    for cache in caches:
        cache.cache_clear()
    assert seen == ["DejaVu Sans Mono", "OpenSymbol"]


# --------------------------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_columns_of_a_table_stand_below_each_other(mark: str) -> None:
    """Whatever keeps them apart; quotes and line feeds in cells are read."""
    text = f'name{mark}size\nchair{mark}12\n"a {mark} b"{mark}7\n'
    shown_rows = texts(rows.of_table(text))
    assert [(row or "").index(word) for row, word in zip(shown_rows, ("size", "12", "7"), strict=True)] == [7, 7, 7]


def test_the_first_row_of_a_table_is_bold() -> None:
    """The others are not."""
    first, second = list(rows.of_table("a,b\nc,d\n"))
    assert first is not None and second is not None
    assert (first[0].bold, second[0].bold) == (True, False)


def test_immense_cells_and_rows_are_cut() -> None:
    """Long cells, many cells, quotes that never end."""
    for text in ("x" * 500_000 + ",y\n1,2", ",".join("ab" * 20_000), '"' + "a,b\n" * 50_000, "\0,\0\n" * 99):
        assert all(len(row or "") <= sheet.COLUMNS for row in texts(rows.of_table(text)))


# ----------------------------------------------------------------------------------------------------------------- code


def colours_of(image: Image.Image) -> set[Any]:
    return {colour for _, colour in image.convert("RGB").getcolors(1 << 20) if max(colour) - min(colour) > 90}


@pytest.mark.parametrize(
    ("filename", "code"),
    [
        ("a.py", "def f(x):\n    return 'a'  # why"),
        ("a.js", "const a = () => 'b'; // why"),
        ("a.json", '{"a": [1, true, null]}'),
        ("a.c", "#include <a.h>\nint main(void) { return 0; }"),
        ("a.sql", "SELECT a FROM b WHERE c = 'd';"),
        ("a.yaml", "a: b\nc: [1, 2]"),
        ("a.rs", 'fn main() { println!("x"); }'),
    ],
)
def test_code_is_coloured(filename: str, code: str, shown: Any) -> None:
    """By its name; the same as plain text is not."""
    assert len(colours_of(image_of(shown("source", code, filename)[0]))) > 1
    assert colours_of(image_of(shown("text", code, filename)[0])) == set()


def test_the_type_tells_the_language_where_the_name_does_not(shown: Any) -> None:
    """Code of a known type without an extension."""
    assert shown("source", '{"a": 1}', "data", "application/json")
    with pytest.raises(Unsupported):
        shown("source", "words", "data")


def test_lines_are_numbered_and_nothing_is_lost() -> None:
    """A line that is broken has its number once; the text of all rows is that of the file, whatever page is wanted."""
    code = "\n".join(f"x{number} = '''{'y' * 150}'''" for number in range(100))
    lexer = rows.lexer_for("a.py", code)
    for last in (1, 2, 2_000):
        made = [text or "" for text in texts(rows.of_source(code, lexer, last))]
        numbered = [text for text in made if text[:6].strip()]
        assert [int(text[:6]) for text in numbered] == list(range(1, 101))
        assert "".join(text[6:] for text in made) == code.replace("\n", "")


def test_pages_far_behind_are_not_coloured_but_there(shown: Any) -> None:
    """Colours cost time by all that is before them."""
    code = "x = 'a'  # b\n" * 9_000
    first, last = (shown("source", code, "a.py", pages=str(number))[0] for number in (1, 149))
    assert (first.total, last.total) == (150, 150)
    assert colours_of(image_of(first))
    assert not colours_of(image_of(last))


# ------------------------------------------------------------------------------------------------------------- Markdown


def marks(text: str) -> list[markdown.Mark]:
    return [mark for page in markdown.pages(text) for _, line in page for mark in line.marks]


def words(text: str) -> str:
    return " ".join(mark.text for mark in marks(text) if mark.kind == "text")


def test_headings_are_larger_than_text_and_stay_with_it() -> None:
    """By their level; a heading is never the last line of a page."""
    sizes = {mark.text: mark.size for mark in marks("# One\n\n## Two\n\n### Three\n\ntext")}
    assert sizes["One"] > sizes["Two"] > sizes["Three"] > sizes["text"]
    for lines in range(20, 60):
        pages = markdown.pages("word\n\n" * lines + "# Heading\n\nbehind")
        last = [mark.text for _, line in pages[0][-2:] for mark in line.marks if mark.text]
        assert len(pages) == 1 or last[-1:] != ["Heading"]


def test_lists_quotes_and_code_are_set() -> None:
    """Points and numbers, nesting by indents, bars beside quotes, code in its own letters."""
    made = marks("1. one\n2. two\n   * deep\n\n> quoted\n\n`code`\n\n```python\nif x: 'y'\n```\n")
    by_text = {mark.text: mark for mark in made if mark.kind == "text"}
    assert {"1.", "2."} <= by_text.keys()
    assert by_text["deep"].x > by_text["two"].x > by_text["1."].x
    assert by_text["quoted"].x > by_text["code"].x
    assert by_text["code"].font == lettering.MONO
    assert by_text["if"].font == lettering.MONO_BOLD
    assert len({mark.colour for mark in made if mark.kind == "box"}) >= 2


def test_emphasis_links_and_struck_words_look_different() -> None:
    """Bold, leaning, blue, with a line through them."""
    by_text = {mark.text: mark for mark in marks("plain *lean* **bold** ~~gone~~ [link](https://a.example)") if mark.text}
    assert by_text["lean"].slanted and by_text["bold"].font == lettering.SANS_BOLD
    assert by_text["link"].colour != by_text["plain"].colour
    assert len([mark for mark in marks("~~gone~~ [link](https://a.example)") if mark.kind == "box"]) == 2


def test_tables_are_set_within_the_page() -> None:
    """However many columns, however long the words."""
    wide = "|" + " x |" * 40 + "\n|" + "---|" * 40 + "\n|" + " y |" * 40 + "\n"
    long = f"| a | b |\n|---|---|\n| {'w' * 900} | {'long words ' * 90} |\n"
    for text in ("| a | b |\n|---|---|\n| 1 | two words |\n", wide, long):
        made = marks(text)
        assert made
        assert all(mark.x < sheet.OWN_WIDTH for mark in made)
    assert {"1", "two", "words"} <= set(words("| a | b |\n|---|---|\n| 1 | two words |\n").split())


def test_nothing_of_a_markdown_file_is_fetched_or_run() -> None:
    """Pictures are their alternative text, raw HTML is text like any other, front matter is not shown."""
    text = "---\ntitle: secret\n---\n![a cat](http://evil.example/x.png) <script>alert(1)</script>\n\n<img src=file:///etc/passwd>\n"
    told = words(text)
    assert "[a cat]" in told
    assert "evil.example" not in told
    assert "<script>alert(1)</script>" in told
    assert "secret" not in told


@pytest.mark.parametrize(
    "text",
    [
        "[" * 20_000,
        "> " * 5_000 + "x",
        "* " * 3_000 + "x",
        "*a **b " * 10_000,
        "`" * 30_000 + "x",
        "|a" * 5_000 + "\n" + "|-" * 5_000 + "\n" + "|b" * 5_000,
        "#" * 9_000,
        "x" * 200_000,
        "\n" * 200_000,
        "![" * 10_000 + "](" * 10_000,
        "1. a\n" * 20_000,
        "99999999999. a\n\n0. b\n",
        "```" + "z" * 10_000 + "\n" + "y" * 10_000,
        "---\n" * 9_000,
        "",
        "日" * 50_000,
    ],
)
def test_hostile_markdown_ends_soon(text: str, shown: Any) -> None:
    """Deep nesting, endless runs, immense tables: a page, within a worker's time."""
    assert shown("markdown", text, "a.md", size=(99, 99))[0].total >= 1


def test_hostile_code_ends_soon(shown: Any) -> None:
    """One line of megabytes, brackets without end, strings that never close."""
    for code in ("(" * 100_000, "'" + "a" * 1_000_000, '"""' * 50_000, "{[" * 100_000, "x" * 3_000_000, "\n" * 1_000_000):
        for filename in ("a.py", "a.js", "a.php", "a.pl"):
            assert shown("source", code, filename, size=(99, 99))[0].total >= 1


# -------------------------------------------------------------------------------------------------------------- worker


def test_all_of_it_works_in_a_confined_worker(confined: Any) -> None:
    """Fonts, languages that were not warm, encodings: nothing is missing in the cell."""
    code = 'module M where\nmain = putStrLn "x" -- why\n' * 50
    for name, filename, data in (
        ("text", "a.txt", "Größe\n".encode("cp1252") * 90),
        ("source", "a.hs", code.encode()),
        ("markdown", "a.md", b"# One\n\n```ruby\nputs 'x' # why\n```\n\n" + "日本 words\n\n".encode() * 90),
    ):
        told = confined(f"preview:{name}", MemoryFile(data, "application/octet-stream", filename), hint=(900, 900))
        assert told["total"] >= 2
        assert [max(image.size) for image in told["images"]] == [900, 900]
        assert inked(told["images"][0]) is not None
        assert name == "text" or colours_of(told["images"][0])
    media = MemoryFile(code.encode(), "text/plain", "a.hs")
    assert confined("extract:text", media, options={"content": True})["value"]["language"] == "Haskell"


def test_every_declared_extension_of_code_has_a_language() -> None:
    """What no lexer is for would never be shown by this previewer."""
    unknown = [one for one in previewers()["source"].extensions if rows.lexer_for(f"a.{one}", "x") is None]
    assert unknown == []
