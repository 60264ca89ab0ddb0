"""The browser build of filestack-js 4.3.8 in a headless Chromium, in a page of another origin: what Node cannot do.

Blobs and files are uploaded, documents are previewed in a frame, and everything has to pass the browser's rules for requests
across origins.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sdk_world import DOMAIN, FILES, HELPERS, PHOTO, Place, encoded, order_for

PAGE = b'<!doctype html><meta charset="utf-8"><title>A page</title><div id="here"></div><script src="/sdk.js"></script>'
LARGE = "".join(f"piece {number}\n" for number in range(1_000_000)).encode()
UPLOADS = {
    "upload a Blob": ("blob.txt", b"piece 0\npiece 1\npiece 2\n"),
    "upload a File": ("file.txt", b"piece 0\npiece 1\npiece 2\n"),
    "upload a named Blob": ("named.txt", b"piece 0\npiece 1\npiece 2\n"),
    "upload a large Blob": ("large.txt", LARGE),
    "upload intelligently": ("clever.txt", LARGE),
}


@pytest.fixture(scope="module")
def chromium(place: Place, node_sdk: Path) -> Iterator[Any]:
    """A browser that knows the hosts of the test and no other. Certificates are checked: one key is pinned, no other passes."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium for the browser build of the client")
        pytest.skip("no Chromium: the browser build of the client is not tested")
    from playwright.sync_api import sync_playwright

    build = (node_sdk / "filestack-js" / "build" / "browser" / "filestack.min.js").read_bytes()
    place.front.pages = {
        f"app.{DOMAIN}/": ("text/html", PAGE),
        f"app.{DOMAIN}/sdk.js": ("text/javascript", build),
        f"app.{DOMAIN}/favicon.ico": ("image/png", b""),
    }
    flags = [
        "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        f"--host-resolver-rules=MAP *.{DOMAIN}:443 127.0.0.1:{place.front.port}, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--ignore-certificate-errors-spki-list={place.authority.pin}",
    ]  # fmt: skip
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, headless=True, args=flags)
        yield browser
        browser.close()


@dataclass
class Told:
    """What came of every call in one page, and the page as it was left."""

    cases: dict[str, Any]
    page: Any
    order: dict[str, Any]

    def value(self, name: str) -> Any:
        assert self.cases[name]["ok"], (name, self.cases[name]["error"])
        return self.cases[name]["value"]

    def error(self, name: str) -> Any:
        assert not self.cases[name]["ok"], self.cases[name]
        return self.cases[name]["error"]


@pytest.fixture(scope="module")
def said(chromium: Any, place: Place) -> Callable[[str], Told]:
    """What the client did in a page of `https://app.media.test`, by whether the application asks for policies."""
    kept: dict[str, Told] = {}

    def run(mode: str) -> Told:
        if mode not in kept:
            page = chromium.new_page()
            page.goto(f"https://app.{DOMAIN}/")
            page.add_script_tag(content=(HELPERS / "drive_browser.js").read_text())
            order = order_for(place, mode, encoded)
            kept[mode] = Told(page.evaluate("order => window.drive(order)", order), page, order)
        return kept[mode]

    return run


@pytest.mark.parametrize("name", UPLOADS)
def test_blobs_and_files_arrive_whole(said: Any, place: Place, mode: str, name: str) -> None:
    found = said(mode).value(name)
    filename, content = UPLOADS[name]
    assert (found["name"], found["size"], found["status"]) == (filename, len(content), "Stored")
    assert place.read(mode, found["handle"]).body == content


def test_several_files_are_uploaded_at_once(said: Any, place: Place, mode: str) -> None:
    for found in said(mode).value("multiupload"):
        assert place.read(mode, found["handle"]).body == found["name"].encode()


def test_the_file_api_passes_the_rules_for_requests_across_origins(said: Any, place: Place, mode: str) -> None:
    found = said(mode)
    size = len(FILES["photo"][1])
    assert (
        found.value("metadata")["size"] == found.value("retrieve metadata")["size"] == found.value("download")["size"] == size
    )
    assert found.value("retrieve head")["content-type"] == "image/jpeg"
    assert found.value("retrieve") == {"kind": "string"}, "this deprecated method takes every file for a text"
    assert found.value("remove")["status"] == found.value("removeMetadata")["status"] == 200
    assert place.read(mode, found.value("storeURL")["handle"]).body == PHOTO


def test_the_endpoints_of_pickers_pass_the_rules_for_requests_across_origins(said: Any, mode: str) -> None:
    found = said(mode)
    assert found.value("prefetch")["pickerOptions"] == {"maxFiles": 2}
    assert found.value("cloud.list")[found.order["cloud"]]["contents"]
    assert isinstance(found.value("logout"), dict)


@pytest.mark.parametrize("name", ["preview in the page", "preview in the page with a style sheet"])
def test_a_document_is_shown_in_a_frame_of_the_page(said: Any, mode: str, name: str) -> None:
    source = said(mode).value(name)["src"]
    frames = [frame for frame in said(mode).page.frames if frame.url == source]
    assert frames, [frame.url for frame in said(mode).page.frames]
    assert source.startswith(f"https://cdn.{DOMAIN}/preview") and "paper.pdf" in frames[0].title()


def test_a_document_is_shown_in_a_window(said: Any, place: Place, mode: str) -> None:
    (url,) = said(mode).value("preview in a window")["opened"]
    reply = place.server.get(url.removeprefix(f"https://cdn.{DOMAIN}"))
    assert (reply.status, reply.headers["content-type"].partition(";")[0]) == (200, "text/html")


def test_there_is_no_picker_to_load(said: Any, place: Place, mode: str) -> None:
    """Its script is the vendor's own and not part of this server. The client says nothing then: its promise stays open."""
    assert said(mode).value("picker")["missing"].startswith(f"https://static.{DOMAIN}/picker/")
    asked = [exchange for exchange in place.front.exchanges if exchange.host == f"static.{DOMAIN}"]
    assert asked and all(400 <= exchange.status < 500 for exchange in asked)


def test_a_page_can_read_why_it_was_refused(said: Any) -> None:
    found = said("secured")
    answer = found.error("refused metadata")["answer"]
    assert (answer["status"], answer["data"]["error"]["code"]) == (403, "policy_required")
    assert found.error("refused upload")["status"] == "Failed"
