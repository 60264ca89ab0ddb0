"""Chains as somebody types them: read like addresses, and written so that they are read again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_delivery.engine import tryout
from secure_delivery.engine.tryout import BadTask, Typed
from secure_delivery.gate.errors import BadRequest, TaskURLError
from secure_delivery.gate.tasksource import SourceKind
from secure_delivery.gate.taskurl import Task
from secure_delivery.gate.taskvalues import read_task
from secure_delivery.plugin.manager import Registry, load


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load(settings={"builtin": {"root": "files"}})


_TEXT = st.text('abz09 ,:/=[]"%.-+~é鸟#?', min_size=1, max_size=12)
_VALUE = _TEXT | st.lists(_TEXT | st.lists(_TEXT, min_size=1, max_size=2).map(tuple), min_size=1, max_size=3).map(tuple)
_OPTIONS = st.dictionaries(st.sampled_from("abcd"), _VALUE, max_size=3).map(lambda found: tuple(found.items()))
_TASK = st.builds(Task, name=st.sampled_from(["resize", "flip", "a_b9"]), options=_OPTIONS)


@given(tasks=st.lists(_TASK, max_size=4))
def test_a_chain_that_is_written_is_read_again(tasks: list[Task]) -> None:
    try:
        text = tryout.text_of(tasks)
        typed = tryout.typed_of(text)
    except TaskURLError:  # too long, or nested too deep: no address has it either
        return
    assert [one.name for one in typed] == [task.name for task in tasks]
    for one, task in zip(typed, tasks, strict=True):
        for key, value in task.options:
            if isinstance(value, str):
                assert one.options[key] == value
            elif '"' not in repr(value):  # a quote inside a list can be written in JSON only
                assert read_task(f"t=o:{one.options[key]}").get("o") == value
        assert len(one.options) == len(task.options)


@pytest.mark.parametrize(
    ("name", "options", "value"),
    [
        ("resize", {"w": "300"}, "300"),
        ("resize", {"align": "[top,left]", "width": "3"}, ("top", "left")),
        ("crop", {"dim": "[1,2,3,4]"}, ("1", "2", "3", "4")),
        ("partial_blur", {"objects": "[[1,2,3,4],[5,6,7,8]]"}, (("1", "2", "3", "4"), ("5", "6", "7", "8"))),
        ("text_sentiment", {"text": "[all is well]"}, "[all is well]"),
        ("text_sentiment", {"text": 'Hello, "world": /a b/'}, 'Hello, "world": /a b/'),
        ("watermark", {"file": "https://example.org/a,b.png?x=1"}, "https://example.org/a,b.png?x=1"),
    ],
    ids=["alias", "list", "numbers", "lists", "brackets", "quotes", "address"],
)
def test_a_value_is_what_was_typed(registry: Registry, name: str, options: dict[str, str], value: object) -> None:
    try:
        [task] = tryout.tasks_of(registry, [Typed(name=name, options=options)])
    except BadTask as fault:
        assert "needs a plugin" in fault.public
        return
    assert value in [found for _, found in task.options]
    [again] = tryout.typed_of(tryout.text_of([task]))
    assert tryout.tasks_of(registry, [again]) == (task,)


@pytest.mark.parametrize(
    ("typed", "number", "option"),
    [
        ([Typed(name="flip"), Typed(name="resize", options={"width": "x"})], 1, "width"),
        ([Typed(name="resize", options={"width": "3,height:3"})], 0, "width"),
        ([Typed(name="resize", options={"width": "[3],height:[3]"})], 0, "width"),
        ([Typed(name="flip/flop")], 0, ""),
        ([Typed(name="security")], 0, ""),
        ([Typed(name="cache", options={"expiry": "3"})], 0, ""),
    ],
    ids=["value", "smuggled", "smuggled list", "two", "security", "control"],
)
def test_what_is_wrong_is_told_with_its_place(registry: Registry, typed: list[Typed], number: int, option: str) -> None:
    with pytest.raises(BadTask) as caught:
        tryout.tasks_of(registry, typed)
    assert (caught.value.number, caught.value.option) == (number, option)


def test_sources_are_handles_and_addresses() -> None:
    handle, other = "a" * 21, "b" * 21
    assert tryout.source_of("  ") is None
    one = tryout.source_of(handle)
    assert one is not None
    assert one.kind is SourceKind.HANDLE
    several = tryout.source_of(f"{handle},{other} https://example.org/a,b.png")
    assert several is not None
    assert [each.text for each in several.items] == [handle, other, "https://example.org/a,b.png"]
    for wrong in ("x", "src://alias/x", "wf://x", "ftp://example.org/", "https://user@example.org/", " ".join([handle] * 101)):
        with pytest.raises(BadRequest):
            tryout.source_of(wrong)
