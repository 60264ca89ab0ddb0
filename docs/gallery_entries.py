"""What the gallery shows of each task. A test fails for a task that is missing here.

Knows: URLs and the files they work on. Must not know: how a picture is made.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parent.parent
_SVG = b"""<svg xmlns="http://www.w3.org/2000/svg" width="240" height="160" viewBox="0 0 240 160">
<defs><linearGradient id="g"><stop offset="0" stop-color="teal"/><stop offset="1" stop-color="gold"/></linearGradient></defs>
<rect width="240" height="160" rx="20" fill="url(#g)"/><circle cx="120" cy="80" r="46" fill="white" fill-opacity=".75"/>
<text x="120" y="90" font-family="DejaVu Sans" font-size="28" text-anchor="middle" fill="teal">SVG</text></svg>"""
_CSS = b"/* a comment */\nbody {\n  margin: 0px 0px 0px 0px;\n  color: #ff0000;\n}\n\na:hover { text-decoration: none; }\n"
_JS = b"// adds two numbers\nfunction add(first, second) {\n  const sum = first + second;\n  return sum;\n}\nadd(1, 2);\n"


@dataclass(frozen=True, slots=True)
class SourceOf:
    """A file that the gallery works on: its name, and where its bytes are, or how they are made."""

    filename: str
    content: Path | bytes | Callable[[], bytes]

    def read(self) -> bytes:
        if isinstance(self.content, Path):
            return self.content.read_bytes()
        return self.content if isinstance(self.content, bytes) else self.content()


def _camera() -> bytes:
    """A small picture as a camera would describe it."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x8298] = "Acme", "Acme One", "Jane Doe"
    exif.get_ifd(0x8769).update({0x829A: 0.004, 0x8827: 200, 0x9003: "2026:05:01 10:30:00"})
    out = BytesIO()
    Image.new("RGB", (16, 16), "teal").save(out, "JPEG", exif=exif)
    return out.getvalue()


_PHOTOS = ROOT / "plugins" / "intelligence" / "tests" / "photos"
_SAMPLES = ROOT / "examples" / "flask_app" / "samples"
_PAPERS = ROOT / "examples" / "starlette_app" / "samples"


def _clip() -> bytes:
    """Two seconds of a slow look across a lake, with a tone."""
    looking = "scale=960:-2,crop=480:270:x=120*t:y=180"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        sources = ["-loop", "1", "-framerate", "25", "-i", str(_SAMPLES / "misty-lake.webp"), "-f", "lavfi", "-i", "sine"]
        command = ["ffmpeg", "-v", "error", *sources, "-t", "2", "-vf", looking, "-pix_fmt", "yuv420p", str(path)]
        subprocess.run(command, check=True, timeout=60)  # noqa: S603 - every word is ours
        return path.read_bytes()


SOURCES = {
    "photo": SourceOf("sample.jpg", ROOT / "src" / "secure_delivery" / "engine" / "assets" / "sample.jpg"),
    "face": SourceOf("astronaut.jpg", _PHOTOS / "astronaut.jpg"),
    "cat": SourceOf("cat.jpg", _PHOTOS / "cat.jpg"),
    "lake": SourceOf("misty-lake.webp", _SAMPLES / "misty-lake.webp"),
    "dunes": SourceOf("red-dunes.webp", _SAMPLES / "red-dunes.webp"),
    "snow": SourceOf("first-snow.webp", _SAMPLES / "first-snow.webp"),
    "night": SourceOf("northern-night.webp", _SAMPLES / "northern-night.webp"),
    "report": SourceOf("harvest-report.pdf", _PAPERS / "harvest-report.pdf"),
    "plan": SourceOf("floor-plan.png", _PAPERS / "floor-plan.png"),
    "letter": SourceOf("letter.txt", _PAPERS / "letter-to-the-council.txt"),
    "logo": SourceOf("logo.svg", _SVG),
    "style": SourceOf("style.css", _CSS),
    "script": SourceOf("script.js", _JS),
    "camera": SourceOf("camera.jpg", _camera()),
    "words": SourceOf("words.txt", b"https://secure-delivery.example.org/"),
    "clip": SourceOf("clip.mp4", _clip),
}


#: What `urlscreenshot` visits; its source is written `page`.
WEB_PAGE = b"""<!doctype html><title>A page</title><body style="margin:0;font:16px sans-serif;background:#0f766e;color:#fff">
<h1 style="padding:40px 40px 0">Fresh from the field</h1>
<p style="padding:0 40px">A page of the web, as a browser shows it.</p>"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to look at. `chain` is the URL's tasks, `{name}` in it the handle of a source; `source` names one source, or
    several joined by `+`; `file` is the picture's name, empty where the answer is shown as text. Jobs have both."""

    family: str
    task: str
    chain: str
    source: str = "photo"
    file: str = ""
    says: str = ""


def _pictures(family: str, *rows: tuple[str, ...]) -> tuple[Entry, ...]:
    """Entries of one family: task, chain, what it says, source and extension where they are not the usual ones."""
    entries = []
    for task, chain, says, *more in rows:
        source, extension = (*more, *("photo", "jpg")[len(more) :])
        number = sum(entry.task == task for entry in entries)
        name = f"{task}{number + 1 if number else ''}.{extension}" if extension else ""
        entries.append(Entry(family, task, chain, source, name, says))
    return tuple(entries)


#: Tasks that the server itself understands, rather than a plugin.
CONTROLS = frozenset({"store", "cache", "fallback", "metadata", "security", "debug"})

ENTRIES: tuple[Entry, ...] = (
    *_pictures(
        "Size and shape",
        ("resize", "resize=width:320", "the other side follows"),
        ("resize", "resize=width:200,height:200,fit:crop", "`crop` fills the box"),
        ("resize", "resize=width:200,height:200,fit:scale", "`scale` distorts"),
        ("resize", "resize=width:160,height:160,fit:crop,align:faces", "the faces stay in the picture", "face"),
        ("crop", "crop=dim:[500,300,640,427]/resize=width:320", "a part, then smaller"),
        ("smart_crop", "resize=width:480/smart_crop=width:200,height:200", "the part that has most to see"),
        ("rotate", "resize=width:240/rotate=deg:15,background:steelblue", "clockwise"),
        ("flip", "resize=width:240/flip", "top to bottom"),
        ("flop", "resize=width:240/flop", "left to right"),
        ("circle", "resize=width:240/circle/output=format:webp", "", "cat", "webp"),
        ("rounded_corners", "resize=width:240/rounded_corners=radius:30/output=format:webp", "", "lake", "webp"),
        (
            "round_corners",
            "resize=width:240/round_corners=radius:max/output=format:webp",
            "the other name of it",
            "lake",
            "webp",
        ),
        ("upscale", "resize=width:120/upscale", "twice as wide and high", "cat"),
    ),
    *_pictures(
        "Colours and light",
        ("monochrome", "resize=width:240/monochrome", ""),
        ("blackwhite", "resize=width:240/blackwhite=threshold:45", "", "cat"),
        ("sepia", "resize=width:240/sepia", ""),
        ("negative", "resize=width:240/negative", ""),
        ("modulate", "resize=width:240/modulate=brightness:110,saturation:160,hue:40", "", "dunes"),
        ("enhance", "resize=width:240/enhance=preset:vivid", "", "lake"),
        ("enhance", "resize=width:240/enhance=preset:fix_dark", "", "night"),
        ("enhance", "resize=width:240/enhance=preset:beautify", "", "face"),
        ("redeye", "redeye", "eyes without a red reflection stay as they are", "face"),
    ),
    *_pictures(
        "Effects",
        ("blur", "resize=width:240/blur=amount:5", ""),
        ("sharpen", "resize=width:240/sharpen=amount:6", "", "cat"),
        ("pixelate", "resize=width:240/pixelate=amount:10", "", "cat"),
        ("oil_paint", "resize=width:240/oil_paint=amount:4", ""),
        ("partial_blur", "resize=width:240/partial_blur=objects:[[40,30,100,80]],amount:10", "", "cat"),
        ("partial_pixelate", "resize=width:240/partial_pixelate=objects:[[40,30,100,80]],type:oval", "", "cat"),
        ("ascii", "resize=width:120/ascii=colored:true", "a page of letters", "cat"),
        ("vignette", "resize=width:240/vignette=amount:60", "", "lake"),
    ),
    *_pictures(
        "Frames",
        ("border", "resize=width:220/border=width:8,color:goldenrod", ""),
        ("shadow", "resize=width:220/shadow=blur:8,vector:[8,8]/output=format:webp", "", "lake", "webp"),
        ("polaroid", "resize=width:200/polaroid=rotate:8/output=format:webp", "", "cat", "webp"),
        ("torn_edges", "resize=width:220/torn_edges=spread:[4,14]/output=format:webp", "", "dunes", "webp"),
    ),
    *_pictures(
        "Several pictures",
        ("watermark", "resize=width:320/watermark=file:{logo},size:30,position:[bottom,right]", ""),
        ("collage", "collage=files:[{lake},{dunes},{snow}],width:360,height:240,margin:6", "the source is the first", "cat"),
        ("animate", "animate=delay:700,width:240,height:160,fit:crop", "a list of sources", "lake+dunes+snow", "gif"),
        ("zip", "zip", "a list of sources, packed", "lake+dunes", ""),
    ),
    *_pictures(
        "Faces",
        ("detect_faces", "detect_faces=color:gold", "", "face"),
        ("detect_faces", "detect_faces=export:true", "as JSON", "face", ""),
        ("crop_faces", "crop_faces=mode:thumb,width:120,height:120", "", "face"),
        ("pixelate_faces", "pixelate_faces=amount:8", "", "face"),
        ("blur_faces", "blur_faces=amount:10", "", "face"),
    ),
    *_pictures(
        "Format and weight",
        ("output", "resize=width:320/output=format:webp,quality:60", "another format", "photo", "webp"),
        ("output", "output=format:png,density:45", "the first page of a document", "report", "png"),
        ("output", "output=format:png", "a drawing", "logo", "png"),
        ("auto_image", "resize=width:320/auto_image", "AVIF, WebP or JPEG, whatever the browser prefers"),
        ("quality", "resize=width:320/quality=value:10", "few bytes"),
        ("pjpg", "resize=width:320/pjpg=quality:60", "appears in passes"),
        ("compress", "resize=width:320/compress", "smaller, and looks the same"),
        ("no_metadata", "resize=width:320/no_metadata", "nothing but the picture"),
        ("imagesize", "imagesize", "", "photo", ""),
        ("exif", "exif", "needs a policy that names `exif`", "camera", ""),
    ),
    *_pictures(
        "Documents",
        ("preview", "preview", "pages, zoom, search, keyboard", "report"),
        ("slide", "slide", "a slide show", "report"),
        ("pdfinfo", "pdfinfo", "", "report", ""),
        ("pdfconvert", "pdfconvert=pageformat:a5,pages:[1]/output=format:png,density:45", "", "report", "png"),
        (
            "pdfcreate",
            "pdfcreate/output=format:jpg,density:72,page:2/resize=width:240",
            "page 2 of what was put together",
            "report+lake",
        ),
        ("doc_to_images", "doc_to_images=pages:[1],density:40", "an archive of page pictures", "report", ""),
        ("doc_detection", "doc_detection=coords:true", "where the sheet of paper is", "plan", ""),
        ("qr", "qr", "a text as a code; of a picture, what the code says", "words", "png"),
        ("minify_css", "minify_css", "", "style", ""),
        ("minify_js", "minify_js", "", "script", ""),
        ("urlscreenshot", "urlscreenshot=width:480,height:320,mode:window", "a picture of a page", "page", "png"),
    ),
    *_pictures(
        "Video and sound",
        (
            "video_convert",
            "video_convert=preset:webm,width:320,clip_length:00:00:01",
            "a job: open the URL again until the answer is this one; the picture is the result's `thumb`",
            "clip",
        ),
        (
            "video_playlist",
            "video_playlist=preset:hls.variant,clip_length:00:00:01",
            "the other name of it; `url` is a playlist that leads to every size",
            "clip",
        ),
    ),
    *_pictures(
        "Intelligence",
        ("tags", "tags", "", "cat", ""),
        ("sfw", "sfw", "", "cat", ""),
        ("ocr", "ocr", "text in a picture", "plan", ""),
        ("caption", "caption", "no provider is shipped", "cat", ""),
        ("image_sentiment", "image_sentiment", "", "face", ""),
        ("text_sentiment", 'text_sentiment=text:"What a wonderful day!"', "needs no source", "", ""),
        ("copyright", "copyright", "no provider is shipped", "cat", ""),
    ),
    Entry("Control", "store", "resize=width:300/store=filename:small.jpg", says="keeps the result as a new file, answers JSON"),
    Entry(
        "Control",
        "cache",
        "cache=expiry:86400/resize=width:300",
        says="how long the answer may be kept; `cache=false`: not at all",
    ),
    Entry("Control", "fallback", "resize=width:300/fallback=handle:HANDLE", says="served when the source or a task fails"),
    Entry("Control", "metadata", "metadata=[size,mimetype,width,height,md5]", says="facts of a stored file as JSON"),
    Entry("Control", "debug", "debug/resize=width:300", says="what would be done, as JSON, instead of doing it"),
    Entry(
        "Control",
        "security",
        "security=policy:POLICY,signature:SIGNATURE/resize=width:300",
        says="the credential, anywhere in the chain",
    ),
)
