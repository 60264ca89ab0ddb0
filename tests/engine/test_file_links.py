"""Signed addresses of one file: good for one use of this file, and for nothing else."""

from __future__ import annotations

import pytest

from secure_delivery.engine.file_links import Use, address_of
from secure_delivery.gate.errors import BadRequest
from secure_delivery.gate.model import Application, SecretRing
from secure_delivery.gate.policy import Call, Policy
from secure_delivery.gate.taskurl import parse
from secure_delivery.plugin.manager import load

REGISTRY = load(settings={"builtin": {"root": "files"}})
APPLICATION = Application(secrets=SecretRing.of("a secret that nobody can guess, 32"), api_key="A" * 22)
HANDLE, NOW = "abcdefghijklmnopqrstu", 1_800_000_000.0


@pytest.mark.parametrize(
    ("use", "tasks", "call"),
    [(Use.READ, "", Call.READ), (Use.DOWNLOAD, "", Call.READ), (Use.CONVERT, "resize=width:300/sepia", Call.CONVERT)],
)
def test_the_policy_names_one_file_and_one_use_and_ends(use: Use, tasks: str, call: Call) -> None:
    made = address_of(REGISTRY, APPLICATION, HANDLE, use, tasks=tasks, expires_in=300, now=NOW)
    policy = Policy.decode(made.signed.encoded)
    assert (policy.handle, policy.call, policy.expiry) == (HANDLE, frozenset({call}), made.expiry)
    assert made.expiry == NOW + 300
    assert made.warnings == ()
    assert made.signed.encoded not in repr(made), "what is signed is in no log"


def test_tasks_stand_in_the_address_as_they_were_typed() -> None:
    made = address_of(REGISTRY, APPLICATION, HANDLE, Use.CONVERT, tasks="resize=width:300/sepia", expires_in=300, now=NOW)
    url = parse(made.path)
    assert [task.name for task in url.tasks] == ["resize", "sepia"]
    assert url.signed == made.signed
    assert address_of(REGISTRY, APPLICATION, HANDLE, Use.DOWNLOAD, expires_in=300, now=NOW).path.endswith("&dl=true")


def test_more_than_a_day_is_warned_of() -> None:
    made = address_of(REGISTRY, APPLICATION, HANDLE, Use.READ, expires_in=86_401, now=NOW)
    assert [each.code for each in made.warnings] == ["long"]


@pytest.mark.parametrize(
    "tasks",
    [
        "", "nonsense=a:1", "resize=depth:3", "store", "watermark=file:" + HANDLE, "security=policy:a,signature:b",
        "x" * 9000, "resize=width:300/" + "sepia/" * 200,
    ],
    ids=["none", "unknown", "option", "store", "others", "credential", "long", "many"],
)  # fmt: skip
def test_tasks_that_are_wrong_are_refused(tasks: str) -> None:
    with pytest.raises(BadRequest):
        address_of(REGISTRY, APPLICATION, HANDLE, Use.CONVERT, tasks=tasks, expires_in=300, now=NOW)
