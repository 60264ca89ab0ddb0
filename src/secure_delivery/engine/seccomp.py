"""The system calls that a process which decodes strangers' files may make, as a filter for the kernel.

Knows: names, numbers and arguments of system calls on the architectures it is written for; classic BPF.
Must not know: how a filter is installed, what the process does.

Security promise 46 asks for an allow-list: what is not named here is refused with EPERM. No call on it opens a socket,
starts a program or a process, makes a file or changes one by name, looks into another process or signals one. Descriptors
are received over the one socket that the process was given, and none can be sent.

External programs (an office, a browser) use far too many calls for such a list. For them there is a list of what is
refused: `for_program`. They have no file and no network by other means as well (`confine`).
"""

from __future__ import annotations

import errno
import platform
import struct
import sys
from collections.abc import Iterable
from typing import NamedTuple


class Machine(NamedTuple):
    """An architecture that the filter is written for: its audit number, its column in the tables, its `capset`."""

    name: str
    audit: int
    column: int
    capset: int


_MACHINES = {"x86_64": Machine("x86_64", 0xC000003E, 1, 126), "aarch64": Machine("aarch64", 0xC00000B7, 2, 91)}


def machine() -> Machine | None:
    """This machine, when it is one of the known ones and runs 64-bit programs of little-endian order."""
    fits = sys.platform.startswith("linux") and sys.byteorder == "little" and struct.calcsize("P") == 8
    return _MACHINES.get(platform.machine()) if fits else None


# Name, number on x86_64, number on aarch64 ("-": the architecture does not have it).
_ALLOWED = """
read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68, preadv 295 69, pwritev 296 70,
preadv2 327 286, pwritev2 328 287, lseek 8 62, close 3 57, close_range 436 436, dup 32 23, dup2 33 -, dup3 292 24,
pipe2 293 59, ftruncate 77 46, fadvise64 221 223, fsync 74 82, fdatasync 75 83,
stat 4 -, lstat 6 -, fstat 5 80, newfstatat 262 79, statx 332 291, access 21 -, faccessat 269 48, faccessat2 439 439,
readlink 89 -, readlinkat 267 78, getdents64 217 61, getcwd 79 17, statfs 137 43, fstatfs 138 44,
mmap 9 222, munmap 11 215, mprotect 10 226, mremap 25 216, madvise 28 233, brk 12 214,
rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, sigaltstack 131 132, restart_syscall 219 128,
futex 202 98, set_robust_list 273 99, get_robust_list 274 100, rseq 334 293, membarrier 324 283, set_tid_address 218 96,
exit 60 93, exit_group 231 94, sched_yield 24 124, sched_getaffinity 204 123, sched_getparam 143 121,
sched_getscheduler 145 120, sched_get_priority_max 146 125, sched_get_priority_min 147 126,
getpid 39 172, gettid 186 178, getppid 110 173, getuid 102 174, geteuid 107 175, getgid 104 176, getegid 108 177,
uname 63 160, sysinfo 99 179, getcpu 309 168, getrandom 318 278, clock_gettime 228 113, clock_getres 229 114,
clock_nanosleep 230 115, nanosleep 35 101, gettimeofday 96 169, time 201 -, times 100 153, getrusage 98 165,
getrlimit 97 163, recvmsg 47 212, poll 7 -, ppoll 271 73, select 23 -, pselect6 270 72, epoll_create1 291 20, epoll_ctl 233 21,
epoll_wait 232 -, epoll_pwait 281 22, eventfd2 290 19
"""

# Allowed with some arguments only; what is asked of them stands in `_guarded`.
_GUARDED = "open 2 -, openat 257 56, fcntl 72 25, ioctl 16 29, prctl 157 167, prlimit64 302 261, tgkill 234 131, clone 56 220"

# Answered with "not there": the C library then falls back to a call whose arguments the filter can read.
_ABSENT = "clone3 435 435, openat2 437 437"

_WRITING = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000 | 0o20000000  # O_WRONLY, RDWR, CREAT, TRUNC, APPEND, the bit of TMPFILE
_FCNTLS = (0, 1, 2, 3, 4, 5, 1030)  # duplicate (with and without close-on-exec), flags, read locks; no owner, no lease
_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5450, 0x5451)  # is it a terminal, its size, bytes waiting, close-on-exec
_PRCTLS = (15, 16, 0x53564D41)  # name of a thread, name of a mapping
_CLONE_THREAD = 0x00010000
_NAMESPACES = 0x7E020000  # mount, cgroup, uts, ipc, user, pid, network

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN, _AND = 0x20, 0x15, 0x35, 0x45, 0x06, 0x54
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_DENY = _ERRNO | errno.EPERM  # an error, not a kill: libraries try things they can do without
_Instruction = tuple[int, int, int, int]


def _calls(table: str) -> dict[str, tuple[str, str, str]]:
    rows = (tuple(row.split()) for row in table.replace("\n", " ").split(","))
    return {name: (name, one, two) for name, one, two in rows}


def allowed() -> frozenset[str]:
    """The names of all system calls that the filter lets through, with any or with some arguments."""
    return frozenset(_calls(_ALLOWED)) | frozenset(_calls(_GUARDED))


def _argument(index: int, *, high: bool = False) -> _Instruction:
    return (_LOAD, 0, 0, 16 + 8 * index + 4 * high)


def _one_of(index: int, values: Iterable[int]) -> list[_Instruction]:
    block = [_argument(index)]
    for value in values:
        block += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]
    return [*block, (_RETURN, 0, 0, _DENY)]


def _none_of_bits(index: int, mask: int) -> list[_Instruction]:
    return [_argument(index), (_ANY_BIT, 0, 1, mask), (_RETURN, 0, 0, _DENY), (_RETURN, 0, 0, _ALLOW)]


def _guarded(own: int) -> dict[str, list[_Instruction]]:
    """For each guarded call, instructions that end in a verdict. `own` is the process id of the filtered process.

    Only the low half of an argument counts where the kernel takes an `int`; a pointer is compared in both halves.
    """
    allow, deny = (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _DENY)
    thread = [_argument(0), (_ANY_BIT, 0, 2, _CLONE_THREAD), (_ANY_BIT, 1, 0, _NAMESPACES), allow, deny]
    reading = [_argument(2), (_EQUAL, 0, 6, 0), _argument(2, high=True), (_EQUAL, 0, 4, 0)]
    mine = [_argument(0), (_EQUAL, 1, 0, 0), (_EQUAL, 0, 1, own), allow, deny]
    return {
        "open": _none_of_bits(1, _WRITING),
        "openat": _none_of_bits(2, _WRITING),
        "fcntl": _one_of(1, _FCNTLS),
        "ioctl": _one_of(1, _IOCTLS),
        "prctl": _one_of(0, _PRCTLS),
        "tgkill": _one_of(0, (own,)),  # abort() raises its signal this way
        "clone": thread,
        "prlimit64": [*reading, *mine],  # own limits, and only to look at them
    }


def _preamble(machine: Machine) -> list[_Instruction]:
    return [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, machine.audit),
        (_RETURN, 0, 0, _KILL),  # numbers of another architecture mean other calls
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, 0, 1, 0x40000000),
        (_RETURN, 0, 0, _KILL),  # x32: the same calls under other numbers
    ]


def _packed(code: Iterable[_Instruction]) -> bytes:
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


# What no external program needs: other processes' memory, mounts, namespaces, keys, modules, clocks, performance counters.
_REFUSED = """
ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, kcmp 312 272, pidfd_getfd 438 438,
mount 165 40, umount2 166 39, pivot_root 155 41, chroot 161 51, move_mount 429 429, open_tree 428 428, fsopen 430 430,
fsmount 432 432, fsconfig 431 431, fspick 433 433, mount_setattr 442 442, setns 308 268, unshare 272 97,
bpf 321 280, io_uring_setup 425 425, io_uring_enter 426 426, io_uring_register 427 427, userfaultfd 323 282,
keyctl 250 219, add_key 248 217, request_key 249 218, perf_event_open 298 241, init_module 175 105, finit_module 313 273,
delete_module 176 106, kexec_load 246 104, kexec_file_load 320 294, reboot 169 142, swapon 167 224, swapoff 168 225,
acct 163 89, quotactl 179 60, settimeofday 164 170, clock_settime 227 112, adjtimex 159 171, clock_adjtime 305 266,
open_by_handle_at 304 265, name_to_handle_at 303 264, fanotify_init 300 262, lookup_dcookie 212 18, nfsservctl 180 42,
syslog 103 116, vhangup 153 58, sethostname 170 161, setdomainname 171 162, iopl 172 -, ioperm 173 -
"""
_PROGRAM_GUARDED = """
socket 41 198, socketpair 53 199, connect 42 203, listen 50 201, sendto 44 206, sendmsg 46 211, sendmmsg 307 269, clone 56 220
"""
_UNIX, _INET, _INET6, _STREAM, _DATAGRAM, _TCP, _KIND = 1, 2, 10, 1, 2, 6, 0xF
_FASTOPEN = 0x20000000  # MSG_FASTOPEN: connects while sending, past what Landlock says about connecting


def for_program(machine: Machine, *, network: bool) -> bytes:
    """The filter for an external program: what is named is refused.

    Without `network` a program may make a local socket and wait on it, and reach nobody's: Landlock does not ask who listens
    at a path, and a database or a container daemon may. With `network` it may connect, by TCP proper and where Landlock says
    (which knows no other protocol over streams, such as MPTCP), and waits on no socket, though it is told that it does:
    Chromium insists. A pair of datagram sockets could be connected anew, to a path.
    """
    allow, deny, refused = (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _DENY), (_RETURN, 0, 0, _ERRNO | errno.ECONNREFUSED)
    kind = [_argument(1), (_AND, 0, 0, _KIND)]
    stream = [*kind, (_EQUAL, 0, 1, _STREAM), allow, deny]
    local = [_argument(0), (_EQUAL, 0, 4, _UNIX), *stream]
    tcp = [
        *(_argument(0), (_EQUAL, 2, 0, _INET), (_EQUAL, 1, 0, _INET6), (_EQUAL, 3, 7, _UNIX)),
        *(_argument(2), (_EQUAL, 1, 0, 0), (_EQUAL, 0, 4, _TCP), *stream),
    ]
    pair = [_argument(0), (_EQUAL, 0, 4, _UNIX), *kind, (_EQUAL, 1, 0, _DATAGRAM), allow, deny]
    blocks = {
        "socket": tcp if network else local,
        "socketpair": pair,
        "connect": [allow if network else refused],
        "listen": [(_RETURN, 0, 0, _ERRNO) if network else allow],
        "sendto": _none_of_bits(3, _FASTOPEN),
        "sendmsg": _none_of_bits(2, _FASTOPEN),
        "sendmmsg": _none_of_bits(3, _FASTOPEN),
        "clone": _none_of_bits(0, _NAMESPACES),
    }
    code = _preamble(machine)
    rows = _calls(_REFUSED) | _calls(_PROGRAM_GUARDED) | _calls(_ABSENT)
    for name, row in rows.items():
        if row[machine.column] != "-":
            absent = (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)
            block = blocks.get(name, [absent if name in _calls(_ABSENT) else deny])
            code += [(_EQUAL, 0, len(block), int(row[machine.column])), *block]
    return _packed([*code, allow])


def program(own: int, machine: Machine) -> bytes:
    """The filter as classic BPF: `struct seccomp_data` in, verdict out (Documentation/userspace-api/seccomp_filter.rst)."""
    code = _preamble(machine)
    blocks = {name: [(_RETURN, 0, 0, _ALLOW)] for name in _calls(_ALLOWED)}
    blocks |= {name: [(_RETURN, 0, 0, _ERRNO | errno.ENOSYS)] for name in _calls(_ABSENT)}
    blocks |= _guarded(own)
    for name, row in (_calls(_ALLOWED) | _calls(_GUARDED) | _calls(_ABSENT)).items():
        if row[machine.column] != "-":
            code += [(_EQUAL, 0, len(blocks[name]), int(row[machine.column])), *blocks[name]]
    return _packed([*code, (_RETURN, 0, 0, _DENY)])
