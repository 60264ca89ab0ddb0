"""External programs: they get what was declared, leave files, and whatever a hostile file makes of one stays in its folder."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from secure_delivery.engine import confine, scratch
from secure_delivery.engine.sandbox import Chain, ChainSource, PluginChoice, Sandbox
from secure_delivery.gate.errors import Busy, Corrupt, ProcessingLimit, SecureDeliveryError, TooLarge, Unsupported
from secure_delivery.plugin.protocols import WorkLimits

pytestmark = pytest.mark.skipif(not confine.LINUX, reason="external programs are confined on Linux only")

PLUGIN = PluginChoice(extra=["programs_hostile"], path=[str(Path(__file__).parent / "hostile")], warm=[])
LIMITS = WorkLimits(seconds=30.0, cpu_seconds=6, memory=400_000_000, bytes=5_000_000)
PLAIN = {"word": "plain", "number": 1}
#: What every script begins with: its folders, and a way to try things and say how they ended.
START = """
import json, os, socket, subprocess, sys, time
more = [word for word in sys.argv[1:] if word.endswith(".txt")]
out, scratch = sys.argv[1 + len(more):3 + len(more)]
rest = sys.argv[3 + len(more):]
told = {}
def attempt(name, action):
    try:
        told[name] = ["done", repr(action())]
    except BaseException as error:
        told[name] = [type(error).__name__, str(error)]
def leave(name, text):
    with open(os.path.join(out, name), "w") as file:
        file.write(text)
"""
TELL = "\nleave('told.json', json.dumps(told))\n"


class Runner:
    """Runs scripts as programs of confined jobs."""

    def __init__(self, sandbox: Sandbox, place: Path) -> None:
        self.sandbox = sandbox
        self.place = place

    def raw(self, task: str, options: Mapping[str, Any], *texts: str, **more: Any) -> Any:
        with ExitStack() as stack:
            files = []
            for text in texts:
                file = stack.enter_context(tempfile.TemporaryFile())
                file.write(text.encode())
                file.flush()
                files.append(ChainSource(file.fileno(), "text/plain", "source.txt"))
            output = stack.enter_context(tempfile.TemporaryFile())
            self.sandbox.run(Chain(tasks=[(task, options)], sources=files, output=output.fileno(), **more))
            output.seek(0)
            return json.loads(output.read())

    def __call__(self, code: str, *others: str, program: str = "script", port: int | None = None, **options: Any) -> Any:
        made = self.raw("run", {"program": program, **options}, START + code, *others, proxy_port=port)
        return dict(map(tuple, made))

    def told(self, code: str, **more: Any) -> dict[str, list[str]]:
        """What a script found out by attempts."""
        return dict(json.loads(self(code + TELL, **more)["told.json"]))


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Not in /tmp, which is another one for programs."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def sandbox(place: Path) -> Iterator[Sandbox]:
    with Sandbox(1, plugins=PLUGIN, limits=LIMITS, scratch=place) as sandbox:
        yield sandbox


@pytest.fixture
def run(sandbox: Sandbox, place: Path) -> Iterator[Runner]:
    """A runner; after every test nothing is left of what ran, on the disk or as a process."""
    before = workers(sandbox)
    yield Runner(sandbox, place)
    if sandbox.running:
        assert list(place.iterdir()) == []
        assert survivors(place) == []
        assert Runner(sandbox, place)("leave('a', 'still at work')") == {"a": "still at work"}
        if before == workers(sandbox):
            return
        assert all(gone(worker) for worker in before)


def workers(sandbox: Sandbox) -> list[int]:
    return [place._worker.process.pid for place in sandbox._places if place._worker is not None]


def survivors(place: Path) -> list[str]:
    """Processes that were started with a file of this folder among their words."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = entry.joinpath("cmdline").read_bytes()
                state = entry.joinpath("stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if os.fsencode(place) + b"/program-" in words and state != "Z":
                found.append(f"{entry.name} {words!r}")
    return found


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def awaited(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + 10
    while not (value := condition()):
        assert time.monotonic() < end, "it never came true"
        os.sched_yield()
    return value


# --------------------------------------------------------------------------------------------------- what was declared


def test_results_are_the_regular_files_in_order_of_their_names_and_nothing_else(run: Runner) -> None:
    made = run(
        """
for name in ("b", "a", "c.txt"):
    leave(name, name * 2)
os.mkdir(out + "/folder")
leave("folder/inner", "x")
os.mkfifo(out + "/fifo")
os.symlink("/etc/passwd", out + "/link")
os.symlink(out + "/a", out + "/near")
socket.socket(socket.AF_UNIX).bind(out + "/socket")
"""
    )
    assert list(made.items()) == [("a", "aa"), ("b", "bb"), ("c.txt", "c.txtc.txt")]


def test_at_most_sixty_four_results_come_back(run: Runner) -> None:
    made = run("for number in range(100): leave(f'{number:03}', 'x')")
    assert list(made) == [f"{number:03}" for number in range(64)]


def test_words_are_the_declared_ones_each_a_word_of_its_own_and_what_is_filled_in_is_no_place(run: Runner) -> None:
    for word in ("plain", "two words", "--looks-like=an option", "{scratch}"):
        made = run("leave('words', json.dumps(rest))", choices={"word": word, "number": 10})
        assert json.loads(made["words"]) == [word, "10"]


@pytest.mark.parametrize("name", ["word", "number"])
@pytest.mark.parametrize("value", ["other", "", "plain ", 0, 11, True, 1.0, 2.5, None, "1"])
def test_a_choice_that_was_not_declared_is_refused(name: str, value: Any, run: Runner) -> None:
    with pytest.raises(Unsupported, match=f"no choice for {name}"):
        run("leave('a', 'x')", choices={**PLAIN, name: value})


def test_a_choice_that_is_missing_is_refused(run: Runner) -> None:
    with pytest.raises(Unsupported, match="no choice for number"):
        run("leave('a', 'x')", choices={"word": "plain"})


def test_a_program_that_nobody_declared_or_installed_is_told_by_name(run: Runner) -> None:
    with pytest.raises(Unsupported, match="no plugin declares the program 'sh'"):
        run("", program="sh")
    with pytest.raises(Unsupported) as caught:
        run("", program="missing")
    assert caught.value.public == "This needs the program no-such-program-anywhere, which is not installed here."
    with pytest.raises(Unsupported, match="no-such-browser is not installed"):
        run("leave('a', 'x')", program="starter")


def test_inputs_are_copies_under_names_of_ours_with_the_declared_suffixes(run: Runner) -> None:
    made = run(
        """
leave("names", json.dumps([os.path.relpath(path, scratch) for path in [sys.argv[0], *more]]))
for path in more:
    leave("copy-" + os.path.basename(path), open(path).read())
    open(path, "w").write("changed")
""",
        "second",
        more=["third"],
    )
    assert json.loads(made["names"]) == ["in/file-001.py", "in/file-002.txt", "in/file-003.txt"]
    assert made["copy-file-002.txt"] == "second"
    assert made["copy-file-003.txt"] == "third"


def test_a_shell_runs_like_any_program(run: Runner) -> None:
    assert run.raw("run", {"program": "shell"}, 'echo "$1" | grep -c out > "$1/count"') == [["count", "1\n"]]


def test_a_program_sees_a_minimal_environment_and_no_descriptor_of_ours(run: Runner) -> None:
    told = run.told(
        """
told["environment"] = dict(os.environ)
told["scratch"] = scratch
told["open"] = [number for number in range(3, 5000) if os.path.exists(f"/proc/self/fd/{number}")]
told["cwd"] = os.getcwd()
told["nice"] = os.nice(0)
"""
    )
    place = told.pop("scratch")
    assert told["environment"] == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": f"{place}/home",
        "TMPDIR": f"{place}/tmp",
        "LC_ALL": "C.UTF-8",
        "PLACE": place,
    }
    assert told["open"] == []
    assert told["cwd"] == place
    assert told["nice"] > 0, "answering requests goes first"


# ----------------------------------------------------------------------------------------------------------- how it ends


def test_a_program_that_fails_is_corrupt_and_what_it_said_is_for_the_operator(run: Runner) -> None:
    with pytest.raises(Corrupt, match=r"status 3: .*text of the file") as caught:
        run("sys.stderr.write('text of the file'); sys.exit(3)")
    assert "text" not in (caught.value.public or "")
    with pytest.raises(Corrupt, match="status"):
        run("os.abort()")
    with pytest.raises(Corrupt, match="no result"):
        run("pass")


def test_a_program_comes_to_its_limits(run: Runner) -> None:
    with pytest.raises(Corrupt, match="MemoryError"):
        run("bytearray(1_000_000_000)", program="small")
    with pytest.raises(Corrupt, match="EFBIG"):
        run("try: leave('a', 'x' * 5_000_001)\nexcept OSError as error: sys.exit(['EFBIG'][27 - error.errno])")
    with pytest.raises(TooLarge, match="results over"):
        run("leave('a', 'x' * 3_000_000); leave('b', 'x' * 3_000_000)")
    with pytest.raises(ProcessingLimit, match="came to a limit"):
        run("os.kill(os.fork() or os.execv('/bin/sleep', ['sleep', '1']), 9); os._exit(152)")


#: Ways to stay alive. Each leaves a process, or many, that would go on for minutes.
STAYING = {
    "sleep": "time.sleep(600)",
    "daemon": "[os._exit(0) for _ in range(2) if os.fork()]; os.setsid(); time.sleep(600)",
    "daemon beside": "if os.fork() == 0:\n  os.setsid()\n  if os.fork(): os._exit(0)\n  time.sleep(600)\ntime.sleep(600)",
    "deaf": """
import signal
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
subprocess.Popen([sys.executable, *sys.argv], start_new_session=True) if os.getpid() < 9 else None
time.sleep(600)
""",
    "hydra": "for _ in range(8):\n  if os.fork() == 0:\n    while True:\n      if os.fork(): os._exit(0)\ntime.sleep(600)",
}


@pytest.mark.parametrize("way", STAYING)
def test_at_the_deadline_a_program_ends_with_all_it_started(way: str, run: Runner) -> None:
    if way == "hydra" and "namespaces" not in run.sandbox.layers:
        pytest.skip("without a room of its own, what forks without end is not certain to be caught")
    begun = time.monotonic()
    with pytest.raises((ProcessingLimit, Corrupt)):
        run(STAYING[way], program="quick")
    assert time.monotonic() - begun < LIMITS.seconds
    assert survivors(run.place) == []


def test_what_a_program_leaves_running_ends_with_it(run: Runner) -> None:
    made = run("leave('a', 'x')\nif os.fork() == 0:\n  os.setsid()\n  if os.fork(): os._exit(0)\n  time.sleep(600)")
    assert made == {"a": "x"}
    assert survivors(run.place) == []


def test_the_decoder_that_asked_lives_on_and_can_ask_again(run: Runner) -> None:
    answers = run.raw("ask", {"questions": [{"run": "script"}, {"run": "sh"}, {"spare": True}]}, "x")
    assert "no choice" in answers[0]
    assert "no plugin declares" in answers[1]
    assert answers[2] == "['files']"


def test_a_worker_that_is_killed_takes_a_running_program_along(sandbox: Sandbox, place: Path) -> None:
    with ThreadPoolExecutor(1) as thread:
        job = thread.submit(Runner(sandbox, place), STAYING["daemon beside"])
        awaited(lambda: len(survivors(place)) == 2)
        os.kill(workers(sandbox)[0], signal.SIGKILL)
        with pytest.raises(ProcessingLimit):
            job.result(40)
    awaited(lambda: survivors(place) == [])
    assert Runner(sandbox, place)("leave('a', 'x')") == {"a": "x"}
    assert list(place.iterdir()) == [], "the worker that came instead has swept"


def test_a_sweep_spares_folders_in_use(tmp_path: Path) -> None:
    (tmp_path / "program-left" / "inner").mkdir(parents=True)
    (tmp_path / "another").mkdir()
    with scratch.folder(tmp_path) as (path, _):
        child = os.fork()
        if child == 0:
            scratch.sweep(tmp_path)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "another", path])
    assert list(tmp_path.iterdir()) == [tmp_path / "another"]


def test_closing_ends_a_running_program_at_once(tmp_path: Path) -> None:
    pool = Sandbox(1, plugins=PLUGIN, limits=LIMITS, scratch=tmp_path)
    pool.start()
    with ThreadPoolExecutor(1) as thread:
        job = thread.submit(Runner(pool, tmp_path), STAYING["daemon beside"])
        awaited(lambda: len(survivors(tmp_path)) == 2)
        pool.close()
        with pytest.raises(Busy):
            job.result(40)
    assert survivors(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------------------ the folder


def test_a_folder_for_results_that_was_exchanged_leads_nowhere(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    for way in (f"os.rmdir(out); os.symlink({str(tmp_path)!r}, out)", "os.rename(out, out + '2'); os.symlink('/etc', out)"):
        with pytest.raises(Corrupt, match="no result"):
            run(way)


#: What a program may leave, as code; most of it hard to remove.
LITTER = {
    "read-only": "os.makedirs(out + '/a/b/c'); leave('a/b/c/f', '')\n"
    "for p in ('/a/b/c', '/a/b', '/a', ''): os.chmod(out + p, 0)",
    "links": "os.symlink(TARGET, out + '/a'); os.symlink(TARGET + '/kept', out + '/b'); os.symlink('/', scratch + '/tmp/c')",
    "odd names": "for n in (b'\\xff\\n', b'-rf', b'x' * 255): os.close(os.open(os.fsencode(out) + b'/' + n, os.O_CREAT))",
    "no out": "os.rmdir(out); os.mkfifo(out)",
    "thousands": "[os.close(os.open(f'{out}/{n}', os.O_CREAT)) for n in range(10_000)]",
    "deep": "os.chdir(out)\nfor n in range(3000): os.mkdir('d'); os.chdir('d')",
    "deep and closed": "os.makedirs(out + '/d' * 30)\nfor n in range(30, 0, -1): os.chmod(out + '/d' * n, 0)",
}


@pytest.mark.parametrize("what", LITTER)
def test_the_folder_is_removed_whatever_is_in_it_and_links_are_not_followed(what: str, run: Runner, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    try:
        run(f"TARGET = {str(tmp_path)!r}\n" + LITTER[what])
    except SecureDeliveryError:
        pass
    assert list(run.place.iterdir()) == []
    assert (tmp_path / "kept").read_text() == "kept"
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process as somebody else")
@pytest.mark.parametrize("what", LITTER)
def test_an_ordinary_user_removes_it_as_well(what: str) -> None:
    with tempfile.TemporaryDirectory() as folder:  # not below pytest's own, which others of its processes close to others
        _removed_by_somebody_else(what, Path(folder))


def _removed_by_somebody_else(what: str, folder: Path) -> None:
    script = f"""
import os, sys
from pathlib import Path
from secure_delivery.engine import scratch
place = Path({str(folder / "place")!r})
out = str(place / "run" / "out")
scratch_, scratch_module = str(place / "run"), scratch
place.mkdir()
os.chown(place, 54321, 54321)
os.setgroups([]); os.setgid(54321); os.setuid(54321)
os.makedirs(out); os.mkdir(scratch_ + "/tmp")
TARGET = "/usr"
def leave(name, text): open(os.path.join(out, name), "w").close()
here = os.getcwd()
exec({LITTER[what]!r}, globals() | {{"scratch": scratch_}})
os.chdir(here)
scratch_module.remove(place / "run")
print(os.listdir(place))
"""
    folder.chmod(0o711)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd="/")
    assert done.stdout == "[]\n", done.stderr


FILLING = {
    "files": "for n in range(10**9): os.close(os.open(f'{scratch}/home/{n}', os.O_CREAT))",
    "bytes": "for n in range(10**9): leave(str(n), 'x' * 4_000_000)",
    "hidden": "h = scratch + '/home/h'; os.mkdir(h); leave('../home/h/f', 'x'); os.chmod(h, 0); time.sleep(60)",
    "deep": "os.chdir(scratch)\nfor n in range(40): os.mkdir('d'); os.chdir('d')\ntime.sleep(60)",
}


@pytest.mark.parametrize("what", FILLING)
def test_a_program_that_fills_its_folder_is_ended_before_its_time(what: str, run: Runner) -> None:
    if what == "hidden" and os.geteuid() == 0:
        pytest.skip("root looks everywhere")
    with pytest.raises(TooLarge, match="filled its folder"):
        run(FILLING[what])


# ------------------------------------------------------------------------------------------------- what it may not reach


class Canary:
    """Listeners of all kinds: three on one port of loopback, or of that name, and one at a path."""

    def __init__(self, folder: Path) -> None:
        self.stream = socket.create_server(("127.0.0.1", 0))
        self.port = self.stream.getsockname()[1]
        self.datagrams = socket.socket(type=socket.SOCK_DGRAM)
        self.datagrams.bind(("127.0.0.1", self.port))
        self.abstract = socket.socket(socket.AF_UNIX)
        self.abstract.bind(f"\0canary-{self.port}")
        self.abstract.listen()
        self.path = folder / "socket"
        self.local = socket.socket(socket.AF_UNIX)
        self.local.bind(str(self.path))
        self.path.chmod(0o777)
        self.local.listen()
        self.all = {"tcp": self.stream, "udp": self.datagrams, "abstract": self.abstract, "path": self.local}

    def heard(self) -> list[str]:
        """Which of them somebody has spoken to."""
        poll = select.poll()
        names = {one.fileno(): name for name, one in self.all.items()}
        for descriptor in names:
            poll.register(descriptor, select.POLLIN)
        return sorted(names[descriptor] for descriptor, _ in poll.poll(0))

    def close(self) -> None:
        for one in self.all.values():
            one.close()


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Canary]:
    canary = Canary(tmp_path)
    yield canary
    canary.close()


def test_the_canary_hears(canary: Canary) -> None:
    assert canary.heard() == []
    with ExitStack() as stack:
        one = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        two, three = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
        one.sendto(b"x", ("127.0.0.1", canary.port))
        two.connect(str(canary.path))
        three.connect(f"\0canary-{canary.port}")
        with socket.create_connection(("127.0.0.1", canary.port)):
            assert canary.heard() == ["abstract", "path", "tcp", "udp"]


REACHING = """
there = ("127.0.0.1", PORT)
def reach(family=socket.AF_INET, kind=socket.SOCK_STREAM, protocol=0, to=there):
    with socket.socket(family, kind, protocol) as one:
        one.settimeout(2)
        one.connect(to)
def pair(to):
    one, two = socket.socketpair(type=socket.SOCK_DGRAM)
    one.connect(to)
attempt("tcp", reach)
attempt("mptcp", lambda: reach(protocol=262))
attempt("sctp", lambda: reach(protocol=132))
attempt("fastopen", lambda: socket.socket().sendto(b"hello", 0x20000000, there))
attempt("fastopen message", lambda: socket.socket().sendmsg([b"hello"], [], 0x20000000, there))
attempt("tcp to v6", lambda: reach(socket.AF_INET6, to=("::1", PORT)))
attempt("udp", lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"hello", there))
attempt("raw", lambda: socket.socket(type=socket.SOCK_RAW, proto=1))
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
attempt("vsock", lambda: socket.socket(40, socket.SOCK_STREAM))
attempt("abstract", lambda: reach(socket.AF_UNIX, to="\\0canary-PORT"))
attempt("path", lambda: reach(socket.AF_UNIX, to=PATH))
attempt("pair", lambda: pair(PATH))
"""


@pytest.mark.parametrize("program", ["script", "visitor"])
def test_no_listener_is_ever_contacted_by_a_program(program: str, run: Runner, canary: Canary) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        code = REACHING.replace("PORT", str(canary.port)).replace("PATH", repr(str(canary.path))) + TELL
        port = proxy.getsockname()[1]
        made = visit(run, "http://example.com/", code, port) if program == "visitor" else run(code, port=port)
    told = json.loads(made["told.json"])
    assert {name: end for name, (end, _) in told.items() if end == "done"} == {}
    assert len(told) == 13
    assert canary.heard() == []


def visit(run: Runner, address: str, code: str, port: int | None) -> dict[str, str]:
    """Run a script as the program that visits pages: the address comes first."""
    made = run.raw("run", {"program": "visitor"}, address, START + code, proxy_port=port)
    return dict(map(tuple, made))


def test_a_program_that_visits_reaches_the_guard_and_is_told_where_it_is(run: Runner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        port = proxy.getsockname()[1]
        code = f"with socket.create_connection(('127.0.0.1', {port})) as one: leave('words', json.dumps(rest))"
        made = visit(run, "http://example.com/?a=1&b={out}#'\"$(x)", code, port)
        proxy.accept()[0].close()
    assert json.loads(made["words"]) == ["http://example.com/?a=1&b={out}#'\"$(x)", f"http://127.0.0.1:{port}"]


def test_a_program_that_does_not_visit_cannot_use_the_guard_either(run: Runner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        port = proxy.getsockname()[1]
        told = run.told(f"attempt('guard', lambda: socket.create_connection(('127.0.0.1', {port}), 2))", port=port)
        assert told["guard"][0] == "PermissionError"
        proxy.settimeout(0)
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_nobody_waits_for_connections_in_a_program_that_visits(run: Runner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        code = """
one = socket.socket()
attempt("bind", lambda: one.bind(("127.0.0.1", 0)))
attempt("listen", lambda: one.listen())
attempt("listening", lambda: one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) or 1 / 0)
"""
        told = json.loads(visit(run, "http://example.com/", code + TELL, proxy.getsockname()[1])["told.json"])
    assert told["bind"][0] == "PermissionError"
    assert told["listening"][0] == "ZeroDivisionError"


@pytest.mark.parametrize(
    "address",
    ["", "--option", "-x http://a/", "file:///etc/passwd", "javascript:1", "http://a b/", "http://a/\nhttp://b/", "http://é/",
     "HTTP://a/", "http://", "http://" + "a" * 8193],
)  # fmt: skip
def test_what_is_no_address_is_no_word_for_a_program(address: str, run: Runner) -> None:
    with pytest.raises(Unsupported, match="no address"):
        visit(run, address, "leave('a', 'x')", 9)


def test_without_a_guard_no_program_visits(run: Runner) -> None:
    with pytest.raises(Unsupported) as caught:
        visit(run, "http://example.com/", "leave('a', 'x')", None)
    assert caught.value.public == "This server does not visit pages."


TOUCHING = """
attempt("read", lambda: open(PATH).read())
attempt("append", lambda: open(PATH, "a"))
attempt("remove", lambda: os.unlink(PATH))
attempt("beside", lambda: open(PATH + ".new", "w"))
attempt("link", lambda: os.link(PATH, out + "/linked"))
attempt("move", lambda: os.rename(PATH, out + "/moved"))
attempt("mode", lambda: os.chmod(os.path.dirname(PATH), 0o777))
attempt("list", lambda: os.listdir(os.path.dirname(PATH)))
attempt("list the place", lambda: os.listdir(os.path.dirname(scratch)))
attempt("write beside its folder", lambda: open(scratch + "-more", "w"))
attempt("shadow", lambda: open("/etc/shadow").read())
attempt("keys", lambda: os.listdir("/etc/ssl/private"))
attempt("root", lambda: os.listdir("/root"))
attempt("opt", lambda: os.listdir("/opt"))
attempt("environment of the server", lambda: open(f"/proc/{SERVER}/environ").read())
attempt("memory of the server", lambda: open(f"/proc/{SERVER}/mem", "rb"))
attempt("files of the server", lambda: os.listdir(f"/proc/{SERVER}/fd"))
attempt("signal", lambda: os.kill(SERVER, 0))
attempt("signal to all", lambda: os.kill(WORKER, 0))
attempt("disk", lambda: os.mknod(scratch + "/disk", 0o60600, os.makedev(254, 0)))
attempt("mount", lambda: subprocess.run(["mount", "-t", "tmpfs", "x", scratch + "/tmp"], check=True, capture_output=True))
attempt("namespace", lambda: subprocess.run(["unshare", "-r", "true"], check=True, capture_output=True))
attempt("chroot", lambda: os.chroot(scratch))
attempt("user", lambda: os.setuid(0 if os.getuid() else 1))
"""


def test_a_program_touches_nothing_outside_its_folder(run: Runner, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    names = {"PATH": repr(str(secret)), "SERVER": str(os.getpid()), "WORKER": str(workers(run.sandbox)[0])}
    code = TOUCHING
    for name, value in names.items():
        code = code.replace(name, value)
    told = run.told(code)
    # In a room of its own, what it calls /tmp is its own; nothing of ours is in there.
    assert {name: end for name, end in told.items() if end[0] == "done"} == {}
    assert len(told) == 24
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    assert secret.read_text() == "secret"


def test_a_room_of_its_own_shows_no_other_process_and_no_file_of_others_in_tmp(run: Runner) -> None:
    if "namespaces" not in run.sandbox.layers:
        pytest.skip("the kernel gives no namespaces here")
    told = run.told(
        """
told["processes"] = [name for name in os.listdir("/proc") if name.isdigit()]
told["tmp"] = os.listdir("/tmp")
told["there"] = [path for path in ("/root", "/home", "/run", "/srv", "/var/run", "/etc/shadow") if os.path.lexists(path)]
told["network"] = [line.split(":")[0].strip() for line in open("/proc/self/net/dev").readlines()[2:]]
"""
    )
    assert told["processes"] == ["1"]
    assert told["there"] == []
    assert told["tmp"] == []
    assert told["network"] == ["lo"]


# -------------------------------------------------------------------------------------------- what a decoder may ask for


@pytest.mark.parametrize(
    "question",
    [
        {"run": "script", "given": [99]},
        {"run": "script", "given": [-99]},
        {"run": "script", "given": ["x"]},
        {"run": "script", "given": [{}]},
        {"run": "script", "given": [None]},
        {"run": "script", "given": [1e308]},
        {"run": "script", "given": "0"},
        {"run": "script", "choices": []},
        {"run": "script", "choices": {"word": [1], "number": {}}},
        {"run": ["script"]},
        {"run": "../script"},
        {"run": None},
        {},
        {"spare": False},
    ],
)
def test_a_question_that_makes_no_sense_is_a_fault_and_the_worker_lives_on(question: dict[str, Any], run: Runner) -> None:
    before = workers(run.sandbox)
    (answer,) = run.raw("ask", {"questions": [question]}, "x")
    assert answer.startswith(("Unsupported", "Corrupt"))
    assert workers(run.sandbox) == before


def test_a_decoder_gets_eight_spare_files_and_no_more(run: Runner) -> None:
    answers: Sequence[str] = run.raw("ask", {"questions": [{"spare": True}] * 10}, "x")
    assert answers[:8] == ["['files']"] * 8
    assert all(answer.startswith("ProcessingLimit") for answer in answers[8:])


BABBLE: dict[str, tuple[str, dict[str, Any]]] = {
    "deep": ("deep", {"depth": 100_000}),
    "deep enough for one side": ("deep_report", {"depth": 900}),
    "deeper": ("deep_report", {"depth": 990}),
    "too long": ("huge", {}),
    "no object": ("say", {"texts": ["[]"]}),
    "no number": ("say", {"texts": ['{"report":{"mimetype":"a/b","filename":"","extra":{"size":[NaN,1]}}}']}),
    "infinity": ("say", {"texts": ['{"run":"script","given":[Infinity]}']}),
    "texts for numbers": ("say", {"texts": ['{"report":{"mimetype":"a/b","filename":"","extra":[],"cpu":"x","memory":[]}}']}),
    "no report": ("say", {"texts": ['{"report":7}']}),
    "many digits": ("say", {"texts": ['{"run":' + "9" * 5000 + "}"]}),
}


@pytest.mark.parametrize("what", BABBLE)
def test_a_decoder_that_babbles_is_a_fault_of_its_job_and_the_worker_lives_on(what: str, run: Runner) -> None:
    before = workers(run.sandbox)
    task, options = BABBLE[what]
    with pytest.raises(Corrupt):
        run.raw(task, options, "x")
    assert workers(run.sandbox) == before


def test_a_frame_that_is_half_sent_does_not_delay_closing(tmp_path: Path) -> None:
    pool = Sandbox(1, plugins=PLUGIN, limits=LIMITS, scratch=tmp_path)
    pool.start()
    with ThreadPoolExecutor(1) as thread:
        job = thread.submit(Runner(pool, tmp_path).raw, "half", {}, "x")
        awaited(lambda: not pool._free)
        begun = time.monotonic()
        pool.close()
        assert time.monotonic() - begun < 3
        with pytest.raises((Busy, SecureDeliveryError)):
            job.result(5)


def test_children_that_no_program_started_live_on_where_they_are_named() -> None:
    script = """
import subprocess
from secure_delivery.engine.programs import children, end_group
server, other, leader = (subprocess.Popen(["sleep", "60"], start_new_session=True) for _ in range(3))
end_group(leader.pid, spare=[server.pid])
print([each.pid in children() for each in (server, other, leader)])
server.kill()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "[True, False, False]\n", done.stderr
