"""The section `text`: what a text holds.

Knows: encodings, lexers' names, Markdown's headings. Must not know: hooks, pages as pictures.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from secure_delivery.plugin import Work

from . import kinds, markdown, rows
from .drawing import faults, text_of

_MOST_BYTES = 32_000_000  # that are counted
_CONTENT = 100_000  # characters handed out
_MOST_HEADINGS = 200
_MOST_FACTS = 50
_FACT = re.compile(r"[ ]{0,3}([A-Za-z_][A-Za-z0-9_.-]{0,60})[ \t]{0,9}[:=][ \t]{0,9}(.{1,2000}?)[ \t]*")


def text(work: Work) -> dict[str, Any]:
    """The section. Raises `Unsupported` for what is no text, `ProcessingLimit`, `Corrupt`."""
    with faults():
        read = text_of(work, _MOST_BYTES)
        size = work.media.size
        section: dict[str, Any] = {
            "encoding": read.encoding,
            "mark": read.mark,
            "lines": read.text.count("\n") + (not read.text.endswith("\n") and bool(read.text)),
            "words": len(read.text.split()),
            "characters": len(read.text),
            "truncated": bool(size and size > _MOST_BYTES),
        }
        name, mimetype = work.media.filename, work.media.mimetype
        if kinds.is_markdown(mimetype, name):
            section |= _markdown(read.text)
        elif kinds.is_source(mimetype, name):
            lexer = rows.lexer_for(name, read.text)
            if lexer is not None:
                section["language"] = str(lexer.name)[:100]
        if work.options.get("content") is True:
            section["text"] = read.text[:_CONTENT].replace("\f", "\n").replace("\x1b", "")
        return section


def _markdown(whole: str) -> dict[str, Any]:
    front, rest = markdown.without_front(whole[: markdown.MOST_LETTERS])
    tokens = markdown.parser().parse(rest)
    headings = [
        {"level": int(before.tag[1]), "text": _plain(token)[:300]}
        for before, token in pairwise(tokens)
        if before.type == "heading_open" and token.type == "inline"
    ]
    found: dict[str, Any] = {"headings": headings[:_MOST_HEADINGS]}
    facts = [match for line in front.split("\n")[:1_000] if (match := _FACT.fullmatch(line))]
    if facts:
        found["front_matter"] = {match[1]: match[2].strip("\"'")[:500] for match in facts[:_MOST_FACTS]}
    return found


def _plain(token: Any) -> str:
    parts = [" " if child.type == "softbreak" else child.content for child in token.children or ()]
    return "".join(parts).strip()
