"""The debugger: whatever is pasted is judged as the server would, and every step is told in words."""

from __future__ import annotations

import json
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from axe_core import violations
from live import picture
from portal_site import DEVELOPER, LOOKS, VIEWER, Site, fits

from secure_delivery.gate.model import Application
from secure_delivery.gate.policy import SignedPolicy
from secure_delivery.gate.whitelist import Whitelist

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

HOSTILE = [
    '"><img src=x onerror=alert(1)>',
    "\N{RIGHT-TO-LEFT OVERRIDE}moc.elpmaxe",
    "a" * 5000,
    "</script><b>",
    "curl 'http://x",
]


def _signed(application: Application, **limits: Any) -> SignedPolicy:
    return application.sign(expires_in=600, now=time.time(), **limits)


def _explained(site: Site, application: Application, **fields: Any) -> dict[str, Any]:
    path = f"/applications/{application.api_key}/debugger"
    reply = site.call("POST", path, fields, token=site.token(VIEWER))
    assert reply.status == 200, reply.body
    found: dict[str, Any] = reply.json()
    return found


def test_a_refused_address_is_explained_mended_and_judged_again(visit: Callable[..., Page], site: Site) -> None:
    application = site.server.application(require_policy=True, delivery_whitelist=Whitelist(["*.example.org"]))
    handle = site.server.put(application, picture(40, 30), "owl.jpg").handle
    query = _signed(application, call=["read"]).as_query()
    page = visit(f"/applications/{application.api_key}/policies")
    page.get_by_role("link", name="See why").click()
    line = f"curl -H 'Origin: https://evil.example.net' '{site.server.url}/resize=width:20/{handle}?{query}'"
    page.get_by_label("Address, curl line").fill(line)
    page.get_by_role("button", name="Explain it").click()
    judgement = page.get_by_role("region", name="The judgement")
    judgement.get_by_text("The policy does not permit this request.").wait_for()
    assert judgement.get_by_text("asked: convert; granted: read").count() == 1
    assert judgement.get_by_text("evil.example.net is not on the delivery whitelist").count() == 1
    assert judgement.get_by_text("refuses", exact=True).count() == 2
    assert page.get_by_text("signed by this application", exact=True).count() == 1
    assert page.get_by_label("Address, curl line").input_value() == line
    page.get_by_label("convert").uncheck()
    page.get_by_label("read").check()
    page.get_by_label("Origin", exact=True).fill("https://www.example.org")
    page.get_by_role("button", name="Judge it again").click()
    judgement.get_by_text("Every step passes.").wait_for()
    assert judgement.get_by_text("www.example.org matches *.example.org").count() == 1
    assert page.get_by_label("read").is_checked()


def test_it_says_what_the_server_does(site: Site) -> None:
    application = site.server.application(require_policy=True, delivery_whitelist=Whitelist(["*.example.org"]))
    handle = site.server.put(application, picture(40, 30), "owl.jpg").handle
    good, read, old = (
        _signed(application),
        _signed(application, call=["read"]),
        application.sign(expires_in=1, now=time.time() - 100),
    )
    other = site.server.application().sign(expires_in=600, now=time.time())
    targets = [
        f"/{handle}",
        f"/{handle}?{good.as_query()}",
        f"/{read.as_task()}/{handle}",
        f"/resize=width:20/{read.as_task()}/{handle}",
        f"/resize=width:20/{good.as_task()}/{handle}",
        f"/{handle}?{old.as_query()}",
        f"/{handle}?{other.as_query()}",
        f"/{handle}/metadata?{read.as_query()}",
        f"/api/file/{handle}?{read.as_query()}",
    ]
    for target in targets:
        for origin in (None, "https://www.example.org", "https://evil.example.net", "null"):
            reply = site.server.get(target, {} if origin is None else {"Origin": origin})
            told = _explained(site, application, text=target, **({} if origin is None else {"origin": origin}))
            assert told["allowed"] is (reply.status == 200), (target, origin, told, reply)
            if reply.status != 200:
                assert told["client_sees"]["code"] == reply.code, (target, origin)


def test_every_spelling_of_a_request_is_read(site: Site) -> None:
    application = site.server.application(require_policy=True)
    handle = site.server.put(application, b"owls").handle
    signed = _signed(application, call=["read"])
    address = f"{site.server.url}/{handle}?{signed.as_query()}"
    for text in (
        address,
        address.removeprefix(site.server.url),
        quote(address, safe=""),
        address.replace("&", "&amp;"),
        f"curl '{address}'",
        f"curl -s -o file \\\n  -H 'Accept: */*' \"{address}\"",
        f"$ curl --get {site.server.url}/{handle} -d policy={quote(signed.encoded)} -d signature={signed.signature}",
        f"curl -X GET --url='{address}'",
        f"{site.server.url}/{signed.as_task()}/{handle}",
    ):
        told = _explained(site, application, text=text)
        assert (told["allowed"], told["asked"]["calls"], told["asked"]["handle"]) == (True, ["read"], handle), (text, told)
    for text in (
        signed.as_query(),
        "?" + signed.as_query(),
        signed.as_task(),
        f"{signed.encoded}\n{signed.signature}",
        f"policy: {signed.encoded}\nsignature: {signed.signature}",
        json.dumps(signed.as_fields()),
    ):
        told = _explained(site, application, text=text)
        assert told["allowed"] and told["asked"]["calls"] == ["read"] and "alone" in told["remarks"][0], (text, told)
    told = _explained(site, application, policy=signed.encoded, signature=signed.signature, calls=["remove"])
    assert (told["allowed"], told["reason"]) == (False, "call_not_allowed")


def test_methods_and_secrets_of_curl_lines_count(site: Site) -> None:
    application = site.server.application(require_policy=True)
    handle, secret = site.server.put(application, b"owls").handle, application.secrets.signing.value.decode()
    path = f"{site.server.url}/api/file/{handle}"
    told = _explained(site, application, text=f"curl -X DELETE -u app:{secret} {path}")
    assert (told["allowed"], told["asked"]["calls"], told["asked"]["credential"]) == (True, ["remove"], "secret")
    assert secret not in str(told)
    told = _explained(site, application, text=f"curl --data-binary @owl.jpg {path}")
    assert (told["allowed"], told["reason"], told["asked"]["calls"]) == (False, "missing", ["write"])
    assert site.server.get(f"/{handle}", {"Authorization": "Basic " + _basic(secret)}).status == 200, "nothing was deleted"
    store = f"{site.server.url}/api/store/S3?key={application.api_key}&path=/a/b.jpg"
    told = _explained(
        site, application, text=f"curl -d @x '{store}&{_signed(application, call=['pick'], path='/c/.*').as_query()}'"
    )
    assert (told["reason"], told["asked"]["path"]) == ("path_mismatch", "/a/b.jpg")


def _basic(secret: str) -> str:
    return b64encode(f"app:{secret}".encode()).decode()


def test_what_nobody_signed_is_marked_and_no_right_signature_is_ever_told(visit: Callable[..., Page], site: Site) -> None:
    application = site.server.application(require_policy=True)
    handle = site.server.put(application, b"owls").handle
    good = _signed(application, call=["read"])
    forged = SignedPolicy(good.encoded, "0" * 64)
    page = visit(f"/applications/{application.api_key}/debugger")
    page.get_by_label("Address, curl line").fill(f"/{handle}?{forged.as_query()}")
    page.get_by_role("button", name="Explain it").click()
    said = page.get_by_role("region", name="What the policy says")
    said.get_by_text("Not signed by this application.").wait_for()
    assert '"read"' in said.inner_text()
    assert good.signature not in page.content()
    told = _explained(site, application, text=f"/{handle}?{forged.as_query()}")
    assert told["policy"]["verified"] is False and good.signature not in str(told)


@pytest.mark.parametrize(
    ("encoded", "signature", "remark"),
    [
        ("eyJleHBpcnkiOjF9".rstrip("9"), "0" * 64, "padding"),
        ("e30 e30=", "0" * 64, "blanks"),
        ("e30%3D", "0" * 64, "encoded twice"),
        ("e30=", "A" * 64, "capital letters"),
        ("e30=", "abc", "3 characters"),
        ("e30=", "", "One of the two is empty"),
        ("e30=" * 1100, "0" * 64, "longer than 4096"),
    ],
    ids=["padding", "blanks", "twice", "capitals", "short", "half", "long"],
)
def test_usual_damage_is_named(site: Site, encoded: str, signature: str, remark: str) -> None:
    application = site.server.application(require_policy=True)
    told = _explained(site, application, policy=encoded, signature=signature)
    assert not told["allowed"]
    assert any(remark in each for each in told["policy"]["remarks"]), told["policy"]


def test_what_is_answered_before_it_is_judged_is_told(site: Site) -> None:
    application, other = site.server.application(require_policy=True), site.server.application()
    good = _signed(application)
    told = _explained(site, application, text=f"/resise=width:20/{'A' * 21}?{good.as_query()}")
    assert (told["allowed"], told["answered"]["status"], told["answered"]["code"]) == (False, 400, "bad_task")
    assert told["policy"]["verified"], "its credential is looked at all the same"
    theirs = site.server.put(other, b"x").handle
    for handle in (theirs, "A" * 21):
        told = _explained(site, application, text=f"/{handle}?{good.as_query()}")
        assert told["answered"] is None and "no file with this handle" in told["remarks"][-1]
    told = _explained(site, application, text=f"/api/store/S3?key={other.api_key}&{good.as_query()}")
    assert "not that of this application" in told["remarks"][-1] and told["allowed"]
    told = _explained(site, application, text=f"/{good.as_task()}/{good.as_task()}/{theirs}")
    assert told["answered"]["code"] == "credential_conflict"


@pytest.mark.parametrize(
    "text", ["", "   ", "hello", "curl", "curl 'http://x", "{", '{"policy": 1}', "ftp://x/y", "curl -X POST"]
)
def test_what_cannot_be_read_is_a_fault_of_its_field(site: Site, text: str) -> None:
    application = site.server.application()
    path = f"/applications/{application.api_key}/debugger"
    reply = site.call("POST", path, {"text": text}, token=site.token(DEVELOPER))
    assert (reply.status, reply.json()["error"]["field"]) == (400, "text"), reply.body


def test_the_page_works_without_script(visit: Callable[..., Page], site: Site) -> None:
    application = site.server.application(require_policy=True)
    page = visit(f"/applications/{application.api_key}/debugger", java_script_enabled=False)
    page.get_by_label("Address, curl line").fill("not an address")
    page.get_by_role("button", name="Explain it").click()
    page.get_by_role("alert").get_by_text("neither an address").wait_for()
    assert page.get_by_label("Address, curl line").input_value() == "not an address"
    page.get_by_label("Address, curl line").fill(f"/{'A' * 21}")
    page.get_by_label("Method").select_option("HEAD")
    page.get_by_role("button", name="Explain it").click()
    page.get_by_text("needs a policy and a signature").first.wait_for()


@pytest.mark.parametrize("look", LOOKS)
def test_the_page_is_accessible_and_fits(visit: Callable[..., Page], site: Site, axe: str, look: str) -> None:
    application = site.server.application(require_policy=True, delivery_whitelist=Whitelist(["a.example.org"]))
    page = visit(f"/applications/{application.api_key}/debugger", **LOOKS[look])
    assert violations(page, axe) == []
    query = _signed(application, path="/" + "long" * 100, call=["pick"]).as_query()
    page.get_by_label("Address, curl line").fill(f"curl -H 'Origin: https://{'very-long.' * 20}example' /{'A' * 21}?{query}")
    page.get_by_role("button", name="Explain it").click()
    page.get_by_role("heading", name="The judgement").wait_for()
    assert violations(page, axe) == []
    assert fits(page)


@pytest.mark.parametrize("text", HOSTILE, ids=["markup", "override", "long", "script", "quotes"])
def test_hostile_texts_are_text(visit: Callable[..., Page], site: Site, text: str) -> None:
    application = site.server.application()
    page = visit(f"/applications/{application.api_key}/debugger")
    encoded = urlsafe_b64encode(f'{{"handle":"{text[:2000]}"}}'.encode()).decode()
    for given in (text, f"/x?policy={quote(encoded)}&signature={'0' * 64}", f"curl -H 'Origin: {text[:2000]}' /{'A' * 21}"):
        page.get_by_label("Address, curl line").fill(given)
        page.get_by_role("button", name="Explain it").click()
        page.locator(".note.bad, .note.good").first.wait_for()
        assert page.locator("main img, main b").count() == 0
        assert fits(page)


def test_a_viewer_may_ask_and_a_stranger_not(visit: Callable[..., Page], site: Site) -> None:
    application = site.server.application()
    path = f"/applications/{application.api_key}/debugger"
    page = visit(path, role=VIEWER)
    page.get_by_label("Address, curl line").fill("/" + "A" * 21)
    page.get_by_role("button", name="Explain it").click()
    page.get_by_text("Every step passes.").wait_for()
    assert site.call("POST", path, {"text": "/x"}).code == "not_signed_in"
    assert site.call("POST", "/applications/Anobody/debugger", {"text": "/x"}, token=site.token()).code == "not_found"
