"""`plugin new`: a package that works, with its tests, for somebody to put their own format into.

Knows: the templates beside this file, names of packages. Must not know: what a plugin does.

Templates are plain texts in which `<<word>>` stands for a value; files end in `.txt` so that no tool takes them for code.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer

from ..gate.errors import ConfigurationError
from .output import AsJson, out, say, say_json

app = typer.Typer(name="plugin", help="Write a plugin of your own.", no_args_is_help=True)

_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_PREFIX = "secure-delivery-"
_PLACE = re.compile(r"<<([a-z_]+)>>")
_LONGEST = 24  # characters of a name, so that all that is made of it stays within what others allow


class Kind(StrEnum):
    """What the plugin is to offer."""

    previewer = "previewer"
    extractor = "extractor"
    transformation = "transformation"
    storage = "storage"


class License(StrEnum):
    """The licence of the new package, by its SPDX name."""

    apache = "Apache-2.0"
    mit = "MIT"
    bsd = "BSD-3-Clause"
    none = "none"


_SUMMARIES = {
    Kind.previewer: "Pictures of the pages of .{extension} files.",
    Kind.extractor: "The metadata section {word} of .{extension} files.",
    Kind.transformation: "The task {word} of transformation URLs.",
    Kind.storage: "The storage {word}.",
}
_DEPENDENCIES = {Kind.previewer: ("pillow>=12", "secure-delivery", "secure-delivery-images")}
_TESTS = {Kind.extractor: ("jsonschema>=4.23", "pytest>=8.3")}


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name: lower-case letters, digits and dashes.")],
    kind: Annotated[Kind, typer.Option("--kind", "-k", help="What it offers.")] = Kind.previewer,
    into: Annotated[Path, typer.Option("--into", help="The folder in which its folder is made.")] = Path(),
    license: Annotated[License, typer.Option("--license", help="The licence of the package.")] = License.apache,  # noqa: A002
    author: Annotated[str, typer.Option("--author", help="Who holds the copyright, for licences that say it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Write a complete package: entry point, a typed skeleton that works, tests that hold it to the contract, README."""
    short = name.removeprefix(_PREFIX)
    if not _NAME.fullmatch(short) or len(short) > _LONGEST:
        raise ConfigurationError(
            f"{name!r} cannot be the name of a plugin: lower-case letters, digits, dashes, a letter first, at most {_LONGEST}"
        )
    folder = into / f"{_PREFIX}{short}"
    if folder.exists():
        raise ConfigurationError(f"{folder} is there already")
    written = write(folder, short, kind, license, author)
    if as_json:
        say_json({"folder": str(folder), "files": written})
        return
    for path in written:
        say("wrote", folder / path)
    out.print()
    out.print(f"  cd {folder}", "  pip install -e . pytest jsonschema", "  pytest", sep="\n", markup=False)


def write(folder: Path, name: str, kind: Kind, license: License, author: str) -> list[str]:  # noqa: A002
    """Write the package of a plugin into a new folder; the names of its files. Raises `ConfigurationError`."""
    values = _values(name, kind, license, author)
    texts = dict(_texts(kind, license, values["package"]))
    try:
        for path, template in texts.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(_filled(template.read_text("utf-8"), values), "utf-8")
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be written: {error.strerror}") from None
    return sorted(texts)


def _values(name: str, kind: Kind, license: License, author: str) -> dict[str, str]:  # noqa: A002
    word = name.replace("-", "_")
    title = "".join(part.capitalize() for part in name.split("-"))
    extension = name.replace("-", "")[:15]
    dependencies = _DEPENDENCIES.get(kind, ("secure-delivery",))
    tests = _TESTS.get(kind, ("pytest>=8.3",))
    lines = "" if license is License.none else f'license = "{license}"\nlicense-files = ["LICENSE"]\n'
    return {
        "name": name,
        "word": word,
        "title": title,
        "extension": extension,
        "package": f"secure_delivery_{word}",
        "distribution": f"{_PREFIX}{name}",
        "module": str(kind),
        "summary": _SUMMARIES[kind].format(word=word, extension=extension),
        "dependencies": "\n".join(f'  "{one}",' for one in dependencies),
        "test_dependencies": ", ".join(f'"{one}"' for one in tests),
        "test_install": " ".join(one.partition(">")[0] for one in tests),
        "license_lines": lines,
        "year": str(datetime.datetime.now(datetime.UTC).year),
        "author": author or f"the authors of {_PREFIX}{name}",
    }


def _texts(kind: Kind, license: License, package: str) -> Iterator[tuple[str, Traversable]]:  # noqa: A002
    """Each file of the package, and its template."""
    templates = files(__package__) / "templates"
    places = {
        "pyproject.toml": templates / "all" / "pyproject.toml.txt",
        "README.md": templates / "all" / "README.md.txt",
        ".gitignore": templates / "all" / "gitignore.txt",
        f"src/{package}/py.typed": templates / "all" / "py.typed.txt",
        f"src/{package}/__init__.py": templates / str(kind) / "__init__.py.txt",
        f"src/{package}/{kind}.py": templates / str(kind) / f"{kind}.py.txt",
        "tests/test_contract.py": templates / str(kind) / "test_contract.py.txt",
    }
    yield from places.items()
    if license is not License.none:
        yield "LICENSE", templates / "licenses" / f"{license}.txt"


def _filled(text: str, values: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda match: values[match[1]], text)
