"""Another site, on another origin, that shows the gallery's pictures as if they were its own.

Knows: the public address of the gallery, from whose page it copies a link as anybody could. Must not know: its secret.
"""

from __future__ import annotations

import re
from html import unescape
from urllib.error import URLError
from urllib.request import urlopen

from flask import Flask, render_template

PICTURE = re.compile(r'<img[^>]* src="(/photos/[^"]+)"')


def foreign_site(gallery: str) -> Flask:
    """The site as a WSGI app. `gallery` is `http://host:port`, without a slash at the end."""
    site = Flask(__name__)

    @site.get("/")
    def page() -> str:
        try:
            with urlopen(f"{gallery}/", timeout=10) as answer:
                found = PICTURE.search(answer.read().decode())
        except URLError:
            found = None
        signed = gallery + unescape(found[1]) if found else ""
        return render_template("foreign.html", gallery=gallery, signed=signed, bare=signed.partition("?")[0])

    return site
