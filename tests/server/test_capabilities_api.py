"""What can be previewed and described is told to anybody, beforehand, and kept by caches."""

from __future__ import annotations

import sys
from urllib.parse import quote

import pytest
from live import Server


def test_anybody_may_ask_and_caches_keep_the_answer(every_server: Server) -> None:
    reply = every_server.get("/api/capabilities")
    assert reply.status == 200
    assert reply.headers["cache-control"] == "public, max-age=300"
    assert reply.headers["access-control-allow-origin"] == "*"
    told = reply.json()
    assert set(told) == {"families", "extractors"}
    assert {"family", "mimetypes", "extensions", "available", "previewers"} == set(told["families"][0])
    again = every_server.get("/api/capabilities", {"if-none-match": reply.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert every_server.request("HEAD", "/api/capabilities").status == 200
    assert every_server.request("POST", "/api/capabilities").status == 405


def test_nothing_is_said_about_the_machine(server: Server) -> None:
    text = server.get("/api/capabilities").body.decode()
    for word in (sys.prefix, "/usr/", "/bin/", "pip install", "apt-get", '"lacks"', '"install"', "site-packages"):
        assert word not in text, word


def test_one_file_is_answered_by_type_and_name(server: Server) -> None:
    told = server.get("/api/capabilities?mimetype=image/png&filename=a.png").json()
    assert told["mimetype"] == "image/png"
    assert set(told) == {"mimetype", "preview", "icon", "family", "previewers", "metadata"}
    assert server.get("/api/capabilities?filename=a.png").json() == told
    odd = server.get("/api/capabilities?mimetype=IMAGE/PNG;charset=x&filename=a.png")
    assert odd.json() == told
    unknown = server.get("/api/capabilities?mimetype=x/never-heard-of").json()
    assert (unknown["preview"], unknown["family"]) == (False, None)


_NO_TYPES = ["", "image", "a/b/c", "a" * 300 + "/b", quote("a\r\n/b")]
_NO_NAMES = ["", "a" * 256, "%ff", "a&filename=b"]


@pytest.mark.parametrize("query", [*(f"mimetype={one}" for one in _NO_TYPES), *(f"filename={one}" for one in _NO_NAMES)])
def test_what_is_no_type_or_name_is_refused(server: Server, query: str) -> None:
    reply = server.get(f"/api/capabilities?{query}")
    assert (reply.status, reply.code) == (400, "bad_request")
    assert reply.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "name", ["%00", "..%2F..%2Fetc%2Fpasswd", "%F0%9F%92%BE.png", "a%0d%0ab.pdf", "http://127.0.0.1/x.png"]
)
def test_odd_names_get_an_answer_that_does_not_repeat_them(server: Server, name: str) -> None:
    reply = server.get(f"/api/capabilities?filename={name}")
    assert reply.status == 200
    assert b"passwd" not in reply.body
