"""A room of its own for a program: namespaces in which it is the first process and finds little more than it may read.

Knows: namespaces, mounts, their numbers. Must not know: what a program may do in its room (`confine_program`).

The first process of such a room takes all others with it when it ends, and dies with its parent; `/proc` shows the room
alone; the root holds only the paths that are named, so nobody's socket can be found either, which Landlock would not ask
about. What is left out when mounting is forbidden here (security modules, containers) is comfort and second lines: files are
guarded by Landlock in any case.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from .confine import (
    _NEW_IPC,
    _NEW_NET,
    _NEW_USER,
    _NEW_UTS,
    _PR_SET_PDEATHSIG,
    _checked,
    _libc,
    _prctl,
    _syscall,
    _unshare,
)
from .seccomp import machine

NAME = "room"  # the folder, in that of a run, which becomes the root

_NEW_MOUNT, _NEW_PROCESSES = 0x00020000, 0x20000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
_MNT_DETACH = 2
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}


def enter(folder: str, paths: Iterable[str], *, network: bool) -> bool:
    """Go on in a child that is the first process of namespaces of its own; whether its root is its own, too.

    There it finds `paths`, the folder, where it has always been, and the folder's `tmp` as /tmp. This process stays outside,
    waits for that child and ends as it does. Raises `OSError` where there are no namespaces to be had.
    """
    _unshare(_NEW_USER | _NEW_IPC | _NEW_UTS | _NEW_MOUNT | _NEW_PROCESSES | (0 if network else _NEW_NET))
    child = os.fork()
    if child:
        _wait(child)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        _furnish(Path(folder), paths)
    except OSError:
        return False
    return True


def _wait(child: int) -> NoReturn:
    """End as a child ends."""
    try:
        os.closerange(0, os.sysconf("SC_OPEN_MAX"))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os._exit(status if status >= 0 else 128 - status)
    finally:
        os._exit(126)


def _furnish(folder: Path, paths: Iterable[str]) -> None:
    """Make a root of the folder `room` and enter it. Until the last step nothing is different for this process."""
    room = folder / NAME
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    room.mkdir(mode=0o700)
    _mount(str(room), str(room), None, _MS_BIND)
    for path in paths:
        _show(Path(path), room)
    (room / "proc").mkdir()
    _mount("proc", str(room / "proc"), "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    (room / "tmp").mkdir()
    _mount(str(folder / "tmp"), str(room / "tmp"), None, _MS_BIND)
    inside = room / folder.relative_to("/")  # which may be in the /tmp that is covered now
    inside.mkdir(parents=True)
    _mount(str(folder), str(inside), None, _MS_BIND)
    here = machine()
    if here is None:
        raise OSError("no number for pivot_root")
    os.chdir(room)
    _syscall(_PIVOT_ROOT[here.name], ctypes.c_char_p(b"."), ctypes.c_char_p(b"."))
    _checked(_libc().umount2(ctypes.c_char_p(b"."), ctypes.c_int(_MNT_DETACH)))
    os.chdir("/")


def _show(path: Path, room: Path) -> None:
    """Let a path be in the room, as the link, folder or file that it is; what does not exist is left out."""
    place = room / path.relative_to("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        place.symlink_to(path.readlink())
        return
    if path.is_dir():
        place.mkdir(exist_ok=True)
    elif path.exists():
        place.touch()
    else:
        return
    _mount(str(path), str(place), None, _MS_BIND | _MS_REC)


def _mount(source: str | None, target: str, kind: str | None, flags: int) -> None:
    words = [None if word is None else ctypes.c_char_p(os.fsencode(word)) for word in (source, target, kind)]
    _checked(_libc().mount(*words, ctypes.c_ulong(flags), None))
