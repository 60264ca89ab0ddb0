"""Typed parameters of transformations: what a URL may say, what the code behind it receives.

Knows: one value of the URL grammar, and what a parameter admits. Must not know: pictures, plugins, requests.

A plugin declares `Param("width", integer(1, 10_000), aliases=("w",))`; the engine binds the values of a URL with it before
any byte is fetched, so a wrong value is a 400 that names the task, the parameter and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

#: A value as the grammar gives it: text, or a list of values.
Value: TypeAlias = "str | tuple[Value, ...]"


class Kind(NamedTuple):
    """How a value is read, and the words for what is allowed. `read` raises `ValueError` for anything else.

    For forms: `choices` are all that may be written where these are a few words, else there are none; `bounds` are the least
    and the most of what is a number and nothing else, `whole` says that it has no fraction.
    """

    read: Callable[[Value], Any]
    allowed: str
    choices: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None
    whole: bool = False


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = _Required()


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter: its documented name, how it is read, its short names, and its default (or `REQUIRED`). `says` is a
    sentence for whoever fills in a form, where the name alone is not enough."""

    name: str
    kind: Kind
    aliases: tuple[str, ...] = ()
    default: Any = None
    says: str = ""


def _text(value: Value) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def integer(minimum: int, maximum: int) -> Kind:
    """A whole number in decimal digits, within inclusive bounds."""

    def read(value: Value) -> int:
        text = _text(value)
        if not re.fullmatch(r"-?[0-9]{1,12}", text):
            raise ValueError
        number = int(text)
        if not minimum <= number <= maximum:
            raise ValueError
        return number

    return Kind(read, f"a whole number from {minimum} to {maximum}", bounds=(minimum, maximum), whole=True)


def number(minimum: float, maximum: float) -> Kind:
    """A decimal number within inclusive bounds."""

    def read(value: Value) -> float:
        text = _text(value)
        if not re.fullmatch(r"-?([0-9]{1,12}(\.[0-9]{1,12})?|\.[0-9]{1,12})", text):
            raise ValueError
        result = float(text)
        if not minimum <= result <= maximum:
            raise ValueError
        return result

    return Kind(read, f"a number from {minimum:g} to {maximum:g}", bounds=(minimum, maximum))


def boolean() -> Kind:
    """`true` or `false`, in any case (one official SDK lower-cases, another capitalises)."""

    def read(value: Value) -> bool:
        text = _text(value).lower()
        if text not in ("true", "false"):
            raise ValueError
        return text == "true"

    return Kind(read, "true or false", ("true", "false"))


def choice(*names: str) -> Kind:
    """One of the given names, in any case."""

    def read(value: Value) -> str:
        text = _text(value).lower()
        if text not in names:
            raise ValueError
        return text

    return Kind(read, "one of " + ", ".join(names), names)


def either(*kinds: Kind) -> Kind:
    """The first of several kinds that reads the value."""

    def read(value: Value) -> Any:
        for kind in kinds:
            try:
                return kind.read(value)
            except ValueError:
                continue
        raise ValueError

    return Kind(read, ", or ".join(kind.allowed for kind in kinds))


def listing(*kinds: Kind) -> Kind:
    """A list with exactly one value for each given kind, as a tuple."""

    def read(value: Value) -> tuple[Any, ...]:
        if isinstance(value, str) or len(value) != len(kinds):
            raise ValueError
        return tuple(kind.read(item) for kind, item in zip(kinds, value, strict=True))

    return Kind(read, "a list [" + ", ".join(kind.allowed for kind in kinds) + "]")


def text(maximum: int) -> Kind:
    """Any text of up to so many characters, control characters excluded."""

    def read(value: Value) -> str:
        result = _text(value)
        if len(result) > maximum or any(ord(character) < 32 or ord(character) == 127 for character in result):
            raise ValueError
        return result

    return Kind(read, f"text of at most {maximum} characters")
