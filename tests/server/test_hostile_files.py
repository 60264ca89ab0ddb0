"""Hostile files over the real server: each ends in a clean refusal or comes out harmless, and the next request is fine.

With every change each file goes through a few chains; `SECURE_DELIVERY_TEST_HOSTILE=all` tries all that make sense for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hostile_files import CHAINS, FAMILIES, REFUSALS, Hostile
from hostile_office import DOCUMENTS  # with the PDF files before them
from hostile_pictures import PICTURES
from hostile_texts import DRAWINGS, TEXTS
from hostile_world import LATE, World, world
from live import Reply

from secure_delivery.engine import confine
from secure_delivery.engine.programs import find
from secure_delivery.plugin import manager

pytestmark = pytest.mark.skipif(not confine.LINUX, reason="decoders are only confined on Linux")

CORPUS = [hostile for corpus in (PICTURES, DRAWINGS, DOCUMENTS, TEXTS) for hostile in corpus.files]
FULL = os.environ.get("SECURE_DELIVERY_TEST_HOSTILE") == "all"


def without_office() -> str | None:
    program = manager.load().programs.get("office")
    return None if program is None or find(program) is not None else f"no LibreOffice: {program.install}"


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("hostile")) as made:
        made.still_good()
        yield made


@pytest.fixture(scope="module")
def most(around: World) -> int:
    """How many processes there are below a server that has just worked."""
    around.still_good()
    return len(around.processes())


def judged(around: World, hostile: Hostile, chain: str, reply: Reply) -> str:
    """How a try ended: `200`, or the code of a refusal, either of them looked through."""
    if reply.status == 200:
        around.check_result(hostile, chain, reply)
        return "200"
    around.check_refusal(reply)
    return reply.code


def tried(around: World, hostile: Hostile, chains: list[str], most: int) -> dict[str, str]:
    """Put a file into the server and its chains through it, with a look around after each; how each ended."""
    link = around.put(hostile)
    ends = {}
    for chain in chains:
        before = around.left()
        reply, seconds = around.ask(chain, link)
        # Which of the limits was reached first, wall time or processor time, is the machine's business.
        ends[chain] = judged(around, hostile, chain, reply).replace("timed_out", "processing_limit")
        assert seconds <= LATE, chain
        assert list((around.server.data / "work").iterdir()) == [], chain
        if ends[chain] in REFUSALS:
            assert around.left() == before, chain
        around.still_good()
    assert around.settled(most) == {}
    assert around.canary.connections == 0
    return ends


@pytest.mark.parametrize("hostile", CORPUS, ids=[hostile.name for hostile in CORPUS])
def test_a_hostile_file_ends_in_a_clean_answer_and_the_pool_is_intact(around: World, most: int, hostile: Hostile) -> None:
    if hostile.office and (why := without_office()):
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    ends = tried(around, hostile, list(hostile.tries), most)
    assert {chain: end for chain, end in ends.items() if end not in hostile.tries[chain]} == {}


@pytest.mark.skipif(not FULL, reason="takes long; SECURE_DELIVERY_TEST_HOSTILE=all tries every file with every chain")
@pytest.mark.parametrize("hostile", CORPUS, ids=[hostile.name for hostile in CORPUS])
def test_a_hostile_file_ends_cleanly_in_every_chain(around: World, most: int, hostile: Hostile) -> None:
    chains = [chain for chain in FAMILIES[hostile.family] if chain not in hostile.tries]
    ends = tried(around, hostile, chains, most)
    assert set(ends.values()) <= {*REFUSALS, "200"}


def test_the_corpus_is_what_it_says() -> None:
    """Names are unique, no family is forgotten, and every chain is used."""
    assert len({hostile.name for hostile in CORPUS}) == len(CORPUS) >= 80
    assert {hostile.family for hostile in CORPUS} == set(FAMILIES)
    assert {chain for hostile in CORPUS for chain in hostile.tries} == set(CHAINS)
