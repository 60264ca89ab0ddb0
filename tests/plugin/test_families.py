"""The table of families is that of the installed plugins, and behind every row of it is a file that is previewed for real."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import pytest
from PIL import Image

from secure_delivery.engine import confine
from secure_delivery.engine.capabilities import SHIPPED, lacks
from secure_delivery.engine.preview_order import PreviewOrder, Size
from secure_delivery.engine.previews import LocalFile, Previewed, Previews
from secure_delivery.engine.sandbox import PluginChoice, Sandbox
from secure_delivery.engine.types import HEAD, sniff
from secure_delivery.gate.model import Application, SecretRing
from secure_delivery.plugin import WorkLimits
from secure_delivery.plugin.manager import Registry, load

DOCS = Path(__file__).parent.parent.parent / "docs"


def _make_families() -> ModuleType:
    sys.path.insert(0, str(DOCS))
    try:
        spec = importlib.util.spec_from_file_location("make_families", DOCS / "make_families.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(DOCS))
    return module


make_families = _make_families()
SAMPLES = make_families.samples()
REGISTRY: Registry = load()
PEOPLE = Application(secrets=SecretRing(secrets=()), api_key="AFamilies", metadata_profile="all")


@dataclass
class Bench:
    """Makes previews as the engine does, and remembers which sections were filled."""

    sandbox: Sandbox
    folder: Path
    filled: dict[str, str] = field(default_factory=dict)

    def make(self, name: str) -> Previewed:
        sample = SAMPLES[name]
        folder = self.folder / name
        folder.mkdir()
        data = sample.make(folder)
        path = folder / "source"
        path.write_bytes(data)
        registry = REGISTRY
        if sample.alone:
            kept = {one: REGISTRY.previewers[one] for one in (name, "icon")}
            registry = replace(REGISTRY, previewers=MappingProxyType(kept))
        file = LocalFile(path=path, mimetype=sniff(data[:HEAD], sample.filename), filename=sample.filename, size=len(data))
        order = PreviewOrder(sizes=(Size(120, 120, False, "120x120"),), format="png", metadata=("all",))
        made = Previews(registry, self.sandbox, None).make(PEOPLE, file, order, folder)
        self.filled |= {section: name for section, value in made.sections.items() if value is not None}
        return made


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    if not confine.LINUX:
        pytest.skip("confinement is only there on Linux")
    with Sandbox(1, plugins=PluginChoice(warm=[]), limits=WorkLimits()) as sandbox:
        yield Bench(sandbox, tmp_path_factory.mktemp("families"))


def test_every_previewer_has_a_file_behind_it() -> None:
    assert set(SAMPLES) == set(REGISTRY.previewers), "add a file to family_samples.py, and run: python docs/make_families.py"
    assert [report.problem for report in REGISTRY.reports if report.problem] == []


@pytest.mark.parametrize("name", SAMPLES)
def test_the_file_behind_a_row_is_previewed_by_the_previewer_of_that_row(bench: Bench, name: str) -> None:
    previewer = REGISTRY.previewers[name]
    missing = lacks(previewer.needs, REGISTRY.programs)
    if missing and os.environ.get("CI") != "true":
        pytest.skip(f"{missing[0].name} is not installed")
    made = bench.make(name)
    assert made.previewer == name, made.faults
    (picture,) = made.pictures
    data = b"".join(picture.read())
    file = bench.folder / f"{name}.png"
    file.write_bytes(data)
    image = Image.open(file).convert("RGB")
    assert max(image.size) <= 120 and min(image.size) >= 1
    assert len(image.getcolors(100_000) or ()) > 1, "something is to be seen in it"
    problems = {section: problem["code"] for section, problem in made.problems.items()}
    assert problems.items() <= dict(SAMPLES[name].unread).items(), "and every section that fits could be read"


def test_every_section_was_filled_by_one_of_these_files(bench: Bench) -> None:
    """Runs after those above, in the same worker."""
    if len(list(bench.folder.iterdir())) < len(SAMPLES):
        pytest.skip("not all files were previewed")
    working = {name for name, one in REGISTRY.extractors.items() if not lacks(one.needs, REGISTRY.programs)}
    assert working - set(bench.filled) == set()


def test_the_page_is_in_step_with_the_plugins() -> None:
    assert (DOCS / "families.md").read_text("utf-8") == make_families.page(), "run: python docs/make_families.py"


def test_every_family_names_the_package_that_brings_it() -> None:
    offering: dict[str, set[str]] = {}
    for name, previewer in REGISTRY.previewers.items():
        offering.setdefault(previewer.family, set()).add(REGISTRY.version_of("previewers", name).partition(" ")[0])
    del offering["icon"]
    assert offering.keys() == SHIPPED.keys()
    assert all(distribution in offering[family] for family, distribution in SHIPPED.items())


def test_no_two_samples_are_mistaken_for_each_other() -> None:
    seen: dict[tuple[str, bool], Any] = {}
    for name, sample in SAMPLES.items():
        assert (sample.filename, sample.alone) not in seen, name
        seen[sample.filename, sample.alone] = name
