"""External programs at work: an office that converts, a browser that takes a picture of a page.

Knows: the programs that plugins declared, folders, processes. Must not know: which task asked, what a result is for.

A decoder asks for a program by its name; what is run with which words was fixed when the plugin was loaded, and what is
asked for only chooses among declared values. The program gets copies of the files in a folder of its own (security promise
81), no environment of ours, no network but through the address guard, and ends with all it started at the deadline.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, NoReturn

from ..gate.errors import Corrupt, ProcessingLimit, TooLarge, Unsupported
from ..plugin.protocols import Program, WorkLimits
from . import confine

SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_MOST_RESULTS = 64  # files handed back
_SUFFIX = re.compile(r"(?:\.[a-z0-9]{1,10})?")
_URI = re.compile(rb"https?://[!-~]{1,8192}")
_PLACE = re.compile(r"\{([a-z_]{1,32})\}")
_WORDS = 300  # characters of what a program said when it failed, for the operator
_PIECE = 1 << 20


class Result(NamedTuple):
    """A file that a program left: its name there, and a descriptor of it, for reading, that the caller closes."""

    name: str
    descriptor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a decoder asks for. `files` are descriptors that stay the caller's; `port` leads to the address guard; `asker`
    is the process that waits for the answer; `watched` a descriptor that closes when nobody wants the answer any more."""

    program: str
    files: Sequence[int]
    choices: Mapping[str, str | int]
    deadline: float
    port: int | None = None
    watched: int = -1
    asker: int = 0


def find(program: Program) -> str | None:
    """The path of a program on this machine, or None."""
    return next((path for name in program.executables if (path := shutil.which(name, path=SEARCH))), None)


class Programs:
    """Runs declared programs, one at a time, in a process with one thread.

    `scratch` is the folder in which each run gets one of its own; `layers` are those of `confine.LAYERS` that hold here.
    """

    def __init__(self, programs: Mapping[str, Program], *, scratch: Path, limits: WorkLimits, layers: Collection[str]) -> None:
        self._programs = programs
        self._paths = {name: find(program) for name, program in programs.items()}
        self._scratch = scratch
        self._limits = limits
        self._layers = frozenset(layers)

    def spare(self) -> int:
        """A new, empty file without a name in the scratch folder; the caller closes it."""
        with tempfile.TemporaryFile(dir=self._scratch) as file:
            return os.dup(file.fileno())

    def run(self, request: Request) -> list[Result]:
        """Run a program on files; what it left in its output folder, by name.

        Raises `Unsupported` for a program that nobody declared or installed, `ProcessingLimit` at the deadline, `Corrupt`
        when it fails or leaves nothing, `TooLarge` for results over the limit, `EOFError` when `watched` closes meanwhile.
        """
        program = self._programs.get(request.program)
        if program is None:
            raise Unsupported(f"no plugin declares the program {request.program[:60]!r}")
        path = self._paths[request.program]
        if path is None:
            name = program.executables[0]
            raise Unsupported(f"{name} is not installed", public=f"This needs the program {name}, which is not installed here.")
        if program.network and request.port is None:
            raise Unsupported(public="This server does not visit pages.")
        with self._folder() as folder, tempfile.TemporaryFile(dir=self._scratch) as words:
            argv = [path, *_arguments(program, request, folder)]
            deadline = min(request.deadline, time.monotonic() + program.seconds)
            status = self._watch(self._start(argv, program, request, folder, words), request, deadline)
            return self._results(folder / "out", status, words)

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(prefix="program-", dir=self._scratch))
        try:
            for name in ("in", "out", "tmp", "home"):
                (folder / name).mkdir(mode=0o700)
            yield folder
        finally:
            remove(folder)

    # -- the process

    def _start(self, argv: Sequence[str], program: Program, request: Request, folder: Path, words: IO[bytes]) -> int:
        places = {"scratch": str(folder), "out": str(folder / "out")}
        environment = {
            "PATH": SEARCH,
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            "LC_ALL": "C.UTF-8",
            **{name: _filled(value, places) for name, value in program.environment.items()},
        }
        child = os.fork()
        if child == 0:
            self._become(argv, environment, program, request, folder, words)
        return child

    def _become(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        program: Program,
        request: Request,
        folder: Path,
        words: IO[bytes],
    ) -> NoReturn:
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDWR)
            for standard in (0, 1):
                os.dup2(null, standard)
            os.dup2(words.fileno(), 2)
            os.closerange(3, 4096)
            os.chdir(folder)
            port = request.port if program.network else None
            confine.apply_program(str(folder), self._limits, memory=program.memory, port=port, layers=self._layers)
            os.execve(argv[0], list(argv), dict(environment))  # noqa: S606 - declared words only, no shell
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}".encode()[:_WORDS])
        finally:
            os._exit(126)

    def _watch(self, child: int, request: Request, deadline: float) -> int | None:
        """Wait for a program; its exit status, None when its time was over. Everything it started ends with it."""
        handle = os.pidfd_open(child)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        if request.watched >= 0:
            poll.register(request.watched, select.POLLIN)
        try:
            events = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
            if any(descriptor == request.watched for descriptor, _ in events):
                raise EOFError
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if events else None
        finally:
            os.close(handle)
            end_group(child, spare=request.asker)

    # -- the results

    def _results(self, out: Path, status: int | None, words: IO[bytes]) -> list[Result]:
        if status is None:
            raise ProcessingLimit("the program was too slow")
        if status:
            words.seek(max(0, words.seek(0, os.SEEK_END) - _WORDS))
            said = words.read().decode("utf-8", "replace")
            raise Corrupt(f"the program ended with status {status}: {said}")
        results: list[Result] = []
        try:
            for path in sorted(out.iterdir())[:_MOST_RESULTS]:
                descriptor = _opened(path)
                results += [] if descriptor is None else [Result(path.name[:255], descriptor)]
            if not results:
                raise Corrupt("the program left no result")
            if sum(os.fstat(result.descriptor).st_size for result in results) > self._limits.bytes:
                raise TooLarge(f"results over {self._limits.bytes} bytes")
        except BaseException:
            for result in results:
                os.close(result.descriptor)
            raise
        return results


def _arguments(program: Program, request: Request, folder: Path) -> list[str]:
    """The words of a run, and the input files put in place. Raises `Unsupported` for a choice that was not declared."""
    places = {"scratch": str(folder), "out": str(folder / "out")}
    for name, allowed in program.choices.items():
        value = request.choices.get(name)
        if value not in allowed:
            raise Unsupported(f"{value!r} is no choice for {name}")
        places[name] = str(value)
    if request.port is not None:
        places["proxy"] = f"http://127.0.0.1:{request.port}"
    files = list(request.files)
    if any("{uri}" in word for word in program.arguments):
        places["uri"] = _address(files.pop(0) if files else -1)
    inputs = [_copied(file, folder / "in", number, _suffix(program, number, places)) for number, file in enumerate(files)]
    words: list[str] = []
    for word in program.arguments:
        words += map(str, inputs) if word == "{inputs}" else [_filled(word, places)]
    return words


def _filled(word: str, places: Mapping[str, str]) -> str:
    """A word with its places filled in one pass, so that nothing filled in is read as a place."""

    def fill(match: re.Match[str]) -> str:
        if match[1] not in places:
            raise Unsupported(f"nothing fills the place {match[0]}")
        return places[match[1]]

    return _PLACE.sub(fill, word)


def _suffix(program: Program, number: int, places: Mapping[str, str]) -> str:
    suffix = _filled(program.suffixes[min(number, len(program.suffixes) - 1)], places)
    if not _SUFFIX.fullmatch(suffix):
        raise Unsupported(f"{suffix!r} is no suffix of a file")
    return suffix


def _address(file: int) -> str:
    """The address in the first file. Whether it may be visited is for the address guard to say; here it is one word."""
    text = os.pread(file, 8300, 0).strip() if file >= 0 else b""
    if not _URI.fullmatch(text):
        raise Unsupported("no address to visit")
    return text.decode("ascii")


def _copied(file: int, folder: Path, number: int, suffix: str) -> Path:
    path = folder / f"file-{number + 1:03}{suffix}"
    at = 0
    with path.open("xb") as copy:
        while piece := os.pread(file, _PIECE, at):
            copy.write(piece)
            at += len(piece)
    return path


def _opened(path: Path) -> int | None:
    """A regular file that a program left, opened; None for links, folders and whatever else it may have made."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None


def end_group(leader: int, *, spare: int = 0) -> None:
    """End a process, its group, and whatever else this process has inherited from it (`confine.adopt_orphans`); the child
    `spare` lives on."""
    for kill in (os.killpg, os.kill):
        try:
            kill(leader, signal.SIGKILL)
        except ProcessLookupError:
            pass
    try:
        os.waitpid(leader, 0)
    except ChildProcessError:
        pass
    while orphans := [child for child in _children() if child != spare]:
        for orphan in orphans:
            try:
                os.kill(orphan, signal.SIGKILL)
                os.waitpid(orphan, 0)
            except (ProcessLookupError, ChildProcessError):
                pass


def _children() -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:  # not Linux, or a kernel without this file: the group is all that is known
        return []


def remove(folder: Path) -> None:
    """Remove a folder with everything in it, whatever its modes; links are removed, never followed (security promise 81)."""

    def again(function: object, path: str, _: object) -> None:
        try:
            os.chmod(os.path.dirname(path), 0o700)  # noqa: PTH101, PTH120 - paths here may be longer than Path is good for
            if not os.path.islink(path):  # noqa: PTH114
                os.chmod(path, 0o700)  # noqa: PTH101
            if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)  # noqa: PTH108
        except OSError:
            pass  # looked after by the sweep at the next start

    shutil.rmtree(folder, onerror=again)
