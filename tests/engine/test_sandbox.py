"""The pool of decoder processes: chains run, and whatever a decoder does stays a fault of that one job."""

from __future__ import annotations

import ast
import errno
import json
import logging
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from secure_delivery.engine import confine, sandbox_wire
from secure_delivery.engine.sandbox import Chain, ChainSource, Outcome, PluginChoice, Sandbox
from secure_delivery.gate.errors import (
    Busy,
    ConfigurationError,
    Corrupt,
    ProcessingLimit,
    SecureDeliveryError,
    TimedOut,
    TooLarge,
    Unsupported,
)
from secure_delivery.plugin.protocols import WorkLimits

HOSTILE = PluginChoice(extra=["sandbox_hostile"], path=[str(Path(__file__).parent / "hostile")], warm=[])
# Enough of the clock that a busy machine gives a decoder the seconds of the processor which end it.
LIMITS = WorkLimits(seconds=15.0, cpu_seconds=1, memory=400_000_000, bytes=20_000_000)
LATE = LIMITS.seconds + 2  # security promise 48

linux = pytest.mark.skipif(not confine.LINUX, reason="confinement is only there on Linux")


class Result(NamedTuple):
    outcome: Outcome
    data: bytes

    def json(self) -> Any:
        return json.loads(self.data)


class Runner:
    """Runs chains given by names, or by (name, options)."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def __call__(self, *tasks: str | tuple[str, Mapping[str, Any]], data: bytes = b"some text", **more: Any) -> Result:
        named = [(task, {}) if isinstance(task, str) else task for task in tasks]
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
            source.write(data)
            source.flush()
            chain = Chain(
                tasks=named,
                sources=[ChainSource(source.fileno(), "text/plain", "name.txt")],
                output=output.fileno(),
                **more,
            )
            outcome = self.sandbox.run(chain)
            assert outcome.size == os.fstat(output.fileno()).st_size
            output.seek(0)
            return Result(outcome, output.read())


def descendants(pid: int) -> dict[int, str]:
    """Every process below this one with its state, from /proc."""
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = entry.joinpath("stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            found[int(entry.name)] = f"{parent} {state}"
    below, front = {}, {pid}
    while front:
        front = {child for child, text in found.items() if int(text.split()[0]) in front}
        below |= {child: found[child].split()[1] for child in front}
    return below


def workers(sandbox: Sandbox) -> list[int]:
    return [place._worker.process.pid for place in sandbox._places if place._worker is not None]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """One worker for the whole module: what one test does to it, the next would notice."""
    with Sandbox(1, plugins=HOSTILE, limits=LIMITS) as sandbox:
        yield sandbox


@pytest.fixture
def run(sandbox: Sandbox) -> Runner:
    return Runner(sandbox)


# ---------------------------------------------------------------------------------------------------------- chains run


def test_a_chain_applies_its_tasks_in_order_and_reports_type_name_and_size(run: Runner) -> None:
    outcome, data = run("upper", data=b"abc")
    assert (data, outcome.mimetype, outcome.filename, outcome.size) == (b"ABC", "text/plain", "name.txt", 3)
    assert outcome.extra == {"kind": "result"}


def test_a_chain_without_tasks_gives_the_source_back(run: Runner) -> None:
    data = os.urandom(3_000_000)
    assert run(data=data).data == data


def test_options_arrive_with_tuples_where_tuples_were(run: Runner) -> None:
    value = {"pair": (1, ("a", 2.5)), "text": "é\n", "none": None, "yes": True, "list": [(1,)]}
    told = ast.literal_eval(run(("options", {"value": value})).data.decode())
    assert told == {"pair": (1, ("a", 2.5)), "text": "é\n", "none": None, "yes": True, "list": ((1,),)}


def test_streams_of_the_source_are_independent_of_each_other(run: Runner) -> None:
    assert run("twice", data=b"0123456789").json() == ["012", "0123456789", "3456789", "89", 10]


def test_the_source_is_read_from_its_start_and_its_position_stays(run: Runner) -> None:
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output:
        source.write(b"whole text")
        source.flush()
        source.seek(4)
        chain = Chain(tasks=[("upper", {})], sources=[ChainSource(source.fileno(), "text/plain", "a")], output=output.fileno())
        run.sandbox.run(chain)
        output.seek(0)
        assert (output.read(), source.tell()) == (b"WHOLE TEXT", 4)


def test_limits_of_one_job_lower_those_of_the_sandbox_and_never_raise_them(run: Runner) -> None:
    assert run("limits", max_bytes=1000, max_pixels=50).json() == [1000, 50]
    assert run("limits", max_bytes=10**12, max_pixels=10**12).json() == [LIMITS.bytes, LIMITS.pixels]


def test_a_source_of_exactly_the_limit_is_accepted_and_one_more_byte_refused(run: Runner) -> None:
    assert run("upper", data=b"x" * 1000, max_bytes=1000).outcome.size == 1000
    with pytest.raises(TooLarge):
        run("upper", data=b"x" * 1001, max_bytes=1000)


def test_a_decoder_may_use_threads(run: Runner) -> None:
    assert run("thread").json() == [7]


def test_no_descriptor_of_the_caller_is_closed_or_left_open(run: Runner) -> None:
    def count() -> int:
        return len(list(Path("/dev/fd").iterdir()))

    run("upper")
    before = count()
    for _ in range(5):
        run("upper")
        with pytest.raises(Corrupt):
            run("abort")
    assert count() == before


def test_eight_threads_share_two_places_and_every_result_is_its_own() -> None:
    with Sandbox(2, plugins=HOSTILE, limits=LIMITS) as pool:
        run = Runner(pool)

        def work(number: int) -> list[bytes]:
            return [run("upper", data=f"job {number} {turn}".encode()).data for turn in range(3)]

        with ThreadPoolExecutor(8) as threads:
            for number, results in enumerate(threads.map(work, range(8))):
                assert results == [f"JOB {number} {turn}".encode() for turn in range(3)]


# ------------------------------------------------------------------------------------------------- faults stay faults

#: What a decoder does, the fault it becomes, and what the operator is told.
ENDS: dict[str, tuple[type[SecureDeliveryError], str]] = {
    "abort": (Corrupt, "signal 6"),
    "segfault": (Corrupt, "signal 11"),
    "spin": (ProcessingLimit, "CPU limit"),
    "stubborn": (ProcessingLimit, "CPU limit"),
    "sleep": (TimedOut, "wall limit"),
    "hide": (ProcessingLimit, "CPU limit"),
    "lie": (Corrupt, "not understood"),
    "flood": (Corrupt, "not understood"),
    "leave": (Corrupt, "not understood"),
    "hog": (ProcessingLimit, "memory limit"),
    "endless": (TooLarge, "writing a result"),
    "recurse": (Corrupt, "RecursionError"),
    "exit": (Corrupt, "SystemExit"),
    "unsupported": (Unsupported, "for the operator"),
    "too_large": (TooLarge, "for the operator"),
    "bad_type": (Corrupt, "impossible type"),
    "bad_name": (Corrupt, "impossible type or name"),
    "no_such_task": (Unsupported, "no_such_task"),
}


@pytest.mark.parametrize("task", ENDS)
def test_however_a_decoder_ends_it_is_a_fault_in_time_and_the_next_job_works(task: str, run: Runner) -> None:
    kind, detail = ENDS[task]
    before = workers(run.sandbox)
    begun = time.monotonic()
    with pytest.raises(kind) as caught:
        run(task)
    assert time.monotonic() - begun < LATE
    assert type(caught.value) is kind
    assert detail in str(caught.value)
    assert run("upper", data=b"next").data == b"NEXT"
    assert workers(run.sandbox) == before, "the worker itself lived on"


@linux
@pytest.mark.parametrize("task", ["abort", "hide", "flood", "sleep"])
def test_no_child_or_zombie_remains_of_a_decoder(task: str, run: Runner) -> None:
    with pytest.raises(SecureDeliveryError):
        run(task)
    ours = {pid for worker in workers(run.sandbox) for pid in descendants(worker)}
    assert ours == set()


def test_the_sentence_of_a_fault_reaches_the_client_and_the_text_of_an_exception_reaches_nobody(run: Runner) -> None:
    with pytest.raises(Unsupported) as said:
        run("unsupported")
    assert said.value.public == "A sentence for the client."
    with pytest.raises(Corrupt) as failed:
        run(("fail", {"text": "text of the file"}))
    assert str(failed.value) == "RuntimeError"
    assert failed.value.public == Corrupt.sentence


def test_a_job_that_cannot_be_described_is_the_callers_mistake(run: Runner) -> None:
    with pytest.raises(TypeError):
        run(("options", {"value": object()}))
    with pytest.raises(ValueError, match="JSON compliant"):
        run(("options", {"value": float("nan")}))
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as output, pytest.raises(ValueError, match="source of a chain"):
        run.sandbox.run(Chain(tasks=[], sources=[ChainSource(reading, "text/plain", "a")], output=output.fileno()))
    os.close(reading)
    os.close(writing)
    assert run("upper", data=b"next").data == b"NEXT"


# -------------------------------------------------------------------------------------------- what a decoder may not do


def names(table: str) -> list[str]:
    """The names in a table of the hostile plugin, read and not run: this process does not import it."""
    tree = ast.parse((Path(__file__).parent / "hostile" / "sandbox_hostile.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == table:
            assert isinstance(node.value, ast.Dict)
            return [ast.literal_eval(key) for key in node.value.keys if key is not None]
    raise AssertionError(table)


@linux
@pytest.mark.parametrize("right", names("RIGHTS"))
def test_a_decoder_has_no_right_to(right: str, run: Runner, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    refused = run(("attempt", {"right": right, "path": str(secret)})).json()
    # The source can be reached, but its descriptor is one for reading.
    assert refused in ((errno.EBADF,) if right == "change the source" else (errno.EPERM, errno.EACCES))
    assert secret.read_bytes() == b"secret"
    assert list(tmp_path.iterdir()) == [secret]


@linux
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86_64")
@pytest.mark.parametrize("call", names("CALLS"))
def test_the_kernel_refuses_a_decoder_the_system_call(call: str, run: Runner) -> None:
    assert run(("attempt", {"call": call})).json() == errno.EPERM


@linux
@pytest.mark.skipif(platform.machine() != "x86_64", reason="these gates are those of x86_64")
@pytest.mark.parametrize("gate", ["x32", "foreign"])
def test_a_decoder_that_uses_the_numbers_of_another_architecture_is_killed(gate: str, run: Runner) -> None:
    with pytest.raises(Corrupt, match=f"signal ({signal.SIGSYS:d}|{signal.SIGSEGV:d}),"):
        run(gate)


@linux
def test_a_decoder_sees_no_environment_and_only_its_own_descriptors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURE_DELIVERY_SECRET", "marker-of-a-secret")
    with (tmp_path / "open").open("wb") as held, Sandbox(1, plugins=HOSTILE, limits=LIMITS) as pool:
        os.set_inheritable(held.fileno(), True)
        seen = Runner(pool)("look").json()
        try:
            environ = Path(f"/proc/{workers(pool)[0]}/environ").read_bytes()
        except PermissionError:  # not even we may look, unless we are root
            environ = b""
    assert seen["environment"] == {}
    assert sorted(seen["descriptors"].values()) == ["device", "device", "device", "file", "file", "socket"]
    assert {name for name, kind in seen["descriptors"].items() if kind == "device"} == {"0", "1", "2"}
    assert b"marker" not in environ


def test_a_decoder_process_has_loaded_neither_database_nor_vault_nor_server(run: Runner) -> None:
    roots = {name.partition(".")[0] for name in run("look").json()["modules"]}
    assert not roots & {"sqlalchemy", "cryptography", "alembic", "granian", "psycopg"}
    inside = {name for name in run("look").json()["modules"] if name.startswith("secure_delivery.engine.")}
    assert {name.rpartition(".")[2] for name in inside} <= {
        "sandbox_worker", "sandbox_wire", "confine", "confine_program", "confine_room",
        "seccomp", "workshop", "programs", "scratch", "types", "markup", "page_work",
    }  # fmt: skip


@linux
def test_the_limits_of_a_decoder_are_those_it_was_given(run: Runner) -> None:
    seen = run("look").json()["limits"]
    assert LIMITS.memory < seen["RLIMIT_AS"][0] == seen["RLIMIT_AS"][1], "what is loaded already comes on top"
    assert seen["RLIMIT_CPU"] == [LIMITS.cpu_seconds, LIMITS.cpu_seconds + confine.spared(LIMITS) + 1]
    assert seen["RLIMIT_FSIZE"] == [LIMITS.bytes, LIMITS.bytes]
    assert seen["RLIMIT_CORE"] == [0, 0]
    assert seen["RLIMIT_NOFILE"][1] <= 288


# ----------------------------------------------------------------------------------------------------- workers come and go


def test_a_worker_killed_between_jobs_is_replaced_and_the_next_job_works(run: Runner) -> None:
    for _ in range(3):
        before = workers(run.sandbox)
        os.kill(before[0], signal.SIGKILL)
        assert run("upper", data=b"next").data == b"NEXT"
        assert workers(run.sandbox) != before


@linux
def test_a_worker_killed_during_a_job_takes_its_child_along_and_the_next_job_works(run: Runner) -> None:
    with ThreadPoolExecutor(1) as thread:
        job = thread.submit(run, "sleep")
        worker = workers(run.sandbox)[0]
        child = awaited(lambda: list(descendants(worker)))[0]
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(ProcessingLimit):
            job.result(LATE)
    awaited(lambda: gone(child))
    assert run("upper", data=b"next").data == b"NEXT"


@linux
def test_a_worker_that_stops_answering_is_ended_in_time_and_replaced(run: Runner) -> None:
    stopped = workers(run.sandbox)[0]
    os.kill(stopped, signal.SIGSTOP)
    begun = time.monotonic()
    with pytest.raises(ProcessingLimit):
        run("upper")
    assert time.monotonic() - begun < LATE
    awaited(lambda: gone(stopped))
    assert run("upper", data=b"next").data == b"NEXT"


@linux
def test_a_server_that_dies_leaves_no_worker_and_no_decoder_behind(tmp_path: Path) -> None:
    program = f"""
import tempfile
from secure_delivery.engine.sandbox import Chain, ChainSource, PluginChoice, Sandbox
from secure_delivery.plugin.protocols import WorkLimits
sandbox = Sandbox(1, plugins=PluginChoice(extra={HOSTILE.extra!r}, path={HOSTILE.path!r}, warm=[]), limits=WorkLimits())
sandbox.start()
print("started", flush=True)
one, two = tempfile.TemporaryFile(), tempfile.TemporaryFile()
sandbox.run(Chain(tasks=[("sleep", {{}})], sources=[ChainSource(one.fileno(), "a/b", "")], output=two.fileno()))
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"started\n"
        below = awaited(lambda: found if len(found := descendants(server.pid)) == 2 else None)
        server.kill()
        server.wait()
    for pid in below:
        awaited(lambda pid=pid: gone(pid))


def awaited(condition: Callable[[], Any]) -> Any:
    """What a condition gives once it gives something. Fails after ten seconds."""
    end = time.monotonic() + 10
    while not (value := condition()):
        assert time.monotonic() < end, "it never came true"
        os.sched_yield()
    return value


def gone(pid: int) -> bool:
    """Whether a process has ended; one that was left to init may be waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_closing_ends_the_job_under_way_and_those_that_wait_and_leaves_no_process() -> None:
    pool = Sandbox(1, plugins=HOSTILE, limits=LIMITS)
    pool.start()
    running = workers(pool)
    with ThreadPoolExecutor(2) as threads:
        jobs = [threads.submit(Runner(pool), "sleep") for _ in range(2)]
        awaited(lambda: pool._waiting)
        pool.close()
        for job in jobs:
            with pytest.raises(Busy):
                job.result(LATE)
    assert [pid for pid in running if pid in descendants(os.getpid())] == []
    assert not pool.running
    pool.close()
    with pytest.raises(Busy):
        Runner(pool)("upper")


def test_a_process_forked_from_the_server_does_not_use_its_workers(run: Runner) -> None:
    child = os.fork()
    if child == 0:
        try:
            run("upper")
        except Busy:
            run.sandbox.close()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert run("upper", data=b"still").data == b"STILL"


# -------------------------------------------------------------------------------------------------------------- waiting


def test_a_job_beyond_the_queue_is_refused_at_once_and_one_that_waits_too_long_in_time() -> None:
    with Sandbox(1, plugins=HOSTILE, limits=LIMITS, queue=1, wait=0.2) as pool, ThreadPoolExecutor(2) as threads:
        run = Runner(pool)
        busy = threads.submit(run, ("nap", {"seconds": 1.5}))
        awaited(lambda: not pool._free)
        waiting = threads.submit(run, "upper")
        awaited(lambda: pool._waiting)
        with pytest.raises(Busy, match="1 jobs wait"):
            run("upper")
        with pytest.raises(Busy, match="no decoder got free"):
            waiting.result(LATE)
        busy.result(LATE)
        assert run("upper", data=b"free").data == b"FREE"


def test_those_who_wait_are_served_in_the_order_of_asking() -> None:
    served: list[int] = []
    with Sandbox(1, plugins=HOSTILE, limits=LIMITS) as pool:
        run = Runner(pool)

        def work(number: int) -> None:
            run(("nap", {"seconds": 0.3}) if number == 0 else "upper")
            served.append(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
        for number, thread in enumerate(threads):
            thread.start()
            awaited(lambda number=number: len(pool._waiting) >= number and not pool._free)
        for thread in threads:
            thread.join()
    assert served == [0, 1, 2, 3, 4]


# -------------------------------------------------------------------------------------------------------------- starting


@linux
def test_layers_that_the_container_takes_away_are_found_out_and_named() -> None:
    script = """
import ctypes, errno, struct
from secure_delivery.engine import confine, sandbox
from secure_delivery.gate.errors import ConfigurationError
from secure_delivery.plugin.protocols import WorkLimits
rows = [(0x20, 0, 0, 0), (0x15, 0, 1, 446), (6, 0, 0, 0x50001), (6, 0, 0, 0x7FFF0000)]
code = b"".join(struct.pack("=HBBI", *row) for row in rows)
confine._prctl(38, 1)
confine._prctl(22, 2, ctypes.byref(confine._Filter(len(rows), code)))
try:
    sandbox.Sandbox(1, plugins=sandbox.PluginChoice(warm=[]), limits=WorkLimits()).start()
except ConfigurationError as error:
    print(error)
with sandbox.Sandbox(1, plugins=sandbox.PluginChoice(warm=[]), limits=WorkLimits(), floor=frozenset(["seccomp"])) as pool:
    print(sorted(pool.layers))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    first, _, rest = done.stdout.partition("\n")
    assert "sandbox_floor asks for the confinement layers landlock" in first, done.stderr
    assert rest.strip() == "['namespaces', 'no_new_privs', 'rlimits', 'seccomp']"
    assert "without these confinement layers: landlock" in done.stderr


def test_an_unknown_layer_on_the_floor_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"sandbox_floor.*selinux.*landlock"):
        Sandbox(1, plugins=PluginChoice(), limits=LIMITS, floor=frozenset({"selinux"}))


def test_a_plugin_that_cannot_be_imported_stops_the_start_with_its_reason() -> None:
    with pytest.raises(ConfigurationError, match="no_such_module"):
        Sandbox(1, plugins=PluginChoice(extra=["no_such_module"]), limits=LIMITS).start()


def test_what_a_plugin_says_about_being_warmed_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "sandbox_cold.py").write_text(
        """
import threading
from secure_delivery.plugin.hookspecs import hookimpl

class Cold:
    params, version = (), "1"
    def apply(self, media, options, shop):
        return media
    def warm(self):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        raise OSError("a library is missing")

@hookimpl
def register_transformations():
    return {"cold": Cold()}
"""
    )
    choice = PluginChoice(extra=["sandbox_cold"], path=[str(tmp_path)], warm=["cold"])
    with caplog.at_level(logging.WARNING), Sandbox(1, plugins=choice, limits=LIMITS):
        pass
    assert "cold could not be prepared: OSError: a library is missing" in caplog.text
    assert "started a thread" in caplog.text


def test_the_layers_in_effect_are_told() -> None:
    with Sandbox(1, plugins=PluginChoice(), limits=LIMITS) as pool:
        assert pool.running
        assert pool.layers == {name for name in confine.LAYERS if confine.available()[name]}


def test_settings_of_plugins_are_not_in_the_repr() -> None:
    assert "marker" not in repr(PluginChoice(settings={"one": {"key": "marker"}}))


# -------------------------------------------------------------------------------------------------------------- frames


def test_a_frame_that_is_too_long_is_refused_on_both_sides() -> None:
    with pytest.raises(ValueError, match="too long"):
        sandbox_wire.encode("x" * sandbox_wire.LIMIT)
    one, two = socket.socketpair()
    with one, two:
        one.sendall((sandbox_wire.LIMIT + 1).to_bytes(4, "big"))
        with pytest.raises(ValueError, match="too long"):
            sandbox_wire.receive(two)


def test_a_frame_that_never_ends_is_given_up_at_the_deadline_and_one_cut_short_is_an_end() -> None:
    one, two = socket.socketpair()
    with two:
        with one:
            one.sendall(b"\0\0\0\x09only")
            with pytest.raises(TimeoutError):
                sandbox_wire.receive(two, deadline=time.monotonic() + 0.05)
            one.sendall(b"\0\0\0\x09only")
        with pytest.raises(EOFError):
            sandbox_wire.receive(two)


def test_descriptors_of_a_frame_that_is_refused_are_closed() -> None:
    one, two = socket.socketpair()
    with one, two:
        reading, writing = os.pipe()
        sandbox_wire.send(one, b"no JSON", [writing])
        os.close(writing)
        with pytest.raises(ValueError, match="Expecting value"):
            sandbox_wire.receive(two, descriptors=2)
        assert os.read(reading, 1) == b"", "the last writer is gone"
        os.close(reading)
