"""The conversion API of before, `/api/file/HANDLE/convert?…`, over real sockets: parameters, their fixed order, refusals."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from live import Reply, Server, picture
from PIL import Image

from secure_delivery.engine.records import FileLink
from secure_delivery.gate.model import Application

PICTURE = picture(400, 200)


@pytest.fixture(scope="module")
def application(server: Server) -> Application:
    return server.application()


@pytest.fixture(scope="module")
def link(server: Server, application: Application) -> FileLink:
    return server.put(application, PICTURE, "a.jpg")


@pytest.fixture(scope="module")
def mark(server: Server, application: Application) -> FileLink:
    out = io.BytesIO()
    Image.new("RGB", (50, 50), (0, 0, 255)).save(out, "PNG")
    return server.put(application, out.getvalue(), "mark.png")


def sign(application: Application, *call: str, **limits: Any) -> Any:
    return application.sign(expires_in=60, now=time.time(), call=list(call) or None, **limits)


def opened(reply: Reply) -> Image.Image:
    assert reply.status == 200, reply.body
    image = Image.open(io.BytesIO(reply.body))
    image.load()
    return image


@pytest.mark.parametrize(
    ("old", "chain"),
    [
        ("w=100", "resize=width:100"),
        ("h=50", "resize=height:50"),
        ("w=100&h=100&fit=crop&align=left", "resize=width:100,height:100,fit:crop,align:left"),
        ("w=100&h=100&fit=scale", "resize=width:100,height:100,fit:scale"),
        ("crop=10,20,60,40", "crop=dim:[10,20,60,40]"),
        ("crop=[10,20,60,40]", "crop=dim:[10,20,60,40]"),
        ("crop=%5B10,%2020,%2060,%2040%5D", "crop=dim:[10,20,60,40]"),
        ("w=200&crop=0,0,100,50", "resize=width:200/crop=dim:[0,0,100,50]"),
        ("crop=0,0,100,50&w=200", "resize=width:200/crop=dim:[0,0,100,50]"),
        ("crop=0,0,100,50&w=200&crop_first=true", "crop=dim:[0,0,100,50]/resize=width:200"),
        ("crop=0,0,100,50&w=200&crop_first=false", "resize=width:200/crop=dim:[0,0,100,50]"),
        ("filter=blur", "blur"),
        ("filter=blur&blurAmount=5", "blur=amount:5"),
        ("filter=sharpen&sharpenAmount=5", "sharpen=amount:5"),
        ("rotate=90", "rotate=deg:90"),
        ("rotate=0", "rotate=deg:0"),
        ("rotate=exif", "rotate=deg:exif"),
        ("quality=30", "quality=value:30"),
        ("format=png", "output=format:png"),
        (
            "format=png&quality=30&rotate=90&w=100&filter=blur",
            "resize=width:100/blur/rotate=deg:90/quality=value:30/output=format:png",
        ),
        ("watermark={mark}", "watermark=file:{mark}"),
        ("watermark={mark}&watermark_size=30&watermark_position=top", "watermark=file:{mark},size:30,position:top"),
        ("watermark={mark}&watermark_position=top,left", "watermark=file:{mark},position:[top,left]"),
        ("watermark={mark}&watermark_position=[top,left]&w=99", "resize=width:99/watermark=file:{mark},position:[top,left]"),
    ],
)
def test_the_old_parameters_are_the_new_tasks_in_their_fixed_order(
    server: Server, link: FileLink, mark: FileLink, old: str, chain: str
) -> None:
    query = old.format(mark=mark.handle)
    reply = server.get(f"/api/file/{link.handle}/convert?{query}")
    assert reply.status == 200, reply.body
    same = server.get(f"/{chain.format(mark=mark.handle)}/{link.handle}")
    assert (reply.body, reply.headers["content-type"]) == (same.body, same.headers["content-type"])


def test_a_conversion_does_what_it_says(server: Server, link: FileLink, mark: FileLink) -> None:
    assert opened(server.get(f"/api/file/{link.handle}/convert?w=100&rotate=90")).size == (50, 100)
    assert opened(server.get(f"/api/file/{link.handle}/convert?w=100&crop=0,0,100,50&crop_first=true")).size == (100, 50)
    assert opened(server.get(f"/api/file/{link.handle}/convert?format=webp")).format == "WEBP"
    place = "watermark_size=20&watermark_position=[bottom,right]"
    image = opened(server.get(f"/api/file/{link.handle}/convert?watermark={mark.handle}&{place}&format=png"))
    red, green, blue = image.convert("RGB").getpixel((395, 195))
    assert blue > 200 and red < 80 and green < 80


def test_it_is_sent_like_any_result(server: Server, link: FileLink) -> None:
    target = f"/api/file/{link.handle}/convert?w=100"
    whole = server.get(target)
    assert whole.headers["content-disposition"] == 'inline; filename="a.jpg"'
    head = server.request("HEAD", target)
    assert (head.status, head.headers["content-length"], head.body) == (200, str(len(whole.body)), b"")
    assert server.get(target, {"Range": "bytes=0-3"}).body == whole.body[:4]
    assert server.get(target, {"If-None-Match": whole.headers["etag"]}).status == 304
    assert server.get(f"{target}&dl=true").headers["content-disposition"].startswith("attachment")
    assert server.get(f"/api/file/{link.handle}+jpg/convert?w=100").body == whole.body


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", ("option",)),
        ("width=100", ("width",)),
        ("w=0", ("resize", "width")),
        ("w=x", ("resize", "width")),
        ("w=", ("option",)),
        ("w=100&fit=fill", ("fit", "clip")),
        ("crop=1,2,3", ("crop", "dim")),
        ("crop=a", ("crop", "four")),
        ("crop=1,,2,3", ("crop",)),
        ("crop=" + "1," * 100, ("crop",)),
        ("filter=oil", ("filter", "blur", "sharpen")),
        ("filter=blur&blurAmount=99", ("blur", "amount")),
        ("rotate=360", ("rotate", "deg")),
        ("quality=0", ("quality",)),
        ("format=exe", ("format", "png")),
        ("watermark=short", ("watermark",)),
        ("w=1&w=2", ("twice",)),
        ("w=%FF", ("UTF-8",)),
    ],
)
def test_what_is_no_conversion_is_a_400_that_says_why(
    server: Server, link: FileLink, query: str, words: tuple[str, ...]
) -> None:
    reply = server.get(f"/api/file/{link.handle}/convert?{query}")
    assert reply.status == 400, reply.body
    said = reply.json()["error"]["message"]
    assert [word for word in words if word not in said] == [], said


def test_files_and_applications_that_are_not_there_are_told(server: Server, link: FileLink) -> None:
    assert server.get(f"/api/file/{'Z' * 20}/convert?w=9").code == "not_found"
    assert server.get("/api/file/short/convert?w=9").status == 400
    assert server.get(f"/api/file/{link.handle}/convert?w=9&key=Anobodyhasthiskey1234z").code == "unknown_application"


def test_a_secured_application_wants_convert_by_query_or_secret(every_server: Server) -> None:
    application = every_server.application(require_policy=True)
    link = every_server.put(application, PICTURE, "a.jpg")
    target = f"/api/file/{link.handle}/convert?w=100"
    assert every_server.get(target).code == "policy_required"
    assert every_server.get(f"{target}&{sign(application, 'read').as_query()}").code == "not_permitted"
    reply = every_server.get(f"{target}&{sign(application, 'convert', handle=link.handle).as_query()}")
    assert opened(reply).size == (100, 50)
    assert reply.headers["cache-control"].startswith("private")


def test_the_result_is_stored_by_post_with_a_key(server: Server, application: Application, link: FileLink) -> None:
    target = f"/api/file/{link.handle}/convert?w=100&filename=b.jpg&path=/p/&container=box&access=private&location=S3"
    assert server.post(target).status == 405
    said = server.post(f"{target}&key={application.api_key}").json()
    assert (said["filename"], said["container"], said["type"]) == ("b.jpg", "box", "image/jpeg")
    assert opened(server.get(f"/{said['handle']}")).size == (100, 50)
    copy = server.post(f"/api/file/{link.handle}/convert?key={application.api_key}").json()
    assert server.get(f"/{copy['handle']}").body == PICTURE


def test_storing_by_the_old_api_needs_convert_store_and_pick(server: Server) -> None:
    application = server.application(require_policy=True)
    link = server.put(application, PICTURE, "a.jpg")
    target = f"/api/file/{link.handle}/convert?w=100&key={application.api_key}"
    assert server.post(target).code == "policy_required"
    for call, status in ((("convert",), 403), (("convert", "store"), 403), (("convert", "store", "pick"), 200)):
        assert server.post(f"{target}&{sign(application, *call).as_query()}").status == status, call
    elsewhere = sign(application, "convert", "store", "pick", path="/mine/.*").as_query()
    assert server.post(f"{target}&path=/yours/&{elsewhere}").status == 403
    assert server.post(f"{target}&path=/mine/&{elsewhere}").status == 200


def test_names_in_a_get_that_only_a_post_uses_change_nothing(server: Server, application: Application, link: FileLink) -> None:
    files = server.engine.records.count_files(application.api_key)
    assert server.get(f"/api/file/{link.handle}/convert?w=100&filename=b.jpg&path=/p/").status == 200
    assert server.engine.records.count_files(application.api_key) == files
