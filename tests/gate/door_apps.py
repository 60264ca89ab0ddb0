"""One small file store written five times, behind doors: Flask, Django (WSGI and ASGI), Starlette, FastAPI.

A request chooses its door and framework by `Host: <variant>.<framework>`; so one server process serves all of them at the
root of its URL space, where odd paths arrive as they were sent. `wsgi` and `asgi` are what servers are pointed at.

The store answers in JSON what it saw, so that a test can tell who answered and on which reading of the path. Uploads are
written to a part file and published by rename when the body has ended, in the folder `SD_DOORS_FOLDER`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from secure_delivery import Application, Decision, Guard, Policy, Reply, Rule, SecretRing, SignedPolicy, Whitelist
from secure_delivery.asgi import SecureDelivery as AsgiDoor
from secure_delivery.contrib import jinja
from secure_delivery.gate.heads import Head
from secure_delivery.wsgi import SecureDelivery as WsgiDoor

SECRET = "k3y-of-the-doors-Zq7Lw2Xv9Bn4Tf6Yh1Rm8Jd5Gs0Pc"
ETAG = '"v1"'
CONTENT = b"0123456789"
MARK = "x-say"  # Base64 of a JSON list of response headers that the app shall add

Answer = tuple[int, list[tuple[str, str]], bytes]

RULES = [
    Rule("/photos/<handle>", GET="read", PUT="write", DELETE="remove"),
    Rule("/photos/<handle>/exif", GET="exif"),
    Rule("/store/<path:path>", PUT="pick", container="uploads"),
    Rule("/upload", POST="pick", container="uploads", body=True),
    Rule("/form", POST="pick", container="uploads", body=True),
]


def _teapot(decision: Decision, head: Head) -> Reply:
    return Reply(418, [("content-type", "text/plain"), ("x-reason", decision.reason.value)], head.path.encode())


def _explode(_: str | None) -> Application:
    raise LookupError("the table of applications is gone")


def _application(**switches: Any) -> Application:
    return Application(secrets=SecretRing.of(SECRET), **switches)


_HOSTS = ["app.example.com", "*.partner.example"]


def _listed(**switches: Any) -> Application:
    return _application(upload_whitelist=Whitelist(_HOSTS), delivery_whitelist=Whitelist(_HOSTS), **switches)


def guards() -> dict[str, Guard]:
    """Each variant of a guard that the tests ask for, by the first label of the host."""
    return {
        "open": Guard(_application(), RULES),
        "secured": Guard(_application(require_policy=True), RULES),
        "listed": Guard(_listed(), RULES),
        "both": Guard(_listed(require_policy=True), RULES),
        "public": Guard(_application(require_policy=True, public_cache=True, max_age=60), RULES),
        "report": Guard(_application(require_policy=True), RULES, report_only=True),
        "custom": Guard(_application(require_policy=True), RULES, on_denied=_teapot),
        "broken": Guard(_explode, RULES),
    }


def sign(*, expires_in: int = 6 * 3600, **limits: Any) -> SignedPolicy:
    """A policy of the doors' application, by the real clock: some servers are other processes. It outlasts a whole run, for
    some are made when tests are collected."""
    if "call" in limits:
        limits["call"] = frozenset(limits["call"])
    return Policy(expiry=int(time.time()) + expires_in, **limits).sign(SECRET.encode())


def basic(secret: str, user: str = "app") -> tuple[str, str]:
    """The header of HTTP Basic."""
    return "Authorization", "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()


# ------------------------------------------------------------------------------------------------------- the file store


def _added(say: str | None) -> list[tuple[str, str]]:
    return [(name, value) for name, value in json.loads(base64.b64decode(say))] if say else []


def _json(status: int, **members: Any) -> Answer:
    return status, [("Content-Type", "application/json")], json.dumps(members).encode()


def show(view: str, method: str, header: Callable[[str], str | None], decision: Decision | None, **seen: Any) -> Answer:
    """What the store answers to a request without a body."""
    added = [("ETag", ETAG), *_added(header(MARK))]
    if header("if-none-match") == ETAG:
        return 304, added, b""
    if header("range") == "bytes=2-4":
        return 206, [*added, ("Content-Range", "bytes 2-4/10")], CONTENT[2:5]
    reason = decision.reason.value if decision is not None else None
    status, headers, body = _json(int(header("x-status") or 200), view=view, method=method, decision=reason, **seen)
    return status, headers + added, body


class Upload:
    """A file on its way: written aside, visible only once it is whole."""

    def __init__(self) -> None:
        self._folder = Path(os.environ["SD_DOORS_FOLDER"])
        self._part = self._folder / f"{uuid.uuid4().hex}.part"
        self._file = self._part.open("wb")
        self._digest = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._size += len(data)

    def publish(self) -> Answer:
        self._file.close()
        self._part.rename(self._part.with_suffix(".done"))
        return _json(201, view="upload", size=self._size, sha256=self._digest.hexdigest())

    def drop(self) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)


def take(pieces: Iterable[bytes]) -> Answer:
    """Store a body that comes in pieces."""
    upload = Upload()
    try:
        for piece in pieces:
            upload.write(piece)
    except BaseException:
        upload.drop()
        raise
    return upload.publish()


def form(fields: dict[str, str], files: dict[str, bytes]) -> Answer:
    """What a framework's own parser made of a form."""
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    return _json(200, view="form", fields=fields, files=digests)


# ----------------------------------------------------------------------------------------------------------- frameworks


def flask_app() -> Any:
    from flask import Flask, Response, render_template_string, request

    app = Flask(__name__)

    def native(answer: Answer) -> Any:
        status, headers, body = answer
        return Response(body, status, headers)

    def seen(view: str, **facts: Any) -> Any:
        decision = request.environ.get("secure_delivery.decision")
        return native(show(view, request.method, request.headers.get, decision, path=request.path, **facts))

    @app.route("/open", methods=["GET", "POST", "OPTIONS"], provide_automatic_options=False)
    def open_() -> Any:
        return seen("open", query=request.query_string.decode(), body=request.get_data().decode("latin-1"))

    @app.route("/photos/<handle>", methods=["GET", "DELETE", "OPTIONS"], strict_slashes=False, provide_automatic_options=False)
    def photo(handle: str) -> Any:
        return seen("photo", handle=handle)

    @app.route("/photos/<handle>/exif", strict_slashes=False)
    def exif(handle: str) -> Any:
        return seen("exif", handle=handle)

    @app.route("/photos/<handle>", methods=["PUT"], strict_slashes=False)
    @app.route("/store/<path:path>", methods=["PUT"])
    @app.route("/upload", methods=["POST"])
    def upload(**_: str) -> Any:
        return native(take(iter(lambda: request.stream.read(65_536), b"")))

    @app.route("/form", methods=["POST"])
    def form_() -> Any:
        return native(form(request.form.to_dict(), {name: file.read() for name, file in request.files.items()}))

    @app.route("/page")
    def page() -> Any:
        return render_template_string('<img src="{{ signed_url(url_for("photo", handle="a b"), expires_in=600) }}">')

    jinja.install(app.jinja_env, guards()["secured"])
    return app


def _set_up_django() -> None:
    import django
    from django.conf import settings

    if settings.configured:
        return
    settings.configure(
        SECRET_KEY="only for tests",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF="door_urls",
        INSTALLED_APPS=["secure_delivery.contrib.django"],
        SECURE_DELIVERY_GUARD=guards()["secured"],
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
        LOGGING_CONFIG=None,
    )
    django.setup()


def django_wsgi() -> Any:
    _set_up_django()
    from django.core.handlers.wsgi import WSGIHandler

    return WSGIHandler()


def django_asgi() -> Any:
    _set_up_django()
    from django.core.handlers.asgi import ASGIHandler

    return ASGIHandler()


def _starlette_views() -> dict[str, Any]:
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket

    def native(answer: Answer) -> Response:
        status, headers, body = answer
        response = Response(body, status)
        for name, value in headers:
            response.headers.append(name, value)
        return response

    def seen(request: Request, view: str, **facts: Any) -> Response:
        decision = request.scope.get("secure_delivery.decision")
        path = request.scope["path"]
        return native(show(view, request.method, request.headers.get, decision, path=path, **request.path_params, **facts))

    async def open_(request: Request) -> Response:
        return seen(request, "open", query=request.url.query, body=(await request.body()).decode("latin-1"))

    async def photo(request: Request) -> Response:
        return seen(request, "photo")

    async def exif(request: Request) -> Response:
        return seen(request, "exif")

    async def upload(request: Request) -> Response:
        incoming = Upload()
        try:
            async for piece in request.stream():
                incoming.write(piece)
        except ClientDisconnect:
            incoming.drop()
            raise
        return native(incoming.publish())

    async def form_(request: Request) -> Response:
        async with request.form() as items:
            fields = {name: value for name, value in items.items() if isinstance(value, str)}
            files = {name: await value.read() for name, value in items.items() if not isinstance(value, str)}
        return native(form(fields, files))

    async def state(request: Request) -> Response:
        return native(_json(200, started=request.state.started))

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json({"decision": websocket.scope["secure_delivery.decision"].reason.value})
        await websocket.close()

    return {
        "/open": (open_, ["GET", "POST", "OPTIONS"]),
        "/photos/{handle}": (photo, ["GET", "DELETE", "OPTIONS"]),
        "/photos/{handle}/": (photo, ["GET", "DELETE"]),
        "/photos/{handle}/exif": (exif, ["GET"]),
        "/photos/{handle}#put": (upload, ["PUT"]),
        "/store/{path:path}": (upload, ["PUT"]),
        "/upload": (upload, ["POST"]),
        "/form": (form_, ["POST"]),
        "/state": (state, ["GET"]),
        "/photos/{handle}#live": (socket, []),
    }


@asynccontextmanager
async def _lifespan(_: Any) -> Any:
    yield {"started": True}


def _routes() -> list[Any]:
    from starlette.routing import Route, WebSocketRoute

    routes: list[Any] = []
    for path, (endpoint, methods) in _starlette_views().items():
        plain = path.partition("#")[0]
        routes.append(Route(plain, endpoint, methods=methods) if methods else WebSocketRoute(plain, endpoint))
    return routes


def starlette_app() -> Any:
    from starlette.applications import Starlette

    return Starlette(routes=_routes(), lifespan=_lifespan)


def fastapi_app(**options: Any) -> Any:
    from fastapi import FastAPI

    return FastAPI(routes=_routes(), lifespan=_lifespan, **options)


# ------------------------------------------------------------------------------------------------------- by host, behind


class _ByHost:
    """The doors of all variants around each framework, found by `<variant>.<framework>`."""

    def __init__(self, door: Any, apps: dict[str, Any]) -> None:
        self.apps = apps
        self.doors = {
            f"{variant}.{name}": door(app, guard) for name, app in apps.items() for variant, guard in guards().items()
        }


class Wsgi(_ByHost):
    def __init__(self) -> None:
        super().__init__(WsgiDoor, {"flask": flask_app(), "django": django_wsgi()})

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return self.doors[environ["HTTP_HOST"]](environ, start_response)


class Asgi(_ByHost):
    def __init__(self) -> None:
        super().__init__(AsgiDoor, {"starlette": starlette_app(), "fastapi": fastapi_app(), "django": django_asgi()})

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":  # one of them answers for all: they share the state they would set
            return await self.doors["open.starlette"](scope, receive, send)
        host = dict(scope["headers"])[b"host"].decode()
        return await self.doors[host](scope, receive, send)


def __getattr__(name: str) -> Any:
    """What servers and settings name, made when it is asked for: no process needs all of it."""
    if name == "wsgi":
        return Wsgi()
    if name == "asgi":
        return Asgi()
    if name == "plain_wsgi":
        return WsgiDoor(flask_app(), guards()["secured"])
    if name == "plain_asgi":
        return AsgiDoor(starlette_app(), guards()["secured"])
    if name == "DJANGO_GUARD":
        return guards()["secured"]
    raise AttributeError(name)
