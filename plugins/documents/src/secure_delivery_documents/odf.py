"""OpenDocument files made here: text, a picture on a page, tables. ISO 26300.

Knows: the few elements that are needed. Must not know: where the content comes from, programs.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from io import BytesIO

from .kinds import MIMETYPES

_START = (1980, 1, 1, 0, 0, 0)  # the oldest time a ZIP member can have: results say nothing of when they were made
_NAMESPACES = (
    " ".join(
        f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for prefix, name in {
            "office": "office",
            "text": "text",
            "table": "table",
            "draw": "drawing",
            "style": "style",
            "svg": "svg-compatible",
            "fo": "xsl-fo-compatible",
        }.items()
    )
    + ' xmlns:xlink="http://www.w3.org/1999/xlink"'
)
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
_SPACES = re.compile(r"\t| {2,}|^ ")
_NUMBER = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,9})?")
_INCH = 72.0


def zipped(members: Iterable[tuple[str, bytes]], *, stored: Sequence[str] = ()) -> bytes:
    """A ZIP file that is the same for the same members."""
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name, _START)
            info.create_system = 3
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_STORED if name in stored else zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return out.getvalue()


def text_document(text: str) -> bytes:
    """An ODT with a paragraph for each line."""
    lines = text.replace("\f", "\n").removesuffix("\n").split("\n")
    paragraphs = "".join(f'<text:p text:style-name="Code">{_spelled(line)}</text:p>' for line in lines)
    style = (
        '<style:style style:name="Code" style:family="paragraph">'
        '<style:text-properties fo:font-family="monospace" style:font-pitch="fixed" fo:font-size="10pt"/></style:style>'
    )
    return _package("odt", f"<office:text>{paragraphs}</office:text>", styles=style)


def _spelled(line: str) -> str:
    """A line as XML; spaces that XML would fold, and tabs, as elements."""

    def element(match: re.Match[str]) -> str:
        run = match[0]
        return "<text:tab/>" if run == "\t" else f'<text:s text:c="{len(run)}"/>'

    return _SPACES.sub(element, escape(line, quote=False))


def tables(sheets: Sequence[Sequence[Sequence[str]]]) -> bytes:
    """An ODS with a sheet for each list of rows; what reads as a number is one."""
    body = []
    for number, rows in enumerate(sheets, 1):
        cells = "".join(
            f"<table:table-row>{''.join(map(_cell, row)) or '<table:table-cell/>'}</table:table-row>" for row in rows
        )
        empty = "<table:table-row><table:table-cell/></table:table-row>"
        body.append(f'<table:table table:name="Page {number}"><table:table-column/>{cells or empty}</table:table>')
    return _package("ods", f"<office:spreadsheet>{''.join(body)}</office:spreadsheet>")


def _cell(text: str) -> str:
    if not text:
        return "<table:table-cell/>"
    kind = 'office:value-type="string"'
    if _NUMBER.fullmatch(text):
        kind = f'office:value-type="float" office:value="{text}"'
    return f"<table:table-cell {kind}><text:p>{_spelled(text)}</text:p></table:table-cell>"


def picture(kind: str, data: bytes, extension: str, size: tuple[float, float], paper: tuple[float, float]) -> bytes:
    """An ODT, ODS or ODP with one picture in the middle of a page; sizes in points."""
    name = f"Pictures/picture.{extension}"
    left, top = (paper[0] - size[0]) / 2, (paper[1] - size[1]) / 2
    place = f'svg:x="{left / _INCH:.4f}in" svg:y="{top / _INCH:.4f}in" '
    extent = f'svg:width="{size[0] / _INCH:.4f}in" svg:height="{size[1] / _INCH:.4f}in"'
    link = f'<draw:image xlink:href="{name}" xlink:type="simple" xlink:show="embed" xlink:actuate="onLoad"/>'
    if kind == "odt":
        inner = f'<draw:frame text:anchor-type="as-char" {extent}>{link}</draw:frame>'
        body = f"<office:text><text:p>{inner}</text:p></office:text>"
    elif kind == "odp":
        inner = f"<draw:frame {place}{extent}>{link}</draw:frame>"
        body = (
            '<office:presentation><draw:page draw:name="1" draw:master-page-name="Plain">'
            f"{inner}</draw:page></office:presentation>"
        )
    else:
        inner = f'<draw:frame svg:x="0in" svg:y="0in" {extent}>{link}</draw:frame>'
        body = (
            '<office:spreadsheet><table:table table:name="Picture"><table:table-column/><table:shapes>'
            f"{inner}</table:shapes><table:table-row><table:table-cell/></table:table-row></table:table></office:spreadsheet>"
        )
    return _package(kind, body, paper=paper, files={name: data})


def _package(
    kind: str,
    body: str,
    *,
    styles: str = "",
    paper: tuple[float, float] | None = None,
    files: Mapping[str, bytes] | None = None,
) -> bytes:
    files = files or {}
    content = (
        f'{_DECLARATION}<office:document-content {_NAMESPACES} office:version="1.3">'
        f"<office:automatic-styles>{styles}</office:automatic-styles><office:body>{body}</office:body></office:document-content>"
    )
    sheet = _paper(paper, margin="0in" if kind == "odp" else "0.5in") if paper else ""
    looks = f'{_DECLARATION}<office:document-styles {_NAMESPACES} office:version="1.3">{sheet}</office:document-styles>'
    types = {"/": MIMETYPES[kind], "content.xml": "text/xml", "styles.xml": "text/xml"}
    types |= {name: "image/png" if name.endswith(".png") else "image/jpeg" for name in files}
    entries = "".join(
        f'<manifest:file-entry manifest:full-path="{name}" manifest:media-type="{mimetype}"/>'
        for name, mimetype in types.items()
    )
    manifest = (
        f'{_DECLARATION}<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0" '
        f'manifest:version="1.3">{entries}</manifest:manifest>'
    )
    members = [("mimetype", MIMETYPES[kind].encode()), ("content.xml", content.encode()), ("styles.xml", looks.encode())]
    members += [*files.items(), ("META-INF/manifest.xml", manifest.encode())]
    return zipped(members, stored=("mimetype", *files))


def _paper(paper: tuple[float, float], margin: str) -> str:
    width, height = (f"{side / _INCH:.4f}in" for side in paper)
    turned = "landscape" if paper[0] > paper[1] else "portrait"
    return (
        '<office:automatic-styles><style:page-layout style:name="Paper">'
        f'<style:page-layout-properties fo:page-width="{width}" fo:page-height="{height}" fo:margin="{margin}" '
        f'style:print-orientation="{turned}"/></style:page-layout></office:automatic-styles><office:master-styles>'
        '<style:master-page style:name="Standard" style:page-layout-name="Paper"/>'
        '<style:master-page style:name="Plain" style:page-layout-name="Paper"/></office:master-styles>'
    )
