"""The table of families: `python docs/make_families.py` writes `families.md` from the plugins that are installed.

Knows: what plugins declare, which file stands behind each previewer. Must not know: anything that is explained in prose.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from make_tables import table

from secure_delivery.engine.capabilities import capabilities
from secure_delivery.plugin.manager import Registry, load

DOCS = Path(__file__).parent
PAGE = DOCS / "families.md"
_SHOWN = 8  # extensions in the table; all of them stand below it
_HEAD = """\
# Families of files

What the plugins of this repository preview, each from a package of its own. `python docs/make_families.py` writes this page
from the installed plugins, and a test previews every file named here for real. What your server covers, and what it lacks,
`secure-delivery plugins` tells; clients ask [`GET /api/capabilities`](previewers.md#what-can-be-previewed-here).

Previewers are tried in the order in which they stand here; an icon by family stands for everything else, so there is always a
picture. A family that is not here needs nothing but [another package](previewers.md).

"""


def samples() -> Mapping[str, Any]:
    """The file behind each previewer, from the tests."""
    return _loaded("family_samples", DOCS.parent / "tests" / "plugin" / "family_samples.py").SAMPLES  # type: ignore[no-any-return]


def _loaded(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def page(registry: Registry | None = None) -> str:
    """The whole page."""
    registry = registry or load()
    told = capabilities(registry)
    families = [family for family in told["families"] if family["family"] != "icon"]
    rows = [_row(family, told, registry) for family in families]
    columns = ("family", "for", "previewers, in order", "needs", "sections", "package", "tested with")
    parts = [_HEAD, table(columns, rows), "\n\n## Sections\n\n", _sections(told, registry), "\n\n## Types and extensions\n"]
    for family in families:
        types = ", ".join(f"`{one}`" for one in family["mimetypes"])
        extensions = " ".join(family["extensions"])
        parts.append(f"\n### {family['family']}\n\n{types}\n" + (f"\n```\n{_wrapped(extensions)}\n```\n" if extensions else ""))
    return "".join(parts)


def _row(family: Mapping[str, Any], told: Mapping[str, Any], registry: Registry) -> tuple[str, ...]:
    names = [one["name"] for one in family["previewers"]]
    covers = family["extensions"] or family["mimetypes"]
    rest = f" and {len(covers) - _SHOWN} more" if len(covers) > _SHOWN else ""
    files = [samples()[name].filename for name in names]
    return (
        family["family"],
        ", ".join(covers[:_SHOWN]) + rest,
        ", ".join(f"`{name}`" for name in names),
        "; ".join(dict.fromkeys(_needs(registry, name) for name in names if _needs(registry, name))) or "-",
        ", ".join(f"`{one['section']}`" for one in told["extractors"] if _touches(one, family)),
        ", ".join(dict.fromkeys(_package(registry, "previewers", name) for name in names)),
        ", ".join(f"`{name}`" for name in dict.fromkeys(files)),
    )


def _needs(registry: Registry, name: str) -> str:
    """Programs that a previewer has run, by what they are called on a machine."""
    programs = [registry.programs[one] for one in registry.previewers[name].needs.programs if one in registry.programs]
    words = dict.fromkeys(word for one in programs for word in (one.executables[0], *one.needs[:1]))
    return f"`{name}`: {', '.join(Path(word).name for word in words)}" if words else ""


def _touches(extractor: Mapping[str, Any], family: Mapping[str, Any]) -> bool:
    types = set(extractor["mimetypes"]) - {"*/*", "text/plain", "application/zip", "application/pdf", "image/tiff"}
    kinds = {one.partition("/")[0] + "/*" for one in family["mimetypes"]}
    return bool("*/*" in extractor["mimetypes"] or types & {*family["mimetypes"], *kinds})


def _package(registry: Registry, kind: str, name: str) -> str:
    return registry.version_of(kind, name).partition(" ")[0]


def _sections(told: Mapping[str, Any], registry: Registry) -> str:
    rows = []
    for one in told["extractors"]:
        properties = one["schema"].get("properties") or one["schema"].get("items", {}).get("properties") or {}
        says = ", ".join(f"`{name}`" for name in list(properties)[:12]) + (", …" if len(properties) > 12 else "")
        rows.append((f"`{one['section']}`", one["call"], says or "-", _package(registry, "extractors", one["section"])))
    return table(("section", "call", "says", "package"), rows)


def _wrapped(text: str) -> str:
    lines, line = [], ""
    for word in text.split():
        if len(line) + len(word) > 100:
            lines.append(line.rstrip())
            line = ""
        line += f"{word} "
    return "\n".join([*lines, line.rstrip()])


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
