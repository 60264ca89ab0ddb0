"""The suite of queues holds for honest ones and fails for what breaks the contract, each fault by the test meant for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from secure_delivery.plugin.testing import QueueContract

PLACE = Path(__file__).parent / "queues_to_try.py"


class TestThreads(QueueContract):
    queue = f"{PLACE}:threads"


class TestFolder(QueueContract):
    queue = f"{PLACE}:folder"
    shared = True

    def make_settings(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"place": str(tmp_path / "queue")}


class _Broken(QueueContract):
    queue = f"{PLACE}:broken"
    patience = 2.5  # what never comes is waited for so long

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def make_settings(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"kind": self.kind}


BROKEN = [
    ("Silent", "test_it_announces_and_serves", "Serving"),
    ("Light", "test_an_announced_id_is_run", "one-heavy"),
    ("Shouting", "test_an_announced_id_is_run", "one-light"),
    ("Lossy", "test_many_ids_are_all_run", "many-007"),
    ("Greedy", "test_as_many_run_at_once_as_may_and_no_more", "no more than concurrency"),
    ("Single", "test_as_many_run_at_once_as_may_and_no_more", "began"),
    ("Fragile", "test_a_run_that_raises_stops_no_other", "raised"),
    ("Hasty", "test_a_delay_is_kept", "no earlier"),
    ("Once", "test_the_same_id_may_be_announced_twice", "last"),
    ("Abandoning", "test_told_to_stop_it_finishes_what_it_began", "does not end a worker"),
    ("Dying", "test_told_to_stop_it_finishes_what_it_began", "does not end a worker"),
    ("Dying", "test_told_to_stop_while_idle_it_returns", "returned"),
    ("Stubborn", "test_told_to_stop_while_idle_it_returns", "returned"),
    ("Threads", "test_an_announcement_of_another_process_arrives", "elsewhere-0"),
]


@pytest.mark.parametrize(("kind", "caught_by", "says"), BROKEN, ids=[f"{kind}-{test}" for kind, test, _ in BROKEN])
def test_a_broken_queue_fails_the_suite(kind: str, caught_by: str, says: str, tmp_path: Path) -> None:
    suite = _Broken(kind)
    suite.shared = True
    with pytest.raises(AssertionError, match=says):
        getattr(suite, caught_by)(tmp_path)


def test_every_test_of_the_suite_catches_something() -> None:
    tests = {name for name in dir(QueueContract) if name.startswith("test_")}
    assert tests == {caught_by for _, caught_by, _ in BROKEN}


def test_a_queue_is_found_by_its_registered_name_or_the_process_says_why_not(tmp_path: Path) -> None:
    class Nowhere(QueueContract):
        queue = "no_such_queue"

    with pytest.raises(AssertionError, match="no_such_queue"):
        Nowhere().test_it_announces_and_serves(tmp_path)
