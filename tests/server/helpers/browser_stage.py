"""Files that run in browsers, a server that lets them, and a page that names them in every way.

Knows: a browser, the bytes of hostile files. Must not know: how the server under test answers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from live import picture

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Response, Route

#: Says that it runs: to the test, to the page that made a worker of it, and to one that shares a worker. `@@` is its number.
RAN = (
    "try{ran('@@',self.origin)}catch(e){}try{postMessage('@@')}catch(e){}"
    "try{self.onconnect=e=>e.ports[0].postMessage('@@')}catch(e){}"
)
TAG = f"<script>{RAN}</script>"
DRAWING = f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>{RAN}</script></svg>'
XHTML = f'<html xmlns="http://www.w3.org/1999/xhtml"><body><script>{RAN}</script></body></html>'


class Hostile(NamedTuple):
    """A file, its name, and what its sender says it is."""

    filename: str
    declared: str
    data: bytes


def _jpeg(comment: bytes) -> bytes:
    whole = picture(8, 8)
    return whole[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + whole[2:]


def _texts(declared: str, **texts: str | bytes) -> dict[str, Hostile]:
    ending = {"text/html": "html", "image/svg+xml": "svg", "text/javascript": "js", "application/xml": "xml"}
    return {
        name.replace("_", " "): Hostile(
            f"{name}.{ending.get(declared, 'xhtml')}", declared, text.encode() if isinstance(text, str) else text
        )
        for name, text in texts.items()
    }


_SET = {
    **_texts(
        "text/html",
        page=f"<!DOCTYPE html><html>{TAG}",
        page_with_mark=b"\xef\xbb\xbf" + f"<html>{TAG}".encode(),
        page_in_utf_16="\ufeff".encode("utf-16-le") + f"<html>{TAG}".encode("utf-16-le"),
        page_behind_blanks="\n \t\f" * 50 + TAG,
        page_behind_a_comment=f"<!-- x -->{TAG}",
        page_behind_an_empty_comment=f"<!-->{TAG}",
        page_behind_a_bogus_comment=f"<?php ?><!x></y>{TAG}",
        page_behind_words=f"some words {TAG}",
        page_behind_a_zero=b"\0" + TAG.encode(),
        page_of_one_picture=f'<img src="data:," onerror="{RAN}">',
        page_of_a_link_that_opens=f'<body onload="{RAN}">',
        page_of_an_unknown_element=f'<x onfocus="{RAN}" autofocus tabindex=1>',
        page_of_mathml=f"<math><mtext></mtext></math>{TAG}",
        page_in_a_json_file='{"a":"' + TAG + '"}',
        page_as_an_application=f"<hta:application>{TAG}",
        page_with_a_drawing=f"<p><svg><script>{RAN}</script></svg>",
        page_in_a_gif=b"GIF89a\1\0\1\0" + TAG.encode(),
        page_in_a_jpeg=_jpeg(TAG.encode()),
        page_in_a_pdf=b"%PDF-1.7\n" + TAG.encode(),
        page_in_a_zip=b"PK\3\4" + TAG.encode(),
        page_in_a_flash=b"FWS\x09" + TAG.encode(),
        page_in_mail=f"MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=x\r\n\r\n--x\r\n\r\n{TAG}",
    ),
    **_texts("application/xhtml+xml", xhtml=XHTML, xhtml_declared=f"<?xml version='1.0'?>{XHTML}"),
    **_texts(
        "application/xml",
        xml_with_a_page_inside=f"<?xml version='1.0'?><r>{XHTML}</r>",
        xml_with_a_script_of_another_name=f'<x:script xmlns:x="http://www.w3.org/1999/xhtml">{RAN}</x:script>',
        xml_with_an_entity=f'<!DOCTYPE r [<!ENTITY e "{RAN}">]><r><script xmlns="http://www.w3.org/1999/xhtml">&e;</script></r>',
        xml_in_utf_16="\ufeff".encode("utf-16-be") + XHTML.encode("utf-16-be"),
    ),
    **_texts(
        "image/svg+xml",
        drawing=DRAWING,
        drawing_with_mark=b"\xef\xbb\xbf" + DRAWING.encode(),
        drawing_in_utf_16="\ufeff".encode("utf-16-le") + DRAWING.encode("utf-16-le"),
        drawing_declared=f"<?xml version='1.0'?><!-- x -->{DRAWING}",
        drawing_that_loads=f'<svg xmlns="http://www.w3.org/2000/svg" onload="{RAN}"/>',
        drawing_of_another_name=f'<s:svg xmlns:s="http://www.w3.org/2000/svg"><s:script>{RAN}</s:script></s:svg>',
        drawing_within=f"<?xml version='1.0'?><r>{DRAWING}</r>",
        drawing_with_a_page=f'<svg xmlns="http://www.w3.org/2000/svg"><foreignObject>{XHTML}</foreignObject></svg>',
    ),
    **_texts(
        "text/javascript",
        script=RAN,
        script_behind_a_comment_of_html=f"<!-- x\n{RAN}",
        script_in_a_gif=b"GIF89a=1;" + RAN.encode(),
        script_in_a_gif_comment=b"GIF89a/*\1\0\1\0*/=1;" + RAN.encode(),
        script_in_a_bitmap=b"BM=1;" + RAN.encode(),
        script_in_sound=b"ID3=1;" + RAN.encode(),
        script_in_a_font=b"wOFF=1;" + RAN.encode(),
        script_in_a_film=b"RIFF=1;" + RAN.encode(),
        script_in_a_list=f"[{'0,' * 9}(()=>{{{RAN}}})()]",
        script_in_a_table=f"a,b\n1,2\nvar a,b;{RAN}".replace("a,b\n1,2\n", "/*a,b*/"),
    ),
    "script as json": Hostile("a.json", "text/javascript", f"[(()=>{{{RAN}}})()]".encode()),
    "script as text": Hostile("a.txt", "text/javascript", RAN.encode()),
    "module": Hostile("a.mjs", "text/javascript", f"export default 1;{RAN}".encode()),
    "drawing as picture": Hostile("a.png", "image/svg+xml", DRAWING.encode()),
    "page as picture": Hostile("a.jpg", "text/html", TAG.encode()),
}


def _numbered(number: str, data: bytes) -> bytes:
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        data = data.replace("@@".encode(encoding), number.encode(encoding))
    return data


#: By number, which has two digits.
SET = {f"{at:02}": each._replace(data=_numbered(f"{at:02}", each.data)) for at, each in enumerate(_SET.values(), 10)}
NAMES = dict(zip(SET, _SET, strict=True))
GROUPS = {
    declared: [number for number, hostile in SET.items() if hostile.declared == declared]
    for declared in ("text/html", "application/xhtml+xml", "application/xml", "image/svg+xml", "text/javascript")
}

#: Loads each URL as all that a page can name but a frame, and ends when all have ended. A worker is of its page's origin.
STAGE = """
async ({urls, workers}) => {
  const waiting = new Set(), kept = [];
  const begin = (what, start) => {
    waiting.add(what);
    return new Promise(start).then(() => waiting.delete(what));
  };
  const element = (url, tag, facts) => begin(url, done => {
    document.body.append(Object.assign(document.createElement(tag), facts, {onload: done, onerror: done}));
  });
  const worker = (number, url, make) => begin(url, done => {
    const attempt = () => {
      try {
        const made = make(url);
        kept.push(made);  // or it is forgotten, and its error with it
        const heard = event => { if (event.data === number) ran(number, location.origin); done() };
        (made.port || made).onmessage = heard;
        made.onerror = done;
      } catch (error) { done() }
    };
    attempt();
    const again = setInterval(() => waiting.has(url) ? attempt() : clearInterval(again), 2000);  // Chromium loses errors of
  });                                                                                             // shared ones, rarely
  const ways = ([number, url]) => {
    const at = way => url + '?way=' + way;
    const ended = [
      element(at('script'), 'script', {src: at('script')}),
      element(at('module'), 'script', {src: at('module'), type: 'module'}),
      element(at('style'), 'link', {href: at('style'), rel: 'stylesheet'}),
      element(at('img'), 'img', {src: at('img')}),
      begin(at('import'), done => import(at('import')).then(done, done)),
    ];
    if (workers) ended.push(
      worker(number, at('worker'), url => new Worker(url)),
      worker(number, at('module-worker'), url => new Worker(url, {type: 'module'})),
      worker(number, at('shared'), url => new SharedWorker(url)),
      begin(at('service'), done => navigator.serviceWorker.register(at('service'), {scope: '/a-scope/' + number})
        .then(made => { ran(number, location.origin); return made.unregister() }).then(done, done)),
    );
    return Promise.all(ended);
  };
  const late = new Promise((_, fail) => setTimeout(() => fail(new Error('no end of ' + [...waiting].join())), 60000));
  await Promise.race([Promise.all(Object.entries(urls).map(ways)), late]);
}
"""
#: Frames end with a download in silence, so the test looks for the answers to these.
FRAMES = ("iframe", "object", "embed", "sandboxed")
FRAME = """
urls => {
  for (const url of Object.values(urls)) {
    const at = way => url + '?way=' + way;
    document.body.insertAdjacentHTML('beforeend', `
      <iframe src="${at('iframe')}"></iframe>
      <object data="${at('object')}"></object>
      <embed src="${at('embed')}">
      <svg><use href="${at('use')}#x"/></svg>
      <iframe sandbox="allow-scripts" src="${at('sandboxed')}"></iframe>`);
  }
}
"""
LAST = "document.body.append(Object.assign(document.createElement('iframe'), {src: '/last'}))"
_EMPTY = "<!DOCTYPE html><link rel=icon href=data:,><body>"
PAGES = {"stage": _EMPTY, "last": f"{_EMPTY}<script>console.log('the last one')</script>"}


class Careless(BaseHTTPRequestHandler):
    """Sends each hostile file as what its sender says it is."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urlsplit(self.path).path.strip("/")
        hostile = SET.get(path, Hostile(path, "text/html", PAGES.get(path, "").encode()))
        self.send_response(200)
        self.send_header("Content-Type", hostile.declared)
        self.send_header("Content-Length", str(len(hostile.data)))
        self.end_headers()
        self.wfile.write(hostile.data)

    def log_message(self, *_: object) -> None:
        pass


def _own_page(route: Route) -> None:
    route.fulfill(body=PAGES[urlsplit(route.request.url).path.strip("/")], content_type="text/html")


@dataclass
class Stage:
    """A browser, and who said there that it ran: a name, and the origin it had."""

    context: BrowserContext
    own_pages: Sequence[str]  # origins that have the pages
    heard: set[tuple[str, str]] = field(default_factory=set)

    def page(self, origin: str) -> Page:
        """An empty page of an origin, which lets everything run."""
        page = self.context.new_page()
        page.on("dialog", lambda dialog: dialog.dismiss())
        if origin not in self.own_pages:  # a page of the origin under test, as if it had one that lets everything run
            for name in PAGES:
                page.route(f"{origin}/{name}", _own_page)
        page.goto(f"{origin}/stage")
        return page

    def embedded(self, urls: dict[str, str], origin: str, *, workers: bool = True) -> set[tuple[str, str]]:
        """Who ran when a page of an origin named these in all ways."""
        self.heard.clear()
        page = self.page(origin)
        missing = {f"{url}?way={way}" for url in urls.values() for way in FRAMES}

        def all_there(response: Response) -> bool:
            missing.discard(response.url)
            return not missing

        with page.expect_event("response", all_there):
            page.evaluate(FRAME, urls)
        page.evaluate(STAGE, {"urls": urls, "workers": workers})
        with page.expect_console_message(lambda message: message.text == "the last one"):
            page.evaluate(LAST)
        page.close()
        return set(self.heard)

    def opened(self, urls: dict[str, str], origin: str) -> set[tuple[str, str]]:
        """Who ran when these were opened one after the other in a window of their own."""
        from playwright.sync_api import Error

        self.heard.clear()
        page = self.page(origin)
        for url in urls.values():
            with contextlib.suppress(Error):  # a download is no page, which is an error to Playwright
                page.goto(url)
        page.goto(f"{origin}/stage")
        with page.expect_console_message(lambda message: message.text == "the last one"):
            page.evaluate(LAST)
        page.close()
        return set(self.heard)
