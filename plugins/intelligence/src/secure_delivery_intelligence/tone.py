"""`text_sentiment`: the tone of a text in English, by VADER's word list and rules.

Knows: how its scores become the four documented shares. Must not know: URLs.

The rules are of C.J. Hutto and E. Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media
Text" (ICWSM 2014): words have a worth, and negations, degrees, capitals and exclamation marks change it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from secure_delivery.plugin import Media, Unsupported, WorkLimits

from .languages import guess

_SENTENCE = re.compile(r"(?<=[.!?…])\s+|[\r\n]+")
_EVEN = 0.05  # VADER's own border between neutral and not: there both have the same share


class Tone:
    """`{"emotions": {"Positive", "Negative", "Neutral", "Mixed"}}`, shares of one."""

    version = "vader-3.3.2-1"

    def __init__(self) -> None:
        self._reader: Any = None

    def warm(self) -> None:
        """Load the word list: a confined worker opens no files."""
        if self._reader is None:
            self._reader = import_module("vaderSentiment.vaderSentiment").SentimentIntensityAnalyzer()

    def detect(self, media: Media, options: Mapping[str, Any], limits: WorkLimits) -> dict[str, Any]:
        """Raises `Unsupported` for a text that is said to be, or looks, in another language."""
        text, language = options["text"], options["language"]
        if language == "auto":
            language = guess(text)
        if language != "en":
            sentence = f"The tone of a text in the language {language} cannot be judged here; there is English (en)."
            raise Unsupported(sentence, public=sentence)
        self.warm()
        sentences = [sentence for sentence in _SENTENCE.split(text) if sentence.strip()]
        return {"emotions": _shares([self._reader.polarity_scores(sentence) for sentence in sentences])}


def _shares(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The four shares for the scores of sentences: their sum `compound` (-1 to 1), and how much of each tone there is.

    What is good and bad at once cancels out in `compound`: the more evenly both are there, the more of the text is mixed.
    """
    count = len(scores) or 1
    total, good, bad = (math.fsum(score[name] for score in scores) / count for name in ("compound", "pos", "neg"))
    tone = min(abs(total), 1.0)
    mixed = 2 * min(good, bad) / (good + bad) * (1 - tone) if good + bad else 0.0
    told = (1 - mixed) * tone / (tone + _EVEN)
    return {
        "Positive": told if total > 0 else 0.0,
        "Negative": told if total < 0 else 0.0,
        "Neutral": 1 - mixed - told,
        "Mixed": mixed,
    }
