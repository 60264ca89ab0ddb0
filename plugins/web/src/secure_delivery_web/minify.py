"""`minify_css` and `minify_js`: the same in fewer bytes.

Knows: the documented options, what the minifiers can do. Must not know: where the text comes from.

JavaScript and CSS go through the minifiers of tdewolff/minify, a Go library that does one file in one pass; level 2 of CSS goes
through lightningcss after that, which also joins rules. Both know the grammar. Where that minifier was seen to change what a
script does (tests have the cases), only comments and blanks go, by rjsmin, which in turn is not asked about template literals:
a script that has both is handed on as it is. An option that the library cannot follow is
refused while the URL is bound, before anything is fetched; switches that name single steps of another minifier change nothing
about what the result does, and are taken and left.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

from secure_delivery.plugin import Corrupt, Media, MemoryFile, Param, TooLarge, Unsupported, Workshop, boolean, choice, integer

VERSION = "1"
MOST_BYTES = 4 * 1024 * 1024  # the Go library takes more than a hundred times the text in memory

#: `eval` sees names that the minifier shortens and parameters that it drops; of a branch that is never taken it drops `var`
#: too, which declares a name in the whole function.
_DELICATE = re.compile(r"\beval\b|\bif\s*\(\s*(?:!\s*)*(?:[\d.]+|true|false|null|undefined|void\s+0|''|\"\")\s*\)")

#: Years of the language by its names. The minifier writes nothing newer than that; it does not rewrite what is there.
_TARGETS = {"es5": 2009, "es6": 2015, "esnext": 0} | {f"es{year}": year for year in range(2015, 2026)}
_DEFAULTS: dict[str, str | bool | int] = {"js-keep-var-names": False, "js-version": 0, "js-precision": 0, "css-precision": 0}
#: Steps of the minifier that the service once used; the Swift SDK can send each.
_STEPS = (
    "booleans builtIns consecutiveAdds deadcode evaluate flipComparisons guards infinity memberExpressions numericLiterals "
    "propertyLiterals regexpConstructors removeDebugger simplify simplifyComparisons typeConstructors undefinedToVoid"
)


class MinifyJs:
    """`minify_js`: comments and blanks go, expressions get shorter, names inside functions too; names outside functions stay.

    A script that uses `eval`, or has an `if` whose condition is a constant, only loses comments and blanks.
    `mangle:false`, `keep_fn_name`, `keep_class_name`: names inside functions stay as well. A function expression that never
    uses its own name still loses it. `merge_vars` and `remove_undefined` are about how, not what, and are taken and left.
    `targets` is the newest language that the minifier may write, `es5` to `es2025` or `esnext`; a script is not translated.
    `use_babel_polyfill` and `remove_console` are refused when they are true. The switches of the Swift SDK are taken too.
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
        Param("targets", choice(*_TARGETS), (), "esnext"),
        *(Param(step, boolean()) for step in _STEPS.split()),
    )
    version = VERSION

    def check(self, options: Mapping[str, Any]) -> None:
        for name in ("use_babel_polyfill", "remove_console"):
            if options[name]:
                raise ValueError(f"{name}:true is not supported.")
        if options["removeDebugger"]:
            raise ValueError("removeDebugger:true is not supported.")

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        """Raises `Unsupported` for what is not UTF-8, `TooLarge`, `Corrupt` for a script with errors."""
        keep = options["keep_fn_name"] or options["keep_class_name"] or not options["mangle"]
        settings = {"js-keep-var-names": keep, "js-version": _TARGETS[options["targets"]]}
        text = _text(media, shop)
        short = _minified("minify_js", "application/javascript", text, settings)
        if _DELICATE.search(text):
            short = _careful(text)
        return _result(short, "text/javascript", media.filename, packed=options["gzip"])


class MinifyCss:
    """`minify_css`: `level` 1 writes each rule shorter, 2 also joins rules and properties. `gzip` packs the result."""

    params: ClassVar[tuple[Param, ...]] = (
        Param("level", integer(1, 2), (), 1),
        Param("gzip", boolean(), (), False),
    )
    version = VERSION

    def warm(self) -> None:
        """Load lightningcss. The Go library starts threads when it is loaded, so a confined worker loads it itself."""
        import_module("lightningcss")

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        """Raises `Unsupported` for what is not UTF-8, `TooLarge`, `Corrupt` for what is not CSS."""
        text = _text(media, shop)
        short = _minified("minify_css", "text/css", text, {})
        if options["level"] == 2:
            short = min(short, _joined(text, short), key=len)
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


def _minified(task: str, mimetype: str, text: str, settings: dict[str, str | bool | int]) -> str:
    import minify  # type: ignore[import-untyped]

    minify.config(_DEFAULTS | settings)  # all of them each time: the library remembers, and a worker may do several jobs
    room = " " * (len(text) // 4 + 64)  # it writes into as many bytes as it was given, and a few texts grow
    try:
        return str(minify.string(mimetype, text + "\n" + room))
    except minify.MinifyError as error:
        where = str(error).partition("\n")[0][:200]
        shown = where if where.isascii() and where.isprintable() else "it has errors"
        raise Corrupt(where, public=f"{task}: the file is not valid: {shown}.") from None


def _careful(text: str) -> str:
    """A valid script without comments and blanks; as it is, when it has template literals."""
    import rjsmin  # type: ignore[import-untyped]

    return text if "`" in text else str(rjsmin.jsmin(text, keep_bang_comments=True))


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
