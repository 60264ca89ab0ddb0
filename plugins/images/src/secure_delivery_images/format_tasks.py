"""Tasks that choose how a result is written: `pjpg`, and `auto_image` by what the client accepts.

Knows: option names and ranges of the Filestack documentation, the `Accept` header (RFC 9110 section 12.5.1).
Must not know: Pillow (compare `tasks`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from secure_delivery.plugin import Media, Param, boolean, choice, integer

from .tasks import ASKED_FOR, PictureTask

if TYPE_CHECKING:
    from .picture import Picture

_MOST_RANGES = 64  # of an Accept header that are looked at; browsers send a dozen
_BY_RANK = ("avif", "webp")  # the smallest first; JPEG is what everybody can show
_FORMS = {"avif": "AVIF", "webp": "WEBP"}
#: Edits that cannot make an opaque picture transparent.
_OPAQUE = ("Resize", "Crop", "Mirror", "Turn")


class ProgressiveJpeg(PictureTask):
    """`pjpg`: a JPEG that builds up in passes, of `quality` 0 to 100 (0 and 1 are the same).

    `metadata:true` keeps EXIF and XMP of the source, except for the place.
    """

    params = (Param("quality", integer(0, 100), ("q",)), Param("metadata", boolean(), ("m",), False))

    def demands(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        return ("exif",) if options["metadata"] else ()

    def scale(self, options: Mapping[str, Any], size: tuple[int, int]) -> float | None:
        return None if options["metadata"] else 1.0

    def change(self, picture: Picture, options: Mapping[str, Any]) -> Media:
        wanted = options["quality"]
        quality = picture.encoding.quality if wanted is None else max(1, wanted)
        picture = picture.encoded(form="JPEG", progressive=True, quality=quality)
        return picture.allowing(ASKED_FOR) if options["metadata"] else picture


class AutoImage(PictureTask):
    """`auto_image`: AVIF, WebP or JPEG, the smallest that the client says it can show.

    Instead of JPEG, what is transparent stays PNG and what moves stays GIF (or animated PNG); what moves becomes WebP instead
    of AVIF. `format` is filled in from the `Accept` header, whatever a URL says.
    """

    params = (Param("format", choice(*_BY_RANK, "jpeg"), (), "jpeg"),)

    def negotiate(self, options: Mapping[str, Any], accept: str) -> Mapping[str, Any]:
        return {"format": accepted(accept)}

    def scale(self, options: Mapping[str, Any], size: tuple[int, int]) -> float | None:
        return 1.0

    def change(self, picture: Picture, options: Mapping[str, Any]) -> Media:
        wanted = options["format"]
        if picture.facts.frames and picture.page == 1:
            still = "PNG" if picture.facts.form == "PNG" else "GIF"
            return picture.encoded(form="WEBP" if wanted in _FORMS else still)
        if wanted in _FORMS:
            return picture.encoded(form=_FORMS[wanted])
        return picture.encoded(form="PNG" if _transparent(picture) else "JPEG")


def _transparent(picture: Picture) -> bool:
    """Whether anything can be seen through the picture. Pixels are looked at only when header and edits leave it open."""
    from .modes import has_alpha, without_opaque_alpha

    if not picture.facts.alpha and all(type(edit).__name__ in _OPAQUE for edit in picture.edits):
        return False
    return has_alpha(without_opaque_alpha(picture.decoded()))


def accepted(accept: str) -> str:
    """The best of `avif`, `webp` and `jpeg` for an `Accept` header: highest quality value, then smallest.

    A wildcard is no promise: only a client that names AVIF or WebP gets it. JPEG is the answer to everything else.
    """
    values: dict[str, float] = {}
    for part in accept.lower().split(",")[:_MOST_RANGES]:
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        values[kind] = _quality(parameters)
    jpeg = next((values[kind] for kind in ("image/jpeg", "image/*", "*/*") if kind in values), 0.0)
    best, highest = "jpeg", jpeg
    for name in reversed(_BY_RANK):
        value = values.get(f"image/{name}", 0.0)
        if value > 0 and value >= highest:
            best, highest = name, value
    return best


def _quality(parameters: list[str]) -> float:
    """The weight of a media range, 1 when none is said, 0 when it is nonsense: what is not understood is not offered."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            digits = value.strip()
            plain = digits.replace(".", "", 1)
            return min(1.0, float(digits)) if plain.isascii() and plain.isdigit() and len(digits) <= 5 else 0.0
    return 1.0
