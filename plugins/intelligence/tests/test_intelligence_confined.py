"""The tasks in the place where they really run: a confined child of a worker that loaded the networks before."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image

from secure_delivery.builtin.intelligence import transformations
from secure_delivery.engine import confine
from secure_delivery.engine.sandbox import Chain, ChainSource, PluginChoice, Sandbox
from secure_delivery.plugin import Corrupt, Unsupported, WorkLimits
from secure_delivery.plugin.testing import MemoryFile, bind

pytestmark = pytest.mark.skipif(not confine.LINUX, reason="confinement is only there on Linux")
TASKS = transformations()

#: A plugin that knows where the face of the photograph is, for a server without one that finds faces.
KNOWN = """
from secure_delivery.plugin import hookimpl

class Known:
    version = "1"
    def detect(self, media, options, limits):
        return {"faces": [{"x": 58, "y": 43, "width": 90, "height": 114, "score": 0.9}], "width": 200, "height": 200}

@hookimpl
def register_detectors(settings):
    return {"faces": Known()}
"""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> PluginChoice:
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "known_faces.py").write_text(KNOWN)
    return PluginChoice(
        extra=["secure_delivery_intelligence", "known_faces"], blocked=["intelligence", "vision"], path=[str(folder)]
    )


@pytest.fixture(scope="module")
def sandbox(plugins: PluginChoice) -> Iterator[Sandbox]:
    with Sandbox(1, plugins=plugins, limits=WorkLimits()) as sandbox:
        yield sandbox


def ask(sandbox: Sandbox, task: str, media: MemoryFile, **options: Any) -> Any:
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
        source.write(media.data)
        source.flush()
        outcome = sandbox.run(
            Chain(
                tasks=[(task, dict(bind(TASKS[task], **options)))],
                sources=[ChainSource(source.fileno(), media.mimetype, media.filename)],
                output=output.fileno(),
            )
        )
        assert outcome.mimetype == "application/json"
        output.seek(0)
        return json.loads(output.read())


def test_every_provider_answers_in_confinement(
    sandbox: Sandbox, photo: Callable[[str], MemoryFile], caplog: pytest.LogCaptureFixture
) -> None:
    """And the worker has nothing to complain of: no model is missing, none started a thread that children would wait for."""
    assert ask(sandbox, "tags", photo("cat"))["tags"]["auto"]["cat"] > 85
    assert ask(sandbox, "sfw", photo("cat")) == {"sfw": True}
    assert next(iter(ask(sandbox, "image_sentiment", photo("astronaut"))["emotions"])) == "HAPPY"
    nothing = MemoryFile(b"", "text/plain", "text")
    assert ask(sandbox, "text_sentiment", nothing, text="It is a joy.")["emotions"]["Positive"] > 0.8
    said = [record.getMessage() for record in caplog.records]
    assert [text for text in said if any(word in text for word in ("thread", "prepared", "intelligence"))] == []


@pytest.mark.parametrize(("form", "mode"), [("JPEG", "RGB"), ("PNG", "RGBA"), ("WEBP", "RGB")])
def test_a_hundred_megapixels_are_judged_within_a_worker_s_memory(form: str, mode: str, sandbox: Sandbox, written: Any) -> None:
    side = 10_000
    options: dict[str, Any] = {"WEBP": {"method": 0, "quality": 10}, "PNG": {"compress_level": 1}}.get(form, {})
    media = written(Image.new(mode, (side, side), "grey"), form, **options)
    assert "auto" in ask(sandbox, "tags", media)["tags"]


def test_faults_keep_their_kind_on_the_way_out(sandbox: Sandbox, photo: Callable[[str], MemoryFile]) -> None:
    cat = photo("cat")
    with pytest.raises(Corrupt):
        ask(sandbox, "tags", MemoryFile(cat.data[:4_000], "image/jpeg", "cat.jpg"))
    with pytest.raises(Unsupported):
        ask(sandbox, "sfw", MemoryFile(b"words", "text/plain", "a.txt"))
    with pytest.raises(Unsupported) as caught:
        ask(sandbox, "text_sentiment", MemoryFile(b"", "text/plain", "text"), text="Guten Tag", language="de")
    assert "English (en)" in caught.value.public
    assert ask(sandbox, "sfw", cat) == {"sfw": True}


def test_faces_that_are_really_found_are_judged(photo: Callable[[str], MemoryFile]) -> None:
    """With the plugin that finds faces beside it, nobody has to say where they are."""
    pytest.importorskip("secure_delivery_vision")
    with Sandbox(1, plugins=PluginChoice(), limits=WorkLimits()) as sandbox:
        found = ask(sandbox, "image_sentiment", photo("astronaut"))["emotions"]
        assert found["HAPPY"] > 95
        assert ask(sandbox, "image_sentiment", photo("espresso")) == {"emotions": {}}
