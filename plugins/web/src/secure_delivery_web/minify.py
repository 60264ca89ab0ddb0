"""`minify_css` and `minify_js`: the same in fewer bytes.

Knows: the documented options, what the minifiers can do. Must not know: where the text comes from.

JavaScript goes through oxc, by minify-html, which takes a page: the script is put into one and taken out again, and loses the
comments that oxc leaves in. oxc takes every
script for a module, where all is strict and nobody outside sees a name; what follows from that and is not so for other scripts
is undone here (directives and variables of the whole script are kept; tests have the cases). Names are never shortened. Level 1
of CSS takes comments and blanks out, by rcssmin; level 2 goes through lightningcss, which knows the grammar and joins rules.

An option that the library cannot follow is refused while the URL is bound, before anything is fetched; switches that name
single steps of another minifier change nothing about what the result does, and are taken and left.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar

from secure_delivery.plugin import Corrupt, Media, MemoryFile, Param, TooLarge, Unsupported, Workshop, boolean, choice, integer

from .comments import without_comments

VERSION = "1"
MOST_BYTES = 8 * 1024 * 1024

_PAGE = ("<script>", "</script>")
_UNFIT = re.compile(r"</script|<!--", re.IGNORECASE)  # in a page these mean something
_NO_SCRIPT = "minify_js: the file is not a valid script."
_LINES = re.compile("[\n\r\u2028\u2029]")
_STRICT, _MARKED = re.compile(r"""(["'])use strict\1"""), '"use strikt"'
#: Variables that are set where they are declared, wherever that is; constants, functions and classes are kept anyway.
_SET = re.compile(r"(?:\b(?:var|let)\s+|,\s*)([A-Za-z_$][\w$]*)\s*=(?![=>])")
_FIXED = re.compile(r"\b(?:const|function\*?|class)\s+([A-Za-z_$][\w$]*)")
_MODULE = re.compile(r"^\s*(?:import|export)\b", re.MULTILINE)
#: A function put behind the script, which shows whether it was understood, and writes to variables so that they stay.
_MARK = "__sd_kept"
_FOUND = re.compile(rf"function {_MARK}\(\)\{{[^{{}}]*\}};?\s*$")
#: Steps of the minifier that the service once used; the Swift SDK can send each.
_STEPS = (
    "booleans builtIns consecutiveAdds deadcode evaluate flipComparisons guards infinity memberExpressions numericLiterals "
    "propertyLiterals regexpConstructors removeDebugger simplify simplifyComparisons typeConstructors undefinedToVoid"
)


class MinifyJs:
    """`minify_js`: comments and blanks go, expressions and statements get shorter.

    Names stay, so that `mangle`, `keep_fn_name` and `keep_class_name` are followed whatever they are; `merge_vars` and
    `remove_undefined` are about how, not what, and are taken and left, as are the switches of the Swift SDK. `targets` is
    `esnext`: scripts are not translated. `use_babel_polyfill`, `remove_console` and `removeDebugger` are refused when true.
    """

    params = (
        Param("gzip", boolean(), (), False),
        Param("use_babel_polyfill", boolean(), (), False),
        Param("keep_fn_name", boolean(), (), False),
        Param("keep_class_name", boolean(), (), False),
        Param("mangle", boolean(), (), True),
        Param("merge_vars", boolean(), ("mergeVars",), True),
        Param("remove_console", boolean(), ("removeConsole",), False),
        Param("remove_undefined", boolean(), ("removeUndefined",), True),
        Param("targets", choice("esnext"), (), "esnext"),
        *(Param(step, boolean()) for step in _STEPS.split()),
    )
    version = VERSION

    def check(self, options: Mapping[str, Any]) -> None:
        for name in ("use_babel_polyfill", "remove_console"):
            if options[name]:
                raise ValueError(f"{name}:true is not supported.")
        if options["removeDebugger"]:
            raise ValueError("removeDebugger:true is not supported.")

    def warm(self) -> None:
        """Load minify-html."""
        import_module("minify_html")

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        """Raises `Unsupported` for what is not UTF-8, `TooLarge`, `Corrupt` for a script with errors."""
        first, text = _parted(_text(media, shop))
        return _result(first + _script(text), "text/javascript", media.filename, packed=options["gzip"])


class MinifyCss:
    """`minify_css`: `level` 1 writes each rule shorter, 2 also joins rules and properties. `gzip` packs the result."""

    params: ClassVar[tuple[Param, ...]] = (
        Param("level", integer(1, 2), (), 1),
        Param("gzip", boolean(), (), False),
    )
    version = VERSION

    def warm(self) -> None:
        """Load both libraries."""
        import_module("rcssmin")
        import_module("lightningcss")

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        """Raises `Unsupported` for what is not UTF-8, `TooLarge`."""
        import rcssmin  # type: ignore[import-untyped]

        text = _text(media, shop)
        short = str(rcssmin.cssmin(text))
        if options["level"] == 2:
            short = _joined(text, short)
        return _result(short, "text/css", media.filename, packed=options["gzip"])


def _text(media: Media, shop: Workshop) -> str:
    most = min(MOST_BYTES, shop.limits.bytes)
    with media.open() as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise TooLarge(f"more than {most} bytes", public="The file is too large to be minified.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unsupported("not UTF-8", public="Only text in UTF-8 is minified.") from None
    if "\0" in text:
        raise Unsupported("a NUL in the text", public="Only text in UTF-8 is minified.")
    return text


def _script(text: str) -> str:
    """The same script, shorter; as it is where this cannot be had safely. Raises `Corrupt` for what is no script."""
    if _UNFIT.search(text):
        return text
    names: set[str] = set() if _MODULE.search(text) else set(_SET.findall(text)) - set(_FIXED.findall(text)) - {"undefined"}
    short = _inside_page(text, sorted(names))
    if short is not None:
        return short
    if names and _inside_page(text, ()) is not None:
        return text  # it is the writing to variables that was not understood
    raise Corrupt("oxc does not understand it", public=_NO_SCRIPT)


def _inside_page(text: str, names: Sequence[str]) -> str | None:
    """What oxc makes of a script, with these variables kept. None when it is not understood."""
    import minify_html

    mark = f"\nfunction {_MARK}(  ){{{'='.join([*names, 'eval(1)'])}}}"
    page = minify_html.minify(f"{_PAGE[0]}{_STRICT.sub(_MARKED, text)}{mark}{_PAGE[1]}", minify_js=True)
    inside = page.removeprefix(_PAGE[0]).removesuffix(_PAGE[1])
    found = _FOUND.search(inside)
    if found is None or len(inside) + sum(map(len, _PAGE)) != len(page) or _UNFIT.search(inside):
        return None
    return without_comments(inside[: found.start()]).strip().replace("use strikt", "use strict")


def _parted(text: str) -> tuple[str, str]:
    """The line that names an interpreter (`#!`), with its end, and the script. The minifier would join the two."""
    if not text.startswith("#!"):
        return "", text
    line = _LINES.split(text, maxsplit=1)[0]
    return f"{line}\n", text[len(line) :]


def _joined(text: str, short: str) -> str:
    """What lightningcss makes of a sheet; the shorter sheet as it is where lightningcss does not understand everything."""
    import lightningcss

    try:
        return lightningcss.process_stylesheet(text, minify=True)
    except ValueError:
        return short


def _result(text: str, mimetype: str, filename: str, *, packed: bool) -> Media:
    """The text under its own type; packed, that is a coding of the content and no other type (RFC 9110, 8.4)."""
    data = text.encode()
    if not packed:
        return MemoryFile(data, mimetype, filename)
    return MemoryFile(gzip.compress(data, 9, mtime=0), mimetype, filename, {"encoding": "gzip"})
