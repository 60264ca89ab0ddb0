"""What official clients send: a table of their spellings, and two of the clients themselves against the real server.

The clients are installed from their registries into a folder that lasts as long as pytest's cache. Where that cannot be
done there is a visible skip, and a failure on CI; the table is tested everywhere.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import pytest
from live import HELPERS, Reply, Server, picture, running
from outside import Outside, ok
from PIL import Image

from secure_delivery.engine.records import FileLink
from secure_delivery.gate.model import Application

PYTHON_CLIENT = "filestack-python==4.0.0"
NODE_CLIENT = ("filestack-js@4.3.8", "tslib@2")  # it needs tslib without saying so
INSTALL = 180  # seconds an installation may take; measured: 25
DRIVE = 120

PICTURE = picture(400, 200)
CALLS = ("read", "convert", "store", "pick", "stat", "write", "remove")


def pdf() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (60, 80), "white").save(out, "PDF")
    return out.getvalue()


def b64(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.fixture(scope="module")
def web() -> Iterator[Outside]:
    with Outside({"/a.jpg": ok(picture(40, 20)), "/a.jpg?x=1": ok(picture(40, 20))}) as outside:
        yield outside


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, web: Outside) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("sdk"), settings={"fetch_allow": web.at}) as server:
        yield server


class World:
    """A secured application with a few files, and an open one."""

    def __init__(self, place: Server, web: Outside) -> None:
        self.place, self.web = place, web
        self.secured: Application = place.application(require_policy=True)
        self.opened: Application = place.application()
        self.photo: FileLink = place.put(self.secured, PICTURE, "photo.jpg")
        self.mark: FileLink = place.put(self.secured, picture(50, 50, "PNG"), "mark.png")
        self.pdf: FileLink = place.put(self.secured, pdf(), "paper.pdf")
        self.css: FileLink = place.put(self.secured, b"body { color: red; }", "a.css")
        self.open: FileLink = place.put(self.opened, PICTURE, "open.jpg")
        self.signed = self.secured.sign(expires_in=600, now=time.time(), call=list(CALLS))

    def victim(self) -> str:
        return str(self.place.put(self.secured, b"old", "victim.txt").handle)

    def names(self) -> dict[str, str]:
        policy, signature = self.signed.encoded, self.signed.signature
        url = self.web.url("/a.jpg")
        tasks = [
            {"name": "resize", "params": {"width": 100}},
            {"name": "security", "params": {"policy": policy, "signature": signature}},
        ]
        go = [
            {"Name": "resize", "Params": {"width": 100}},
            {"Name": "security", "Params": {"policy": policy, "signature": signature}},
        ]
        return {
            "K": self.secured.api_key,
            "H": self.photo.handle,
            "M": self.mark.handle,
            "P": self.pdf.handle,
            "C": self.css.handle,
            "O": self.open.handle,
            "URL": url,
            "QUOTED": quote(url, safe=""),
            "COLON": url.replace("/", "%2F"),
            "CSS": "https://styles.example.org/v.css",
            "JS": f"security=signature:{signature},policy:{policy}",
            "PY": f"security=p:{policy},s:{signature}",
            "RB": f"security=s:{signature},p:{policy}",
            "LONG": f"security=policy:{policy},signature:{signature}",
            "QUOTES": f"security=policy:%22{policy}%22,signature:{signature}",
            "Q": f"policy={quote(policy, safe='')}&signature={signature}",
            "B64": b64(tasks),
            "B64GO": b64(go),
            "B64H": b64(self.photo.handle),
            "B64M": b64(self.mark.handle),
            "B64URL": b64(url),
        }


@pytest.fixture(scope="module")
def world(place: Server, web: Outside) -> World:
    return World(place, web)


# ---------------------------------------------------------------------------------------------------------------- the table

#: Client, method, target, and what comes of it: the size of a picture, or a type, or names in JSON.
TABLE: list[tuple[str, str, str, object]] = [
    ("js", "GET", "/{K}/{JS}/resize=width:100,height:50,fit:crop,align:[top,left]/{H}", (100, 50)),
    ("js", "GET", "/{K}/resize=width:100/{JS}/{H}", (100, 50)),
    ("js", "GET", "/{K}/{QUOTES}/resize=width:100/{H}", (100, 50)),
    ("js", "GET", "/{K}/{JS}/crop=dim:[10,20,60,40]/{H}", (60, 40)),
    ("js", "GET", "/{K}/{JS}/partial_blur=objects:[[0,0,20,20],[30,30,10,10]],amount:5/{H}", (400, 200)),
    ("js", "GET", "/{K}/{JS}/rounded_corners=radius:max/{H}", (400, 200)),
    ("js", "GET", "/{K}/{JS}/watermark=file:{M},position:[top,right]/{H}", (400, 200)),
    ("js", "GET", "/{K}/{JS}/watermark=file:%22{URL}%22/{H}", (400, 200)),
    ("js", "GET", "/{K}/{JS}/resize=width:9/%22{URL}%22", (9, 5)),
    ("js", "GET", "/{K}/{JS}/zip/[{H},{M}]", "application/zip"),
    ("js", "GET", '/{K}/{JS}/zip/[{H},"{URL}"]', "application/zip"),
    ("js", "GET", "/{K}/{JS}/{H}", (400, 200)),
    ("js", "GET", "/{K}/{JS}/cache=false/resize=width:100/{H}", (100, 50)),
    ("js", "GET", "/{K}/{JS}/cache=expiry:max/resize=width:100/{H}", (100, 50)),
    ("js", "GET", "/{K}/{JS}/store=filename:a.jpg,path:%22a/b/%22/{H}", {"handle", "url", "filename", "size", "type", "key"}),
    ("js", "GET", "/{K}/b64/{B64}/b64://{B64H}", (100, 50)),
    ("js", "GET", "/{K}/b64/{B64}/b64://{B64URL}", (100, 50)),
    ("js", "GET", "/{K}/{PY}/zip/[b64://{B64H},b64://{B64M}]", "application/zip"),
    ("js", "GET", "/{JS}/preview/{P}", "text/html"),
    ("js", "GET", "/{JS}/preview=css:%22{CSS}%22/{P}", "text/html"),
    ("js", "GET", "/api/file/{H}/metadata?md5=true&size=true&{Q}", {"md5", "size"}),
    ("js", "GET", "/api/file/{H}/metadata?&{Q}", {"size", "mimetype", "filename", "uploaded", "writeable"}),
    ("js", "GET", "/api/file/{H}?key={K}&{Q}", (400, 200)),
    ("js", "GET", "/api/file/{H}+jpg?key={K}&{Q}", (400, 200)),
    ("js", "GET", "/api/file/{H}/metadata?key={K}&{Q}", {"size", "mimetype", "filename", "uploaded", "writeable"}),
    ("python", "GET", "/resize=align:%5Btop,left%5D,fit:crop,height:50,width:100/{PY}/{H}", (100, 50)),
    ("python", "GET", "/crop=dim:%5B10,20,60,40%5D/{PY}/{H}", (60, 40)),
    ("python", "GET", "/{K}/resize=width:9/{PY}/{URL}", (9, 5)),
    ("python", "GET", "/{K}/resize=width:9/{PY}/{URL}?x=1", (9, 5)),
    ("python", "GET", "/{K}/zip/{PY}/%5B{H},{M}%5D", "application/zip"),
    ("python", "GET", "/{PY}/{H}", (400, 200)),
    ("python", "GET", "/round_corners=background:FFFFFF,blur:1.5,radius:10/{PY}/{H}", (400, 200)),
    ("python", "GET", "/fallback=cache:10,file:{M}/resize=width:100/{PY}/{H}", (100, 50)),
    ("python", "GET", "/{H}/metadata?size=true&filename=true&{Q}", {"size", "filename"}),
    (
        "python",
        "POST",
        "/resize=width:20/store=access:public,filename:small.jpg,path:%22some/folder/%22/{O}",
        {"handle", "url"},
    ),
    ("ruby", "GET", "/resize=width:100,height:50,fit:crop/{H}?{Q}", (100, 50)),
    ("ruby", "GET", "/{RB}/resize=width:100/{H}", (100, 50)),
    ("ruby", "POST", "/{K}/store/{RB}/{URL}", {"handle", "url"}),
    ("ruby", "POST", "/{K}/store=path:%22some/folder/%22,filename:%22a%20b.jpg%22/{RB}/{URL}", {"handle", "url"}),
    ("ruby", "GET", "/{RB}/resize=width:100/debug/{H}", {"tasks", "source", "cached"}),
    ("php", "GET", "/{K}/resize=w:100,h:50,f:crop/{LONG}/{H}", (100, 50)),
    ("php", "GET", '/{K}/{LONG}/zip/["{H}","{M}"]', "application/zip"),
    ("php", "GET", "/{K}/{LONG}/zip/%5B%22{H}%22,%22{M}%22%5D", "application/zip"),
    ("php", "GET", "/{K}/{LONG}/collage=files:%5B%22{M}%22%5D,width:200,height:100/{H}", (200, 100)),
    ("php", "GET", "/{K}/{LONG}/torn_edges=spread:%5B5,10%5D/{H}", "image/jpeg"),
    ("php", "GET", "/debug/{LONG}/resize=w:100/{H}", {"tasks", "source", "cached"}),
    ("php", "GET", "/{K}/debug/resize=w:100/{LONG}/{H}", {"tasks", "source", "cached"}),
    ("php", "GET", "/{H}/metadata?&filename=true&{Q}", {"filename"}),
    ("php", "POST", "/{K}/resize=w:20/store/{LONG}/{H}", {"handle", "url"}),
    ("go", "GET", "/{K}/b64/{B64GO}/b64://{B64H}", (100, 50)),
    ("go", "GET", "/{K}/b64/{B64GO}/b64://{B64URL}", (100, 50)),
    ("go", "GET", "/{K}/{LONG}/resize=fit:clip,height:50,width:100/{H}", (100, 50)),
    ("java", "GET", "/{K}/{LONG}%2Fresize=w:100%2Frotate=d:90/{H}", (50, 100)),
    ("java", "GET", "/{K}/{LONG}%2Fresize=width:9/{COLON}", (9, 5)),
    ("java", "GET", "/{K}/{LONG}%2Fresize=width:9/{QUOTED}", (9, 5)),
    ("java", "GET", "/{H}?{Q}", (400, 200)),
    ("java", "POST", "/{K}/{LONG}/resize=w:20%2Fstore/{H}", {"handle", "url"}),
    ("java", "GET", "/{K}/debug/{LONG}%2Fresize=w:100/{H}", {"tasks", "source", "cached"}),
    ("swift", "GET", "/{LONG}/resize=width:100,height:50,fit:crop,align:center/{H}", (100, 50)),
    ("swift", "GET", "/{LONG}/polaroid=color:FFFAFAFF,rotate:10,background:FFFFFFFF/{H}", "image/jpeg"),
    ("swift", "GET", "/{K}/{LONG}/minify_css=level:1,gzip:false/{C}", "text/css"),
]


def check(reply: Reply, wanted: object) -> None:
    assert reply.status == 200, reply.body
    kind = reply.headers["content-type"].partition(";")[0]
    if isinstance(wanted, tuple):
        with Image.open(io.BytesIO(reply.body)) as image:
            image.load()
            assert image.size == wanted
    elif isinstance(wanted, set):
        assert kind == "application/json" and wanted <= reply.json().keys()
    else:
        assert kind == wanted
        if kind == "application/zip":
            with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
                assert len(archive.namelist()) == 2 and archive.testzip() is None


@pytest.mark.parametrize(("client", "method", "target", "wanted"), TABLE, ids=[f"{row[0]} {row[1]} {row[2]}" for row in TABLE])
def test_what_an_official_client_sends_is_understood(
    world: World, client: str, method: str, target: str, wanted: object
) -> None:
    reply = world.place.request(method, target.format(**world.names()), body=b"" if method == "POST" else None)
    check(reply, wanted)


@pytest.mark.parametrize(("client", "method", "target", "wanted"), TABLE, ids=[f"{row[0]} {row[1]} {row[2]}" for row in TABLE])
def test_the_same_without_its_credential_is_refused(
    world: World, client: str, method: str, target: str, wanted: object
) -> None:
    names = world.names()
    bad = {"policy": "e30=", "signature": "0" * 64}
    for name in ("JS", "PY", "RB", "LONG", "QUOTES"):
        names[name] = "security=policy:{policy},signature:{signature}".format(**bad)
    names["Q"] = "policy={policy}&signature={signature}".format(**bad)
    tasks = [{"name": "resize", "params": {"width": 100}}]
    names |= {"B64": b64(tasks), "B64GO": b64(tasks)}
    reply = world.place.request(method, target.format(**names), body=b"" if method == "POST" else None)
    if "{O}" in target:  # a file of an open application
        assert reply.status == 200
    else:
        assert reply.status == 403, reply.body


# ------------------------------------------------------------------------------------------------------ the clients themselves


def unavailable(why: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def installed(folder: Path, command: list[str]) -> Path:
    """A folder in which a command installed something, now or in an earlier run."""
    done = folder / "installed"
    if done.exists() and done.read_text() == json.dumps(command):
        return folder
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL, cwd=folder, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        unavailable(f"{command[0]}: {error}")
    if ran.returncode != 0:
        unavailable(f"the client could not be installed: {ran.stderr[-300:]}")
    done.write_text(json.dumps(command))
    return folder


@pytest.fixture(scope="session")
def python_client(request: pytest.FixtureRequest) -> Path:
    folder = Path(request.config.cache.mkdir("filestack-python"))  # type: ignore[union-attr]
    target = ["--target", str(folder / "lib"), "--upgrade", "--quiet", "--disable-pip-version-check"]
    return installed(folder, [sys.executable, "-m", "pip", "install", *target, PYTHON_CLIENT]) / "lib"


@pytest.fixture(scope="session")
def node_client(request: pytest.FixtureRequest) -> Path:
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        unavailable("node and npm are not installed")
    folder = Path(request.config.cache.mkdir("filestack-js"))  # type: ignore[union-attr]
    quiet = ["--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)]
    return installed(folder, [npm, "install", *quiet, *NODE_CLIENT]) / "node_modules"


def drive(command: list[str], order: dict[str, Any], **environment: str) -> dict[str, Any]:
    """What a client's driver says about an order."""
    env = {**os.environ, **environment}
    ran = subprocess.run(command, input=json.dumps(order), capture_output=True, text=True, timeout=DRIVE, env=env, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    said: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return said


def order_for(world: World) -> dict[str, Any]:
    return {
        "base": world.place.url,
        "key": world.secured.api_key,
        "handle": world.photo.handle,
        "mark": world.mark.handle,
        "pdf": world.pdf.handle,
        "open": world.open.handle,
        "outside": world.web.url("/a.jpg"),
        "victim": world.victim(),
        "other": world.victim(),
    }


SIZES = {
    "resize": (100, 50),
    "align": (100, 50),
    "crop": (60, 40),
    "chain": (150, 300),
    "exif": (400, 200),
    "watermark": (400, 200),
    "corners": (400, 200),
    "max": (400, 200),
    "partial": (400, 200),
    "pixels": (400, 200),
    "collage": (200, 100),
    "upscale": (80, 40),
    "convert": (400, 200),
    "quality": (400, 200),
    "plain": (400, 200),
    "auto": (400, 200),
    "cache": (100, 50),
    "uncached": (100, 50),
    "fallback": (100, 50),
    "smart": (50, 50),
    "outside": (9, 5),
    "transform": (100, 50),
    "transform b64": (100, 50),
    "transform outside": (9, 5),
    "b64 resize": (100, 50),
    "b64 outside": (9, 5),
}


def check_content(name: str, data: bytes) -> None:
    """A result of a chain of this name, by whichever client."""
    if "zipped" in name:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            assert archive.testzip() is None and archive.namelist(), name
    elif name == "ascii":
        assert b"<pre" in data.lower() or b"<!doctype html" in data.lower()
    else:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            assert name not in SIZES or image.size == SIZES[name], (name, image.size)


def test_the_python_client_works_against_this_server(world: World, python_client: Path) -> None:
    secret = world.secured.secrets.signing.value.decode()
    order = order_for(world) | {"secret": secret, "policy": {"expiry": int(time.time()) + 600, "call": list(CALLS)}}
    said = drive([sys.executable, str(HELPERS / "drive_filestack_python.py")], order, PYTHONPATH=str(python_client))
    for name, content in said["contents"].items():
        check_content(name, base64.b64decode(content))
        if name in said["urls"]:
            assert world.place.get(said["urls"][name].removeprefix(world.place.url)).status == 200, said["urls"][name]
    assert base64.b64decode(said["contents"]["itself"]) == PICTURE
    digest = hashlib.md5(PICTURE, usedforsecurity=False).hexdigest()
    assert said["metadata"] == {"size": len(PICTURE), "filename": "photo.jpg", "md5": digest}
    assert said["usual"].keys() == {"size", "mimetype", "filename", "uploaded", "writeable"}
    assert said["refused"].startswith("FilestackHTTPError") and "policy_required" in said["refused"]
    assert said["downloaded"] == len(PICTURE)
    assert isinstance(said["sfw"]["sfw"], bool)
    assert said["pdf_info"]
    archive = base64.b64decode(said["zip"])
    assert len(archive) == said["zip size"]
    check(Reply(200, {"content-type": "application/zip"}, archive), "application/zip")
    assert base64.b64decode(said["overwritten"]) == b"new content"
    assert base64.b64decode(said["again"]) == b"newer"
    assert world.place.get(f"/{order['victim']}?{world.signed.as_query()}").code == "not_found"
    stored = world.place.get(f"/{said['stored']}")
    check(stored, (20, 10))
    assert stored.headers["x-file-name"] == "small.jpg"


def test_the_javascript_client_works_against_this_server(world: World, node_client: Path) -> None:
    order = order_for(world) | {"policy": world.signed.encoded, "signature": world.signed.signature}
    said = drive(["node", str(HELPERS / "drive_filestack_js.cjs")], order, NODE_PATH=str(node_client))
    for name, url in said["urls"].items():
        reply = world.place.get(url.removeprefix(world.place.url))
        assert reply.status == 200, (name, url, reply.body)
        if name == "imagesize":
            assert reply.json() == {"width": 400, "height": 200}
        elif name == "pdf":
            assert reply.json()
        elif name == "stored":
            assert reply.json().keys() >= {"handle", "url", "filename", "size", "type", "container", "key"}
        else:
            check_content(name, reply.body)
    digest = hashlib.md5(PICTURE, usedforsecurity=False).hexdigest()
    del said["metadata"]["handle"]  # the client's own addition
    assert said["metadata"] == {"size": len(PICTURE), "filename": "photo.jpg", "md5": digest}
    assert said["usual"].keys() >= {"size", "mimetype", "filename", "uploaded", "writeable"}
    assert base64.b64decode(said["retrieved"]) == base64.b64decode(said["extension"]) == PICTURE
    assert said["head"]["content-length"] == str(len(PICTURE))
    assert said["facts"].keys() >= {"size", "mimetype", "filename"}
    assert (said["gone"], said["refused"]) == (404, 403)
    for handle in (order["victim"], order["other"]):
        assert world.place.get(f"/{handle}?{world.signed.as_query()}").code == "not_found"
