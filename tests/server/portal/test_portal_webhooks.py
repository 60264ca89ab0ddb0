"""Webhooks in the portal: a newcomer with the demo receiver, somebody with a receiver of his own, and one that is hostile."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from axe_core import violations
from live import Server, running
from outside import Outside, ok
from portal_site import LOOKS, VIEWER, Site, fits, pages

from secure_delivery.engine.webhook_log import DELIVERED, FAILED
from secure_delivery.server.portal.webhook_samples import JAVASCRIPT, PYTHON

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

SCRIPT = "<script>alert(1)</script>"
BACKWARDS = "\u202eexe.gpj"


@pytest.fixture(scope="module")
def web() -> Iterator[Outside]:
    scripts = {
        "/hook": ok(b"thanks"),
        "/hostile": ok(f"{SCRIPT} {BACKWARDS}".encode(), status="500 Internal Server Error"),
        "/long": ok(b"w" * 5000, status="400 Bad Request"),
        "/gone": ok(b"", status="410 Gone"),
    }
    with Outside(scripts) as web:
        yield web


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, web: Outside) -> Iterator[Server]:
    settings = {"webhook_allow": web.at, "demo_receiver": "true", "webhook_delays": "3600"}
    with running(tmp_path_factory.mktemp("webhooks"), settings=settings) as server:
        yield server


@pytest.fixture
def site(place: Server) -> Site:
    """The portal of a server that may post to the receivers of this file, and has one of its own."""
    return Site(place)


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    with pages(browser, site) as opened:
        yield opened


@pytest.fixture
def key(site: Site) -> str:
    return site.server.application().api_key


def added(site: Site, key: str, url: str, **more: object) -> str:
    """The id of a new webhook, made by a program."""
    reply = site.call("POST", f"/applications/{key}/webhooks", {"url": url} | more, token=site.token())
    assert reply.status == 201, reply.body
    found: str = reply.json()["id"]
    return found


def sent_test(site: Site, key: str, hook: str) -> str:
    """The id of the delivery of a test event."""
    reply = site.call("POST", f"/applications/{key}/webhooks/{hook}/test", {}, token=site.token())
    assert reply.status == 200, reply.body
    found: str = reply.json()["id"]
    return found


def test_a_newcomer_takes_the_demo_receiver_and_sees_a_test_event_arrive(
    visit: Callable[..., Page], site: Site, key: str
) -> None:
    page = visit(f"/applications/{key}/webhooks")
    page.get_by_role("link", name="Use the demo receiver of this server").click()
    assert f":{site.server.port}/demo/webhook?key={key}" in page.get_by_label("Address").input_value()
    page.get_by_label("fp.upload").check()
    page.get_by_role("button", name="Add the webhook").click()
    page.get_by_text("This is the only time").wait_for()
    secret = page.locator("dd code").last.inner_text()
    page.get_by_role("link", name="I have kept it").click()
    assert secret not in page.content()
    page.get_by_text(f"…{secret[-4:]}").wait_for()
    page.get_by_role("button", name="Send a test event").click()
    page.get_by_text("The test arrived: the answer was 204.").wait_for()
    assert "delivered" in page.locator("#delivery").inner_text()
    payload = json.loads(page.get_by_label("the body").locator("code").inner_text())
    assert payload["action"] == "webhook.test"
    headers = page.locator(".card .facts").inner_text()
    assert "webhook-id" in headers and "(not shown)" in headers
    (endpoint,) = site.server.engine.webhooks.endpoints.of(key)
    assert endpoint.events == ("fp.upload",)


def test_the_headers_of_a_try_are_told_as_they_were_sent_but_for_signatures(site: Site, key: str, web: Outside) -> None:
    delivery = sent_test(site, key, added(site, key, web.url("/hook")))
    told = site.call("GET", f"/applications/{key}/webhooks/deliveries/{delivery}", token=site.token()).json()
    sent = dict(line.split(": ", 1) for line in web.seen[-1].decode().split("\r\n")[1:])
    shown = dict(told["tries"][-1]["headers"])
    hidden = {name for name in shown if name.lower().endswith("signature")}
    assert hidden == {"FS-Signature", "webhook-signature"} <= sent.keys()
    assert {name: sent[name] for name in shown.keys() - hidden} == {name: shown[name] for name in shown.keys() - hidden}
    assert all(sent[name] not in json.dumps(told) for name in hidden)


def test_an_upload_is_told_to_the_demo_receiver_and_stands_in_the_log(visit: Callable[..., Page], site: Site, key: str) -> None:
    added(site, key, f"{site.server.url}/demo/webhook?key={key}")
    assert site.server.post(f"/api/store/S3?key={key}&filename={quote(BACKWARDS)}", b"x").status == 200
    page = visit(f"/applications/{key}/webhooks/deliveries")
    page.get_by_label("Event").select_option("fp.upload")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("link", name="fp.upload").click()
    page.locator("#delivery .tag.good").wait_for()  # the page loads itself again while it is on its way
    assert "exe.gpj" in page.get_by_label("the body", exact=True).inner_text()


@pytest.mark.parametrize("forged", ["key", "body", "time", "none"])
def test_the_demo_receiver_refuses_what_is_not_signed(site: Site, key: str, forged: str) -> None:
    from secure_delivery.engine.webhook_sign import headers

    reply = site.call("POST", f"/applications/{key}/webhooks", {"url": site.server.url + "/demo/webhook"}, token=site.token())
    secret, body, now = reply.json()["secret"], b'{"action": "fp.upload"}', int(site.server.engine.clock())
    sent = dict(headers("evt_1", now - (900 if forged == "time" else 0), body, [secret]))
    target = f"/demo/webhook?key={'other' if forged == 'key' else key}"
    if forged == "none":
        sent = {}
    refused = site.server.post(target, body + (b" " if forged == "body" else b""), sent)
    assert (refused.status, refused.code) == (400, "bad_request")
    good = site.server.post(f"/demo/webhook?key={key}", body, dict(headers("evt_1", now, body, [secret])))
    assert good.status == 204


def test_without_the_setting_there_is_no_demo_receiver(server: Server) -> None:
    site, key = Site(server), server.application().api_key
    assert server.post(f"/demo/webhook?key={key}", b"{}").code == "bad_task", "an address of a file, and none that can be"
    assert site.call("GET", f"/applications/{key}/webhooks", token=site.token()).json()["demo_url"] == ""
    given = {"url": f"{server.url}/demo/webhook"}
    assert site.call("POST", f"/applications/{key}/webhooks", given, token=site.token()).code == "bad_field"


def test_the_secret_is_renewed_after_the_password_and_both_sign_for_a_while(
    visit: Callable[..., Page], site: Site, key: str, web: Outside
) -> None:
    hook = added(site, key, web.url("/hook"))
    page = visit(f"/applications/{key}/webhooks/{hook}")
    page.get_by_label("The present secret").select_option("3600")
    page.get_by_role("button", name="Make a new secret").click()
    site.give_password(page)
    page.get_by_text("This is the only time").wait_for()
    page.get_by_role("link", name="I have kept it").click()
    page.get_by_text("the one before signs too until").wait_for()
    sent_test(site, key, hook)
    (signatures,) = [line for line in web.seen[-1].split(b"\r\n") if line.lower().startswith(b"webhook-signature:")]
    assert len(signatures.split()) == 3, "a name and two signatures"


@pytest.mark.parametrize(("path", "status"), [("/hostile", 500), ("/long", 400)])
def test_a_hostile_answer_is_a_text(
    visit: Callable[..., Page], site: Site, key: str, web: Outside, path: str, status: int
) -> None:
    query = "?q=%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E"
    web.scripts[path + query] = web.scripts[path]
    hook = added(site, key, web.url(path) + query)
    page = visit(f"/applications/{key}/webhooks/{hook}")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.get_by_role("button", name="Send a test event").click()
    page.get_by_text("The test did not arrive").wait_for()
    row = page.get_by_role("region", name="Tries").locator("tbody tr").last
    assert str(status) in row.inner_text()
    if path == "/hostile":
        assert SCRIPT in row.inner_text() and "\u202e" not in row.inner_text()
    else:
        assert "w" * 1000 in row.inner_text() and "w" * 1001 not in row.inner_text()
    page.goto(f"{site.url}/applications/{key}/webhooks/deliveries")
    page.get_by_role("link", name="webhook.test").wait_for()
    assert page.locator("main script, main img").count() == 0
    assert dialogs == []
    assert fits(page)


def test_what_was_given_up_is_sent_again(visit: Callable[..., Page], site: Site, key: str, web: Outside) -> None:
    hook = added(site, key, web.url("/later"))
    delivery = sent_test(site, key, hook)
    log = site.server.engine.webhooks.log
    assert log.one(delivery).state == FAILED
    web.scripts["/later"] = ok(b"now it works")
    page = visit(f"/applications/{key}/webhooks/deliveries?state=failed")
    page.get_by_role("link", name="webhook.test").click()
    page.get_by_role("button", name="Send it again").click()
    page.locator("#delivery .tag.good").wait_for()
    page.get_by_text("now it works").wait_for()
    assert (log.one(delivery).state, len(log.tries(delivery))) == (DELIVERED, 2)
    del web.scripts["/later"]


def test_a_webhook_is_changed_switched_off_and_on_and_removed(
    visit: Callable[..., Page], site: Site, key: str, web: Outside
) -> None:
    hook = added(site, key, web.url("/hook"), events=["fp.upload", "fp.delete"])
    endpoints = site.server.engine.webhooks.endpoints
    page = visit(f"/applications/{key}/webhooks/{hook}")
    page.get_by_label("fp.upload").uncheck()
    page.get_by_label("fp.delete").uncheck()
    page.get_by_role("button", name="Save").click()
    page.get_by_text("The webhook is saved.").wait_for()
    assert endpoints.get(key, hook).events == ()
    page.get_by_role("button", name="Switch it off").click()
    page.get_by_text("No more events are sent.").wait_for()
    assert endpoints.get(key, hook).state == "off"
    page.get_by_role("button", name="Switch it on").click()
    page.get_by_text("Events are sent from now on.").wait_for()
    page.get_by_label("Address").fill("http://10.0.0.1/")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("alert").wait_for()
    assert "https" in page.get_by_role("alert").inner_text()
    page.get_by_role("button", name="Remove it").click()
    site.give_password(page)
    page.get_by_text("The webhook is gone").wait_for()
    assert endpoints.of(key) == ()


def test_a_receiver_that_answers_410_is_told_as_gone(visit: Callable[..., Page], site: Site, key: str, web: Outside) -> None:
    hook = added(site, key, web.url("/gone"))
    sent_test(site, key, hook)
    page = visit(f"/applications/{key}/webhooks/{hook}")
    page.get_by_text("because its receiver answered 410").wait_for()
    page.get_by_role("button", name="Switch it on").click()
    page.get_by_text("Events are sent from now on.").wait_for()


def test_the_log_goes_on_page_by_page(site: Site, key: str, web: Outside) -> None:
    hook = added(site, key, web.url("/hook"))
    made = [sent_test(site, key, hook) for _ in range(5)]
    seen, after, token = [], "", site.token()
    while True:
        path = f"/applications/{key}/webhooks/deliveries?limit=2&webhook={hook}&after={after}"
        page = site.call("GET", path, token=token).json()
        seen += [each["id"] for each in page["deliveries"]]
        after = page["next"]
        if after is None:
            break
    assert seen == made[::-1]
    nothing = site.call("GET", f"/applications/{key}/webhooks/deliveries?state=failed", token=token).json()
    assert (nothing["deliveries"], nothing["next"]) == ([], None)
    for wrong in ("state=x", "event=x", "webhook=x", "limit=0"):
        assert site.call("GET", f"/applications/{key}/webhooks/deliveries?{wrong}", token=token).code == "bad_field"
    assert site.call("GET", f"/applications/{key}/webhooks/deliveries?after=x", token=token).status == 404


def test_a_viewer_sees_and_changes_nothing(visit: Callable[..., Page], site: Site, key: str, web: Outside) -> None:
    hook = added(site, key, web.url("/hook"))
    delivery = sent_test(site, key, hook)
    base = f"/applications/{key}/webhooks"
    token = site.token(VIEWER)
    page = visit(base, role=VIEWER)
    for path in (base, f"{base}/{hook}", f"{base}/deliveries", f"{base}/deliveries/{delivery}"):
        page.goto(f"{site.url}{path}")
        assert page.locator("main form[method=post]").count() == 0
        assert site.call("GET", path, token=token).status == 200
    for path in (
        "",
        *(f"/{hook}{what}" for what in ("", "/switch", "/rotate", "/remove", "/test")),
        f"/deliveries/{delivery}/redeliver",
    ):
        assert site.call("POST", base + path, {}, token=token).code == "not_allowed"


def test_webhooks_and_deliveries_of_another_application_are_not_there(site: Site, key: str, web: Outside) -> None:
    hook = added(site, key, web.url("/hook"))
    delivery, token = sent_test(site, key, hook), site.token()
    other = f"/applications/{site.server.application().api_key}/webhooks"
    for path in (f"/{hook}", f"/deliveries/{delivery}"):
        assert site.call("GET", other + path, token=token).status == 404
    for path in (f"/{hook}", f"/{hook}/test", f"/{hook}/rotate", f"/{hook}/remove", f"/deliveries/{delivery}/redeliver"):
        assert site.call("POST", other + path, {}, token=token).status == 404
    assert site.call("POST", f"{other}/{hook}/switch", {"active": False}, token=token).status == 404


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_the_code_on_the_page_verifies_what_was_sent_and_refuses_what_was_changed(
    visit: Callable[..., Page], site: Site, key: str, web: Outside, tmp_path: Path, language: str
) -> None:
    reply = site.call("POST", f"/applications/{key}/webhooks", {"url": web.url("/hook")}, token=site.token())
    secret = reply.json()["secret"]
    sent_test(site, key, reply.json()["id"])
    head, body = web.seen[-1].decode(), web.bodies[-1].decode()
    headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:])
    headers["webhook-signature"] = head.lower() and next(
        line.split(": ", 1)[1] for line in head.split("\r\n") if line.lower().startswith("webhook-signature: ")
    )
    page = visit(f"/applications/{key}/webhooks")
    page.get_by_text("Code that verifies a webhook").click()
    names = {"python": ("the Python code", PYTHON), "javascript": ("the JavaScript code", JAVASCRIPT)}
    shown = page.get_by_label(names[language][0]).and_(page.locator("pre")).text_content() or ""
    assert shown.strip() == names[language][1].strip()
    given = json.dumps([body, headers, secret])
    if language == "python":
        program = f"{shown}\nimport json, sys\nbody, headers, secret = json.loads(sys.argv[1])\n" + (
            "right, changed = (received(text.encode(), headers, secret) for text in (body, body + ' '))\n"
            "print(right is not None, changed is None)"
        )
        command = [sys.executable, "-c", program, given]
    else:
        node = shutil.which("node")
        if node is None:
            pytest.skip("no node: install one to run the example")
        file = tmp_path / "received.mjs"
        told = (
            "const [right, changed] = [body, body + ' '].map((text) => received(Buffer.from(text), headers, secret));\n"
            "console.log(right !== null, changed === null);"
        )
        file.write_text(f"{shown}\nconst [body, headers, secret] = JSON.parse(process.argv[2]);\n{told}\n")
        command = [node, str(file), given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.lower().split() == ["true", "true"], done.stderr


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("path", ["", "?demo=1", "/{hook}", "/deliveries", "/deliveries/{delivery}"])
def test_pages_are_accessible_and_fit(
    visit: Callable[..., Page], site: Site, key: str, web: Outside, axe: str, path: str, look: str
) -> None:
    hook = added(site, key, web.url("/hostile") + "?" + "q" * 1500)
    delivery = sent_test(site, key, hook)
    page = visit(f"/applications/{key}/webhooks{path.format(hook=hook, delivery=delivery)}", **LOOKS[look])
    page.evaluate("document.querySelectorAll('main details').forEach(each => { each.open = true })")
    assert violations(page, axe) == []
    assert fits(page)
