"""A plugin with external programs that do as they are told by their first input, a Python script. Only tests load it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from secure_delivery.plugin import MemoryFile, json_file
from secure_delivery.plugin.hookspecs import hookimpl
from secure_delivery.plugin.protocols import Media, Program, Workshop

WORDS = ("-I", "-S", "-B", "{inputs}", "{out}", "{scratch}")
PROGRAMS = {
    "script": Program(
        executables=("no-such-python", "python3"),
        arguments=(*WORDS, "{word}", "{number}"),
        choices={"word": ("plain", "two words", "--looks-like=an option", "{scratch}"), "number": range(1, 11)},
        suffixes=(".py", ".txt"),
        environment={"PLACE": "{scratch}"},
        seconds=25.0,
    ),
    "quick": Program(executables=("python3",), arguments=WORDS, suffixes=(".py",), seconds=3.0),
    "small": Program(executables=("python3",), arguments=WORDS, memory=300_000_000, seconds=10.0),
    "visitor": Program(executables=("python3",), arguments=(*WORDS, "{uri}", "{proxy}"), network=True, seconds=10.0),
    "shell": Program(executables=("sh",), arguments=("{inputs}", "{out}"), seconds=10.0),
    "starter": Program(executables=("python3",), arguments=WORDS, needs=("no-such-browser", "nor-this")),
    "missing": Program(executables=("no-such-program-anywhere",), arguments=(), install="build it yourself"),
}


class Task:
    """A function as a transformation."""

    params = ()
    version = "1"

    def __init__(self, work: Callable[[Media, Mapping[str, Any], Workshop], Any]) -> None:
        self.work = work

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        result = self.work(media, options, shop)
        return result if isinstance(result, Media) else json_file(result, "result.json")


def text_of(media: Media) -> str:
    with media.open() as stream:
        return stream.read().decode()


def run(media: Media, options: Mapping[str, Any], shop: Workshop) -> Any:
    """Run a program on the source, a script, and on the further files; names and contents of what it left."""
    more = [MemoryFile(text.encode(), "text/plain", "more.txt") for text in options.get("more", ())]
    files: Sequence[Media] = [media, *shop.others, *more]
    results = shop.run(options["program"], files, options.get("choices", {"word": "plain", "number": 1}))
    return [[result.filename, text_of(result)] for result in results]


def ask(shop: Any, *questions: Mapping[str, Any]) -> list[str]:
    """Say to the worker what a workshop would not; what it answers."""
    answers = []
    for question in questions:
        try:
            answers.append(repr(sorted(shop._ask(question)[0])))
        except Exception as error:
            answers.append(f"{type(error).__name__}: {error}")
    return answers


def speak(shop: Any, *bodies: bytes, head: bytes | None = None) -> Any:
    """Send frames of any content to the worker, and wait to be ended."""
    for body in bodies:
        os.write(shop.channel.fileno(), (head or len(body).to_bytes(4, "big")) + body)
    time.sleep(60)


def ahead(shop: Any) -> Any:
    """Report the next job before it has come."""
    forged = json.dumps({"report": {"mimetype": "text/plain", "filename": "forged", "extra": {}, "cpu": 0, "memory": 0}})
    this = json.dumps({"report": {"mimetype": "text/plain", "filename": "this", "extra": {}, "cpu": 0, "memory": 0}})
    os.write(shop.channel.fileno(), b"".join(len(body).to_bytes(4, "big") + body.encode() for body in (this, forged)))
    time.sleep(60)


KEPT: list[bytes] = []


def keep(media: Media) -> Any:
    """What earlier jobs left in this process, and leave something."""
    before = [one.decode() for one in KEPT]
    with media.open() as stream:
        KEPT.append(stream.read())
    return {"pid": os.getpid(), "kept": before}


def use(options: Mapping[str, Any]) -> Any:
    """Use up processor time or memory, and end well."""
    held = bytearray(options.get("memory", 0))
    held[::4096] = b"x" * len(held[::4096])
    end = time.process_time() + options.get("cpu", 0)
    while time.process_time() < end:
        pass
    return {"pid": os.getpid()}


def tell(media: Media, shop: Workshop) -> Any:
    """Everything that a chain is handed."""
    return {
        "first": [media.mimetype, media.filename, text_of(media)],
        "others": [[other.mimetype, other.filename, text_of(other)] for other in shop.others],
        "metadata": shop.metadata,
        "original": shop.original,
        "animation_pixels": shop.limits.animation_pixels,
    }


class Counting:
    """A detector that says how it was asked."""

    version = "1"

    def detect(self, media: Media, options: Mapping[str, Any], limits: Any) -> Any:
        return {"length": len(text_of(media)), "options": dict(options), "bytes": limits.bytes}


class Late:
    """A task and a detector that know whether they were prepared."""

    params = ()
    version = "1"

    def __init__(self, *asks: str) -> None:
        self.times: list[int] = []
        self._asks = asks

    def warm(self) -> None:
        self.times.append(os.getpid())

    def asks(self, options: Mapping[str, Any]) -> Sequence[str]:
        return self._asks

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        asked = [shop.detect(name, media) for name in self._asks]
        return json_file({"own": len(self.times), "asked": asked, "pid": os.getpid(), "by": self.times}, "late.json")

    def detect(self, media: Media, options: Mapping[str, Any], limits: Any) -> Any:
        return len(self.times)


@hookimpl
def register_transformations() -> dict[str, Any]:
    return {
        "run": Task(run),
        "ask": Task(lambda _, options, shop: ask(shop, *options["questions"])),
        "deep": Task(lambda _, options, shop: speak(shop, b"[" * options["depth"] + b"]" * options["depth"])),
        "deep_report": Task(
            lambda _, options, shop: speak(
                shop, b'{"report":{"extra":' + b'{"a":' * options["depth"] + b"1" + b"}" * options["depth"] + b"}}"
            )
        ),
        "say": Task(lambda _, options, shop: speak(shop, *(text.encode() for text in options["texts"]))),
        "half": Task(lambda _, options, shop: speak(shop, b"{", head=b"\0\0\1\0")),
        "huge": Task(lambda _, options, shop: speak(shop, b"1" * 300_000)),
        "ahead": Task(lambda _, options, shop: ahead(shop)),
        "keep": Task(lambda media, *_: keep(media)),
        "use": Task(lambda _, options, __: use(options)),
        "tell": Task(lambda media, _, shop: tell(media, shop)),
        "detect": Task(lambda media, options, shop: [shop.provides("counting"), shop.detect(options["name"], media, {"a": 1})]),
        "late": Late("late_eye"),
        "early": Late(),
    }


@hookimpl
def register_detectors() -> dict[str, Any]:
    return {"counting": Counting(), "late_eye": Late()}


@hookimpl
def register_programs() -> dict[str, Program]:
    return PROGRAMS
