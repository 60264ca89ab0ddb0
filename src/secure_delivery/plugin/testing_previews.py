"""Conformance suites for previewers and extractors, and how tests run one without a worker.

Knows: the contract, pytest's way of finding tests. Must not know: the engine, any decoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .previewing import Extractor, Page, PageRange, Previewer, Work
from .protocols import Media, Workshop
from .testing import SimpleWorkshop


def work_on(
    media: Media,
    *,
    pages: str = "1",
    size: tuple[int, int] | None = None,
    shop: Workshop | None = None,
    address: str | None = None,
    options: Mapping[str, Any] | None = None,
    attached: dict[str, Media] | None = None,
) -> Work:
    """A piece of work in this process. What is attached is put into `attached` by its name, which is also its address."""
    taken = {} if attached is None else attached

    def attach(media: Media, name: str) -> str:
        taken[name] = media
        return name

    return Work(
        media=media,
        shop=shop or SimpleWorkshop(),
        wanted=PageRange.parse(pages),
        size=size,
        address=address,
        options=options or {},
        attacher=attach,
    )


def previewed(previewer: Previewer, media: Media, **more: Any) -> list[Page]:
    """All pages that a previewer makes; `more` as in `work_on`."""
    return list(previewer.preview(work_on(media, **more)))


def extracted(extractor: Extractor, media: Media, **more: Any) -> Any:
    """The section that an extractor makes; `more` as in `work_on`."""
    return extractor.extract(work_on(media, **more))
