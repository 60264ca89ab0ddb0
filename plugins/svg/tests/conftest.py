"""The short ways to clean and to draw, here and in a confined worker."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from secure_delivery.engine import confine
from secure_delivery.engine.sandbox import Chain, ChainSource, PluginChoice, Sandbox
from secure_delivery.plugin import Media, WorkLimits
from secure_delivery.plugin.testing import MemoryFile, SimpleWorkshop, bind, content
from secure_delivery_images.tasks import transformations as pictures
from secure_delivery_svg.tasks import transformations

OUTPUT = transformations()["output"]
TASKS = pictures() | {"output": OUTPUT}


def _media(text: str | bytes, filename: str = "drawing.svg") -> MemoryFile:
    return MemoryFile(text.encode() if isinstance(text, str) else text, "image/svg+xml", filename)


@pytest.fixture(scope="session", autouse=True)
def warmed() -> None:
    """As in a worker: from here on, all picture tasks take drawings."""
    OUTPUT.warm()


@pytest.fixture(scope="session")
def media() -> Callable[..., MemoryFile]:
    return _media


@pytest.fixture(scope="session")
def chain() -> Callable[..., Media]:
    """Run tasks in this process: names, or names with options."""

    def run(drawing: str | bytes, *tasks: Any, limits: WorkLimits | None = None) -> Media:
        result: Media = _media(drawing)
        for task in tasks:
            name, options = (task, {}) if isinstance(task, str) else task
            known = pictures()[name] if name == "output" and result.mimetype != "image/svg+xml" else TASKS[name]
            result = known.apply(result, bind(known, **options), SimpleWorkshop(limits=limits or WorkLimits()))
        return result

    return run


@pytest.fixture(scope="session")
def cleaned(chain: Any) -> Callable[[str | bytes], str]:
    def clean(drawing: str | bytes) -> str:
        return content(chain(drawing, ("output", {"format": "svg", "secure": "true"}))).decode()

    return clean


@pytest.fixture(scope="session")
def opened() -> Callable[[Media], Image.Image]:
    def open_it(result: Media) -> Image.Image:
        image = Image.open(BytesIO(content(result)))
        image.load()
        return image

    return open_it


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    if not confine.LINUX:
        pytest.skip("confinement is only there on Linux")
    with Sandbox(1, plugins=PluginChoice(), limits=WorkLimits()) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def confined(sandbox: Sandbox) -> Callable[..., MemoryFile]:
    """Run tasks in the worker."""

    def run(drawing: str | bytes, *tasks: tuple[str, dict[str, Any]]) -> MemoryFile:
        source = _media(drawing)
        with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as output:
            file.write(source.data)
            file.flush()
            chain = Chain(
                tasks=[(name, dict(bind(TASKS[name], **options))) for name, options in tasks],
                sources=[ChainSource(file.fileno(), source.mimetype, source.filename)],
                output=output.fileno(),
            )
            outcome = sandbox.run(chain)
            output.seek(0)
            return MemoryFile(output.read(), outcome.mimetype, outcome.filename)

    return run
