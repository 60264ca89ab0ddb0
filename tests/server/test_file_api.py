"""The File API as official clients speak it: store, read, overwrite, delete, describe; and whose files these are."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable

import pytest
from live import Reply, Server, file_part, multipart, picture

from secure_delivery.engine.records import FileLink
from secure_delivery.gate.model import Application

SDK = {
    "Filestack-Source": "Python-4.0.0",
    "Filestack-Trace-Id": "1508141504-aBcDeFgHiJ",
    "Filestack-Trace-Span": "pythonsdk-aBcDeFgHiJ",
}


def query(application: Application, *call: str, **limits: object) -> str:
    """A signed policy for one call, as a query string."""
    return application.sign(expires_in=60, now=time.time(), call=list(call) or None, **limits).as_query()


def stored(reply: Reply) -> str:
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"] == "application/json"
    return str(reply.json()["handle"])


# ------------------------------------------------------------------------------------------------------------ journeys


def test_a_file_is_stored_read_overwritten_described_and_deleted(every_server: Server) -> None:
    application = every_server.application(require_policy=True)
    key = application.api_key
    body, kind = multipart(file_part(b"first content", "a name.txt"))
    reply = every_server.post(f"/api/store/S3?key={key}&{query(application, 'pick')}", body, SDK | kind)
    handle = stored(reply)
    answer = reply.json()
    assert (answer["filename"], answer["size"], answer["type"]) == ("a name.txt", 13, "text/plain")
    assert answer["url"] == f"{every_server.url}/{handle}"
    assert answer["key"]
    assert reply.headers["cache-control"] == "no-store"

    read = query(application, "read")
    for path in (f"/{handle}", f"/{key}/{handle}", f"/api/file/{handle}", f"/api/file/{handle}+txt"):
        reply = every_server.get(f"{path}?{read}")
        assert (reply.status, reply.body) == (200, b"first content")
        assert reply.headers["content-disposition"] == 'inline; filename="a name.txt"'
        assert reply.headers["x-file-name"] == "a name.txt"
        head = every_server.request("HEAD", f"{path}?{read}")
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "13")

    # The official Python client: base64decode spelt out, the part always called "filename".
    body, kind = multipart(file_part(b"%PDF-1.7 second", "filename"))
    target = f"/api/file/{handle}?{query(application, 'write')}&base64decode=false"
    reply = every_server.post(target, body, SDK | kind)
    assert reply.json() == {
        "url": f"{every_server.url}/{handle}",
        "mimetype": "application/pdf",
        "isWriteable": True,
        "size": 15,
        "filename": "a name.txt",
    }
    assert every_server.get(f"/{handle}?{read}").body == b"%PDF-1.7 second"

    # The official Node client asks for metadata without a key, with an empty pair in front or nothing behind the question mark.
    stat = query(application, "stat")
    reply = every_server.get(f"/api/file/{handle}/metadata?&size=true&md5=true&{stat}")
    assert reply.json() == {"size": 15, "md5": hashlib.md5(b"%PDF-1.7 second").hexdigest()}

    reply = every_server.request("DELETE", f"/api/file/{handle}?key={key}&{query(application, 'remove')}", headers=SDK)
    assert (reply.status, reply.body) == (200, b"success")
    for method, path in (
        ("GET", f"/{handle}?{read}"),
        ("HEAD", f"/{handle}?{read}"),
        ("GET", f"/api/file/{handle}?{read}"),
        ("GET", f"/api/file/{handle}/metadata?{stat}"),
        ("DELETE", f"/api/file/{handle}?{query(application, 'remove')}"),
        ("GET", f"/resize=width:10/{handle}?{query(application, 'convert')}"),
    ):
        assert every_server.request(method, path).status == 404


def test_in_an_open_application_only_changes_need_a_policy(every_server: Server) -> None:
    application = every_server.application()
    handle = stored(every_server.post(f"/api/store/s3?key={application.api_key}", b"hello"))
    assert every_server.get(f"/{handle}").body == b"hello"
    assert every_server.get(f"/{handle}/metadata?").json()["size"] == 5
    assert every_server.post(f"/api/file/{handle}", b"new").code == "policy_required"
    assert every_server.request("PUT", f"/api/file/{handle}", body=b"new").code == "policy_required"
    assert every_server.request("DELETE", f"/api/file/{handle}").code == "policy_required"
    assert every_server.get(f"/{handle}").body == b"hello"


def test_the_ruby_client_overwrites_with_put(server: Server) -> None:
    application = server.application()
    link = server.put(application, b"old")
    reply = server.request("PUT", f"/api/file/{link.handle}?{query(application, 'write')}", body=b"new", headers=SDK)
    assert reply.json()["isWriteable"] is True
    assert server.get(f"/{link.handle}").body == b"new"


def test_the_application_secret_serves_as_a_credential_of_the_file_api(every_server: Server) -> None:
    application, secret = every_server.engine.records.create_application("basic", require_policy=True)
    basic = {"Authorization": "Basic " + base64.b64encode(f"app:{secret}".encode()).decode()}
    handle = stored(every_server.post(f"/api/store/S3?key={application.api_key}", b"x", basic))
    assert every_server.request("GET", f"/api/file/{handle}", headers=basic).status == 200
    wrong = {"Authorization": "Basic " + base64.b64encode(f"app:{secret}x".encode()).decode()}
    assert every_server.request("GET", f"/api/file/{handle}", headers=wrong).code == "credentials_invalid"
    assert every_server.request("GET", f"/{handle}?{query(application)}", headers=basic).code == "credential_conflict"
    assert every_server.request("DELETE", f"/api/file/{handle}", headers=basic).status == 200


# --------------------------------------------------------------------------------------- what a policy permits, and not


def attempts(link: FileLink) -> dict[str, tuple[str, str, bytes | None]]:
    """For each call, the requests that need it: method, target, body."""
    return {
        "read": ("GET", f"/{link.handle}", None),
        "read api": ("GET", f"/api/file/{link.handle}", None),
        "stat": ("GET", f"/{link.handle}/metadata", None),
        "convert": ("GET", f"/resize=width:5/{link.handle}", None),
        "write": ("POST", f"/api/file/{link.handle}", b"new"),
        "remove": ("DELETE", f"/api/file/{link.handle}", None),
        "write purge": ("DELETE", f"/api/file/{link.handle}/renditions", None),
        "pick": ("POST", f"/api/store/S3?key={link.application}", b"new"),
        "exif": ("GET", f"/{link.handle}/metadata?exif=true", None),
    }


@pytest.mark.parametrize("needed", ["read", "read api", "stat", "convert", "write", "write purge", "remove", "pick", "exif"])
def test_each_request_needs_its_own_call_and_no_other_call_will_do(server: Server, needed: str) -> None:
    application = server.application(require_policy=True)
    link = server.put(application, picture(40, 30), "a.jpg")
    method, target, body = attempts(link)[needed]
    joint = "&" if "?" in target else "?"
    call = needed.partition(" ")[0]
    others = sorted({"read", "stat", "convert", "write", "remove", "pick", "store"} - {call})
    assert server.request(method, target, body=body).code == "policy_required"
    assert server.request(method, target + joint + query(application, *others), body=body).code == "not_permitted"
    expired = application.sign(expires_in=60, now=time.time() - 100).as_query()
    assert server.request(method, target + joint + expired, body=body).code == "policy_expired"
    elsewhere = query(application, call, "stat", handle="B" * 20)
    assert server.request(method, target + joint + elsewhere, body=body).code == "not_permitted"
    good = server.request(method, target + joint + query(application, call, "stat"), body=body)
    assert good.status == 200, good.body


def test_a_policy_with_bounds_on_size_is_held_on_the_real_size(every_server: Server) -> None:
    application = every_server.application(require_policy=True)
    before = len(every_server.blobs())
    signed = query(application, "pick", min_size=3, max_size=5)
    target = f"/api/store/S3?key={application.api_key}&{signed}"
    expected = {2: "too_small", 3: "ok", 5: "ok", 6: "too_large", 5000: "too_large"}
    for size, code in expected.items():
        body, kind = multipart(file_part(b"x" * size))
        for reply in (every_server.post(target, b"x" * size), every_server.post(target, body, kind)):
            assert (reply.code if reply.status >= 400 else "ok") == code
        encoded = base64.b64encode(b"x" * size)
        reply = every_server.post(target + "&base64decode=true", encoded)
        assert (reply.code if reply.status >= 400 else "ok") == code
    assert every_server.engine.records.used(application.api_key) == (6, 3 * (3 + 5))
    assert len(every_server.blobs()) - before == 2, "nothing remains of what was refused, and equal bytes are kept once"


@pytest.mark.parametrize(
    ("limits", "asked", "allowed"),
    [
        ({"path": "/public/.*"}, "&path=/public/a", True),
        ({"path": "/public/.*"}, "&path=public/a", True),
        ({"path": "/public/.*"}, "&path=/private/a", False),
        ({"path": "/public/.*"}, "", False),
        ({"path": "/public/.*"}, "&path=/public/../private/a", False),
        ({"container": "photos"}, "&container=photos", True),
        ({"container": "photos"}, "&container=photos2", False),
        ({"container": "photos"}, "", False),
        ({"container": "local"}, "", True),
    ],
)
def test_container_and_path_are_judged_as_they_will_be_used(
    server: Server, limits: dict[str, str], asked: str, allowed: bool
) -> None:
    application = server.application(require_policy=True)
    reply = server.post(f"/api/store/S3?key={application.api_key}&{query(application, 'pick', **limits)}{asked}", b"x")
    assert (reply.status == 200) is allowed, reply.body
    if allowed and "container=" in asked:
        assert reply.json()["container"] == "photos"


# ------------------------------------------------------------------------------------------------------------- metadata


def test_metadata_holds_the_usual_facts_or_what_was_asked_for(every_server: Server) -> None:
    application = every_server.application()
    content = picture(40, 30)
    link = every_server.put(application, content, "a.jpg")
    usual = every_server.get(f"/{link.handle}/metadata").json()
    assert usual == {
        "size": len(content),
        "mimetype": "image/jpeg",
        "filename": "a.jpg",
        "uploaded": link.uploaded,
        "writeable": True,
    }
    names = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
    asked = "&".join(f"{name}=true" for name in (*names, "width", "height", "location", "path", "container", "cloud"))
    found = every_server.get(f"/api/file/{link.handle}/metadata?{asked}&size=false&unknown=true").json()
    for name in names:
        assert found.pop(name) == hashlib.new(name, content).hexdigest()
    assert (found["width"], found["height"], found["location"]) == (40, 30, "local")
    assert "size" not in found and "unknown" not in found


def test_what_is_no_picture_has_no_width(server: Server) -> None:
    application = server.application()
    for content in (b"just words", b"\xff\xd8\xff broken picture"):
        link = server.put(application, content)
        assert server.get(f"/{link.handle}/metadata?width=true&height=true").json() == {"width": None, "height": None}


def test_results_of_a_file_are_purged_on_request_and_made_again(server: Server) -> None:
    application = server.application()
    link = server.put(application, picture(40, 30), "a.jpg")
    for width in (5, 6):
        assert server.get(f"/resize=width:{width}/{link.handle}").status == 200
    target = f"/api/file/{link.handle}/renditions?{query(application, 'write')}"
    assert server.request("DELETE", target).json() == {"purged": 2}
    assert server.engine.renditions.of(application.api_key, link.handle) == []
    assert server.get(f"/resize=width:5/{link.handle}").status == 200
    assert server.request("DELETE", target).json() == {"purged": 1}


def test_exif_needs_a_policy_that_names_it_even_in_an_open_application(server: Server) -> None:
    application = server.application()
    link = server.put(application, picture())
    target = f"/api/file/{link.handle}/metadata?exif=true"
    assert server.get(target).code == "policy_required"
    assert server.get(f"{target}&{query(application)}").code == "not_permitted"
    assert server.get(f"{target}&{query(application, 'stat')}").code == "not_permitted"
    assert server.get(f"{target}&{query(application, 'stat', 'exif')}").json() == {"exif": {}}


# --------------------------------------------------------------------------------------------------- whose files


def foreign_attempts(mine: Application, theirs: FileLink) -> list[tuple[str, str, bytes | None]]:
    """Every endpoint, asked by one application's key or credential about another's file."""
    everything = query(mine)
    named = mine.sign(expires_in=60, now=time.time(), handle=theirs.handle)
    found = []
    for signed in (everything, named.as_query()):
        for key in ("", f"&key={mine.api_key}"):
            found += [
                ("GET", f"/api/file/{theirs.handle}?{signed}{key}", None),
                ("HEAD", f"/api/file/{theirs.handle}?{signed}{key}", None),
                ("POST", f"/api/file/{theirs.handle}?{signed}{key}", b"stolen"),
                ("PUT", f"/api/file/{theirs.handle}?{signed}{key}", b"stolen"),
                ("DELETE", f"/api/file/{theirs.handle}?{signed}{key}", None),
                ("DELETE", f"/api/file/{theirs.handle}?{signed}{key}&skip_storage=true", None),
                ("GET", f"/api/file/{theirs.handle}/metadata?{signed}{key}", None),
                ("GET", f"/{theirs.handle}/metadata?{signed}{key}", None),
            ]
        found += [
            ("GET", f"/{theirs.handle}?{signed}", None),
            ("GET", f"/{mine.api_key}/{theirs.handle}?{signed}", None),
            ("GET", f"/resize=width:5/{theirs.handle}?{signed}", None),
            ("GET", f"/{mine.api_key}/resize=width:5/{theirs.handle}?{signed}", None),
        ]
    task = named.as_task()
    return [
        *found,
        ("GET", f"/{task}/{theirs.handle}", None),
        ("GET", f"/{mine.api_key}/{task}/{theirs.handle}", None),
        ("GET", f"/{mine.api_key}/{task}/resize=width:5/{theirs.handle}", None),
        ("GET", f"/resize=width:5/{task}/{theirs.handle}", None),
    ]


@pytest.mark.parametrize("mine_secured", [True, False])
def test_no_endpoint_gives_one_application_the_file_of_another(every_server: Server, mine_secured: bool) -> None:
    mine = every_server.application(require_policy=mine_secured)
    owner = every_server.application(require_policy=True)
    theirs = every_server.put(owner, picture(20, 10), "secret.jpg")
    for method, target, body in foreign_attempts(mine, theirs):
        reply = every_server.request(method, target, body=body)
        assert reply.status in (403, 404), (method, target, reply.status, reply.body)
        assert b"secret" not in reply.body and "secret" not in str(reply.headers)
    kept = every_server.engine.records.file(theirs.handle)
    assert kept == theirs
    assert every_server.get(f"/{theirs.handle}?{query(owner)}").body == picture(20, 10)


@pytest.mark.parametrize(
    "target", ["/api/file/{}?key={key}", "/{key}/{}", "/api/file/{}/metadata?key={key}", "/{}/metadata?key={key}"]
)
def test_to_a_stranger_a_foreign_file_and_none_at_all_look_the_same(server: Server, target: str) -> None:
    mine = server.application()
    theirs = server.put(server.application(require_policy=True), b"x").handle
    replies = [server.get(target.format(handle, key=mine.api_key)) for handle in (theirs, "Z" * len(theirs))]
    assert replies[0].status == 404
    assert replies[0].body == replies[1].body
    assert {name: value for name, value in replies[0].headers.items() if name != "date"} == {
        name: value for name, value in replies[1].headers.items() if name != "date"
    }


def test_an_open_file_can_be_transformed_by_a_secured_application_with_that_ones_policy(server: Server) -> None:
    acting, owner = server.application(require_policy=True), server.application()
    link = server.put(owner, picture(20, 10), "a.jpg")
    target = f"/{acting.api_key}/resize=width:5/{link.handle}"
    assert server.get(target).code == "policy_required"
    assert server.get(f"{target}?{query(acting, 'convert')}").status == 200
    assert server.get(f"{target}?{query(owner, 'convert')}").code == "signature_invalid"


def test_a_source_of_the_same_application_needs_no_policy_of_its_own(server: Server) -> None:
    application = server.application(require_policy=True)
    link = server.put(application, picture(20, 10), "a.jpg")
    assert server.get(f"/{application.api_key}/resize=width:5/{link.handle}?{query(application, 'convert')}").status == 200


# ----------------------------------------------------------------------------------------------- keys, methods, wording


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/api/store/S3", "unknown_application"),
        ("/api/store/S3?key=", "unknown_application"),
        ("/api/store/S3?key=Anobodyhasthiskey1234z", "unknown_application"),
        ("/api/store/S3?key=%00", "unknown_application"),
        ("/api/store/S3?key={key}x", "unknown_application"),
        ("/api/store/S3?key={key}&key={key}", "bad_request"),
        ("/api/store/S3?k%65y={key}", "unknown_application"),
        ("/api/store/gcs?key={key}", "bad_request"),
        ("/api/store/..?key={key}", "bad_request"),
        ("/api/store/S3?key={key}&path=a//b", "bad_request"),
        ("/api/store/S3?key={key}&path=../a", "bad_request"),
        ("/api/store/S3?key={key}&path=a%5Cb", "bad_request"),
        ("/api/store/S3?key={key}&path=a%0Ab", "bad_request"),
        ("/api/store/S3?key={key}&path=" + "a" * 1100, "bad_request"),
        ("/api/store/S3?key={key}&container=%00", "bad_request"),
        ("/api/store/S3?key={key}&filename=%FF", "bad_request"),
        ("/api/store/S3?key={key}&policy=abc", "policy_required"),
        ("/api/store/S3?key={key}&policy=abc&signature=" + "0" * 64, "signature_invalid"),
        ("/api/store/S3?key={key}&policy=abc&signature=x&policy=abc", "credential_conflict"),
    ],
)
def test_a_store_request_that_is_wrong_says_what_and_stores_nothing(every_server: Server, target: str, code: str) -> None:
    application = every_server.application()
    before = every_server.blobs()
    reply = every_server.post(target.format(key=application.api_key), b"content")
    assert reply.code == code and 400 <= reply.status < 500
    assert reply.headers["cache-control"] == "no-store"
    assert every_server.blobs() == before


@pytest.mark.parametrize("provider", ["S3", "s3", "local", "LOCAL"])
def test_the_providers_that_go_to_the_servers_own_storage_are_taken_in_any_case(server: Server, provider: str) -> None:
    assert server.post(f"/api/store/{provider}?key={server.application().api_key}", b"x").status == 200


METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "get"]
PATHS: dict[str, set[str]] = {
    "/": {"GET", "HEAD"},
    "/health/live": {"GET", "HEAD"},
    "/health/ready": {"GET", "HEAD"},
    "/api/store/S3": {"POST"},
    "/api/file/{handle}": {"GET", "HEAD", "POST", "PUT", "DELETE"},
    "/api/file/{handle}/metadata": {"GET", "HEAD"},
    "/{handle}/metadata": {"GET", "HEAD"},
    "/{handle}": {"GET", "HEAD"},
    "/resize=width:5/{handle}": {"GET", "HEAD"},
}


@pytest.mark.parametrize("path", PATHS)
def test_a_method_that_a_path_does_not_have_is_a_405_that_names_those_it_has(every_server: Server, path: str) -> None:
    link = every_server.put(every_server.application(require_policy=True), b"x")
    for method in METHODS:
        reply = every_server.request(
            method, path.format(handle=link.handle), body=b"" if method in ("POST", "PUT", "PATCH") else None
        )
        if method in PATHS[path]:
            assert reply.status != 405, method
        elif method == "get" and reply.status == 400:
            continue  # a server may refuse a method in lower case before we see it
        else:
            assert reply.status == 405, method
            assert method == "HEAD" or reply.code == "method_not_allowed"
            assert set(reply.headers["allow"].split(", ")) == PATHS[path] | {"OPTIONS"}
    assert every_server.engine.records.file(link.handle) == link


def test_answers_name_the_host_that_was_asked_or_the_public_one(server: Server) -> None:
    application = server.application()
    reply = server.request(
        "POST", f"/api/store/S3?key={application.api_key}", body=b"x", headers={"Host": "cdn.example.org:81"}
    )
    assert reply.json()["url"].startswith("http://cdn.example.org:81/")


@pytest.mark.parametrize("host", ["[::1", 'a"b', "a b", "a/b", "a@b", "a\\b", ""])
def test_a_host_that_is_none_is_never_put_into_an_address_we_hand_out(every_server: Server, host: str) -> None:
    application = every_server.application()
    target = f"/api/store/S3?key={application.api_key}"
    reply = every_server.request("POST", target, body=b"x", headers={"Host": host})
    assert reply.status < 500
    if reply.status == 200:
        assert reply.json()["url"].rpartition("/")[0] == every_server.url


def test_every_refusal_is_json_with_a_code_and_a_sentence_and_is_not_kept(server: Server) -> None:
    application = server.application(require_policy=True)
    link = server.put(application, b"x")
    for target in (f"/{link.handle}", "/nothing", "/api/store/S3", f"/zzz/{link.handle}", "/api/file/x", "/health/live/x"):
        reply = server.get(target)
        error = reply.json()["error"]
        assert set(error) == {"code", "message"} and error["message"].endswith(".")
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["x-content-type-options"] == "nosniff"


def test_skip_storage_does_not_leave_bytes_on_a_disk_of_ours_that_nobody_counts(server: Server) -> None:
    """It is for objects in a customer's own storage (test_own_storage); what is lent goes with its file."""
    application = server.application()
    link = server.put(application, b"keep me")
    path = next(path for path in server.blobs() if path.name == link.key)
    assert server.request("DELETE", f"/api/file/{link.handle}?{query(application)}&skip_storage=true").status == 200
    assert server.get(f"/{link.handle}").status == 404
    assert not path.exists()
    assert server.engine.records.used(application.api_key) == (0, 0)


def test_a_rotated_secret_ends_every_older_signature_at_once_and_grace_only_delays_it(every_server: Server) -> None:
    application = every_server.application(require_policy=True)
    link = every_server.put(application, b"x")
    old = query(application, "read")
    assert every_server.get(f"/{link.handle}?{old}").status == 200
    every_server.engine.records.rotate_secret(application.api_key, grace=3600)
    assert every_server.get(f"/{link.handle}?{old}").status == 200
    every_server.engine.records.end_grace(application.api_key)
    assert every_server.get(f"/{link.handle}?{old}").code == "signature_invalid"
    assert every_server.get(f"/{link.handle}?{query(every_server.current(application.api_key), 'read')}").status == 200


@pytest.mark.parametrize(
    "change", [lambda name: name.upper(), lambda name: name + "x", lambda name: name[:-1], lambda name: "%00" + name]
)
def test_a_handle_is_compared_as_it_is(server: Server, change: Callable[[str], str]) -> None:
    link = server.put(server.application(), b"x")
    reply = server.get(f"/api/file/{change(link.handle)}")
    assert reply.status == 404
