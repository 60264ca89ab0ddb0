"""What a process that decodes strangers' files gives up, and how the kernel is told.

Knows: resource limits, `prctl`, Landlock and seccomp, by ctypes and the kernel's numbers; no library is needed.
Must not know: plugins, jobs, pictures, how a worker is started or spoken to.

The layers, each of which holds without the others:

    namespaces    a network, a host name and message queues of its own, all empty, where the kernel lets
    rlimits       memory, CPU time, file size, open files, core files; processes too where nothing finer denies them
    no_new_privs  no set-uid program and no file capability can give rights back; the kernel wants it for the next two
    landlock      files are opened for reading only, and only beneath libraries and fonts; no TCP, no signal to others
    seccomp       an allow-list of system calls (security promise 46): what is not on it does not happen

With any of them on Linux, the process also loses its capabilities, cannot be traced or dump core, and dies with its parent.
Landlock does not hide whether a file exists or how large it is; its contents stay out of reach. Many distributions and
containers forbid user namespaces: they are used where they are to be had, and nothing here depends on them.

External programs get the same layers in another measure (`confine_program`).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import math
import os
import resource
import signal
import socket
import struct
import sys
import sysconfig
from collections.abc import Collection, Iterable
from pathlib import Path

from ..gate.errors import ConfigurationError
from ..plugin.protocols import WorkLimits
from . import seccomp

#: In the order in which they are applied: seccomp comes last because it forbids the means of the others.
LAYERS = ("namespaces", "rlimits", "no_new_privs", "landlock", "seccomp")
LINUX = sys.platform.startswith("linux")

_THREADS = 256  # of a decoder, where they can be counted
_OPEN_FILES = 288  # the members of a list (two hundred at most), the output, shared objects while they are being loaded


# ----------------------------------------------------------------------------------------------------------- the kernel

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 36, 38
_SECCOMP_MODE_FILTER = 2
_NEW_USER, _NEW_NET, _NEW_IPC, _NEW_UTS = 0x10000000, 0x40000000, 0x08000000, 0x04000000
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446  # the same on every architecture
_CAPABILITY_VERSION_3 = 0x20080522


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _prctl(option: int, value: int, pointer: object = None) -> None:
    word = ctypes.c_ulong
    _checked(_libc().prctl(option, word(value), pointer or word(0), word(0), word(0)))


def _syscall(number: int, *arguments: object) -> int:
    whole = (ctypes.c_long(item) if isinstance(item, int) else item for item in arguments)
    return _checked(_libc().syscall(ctypes.c_long(number), *whole))


def _unshare(flags: int) -> None:
    _checked(_libc().unshare(ctypes.c_int(flags)))


# -------------------------------------------------------------------------------------------------------------- rlimits


def _limit(kind: int, soft: int, hard: int | None = None) -> None:
    """Lower one limit for good; a limit that is already lower stays."""
    ceiling = resource.getrlimit(kind)[1]
    top = soft if hard is None else hard
    if ceiling != resource.RLIM_INFINITY:
        soft, top = min(soft, ceiling), min(top, ceiling)
    resource.setrlimit(kind, (soft, top))


def _apply_rlimits(limits: WorkLimits, *, threads: bool) -> None:
    """Security promise 45.

    The limit on processes counts the threads of everything the user runs. It is zero, unless `threads` are to be possible
    because seccomp is there and tells them from processes.
    """
    _limit(resource.RLIMIT_CORE, 0)
    # One second later a handler is no way out; the rest is for earlier jobs of the same process, see `allow_time`.
    _limit(resource.RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + spared(limits) + 1)
    _limit(resource.RLIMIT_FSIZE, limits.bytes)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    if not threads:
        _limit(resource.RLIMIT_NPROC, 0)
    try:
        _limit(resource.RLIMIT_AS, limits.memory + _mapped())
    except (ValueError, OSError):
        if LINUX:  # macOS refuses any bound on address space; elsewhere memory without a bound must not pass unseen
            raise


def spared(limits: WorkLimits) -> int:
    """Seconds of CPU time that a process may have spent on earlier jobs and is still given a whole limit for the next."""
    return min(5, limits.cpu_seconds) if LINUX else 0


def allow_time(process: int, used: float, limits: WorkLimits) -> None:
    """Give a process that has used so many seconds of CPU time, at most `spared`, those of one job. Raises `OSError`."""
    seconds = limits.cpu_seconds + math.ceil(used)
    resource.prlimit(process, resource.RLIMIT_CPU, (seconds, limits.cpu_seconds + spared(limits) + 1))


def _mapped() -> int:
    """Bytes of address space that this process has already: the libraries of plugins are not what a file costs."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:  # not Linux
        return 0


# ------------------------------------------------------------------------------------------------------------- landlock

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_TCP, _CONNECT_TCP = 0b11, 0b10  # bind and connect, connect
_SCOPES = 0b11  # abstract Unix sockets, signals

_SYSTEM = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/etc/fonts",
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/usr/share/zoneinfo",
    "/dev/null",
    "/dev/urandom",
)


def readable(more: Iterable[str] = ()) -> tuple[str, ...]:
    """What a confined process may read: this interpreter's libraries, shared objects, fonts, and `more`.

    Every folder on the import path is among them, so data must not be kept beside installed code.
    """
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    python = [sysconfig.get_path(name) for name in names] + [sysconfig.get_config_var("LIBDIR") or ""]
    wanted = dict.fromkeys([*_SYSTEM, *python, *(item for item in sys.path if item), *more])
    # The root as an entry of sys.path would open everything: such an interpreter loses late imports instead.
    return tuple(path for path in wanted if path and Path(path).is_absolute() and Path(path).resolve() != Path("/"))


def _landlock_abi() -> int:
    """The version of the interface, 0 where there is none."""
    try:
        return _syscall(_LANDLOCK_CREATE, None, 0, 1)
    except OSError:
        return 0


def _all_rights(abi: int) -> int:
    return (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(abi, 16)) - 1


def ruleset(paths: Iterable[str], *, port: int | None = None) -> int | None:
    """A descriptor of Landlock rules: read beneath `paths`, nothing else anywhere. `None` where there is no Landlock.

    Made once and entered by many processes. Paths that do not exist are left out. Connecting by TCP is possible to `port`
    alone, or to none.
    """
    abi = _landlock_abi() if LINUX else 0
    if not abi:
        return None
    fields = [_all_rights(abi), *([_TCP] if abi >= 4 else []), *([_SCOPES] if abi >= 6 else [])]
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    rules = _syscall(_LANDLOCK_CREATE, ctypes.c_char_p(attributes), len(attributes), 0)
    fcntl.fcntl(rules, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    for path in paths:
        _permit(rules, path, _READ_FILE | _READ_DIR)
    if port is not None and abi >= 4:
        _syscall(_LANDLOCK_ADD, rules, 2, ctypes.c_char_p(struct.pack("=QQ", _CONNECT_TCP, port)), 0)
    return rules


def _permit(rules: int, path: str, rights: int) -> None:
    """Add what may be done beneath a folder, or with a file. A path that does not exist is left out."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not Path(path).is_dir():
            rights &= _OF_FILES
        _syscall(_LANDLOCK_ADD, rules, 1, ctypes.c_char_p(struct.pack("=Qi", rights, place)), 0)
    finally:
        os.close(place)


# -------------------------------------------------------------------------------------------------------------- seccomp


class _Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def _machine() -> seccomp.Machine:
    machine = seccomp.machine()
    if machine is None:
        raise OSError(errno.ENOSYS, "the filter is not written for this machine")
    return machine


def _apply_seccomp(code: bytes) -> None:
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(_Filter(len(code) // 8, code)))


def _seccomp_there() -> bool:
    """Whether this kernel takes filters: it looks at the pointer (EFAULT) only when it knows the mode (prctl(2))."""
    try:
        _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER)
    except OSError as error:
        return error.errno == errno.EFAULT
    return False


# ------------------------------------------------------------------------------------------------------------ the whole


def available() -> dict[str, bool | str]:
    """For each layer whether this machine has it, or in which version; for the operator's `doctor` (security promise 47)."""
    abi = _landlock_abi() if LINUX else 0
    machine = seccomp.machine()
    return {
        "rlimits": True,
        "no_new_privs": LINUX,
        "landlock": f"ABI {abi}" if abi else False,
        "seccomp": machine.name if machine is not None and _seccomp_there() else False,
        "namespaces": _namespaces_there(),
    }


def _namespaces_there() -> bool:
    """Whether this process may make namespaces, tried in a process of its own."""
    if not LINUX:
        return False
    child = os.fork()
    if child == 0:
        try:
            _unshare(_NEW_USER | _NEW_NET | _NEW_IPC | _NEW_UTS)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def shield() -> None:
    """Keep other processes of the same user from reading this one's memory; what it forks inherits that."""
    if LINUX:
        _prctl(_PR_SET_DUMPABLE, 0)


def adopt_orphans() -> None:
    """Become the parent of what children leave behind, so that it can be found and ended (prctl(2), a subreaper)."""
    if LINUX:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def apply(layers: Collection[str], limits: WorkLimits, rules: int | None = None, *, parent: int | None = None) -> None:
    """Confine this process, for good. It must have one thread.

    `layers` are names of `LAYERS`; `rules` is what `ruleset` gave, closed here; `parent` is the process without which this
    one must not live on. Raises `ConfigurationError` naming the first layer that could not be had: the caller must then do
    no work.
    """
    for name in LAYERS:
        if LINUX and name == "rlimits":  # a new namespace comes with capabilities in it, so they are given up afterwards
            _forsake(parent)
        if name in layers:
            try:
                _apply_one(name, limits, rules, threads="seccomp" in layers)
            except (OSError, ValueError) as error:
                raise ConfigurationError(f"confinement layer {name} could not be applied: {error}") from None


def _apply_one(name: str, limits: WorkLimits, rules: int | None, *, threads: bool) -> None:
    if name == "namespaces":
        _unshare(_NEW_USER | _NEW_NET | _NEW_IPC | _NEW_UTS)
        _limit(resource.RLIMIT_NPROC, _THREADS)  # counted in this namespace: elsewhere all that the user runs would count
    elif name == "rlimits":
        _apply_rlimits(limits, threads=threads)
    elif name == "no_new_privs":
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    elif name == "landlock":
        _enter(rules)
    else:
        _apply_seccomp(seccomp.program(os.getpid(), _machine()))


def _forsake(parent: int | None) -> None:
    """Give up capabilities, tracing and dumping; with `parent`, die when it does."""
    _lose_capabilities()
    _prctl(_PR_SET_DUMPABLE, 0)
    if parent is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel was told
            os._exit(1)


def _lose_capabilities() -> None:
    machine = seccomp.machine()
    if machine is not None:
        header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
        _syscall(machine.capset, header, ctypes.c_char_p(bytes(24)))


def _enter(rules: int | None) -> None:
    if rules is None:
        raise OSError(errno.ENOSYS, "the kernel has no Landlock")
    _syscall(_LANDLOCK_RESTRICT, rules, 0)
    os.close(rules)


def probe(limits: WorkLimits, rules: int | None) -> frozenset[str]:
    """The layers that really take effect here, found out by a forked process that applies all it can.

    Containers filter system calls too, so what the kernel offers and what this process may use can differ.
    The caller must have one thread.
    """
    inlet, outlet = os.pipe()
    child = os.fork()
    if child == 0:
        _try_all(outlet, limits, rules)
    os.close(outlet)
    with open(inlet, encoding="utf-8") as report:  # noqa: PTH123 - a descriptor has no path
        names = report.read().split()
    os.waitpid(child, 0)
    return frozenset(names)


def _try_all(outlet: int, limits: WorkLimits, rules: int | None) -> None:
    """Apply one layer after the other and write down each that holds. Ends the process."""
    try:
        offered = available()
        for name in LAYERS:
            if LINUX and name == "rlimits":
                _forsake(None)
            try:
                if offered[name]:
                    _apply_one(name, limits, rules, threads=True)
                    if _holds(name):
                        os.write(outlet, name.encode() + b"\n")
            except (OSError, ValueError):
                continue
    finally:
        os._exit(0)


def _holds(layer: str) -> bool:
    """Whether something the layer forbids is now refused."""
    try:
        if layer == "landlock":
            os.close(os.open("/", os.O_RDONLY))
        elif layer == "seccomp":
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).close()
        else:
            return True
    except PermissionError:
        return True
    return False
