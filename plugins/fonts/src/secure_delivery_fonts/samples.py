"""What is set in a font to show it: in Latin where it has that, else in the script it has most of.

Knows: short texts, scripts by their codes (ISO 15924). Must not know: tables, pictures.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from .coverage import Range, has
from .facts import scripts

_UPPER, _LOWER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
_DIGITS, _MARKS = "0123456789", "!?&@#%$€£()[]{}.,:;*+-=/"
_PANGRAM = "The quick brown fox jumps over the lazy dog."
#: Sentences that show much of a script, most of them with all its letters.
_SENTENCES = {
    "Cyrl": "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Grek": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.",
    "Hebr": "דג סקרן שט בים מאוכזב ולפתע מצא חברה",
    "Arab": "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر",
    "Thai": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า",
    "Hani": "天地玄黃 宇宙洪荒 日月盈昃 辰宿列張",
    "Hira": "いろはにほへと ちりぬるを わかよたれそ つねならむ",
    "Kana": "イロハニホヘト チリヌルヲ ワカヨタレソ ツネナラム",
    "Hang": "키스의 고유조건은 입술끼리 만나야 하고",
}
_ROW, _ROWS = 24, 3
_MOST_LOOKED_AT = 3_000


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows of single characters, and a sentence for several sizes."""

    rows: list[str]
    sentence: str


def sample(found: list[Range]) -> Sample:
    """What to set in a font that has these characters. A font that says nothing about them is taken for Latin."""
    if not found or has(found, _UPPER) or has(found, _LOWER):
        rows = [
            row for row in (_UPPER, _LOWER, _DIGITS, "".join(mark for mark in _MARKS if not found or has(found, mark))) if row
        ]
        rows = [row for row in rows if not found or has(found, row)]
        sentence = _PANGRAM if not found or has(found, _PANGRAM) else rows[0]
        return Sample(rows, sentence)
    for script in scripts(found):
        letters = _letters(found, script)
        sentence = _SENTENCES.get(script, "")
        if letters:
            rows = [letters[at : at + _ROW] for at in range(0, min(len(letters), _ROW * _ROWS), _ROW)]
            rows += [_DIGITS] if has(found, _DIGITS) else []
            return Sample(rows, sentence if sentence and has(found, sentence) else " ".join(rows[0][:16]))
    letters = _letters(found, None)
    rows = [letters[at : at + _ROW] for at in range(0, min(len(letters), _ROW * 4), _ROW)]
    return Sample(rows, " ".join(rows[0][:12]) if rows else "")


def _letters(found: list[Range], script: str | None) -> str:
    """The first characters of a script, of any or none for None, that stand by themselves."""
    from fontTools.unicodedata import script as script_of  # type: ignore[import-untyped]

    letters: list[str] = []
    looked_at = 0
    for first, last in found:
        for code in range(first, last + 1):
            letter = chr(code)
            if script is not None and script_of(letter) != script:
                continue
            looked_at += 1
            if _stands(letter, script):
                letters.append(letter)
            if len(letters) >= _ROW * 4 or looked_at > _MOST_LOOKED_AT:
                return "".join(letters)
    return "".join(letters)


def _stands(letter: str, script: str | None) -> bool:
    """Whether a character is seen by itself: letters of a script; of no script also signs, and those for private use."""
    category = unicodedata.category(letter)
    return category.startswith("L") if script else category[0] in "LNPS" or category == "Co"
