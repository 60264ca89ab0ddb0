"""Comments of a script that has been through a minifier.

Knows: the lexical grammar of JavaScript (ECMA-262, section 12), as far as it takes to tell comments from what looks like them.
Must not know: what a script does.

A slash is a division or the start of a regular expression, depending on what stands before it. That is decided by the last
lexeme, and after `)` by what stands before its `(`; after `}` it is not decided at all, and the script keeps its comments.
"""

from __future__ import annotations

import re

_BLANKS = re.compile(r"\s+")
_WORD = re.compile(r"[\w$\\\u00aa-\uffff\U00010000-\U0010ffff]+")
_STRING = re.compile(r""""(?:[^"\\]|\\[\s\S])*"|'(?:[^'\\]|\\[\s\S])*'""")
_REGEX = re.compile(r"/(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/")
_COMMENT = re.compile(r"//[^\n\r\u2028\u2029]*|/\*[\s\S]*?\*/")
_TEMPLATE = re.compile(r"(?:[^`\\$]|\\[\s\S]|\$(?!\{))*(`|\$\{)")
_LEGAL = re.compile(r"/[/*]!|@license|@preserve")
_LINES = re.compile("[\n\r\u2028\u2029]")
#: Words after which an expression begins, and those whose brackets are followed by a statement.
_WORDS = "return typeof case in of void delete throw new do else await yield instanceof default extends"
_BEFORE = frozenset(_WORDS.split())
_HEADS = frozenset(("if", "while", "for", "with"))


def without_comments(text: str) -> str:
    """The script without comments but those about its licence (`/*!`, `@license`, `@preserve`); as it is where it cannot be
    told what is one."""
    pieces: list[str] = []
    brackets: list[tuple[str, bool]] = []  # each with whether an expression begins behind it, once it is closed
    at, last, begins = 0, "", True  # `begins`: whether a slash would begin a regular expression
    while at < len(text):
        match = _token(text, at, begins)
        if match is None:
            return text
        kind, lexeme = match
        at += len(lexeme)
        if kind == "comment":
            lexeme = lexeme if _LEGAL.search(lexeme) else "\n" if _LINES.search(lexeme) else " "
        elif kind == "template" or (lexeme == "}" and brackets and brackets[-1][0] == "`"):
            if lexeme == "}":
                brackets.pop()
            inner = _TEMPLATE.match(text, at)
            if inner is None:
                return text
            lexeme, at, begins, last = lexeme + inner[0], inner.end(), inner[1] == "${", "`"
            if begins:
                brackets.append(("`", False))
        elif kind != "blank":
            begins = _after(lexeme, last, brackets)
            if lexeme == "}" and text[at : at + 1] == "/" and text[at : at + 2] not in ("//", "/*"):
                return text
            last = lexeme
        pieces.append(lexeme)
    return "".join(pieces)


def _token(text: str, at: int, begins: bool) -> tuple[str, str] | None:
    """The token at a place and what it is, None for one that has no end."""
    letter = text[at]
    if letter == "/":
        for kind, pattern in (("comment", _COMMENT), ("regex", _REGEX)):
            match = pattern.match(text, at)
            if match and (kind == "comment" or begins):
                return kind, match[0]
        return None if begins else ("mark", "/")
    if letter in "\"'":
        match = _STRING.match(text, at)
        return ("value", match[0]) if match else None
    if letter == "`":
        return "template", "`"
    for kind, pattern in (("blank", _BLANKS), ("word", _WORD)):
        if match := pattern.match(text, at):
            return kind, match[0]
    return "mark", text[at : at + 2] if text[at : at + 2] in ("++", "--") else letter


def _after(lexeme: str, last: str, brackets: list[tuple[str, bool]]) -> bool:
    """Whether an expression can begin behind a token."""
    if lexeme in ("(", "[", "{"):
        brackets.append((lexeme, lexeme == "(" and last in _HEADS))
        return True
    if lexeme in (")", "]", "}"):
        return brackets.pop()[1] if brackets else False
    if lexeme in ("++", "--"):
        return False  # behind a name it ends an expression, before one no slash follows
    if _WORD.fullmatch(lexeme):
        return lexeme in _BEFORE and last != "."
    return lexeme[0] not in "\"'/" or lexeme == "/"
