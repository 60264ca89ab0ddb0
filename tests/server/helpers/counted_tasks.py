"""A plugin with tasks that take long, fail or crash when told so: what the tests of results need and pictures do not give."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from secure_delivery.gate.errors import Unsupported
from secure_delivery.plugin.hookspecs import hookimpl
from secure_delivery.plugin.params import Param, integer
from secure_delivery.plugin.protocols import Media, Workshop


class Result:
    """A file in memory."""

    def __init__(self, data: bytes, filename: str) -> None:
        self.data = data
        self.mimetype = "text/plain"
        self.filename = filename
        self.size = len(data)
        self.extra: dict[str, Any] = {}

    def open(self) -> BinaryIO:
        return io.BytesIO(self.data)


class Task:
    """A function from bytes to bytes as a transformation with one number."""

    version = "1"
    params = (Param("number", integer(0, 10_000), ("n",), 0),)

    def __init__(self, work: Callable[[bytes, int], bytes]) -> None:
        self.work = work

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        with media.open() as stream:
            data = stream.read()
        return Result(self.work(data, options["number"]), media.filename)


def nap(data: bytes, milliseconds: int) -> bytes:
    """The source, after so many milliseconds."""
    time.sleep(milliseconds / 1000)
    return data


def refuse(data: bytes, number: int) -> bytes:
    raise Unsupported("for the operator", public="A sentence for the client.")


def crash(data: bytes, number: int) -> bytes:
    os.abort()


@hookimpl
def register_transformations(settings: Mapping[str, Any]) -> Mapping[str, Task]:
    return {
        "shout": Task(lambda data, number: data.upper() + b"!" * number),
        "repeat": Task(lambda data, number: data * number),
        "nap": Task(nap),
        "refuse": Task(refuse),
        "crash": Task(crash),
    }
