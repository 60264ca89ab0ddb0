"""Messages as they travel and as Outlook keeps them: read, drawn, and kept within bounds."""

from __future__ import annotations

import base64
import quopri
import random
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

import jsonschema
import msgforge
import pytest

import secure_delivery_mail
from secure_delivery.plugin import MemoryFile, SecureDeliveryError, TooLarge, Unsupported
from secure_delivery.plugin.manager import load
from secure_delivery.plugin.testing import ExtractorContract, PreviewerContract, extracted, previewed
from secure_delivery_mail import reading, words
from secure_delivery_mail.extractor import MailFacts
from secure_delivery_mail.previewer import MailPages

EML, MSG = "message/rfc822", "application/vnd.ms-outlook"


def eml(data: bytes | EmailMessage) -> MemoryFile:
    return MemoryFile(data if isinstance(data, bytes) else data.as_bytes(), EML, "letter.eml")


def letter(text: str = "Dear Ann,\n\nthe report is attached.\n", html: str | None = None) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Jürgen Müller <j@example.org>"
    message["To"] = 'Ann <ann@example.org>, bob@example.org, "Carl, C." <c@example.org>'
    message["Cc"] = "日本 <jp@example.org>"
    message["Subject"] = "Grüße: 日本"
    message["Date"] = "Thu, 29 Feb 2024 13:30:58 +0100"
    message["Message-ID"] = "<abc@example.org>"
    message.set_content(text)
    if html is not None:
        message.add_alternative(html, subtype="html")
    message.add_attachment(b"x" * 12_345, maintype="application", subtype="pdf", filename="Bericht ü.pdf")
    return message


def outlook(**more: Any) -> MemoryFile:
    message = msgforge.Message(
        subject="Höhe 日本",
        text_body=more.pop("text", "Hello,\r\n\r\nthere."),
        to=[("ann@example.org", "Ann"), ("bob@example.org", "Bob Ü.")],
        cc=[("c@example.org", "Carl")],
        sender=("j@example.org", "Jürgen"),
        sent=datetime(2024, 2, 29, 12, 30, 58, tzinfo=UTC),
        **more,
    )
    message.attach_bytes("tabelle ü.xlsx", b"y" * 777)
    return MemoryFile(message.as_bytes(), MSG, "letter.msg")


def facts(media: MemoryFile) -> Any:
    section = extracted(MailFacts(), media)
    jsonschema.Draft202012Validator(MailFacts.schema).validate(section)
    return section


class TestMailHoldsTheContract(PreviewerContract):
    previewer = MailPages()

    def sample_media(self) -> MemoryFile:
        return eml(letter("A line.\n" * 200))


class TestMailFactsHoldTheContract(ExtractorContract):
    extractor = MailFacts()

    def sample_media(self) -> MemoryFile:
        return eml(letter())


class TestOutlookHoldsTheContract(PreviewerContract):
    previewer = MailPages()

    def sample_media(self) -> MemoryFile:
        return outlook()


def test_the_plugin_is_found_and_declares_what_it_has() -> None:
    registry = load(extra={"ours": secure_delivery_mail}, blocked=["mail"])
    (report,) = [report for report in registry.reports if report.name == "ours"]
    assert report.problem is None
    assert (list(report.offers["previewers"]), list(report.offers["extractors"])) == (["mail"], ["mail"])


# ----------------------------------------------------------------------------------------------------------- what it says


def test_a_message_says_who_wrote_what_to_whom() -> None:
    assert facts(eml(letter())) == {
        "from": [{"name": "Jürgen Müller", "address": "j@example.org"}],
        "to": [
            {"name": "Ann", "address": "ann@example.org"},
            {"name": "", "address": "bob@example.org"},
            {"name": "Carl, C.", "address": "c@example.org"},
        ],
        "cc": [{"name": "日本", "address": "jp@example.org"}],
        "reply_to": [],
        "subject": "Grüße: 日本",
        "date": "2024-02-29T13:30:58+01:00",
        "message_id": "abc@example.org",
        "attachments": [{"name": "Bericht ü.pdf", "type": "application/pdf", "size": 12_345}],
    }


def test_a_message_of_outlook_says_the_same() -> None:
    section = facts(outlook())
    assert section["to"] == [{"name": "Ann", "address": "ann@example.org"}, {"name": "Bob Ü.", "address": "bob@example.org"}]
    assert section["cc"] == [{"name": "Carl", "address": "c@example.org"}]
    assert section["from"] == [{"name": "Jürgen", "address": "j@example.org"}]
    assert (section["subject"], section["date"]) == ("Höhe 日本", "2024-02-29T12:30:58+00:00")
    assert [(one["name"], one["size"]) for one in section["attachments"]] == [("tabelle ü.xlsx", 777)]
    assert reading.read(outlook()).text == "Hello,\n\nthere."


@pytest.mark.parametrize(
    ("headers", "subject", "sender"),
    [
        ("Subject: Grüße\nFrom: Ä <a@b.org>", "Grüße", "Ä"),
        ("Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n =?utf-8?b?IQ==?=\nFrom: =?koi8-r?b?7cnS?= <a@b.org>", "Grüße!", "Мир"),
        ("Subject: =?unknown?q?x?=\nFrom: a@b.org", "x", ""),
        ("Subject: =?utf-8?b?not base64?=\nFrom: a@b.org (Ann)", "=?utf-8?b?not base64?=", "Ann"),
        ("subject: a\u202ebc\x1b[2J\nfrom: <<<,,;:(((", "a bc [2J", "<<<,,;:((("),
        ("Subject: " + "x" * 90_000 + "\nFrom: a@b.org", "x" * 2_000, ""),
    ],
)
def test_headers_of_every_kind_are_read(headers: str, subject: str, sender: str) -> None:
    section = facts(eml(f"{headers}\nDate: yesterday\n\nbody".encode()))
    assert (section["subject"], section["from"][0]["name"], section["date"]) == (subject, sender, None)


def test_headers_from_before_utf8_are_read() -> None:
    assert facts(eml("Subject: Grüße\nFrom: a@b.org\n\n".encode("latin-1")))["subject"] == "Grüße"


@pytest.mark.parametrize(
    ("charset", "text"),
    [("utf-8", "Grüße"), ("koi8-r", "Мир"), ("iso-2022-jp", "日本"), ("gb2312", "中文"), ("x-no", "Grüße")],
)
@pytest.mark.parametrize("transfer", ["8bit", "base64", "quoted-printable"])
def test_texts_of_every_encoding_are_read(charset: str, text: str, transfer: str) -> None:
    data = text.encode("utf-8" if charset == "x-no" else charset)
    sent = {"8bit": bytes, "base64": base64.encodebytes, "quoted-printable": quopri.encodestring}[transfer](data)
    head = f"From: a@b.org\nSubject: x\nContent-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {transfer}\n\n"
    assert reading.read(eml(head.encode() + sent)).text.strip() == text


def test_the_plain_text_goes_before_the_page_and_a_page_alone_is_reduced() -> None:
    assert reading.read(eml(letter("plain", "<p>page</p>"))).text == "plain"
    message = letter(" \n", "<style>p{}</style><h1>Title</h1><p>one<br>two &amp; three<ul><li>a<li>b</ul><script>x</script>")
    assert reading.read(eml(message)).text == "Title\n\none\ntwo & three\n\n• a\n\n• b"


def test_pages_of_html_are_words_and_nothing_is_fetched() -> None:
    """Pictures are their descriptions; tables keep their rows."""
    html = "<table><tr><td>a<td>b<tr><td>c<td>d</table><img src='http://127.0.0.1:9/x' alt='our logo'><img src=x>"
    assert words.text_of(html).replace("\t", " ").split() == ["a", "b", "c", "d", "[our", "logo]"]
    assert words.text_of("<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><p>&e;") in ("&e;", "]>&e;", "]>\n&e;")
    assert words.text_of("<div>" * 50_000 + "deep") in ("", "deep")


def test_a_message_in_a_message_is_one_attachment() -> None:
    outer = EmailMessage()
    outer["From"], outer["Subject"] = "a@b.org", "forwarded"
    outer.set_content("see below")
    outer.add_attachment(letter("inside"))
    section = facts(eml(outer))
    assert [(one["name"], one["type"]) for one in section["attachments"]] == [("Grüße: 日本", "message/rfc822")]
    assert reading.read(eml(outer)).text.strip() == "see below"


# ------------------------------------------------------------------------------------------------------------ pictures


def test_a_long_message_has_pages_whatever_their_size(drawn: Any) -> None:
    """In a confined worker: as many pages for a small picture as for a large one."""
    long = eml(letter("A line of the text.\n" * 120))
    small, large = (drawn("mail", long, pages="all", hint=hint) for hint in ([300, 0], [1600, 0]))
    assert [image.size for image in small] == [(300, 424)] * 3
    assert [image.size for image in large] == [(1600, 2260)] * 3
    assert all(image.convert("L").resize((1, 1)).getpixel((0, 0)) < 254 for image in small + large)


@pytest.mark.parametrize("media", [eml(letter()), outlook()], ids=["eml", "msg"])
def test_both_kinds_are_drawn_and_described_in_confinement(media: MemoryFile, drawn: Any, described: Any) -> None:
    (image,) = drawn("mail", media)
    assert image.size == (800, 1130)
    head = sum(image.convert("L").crop((40, 30, 760, 250)).histogram()[:128])
    assert head > 1_500
    assert described("mail", media)["to"][0]["address"] == "ann@example.org"


def test_every_attachment_has_a_line() -> None:
    """More of them push the text down; more than eight are counted."""

    def first_row(count: int) -> int:
        message = letter("")
        for number in range(count):
            message.add_attachment(b"x", maintype="a", subtype="b", filename=f"{number}.bin")
        image = previewed(MailPages(), eml(message))[0].media.decoded().convert("L")
        (rule,) = [y for y in range(30, 600) if sum(image.crop((48, y, 752, y + 1)).histogram()[:230]) > 690]
        return rule

    assert first_row(3) - first_row(1) == 2 * 22
    assert first_row(30) == first_row(8)


# ------------------------------------------------------------------------------------------------------------- hostile


def nested(depth: int) -> bytes:
    parts = [f"Content-Type: multipart/mixed; boundary=b{level}\n\n--b{level}\n" for level in range(depth)]
    return ("From: a@b.org\nSubject: x\n" + "".join(parts)).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"From: a@b.org\nSubject: x\n" + b"X: y\n" * 30_000 + b"\nbody",
        nested(200),
        b"From: a@b.org\nSubject: x\nContent-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 20_000,
    ],
    ids=["headers", "depth", "parts"],
)
def test_absurd_counts_are_refused(data: bytes) -> None:
    with pytest.raises(TooLarge):
        facts(eml(data))


@pytest.mark.parametrize(
    "data",
    [
        b"From: a@b.org\nSubject: x\n\n" + b"\n" * 3_000_000,
        b"From: a@b.org\nSubject: x\n\n" + b"word " * 3_000_000,
        b"From: " + b"(" * 500_000 + b"\nSubject: x\n\n",
        b"From: " + b"a,<" * 200_000 + b"\nSubject: x\n\n",
        b"To: " + b'"' * 500_000 + b"\nFrom: a@b.org\nSubject: x\n\n",
        b"From: a@b.org\nSubject: " + b"=?utf-8?q?a?= " * 100_000 + b"\n\n",
        b"From: a@b.org\nSubject: x\nContent-Type: text/plain; " + b'a=";' * 100_000 + b"\n\nx",
        b"From: a@b.org\nSubject: x\nContent-Disposition: attachment; filename*0*=a''" + b"%; filename*1=" * 50_000 + b"\n\nx",
        b"From: a@b.org\nSubject: x\nContent-Type: text/html\n\n" + b"<b>" * 1_000_000,
        b"From: a@b.org\nSubject: x\nContent-Type: text/plain; charset=utf-7\n\n" + b"+AGE-" * 500_000,
    ],
    ids=["lines", "words", "comments", "addresses", "quotes", "encoded", "parameters", "pieces", "tags", "utf-7"],
)
def test_long_headers_and_texts_are_bounded(data: bytes, done: Any) -> None:
    """In a worker with its limits of time and memory: a section and a page."""
    sizes = {"sizes": [[0, 100, False, "x100"]], "format": "png", "hint": [0, 100], "most_pages": 100, "readers": []}
    document, _ = done("preview:mail", eml(data), sizes | {"pages": "1", "address": None})
    assert document["pages"]
    assert len(str(facts(eml(data)))) < 200_000


@pytest.mark.parametrize("media", [eml(letter("text", "<p>page</p>")), outlook()], ids=["eml", "msg"])
def test_damage_ends_in_a_fault_or_a_section(media: MemoryFile) -> None:
    chance = random.Random(3)
    for number in range(400):
        data = bytearray(media.data)
        for _ in range(chance.choice((1, 5, 50))):
            data[chance.randrange(min(len(data), chance.choice((600, len(data)))))] = chance.randrange(256)
        cut = data if number % 3 else data[: chance.randrange(len(data))]
        try:
            facts(MemoryFile(bytes(cut), media.mimetype, media.filename))
        except SecureDeliveryError:
            continue


@pytest.mark.parametrize(
    "data", [b"", b"just words", b"Dear Ann:\n\nhello", b"\0" * 9, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(999)]
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(SecureDeliveryError) as caught:
        facts(eml(data))
    assert isinstance(caught.value, Unsupported) or data.startswith(b"\xd0")
