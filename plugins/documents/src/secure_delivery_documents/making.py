"""What the tasks have done, in a worker: from a file of any kind to pages, and from there to results.

Knows: which part of this plugin reads or writes what. Must not know: how URLs spell options, how programs are run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from PIL import Image

from secure_delivery.plugin import Media, MemoryFile, TooLarge, Unsupported, Workshop, json_file
from secure_delivery_images import Picture
from secure_delivery_images.modes import flattened
from secure_delivery_images.tasks import Output as PictureOutput

from . import grid, odf, office, page, pdf, pictures, plain, structure, vector, viewer
from . import options as choices
from .faults import data_of
from .kinds import MIMETYPES, OFFICE, PAGES, check_pair, kind_of, renamed
from .viewer import Sheet

_PREVIEW_SIDE = 1_400  # pixels of the longer side of a page in a viewer: sharp at twice the width of a phone
_SLIDE_SIDE = 1_600
_PREVIEW_PAGES = 40
_SLIDES = 100
_PREVIEW_BYTES = 24_000_000  # of the pictures of one viewer together
_PREVIEW_LETTERS = 1_000_000  # of the text of one viewer
_ARCHIVE_PAGES = 200
_COLOUR_PAGES = 300
_PICTURE_OUTPUT = PictureOutput()


class Source:
    """A file of any kind that this plugin reads."""

    def __init__(self, media: Media, shop: Workshop) -> None:
        self.media = media
        self.shop = shop
        self.kind = kind_of(media)
        self._data: bytes | None = None
        self._pdf: bytes | None = None
        if self.kind in ("ole", "zip", *OFFICE):
            self.kind = office.identified(media, self.kind, self.data)

    @property
    def data(self) -> bytes:
        if self._data is None:
            self._data = data_of(self.media, self.shop.limits)
        return self._data

    @property
    def filename(self) -> str:
        return self.media.filename

    def picture(self) -> Picture:
        return Picture.taken(self.media, self.shop)

    def pdf(self, *, hidden: bool = False) -> bytes:
        """The file as PDF; made once."""
        if self._pdf is None:
            self._pdf = self._as_pdf(hidden)
        return self._pdf

    def _as_pdf(self, hidden: bool) -> bytes:
        if self.kind == "pdf":
            return self.data
        if self.kind == "picture":
            return pictures.as_pdf(self.picture())
        data = self.data
        if self.kind == "txt":
            text = plain.decoded(data)
            made = plain.as_pdf(text)
            if made is not None:
                return made
            data = b"\xef\xbb\xbf" + text.encode()
        return office.converted(data, self.kind, "pdf", self.shop, hidden=hidden)


# -------------------------------------------------------------------------------------------------------------- output


def output(media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
    """`output` of a document."""
    source = Source(media, shop)
    if options["docinfo"]:
        return _docinfo(source)
    target = options["format"] or source.kind
    check_pair(source.kind, target)
    paper, orientation = options["pageformat"], options["pageorientation"]
    if target in PAGES:
        return _page_picture(source, options)
    if target == "pdf":
        return office.file(_as_pdf(source, options), "pdf", source.filename)
    if target == "svg":
        with structure.opened(source.pdf()) as document:
            _check_page(options["page"], len(document.pages))
            structure.keep(document, [options["page"] - 1])
            structure.refit(document, paper, orientation)
            one = structure.written(document)
        return office.file(vector.cleaned(office.converted(one, "pdf", "svg", shop)), "svg", source.filename)
    return office.file(_as_document(source, target, options), target, source.filename)


def picture_output(media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
    """`output` of a picture as a document."""
    picture = Picture.taken(media, shop)
    paper, orientation = options["pageformat"], options["pageorientation"]
    if options["docinfo"]:
        width, height = picture.dimensions()
        return json_file({"numpages": 1, "dimensions": {"width": width, "height": height}}, "docinfo.json")
    target = options["format"]
    check_pair("picture", target, name=picture.facts.form.lower())
    picture = picture.at_page(options["page"])
    if options["background"] is not None:
        flat = flattened(picture.decoded(), tuple(options["background"]))
        picture = Picture.drawn(flat, filename=media.filename, limits=shop.limits, form=picture.form)
    if target == "pdf":
        data = pictures.as_pdf(picture, paper, orientation)
    elif target == "svg":
        data = pictures.as_svg(picture, media.filename)
    else:
        data = pictures.as_open_document(picture, target, paper, orientation)
    return office.file(data, target, media.filename)


def _docinfo(source: Source) -> MemoryFile:
    with pdf.opened(source.pdf(), source.shop.limits) as pages:
        width, height = (round(side, 2) for side in pages.size(0))
        dimensions = {"width": _plain(width), "height": _plain(height)}
        return json_file({"numpages": pages.count, "dimensions": dimensions}, "docinfo.json")


def _plain(value: float) -> float | int:
    return int(value) if value == int(value) else value


def _check_page(number: int, count: int) -> None:
    if number > count:
        raise Unsupported(f"page {number} of {count}", public=f"The file has no page {number}.")


def _page_picture(source: Source, options: Mapping[str, Any]) -> Media:
    """A page as a picture, which the plugin for pictures writes: other tasks may follow before it is encoded."""
    data = source.pdf()
    if options["pageformat"] or options["pageorientation"]:
        with structure.opened(data) as document:
            _check_page(options["page"], len(document.pages))
            structure.keep(document, [options["page"] - 1])
            structure.refit(document, options["pageformat"], options["pageorientation"])
            data, number = structure.written(document), 0
    else:
        number = options["page"] - 1
    background = options["background"]
    fill = tuple(background) if background is not None else pdf.WHITE
    with pdf.opened(data, source.shop.limits) as pages:
        _check_page(number + 1, pages.count)
        image = pages.picture(number, pages.scale(number, options["density"]), fill)
    drawn = Picture.drawn(image, filename=source.filename, limits=source.shop.limits)
    return _PICTURE_OUTPUT.apply(drawn, {**options, "page": 1, "density": None}, source.shop)


def _as_pdf(source: Source, options: Mapping[str, Any]) -> bytes:
    with structure.opened(source.pdf()) as document:
        structure.refit(document, options["pageformat"], options["pageorientation"])
        keep = source.shop.metadata == "all" and not options["strip"]
        return structure.written(document, compress=options["compress"], metadata=keep, dates=source.kind == "pdf")


def _as_document(source: Source, target: str, options: Mapping[str, Any]) -> bytes:
    """Everything that is no page: text, web pages, office documents."""
    kind, data = source.kind, source.data
    if kind == "txt" and target in ("txt", "html", "odt"):
        text = plain.decoded(data)
        if target == "txt":
            return text.encode()
        return plain.as_html(text, source.filename) if target == "html" else odf.text_document(text)
    if kind == "html" and target in ("txt", "html"):
        if target == "txt":
            return page.as_text(data).encode()
        return page.cleaned(data) if options["secure"] else page.text_of(data).encode()
    if kind == "pdf" and target == "txt":
        return pdf.whole_text(data, source.shop.limits).encode()
    if kind == "pdf" and target == "ods":
        with pdf.opened(data, source.shop.limits) as pages:
            return odf.tables([grid.rows(pages.lines(number)) for number in range(min(pages.count, _ARCHIVE_PAGES))])
    if kind == "pdf":
        with structure.opened(data) as document:  # what the office reads has no scripts, files and passwords any more
            data = structure.written(document)
    made = office.converted(data, kind, target, source.shop)
    if target == "html" and options["secure"]:
        return page.cleaned(made)
    return plain.decoded(made).encode() if target == "txt" else made


# ----------------------------------------------------------------------------------------------------------------- PDF


def information(media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
    """`pdfinfo`."""
    source = Source(media, shop)
    data = source.pdf()
    facts = structure.facts(data)
    if options["colorinfo"]:
        with pdf.opened(data, shop.limits) as pages:
            if pages.count > _COLOUR_PAGES:
                raise TooLarge(public=f"pdfinfo: colorinfo is for documents of at most {_COLOUR_PAGES} pages.")
            for number, entry in enumerate(facts["pages"]):
                entry["color"] = pages.coloured(number)
        facts["color"] = any(entry["color"] for entry in facts["pages"])
    return json_file(facts, "pdfinfo.json")


def reshaped(media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
    """`pdfconvert`."""
    source = Source(media, shop)
    if source.kind != "pdf":
        check_pair(source.kind, "pdf")
    with structure.opened(source.pdf()) as document:
        if options["pages"]:
            wanted = choices.chosen(options["pages"], len(document.pages), most=pdf.MOST_PAGES)
            structure.keep(document, wanted)
        structure.refit(document, options["pageformat"], options["pageorientation"])
        keep = shop.metadata == "all" if options["metadata"] is None else options["metadata"]
        return office.file(structure.written(document, metadata=keep), "pdf", source.filename)


def gathered(media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
    """`pdfcreate`: one PDF of several files."""
    parts = (Source(part, shop).pdf() for part in (media, *shop.others))
    return office.file(structure.joined(parts), "pdf", media.filename)


# --------------------------------------------------------------------------------------------------- pages as pictures


@contextmanager
def _pages(source: Source, *, hidden: bool = False) -> Iterator[pdf.Pages]:
    with pdf.opened(source.pdf(hidden=hidden), source.shop.limits) as pages:
        yield pages


def archive(media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
    """`doc_to_images`: a ZIP file of page pictures, `page-0001.png` and so on."""
    source = Source(media, shop)
    form = options["format"]
    written = {**dict.fromkeys(("background", "quality")), "format": form, "quality": options["quality"], "page": 1}
    written |= {"compress": False, "strip": False, "colorspace": "rgb", "docinfo": False}
    members, size = [], 0
    with _pages(source, hidden=options["hidden_slides"]) as pages:
        if options["pages"]:
            numbers = sorted(set(choices.chosen(options["pages"], pages.count, most=_ARCHIVE_PAGES)))
        elif pages.count > _ARCHIVE_PAGES:
            raise TooLarge(public=f"doc_to_images: at most {_ARCHIVE_PAGES} pages at once; say which with pages.")
        else:
            numbers = list(range(pages.count))
        for number in numbers:
            image = pages.picture(number, pages.scale(number, options["density"]))
            picture = Picture.drawn(image, filename=source.filename, limits=shop.limits)
            with _PICTURE_OUTPUT.apply(picture, written, shop).open() as stream:
                data = stream.read()
            size += len(data)
            if size > shop.limits.bytes:
                raise TooLarge(public="doc_to_images: the pictures together are too large; ask for fewer pages.")
            members.append((f"page-{number + 1:04}.{'jpg' if form == 'pjpg' else form}", data))
    packed = odf.zipped(members, stored=[name for name, _ in members])
    return MemoryFile(packed, MIMETYPES["zip"], renamed(source.filename, "zip"))


def slide_show(media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
    """`slide`."""
    sheets, count = _sheets(Source(media, shop), _SLIDES, _SLIDE_SIDE)
    return viewer.slides(sheets, count=count, filename=media.filename, theme=options["theme"])


def preview(media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
    """`preview`."""
    sheets, count = _sheets(Source(media, shop), _PREVIEW_PAGES, _PREVIEW_SIDE)
    return viewer.preview(sheets, count=count, filename=media.filename, css=options["css"])


def _sheets(source: Source, most: int, side: int) -> tuple[Sequence[Sheet], int]:
    """Pages for a reader, as many as are allowed and fit the bytes for one viewer, and how many the document has."""
    if source.kind == "picture":
        image = pictures.shrunk(source.picture(), side)
        return [_sheet(image, [])], 1
    sheets: list[Sheet] = []
    size = letters = 0
    with _pages(source) as pages:
        for number in range(min(pages.count, most)):
            lines = pages.lines(number)
            letters += sum(len(line.text) for line in lines)
            image = pages.picture(number, pages.fitting(number, side))
            sheet = _sheet(image, lines if letters <= _PREVIEW_LETTERS else [])
            size += len(sheet.data)
            if sheets and size > _PREVIEW_BYTES:
                break
            sheets.append(sheet)
        return sheets, pages.count


def _sheet(image: Image.Image, lines: Sequence[pdf.Line]) -> Sheet:
    data, mimetype = pictures.for_viewer(image)
    return Sheet(data=data, mimetype=mimetype, size=image.size, lines=lines)
