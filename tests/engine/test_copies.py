"""Smaller copies of large pictures: made with the second result, not seen in any, gone with their file."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageStat

from secure_delivery.engine import Engine, build
from secure_delivery.engine.convert import bind
from secure_delivery.engine.copies import Copies
from secure_delivery.engine.files import Target
from secure_delivery.engine.records import FileLink
from secure_delivery.engine.rendition_budget import Budget
from secure_delivery.engine.renditions import Rendition, Renditions
from secure_delivery.engine.sandbox import Chain, Outcome, Sandbox
from secure_delivery.engine.settings import Settings
from secure_delivery.engine.sources import SourceFile
from secure_delivery.gate.errors import NotFound, TooLarge
from secure_delivery.gate.model import Limits
from secure_delivery.gate.taskurl import parse

WIDTH, HEIGHT = 2400, 1800


class Noting:
    """A sandbox that notes what each chain started from: the file, or a copy that stands for it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.running = True
        self.chains: list[str] = []
        self.before: Callable[[], None] = lambda: None

    def run(self, chain: Chain) -> Outcome:
        self.chains.append(f"{chain.tasks[0][0]} {'copy' if chain.original else 'file'}")
        self.before()
        return self._sandbox.run(chain)


class Studio:
    """An engine with the picture tasks, one application, and results without copies to compare with."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.engine: Engine = build(Settings.read({"data": str(data), "decoders": 2}))
        self.engine.start()
        self.noting = Noting(self.engine.sandbox)
        self.renditions = self._made(Copies(self.engine.registry))
        self.direct = self._made(None)
        self.application, _ = self.engine.records.create_application("test")

    def _made(self, copies: Copies | None) -> Renditions:
        store = self.engine.renditions.store
        budget = Budget(store, limit=2**30, days=30, clock=self.engine.clock)
        return Renditions(
            self.engine.records,
            store,
            budget,
            self.noting,  # type: ignore[arg-type]
            work=self.data / "work",
            clock=self.engine.clock,
            copies=copies,
        )

    def put(self, data: bytes, filename: str = "a.jpg") -> FileLink:
        with self.engine.files.begin(self.application, Target(filename=filename)) as upload:
            upload.write(data)
            return self.engine.files.add(self.application, upload)

    def get(self, link: FileLink, chain: str, renditions: Renditions | None = None) -> Rendition:
        application = self.engine.records.application(link.application)
        assert application is not None
        plan = bind(self.engine.registry, parse(f"/{chain}/{link.handle}").tasks)
        return (renditions or self.renditions).get(application, [SourceFile.stored(link, self.engine.files)], plan)

    def picture(self, rendition: Rendition) -> Image.Image:
        with self.engine.renditions.open(rendition) as stream:
            return Image.open(io.BytesIO(stream.read()))

    def copies(self) -> list[Path]:
        return list((self.data / "renditions").rglob("copy-*"))

    def chains(self) -> list[str]:
        """What was run since the last question."""
        done, self.noting.chains = self.noting.chains, []
        return done


def photograph(mode: str = "RGB", size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """Gradients, edges and noise of a photograph."""
    bands = [Image.linear_gradient("L").resize(size), Image.radial_gradient("L").resize(size)]
    picture = Image.merge("RGB", (bands[0], bands[1], ImageChops.invert(bands[0])))
    drawn = ImageDraw.Draw(picture)
    for number in range(120):
        x, y, wide = number * 977 % size[0], number * 1361 % size[1], 40 + number * 53 % 500
        colour = number * 37 % 256, number * 91 % 256, number * 151 % 256
        drawn.polygon([(x, y), (x + wide, y + wide // 3), (x + wide // 2, y + wide)], colour)
    picture = picture.filter(ImageFilter.GaussianBlur(1.5))  # no lens draws an edge within one pixel
    noise = Image.merge("RGB", [Image.effect_noise(size, 16) for _ in range(3)])
    picture = Image.blend(picture, noise, 0.3)
    if mode == "RGBA":
        picture.putalpha(bands[1])
    return picture


def encoded(picture: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def photo() -> bytes:
    return encoded(photograph(), "JPEG", quality=92)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    studio = Studio(tmp_path_factory.mktemp("copies") / "data")
    yield studio
    studio.engine.close()


@pytest.fixture
def studio(running: Studio) -> Iterator[Studio]:
    yield running
    for link in running.engine.records.files(running.application.api_key):
        running.engine.files.remove(link)
    running.engine.records.update_application(running.application.api_key, limits=Limits())
    running.chains()


def test_the_second_result_makes_a_copy_and_those_after_it_start_from_it(studio: Studio, photo: bytes) -> None:
    link = studio.put(photo)
    studio.get(link, "resize=width:300")
    assert (studio.chains(), studio.copies()) == (["resize file"], [])
    studio.get(link, "resize=width:400")
    assert studio.chains() == ["imagesize file", "resize file", "resize copy"]
    assert len(studio.copies()) == 1
    assert studio.picture(studio.get(link, "resize=width:200,height:200,fit:crop/output=format:webp")).size == (200, 200)
    assert studio.chains() == ["resize copy"]


def test_a_result_from_a_copy_loses_nothing_that_is_seen(studio: Studio) -> None:
    """Of a picture of 12 megapixels: at most 0.1 dB against one that a full decoding of the file gives."""
    photo = encoded(photograph(size=(4000, 3000)), "JPEG", quality=92)
    link, compared = studio.put(photo), studio.put(photo)
    original = Image.open(io.BytesIO(photo))
    studio.get(link, "resize=width:100")
    for width in (120, 300, 600, 800):
        exact = original.resize((width, width * 3 // 4), Image.Resampling.LANCZOS)
        chain = f"resize=width:{width}/output=format:jpg,quality:80"
        ours = studio.picture(studio.get(link, chain))
        direct = studio.picture(studio.get(compared, chain, studio.direct))
        assert studio.chains()[-2:] == ["resize copy", "resize file"]
        assert ours.size == direct.size == exact.size
        assert decibels(ours, exact) > decibels(direct, exact) - 0.1, width


def decibels(picture: Image.Image, reference: Image.Image) -> float:
    """How near a picture is to another: peak signal to noise."""
    squares = ImageStat.Stat(ImageChops.difference(picture.convert("RGB"), reference.convert("RGB"))).sum2
    return 10 * math.log10(255**2 * 3 * picture.width * picture.height / sum(squares))


@pytest.mark.parametrize(
    "chain",
    ["resize=width:801", "crop=dim:[0,0,500,500]/resize=width:100", "rotate=deg:30/resize=width:100", "flip", "imagesize"],
)
def test_a_chain_that_needs_the_file_itself_gets_it(studio: Studio, photo: bytes, chain: str) -> None:
    link = studio.put(photo)
    studio.get(link, "resize=width:300")
    studio.get(link, "resize=width:200")
    studio.chains()
    studio.get(link, chain)
    assert [each for each in studio.chains() if each.endswith("copy")] == []


def test_a_small_picture_gets_no_copy(studio: Studio) -> None:
    link = studio.put(encoded(photograph().resize((1300, 975)), "JPEG", quality=98))
    for width in (300, 200, 100):
        studio.get(link, f"resize=width:{width}")
    assert studio.copies() == []
    assert studio.chains().count("imagesize file") == 1


@pytest.mark.parametrize(
    ("form", "mode", "options"),
    [("PNG", "RGBA", {"compress_level": 1}), ("WEBP", "RGBA", {"method": 0, "quality": 95}), ("AVIF", "RGB", {"speed": 10})],
)
def test_a_copy_keeps_format_and_transparency(studio: Studio, form: str, mode: str, options: dict[str, int]) -> None:
    link = studio.put(encoded(photograph(mode), form, **options), f"a.{form.lower()}")
    first = studio.picture(studio.get(link, "resize=width:300"))
    second = studio.picture(studio.get(link, "resize=width:299"))
    assert studio.chains()[-1] == "resize copy"
    assert (second.format, second.mode, second.size) == (first.format, first.mode, (299, 224))
    if mode == "RGBA":
        assert second.getchannel("A").getextrema()[0] < 20


def test_what_moves_still_moves_when_it_comes_from_a_copy(studio: Studio) -> None:
    frames = [photograph().resize((1700, 1275)).rotate(angle) for angle in (0, 180)]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], method=0, quality=95)
    link = studio.put(data, "a.webp")
    moves = [getattr(studio.picture(studio.get(link, f"resize=width:{width}")), "n_frames", 1) for width in (300, 200, 100)]
    assert moves == [2, 2, 2]


def test_the_limit_on_pixels_is_that_of_the_picture_and_not_of_its_copy(studio: Studio, photo: bytes) -> None:
    link = studio.put(photo)
    studio.get(link, "resize=width:300")
    studio.get(link, "resize=width:200")
    studio.engine.records.update_application(studio.application.api_key, limits=Limits(max_pixels=WIDTH * HEIGHT - 1))
    with pytest.raises(TooLarge):
        studio.get(link, "resize=width:100")


def test_copies_count_but_are_no_results_and_go_with_their_file(studio: Studio, photo: bytes) -> None:
    link = studio.put(photo)
    made = [studio.get(link, f"resize=width:{width}") for width in (300, 200)]
    assert studio.engine.renditions.of(link.application, link.handle) == made
    kept = studio.engine.renditions.kept(link.application)
    assert (kept.results, kept.copies) == (2, 1)
    assert kept.size > studio.copies()[0].stat().st_size
    studio.engine.files.remove(link)
    assert studio.copies() == []


def test_a_file_that_is_removed_while_its_copy_is_made_leaves_none(studio: Studio, photo: bytes) -> None:
    link = studio.put(photo)
    studio.get(link, "resize=width:300")
    studio.chains()

    def removing() -> None:
        if studio.noting.chains[-1] == "resize file":  # this makes the copy
            studio.engine.files.remove(link)

    studio.noting.before = removing
    try:
        with pytest.raises(NotFound):
            studio.get(link, "resize=width:200")
    finally:
        studio.noting.before = lambda: None
    assert "resize file" in studio.noting.chains
    assert studio.copies() == []
    assert studio.engine.renditions.kept(link.application).size == 0


def test_of_many_sizes_asked_for_at_once_all_share_one_copy(studio: Studio, photo: bytes) -> None:
    link = studio.put(photo)
    studio.get(link, "resize=width:300")
    studio.chains()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda width: studio.get(link, f"resize=width:{width}"), range(101, 109)))
    chains = studio.chains()
    assert chains.count("resize file") == 1, "the copy itself"
    assert chains.count("resize copy") == 8


def test_a_picture_that_is_none_says_so_itself(studio: Studio) -> None:
    link = studio.put(b"\xff\xd8\xff\xe0" + b"no picture" * 60_000)
    faults = set()
    for width in (300, 200):
        with pytest.raises(Exception) as caught:
            studio.get(link, f"resize=width:{width}")
        faults.add((caught.type, str(caught.value)))
    assert len(faults) == 1
    assert studio.copies() == []
