"""Macros: taken out where the format lets one, and not run where it does not."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from secure_delivery.engine.programs import find
from secure_delivery_documents import package
from secure_delivery_documents.office import PROGRAM

_TYPE = '<!DOCTYPE {0} PUBLIC "-//OpenOffice.org//DTD OfficeDocument 1.0//EN" "{1}.dtd">'
_XML = '<?xml version="1.0" encoding="UTF-8"?>'


def with_macro(make: Any) -> dict[str, Any]:
    """A document that changes its own text when it is loaded. An office told to trust everybody does run it when it opens
    the document for a person (tried by hand with LibreOffice 7.4)."""
    scripts = (
        '<office:scripts xmlns:dom="http://www.w3.org/2001/xml-events" xmlns:ooo="http://openoffice.org/2004/office">'
        '<office:event-listeners><script:event-listener script:language="ooo:script" script:event-name="dom:load" '
        'xlink:href="vnd.sun.star.script:Standard.Module1.Main?language=Basic&amp;location=document" xlink:type="simple"/>'
        "</office:event-listeners></office:scripts>"
    )
    library = 'xmlns:library="http://openoffice.org/2000/library"'
    more = {
        "Basic/script-lc.xml": (
            f"{_XML}{_TYPE.format('library:libraries', 'libraries')}<library:libraries {library}>"
            '<library:library library:name="Standard" library:link="false"/></library:libraries>'
        ),
        "Basic/Standard/script-lb.xml": (
            f"{_XML}{_TYPE.format('library:library', 'library')}<library:library {library} library:name="
            '"Standard" library:readonly="false" library:passwordprotected="false"><library:element library:name="Module1"/>'
            "</library:library>"
        ),
        "Basic/Standard/Module1.xml": (
            f"{_XML}{_TYPE.format('script:module', 'module')}"
            '<script:module xmlns:script="http://openoffice.org/2000/script" script:name="Module1" '
            'script:language="StarBasic">Sub Main\nThisComponent.Text.String = "MACRO RAN"\nEnd Sub\n</script:module>'
        ),
    }
    return make.odf("odt", "<text:p>untouched</text:p>", scripts=scripts, more=more)  # type: ignore[no-any-return]


def test_macros_are_gone_before_the_office_sees_a_document(make: Any) -> None:
    """Modules, libraries and what would start them; the document types that such modules name are no hindrance."""
    members = package.read(package.cleaned(make.pack(with_macro(make)), "odt"))
    assert not any(name.startswith("Basic") for name in members)
    assert b"event-listener" not in b"".join(members.values())
    assert b"untouched" in members["content.xml"]


def test_macros_do_not_run_even_where_they_are_still_there(make: Any, office: Any, tmp_path: Path) -> None:
    """The office is given the document as it came, past all cleaning, with the words that are declared: its text stays."""
    del office  # asked for because it skips where there is none
    for name in ("home", "out"):
        (tmp_path / name).mkdir()
    source = tmp_path / "source.odt"
    source.write_bytes(make.pack(with_macro(make)))
    places = {"scratch": str(tmp_path), "out": str(tmp_path / "out"), "inputs": str(source)}
    places |= {"reader": "writer8", "writer": "txt:Text (encoded):UTF8"}
    words = [word.format(**places) for word in PROGRAM.arguments]
    subprocess.run([str(find(PROGRAM)), *words], check=True, capture_output=True, timeout=120, env={"HOME": str(tmp_path)})
    assert (tmp_path / "out" / "source.txt").read_text("utf-8-sig").strip() == "untouched"
