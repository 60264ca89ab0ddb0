"""The policy builder: what is chosen is signed on the server, the secret stays there, and what it gives works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from axe_core import violations
from live import picture
from portal_site import DEVELOPER, LOOKS, VIEWER, Site, fits

from secure_delivery.gate.model import Application
from secure_delivery.gate.policy import Call, Policy

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

HOSTILE = [
    '"><img src=x onerror=alert(1)>',
    "\N{RIGHT-TO-LEFT OVERRIDE}moc.elpmaxe",
    "a" * 5000,
    "</script><b>",
    "'; rm -rf / #",
]


def _secret(application: Application) -> str:
    return application.secrets.signing.value.decode()


def _sign(site: Site, application: Application, **fields: Any) -> dict[str, Any]:
    path = f"/applications/{application.api_key}/policies/sign"
    reply = site.call("POST", path, fields, token=site.token(DEVELOPER))
    assert reply.status == 200, reply.body
    found: dict[str, Any] = reply.json()
    return found


def _target(address: str) -> str:
    """Path and query of an address."""
    return "/" + address.partition("://")[2].partition("/")[2]


def _ready(made: dict[str, Any], label: str) -> str:
    return next(str(each["text"]) for each in made["ready"] if each["label"] == label)


def test_a_policy_is_built_live_and_its_address_shows_the_picture(visit: Callable[..., Page], site: Site) -> None:
    application = site.server.application(require_policy=True)
    handle = site.server.put(application, picture(900, 600), "owl.jpg").handle
    page = visit(f"/applications/{application.api_key}/policies")
    page.get_by_label("It is good for").select_option("3600")
    page.get_by_label("convert", exact=True).check()
    page.get_by_label("Only this file (handle)").fill(handle)
    page.get_by_label("The picture, 300 pixels wide", exact=True).get_by_text(handle).wait_for()
    address = page.get_by_label("The picture, 300 pixels wide", exact=True).inner_text()
    assert _secret(application) not in page.content()
    page.goto(address)
    assert page.evaluate("document.images[0].naturalWidth") == 300


def test_warnings_come_with_what_is_too_wide(visit: Callable[..., Page], site: Site) -> None:
    application = site.server.application(regex="search")
    page = visit(f"/applications/{application.api_key}/policies")
    notes = page.locator("[data-result] .note.warn")
    page.get_by_label("It is good for").select_option("604800")
    notes.filter(has_text="more than 24 hours").wait_for()
    assert notes.filter(has_text="No handle is named").count() == 1
    page.get_by_label("Everything but EXIF").check()
    notes.filter(has_text="No call is named").wait_for()
    page.get_by_text("Limits for uploads and sources").click()
    page.get_by_label("Pattern of path").fill("uploads")
    notes.filter(has_text="not anchored").wait_for()
    page.get_by_label("Pattern of path").fill("^/uploads/.*$")
    notes.filter(has_text="not anchored").wait_for(state="detached")


def test_patterns_are_tried_on_samples_in_the_mode_of_the_application(visit: Callable[..., Page], site: Site) -> None:
    application = site.server.application()
    page = visit(f"/applications/{application.api_key}/policies")
    page.get_by_text("Limits for uploads and sources").click()
    page.get_by_label("pick", exact=True).check()
    page.get_by_label("Pattern of path").fill("/uploads/")
    page.get_by_label("Try path on").fill("/uploads/owl.jpg")
    page.get_by_text("does not match").wait_for()
    page.get_by_label("Pattern of path").fill("/uploads/.*")
    page.get_by_text("matches", exact=True).wait_for()
    page.get_by_label("Pattern of path").fill("(?=no)")
    page.get_by_text("pattern does not compile").first.wait_for()
    assert page.get_by_label("Pattern of path").get_attribute("aria-invalid") == "true"


def test_the_form_works_without_script_and_keeps_what_was_typed(visit: Callable[..., Page], site: Site) -> None:
    application = site.server.application(require_policy=True)
    handle = site.server.put(application, b"owls").handle
    page = visit(f"/applications/{application.api_key}/policies", java_script_enabled=False)
    page.get_by_label("read", exact=True).uncheck()
    page.get_by_role("button", name="Sign it").click()
    page.get_by_role("alert").wait_for()
    assert "Tick at least one call" in page.get_by_role("alert").inner_text()
    page.get_by_label("read", exact=True).check()
    page.get_by_label("stat", exact=True).check()
    page.get_by_label("It is good for").select_option("date")
    page.get_by_label("Until").fill("2090-12-31T18:00")
    page.get_by_label("Only this file (handle)").fill(handle)
    page.get_by_role("button", name="Sign it").click()
    address = page.get_by_label("The file, policy in the path", exact=True).inner_text()
    assert site.server.get(_target(address)).body == b"owls"
    assert page.get_by_label("stat", exact=True).is_checked() and not page.get_by_label("pick", exact=True).is_checked()
    assert page.get_by_label("Only this file (handle)").input_value() == handle
    assert page.get_by_text("more than 24 hours").count() == 1
    page.get_by_label("Until").fill("2001-01-01T00:00")
    page.get_by_role("button", name="Sign it").click()
    page.get_by_role("alert").get_by_text("over already").wait_for()


def test_every_address_and_line_that_is_handed_out_is_let_in(site: Site) -> None:
    application = site.server.application(require_policy=True)
    handle = site.server.put(application, picture(900, 600), "owl.jpg").handle
    made = _sign(site, application, call=[call.value for call in Call], expires_in=600, handle=handle)
    addresses = [each for each in made["ready"] if each["group"] == "address"]
    assert {each["label"] for each in addresses} >= {"The file, policy in the query", "Facts about the file"}
    for each in addresses:
        assert site.server.get(_target(each["text"])).status == 200, each
    uploads = _sign(site, application, call=["pick", "store"], expires_in=600)
    assert site.server.get(_target(_ready(uploads, "The upload page"))).status == 200
    for line, method, body in (
        (_ready(uploads, "Upload"), "POST", picture(20, 10)),
        (_ready(made, "Overwrite"), "POST", picture(30, 10)),
        (_ready(made, "Delete"), "DELETE", None),
    ):
        found = re.search(r"'(https?://[^']+)'", line)
        assert found is not None
        sent = {"Content-Type": "image/jpeg"} if body else {}
        assert site.server.request(method, _target(found[1]), body=body, headers=sent).status == 200, line


@pytest.mark.parametrize("label", ["Python, with this package", "Python, standard library alone", "JavaScript (Node.js)"])
def test_the_code_makes_policies_that_are_let_in(site: Site, tmp_path: Any, label: str) -> None:
    node = shutil.which("node")
    if label.startswith("JavaScript") and node is None:
        pytest.skip("no node")
    application = site.server.application(require_policy=True)
    handle = site.server.put(application, b"owls").handle
    limits = {"path": "/ü'\"\\\\/.*", "maxSize": 5}
    code = _ready(_sign(site, application, call=["read", "pick"], expires_in=600, handle=handle, **limits), label)
    file = tmp_path / ("sign.mjs" if label.startswith("JavaScript") else "sign.py")
    file.write_text(code, "utf-8")
    command = [str(node) if label.startswith("JavaScript") else sys.executable, str(file)]
    env = {**os.environ, "SECURE_DELIVERY_SECRET": _secret(application), "PYTHONPATH": ""}
    query = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    assert site.server.get(f"/{handle}?{query}").body == b"owls"
    assert site.server.get(f"/{'A' * 21}?{query}").status in (403, 404)
    encoded = query.partition("policy=")[2].partition("&")[0].replace("%3D", "=")
    policy = Policy.decode(encoded)
    assert (policy.path, policy.max_size, policy.call) == (limits["path"], 5, frozenset({Call.READ, Call.PICK}))
    assert 500 < policy.expiry - time.time() < 700


def test_what_is_signed_is_what_was_asked_for_by_the_newest_secret(site: Site) -> None:
    application = site.server.application()
    site.server.engine.records.rotate_secret(application.api_key, grace=60)
    now = site.server.current(application.api_key)
    made = _sign(
        site, now, call=["pick"], expires_in=300, container="photos", path="/a/.*", url="https://.*", minSize=1, maxSize=9
    )
    policy = Policy.decode(made["encoded"])
    assert (policy.container, policy.path, policy.url, policy.min_size, policy.max_size) == (
        "photos",
        "/a/.*",
        "https://.*",
        1,
        9,
    )
    assert made["signature"] == policy.sign(now.secrets.signing.value).signature
    assert made["policy"]["expiry"] == made["expiry"] == policy.expiry
    assert abs(policy.expiry - time.time() - 300) < 60
    assert _secret(now) not in str(made) and _secret(application) not in str(made)
    assert _sign(site, now, call=["read"], expiry=4_000_000_000)["expiry"] == 4_000_000_000
    assert "call" not in _sign(site, now, everything=True)["policy"]


def test_signing_is_counted(site: Site) -> None:
    application = site.server.application()
    path = f"/applications/{application.api_key}/policies/sign"
    for _ in range(2):
        site.call("POST", path, {"call": ["read"]}, token=site.token(DEVELOPER))
    site.call("POST", path, {"call": ["nothing"]}, token=site.token(DEVELOPER))
    deadline, count = time.monotonic() + 30, 0
    while count < 2 and time.monotonic() < deadline:  # the server writes its figures down every few seconds
        totals = {(each.name, each.label): each.value for each in _totals(site, application)}
        count = totals.get(("signed", "portal"), 0)
    assert count == 2


def _totals(site: Site, application: Application) -> list[Any]:
    return [each for each in site.server.engine.figures.totals(each=True) if each.application == application.api_key]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "call"),
        ({"call": []}, "call"),
        ({"call": ["fly"]}, "call"),
        ({"call": {"a": 1}}, "call"),
        ({"call": ["read"], "expires_in": 0}, "expires_in"),
        ({"call": ["read"], "expires_in": 10**12}, "expires_in"),
        ({"call": ["read"], "expires_in": "date"}, "until"),
        ({"call": ["read"], "until": "tomorrow"}, "until"),
        ({"call": ["read"], "until": "9999-12-31 23:59"}, "until"),
        ({"call": ["read"], "until": "2031-02-30 10:00"}, "until"),
        ({"call": ["read"], "expiry": 1}, "expiry"),
        ({"call": ["read"], "expiry": 1_900_000_000_000}, "expiry"),
        ({"call": ["read"], "path": "(("}, "path"),
        ({"call": ["read"], "url": "a" * 513}, "url"),
        ({"call": ["read"], "container": "ü" * 400}, "container"),
        ({"call": ["read"], "minSize": -1}, "minSize"),
        ({"call": ["read"], "maxSize": "many"}, "maxSize"),
        ({"call": ["read"], "handle": "a\u0000b"}, "handle"),
        ({"call": ["read"], "secret": "x"}, "secret"),
    ],
    ids=[
        "no-call", "empty-call", "unknown-call", "call-object", "zero", "too-long", "no-date", "words", "far-date",
        "no-such-day", "past", "milliseconds", "no-pattern", "long-pattern", "long-in-bytes", "negative", "no-number",
        "null-byte", "unknown-field",
    ],
)  # fmt: skip
def test_what_cannot_be_signed_is_a_fault_that_names_the_field(site: Site, fields: dict[str, Any], field: str) -> None:
    application = site.server.application()
    path = f"/applications/{application.api_key}/policies/sign"
    reply = site.call("POST", path, fields, token=site.token(DEVELOPER))
    assert (reply.status, reply.json()["error"].get("field")) == (400, field), reply.body


@pytest.mark.parametrize("look", LOOKS)
def test_the_page_is_accessible_and_fits(visit: Callable[..., Page], site: Site, axe: str, look: str) -> None:
    application = site.server.application()
    page = visit(f"/applications/{application.api_key}/policies", **LOOKS[look])
    assert violations(page, axe) == []
    page.get_by_text("Limits for uploads and sources").click()
    page.get_by_label("It is good for").select_option("604800")
    page.get_by_label("Everything but EXIF").check()
    page.get_by_label("Pattern of url").fill("https://" + "very-long-name." * 20 + "example/.*")
    page.get_by_label("Try url on").fill("https://example.org/" + "long/" * 60)
    page.get_by_text("does not match").wait_for()
    assert violations(page, axe) == []
    assert fits(page)


@pytest.mark.parametrize("text", HOSTILE, ids=["markup", "override", "long", "script", "shell"])
def test_hostile_values_are_text(visit: Callable[..., Page], site: Site, text: str) -> None:
    application = site.server.application()
    page = visit(f"/applications/{application.api_key}/policies")
    page.get_by_text("Limits for uploads and sources").click()
    page.get_by_label("Only this file (handle)").fill(text)
    page.get_by_label("Pattern of path").fill(re.escape(text)[:500])
    with page.expect_response(lambda answer: answer.url.endswith("/policies/sign")) as signed:
        page.get_by_role("button", name="Sign it").click()
    assert signed.value.status in (200, 400)
    assert page.locator("main img, main b").count() == 0
    assert fits(page)


def test_a_viewer_reads_what_calls_allow_and_signs_nothing(visit: Callable[..., Page], site: Site) -> None:
    application = site.server.application()
    path = f"/applications/{application.api_key}/policies"
    page = visit(path, role=VIEWER)
    page.get_by_text("needs the role of a developer").wait_for()
    assert page.get_by_role("button", name="Sign it").count() == 0
    assert page.get_by_role("region", name="Calls").get_by_text("runWorkflow").count() == 1
    token = site.token(VIEWER)
    assert site.call("GET", path, token=token).status == 200
    assert site.call("POST", f"{path}/sign", {"call": ["read"]}, token=token).code == "not_allowed"
    assert site.call("POST", "/applications/Anobody/policies/sign", {"call": ["read"]}, token=site.token()).code == "not_found"
