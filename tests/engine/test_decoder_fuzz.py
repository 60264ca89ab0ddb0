"""Mutants of valid files through confined decoders: a result or a fault of the tree, and the worker lives on (promise 51).

With every change some; `SECURE_DELIVERY_TEST_FUZZ=10000` tries so many, `SECURE_DELIVERY_TEST_FUZZ_FROM=500` begins there.
"""

from __future__ import annotations

import io
import os
import random
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hostile_bytes import small
from mutants import Seed, mutant, seeds
from PIL import Image

from secure_delivery.engine import confine
from secure_delivery.engine.sandbox import Chain, ChainSource, Outcome, PluginChoice, Sandbox
from secure_delivery.gate.errors import Busy, SecureDeliveryError
from secure_delivery.plugin import manager
from secure_delivery.plugin.protocols import WorkLimits
from secure_delivery.plugin.testing import bind

pytestmark = pytest.mark.skipif(not confine.LINUX, reason="decoders are only confined on Linux")

COUNT = int(os.environ.get("SECURE_DELIVERY_TEST_FUZZ", "150"))
FIRST = int(os.environ.get("SECURE_DELIVERY_TEST_FUZZ_FROM", "0"))
LIMITS = WorkLimits(seconds=40.0, cpu_seconds=5, memory=1_000_000_000, pixels=4_000_000, animation_pixels=4_000_000)
GIVEN = (Busy,)  # faults of the pool, never of a file

Task = tuple[str, Mapping[str, str]]
PICTURE: list[list[Task]] = [
    [("resize", {"width": "16"})],
    [("output", {"format": "webp"})],
    [("no_metadata", {})],
    [("compress", {"metadata": "true"})],
    [("output", {"format": "gif"})],
    [("imagesize", {})],
    [("rotate", {"deg": "exif"}), ("output", {"format": "png", "colorspace": "input"})],
    [("ocr", {})],
    [("detect_faces", {"export": "true"})],
    [("output", {"format": "pdf"})],
]
PAGES: list[list[Task]] = [[("output", {"format": "txt"})], [("preview", {})], [("output", {"format": "png", "density": "30"})]]
CHAINS: Mapping[str, list[list[Task]]] = {
    "svg": [[("output", {"format": "png"})], [("output", {"format": "svg", "secure": "true"})], [("resize", {"width": "20"})]],
    "pdf": [*PAGES, [("pdfinfo", {"colorinfo": "true"})], [("pdfconvert", {"pageformat": "a5"})], [("slide", {})]],
    "html": [[("output", {"format": "html", "secure": "true"})], [("output", {"format": "txt"})]],
    "css": [[("minify_css", {})], [("minify_css", {"level": "2"})]],
    "js": [[("minify_js", {})], [("minify_js", {"mangle": "false"})]],
    "docx": [[("output", {"format": "txt"})], [("pdfinfo", {})]],
    "odt": [[("output", {"format": "txt"})], [("pdfinfo", {})]],
}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    scratch = tmp_path_factory.mktemp("scratch")
    with Sandbox(1, plugins=PluginChoice(warm=["resize"]), limits=LIMITS, scratch=scratch) as sandbox:
        yield sandbox
    assert list(scratch.iterdir()) == []


@pytest.fixture(scope="module")
def tasks() -> Mapping[str, Any]:
    return manager.load().transformations


def run(sandbox: Sandbox, tasks: Mapping[str, Any], chain: list[Task], data: bytes, mimetype: str) -> tuple[Outcome, bytes]:
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
        source.write(data)
        source.flush()
        bound = [(name, dict(bind(tasks[name], **options))) for name, options in chain]
        sources = [ChainSource(source.fileno(), mimetype, "file")]
        outcome = sandbox.run(Chain(tasks=bound, sources=sources, output=output.fileno(), application="fuzzed"))
        output.seek(0)
        return outcome, output.read()


def check_alive(sandbox: Sandbox, tasks: Mapping[str, Any], width: int) -> None:
    _, data = run(sandbox, tasks, [("resize", {"width": str(width)})], small("JPEG"), "image/jpeg")
    assert Image.open(io.BytesIO(data)).size[0] == width


def processes(sandbox: Sandbox) -> list[int]:
    return [place._worker.process.pid for place in sandbox._places if place._worker is not None]


def chain_of(seed: Seed, number: int) -> list[Task]:
    chains = CHAINS.get(seed.name, PICTURE)
    return chains[number % len(chains)]


@pytest.mark.parametrize("seed", seeds(), ids=[seed.name for seed in seeds()])
def test_taking_a_file_apart_and_together_changes_nothing_that_matters(sandbox: Sandbox, tasks: Any, seed: Seed) -> None:
    """The seeds are valid, and so is what they are put together to: without that, mutants would all fail at once."""
    if seed.name in ("docx", "odt"):
        assert seed.split(seed.join(seed.split(seed.data))) == seed.split(seed.data)
        return
    outcome, data = run(sandbox, tasks, chain_of(seed, 0), seed.join(seed.split(seed.data)), seed.mimetype)
    assert (outcome.size, bool(data)) == (len(data), True)


def test_mutants_end_in_a_result_or_a_fault_and_the_worker_lives_on(sandbox: Sandbox, tasks: Any) -> None:
    """The number in the message makes the same mutant again."""
    kinds = seeds()
    check_alive(sandbox, tasks, 10)
    before = processes(sandbox)
    ends: dict[str, int] = {}
    for number in range(FIRST, FIRST + COUNT):
        seed = kinds[number % len(kinds)]
        data = mutant(seed, random.Random(number))
        try:
            outcome, made = run(sandbox, tasks, chain_of(seed, number // len(kinds)), data, seed.mimetype)
            assert outcome.size == len(made) > 0, f"mutant {number} of {seed.name}: an empty result"
            end = "result"
        except SecureDeliveryError as fault:
            assert fault.status < 500 and not isinstance(fault, GIVEN), f"mutant {number} of {seed.name}: {fault!r}"
            assert fault.public.endswith("."), f"mutant {number} of {seed.name}: {fault.public}"
            end = fault.code
        except Exception as error:
            raise AssertionError(f"mutant {number} of {seed.name}: {error!r} is no fault of the tree") from error
        ends[end] = ends.get(end, 0) + 1
        if number % 25 == 0:
            check_alive(sandbox, tasks, 10 + number % 30)
    check_alive(sandbox, tasks, 41)
    assert processes(sandbox) == before, "a worker was lost"
    assert ends.get("result", 0) >= COUNT / 20 and len(ends) > 1, f"mutants are neither too tame nor too wild: {ends}"


def test_the_same_number_is_the_same_mutant(tmp_path: Path) -> None:
    for number, seed in enumerate(seeds()):
        data = mutant(seed, random.Random(number))
        assert data == mutant(seed, random.Random(number))
