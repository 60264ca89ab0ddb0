"""Plugins are found, fenced from one another, told apart, and never hidden."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest

from secure_delivery.gate.errors import ConfigurationError
from secure_delivery.plugin import Event, Needs, Page, Param, Program, Settings, Work, hookimpl, text
from secure_delivery.plugin.manager import KINDS, PluginReport, Registry, load
from secure_delivery.plugin.testing import MemoryFile, TransformationContract, content

EVENT = Event(name="fp.upload", application="A1", data={"handle": "h1"})


class Suffix:
    """The smallest transformation: it adds a word at the end."""

    version = "1"
    params = (Param("word", text(20), default="end"),)

    def apply(self, media: Any, options: Mapping[str, Any], shop: Any) -> MemoryFile:
        return MemoryFile(content(media) + options["word"].encode(), media.mimetype, media.filename)


class TestSuffixHoldsTheContract(TransformationContract):
    transformation = Suffix()

    def sample_media(self) -> MemoryFile:
        return MemoryFile(b"some text", "text/plain", "a.txt")


class Pages:
    mimetypes = ("application/pdf",)
    extensions = ("pdf",)
    family = "document"
    needs = Needs(programs=("render",))

    def __init__(self, priority: int) -> None:
        self.priority = priority

    def preview(self, work: Work) -> Iterator[Page]:
        yield Page(number=1, media=MemoryFile(b"", "image/png"))


class Section:
    call = "exif"
    schema: Mapping[str, Any] = MappingProxyType({"type": "object"})
    mimetypes = ("image/*",)
    extensions = ()
    needs = Needs()

    def __init__(self, section: str) -> None:
        self.section = section

    def extract(self, work: Work) -> dict[str, Any]:
        return {}


class Memory:
    def create(self, key: str, *, mimetype: str) -> Any: ...

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> Any: ...

    def remove(self, key: str) -> None: ...


def offering(**kinds: Any) -> SimpleNamespace:
    """A plugin that offers these things: `offering(transformations={...})`."""

    def hook(kind: str, things: Any) -> Callable[..., Any]:
        @hookimpl(specname=f"register_{kind}")
        def register() -> Any:
            return things

        return register

    return SimpleNamespace(**{f"register_{kind}": hook(kind, things) for kind, things in kinds.items()})


def report(registry: Registry, name: str) -> PluginReport:
    (found,) = [report for report in registry.reports if report.name == name]
    return found


GOOD = offering(transformations={"suffix": Suffix()})


# ------------------------------------------------------------------------------------------------------------- finding


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Installs a distribution as pip would leave it: a module and its metadata in a folder of the import path."""
    before = set(sys.modules)
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def install(distribution: str, code: str, *, name: str, module: str, version: str = "1.2", attr: str = "") -> None:
        (site / f"{module}.py").write_text(code)
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[secure_delivery]\n{name} = {module}{attr}\n")

    yield install
    for module in set(sys.modules) - before:
        del sys.modules[module]


QUEUE = """
from secure_delivery.plugin import hookimpl

class Bell:
    def announce(self, job_id): pass

@hookimpl
def register_queues(settings):
    return {settings.get("scheme", "bell"): Bell()}
"""


def test_an_installed_plugin_is_found_with_its_distribution_and_origin(installed: Callable[..., None]) -> None:
    installed("sd-bell", QUEUE, name="bell", module="sd_bell_found")
    registry = load()
    assert "bell" in registry.queues
    found = report(registry, "bell")
    assert (found.distribution, found.version, found.origin) == ("sd-bell", "1.2", "entry point sd_bell_found")
    assert found.offers == {"queues": ("bell",)}
    assert found.problem is None
    assert registry.version_of("queues", "bell") == "sd-bell 1.2"


def test_an_attribute_of_a_module_can_be_the_plugin(installed: Callable[..., None]) -> None:
    code = QUEUE + "\nclass Plugin:\n    pass\nplugin = Plugin()\nplugin.register_queues = register_queues\n"
    installed("sd-attr", code, name="attr", module="sd_attr", attr=":plugin")
    registry = load()
    assert report(registry, "attr").origin == "entry point sd_attr:plugin"
    assert "bell" in registry.queues


def test_a_plugin_sees_its_own_settings_and_cannot_change_them() -> None:
    seen: list[Settings] = []

    class Looks:
        @hookimpl
        def self_test(self, settings: Settings) -> None:
            seen.append(settings)

    table = {"scheme": "gong"}
    load(extra={"looks": Looks()}, settings={"looks": table, "builtin": {}})
    table["scheme"] = "changed later"
    assert dict(seen[0]) == {"scheme": "gong"}
    with pytest.raises(TypeError):
        seen[0]["scheme"] = "other"  # type: ignore[index]


@pytest.mark.parametrize("name", ["bell", "mute"])
def test_a_blocked_plugin_is_not_even_imported_but_is_reported(installed: Callable[..., None], name: str) -> None:
    module = f"sd_blocked_{name}"
    installed(f"sd-{name}", QUEUE, name=name, module=module)
    registry = load(blocked=[name, "never_installed"])
    assert module not in sys.modules
    assert report(registry, name).problem == "blocked by the settings"
    assert report(registry, name).distribution == f"sd-{name}"
    assert "bell" not in registry.queues


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import a_module_that_nobody_has", "ModuleNotFoundError: No module named 'a_module_that_nobody_has'"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("class Panic(BaseException): pass\nraise Panic('native code gave up')", "Panic: native code gave up"),
        ("def register_queues(settings): return {}", "it has no function marked with hookimpl"),
        ("raise ValueError('x' * 5000)", "ValueError: xxx"),
        ("raise ValueError('two\\nlines')", "ValueError: two lines"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_reported_in_one_line(
    installed: Callable[..., None], code: str, says: str, request: pytest.FixtureRequest
) -> None:
    installed("sd-broken", code, name="broken", module=f"sd_broken_{request.node.callspec.indices['code']}")
    registry = load(extra={"good": GOOD})
    problem = report(registry, "broken").problem
    assert problem is not None
    assert problem.startswith(says)
    assert "\n" not in problem
    assert len(problem) <= 400
    assert report(registry, "good").problem is None
    assert "suffix" in registry.transformations


def test_an_entry_point_to_a_missing_attribute_is_reported(installed: Callable[..., None]) -> None:
    installed("sd-gone", QUEUE, name="gone", module="sd_gone", attr=":plugin")
    assert (report(load(), "gone").problem or "").startswith("AttributeError")


def test_two_distributions_that_claim_one_plugin_name_both_stay_out(installed: Callable[..., None]) -> None:
    installed("sd-one", QUEUE, name="twin", module="sd_twin_one")
    installed("sd-two", QUEUE, name="twin", module="sd_twin_two")
    registry = load()
    problems = [report.problem for report in registry.reports if report.name == "twin"]
    assert len(problems) == 2
    assert all(problem and "sd-one" in problem and "sd-two" in problem for problem in problems)
    assert "bell" not in registry.queues
    assert not {"sd_twin_one", "sd_twin_two"} & set(sys.modules)


def test_settings_of_a_plugin_that_is_not_there_are_reported() -> None:
    found = report(load(settings={"imagse": {"depth": 1}}), "imagse")
    assert found.origin == "not installed"
    assert found.problem is not None


def test_settings_that_are_no_table_stop_the_start() -> None:
    with pytest.raises(ConfigurationError, match=r"plugins\.images"):
        load(settings={"images": "on"})  # type: ignore[dict-item]


# ------------------------------------------------------------------------------------------------------------- fencing


def _raising(hook: str) -> SimpleNamespace:
    @hookimpl(specname=hook)
    def fails() -> None:
        raise LookupError(f"{hook} says no")

    plugin = offering(transformations={"other": Suffix()})
    setattr(plugin, f"a_{hook}", fails)
    return plugin


@pytest.mark.parametrize("hook", ["self_test", *(f"register_{kind}" for kind in KINDS)])
def test_a_plugin_that_raises_in_a_hook_offers_nothing_and_harms_nobody(hook: str) -> None:
    registry = load(extra={"before": GOOD, "bad": _raising(hook), "zulu": offering(transformations={"zulu": Suffix()})})
    assert registry.transformations.keys() >= {"suffix", "zulu"}
    assert "other" not in registry.transformations
    assert report(registry, "bad").problem == f"LookupError: {hook} says no"
    assert report(registry, "bad").offers == {}


def test_a_function_without_a_specification_is_that_plugins_failure_only() -> None:
    class Newer:
        @hookimpl
        def register_telepathy(self, settings: Settings) -> None: ...

        @hookimpl
        def register_transformations(self, settings: Settings) -> Any:
            return {"newer": Suffix()}

    registry = load(extra={"newer": Newer(), "good": GOOD})
    assert "register_telepathy" in (report(registry, "newer").problem or "")
    assert "newer" not in registry.transformations
    assert "suffix" in registry.transformations


def test_an_unknown_argument_is_that_plugins_failure_only() -> None:
    class Greedy:
        @hookimpl
        def register_queues(self, settings: Settings, engine: Any) -> Any: ...

    registry = load(extra={"greedy": Greedy(), "good": GOOD})
    assert "engine" in (report(registry, "greedy").problem or "")
    assert "suffix" in registry.transformations


async def _async_hook() -> None: ...


def _wrapper_hook() -> Iterator[None]:
    yield


@pytest.mark.parametrize(
    ("plugin", "says"),
    [
        (SimpleNamespace(on_event=hookimpl(_async_hook)), "asynchronous"),
        (SimpleNamespace(register_queues=hookimpl(_wrapper_hook, wrapper=True)), "wrapper"),
        (SimpleNamespace(), "hookimpl"),
        (None, "None"),
    ],
    ids=["an asynchronous hook", "a wrapper", "nothing marked", "no object"],
)
def test_a_plugin_that_breaks_the_contract_of_hooks_is_reported(plugin: object, says: str) -> None:
    registry = load(extra={"odd": plugin, "good": GOOD})
    assert says in (report(registry, "odd").problem or "")
    assert "suffix" in registry.transformations


def _with(thing: Any, **attributes: Any) -> Any:
    for name, value in attributes.items():
        setattr(thing, name, value)
    return thing


def _without(thing: Any, name: str) -> Any:
    """The thing with a class of its own that lacks an attribute."""
    kept = {key: value for key, value in vars(type(thing)).items() if key not in (name, "__dict__", "__weakref__")}
    thing.__class__ = type(type(thing).__name__, (), kept)
    return thing


async def _async(*_: Any) -> None: ...


async def _async_generator(*_: Any) -> Any:
    yield


def _unreadable(self: Any) -> str:
    raise OSError("no such device")


WRONG: dict[str, tuple[str, Any, str]] = {
    "not a mapping": ("transformations", [Suffix()], "mapping"),
    "a name with a capital": ("transformations", {"Suffix": Suffix()}, "name"),
    "a name with a slash": ("storages", {"a/b": Memory()}, "name"),
    "an empty name": ("storages", {"": Memory()}, "name"),
    "a name that is too long": ("storages", {"a" * 65: Memory()}, "name"),
    "a name with a line break": ("storages", {"local\n": Memory()}, "name"),
    "a name that is no text": ("storages", {3: Memory()}, "name"),
    "another protocol": ("storages", {"suffix": Suffix()}, "not a Storage"),
    "None": ("scanners", {"clam": None}, "not a Scanner"),
    "a class": ("transformations", {"suffix": Suffix}, "an instance"),
    "asynchronous apply": ("transformations", {"suffix": _with(Suffix(), apply=_async)}, "apply"),
    "asynchronous check": ("transformations", {"suffix": _with(Suffix(), check=_async)}, "check"),
    "asynchronous locate": ("storages", {"memory": _with(Memory(), locate=_async)}, "locate"),
    "asynchronous pages": ("previewers", {"pages": _with(Pages(1), preview=_async_generator)}, "preview"),
    "a method that is none": ("queues", {"bell": SimpleNamespace(announce="loud")}, "announce"),
    "params as a list": ("transformations", {"suffix": _with(Suffix(), params=[])}, "params"),
    "params of text": ("transformations", {"suffix": _with(Suffix(), params=("word",))}, "params"),
    "a number as version": ("transformations", {"suffix": _with(Suffix(), version=1)}, "version"),
    "mimetypes as text": ("previewers", {"pages": _with(Pages(1), mimetypes="application/pdf")}, "mimetypes"),
    "extensions as a list": ("previewers", {"pages": _with(Pages(1), extensions=["pdf"])}, "extensions"),
    "a family that is no text": ("previewers", {"pages": _with(Pages(1), family=None)}, "family"),
    "no family": ("previewers", {"pages": _without(Pages(1), "family")}, "lacks a part"),
    "asynchronous probe": ("previewers", {"pages": _with(Pages(1), probe=_async)}, "probe"),
    "priority as text": ("previewers", {"pages": _with(Pages(1), priority="high")}, "priority"),
    "needs as text": ("previewers", {"pages": _with(Pages(1), needs="soffice")}, "needs"),
    "a call that nobody knows": ("extractors", {"exif": _with(Section("exif"), call="read")}, "call"),
    "a schema as text": ("extractors", {"exif": _with(Section("exif"), schema="{}")}, "schema"),
    "asynchronous read": ("extractors", {"exif": _with(Section("exif"), read=_async)}, "read"),
    "another section": ("extractors", {"exif": Section("xmp")}, "section"),
    "a property that raises": ("extractors", {"exif": type("E", (Section,), {"section": property(_unreadable)})}, "instance"),
}


@pytest.mark.parametrize(("kind", "things", "says"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_thing_is_that_plugins_failure_only(kind: str, things: Any, says: str) -> None:
    registry = load(extra={"wrong": offering(**{kind: things}), "good": offering(transformations={"fine": Suffix()})})
    assert says in (report(registry, "wrong").problem or "")
    assert report(registry, "wrong").offers == {}
    assert "fine" in registry.transformations


def test_a_thing_whose_attributes_raise_is_that_plugins_failure_only() -> None:
    class Unreadable(Section):
        section = property(_unreadable)  # type: ignore[assignment]

        def __init__(self) -> None: ...

    registry = load(extra={"wrong": offering(extractors={"exif": Unreadable()}), "good": GOOD})
    assert report(registry, "wrong").problem == "OSError: no such device"
    assert "suffix" in registry.transformations


def test_a_failure_is_told_to_the_operators_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "secure_delivery.plugin"):
        load(extra={"bad": _raising("self_test")})
    assert "plugin bad is not available: LookupError: self_test says no" in caplog.text


def test_offering_nothing_under_these_settings_is_no_problem() -> None:
    registry = load(extra={"idle": offering(storages=None, queues={})})
    assert report(registry, "idle").problem is None
    assert report(registry, "idle").offers == {}


# ------------------------------------------------------------------------------------------------------------- merging


def test_every_kind_arrives_in_its_own_mapping() -> None:
    plugin = offering(
        storages={"memory": Memory()},
        transformations={"suffix": Suffix()},
        previewers={"pages": Pages(1)},
        extractors={"sheets": Section("sheets")},
        queues={"bell": SimpleNamespace(announce=lambda job_id: None)},
        scanners={"clam": SimpleNamespace(scan=lambda media: None)},
        detectors={"lengths": SimpleNamespace(version="1", detect=lambda media, options, limits: {})},
        programs={"sorted_lines": Program(executables=("sort",), arguments=("{inputs}",))},
        storage_providers={"shelf": SimpleNamespace(params=(), secrets=frozenset(), connect=lambda options, dial: Memory())},
        cloud_sources={"drive": SimpleNamespace(list=lambda *_, **__: None, fetch=lambda *_, **__: None)},
    )
    registry = load(extra={"all": plugin})
    assert report(registry, "all").problem is None
    for kind, names in report(registry, "all").offers.items():
        assert set(names) <= getattr(registry, kind).keys()
    assert report(registry, "all").offers.keys() == set(KINDS)


def rivals() -> dict[str, object]:
    return {name: offering(transformations={"same": Suffix(), f"own_{name}": Suffix()}) for name in ("ant", "bee", "cat")}


def test_rivals_without_a_rank_stop_the_start_and_the_way_out_is_named() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(extra=rivals(), rank=["dog"])
    for word in ("ant", "bee", "cat", "'same'", "transformations", "plugins_rank", "plugins_blocked"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("rank", "winner"),
    [
        (["bee"], "bee"),
        (["cat", "ant"], "cat"),
        (["ant", "bee", "cat"], "ant"),
        (["dog", "cat"], "cat"),
        (["bee", "ant", "bee"], "bee"),
    ],
)
def test_the_rival_ranked_first_wins_and_the_others_are_reported_as_overshadowed(rank: list[str], winner: str) -> None:
    plugins = rivals()
    registry = load(extra=plugins, rank=rank)
    same = registry.transformations["same"]
    assert same is plugins[winner].register_transformations()["same"]  # type: ignore[attr-defined]
    for name in plugins:
        found = report(registry, name)
        lost = {} if name == winner else {"transformations": ("same",)}
        assert found.overshadowed == lost
        assert f"own_{name}" in found.offers["transformations"]
        assert ("same" in found.offers["transformations"]) == (name == winner)


def test_blocking_all_rivals_but_one_settles_it_too() -> None:
    registry = load(extra=rivals(), blocked=("ant", "cat"))
    assert report(registry, "bee").offers == {"transformations": ("same", "own_bee")}


def test_a_rival_that_fails_is_no_rival() -> None:
    bad = offering(transformations={"suffix": Suffix(), "WRONG": Suffix()})
    assert "suffix" in load(extra={"good": GOOD, "bad": bad}).transformations


def test_one_name_in_two_kinds_is_no_conflict() -> None:
    registry = load(
        extra={"one": offering(transformations={"pages": Suffix()}), "two": offering(previewers={"pages": Pages(1)})}
    )
    assert "pages" in registry.transformations
    assert "pages" in registry.previewers


def test_previewers_are_tried_by_rank_then_priority_then_name() -> None:
    plugins = {
        "ant": offering(previewers={"ant_low": Pages(1), "ant_high": Pages(90)}),
        "bee": offering(previewers={"bee_b": Pages(5), "bee_a": Pages(5), "bee_top": Pages(50)}),
    }
    unranked = [name for name in load(extra=plugins).previewers if name.startswith(("ant", "bee"))]
    assert unranked == ["ant_high", "bee_top", "bee_a", "bee_b", "ant_low"]
    ranked = list(load(extra=plugins, rank=["bee"]).previewers)
    assert ranked[:3] == ["bee_top", "bee_a", "bee_b"]


def test_the_version_of_an_in_process_plugin_is_its_own_word() -> None:
    plugin = _with(offering(transformations={"suffix": Suffix()}), __version__="7.1")
    registry = load(extra={"mine": plugin})
    assert registry.version_of("transformations", "suffix") == "mine 7.1"
    assert report(registry, "mine").origin == "in process"
    with pytest.raises(KeyError):
        registry.version_of("transformations", "nobody_offers_this")


def test_a_registry_cannot_be_changed() -> None:
    registry = load(extra={"good": GOOD})
    with pytest.raises(TypeError):
        registry.transformations["suffix"] = Suffix()  # type: ignore[index]
    with pytest.raises(AttributeError):
        registry.transformations = {}  # type: ignore[misc]


def test_what_plugins_hold_is_not_in_the_repr_of_a_registry() -> None:
    class Keyed(Memory):
        def __repr__(self) -> str:
            return "Keyed(secret_key='marker-9c1')"

    registry = load(extra={"keyed": offering(storages={"keyed": Keyed()})}, settings={"keyed": {"secret_key": "marker-9c1"}})
    assert "keyed" in registry.storages
    assert "marker-9c1" not in repr(registry)


# -------------------------------------------------------------------------------------------------------------- events


class Listener:
    def __init__(self, fault: BaseException | None = None) -> None:
        self.heard: list[Event] = []
        self.fault = fault

    @hookimpl
    def on_event(self, event: Event) -> str:
        self.heard.append(event)
        if self.fault:
            raise self.fault
        return "ignored"


@pytest.mark.parametrize("fault", [RuntimeError("listener fell over"), SystemExit("listener left")])
def test_a_raising_listener_is_logged_and_the_others_still_hear(fault: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    first, bad, last = Listener(), Listener(fault), Listener()
    registry = load(extra={"ant": first, "bee": bad, "cat": last})
    with caplog.at_level(logging.ERROR, "secure_delivery.plugin"):
        registry.emit(EVENT)
    assert first.heard == bad.heard == last.heard == [EVENT]
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "bee" in record.getMessage()
    assert "fp.upload" in record.getMessage()
    assert str(fault) in caplog.text


def test_a_plugin_that_is_not_available_hears_nothing() -> None:
    listener = Listener()
    listener.self_test = _raising("self_test").a_self_test  # type: ignore[attr-defined]
    load(extra={"deaf": listener}).emit(EVENT)
    assert listener.heard == []


def test_the_projects_own_defaults_come_as_a_plugin_and_offer_nothing_unasked(tmp_path: Path) -> None:
    assert "storages" not in report(load(), "builtin").offers
    registry = load(settings={"builtin": {"root": str(tmp_path / "files")}})
    assert report(registry, "builtin").offers["storages"] == ("local",)
    assert list(tmp_path.iterdir()) == [], "registering touches no disk"


@pytest.mark.parametrize("table", [{"rot": "/data"}, {"root": ""}, {"root": 3}, {"root": "a\0b"}])
def test_settings_the_defaults_cannot_use_are_reported(table: dict[str, Any]) -> None:
    registry = load(settings={"builtin": table})
    assert next(iter(table)) in (report(registry, "builtin").problem or "")
    assert "local" not in registry.storages
