"""Places that a picker lists: one of our own, folders of this machine that an application's aliases open; others by plugins.

Knows: aliases, folders. Must not know: HTTP, the picker's words.
"""

from __future__ import annotations

import mimetypes
import stat
from collections.abc import Mapping
from pathlib import Path

from ..gate.errors import NotFound
from ..gate.model import Application
from ..plugin.protocols import CloudEntry, CloudFolder
from .names import clean_name
from .sources import Folders, SourceFile

PAGE = 200  # entries at once


class FolderSource:
    """The folders behind an application's aliases (`folder:NAME/…`), as one tree: `/ALIAS/path`."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders

    def folder(self, application: Application, path: str, *, after: str | None) -> CloudFolder:
        """What is in a folder, by name, at most `PAGE` entries behind `after`. Raises `NotFound`."""
        steps = [step for step in path.split("/") if step]
        opened = _opened(application)
        if not steps:
            names = sorted(name for name in opened if after is None or name > after)
            entries = [CloudEntry(name=name, path=f"/{name}/", folder=True) for name in names[:PAGE]]
            return CloudFolder(entries=tuple(entries), after=names[PAGE - 1] if len(names) > PAGE else None)
        folder = self._folder(opened, steps)
        try:
            there = [path.name for path in folder.iterdir()]
        except OSError as error:
            raise NotFound(f"{path}: {error.strerror}") from None
        found = sorted(name for name in there if _shown(name) and (after is None or name > after))
        entries = [entry for name in found[:PAGE] if (entry := _entry(folder / name, "/".join(steps))) is not None]
        return CloudFolder(entries=tuple(entries), after=found[PAGE - 1] if len(found) > PAGE else None)

    def file(self, application: Application, path: str, *, max_bytes: int) -> SourceFile:
        """A file of the tree. Raises `NotFound`, `TooLarge`."""
        alias, _, beneath = path.strip("/").partition("/")
        target = _opened(application).get(alias)
        if target is None or not beneath or not all(_shown(step) for step in beneath.split("/") if step):
            raise NotFound(f"no folder {alias!r}")
        return self._folders.open(target, beneath, max_bytes=max_bytes)

    def _folder(self, opened: Mapping[str, str], steps: list[str]) -> Path:
        target = opened.get(steps[0])
        if target is None:
            raise NotFound(f"no folder {steps[0]!r}")
        return self._folders.folder(target, "/".join(steps[1:]))


def _opened(application: Application) -> dict[str, str]:
    return {alias: target for alias, target in application.aliases.items() if target.startswith("folder:")}


def _shown(name: str) -> bool:
    """Hidden files, and names that are no text, are not shown."""
    return not name.startswith(".") and name.isprintable() and "\\" not in name


def _entry(path: Path, above: str) -> CloudEntry | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    name = path.name
    if stat.S_ISDIR(status.st_mode):
        return CloudEntry(name=name, path=f"/{above}/{name}/", folder=True)
    if not stat.S_ISREG(status.st_mode):  # links are not followed
        return None
    return CloudEntry(
        name=clean_name(name),
        path=f"/{above}/{name}",
        folder=False,
        size=status.st_size,
        mimetype=mimetypes.guess_type(name)[0],
        modified=int(status.st_mtime),
    )
