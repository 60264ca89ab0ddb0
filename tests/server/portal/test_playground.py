"""The playground: tasks put together by people and programs, looked at, and addresses copied that give the same bytes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
from axe_core import violations
from live import Reply, Server, picture
from PIL import Image
from playwright.sync_api import expect
from portal_site import DEVELOPER, LOOKS, VIEWER, Site, fits

from secure_delivery.engine.records import FileLink
from secure_delivery.gate.model import Application
from secure_delivery.plugin.manager import load

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser

HOSTILE = '"><img src=x onerror=alert(1)>'
RIGHT_TO_LEFT = "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe"
TASKS = sorted(load(settings={"builtin": {"root": "files"}}).transformations)


@pytest.fixture
def application(site: Site) -> Application:
    return site.server.application(require_policy=True)


@pytest.fixture
def owl(site: Site, application: Application) -> FileLink:
    return site.server.put(application, picture(800, 600), "owl.jpg")


def _here(application: Application, **query: str) -> str:
    return f"/applications/{application.api_key}/playground" + (f"?{urlencode(query)}" if query else "")


def _try(site: Site, application: Application, role: str = DEVELOPER, **fields: Any) -> Reply:
    return site.call("POST", _here(application), fields, token=site.token(role))


def _shown(page: Page) -> Locator:
    return page.get_by_role("img", name="The result")


def _fetched(server: Server, url: str) -> Reply:
    """What an address of the service gives to anybody."""
    parts = urlsplit(url)
    assert parts.port == server.port
    return server.get(parts.path, {"Host": parts.netloc})


# ------------------------------------------------------------------------------------------------------------ a person


def test_a_file_is_picked_and_resized_and_the_address_gives_the_same_bytes_to_anybody(
    visit: Callable[..., Page], site: Site, application: Application, owl: FileLink
) -> None:
    page = visit(_here(application))
    page.get_by_role("radio", name="owl.jpg").check()
    page.get_by_role("button", name="resize", exact=True).click()
    page.get_by_label("width", exact=True).fill("123")
    expect(_shown(page)).to_have_js_property("naturalWidth", 123)
    page.get_by_text("123 × 92").wait_for()
    url = page.locator("[data-slot=url]").inner_text()
    assert url.startswith(f"http://localhost:{site.server.port}/")
    reply = _fetched(site.server, url)
    assert reply.status == 200
    assert Image.open(io.BytesIO(reply.body)).size == (123, 92)
    told = page.locator("[data-slot=bytes]").inner_text()
    assert told == str(len(reply.body))
    same = page.evaluate(
        "async url => [...new Uint8Array(await (await fetch(url)).arrayBuffer())]", _shown(page).get_attribute("src")
    )
    assert bytes(same) == reply.body
    # The state is in the address of the page: who opens it sees the same.
    again = visit(page.url.removeprefix(site.url))
    expect(_shown(again)).to_have_js_property("naturalWidth", 123)
    assert again.get_by_label("width", exact=True).input_value() == "123"


def test_it_works_by_keyboard_alone(visit: Callable[..., Page], application: Application, owl: FileLink) -> None:
    page = visit(_here(application, handle=owl.handle))
    page.get_by_label("Find a task").focus()
    page.keyboard.type("res")
    assert page.get_by_role("button", name="sepia", exact=True).count() == 0
    page.keyboard.press("Enter")  # takes the first that is left
    page.get_by_label("width", exact=True).wait_for()
    assert page.evaluate("document.activeElement.name") == "0.width"
    page.keyboard.type("77")
    expect(_shown(page)).to_have_js_property("naturalWidth", 77)
    page.get_by_role("button", name="Remove resize").focus()
    page.keyboard.press("Enter")
    page.get_by_text("None yet.").wait_for()


def test_tasks_are_moved_and_removed(visit: Callable[..., Page], application: Application, owl: FileLink) -> None:
    page = visit(_here(application, handle=owl.handle, tasks="resize=width:100,height:50,fit:scale/rotate=deg:90"))
    page.get_by_text("50 × 100").wait_for()
    page.get_by_role("button", name="Move rotate up").click()
    page.get_by_text("100 × 50").wait_for()
    legends = page.locator(".chain legend").all_inner_texts()
    assert legends == ["rotate", "resize"]
    page.get_by_role("button", name="Remove rotate").click()
    page.wait_for_url(lambda url: "rotate" not in url)
    assert page.locator(".chain legend").all_inner_texts() == ["resize"]


def test_an_example_is_one_press(visit: Callable[..., Page], application: Application, owl: FileLink) -> None:
    page = visit(_here(application))
    page.get_by_role("radio", name="owl.jpg").check()  # the page was made before this was chosen
    page.get_by_role("link", name="Square avatar").click()
    page.get_by_text("240 × 240").wait_for()
    expect(_shown(page)).to_have_js_property("naturalWidth", 240)


def test_it_works_without_scripts(visit: Callable[..., Page], application: Application, owl: FileLink) -> None:
    page = visit(_here(application), java_script_enabled=False)
    page.get_by_role("radio", name="owl.jpg").check()
    page.get_by_role("button", name="resize", exact=True).click()
    page.get_by_label("width", exact=True).fill("64")
    page.get_by_role("button", name="Show the result").click()
    page.get_by_text("64 × 48").wait_for()
    page.get_by_label("width", exact=True).fill("0x40")
    page.get_by_role("button", name="Show the result").click()
    page.get_by_role("alert").wait_for()
    assert page.get_by_label("width", exact=True).get_attribute("aria-invalid") == "true"
    assert page.get_by_label("width", exact=True).input_value() == "0x40"


@pytest.mark.parametrize(
    "value", ["abc", "-1", "1e9", "99999999999999999999", HOSTILE, RIGHT_TO_LEFT, "\\", "[", "[1,[", "%00"]
)
def test_a_bad_parameter_is_named_at_its_field_as_it_is_typed(
    visit: Callable[..., Page], application: Application, owl: FileLink, value: str
) -> None:
    page = visit(_here(application, handle=owl.handle, tasks="resize=width:50"))
    field = page.get_by_label("width", exact=True)
    field.fill(value)
    expect(page.locator('[data-wrong="0.width"]')).not_to_be_empty()
    expect(field).to_have_attribute("aria-invalid", "true")
    assert page.locator("img[src=x]").count() == 0
    field.fill("60")
    expect(_shown(page)).to_have_js_property("naturalWidth", 60)
    expect(field).not_to_have_attribute("aria-invalid", "true")


def test_what_is_no_picture_is_described_and_json_is_shown_as_text(
    visit: Callable[..., Page], site: Site, application: Application, owl: FileLink
) -> None:
    page = visit(_here(application, handle=owl.handle, tasks="imagesize"))
    said = page.get_by_label("What the result says").inner_text()
    assert json.loads(said) == {"width": 800, "height": 600}
    assert not _shown(page).is_visible()
    page.goto(f"{site.url}{_here(application, handle=owl.handle, tasks='ascii')}")
    opened = page.get_by_role("link", name="Open it").get_attribute("href")
    assert opened is not None
    assert _fetched(site.server, opened).headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize(
    "tasks",
    ["", "resize=width:480/rounded_corners=radius:24/shadow=vector:[6,6]/output=format:png", "imagesize", "resize=width:x"],
    ids=["empty", "long", "json", "wrong"],
)
def test_pages_are_accessible_and_fit(
    visit: Callable[..., Page], site: Site, application: Application, axe: str, tasks: str, look: str
) -> None:
    link = site.server.put(application, picture(), f"{HOSTILE}{RIGHT_TO_LEFT}{'x' * 150}.jpg")
    page = visit(_here(application, handle=link.handle, tasks=tasks), **LOOKS[look])
    page.wait_for_load_state("networkidle")
    assert violations(page, axe) == []
    assert fits(page)
    assert page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize("look", LOOKS)
def test_the_page_of_all_tasks_is_accessible_and_fits(
    visit: Callable[..., Page], application: Application, axe: str, look: str
) -> None:
    page = visit(f"{_here(application)}/tasks", **LOOKS[look])
    page.get_by_role("heading", name="resize", exact=True).wait_for()
    assert violations(page, axe) == []
    assert fits(page)


def test_hostile_names_and_values_are_text(visit: Callable[..., Page], site: Site, application: Application) -> None:
    link = site.server.put(application, picture(), HOSTILE)
    page = visit(_here(application))
    assert page.locator(".pick span").first.inner_text() == HOSTILE
    many = urlencode(
        [("handle", link.handle), ("task", HOSTILE), ("task", "border"), ("1.color", HOSTILE), ("1.nonsense", HOSTILE)]
    )
    page.goto(f"{site.url}{_here(application)}?{many}")
    assert HOSTILE[:40] in page.get_by_role("alert").inner_text()
    assert page.get_by_label("color").input_value() == HOSTILE
    page.goto(f"{site.url}{_here(application, handle='x' * 3000, tasks=HOSTILE)}")
    page.get_by_role("alert").wait_for()
    assert page.locator("img[src=x]").count() == 0


# ----------------------------------------------------------------------------------------------------------- a program


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_form(site: Site, application: Application, name: str) -> None:
    token = site.token(VIEWER)
    page = site.call("GET", "/" + _here(application, task=name), token=token)
    assert page.code == "no JSON error: 303 b''"  # pages are for people
    told = site.call("GET", _here(application, task=name), token=token).json()
    [task] = told["tasks"]
    assert task["name"] == name
    assert not task["unknown"]
    assert task["says"]
    listed = site.call("GET", f"{_here(application)}/tasks", token=token).json()["tasks"]
    [same] = [each for each in listed if each["name"] == name]
    assert [one["name"] for one in task["params"]] == [one["name"] for one in same["params"]]
    for one in task["params"]:
        assert one["form"] in ("switch", "choice", "number", "text")
        assert one["allowed"]
        assert (one["form"] == "number") == (one["least"] is not None)
        assert (one["form"] in ("switch", "choice")) == bool(one["choices"])


def test_every_task_has_a_form_on_the_page(visit: Callable[..., Page], site: Site, application: Application) -> None:
    page = visit(_here(application))
    names = [button.get_attribute("value") for button in page.locator("button[name=add]").all()]
    assert sorted(filter(None, names)) == TASKS
    told = site.call("GET", f"{_here(application)}/tasks", token=site.token(VIEWER)).json()["tasks"]
    for start in range(0, len(told), 16):  # so many fit into one chain
        some = told[start : start + 16]
        page.goto(f"{site.url}{_here(application)}?{urlencode([('task', each['name']) for each in some])}")
        for number, each in enumerate(some):
            fields = page.locator(f"[name^='{number}.']").evaluate_all("all => all.map(one => one.name)")
            assert fields == [f"{number}.{one['name']}" for one in each["params"]]


def test_defaults_as_they_are_told_are_understood(site: Site, application: Application, owl: FileLink) -> None:
    told = site.call("GET", f"{_here(application)}/tasks", token=site.token(VIEWER)).json()["tasks"]
    for each in told:
        if each["lacks"] or each["job"] or each["source"] != "file" or any(one["required"] for one in each["params"]):
            continue
        params = {one["name"]: one["default"] for one in each["params"] if one["default"]}
        reply = _try(site, application, handle=owl.handle, tasks=[{"name": each["name"], "params": params}])
        if reply.status == 400:  # the file may be of the wrong kind, but no value is wrong
            assert "." not in reply.json()["error"].get("field", ""), (each["name"], reply.body)


def test_the_answer_to_a_program(site: Site, application: Application, owl: FileLink) -> None:
    tasks = [{"name": "resize", "params": {"width": 90, "height": 30, "fit": "crop", "align": ["top", "left"]}}]
    first = _try(site, application, handle=owl.handle, tasks=tasks, expires_in=86_400)
    told = first.json()
    result = told["result"]
    assert (first.status, result["mimetype"], result["width"], result["height"]) == (200, "image/jpeg", 90, 30)
    assert not result["kept"]
    assert told["bound"]
    assert abs(told["expiry"] - site.server.engine.clock() - 86_400) < 60
    again = _try(site, application, handle=owl.handle, tasks="resize=width:90,height:30,fit:crop,align:[top,left]").json()
    assert again["result"]["kept"]
    assert again["result"]["bytes"] == result["bytes"]
    assert _fetched(site.server, told["url"]).status == 200
    other = site.server.put(application, picture(10, 10), "other.jpg")
    stolen = told["url"].replace(owl.handle, other.handle)
    assert _fetched(site.server, stolen).status == 403  # the policy is good for one file only
    picture_of = site.call("GET", result["picture"], token=site.token(VIEWER))
    assert picture_of.body == _fetched(site.server, told["url"]).body
    assert picture_of.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert picture_of.headers["x-content-type-options"] == "nosniff"


def test_an_open_application_has_addresses_without_a_policy(site: Site) -> None:
    application = site.server.application()
    link = site.server.put(application, picture(), "owl.jpg")
    told = _try(site, application, handle=link.handle, tasks="resize=width:50").json()
    assert (told["policy"], told["expiry"], told["unsigned"]) == (None, None, False)
    assert "security=" not in told["url"]
    assert _fetched(site.server, told["url"]).status == 200
    plain = _try(site, application, handle=link.handle, tasks="").json()
    assert _fetched(site.server, plain["url"]).body == picture()


def test_a_viewer_looks_and_signs_nothing(site: Site, application: Application, owl: FileLink) -> None:
    told = _try(site, application, VIEWER, handle=owl.handle, tasks="resize=width:50").json()
    assert told["result"]["width"] == 50
    assert (told["policy"], told["unsigned"]) == (None, True)
    assert _fetched(site.server, told["url"]).status == 403
    outside = _try(site, application, VIEWER, handle="https://example.org/a.jpg", tasks="resize=width:50")
    assert outside.code == "not_allowed"
    marked = [{"name": "watermark", "params": {"file": "https://example.org/a.jpg"}}]
    assert _try(site, application, VIEWER, handle=owl.handle, tasks=marked).code == "not_allowed"


def test_nobody_tries_anything_without_signing_in(site: Site, application: Application, owl: FileLink) -> None:
    assert site.call("POST", _here(application), {"handle": owl.handle}).code == "not_signed_in"
    assert site.call("GET", f"{_here(application)}/result?handle={owl.handle}&tasks=flip").code == "not_signed_in"


def test_files_of_another_application_are_not_there(site: Site, application: Application, owl: FileLink) -> None:
    other = site.server.application()
    mine = site.server.put(other, picture(), "mine.jpg")
    marked = [{"name": "watermark", "params": {"file": owl.handle}}]
    for fields in (
        {"handle": owl.handle, "tasks": "flip"},
        {"handle": owl.handle},
        {"handle": mine.handle, "tasks": marked},
        {"handle": f"{mine.handle} {owl.handle}", "tasks": "zip"},
    ):
        reply = _try(site, other, **fields)
        assert (reply.status, reply.code) == (404, "not_found")
    raw = f"{_here(other)}/result?handle={owl.handle}&tasks=flip"
    assert site.call("GET", raw, token=site.token(DEVELOPER)).status == 404
    told = site.call("GET", _here(other, handle=owl.handle, tasks="flip"), token=site.token(DEVELOPER)).json()
    assert (told["fault"]["code"], told["fault"]["field"], told["answer"]) == ("not_found", "other", None)


def test_several_files_make_one_result_and_the_policy_says_that_it_is_wider(
    site: Site, application: Application, owl: FileLink
) -> None:
    second = site.server.put(application, picture(50, 50), "b.jpg")
    told = _try(site, application, handle=f"{owl.handle}, {second.handle}", tasks="animate=width:100").json()
    assert told["result"]["mimetype"] == "image/gif"
    assert not told["bound"]
    assert _fetched(site.server, told["url"]).status == 200
    marked = [{"name": "watermark", "params": {"file": second.handle, "position": "[top,left]"}}]
    told = _try(site, application, handle=owl.handle, tasks=marked).json()
    assert _fetched(site.server, told["url"]).status == 200
    assert not told["bound"]


@pytest.mark.parametrize(
    ("tasks", "field", "code"),
    [
        ([{"name": "resize", "params": {"width": "many"}}], "0.width", "bad_field"),
        ([{"name": "flip"}, {"name": "crop"}], "1.dim", "bad_field"),
        ([{"name": "resiz"}], "0", "bad_field"),
        ([{"name": "resize", "params": {"widht": 3}}], "0.widht", "bad_field"),
        ([{"name": "resize"}], "0", "bad_field"),
        ([{"name": "store"}], "0", "bad_field"),
        ([{"name": 3}], "tasks", "bad_field"),
        ([{"name": "flip", "params": [1]}], "tasks", "bad_field"),
        ([{"name": "flip", "params": {"a": {"b": 1}}}], "tasks", "bad_field"),
        ([{"name": "flip"}] * 40, None, "bad_request"),
        ("flip/security=policy:a,signature:b", None, "bad_request"),
        ("flip//flop", None, "bad_request"),
        ("b64/xyz", None, "bad_request"),
        ("\\", None, "bad_request"),
        ("x" * 9000, "tasks", "bad_field"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_wrong_is_named(
    site: Site, application: Application, owl: FileLink, tasks: Any, field: str | None, code: str
) -> None:
    reply = _try(site, application, handle=owl.handle, tasks=tasks)
    assert reply.status == 400
    assert reply.json()["error"].get("field") == field
    assert field is None or reply.code == code


@pytest.mark.parametrize(
    "handle",
    ["", "short", "src://alias/x", "wf://job", "file:///etc/passwd", "http://user:pass@example.org/", HOSTILE, "x" * 4001],
)
def test_a_source_that_is_none_is_refused(site: Site, application: Application, handle: str) -> None:
    assert _try(site, application, handle=handle, tasks="flip").status == 400


def test_addresses_inside_are_not_fetched(site: Site, application: Application) -> None:
    reply = _try(site, application, handle=f"http://127.0.0.1:{site.server.port}/health/live", tasks="flip")
    assert 400 <= reply.status < 500


def test_unknown_fields_are_not_ignored(site: Site, application: Application, owl: FileLink) -> None:
    assert _try(site, application, handle=owl.handle, task_list="flip").json()["error"]["field"] == "task_list"
    assert _try(site, application, handle=owl.handle, expires_in=5).json()["error"]["field"] == "expires_in"


def test_a_picture_that_is_none_is_not_sent(site: Site, application: Application, owl: FileLink) -> None:
    token = site.token(VIEWER)
    for tasks in ("ascii", "imagesize", "output=format:bmp", ""):
        reply = site.call("GET", f"{_here(application)}/result?handle={owl.handle}&tasks={quote(tasks)}", token=token)
        assert 400 <= reply.status < 500
        assert reply.headers["content-type"] == "application/json"


def test_no_secret_is_told(site: Site, application: Application, owl: FileLink) -> None:
    secret = application.secrets.signing.value
    assert secret not in _try(site, application, handle=owl.handle, tasks="flip").body
    assert secret not in site.call("GET", _here(application, handle=owl.handle), token=site.token(DEVELOPER)).body


def test_the_python_and_curl_that_are_told_do_the_same(
    site: Site, application: Application, owl: FileLink, tmp_path: Path
) -> None:
    tasks = 'resize=width:90,height:30,align:[top,left],fit:crop/modulate=brightness:90/polaroid=background:"ffffff"'
    told = _try(site, application, handle=owl.handle, tasks=tasks).json()
    code = {each["name"]: each["text"] for each in told["code"]}
    wanted = _fetched(site.server, told["url"])
    assert wanted.status == 200
    env = {**os.environ, "SECURE_DELIVERY_SECRET": application.secrets.signing.value.decode()}
    ran = subprocess.run(
        [sys.executable, "-c", code["python"]], capture_output=True, text=True, env=env, timeout=60, check=True
    )
    assert _fetched(site.server, ran.stdout.strip()).body == wanted.body
    subprocess.run(["/bin/sh", "-c", code["curl"]], cwd=tmp_path, timeout=60, check=True, capture_output=True)
    assert (tmp_path / "result.jpg").read_bytes() == wanted.body
    assert told["url"].replace("&", "&amp;") in code["html"]


def test_what_is_tried_out_counts_as_a_result_and_not_as_a_request(site: Site, application: Application, owl: FileLink) -> None:
    _try(site, application, handle=owl.handle, tasks="flop")
    token = site.token(VIEWER)
    steps = site.call("GET", f"/applications/{application.api_key}", token=token).json()["steps"]
    assert [each["done"] for each in steps if each["to"].endswith("/playground")] == [True]
    site.server.engine.usage.flush()
    totals = site.server.engine.figures.totals(each=True)
    mine = {(each.name, each.label) for each in totals if each.application == application.api_key}
    assert ("results", "made") in mine
    assert ("requests", "transformation") not in mine
