"""The documentation says what is so: its examples run, its tables repeat the code, its links lead somewhere.

A page's Python blocks run in their order, as one program in a process of their own, in a folder that holds `photo.jpg` and
the files that the page names in `<!-- file: NAME -->`. Contract suites that a page defines are run too. Console blocks
under `<!-- run -->` run in the same way as one shell session; `<!-- run with server -->` starts a server for them. What a
block shows as output must come out; of a value that ends in `…` only the label before it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import NamedTuple
from urllib.request import urlopen

import pytest
from PIL import Image

from secure_delivery import Call
from secure_delivery.engine.controls import CONTROLS
from secure_delivery.engine.settings import Settings
from secure_delivery.gate.config import _SETTINGS as GATE_SETTINGS
from secure_delivery.gate.policy import CALL_NAMES
from secure_delivery.plugin import protocols

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), ROOT / "README.md"])
SECRET = "a-secret-of-the-tests-that-is-long-enough-43"

_FENCE = re.compile(r"^(?:<!-- (?P<mark>[^\n]+?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?)\[[^\]\n]*\]\(([^)\s]+)\)")
_PLACE = "http://127.0.0.1:8000"


def _load(name: str) -> ModuleType:
    if str(DOCS) not in sys.path:  # these programs import each other
        sys.path.append(str(DOCS))
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


make_tables = _load("make_tables")


class Block(NamedTuple):
    """One fenced block of a page; `line` is that of its first line."""

    mark: str
    language: str
    text: str
    line: int


def _blocks(page: Path) -> list[Block]:
    """All blocks. Those of a tutorial (`tutorial`, `write: FILE`) are for `tests/plugin/test_tutorial.py`."""
    text = page.read_text("utf-8")
    return [
        Block(found["mark"] or "", found["language"], found["text"], text.count("\n", 0, found.start("text")) + 1)
        for found in _FENCE.finditer(text)
    ]


def _with(*languages: str, mark: str = "") -> list[Path]:
    return [
        page
        for page in PAGES
        if any(block.language in languages and block.mark.startswith(mark) and not _taught(block) for block in _blocks(page))
    ]


def _taught(block: Block) -> bool:
    return block.mark == "tutorial" or block.mark.startswith("write: ")


def _name(page: Path) -> str:
    return page.name


# ------------------------------------------------------------------------------------------------------------ examples

#: What the README leaves to the reader: an app to guard.
_BEFORE = {"README.md": "from flask import Flask\napp = Flask('readme')\n"}

#: Appended to each page's program: the contract suites that the page defined.
_CONTRACTS = """
import tempfile as _tempfile, pathlib as _pathlib, inspect as _inspect
for _class in [_thing for _name, _thing in list(globals().items()) if _name.startswith("Test") and _inspect.isclass(_thing)]:
    for _name in [_name for _name in dir(_class) if _name.startswith("test_")]:
        _test = getattr(_class(), _name)
        _needs = _inspect.signature(_test).parameters
        _test(**({"tmp_path": _pathlib.Path(_tempfile.mkdtemp(dir="."))} if "tmp_path" in _needs else {}))
        print("held:", _class.__name__, _name)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder in which a page's examples run."""
    colours = [(x * 255 // 640, y * 255 // 480, 120) for y in range(480) for x in range(640)]
    picture = Image.new("RGB", (640, 480))
    picture.putdata(colours)
    picture.save(tmp_path / "photo.jpg", quality=80)
    return tmp_path


def _environment(place: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SECURE_DELIVERY_", "COLUMNS"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return kept | {"SECURE_DELIVERY_SECRET": SECRET, "PATH": path, "COLUMNS": "200", "HOME": str(place)}


def _write_files(page: Path, place: Path) -> None:
    for block in _blocks(page):
        if block.mark.startswith("file: "):
            (place / block.mark.removeprefix("file: ")).write_text(block.text, "utf-8")


@pytest.mark.parametrize("page", _with("python"), ids=_name)
def test_the_python_blocks_of_a_page_run_in_their_order(page: Path, place: Path) -> None:
    """Every example works as it is printed, assertions included, without a warning."""
    _write_files(page, place)
    program = _BEFORE.get(page.name, "")
    for block in _blocks(page):
        if block.language == "python" and not _taught(block):
            program += f"\n# {page.name}, line {block.line}\n{block.text}"
    script = place / "page.py"
    script.write_text(program + (_CONTRACTS if "Contract)" in program else ""), "utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", script.name],
        cwd=place,
        env=_environment(place),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{page.name}:\n{done.stderr}"
    if "Contract)" in program:
        assert done.stdout.count("held:") >= 10 * program.count("Contract)"), "the contract suites really ran"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _serving(place: Path) -> Iterator[str]:
    """A server on the data of a page's folder; gives its address."""
    port = _free_port()
    command = [sys.executable, "-m", "secure_delivery", "serve", "--port", str(port)]
    with (place / "server.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=place, env=_environment(place), stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(300):
            try:
                with urlopen(f"{address}/health/ready", timeout=30):
                    break
            except OSError:
                assert server.poll() is None, (place / "server.log").read_text()
                time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait(30)


def _shell(blocks: list[Block], address: str) -> str:
    """One bash session of the commands of all blocks; what each block prints stands under a line that names it."""
    script = ["set -e"]
    for number, block in enumerate(blocks):
        script.append(f"echo '=== {number}'")
        for line in block.text.splitlines():
            script += [line.removeprefix("$ "), "echo"] if line.startswith("$ ") else []
    return "\n".join(script).replace(_PLACE, address)


def _spaced(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("page", _with("console", mark="run"), ids=_name)
def test_the_marked_console_blocks_of_a_page_print_what_they_show(page: Path, place: Path) -> None:
    """Commands succeed, and every line of output on the page is one that really comes."""
    if shutil.which("bash") is None or shutil.which("curl") is None:
        pytest.skip("needs bash and curl")
    blocks = [block for block in _blocks(page) if block.language == "console" and block.mark.startswith("run")]
    served = any(block.mark == "run with server" for block in blocks)
    serving = _serving(place) if served else _nowhere()
    with serving as address:
        done = subprocess.run(
            ["bash", "-c", _shell(blocks, address)],
            cwd=place,
            env=_environment(place),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
    assert done.returncode == 0, f"{page.name}:\n{done.stdout}\n{done.stderr}"
    printed = re.split(r"^=== \d+$", done.stdout, flags=re.MULTILINE)[1:]
    for block, output in zip(blocks, printed, strict=True):
        lines = [_spaced(line) for line in output.splitlines()]
        for expected in (line for line in block.text.splitlines() if not line.startswith("$ ")):
            whole, cut, _ = _spaced(expected).partition("…")
            label = whole.rpartition(" ")[0]  # a value that is cut off is an example: other times, other signatures
            found = any(line.startswith(label) if cut else line == whole for line in lines)
            assert found, f"{page.name}, line {block.line}: {expected!r} is not in\n{output}"


@contextmanager
def _nowhere() -> Iterator[str]:
    yield _PLACE


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_block_names_its_language_or_is_plain_text(page: Path) -> None:
    """No block escapes being run by a misspelt language, and no mark by a misspelt word."""
    for block in _blocks(page):
        assert block.language in ("python", "console", "toml", "json", ""), f"{page.name}, line {block.line}"
        marks = r"|run|run with server|file: [a-z.-]+|tutorial|write: [a-z_./-]+"
        assert re.fullmatch(marks, block.mark), f"{page.name}, line {block.line}"
    fences = re.findall(r"^```", page.read_text("utf-8"), re.MULTILINE)
    assert len(fences) == 2 * len(_blocks(page)), "every fence is a block of its own"


# -------------------------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize("page", [page for page in PAGES if "<!-- table: " in page.read_text("utf-8")], ids=_name)
def test_a_table_repeats_what_the_code_says(page: Path) -> None:
    """`python docs/make_tables.py` would change nothing."""
    text = page.read_text("utf-8")
    assert text == make_tables.filled(text), f"run: python docs/make_tables.py ({page.name})"


def test_every_table_stands_on_exactly_one_page() -> None:
    found = [name for page in PAGES for _, name, _ in make_tables.MARK.findall(page.read_text("utf-8"))]
    assert sorted(found) == sorted(make_tables.TABLES)


def test_the_gallery_is_of_this_moment_and_complete() -> None:
    """The page says what the code says, and every picture on it is there, small, and of no other entry."""
    make_gallery = _load("make_gallery")
    text = (DOCS / "gallery.md").read_text("utf-8")
    assert text == make_gallery.filled(text), "run: python docs/make_gallery.py"
    named = {f"gallery/{entry.file}" for entry in make_gallery.ENTRIES if entry.file}
    kept = {f"gallery/{path.name}" for path in (DOCS / "gallery").iterdir() if path.suffix != ".json"}
    assert kept == named
    assert all((DOCS / name).stat().st_size < 60_000 for name in kept), "pictures of a gallery are small"


def test_every_task_has_its_entry_in_the_gallery() -> None:
    """A task that a plugin of this repository offers, or the server itself, is shown; none is shown that is not there."""
    make_gallery = _load("make_gallery")
    offered = set(make_tables.installed().transformations) | set(CONTROLS) | {"security", "debug"}
    assert {entry.task for entry in make_gallery.ENTRIES} == offered
    answers = json.loads((DOCS / "gallery" / "answers.json").read_text("utf-8"))
    for entry in make_gallery.ENTRIES:
        assert entry.file or entry.family == "Control" or entry.chain in answers, entry.chain


def test_every_key_and_call_of_a_policy_is_explained() -> None:
    text = (DOCS / "policies.md").read_text("utf-8")
    for name in ("expiry", "call", "handle", "container", "path", "url", "minSize", "maxSize", *CALL_NAMES):
        assert f"`{name}`" in text, name
    assert len(Call) == len([line for line in make_tables.calls().splitlines() if line.startswith("| `")])


def test_every_protocol_of_a_storage_or_transformation_is_documented() -> None:
    """An ability that a plugin author cannot read of is one that nobody uses."""
    text = (DOCS / "plugins.md").read_text("utf-8")
    for name in ("Checked", "Demanding", "Located", "Swept", "Warm"):
        assert hasattr(protocols, name) and f"`{name}`" in text, name
    abilities = {name for name, thing in vars(protocols).items() if getattr(thing, "_is_runtime_protocol", False)}
    assert abilities - set(re.findall(r"\w+", text)) <= {"Extractor", "Previewer", "Queue", "Scanner"}, "none is left out"


def test_every_setting_of_a_guard_is_documented() -> None:
    text = (DOCS / "embedding.md").read_text("utf-8")
    section = text.split("## From a settings file")[1].split("\n## ")[0]
    for name in GATE_SETTINGS:
        assert f"`{name}`" in section, name


def test_the_settings_page_names_every_environment_variable_that_is_no_setting() -> None:
    text = (DOCS / "settings.md").read_text("utf-8")
    for name in ("SECURE_DELIVERY_CONFIG", "SECURE_DELIVERY_SECRET"):
        assert name in text
    assert set(Settings.names()) == set(Settings.defaults())


# --------------------------------------------------------------------------------------------------------------- links


def _slug(heading: str) -> str:
    """The anchor of a heading, as the table-of-contents extension of Python-Markdown makes it."""
    text = re.sub(r"[`*]", "", heading).encode("ascii", "ignore").decode()
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower())


def _anchors(page: Path) -> set[str]:
    text = _FENCE.sub("", page.read_text("utf-8"))
    return {_slug(heading) for heading in re.findall(r"^#{1,6} (.+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_to_pages_and_headings_that_are_there(page: Path) -> None:
    broken = []
    for _, target in _LINK.findall(_FENCE.sub("", page.read_text("utf-8"))):
        if re.match(r"https?://|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        if not linked.exists() or (anchor and anchor not in _anchors(linked)):
            broken.append(target)
    assert broken == []


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page() -> None:
    listed = re.findall(r"^  - [^:\n]+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(page.name for page in DOCS.glob("*.md"))


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("material") is None:
        pytest.skip("mkdocs and its theme are not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "embedding" / "index.html").exists()


def test_the_checks_of_this_file_notice_what_is_wrong(tmp_path: Path) -> None:
    """A link to nowhere, a stale table and a block that fails would all be found."""
    page = tmp_path / "page.md"
    page.write_text(
        textwrap.dedent(
            """\
            # A heading: with `code`
            [there](#a-heading-with-code) [gone](#elsewhere)
            <!-- table: calls -->
            old
            <!-- end -->
            <!-- run -->
            ```console
            $ true
            ```
            """
        )
    )
    assert _anchors(page) == {"a-heading-with-code"}
    assert make_tables.filled(page.read_text()) != page.read_text()
    assert _blocks(page) == [Block("run", "console", "$ true\n", 8)]
