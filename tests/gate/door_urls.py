"""The Django side of the file store in `door_apps`: its URLs and views."""

from __future__ import annotations

from typing import Any

import door_apps
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import path
from django.views.decorators.http import require_http_methods


def _native(answer: door_apps.Answer) -> HttpResponse:
    status, headers, body = answer
    response = HttpResponse(body, status=status)
    del response["Content-Type"]
    for name, value in headers:
        response[name] = value
    return response


def _seen(request: HttpRequest, view: str, **facts: Any) -> HttpResponse:
    scope = getattr(request, "scope", None)
    decision = (request.META if scope is None else scope).get("secure_delivery.decision")
    method = request.method or ""
    return _native(door_apps.show(view, method, request.headers.get, decision, path=request.path, **facts))


def open_(request: HttpRequest) -> HttpResponse:
    return _seen(request, "open", query=request.META["QUERY_STRING"], body=request.body.decode("latin-1"))


@require_http_methods(["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def photo(request: HttpRequest, handle: str) -> HttpResponse:
    return upload(request) if request.method == "PUT" else _seen(request, "photo", handle=handle)


def exif(request: HttpRequest, handle: str) -> HttpResponse:
    return _seen(request, "exif", handle=handle)


def upload(request: HttpRequest, **_: str) -> HttpResponse:
    return _native(door_apps.take(iter(lambda: request.read(65_536), b"")))


def form(request: HttpRequest) -> HttpResponse:
    files = {name: file.read() for name, file in request.FILES.items()}
    return _native(door_apps.form(request.POST.dict(), files))


def page(_: HttpRequest) -> HttpResponse:
    text = '{% load secure_delivery %}{% url "photo" handle="a b" as photo %}<img src="{% signed_url photo expires_in=600 %}">'
    return HttpResponse(engines["django"].from_string(text).render({}))


urlpatterns = [
    path("open", open_),
    path("photos/<str:handle>", photo, name="photo"),
    path("photos/<str:handle>/", photo),
    path("photos/<str:handle>/exif", exif),
    path("store/<path:path>", upload),
    path("upload", upload),
    path("form", form),
    path("page", page),
]
