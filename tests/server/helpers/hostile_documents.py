"""PDF files that want to do harm: ones that act, fetch, lead in circles, unpack without end.

Knows: the bytes of PDF. Must not know: how it is read here.
"""

from __future__ import annotations

import io
import zlib

import pikepdf
from hostile_bytes import SCRIPT, archive, cut, zeros
from hostile_files import Corpus, Traps

DOCUMENTS = Corpus("document")
add = DOCUMENTS.add


# ----------------------------------------------------------------------------------------------------------------- PDF


def pdf(*objects: bytes, trailer: bytes = b"", start: int | None = None) -> bytes:
    """A PDF of these objects, counted from 1; the first is the catalogue."""
    out, places = bytearray(b"%PDF-1.5\n"), []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<</Root 1 0 R/Size %d%s>>\n" % (len(objects) + 1, trailer)
    return bytes(out + b"startxref\n%d\n%%%%EOF" % (table if start is None else start))


def stream(data: bytes, *, words: bytes = b"") -> bytes:
    return b"<<%s/Length %d>>stream\n%s\nendstream" % (words, len(data), data)


CATALOGUE = b"<</Type/Catalog/Pages 2 0 R>>"
ONE = b"<</Type/Pages/Kids[3 0 R]/Count 1>>"
FONT = b"/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"


def page(box: bytes = b"[0 0 200 200]", more: bytes = FONT + b"/Contents 4 0 R") -> bytes:
    return b"<</Type/Page/Parent 2 0 R/MediaBox %s%s>>" % (box, more)


TEXT = stream(b"BT /F 18 Tf 20 100 Td (visible) Tj ET")
IMAGE = b"/Type/XObject/Subtype/Image/Width 9/Height 9/BitsPerComponent 8/ColorSpace/DeviceRGB"
GOOD = (CATALOGUE, ONE, page(), TEXT)


def acting(traps: Traps) -> bytes:
    """Scripts, programs, forms, links to pictures and files outside, at every event there is."""
    url = traps.url.encode()
    script = b"<</S/JavaScript/JS(app.launchURL\\('%s'\\);EVIL)/Next 6 0 R>>" % url
    launch = b"<</S/Launch/F(/bin/EVIL)/Next<</S/SubmitForm/F(%s)/Next<</S/GoToR/F(%s)/D[0/Fit]>>>>>>" % (url, url)
    catalogue = b"<</Type/Catalog/Pages 2 0 R/OpenAction 5 0 R/AA<</WC 6 0 R>>/Names<</JavaScript<</Names[(a) 5 0 R]>>>>>>"
    picture = b"/Resources<</XObject<</X 7 0 R>>>>/Contents 4 0 R/AA<</O 5 0 R>>"
    outside = stream(b"", words=IMAGE + b"/F<</FS/URL/F(%s)>>" % url)
    return pdf(catalogue, ONE, page(more=picture), stream(b"200 0 0 200 0 0 cm /X Do"), script, launch, outside)


def linked_file(traps: Traps) -> bytes:
    """A picture whose bytes are to come from a file here, and a page from another document."""
    file = bytes(traps.picture)
    outside = stream(b"", words=IMAGE + b"/F(%s)/FFilter/DCTDecode" % file)
    form = stream(b"", words=b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Ref<</F(%s)/Page 0>>" % file)
    more = b"/Resources<</XObject<</X 5 0 R/Y 6 0 R>>>>/Contents 4 0 R"
    return pdf(CATALOGUE, ONE, page(more=more), stream(b"200 0 0 200 0 0 cm /X Do /Y Do"), outside, form)


def drawing_itself() -> bytes:
    form = b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X 5 0 R>>>>"
    more = b"/Resources<</XObject<</X 5 0 R>>>>/Contents 4 0 R"
    return pdf(CATALOGUE, ONE, page(more=more), stream(b"/X Do"), stream(b"/X Do /X Do", words=form))


def laughing(levels: int = 24) -> bytes:
    """Drawings that each draw the next one ten times."""
    more = b"/Resources<</XObject<</X 5 0 R>>>>/Contents 4 0 R"
    forms = []
    for number in range(levels):
        words = b"/Type/XObject/Subtype/Form/BBox[0 0 999 999]/Resources<</XObject<</X %d 0 R>>>>" % (6 + number)
        forms.append(stream(b"/X Do " * 10, words=words))
    last = stream(b"0 0 99 99 re f", words=b"/Type/XObject/Subtype/Form/BBox[0 0 999 999]")
    return pdf(CATALOGUE, ONE, page(more=more), stream(b"/X Do"), *forms, last)


def packed_twice(count: int) -> bytes:
    """A page whose content is packed twice: kilobytes that are gigabytes."""
    twice = zlib.compress(zeros(count), 9)
    return pdf(CATALOGUE, ONE, page(), stream(twice, words=b"/Filter[/FlateDecode/FlateDecode]"))


def object_bomb() -> bytes:
    """An object stream that unpacks to 600 MB, and says that all objects are in it."""
    head = b"/Type/ObjStm/N 1000000/First 100/Filter/FlateDecode"
    return pdf(CATALOGUE, b"<</Type/Pages/Kids[9 0 R]/Count 1>>", stream(zeros(600_000_000), words=head))


def cross_reference_bomb() -> bytes:
    """A packed table of a billion objects."""
    words = b"/Type/XRef/Size 1000000000/W[1 4 2]/Root 1 0 R/Filter/FlateDecode"
    body = b"%PDF-1.5\n1 0 obj\n" + CATALOGUE + b"\nendobj\n"
    table = b"5 0 obj\n" + stream(zeros(300_000_000), words=words) + b"\nendobj\n"
    return body + table + b"startxref\n%d\n%%%%EOF" % len(body)


def picture_bomb(words: bytes, data: bytes = bytes(100)) -> bytes:
    picture = stream(data, words=b"/Type/XObject/Subtype/Image/BitsPerComponent 8/ColorSpace/DeviceRGB" + words)
    more = b"/Resources<</XObject<</X 5 0 R>>>>/Contents 4 0 R"
    return pdf(CATALOGUE, ONE, page(more=more), stream(b"200 0 0 200 0 0 cm /X Do"), picture)


def encrypted() -> bytes:
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(pdf(*GOOD))) as document:
        document.save(out, encryption=pikepdf.Encryption(user="secret", owner="other"))
    return out.getvalue()


def pages(count: int) -> bytes:
    kids = b"".join(b"3 0 R " for _ in range(count))
    return pdf(CATALOGUE, b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, count), page(), TEXT)


# fmt: off
READ = "png pdfinfo pdfconvert preview txt"
add("a.pdf", "PDF that acts at every event", acting, "200", READ, never=(b"EVIL", b"/JavaScript", b"/Launch", b"/SubmitForm"))
add("a.pdf", "PDF whose pictures are files here", linked_file, "200|corrupt", "png pdfconvert")
add("a.pdf", "PDF whose page tree is a circle", pdf(CATALOGUE, b"<</Type/Pages/Kids[2 0 R]/Count 1>>"), "corrupt",
    "png pdfinfo=corrupt|200 preview zip")
add("a.pdf", "PDF that says it has a billion pages",
    pdf(CATALOGUE, b"<</Type/Pages/Kids[3 0 R]/Count 1000000000>>", page(), TEXT), "too_large|corrupt|200",
    "png pdfinfo preview pages")
add("a.pdf", "PDF of 6,000 pages", lambda: pages(6_000), "too_large", "pdfinfo preview pages")
add("a.pdf", "PDF: pages nested 20,000 deep",
    lambda: pdf(CATALOGUE, *(b"<</Type/Pages/Kids[%d 0 R]/Count 1>>" % number for number in range(3, 20_003)), page()),
    "corrupt|200|unsupported", "png pdfinfo")
add("a.pdf", "PDF: a page as large as the sky", pdf(CATALOGUE, ONE, page(b"[0 0 1e30 1e30]"), TEXT), "200|corrupt|too_large",
    "png preview")
add("a.pdf", "PDF: a page of two million points", pdf(CATALOGUE, ONE, page(b"[0 0 2000000 2000000]"), TEXT), "200|too_large",
    "preview")
add("a.pdf", "PDF: a page without an area", pdf(CATALOGUE, ONE, page(b"[9 9 9 9]"), TEXT), "corrupt|200", "png pdfconvert")
add("a.pdf", "PDF: a drawing that draws itself", drawing_itself(), "200|corrupt|processing_limit", "txt")
add("a.pdf", "PDF: a drawing of 10^24 drawings", laughing(), "processing_limit|200|corrupt", "png")
add("a.pdf", "PDF: content packed twice, two gigabytes", lambda: packed_twice(2_000_000_000),
    "200|processing_limit|corrupt|too_large", "png")
add("a.pdf", "PDF: an object stream of 600 MB", object_bomb, "corrupt|processing_limit|too_large", "png pdfconvert")
add("a.pdf", "PDF: a table of a billion objects", cross_reference_bomb, "corrupt|processing_limit|too_large|200",
    "pdfinfo")
add("a.pdf", "PDF: a picture of 2^31 squared", picture_bomb(b"/Width 2147483647/Height 2147483647"), "200|corrupt",
    "png pdfinfo")
add("a.pdf", "PDF: a picture of 900 megapixels packed well",
    lambda: picture_bomb(b"/Width 30000/Height 30000/Filter/FlateDecode", zeros(30_000 * 3_000)),
    "200|processing_limit|corrupt|too_large", "png")
add("a.pdf", "PDF: a table that refers to itself", pdf(*GOOD, trailer=b"/Prev 9/XRefStm 9"), "200|corrupt", "png pdfinfo")
add("a.pdf", "PDF: earlier tables in a circle", pdf(*GOOD, trailer=b"/Prev %d" % pdf(*GOOD).rindex(b"xref\n0")),
    "200|corrupt", "png pdfinfo pdfconvert")
add("a.pdf", "PDF: its table is beyond the end", pdf(*GOOD, start=2**40), "200|corrupt", "png txt")
add("a.pdf", "PDF: brackets 100,000 deep", pdf(CATALOGUE, b"[" * 100_000), "corrupt", "png pdfinfo pdfconvert")
add("a.pdf", "PDF: text in brackets 100,000 deep", pdf(*GOOD[:3], stream(b"[" * 100_000 + b"<<" * 50_000)), "200|corrupt",
    "png txt preview")
add("a.pdf", "PDF: encrypted", encrypted, "encrypted", "png pdfinfo pdfconvert preview pages slide")
add("a.pdf", "PDF that is an archive as well", lambda: pdf(*GOOD) + archive(), "200", "png pdfconvert",
    never=(b"PK\x03\x04", b"script"))
add("a.pdf", "PDF that is a page as well", b"%PDF-1.5\n" + SCRIPT + pdf(*GOOD)[9:], "200|corrupt", "png pdfconvert preview",
    never=(b"evil.example",))
add("a.pdf", "PDF: words of a page that want to be a script",
    pdf(*GOOD[:3], stream(b"BT /F 9 Tf 9 9 Td (</script><script>alert\\(1\\)</script>) Tj ET")), "200",
    "preview slide=200|unsupported|corrupt", never=(b"<script>alert",))
add("a.pdf", "PDF: no more than its first line", b"%PDF-1.7\n", "corrupt", "png pdfinfo preview pages pdfconvert")
for part in (0.3, 0.6, 0.9):
    add("a.pdf", f"PDF: cut at {part:.0%}", cut(pdf(*GOOD), part), "200|corrupt", "png pdfinfo pdfconvert")
