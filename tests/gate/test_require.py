"""`guard.require`: views guarded one by one, in each framework, over real sockets."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from types import ModuleType
from typing import Any

import door_apps
import pytest
import require_apps
from door_apps import SECRET, basic, sign
from servers import Answer, Server, uvicorn_server, werkzeug_server

from secure_delivery import Application, ConfigurationError, Guard, Rule, SecretRing, Whitelist

RULES = [Rule("/nothing/by/path", GET="read")]  # a guard has rules; none of these views falls under one
GOOD = sign()
FORMS = ("Content-Type", "multipart/form-data; boundary=b")
FRAMEWORKS = ["flask", "django-wsgi", "django-asgi", "starlette", "fastapi", "fastapi_decorated"]


def _application(**switches: Any) -> Application:
    return Application(secrets=SecretRing.of(SECRET), **switches)


GUARDS = {
    "secured": Guard(_application(require_policy=True), RULES),
    "report": Guard(_application(require_policy=True), RULES, report_only=True),
    "listed": Guard(
        _application(delivery_whitelist=Whitelist(["a.example"]), upload_whitelist=Whitelist(["a.example"])), RULES
    ),
    "many": Guard({"K1": _application()}.get, RULES),
}


def _django(guard: Guard, kind: str) -> Any:
    """A Django handler whose URLs are those of one guard."""
    urls = ModuleType(f"require_urls_{id(guard)}")
    urls.urlpatterns = require_apps.django(guard)  # type: ignore[attr-defined]
    sys.modules[urls.__name__] = urls
    handler = door_apps.django_wsgi() if kind == "wsgi" else door_apps.django_asgi()
    get, get_async = handler.get_response, handler.get_response_async

    def get_response(request: Any) -> Any:
        request.urlconf = urls.__name__
        return get(request)

    async def get_response_async(request: Any) -> Any:
        request.urlconf = urls.__name__
        return await get_async(request)

    handler.get_response, handler.get_response_async = get_response, get_response_async
    return handler


@pytest.fixture(scope="module")
def serving() -> Iterator[Any]:
    """`serving(framework, guard)`: the server of that app, started once."""
    started: dict[tuple[str, str], Server] = {}
    with ExitStack() as stack:

        def start(framework: str, name: str) -> Server:
            if (framework, name) not in started:
                family, _, kind = framework.partition("-")
                guard = GUARDS[name]
                app = _django(guard, kind) if family == "django" else getattr(require_apps, framework)(guard)
                serve = werkzeug_server if family == "flask" or kind == "wsgi" else uvicorn_server
                options = {"lifespan": "off"} if family == "django" and serve is uvicorn_server else {}
                started[framework, name] = stack.enter_context(serve(app, **options))
            return started[framework, name]

        yield start


@pytest.fixture(params=FRAMEWORKS)
def ask(request: pytest.FixtureRequest, serving: Any) -> Any:
    """`ask(guard, method, target, ...)` sends one request to the framework at hand."""

    def send(guard: str, method: str, target: str, **options: Any) -> Answer:
        answer: Answer = serving(request.param, guard).ask(method, target, host="localhost", **options)
        return answer

    send.framework = request.param  # type: ignore[attr-defined]
    return send


def code(answer: Answer) -> str | None:
    """The code of a refusal: ours, or ours inside what FastAPI makes of an HTTPException."""
    if answer.code is not None:
        return answer.code
    detail = answer.json.get("detail")
    return detail.get("code") if isinstance(detail, dict) else None


CASES = [
    ("a view wants the policy it names", "secured", "GET /photos/x", (), 403, "policy_required"),
    ("and runs with it", "secured", f"GET /photos/x?{GOOD.as_query()}", (), 200, None),
    ("the application's secret does as well", "secured", "GET /photos/x", (basic(SECRET),), 200, None),
    ("a wrong one does not", "secured", "GET /photos/x", (basic("wrong"),), 403, "credentials_invalid"),
    ("the handle of the path counts", "secured", f"GET /photos/y?{sign(handle='x').as_query()}", (), 403, "not_permitted"),
    ("its own handle is covered", "secured", f"GET /photos/x?{sign(handle='x').as_query()}", (), 200, None),
    ("the call counts", "secured", f"GET /photos/x?{sign(call=['stat']).as_query()}", (), 403, "not_permitted"),
    ("an expired policy is refused", "secured", f"GET /photos/x?{sign(expires_in=-1).as_query()}", (), 403, "policy_expired"),
    (
        "two policies are a conflict",
        "secured",
        f"GET /photos/x?{GOOD.as_query()}&{GOOD.as_query()}",
        (),
        400,
        "credential_conflict",
    ),
    (
        "two credentials are a conflict",
        "secured",
        f"GET /photos/x?{GOOD.as_query()}",
        (basic(SECRET),),
        400,
        "credential_conflict",
    ),
    (
        "two Authorization headers are a conflict",
        "secured",
        "GET /photos/x",
        (basic(SECRET), basic("x")),
        400,
        "credential_conflict",
    ),
    ("HEAD is judged as GET", "secured", "HEAD /photos/x", (), 403, ""),
    ("a view without a guard is free", "secured", "GET /free", (), 200, None),
    ("a given fact counts", "secured", f"POST /up?{sign(container='up.*').as_query()}", (), 201, None),
    ("and refuses", "secured", f"POST /up?{sign(container='down').as_query()}", (), 403, "not_permitted"),
    ("a foreign page is refused", "listed", "GET /photos/x", (("Origin", "https://b.example"),), 403, "origin_not_allowed"),
    ("an approved one is not", "listed", "GET /photos/x", (("Origin", "https://a.example"),), 200, None),
    ("two Origins are none", "listed", "GET /photos/x", (("Origin", "https://a.example"),) * 2, 403, "origin_not_allowed"),
    ("the API key may be in the query", "many", "GET /photos/x?key=K1", (), 200, None),
    ("an unknown one is refused", "many", "GET /photos/x?key=K2", (), 401, "unknown_application"),
    ("two keys are refused", "many", "GET /photos/x?key=K1&key=K1", (), 400, "bad_request"),
    ("a guard that reports lets through", "report", "GET /photos/x", (), 200, None),
    ("a foreign signature too", "report", f"GET /photos/x?policy={GOOD.encoded}&signature={'0' * 64}", (), 200, None),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_a_view_is_reached_only_with_what_it_requires(ask: Any, case: Any) -> None:
    """The table above, as decorators and as dependencies."""
    _, guard, request, headers, status, refused = case
    method, target = request.split(" ", 1)
    answer = ask(guard, method, target, headers=headers, body=b"x" if method == "POST" else None)

    assert answer.status == status
    if refused:
        assert code(answer) == refused
        assert answer.one("cache-control") == "no-store"
    elif refused is None and "/photos/" in target:
        assert answer.json["handle"] == "x"


def test_a_guard_that_only_reports_lets_a_conflict_through(ask: Any) -> None:
    """There is no verdict to hand to the view then, but the view runs."""
    before = GUARDS["report"].counts.total()
    answer = ask("report", "POST", f"/up?{GOOD.as_query()}&{GOOD.as_query()}", body=b"abc")

    assert (answer.status, answer.body) == (201, b"3")
    assert GUARDS["report"].counts.total() == before + 1


@pytest.mark.parametrize(
    ("bounds", "sent", "status", "refused"),
    [
        ({"max_size": 3}, {"body": b"abc"}, 201, None),
        ({"max_size": 3}, {"body": b"abcd"}, 413, "too_large"),
        ({"max_size": 3}, {"chunks": [b"abc"]}, 413, "too_large"),
        ({"min_size": 3}, {"body": b"abc"}, 201, None),
        ({"min_size": 3}, {"body": b"ab"}, 403, "too_small"),
        ({"min_size": 3}, {"chunks": [b"abc"]}, 403, "too_small"),
        ({"min_size": 3}, {"body": b"abcdef", "headers": [FORMS]}, 403, "too_small"),
        ({"max_size": 9}, {"body": b"abcdef", "headers": [FORMS]}, 201, None),
    ],
)
def test_bounds_are_judged_on_the_declared_length(
    ask: Any, bounds: dict[str, int], sent: dict[str, Any], status: int, refused: str | None
) -> None:
    """Nothing is counted here, so that what declares no length, or a longer one than its file, cannot be shown to fit."""
    answer = ask("secured", "POST", f"/up?{sign(**bounds).as_query()}", **sent)

    assert answer.status == status
    assert refused is None or code(answer) == refused


def test_an_answer_is_private_and_varies(ask: Any) -> None:
    """The caching headers of a door, from a decorator or a dependency (security promises 25, 32)."""
    allowed = ask("secured", "GET", f"/photos/x?{sign(expires_in=100).as_query()}").one("cache-control") or ""
    stored = ask("secured", "POST", f"/up?{GOOD.as_query()}", body=b"x").one("cache-control") or ""
    listed = ask("listed", "GET", "/photos/x", headers=[("Origin", "https://a.example")])

    assert allowed.startswith("private, max-age=")
    assert 60 < int(allowed.rpartition("=")[2]) <= 100
    assert stored.startswith("private, max-age=")
    assert listed.one("vary") == "Origin, Referer"
    assert listed.one("access-control-allow-origin") == "https://a.example"


@pytest.mark.parametrize(("call", "facts"), [("fly", {}), ([], {}), ("read", {"colour": "red"}), ("read", {"PUT": "write"})])
def test_a_requirement_that_makes_no_sense_is_refused_at_start_up(call: Any, facts: dict[str, Any]) -> None:
    """Unknown calls and facts are found when the view is defined."""
    with pytest.raises(ConfigurationError):
        GUARDS["secured"].require(call, **facts)
