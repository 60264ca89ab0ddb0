"""Style sheets and style values, without anything that loads.

Knows: the tokens of CSS (CSS Syntax Level 3), by tinycss2. Must not know: XML, which element a style belongs to.

Judging tokens and not text is the point: `u\\72l(...)`, comments inside names and unclosed strings are what a browser takes
them for, and what is written again is made from the tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import tinycss2  # type: ignore[import-untyped]

_LONGEST = 1_000_000  # characters of one sheet or value; longer ones are dropped
_DEEPEST = 64  # brackets inside brackets
#: At-rules that hold rules of their own, and those that hold declarations. Others load, or say nothing to a picture.
_HOLDING_RULES = frozenset({"media", "supports", "layer", "keyframes", "-webkit-keyframes", "container"})
_HOLDING_DECLARATIONS = frozenset({"font-face"})
#: Functions that name a file, or did once run a script.
_LOADING = frozenset(
    {"url", "src", "image", "image-set", "-webkit-image-set", "cross-fade", "-webkit-cross-fade", "expression"}
)
_LOADING_PROPERTIES = frozenset({"behavior", "-moz-binding"})
_FONT = re.compile(r"data:(font/|application/(x-)?font-|application/vnd\.ms-fontobject)[^,]*,", re.IGNORECASE)
#: What most values with brackets are: numbers in colours and transforms, places in the same document. Nothing here could hold a
#: bracket, a quote or an escape of its own.
_PLAIN = re.compile(
    r"(?:[\s,]|(?:rgba?|hsla?|matrix|translate|scale|rotate|skewX|skewY)\([-+.,%/\sA-Za-z0-9]*\)|url\(#[-.:\w]*\))+", re.ASCII
)


def clean_value(value: str) -> str | None:
    """The value of an attribute, or None when it would load something."""
    if len(value) > _LONGEST:
        return None
    if ("(" not in value and "\\" not in value) or _PLAIN.fullmatch(value):
        return value
    tokens = tinycss2.parse_component_value_list(value)
    return value if _harmless(tokens, 0) else None


def clean_declarations(style: str) -> str:
    """A `style` attribute, with only the declarations that load nothing."""
    if len(style) > _LONGEST:
        return ""
    kept = _declarations(tinycss2.parse_blocks_contents(style, skip_comments=True, skip_whitespace=True))
    return ";".join(kept)


def clean_sheet(sheet: str) -> str:
    """A style sheet, with only the rules and declarations that load nothing."""
    if len(sheet) > _LONGEST:
        return ""
    return _rules(tinycss2.parse_stylesheet(sheet, skip_comments=True, skip_whitespace=True), 0)


def _rules(nodes: Iterable[Any], depth: int) -> str:
    kept: list[str] = []
    for node in nodes:
        if node.type == "qualified-rule" and _harmless(node.prelude, 0):
            body = _declarations(tinycss2.parse_blocks_contents(node.content, skip_comments=True, skip_whitespace=True))
            kept.append(f"{_written(node.prelude)}{{{';'.join(body)}}}")
        elif node.type == "at-rule" and node.content is not None and depth < _DEEPEST and _harmless(node.prelude, 0):
            name, head = node.lower_at_keyword, _written(node.prelude)
            if name in _HOLDING_RULES:
                inner = tinycss2.parse_rule_list(node.content, skip_comments=True, skip_whitespace=True)
                kept.append(f"@{name}{head}{{{_rules(inner, depth + 1)}}}")
            elif name in _HOLDING_DECLARATIONS:
                body = tinycss2.parse_blocks_contents(node.content, skip_comments=True, skip_whitespace=True)
                kept.append(f"@{name}{{{';'.join(_declarations(body, fonts=True))}}}")
    return "".join(kept)


def _declarations(nodes: Iterable[Any], *, fonts: bool = False) -> list[str]:
    """Those that load nothing, written again. Rules nested inside rules are left out."""
    return [
        f"{node.name}:{_written(node.value).strip()}{'!important' if node.important else ''}"
        for node in nodes
        if node.type == "declaration" and node.lower_name not in _LOADING_PROPERTIES and _harmless(node.value, 0, fonts=fonts)
    ]


def _harmless(tokens: Iterable[Any], depth: int, *, fonts: bool = False) -> bool:
    """Whether no token names a file: only places in the same document, and with `fonts` fonts held in the text itself."""
    if depth > _DEEPEST:
        return False
    for token in tokens:
        if token.type == "error":
            return False
        if token.type == "url" and not _near(token.value, fonts=fonts):
            return False
        if token.type == "function":
            if token.lower_name in _LOADING and not _names_near(token, fonts=fonts):
                return False
            if not _harmless(token.arguments, depth + 1, fonts=fonts):
                return False
        elif token.type.endswith("block") and not _harmless(token.content, depth + 1, fonts=fonts):
            return False
    return True


def _names_near(function: Any, *, fonts: bool) -> bool:
    """Whether `url("...")` with one string and nothing else names something in the same document."""
    words = [token for token in function.arguments if token.type not in ("whitespace", "comment")]
    one = len(words) == 1 and words[0].type == "string"
    return function.lower_name == "url" and one and _near(words[0].value, fonts=fonts)


def _near(target: str, *, fonts: bool) -> bool:
    return target.startswith("#") or (fonts and _FONT.match(target) is not None)


def _written(tokens: Any) -> str:
    return str(tinycss2.serialize(tokens))
