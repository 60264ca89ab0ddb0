"""How hard a secret that somebody else made is to guess, as far as that can be seen.

Knows: repetitions, rows of neighbours, words. Must not know: whose secret it is, what is done about it.

`SecretRing` refuses what is too short at once. This looks for what is long and easy all the same, and judges in the secret's
favour: what was drawn at random is never called weak.
"""

from __future__ import annotations

import math
import re

from ..gate.model import secret_bits

__all__ = ["ENOUGH", "strength"]

ENOUGH = 112.0  # bits: what NIST SP 800-131A asks of any key
_WORD = 12.9  # bits of one word out of a list of 7,776, as dice choose them
_WORDS = re.compile(r"(?:[A-Za-z]+[-_. ])+[A-Za-z]+[-_. ]?([0-9!?]{0,6})")
_EACH = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")  # words in camel case are several
_ROW = 4  # neighbours in a row: three come about by themselves in long texts of few letters


def strength(value: bytes) -> float:
    """Bits that a secret has at the most."""
    once = _without_rows(_period(value))
    bits = secret_bits(once) if len(set(once)) >= 8 else math.log2(max(1, len(set(once)))) * len(once)
    words = _WORDS.fullmatch(value.decode("latin-1"))
    if words is None:
        return bits
    return min(bits, len(_EACH.findall(words[0])) * _WORD + len(words[1]) * math.log2(12))


def _period(value: bytes) -> bytes:
    """What is said again and again: the shortest beginning that the rest only repeats."""
    for length in range(1, len(value) // 2 + 1):
        if value[length:] == value[:-length]:
            return value[:length]
    return value


def _without_rows(value: bytes) -> bytes:
    """The same with every row of equal or neighbouring characters (`aaaa`, `abcd`, `4321`) cut to its two ends."""
    kept = bytearray()
    start = 0
    while start < len(value):
        end = start + 1
        if end < len(value) and (step := value[end] - value[start]) in (-1, 0, 1):
            while end + 1 < len(value) and value[end + 1] - value[end] == step:
                end += 1
        if end - start + 1 >= _ROW:
            kept += bytes((value[start], value[end]))
            start = end + 1
        else:
            kept.append(value[start])
            start += 1
    return bytes(kept)
