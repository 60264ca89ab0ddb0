"""Bytes of mail as words: encodings, and HTML reduced to text.

Knows: encodings that mail is in, lxml's reader of HTML. Must not know: formats of mail.

Nothing that HTML names is fetched; pictures, styles and scripts are left out.
"""

from __future__ import annotations

import re
from typing import Any

#: Encodings that mail is in. Others that Python knows are not for texts, or slow.
_KNOWN = re.compile(
    r"utf-?8|us-ascii|ascii|latin-?1|iso-?8859-?\d{1,2}(?:-[ei])?|(?:windows|cp)-?125\d|cp(?:437|850|866|932|936|949|950)|koi8-[ru]"
    r"|macintosh|gbk?|gb2312|gb18030|hz-gb-2312|big5|shift_jis|sjis|euc-(?:jp|kr)|iso-2022-(?:jp|kr)|ks_c_5601-1987|tis-620|utf-?7"
    r"|utf-?16(?:le|be)?",
    re.IGNORECASE,
)
_LATIN = re.compile(r"(?:us-)?ascii|latin-?1|iso-?8859-?1", re.IGNORECASE)  # mostly windows-1252 in truth, which has it all
_BLOCKS = frozenset([
    "address", "article", "aside", "blockquote", "body", "center", "dd", "div", "dl", "dt", "fieldset", "footer", "form", "h1",
    "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "table", "tr", "ul",
])  # fmt: skip
_UNSEEN = frozenset(["script", "style", "head", "title", "template", "noscript", "iframe", "object", "svg", "math", "select"])
_MOST_HTML = 2_000_000  # characters


def decoded(data: bytes, charset: str) -> str:
    """Bytes as text in the encoding they are said to be in, or seem to be in."""
    if _LATIN.fullmatch(charset):
        charset = "" if _is_utf8(data) else "windows-1252"
    if charset.lower() == "ks_c_5601-1987":
        charset = "cp949"
    if _KNOWN.fullmatch(charset):
        try:
            return data.decode(charset, "replace")
        except LookupError:
            pass  # a name of that kind that Python does not know
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("windows-1252", "replace")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def text_of(html: str) -> str:
    """HTML as plain text: blocks on lines of their own, list items with a mark, links and pictures as their words."""
    out: list[str] = []
    hidden = 0
    for event, element in _events(html[:_MOST_HTML]):
        tag = element.tag if isinstance(element.tag, str) else ""
        if event == "start":
            hidden += tag in _UNSEEN
            if hidden == 0:
                out.append(_opening(element, tag))
        else:
            hidden -= tag in _UNSEEN
            if hidden == 0:
                out.append("\n" if tag in _BLOCKS else "\t" if tag in ("td", "th") else "")
                out.append(_flowing(element.tail))
    lines = [re.sub(r"[ \u00a0]{2,}", " ", text).strip() for text in "".join(out).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _opening(element: Any, tag: str) -> str:
    if tag == "br":
        return "\n"
    if tag == "img":
        alt = _flowing(element.get("alt"))
        return f"[{alt.strip()[:200]}]" if alt.strip() else ""
    before = "\n• " if tag == "li" else "\n" if tag in _BLOCKS else ""
    preformatted = tag == "pre"
    return before + ((element.text or "") if preformatted else _flowing(element.text))


def _flowing(text: str | None) -> str:
    return re.sub(r"[ \t\r\n\f]+", " ", text or "")


def _events(html: str) -> Any:
    import lxml.html
    from lxml import etree

    parser = lxml.html.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True, huge_tree=False)
    try:
        root = lxml.html.document_fromstring(html.replace("\0", "").encode("utf-8", "replace"), parser=parser)
    except (etree.LxmlError, ValueError, AssertionError):
        return ()
    return etree.iterwalk(root, events=("start", "end"))


def warm() -> None:
    """Have lxml and the codecs load what they load late."""
    text_of("<p>x<br>y</p>")
    names = "windows-1252 windows-1251 iso8859-2 iso8859-15 koi8-r gb18030 gbk big5 shift_jis euc-jp euc-kr iso-2022-jp"
    for name in [*names.split(), "cp949", "utf-7", "hz"]:
        b"".decode(name)
