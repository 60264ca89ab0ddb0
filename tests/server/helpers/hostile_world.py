"""A server with everything around it that hostile files reach for, and the look around after each of them.

Knows: a real server, a listener, /proc, the data folder. Must not know: which files are tried.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pypdfium2
from hostile_files import CHAINS, REFUSALS, Hostile, Traps
from live import Reply, Server, picture, running
from outside import Outside, ok
from PIL import Image

from secure_delivery.engine.records import FileLink
from secure_delivery.gate.model import Application

SECONDS = 45.0  # wall seconds of a job: an office on a busy machine needs many
CPU = 4  # seconds of a decoder: a bomb is cut short after them, and the default of 30 would only make the tests longer
LATE = SECONDS + 2  # security promise 48
SETTLE = 15.0  # seconds in which ended processes must be gone on a slow, busy machine
MAGENTA = (255, 0, 255)
WORDS = "these words are of this machine"
#: Chains that hand on what a file says, to be downloaded; all others take out what acts.
AS_IT_IS = ("zip", "as_it_is", "minify_js", "minify_css", "txt")
PROGRAMS = ("soffice", "oosplash", "chrom", "java", "gs", "ffmpeg")


def magenta(data: bytes) -> bool:
    """Whether a picture shows the colour of the trap."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a legal picture may be larger than Pillow thinks wise
        image = Image.open(io.BytesIO(data))
    with image:
        image.thumbnail((300, 300), Image.Resampling.NEAREST)
        shown = image.convert("RGB")
    raw = shown.tobytes()
    return any(r > 200 and g < 90 and b > 200 for r, g, b in zip(raw[::3], raw[1::3], raw[2::3], strict=True))


def words_of(data: bytes) -> tuple[str, list[bytes]]:
    """The text of a PDF, and its pages as pictures."""
    shown = []
    with pypdfium2.PdfDocument(data) as document:
        text = ""
        for number in range(min(3, len(document))):
            page = document[number]
            text += page.get_textpage().get_text_bounded()
            out = io.BytesIO()
            page.render(scale=0.3).to_pil().convert("RGB").save(out, "PNG")
            shown.append(out.getvalue())
    return text, shown


@dataclass
class World:
    """A server, an application with a good picture, and the traps."""

    server: Server
    canary: Outside
    traps: Traps
    temporary: Path
    application: Application
    good: FileLink
    size: Iterator[int] = field(default_factory=lambda: itertools.count(20))

    def put(self, hostile: Hostile) -> FileLink:
        return self.server.put(self.application, hostile.make(self.traps), hostile.filename)

    def ask(self, chain: str, link: FileLink) -> tuple[Reply, float]:
        """One try, and how many seconds it took."""
        target = CHAINS[chain].format(file=link.handle, good=self.good.handle, key=self.application.api_key)
        calls = ["read", "convert", "exif"]  # keeping EXIF and reading words are for those who may
        signed = self.application.sign(expires_in=600, now=time.time(), call=calls).as_query()
        start = time.monotonic()
        return self.server.request("GET", f"{target}?{signed}", timeout=LATE + 10), time.monotonic() - start

    # -- the look around

    def left(self) -> set[Path]:
        """Everything that the server has on disk, but for its database."""
        kept = (path for path in self.server.data.rglob("*") if path.is_file() and ".sqlite" not in path.name)
        return set(kept) | {path for path in self.temporary.rglob("*") if path.is_file()}

    def processes(self) -> dict[int, tuple[str, str]]:
        """Every process below the server: its name and state."""
        parents: dict[int, tuple[int, str, str]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    head, _, tail = entry.joinpath("stat").read_text().rpartition(")")
                    state, parent = tail.split()[:2]
                    parents[int(entry.name)] = int(parent), head.partition("(")[2], state
        assert self.server.process is not None
        found, front = {}, {self.server.process.pid}
        while front:
            front = {pid for pid, (parent, _, _) in parents.items() if parent in front}
            found |= {pid: parents[pid][1:] for pid in front}
        return found

    def settled(self, most: int) -> dict[int, tuple[str, str]]:
        """The processes that should not be there, once what ended had time to be gone: none."""
        deadline = time.monotonic() + SETTLE
        while True:
            there = self.processes()
            odd = {pid: what for pid, what in there.items() if what[1] in "ZX" or what[0].startswith(PROGRAMS)}
            if (not odd and len(there) <= most) or time.monotonic() > deadline:
                return odd if odd or len(there) <= most else there

    def still_good(self) -> None:
        """A good picture is transformed as ever, and not from what was kept of it."""
        width = next(self.size)
        reply = self.server.get(f"/resize=width:{width}/{self.good.handle}")
        assert reply.status == 200, reply.body
        with Image.open(io.BytesIO(reply.body)) as image:
            image.load()
            assert image.width == width

    # -- what an answer may be

    def check_refusal(self, reply: Reply) -> None:
        """A JSON error of the short list, with nothing about the machine in it."""
        assert reply.headers["content-type"].startswith("application/json")
        assert REFUSALS.get(reply.code) == reply.status, reply.body
        message = reply.json()["error"]["message"]
        assert 0 < len(message) <= 500
        self.check_secrets(reply.body)

    def check_secrets(self, body: bytes) -> None:
        for secret in (str(self.server.data), str(self.temporary), "Traceback", "site-packages", "root:x:0", WORDS):
            assert secret.encode() not in body, secret

    def check_result(self, hostile: Hostile, chain: str, reply: Reply) -> None:
        """A picture without the trap's colour, a document or text without its words; never what the file must not carry."""
        self.check_secrets(reply.body)
        if chain not in AS_IT_IS:
            for word in hostile.never:
                assert word not in reply.body, word
        mimetype = reply.headers["content-type"].partition(";")[0]
        if mimetype in ("text/html", "image/svg+xml"):
            assert "sandbox" in reply.headers["content-security-policy"]
            assert chain in ("preview", "slide") or reply.headers["content-disposition"].startswith("attachment")
        if mimetype == "application/pdf":
            text, shown = words_of(reply.body)
            assert WORDS not in text
            assert not any(magenta(one) for one in shown)
        elif mimetype.startswith("image/") and mimetype != "image/svg+xml":
            assert not magenta(reply.body)


@contextlib.contextmanager
def world(folder: Path, **more: object) -> Iterator[World]:
    """The server may fetch from the listener: that nobody asks it is then nobody's merit but the decoders'."""
    picture_file, words = folder / "trap.png", folder / "trap.txt"
    Image.new("RGB", (64, 64), MAGENTA).save(picture_file)
    words.write_text(WORDS)
    temporary = folder / "tmp"
    temporary.mkdir()
    settings = {"decoders": 1, "decode_seconds": SECONDS, "decode_cpu_seconds": CPU} | more
    with Outside({"/trap.png": ok(picture_file.read_bytes(), "Content-Type: image/png")}) as canary:
        before = os.environ.get("TMPDIR")
        os.environ["TMPDIR"] = str(temporary)
        try:
            with running(folder, settings=settings | {"fetch_allow": canary.at}) as server:
                application = server.application()
                good = server.put(application, picture(400, 300), "good.jpg")
                traps = Traps(canary.url("/trap.png"), picture_file, words)
                yield World(server, canary, traps, temporary, application, good)
        finally:
            os.environ.pop("TMPDIR")
            if before is not None:
                os.environ["TMPDIR"] = before
