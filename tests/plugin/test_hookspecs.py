"""Every hook is documented, and every hook is really called by `load` or `Registry.emit`."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from secure_delivery.plugin import Event, hookimpl, hookspecs
from secure_delivery.plugin.manager import KINDS, Registry, load

HOOKS = {
    name: function
    for name, function in vars(hookspecs).items()
    if inspect.isfunction(function) and hasattr(function, f"{hookspecs.PROJECT}_spec")
}


class Everything:
    """A plugin that implements each hook of the specification by its name and arguments, and notes each call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []


def _noting(name: str, argument: str) -> Callable[..., None]:
    namespace: dict[str, Callable[..., None]] = {}
    exec(
        f"def {name}(self, {argument}): self.calls.append(({name!r}, {argument}))", namespace
    )  # a hook's argument names matter
    return hookimpl(namespace[name])


for _name, _function in HOOKS.items():
    (_argument,) = inspect.signature(_function).parameters
    setattr(Everything, _name, _noting(_name, _argument))


def test_there_are_hooks_to_speak_of() -> None:
    assert {"register_storages", "register_transformations", "self_test", "on_event"} <= HOOKS.keys()


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented(hook: str) -> None:
    prose = inspect.getdoc(HOOKS[hook]) or ""
    assert len(prose.split()) >= 5, f"{hook} needs a sentence that says what it is for"


def test_every_hook_is_called_with_its_own_argument() -> None:
    plugin, event = Everything(), Event(name="fp.upload", application="A1")
    load(extra={"everything": plugin}, settings={"everything": {"depth": 3}}).emit(event)
    called = dict(plugin.calls)
    assert called.keys() == HOOKS.keys(), "a hook that nobody calls is a promise that nobody keeps"
    assert called.pop("on_event") is event
    assert all(dict(settings) == {"depth": 3} for settings in called.values())  # type: ignore[call-overload]


def test_the_self_test_comes_first_and_each_hook_once() -> None:
    plugin = Everything()
    load(extra={"everything": plugin})
    names = [name for name, _ in plugin.calls]
    assert names[0] == "self_test"
    assert sorted(names) == sorted(HOOKS.keys() - {"on_event"})


def test_every_collecting_hook_has_its_mapping_in_the_registry() -> None:
    collecting = {name.removeprefix("register_") for name in HOOKS if name.startswith("register_")}
    assert collecting == set(KINDS)
    assert all(hasattr(Registry, kind) for kind in KINDS)
