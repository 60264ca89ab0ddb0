"""Plain text and web pages."""

from __future__ import annotations

import zipfile
from io import BytesIO
from typing import Any

import pypdfium2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_delivery.plugin import MemoryFile, TooLarge
from secure_delivery.plugin.testing import content
from secure_delivery_documents import page, plain


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain\r\nlines\r", "plain\nlines\n"),
        ("größe".encode(), "größe"),
        ("größe".encode("utf-8-sig"), "größe"),
        ("größe".encode("utf-16"), "größe"),
        ("größe".encode("cp1252"), "größe"),
        (b"a\x00b\x1b[0m\x07c", "ab[0mc"),
    ],
)
def test_text_is_read_in_its_encoding(data: bytes, text: str) -> None:
    """By its mark, as UTF-8, else as Windows-1252; control characters go."""
    assert plain.decoded(data) == text


@given(st.text(max_size=300))
def test_any_text_becomes_a_page_that_shows_it(text: str) -> None:
    """No text can end the element it stands in."""
    shown = plain.as_html(plain.decoded(text.encode("utf-8", "replace")), text).decode("utf-8")
    assert shown.count("<") == shown.count(">") == 12


def test_long_lines_and_many_lines_are_kept(make: Any, apply: Any) -> None:
    """Everything is on some page, whole."""
    words = [f"word{number}" for number in range(3_000)]
    text = " ".join(words[:1_000]) + "\n" + "\n".join(words[1_000:]) + "\n" + "x" * 500
    result = content(apply(make.file("txt", text.encode()), ("output", {"format": "pdf"})))
    document = pypdfium2.PdfDocument(result)
    found = " ".join(pg.get_textpage().get_text_range() for pg in document)
    document.close()
    assert found.split()[:3_000] == words
    assert found.count("x") == 500


def test_a_form_feed_begins_a_page(make: Any, apply: Any) -> None:
    """As printers had it."""
    result = content(apply(make.file("txt", b"one\ftwo"), ("output", {"format": "pdf"})))
    assert len(pypdfium2.PdfDocument(result)) == 2


def test_text_as_an_open_document_keeps_spaces(make: Any, apply: Any) -> None:
    """Spaces and tabs that XML would fold, and signs that XML has its own use for."""
    result = content(apply(make.file("txt", b"a  b\t<c> & d\n e"), ("output", {"format": "odt"})))
    with zipfile.ZipFile(BytesIO(result)) as archive:
        text = archive.read("content.xml").decode()
    assert 'a<text:s text:c="2"/>b<text:tab/>&lt;c&gt; &amp; d' in text
    assert '<text:s text:c="1"/>e' in text


def test_other_plain_files_are_text_too(apply: Any) -> None:
    """Tables, settings and programs as text."""
    for mimetype in ("text/csv", "application/json", "text/markdown", "text/javascript"):
        result = apply(MemoryFile(b"{1,2}", mimetype, "a.x"), ("output", {"format": "html"}))
        assert (result.mimetype, result.filename) == ("text/html", "a.html")
        assert b"{1,2}" in content(result)


PAGE = b"""<!DOCTYPE html><html><head><title>The title</title><style>@import url(//evil.example/a)</style>
<script>alert(1)</script><meta http-equiv=refresh content="0;url=//evil.example"><link rel=stylesheet href=//evil.example>
<base href="https://evil.example/"></head><body onload="alert(2)" background="//evil.example/b">
<h1 style="color:red;background:url(//evil.example/c)" onclick=alert(3)>Heading</h1>
<p style="color:red">Some <b>bold</b> text &amp; <a href="https://good.example/x">a link</a>
<a href="javascript:alert(4)">bad</a> <a href="//evil.example/protocol">relative</a></p>
<img src="https://evil.example/d.png" alt="remote"><img src="file:///etc/passwd" alt="local">
<img src="data:image/png;base64,iVBORw0KGgo=" alt="inside"><img src="data:image/svg+xml;base64,PHN2Zz4=" alt="drawing">
<iframe src="//evil.example/e"></iframe><object data="//evil.example/f"></object><embed src="//evil.example/g">
<video src="//evil.example/h" poster="//evil.example/i"></video><form action="//evil.example/j"><input name=a></form>
<svg><image href="//evil.example/k"/><script>alert(5)</script></svg><math><mtext><img src=x onerror=alert(6)></mtext></math>
<table><tr><td>one</td><td>two</td></tr></table><ul><li>first</li><li>second</li></ul><!-- evil.example/comment -->
<p>Tail</p></body></html>"""


def test_secure_takes_out_what_acts_and_what_fetches(make: Any, apply: Any) -> None:
    """Scripts, handlers, frames, forms and every address something is loaded from; text, looks, links and tables stay."""
    result = content(apply(make.file("html", PAGE), ("output", {"format": "html", "secure": "true"}))).decode()
    lowered = result.lower()
    for word in (
        "evil.example",
        "<script",
        "alert",
        "onload",
        "onclick",
        "onerror",
        "javascript:",
        "file:",
        "<iframe",
        "<form",
    ):
        assert word not in lowered
    assert "svg" not in lowered
    for word in ("Heading", "<b>bold</b>", "https://good.example/x", "color:red", "data:image/png", "<td>two</td>", "Tail"):
        assert word in result
    assert "<title>The title</title>" in result


def test_without_secure_a_page_stays_as_it_is(make: Any, apply: Any) -> None:
    """As asked for; it is handed out as a file, not as a page of ours."""
    result = apply(make.file("html", PAGE), ("output", {"format": "html"}))
    assert content(result) == PAGE


def test_a_page_as_text_is_what_a_reader_sees(make: Any, apply: Any) -> None:
    """Blocks on lines of their own, cells with tabs between, nothing of scripts."""
    text = content(apply(make.file("html", PAGE), ("output", {"format": "txt"}))).decode()
    assert "Heading\n" in text
    assert "Some bold text & a link bad" in text
    assert "one\ttwo" in text
    assert "- first\n" in text
    assert "alert" not in text
    assert "import" not in text
    assert text.endswith("Tail\n")


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "windows-1251", "shift_jis", "koi8-r"])
def test_pages_are_read_in_the_encoding_they_declare(charset: str) -> None:
    """The declaration counts, whatever way it is written."""
    text = {"shift_jis": "日本語", "windows-1251": "Привет", "koi8-r": "Привет"}.get(charset, "größe")
    data = f'<meta http-equiv="Content-Type" content="text/html; charset={charset}"><p>{text}</p>'.encode(charset)
    assert text in page.as_text(data)


@pytest.mark.parametrize("charset", ["utf-7", "utf-16", "rot13", "hex", "zlib", "idna", "nonsense", "unicode_escape"])
def test_encodings_that_hide_markup_are_not_followed(charset: str) -> None:
    """Such a page is read as UTF-8: what it hides stays text."""
    data = f"<meta charset={charset}><p>+ADw-script+AD4-alert(1)</p>".encode()
    assert "<script" not in page.cleaned(data).decode()
    assert "alert(1)" in page.as_text(data)


@given(st.text(alphabet="<>/=\"' abscriptonx&;!-", max_size=200))
def test_no_markup_gets_a_script_past_the_cleaner(text: str) -> None:
    """Whatever is thrown at it, what comes out has no script element and no handler."""
    result = page.cleaned(text.encode()).decode().lower()
    body = result[result.index("<body>") :]
    assert "<script" not in body
    for piece in body.split("<")[1:]:
        assert " on" not in piece.partition(">")[0]


def test_deep_nesting_is_refused_before_it_costs_anything(make: Any, apply: Any) -> None:
    """A hundred thousand elements inside each other; a long page of paragraphs that are never closed is fine."""
    deep = make.file("html", b"<div>" * 100_000 + b"deep")
    with pytest.raises(TooLarge):
        apply(deep, ("output", {"format": "html", "secure": "true"}))
    assert content(apply(deep, ("output", {"format": "txt"}))) is not None
    long = make.file("html", b"<p>word<br>" * 20_000)
    assert content(apply(long, ("output", {"format": "html", "secure": "true"}))).count(b"word") == 20_000
