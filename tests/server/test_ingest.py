"""Files from elsewhere: `/process`, `url` in a store or overwrite request, `/KEY/store/URL`, and the clouds of pickers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live import Reply, Server, file_part, multipart, picture, running
from outside import Outside, moved, ok

from secure_delivery.gate.model import Application, Limits

PICTURE = picture(40, 20)
JSON = {"Content-Type": "application/json"}
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.just("customsource")
MEMBERS = ["customsource", "path", "store", "a"]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SCRIPTS = {
    "/a.jpg": ok(PICTURE, "Content-Type: image/jpeg"),
    "/a.jpg?token=hidden": ok(PICTURE),
    "/named": ok(b"plain words", 'Content-Disposition: attachment; filename="given.txt"'),
    "/moved": moved("/private/a.jpg"),
    "/private/a.jpg": ok(PICTURE),
    "/gone": ok(b"", status="404 Not Found"),
    "/broken": ok(b"", status="500 Oops"),
    "/empty": ok(b""),
    "/big": ok(b"x" * 50_000),
}


@pytest.fixture(scope="module")
def web() -> Iterator[Outside]:
    with Outside(SCRIPTS) as outside:
        yield outside


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("disk")
    (root / "media" / "2026").mkdir(parents=True)
    (root / "media" / "2026" / "a b.jpg").write_bytes(PICTURE)
    (root / "media" / ".hidden").write_bytes(b"x")
    (root / "private").mkdir()
    (root / "private" / "a.jpg").write_bytes(PICTURE)
    (root / "media" / "link.jpg").symlink_to(root / "private" / "a.jpg")
    (root / "media" / "links").symlink_to(root / "private")
    for number in range(250):
        (root / "media" / f"many{number:03}.txt").write_text(str(number))
    return root / "media"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, web: Outside, disk: Path) -> Iterator[Server]:
    given = {"fetch_allow": web.at, "folders": f"media={disk}", "max_bytes": 1_000_000, "fetch_keep": 0}
    with running(tmp_path_factory.mktemp("ingest"), settings=given) as server:
        yield server


@pytest.fixture
def opened(place: Server) -> Application:
    return place.application(aliases={"media": "folder:media", "year": "folder:media/2026", "web": "https://example.org/"})


@pytest.fixture
def secured(place: Server) -> Application:
    return place.application(require_policy=True)


def sign(application: Application, *call: str, **limits: Any) -> Any:
    return application.sign(expires_in=60, now=time.time(), call=list(call) or None, **limits)


def process(server: Server, application: Application, source: Any, *tasks: dict[str, Any], **more: Any) -> Reply:
    listed = list(tasks) or [{"name": "store"}]
    body = {"apikey": application.api_key, "sources": source if isinstance(source, list) else [source], "tasks": listed}
    return server.post("/process", json.dumps(body | more).encode(), JSON)


# -------------------------------------------------------------------------------------------------------------- process


def test_a_url_is_stored_with_everything_that_clients_read(place: Server, opened: Application, web: Outside) -> None:
    reply = process(place, opened, web.url("/a.jpg?token=hidden"), upload_tags={"a": "b"})
    assert reply.status == 200, reply.body
    answer = reply.json()
    assert answer.keys() >= {"handle", "url", "filename", "size", "type", "container", "key", "upload_tags"}
    assert (answer["filename"], answer["size"], answer["type"]) == ("a.jpg", len(PICTURE), "image/jpeg")
    assert answer["upload_tags"] == {"a": "b"}
    assert place.get(f"/{answer['handle']}").body == PICTURE
    told = place.get(f"/{answer['handle']}/metadata?source_url=true").json()
    assert told == {"source_url": web.url("/a.jpg")}, "without the query, which may hold a credential"


def test_store_options_and_a_name_of_its_own_are_obeyed(place: Server, opened: Application, web: Outside) -> None:
    params = {"filename": "b.jpg", "path": "/x/", "container": "mine", "access": "private", "location": "S3", "region": None}
    answer = process(
        place, opened, web.url("/named"), {"name": "store", "params": params | {"workflows": [{"id": "w1"}]}}
    ).json()
    assert (answer["filename"], answer["container"], answer["type"]) == ("b.jpg", "mine", "text/plain")
    assert process(place, opened, web.url("/named")).json()["filename"] == "given.txt"


def test_custom_headers_go_to_the_origin_of_the_source_and_to_nobody_else(
    place: Server, opened: Application, web: Outside
) -> None:
    before = len(web.seen)
    headers = {"Authorization": "Bearer marker", "X-Number": 7}
    assert process(place, opened, {"source": web.url("/a.jpg"), "headers": headers}).status == 200
    (seen,) = web.seen[before:]
    assert b"Bearer marker" in seen and b"X-Number: 7" in seen
    for bad in ({"Host": "evil"}, {"X": "a\r\nY: b"}, {"X": ["a"]}, ["X"], {"": "x"}, {f"X{n}": "y" for n in range(40)}):
        reply = process(place, opened, {"source": web.url("/a.jpg"), "headers": bad})
        assert reply.status in (200, 400), reply.body
        assert b"evil" not in web.seen[-1] and b"\nY: b" not in web.seen[-1]


def test_a_chain_before_store_is_carried_out(place: Server, opened: Application, web: Outside) -> None:
    answer = process(place, opened, web.url("/a.jpg"), {"name": "resize", "params": {"width": 10}}, {"name": "store"}).json()
    assert (answer["width"], answer["height"]) == (10, 5)


def test_the_policy_is_a_task_or_stands_beside_the_tasks(place: Server, secured: Application, web: Outside) -> None:
    signed = sign(secured, "pick")
    shown = {"policy": signed.encoded, "signature": signed.signature}
    assert process(place, secured, web.url("/a.jpg")).code == "policy_required"
    task = {"name": "security", "params": shown}
    assert process(place, secured, web.url("/a.jpg"), {"name": "store"}, task).status == 200
    assert process(place, secured, web.url("/a.jpg"), {"name": "store"}, security=shown).status == 200
    assert process(place, secured, web.url("/a.jpg"), {"name": "store"}, **shown).status == 200
    assert process(place, secured, web.url("/a.jpg"), {"name": "store"}, task, **shown).status == 400
    bound = sign(secured, "pick", url=".*/a[.]jpg")
    task = {"name": "security", "params": {"policy": bound.encoded, "signature": bound.signature}}
    assert process(place, secured, web.url("/a.jpg"), {"name": "store"}, task).status == 200
    assert process(place, secured, web.url("/named"), {"name": "store"}, task).code == "not_permitted"
    assert process(place, secured, web.url("/moved"), {"name": "store"}, task).code == "not_permitted"
    read = sign(secured, "read")
    task = {"name": "security", "params": {"policy": read.encoded, "signature": read.signature}}
    assert process(place, secured, web.url("/a.jpg"), {"name": "store"}, task).code == "not_permitted"


@pytest.mark.parametrize(
    ("path", "status"), [("/gone", 404), ("/broken", 422), ("/empty", 400), ("/nowhere", 404), ("/big", 413)]
)
def test_a_source_that_fails_is_a_4xx_with_a_message(place: Server, web: Outside, path: str, status: int) -> None:
    application = place.application(limits=Limits(max_bytes=10_000))
    reply = process(place, application, web.url(path))
    assert reply.status == status, reply.body
    assert reply.json()["error"]["message"]
    assert place.engine.records.count_files(application.api_key) == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/",
        "http://localhost/",
        "http://10.0.0.1/x",
        "ftp://a/b",
        "file:///etc/passwd",
        "gopher://x",
    ],
)
def test_no_address_inside_is_asked(place: Server, opened: Application, url: str) -> None:
    reply = process(place, opened, url)
    assert reply.status in (400, 422), reply.body


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"sources": []},
        {"sources": "x"},
        {"sources": [1]},
        {"sources": [{"headers": {}}]},
        {"sources": ["https://example.org/a"], "tasks": "store"},
        {"sources": ["https://example.org/a"], "tasks": [{"name": "no_such_task"}]},
        {"sources": ["https://example.org/a"], "tasks": [{"name": "store", "params": {"colour": "red"}}]},
        {"sources": ["https://example.org/a"], "tasks": [{"name": "store"}], "upload_tags": {"a": 1}},
        {"sources": ["https://example.org/a"], "tasks": [{"name": "store"}], "upload_tags": {str(n): "x" for n in range(11)}},
        {"sources": ["https://example.org/a"], "tasks": [{"name": "store"}], "surprise": 1},
        {"sources": ["https://example.org/a"] * 2, "tasks": [{"name": "store"}]},
    ],
)
def test_a_body_that_makes_no_sense_is_refused(place: Server, opened: Application, body: dict[str, Any]) -> None:
    reply = place.post("/process", json.dumps({"apikey": opened.api_key} | body).encode(), JSON)
    assert 400 <= reply.status < 500 and not reply.code.startswith("no JSON"), reply.body


def test_an_unknown_key_is_told(place: Server) -> None:
    assert place.post("/process", b'{"apikey":"x","sources":["https://a.b/c"],"tasks":[]}', JSON).code == "unknown_application"


# ------------------------------------------------------------------------------------------------- store and overwrite


def test_a_store_request_may_name_a_url_in_every_encoding(place: Server, opened: Application, web: Outside) -> None:
    target = f"/api/store/S3?key={opened.api_key}&filename=c.jpg&path=/y/"
    url = web.url("/a.jpg")
    body, kind = multipart(('Content-Disposition: form-data; name="url"', url.encode()))
    for text, headers in ((urlencode({"url": url}).encode(), FORM), (json.dumps({"url": url}).encode(), JSON), (body, kind)):
        reply = place.post(target, text, headers)
        assert reply.status == 200, reply.body
        answer = reply.json()
        assert (answer["filename"], answer["size"], answer["type"]) == ("c.jpg", len(PICTURE), "image/jpeg")
        assert place.get(f"/{answer['handle']}").body == PICTURE


def test_a_json_file_that_is_no_address_is_a_file(place: Server, opened: Application) -> None:
    for text in (b'{"url": 5}', b'{"url": "https://a.b/", "more": 1}', b"[1]", b"{broken", b'{"url": "mailto:x"}'):
        reply = place.post(f"/api/store/S3?key={opened.api_key}&filename=a.json", text, JSON)
        assert reply.status == 200, reply.body
        assert place.get(f"/{reply.json()['handle']}").body == text


def test_a_file_beside_a_url_wins(place: Server, opened: Application, web: Outside) -> None:
    field = ('Content-Disposition: form-data; name="url"', web.url("/a.jpg").encode())
    body, kind = multipart(field, file_part(b"the file itself", "a.txt"))
    reply = place.post(f"/api/store/S3?key={opened.api_key}", body, kind)
    assert place.get(f"/{reply.json()['handle']}").body == b"the file itself"


@pytest.mark.parametrize(
    "body",
    [b"", b"url=", b"a=b", b"url=a&url=b", b"url=%ff", b"&" * 200, b"url=" + b"x" * 70_000, b"url=ABCDEFGHIJKLMNOPQRSTU"],
)
def test_a_form_without_a_usable_url_is_refused(place: Server, opened: Application, body: bytes) -> None:
    reply = place.post(f"/api/store/S3?key={opened.api_key}", body, FORM)
    assert reply.status in (400, 413, 422) and not reply.code.startswith("no JSON"), reply.body


def test_the_policy_of_a_store_by_url_is_asked_about_every_hop(place: Server, secured: Application, web: Outside) -> None:
    signed = sign(secured, "pick", url="http://127[.]0[.]0[.]1:[0-9]+/(a[.]jpg|moved)")
    target = f"/api/store/S3?key={secured.api_key}&{signed.as_query()}"
    assert place.post(target, urlencode({"url": web.url("/a.jpg")}).encode(), FORM).status == 200
    assert place.post(target, urlencode({"url": web.url("/moved")}).encode(), FORM).code == "not_permitted"


def test_a_stored_file_is_stored_again_as_another(place: Server, opened: Application, secured: Application) -> None:
    link = place.put(opened, b"first", "a.txt")
    answer = place.post(f"/api/store/S3/{link.handle}?key={opened.api_key}&filename=b.txt").json()
    assert answer["handle"] != link.handle and answer["filename"] == "b.txt"
    assert place.get(f"/{answer['handle']}").body == b"first"
    foreign = place.put(secured, b"theirs", "a.txt")
    assert place.post(f"/api/store/S3/{foreign.handle}?key={opened.api_key}").code == "policy_required"
    assert place.post(f"/api/store/S3/{foreign.handle}?key={secured.api_key}").code == "policy_required"
    assert place.post(f"/api/store/S3/{'A' * 21}?key={opened.api_key}").code == "not_found"
    assert place.post(f"/api/store/S3/short?key={opened.api_key}").status == 400


def test_a_file_is_overwritten_from_a_url_and_keeps_its_name_and_handle(
    place: Server, opened: Application, web: Outside
) -> None:
    link = place.put(opened, b"old", "old.txt")
    write = sign(opened, "write").as_query()
    reply = place.post(f"/api/file/{link.handle}?{write}", urlencode({"url": web.url("/a.jpg")}).encode(), FORM)
    assert reply.status == 200, reply.body
    assert reply.json()["mimetype"] == "image/jpeg" and reply.json()["filename"] == "old.txt"
    assert place.get(f"/{link.handle}").body == PICTURE
    for url, status in (("/gone", 404), ("/broken", 422), ("/empty", 400)):
        reply = place.post(f"/api/file/{link.handle}?{write}", urlencode({"url": web.url(url)}).encode(), FORM)
        assert reply.status == status, reply.body
    assert place.get(f"/{link.handle}").body == PICTURE, "what failed changed nothing"
    bounded = sign(opened, "write", max_size=10).as_query()
    reply = place.post(f"/api/file/{link.handle}?{bounded}", urlencode({"url": web.url("/a.jpg")}).encode(), FORM)
    assert reply.code == "too_large"


def test_the_ruby_client_stores_by_a_chain(place: Server, secured: Application, web: Outside) -> None:
    signed = sign(secured, "pick")
    chain = f'store=filename:"x.jpg",workflows:["a","b"]/security=s:{signed.signature},p:{signed.encoded}'
    reply = place.post(f"/{secured.api_key}/{quote(chain, safe='/=:,')}/{web.url('/a.jpg')}")
    assert reply.status == 200, reply.body
    assert reply.json()["filename"] == "x.jpg"


# --------------------------------------------------------------------------------------------------------------- picker


def call(server: Server, path: str, application: Application, **values: Any) -> Reply:
    return server.post(path, json.dumps({"apikey": application.api_key} | values).encode(), JSON)


def test_prefetch_says_what_can_be_done_and_whether_the_policy_lets_it(
    place: Server, opened: Application, secured: Application
) -> None:
    wanted = {
        "permissions": ["intelligent_ingestion", "whitelabel", "unheard_of"],
        "settings": ["inapp_browser"],
        "picker_config": {},
    }
    answer = call(place, "/prefetch", opened, **wanted).json()
    assert answer["blocked"] is False and "updated_config" not in answer
    assert answer["permissions"] == {"intelligent_ingestion": True, "whitelabel": True, "unheard_of": False}
    assert answer["settings"] == {"inapp_browser": False}
    assert call(place, "/prefetch", secured, **wanted).json()["blocked"] is True
    signed = sign(secured, "pick")
    shown = {"security": {"policy": signed.encoded, "signature": signed.signature}}
    assert call(place, "/prefetch", secured, **wanted, **shown).json()["blocked"] is False
    assert place.post("/prefetch", b'{"apikey":"nobody"}', JSON).status == 401


def test_a_picker_lists_and_stores_files_of_the_folders_that_aliases_open(place: Server, opened: Application) -> None:
    top = call(place, "/folder/list", opened, clouds={"customsource": {"path": "/"}}, flow="web").json()
    assert [(entry["name"], entry["folder"]) for entry in top["customsource"]["contents"]] == [("media", True), ("year", True)]
    assert top["token"]
    page = call(place, "/folder/list", opened, clouds={"customsource": {"path": "/media/"}}, token=top["token"]).json()
    names = [entry["name"] for entry in page["customsource"]["contents"]]
    assert "2026" in names and ".hidden" not in names and "link.jpg" not in names and "links" not in names
    more = call(
        place, "/folder/list", opened, clouds={"customsource": {"path": "/media/", "next": page["customsource"]["next"]}}
    ).json()
    names += [entry["name"] for entry in more["customsource"]["contents"]]
    assert sum(name.startswith("many") for name in names) == len({name for name in names if name.startswith("many")}) == 250
    (found,) = call(place, "/folder/list", opened, clouds={"customsource": {"path": "/media/2026"}}).json()["customsource"][
        "contents"
    ]
    assert (found["name"], found["size"], found["folder"]) == ("a b.jpg", len(PICTURE), False)
    stored = call(
        place, "/store/", opened, clouds={"customsource": {"path": found["path"], "store": {}}}, upload_tags={"x": "y"}
    ).json()
    assert place.get(f"/{stored['customsource']['handle']}").body == PICTURE
    assert stored["customsource"]["filename"] == "a b.jpg" and stored["customsource"]["upload_tags"] == {"x": "y"}


@pytest.mark.parametrize(
    "path",
    [
        "/private/a.jpg",
        "/media/../private/a.jpg",
        "/media/link.jpg",
        "/media/links/a.jpg",
        "/media",
        "/",
        "",
        "/web/x",
        "/media/\0",
        "a" * 900,
    ],
)
def test_nothing_but_files_of_those_folders_is_stored(place: Server, opened: Application, path: str) -> None:
    before = place.engine.records.count_files(opened.api_key)
    for target, values in (("/store/", {"path": path, "store": {}}), ("/folder/list", {"path": path or "/nothing"})):
        reply = call(place, target, opened, clouds={"customsource": values})
        assert reply.status < 500, reply.body
        assert b"a.jpg" not in reply.body or reply.status >= 400
    assert place.engine.records.count_files(opened.api_key) == before


def test_pickers_need_a_policy_where_uploads_do(place: Server, secured: Application) -> None:
    for path, values in (
        ("/folder/list", {"clouds": {"customsource": {"path": "/"}}}),
        ("/store/", {"clouds": {"customsource": {"path": "/media/a"}}}),
        ("/metadata", {"url": "https://example.org/a"}),
    ):
        assert call(place, path, secured, **values).code == "policy_required"


def test_a_cloud_that_nobody_provides_is_told(place: Server, opened: Application) -> None:
    reply = call(place, "/folder/list", opened, clouds={"googledrive": {"path": "/"}})
    assert (reply.status, reply.code) == (501, "not_provided")
    assert call(place, "/recording/audio/init", opened).status == 501


def test_metadata_of_an_address_and_logging_out(place: Server, opened: Application, web: Outside) -> None:
    answer = call(place, "/metadata", opened, url=web.url("/named")).json()
    assert answer == {"filename": "given.txt", "mimetype": "text/plain", "size": 11, "url": web.url("/named")}
    assert call(place, "/metadata", opened, url="http://169.254.169.254/").status in (400, 422)
    assert call(place, "/metadata", opened).status == 400
    token = json.dumps({"a": "1", "b": "2"})
    assert json.loads(call(place, "/auth/logout", opened, token=token, clouds={"a": {}}).json()["token"]) == {"b": "2"}
    assert json.loads(call(place, "/auth/logout", opened, token=token).json()["token"]) == {}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(["/process", "/prefetch", "/folder/list", "/store/", "/metadata", "/auth/logout"]),
    values=st.dictionaries(
        st.sampled_from(
            ["sources", "tasks", "clouds", "token", "url", "headers", "permissions", "upload_tags", "policy", "security"]
        ),
        st.recursive(
            LEAVES,
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=3),
            max_leaves=6,
        ),
    ),
)
def test_no_body_is_a_fault_of_the_server(place: Server, opened: Application, path: str, values: dict[str, Any]) -> None:
    reply = place.post(path, json.dumps({"apikey": opened.api_key} | values).encode(), JSON)
    assert reply.status < 500 or reply.status == 501, (path, values, reply.body)
