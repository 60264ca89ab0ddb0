"""Confinement: each layer holds by itself, the filter says what its table says, and nothing is missing silently."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from secure_delivery.engine import confine, seccomp

linux = pytest.mark.skipif(not confine.LINUX, reason="confinement is only there on Linux")
PRELUDE = """
import os, signal, socket, sys
from secure_delivery.engine import confine
from secure_delivery.gate.errors import ConfigurationError
from secure_delivery.plugin.protocols import WorkLimits
LIMITS = WorkLimits(memory=400_000_000, cpu_seconds=2, bytes=100_000)
RULES = confine.ruleset(confine.readable())
def attempt(action):
    try:
        action()
    except (OSError, MemoryError) as error:
        return type(error).__name__
    return "done"
"""


def confined(code: str, *layers: str, user: int | None = None, cwd: Path | None = None) -> str:
    """What a fresh process prints that applies the layers and then runs the code."""
    become = "" if user is None else f"os.setgroups([]); os.setgid({user}); os.setuid({user})"
    script = f"{PRELUDE}\n{become}\nconfine.apply({layers!r}, LIMITS, RULES)\n{code}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd=cwd, check=True)
    return done.stdout.strip()


# ------------------------------------------------------------------------------------------- each layer holds by itself

#: What is tried under which layers, and how it ends. Without the layers it is possible.
ALONE = [
    ("rlimits", "__import__('mmap').mmap(-1, 500_000_000)", "OSError"),
    ("rlimits", "open('out', 'wb').write(bytes(200_000))", "OSError"),
    ("rlimits", "[os.open('/dev/null', 0) for _ in range(300)]", "OSError"),
    ("landlock", "open('/etc/passwd')", "PermissionError"),
    ("landlock", "os.listdir('/')", "PermissionError"),
    ("landlock", "open('out', 'wb')", "PermissionError"),
    ("landlock", "os.mkdir('folder')", "PermissionError"),
    ("landlock", "os.execv('/bin/true', ['true'])", "PermissionError"),
    ("seccomp", "socket.socket()", "PermissionError"),
    ("seccomp", "os.fork()", "PermissionError"),
    ("seccomp", "open('out', 'wb')", "PermissionError"),
    ("seccomp", "os.mkdir('folder')", "PermissionError"),
    ("seccomp", "os.kill(os.getppid(), 0)", "PermissionError"),
    ("seccomp", "os.execv('/bin/true', ['true'])", "PermissionError"),
]


@linux
@pytest.mark.parametrize(("layer", "action", "end"), ALONE)
def test_a_layer_alone_denies_what_it_is_for(layer: str, action: str, end: str, tmp_path: Path) -> None:
    layers = [layer] if layer == "rlimits" else ["no_new_privs", layer]
    assert confined(f"print(attempt(lambda: {action}))", *layers, cwd=tmp_path) == end


@linux
@pytest.mark.parametrize("action", sorted({action for _, action, _ in ALONE if "execv" not in action}))
def test_without_layers_each_of_these_is_possible(action: str, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"")
    ending = "os.fork() or os._exit(0); result = 'done'" if "fork" in action else f"result = attempt(lambda: {action})"
    assert confined(f"{ending}\nprint(result)", cwd=tmp_path) == "done"


@linux
@pytest.mark.skipif(confine._landlock_abi() < 6, reason="the kernel's Landlock does not cover sockets and signals")
@pytest.mark.parametrize(
    "action",
    [
        "socket.create_connection(('127.0.0.1', 9), 1)",
        "socket.socket().bind(('127.0.0.1', 0))",
        "os.kill(os.getppid(), 0)",
    ],
)
def test_landlock_alone_denies_tcp_and_signals(action: str) -> None:
    assert confined(f"print(attempt(lambda: {action}))", "no_new_privs", "landlock") == "PermissionError"


@linux
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process as somebody else")
def test_without_seccomp_an_ordinary_user_cannot_fork_either() -> None:
    assert confined("print(attempt(os.fork))", "rlimits", user=54321) == "BlockingIOError"


@linux
def test_the_cpu_limit_ends_a_process_that_handles_its_signal() -> None:
    script = f"{PRELUDE}\nconfine.apply(['rlimits'], LIMITS)\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == -9


@linux
def test_every_confined_process_gives_up_capabilities_and_dumping() -> None:
    told = confined("print(open('/proc/self/status').read())", "rlimits")
    assert re.search(r"CapEff:\t0{16}\n", told)
    assert re.search(r"CapPrm:\t0{16}\n", told)
    dumpable = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    assert confined(dumpable, "rlimits") == "0"


@linux
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process as somebody else")
def test_an_ordinary_user_gets_every_layer_that_root_gets() -> None:
    code = "print(sorted(confine.probe(LIMITS, RULES)))"
    assert confined(code, user=54321) == confined(code)


@linux
def test_what_is_found_by_trying_is_what_the_kernel_offers_here() -> None:
    rules = confine.ruleset(confine.readable())
    try:
        script = f"{PRELUDE}\nprint(*sorted(confine.probe(LIMITS, RULES)))"
        told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60).stdout.split()
    finally:
        if rules is not None:
            os.close(rules)
    offered = confine.available()
    assert told == sorted(name for name in confine.LAYERS if offered[name])


@linux
def test_a_process_whose_parent_is_gone_already_does_not_live_on() -> None:
    script = f"{PRELUDE}\nconfine.apply(['rlimits'], LIMITS, parent=1 if os.getppid() != 1 else 2)\nprint('alive')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, b"")


@linux
def test_a_layer_that_cannot_be_had_is_an_error_that_names_it() -> None:
    code = """
try:
    confine.apply(["no_new_privs", "landlock"], LIMITS, None)
except ConfigurationError as error:
    print(error)
"""
    assert "layer landlock could not be applied" in confined(code)


def test_what_a_machine_offers_is_told_for_every_layer() -> None:
    told = confine.available()
    assert set(told) == set(confine.LAYERS)
    assert told["rlimits"] is True
    assert told["namespaces"] in (True, False)


# ------------------------------------------------------------------------------------------------------------- what is read


def test_the_root_is_never_readable_whatever_the_import_path_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, "/", "/usr/..", "", "relative"])
    paths = confine.readable(["/more"])
    assert not {"/", "/usr/..", "", "relative"} & set(paths)
    assert "/more" in paths


@linux
def test_rules_leave_out_what_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    rules = confine.ruleset([str(tmp_path / "file"), str(tmp_path / "missing")])
    assert rules is not None
    assert not os.get_inheritable(rules)
    os.close(rules)


# --------------------------------------------------------------------------------------------------------------- the filter

#: What security promise 46 says must not be there, and what would come to the same.
FORBIDDEN = set(
    """
socket socketpair connect bind listen accept accept4 sendto sendmsg fork vfork execve execveat ptrace mount
umount2 pivot_root chroot unshare setns bpf io_uring_setup io_uring_enter add_key request_key keyctl userfaultfd
perf_event_open process_vm_readv process_vm_writev pidfd_open pidfd_getfd kcmp kill tkill rt_sigqueueinfo init_module
finit_module kexec_load open_by_handle_at name_to_handle_at memfd_create personality modify_ldt setuid setgid capset
setrlimit seccomp landlock_restrict_self mkdir rmdir unlink rename link symlink chmod chown creat truncate mknod utime
inotify_init1 fanotify_init clone3 openat2 reboot swapon sethostname iopl ioperm
    """.split()  # noqa: SIM905 - one name per line would hide the list
)


def verdict(program: bytes, number: int, *arguments: int, audit: int) -> int:
    """What the kernel would say: the few instructions of classic BPF that a filter needs, run over `struct seccomp_data`."""
    data = struct.pack("=iIQ6Q", number, audit, 0, *arguments, *[0] * (6 - len(arguments)))
    code = list(struct.iter_unpack("=HBBI", program))
    word = at = 0
    while True:
        operation, yes, no, value = code[at]
        at += 1
        if operation == 0x06:
            return int(value)
        if operation == 0x20:
            word = int.from_bytes(data[value : value + 4], "little")
        elif operation == 0x54:
            word &= value
        else:
            holds = {0x15: word == value, 0x35: word >= value, 0x45: bool(word & value)}[operation]
            at += yes if holds else no


ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x50001, 0x50026, 0x80000000


@pytest.fixture(params=["x86_64", "aarch64"])
def machine(request: pytest.FixtureRequest) -> seccomp.Machine:
    return seccomp._MACHINES[request.param]


def numbers(machine: seccomp.Machine, table: str) -> dict[str, int]:
    rows = seccomp._calls(table).values()
    return {row[0]: int(row[machine.column]) for row in rows if row[machine.column] != "-"}


def test_no_forbidden_call_is_on_the_list() -> None:
    assert not seccomp.allowed() & FORBIDDEN


def test_every_number_that_is_not_on_the_list_is_refused(machine: seccomp.Machine) -> None:
    program = seccomp.program(7, machine)
    free = set(numbers(machine, seccomp._ALLOWED).values())
    guarded = set(numbers(machine, seccomp._GUARDED).values())
    absent = set(numbers(machine, seccomp._ABSENT).values())
    for number in range(1024):
        if number not in guarded:
            expected = ALLOW if number in free else ENOSYS if number in absent else EPERM
            assert verdict(program, number, audit=machine.audit) == expected, number


def test_another_architecture_and_the_x32_numbers_end_the_process(machine: seccomp.Machine) -> None:
    program = seccomp.program(7, machine)
    assert verdict(program, 0, audit=0x40000003) == KILL
    assert verdict(program, 0x40000000, audit=machine.audit) == KILL
    assert verdict(program, -1, audit=machine.audit) == KILL


GUARDS = [
    ("openat", (0, 0, os.O_RDONLY | os.O_CLOEXEC), ALLOW),
    ("openat", (0, 0, 0o1), EPERM),
    ("openat", (0, 0, 0o2), EPERM),
    ("openat", (0, 0, 0o100), EPERM),
    ("openat", (0, 0, 0o1000), EPERM),
    ("openat", (0, 0, 0o20000000), EPERM),
    ("clone", (0x003D0F00,), ALLOW),  # what the C library asks for when it starts a thread
    ("clone", (0x01200011,), EPERM),  # and for a fork
    ("clone", (0x00010000 | 0x10000000,), EPERM),
    ("clone", (0x00010000 | 0x00020000,), EPERM),
    ("prlimit64", (0, 7, 0), ALLOW),
    ("prlimit64", (7, 7, 0), ALLOW),
    ("prlimit64", (8, 7, 0), EPERM),
    ("prlimit64", (0, 7, 0x1000), EPERM),
    ("prlimit64", (0, 7, 1 << 40), EPERM),
    ("tgkill", (7, 7, 6), ALLOW),
    ("tgkill", (8, 8, 6), EPERM),
    ("prctl", (15,), ALLOW),
    ("prctl", (4, 1), EPERM),
    ("prctl", (22,), EPERM),
    ("fcntl", (0, 1030), ALLOW),
    ("fcntl", (0, 8), EPERM),
    ("fcntl", (0, 1024), EPERM),
    ("ioctl", (0, 0x5401), ALLOW),
    ("ioctl", (0, 0x5412), EPERM),
]


@pytest.mark.parametrize(("call", "arguments", "expected"), GUARDS)
def test_a_guarded_call_passes_with_harmless_arguments_only(
    call: str, arguments: tuple[int, ...], expected: int, machine: seccomp.Machine
) -> None:
    number = numbers(machine, seccomp._GUARDED)[call]
    assert verdict(seccomp.program(7, machine), number, *arguments, audit=machine.audit) == expected


# ------------------------------------------------------------------------------------------- the filter of programs

REFUSED, PRETENDED = 0x50000 | 111, 0x50000  # ECONNREFUSED, and success without anything done
UNIX, INET, INET6 = 1, 2, 10
STREAM, DATAGRAM, RAW, SEQPACKET, FLAGS = 1, 2, 3, 5, 0x80800  # the flags: close-on-exec, non-blocking
FASTOPEN = 0x20000000

#: A call with arguments, what becomes of it without a network, and with one.
PROGRAM_CALLS = [
    ("socket", (UNIX, STREAM, 0), ALLOW, ALLOW),
    ("socket", (UNIX, STREAM | FLAGS, 0), ALLOW, ALLOW),
    ("socket", (UNIX, DATAGRAM, 0), EPERM, EPERM),
    ("socket", (UNIX, SEQPACKET, 0), EPERM, EPERM),
    ("socket", (INET, STREAM, 0), EPERM, ALLOW),
    ("socket", (INET, STREAM | FLAGS, 6), EPERM, ALLOW),
    ("socket", (INET6, STREAM, 0), EPERM, ALLOW),
    ("socket", (INET6, STREAM | FLAGS, 6), EPERM, ALLOW),
    ("socket", (INET, STREAM, 262), EPERM, EPERM),  # MPTCP
    ("socket", (INET6, STREAM, 132), EPERM, EPERM),  # SCTP
    ("socket", (INET, STREAM, 256), EPERM, EPERM),  # SMC
    ("socket", (INET, DATAGRAM, 0), EPERM, EPERM),
    ("socket", (INET6, DATAGRAM | FLAGS, 17), EPERM, EPERM),
    ("socket", (INET, RAW, 1), EPERM, EPERM),
    ("socketpair", (UNIX, STREAM, 0), ALLOW, ALLOW),
    ("socketpair", (UNIX, SEQPACKET | FLAGS, 0), ALLOW, ALLOW),
    ("socketpair", (UNIX, DATAGRAM, 0), EPERM, EPERM),
    ("socketpair", (UNIX, DATAGRAM | FLAGS, 0), EPERM, EPERM),
    ("socketpair", (30, STREAM, 0), EPERM, EPERM),  # TIPC
    ("connect", (3, 0x1000, 16), REFUSED, ALLOW),
    ("listen", (3, 5), ALLOW, PRETENDED),
    ("sendto", (3, 0, 1, 0), ALLOW, ALLOW),
    ("sendto", (3, 0, 1, 0x4000 | FASTOPEN), EPERM, EPERM),
    ("sendmsg", (3, 0, FASTOPEN), EPERM, EPERM),
    ("sendmsg", (3, 0, 0x4000), ALLOW, ALLOW),
    ("sendmmsg", (3, 0, 1, FASTOPEN), EPERM, EPERM),
    ("clone", (0x003D0F00,), ALLOW, ALLOW),
    ("clone", (0x01200011,), ALLOW, ALLOW),
    *[("clone", (flag | 17,), EPERM, EPERM) for flag in (0x20000, *(0x02000000 << bit for bit in range(6)))],
]


@pytest.mark.parametrize(("call", "arguments", "alone", "visiting"), PROGRAM_CALLS)
def test_a_program_has_local_sockets_and_with_a_network_tcp_and_nothing_else(
    call: str, arguments: tuple[int, ...], alone: int, visiting: int, machine: seccomp.Machine
) -> None:
    number = numbers(machine, seccomp._PROGRAM_GUARDED)[call]
    assert verdict(seccomp.for_program(machine, network=False), number, *arguments, audit=machine.audit) == alone
    assert verdict(seccomp.for_program(machine, network=True), number, *arguments, audit=machine.audit) == visiting


@pytest.mark.parametrize("network", [False, True])
def test_no_other_family_of_sockets_is_left_to_a_program(network: bool, machine: seccomp.Machine) -> None:
    program = seccomp.for_program(machine, network=network)
    number = numbers(machine, seccomp._PROGRAM_GUARDED)["socket"]
    for family in set(range(64)) - {UNIX, INET, INET6}:
        for kind in range(16):
            assert verdict(program, number, family, kind, 0, audit=machine.audit) == EPERM, (family, kind)


@pytest.mark.parametrize("network", [False, True])
def test_what_is_named_is_refused_to_a_program_and_the_rest_is_not(network: bool, machine: seccomp.Machine) -> None:
    program = seccomp.for_program(machine, network=network)
    refused = set(numbers(machine, seccomp._REFUSED).values())
    absent = set(numbers(machine, seccomp._ABSENT).values())
    guarded = set(numbers(machine, seccomp._PROGRAM_GUARDED).values())
    for number in set(range(1024)) - guarded:
        expected = EPERM if number in refused else ENOSYS if number in absent else ALLOW
        assert verdict(program, number, audit=machine.audit) == expected, number
    assert verdict(program, 0, audit=0x40000003) == KILL
    assert verdict(program, 0x40000000, audit=machine.audit) == KILL


@linux
@pytest.mark.skipif(os.geteuid() != 0, reason="root's processes are not counted")
def test_an_ordinary_users_decoder_has_so_many_threads_and_no_more() -> None:
    code = """
import threading
over = threading.Event()
started = 0
try:
    while started < 1000:
        threading.Thread(target=over.wait, daemon=True).start()
        started += 1
except RuntimeError:
    pass
over.set()
print(started)
"""
    if not confine.available()["namespaces"]:
        pytest.skip("without a namespace of its own, everything the user runs would be counted")
    assert 100 < int(confined(code, "namespaces", "no_new_privs", user=54321)) < 256


HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def test_the_numbers_are_those_of_the_kernels_headers(machine: seccomp.Machine) -> None:
    header = HEADERS[machine.name]
    if not header.exists():
        pytest.skip("the kernel's headers are not installed")
    found = {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text())}
    for alias, name in (("fstatat", "newfstatat"),):
        found.setdefault(name, found.get(alias, -1))
    tables = (seccomp._ALLOWED, seccomp._GUARDED, seccomp._ABSENT, seccomp._REFUSED, seccomp._PROGRAM_GUARDED)
    for table in tables:
        for name, number in numbers(machine, table).items():
            assert found[name] == number, name
