"""Another site, on another origin, that shows the store's documents as if they were its own.

Knows: the public address of the store, from whose pages it copies a link as anybody could. Must not know: its secret.
"""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

HERE = Path(__file__).parent
VIEWS = re.compile(r'href="[^"]*(/view/[^"]+)"')
FRAME = re.compile(r'<iframe[^>]* src="[^"]*?(/files/[^"]+)"')


def copied(store: str) -> str:
    """A signed address out of the store's pages, or nothing when it has no document to show."""
    try:
        with urlopen(f"{store}/", timeout=10) as answer:
            listed = VIEWS.search(answer.read().decode())
        if listed is None:
            return ""
        with urlopen(store + listed[1], timeout=10) as answer:
            framed = FRAME.search(answer.read().decode())
    except URLError:
        return ""
    return store + unescape(framed[1]) if framed else ""


def foreign_site(store: str) -> Starlette:
    """The site as an ASGI app. `store` is `http://host:port`, without a slash at the end."""
    templates = Jinja2Templates(HERE / "templates")

    def page(request: Request) -> Response:
        signed = copied(store)
        values = {"store": store, "signed": signed, "bare": signed.partition("?")[0]}
        return templates.TemplateResponse(request, "foreign.html", values)

    static = Mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    return Starlette(routes=[Route("/", page), static])
