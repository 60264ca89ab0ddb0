"""Views guarded one by one with `guard.require`, in each framework: nothing is guarded by path here.

`GET /photos/<handle>` needs `read`; `POST /up` needs `pick` into the container `uploads`; `/free` needs nothing. The apps
are made by `make`, for one guard each.
"""

from __future__ import annotations

from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from starlette.responses import JSONResponse

from secure_delivery import Decision, Guard


def flask(guard: Guard) -> Any:
    from flask import Flask, request

    app = Flask(__name__)

    @app.get("/photos/<handle>")
    @guard.require("read")
    def photo(handle: str) -> Any:
        return {"handle": handle, "decision": request.environ["secure_delivery.decision"].reason.value}

    @app.post("/up")
    @guard.require("pick", container="uploads")
    def up() -> Any:
        return str(len(request.get_data())), 201, {"Cache-Control": "public"}

    @app.get("/free")
    def free() -> Any:
        return {}

    return app


def django(guard: Guard) -> list[Any]:
    """The URL patterns of a Django project: one set for WSGI and ASGI, a sync and an async view."""
    from django.http import HttpResponse
    from django.http import JsonResponse as Json
    from django.urls import path
    from django.utils.decorators import method_decorator
    from django.views import View

    @guard.require("read")
    async def photo(request: Any, handle: str) -> Any:
        place = getattr(request, "scope", None) or request.META
        found = place.get("secure_delivery.decision") or request.META["secure_delivery.decision"]
        return Json({"handle": handle, "decision": found.reason.value})

    @method_decorator(guard.require("pick", container="uploads"), name="post")
    class Up(View):
        def post(self, request: Any) -> Any:
            return HttpResponse(str(len(request.body)), status=201, headers={"Cache-Control": "public"})

    return [path("photos/<str:handle>", photo), path("up", Up.as_view()), path("free", lambda _: Json({}))]


def starlette(guard: Guard) -> Any:
    from starlette.applications import Starlette
    from starlette.routing import Route

    @guard.require("read")
    async def photo(request: Request) -> Any:
        decision = request.scope["secure_delivery.decision"]
        return JSONResponse({"handle": request.path_params["handle"], "decision": decision.reason.value})

    @guard.require("pick", container="uploads")
    async def up(request: Request) -> Any:
        return Response(str(len(await request.body())), 201, {"Cache-Control": "public"})

    def free(request: Request) -> Any:
        return JSONResponse({})

    return Starlette(routes=[Route("/photos/{handle}", photo), Route("/up", up, methods=["POST"]), Route("/free", free)])


def fastapi(guard: Guard) -> Any:
    """As dependencies."""
    app = FastAPI()
    read, pick = Depends(guard.require("read")), Depends(guard.require("pick", container="uploads"))

    @app.api_route("/photos/{handle}", methods=["GET", "HEAD"])
    def photo(handle: str, decision: Decision = read) -> dict[str, str]:
        return {"handle": handle, "decision": decision.reason.value}

    @app.post("/up", dependencies=[pick], status_code=201)
    async def up(request: Request) -> int:
        return len(await request.body())

    @app.get("/free")
    def free() -> dict[str, str]:
        return {}

    return app


def fastapi_decorated(guard: Guard) -> Any:
    """As decorators around FastAPI's endpoints, sync and async."""
    app = FastAPI()

    @app.api_route("/photos/{handle}", methods=["GET", "HEAD"])
    @guard.require("read")
    def photo(request: Request, handle: str) -> Any:
        return JSONResponse({"handle": handle, "decision": request.scope["secure_delivery.decision"].reason.value})

    @app.post("/up")
    @guard.require("pick", container="uploads")
    async def up(request: Request) -> Any:
        return Response(str(len(await request.body())), 201, {"Cache-Control": "public"})

    @app.get("/free")
    def free() -> Any:
        return {}

    return app
