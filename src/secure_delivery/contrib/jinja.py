"""A Jinja2 global that signs: `<img src="{{ signed_url('/photos/x', expires_in=600) }}">`.

Knows: Jinja2 contexts, and where Flask and Starlette keep the prefix of a request. Must not know: how one signs.
"""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, pass_context
from jinja2.runtime import Context

from ..gate.guard import Guard
from . import sign_below

__all__ = ["install"]


def install(environment: Environment, guard: Guard) -> None:
    """Give the templates of an environment the function `signed_url(url, *, prefix=None, **policy)`.

    For Flask `install(app.jinja_env, guard)`, for Starlette and FastAPI `install(templates.env, guard)`. `url` is a path, or
    what `url_for` gives; the prefix of the request at hand is recognised, another is given as `prefix`. The other
    arguments are those of `Guard.signed_url`: `expires_in`, `round_to`, `method`, and the limits of a policy.
    """

    @pass_context
    def signed_url(context: Context, url: object, *, prefix: str | None = None, **policy: Any) -> str:
        return sign_below(guard, str(url), _prefix(context.get("request")) if prefix is None else prefix, **policy)

    environment.globals["signed_url"] = signed_url


def _prefix(request: Any) -> str:
    """The path that the app of a request is mounted under: `root_path` of ASGI, `SCRIPT_NAME` of WSGI."""
    if not request:  # none in this context, or Flask's stand-in outside a request
        return ""
    scope = getattr(request, "scope", None)
    if isinstance(scope, dict):
        # Starlette's own name for the outermost one: inside a mount `root_path` is longer than what the app is under.
        return str(scope.get("app_root_path", scope.get("root_path", "")))
    return str(getattr(request, "root_path", ""))
