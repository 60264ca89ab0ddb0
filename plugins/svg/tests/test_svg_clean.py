"""What is left of a drawing that would act or load, and what becomes of files that are none."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import tinycss2  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

import secure_delivery_svg
from secure_delivery.plugin import ConfigurationError, Corrupt, SecureDeliveryError, Selective, TooLarge, Unsupported
from secure_delivery.plugin.manager import load
from secure_delivery.plugin.testing import content
from secure_delivery_svg import styles
from secure_delivery_svg.clean import DEEPEST, MOST_BYTES, MOST_ELEMENTS, clean, is_svg
from secure_delivery_svg.vocabulary import ATTRIBUTES, ELEMENTS, SVG, XLINK

BROWSERS = ("/usr/lib/chromium/chromium", "/usr/lib/chromium-browser/chromium-browser", "/opt/google/chrome/chrome")
NS = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
#: Words that must not be left anywhere in a cleaned file, in any case.
ACTING = (
    "script",
    "alert",
    "evil",
    "foreignobject",
    "iframe",
    "onload",
    "onclick",
    "http://x",
    "//x",
    "file:",
    "@import",
    "behavior",
)

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "script in another namespace": '<h:script xmlns:h="http://www.w3.org/1999/xhtml">alert(1)</h:script>',
    "script by reference": '<script href="http://x/evil.js"/><script xlink:href="data:text/javascript,alert(1)"/>',
    "script in CDATA": "<script><![CDATA[alert(1)]]></script>",
    "handlers": '<rect width="9" height="9" onclick="alert(1)" onload="alert(1)" ONCLICK="alert(1)" onfocusin="alert(1)"/>',
    "html inside": "<foreignObject><body xmlns='http://www.w3.org/1999/xhtml'><iframe src='http://x'/></body></foreignObject>",
    "html beside": '<b xmlns="http://www.w3.org/1999/xhtml" onclick="alert(1)">evil</b>',
    "a link that runs": '<a href="javascript:alert(1)" xlink:href=" java&#10;script:alert(1)"><rect width="9" height="9"/></a>',
    "a link that leads away": '<a href="http://x/"><rect width="9" height="9"/></a>',
    "picture outside": '<image href="http://x/a.png"/><image xlink:href="//x/a.png"/><image href="file:///etc/passwd"/>',
    "picture that is a drawing": '<image href="data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9ImFsZXJ0KDEpIi8+"/>',
    "use of another file": '<use href="http://x/a.svg#b"/><use xlink:href="data:image/svg+xml,&lt;svg onload=alert(1)&gt;#a"/>',
    "filter of another file": '<filter id="f"><feImage href="http://x/a.png"/></filter><rect filter="url(http://x/a.svg#f)"/>',
    "style that loads": "<style>@import url(http://x/a.css); rect { fill: url(http://x/a.svg#b) }</style>",
    "style with escapes": r"<style>rect{fill:u\72l(http://x/a)} @im\70ort 'http://x'; a{b:URL( 'http://x' )}</style>",
    "style with comments": "<style>rect{fill:u/**/rl(a)} a{background:image-set('http://x/a.png' 1x)}</style>",
    "style in CDATA": "<style><![CDATA[ rect { background: url(//x/a.png) } ]]></style>",
    "style in pieces": "<style>rect{fill:url(<title>http://x</title>http://x)}</style>",
    "style of old browsers": '<rect style="behavior:url(http://x);-moz-binding:url(http://x);width:expression(alert(1))"/>',
    "style attribute": '<rect style="fill:url(&quot;http://x/a&quot;);background:url(http://x)"/>',
    "attribute that loads": '<rect fill="url(http://x/a)" mask="url(&apos;//x/a&apos;)" cursor="url(http://x/c.cur), auto"/>',
    "font that loads": "<style>@font-face { font-family: a; src: url(http://x/a.woff) } @font-face { src: url(//x) }</style>",
    "unclosed": "<style>a{b:url(http://x",
    "animated link": '<a><set attributeName="href" to="javascript:alert(1)"/><set attributeName="xlink:href" to="evil"/></a>',
    "animated handler": '<rect><set attributeName="onclick" to="alert(1)"/><set attributeName=" onload " to="evil"/></rect>',
    "handler element": '<handler xmlns:ev="http://www.w3.org/2001/xml-events" ev:event="load">alert(1)</handler>',
    "listener element": '<listener event="click" handler="#evil"/>',
    "base": '<g xml:base="http://x/"><use href="#a"/></g>',
    "comment": "<!-- <script>alert(1)</script> -->",
    "instruction": '<?xml-stylesheet href="http://x/evil.css"?>',
    "discarded": '<discard href="#evil"/><metadata><script>alert(1)</script></metadata>',
}

BOMBS = {
    "laughs": '<!DOCTYPE svg [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(10))
    + f"]><svg {NS}>&k;</svg>",
    "quadratic": f'<!DOCTYPE svg [<!ENTITY a "{"a" * 50_000}">]><svg {NS}>{"&a;" * 5_000}</svg>',
    "file": f'<!DOCTYPE svg [<!ENTITY f SYSTEM "file:///etc/passwd">]><svg {NS}><text>&f;</text></svg>',
    "parameter": f'<!DOCTYPE svg [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x.dtd"> %p;]><svg {NS}/>',
    "attribute default": f'<!DOCTYPE svg [<!ATTLIST rect onclick CDATA "alert(1)">]><svg {NS}><rect/></svg>',
    "skipped entity": f'<!DOCTYPE svg SYSTEM "http://127.0.0.1:9/x.dtd"><svg {NS}><text>&outside;</text></svg>',
    "deep": f"<svg {NS}>" + "<g>" * 100_000 + "</g>" * 100_000 + "</svg>",
    "deep inside what is left out": f"<svg {NS}><x>" + "<g>" * 100_000 + "</g>" * 100_000 + "</x></svg>",
    "many": f"<svg {NS}>" + "<g/>" * (MOST_ELEMENTS + 1) + "</svg>",
    "long": f"<svg {NS}>" + " " * MOST_BYTES + "</svg>",
    "not xml": "<svg><rect></svg>",
    "html": "<html><body><svg/></body></html>",
    "another svg": "<svg><rect/></svg>",
    "nothing": "",
    "text": "hello",
    "two roots": f"<svg {NS}/><svg {NS}/>",
    "unbound prefix": f"<svg {NS}><a:b/></svg>",
    "unknown encoding": f'<?xml version="1.0" encoding="klingon"?><svg {NS}/>',
    "broken encoding": b"<svg xmlns='http://www.w3.org/2000/svg'>\xff\xfe</svg>",
}

USES = "".join(f'<g id="a{n + 1}">{f"<use href=$#a{n}$/>" * 10}</g>' for n in range(12)).replace("$", '"')
COSTLY = {
    "uses of uses": f'<svg {NS} width="9" height="9"><rect id="a0" width="1" height="1"/>{USES}<use href="#a12"/></svg>',
    "use of itself": f'<svg {NS} viewBox="0 0 9 9"><g id="a"><use href="#a"/></g></svg>',
    "patterns of patterns": f'<svg {NS} viewBox="0 0 9 9"><pattern id="a" width="1" height="1"><rect width="9" height="9" '
    f'fill="url(#a)"/></pattern><rect width="9" height="9" fill="url(#a)"/></svg>',
    "wide filter": f'<svg {NS} viewBox="0 0 9 9"><filter id="f" x="-1e6" y="-1e6" width="1e9" height="1e9"><feGaussianBlur '
    f'stdDeviation="1e6"/></filter><rect width="9" height="9" filter="url(#f)"/></svg>',
    "noise": f'<svg {NS} width="2000" height="2000"><filter id="f"><feTurbulence baseFrequency=".1" numOctaves="9999999"/>'
    f'</filter><rect width="2000" height="2000" filter="url(#f)"/></svg>',
    "dashes": f'<svg {NS} viewBox="0 0 9 9"><path d="M0 0 H1e9" stroke="red" stroke-dasharray="1e-6"/></svg>',
    "numbers": f'<svg {NS} viewBox="0 0 9 9"><rect x="1e38" width="-1e38" height="NaN" transform="scale(1e30) rotate(1e30)"/>'
    f"</svg>",
    "long path": f'<svg {NS} viewBox="0 0 9 9"><path d="{"M0 0 L9 9 " * 300_000}" stroke="red"/></svg>',
}


class _Canary(BaseHTTPRequestHandler):
    """Writes down who comes."""

    def setup(self) -> None:
        self.server.heard.append(b"somebody")  # type: ignore[attr-defined]
        super().setup()

    def do_GET(self) -> None:
        self.server.heard.append(self.path.encode())  # type: ignore[attr-defined]
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Nothing is printed."""


@pytest.fixture
def canary() -> Iterator[tuple[int, list[bytes]]]:
    """A port, and all that came to it."""
    heard: list[bytes] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Canary)
    server.daemon_threads = True
    server.heard = heard  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1], heard
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def words(text: str) -> str:
    return text.replace(SVG, "").replace(XLINK, "").lower()


# ------------------------------------------------------------------------------------------------------------- cleaning


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_that_acts_or_loads_is_left(name: str, cleaned: Any, chain: Any) -> None:
    """Whatever is hidden in a drawing is gone, the rest is there, and cleaning again changes nothing."""
    inside = HOSTILE[name]
    end = "</style>" if name == "unclosed" else ""
    drawing = f'<svg {NS} viewBox="0 0 90 90"><rect id="first"/>{inside}{end}<rect id="last"/></svg>'
    text = cleaned(drawing)
    assert not [word for word in ACTING if word in words(text)]
    assert 'id="first"' in text and 'id="last"' in text
    assert cleaned(text) == text
    assert content(chain(drawing, ("output", {"format": "png"})))


@pytest.mark.parametrize(
    "where", ["onload", "onclick", "onbegin", "href", "xlink:href", "data-x", "formaction", "is", "xml:base"]
)
def test_the_root_is_cleaned_like_the_rest(where: str, cleaned: Any) -> None:
    """Attributes of the root element are no exception."""
    text = cleaned(f'<svg {NS} {where}="alert(1)" viewBox="0 0 9 9"/>')
    assert "alert" not in text and 'viewBox="0 0 9 9"' in text


def test_what_draws_stays(cleaned: Any) -> None:
    """Elements, attributes, styles, links inside the file, held pictures and fonts, text and its language are kept."""
    picture = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
    picture += "awAAAABJRU5ErkJggg=="
    kept = [
        "<title>A &lt;title&gt; &amp; more</title>",
        '<use href="#a"></use>',
        '<use xlink:href="#a"></use>',
        f'<image href="{picture}" width="1" height="1"></image>',
        '<text x="1 2 3" xml:space="preserve" xml:lang="de" font-family="serif">  a <tspan dy="3">ü</tspan> 漢 </text>',
        '<path d="M0 0 L1 1" fill="url(#g)" style="stroke:url(#g);stroke-width:3!important"></path>',
        "<style>rect{fill:url(#g)}@media (min-width: 1px) {a&gt;b{c:d}}@keyframes x{from{opacity:0}to{opacity:1}}</style>",
        "<style>@font-face{font-family:f;src:url(data:font/woff2;base64,AAAA)}</style>",
        '<animate attributeName="opacity" from="0" to="1" dur="1s"></animate>',
        '<a><rect width="1" height="1"></rect></a>',
        '<filter id="f"><feGaussianBlur in="SourceGraphic" stdDeviation="2"></feGaussianBlur></filter>',
    ]
    text = cleaned(f"<svg {NS}>{''.join(kept)}</svg>")
    for piece in kept:
        assert piece in text


def test_foreign_prefixes_and_doctypes_are_understood(cleaned: Any) -> None:
    """A document type without entities, as older editors write it, a prefix for all, another encoding, editors' own marks."""
    older = '<?xml version="1.0" encoding="ISO-8859-1"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://x/svg11.dtd">'
    older += f"<svg {NS}><text>\u00e9</text></svg>"
    assert "<text>é</text>" in cleaned(older.encode("latin-1"))
    prefixed = cleaned(
        '<s:svg xmlns:s="http://www.w3.org/2000/svg" xmlns:l="http://www.w3.org/1999/xlink"><s:use l:href="#a"/></s:svg>'
    )
    assert '<use xlink:href="#a"></use>' in prefixed
    marked = cleaned(f'<svg {NS} xmlns:i="http://x/editor" i:zoom="3"><i:view/><g i:label="x"/></svg>')
    assert "zoom" not in marked and "label" not in marked and "<g></g>" in marked
    assert "<g></g>" in cleaned(f"<svg {NS}><g/></svg>".encode("utf-16"))


_NAMES = st.one_of(
    st.sampled_from([*sorted(ELEMENTS), "script", "foreignObject", "x:script", "handler", "animate", "style"]),
    st.from_regex(r"[a-zA-Z]{1,8}", fullmatch=True),
)
_KEYS = st.one_of(
    st.sampled_from([*sorted(ATTRIBUTES), "href", "xlink:href", "onload", "onclick", "style", "xml:base", "attributeName"]),
    st.from_regex(r"on[a-z]{1,8}", fullmatch=True),
)
_VALUES = st.one_of(
    st.sampled_from(
        ["javascript:alert(1)", "url(http://x)", "#a", "data:text/html,evil", "u\\72l(//x)", "href", "url(#a)", "fill:url(//x)"]
    ),
    st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"), max_size=30),
)


@st.composite
def _trees(draw: Any, depth: int = 0) -> str:
    from xml.sax.saxutils import escape, quoteattr

    name = draw(_NAMES)
    attributes = draw(st.dictionaries(_KEYS, _VALUES, max_size=4))
    inside = "".join(draw(_trees(depth + 1)) for _ in range(draw(st.integers(0, 2 if depth < 3 else 0))))
    words = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
    return f"<{name}{words}>{escape(draw(_VALUES))}{inside}</{name}>"


@settings(max_examples=200, deadline=None)
@given(_trees())
def test_all_drawings_come_out_clean(tree: str) -> None:
    """For all trees: only listed elements and attributes are left, every link is to a place in the file, and what is cleaned is
    well-formed and stays as it is."""
    text = clean(f'<svg {NS} xmlns:x="http://x/other">{tree}</svg>'.encode()).text()
    root = ElementTree.fromstring(text)
    for element in root.iter():
        space, _, name = element.tag[1:].partition("}")
        assert space == SVG and name in ELEMENTS
        for key, value in element.attrib.items():
            plain = key.rpartition("}")[2]
            assert plain in ATTRIBUTES | {"href", "space", "lang"} and not plain.lower().startswith("on")
            assert plain != "href" or value.startswith("#")
            assert "url(http" not in value.replace(" ", "") and "url(//" not in value.replace(" ", "")
    assert clean(text.encode()).text() == text


_PIECES = (
    "hsl(", "rgb(", "rgba(", "translate(", "url(", "URL(", "url(#", "image(", "src(", ")", "1,2", "50%", "-.5e3", "#a",
    "#a.b:c", " ", ",", "//x", "http://x", "/", "*", "/*", "*/", "\\", "\\75", "'", '"', ";", "{", "}", "\n", "\f", "red",
    "deg", "\u00e9",
)  # fmt: skip


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.sampled_from(_PIECES), max_size=8).map("".join))
def test_values_that_are_taken_at_sight_are_those_that_their_tokens_let_pass(value: str) -> None:
    if styles._PLAIN.fullmatch(value):
        assert styles._harmless(tinycss2.parse_component_value_list(value), 0)


@pytest.mark.parametrize("value", ["hsl(12,60%,50%)", "translate(1 2) rotate(-3.5e1)", "url(#a)", "url(#a.b:c), rgb(1, 2, 3)"])
def test_usual_values_are_taken_at_sight(value: str) -> None:
    assert styles._PLAIN.fullmatch(value)


# --------------------------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("task", ["clean", "draw"])
def test_bombs_and_no_drawings_end_in_a_fault(name: str, task: str, chain: Any, confined: Any) -> None:
    """Entities, depth, numbers, and what is no SVG: refused the same here and in a worker, which goes on."""
    tasks = [("output", {"format": "svg"})] if task == "clean" else [("output", {"format": "png"})]
    with pytest.raises((Corrupt, Unsupported, TooLarge)) as caught:
        content(chain(BOMBS[name], *tasks))
    with pytest.raises(type(caught.value)):
        confined(BOMBS[name], *tasks)


@pytest.mark.parametrize("name", COSTLY)
def test_costly_drawings_end_within_the_limits(name: str, confined: Any) -> None:
    """A drawing that would take for ever, or all memory, is drawn or refused, and the worker draws the next one."""
    try:
        assert confined(COSTLY[name], ("resize", {"w": "100"})).mimetype == "image/png"
    except SecureDeliveryError as error:
        assert error.status in (413, 415, 422)
    assert confined(f'<svg {NS} viewBox="0 0 9 9"/>', ("resize", {"w": "9"})).mimetype == "image/png"


def test_depth_and_number_have_their_bounds(cleaned: Any) -> None:
    """The deepest and the largest drawing that are allowed, and one step beyond."""
    deep = "<g>" * (DEEPEST - 1) + "</g>" * (DEEPEST - 1)
    assert cleaned(f"<svg {NS}>{deep}</svg>").count("<g>") == DEEPEST - 1
    with pytest.raises(Unsupported):
        cleaned(f"<svg {NS}><g>{deep}</g></svg>")
    assert cleaned(f"<svg {NS}>{'<g/>' * (MOST_ELEMENTS - 1)}</svg>")
    with pytest.raises(TooLarge):
        cleaned(f"<svg {NS}>{'<g/>' * MOST_ELEMENTS}</svg>")


def test_drawing_connects_to_nobody_and_reads_no_file(canary: Any, chain: Any, confined: Any, tmp_path: Path) -> None:
    """Pictures, sheets, uses and fonts that a drawing names are not fetched, and a file that it names makes no difference."""
    port, heard = canary
    red = tmp_path / "red.png"
    from PIL import Image

    Image.new("RGB", (9, 9), "red").save(red)
    away = f"http://127.0.0.1:{port}/a"
    drawing = (
        f'<?xml-stylesheet href="{away}"?><!DOCTYPE svg SYSTEM "{away}.dtd"><svg {NS} viewBox="0 0 9 9">'
        f'<style>@import "{away}"; @font-face {{font-family: q; src: url({away})}}</style><text font-family="q">a</text>'
        f'<image href="{away}" width="9" height="9"/><use href="{away}#b"/>'
        '<image href="FILE" width="9" height="9"/><image xlink:href="file://FILE" width="9" height="9"/></svg>'
    )
    there, missing = drawing.replace("FILE", str(red)), drawing.replace("FILE", "/no/such")
    for run in (chain, confined):
        made = [run(text, ("output", {"format": "png"})) for text in (there, missing)]
        assert content(made[0]) == content(made[1])
    assert heard == []


def test_a_cleaned_drawing_does_nothing_in_a_browser(canary: Any, cleaned: Any, tmp_path: Path) -> None:
    """Opened in Chromium, a file with all that is hostile asks and runs much, and nothing at all once it is cleaned."""
    browser = next((path for path in BROWSERS if Path(path).exists()), None)
    if browser is None:
        pytest.skip("no Chromium on this machine")
    port, heard = canary
    here = f"http://127.0.0.1:{port}"
    inside = "".join(text for name, text in HOSTILE.items() if name not in ("unclosed", "instruction"))
    inside = inside.replace("http://x", here).replace("//x", f"//127.0.0.1:{port}").replace("alert(1)", f"fetch('{here}/ran')")
    drawing = f'<svg {NS} viewBox="0 0 90 90">{inside}</svg>'
    words = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    for text, loads in ((drawing, True), (cleaned(drawing), False)):
        page = tmp_path / "page.svg"
        page.write_text(text, encoding="utf-8")
        subprocess.run([browser, *words, page.as_uri()], check=True, capture_output=True, timeout=60)
        assert any(b"/a.png" in request for request in heard) is loads
        assert any(b"/ran" in request for request in heard) is loads
        assert bool(heard) is loads
        heard.clear()


@pytest.mark.parametrize(
    ("head", "is_one"),
    [
        (b"<svg xmlns='x'>", True),
        (b"\xef\xbb\xbf  <?xml version='1.0'?>\n<!-- a -- > b -->\n<!DOCTYPE svg PUBLIC 'a' 'b'>\n<svg\n", True),
        (b"<?xml version='1.0'?><!DOCTYPE svg [<!ENTITY a 'b'>]><svg>", True),
        (b"<s:svg xmlns:s='x'>", True),
        ("<svg >".encode("utf-16"), True),
        (b"<html><svg>", False),
        (b"<!-- <svg> --><p>", False),
        (b"<svgs>", False),
        (b"\x89PNG\r\n\x1a\n<svg>", False),
        (b"svg", False),
        (b"", False),
        (b"<!--" * 1000, False),
        (b"<?" * 2000, False),
        (b"<!DOCTYPE " * 400, False),
        (gzip.compress(b"<svg>", mtime=0), False),
    ],
)
def test_content_decides_what_is_a_drawing(head: bytes, is_one: bool) -> None:
    """The first element does, after comments and declarations; never a name or a declared type."""
    assert is_svg(head[:4096]) is is_one


# --------------------------------------------------------------------------------------------------------------- plugin


def test_the_plugin_registers_output_for_drawings_only() -> None:
    """The manager takes the module beside the pictures' own, and both `output`s make one task."""
    registry = load(extra={"drawings": secure_delivery_svg}, blocked=["svg"])
    (report,) = [report for report in registry.reports if report.name == "drawings"]
    assert report.problem is None
    assert list(report.offers["transformations"]) == ["output"]
    (task,) = secure_delivery_svg.register_transformations({}).values()
    assert isinstance(task, Selective) and task.accepts == ("image/svg+xml",)


def test_declaring_loads_no_library() -> None:
    """The server process knows the options and neither Pillow nor resvg."""
    script = """
import json, os, sys
import secure_delivery_svg
(task,) = secure_delivery_svg.register_transformations({}).values()
secure_delivery_svg.self_test({})
heavy = {"PIL", "resvg_py", "tinycss2"}
before = sorted(heavy & set(sys.modules))
task.warm()
print(json.dumps([before, sorted(heavy & set(sys.modules)), len(os.listdir("/proc/self/task"))]))
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout) == [[], ["PIL", "resvg_py", "tinycss2"], 1]


def test_the_self_test_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing library is the reason that the plugin reports."""
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(ConfigurationError, match="resvg-py"):
        secure_delivery_svg.self_test({})
