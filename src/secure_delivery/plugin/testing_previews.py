"""The conformance suite of previewers, and how tests run a previewer or extractor without a worker.

Knows: the contract, pytest's way of finding tests. Must not know: the engine, any decoder.

    class TestMine(PreviewerContract):
        previewer = Mine()

        def sample_media(self):
            return MemoryFile(SAMPLE, "application/x-mine", "sample.mine")
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from ..gate.errors import SecureDeliveryError
from .media import MemoryFile
from .previewing import Extractor, Needs, Page, PageRange, Previewer, Probing, Work
from .protocols import Decoded, Media, Workshop
from .testing_helpers import FileMedia, SimpleWorkshop, claim, content, rubbish
from .testing_pictures import dimensions


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


# ------------------------------------------------------------------------------------------- what both kinds declare

_TYPE = re.compile(r"(\*|[a-z0-9][a-z0-9.+-]{0,126})/(\*|[a-z0-9][a-z0-9.+_-]{0,126})")
_EXTENSION = re.compile(r"[a-z0-9][a-z0-9_+.-]{0,15}")
NAME = re.compile(r"[a-z0-9_]{1,64}")
_HEAD = 4_096  # bytes that a probe sees


def claim_declared(thing: Previewer | Extractor) -> None:
    """What a previewer or extractor says of itself is well-formed."""
    for mimetype in thing.mimetypes:
        claim(_TYPE.fullmatch(mimetype) is not None, f"{mimetype!r} is type/subtype in lower case, either of them perhaps *")
    for extension in thing.extensions:
        claim(_EXTENSION.fullmatch(extension) is not None, f"{extension!r} is an extension in lower case, without its dot")
    claim(bool(thing.mimetypes or thing.extensions), "it is for some types or extensions")
    needs = thing.needs
    claim(isinstance(needs, Needs), "needs is a Needs")
    claim(needs.memory >= 0, "it needs no less memory than none")


def claim_probes(thing: object, sample: MemoryFile) -> None:
    """Nothing that a file may begin with, or be called, makes a probe raise; the sample passes it."""
    if not isinstance(thing, Probing):
        return
    claim(thing.probe(sample.data[:_HEAD], sample.filename) is True, "probe is True for the sample")
    heads = [
        *rubbish(sample.data).values(),
        b"\0" * _HEAD,
        b"\xff" * _HEAD,
        "\ufeff<\u20ac>".encode("utf-16"),
        b"PK\3\4",
        b"%PDF-",
    ]
    for head in heads:
        for filename in (sample.filename, "", "name", ".", "a.b.c", "\ud800\0/../\u202e" + "n" * 300):
            try:
                answer = thing.probe(head[:_HEAD], filename)
            except Exception as error:
                raise AssertionError(f"does not hold: probe raises nothing, not {error!r} for {filename[:20]!r}") from error
            claim(isinstance(answer, bool), "probe answers True or False")


def is_for(thing: Previewer | Extractor, media: Media) -> bool:
    """Whether a file is of a type or extension that a previewer or extractor declares."""
    family = media.mimetype.partition("/")[0]
    ending = media.filename.rpartition(".")[2].lower()
    by_type = any(one in ("*/*", f"{family}/*", media.mimetype) for one in thing.mimetypes)
    return by_type or any(media.filename.lower().endswith(f".{one}") or one == ending for one in thing.extensions)


# ---------------------------------------------------------------------------------------------------------- previewers

_HINT = (96, 96)
_MUCH_LARGER = 4  # times the hint, in either direction
_NATURAL = 4_096  # pixels of either side of what has no pixels of its own; the contract says about 2,000


class PreviewerContract:
    """What every previewer holds. Subclass it as `Test...`; override `previewer`, `sample_media` and, where the default has
    too little, `sample_shop`.

    `pictures_inside` says that its pictures are found in files rather than drawn: then their size is the file's own, whatever
    the hint. `same_bytes` is False for what a program of changing mind draws.
    """

    previewer: Previewer
    pictures_inside = False
    same_bytes = True

    def sample_media(self) -> Media:
        """A valid file, small, of more than one page where the format has pages: it is previewed a few dozen times."""
        raise NotImplementedError

    def sample_shop(self) -> Workshop:
        """What the previewer may use."""
        return SimpleWorkshop()

    def _sample(self) -> MemoryFile:
        media = self.sample_media()
        return MemoryFile(content(media), media.mimetype, media.filename)

    def _pages(self, media: Media | None = None, **more: Any) -> list[Page]:
        return previewed(self.previewer, media or self._sample(), shop=self.sample_shop(), **more)

    def test_it_satisfies_the_protocol(self) -> None:
        claim(isinstance(self.previewer, Previewer), "previewer is a Previewer")
        claim(NAME.fullmatch(self.previewer.family) is not None, "family is a word in lower case")
        claim(-1_000 <= self.previewer.priority <= 1_000, "priority is a small number")
        claim_declared(self.previewer)

    def test_the_sample_is_of_a_type_it_is_for(self) -> None:
        claim(is_for(self.previewer, self.sample_media()), "a type or extension that it declares is that of the sample")

    def test_a_probe_judges_and_never_raises(self) -> None:
        claim_probes(self.previewer, self._sample())

    def test_each_page_is_a_picture_with_a_type(self) -> None:
        pages = self._pages(pages="all", size=_HINT)
        claim(bool(pages), "a valid file has a page")
        for page in pages:
            claim(isinstance(page, Page), "preview yields instances of Page")
            claim(isinstance(page.media, Media), "its media is a Media")
            data = content(page.media)
            claim(bool(data), "it can be opened, and has bytes")
            claim(page.media.mimetype.startswith("image/"), "it is a picture")
            claim(bool(page.media.filename), "it has a filename")
            claim(page.media.size in (None, len(data)), "its size, where known, is that of its bytes")

    def test_pages_are_numbered_from_one_in_order(self) -> None:
        pages = self._pages(pages="all", size=_HINT)
        claim(isinstance(pages[0].total, int) and pages[0].total >= 1, "total counts the pages of the file")
        claim([page.number for page in pages] == list(range(1, pages[0].total + 1))[:100], "all are 1, 2, 3 ... to the last")
        claim({page.total for page in pages} == {pages[0].total}, "total is the same on every page")

    def test_only_wanted_pages_are_made(self) -> None:
        total = self._pages(size=_HINT)[0].total
        for wanted in ("1", str(total), f"1,{total}", f"{total}-{total + 5}", f"2-{total}" if total > 1 else "1-2"):
            pages = self._pages(pages=wanted, size=_HINT)
            claim([page.number for page in pages] == list(PageRange.parse(wanted).of(total, 100)), f"pages={wanted}")
            claim(all(page.total == total for page in pages), f"pages={wanted}: total is that of the whole file")

    def test_pages_beyond_the_end_are_none(self) -> None:
        claim(self._pages(pages="999999", size=_HINT) == [], "a page that is not there is left out, and no fault")

    def test_it_can_be_left_after_the_first_page(self) -> None:
        pages = self.previewer.preview(work_on(self._sample(), pages="all", size=_HINT, shop=self.sample_shop()))
        claim(len(list(islice(pages, 1))) == 1, "the first page comes by itself")
        getattr(pages, "close", lambda: None)()
        claim(bool(self._pages(size=_HINT)), "and nothing of it is in the way of the next file")

    def test_the_size_hint_is_followed(self) -> None:
        natural = _sides(self._pages()[0].media)
        hinted = _sides(self._pages(size=_HINT)[0].media)
        flat = _sides(self._pages(size=(_HINT[0], 0))[0].media)
        for sides, what in ((natural, "without a hint"), (hinted, "with one"), (flat, "with one of the width alone")):
            claim(sides is None or min(sides) >= 1, f"a picture {what} has pixels")
        if natural is None or hinted is None or flat is None or self.pictures_inside:
            return
        claim(max(natural) <= _NATURAL, "without a hint a page is drawn about 2,000 pixels large at most")
        claim(max(hinted) <= _MUCH_LARGER * max(_HINT), f"a page for {_HINT[0]} pixels is not many times larger: {hinted}")
        claim(flat[0] <= _MUCH_LARGER * _HINT[0], f"nor is one for {_HINT[0]} pixels of width: {flat}")

    def test_the_same_file_gives_the_same_bytes(self) -> None:
        first, second = (
            [content(page.media) for page in self._pages(pages="all", size=_HINT)] if self.same_bytes else [] for _ in range(2)
        )
        claim(first == second, "a job that runs twice leaves the same pictures")

    def test_the_source_is_not_changed(self, tmp_path: Path) -> None:
        sample = self._sample()
        path = tmp_path / "source"
        path.write_bytes(sample.data)
        for page in self._pages(FileMedia(path, sample.mimetype, sample.filename), pages="all", size=_HINT):
            content(page.media)
        claim(path.read_bytes() == sample.data, "the source file is as it was")
        claim([file.name for file in tmp_path.iterdir()] == ["source"], "nothing was put beside the source")

    def test_rubbish_ends_in_a_fault_of_the_tree_or_pages(self) -> None:
        sample = self._sample()
        for case, data in rubbish(sample.data).items():
            try:
                for page in self._pages(MemoryFile(data, sample.mimetype, sample.filename), pages="1-3", size=_HINT):
                    content(page.media)
            except SecureDeliveryError:
                continue
            except Exception as error:
                raise AssertionError(f"{case}: a fault of secure_delivery.plugin is wanted, not {error!r}") from error

    def test_odd_names_and_types_change_nothing_but_names(self) -> None:
        sample = self._sample()
        for filename in ("", "n" * 255, "\u202ename", "a/b", "..", "no extension"):
            try:
                for page in self._pages(MemoryFile(sample.data, sample.mimetype, filename), size=_HINT):
                    content(page.media)
            except SecureDeliveryError:
                continue
            except Exception as error:
                raise AssertionError(f"{filename[:20]!r}: a fault or a page is wanted, not {error!r}") from error


def _sides(media: Media) -> tuple[int, int] | None:
    """Width and height of a picture; None for a form that is not known here."""
    if isinstance(media, Decoded):
        size = getattr(media.decoded(), "size", None)
        return (int(size[0]), int(size[1])) if isinstance(size, tuple) and len(size) == 2 else None
    return dimensions(content(media))
