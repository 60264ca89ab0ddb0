"""From the text of a URL to a plan: every spelling of the same work has one name, everything else is refused with help."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_delivery.engine.convert import bind
from secure_delivery.gate.errors import TaskURLError
from secure_delivery.gate.taskurl import parse
from secure_delivery.plugin.hookspecs import hookimpl
from secure_delivery.plugin.manager import load
from secure_delivery.plugin.params import REQUIRED, Param, boolean, choice, integer

HANDLE = "A" * 21


class Task:
    version = "1"

    def __init__(self, *params: Param) -> None:
        self.params = params

    def apply(self, media: Any, options: Mapping[str, Any], shop: Any) -> Any:
        return media


class Pair(Task):
    def check(self, options: Mapping[str, Any]) -> None:
        if options["width"] is None and options["height"] is None:
            raise ValueError("give a width or a height")


def tasks(version: str = "1") -> dict[str, Task]:
    size = (Param("width", integer(1, 10_000), ("w",)), Param("height", integer(1, 10_000), ("h",)))
    found = {
        "resize": Pair(*size, Param("fit", choice("clip", "crop"), ("f",), "clip")),
        "flip": Task(),
        "rotate": Task(Param("deg", integer(1, 359), ("d",), REQUIRED), Param("exif", boolean(), ("e",), True)),
    }
    for task in found.values():
        task.version = version
    return found


def registry(version: str = "1") -> Any:
    plugin = SimpleNamespace(register_transformations=hookimpl(lambda settings: tasks(version)))
    plugin.register_transformations.__name__ = "register_transformations"
    return load(blocked=("images",), extra={"sample": plugin})


REGISTRY = registry()


def plan(path: str) -> Any:
    return bind(REGISTRY, parse(f"{path}/{HANDLE}").tasks)


SAME = [
    "/resize=width:300,fit:clip",
    "/resize=w:300",
    "/resize=fit:clip,width:300",
    "/resize=f:clip,w:300",
    "/resize=width:0300",
    "/resize=width%3A300",
    "/resize=width:%22300%22",
    "/security=p:abcd,s:ef/resize=width:300",
    "/resize=width:300/security=s:xx,p:yy",
    "/b64/W3sibmFtZSI6InJlc2l6ZSIsInBhcmFtcyI6eyJ3aWR0aCI6MzAwfX1d",
    "/b64/W3siTmFtZSI6InJlc2l6ZSIsIlBhcmFtcyI6eyJ3IjozMDB9fV0=",
]


@pytest.mark.parametrize("path", SAME)
def test_all_spellings_of_the_same_work_have_one_name(path: str) -> None:
    assert plan(path).canonical == plan(SAME[0]).canonical


@pytest.mark.parametrize(
    "path",
    [
        "/resize=width:301",
        "/resize=height:300",
        "/resize=width:300,fit:crop",
        "/flip/resize=width:300",
        "/resize=width:300/flip",
    ],
)
def test_other_work_has_another_name(path: str) -> None:
    assert plan(path).canonical != plan(SAME[0]).canonical


def test_the_order_of_tasks_is_kept_and_their_defaults_are_filled_in() -> None:
    steps = plan("/rotate=d:90%2Fflip%2Fresize=w:5").steps
    assert [step.name for step in steps] == ["rotate", "flip", "resize"]
    assert steps[0].options == {"deg": 90, "exif": True}
    assert steps[2].options == {"width": 5, "height": None, "fit": "clip"}


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/resise=width:3", "There is no task 'resise'. Did you mean 'resize'?"),
        ("/zzzz", "There is no task 'zzzz'."),
        ("/resize=widht:3", "resize has no option 'widht'"),
        ("/resize=widht:3", "'width'"),
        ("/flip=a:1", "flip has no option 'a'"),
        ("/flip=a:1", "It takes no options."),
        ("/resize=width:0", "resize: width must be"),
        ("/resize=width:10001", "resize: width must be"),
        ("/resize=width:-1", "resize: width must be"),
        ("/resize=width:3.0", "resize: width must be"),
        ("/resize=width:[3]", "resize: width must be"),
        ("/resize=width:%D9%A3", "resize: width must be"),
        ("/resize=width:3,w:3", "resize: width is given twice."),
        ("/resize=fit:crop", "resize: give a width or a height"),
        ("/rotate", "rotate needs deg:"),
        ("/rotate=exif:yes,d:3", "rotate: exif must be"),
    ],
)
def test_what_cannot_run_is_refused_with_the_task_the_option_and_what_is_allowed(path: str, says: str) -> None:
    with pytest.raises(TaskURLError) as caught:
        plan(path)
    assert says in caught.value.public


def test_a_refusal_quotes_at_most_a_little_of_what_was_said() -> None:
    with pytest.raises(TaskURLError) as caught:
        plan(f"/resize={'w' * 40}:{'3' * 4000}")
    assert len(caught.value.public) < 300


def test_new_code_gives_results_a_new_name() -> None:
    chain = parse(f"/flip/{HANDLE}").tasks
    assert bind(registry("1"), chain).canonical != bind(registry("2"), chain).canonical


@given(width=st.integers(1, 10_000), fit=st.sampled_from(["clip", "crop"]), swap=st.booleans(), short=st.booleans())
def test_neither_order_nor_length_of_option_names_changes_a_plan(width: int, fit: str, swap: bool, short: bool) -> None:
    options = [f"{'w' if short else 'width'}:{width}", f"{'f' if short else 'fit'}:{fit}"]
    assert plan("/resize=" + ",".join(reversed(options) if swap else options)) == plan(f"/resize=width:{width},fit:{fit}")
