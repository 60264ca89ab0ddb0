"""Drives the official Python client of FilePreviews, as its users do: an order in JSON on standard input, one line of JSON per
case on the output, and at the end what the client has and which of its functions ran.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

ran: set[str] = set()


def _profile(frame: FrameType, event: str, _: Any) -> None:
    if event == "call" and f"{os.sep}filepreviews{os.sep}" in frame.f_code.co_filename:
        ran.add(frame.f_code.co_qualname)


import filepreviews  # noqa: E402
from filepreviews import FilePreviews  # noqa: E402
from filepreviews.__main__ import cli  # noqa: E402
from filepreviews.models import PreviewResult  # noqa: E402

sys.setprofile(_profile)

order = json.load(sys.stdin)
PHOTO = order["photo"]
Case = Callable[[], Any]


def say(line: object) -> None:
    sys.stdout.write(f"\n\x1e{json.dumps(line)}\n")


def told(result: Any) -> dict[str, Any]:
    """A result as its users see it: as a dict, by attributes, as a text."""
    found = {"kind": type(result).__name__, "dict": dict(result), "text": str(result), "repr": repr(result)}
    found["attributes"] = {name: getattr(result, name) for name in result}
    if result.preview is not None:
        found["preview_url"] = result.preview_url
    return found


def followed(client: FilePreviews, url: str, **options: Any) -> dict[str, Any]:
    """What `generate` gave, and what `retrieve` gave in the end."""
    made = client.generate(url, **options)
    ends = time.monotonic() + order["seconds"]
    while (found := client.retrieve(made.id)).status in ("pending", "started") and time.monotonic() < ends:
        time.sleep(0.05)
    return {"made": told(made), "ended": told(found)}


def crowded() -> Any:
    """Requests of an application that may have one job waiting, until one is refused."""
    client = FilePreviews(order["small"]["key"], order["small"]["secret"], api_url=order["api_url"])
    for _ in range(6):
        client.generate(order["slow"])
    return "nothing was refused"


def run(cases: Mapping[str, Case]) -> None:
    for name, work in cases.items():
        try:
            say({"case": name, "ok": True, "value": work()})
        except Exception as error:
            known = {each: getattr(error, each, None) for each in ("param", "http_status", "json_body", "http_body")}
            mine = isinstance(error, filepreviews.FilePreviewsError)
            say(
                {
                    "case": name,
                    "ok": False,
                    "error": {"name": type(error).__name__, "message": str(error), "ours": mine} | known,
                }
            )


client = FilePreviews(api_key=order["key"], api_secret=order["secret"], api_url=order["api_url"], debug=True)
stranger = FilePreviews(order["key"], "not the secret", api_url=order["api_url"])
hooked = {"callback_url": order["hook"], "data": {"from": "python"}, "metadata": ["checksum"]}
stored = {"destination": "previews/17", "headers": {"Cache-Control": "max-age=60", "x-amz-acl": "private"}}
run(
    {
        "generate": lambda: followed(client, PHOTO),
        "generate size": lambda: followed(client, PHOTO, size={"width": 250, "height": 200}),
        "generate width": lambda: followed(client, PHOTO, size={"width": 120}),
        "generate height": lambda: followed(client, PHOTO, size={"height": 90}),
        "generate no side": lambda: followed(client, PHOTO, size={"width": None}),
        "generate sizes": lambda: followed(client, PHOTO, sizes=["40x30", "5000>", "original"]),
        "generate metadata": lambda: followed(client, PHOTO, metadata=["checksum", "exif", "checksum", "sketch"]),
        "generate format": lambda: followed(client, PHOTO, format="jpg"),
        "generate pages": lambda: followed(client, order["paper"], pages="1-2", size={"width": 60}),
        "generate data": lambda: followed(client, PHOTO, data={"order": 17, "tags": ["ä"]}),
        "generate uploader": lambda: followed(client, PHOTO, uploader=stored),
        "generate callback_url": lambda: followed(client, PHOTO, **hooked),
        "generate failing": lambda: followed(client, order["missing"]),
        "built-in host": lambda: followed(FilePreviews(order["key"], order["secret"]), PHOTO, size={"width": 40}),
        "built-in host alone": lambda: FilePreviews(order["key"], "wrong").retrieve("123"),
        "preview_url of a pending one": lambda: client.generate(PHOTO).preview_url,
        "wrong secret": lambda: stranger.generate(PHOTO),
        "wrong secret, retrieve": lambda: stranger.retrieve("123"),
        "blank url": lambda: client.generate(""),
        "no web address": lambda: client.generate("ftp://example.org/a.pdf"),
        "unknown id": lambda: client.retrieve("123"),
        "unknown uuid": lambda: client.retrieve("1b4e28ba-2fa1-41d2-883f-0016d3cca427"),
        "wrong size": lambda: client.generate(PHOTO, size={"width": "wide"}),
        "too many": crowded,
    }
)


def public(thing: type) -> list[str]:
    return [name for name in vars(thing) if not name.startswith("_")]


errors = [name for name, thing in vars(filepreviews).items() if inspect.isclass(thing) and issubclass(thing, Exception)]
say(
    {
        "ran": sorted(ran),
        "has": {
            "FilePreviews": public(FilePreviews),
            "PreviewResult": public(PreviewResult),
            "errors": errors,
            "commands": sorted(cli.commands),
        },
        "version": filepreviews.VERSION,
    }
)
