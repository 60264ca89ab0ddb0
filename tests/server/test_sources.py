"""Sources of every kind over real sockets: who may use which file, what is fetched, and that it is judged before that."""

from __future__ import annotations

import base64
import io
import json
import socket
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from live import Reply, Server, picture, running
from outside import Outside, answer, moved, ok
from PIL import Image

from secure_delivery.gate.model import Application, Limits
from secure_delivery.gate.whitelist import Whitelist

PICTURE = picture(40, 20)
PNG = picture(30, 30, "PNG")


def drip(connection: socket.socket) -> None:
    """The head, and then a byte for as long as anybody listens."""
    connection.sendall(answer("200 OK", "Content-Length: 100000"))
    while True:
        connection.sendall(b"x")
        time.sleep(0.2)  # the sender is slow: that is what is tested


def endless(connection: socket.socket) -> None:
    """More bytes than anybody wants, without saying how many."""
    connection.sendall(answer("200 OK", "Connection: close"))
    while True:
        connection.sendall(bytes(65536))


SCRIPTS = {
    "/a.jpg": ok(PICTURE, "Content-Type: image/jpeg"),
    "/a.jpg?size=1&x=%20y": ok(PNG, "Content-Type: image/png"),
    "/b%20c.jpg": ok(PICTURE),
    "/%C3%A9.jpg": ok(PICTURE),
    "/folder/100%25.jpg": ok(PICTURE),
    "/folder/a.jpg": ok(PICTURE),
    "/folder/a%3Fadmin%3D1": ok(PNG),
    "/folder/%252e%252e/a.jpg": ok(PNG),
    "/words.jpg": ok(b"no picture at all", "Content-Type: image/jpeg"),
    "/liar": ok(PICTURE, "Content-Type: text/html", 'Content-Disposition: attachment; filename="given name.jpg"'),
    "/gone": ok(b"", status="410 Gone"),
    "/broken": ok(b"", status="500 Oops"),
    "/moved": moved("/a.jpg"),
    "/away": moved("http://169.254.169.254/latest/meta-data/"),
    "/secret": moved("/private/a.jpg"),
    "/private/a.jpg": ok(PICTURE),
    "/round": moved("/round"),
    "/declared": answer("200 OK", "Content-Length: 20000000", body=b"x"),
    "/endless": endless,
    "/drip": drip,
    "/once": ok(PICTURE, "Cache-Control: no-store"),
    "/limit.jpg": ok(PICTURE + bytes(5000)),
}


@pytest.fixture(scope="module")
def web() -> Iterator[Outside]:
    with Outside(SCRIPTS) as outside:
        yield outside


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a storage alias may read from, next to one that it may not."""
    root = tmp_path_factory.mktemp("disk")
    (root / "media" / "2026").mkdir(parents=True)
    (root / "media" / "2026" / "a b.jpg").write_bytes(PICTURE)
    (root / "media" / "deep.jpg").write_bytes(PICTURE)
    (root / "private").mkdir()
    (root / "private" / "a.jpg").write_bytes(PICTURE)
    (root / "media" / "link.jpg").symlink_to(root / "private" / "a.jpg")
    (root / "media" / "links").symlink_to(root / "private")
    return root / "media"


def settings(web: Outside, media: Path, **more: Any) -> dict[str, Any]:
    return {"fetch_allow": web.at, "folders": f"media={media}", "own_hosts": "files.example.org", "max_bytes": 1_000_000} | more


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, web: Outside, media: Path) -> Iterator[Server]:
    """A server that may fetch from `web` and read from `media`."""
    with running(tmp_path_factory.mktemp("sources"), settings=settings(web, media, fetch_seconds=3)) as server:
        yield server


@pytest.fixture
def secured(place: Server) -> Application:
    return place.application(require_policy=True)


@pytest.fixture
def opened(place: Server) -> Application:
    return place.application()


def sign(application: Application, *call: str, lasting: int = 60, **limits: Any) -> Any:
    return application.sign(expires_in=lasting, now=time.time(), call=list(call) or None, **limits)


def size_of(reply: Reply) -> tuple[int, int]:
    assert reply.status == 200, reply.body
    with Image.open(io.BytesIO(reply.body)) as image:
        image.load()
        return image.size


def asked(web: Outside) -> int:
    return len(web.seen)


def b64(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(text.encode()).decode()


def enc(text: str) -> str:
    return quote(text, safe="")


# ------------------------------------------------------------------------- the three situations of the document on security


def test_a_source_without_security_on_a_secured_application_needs_the_policy_of_that_application_only(
    place: Server, secured: Application, opened: Application
) -> None:
    link = place.put(opened, PICTURE, "a.jpg")
    assert place.get(f"/{secured.api_key}/resize=width:9/{link.handle}").code == "policy_required"
    assert place.get(f"/{secured.api_key}/resize=width:9/{sign(opened).as_task()}/{link.handle}").code == "signature_invalid"
    reply = place.get(f"/{secured.api_key}/resize=width:9/{sign(secured, 'convert').as_task()}/{link.handle}")
    assert size_of(reply) == (9, 5)
    assert size_of(place.get(f"/{opened.api_key}/resize=width:9/{link.handle}")) == (9, 5), "with its own key none is needed"
    assert size_of(place.get(f"/resize=width:9/{link.handle}")) == (9, 5)


def test_a_source_of_the_same_secured_application_needs_one_policy_and_no_inner_one(
    place: Server, secured: Application
) -> None:
    link = place.put(secured, PICTURE, "a.jpg")
    inner = sign(secured, "read").as_query()
    task = sign(secured, "convert").as_task()
    assert size_of(place.get(f"/{task}/resize=width:9/{link.handle}")) == (9, 5)
    assert size_of(place.get(f"/{secured.api_key}/{task}/resize=width:9/{link.handle}")) == (9, 5)
    cumbersome = enc(f"{place.url}/{link.handle}?{inner}")
    assert size_of(place.get(f"/{secured.api_key}/{task}/resize=width:9/{cumbersome}")) == (9, 5), "the old way works too"
    assert place.get(f"/{secured.api_key}/resize=width:9/{cumbersome}").code == "policy_required", (
        "the inner one grants no work"
    )
    assert place.get(f"/resize=width:9/{cumbersome}").code == "policy_required"


def test_a_source_from_elsewhere_needs_the_policy_of_the_application_and_none_of_its_own(
    place: Server, web: Outside, secured: Application
) -> None:
    source = enc(web.url("/a.jpg"))
    before = asked(web)
    assert place.get(f"/{secured.api_key}/resize=width:9/{source}").code == "policy_required"
    assert place.get(f"/{secured.api_key}/resize=width:9/{sign(secured, 'read').as_task()}/{source}").code == "not_permitted"
    assert asked(web) == before, "nothing is fetched before the judgement"
    reply = place.get(f"/{secured.api_key}/resize=width:9/{sign(secured, 'convert').as_task()}/{source}")
    assert size_of(reply) == (9, 5)
    assert asked(web) == before + 1


# ----------------------------------------------------------------------------------------- files of another secured application

#: How a chain of one application names a file, and what it works on besides: {inner} as it stands in quotes.
POSITIONS = {
    "source": "/{key}/{task}/resize=width:9/%22{inner}%22",
    "watermark": "/{key}/{task}/watermark=file:%22{inner}%22/{own}",
    "collage": "/{key}/{task}/collage=files:[%22{inner}%22],width:60,height:60/{own}",
    "zip": "/{key}/{task}/zip/[{own},%22{inner}%22]",
    "animate": "/{key}/{task}/animate=delay:100/[{own},%22{inner}%22]",
    "fallback": "/{key}/{task}/fallback=file:%22{inner}%22/resize=width:9/{words}",
}

#: Where the credential of the inner file stands: {at} is our address, {theirs} the key of the other application.
SPELLINGS = {
    "query": "{at}/{handle}?{query}",
    "everything encoded": None,
    "task": "{at}/{inner_task}/{handle}",
    "key and task": "{at}/{theirs}/{inner_task}/{handle}",
    "key and query": "{at}/{theirs}/{handle}?{query}",
    "file API": "{at}/api/file/{handle}?{query}",
    "file API, extension": "{at}/api/file/{handle}+jpg?{query}",
    "another host of ours": "https://files.example.org/{handle}?{query}",
}


class Strangers:
    """Two secured applications: one transforms, the other has the file."""

    def __init__(self, place: Server) -> None:
        self.place = place
        self.ours = place.application(require_policy=True)
        self.theirs = place.application(require_policy=True)
        self.own = place.put(self.ours, picture(50, 50), "own.jpg")
        self.words = place.put(self.ours, b"words", "words.txt")
        self.link = place.put(self.theirs, PICTURE, "theirs.jpg")

    def inner(self, spelling: str, signed: Any) -> str:
        if (pattern := SPELLINGS[spelling]) is None:
            return enc(f"{self.place.url}/{self.link.handle}?{signed.as_query()}")
        return pattern.format(
            at=self.place.url,
            handle=self.link.handle,
            query=signed.as_query(),
            inner_task=signed.as_task(),
            theirs=self.theirs.api_key,
        )

    def get(self, position: str, inner: str, *, task: str | None = None, headers: dict[str, str] | None = None) -> Reply:
        target = POSITIONS[position].format(
            key=self.ours.api_key,
            task=task or sign(self.ours, "convert").as_task(),
            inner=inner,
            own=self.own.handle,
            words=self.words.handle,
        )
        return self.place.get(target, headers)


@pytest.fixture(scope="module")
def strangers(place: Server) -> Strangers:
    return Strangers(place)


@pytest.mark.parametrize("position", POSITIONS)
def test_a_file_of_another_secured_application_needs_its_own_policy_wherever_it_stands(
    strangers: Strangers, position: str
) -> None:
    theirs, at = strangers.theirs, f"{strangers.place.url}/{strangers.link.handle}"
    assert strangers.get(position, strangers.link.handle).code == "policy_required"
    assert strangers.get(position, at).code == "policy_required"
    for signed, code in [
        (sign(theirs, "convert"), "not_permitted"),
        (sign(theirs, "read", handle=strangers.own.handle), "not_permitted"),
        (sign(strangers.ours, "read"), "signature_invalid"),
        (theirs.sign(expires_in=60, now=time.time() - 100, call=["read"]), "policy_expired"),
    ]:
        assert strangers.get(position, f"{at}?{signed.as_query()}").code == code
    half = sign(theirs, "read").as_query().partition("&")[0]
    assert strangers.get(position, f"{at}?{half}").status == 403
    twice = sign(theirs, "read")
    assert (
        strangers.get(position, f"{strangers.place.url}/{twice.as_task()}/{strangers.link.handle}?{twice.as_query()}").status
        == 400
    )
    assert strangers.get(position, f"{at}?{sign(theirs, 'read').as_query()}").status == 200
    bound = sign(theirs, "read", handle=strangers.link.handle)
    assert strangers.get(position, f"{at}?{bound.as_query()}").status == 200


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("position", POSITIONS)
def test_every_spelling_of_an_inner_credential_counts_and_none_is_taken_for_the_outer_one(
    strangers: Strangers, position: str, spelling: str
) -> None:
    inner = strangers.inner(spelling, sign(strangers.theirs, "read"))
    reply = strangers.get(position, inner)
    assert reply.status == 200, reply.body
    assert strangers.get(position, inner, task="cache=expiry:9").code == "policy_required"
    assert strangers.get(position, strangers.inner(spelling, sign(strangers.theirs, "stat"))).code == "not_permitted"


@pytest.mark.parametrize("position", POSITIONS)
def test_the_delivery_whitelist_of_another_application_holds_for_its_files(place: Server, position: str) -> None:
    both = Strangers(place)
    place.engine.records.update_application(
        both.theirs.api_key, require_policy=False, delivery_whitelist=Whitelist(["good.example"])
    )
    at = f"{place.url}/{both.link.handle}"
    assert both.get(position, at, headers={"Referer": "https://good.example/page"}).status == 200
    assert both.get(position, at).status == 200
    assert both.get(position, at, headers={"Referer": "https://evil.example/page"}).status == 403
    assert both.get(position, at, headers={"Origin": "https://evil.example"}).status == 403


# ------------------------------------------------------------------------------------------------------ policies that are bound


@pytest.mark.parametrize("position", [name for name in POSITIONS if name not in ("source", "zip", "animate")])
def test_a_policy_bound_to_a_file_vouches_for_no_other_file_of_the_application(strangers: Strangers, position: str) -> None:
    other = strangers.place.put(strangers.ours, PICTURE, "other.jpg")
    main = strangers.words if position == "fallback" else strangers.own
    bound = sign(strangers.ours, "convert", handle=main.handle).as_task()
    assert strangers.get(position, other.handle, task=bound).status == 403
    assert strangers.get(position, other.handle).status == 200, "a policy that is not bound vouches for all"
    inner = f"{strangers.place.url}/{other.handle}?{sign(strangers.ours, 'read', handle=other.handle).as_query()}"
    assert strangers.get(position, inner, task=bound).status == 200
    again = f"{strangers.place.url}/{other.handle}?{sign(strangers.ours, 'convert', handle=other.handle).as_query()}"
    assert strangers.get(position, again, task=bound).code == "not_permitted"


def test_a_policy_bound_to_a_file_covers_that_file_and_no_list_and_no_address(
    place: Server, web: Outside, secured: Application
) -> None:
    link, other = place.put(secured, PICTURE, "a.jpg"), place.put(secured, PICTURE, "b.jpg")
    task = sign(secured, "convert", handle=link.handle).as_task()
    before = asked(web)
    assert place.get(f"/resize=width:9/{task}/{link.handle}").status == 200
    assert place.get(f"/resize=width:9/{task}/{other.handle}").code == "not_permitted"
    assert place.get(f"/{secured.api_key}/zip/{task}/[{link.handle},{other.handle}]").code == "not_permitted"
    assert place.get(f"/{secured.api_key}/resize=width:9/{task}/{enc(web.url('/a.jpg'))}").code == "not_permitted"
    assert place.get(f"/watermark=file:%22{web.url('/a.jpg')}%22/{task}/{link.handle}").code == "not_permitted"
    own_url = enc(f"{place.url}/{link.handle}")
    assert place.get(f"/{secured.api_key}/resize=width:9/{task}/{own_url}").status == 200, "the file by its address"
    assert asked(web) == before


URL_POSITIONS = {
    "source": "/{key}/{task}/resize=width:9/%22{url}%22",
    "watermark": "/{key}/{task}/watermark=file:%22{url}%22/%22{main}%22",
    "collage": "/{key}/{task}/collage=files:[%22{url}%22],width:60,height:60/%22{main}%22",
    "zip": "/{key}/{task}/zip/[%22{main}%22,%22{url}%22]",
    "animate": "/{key}/{task}/animate=delay:100/[%22{main}%22,%22{url}%22]",
}


@pytest.mark.parametrize("position", URL_POSITIONS)
def test_the_url_pattern_of_a_policy_holds_for_every_address_and_every_redirect(
    place: Server, web: Outside, secured: Application, position: str
) -> None:
    task = sign(secured, "convert", url=f"http://127\\.0\\.0\\.1:{web.port}/(a\\.jpg|moved|secret)").as_task()

    def get(path: str) -> Reply:
        pattern = URL_POSITIONS[position]
        return place.get(pattern.format(key=secured.api_key, task=task, url=web.url(path), main=web.url("/a.jpg")))

    before = asked(web)
    assert get("/private/a.jpg").code == "not_permitted"
    assert asked(web) == before, "refused before anything is fetched"
    assert get("/a.jpg").status == 200
    assert get("/moved").status == 200
    seen = len(web.seen)
    assert get("/secret").code == "not_permitted"
    assert [head.split(b" ")[1] for head in web.seen[seen:]] == [b"/secret"], "the redirect is judged before it is followed"


def test_a_policy_for_addresses_covers_no_stored_file(place: Server, web: Outside, secured: Application) -> None:
    link = place.put(secured, PICTURE, "a.jpg")
    task = sign(secured, "convert", url=f"http://127\\.0\\.0\\.1:{web.port}/.*").as_task()
    before = asked(web)
    assert place.get(f"/{task}/resize=width:9/{link.handle}").code == "not_permitted"
    assert place.get(f"/{task}/watermark=file:%22{web.url('/a.jpg')}%22/{link.handle}").code == "not_permitted"
    assert asked(web) == before


# ----------------------------------------------------------------------------------------------------------- from elsewhere


def chains(web: Outside, key: str) -> list[tuple[str, str]]:
    url, path = web.url("/a.jpg"), f"127.0.0.1:{web.port}/a.jpg"
    tasks = [{"name": "resize", "params": {"width": 9}}]
    go = [{"Name": "resize", "Params": {"width": 9}}]
    return [
        ("raw", f"/{key}/resize=width:9/{url}"),
        ("quoted", f"/{key}/resize=width:9/%22{url}%22"),
        ("quoted as it is", f'/{key}/resize=width:9/"{url}"'),
        ("encoded", f"/{key}/resize=width:9/{enc(url)}"),
        ("slashes encoded", f"/{key}/resize=width:9/http:%2F%2F{path.replace('/', '%2F')}"),
        ("one slash lost", f"/{key}/resize=width:9/http:/{path}"),
        ("quoted and encoded", f"/{key}/resize=width:9/%22{enc(url)}%22"),
        ("b64", f"/{key}/resize=width:9/b64://{b64(url)}"),
        ("b64 tasks", f"/{key}/b64/{b64(tasks)}/b64://{b64(url)}"),
        ("b64 tasks of Go", f"/{key}/b64/{b64(go)}/b64://{b64(url)}"),
        ("chain encoded", f"/{key}/resize=width:9%2Fflip/{enc(url)}"),
        ("upper case scheme", f"/{key}/resize=width:9/HTTP://{path}"),
    ]


def test_every_spelling_of_an_address_fetches_the_same_file_once(place: Server, web: Outside, opened: Application) -> None:
    before = asked(web)
    for name, target in chains(web, opened.api_key):
        assert size_of(place.get(target)) == (9, 5), name
    assert asked(web) == before + 1, "kept for the next"


def test_the_query_of_an_address_belongs_to_it_and_not_to_the_request(place: Server, web: Outside, opened: Application) -> None:
    url = web.url("/a.jpg?size=1&x=%20y")
    key = opened.api_key
    for target in (
        f"/{key}/resize=width:9/{url}",
        f"/{key}/resize=width:9/%22{url}%22",
        f"/{key}/resize=width:9/{enc(url)}",
        f"/{key}/resize=width:9/b64://{b64(url)}",
    ):
        assert size_of(place.get(target)) == (9, 9), target
    secured = place.application(require_policy=True)
    signed = sign(secured, "convert")
    reply = place.get(f"/{secured.api_key}/resize=width:9/{web.url('/a.jpg')}?{signed.as_query()}")
    assert reply.code == "policy_required", "what stands in the query of the source is no credential of the request"
    reply = place.get(f"/{secured.api_key}/resize=width:9/{enc(web.url('/a.jpg'))}?{signed.as_query()}")
    assert size_of(reply) == (9, 5)


def test_names_with_blanks_and_letters_of_any_script_are_fetched(place: Server, web: Outside, opened: Application) -> None:
    for path in ("/b%20c.jpg", "/%C3%A9.jpg"):
        assert size_of(place.get(f"/{opened.api_key}/resize=width:9/{web.url(path)}")) == (9, 5)
        assert size_of(place.get(f"/{opened.api_key}/resize=width:9/{enc(web.url(path))}")) == (9, 5)


def test_a_source_is_what_its_bytes_are_and_is_called_as_the_sender_says(
    place: Server, web: Outside, opened: Application
) -> None:
    reply = place.get(f"/{opened.api_key}/{enc(web.url('/liar'))}")
    assert (reply.status, reply.body, reply.headers["content-type"]) == (200, PICTURE, "image/jpeg")
    assert reply.headers["content-disposition"] == 'inline; filename="given name.jpg"'
    assert size_of(place.get(f"/{opened.api_key}/resize=width:9/{enc(web.url('/liar'))}")) == (9, 5)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/nowhere", 404, "not_found"),
        ("/gone", 404, "not_found"),
        ("/broken", 422, "source_unavailable"),
        ("/round", 422, "source_unavailable"),
        ("/away", 422, "source_unavailable"),
        ("/declared", 413, "too_large"),
        ("/endless", 413, "too_large"),
        ("/drip", 422, "source_unavailable"),
        ("/words.jpg", 415, "unsupported"),
    ],
)
def test_a_source_that_cannot_be_had_is_a_4xx_with_a_sentence_and_leaves_nothing(
    place: Server, web: Outside, opened: Application, path: str, status: int, code: str
) -> None:
    for form in ("/{key}/resize=width:9/{url}", "/{key}/watermark=file:%22{raw}%22/{own}"):
        own = place.put(opened, picture(50, 50), "own.jpg")
        target = form.format(key=opened.api_key, url=enc(web.url(path)), raw=web.url(path), own=own.handle)
        reply = place.get(target)
        assert (reply.status, reply.code) == (status, code), reply.body
        said = reply.json()["error"]["message"]
        assert said and "127.0.0.1" not in said and "169.254" not in said
        assert reply.headers["cache-control"] == "no-store"
        assert place.engine.renditions.of(opened.api_key, own.handle) == []
    assert [path for path in (place.data / "fetched").iterdir() if path.suffix not in (".bin", ".json")] == []


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("http://127.0.0.1:9/a.jpg", 400),
        ("http://127.0.0.1/a.jpg", 422),
        ("http://[::1]/a.jpg", 422),
        ("http://0.0.0.0/a.jpg", 422),
        ("http://169.254.169.254/latest/meta-data/", 422),
        ("http://10.0.0.1/a.jpg", 422),
        ("http://[::ffff:10.0.0.1]/a.jpg", 422),
        ("http://[64:ff9b::a00:1]/a.jpg", 422),
        ("http://2130706433/a.jpg", 400),
        ("http://0x7f.1/a.jpg", 400),
        ("http://user:word@127.0.0.1/a.jpg", 400),
        ("http://[not-an-address/a.jpg", 400),
        ("http://[::1", 400),
        ("http://a.example:99999/a.jpg", 400),
        ("http://nobody.invalid/a.jpg", 422),
        ("https:///a.jpg", 400),
        ("http://ex\u2100mple.org/a.jpg", 400),
    ],
)
def test_addresses_nobody_may_fetch_from_are_refused_wherever_they_stand(
    place: Server, opened: Application, url: str, status: int
) -> None:
    own = place.put(opened, picture(50, 50), "own.jpg")
    for target in (
        f"/{opened.api_key}/resize=width:9/{enc(url)}",
        f"/{opened.api_key}/watermark=file:%22{enc(url)}%22/{own.handle}",
    ):
        reply = place.get(target)
        assert reply.status == status, (target, reply.body)


def test_a_refusal_of_the_chain_costs_no_fetch(place: Server, web: Outside, opened: Application) -> None:
    own = place.put(opened, picture(50, 50), "own.jpg")
    url, before = web.url("/a.jpg"), asked(web)
    for target in (
        f"/{opened.api_key}/resise=width:9/{url}",
        f"/{opened.api_key}/resize=width:0/{url}",
        f"/{opened.api_key}/resize=width:9/store=location:elsewhere/{url}",
        f"/{opened.api_key}/fallback=file:%22{url}%22/resize=width:9/{url}",
        f"/{opened.api_key}/watermark=file:%22{url}%22,size:9999/{own.handle}",
        f"/{opened.api_key}/watermark=file:%22{url}%22/{'Z' * 20}",
        f"/Anobodyhasthiskey1234z/resize=width:9/{url}",
        f"/resize=width:9/{url}",
    ):
        assert place.get(target).status >= 400, target
    assert asked(web) == before


def test_what_is_fetched_is_kept_for_one_application_and_judged_each_time(place: Server, web: Outside) -> None:
    url, before = enc(web.url("/a.jpg")), asked(web)
    first, second = place.application(), place.application(require_policy=True)
    for width in (5, 6, 7):
        assert place.get(f"/{first.api_key}/resize=width:{width}/{url}").status == 200
    assert asked(web) == before + 1
    assert place.get(f"/{second.api_key}/resize=width:5/{url}").code == "policy_required", "kept or not"
    task = sign(second, "convert").as_task()
    assert place.get(f"/{second.api_key}/resize=width:5/{task}/{url}").status == 200
    assert asked(web) == before + 2, "each application fetches for itself"
    for _ in range(2):
        assert place.get(f"/{first.api_key}/resize=width:8/{enc(web.url('/once'))}").status == 200
    assert asked(web) == before + 4, "the sender said: do not keep"


def test_nothing_is_kept_where_the_operator_says_so(tmp_path: Path, web: Outside, media: Path) -> None:
    with running(tmp_path, settings=settings(web, media, fetch_keep=0)) as server:
        application, before = server.application(), asked(web)
        bodies = {server.get(f"/{application.api_key}/resize=width:9/{enc(web.url('/a.jpg'))}").body for _ in range(3)}
        assert len(bodies) == 1 and asked(web) == before + 3
        assert list((server.data / "fetched").iterdir()) == []


def test_the_limits_of_server_and_application_hold_for_what_is_fetched(place: Server, web: Outside, tmp_path: Path) -> None:
    small = place.application(limits=Limits(max_bytes=1000))
    assert place.get(f"/{small.api_key}/resize=width:9/{enc(web.url('/limit.jpg'))}").code == "too_large"
    with running(tmp_path, settings={"fetch_allow": web.at, "max_bytes": 1000}) as server:
        application = server.application()
        assert server.get(f"/{application.api_key}/resize=width:9/{enc(web.url('/limit.jpg'))}").code == "too_large"
        assert list((server.data / "fetched").iterdir()) == []


# ----------------------------------------------------------------------------------------------------------- storage aliases


@pytest.fixture
def aliased(place: Server, web: Outside) -> Application:
    return place.application(
        aliases={"web": web.url("/folder/"), "disk": "folder:media", "year": "folder:media/2026", "lost": "folder:nowhere"}
    )


@pytest.mark.parametrize("source", ["src://web/a.jpg", "src%3A%2F%2Fweb%2Fa.jpg", "%22src://web/a.jpg%22", "src:/web/a.jpg"])
def test_a_path_in_a_web_root_is_fetched(place: Server, aliased: Application, source: str) -> None:
    assert size_of(place.get(f"/{aliased.api_key}/resize=width:9/{source}")) == (9, 5)


def test_a_name_in_a_web_root_is_a_name_and_no_piece_of_a_url(place: Server, web: Outside, aliased: Application) -> None:
    for name in ("100%.jpg", "a?admin=1", "%2e%2e/a.jpg"):
        reply = place.get(f"/{aliased.api_key}/resize=width:9/src://web/{quote(name)}")
        assert reply.status == 200, (name, reply.body)
    for climbing in ("../a.jpg", "%2e%2e/a.jpg", "x/../../a.jpg", "..%2Fa.jpg"):
        assert place.get(f"/{aliased.api_key}/resize=width:9/src://web/{climbing}").status == 400
    asked_for = {head.split(b" ")[1] for head in web.seen}
    assert b"/folder/a?admin=1" not in asked_for and b"/folder/%2e%2e/a.jpg" not in asked_for


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("src://disk/deep.jpg", 200),
        ("src://disk/2026/a%20b.jpg", 200),
        ("src://year/a%20b.jpg", 200),
        ("%22src://year/a b.jpg%22", 200),
        (f"b64://{b64('src://year/a b.jpg')}", 200),
        ("src://disk/none.jpg", 404),
        ("src://disk/2026", 404),
        ("src://disk/link.jpg", 404),
        ("src://disk/links/a.jpg", 404),
        ("src://disk/deep.jpg/x", 404),
        ("src://lost/deep.jpg", 404),
        (f"src://disk/{'x' * 300}", 404),
        ("src://disk/../private/a.jpg", 400),
        ("src://disk/..%2Fprivate%2Fa.jpg", 400),
        ("src://disk/%252e%252e/private/a.jpg", 404),
        ("src://year/../deep.jpg", 400),
        ("src://disk//etc/passwd", 400),
        ("src://disk/%2Fetc%2Fpasswd", 400),
        ("src://disk/", 400),
        ("src://disk", 400),
        ("src://unknown/deep.jpg", 400),
        ("src://disk/deep.jpg%00.png", 400),
    ],
)
def test_a_path_in_a_folder_leads_to_files_in_it_and_never_out_of_it(
    place: Server, aliased: Application, source: str, status: int
) -> None:
    reply = place.get(f"/{aliased.api_key}/resize=width:9/{source.replace(' ', '%20')}")
    assert reply.status == status, reply.body
    if status == 200:
        assert size_of(reply) == (9, 5)


def test_an_alias_is_judged_like_any_source_and_belongs_to_one_application(place: Server, media: Path) -> None:
    (media / "judged.jpg").write_bytes(PICTURE)
    application = place.application(require_policy=True, aliases={"disk": "folder:media"})
    target = f"/{application.api_key}/resize=width:9/%s/src://disk/judged.jpg"
    assert place.get(f"/{application.api_key}/resize=width:9/src://disk/judged.jpg").code == "policy_required"
    assert place.get(target % sign(application, "convert").as_task()).status == 200
    assert place.get(target % sign(application, "convert", url="src://disk/j.*").as_task()).status == 200
    assert place.get(target % sign(application, "convert", url="src://disk/other.*").as_task()).code == "not_permitted"
    assert place.get(target % sign(application, "convert", handle="A" * 20).as_task()).code == "not_permitted"
    stranger = place.application()
    assert place.get(f"/{stranger.api_key}/resize=width:9/src://disk/judged.jpg").code == "bad_request"
    assert place.get("/resize=width:9/src://disk/judged.jpg").status == 401


def test_a_file_in_a_folder_that_changes_gives_another_result(place: Server, media: Path, aliased: Application) -> None:
    target = f"/{aliased.api_key}/resize=width:9/src://disk/changing.jpg"
    (media / "changing.jpg").write_bytes(PICTURE)
    assert size_of(place.get(target)) == (9, 5)
    (media / "changing.jpg").write_bytes(picture(40, 40))
    assert size_of(place.get(target)) == (9, 9)
    (media / "changing.jpg").write_bytes(bytes(1_000_001))
    assert place.get(target).code == "too_large"


# ------------------------------------------------------------------------------------------------------ lists, workflows, ours


def test_a_list_takes_members_of_every_kind_in_its_order(place: Server, web: Outside, aliased: Application) -> None:
    link = place.put(aliased, b"stored", "stored.txt")
    sources = f"[{link.handle},%22{web.url('/a.jpg')}%22,src%3A%2F%2Fdisk%2Fdeep.jpg,b64%3A%2F%2F{enc(b64(link.handle))}]"
    reply = place.get(f"/{aliased.api_key}/zip/{sources}")
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
        contents = [archive.read(name) for name in archive.namelist()]
    assert contents == [b"stored", PICTURE, PICTURE, b"stored"]


def test_a_list_with_a_member_that_is_not_there_is_no_archive(place: Server, web: Outside, aliased: Application) -> None:
    link = place.put(aliased, b"stored", "stored.txt")
    before = asked(web)
    for member, status in (
        ("Z" * 20, 404),
        ("wf%3A%2F%2Fabcdef", 404),
        ("src%3A%2F%2Funknown%2Fx", 400),
        ("%22http://[%22", 400),
    ):
        assert place.get(f"/{aliased.api_key}/zip/[{link.handle},{member},%22{web.url('/a.jpg')}%22]").status == status
    assert asked(web) == before


def test_results_of_workflows_are_not_there(place: Server, opened: Application) -> None:
    for target in (
        "/wf://abc",
        f"/{opened.api_key}/resize=width:9/wf://abc=",
        f"/{opened.api_key}/resize=width:9/wf%3A%2F%2Fabc",
    ):
        assert place.get(target).code == "not_found"


def test_an_address_of_this_server_is_a_stored_file_or_nothing(place: Server, opened: Application) -> None:
    link = place.put(opened, PICTURE, "a.jpg")
    for url, status in (
        (f"{place.url}/{link.handle}", 200),
        (
            f"http://LOCALHOST:{place.port}/{link.handle}",
            400,
        ),  # another name for us that nobody told: a closed port to fetch from
        (f"{place.url}/resize=width:9/{link.handle}", 400),
        (f"{place.url}/health/ready", 400),
        (f"{place.url}/api/file/{link.handle}/metadata", 400),
        (f"{place.url}/{'Z' * 20}", 404),
        (f"{place.url}", 400),
        (f"http://files.example.org/{link.handle}", 200),
        (f"https://FILES.example.org:443/{link.handle}", 200),
        (f"http://files.example.org:8080/{link.handle}", 400),
    ):
        assert place.get(f"/{opened.api_key}/resize=width:9/{enc(url)}").status == status, url


def test_a_page_to_visit_is_an_address_elsewhere(place: Server, opened: Application, web: Outside) -> None:
    if "urlscreenshot" not in place.engine.registry.transformations:
        pytest.skip("urlscreenshot is not installed")
    link, before = place.put(opened, b"<p>", "a.html"), asked(web)
    for source in (link.handle, enc(f"{place.url}/{link.handle}"), "src://disk/a", "http://[", f"[{link.handle}]"):
        assert place.get(f"/{opened.api_key}/urlscreenshot/{source}").status == 400, source
    secured = place.application(require_policy=True)
    assert place.get(f"/{secured.api_key}/urlscreenshot/{web.url('/a.jpg')}").code == "policy_required"
    assert asked(web) == before


def test_bytes_that_are_not_public_do_not_come_by_a_server_that_was_told_nothing(server: Server, web: Outside) -> None:
    application, before = server.application(), asked(web)
    assert server.get(f"/{application.api_key}/resize=width:9/{enc(web.url('/a.jpg'))}").status == 400
    assert asked(web) == before
