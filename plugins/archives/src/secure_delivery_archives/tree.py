"""Entries as a tree: rows from top to bottom, folders with what is in them.

Knows: names with slashes. Must not know: pictures, formats.

A name is only shown. `..`, a leading slash and a drive are parts like any other, and a name of ten thousand folders is shown
as one of a few.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from .listing import Entry, Listing

MOST_DEEP = 12  # folders inside each other that are told apart
_MOST_NAME = 300  # characters of one part of a name


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a tree."""

    depth: int
    name: str
    folder: bool
    size: int | None
    files: int = 0
    encrypted: bool = False


@dataclass(slots=True)
class _Node:
    children: dict[str, _Node] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    size: int = 0
    files: int = 0
    encrypted: int = 0


def rows(listing: Listing) -> list[Row]:
    """All kept entries as rows, folders before files, each in the order of names, `page 9` before `page 10`."""
    root = _Node()
    for entry in listing.entries:
        _place(root, entry)
    return list(_walk(root, 0))


def _place(root: _Node, entry: Entry) -> None:
    parts = _parts(entry.name)
    node = root
    for part in parts if entry.folder else parts[:-1]:
        node.size += entry.size or 0
        node.files += not entry.folder
        node.encrypted += entry.encrypted
        node = node.children.setdefault(part, _Node())
    node.size += entry.size or 0
    node.files += not entry.folder
    node.encrypted += entry.encrypted
    if not entry.folder:
        node.entries.append(entry)


def _parts(name: str) -> list[str]:
    parts = [part[:_MOST_NAME] or "/" for part in name[:2_000].rstrip("/").split("/")]
    parts = [part for index, part in enumerate(parts) if index == 0 or part not in ("/", ".")]
    if len(parts) > MOST_DEEP:
        parts = [*parts[: MOST_DEEP - 2], "…", parts[-1]]
    return parts


def _walk(node: _Node, depth: int) -> Iterator[Row]:
    for name, child in sorted(node.children.items(), key=lambda child: _order(child[0])):
        yield Row(depth, name, True, child.size, child.files, bool(child.encrypted))
        yield from _walk(child, depth + 1)
    for entry in sorted(node.entries, key=lambda entry: _order(entry.name)):
        yield Row(depth, _parts(entry.name)[-1], False, entry.size, encrypted=entry.encrypted)


def _order(name: str) -> list[tuple[int, str]]:
    """What names are sorted by: numbers in them by their value, which is first their length."""
    parts = re.split(r"([0-9]+)", name[:2_000])
    return [(len(part.lstrip("0")), part.lstrip("0")) if index % 2 else (0, part) for index, part in enumerate(parts)]
