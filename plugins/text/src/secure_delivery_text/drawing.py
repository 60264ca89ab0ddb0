"""What the previewers of this plugin do, in a worker: a file as text, text as rows, rows as pages.

Knows: which part of this plugin does what. Must not know: fonts, encodings, languages.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from PIL import Image

from secure_delivery.plugin import Corrupt, Page, ProcessingLimit, SecureDeliveryError, Unsupported, Work
from secure_delivery_images import Picture

from . import kinds, lettering, markdown, rows, sheet
from .encodings import Decoded, decoded

MOST_BYTES = 4_000_000  # of a file that are shown


def text_of(work: Work, most: int = MOST_BYTES) -> Decoded:
    """The beginning of a file as text. Raises `Unsupported` for what is none."""
    with work.media.open() as stream:
        data = stream.read(most + 1)
    return decoded(data[:most], whole=len(data) <= most)


@contextmanager
def faults() -> Iterator[None]:
    """Raises `ProcessingLimit` for memory, `Corrupt` for everything that is no fault of the tree already."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except SecureDeliveryError:
            raise
        except MemoryError as error:
            raise ProcessingLimit("out of memory") from error
        except Exception as error:
            raise Corrupt(f"text: {type(error).__name__}: {error}") from error


def of_text(work: Work) -> Iterator[Page]:
    """Plain text, or a table."""
    with faults():
        text = text_of(work).text
        table = kinds.is_table(work.media.mimetype, work.media.filename)
        made = _on_pages(work, rows.of_table(text) if table else rows.of_text(text))
    return _each(work, *made)


def of_source(work: Work) -> Iterator[Page]:
    """Code, where its language is known. Raises `Unsupported` otherwise: it is shown as plain text then."""
    with faults():
        text = text_of(work).text
        lexer = rows.lexer_for(_named(work), text)
        if lexer is None:
            raise Unsupported("no lexer for this name", public="The language of this text is not known.")
        last = max((span[1] or sheet.MOST_PAGES for span in work.wanted.spans), default=1)
        made = _on_pages(work, rows.of_source(text, lexer, min(last, sheet.MOST_PAGES)))
    return _each(work, *made)


def of_markdown(work: Work) -> Iterator[Page]:
    """Markdown, set."""
    with faults():
        pages = markdown.pages(text_of(work).text)
    return _each(work, len(pages), lambda number: markdown.drawn(pages[number - 1], work.size, work.limits))


def _named(work: Work) -> str:
    """The name by which the language is found: its own, or one made of the type where the name says nothing."""
    by_type = {
        "text/javascript": "a.js", "application/javascript": "a.js", "text/css": "a.css", "application/json": "a.json",
        "application/ld+json": "a.json", "application/xml": "a.xml", "text/xml": "a.xml", "text/html": "a.html",
        "application/xhtml+xml": "a.html", "image/svg+xml": "a.svg",
    }  # fmt: skip
    known = (*kinds.SOURCE_EXTENSIONS, "html", "htm", "xhtml", "svg")
    return work.media.filename if kinds.ending(work.media.filename) in known else by_type.get(work.media.mimetype, "")


def _on_pages(work: Work, made: Iterable[sheet.Row | None]) -> tuple[int, Callable[[int], Image.Image]]:
    pages = sheet.paged(made)
    return len(pages), lambda number: sheet.drawn(pages[number - 1], work.size, work.limits)


def _each(work: Work, total: int, draw: Callable[[int], Image.Image]) -> Iterator[Page]:
    for number in work.pages(total):
        with faults():
            picture = Picture.drawn(draw(number), filename=work.media.filename, limits=work.limits)
        yield Page(number=number, media=picture, total=total)


def warm() -> None:
    """Read the fonts, and import what is imported late: the guess of encodings, the commonest languages, the style."""
    lettering.warm()
    decoded("Größe: ça va très bien, à bientôt".encode("cp1252"))
    for language in ("py", "js", "ts", "json", "html", "css", "xml", "c", "java", "go", "rs", "sh", "sql", "yaml"):
        lexer = rows.lexer_for(f"a.{language}", "")
        if lexer is not None:
            rows.colours("x", lexer)
    markdown.pages("# x\n\n| a |\n|---|\n| b |\n")
