"""What conformance suites and tests of plugins share: a workshop, files, claims, damaged files.

Knows: the protocols. Must not know: any implementation, any test library. Import it from `secure_delivery.plugin.testing`.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ..gate.errors import NotProvided, Unsupported
from .protocols import Detector, Media, WorkLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class SimpleWorkshop:
    """A `Workshop` in this process, for tests of plugins: detectors are given, programs there are none."""

    limits: WorkLimits = field(default_factory=WorkLimits)
    others: Sequence[Media] = ()
    metadata: str = "none"
    original: tuple[int, int] | None = None
    detectors: Mapping[str, Detector] = field(default_factory=dict)

    def provides(self, detector: str) -> bool:
        return detector in self.detectors

    def detect(self, detector: str, media: Media, options: Mapping[str, Any] | None = None) -> Any:
        if detector not in self.detectors:
            raise NotProvided(f"no detector {detector!r}")
        return self.detectors[detector].detect(media, options or {}, self.limits)

    def spare(self) -> BinaryIO:
        return tempfile.TemporaryFile()  # the caller closes it

    def run(self, program: str, files: Sequence[Media] = (), choices: Mapping[str, str | int] | None = None) -> Sequence[Media]:
        raise Unsupported(f"a simple workshop has no program {program!r}")


@dataclass(frozen=True, slots=True)
class FileMedia:
    """A `Media` whose bytes are in a file."""

    path: Path
    mimetype: str = "application/octet-stream"
    filename: str = "file"

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def open(self) -> BinaryIO:
        return self.path.open("rb")


def content(media: Media) -> bytes:
    """All bytes of a media, through a stream of its own."""
    with media.open() as stream:
        return stream.read()


def claim(holds: bool, what: str) -> None:
    """Fail with the claim that does not hold. Not `assert`: this is shipped code, and must not vanish under `-O`."""
    if not holds:
        raise AssertionError(f"does not hold: {what}")


def seeded_bytes(size: int, seed: int) -> bytes:
    """Random bytes, the same in every run."""
    return random.Random(seed).randbytes(size)  # noqa: S311 - no secret


def travels(value: object) -> bool:
    """Whether a value can be written as JSON (RFC 8259: no NaN)."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def rubbish(data: bytes) -> dict[str, bytes]:
    """Files that strangers send in place of a valid one: none of it, some of it, other bytes, bits turned; by what was done."""
    size = len(data)
    cases = {"no bytes": b"", "one byte": data[:1], "random bytes": seeded_bytes(4_096, 1)}
    cases["random bytes behind a valid start"] = data[:32] + seeded_bytes(2_048, 2)
    cases |= {f"cut after {part} of 8 parts": data[: size * part // 8] for part in range(1, 8)}
    cases["the last byte missing"] = data[:-1]
    for seed in range(8):
        damaged = bytearray(data)
        for place in random.Random(seed).sample(range(size), min(size, 8)):  # noqa: S311 - the same in every run
            damaged[place] ^= 1 << seed
        cases[f"damage {seed}"] = bytes(damaged)
    return cases
