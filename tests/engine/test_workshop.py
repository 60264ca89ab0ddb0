"""What a chain is handed in a confined child, and who gets the same child again."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from secure_delivery.engine import confine
from secure_delivery.engine.sandbox import MAX_SOURCES, Chain, ChainSource, PluginChoice, Sandbox
from secure_delivery.gate.errors import Corrupt, NotProvided
from secure_delivery.plugin.protocols import WorkLimits

PLUGIN = PluginChoice(extra=["programs_hostile"], path=[str(Path(__file__).parent / "hostile")], warm=[])
LIMITS = WorkLimits(seconds=10.0, cpu_seconds=6, memory=900_000_000, bytes=5_000_000)
Source = tuple[str, str, str]

linux = pytest.mark.skipif(not confine.LINUX, reason="who is whose child is asked of /proc")


class Runner:
    """Runs one task; what it made, which is JSON."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def __call__(
        self,
        task: str,
        options: Mapping[str, Any] | None = None,
        *,
        sources: Sequence[Source] = (("text/plain", "name.txt", "some text"),),
        application: str = "one",
        **more: Any,
    ) -> Any:
        with ExitStack() as stack:
            files = []
            for mimetype, filename, text in sources:
                file = stack.enter_context(tempfile.TemporaryFile())
                file.write(text.encode())
                file.flush()
                files.append(ChainSource(file.fileno(), mimetype, filename))
            output = stack.enter_context(tempfile.TemporaryFile())
            chain = Chain(tasks=[(task, options or {})], sources=files, output=output.fileno(), application=application, **more)
            self.sandbox.run(chain)
            output.seek(0)
            return json.loads(output.read())

    def pid(self, application: str = "one") -> int:
        return int(self("keep", application=application)["pid"])


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(1, plugins=PLUGIN, limits=LIMITS, scratch=tmp_path_factory.mktemp("place")) as sandbox:
        yield sandbox


@pytest.fixture
def run(sandbox: Sandbox) -> Runner:
    """A runner whose first job gets a fresh child."""
    runner = Runner(sandbox)
    runner.pid("")
    return runner


# --------------------------------------------------------------------------------------------- who gets the child again


def test_jobs_of_one_application_share_a_child_and_those_of_others_do_not(run: Runner) -> None:
    first = run.pid("one")
    assert run.pid("one") == first
    second = run.pid("two")
    assert second != first
    assert run.pid("one") not in (first, second), "the first child is gone, not waiting"


def test_jobs_of_no_application_never_share(run: Runner) -> None:
    assert len({run.pid("") for _ in range(3)}) == 3


def test_nothing_of_a_job_is_seen_by_one_of_another_application(run: Runner) -> None:
    keep = [(("text/plain", "a", text),) for text in ("first", "second", "third")]
    assert run("keep", sources=keep[0], application="one")["kept"] == []
    assert run("keep", sources=keep[1], application="two")["kept"] == []
    assert run("keep", sources=keep[2], application="one")["kept"] == [], "nor when the first comes again"
    assert run("keep", sources=keep[0], application="one")["kept"] == ["third"], "the child is shared indeed"


def test_after_a_fault_the_next_job_gets_a_fresh_child(run: Runner) -> None:
    first = run.pid()
    with pytest.raises(NotProvided):
        run("detect", {"name": "nobody"})
    second = run.pid()
    assert second != first
    with pytest.raises(Corrupt):
        run("say", {"texts": ["[]"]})
    assert run.pid() not in (first, second)


def test_a_child_that_used_much_time_or_memory_or_did_many_jobs_is_replaced(run: Runner) -> None:
    first = int(run("use", {"cpu": 0.1})["pid"])
    assert run("use", {"cpu": 4.1})["pid"] == first
    second = int(run("use", {"memory": 1000})["pid"])
    assert second != first
    assert run("use", {"memory": 500_000_000})["pid"] == second
    pids = [run.pid() for _ in range(66)]
    assert pids[0] != second
    assert pids.count(pids[0]) == 64


@linux
def test_a_job_after_others_has_the_whole_of_its_processor_time(run: Runner) -> None:
    """What earlier jobs of the same child used up is not taken from the next: six seconds are the limit of one."""
    first = run("use", {"cpu": 2.5})["pid"]
    assert run("use", {"cpu": 4.5})["pid"] == first


@linux
def test_a_child_that_nobody_asks_anything_ends_by_itself(run: Runner) -> None:
    pid = run.pid()
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < end
        threading.Event().wait(0.05)
    assert run.pid() != pid


@linux
def test_a_child_killed_while_idle_costs_no_job(run: Runner) -> None:
    first = run.pid()
    os.kill(first, signal.SIGKILL)
    while Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        os.sched_yield()
    assert run.pid() != first


def test_a_report_that_was_made_up_ahead_is_not_taken_for_the_next_job(run: Runner) -> None:
    with pytest.raises(ValueError, match="Expecting value"):  # it made nothing, and said it did
        run("ahead")
    made = run("keep", sources=(("text/plain", "a", "x"),))
    assert made["kept"] == []


# --------------------------------------------------------------------------------------------------- what it is handed


def test_a_chain_is_handed_everything_that_goes_with_it(run: Runner) -> None:
    sources = [("text/plain", "first.txt", "1"), ("image/png", "second.png", "2"), ("text/css", "", "3")]
    told = run("tell", sources=sources, metadata="copyright", original=(4000, 3000), max_animation_pixels=77)
    assert told == {
        "first": ["text/plain", "first.txt", "1"],
        "others": [["image/png", "second.png", "2"], ["text/css", "", "3"]],
        "metadata": "copyright",
        "original": [4000, 3000],
        "animation_pixels": 77,
    }
    told = run("tell", max_animation_pixels=10**15)
    assert (told["others"], told["metadata"], told["original"]) == ([], "none", None)
    assert told["animation_pixels"] == LIMITS.animation_pixels, "limits are lowered, never raised"


def test_two_hundred_sources_fit_and_one_more_does_not(run: Runner) -> None:
    sources = [("text/plain", f"{number}", str(number)) for number in range(MAX_SOURCES)]
    assert [other[2] for other in run("tell", sources=sources)["others"]] == [str(number) for number in range(1, MAX_SOURCES)]
    with pytest.raises(ValueError, match="1 to 200"):
        run("tell", sources=[*sources, sources[0]])
    with pytest.raises(ValueError, match="1 to 200"):
        run("tell", sources=[])


def test_a_detector_is_asked_in_the_child_with_options_and_limits(run: Runner) -> None:
    provides, answer = run("detect", {"name": "counting"}, max_bytes=1000)
    assert provides is True
    assert answer == {"length": 9, "options": {"a": 1}, "bytes": 1000}


def test_a_detector_that_nobody_provides_is_a_fault_of_its_own(run: Runner) -> None:
    with pytest.raises(NotProvided, match="'eagle_eyes'"):
        run("detect", {"name": "eagle_eyes"})


# ------------------------------------------------------------------------------------------------ libraries, when needed


def test_what_a_task_loads_late_is_loaded_with_its_first_job_once_outside_the_child(run: Runner) -> None:
    before = run.pid()
    first = run("late")
    assert first["own"] == 1, "it was prepared"
    assert first["asked"] == [1], "and so was the detector that it asks for"
    assert first["pid"] not in (before, *first["by"]), "in the worker: the child there was is replaced"
    second = run("late")
    assert second["by"] == first["by"], "once"
    assert second["pid"] == first["pid"]


def test_what_is_named_is_prepared_at_the_start_and_all_when_nothing_is_said(tmp_path: Path) -> None:
    for warm in (["early"], None):
        with Sandbox(1, plugins=replace(PLUGIN, warm=warm), limits=LIMITS, scratch=tmp_path) as pool:
            run = Runner(pool)
            before = run.pid()
            made = run("early")
            assert made["own"] == 1
            assert made["pid"] == before, "nothing had to be loaded, so the child stayed"
            assert (run("late")["pid"] == before) is (warm is None)
