"""Drives the official Python client against a server: an order in JSON on standard input, what came of it on the output."""

from __future__ import annotations

import base64
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import filestack

order = json.load(sys.stdin)
base, key, handle = order["base"], order["key"], order["handle"]
security = filestack.Security(order["policy"], order["secret"])
configuration: Any = type(filestack.config)
configuration.CDN_URL, configuration.API_URL = base, f"{base}/api"


def link(**more: Any) -> Any:
    return filestack.Filelink(handle, apikey=key, **more)


def content(thing: Any) -> str:
    return base64.b64encode(thing.get_content(security=security)).decode()


secured = link(security=security)
client = filestack.Client(key, security=security)
said: dict[str, Any] = {"contents": {}, "urls": {}}
chains = {
    "resize": secured.resize(width=100, height=50, fit="crop", align="faces"),
    "align": secured.resize(width=100, height=50, fit="crop", align=["top", "left"]),
    "crop": secured.crop(dim=[10, 20, 60, 40]),
    "chain": secured.resize(width=300).rotate(deg=90).flip().flop(),
    "exif": secured.rotate(deg="exif"),
    "watermark": secured.watermark(file=order["mark"], size=20, position=["top", "right"]),
    "corners": secured.round_corners(radius=10, blur=1.5, background="FFFFFF"),
    "vignette": secured.vignette(amount=30, blurmode="linear"),
    "polaroid": secured.polaroid(color="red", rotate=10, background="CCCCCC"),
    "torn": secured.torn_edges(spread=[5, 10], background="white"),
    "shadow": secured.shadow(blur=5, opacity=30, vector=[5, 5], color="black"),
    "partial": secured.partial_blur(amount=5, objects=[[0, 0, 20, 20], [30, 30, 10, 10]]),
    "pixels": secured.partial_pixelate(amount=5, blur=2, type="oval", objects=[[0, 0, 20, 20]]),
    "collage": secured.collage(files=[order["mark"], handle], width=200, height=100, margin=2, color="blue", autorotate=True),
    "enhance": secured.enhance(preset="vivid"),
    "upscale": secured.resize(width=40).upscale(upscale=True, noise="low", style="photo"),
    "modulate": secured.modulate(brightness=120, hue=20, saturation=90),
    "convert": secured.filetype_conversion(format="png", background="white", strip=True, quality=80, colorspace="rgb"),
    "quality": secured.quality(value=30),
    "plain": secured.no_metadata(),
    "auto": secured.auto_image(),
    "ascii": secured.ascii(background="white", foreground="red", colored=True, size=20),
    "fallback": secured.fallback(file=order["mark"], cache=10).resize(width=100),
    "smart": secured.smart_crop(mode="auto", width=50, height=50),
    "outside": client.transform_external(order["outside"]).resize(width=9),
    "zipped": secured.zip(),
}
for name, chain in chains.items():
    said["urls"][name] = chain.signed_url()
    said["contents"][name] = content(chain)
said["contents"]["itself"] = content(secured)
said["metadata"] = secured.metadata(["size", "filename", "md5"])
said["usual"] = secured.metadata()
said["pdf_info"] = json.loads(filestack.Filelink(order["pdf"]).pdf_info(colorinfo=True).get_content(security=security))
said["sfw"] = secured.sfw()
try:
    link().metadata()
except Exception as error:
    said["refused"] = f"{type(error).__name__}: {error}"

with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "file"
    said["downloaded"] = secured.download(str(file))
    said["zip size"] = client.zip(str(file), [handle, order["mark"]])
    said["zip"] = base64.b64encode(file.read_bytes()).decode()
    file.write_bytes(b"new content")
    filestack.Filelink(order["victim"], apikey=key, security=security).overwrite(filepath=str(file))
    said["overwritten"] = content(filestack.Filelink(order["victim"]))
    filestack.Filelink(order["victim"], security=security).overwrite(file_obj=io.BytesIO(b"newer"), base64decode=False)
    said["again"] = content(filestack.Filelink(order["victim"]))
filestack.Filelink(order["victim"], apikey=key, security=security).delete()

# `store` of this client shows neither key nor policy, ever: it works for open applications.
stored = filestack.Filelink(order["open"]).resize(width=20).store(filename="small.jpg", path="some/folder/", access="public")
said["stored"] = stored.handle
json.dump(said, sys.stdout)
