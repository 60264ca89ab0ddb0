"""A plugin that behaves as badly as a taken-over decoder would. Only the sandbox tests load it."""

# It makes the plainest calls there are, and hopes that they fail.
# ruff: noqa: PTH101, PTH102, PTH104, PTH108, PTH123, PTH208, PTH211, SIM115

from __future__ import annotations

import ctypes
import io
import json
import mmap
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from secure_delivery.gate.errors import TooLarge, Unsupported
from secure_delivery.plugin.hookspecs import hookimpl
from secure_delivery.plugin.protocols import Media, Workshop

LIBC = ctypes.CDLL(None, use_errno=True)


class Result:
    """A file in memory."""

    def __init__(self, data: bytes, mimetype: str = "text/plain", filename: str = "result.txt") -> None:
        self.data = data
        self.mimetype = mimetype
        self.filename = filename
        self.size = len(data)
        self.extra = {"kind": "result"}

    def open(self) -> BinaryIO:
        return io.BytesIO(self.data)


class Endless(Result):
    """A file without an end."""

    def open(self) -> BinaryIO:
        class Stream(io.RawIOBase):
            def read(self, size: int = -1) -> bytes:
                return bytes(1 << 20)

        return Stream()  # type: ignore[return-value]


class Task:
    """A function as a transformation."""

    params = ()
    version = "1"

    def __init__(self, work: Callable[[Media, Mapping[str, Any]], Any]) -> None:
        self.work = work

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        result = self.work(media, {**options, "limits": shop.limits})
        return result if isinstance(result, Result) else Result(json.dumps(result).encode())


def read(media: Media) -> bytes:
    with media.open() as stream:
        return stream.read()


def say(kind: type[Exception]) -> Any:
    raise kind("for the operator", public="A sentence for the client.")


def fail(text: str) -> Any:
    raise RuntimeError(text)


def spin() -> Any:
    while True:
        pass


def stubborn() -> Any:
    """Ignore everything that may be ignored, and go on."""
    for number in (signal.SIGXCPU, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return spin()


def hide() -> Any:
    """Close the way back and go on."""
    os.closerange(3, 256)
    return spin()


def lie() -> Any:
    """Report something else than the protocol, through every descriptor there is, and leave with success."""
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b'["no", "report"]' * 3)
        except OSError:
            pass
    os._exit(0)


def flood() -> Any:
    """Report without end."""
    while True:
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, b"x" * 4096)
            except OSError:
                pass


def recurse(media: Media, options: Any) -> Any:
    return recurse(media, options)


def twice(media: Media) -> Any:
    """Two streams over one source do not disturb each other."""
    with media.open() as one, media.open() as two:
        first = one.read(3)
        whole = two.read()
        rest = one.read()
        two.seek(-2, io.SEEK_END)
        return [first.decode(), whole.decode(), rest.decode(), two.read().decode(), media.size]


def look() -> Any:
    """What a decoder sees of its surroundings."""
    descriptors = {}
    for number in range(1024):
        try:
            status = os.fstat(number)
        except OSError:
            continue
        kinds = {stat.S_ISREG: "file", stat.S_ISFIFO: "pipe", stat.S_ISSOCK: "socket", stat.S_ISCHR: "device"}
        descriptors[number] = next((name for test, name in kinds.items() if test(status.st_mode)), "other")
    return {
        "environment": dict(os.environ),
        "descriptors": descriptors,
        "modules": sorted(sys.modules),
        "pid": os.getpid(),
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT")},
    }


def thread() -> Any:
    seen: list[int] = []
    worker = threading.Thread(target=lambda: seen.append(7))
    worker.start()
    worker.join()
    return seen


def call(number: int, *arguments: Any) -> None:
    """A system call past every library. Raises what the kernel says."""
    ctypes.set_errno(0)
    if LIBC.syscall(ctypes.c_long(number), *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")


def foreign_instructions() -> None:
    """getpid through the 32-bit gate: mov eax, 20; int 0x80; ret."""
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()


def source_for_writing() -> None:
    for number in range(3, 16):
        try:
            if os.fstat(number).st_size and stat.S_ISREG(os.fstat(number).st_mode):
                os.pwrite(number, b"changed", 0)
                return
        except OSError as error:
            refused = error
    raise refused


RIGHTS: dict[str, Callable[[str], Any]] = {
    "read a file": lambda path: open(path, "rb").read(),
    "read /etc/passwd": lambda _: open("/etc/passwd", "rb").read(),
    "list a folder": lambda _: os.listdir("/"),
    "read the environment of the worker": lambda _: open(f"/proc/{os.getppid()}/environ", "rb").read(),
    "read own memory map": lambda _: open("/proc/self/maps", "rb").read(),
    "reopen a descriptor": lambda _: os.open("/proc/self/fd/3", os.O_RDWR),
    "write a file": lambda path: open(path + ".new", "wb"),
    "append to a file": lambda path: open(path, "ab"),
    "truncate a file": lambda path: os.truncate(path, 0),
    "make a temporary file": lambda _: os.open("/tmp", os.O_TMPFILE | os.O_RDWR),
    "make a folder": lambda path: os.mkdir(path + ".folder"),
    "remove a file": lambda path: os.unlink(path),
    "rename a file": lambda path: os.rename(path, path + ".moved"),
    "make a link": lambda path: os.symlink(path, path + ".link"),
    "change a mode": lambda path: os.chmod(path, 0o777),
    "change the source": lambda _: source_for_writing(),
    "make a socket": lambda _: socket.socket(),
    "make a Unix socket": lambda _: socket.socket(socket.AF_UNIX),
    "make a datagram socket": lambda _: socket.socket(type=socket.SOCK_DGRAM),
    "make a pair of sockets": lambda _: socket.socketpair(),
    "fork": lambda _: os.fork(),
    "fork and exec": lambda _: subprocess.run(["/bin/true"]),
    "exec": lambda _: os.execv("/bin/true", ["true"]),
    "kill the worker": lambda _: os.kill(os.getppid(), signal.SIGKILL),
    "kill everyone": lambda _: os.kill(-1, signal.SIGKILL),
    "change the user": lambda _: os.setuid(0),
    "change the priority": lambda _: os.nice(-1),
}

#: Numbers on x86_64 with arguments that would do something, or nothing, without the filter.
CALLS: dict[str, tuple[Any, ...]] = {
    "socket": (41, 2, 1, 0),
    "connect": (42, -1, None, 0),
    "bind": (49, -1, None, 0),
    "sendmsg": (46, -1, None, 0),
    "clone with a namespace": (56, 0x10010000 | 17, None, None, None, None),
    "fork": (57,),
    "vfork": (58,),
    "execve": (59, None, None, None),
    "execveat": (322, -1, None, None, None, 0),
    "kill": (62, 2**22, 0),
    "tkill": (200, 2**22, 0),
    "tgkill another": (234, 1, 1, 0),
    "ptrace": (101, 0, 0, None, None),
    "process_vm_readv": (310, 1, None, 0, None, 0, 0),
    "pidfd_open": (434, 1, 0),
    "mount": (165, None, None, None, 0, None),
    "pivot_root": (155, None, None),
    "chroot": (161, None),
    "unshare": (272, 0x10000000),
    "setns": (308, -1, 0),
    "bpf": (321, 0, None, 0),
    "perf_event_open": (298, None, 0, 0, -1, 0),
    "io_uring_setup": (425, 1, None),
    "add_key": (248, None, None, None, 0, 0),
    "keyctl": (250, 0, 0, 0, 0, 0),
    "userfaultfd": (323, 0),
    "memfd_create": (319, b"x", 0),
    "prctl dumpable": (157, 4, 1, 0, 0, 0),
    "prlimit of the worker": (302, 1, 0, None, None),
    "setrlimit": (160, 4, None),
    "prlimit to set": (302, 0, 4, 1, None),
    "prlimit to set, high half": (302, 0, 4, 1 << 40, None),
    "seccomp": (317, 2, 0, None),
    "openat for writing": (257, -100, b"/dev/null", 1, 0),
    "creat": (85, b"/dev/null", 0),
    "chmod": (90, b"/dev/null", 0),
    "inotify_init1": (294, 0),
    "fcntl owner": (72, 0, 8, 1),
    "ioctl of a terminal": (16, 0, 0x5412, None),
}


def attempt(options: Mapping[str, Any]) -> Any:
    """Try one right; the name of the error that stopped it, or `None` when nothing did."""
    try:
        if "right" in options:
            RIGHTS[options["right"]](options["path"])
        else:
            number, *arguments = CALLS[options["call"]]
            call(number, *(ctypes.c_long(item) if isinstance(item, int) else item for item in arguments))
    except OSError as error:
        return error.errno
    return None


@hookimpl
def register_transformations() -> dict[str, Task]:
    return {
        "upper": Task(lambda media, _: Result(read(media).upper(), media.mimetype, media.filename)),
        "options": Task(lambda _, options: Result(repr(options["value"]).encode())),
        "limits": Task(lambda _, options: [options["limits"].bytes, options["limits"].pixels]),
        "twice": Task(lambda media, _: twice(media)),
        "look": Task(lambda *_: look()),
        "thread": Task(lambda *_: thread()),
        "attempt": Task(lambda _, options: attempt(options)),
        "abort": Task(lambda *_: os.abort()),
        "segfault": Task(lambda *_: ctypes.string_at(8)),
        "spin": Task(lambda *_: spin()),
        "stubborn": Task(lambda *_: stubborn()),
        "sleep": Task(lambda *_: time.sleep(3600)),
        "hide": Task(lambda *_: hide()),
        "lie": Task(lambda *_: lie()),
        "flood": Task(lambda *_: flood()),
        "leave": Task(lambda *_: os._exit(0)),
        "hog": Task(lambda *_: [bytearray(1 << 28) for _ in range(1 << 10)]),
        "endless": Task(lambda *_: Endless(b"")),
        "recurse": Task(lambda media, options: recurse(media, options)),
        "fail": Task(lambda _, options: fail(options["text"])),
        "exit": Task(lambda *_: sys.exit("text of the file")),
        "unsupported": Task(lambda *_: say(Unsupported)),
        "too_large": Task(lambda *_: say(TooLarge)),
        "bad_type": Task(lambda *_: Result(b"", "text/html\r\nset-cookie: a=b")),
        "bad_name": Task(lambda *_: Result(b"", "text/plain", "a\nb")),
        "x32": Task(lambda *_: call(0x40000000 | 39)),
        "foreign": Task(lambda *_: foreign_instructions()),
        "nap": Task(lambda _, options: time.sleep(options["seconds"])),
    }
