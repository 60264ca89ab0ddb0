"""The gallery: `python docs/make_gallery.py` makes every picture of docs/gallery.md with the engine itself.

Knows: for each task something worth looking at, and how the server's parts run a URL. Must not know: pictures; plugins make
them. `gallery_entries` holds what is shown.

Each URL is read by the server's grammar, bound to the installed tasks and run by a confined decoder, so that the page cannot
show what the engine does not do. Answers in JSON are shown as they came, those of jobs without what differs each time. A page
of HTML is opened in a browser, and its picture is what one sees.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from gallery_entries import CONTROLS, ENTRIES, SOURCES, WEB_PAGE, Entry
from make_tables import installed, params_table
from rich.progress import track

from secure_delivery.engine import Engine, build
from secure_delivery.engine.conversion_job import KIND, conversion_object
from secure_delivery.engine.convert import Plan, bind
from secure_delivery.engine.files import Target
from secure_delivery.engine.job_records import ENDED
from secure_delivery.engine.records import FileLink
from secure_delivery.engine.settings import Settings
from secure_delivery.engine.sources import SourceFile
from secure_delivery.gate.errors import NotProvided
from secure_delivery.gate.model import Application
from secure_delivery.gate.tasksource import SourceKind
from secure_delivery.gate.taskurl import TaskURL, parse
from secure_delivery.plugin.selection import providers

DOCS = Path(__file__).parent
PAGE = DOCS / "gallery.md"
FOLDER = DOCS / "gallery"
RESULTS = FOLDER / "answers.json"
MARK = re.compile(r"(<!-- gallery -->\n).*?(<!-- end -->)", re.DOTALL)
_LONGEST = 700  # characters of an answer that a page shows
_KEY = "A" + "k" * 20 + "z"


# ----------------------------------------------------------------------------------------------------------- the page


def families() -> dict[str, list[str]]:
    """The tasks of the gallery under their headings."""
    found: dict[str, list[str]] = {}
    for entry in ENTRIES:
        found.setdefault(entry.family, [])
        if entry.task not in found[entry.family]:
            found[entry.family].append(entry.task)
    return found


def section() -> str:
    """The Markdown of the whole gallery, from the entries and the answers that were kept."""
    answers = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    transformations = installed().transformations
    parts = []
    for family, tasks in families().items():
        parts.append(f"## {family}")
        for task in tasks:
            parts.append(f"### {task}")
            if task in transformations:
                parts += [_says(transformations[task]), params_table(transformations[task].params)]
            parts += [_shown(entry, answers) for entry in ENTRIES if (entry.family, entry.task) == (family, task)]
    return "\n\n".join(part for part in parts if part)


def _says(transformation: object) -> str:
    """What a task does, in the words of the code behind it."""
    said = []
    for one in providers(transformation):  # type: ignore[arg-type]
        text = inspect.cleandoc(type(one).__doc__ or "").partition("\n\n")[0]
        text = re.sub(r"^`[a-z_`, ]+`(?: \(.*?\))?: ", "", " ".join(text.split()))
        said.append(text[:1].upper() + text[1:])
    return "\n\n".join(dict.fromkeys(text for text in said if text))


def _shown(entry: Entry, answers: Mapping[str, str]) -> str:
    url = f"`/{entry.chain}`" + (f": {entry.says}" if entry.says else "")
    if entry.file:
        url = f"![{entry.task}: {entry.says or entry.chain}](gallery/{entry.file}){{ loading=lazy }}\n\n{url}"
    answer = answers.get(entry.chain)
    return url if answer is None else f"{url}\n\n```json\n{answer}\n```"


def filled(page: str) -> str:
    """The page with its gallery."""
    return MARK.sub(lambda found: f"{found[1]}\n{section()}\n\n{found[2]}", page)


# ------------------------------------------------------------------------------------------------------------- making


@dataclass(slots=True)
class Studio:
    """An engine with the pictures and documents that the gallery works on."""

    engine: Engine
    application: Application
    page: str
    links: dict[str, FileLink] = field(default_factory=dict)

    def url(self, entry: Entry) -> TaskURL:
        """The entry's chain with handles in the place of names."""
        chain = re.sub(r"\{([a-z_]+)\}", lambda found: self.links[found[1]].handle, entry.chain)
        source = self.page if entry.source == "page" else self._handles(entry.source)
        return parse(f"/{_KEY}/{chain}/{source}" if source else f"/{_KEY}/{chain}", known_key=lambda text: text == _KEY)

    def _handles(self, names: str) -> str:
        if not names:
            return ""
        handles = [self.links[name].handle for name in names.split("+")]
        return handles[0] if len(handles) == 1 else f"[{','.join(handles)}]"

    def make(self, entry: Entry) -> tuple[bytes, str]:
        """The bytes and the type that a request for the entry would be answered with."""
        url = self.url(entry)
        plan = bind(self.engine.registry, url.tasks)
        source = url.source
        if plan.lengthy:
            return json.dumps(self._converted(plan, entry), ensure_ascii=False).encode(), "application/json"
        if source is None:
            sources = [SourceFile.of_bytes(b"")]
        elif source.kind is SourceKind.EXTERNAL:
            sources = [SourceFile.address(source.text)]
        else:
            named = [*(source.items or (source,)), *plan.references]
            sources = [SourceFile.stored(self.engine.files.find(each.text), self.engine.files) for each in named]
        rendition = self.engine.renditions.get(self.application, sources, plan)
        with self.engine.renditions.open(rendition) as stream:
            return stream.read(), rendition.mimetype

    def _converted(self, plan: Plan, entry: Entry) -> dict[str, Any]:
        """The last answer to a URL that begins a job. Its picture is kept here."""
        (step,), link = plan.steps, self.links[entry.source]
        request = {"task": step.name, "options": dict(step.options), "sources": [{"handle": link.handle}]}
        jobs = self.engine.jobs
        job, _ = jobs.submit(self.application.api_key, KIND, request, cost="heavy")
        while job.state not in ENDED:
            time.sleep(0.1)
            job = jobs.jobs.get(job.id)
        answer = conversion_object(job, lambda handle: f"https://files.example.org/{handle}")
        if job.result is None:
            raise ValueError(answer["error"])
        with self.engine.files.open(self.engine.files.find(job.result["thumbs"]["thumb"])) as stream:
            (FOLDER / entry.file).write_bytes(stream.read())
        answer["uuid"] = answer["timestamp"] = "…"
        answer["data"] = {name: re.sub(r"[^/]+$", "HANDLE", address) for name, address in answer["data"].items()}
        return answer


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(WEB_PAGE)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def web_page() -> Iterator[str]:
    """Host and port of a server with one page."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def studio() -> Iterator[Studio]:
    """A studio in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as data, web_page() as address:
        engine = build(Settings.read({"data": data, "fetch_allow": [address]}))
        try:
            engine.jobs.start()
            application, _ = engine.records.create_application("gallery")
            made = Studio(engine, application, f"http://{address}/")
            for name, source in SOURCES.items():
                with engine.files.begin(application, Target(filename=source.filename)) as upload:
                    upload.write(source.read())
                    made.links[name] = engine.files.add(application, upload)
            yield made
        finally:
            engine.close()


def _photographed(page: bytes, width: int) -> bytes:
    """What one sees of a page of HTML."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = next(path for name in ("chromium", "chromium-browser", "google-chrome") if (path := _which(name)))
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            view = browser.new_page(viewport={"width": width, "height": width * 3 // 4})
            view.set_content(page.decode("utf-8"))
            return view.screenshot(type="jpeg", quality=70)
        finally:
            browser.close()


def _which(name: str) -> str | None:
    import shutil

    return shutil.which(name)


def _kept(entry: Entry, data: bytes, mimetype: str, answers: dict[str, str]) -> None:
    if mimetype.startswith("image/") and entry.file:
        (FOLDER / entry.file).write_bytes(data)
    elif mimetype == "text/html" and entry.file:
        (FOLDER / entry.file).write_bytes(_photographed(data, 720))
    else:
        answers[entry.chain] = _told(data, mimetype)


def _told(data: bytes, mimetype: str) -> str:
    """An answer as a page shows it: JSON as it is, anything else by its type and size."""
    if mimetype != "application/json" and not mimetype.startswith("text/"):
        return json.dumps({"type": mimetype, "size": len(data)})
    text = data.decode("utf-8")
    if mimetype == "application/json" and len(text) < _LONGEST // 4:
        text = json.dumps(json.loads(text), ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"


def main() -> None:
    """Make every picture and answer, and write the page."""
    only = set(sys.argv[1:])
    FOLDER.mkdir(exist_ok=True)
    answers: dict[str, str] = json.loads(RESULTS.read_text("utf-8")) if only and RESULTS.exists() else {}
    wanted = [entry for entry in ENTRIES if entry.task not in CONTROLS and (not only or entry.task in only)]
    if not only:
        for old in FOLDER.iterdir():
            old.unlink()
    with studio() as made:
        for entry in track(wanted, description="making the gallery"):
            try:
                data, mimetype = made.make(entry)
            except NotProvided as error:
                answers[entry.chain] = json.dumps({"error": {"code": error.code, "message": error.public}})
                continue
            except Exception as error:
                raise SystemExit(f"{entry.chain}: {error!r}") from error
            _kept(entry, data, mimetype, answers)
    RESULTS.write_text(json.dumps(answers, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
