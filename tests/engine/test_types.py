"""What a file is, by its content; and that nothing a browser can run is ever shown in place."""

from __future__ import annotations

import io
import time
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from secure_delivery.engine.types import EXTENSIONS, INLINE, PLAIN, UNKNOWN, sniff

RUNNABLE = {"text/html", "application/xhtml+xml", "application/xml", "text/xml", "image/svg+xml", "text/javascript", "text/css"}


def picture(kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(out, kind)
    return out.getvalue()


def archive(first: str, content: str = "x") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as file:
        file.writestr(first, content)
    return out.getvalue()


@pytest.mark.parametrize(
    ("kind", "mimetype"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("GIF", "image/gif"),
        ("WEBP", "image/webp"),
        ("TIFF", "image/tiff"),
        ("BMP", "image/bmp"),
        ("AVIF", "image/avif"),
        ("PDF", "application/pdf"),
    ],
)
def test_files_of_a_real_encoder_are_told_by_content_whatever_their_name(kind: str, mimetype: str) -> None:
    assert sniff(picture(kind), "page.html") == mimetype


@pytest.mark.parametrize(
    ("head", "name", "mimetype"),
    [
        (archive("word/document.xml"), "a.zip", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        (archive("xl/workbook.xml"), "a", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        (archive("mimetype", "application/epub+zip"), "a", "application/epub+zip"),
        (archive("readme.txt"), "a.docx", "application/zip"),
        (b"RIFF\x00\x00\x00\x00XXXX", "a.webp", UNKNOWN),
        (b"BM is how this sentence begins", "a.bmp", PLAIN),
        (b"a,b\n1,2\n", "a.csv", "text/csv"),
        (b'{"a": 1}', "a.json", "application/json"),
        (b"plain words", "a.html", PLAIN),
        (b"plain words", "noextension", PLAIN),
        ("ein Wörtchen".encode() * 400, "a.txt", PLAIN),
        (b"\x00\x01\x02", "a.txt", UNKNOWN),
        (b"caf\xe9 in latin-1 and more text after it", "a.txt", UNKNOWN),
        (b"", "a.txt", UNKNOWN),
        (b"<html><body>", "a.txt", "text/html"),
        (b"  \r\n\t<!DocType\nHTML>", "a.png", "text/html"),
        (b"\xef\xbb\xbf<script>", "a.txt", "text/html"),
        (b"<!-- one --> <!-- two -->\n<svg xmlns='x'>", "a.txt", "image/svg+xml"),
        (b"<?xml version='1.0'?><!-- c --><svg>", "a.xml", "image/svg+xml"),
        (b"<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN' 'x'><svg>", "a", "image/svg+xml"),
        (b"<?xml version='1.0'?><note/>", "a.xml", "application/xml"),
        (b"<html><p>with a picture</p><svg></svg>", "a", "text/html"),
        (b"<!-- never closed <html>", "a.md", "text/html"),
        (b"<headline> is no head", "a.txt", PLAIN),
    ],
)
def test_the_type_comes_from_a_closed_list_by_content(head: bytes, name: str, mimetype: str) -> None:
    assert sniff(head, name) == mimetype


def test_a_character_cut_at_the_end_of_what_is_looked_at_does_not_make_a_text_unknown() -> None:
    assert sniff(b"a" * 4095 + "ü".encode(), "a.txt") == PLAIN


@pytest.mark.parametrize("head", [b"<!---->" * 580 + b"x", b"<!-- -- " * 500, b" " * 4096, b"<!--" * 1024])
def test_telling_a_type_takes_no_time_whatever_the_content(head: bytes) -> None:
    # Nested repetitions in one pattern took seconds from 24 comments on, and doubled with each.
    before = time.process_time()
    sniff(head, "a.txt")
    assert (time.process_time() - before) * 1000 < 500


@given(head=st.binary(max_size=200), name=st.text(max_size=30))
def test_any_bytes_and_any_name_have_a_type_that_can_stand_in_a_header(head: bytes, name: str) -> None:
    mimetype = sniff(head, name)
    assert mimetype.isascii() and mimetype.count("/") == 1 and mimetype.isprintable() and " " not in mimetype


@given(
    lead=st.sampled_from([b"", b" ", b"\n\n", b"<!-- x -->", b"\xef\xbb\xbf"]), rest=st.binary(max_size=50), upper=st.booleans()
)
def test_a_page_is_told_as_one_whatever_follows(lead: bytes, rest: bytes, upper: bool) -> None:
    start = b"<HTML>" if upper else b"<html>"
    assert sniff(lead + start + rest, "a.jpg") == "text/html"


def test_nothing_that_a_browser_runs_is_shown_in_place() -> None:
    assert not RUNNABLE & INLINE
    assert UNKNOWN not in INLINE
    assert set(EXTENSIONS) - INLINE <= {"image/svg+xml", "application/zip"}
