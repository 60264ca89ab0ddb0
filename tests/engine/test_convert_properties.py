"""Binding against any chain: whatever is asked of the installed tasks, it is a plan or a refusal of the fault tree."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_delivery.engine.controls import CONTROLS
from secure_delivery.engine.convert import bind, negotiate
from secure_delivery.gate.errors import NotProvided, TaskURLError
from secure_delivery.gate.taskurl import Task, Value
from secure_delivery.plugin.manager import Registry, load

REGISTRY: Registry = load(settings={"builtin": {"root": "files"}})
TASKS = sorted({*REGISTRY.transformations, *CONTROLS, "security", "debug", "video_convert"})
OPTIONS = sorted(
    {
        name
        for params in [*(found.params for found in REGISTRY.transformations.values()), *CONTROLS.values()]
        for param in params
        for name in (param.name, *param.aliases)
    }
)
ODD = [
    "",
    "0",
    "-1",
    "1",
    "1e9",
    "1.5",
    "nan",
    "inf",
    "١",
    "9" * 400,
    "true",
    "max",
    "exif",
    "red",
    "ffffff",
    "[",
    '"',
    "\u202e",
]
REFERENCES = ["A" * 20, "http://a.example/x", "https://[", "src://a/b", "wf://a", "b64://!", "[" + "A" * 20 + "]", "http:///"]
LEAVES = st.sampled_from([*ODD, *REFERENCES]) | st.text(max_size=12) | st.integers(-5, 20_000).map(str)
VALUES: st.SearchStrategy[Value] = LEAVES | st.lists(
    LEAVES | st.lists(LEAVES, min_size=1, max_size=4).map(tuple), min_size=1, max_size=5
).map(tuple)


def tasks(names: list[str]) -> st.SearchStrategy[Task]:
    return st.builds(
        Task,
        name=st.sampled_from(names),
        options=st.dictionaries(st.sampled_from(OPTIONS) | st.just("") | st.text(max_size=5), VALUES, max_size=4).map(
            lambda options: tuple(options.items())
        ),
    )


@settings(max_examples=600, deadline=None)
@given(st.lists(tasks(TASKS), max_size=4), st.sampled_from(["", "*/*", "image/avif", ",;q=", "\x00"]))
def test_any_chain_is_a_plan_or_a_refusal_with_a_sentence(chain: list[Task], accept: str) -> None:
    try:
        plan = negotiate(REGISTRY, bind(REGISTRY, chain), accept)
    except (TaskURLError, NotProvided) as fault:
        assert fault.public and len(fault.public) < 2000
        return
    assert json.loads(plan.canonical)
    assert plan.calls and plan.most_sources >= 1


@pytest.mark.parametrize("name", sorted(REGISTRY.transformations))
def test_every_task_names_itself_and_its_options_in_a_refusal(name: str) -> None:
    with pytest.raises(TaskURLError) as refusal:
        bind(REGISTRY, [Task(name=name, options=(("no_such_option", "1"),))])
    assert name in refusal.value.public and "'no_such_option'" in refusal.value.public
    for param in REGISTRY.transformations[name].params:
        assert param.name in refusal.value.public


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(REGISTRY.transformations)).flatmap(lambda name: tasks([name])))
def test_the_order_of_options_never_changes_the_plan(task: Task) -> None:
    turned = Task(name=task.name, options=tuple(reversed(task.options)))
    try:
        plan = bind(REGISTRY, [task])
    except (TaskURLError, NotProvided):
        with pytest.raises((TaskURLError, NotProvided)):
            bind(REGISTRY, [turned])
        return
    assert bind(REGISTRY, [turned]).canonical == plan.canonical
