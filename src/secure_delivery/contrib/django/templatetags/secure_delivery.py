"""`{% load secure_delivery %}` and `{% signed_url "/photos/x" expires_in=600 %}`.

Knows: Django's template library and script prefix. Must not know: how one signs.
"""

from __future__ import annotations

from typing import Any

from django import template
from django.urls import get_script_prefix

from ... import sign_below
from .. import configured_guard

register = template.Library()


@register.simple_tag  # type: ignore[untyped-decorator]  # Django comes without types
def signed_url(url: object, *, prefix: str | None = None, **policy: Any) -> str:
    """A guarded URL with a policy for just that: a path, or what `{% url %}` gave (`{% url … as photo %}`).

    The prefix that Django runs under is recognised; another is given as `prefix`. The other arguments are those of
    `Guard.signed_url`. Raises `ConfigurationError` for a path that no rule guards.
    """
    return sign_below(configured_guard(), str(url), get_script_prefix() if prefix is None else prefix, **policy)
