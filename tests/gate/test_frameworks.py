"""The doors where frameworks put them: under a prefix, behind a proxy, as middleware, with lifespan and websockets, and
the helpers by which templates sign. Over real servers, except where a scope is made up that no server sends."""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import door_apps
import pytest
from door_apps import sign
from servers import Server, granian_server, uvicorn_server, werkzeug_server

from secure_delivery import ConfigurationError, Guard
from secure_delivery.asgi import SecureDelivery as AsgiDoor
from secure_delivery.contrib import jinja, sign_below
from secure_delivery.wsgi import SecureDelivery as WsgiDoor

GOOD = sign()


def secured() -> Guard:
    return door_apps.guards()["secured"]


@pytest.fixture
def serve(published: Any) -> Iterator[Any]:
    """Serve an app for one test: `serve(app)` for WSGI, `serve(app, asgi=True, ...)` for ASGI."""
    with ExitStack() as stack:

        def start(app: Any, *, asgi: bool = False, **options: Any) -> Server:
            return stack.enter_context(uvicorn_server(app, **options) if asgi else werkzeug_server(app))

        yield start


def _judged_below(server: Server, prefix: str) -> None:
    """The file store under `prefix` is guarded: refused without a policy, served with one, free where no rule is."""
    refused = server.ask("GET", f"{prefix}/photos/x", host="h")
    served = server.ask("GET", f"{prefix}/photos/x?{GOOD.as_query()}", host="h")
    hidden = server.ask("GET", f"{prefix}/photos/{GOOD.as_task()}/x", host="h")

    assert (refused.status, refused.code) == (403, "policy_required")
    assert (served.status, served.json["handle"], served.json["decision"]) == (200, "x", "ok")
    assert (hidden.status, hidden.json["handle"], hidden.json["decision"]) == (200, "x", "ok")
    assert server.ask("GET", f"{prefix}/open", host="h").json["decision"] is None


# ------------------------------------------------------------------------------------------------------ under a prefix


def test_a_flask_app_mounted_under_a_prefix_is_guarded_below_it(serve: Any) -> None:
    """`DispatcherMiddleware` moves the prefix into SCRIPT_NAME; rules see the rest."""
    from werkzeug.exceptions import NotFound
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    app = door_apps.flask_app()
    app.wsgi_app = WsgiDoor(app.wsgi_app, secured())
    _judged_below(serve(DispatcherMiddleware(NotFound(), {"/media": app})), "/media")


def test_a_flask_app_behind_proxyfix_is_guarded(serve: Any) -> None:
    """`ProxyFix` outside the door: a trusted `X-Forwarded-Prefix` is part of no path that rules see."""
    from werkzeug.middleware.proxy_fix import ProxyFix

    app = door_apps.flask_app()
    app.wsgi_app = ProxyFix(WsgiDoor(app.wsgi_app, secured()), x_for=1, x_proto=1, x_host=1, x_prefix=1)
    server = serve(app)
    _judged_below(server, "")
    proxied = [("X-Forwarded-Prefix", "/media"), ("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Host", "www.example.com")]

    assert server.ask("GET", "/photos/x", host="h", headers=proxied).code == "policy_required"
    page = server.ask("GET", "/page", host="h", headers=proxied).body.decode()
    assert 'src="/media/photos/a%20b?policy=' in page


@pytest.mark.parametrize("framework", ["starlette", "fastapi"])
@pytest.mark.parametrize("place", ["around", "middleware"])
def test_an_app_below_the_servers_root_path_is_guarded(serve: Any, framework: str, place: str) -> None:
    """The server says `root_path`, and puts it before the path."""
    app: Any = getattr(door_apps, f"{framework}_app")()
    if place == "middleware":
        app.add_middleware(AsgiDoor, guard=secured())
    else:
        app = AsgiDoor(app, secured())
    _judged_below(serve(app, asgi=True, root_path="/media"), "")


def test_a_mounted_app_is_guarded_below_its_mount(serve: Any) -> None:
    """A door inside a Starlette mount sees the path as the routes inside it do."""
    from starlette.applications import Starlette
    from starlette.routing import Mount

    inner = AsgiDoor(door_apps.starlette_app(), secured())
    _judged_below(serve(Starlette(routes=[Mount("/a", routes=[Mount("/media", inner)])]), asgi=True), "/a/media")


@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")
@pytest.mark.parametrize("prefix", ["", "/media"])
def test_a_fastapi_app_that_knows_its_prefix_has_no_second_entrance(serve: Any, prefix: str) -> None:
    """FastAPI with `root_path` routes paths with the prefix and without it: the door around it judges both."""
    _judged_below(serve(AsgiDoor(door_apps.fastapi_app(root_path="/media"), secured()), asgi=True), prefix)


@pytest.mark.parametrize("prefix", ["", "/media"])
def test_an_app_that_hides_its_prefix_can_be_given_it(serve: Any, prefix: str) -> None:
    """As Django's FORCE_SCRIPT_NAME does: the app replaces `root_path` where the door cannot see it."""
    inner = door_apps.starlette_app()

    async def forced(scope: Any, receive: Any, send: Any) -> None:
        await inner({**scope, "root_path": "/media"}, receive, send)

    _judged_below(serve(AsgiDoor(forced, secured(), root_path="/media"), asgi=True), prefix)


def test_django_under_a_script_name_is_guarded_and_signs(serve: Any) -> None:
    """WSGI with SCRIPT_NAME: paths are judged below it, and `{% signed_url %}` gives the whole URL."""
    inner = WsgiDoor(door_apps.django_wsgi(), secured())

    def under(environ: Any, start_response: Any) -> Any:
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = "/media", environ["PATH_INFO"].removeprefix("/media")
        return inner(environ, start_response)

    server = serve(under)
    _judged_below(server, "/media")
    _follows(server, server.ask("GET", "/media/page", host="h").body.decode(), "/media/photos/a%20b")


# ------------------------------------------------------------------------------------------------------------ templates


def _follows(server: Server, page: str, path: str) -> None:
    """The picture of a page is signed for exactly its path, and is served; without its query it is not."""
    found = re.search(r'src="([^"]+)"', page)
    assert found is not None
    target = html.unescape(found[1])
    assert target.partition("?")[0] == path
    answer = server.ask("GET", target, host="h")
    assert (answer.status, answer.json["handle"], answer.json["decision"]) == (200, "a b", "ok")
    assert server.ask("GET", target.replace("a%20b", "other"), host="h").code == "not_permitted"


def test_a_flask_template_signs(serve: Any) -> None:
    """`signed_url(url_for(...))` in a Jinja2 template of Flask, escaped for its attribute."""
    app = door_apps.flask_app()
    app.wsgi_app = WsgiDoor(app.wsgi_app, secured())
    server = serve(app)
    _follows(server, server.ask("GET", "/page", host="h").body.decode(), "/photos/a%20b")


def test_a_django_template_signs(serve: Any) -> None:
    """`{% signed_url photo expires_in=600 %}` reads the guard from the settings."""
    server = serve(WsgiDoor(door_apps.django_wsgi(), secured()))
    _follows(server, server.ask("GET", "/page", host="h").body.decode(), "/photos/a%20b")


def test_a_starlette_template_signs_what_url_for_gives(serve: Any) -> None:
    """Starlette's `url_for` gives a whole URL, host and prefix included: it comes back signed and otherwise the same."""
    from jinja2 import DictLoader, Environment, select_autoescape
    from starlette.applications import Starlette
    from starlette.routing import Route
    from starlette.templating import Jinja2Templates

    page = '<img src="{{ signed_url(url_for("photo", handle="a b"), expires_in=600, call=["read"]) }}">'
    templates = Jinja2Templates(env=Environment(loader=DictLoader({"page.html": page}), autoescape=select_autoescape()))
    jinja.install(templates.env, secured())

    async def show(request: Any) -> Any:
        return templates.TemplateResponse(request, "page.html")

    async def photo(request: Any) -> Any:
        from starlette.responses import JSONResponse

        return JSONResponse({**request.path_params, "decision": request.scope["secure_delivery.decision"].reason.value})

    app = Starlette(routes=[Route("/page", show), Route("/photos/{handle}", photo, name="photo")])
    server = serve(AsgiDoor(app, secured()), asgi=True, root_path="/media")
    text = server.ask("GET", "/page", host="www.example.com").body.decode()
    assert 'src="http://www.example.com/media/photos/a%20b?policy=' in text
    _follows(server, text.replace("http://www.example.com/media", ""), "/photos/a%20b")


@pytest.mark.parametrize(
    ("url", "prefix", "expected"),
    [
        ("/photos/x", "", "/photos/x?policy="),
        ("/photos/x?w=1", "", "/photos/x?w=1&policy="),
        ("/photos/a b", "", "/photos/a%20b?policy="),
        ("/photos/a%20b", "", "/photos/a%20b?policy="),
        ("/photos/x#part", "", "/photos/x?policy=*#part"),
        ("/m/photos/x", "/m", "/m/photos/x?policy="),
        ("/m/photos/x", "/m/", "/m/photos/x?policy="),
        ("/photos/x", "/m", "/photos/x?policy="),
        ("https://cdn.example.com/m/photos/x?a#b", "/m", "https://cdn.example.com/m/photos/x?a&policy=*#b"),
    ],
)
def test_signing_leaves_the_rest_of_a_url_as_it_is(url: str, prefix: str, expected: str) -> None:
    """Scheme, host, prefix, query and fragment stay in their places."""
    signed = sign_below(secured(), url, prefix)
    start, _, end = expected.partition("*")

    assert signed.startswith(start)
    assert signed.endswith(end)


def test_a_path_that_nobody_guards_is_not_signed() -> None:
    """A typing mistake in a template is found where it is made."""
    with pytest.raises(ConfigurationError, match="no rule guards GET /fotos/x"):
        sign_below(secured(), "/fotos/x")


def test_django_takes_a_guard_or_its_dotted_name_and_nothing_else(published: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong setting is a `ConfigurationError` at start-up, when Django calls `ready`."""
    door_apps.django_wsgi()
    from django.apps import apps
    from django.conf import settings

    config = apps.get_app_config("secure_delivery")
    config.ready()
    monkeypatch.setattr(settings, "SECURE_DELIVERY_GUARD", "door_apps.DJANGO_GUARD", raising=True)
    config.ready()
    for wrong in ("door_apps.SECRET", "door_apps.nothing", "no_such_module.guard", None, 7):
        monkeypatch.setattr(settings, "SECURE_DELIVERY_GUARD", wrong)
        with pytest.raises(ConfigurationError, match="SECURE_DELIVERY_GUARD"):
            config.ready()


# --------------------------------------------------------------------------------------------- what ASGI has besides http


def test_the_lifespan_reaches_the_app(running: Any) -> None:
    """State that the app sets at start-up is there: the door passes lifespan through."""
    for name in ("uvicorn", "granian-asgi"):
        assert running(name).ask("GET", "/state", host="secured.starlette").json == {"started": True}


def _handshake(server: Server, target: str) -> tuple[int, bytes]:
    """The status of a websocket handshake, and what came after it."""
    import socket

    lines = [f"GET {target} HTTP/1.1", "Host: secured.starlette", "Connection: Upgrade", "Upgrade: websocket"]
    lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", ""]
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall("\r\n".join(lines).encode())
        answer = b""
        while b"\r\n\r\n" not in answer or (b" 101 " in answer[:20] and b"}" not in answer):
            piece = connection.recv(4096)
            if not piece:
                break
            answer += piece
    return int(answer.split(b" ")[1]), answer.partition(b"\r\n\r\n")[2]


def test_a_websocket_handshake_is_judged_as_the_get_it_is(running: Any) -> None:
    """Refused with 403 without a policy; accepted with one, and the app finds the verdict."""
    server = running("granian-asgi")
    status, data = _handshake(server, f"/photos/x?{GOOD.as_query()}")

    assert _handshake(server, "/photos/x")[0] == 403
    assert status == 101
    assert b'"decision":"ok"' in data


def _scope(kind: str, **more: Any) -> dict[str, Any]:
    scope = {"type": kind, "path": "/photos/x", "query_string": b"", "headers": []}
    return {**scope, **({"method": "GET"} if kind == "http" else {}), **more}


def _drive(scope: dict[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    """Run a secured door on a scope: what types the app was called with, and what was sent."""
    called: list[str] = []
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        called.append(scope["type"])

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(AsgiDoor(app, secured())(scope, receive, send))
    return called, sent


def test_a_refused_handshake_is_closed_or_answered_as_the_server_can() -> None:
    """A close where the server knows nothing else; the full refusal where it offers the extension."""
    assert _drive(_scope("websocket")) == ([], [{"type": "websocket.close", "code": 1008}])
    called, sent = _drive(_scope("websocket", extensions={"websocket.http.response": {}}))
    assert called == []
    assert [message["type"] for message in sent] == ["websocket.http.response.start", "websocket.http.response.body"]
    assert sent[0]["status"] == 403
    assert json.loads(sent[1]["body"])["error"]["code"] == "policy_required"


def test_a_scope_that_nobody_knows_is_refused() -> None:
    """Whatever comes to ASGI next is not passed on unjudged (security promise 97)."""
    with pytest.raises(RuntimeError, match="cannot be judged"):
        _drive(_scope("webtransport"))


def test_a_prefix_that_only_begins_like_the_root_is_no_prefix() -> None:
    """`/mediaphotos/x` is not `/photos/x` below `/media`, and is left alone."""
    assert _drive(_scope("http", path="/mediaphotos/x", root_path="/media"))[0] == ["http"]
    assert _drive(_scope("http", path="/media/photos/x", root_path="/media"))[0] == []


def test_granian_with_a_prefix_of_its_own_is_guarded_below_it(published: Any) -> None:
    """granian cuts the prefix off for WSGI, and names it as `root_path` for ASGI."""
    for interface in ("wsgi", "asgi"):
        with granian_server(interface, f"door_apps:plain_{interface}", "--url-path-prefix", "/media") as server:
            _judged_below(server, "/media")
