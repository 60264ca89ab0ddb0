"""`text_sentiment`: the tone of a text, by VADER's word list and rules in English and LeIA's in Portuguese.

Knows: how their scores become the four documented shares. Must not know: URLs.

The rules are of C.J. Hutto and E. Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media
Text" (ICWSM 2014): words have a worth, and negations, degrees, capitals and exclamation marks change it.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from secure_delivery.plugin import Media, Unsupported, WorkLimits

from .languages import guess

_NAMES = {"en": "English", "pt": "Portuguese"}
_SENTENCE = re.compile(r"(?<=[.!?…])\s+|[\r\n]+")
_EVEN = 0.05  # VADER's own border between neutral and not: there both have the same share


def _english() -> Any:
    return import_module("vaderSentiment.vaderSentiment").SentimentIntensityAnalyzer()


def _portuguese() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its word lists to be closed by the collector
        return import_module("LeIA").SentimentIntensityAnalyzer()


_READERS: Mapping[str, Callable[[], Any]] = {"en": _english, "pt": _portuguese}


class Tone:
    """`{"emotions": {"Positive", "Negative", "Neutral", "Mixed"}}`, shares of one."""

    version = "vader-3.3.2-leia-0.0.1-1"

    def __init__(self) -> None:
        self._readers: dict[str, Any] = {}

    def warm(self) -> None:
        """Load the word lists: a confined worker opens no files."""
        for language, make in _READERS.items():
            if language not in self._readers:
                self._readers[language] = make()

    def detect(self, media: Media, options: Mapping[str, Any], limits: WorkLimits) -> dict[str, Any]:
        """Raises `Unsupported` for a language without a word list."""
        text, language = options["text"], options["language"]
        if language == "auto":
            language = guess(text)
        if language not in _READERS:
            known = " and ".join(f"{name} ({code})" for code, name in _NAMES.items())
            sentence = f"The tone of a text in the language {language} cannot be judged here; there is {known}."
            raise Unsupported(sentence, public=sentence)
        self.warm()
        reader = self._readers[language]
        scores = [reader.polarity_scores(sentence) for sentence in _SENTENCE.split(text) if sentence.strip()]
        return {"emotions": _shares(scores)}


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
