"""A photo gallery with uploads whose pictures are shown by its own pages only.

Knows: pages, a form, pictures in one folder. Must not know: how a request is judged; the lines between the marks leave
that to the guard, and without them this is the gallery as it was before.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import secrets
import shutil
import socket
import threading
import unicodedata
from pathlib import Path, PurePosixPath
from typing import Any

from flask import (
    Blueprint,
    Flask,
    abort,
    current_app,
    jsonify,
    redirect,
    render_template,
    request,
    send_from_directory,
    url_for,
)
from foreign import foreign_site
from werkzeug.serving import WSGIRequestHandler, make_server

# secure_delivery: begin
from secure_delivery import Application, Guard, Rule, SecretRing, Whitelist, wsgi

# secure_delivery: end

HERE = Path(__file__).parent
HOST = "127.0.0.1"
MAX_BYTES = 1_000_000  # of one picture; the upload form carries it as the `maxSize` of its policy
HANDLE = re.compile(r"[0-9a-f]{32}-[a-z0-9-]{1,48}\.(?:jpg|png|webp)")

pages = Blueprint("pages", __name__)


def extension_of(start: bytes) -> str | None:
    """The extension for a picture by its first bytes; `None` for anything that is not JPEG, PNG or WebP."""
    if start.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    return "webp" if start[:4] == b"RIFF" and start[8:12] == b"WEBP" else None


def handle_for(filename: str, extension: str) -> str:
    """A fresh handle: 128 random bits, then what is readable of the visitor's file name. It never holds a slash or dot."""
    plain = unicodedata.normalize("NFKD", PurePosixPath(filename).stem).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:48].strip("-")
    return f"{secrets.token_hex(16)}-{slug or 'picture'}.{extension}"


def title_of(handle: str) -> str:
    """The readable part of a handle, as a caption."""
    return handle[33:].rpartition(".")[0].replace("-", " ").capitalize()


def picture_folder() -> Path:
    folder: Path = current_app.config["PICTURES"]
    return folder


def checked(handle: str) -> str:
    """The handle, when it is one of ours; a 404 otherwise, so that no other file of the folder can be named."""
    if HANDLE.fullmatch(handle) is None or not (picture_folder() / handle).is_file():
        abort(404)
    return handle


@pages.get("/")
def gallery() -> str:
    files = [path for path in picture_folder().iterdir() if HANDLE.fullmatch(path.name)]
    files.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    pictures = [{"handle": path.name, "title": title_of(path.name)} for path in files]
    return render_template("gallery.html", pictures=pictures, max_bytes=MAX_BYTES)


@pages.get("/photos/<handle>")
def photo(handle: str) -> Any:
    answer = send_from_directory(picture_folder(), checked(handle), max_age=3600)
    answer.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return answer


@pages.delete("/photos/<handle>")
def remove(handle: str) -> Any:
    (picture_folder() / checked(handle)).unlink(missing_ok=True)
    return "", 204


@pages.post("/photos")
def upload() -> Any:
    picture = request.files.get("picture")
    if picture is None or not picture.filename:
        return jsonify(error={"code": "no_file", "message": "Choose a picture first."}), 400
    extension = extension_of(picture.stream.read(16))
    if extension is None:
        return jsonify(error={"code": "unsupported", "message": "Only JPEG, PNG and WebP pictures can be added."}), 415
    picture.stream.seek(0)
    unfinished = picture_folder() / f".{secrets.token_hex(8)}"
    picture.save(unfinished)
    unfinished.replace(picture_folder() / handle_for(picture.filename, extension))
    return redirect(url_for("pages.gallery"), 303)


def with_page_headers(answer: Any) -> Any:
    answer.headers.setdefault("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'")
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Referrer-Policy"] = "same-origin"  # signed addresses are shown to no other site
    return answer


def create_app(*, secret: str, hosts: list[str], folder: Path, foreign: str = "") -> Flask:
    """The gallery. `hosts` are its own host:port names, `folder` keeps the pictures, `foreign` is only linked to."""
    app = Flask(__name__)
    app.register_blueprint(pages)
    app.after_request(with_page_headers)
    app.config["PICTURES"] = folder
    app.jinja_env.globals["foreign"] = foreign
    # secure_delivery: begin
    own = Whitelist(hosts, missing="deny")
    application = Application(secrets=SecretRing.of(secret), require_policy=True, upload_whitelist=own, delivery_whitelist=own)
    guard = Guard(application, [Rule("/photos", POST="pick", body=True), Rule("/photos/<handle>", GET="read", DELETE="remove")])
    app.jinja_env.globals["guard"] = guard
    app.wsgi_app = wsgi.SecureDelivery(app.wsgi_app, guard)
    # secure_delivery: end
    return app


def seeded(folder: Path) -> Path:
    """The picture folder, which begins with the samples when there is none yet."""
    if not folder.exists():
        folder.mkdir(parents=True)
        for sample in sorted((HERE / "samples").glob("*.webp")):
            shutil.copyfile(sample, folder / handle_for(sample.name, "webp"))
    return folder


class QuietHandler(WSGIRequestHandler):
    """Writes no request lines: they would put signed addresses into the terminal. The guard logs what it refuses."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description="A photo gallery with guarded pictures, and another site that wants them.")
    parser.add_argument("--port", type=int, default=8000, help="of the gallery; 0 takes any free one")
    parser.add_argument("--foreign-port", type=int, default=8001, help="of the other site; 0 takes any free one")
    parser.add_argument("--folder", type=Path, default=HERE / "uploads", help="where pictures are kept")
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
    thief = make_server(HOST, foreign_port, foreign_site(address), fd=other.fileno(), request_handler=QuietHandler)
    threading.Thread(target=thief.serve_forever, daemon=True).start()
    server = make_server(HOST, port, app, threaded=True, fd=own.fileno(), request_handler=QuietHandler)
    print(f"The gallery:  {address}/\nAnother site: {foreign}/\nStop with Ctrl+C.", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
