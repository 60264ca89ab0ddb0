"""What an external program may do: an office, a browser, whatever a stranger's file makes of it.

Knows: the layers of `confine` in another measure, namespaces, mounts. Must not know: which program it is, who asked.

A program may start processes, read what a system consists of, and write one folder. Where the kernel lets it, it also gets a
room of its own (`confine_room`). Without one, and only then, it can remove files that are ours from /tmp, look up the command
lines of other processes, and a browser can speak to a server on a local socket: `doctor` says so.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from ..gate.errors import ConfigurationError
from ..plugin.protocols import WorkLimits
from . import confine, confine_room, seccomp
from .confine import (
    _EXECUTE,
    _PR_SET_NO_NEW_PRIVS,
    _PR_SET_PDEATHSIG,
    _READ_DIR,
    _READ_FILE,
    _WRITE_FILE,
    _all_rights,
    _apply_seccomp,
    _enter,
    _landlock_abi,
    _limit,
    _lose_capabilities,
    _machine,
    _permit,
    _prctl,
)

# Keys under /etc/ssl, data and applications under /opt are nobody's business.
_READS = (
    "/bin", "/sbin", "/usr", "/lib", "/lib64", "/opt/google", "/proc", "/sys/devices/system/cpu",
    "/etc/alternatives", "/etc/chromium", "/etc/fonts", "/etc/ld.so.cache", "/etc/libreoffice", "/etc/localtime",
    "/etc/nsswitch.conf", "/etc/passwd", "/etc/pki/ca-trust/extracted", "/etc/ssl/certs", "/etc/ssl/openssl.cnf",
    "/var/lib/libreoffice", "/var/spool/libreoffice",
)  # fmt: skip
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_OPEN_FILES = 4096
_PROCESSES = 1024  # a browser has some two hundred threads
_NICENESS = 5  # answering requests goes before programs
_REMOVE_FILE, _MAKE_SOCKET = 1 << 5, 1 << 9
# Where LibreOffice makes a socket and removes it, whatever it is told. In a room of its own nobody else has anything there;
# without one it may make no file there, but remove what the file system lets us remove: `doctor` says so.
_TMP = "/tmp"  # noqa: S108


class Measure(NamedTuple):
    """How a program is confined: its `folder`, the `path` it is started from, `memory` as bytes of address space (0: not
    bounded), the `port` on which it may connect by TCP, if any."""

    folder: str
    path: str
    memory: int
    port: int | None


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; at once when that has happened."""
    if confine.LINUX:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def apply(measure: Measure, limits: WorkLimits, layers: Collection[str]) -> None:
    """Confine this process for a program that it becomes, for good. It must have one thread.

    Raises `ConfigurationError` for a layer among `layers` that cannot be had. With namespaces this returns in a child of
    the process that called it, which waits for that child and ends as it does.
    """
    os.nice(_NICENESS)
    own_tmp = False
    for name in confine.LAYERS:
        if name not in layers:
            continue
        try:
            if name == "namespaces":
                shown = (*(path for path in _reads(measure) if path != "/proc"), *_DEVICES)
                own_tmp = confine_room.enter(measure.folder, shown, network=measure.port is not None)
            else:
                _apply_one(name, measure, limits, own_tmp=own_tmp, counted="namespaces" in layers)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"confinement layer {name} could not be applied: {error}") from None


def _apply_one(name: str, measure: Measure, limits: WorkLimits, *, own_tmp: bool, counted: bool) -> None:
    if name == "rlimits":
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_FSIZE, limits.bytes)
        _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
        _limit(resource.RLIMIT_CPU, int(limits.seconds) * 2)
        if counted:  # in a namespace of its own: elsewhere everything the user runs would be counted
            _limit(resource.RLIMIT_NPROC, _PROCESSES)
        if measure.memory:
            _limit(resource.RLIMIT_AS, measure.memory)
        if confine.LINUX:
            _lose_capabilities()
    elif name == "no_new_privs":
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    elif name == "landlock":
        _enter(_rules(measure, own_tmp=own_tmp))
    else:
        _apply_seccomp(seccomp.for_program(_machine(), network=measure.port is not None))


def _rules(measure: Measure, *, own_tmp: bool) -> int | None:
    rules = confine.ruleset((), port=measure.port)
    if rules is not None:
        for path in _reads(measure):
            _permit(rules, path, _READ_FILE | _READ_DIR | _EXECUTE)
        for path in _DEVICES:
            _permit(rules, path, _READ_FILE | _WRITE_FILE)
        _permit(rules, _TMP, _all_rights(_landlock_abi()) if own_tmp else _MAKE_SOCKET | _REMOVE_FILE)
        _permit(rules, measure.folder, _all_rights(_landlock_abi()))
    return rules


def _reads(measure: Measure) -> tuple[str, ...]:
    """What a program may read: what a system consists of, and its own folder if it was installed under /opt."""
    parts = Path(measure.path).resolve().parts
    return (*_READS, f"/opt/{parts[2]}") if parts[:2] == ("/", "opt") and len(parts) > 3 else _READS
