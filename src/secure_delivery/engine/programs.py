"""External programs at work: an office that converts, a browser that takes a picture of a page.

Knows: the programs that plugins declared, folders, processes. Must not know: which task asked, what a result is for.

A decoder asks for a program by its name; what is run with which words was fixed when the plugin was loaded, and what is
asked for only chooses among declared values. The program gets copies of the files in a folder of its own (security promise
81) that may not grow without end, no environment of ours, no network but through the address guard, and ends with all it
started at the deadline, or when this process ends.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, NoReturn

from ..gate.errors import Corrupt, ProcessingLimit, SecureDeliveryError, TooLarge, Unsupported
from ..plugin.protocols import Program, WorkLimits
from . import confine_program, scratch

SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_MOST_RESULTS = 64  # files handed back
_SUFFIX = re.compile(r"(?:\.[a-z0-9]{1,10})?")
_URI = re.compile(rb"https?://[!-~]{1,8192}")
_PLACE = re.compile(r"\{([a-z_]{1,32})\}")
_WORDS = 250  # characters of what a program said last when it failed, for the operator
_PIECE = 1 << 20
_ENDING = 1.0  # seconds for ending what forks without end, where it has no room of its own that ends with it
_LOOK = 0.25  # seconds between two looks at how full a folder is
_MOST_FILES = 20_000  # in the folder of a run, folders counted; a browser's profile has a few hundred
_MOST_BYTES = 4  # times the bytes that a source may have: inputs, results, and what the program keeps meanwhile
_SPENT = frozenset({-signal.SIGKILL, -signal.SIGXCPU, 128 + signal.SIGKILL, 128 + signal.SIGXCPU})


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


def missing(program: Program) -> str | None:
    """The name of what must be installed before a program can run, or None."""
    if find(program) is None:
        return program.executables[0]
    if program.needs and not any(shutil.which(name, path=SEARCH) for name in program.needs):
        return program.needs[0]
    return None


class Programs:
    """Runs declared programs, one at a time, in a process with one thread.

    `place` is the folder in which each run gets one of its own; `layers` are those of `confine.LAYERS` that hold here. `others`
    are children of this process that no program started: all that are not named are ended after each run.
    """

    def __init__(
        self,
        programs: Mapping[str, Program],
        *,
        place: Path,
        limits: WorkLimits,
        layers: Collection[str],
        others: Collection[int] = (),
    ) -> None:
        self._programs = programs
        self._paths = {name: find(program) for name, program in programs.items()}
        self._missing = {name: missing(program) for name, program in programs.items()}
        self._place = place
        self._limits = limits
        self._layers = frozenset(layers)
        self._others = frozenset(others)
        if programs:
            scratch.sweep(place)

    def spare(self) -> int:
        """A new, empty file without a name in the scratch folder; the caller closes it."""
        with tempfile.TemporaryFile(dir=self._place) as file:
            return os.dup(file.fileno())

    def run(self, request: Request) -> list[Result]:
        """Run a program on files; what it left in its output folder, by name.

        Raises `Unsupported` for a program that nobody declared or installed, `ProcessingLimit` at the deadline, `Corrupt`
        when it fails or leaves nothing, `TooLarge` for results over the limit, `EOFError` when `watched` closes meanwhile.
        """
        program = self._programs.get(request.program)
        if program is None:
            raise Unsupported(f"no plugin declares the program {request.program[:60]!r}")
        path, name = self._paths[request.program], self._missing[request.program]
        if path is None or name is not None:
            raise Unsupported(f"{name} is not installed", public=f"This needs the program {name}, which is not installed here.")
        if program.network and request.port is None:
            raise Unsupported(public="This server does not visit pages.")
        with self._folder() as (folder, out), tempfile.TemporaryFile(dir=self._place) as words:
            argv = [path, *_arguments(program, request, folder)]
            deadline = min(request.deadline, time.monotonic() + program.seconds)
            self._watch(self._start(argv, program, request, folder, words), request, deadline, folder, words)
            return self._results(out)

    @contextmanager
    def _folder(self) -> Iterator[tuple[Path, int]]:
        """A new folder for a run, and a descriptor of the one for results in it, which a program cannot exchange."""
        with scratch.folder(self._place) as (folder, descriptor):
            for name in ("in", "out", "tmp", "home"):
                (folder / name).mkdir(mode=0o700)
            out = scratch.opened("out", at=descriptor)
            try:
                yield folder, out
            finally:
                os.close(out)

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
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            self._become(argv, environment, program, request, folder, words, parent)
        return child

    def _become(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        program: Program,
        request: Request,
        folder: Path,
        words: IO[bytes],
        parent: int,
    ) -> NoReturn:
        try:
            os.setsid()
            confine_program.die_with(parent)
            null = os.open(os.devnull, os.O_RDWR)
            for standard in (0, 1):
                os.dup2(null, standard)
            os.dup2(words.fileno(), 2)
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            port = request.port if program.network else None
            measure = confine_program.Measure(str(folder), argv[0], program.memory, port)
            confine_program.apply(measure, self._limits, self._layers)
            os.chdir(folder)
            os.execve(argv[0], list(argv), dict(environment))  # noqa: S606 - declared words only, no shell
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}".encode()[:_WORDS])
        finally:
            os._exit(126)

    def _watch(self, child: int, request: Request, deadline: float, folder: Path, words: IO[bytes]) -> None:
        """Wait until a program has ended well. Everything it started ends with it.

        Raises `ProcessingLimit` when its time is over, `TooLarge` when its folder holds too much, `Corrupt` when it fails.
        """
        verdict: SecureDeliveryError | None = ProcessingLimit("the program was too slow")
        try:
            verdict = self._wait(child, request, deadline, folder)
        finally:
            status = end_group(child, spare=self._others | {request.asker})
        if verdict is not None:
            raise verdict
        if status in _SPENT:
            raise ProcessingLimit("the program came to a limit, or the machine ran out of memory")
        if status:
            words.seek(max(0, words.seek(0, os.SEEK_END) - _WORDS))
            said = words.read().decode("utf-8", "replace")
            raise Corrupt(f"the program ended with status {status}: {said}")

    def _wait(self, child: int, request: Request, deadline: float, folder: Path) -> SecureDeliveryError | None:
        """Why a program must be ended; None when it has ended by itself. Raises `EOFError` when nobody waits for it."""
        handle = os.pidfd_open(child)
        inside = scratch.opened(folder)
        try:
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            if request.watched >= 0:
                poll.register(request.watched, select.POLLIN)
            while (left := deadline - time.monotonic()) > 0:
                events = poll.poll(min(left, _LOOK) * 1000)
                if any(descriptor == request.watched for descriptor, _ in events):
                    raise EOFError
                if scratch.excessive(
                    inside, most_bytes=_MOST_BYTES * self._limits.bytes, most_files=_MOST_FILES, free=self._limits.bytes
                ):
                    return TooLarge("the program filled its folder, or the disk is full")
                if events:
                    return None
            return ProcessingLimit("the program was too slow")
        finally:
            os.close(inside)
            os.close(handle)

    # -- the results

    def _results(self, out: int) -> list[Result]:
        results = [Result(name[:255], descriptor) for name, descriptor in scratch.files(out, _MOST_RESULTS)]
        try:
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
        if type(value) not in (str, int) or value not in allowed:  # True and 1.0 are equal to 1, and other words
            raise Unsupported(f"{str(value)[:60]!r} is no choice for {name}")
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


def end_group(leader: int, *, spare: Collection[int] = ()) -> int:
    """End a process that was not waited for yet, its group, and whatever else this process has inherited from it
    (`confine.adopt_orphans`); its exit status. The children `spare` live on."""
    for kill in (os.killpg, os.kill):
        try:
            kill(leader, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has no group of its own yet
    status = os.waitstatus_to_exitcode(os.waitpid(leader, 0)[1])
    end = time.monotonic() + _ENDING
    while (orphans := [child for child in children() if child not in spare]) and time.monotonic() < end:
        for orphan in orphans:
            try:
                os.kill(orphan, signal.SIGKILL)
                os.waitpid(orphan, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
    return status


def children() -> list[int]:
    """The children of this process."""
    try:
        return [int(word) for word in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:  # not Linux, or a kernel without this file: the group is all that is known
        return []
