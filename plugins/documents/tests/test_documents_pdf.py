"""PDF files: drawn, measured, taken apart and put together."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from typing import Any

import pikepdf
import pypdfium2
import pytest
from PIL import Image

from secure_delivery.plugin import Demanding, MemoryFile, TooLarge, Unsupported, WorkLimits
from secure_delivery.plugin.testing import SimpleWorkshop, bind, content
from secure_delivery_documents.options import PAPER
from secure_delivery_documents.tasks import transformations
from secure_delivery_images.tasks import Output

TASKS = transformations()


def texts(data: bytes) -> list[str]:
    document = pypdfium2.PdfDocument(data)
    found = [page.get_textpage().get_text_range().strip() for page in document]
    document.close()
    return found


def sizes(data: bytes) -> list[tuple[int, int]]:
    document = pypdfium2.PdfDocument(data)
    found = [tuple(round(side) for side in page.get_size()) for page in document]
    document.close()
    return found


def opened(media: Any) -> Image.Image:
    return Image.open(BytesIO(content(media)))


# -------------------------------------------------------------------------------------------------------------- drawing


@pytest.mark.parametrize(("density", "size"), [("72", (300, 400)), ("36", (150, 200)), (None, (625, 834)), ("1", (5, 6))])
def test_density_is_dots_to_the_inch(density: str | None, size: tuple[int, int], make: Any, apply: Any) -> None:
    """Without a word about it there are 150; a part of a pixel is a pixel."""
    options = {"format": "png"} | ({"density": density} if density else {})
    assert opened(apply(make.file("pdf", make.pdf("x")), ("output", options))).size == size


def test_the_page_asked_for_is_drawn(make: Any, apply: Any) -> None:
    """Pages count from one; the first stands for the document when none is named."""
    media = make.file("pdf", make.pdf("one", "two", colour="1 0 0 rg"))
    first, same, second = (
        content(apply(media, ("output", {"format": "png"} | page))) for page in ({}, {"page": "1"}, {"page": "2"})
    )
    assert first == same != second


@pytest.mark.parametrize("task", ["output", "pdfconvert", "doc_to_images"])
def test_a_page_that_is_not_there_is_named(task: str, make: Any, apply: Any) -> None:
    """The answer is a refusal, and says which page."""
    options = {"output": {"format": "png", "page": "4"}}.get(task, {"pages": ("4",)})
    with pytest.raises(Unsupported) as refusal:
        apply(make.file("pdf", make.pdf("one", "two", "three")), (task, options))
    assert refusal.value.public == "The file has no page 4."


def test_pictures_of_pages_go_on_as_pixels(make: Any, apply: Any) -> None:
    """What is drawn is handed to the next task without a file in between."""
    result = apply(make.file("pdf", make.pdf("x")), ("output", {"format": "jpg"}))
    assert result.decoded().mode == "RGB"
    assert result.size is None


def test_paper_is_white_unless_another_colour_is_asked_for(make: Any, apply: Any) -> None:
    """`background` is the colour of the paper, see-through too where the format can."""
    media = make.file("pdf", make.pdf("x"))
    for background, pixel in [(None, (255, 255, 255, 255)), ("ff0000", (255, 0, 0, 255)), ("transparent", (0, 0, 0, 0))]:
        options = {"format": "png", "density": "20"} | ({"background": background} if background else {})
        image = opened(apply(media, ("output", options)))
        assert image.convert("RGBA").getpixel((80, 100)) == pixel


def test_colours_of_ink(make: Any, apply: Any) -> None:
    """`colorspace:cmyk` is for formats that have it."""
    media = make.file("pdf", make.pdf("x"))
    assert opened(apply(media, ("output", {"format": "jpg", "colorspace": "cmyk"}))).mode == "CMYK"
    assert opened(apply(media, ("output", {"format": "jpg", "colorspace": "input"}))).mode == "RGB"
    with pytest.raises(Unsupported):
        content(apply(media, ("output", {"format": "png", "colorspace": "cmyk"})))


def test_fields_of_forms_are_drawn_with_their_values(make: Any, apply: Any) -> None:
    """A form without prepared looks is filled in for the picture."""
    with pikepdf.open(BytesIO(make.pdf(""))) as document:
        font = document.make_indirect(
            pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica)
        )
        field = document.make_indirect(
            pikepdf.Dictionary(
                Type=pikepdf.Name.Annot,
                Subtype=pikepdf.Name.Widget,
                FT=pikepdf.Name.Tx,
                T=pikepdf.String("a"),
                V=pikepdf.String("FILLED"),
                Rect=[50, 100, 250, 140],
                DA=pikepdf.String("/F 20 Tf 0 g"),
                F=4,
            )
        )
        document.pages[0].obj["/Annots"] = pikepdf.Array([field])
        resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F=font))
        document.Root["/AcroForm"] = pikepdf.Dictionary(Fields=[field], DR=resources, DA=pikepdf.String("/F 20 Tf 0 g"))
        out = BytesIO()
        document.save(out)
    image = opened(apply(make.file("pdf", out.getvalue()), ("output", {"format": "png", "density": "72"}))).convert("L")
    assert min(image.crop((50, 260, 250, 300)).tobytes()) < 100


@pytest.mark.parametrize("side", [100_000, 1_000_000])
def test_a_huge_page_is_drawn_smaller_or_refused(side: int, make: Any, apply: Any) -> None:
    """With a density of its own a page over the limit is refused before it is drawn; without, it is drawn as large as fits."""
    media = make.file("pdf", make.pdf("x", size=(side, side)))
    limits = WorkLimits(pixels=1_000_000)
    with pytest.raises(TooLarge) as refusal:
        apply(media, ("output", {"format": "png", "density": "100"}), limits=limits)
    assert "100 dpi" in str(refusal.value.public)
    image = opened(apply(media, ("output", {"format": "png"}), limits=limits))
    assert 900_000 < image.width * image.height <= 1_000_000


def test_a_very_long_page_stays_within_the_side_of_a_result(make: Any, apply: Any) -> None:
    """Two points wide and 14,000 long: within the pixels, and not longer than a result may be."""
    image = opened(apply(make.file("pdf", make.pdf("x", size=(2, 14_000))), ("output", {"format": "png"})))
    assert max(image.size) <= WorkLimits().output_side


# ---------------------------------------------------------------------------------------------------------------- facts


def test_docinfo_counts_and_measures(make: Any, apply: Any) -> None:
    """Pages, and the size of the first as it is seen, in points; pixels for a picture."""
    answers = [
        (make.file("pdf", make.pdf("a", "b")), 2, 300, 400),
        (make.file("pdf", make.pdf("a", rotate=90)), 1, 400, 300),
        (make.file("txt", b"hello"), 1, 595.28, 841.89),
        (make.picture(), 1, 64, 48),
    ]
    for media, pages, width, height in answers:
        answer = json.loads(content(apply(media, ("output", {"docinfo": "true"}))))
        assert answer == {"numpages": pages, "dimensions": {"width": width, "height": height}}


def test_pdfinfo_says_what_the_file_is(make: Any, apply: Any) -> None:
    """Every page with its size, and colour where it was asked for."""
    with pikepdf.open(BytesIO(make.pdf("grey"))) as document, pikepdf.open(BytesIO(make.pdf("red", colour="1 0 0 rg"))) as red:
        document.pages.append(red.pages[0])
        document.pages[1].obj["/Rotate"] = 270
        document.docinfo["/Title"] = "A title"
        out = BytesIO()
        document.save(out)
    media = make.file("pdf", out.getvalue())
    answer = json.loads(content(apply(media, ("pdfinfo", {}))))
    assert (answer["numpages"], answer["dimensions"]) == (2, {"width": 300, "height": 400})
    assert answer["pages"][1] == {"page": 2, "width": 400, "height": 300, "rotation": 270}
    assert (answer["encrypted"], answer["form"], answer["info"]) == (False, False, {"title": "A title"})
    coloured = json.loads(content(apply(media, ("pdfinfo", {"colorinfo": "true"}))))
    assert [page["color"] for page in coloured["pages"]] == [False, True]
    assert coloured["color"] is True


# ----------------------------------------------------------------------------------------------------------- structure


@pytest.mark.parametrize(
    ("pages", "wanted"),
    [
        (("2",), [2]),
        (("1-3",), [1, 2, 3]),
        (("-2",), [1, 2]),
        (("4-",), [4, 5]),
        (("5", "1"), [5, 1]),
        (("2", "2"), [2, 2]),
        (("3-99",), [3, 4, 5]),
        ("2-3", [2, 3]),
    ],
)
def test_pages_are_chosen_in_the_order_asked_for(pages: Any, wanted: list[int], make: Any, apply: Any) -> None:
    """Numbers, ranges open at either end; a range may go beyond the end, a page may come twice."""
    media = make.file("pdf", make.pdf(*"12345"))
    assert texts(content(apply(media, ("pdfconvert", {"pages": pages})))) == [str(number) for number in wanted]


@pytest.mark.parametrize(
    "pages", ["", "0", "3-2", "a", "1,2", "-", "1-2-3", "100000", "0-2", "-0", "1-0", ("1", ("2",)), ("1",) * 201, "1.5"]
)
def test_pages_that_make_no_sense_are_refused(pages: Any) -> None:
    """Before any byte is fetched."""
    with pytest.raises((ValueError, TypeError)):
        TASKS["pdfconvert"].params[2].kind.read(pages)


def test_pdfconvert_wants_to_be_told_something() -> None:
    """Without options there is nothing to do, and that is a mistake."""
    with pytest.raises(ValueError, match="needed"):
        bind(TASKS["pdfconvert"])


@pytest.mark.parametrize("paper", PAPER)
def test_pages_are_put_on_paper(paper: str, make: Any, apply: Any) -> None:
    """Every format, upright for a tall page and turned for a wide one."""
    short, long = (round(side) for side in PAPER[paper])
    for size, wanted in [((300, 400), (short, long)), ((400, 300), (long, short))]:
        result = content(apply(make.file("pdf", make.pdf("words", size=size)), ("pdfconvert", {"pageformat": paper})))
        assert sizes(result) == [wanted]
        assert texts(result) == ["words"]


def test_pages_are_turned_to_an_orientation(make: Any, apply: Any) -> None:
    """The paper is turned, what is on it stays upright and is made to fit; a page that fits already is left alone."""
    media = make.file("pdf", make.pdf("words"))
    assert sizes(content(apply(media, ("pdfconvert", {"pageorientation": "landscape"})))) == [(400, 300)]
    assert sizes(content(apply(media, ("pdfconvert", {"pageorientation": "portrait"})))) == [(300, 400)]
    both = content(apply(media, ("pdfconvert", {"pageorientation": "landscape", "pageformat": "a5"})))
    assert sizes(both) == [(595, 420)]


def test_a_turned_page_is_seen_the_right_way_up_on_other_paper(make: Any, apply: Any) -> None:
    """A page with a rotation of its own keeps its looks."""
    media = make.file("pdf", make.pdf("words", rotate=90))
    before = opened(apply(media, ("output", {"format": "png", "density": "36"}))).convert("L")
    moved = apply(media, ("pdfconvert", {"pageformat": "a4"}))
    after = opened(apply(moved, ("output", {"format": "png", "density": "36"}))).convert("L")
    assert after.width > after.height
    ink = [image.point([255] * 128 + [0] * 128).getbbox() for image in (before.resize(after.size), after)]
    assert None not in ink
    assert all(abs(one - other) < after.width / 12 for one, other in zip(*ink, strict=True))


def test_who_made_a_file_is_not_told_unless_asked_for(make: Any, apply: Any) -> None:
    """`metadata:true` keeps title and author, and needs the right to read them."""
    with pikepdf.open(BytesIO(make.pdf("x"))) as document:
        document.docinfo["/Author"] = "Somebody"
        out = BytesIO()
        document.save(out)
    media = make.file("pdf", out.getvalue())
    assert b"Somebody" not in content(apply(media, ("pdfconvert", {"pages": ("1",)})))
    kept = content(apply(media, ("pdfconvert", {"metadata": "true"})))
    with pikepdf.open(BytesIO(kept)) as document:
        assert document.docinfo["/Author"] == "Somebody"
    task = TASKS["pdfconvert"]
    assert isinstance(task, Demanding)
    assert (task.demands({"metadata": True}), task.demands({"metadata": None})) == (("exif",), ())
    assert b"Somebody" in content(apply(media, ("output", {"format": "pdf"}), metadata="all"))
    assert b"Somebody" not in content(apply(media, ("output", {"format": "pdf", "strip": "true"}), metadata="all"))


def test_several_files_become_one(make: Any, apply: Any) -> None:
    """PDF, text and pictures, in order."""
    others = [make.file("txt", b"words"), make.picture(), make.picture("JPEG"), make.picture("PNG", mode="LA")]
    result = content(apply(make.file("pdf", make.pdf("one", "two")), ("pdfcreate", {"engine": "mupdf"}), others=others))
    assert texts(result) == ["one", "two", "words", "", "", ""]
    assert sizes(result)[-1] == (48, 36)


def test_a_jpeg_is_put_into_a_pdf_as_it_is(make: Any, apply: Any) -> None:
    """Not one pixel is encoded anew."""
    picture = make.picture("JPEG", size=(200, 100))
    result = content(apply(picture, ("output", {"format": "pdf"})))
    assert picture.data[-200:] in result


@pytest.mark.parametrize("form", ["png", "jpg", "pjpg", "webp"])
def test_pages_as_an_archive(form: str, make: Any, apply: Any) -> None:
    """One picture for each page, named by its number, the same bytes every time."""
    media = make.file("pdf", make.pdf(*"abc"), "report.pdf")
    options = {"format": form, "density": "36", "quality": "80"}
    one, other = (apply(media, ("doc_to_images", options)) for _ in range(2))
    assert (one.mimetype, one.filename) == ("application/zip", "report.zip")
    assert content(one) == content(other)
    with zipfile.ZipFile(BytesIO(content(one))) as archive:
        ending = form.removeprefix("p") if form == "pjpg" else form
        assert archive.namelist() == [f"page-000{number}.{ending}" for number in (1, 2, 3)]
        assert Image.open(BytesIO(archive.read(archive.namelist()[2]))).size == (150, 200)


def test_an_archive_of_some_pages(make: Any, apply: Any) -> None:
    """Pages keep their numbers, and come once, in order."""
    media = make.file("pdf", make.pdf(*"abcde"))
    result = apply(media, ("doc_to_images", {"pages": ("4-", "2", "5"), "density": "10"}))
    with zipfile.ZipFile(BytesIO(content(result))) as archive:
        assert archive.namelist() == ["page-0002.png", "page-0004.png", "page-0005.png"]


def test_an_archive_has_at_most_two_hundred_pages(make: Any, apply: Any) -> None:
    """More is refused with advice, not cut short."""
    media = make.file("pdf", make.pdf(*["x"] * 201, size=(20, 20)))
    with pytest.raises(TooLarge) as refusal:
        apply(media, ("doc_to_images", {"density": "10"}))
    assert "pages" in str(refusal.value.public)
    with zipfile.ZipFile(BytesIO(content(apply(media, ("doc_to_images", {"pages": ("2-",), "density": "5"}))))) as archive:
        assert len(archive.namelist()) == 200


def test_hidden_slides_are_left_out_unless_asked_for(make: Any, office: Any) -> None:
    """Of a presentation with one hidden slide of three."""
    media = make.file("pptx", make.pptx("first", "second", "third", hidden=[1]))
    for options, count in [({}, 2), ({"hidden_slides": "true"}, 3)]:
        result = office(media, ("doc_to_images", {"density": "20"} | options))
        with zipfile.ZipFile(BytesIO(result.data)) as archive:
            assert len(archive.namelist()) == count


def test_tables_of_a_pdf_become_cells(make: Any, apply: Any) -> None:
    """Words that stand beneath each other share a column; numbers are numbers."""
    with pikepdf.open(BytesIO(make.pdf("name"))) as document:
        stream = "BT /F 12 Tf 20 340 Td (name) Tj 150 0 Td (price) Tj ET BT /F 12 Tf 20 300 Td (tea) Tj 150 0 Td (4.5) Tj ET"
        document.pages[0].obj["/Contents"] = document.make_stream(stream.encode())
        out = BytesIO()
        document.save(out)
    result = content(apply(make.file("pdf", out.getvalue()), ("output", {"format": "ods"})))
    with zipfile.ZipFile(BytesIO(result)) as archive:
        text = archive.read("content.xml").decode()
    assert text.index("name") < text.index("price") < text.index("tea") < text.index('office:value="4.5"')
    assert text.count("<table:table-row>") == 2


def test_the_text_of_all_pages(make: Any, apply: Any) -> None:
    """An empty line between pages."""
    result = apply(make.file("pdf", make.pdf("one", "two")), ("output", {"format": "txt"}))
    assert (result.mimetype, content(result)) == ("text/plain", b"one\n\ntwo\n")


def test_pictures_on_paper(make: Any, apply: Any) -> None:
    """A picture asked for on paper is as large as fits, paper turned as the picture is unless asked otherwise."""
    wide = make.picture(size=(400, 100))
    assert sizes(content(apply(wide, ("output", {"format": "pdf", "pageformat": "a4"})))) == [(842, 595)]
    upright = {"format": "pdf", "pageformat": "a4", "pageorientation": "portrait"}
    assert sizes(content(apply(wide, ("output", upright)))) == [(595, 842)]


def test_a_picture_that_becomes_a_picture_is_left_to_pictures(make: Any, apply: Any) -> None:
    """The same bytes as without this plugin."""
    media = make.picture("PNG")
    alone = content(Output().apply(media, bind(Output(), format="webp", quality="50"), SimpleWorkshop()))
    assert content(apply(media, ("output", {"format": "webp", "quality": "50"}))) == alone


def test_background_is_behind_a_picture_that_becomes_a_document(make: Any, apply: Any) -> None:
    """Where nothing is drawn, the colour asked for is seen; without one a PDF keeps what is see-through."""
    out = BytesIO()
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(out, "PNG")
    clear = MemoryFile(out.getvalue(), "image/png", "clear.png")
    for options, seen in [({}, (255, 255, 255)), ({"background": "00ff00"}, (0, 255, 0))]:
        result = content(apply(clear, ("output", {"format": "pdf"} | options)))
        document = pypdfium2.PdfDocument(result)
        assert document[0].render(scale=1).to_pil().convert("RGB").getpixel((10, 10)) == seen
        document.close()
