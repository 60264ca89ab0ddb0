"""Names and paths: whatever a stranger calls a file, what is kept is a name that every system takes and no reader misreads."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from secure_delivery.engine.names import MAX_NAME, MAX_PATH, clean_name, effective_path
from secure_delivery.gate.errors import BadRequest

#: Written down anew, not taken from the code.
WINDOWS_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$", "clock$"} | {
    f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"
}
#: Text full of what names are attacked with.
HOSTILE = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from(list("./\\ <>:\"|?*%'\u202e\u2066\u200b\u0301\u0327\ufe0f\ud800\0\r\n\u3000\xa0\ue000\u115f¹CONULaux")),
    ),
    max_size=400,
)


def check(name: str) -> None:
    """What Linux, macOS, Windows and a header ask of a name."""
    encoded = name.encode()  # no half characters
    assert 0 < len(encoded) <= MAX_NAME
    assert not set(name) & set('/\\<>:"|?*')
    assert name == name.strip() and not name.endswith((".", " ")) and name not in (".", "..")
    assert not {unicodedata.category(character) for character in name} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    assert unicodedata.is_normalized("NFC", name)
    assert name.partition(".")[0].rstrip().lower() not in WINDOWS_DEVICES


@given(name=HOSTILE)
@example(name="e\u200b\u0301")  # a mark that comes to its letter only when what stood between is gone
@example(name="NUL" + " " * 400 + "x")  # a device only after it was cut
@example(name="CON." + "a" * 300)
@example(name=" " * 5000 + "x")
@example(name="a" * 254 + " b")
@example(name="<\u0338>")
def test_any_name_becomes_one_that_every_system_takes_and_then_stays_as_it_is(name: str) -> None:
    clean = clean_name(name)
    check(clean)
    assert clean_name(clean) == clean


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        (None, "file"),
        ("\u202e\u200b", "file"),
        ("...", "file"),
        (" . . ", "file"),
        ("folder/..", "file"),
        ("???", "___"),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("con.tar.gz", "_con.tar.gz"),
        ("NUL .txt", "_NUL .txt"),
        ("com¹", "_com¹"),
        ("LPT³.log", "_LPT³.log"),
        ("COM0", "_COM0"),
        ("conin$", "_conin$"),
        ("CON\u200b.txt", "_CON.txt"),
        ("NUL:", "NUL_"),
        ("console.log", "console.log"),
        ("COM10", "COM10"),
        ("file.txt:hidden.exe", "file.txt_hidden.exe"),
        ('what <is> "this" |?*', "what _is_ _this_ ___"),
        ("invoice.pdf. . .", "invoice.pdf"),
        ("invoice.exe\xa0", "invoice.exe"),
        ("\u2067cod\u2069.exe", "cod.exe"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("a\U000e0041b.txt", "ab.txt"),  # letters of tags, which nobody sees
        ("a\u3164b\u115f\uffa0.txt", "ab.txt"),  # fillers
        ("a\uf02f..\ue000b", "a..b"),  # where some file systems keep their slashes
        ("a\ufffe\ufdd0\U0010ffffb", "ab"),
        ("\u212bngstr\u00f6m", "Ångström"),
        ("\u2764\ufe0f.png", "\u2764\ufe0f.png"),
        ("葛\U000e0100城.txt", "葛\U000e0100城.txt"),
        ("%2e%2e%2fetc", "%2e%2e%2fetc"),
        ("-rf", "-rf"),
    ],
)
def test_a_name_keeps_what_people_see_of_it_and_nothing_that_means_another(name: str | None, clean: str) -> None:
    assert clean_name(name) == clean


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("a" * 10_000 + ".txt", ".txt"),
        ("ü" * 10_000 + ".jpeg", ".jpeg"),
        ("a\u0323\u0301" * 10_000 + ".png", ".png"),
        ("\U0001f44d\U0001f3fd" * 10_000 + ".tar.gz", ".gz"),
        ("a." + "b" * 10_000, "b"),
        ("a" + "\u0327\u0301" * 10_000, ""),
        ("." + "a" * 10_000, "a"),
        ("a" * 10_000 + "." + "\u0301" * 10, "." + "\u0301" * 10),
    ],
)
def test_a_name_of_ten_thousand_letters_is_cut_before_its_extension(name: str, end: str) -> None:
    clean = clean_name(name)
    check(clean)
    assert clean.endswith(end)
    assert len(clean.encode()) > 230, "no more is cut off than must be"


@given(
    letters=st.lists(
        st.sampled_from(["e\u0323\u0302\u0301", "a\u20dd", "क्", "\U0001f44d\U0001f3fd", "\u2764\ufe0f", "x", "\u1112\u119e"])
    ),
    lead=st.integers(0, 12),
)
def test_a_cut_takes_no_mark_from_its_letter(letters: list[str], lead: int) -> None:
    text = unicodedata.normalize("NFC", "-" * lead + "".join(letters) * (400 // max(1, len("".join(letters)))) * 3)
    if len(text.encode()) <= MAX_NAME:
        return
    whole = [unicodedata.normalize("NFC", letter) for letter in [*"-" * lead, *letters * 1200]]
    kept = clean_name(text + ".png").removesuffix(".png")
    ends = [""]
    for letter in whole:
        if len(ends[-1]) > len(kept):
            break
        ends.append(ends[-1] + letter)
    assert kept in ends


@pytest.mark.parametrize(
    "unit", ["a", "a.", " ", " .", "\u0301\u0327", "\u202e", "\U0001f600", "<", "/", "\\", "e\u0301", "\u1100\u1161", "CON."]
)
def test_a_name_of_a_million_letters_is_done_with_at_once(unit: str) -> None:
    # Where the time grows with the square, as it does for the marks of one letter in Unicode's own normalization, this does
    # not fail but never ends: 100,000 of them take eight seconds.
    check(clean_name("a" + unit * (1_000_000 // len(unit)) + "x"))


# ---------------------------------------------------------------------------------------------------------- paths


@pytest.mark.parametrize(
    ("path", "effective"),
    [
        (None, "/"),
        ("", "/"),
        ("/", "/"),
        ("a/b", "/a/b"),
        ("///a/b/", "/a/b/"),
        ("/e\u0301tage/", "/\xe9tage/"),
        ("/%2e%2e/a", "/%2e%2e/a"),  # plain text: nothing decodes it again
        ("/.well/..x/x..", "/.well/..x/x.."),
        ("/" + "a" * 1023, "/" + "a" * 1023),
        ("/" + "ü" * 511, "/" + "ü" * 511),
    ],
)
def test_a_path_is_judged_in_one_spelling(path: str | None, effective: str) -> None:
    assert effective_path(path) == effective


@pytest.mark.parametrize(
    "path",
    [
        "/a/../b", "..", ".", "/a/./b", "/a//b", "/a\\b", "a\0b", "a\nb", "a\x7fb", "a\x85b", "/a\u202eb", "/a\u200bb",
        "/a\ud800", "/a\u2028b", "/a\ue000b", "/a\u3164b", "/.\u200b./b", "/" + "a" * 1024, "/" + "ü" * 512,
        "/" + "\u0958" * 171, "a" * 1_000_000,
    ],
)  # fmt: skip
def test_a_path_that_two_readers_could_take_for_different_ones_is_refused(path: str) -> None:
    with pytest.raises(BadRequest):
        effective_path(path)


@given(path=HOSTILE)
def test_a_path_that_passes_is_one_that_every_storage_takes_and_passes_again(path: str) -> None:
    try:
        found = effective_path(path)
    except BadRequest:
        return
    assert effective_path(found) == found
    assert len(found.encode()) <= MAX_PATH and found.startswith("/") and unicodedata.is_normalized("NFC", found)
    assert not re.search(r"\\|//|(?:^|/)\.\.?(?:/|$)|[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", found)
