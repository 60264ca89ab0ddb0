"""A plugin of the tests: previewers and the extractor as tasks, so that a chain runs them where they really run."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from secure_delivery.plugin import Media, MemoryFile, PageRange, Param, Work, Workshop, hookimpl, integer, json_file, text
from secure_delivery_media.covers import CoverPreviewer, WaveformPreviewer
from secure_delivery_media.frames import VideoPreviewer
from secure_delivery_media.section import MultimediaExtractor

PREVIEWERS: Mapping[str, Any] = {"video": VideoPreviewer(), "audio": CoverPreviewer(), "waveform": WaveformPreviewer()}


class PageTask:
    """The page `pages` of a previewer as PNG; `extra` says how many there are and which came."""

    params = (
        Param("pages", text(50), (), "1"),
        Param("width", integer(0, 10_000), (), 0),
        Param("height", integer(0, 10_000), (), 0),
        Param("frames", integer(1, 100), (), 1),
    )
    version = "1"

    def __init__(self, name: str) -> None:
        self.previewer = PREVIEWERS[name]

    def warm(self) -> None:
        self.previewer.warm()  # type: ignore[attr-defined]

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        size = (options["width"], options["height"]) if options["width"] or options["height"] else None
        wanted, more = PageRange.parse(options["pages"]), {"frames": options["frames"]}
        pages = list(self.previewer.preview(Work(media=media, shop=shop, wanted=wanted, size=size, options=more)))
        out = BytesIO()
        pages[-1].media.decoded().save(out, "PNG")  # type: ignore[attr-defined]
        extra = {"numbers": [page.number for page in pages], "total": pages[0].total}
        return MemoryFile(out.getvalue(), "image/png", "page.png", extra)


class SectionTask:
    """The section of the extractor, as JSON."""

    params: tuple[Param, ...] = ()
    version = "1"
    extractor = MultimediaExtractor()

    def warm(self) -> None:
        self.extractor.warm()  # type: ignore[attr-defined]

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        return json_file(self.extractor.extract(Work(media=media, shop=shop)), "section.json")


class CompanionTask:
    """What `video_convert` makes of a file with these options, all files of it, in a ZIP file."""

    params = (Param("preset", text(50), (), "hls.variant"),)
    version = "1"

    def warm(self) -> None:
        import zipfile  # noqa: F401 - for what comes after

    def apply(self, media: Media, options: Mapping[str, Any], shop: Workshop) -> Media:
        import zipfile

        from secure_delivery_media.task import VideoConvert

        convert = VideoConvert()
        bound = {param.name: param.default for param in convert.params} | dict(options)
        result = convert.apply(media, bound, shop)
        out = BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name, one in (("master.m3u8", result), *result.companions):  # type: ignore[attr-defined]
                with one.open() as stream:
                    archive.writestr(name, stream.read())
        return MemoryFile(out.getvalue(), "application/zip", "all.zip", dict(result.extra))  # type: ignore[attr-defined]


@hookimpl
def register_transformations(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        **{f"see_{name}": PageTask(name) for name in ("video", "audio", "waveform")},
        "multimedia": SectionTask(),
        "all_files": CompanionTask(),
    }
