"""Smaller copies of large pictures: made with the second different result of a picture, the start of those after it.

Knows: what transformations say about scaling, how a chain is bound. Must not know: bytes, folders, how a chain is run.

Most of the time that a small result of a camera picture takes goes into decoding the bytes of the whole. A copy of 1600
pixels is decoded in a fraction of it, one of 800 for thumbnails in a fraction of that; either costs less than 0.1 dB as long
as the result has at most half of its pixels on each side. Pictures that are asked for in one size only never get a copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..gate.errors import SecureDeliveryError
from ..gate.taskurl import Task
from ..plugin.manager import Registry
from ..plugin.protocols import Scaling
from ..plugin.selection import fitting, providers
from .convert import Plan, bind
from .sources import SourceFile

SIDES = (800, 1600)  # pixels of a copy's longer side: for thumbnails, and for everything else
_REDUCTION = 2  # how many times smaller than the copy a result has to be, so that what the copy lost is not seen
_LEAST_BYTES = 500_000  # of a source: below, decoding it whole costs no more than the rest of the work
_LEAST_PIXELS = 1_500_000
_QUALITY = 92  # measured: at most 0.09 dB after JPEG of quality 80, for a quarter of the bytes of 98

#: The format of a copy by that of its source. Where it is another (WebP has transparency too), chains are still told the type
#: of the source, whose format they keep when they name none.
_FORMS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/avif": "webp",
    "image/heic": "webp",
    "image/heif": "webp",
    "image/tiff": "webp",
}


class Copies:
    """Says which chains can start from a copy, and how one is made."""

    def __init__(self, registry: Registry) -> None:
        self._transformations = registry.transformations
        self._providers: dict[tuple[str, str], Scaling | None] = {}
        self._plans = {(form, side): _plan(registry, form, side) for form in set(_FORMS.values()) for side in SIDES}
        self.sizing = _bound(registry, [Task(name="imagesize", options=())])

    def plans(self, source: SourceFile, plan: Plan) -> dict[int, Plan]:
        """How copies of this source are made, by their side, if this chain could perhaps start from one."""
        form = _FORMS.get(source.mimetype)
        if form is None or source.size < _LEAST_BYTES or self.sizing is None or not plan.steps:
            return {}
        if self._scaling(plan.steps[0].name, source.mimetype) is None:
            return {}
        return {side: made for side in SIDES if (made := self._plans[form, side]) is not None}

    def side(self, plan: Plan, mimetype: str, size: tuple[int, int]) -> int | None:
        """The side of the smallest copy with which a chain loses nothing that is seen, for an upright picture of that size.

        Every task up to the first that reduces must say how far; those after it work on its result, unless they say that they
        need the original.
        """
        if size[0] * size[1] < _LEAST_PIXELS:
            return None
        wanted = 0.0
        for step in plan.steps:
            provider = self._scaling(step.name, mimetype)
            if wanted and provider is None:
                continue
            scale = None if provider is None else provider.scale(step.options, size)
            if scale is None:
                return None
            if not wanted and scale != 1.0:
                wanted = max(size) * scale * _REDUCTION
        return next((side for side in SIDES if 0 < wanted <= side < max(size)), None)

    def _scaling(self, name: str, mimetype: str) -> Scaling | None:
        """What does a task for a type of file, if that says how much it shrinks. Remembered: types come from a short list."""
        key = name, mimetype
        if key not in self._providers:
            transformation = self._transformations.get(name)
            provider = None if transformation is None else fitting(providers(transformation), mimetype)
            self._providers[key] = provider if isinstance(provider, Scaling) else None
        return self._providers[key]


def _plan(registry: Registry, form: str, side: int) -> Plan | None:
    resize = {"width": side, "height": side, "fit": "max", "filter": "bicubic"}  # as good here as lanczos, for less
    output = {"format": form} if form == "png" else {"format": form, "quality": _QUALITY}
    return _bound(registry, [_task("resize", resize), _task("output", output)])


def _task(name: str, options: Mapping[str, Any]) -> Task:
    return Task(name=name, options=tuple((key, str(value)) for key, value in options.items()))  # as in a URL


def _bound(registry: Registry, tasks: list[Task]) -> Plan | None:
    """The plan of a chain, or None where no plugin that does it is installed."""
    try:
        return bind(registry, tasks)
    except SecureDeliveryError:
        return None
