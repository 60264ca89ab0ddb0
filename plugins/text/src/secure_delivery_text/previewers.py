"""The previewers of this plugin, as the server sees them: which files each is for.

Knows: types, extensions. Must not know: any library that reads or draws; only a worker, in `warm` or `preview`, loads more.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import ClassVar

from secure_delivery.plugin import Needs, Page, Previewer, Work

from . import kinds


class TextPreviewer:
    """What the previewers here share."""

    mimetypes: ClassVar[tuple[str, ...]]
    extensions: ClassVar[tuple[str, ...]]
    priority: ClassVar[int] = 50
    family: ClassVar[str] = "text"
    needs: ClassVar[Needs] = Needs(libraries=("pillow", "pygments", "markdown-it-py", "charset-normalizer"))
    work: ClassVar[str]

    def warm(self) -> None:
        """Import what is needed later and read the fonts, before a worker is confined."""
        import_module("secure_delivery_images.picture").warm()
        import_module(".drawing", __package__).warm()

    def preview(self, work: Work) -> Iterator[Page]:
        """Raises `Unsupported` for what is no text, `TooLarge`, `ProcessingLimit`, `Corrupt`."""
        pages: Iterator[Page] = getattr(import_module(".drawing", __package__), self.work)(work)
        return pages


class Text(TextPreviewer):
    """Plain text and logs as they are; tables as text, their columns below each other. Also what else fails to show."""

    mimetypes = (*kinds.PLAIN_TYPES, *kinds.TABLE_TYPES, *kinds.MARKDOWN_TYPES, *kinds.SOURCE_TYPES)
    extensions = (*kinds.PLAIN_EXTENSIONS, *kinds.TABLE_EXTENSIONS, *kinds.MARKDOWN_EXTENSIONS, *kinds.SOURCE_EXTENSIONS)
    priority = 40
    work = "of_text"


class Source(TextPreviewer):
    """Source code in colours."""

    mimetypes = kinds.SOURCE_TYPES
    extensions = kinds.SOURCE_EXTENSIONS
    family = "source"
    work = "of_source"


class MarkupSource(TextPreviewer):
    """The code of pages and drawings, where nothing can show what they look like."""

    mimetypes = kinds.MARKUP_TYPES
    extensions = ("html", "htm", "xhtml", "svg")
    priority = 10
    family = "source"
    work = "of_source"


class Markdown(TextPreviewer):
    """Markdown, set: headings, lists, quotes, code, tables. Nothing is fetched, raw HTML is shown as text."""

    mimetypes = kinds.MARKDOWN_TYPES
    extensions = kinds.MARKDOWN_EXTENSIONS
    family = "markdown"
    work = "of_markdown"


def previewers() -> dict[str, Previewer]:
    """Each by its name."""
    return {"text": Text(), "source": Source(), "markup_source": MarkupSource(), "markdown": Markdown()}
