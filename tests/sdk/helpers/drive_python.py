"""Drives the official Python client, as its users do: an order in JSON on standard input, one line of JSON per case on the
output, and at the end which functions of the client ran (the interpreter's profiler tells) and which it has.
"""

from __future__ import annotations

import sdk_loopback  # first: it decides which names there are

# isort: split
import base64
import inspect
import io
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

ran: set[str] = set()


def _profile(frame: FrameType, event: str, _: Any) -> None:
    if event == "call" and f"{os.sep}filestack{os.sep}" in frame.f_code.co_filename:
        ran.add(frame.f_code.co_qualname)


import filestack  # noqa: E402
import requests  # noqa: E402
from filestack.helpers import verify_webhook_signature  # noqa: E402

sys.setprofile(_profile)
threading.setprofile(_profile)

order = json.load(sys.stdin)
KEY, FILES, DOMAIN = order["key"], order["files"], order["domain"]
WORK = Path(order["work"])
filestack.config.CNAME = DOMAIN
filestack.config.API_URL = f"https://www.{DOMAIN}/api"
Case = Callable[[], Any]


def held(made: Mapping[str, Any] | None) -> Any:
    return filestack.Security(made["policy"], made["secret"]) if made else None


SECURITY, ALWAYS = held(order["security"]), held(order["always"])


def say(line: object) -> None:
    sys.stdout.write(f"\n\x1e{json.dumps(line)}\n")


def told(thing: Any) -> Any:
    """What an SDK call gave, as JSON."""
    if isinstance(thing, bytes):
        return {"base64": base64.b64encode(thing).decode()}
    if isinstance(thing, filestack.Filelink):
        return {"handle": thing.handle, "url": thing.url, "response": thing.upload_response, "repr": repr(thing)}
    return thing


def run(cases: Mapping[str, Case]) -> None:
    for name, work in cases.items():
        try:
            say({"case": name, "ok": True, "value": told(work())})
        except Exception as error:
            kind = f"{type(error).__module__}.{type(error).__name__}"
            say({"case": name, "ok": False, "error": {"name": kind, "message": str(error)}})


# ---------------------------------------------------------------------------------------------------------------- chains


def link(handle: str = FILES["photo"], **more: Any) -> Any:
    return filestack.Filelink(handle, apikey=KEY, **({"security": SECURITY} | more))


def opened(made: Any) -> dict[str, Any]:
    """What a chain gives, and that its printed address gives it too."""
    url = made.signed_url() if SECURITY else made.url
    return {"url": url, **told(made.get_content())}


def client(security: Any = SECURITY) -> Any:
    return filestack.Client(KEY, security=security)


#: Every method that adds a task: what it is given, and to which file.
CHAINS: dict[str, Callable[[], Any]] = {
    "resize": lambda: link().resize(width=100, height=50, fit="crop", align=["top", "left"]),
    "crop": lambda: link().crop(dim=[10, 20, 60, 40]),
    "rotate": lambda: link().rotate(deg=90),
    "rotate by EXIF": lambda: link().rotate(deg="exif"),
    "flip": lambda: link().flip(),
    "flop": lambda: link().flop(),
    "watermark": lambda: link().watermark(file=FILES["mark"], size=20, position=["top", "right"]),
    "detect_faces": lambda: link(FILES["face"]).detect_faces(minsize=0.2, color="red"),
    "crop_faces": lambda: link(FILES["face"]).crop_faces(mode="fill", width=60, height=60, faces=1),
    "pixelate_faces": lambda: link(FILES["face"]).pixelate_faces(faces="all", amount=5, type="oval"),
    "round_corners": lambda: link().round_corners(radius=10, blur=1.5, background="FFFFFF"),
    "vignette": lambda: link().vignette(amount=30, blurmode="linear"),
    "polaroid": lambda: link().polaroid(color="red", rotate=10, background="CCCCCC"),
    "torn_edges": lambda: link().torn_edges(spread=[5, 10], background="white"),
    "shadow": lambda: link().shadow(blur=5, opacity=30, vector=[5, 5], color="black"),
    "circle": lambda: link().circle(background="red"),
    "border": lambda: link().border(width=5, color="red"),
    "sharpen": lambda: link().sharpen(amount=3),
    "blur": lambda: link().blur(amount=3),
    "monochrome": lambda: link().monochrome(),
    "blackwhite": lambda: link().blackwhite(threshold=40),
    "sepia": lambda: link().sepia(tone=50),
    "pixelate": lambda: link().pixelate(amount=4),
    "oil_paint": lambda: link().oil_paint(amount=2),
    "negative": lambda: link().negative(),
    "modulate": lambda: link().modulate(brightness=120, hue=20, saturation=90),
    "partial_pixelate": lambda: link().partial_pixelate(amount=5, blur=2, type="oval", objects=[[0, 0, 20, 20]]),
    "partial_blur": lambda: link().partial_blur(amount=5, objects=[[0, 0, 20, 20], [30, 30, 10, 10]]),
    "collage": lambda: link().collage(files=[FILES["mark"], FILES["photo"]], width=200, height=100, margin=2, color="blue"),
    "upscale": lambda: link().resize(width=40).upscale(upscale=True, noise="low", style="photo"),
    "enhance": lambda: link().enhance(preset="vivid"),
    "redeye": lambda: link().redeye(),
    "ascii": lambda: link().ascii(background="white", foreground="red", colored=True, size=20),
    "filetype_conversion": lambda: link().filetype_conversion(format="png", background="white", strip=True, quality=80),
    "filetype_conversion of a PDF": lambda: link(FILES["pdf"]).filetype_conversion(format="jpg", page=1, density=72),
    "no_metadata": lambda: link().no_metadata(),
    "quality": lambda: link().quality(value=30),
    "zip": lambda: link().zip(),
    "fallback": lambda: link("A" * 20).fallback(file=FILES["mark"], cache=10).resize(width=25),
    "pdf_info": lambda: link(FILES["pdf"]).pdf_info(colorinfo=True),
    "pdf_convert": lambda: link(FILES["pdf"]).pdf_convert(pageorientation="landscape", pages=[1]),
    "minify_js": lambda: link(FILES["js"]).minify_js(mangle=False, gzip=False),
    "minify_css": lambda: link(FILES["css"]).minify_css(level=1, gzip=False),
    "auto_image": lambda: link().auto_image(),
    "doc_to_images": lambda: link(FILES["pdf"]).doc_to_images(pages=[1], format="png", density=72),
    "smart_crop": lambda: link().smart_crop(mode="auto", width=50, height=50),
    "pdfcreate": lambda: listed().pdfcreate(engine="mupdf"),
    "animate": lambda: listed().animate(delay=200, width=50, height=50, background="white"),
    "four tasks": lambda: link().resize(width=300).rotate(deg=90).flip().flop(),
    "Client.transform_external": lambda: client().transform_external(order["outside"]).resize(width=9),
    "Client.transform_external with a query": lambda: client().transform_external(order["outside"] + "?x=1").resize(width=9),
    "Client.urlscreenshot": lambda: client().urlscreenshot(
        order["page"], agent="desktop", mode="window", width=320, height=240
    ),
}


def listed() -> Any:
    """A list of files as the source: the client has no word for it but an external source."""
    return client().transform_external(f"[{FILES['photo']},{FILES['mark']}]")


def links() -> Iterator[tuple[str, Case]]:
    for name, make in CHAINS.items():
        yield name, lambda make=make: opened(make())  # type: ignore[misc]


# ------------------------------------------------------------------------------------------------------------- the rest


def downloaded(made: Any) -> dict[str, Any]:
    file = WORK / "downloaded"
    return {"size": made.download(str(file)), **told(file.read_bytes())}


def zipped() -> dict[str, Any]:
    file = WORK / "zipped"
    return {"size": client().zip(str(file), [FILES["photo"], FILES["mark"]]), **told(file.read_bytes())}


def overwritten(handle: str, **given: Any) -> dict[str, Any]:
    made = filestack.Filelink(handle, apikey=KEY, security=ALWAYS)
    assert made.overwrite(**given) is made
    return {"handle": handle, **told(made.get_content())}


def converted() -> dict[str, Any]:
    """What the client keeps of the answer to its first request."""
    made = link(FILES["video"]).av_convert(preset="h264", width=320)
    return {"url": made.url, "uuid": made.uuid, "timestamp": made.timestamp}


def audio_visual(file: str = FILES["video"], **more: Any) -> Any:
    """A conversion that ended. `av_convert` shows no policy: where one is needed, it comes in front of the handle."""
    made = link(f"{SECURITY.as_url_string()}/{file}" if SECURITY else file).av_convert(**more)
    ends = time.monotonic() + order["seconds"]
    while made.status in ("pending", "started") and time.monotonic() < ends:
        time.sleep(0.1)
    return made


def linked() -> dict[str, Any]:
    """A converted file as a link, and what it leads to."""
    made = audio_visual(preset="h264", width=320, audio_bitrate=96).to_filelink()
    return {**told(made), "metadata": made.metadata(), **told(made.get_content())}


def failing(method: str, which: int) -> None:
    """Let one of the next requests of a method fail on its way to the server."""
    requests.get(f"https://control.{DOMAIN}/fail/{method}/{which}", timeout=30).raise_for_status()


def uploaded_in_spite_of_a_failure() -> Any:
    failing("PUT", 1)
    return client().upload(filepath=PHOTO, intelligent=True, store_params={"filename": "again.jpg"})


def hooked(body: str, **more: Any) -> list[Any]:
    hook = order["hook"]
    headers = {"fs-Signature": hook["signature"], "FS-TIMESTAMP": hook["timestamp"]} | more
    return list(verify_webhook_signature(hook["secret"], body, headers))


PHOTO, BIG = str(WORK / "photo.jpg"), str(WORK / "big.bin")
A, B, C, D, E = order["victims"][:5]
CASES: dict[str, Case] = {
    "Filelink.get_content": lambda: link().get_content(),
    "Filelink.download": lambda: downloaded(link()),
    "Transformation.download": lambda: downloaded(link().resize(width=100)),
    "Filelink.url": lambda: {"url": link().url, "chain": link().resize(width=1).url},
    "Filelink.signed_url": lambda: {"url": link().signed_url(security=ALWAYS)},
    "Filelink.signed_url without security": lambda: link(security=None).signed_url(),
    "Filelink.metadata": lambda: link().metadata(order["names"]),
    "Filelink.metadata as usual": lambda: link().metadata(),
    "Filelink.metadata of EXIF": lambda: link().metadata(["exif"], security=held(order["exif"])),
    "Filelink.store": lambda: link().store(filename="again.jpg", path="some/folder/", access="public"),
    "Transformation.store": lambda: link().resize(width=20).store(filename="small.jpg"),
    "Filelink.tags": lambda: link().tags(security=ALWAYS),
    "Filelink.sfw": lambda: link().sfw(security=ALWAYS),
    "Filelink.ocr": lambda: link(FILES["text"]).ocr(security=ALWAYS),
    "Filelink.tags without security": lambda: link(security=None).tags(),
    "Filelink.av_convert": converted,
    "AudioVisual.status": lambda: audio_visual(preset="webm", fps=5).status,
    "AudioVisual.to_filelink": linked,
    "AudioVisual.to_filelink of what failed": lambda: audio_visual(FILES["css"], preset="mp3").to_filelink(),
    "Filelink.overwrite with a path": lambda: overwritten(A, filepath=str(WORK / "new.txt")),
    "Filelink.overwrite with a file": lambda: overwritten(B, file_obj=io.BytesIO(b"newer content")),
    "Filelink.overwrite with Base64": lambda: overwritten(
        C, file_obj=io.BytesIO(base64.b64encode(b"newest content")), base64decode=True
    ),
    "Filelink.overwrite with a URL": lambda: overwritten(D, url=order["outside"]),
    "Filelink.overwrite with nothing": lambda: overwritten(D),
    "Filelink.delete": lambda: filestack.Filelink(E, apikey=KEY, security=ALWAYS).delete(),
    "Filelink.delete again": lambda: filestack.Filelink(E, apikey=KEY, security=ALWAYS).delete(),
    "Filelink.delete without security": lambda: filestack.Filelink(A, apikey=KEY).delete(),
    "Client.zip": zipped,
    "Client.upload_url": lambda: client().upload_url(order["outside"], {"filename": "stored.jpg", "path": "from/outside/"}),
    "Client.upload_url with a workflow": lambda: client().upload_url(order["outside"], {"workflows": [order["workflow"]]}),
    "Client.upload_url of what is not there": lambda: client().upload_url(order["missing"]),
    "Client.upload": lambda: client().upload(filepath=PHOTO),
    "Client.upload of a file object": lambda: client().upload(file_obj=io.BytesIO(Path(PHOTO).read_bytes())),
    "Client.upload of a named file object": lambda: client().upload(
        file_obj=io.BytesIO(Path(PHOTO).read_bytes()), store_params={"filename": "given.jpg", "mimetype": "image/jpeg"}
    ),
    "Client.upload of a large file": lambda: client().upload(filepath=BIG),
    "Client.upload, intelligently": lambda: client().upload(filepath=BIG, intelligent=True),
    "Client.upload, intelligently, after a failed chunk": uploaded_in_spite_of_a_failure,
    "Client.upload with parameters": lambda: client().upload(
        filepath=PHOTO,
        store_params={
            "filename": "a.jpg", "path": "some/folder/", "location": "S3", "access": "private",
            "upload_tags": {"colour": "grey", "place": "none"}, "workflows": [order["workflow"]],
        },
    ),
    "Client.upload, intelligently, with parameters": lambda: client().upload(
        filepath=PHOTO, intelligent=True, store_params={"filename": "b.jpg", "upload_tags": {"colour": "grey"}}
    ),
    "Client.upload with a policy of its own": lambda: client(None).upload(filepath=PHOTO, security=ALWAYS),
    "Client.upload of an empty file": lambda: client().upload(filepath=str(WORK / "empty.bin")),
    "Client.upload of more tags than there may be": lambda: client().upload(
        filepath=PHOTO, store_params={"upload_tags": {str(number): "x" for number in range(11)}}
    ),
    "Security.as_url_string": lambda: {
        "text": ALWAYS.as_url_string(), "policy": ALWAYS.policy_b64, "signature": ALWAYS.signature, "given": ALWAYS.policy,
    },
    "verify_webhook_signature": lambda: hooked(order["hook"]["body"]),
    "verify_webhook_signature of another body": lambda: hooked(order["hook"]["body"] + " ")[0],
    "verify_webhook_signature with another time": lambda: hooked(order["hook"]["body"], **{"FS-TIMESTAMP": "1"})[0],
}  # fmt: skip


def refusals(name: str, security: Any) -> Iterator[tuple[str, Case]]:
    """The same calls with a credential that does not carry them; what the SDK makes of the refusal."""
    yield f"{name}: Filelink.get_content", lambda: link(security=security).get_content()
    yield f"{name}: Filelink.download", lambda: downloaded(link(security=security))
    yield f"{name}: Filelink.metadata", lambda: link(security=security).metadata()
    yield f"{name}: Transformation.get_content", lambda: link(security=security).resize(width=10).get_content()
    yield f"{name}: Client.zip", lambda: client(security).zip(str(WORK / "refused"), [FILES["photo"]])
    yield f"{name}: Client.upload_url", lambda: client(security).upload_url(order["outside"])
    yield f"{name}: Client.upload", lambda: client(security).upload(filepath=PHOTO)
    yield f"{name}: Client.upload, intelligently", lambda: client(security).upload(filepath=PHOTO, intelligent=True)
    yield (
        f"{name}: Client.transform_external",
        lambda: client(security).transform_external(order["outside"]).flip().get_content(),
    )
    if security is not None:  # the client itself refuses these without one
        yield f"{name}: Filelink.overwrite", lambda: link(A, security=security).overwrite(filepath=PHOTO)
        yield f"{name}: Filelink.delete", lambda: link(A, security=security).delete()
        yield f"{name}: Filelink.sfw", lambda: link(security=security).sfw()


def public() -> dict[str, str]:
    """Every public method and property of the client's classes, and the name under which the interpreter runs it."""
    found = {"verify_webhook_signature": "verify_webhook_signature"}
    for thing in (filestack.Client, filestack.Filelink, filestack.Transformation, filestack.AudioVisual, filestack.Security):
        for name in dir(thing):
            member = inspect.getattr_static(thing, name)
            code = member.fget if isinstance(member, property) else member
            if not name.startswith("_") and callable(code):
                found[f"{thing.__name__}.{name}"] = code.__qualname__
    return found


run(dict(links()) | CASES)
for title, policy in order["refused"].items():
    run(dict(refusals(title, held(policy))))
say({"ran": sorted(ran), "has": public(), "hosts": sorted(sdk_loopback.asked)})
