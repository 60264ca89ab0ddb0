"""What pages say about themselves, however they say it."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from secure_delivery.plugin import MemoryFile
from secure_delivery.plugin.testing import ExtractorContract, extracted
from secure_delivery_web.facts import WebpageFacts

FULL = """<!doctype html><html lang="de-AT"><head>
<base href="/blog/"><title>Not this one</title><meta charset="utf-8">
<meta name="description" content="Nor this one">
<meta property="og:title" content=" Ein  Titel &amp; mehr "><meta property="og:description" content="Worüber">
<meta property="og:url" content="post/1"><meta property="og:locale" content="de_AT">
<meta property="og:site_name" content="Blog">
<meta property="og:image" content="/a.png"><meta property="og:image" content="b.png"><meta property="og:image" content="/a.png">
<meta property="og:video" content="http://example.org/v.mp4">
<meta property="og:video:secure_url" content="https://example.org/v.mp4">
<meta property="og:video:type" content="video/mp4"><meta property="og:video:width" content="640">
<meta property="og:video:height" content="x">
<meta property="og:video" content="second.webm">
<link rel="shortcut icon" href="/favicon.ico"><link rel="apple-touch-icon" sizes="180x180" href="touch.png" type="image/png">
<link rel="alternate" type="application/json+oembed" href="https://example.org/oembed?url=x">
<link rel=canonical href="/canonical"></head><body><svg><title>drawing</title></svg></body></html>"""


def facts(text: str | bytes, address: str | None = "https://example.org/index.html") -> Any:
    data = text.encode() if isinstance(text, str) else text
    section = extracted(WebpageFacts(), MemoryFile(data, "text/html", "page.html"), address=address)
    jsonschema.Draft202012Validator(WebpageFacts.schema).validate(section)
    return section


class TestWebpageFactsHoldTheContract(ExtractorContract):
    extractor = WebpageFacts()

    def sample_media(self) -> MemoryFile:
        return MemoryFile(FULL.encode(), "text/html", "page.html")


def test_the_section_has_the_shape_of_the_service() -> None:
    """Keys, types and precedence: Open Graph goes before title and description, and addresses are in full."""
    assert facts(FULL) == {
        "title": "Ein Titel & mehr",
        "description": "Worüber",
        "url": "https://example.org/blog/post/1",
        "locale": "de_AT",
        "language": "de-AT",
        "site_name": "Blog",
        "images": [
            {"type": "og:image", "src": "https://example.org/a.png"},
            {"type": "og:image", "src": "https://example.org/blog/b.png"},
            {"type": "favicon", "src": "https://example.org/favicon.ico"},
        ],
        "videos": [
            {
                "type": "video/mp4",
                "src": "http://example.org/v.mp4",
                "secure_src": "https://example.org/v.mp4",
                "width": 640,
                "height": None,
            },
            {"type": None, "src": "https://example.org/blog/second.webm", "secure_src": None, "width": None, "height": None},
        ],
        "icons": [
            {"rel": "icon", "src": "https://example.org/favicon.ico", "sizes": None, "type": None},
            {"rel": "apple-touch-icon", "src": "https://example.org/blog/touch.png", "sizes": "180x180", "type": "image/png"},
        ],
        "oembed": None,
        "oembed_links": [{"type": "json", "src": "https://example.org/oembed?url=x"}],
    }


def test_a_plain_page_says_what_it_has() -> None:
    """Title, description and canonical address, where there is no Open Graph."""
    section = facts("<title>A page</title><meta name=description content=words><link rel=canonical href=/c>")
    assert (section["title"], section["description"], section["url"]) == ("A page", "words", "https://example.org/c")
    assert facts("<p>nothing")["url"] == "https://example.org/index.html"


def test_a_page_without_an_address_keeps_relative_ones_as_they_are() -> None:
    section = facts("<meta property=og:image content=/a.png><link rel=icon href=https://example.org/i.ico>", address=None)
    assert section["url"] is None
    assert [image["src"] for image in section["images"]] == ["/a.png", "https://example.org/i.ico"]


@pytest.mark.parametrize(
    "src", ["javascript:alert(1)", "data:image/png;base64,AAAA", "file:///etc/passwd", "http://[", " ", "x" * 9_000]
)
def test_what_is_no_address_of_the_web_is_left_out(src: str) -> None:
    section = facts(f"<meta property='og:image' content='{src}'><link rel=icon href='{src}'><base href='{src}'>")
    assert section["images"] == section["icons"] == []


@pytest.mark.parametrize(
    ("data", "title"),
    [
        ("<meta charset=windows-1251><title>Привет".encode("cp1251"), "Привет"),
        ("<meta charset=latin1><title>“Grüße”".encode("cp1252"), "“Grüße”"),
        ("<title>Grüße".encode("latin-1"), "Grüße"),
        ("\ufeff<title>Grüße".encode("utf-16-le"), "Grüße"),
        (b"<meta charset=unicode_escape><title>\\x41", "\\x41"),
        ("<meta charset=zip><title>ü".encode(), "ü"),
        (b"<title>a\0b\x01\nc</title>", "a\ufffdb c"),
        (b"", None),
    ],
)
def test_encodings_are_read_as_browsers_read_them(data: bytes, title: str | None) -> None:
    assert facts(data)["title"] == title


@pytest.mark.parametrize(
    "data",
    [
        b"<div>" * 200_000,
        b"<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]><title>&b;",
        b"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><title>&e;",
        b"<meta property=og:image content=/a>" * 50_000,
        b"<meta " + b"a=b " * 300_000 + b">",
        b"<title>" + b"x" * 3_000_000,
        bytes(range(256)) * 500,
    ],
)
def test_hostile_pages_end_in_a_small_section(data: bytes) -> None:
    """Depth, entities, absurd counts and lengths: bounded, and nothing of this machine is in it."""
    section = facts(data)
    assert len(str(section)) < 100_000
    assert "root:" not in str(section) and "aaaaaaaaaaa" not in str(section)
