"""The intelligence tasks: each asks one detector and answers with the documented JSON, whoever the provider is.

Knows: the documented options and answers. Must not know: how anything is recognised, pictures, models.

The answers follow https://www.filestack.com/docs/transformations/intelligence/. A provider may be a few lines of somebody's
own: what it says is put into the documented shape here, so that no client ever meets another one. Members that are not
documented are dropped, numbers are bounded, and an answer without what the task is about is the provider's fault, a 500.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..gate.errors import NotProvided
from ..plugin import REQUIRED, Kind, Media, Param, Transformation, Value, Workshop, choice, json_file
from . import answers

#: As documented; `auto` leaves the language to the provider.
LANGUAGES = ("auto", "en", "es", "fr", "de", "it", "pt", "ar", "hi", "ja", "ko", "zh", "zh-TW")
_MOST_TEXT = 5_000  # characters: what one analysis of the documented service takes; a URL rarely carries more
_LINES = "\t\n\r"


def _prose(value: Value) -> str:
    """Text that a person wrote: line breaks belong to it, other control characters do not."""
    if not isinstance(value, str) or not value.strip() or len(value) > _MOST_TEXT:
        raise ValueError
    if any((ord(character) < 32 or ord(character) == 127) and character not in _LINES for character in value):
        raise ValueError
    return value


def _language(value: Value) -> str:
    """A documented language in any case, as documented."""
    if isinstance(value, str):
        for name in LANGUAGES:
            if name.lower() == value.lower():
                return name
    raise ValueError


def _version() -> Kind:
    one_or_two = choice("1", "2")
    return Kind(lambda value: int(one_or_two.read(value)), one_or_two.allowed)


class _Task(NamedTuple):
    """What tells one intelligence task from another. `first` is a detector whose answer goes along with the question."""

    name: str
    answer: Callable[[Any], Mapping[str, Any]]
    params: tuple[Param, ...] = ()
    first: str = ""


_TASKS = (
    _Task("tags", answers.tags, (Param("version", _version(), ("v",), 2),)),
    _Task("sfw", answers.sfw),
    _Task("caption", answers.caption),
    _Task("ocr", answers.ocr),
    _Task("image_sentiment", answers.image_sentiment, first="faces"),
    _Task("copyright", answers.copyright_found),
)
_TEXT_SENTIMENT = _Task(
    "text_sentiment",
    answers.text_sentiment,
    (
        Param("text", Kind(_prose, f"text of 1 to {_MOST_TEXT} characters"), (), REQUIRED),
        Param("language", Kind(_language, "one of " + ", ".join(LANGUAGES)), (), "auto"),
    ),
)


class Intelligence:
    """One task: asks the detector of its name, with its own options, and answers with JSON.

    `image_sentiment` is about faces, so the detector of those is asked first, and its answer is the option `faces`.
    """

    version = "1"
    authenticated = True  # documented: a signed policy even where the application is open

    def __init__(self, task: _Task) -> None:
        self._task = task
        self.params = task.params

    def asks(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        name, first = self._task.name, self._task.first
        return (first, name) if first else (name,)

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        """The answer as JSON. Raises `NotProvided`, naming the hook, and what the detectors raise."""
        name, first = self._task.name, self._task.first
        for needed in reversed(self.asks(options)):
            if not shop.provides(needed):
                raise NotProvided(
                    f"no detector {needed!r} is registered",
                    public=f"{name} needs a plugin that provides the detector '{needed}' (hook register_detectors).",
                )
        wanted = {**options, first: shop.detect(first, media)} if first else options
        return json_file(self._task.answer(shop.detect(name, media, wanted)), f"{name}.json")


class TextSentiment(Intelligence):
    """`text_sentiment`: the text is an option, so there is no source."""

    sourceless = True


def transformations() -> dict[str, Transformation]:
    """Every intelligence task by its name in URLs."""
    tasks: dict[str, Transformation] = {task.name: Intelligence(task) for task in _TASKS}
    return tasks | {_TEXT_SENTIMENT.name: TextSentiment(_TEXT_SENTIMENT)}
