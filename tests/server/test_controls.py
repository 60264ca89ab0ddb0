"""Control tasks over real sockets: store, cache, fallback, debug and metadata, and how chains are refused, queued and sent."""

from __future__ import annotations

import hashlib
import io
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from live import Reply, Server, picture, running
from outside import Outside, ok
from PIL import Image

from secure_delivery.engine.records import FileLink
from secure_delivery.gate.model import Application
from secure_delivery.gate.whitelist import Whitelist

PICTURE = picture(40, 20)


def _pdf() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (60, 80), "white").save(out, "PDF")
    return out.getvalue()


PDF = _pdf()
PAGE = b"<!doctype html><title>x</title><script>alert(1)</script><p>words</p>"


def sign(application: Application, *call: str, lasting: int = 60, **limits: Any) -> Any:
    return application.sign(expires_in=lasting, now=time.time(), call=list(call) or None, **limits)


def size_of(body: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(body)) as image:
        image.load()
        return image.size


def message(reply: Reply) -> str:
    return str(reply.json()["error"]["message"])


@pytest.fixture(scope="module")
def web() -> Iterator[Outside]:
    with Outside({"/a.jpg": ok(PICTURE), "/big.jpg": ok(PICTURE + bytes(100_000)), "/words": ok(b"words")}) as outside:
        yield outside


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, web: Outside) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("controls"), settings={"fetch_allow": web.at}) as server:
        yield server


@pytest.fixture
def secured(place: Server) -> Application:
    return place.application(require_policy=True)


@pytest.fixture
def opened(place: Server) -> Application:
    return place.application()


@pytest.fixture
def link(place: Server, opened: Application) -> FileLink:
    return place.put(opened, PICTURE, "a.jpg")


# ---------------------------------------------------------------------------------------------------------------- store


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_stored_result_is_a_new_file_of_its_own_and_is_told_in_the_documented_json(every_server: Server, method: str) -> None:
    application = every_server.application()
    link = every_server.put(application, PICTURE, "a.jpg")
    reply = every_server.request(method, f"/resize=width:10/store/{link.handle}", body=b"" if method == "POST" else None)
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["cache-control"] == "no-store"
    said = reply.json()
    assert said.keys() - {"width", "height"} == {
        "url", "handle", "filename", "size", "type", "container", "key", "notice"
    }  # fmt: skip
    assert said["handle"] != link.handle and said["url"] == f"{every_server.url}/{said['handle']}"
    assert (said["filename"], said["type"]) == ("a.jpg", "image/jpeg")
    assert (said.get("width", 10), said.get("height", 5)) == (10, 5)
    copy = every_server.get(f"/{said['handle']}")
    assert size_of(copy.body) == (10, 5) and len(copy.body) == said["size"]
    assert every_server.request("DELETE", f"/api/file/{link.handle}?{sign(application).as_query()}").status == 200
    assert every_server.get(f"/{said['handle']}").status == 200, "it does not go with its source"


def test_a_result_is_stored_under_the_name_path_container_and_type_that_the_url_says(
    place: Server, opened: Application, link: FileLink
) -> None:
    place_of = 'store=filename:"b c.png",path:"/some/where/",container:bucket,access:private,location:S3'
    said = place.get(f"/output=format:png/{place_of.replace(' ', '%20')}/{link.handle}").json()
    assert (said["filename"], said["container"], said["type"]) == ("b c.png", "bucket", "image/png")
    assert place.get(f"/{said['handle']}").headers["content-disposition"] == 'inline; filename="b c.png"'
    short = place.get(f"/flip/store=f:x.jpg,p:%22/p/%22,c:other,a:public,l:s3/{link.handle}").json()
    assert (short["filename"], short["container"]) == ("x.jpg", "other")
    lied = place.get(f"/store=mimetype:%22text/csv%22/{link.handle}").json()
    assert lied["type"] == "image/jpeg", "the bytes say what it is"


def test_storing_twice_gives_two_files(place: Server, link: FileLink) -> None:
    first, second = (place.get(f"/resize=width:10/store/{link.handle}").json() for _ in range(2))
    assert first["handle"] != second["handle"]


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (("convert", "store", "pick"), ""),
        (("convert", "store"), "not_permitted"),
        (("convert", "pick"), "not_permitted"),
        (("store", "pick"), "not_permitted"),
        (("read",), "not_permitted"),
        ((), ""),
    ],
)
def test_storing_a_result_needs_convert_store_and_pick(
    place: Server, secured: Application, call: tuple[str, ...], code: str
) -> None:
    link = place.put(secured, PICTURE, "a.jpg")
    stored = place.engine.records.count_files(secured.api_key)
    reply = place.post(f"/resize=width:10/store/{sign(secured, *call).as_task()}/{link.handle}")
    assert (reply.status, reply.code) == (403, code) if code else reply.status == 200
    assert place.engine.records.count_files(secured.api_key) == stored + (not code)
    assert place.get(f"/resize=width:10/store/{link.handle}").code == "policy_required"


def test_taking_in_a_file_from_elsewhere_as_it_is_needs_pick_alone(place: Server, web: Outside, secured: Application) -> None:
    for call, status in (("pick", 200), ("convert", 403), ("store", 403)):
        reply = place.post(f"/{secured.api_key}/store/{sign(secured, call).as_task()}/{web.url('/a.jpg')}")
        assert reply.status == status, (call, reply.body)
    said = place.post(f"/{secured.api_key}/store/{sign(secured, 'pick').as_task()}/{web.url('/a.jpg')}").json()
    read = sign(secured, "read").as_query()
    assert place.get(f"/{said['handle']}?{read}").body == PICTURE


def test_the_limits_of_a_policy_hold_for_what_is_stored(place: Server, web: Outside, secured: Application) -> None:
    link = place.put(secured, PICTURE, "a.jpg")
    stored = place.engine.records.count_files(secured.api_key)

    def store(options: str = "", **limits: Any) -> Reply:
        task = sign(secured, "convert", "store", "pick", **limits).as_task()
        return place.get(f"/resize=width:10/store{options}/{task}/{link.handle}")

    for limits, status in (
        ({"max_size": 100}, 413),
        ({"min_size": 100_000}, 403),
        ({"container": "other"}, 403),
        ({"path": "/other/.*"}, 403),
    ):
        assert store("=container:mine,path:%22/p/a.jpg%22", **limits).status == status, limits
    assert store(path="/p/.*").status == 403, "without a path it goes to the root"
    assert store(container="mine").status == 403, "without a container it goes to the server's own"
    assert place.engine.records.count_files(secured.api_key) == stored
    for limits in ({"max_size": 50_000}, {"min_size": 100}, {"container": "mine"}, {"path": "/p/.*"}, {"handle": link.handle}):
        assert store("=container:mine,path:%22/p/a.jpg%22", **limits).status == 200, limits
    picked = sign(secured, "pick", max_size=5000).as_task()
    assert place.get(f"/{secured.api_key}/store/{picked}/{web.url('/big.jpg')}").status == 413


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ("location:gcs", 400),
        ("base64decode:true", 400),
        ("access:nobody", 400),
        ("path:%22a/../b%22", 400),
        ("path:%22a//b%22", 400),
        ("colour:red", 400),
        ("filename:a,f:b", 400),
    ],
)
def test_a_place_that_cannot_be_is_refused_before_anything_is_made(
    place: Server, opened: Application, link: FileLink, options: str, status: int
) -> None:
    reply = place.get(f"/resize=width:10/store={options}/{link.handle}")
    assert reply.status == status and message(reply), reply.body
    assert place.engine.renditions.of(opened.api_key, link.handle) == []
    assert place.engine.records.count_files(opened.api_key) == 1


def test_what_stores_nothing_takes_no_post(place: Server, link: FileLink) -> None:
    chains = ("", "resize=width:10/", "metadata/", "debug/resize=width:10/")
    for target in (f"/{chain}{link.handle}" for chain in chains):
        reply = place.post(target)
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


# ---------------------------------------------------------------------------------------------------------------- cache


@pytest.mark.parametrize(
    ("task", "value"),
    [
        ("cache=expiry:60", "public, max-age=60"),
        ("cache=e:60", "public, max-age=60"),
        ("cache=expiry:max", "public, max-age=31536000"),
        ("cache=expiry:31536000", "public, max-age=31536000"),
        ("cache=false", "no-store"),
        ("cache=f", "no-store"),
        ("cache=false:true", "no-store"),
        ("flip", "public, max-age=3600"),
    ],
)
def test_an_open_answer_is_cached_as_the_url_says(place: Server, link: FileLink, task: str, value: str) -> None:
    for chain in (f"{task}/resize=width:10", f"resize=width:10/{task}"):
        for _ in range(2):
            assert place.get(f"/{chain}/{link.handle}").headers["cache-control"] == value


@pytest.mark.parametrize(
    "task", ["cache", "cache=", "cache=expiry:0", "cache=expiry:31536001", "cache=expiry:soon", "cache=x:1"]
)
def test_an_expiry_that_is_none_is_told(place: Server, link: FileLink, task: str) -> None:
    reply = place.get(f"/{task}/{link.handle}")
    assert (reply.status, reply.code) == (400, "bad_task") and "cache" in message(reply)


def test_a_signed_answer_never_outlives_its_policy_and_is_private(place: Server, secured: Application) -> None:
    link = place.put(secured, PICTURE, "a.jpg")
    for expiry, least, most in (("max", 50, 100), ("20", 20, 20)):
        for _ in range(2):
            task = sign(secured, "convert", lasting=100).as_task()
            value = place.get(f"/{task}/cache=expiry:{expiry}/resize=width:10/{link.handle}").headers["cache-control"]
            found = re.fullmatch(r"private, max-age=(\d+)", value)
            assert found and least <= int(found[1]) <= most, value
    task = sign(secured, "convert").as_task()
    assert place.get(f"/{task}/cache=false/resize=width:10/{link.handle}").headers["cache-control"] == "no-store"
    place.engine.records.update_application(secured.api_key, public_cache=True)
    value = place.get(f"/{sign(secured, 'convert').as_task()}/cache=expiry:max/flip/{link.handle}").headers["cache-control"]
    assert value.startswith("public, max-age=") and int(value.rpartition("=")[2]) <= 60


def test_cache_false_makes_the_result_anew_every_time(place: Server, opened: Application, link: FileLink) -> None:
    place.get(f"/resize=width:10/{link.handle}")
    (first,) = place.engine.renditions.of(opened.api_key, link.handle)
    body = place.get(f"/cache=false/resize=width:10/{link.handle}").body
    (second,) = place.engine.renditions.of(opened.api_key, link.handle)
    assert second.bytes_name != first.bytes_name or second.created > first.created
    assert size_of(body) == (10, 5)


# ------------------------------------------------------------------------------------------------------------- fallback


@pytest.fixture
def spare(place: Server, opened: Application) -> FileLink:
    return place.put(opened, b"instead", "instead.txt")


@pytest.mark.parametrize("option", ["handle", "file", "h", "f"])
def test_a_fallback_is_served_when_the_source_is_missing_or_a_task_fails(
    place: Server, web: Outside, opened: Application, link: FileLink, spare: FileLink, option: str
) -> None:
    words = place.put(opened, b"words", "words.txt")
    task, key = f"fallback={option}:{spare.handle}", opened.api_key
    for target in (
        f"/{task}/resize=width:10/{'Z' * 20}",
        f"/{key}/{task}/resize=width:10/{'Z' * 20}",
        f"/{task}/resize=width:10/{words.handle}",
        f"/resize=width:10/{task}/{words.handle}",
        f"/{task}/watermark=file:{'Z' * 20}/{link.handle}",
        f"/{key}/{task}/resize=width:10/{web.url('/nowhere')}",
        f"/{key}/{task}/resize=width:10/{web.url('/words')}",
        f"/{key}/{task}/resize=width:10/http://10.0.0.1/a.jpg",
        f"/{key}/{task}/resize=width:10/wf://abc",
        f"/{key}/{task}/zip/[{link.handle},{'Z' * 20}]",
        f"/{task}/{'Z' * 20}",
    ):
        reply = place.get(target)
        assert (reply.status, reply.body) == (200, b"instead"), (target, reply.body)
        assert reply.headers["content-disposition"] == 'inline; filename="instead.txt"'
    assert size_of(place.get(f"/{task}/resize=width:10/{link.handle}").body) == (10, 5), "not when all is well"


def test_a_fallback_may_be_cached_for_as_long_as_it_says(place: Server, spare: FileLink) -> None:
    missing = "Z" * 20
    for options, value in (
        (",cache:30", "public, max-age=30"),
        (",cache:max", "public, max-age=31536000"),
        ("", "public, max-age=3600"),
    ):
        reply = place.get(f"/fallback=handle:{spare.handle}{options}/resize=width:10/{missing}")
        assert reply.headers["cache-control"] == value
    head = place.request("HEAD", f"/fallback=handle:{spare.handle}/resize=width:10/{missing}")
    assert (head.status, head.headers["content-length"], head.body) == (200, "7", b"")


def test_a_fallback_stands_in_for_no_refusal_and_no_bad_request(place: Server, secured: Application, spare: FileLink) -> None:
    link, own = place.put(secured, PICTURE, "a.jpg"), place.put(secured, b"mine", "mine.txt")
    for target, code in (
        (f"/fallback=handle:{spare.handle}/resize=width:10/{link.handle}", "policy_required"),
        (f"/fallback=handle:{spare.handle}/resize=width:10/{sign(secured, 'read').as_task()}/{link.handle}", "not_permitted"),
        (f"/{secured.api_key}/fallback=handle:{spare.handle}/resize=width:10/{'Z' * 20}", "policy_required"),
        (f"/{secured.api_key}/fallback=handle:{own.handle}/resize=width:10/{'Z' * 20}", "policy_required"),
        (f"/fallback=handle:{own.handle}/resize=width:10/{'Z' * 20}", "policy_required"),
        (f"/fallback=handle:{spare.handle}/resize=width:0/{'Z' * 20}", "bad_task"),
        (f"/fallback=handle:{spare.handle}/resise=width:9/{'Z' * 20}", "bad_task"),
        (f"/fallback=handle:{spare.handle}/resize=width:9/short", "bad_task"),
        ("/fallback/resize=width:9/" + "Z" * 20, "bad_task"),
        (f"/fallback=handle:short/resize=width:9/{'Z' * 20}", "bad_task"),
        (f"/fallback=handle:%22http://127.0.0.1/a%22/resize=width:9/{link.handle}", "bad_task"),
        (f"/fallback=handle:{'Y' * 20}/resize=width:9/{'Z' * 20}", "not_found"),
    ):
        assert place.get(target).code == code, target
    task = sign(secured, "convert").as_task()
    for source in ("Z" * 20, own.handle):
        reply = place.get(f"/{secured.api_key}/{task}/fallback=handle:{own.handle}/resize=width:9/{source}")
        assert (reply.status, reply.body) == (200, b"mine")
        assert reply.headers["cache-control"].startswith("private")


def test_a_fallback_of_another_application_is_read_by_its_rules(
    place: Server, opened: Application, secured: Application
) -> None:
    theirs, words = place.put(secured, b"theirs", "t.txt"), place.put(opened, b"words", "w.txt")
    for source in (words.handle, "Z" * 20):
        at = f"{place.url}/{theirs.handle}"
        target = f"/{opened.api_key}/fallback=file:%22INNER%22/resize=width:9/{source}"
        assert place.get(target.replace("INNER", at)).code == "policy_required"
        assert place.get(target.replace("INNER", f"{at}?{sign(secured, 'convert').as_query()}")).code == "not_permitted"
        reply = place.get(target.replace("INNER", f"{at}?{sign(secured, 'read').as_query()}"))
        assert (reply.status, reply.body) == (200, b"theirs")
    keyless = place.get(f"/fallback=handle:{theirs.handle}/resize=width:9/{words.handle}")
    assert keyless.code == "policy_required", "the source says who transforms, not the fallback"


def test_a_page_whose_origin_is_not_approved_gets_no_fallback(place: Server, opened: Application, spare: FileLink) -> None:
    place.engine.records.update_application(opened.api_key, delivery_whitelist=Whitelist(["good.example"]))
    target = f"/{opened.api_key}/fallback=handle:{spare.handle}/resize=width:9/{'Z' * 20}"
    assert place.get(target, {"Origin": "https://evil.example"}).status == 403
    reply = place.get(target, {"Origin": "https://good.example"})
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (200, "https://good.example")
    assert "Origin" in reply.headers["vary"]


# ---------------------------------------------------------------------------------------------------------------- debug


def test_debug_says_what_would_be_done_and_does_not_do_it(place: Server, opened: Application, link: FileLink) -> None:
    for target in (
        f"/debug/resize=w:10,fit:crop/cache=expiry:60/{link.handle}",
        f"/resize=w:10,fit:crop/cache=expiry:60/debug/{link.handle}",
        f"/{opened.api_key}/debug/resize=w:10,fit:crop/cache=expiry:60/{link.handle}",
    ):
        reply = place.get(target)
        assert (reply.status, reply.headers["content-type"]) == (200, "application/json"), reply.body
        assert reply.headers["cache-control"] == "no-store"
        said = reply.json()
        assert said["apikey"] == opened.api_key
        assert said["source"] == {"kind": "handle", "name": link.handle}
        (task,) = said["tasks"]
        assert task["name"] == "resize" and task["params"]["width"] == 10 and task["params"]["fit"] == "crop"
        assert task["params"].keys() >= {"height", "align"}, "with every parameter that has a default"
        assert said["controls"] == {"cache": 60}
        assert (said["cached"], said["result"], said["fetches"], said["calls"]) == (False, None, [], ["convert"])
        assert said["security"] == {"allowed": True, "authenticated": False, "expiry": None, "policy": None}
    assert place.engine.renditions.of(opened.api_key, link.handle) == []
    body = place.get(f"/resize=w:10,fit:crop/{link.handle}").body
    said = place.get(f"/debug/resize=w:10,fit:crop/{link.handle}").json()
    assert said["cached"] is True
    assert said["result"] == {"mimetype": "image/jpeg", "size": len(body), "filename": "a.jpg"}


def test_debug_stores_nothing_and_fetches_nothing(place: Server, web: Outside, opened: Application, spare: FileLink) -> None:
    before = len(web.seen)
    url = web.url("/a.jpg")
    target = f"/{opened.api_key}/debug/resize=width:9/fallback=file:{spare.handle},cache:9/store=filename:x.jpg/{url}"
    for reply in (place.get(target), place.post(target)):
        said = reply.json()
        assert said["fetches"] == [url] and said["cached"] is None
        assert said["controls"]["store"]["filename"] == "x.jpg"
        assert said["controls"]["fallback"] == {"file": {"kind": "handle", "name": spare.handle}, "cache": 9}
        assert said["calls"] == ["convert", "store"]
    assert len(web.seen) == before and place.engine.records.count_files(opened.api_key) == 1


def test_debug_is_refused_like_the_request_itself_and_explains_the_policy_that_was_shown(
    place: Server, secured: Application
) -> None:
    link = place.put(secured, PICTURE, "a.jpg")
    for chain in (
        "resize=width:10",
        "resize=width:0",
        "resize=width:10/store=location:gcs",
        "tags",
        "metadata",
        "metadata=[exif]",
    ):
        for credential in ("", "/" + sign(secured, "read").as_task(), "/security=policy:e30=,signature:abc"):
            real, debug = (place.get(f"{prefix}/{chain}{credential}/{link.handle}") for prefix in ("", "/debug"))
            assert (debug.status, debug.code) == (real.status, real.code), (chain, credential)
    task = sign(secured, "convert", handle=link.handle)
    said = place.get(f"/debug/resize=width:10/{task.as_task()}/{link.handle}").json()
    policy = said["security"]["policy"]
    assert said["security"]["authenticated"] is True and said["security"]["expiry"] == policy["expiry"]
    assert policy == {"expiry": policy["expiry"], "call": ["convert"], "handle": link.handle}
    assert place.get(f"/debug/metadata=[size]/{sign(secured, 'stat').as_task()}/{link.handle}").json()["calls"] == ["stat"]


def test_nothing_secret_is_in_what_debug_says(place: Server, secured: Application) -> None:
    link, secret = place.put(secured, PICTURE, "a.jpg"), secured.secrets.signing.value.decode()
    theirs = place.application(require_policy=True)
    mark = place.put(theirs, PICTURE, "m.jpg")
    inner = sign(theirs, "read")
    outer = sign(secured, "convert")
    body = place.get(
        f"/debug/watermark=file:%22{place.url}/{mark.handle}?{inner.as_query()}%22/{outer.as_task()}/{link.handle}"
    ).body.decode()
    assert json.loads(body)["security"]["allowed"] is True
    for text in (secret, outer.signature, outer.encoded, inner.signature, inner.encoded, str(place.data), link.key):
        assert text not in body


# ------------------------------------------------------------------------------------------------------------- metadata

NAMES = {
    "size": len(PICTURE),
    "mimetype": "image/jpeg",
    "filename": "a.jpg",
    "width": 40,
    "height": 20,
    "writeable": True,
    "container": None,
    "md5": hashlib.md5(PICTURE, usedforsecurity=False).hexdigest(),
    "sha1": hashlib.sha1(PICTURE, usedforsecurity=False).hexdigest(),
    "sha224": hashlib.sha224(PICTURE).hexdigest(),
    "sha256": hashlib.sha256(PICTURE).hexdigest(),
    "sha384": hashlib.sha384(PICTURE).hexdigest(),
    "sha512": hashlib.sha512(PICTURE).hexdigest(),
}


@pytest.mark.parametrize(
    "form",
    [
        "/metadata=[{names}]/{handle}",
        "/{key}/metadata=%5B{names}%5D/{handle}",
        "/api/file/{handle}/metadata?{query}",
        "/{handle}/metadata?&{query}",
    ],
)
def test_every_fact_can_be_asked_for_by_name(place: Server, opened: Application, link: FileLink, form: str) -> None:
    names = [*NAMES, "uploaded", "cloud", "source_url", "location", "path", "key"]
    for chosen in ([name] for name in names), [names]:
        for some in chosen:
            query = "&".join(f"{name}=true" for name in some)
            target = form.format(names=",".join(some), handle=link.handle, key=opened.api_key, query=query)
            reply = place.get(target)
            assert (reply.status, reply.headers["content-type"]) == (200, "application/json"), reply.body
            said = reply.json()
            assert list(said) == some
            assert {name: said[name] for name in some if name in NAMES} == {name: NAMES[name] for name in some if name in NAMES}
            assert "uploaded" not in said or abs(said["uploaded"] / 1000 - time.time()) < 3600


def test_without_names_the_usual_facts_are_told(place: Server, link: FileLink) -> None:
    for target in (f"/metadata/{link.handle}", f"/api/file/{link.handle}/metadata", f"/{link.handle}/metadata?"):
        assert set(place.get(target).json()) == {"size", "mimetype", "filename", "uploaded", "writeable"}


def test_what_is_no_picture_has_no_size_in_pixels(place: Server, spare: FileLink) -> None:
    assert place.get(f"/metadata=[width,height,size]/{spare.handle}").json() == {"width": None, "height": None, "size": 7}


def test_exif_is_told_only_to_a_policy_that_names_it(place: Server, opened: Application, secured: Application) -> None:
    image = Image.new("RGB", (8, 8))
    exif = image.getexif()
    exif[0x010F] = "Maker"
    out = io.BytesIO()
    image.save(out, "JPEG", exif=exif)
    for application in (opened, secured):
        link = place.put(application, out.getvalue(), "e.jpg")
        for form in (f"/metadata=[exif]/{link.handle}?", f"/{link.handle}/metadata?exif=true&"):
            assert place.get(form.rstrip("?&")).code == "policy_required"
            assert place.get(form + sign(application).as_query()).code == "not_permitted"
            assert place.get(form + sign(application, "stat").as_query()).code == "not_permitted"
            reply = place.get(form + sign(application, "stat", "exif").as_query())
            if "exif" in place.engine.registry.transformations:
                assert reply.status == 200, reply.body
                assert "Maker" in json.dumps(reply.json()["exif"])
            else:
                assert (reply.status, message(reply)) == (415, "No installed plugin reads exif data.")


def test_facts_need_stat_and_describe_one_stored_file(place: Server, secured: Application, web: Outside) -> None:
    link = place.put(secured, PICTURE, "a.jpg")
    assert place.get(f"/metadata/{link.handle}").code == "policy_required"
    assert place.get(f"/metadata/{sign(secured, 'read').as_task()}/{link.handle}").code == "not_permitted"
    assert place.get(f"/metadata/{sign(secured, 'stat').as_task()}/{link.handle}").status == 200
    for target in (
        f"/metadata=[colour]/{link.handle}",
        f"/metadata=size:true/{link.handle}",
        f"/metadata/resize=width:9/{link.handle}",
        f"/metadata/store/{link.handle}",
        f"/metadata/cache=false/{link.handle}",
        f"/metadata/metadata/{link.handle}",
    ):
        reply = place.get(target)
        assert (reply.status, reply.code) == (400, "bad_task"), reply.body
        assert "metadata" in message(reply)
    assert "sha256" in message(place.get(f"/metadata=[colour]/{link.handle}"))
    assert place.get(f"/{secured.api_key}/metadata/{web.url('/a.jpg')}").status == 415


# ------------------------------------------------------------------------------------------------- what is refused, and how


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        ("resise=width:3", ("'resise'", "Did you mean 'resize'?")),
        ("secruity=p:a,s:b", ("'secruity'", "Did you mean 'security'?")),
        ("resize=widht:3", ("resize", "'widht'", "Did you mean 'width'?", "height")),
        ("resize=width:10001", ("resize", "width", "10000")),
        ("resize=fit:fill", ("resize", "fit", "clip", "crop", "scale", "max")),
        ("rotate=deg:360", ("rotate", "deg", "359", "exif")),
        ("quality=value:0", ("quality", "value", "1", "100", "input")),
        ("crop=dim:[1,2,3]", ("crop", "dim")),
        ("watermark", ("watermark", "file")),
        ("watermark=file:short", ("watermark", "handle")),
        ("output=format:exe", ("output", "format", "png")),
        ("flip=x:1", ("flip", "takes no options")),
        ("cache=expiry:0", ("cache", "expiry", "max")),
        ("store=access:me", ("store", "access", "public", "private")),
        ("resize=width:3,width:4", ("resize", "width", "twice")),
    ],
)
def test_a_refusal_names_task_option_and_what_is_allowed(
    place: Server, link: FileLink, chain: str, words: tuple[str, ...]
) -> None:
    reply = place.get(f"/{chain}/{link.handle}")
    assert (reply.status, reply.code) == (400, "bad_task")
    assert [word for word in words if word not in message(reply)] == [], message(reply)


def test_a_chain_has_at_most_32_tasks_and_a_path_8192_characters(place: Server, link: FileLink) -> None:
    assert place.get(f"/{'flip/' * 32}{link.handle}").status == 200
    assert "32" in message(place.get(f"/{'flip/' * 33}{link.handle}"))
    fits = f"/store=filename:%22{{}}%22/{link.handle}"
    room = 8192 - len(fits.format(""))
    assert "8192" in message(place.get(fits.format("x" * (room + 1))))
    assert "8192" not in message(place.get(fits.format("x" * room))), "refused for the length of the name, not of the path"


def test_a_task_that_nobody_provides_is_told_with_the_hook_that_would(
    place: Server, opened: Application, link: FileLink
) -> None:
    signed = sign(opened, "convert").as_task()
    missing = [name for name in ("caption", "copyright") if name not in place.engine.registry.detectors]
    assert missing, "a task whose detector no plugin here provides"
    for name in missing:
        reply = place.get(f"/{name}/{signed}/{link.handle}")
        assert (reply.status, reply.code) == (501, "not_provided"), reply.body
        assert "register_detectors" in message(reply) and name in message(reply)


# --------------------------------------------------------------------------------------------------------- how it is sent


def test_auto_image_gives_each_client_what_it_takes_and_says_that_it_varies(place: Server, link: FileLink) -> None:
    bodies = set()
    for accept, kind in (
        ("image/avif,image/webp,*/*", "image/avif"),
        ("image/webp,*/*", "image/webp"),
        ("*/*", "image/jpeg"),
        (None, "image/jpeg"),
    ):
        reply = place.get(f"/auto_image/{link.handle}", {"Accept": accept} if accept else None)
        assert (reply.status, reply.headers["content-type"]) == (200, kind)
        assert "Accept" in reply.headers["vary"].split(", ")
        bodies.add(reply.body)
        again = place.get(f"/auto_image/{link.handle}", {"Accept": accept} if accept else None)
        assert (again.body, again.headers["content-type"]) == (reply.body, kind)
    assert len(bodies) == 3
    assert "vary" not in place.get(f"/resize=width:9/{link.handle}").headers


@pytest.mark.parametrize("chain", ["preview", "slide", "ascii"])
def test_a_page_is_shown_inline_in_an_origin_of_its_own_with_its_policy(place: Server, opened: Application, chain: str) -> None:
    link = place.put(opened, PICTURE if chain == "ascii" else PDF, "a.jpg" if chain == "ascii" else "a.pdf")
    for _ in range(2):
        reply = place.get(f"/{chain}/{link.handle}")
        assert reply.status == 200, reply.body
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
        assert reply.headers["content-disposition"].startswith("inline; ")
        policy = reply.headers["content-security-policy"]
        assert re.match(r"sandbox( allow-scripts allow-modals)?; ", policy) and "default-src 'none'" in policy
        assert "unsafe-inline' 'script" not in policy and "allow-same-origin" not in policy and "unsafe-eval" not in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
        if "script-src" in policy:
            assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
    stored = place.get(f"/{chain}/store/{link.handle}").json()
    kept = place.get(f"/{stored['handle']}")
    assert kept.headers["content-disposition"].startswith("attachment"), (
        "a stored page is a file of somebody's, and is not shown"
    )
    assert "sandbox" in kept.headers["content-security-policy"]


def test_a_page_that_was_uploaded_is_never_shown_however_it_is_asked_for(place: Server, opened: Application) -> None:
    link = place.put(opened, PAGE, "page.html")
    for target in (f"/{link.handle}", f"/cache=expiry:9/{link.handle}", f"/{opened.api_key}/{link.handle}"):
        reply = place.get(target)
        assert reply.headers["content-disposition"].startswith("attachment"), target
        assert reply.headers["content-security-policy"].startswith("sandbox")


def test_a_result_answers_head_ranges_and_conditions_like_a_file(
    place: Server, web: Outside, opened: Application, link: FileLink
) -> None:
    for target in (
        f"/resize=width:30/{link.handle}",
        f"/{opened.api_key}/resize=width:30/{web.url('/a.jpg')}",
        f"/auto_image/{link.handle}",
    ):
        whole = place.get(target)
        head = place.request("HEAD", target)
        assert (head.status, head.body) == (200, b"")
        for name in ("content-length", "content-type", "etag", "content-disposition", "cache-control", "accept-ranges"):
            assert head.headers[name] == whole.headers[name], name
        part = place.get(target, {"Range": "bytes=5-14"})
        assert (part.status, part.body) == (206, whole.body[5:15])
        assert part.headers["content-range"] == f"bytes 5-14/{len(whole.body)}"
        assert place.get(target, {"Range": "bytes=9999999-"}).status == 416
        assert place.get(target, {"If-None-Match": whole.headers["etag"]}).status == 304
        stale = place.get(target, {"Range": "bytes=5-14", "If-Range": '"other"'})
        assert (stale.status, stale.body) == (200, whole.body)
        assert place.get(target + ("&" if "?" in target else "?") + "dl=true").status == 200 or "http" in target


def test_when_the_queue_is_full_clients_are_told_when_to_come_again_and_no_fallback_hides_it(tmp_path: Path) -> None:
    settings = {"decoders": 1, "decode_queue": 1, "decode_wait": 20}
    with running(tmp_path, runner="uvicorn", factory="counted_server:application", settings=settings) as server:
        application = server.application()
        spare = server.put(application, b"instead", "i.txt")
        links = [server.put(application, b"words %d" % number) for number in range(10)]
        with ThreadPoolExecutor(10) as pool:
            replies = list(
                pool.map(lambda link: server.get(f"/fallback=handle:{spare.handle}/nap=number:700/{link.handle}"), links)
            )
        assert {reply.status for reply in replies} == {200, 429}
        assert {reply.body for reply in replies if reply.status == 200} <= {b"words %d" % number for number in range(10)}
        for reply in replies:
            if reply.status == 429:
                assert (reply.code, reply.headers["retry-after"], reply.headers["cache-control"]) == (
                    "overloaded",
                    "2",
                    "no-store",
                )
