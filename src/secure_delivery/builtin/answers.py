"""The documented answers of the intelligence tasks, made from whatever a provider said.

Knows: the shape of each answer. Must not know: tasks, providers, where an answer goes.

A rule for all: what fits is kept, what does not fit is dropped, numbers are brought within their bounds. Only when nothing is
left of what the answer is about is it refused, with the detail for the operator: that is a fault of the provider, not of the
file or the client.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..gate.errors import SecureDeliveryError

_MOST_LABELS = 500
_MOST_WORDS = 100_000  # of one document
_MOST_CHARACTERS = 200  # of a label or an emotion
_MOST_LICENSES = 100
_MOST_DEPTH = 4  # of a license's own members
_CORNERS = 4
_LARGEST = 10**15  # every whole number below it survives a reader that knows only doubles
_SENTIMENTS = ("Positive", "Negative", "Neutral", "Mixed")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def _refused(task: str, what: str) -> SecureDeliveryError:
    return SecureDeliveryError(f"the detector {task!r} answered without {what}")


def _number(value: object) -> int | float | None:
    """A number of sensible size, or `None`. Those of numpy count and become plain ones. A truth value is no number."""
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        return None
    if isinstance(value, (str, bytes)):
        return None
    try:
        whole = operator.index(value)  # type: ignore[arg-type]
        return whole if abs(whole) < _LARGEST else None
    except TypeError:
        pass
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < _LARGEST else None  # nor is NaN


def _truth(value: object) -> bool | None:
    """A truth value, numpy's among them; nothing that is merely truthy."""
    if isinstance(value, bool):
        return value
    return bool(value) if type(value).__name__ in ("bool_", "bool") else None


def _text(value: object, most: int | None = None) -> str | None:
    """Text without what breaks JSON readers and terminals: lone surrogates, control characters but line breaks and tabs."""
    return _CONTROLS.sub("", value)[:most] if isinstance(value, str) else None


def _members(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: object) -> Sequence[Any]:
    return value if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else ()


def _rated(value: object, most: float) -> dict[str, int | float]:
    """Names with numbers from 0 to `most`, the highest first, names in order among equals."""
    found: dict[str, int | float] = {}
    for label, rating in _members(value).items():
        name, number = (_text(label, _MOST_CHARACTERS) or "").strip(), _number(rating)
        if name and number is not None:
            found[name] = max(0, min(number, most))
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:_MOST_LABELS])


def tags(said: object) -> dict[str, Any]:
    """`{"tags": {"auto": {label: 0 to 100}, "user": null}}`; `user` is for tags that people gave, of which there are none."""
    if not isinstance(said, Mapping):
        raise _refused("tags", "labels")
    return {"tags": {"auto": _rated(said, 100), "user": None}}


def sfw(said: object) -> dict[str, Any]:
    """`{"sfw": true}` when harmless. Not knowing is not harmless, and not guessed: it is refused."""
    verdict = _truth(_members(said).get("sfw"))
    if verdict is None:
        raise _refused("sfw", "a truth value 'sfw'")
    return {"sfw": verdict}


def caption(said: object) -> dict[str, Any]:
    """`{"caption": "..."}`."""
    sentence = _text(_members(said).get("caption"))
    if sentence is None:
        raise _refused("caption", "a text 'caption'")
    return {"caption": sentence.strip()}


def image_sentiment(said: object) -> dict[str, Any]:
    """`{"emotions": {"HAPPY": 99.7}}`, in percent; no member where no emotion was found."""
    emotions = _members(said).get("emotions")
    if not isinstance(emotions, Mapping):
        raise _refused("image_sentiment", "'emotions'")
    return {"emotions": {name.upper(): rating for name, rating in _rated(emotions, 100).items()}}


def text_sentiment(said: object) -> dict[str, Any]:
    """`{"emotions": {"Positive": ..., "Negative": ..., "Neutral": ..., "Mixed": ...}}`: all four, from 0 to 1, together 1."""
    rated = {name.lower(): rating for name, rating in _rated(_members(said).get("emotions"), 1e9).items()}
    shares = [rated.get(name.lower(), 0) for name in _SENTIMENTS]
    total = math.fsum(shares)
    if not total:
        raise _refused("text_sentiment", "any of Positive, Negative, Neutral, Mixed")
    return {"emotions": {name: share / total for name, share in zip(_SENTIMENTS, shares, strict=True)}}


def copyright_found(said: object) -> dict[str, Any]:
    """`{"copyright": bool, "licenses": [{...}]}`; no license where there is no copyright."""
    verdict = _truth(_members(said).get("copyright"))
    if verdict is None:
        raise _refused("copyright", "a truth value 'copyright'")
    kept = [_plain(license_) for license_ in _items(_members(said).get("licenses")) if isinstance(license_, Mapping)]
    return {"copyright": verdict, "licenses": kept[:_MOST_LICENSES] if verdict else []}


def _plain(value: object, depth: int = _MOST_DEPTH) -> Any:
    """The part of a value that JSON can carry. What a license says is not documented, so it is kept as it is."""
    if isinstance(value, Mapping) and depth:
        return {name: _plain(member, depth - 1) for key, member in value.items() if (name := _text(key)) is not None}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) and depth:
        return [_plain(item, depth - 1) for item in value]
    for read in (_truth, _number, _text):
        if (found := read(value)) is not None:
            return found
    return None


# ------------------------------------------------------------------------------------------------------------------ ocr


def ocr(said: object) -> dict[str, Any]:
    """Areas of lines of words, each with the four corners of its box in pixels, and the whole text.

    Without a text of its own the answer has that of its lines. Boxes without four corners are dropped, with all in them.
    """
    document = _members(_members(said).get("document"))
    text, percentage = _text(_members(said).get("text")), _number(_members(said).get("text_area_percentage"))
    if "text_areas" not in document and text is None:
        raise _refused("ocr", "'document' and 'text'")
    areas = list(_areas(_items(document.get("text_areas"))))
    if text is None:
        text = "\n".join(line["text"] for area in areas for line in area["lines"])
    answer: dict[str, Any] = {"document": {"text_areas": areas}, "text": text}
    if percentage is not None:
        answer["text_area_percentage"] = max(0, min(percentage, 100))
    return answer


def _areas(areas: Sequence[Any]) -> Iterable[dict[str, Any]]:
    left = _MOST_WORDS
    for area in map(_members, areas):
        lines = []
        for line in map(_members, _items(area.get("lines"))):
            words = [word for word in map(_worded, _items(line.get("words"))) if word][:left]
            if entry := _worded(line):
                left -= len(words)
                lines.append(entry | {"words": words})
        if corners := _corners(area.get("bounding_box")):
            yield {"bounding_box": corners, "lines": lines}


def _worded(value: Any) -> dict[str, Any]:
    """A text with its box, or nothing."""
    corners, text = _corners(_members(value).get("bounding_box")), _text(_members(value).get("text"))
    return {"bounding_box": corners, "text": text} if corners and text is not None else {}


def _corners(value: object) -> list[dict[str, int | float]]:
    """Four points `{"x", "y"}`, also where a provider writes them as pairs; nothing when that is not what it is."""
    points = []
    for item in _items(value):
        pair = (item.get("x"), item.get("y")) if isinstance(item, Mapping) else tuple(_items(item))
        x, y = map(_number, pair) if len(pair) == 2 else (None, None)
        if x is None or y is None:
            return []
        points.append({"x": x, "y": y})
    return points if len(points) == _CORNERS else []
