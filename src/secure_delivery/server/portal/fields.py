"""The fields of a form or of a JSON body, read into values with a sentence for each that cannot be.

Knows: texts of forms and values of JSON. Must not know: which fields there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

from ...gate.errors import BadRequest
from ..bodies import read_object

_MOST_FIELDS = 500
_ON = {"on": True, "true": True, "1": True, "yes": True, "off": False, "false": False, "0": False, "no": False}


class BadField(BadRequest):
    """A field that cannot be what was given. `field` is its name."""

    code = "bad_field"

    def __init__(self, name: str, public: str) -> None:
        super().__init__(f"{name}: {public}", public=public)
        self.field = name


class Fields(Mapping[str, Any]):
    """Named values: texts, or lists of texts, of a form; anything of JSON. Reading raises `BadField`, which names the field."""

    def __init__(self, values: Mapping[str, Any] | None = None, *, form: bool = False) -> None:
        self._values = dict(values or {})
        self.form = form

    @classmethod
    def of_form(cls, text: str) -> Fields:
        """The fields of a form or of a query; one that is given more than once is a list. Raises `BadRequest`."""
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
        except (ValueError, UnicodeError):
            raise BadRequest("malformed form", public="The form is malformed.") from None
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name not in found:
                found[name] = value
            elif isinstance(found[name], list):
                found[name].append(value)
            else:
                found[name] = [found[name], value]
        return cls(found, form=True)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def has(self, name: str) -> bool:
        """Whether a field was given at all, be it empty."""
        return name in self._values

    def text(self, name: str, *, label: str = "", longest: int = 1000, needed: bool = False, lines: bool = False) -> str:
        """A text of one line, or of several with `lines`; blanks at its ends do not count. Empty when it is not given."""
        value = self._values.get(name)
        called = label or name
        if value is None:
            value = ""
        if not isinstance(value, str):
            raise BadField(name, f"{called} is a text.")
        if self.form:
            value = value.replace("\r\n", "\n")
        value = value.strip()
        if not value and needed:
            raise BadField(name, f"{called} is missing.")
        if len(value) > longest:
            raise BadField(name, f"{called} has at most {longest} characters.")
        if any(letter < " " and not (lines and letter in "\n\t") for letter in value) or not is_whole(value):
            raise BadField(name, f"{called} holds characters that no text has.")
        return value

    def secret(self, name: str, *, longest: int = 4000) -> str:
        """A password or a key, exactly as it was given."""
        value = self._values.get(name, "")
        if not isinstance(value, str) or len(value) > longest or not is_whole(value):
            raise BadField(name, f"{name} is a text of at most {longest} characters.")
        return value

    def choice(self, name: str, options: Iterable[str], *, label: str = "", default: str | None = None) -> str:
        """One of several words."""
        known = tuple(options)
        value = self.text(name, label=label)
        if not value and default is not None:
            return default
        if value not in known:
            raise BadField(name, f"{label or name} is one of {', '.join(each or 'nothing' for each in known)}.")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Yes or no. A box that is not ticked is not sent at all, which is no."""
        value = self._values.get(name)
        if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
            value = value[-1]  # a hidden `off` before the box
        if value is None or value == "":
            return default
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in _ON:
            return _ON[value.lower()]
        raise BadField(name, f"{name} is yes or no.")

    def whole(self, name: str, *, label: str = "", least: int = 0, most: int = 2**50, default: int | None = None) -> int | None:
        """A whole number; `default` when it is not given."""
        value = self._values.get(name)
        if value is None or value == "":
            return default
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value.strip()):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise BadField(name, f"{label or name} is a whole number from {least} to {most}.")
        return value

    def number(
        self, name: str, *, label: str = "", least: float = 0, most: float = 1e15, default: float | None = None
    ) -> float | None:
        """A number; `default` when it is not given."""
        value = self._values.get(name)
        if value is None or value == "":
            return default
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,9})?", value.strip()):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            raise BadField(name, f"{label or name} is a number from {least:g} to {most:g}.")
        return float(value)

    def several(self, name: str, *, label: str = "", longest: int = 500, most: int = 200) -> list[str]:
        """A list of texts: a list of JSON, the lines of a text, or a field given more than once. Empty ones do not count."""
        value = self._values.get(name)
        if value is None:
            return []
        items = value if isinstance(value, list) else value.replace("\r", "\n").split("\n") if isinstance(value, str) else None
        if items is None or not all(isinstance(item, str) for item in items):
            raise BadField(name, f"{label or name} is a list of texts.")
        found = [item.strip() for item in items if item.strip()]
        if len(found) > most or any(len(item) > longest or not is_whole(item) for item in found):
            raise BadField(name, f"{label or name} is a list of at most {most} texts of at most {longest} characters.")
        return found

    def table(self, name: str) -> dict[str, Any]:
        """An object: of JSON, or in a form the fields `name.key`, or one text of JSON."""
        value = self._values.get(name)
        if isinstance(value, Mapping):
            return dict(value)
        if isinstance(value, str) and value.strip():
            try:
                return read_object(value.encode("utf-8", "replace"))
            except BadRequest:
                raise BadField(name, f"{name} is an object of JSON.") from None
        if value not in (None, ""):
            raise BadField(name, f"{name} is an object of JSON.")
        start = f"{name}."
        return {key.removeprefix(start): item for key, item in self._values.items() if key.startswith(start)}

    def only(self, *names: str) -> None:
        """Raise `BadField` for the first field that none of `names` is: what is not understood is not ignored."""
        for name in self._values:
            if name not in names and name.partition(".")[0] not in names:
                raise BadField(name, f"There is no field '{name[:60]}' here.")


def is_whole(text: str) -> bool:
    """Whether a text has whole characters only, and none that databases do not take."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
