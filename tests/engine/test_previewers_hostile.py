"""A previewer that misbehaves loses its own attempt and nothing else: the file gets a picture, others go on, the pool stays."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from secure_delivery.engine import confine
from secure_delivery.engine.preview_order import PreviewOrder, Size
from secure_delivery.engine.previews import LocalFile, Previewed, Previews
from secure_delivery.engine.sandbox import PluginChoice, Sandbox
from secure_delivery.gate.model import Application, Limits, SecretRing
from secure_delivery.plugin import WorkLimits
from secure_delivery.plugin.manager import load

HOSTILE = Path(__file__).parent / "hostile"
pytestmark = pytest.mark.skipif(not confine.LINUX, reason="confinement is only there on Linux")

LIMITS = WorkLimits(seconds=6.0, cpu_seconds=2, memory=600_000_000, bytes=20_000_000)
APPLICATION = Application(secrets=SecretRing(secrets=()), api_key="AHostile", limits=Limits(max_pages=20))
OTHER = Application(secrets=SecretRing(secrets=()), api_key="AOther")
SIZES = (Size(24, 0, False, "24"),)

CORRUPT, LIMIT, LATE, UNSUPPORTED = "corrupt", "processing_limit", "timed_out", "unsupported"
#: How each of them ends, as the result of the job says it.
ENDS = {
    "segfault": CORRUPT,
    "leave": CORRUPT,
    "abort": CORRUPT,
    "spin": LIMIT,
    "sleep": LATE,
    "hog": LIMIT,
    "hog_by_libc": CORRUPT,
    "recurse": CORRUPT,
    "deep": CORRUPT,
    "exits": CORRUPT,
    "flood": CORRUPT,
    "endless": CORRUPT,
    "same_page": CORRUPT,
    "unasked": CORRUPT,
    "negative": CORRUPT,
    "locked": "encrypted",
    "none": CORRUPT,
    "a_number": CORRUPT,
    "a_page": CORRUPT,
    "yields_none": CORRUPT,
    "yields_text": CORRUPT,
    "yields_media": CORRUPT,
    "yields_no_media": CORRUPT,
    "yields_no_picture": UNSUPPORTED,
    "yields_a_lie": CORRUPT,
    "yields_text_numbers": CORRUPT,
    "probe_raises": CORRUPT,
    "probe_crashes": CORRUPT,
}
#: Those that try what they may not do, and draw their page because nothing of it worked.
HARMLESS = ("writes", "reads", "connects", "forks", "kills", "chatty")


class Bench:
    """Two places for jobs, with the hostile plugin in both."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        sys.path.insert(0, str(HOSTILE))
        try:
            import previewers_hostile
        finally:
            sys.path.remove(str(HOSTILE))
        self.module = previewers_hostile
        self.sandbox = sandbox
        self.folder = folder
        self.previews = Previews(load(extra={"previewers_hostile": previewers_hostile}), sandbox, None)

    def make(
        self, name: str, application: Application = APPLICATION, *, pages: str = "1", sections: tuple[str, ...] = ()
    ) -> Previewed:
        scratch = self.folder / f"{name}-{threading.get_ident()}"
        scratch.mkdir(exist_ok=True)
        path = scratch / "source"
        path.write_bytes(b"some file")
        file = LocalFile(path=path, mimetype=f"application/x-{name.replace('_', '-')}", filename=f"file.{name}", size=9)
        order = PreviewOrder(sizes=SIZES, format="png", pages=pages, metadata=sections)
        made = self.previews.make(application, file, order, scratch)
        for picture in made.pictures:
            assert b"".join(picture.read()).startswith(b"\x89PNG\r\n\x1a\n")
        return made

    def workers(self) -> list[int]:
        return [place._worker.process.pid for place in self.sandbox._places if place._worker is not None]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One pool for the whole module: what one of them does to it, the next would notice."""
    choice = PluginChoice(extra=["previewers_hostile"], path=[str(HOSTILE)], warm=["preview:steady", "preview:icon"])
    with Sandbox(2, plugins=choice, limits=LIMITS) as sandbox:
        yield Bench(sandbox, tmp_path_factory.mktemp("jobs"))


class Neighbour:
    """Honest jobs of another application, one after the other, for as long as it is there."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._enough = threading.Event()
        self._begun = threading.Event()
        self.made: list[Previewed] = []
        self.failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        while not self._enough.is_set() or not self.made:
            self._begun.set()
            try:
                self.made.append(self._bench.make("steady", OTHER))
            except BaseException as error:
                self.failed.append(error)
                return

    def __enter__(self) -> Neighbour:
        self._thread.start()
        self._begun.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()


def test_every_one_of_them_is_tried_here(bench: Bench) -> None:
    tried = {*ENDS, *HARMLESS, "steady"}
    assert tried == set(bench.module.register_previewers())


@pytest.mark.parametrize("name", ENDS)
def test_a_hostile_previewer_ends_in_its_fault_a_stand_in_is_drawn_and_nobody_else_is_hurt(bench: Bench, name: str) -> None:
    before = bench.workers()
    with Neighbour(bench) as neighbour:
        made = bench.make(name, pages="all" if name == "endless" else "1")
    (fault,) = made.faults
    assert fault["previewer"] == name
    # On a machine that is busy with other things, wall time may be over before CPU time is.
    assert fault["code"] == ENDS[name] or (name == "spin" and fault["code"] == LATE)
    assert made.previewer == "icon" and len(made.pictures) == 1, "there is always a picture"
    assert fault["message"].endswith(".") and "/" not in fault["message"], "a sentence, and no path"
    assert neighbour.failed == []
    assert all(one.previewer == "steady" and one.faults == () for one in neighbour.made)
    assert bench.workers() == before, "the pool is the one it was"


@pytest.mark.parametrize("name", HARMLESS)
def test_what_a_previewer_may_not_do_it_cannot(bench: Bench, name: str) -> None:
    before = bench.workers()
    with Neighbour(bench) as neighbour:
        made = bench.make(name)
    assert made.faults == () and made.previewer == name, "everything it tried was refused, so it drew its page"
    assert neighbour.failed == []
    assert bench.workers() == before
    assert not Path("/tmp/previewers_hostile_was_here").exists()
    assert not Path("~/previewers_hostile_was_here").expanduser().exists()


@pytest.mark.parametrize(
    ("section", "code"),
    [
        ("crash_section", CORRUPT),
        ("exit_section", CORRUPT),
        ("huge_section", "too_large"),
        ("nested_section", CORRUPT),
        ("nan_section", CORRUPT),
        ("bytes_section", CORRUPT),
    ],
)
def test_a_hostile_extractor_loses_its_section_and_nothing_else(bench: Bench, section: str, code: str) -> None:
    made = bench.make("steady", sections=(section, "honest_section"))
    assert made.previewer == "steady" and len(made.pictures) == 1
    assert made.sections == {section: None, "honest_section": {"n": 1}}
    assert {name: problem["code"] for name, problem in made.problems.items()} == {section: code}


def test_all_of_them_at_once_leave_a_pool_that_works(bench: Bench) -> None:
    """Every quick one from many threads, while honest jobs go on."""
    quick = [name for name in ENDS if name not in ("spin", "sleep", "flood", "hog", "hog_by_libc", "deep")]
    results: dict[str, str] = {}
    before = bench.workers()

    def run(name: str) -> None:
        results[name] = bench.make(name).faults[0]["code"]

    with Neighbour(bench) as neighbour:
        threads = [threading.Thread(target=run, args=(name,)) for name in quick]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == {name: ENDS[name] for name in quick}
    assert neighbour.failed == []
    assert bench.workers() == before
