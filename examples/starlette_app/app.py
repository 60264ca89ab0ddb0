"""A document store whose documents open in its own pages only.

Knows: pages, a form, documents in one folder. Must not know: how a request is judged; the lines between the marks leave
that to the guard, and without them this is the store as it was before.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import re
import secrets
import shutil
import socket
import threading
import unicodedata
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import uvicorn
from foreign import foreign_site
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

# secure_delivery: begin
from secure_delivery import Application, Guard, Rule, SecretRing, Whitelist, asgi

# secure_delivery: end

HERE = Path(__file__).parent
HOST = "127.0.0.1"
MAX_BYTES = 2_000_000  # of one document; the upload form carries it as the `maxSize` of its policy
HANDLE = re.compile(r"[0-9a-f]{32}-[a-z0-9-]{1,48}\.(?:pdf|txt|png|jpg|webp)")
TYPES = {
    "pdf": "application/pdf",
    "txt": "text/plain; charset=utf-8",
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
}
STARTS = ((b"%PDF-", "pdf"), (b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpg"))


def extension_of(content: bytes) -> str | None:
    """The extension for a document by what it holds: PDF, PNG, JPEG, WebP, or UTF-8 text; `None` for anything else."""
    for start, extension in STARTS:
        if content.startswith(start):
            return extension
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    try:
        return None if "\0" in content.decode() else "txt"
    except UnicodeDecodeError:
        return None


def handle_for(filename: str, extension: str) -> str:
    """A fresh handle: 128 random bits, then what is readable of the visitor's file name. It never holds a slash or dot."""
    plain = unicodedata.normalize("NFKD", PurePosixPath(filename).stem).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:48].strip("-")
    return f"{secrets.token_hex(16)}-{slug or 'document'}.{extension}"


def described(path: Path) -> dict[str, Any]:
    """What the pages say about a document."""
    stem, _, extension = path.name[33:].rpartition(".")
    facts = path.stat()
    return {
        "handle": path.name,
        "title": stem.replace("-", " ").capitalize(),
        "kind": extension.upper(),
        "size": f"{max(1, round(facts.st_size / 1000)):,} kB",
        "date": f"{datetime.fromtimestamp(facts.st_mtime, UTC):%d %B %Y}".lstrip("0"),
    }


def existing(request: Request) -> Path:
    """The document a path names, when it is one of ours; a 404 otherwise, so that no other file can be named."""
    handle = request.path_params["handle"]
    path: Path = request.app.state.folder / handle
    if HANDLE.fullmatch(handle) is None or not path.is_file():
        raise HTTPException(404, "There is no such document.")
    return path


def page(request: Request, name: str, **values: Any) -> Response:
    templates: Jinja2Templates = request.app.state.templates
    answer = templates.TemplateResponse(request, name, {"max_bytes": MAX_BYTES, **values})
    answer.headers["Content-Security-Policy"] = "default-src 'self'; frame-ancestors 'none'"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Referrer-Policy"] = "same-origin"  # signed addresses are shown to no other site
    return answer


def home(request: Request) -> Response:
    files = [path for path in request.app.state.folder.iterdir() if HANDLE.fullmatch(path.name)]
    files.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return page(request, "documents.html", documents=[described(path) for path in files])


def view(request: Request) -> Response:
    return page(request, "document.html", document=described(existing(request)))


def read(request: Request) -> Response:
    path = existing(request)
    extension = path.suffix[1:]
    # Browsers show no PDF in a sandbox; none of the types of this store can hold a script that runs in its pages.
    policy = "default-src 'none'; style-src 'unsafe-inline'" + ("" if extension == "pdf" else "; sandbox")
    headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": policy}
    name = path.name[33:]
    return FileResponse(path, 200, headers, TYPES[extension], filename=name, content_disposition_type="inline")


def remove(request: Request) -> Response:
    existing(request).unlink(missing_ok=True)
    return Response(status_code=204)


def refusal(status: int, code: str, sentence: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": sentence}}, status)


async def upload(request: Request) -> Response:
    async with request.form(max_files=1, max_fields=4) as form:
        document = form.get("document")
        if not isinstance(document, UploadFile) or not document.filename:
            return refusal(400, "no_file", "Choose a document first.")
        content = await document.read()  # bounded by the policy's maxSize
        extension = extension_of(content)
        if extension is None:
            return refusal(415, "unsupported", "Only PDF, text, JPEG, PNG and WebP documents can be added.")
        await asyncio.to_thread(keep, request.app.state.folder, handle_for(document.filename, extension), content)
    return RedirectResponse(request.url_for("home"), 303)


def keep(folder: Path, handle: str, content: bytes) -> None:
    """Write a document beside its place and move it there, so that nobody reads half of it."""
    unfinished = folder / f".{secrets.token_hex(8)}"
    unfinished.write_bytes(content)
    unfinished.replace(folder / handle)


ROUTES = [
    Route("/", home),
    Route("/view/{handle}", view),
    Route("/files", upload, methods=["POST"]),
    Route("/files/{handle}", read, methods=["GET"], name="read"),
    Route("/files/{handle}", remove, methods=["DELETE"], name="remove"),
    Mount("/static", StaticFiles(directory=HERE / "static"), name="static"),
]


def create_app(*, secret: str, hosts: list[str], folder: Path, foreign: str = "") -> Starlette:
    """The store. `hosts` are its own host:port names, `folder` keeps the documents, `foreign` is only linked to."""
    app = Starlette(routes=ROUTES)
    templates = Jinja2Templates(HERE / "templates")
    templates.env.globals["foreign"] = foreign
    app.state.folder, app.state.templates = folder, templates
    # secure_delivery: begin
    own = Whitelist(hosts, missing="deny")
    application = Application(secrets=SecretRing.of(secret), require_policy=True, upload_whitelist=own, delivery_whitelist=own)
    guard = Guard(application, [Rule("/files", POST="pick", body=True), Rule("/files/<handle>", GET="read", DELETE="remove")])
    templates.env.globals["guard"] = guard
    app.add_middleware(asgi.SecureDelivery, guard=guard)
    # secure_delivery: end
    return app


def seeded(folder: Path) -> Path:
    """The document folder, which begins with the samples when there is none yet."""
    if not folder.exists():
        folder.mkdir(parents=True)
        for sample in sorted((HERE / "samples").iterdir()):
            shutil.copyfile(sample, folder / handle_for(sample.name, sample.suffix[1:]))
    return folder


def server_of(app: Any) -> uvicorn.Server:
    """A server without request lines in its log: they would show signed addresses. The guard logs what it refuses."""
    return uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))


def main() -> None:
    parser = argparse.ArgumentParser(description="A store of guarded documents, and another site that wants them.")
    parser.add_argument("--port", type=int, default=8000, help="of the store; 0 takes any free one")
    parser.add_argument("--foreign-port", type=int, default=8001, help="of the other site; 0 takes any free one")
    parser.add_argument("--folder", type=Path, default=HERE / "uploads", help="where documents are kept")
    chosen = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    secret = os.environ.get("SECURE_DELIVERY_SECRET", "")
    if not secret:
        secret = secrets.token_urlsafe(32)
        print("SECURE_DELIVERY_SECRET is not set: links are signed with a secret that ends with this session.")
    # Bound before the app is made, because the whitelist names the port.
    own = socket.create_server((HOST, chosen.port))
    other = socket.create_server((HOST, chosen.foreign_port))
    port, foreign_port = own.getsockname()[1], other.getsockname()[1]
    address, foreign = f"http://{HOST}:{port}", f"http://{HOST}:{foreign_port}"
    hosts = [f"{HOST}:{port}", f"localhost:{port}"]
    app = create_app(secret=secret, hosts=hosts, folder=seeded(chosen.folder), foreign=foreign)
    thief = server_of(foreign_site(address))
    threading.Thread(target=thief.run, kwargs={"sockets": [other]}, daemon=True).start()
    print(f"The store:    {address}/\nAnother site: {foreign}/\nStop with Ctrl+C.", flush=True)
    try:
        server_of(app).run(sockets=[own])
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
