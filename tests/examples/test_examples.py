"""The two example apps do what their READMEs say, seen over HTTP and by a real browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from secure_delivery import Call, Policy

if TYPE_CHECKING:
    from playwright.sync_api import Page

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ["flask_app", "starlette_app"]
MARKED = re.compile(r"^[^\n]*secure_delivery: begin[^\n]*\n(.*?)^[^\n]*secure_delivery: end[^\n]*\n", re.DOTALL | re.MULTILINE)
PHONE, DESKTOP = {"width": 360, "height": 740}, {"width": 1180, "height": 800}


def sources(name: str) -> list[Path]:
    return [EXAMPLES / name / "app.py", *sorted((EXAMPLES / name / "templates").glob("*.html"))]


def signed_address(example: Any) -> str:
    """The first signed address that the example's own pages show, absolute."""
    if example.name == "flask_app":
        found = re.search(r'<img[^>]* src="([^"]+)"', httpx.get(f"{example.own}/").text)
    else:
        view = re.search(r'href="(/view/[^"]+)"', httpx.get(f"{example.own}/").text)
        assert view is not None
        found = re.search(r'<iframe[^>]* src="([^"]+)"', httpx.get(example.own + view[1]).text)
    assert found is not None
    return example.own + unescape(found[1])


def form_fields(example: Any) -> dict[str, str]:
    """The hidden fields of the upload form."""
    hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]+)">', httpx.get(f"{example.own}/").text)
    return {name: unescape(value) for name, value in hidden}


def upload(example: Any, trait: Any, filename: str, content: bytes, **headers: str) -> httpx.Response:
    return httpx.post(
        example.own + trait.files,
        data=form_fields(example),
        files={trait.field: (filename, content)},
        headers={"Origin": example.own, **headers},
    )


# ------------------------------------------------------------------------------------------------------ the added lines


@pytest.mark.parametrize("name", NAMES)
def test_fewer_than_ten_lines_were_added_in_code_and_pages_together(name: str) -> None:
    blocks = [block for path in sources(name) for block in MARKED.findall(path.read_text())]
    lines = [line for block in blocks for line in block.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert 5 < len(lines) < 10
    # Nothing of the gate hides outside the marks.
    for path in sources(name):
        rest = MARKED.sub("", path.read_text())
        assert not re.search(r"\bguard\.|import secure_delivery|from secure_delivery|SecureDelivery", rest), path


@pytest.mark.parametrize("name", NAMES)
def test_these_lines_are_what_refuses_the_bare_address(name: str, start: Callable[..., Any], tmp_path: Path) -> None:
    stripped = tmp_path / "stripped"
    shutil.copytree(EXAMPLES / name, stripped, ignore=shutil.ignore_patterns("uploads", "screenshots", "__pycache__"))
    for path in (stripped / "app.py", *(stripped / "templates").glob("*.html")):
        path.write_text(MARKED.sub("", path.read_text()))
    files = {"flask_app": "/photos", "starlette_app": "/files"}[name]
    statuses = []
    for example in (start(name), start(name, source=stripped)):
        handle = min(example.kept)
        statuses.append(httpx.get(f"{example.own}{files}/{handle}", headers={"Referer": f"{example.own}/"}).status_code)
    assert statuses == [403, 200]


# --------------------------------------------------------------------------------------------------------- over the wire


def test_a_signed_address_answers_to_its_own_pages_only(example: Any) -> None:
    address = signed_address(example)
    bare = address.partition("?")[0]
    cases = {
        "own page": (address, {"Referer": f"{example.own}/"}),
        "other site": (address, {"Referer": f"{example.other}/"}),
        "unsaid": (address, {}),
        "bare": (bare, {"Referer": f"{example.own}/"}),
        "cut": (address[:-1], {"Referer": f"{example.own}/"}),
    }
    answers = {case: httpx.get(url, headers=headers) for case, (url, headers) in cases.items()}
    assert answers.pop("own page").status_code == 200
    assert {answer.status_code for answer in answers.values()} == {403}
    codes = {case: answer.json()["error"]["code"] for case, answer in answers.items()}
    assert codes == {
        "other site": "origin_not_allowed",
        "unsaid": "origin_not_allowed",
        "bare": "policy_required",
        "cut": "signature_invalid",
    }


def test_a_signed_answer_is_private_and_not_older_than_its_policy(example: Any) -> None:
    headers = httpx.get(signed_address(example), headers={"Referer": f"{example.own}/"}).headers
    said = re.search(r"max-age=(\d+)", headers["cache-control"])
    assert said is not None and 0 < int(said[1]) <= 3600
    assert "private" in headers["cache-control"] and "public" not in headers["cache-control"]
    assert {"Origin", "Referer"} <= {name.strip() for name in headers["vary"].split(",")}
    assert headers["x-content-type-options"] == "nosniff"


def test_the_upload_form_carries_a_policy_for_picking_at_most_so_many_bytes(example: Any, trait: Any) -> None:
    policy = Policy.decode(form_fields(example)["policy"])
    assert policy.call == frozenset({Call.PICK})
    assert policy.max_size == trait.max_bytes


def test_an_upload_of_exactly_the_limit_is_kept_and_one_byte_more_leaves_nothing(example: Any, trait: Any) -> None:
    before = example.kept
    content = b"\xff\xd8\xff" + bytes(trait.max_bytes - 3)
    refused = upload(example, trait, "wide.jpg", content + b"\0")
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "too_large")
    assert example.kept == before
    assert upload(example, trait, "wide.jpg", content).status_code == 303
    (added,) = example.kept - before
    assert (example.folder / added).read_bytes() == content


def test_an_upload_without_a_policy_or_from_another_site_is_refused(example: Any, trait: Any) -> None:
    before = example.kept
    bare = httpx.post(
        example.own + trait.files, files={trait.field: ("a.jpg", b"\xff\xd8\xff")}, headers={"Origin": example.own}
    )
    foreign = upload(example, trait, "a.jpg", b"\xff\xd8\xff", Origin=example.other)
    assert [answer.json()["error"]["code"] for answer in (bare, foreign)] == ["policy_required", "origin_not_allowed"]
    assert example.kept == before


HOSTILE = [
    "../../outside.jpg",
    "/etc/passwd",
    "..\\..\\outside.jpg",
    "<script>alert(1)</script>.png",
    "%2e%2e%2fx.jpg",
    "...",
    "\u202egpj",
]


def test_a_hostile_file_name_becomes_a_plain_handle_inside_the_folder(example: Any, trait: Any, tmp_path: Path) -> None:
    around = {path.name for path in tmp_path.iterdir()}
    for filename in HOSTILE:
        before = example.kept
        assert upload(example, trait, filename, b"\xff\xd8\xff picture").status_code == 303, filename
        (added,) = example.kept - before
        assert re.fullmatch(r"[0-9a-f]{32}-[a-z0-9-]{1,48}\.jpg", added), filename
    assert "<script>alert" not in httpx.get(f"{example.own}/").text
    assert {path.name for path in tmp_path.iterdir()} == around


def test_what_is_no_picture_or_document_is_refused_by_its_content_not_its_name(example: Any, trait: Any) -> None:
    before = example.kept
    answer = upload(example, trait, "holiday.jpg", b"MZ\x90\0\3\0\0\0\xff\xfe program")
    assert answer.status_code == 415
    assert "can be added" in answer.json()["error"]["message"]
    assert example.kept == before


def test_a_handle_that_is_not_one_of_ours_is_not_looked_up_in_the_folder(example: Any, trait: Any, secret: str) -> None:
    (example.folder / "notes.txt").write_text("private")
    headers = {"Referer": f"{example.own}/"}
    # The application's own secret opens every door of the guard; what is behind them is the app's business.
    owner = httpx.BasicAuth("app", secret)
    known = httpx.get(f"{example.own}{trait.files}/{max(example.kept - {'notes.txt'})}", auth=owner, headers=headers)
    other = httpx.get(f"{example.own}{trait.files}/notes.txt", auth=owner, headers=headers)
    assert (known.status_code, other.status_code) == (200, 404)


def test_deleting_needs_the_policy_for_just_that_file(example: Any, trait: Any) -> None:
    page = httpx.get(f"{example.own}/").text
    first, second = (example.own + unescape(found) for found in re.findall(r'data-remove="([^"]+)"', page)[:2])
    borrowed = f"{second.partition('?')[0]}?{first.partition('?')[2]}"
    before = example.kept
    assert httpx.delete(borrowed).json()["error"]["code"] == "not_permitted"
    assert httpx.delete(first.partition("?")[0]).json()["error"]["code"] == "policy_required"
    assert example.kept == before
    assert httpx.delete(first).status_code == 204
    assert len(before - example.kept) == 1


@pytest.mark.parametrize("name", NAMES)
def test_without_a_secret_in_the_environment_one_is_made_and_said_so(name: str, start: Callable[..., Any]) -> None:
    given, made = start(name), start(name, secret=None)
    assert "SECURE_DELIVERY_SECRET is not set" in made.said
    assert "SECURE_DELIVERY_SECRET" not in given.said
    assert httpx.get(signed_address(made), headers={"Referer": f"{made.own}/"}).status_code == 200


# --------------------------------------------------------------------------------------------------- in a real browser

browser_test = pytest.mark.browser


def watched(page: Page) -> list[str]:
    """What a page complains about from now on: script errors and everything the console calls an error."""
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    return complaints


def press_until(page: Page, selector: str) -> None:
    """Go on with the Tab key until the element has the focus; a page where that takes forty keys is broken."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"{selector} cannot be reached by keyboard")


def upload_by_keyboard(page: Page, address: str, file: Path) -> None:
    """Open the page, choose the file and send the form with nothing but keys."""
    from playwright.sync_api import expect

    # Listened for before the page opens: choosers are only intercepted from then on, which takes the browser a moment.
    page.on("filechooser", lambda chooser: chooser.set_files(file))
    page.goto(address)
    press_until(page, "input[type=file]")
    page.keyboard.press("Enter")
    # Browsers show only the last part of the name. (A waiting script of ours would need an `eval` the pages forbid.)
    expect(page.locator("input[type=file]")).to_have_value(re.compile(re.escape(file.name)))
    press_until(page, "#upload button")
    page.keyboard.press("Enter")


@browser_test
def test_the_gallery_shows_its_pictures_and_the_other_site_gets_none(gallery: Any, open_page: Callable[..., Page]) -> None:
    page = open_page()
    complaints = watched(page)
    page.goto(gallery.own, wait_until="load")
    widths = page.eval_on_selector_all("figure img", "pictures => pictures.map(picture => picture.naturalWidth)")
    assert len(widths) == 6 and all(width > 0 for width in widths)
    assert not complaints
    assert not gallery.refusals
    # The same browser, which has the pictures in its cache by now.
    page.goto(gallery.other, wait_until="load")
    page.wait_for_function("document.querySelectorAll('.refused, .shown').length === 3")
    widths = page.eval_on_selector_all(".frame img", "pictures => pictures.map(picture => picture.naturalWidth)")
    assert widths == [0, 0, 0]
    assert sorted(gallery.refusals) == ["missing", "origin_missing", "origin_not_allowed"]
    assert page.locator(".outcome").all_inner_texts() == ["Refused by the gallery"] * 3


@browser_test
def test_the_store_opens_a_document_and_the_other_site_frames_only_refusals(store: Any, open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.goto(store.own)
    complaints = watched(page)
    page.get_by_role("link", name="Letter to the council").click()
    page.wait_for_load_state("load")
    assert "Dear neighbours" in page.frame_locator("iframe").locator("body").inner_text()
    assert not complaints
    page.goto(store.other, wait_until="load")
    said = [page.frame_locator(f"li:nth-child({place}) iframe").locator("body").inner_text() for place in (1, 2, 3)]
    assert "policy_required" in said[0]
    assert all("origin_not_allowed" in text for text in said[1:])
    assert not any("neighbours" in text for text in said)


@browser_test
def test_an_upload_works_by_keyboard_alone(example: Any, trait: Any, open_page: Callable[..., Page], tmp_path: Path) -> None:
    file = tmp_path / f"A walk in June{Path(trait.sample).suffix}"
    shutil.copyfile(EXAMPLES / example.name / "samples" / trait.sample, file)
    before = example.kept
    page = open_page()
    upload_by_keyboard(page, example.own, file)
    page.get_by_text(f"{file.name} was added.").wait_for()
    (added,) = example.kept - before
    assert added.endswith(f"-a-walk-in-june{file.suffix}")
    assert page.get_by_text("A walk in june", exact=True).count() == 1


@browser_test
def test_a_file_that_is_too_large_is_refused_in_a_sentence(
    example: Any, trait: Any, open_page: Callable[..., Page], tmp_path: Path
) -> None:
    # Much too large: most of it is still on its way when the answer comes.
    file = tmp_path / "panorama.jpg"
    file.write_bytes(b"\xff\xd8\xff" + bytes(8 * trait.max_bytes))
    before = example.kept
    page = open_page()
    upload_by_keyboard(page, example.own, file)
    page.locator("#notice.refused").wait_for()
    assert page.locator("#notice").inner_text() == "The file is larger than the policy permits."
    assert page.locator("#upload button").is_enabled()
    assert example.kept == before


@browser_test
def test_a_file_is_deleted_by_keyboard_after_a_question(example: Any, open_page: Callable[..., Page]) -> None:
    before = example.kept
    page = open_page()
    page.goto(example.own)
    press_until(page, "[data-remove]")
    title = page.evaluate("document.activeElement.dataset.title")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.title") == title  # the focus comes back, nothing is gone
    assert example.kept == before
    page.keyboard.press("Enter")
    press_until(page, "dialog .danger")
    page.keyboard.press("Enter")
    page.get_by_text(f"{title} was deleted.").wait_for()
    assert len(before - example.kept) == 1


def every_page(example: Any, page: Page) -> list[str]:
    """The addresses of all kinds of pages that an example has."""
    page.goto(example.own)
    views = page.eval_on_selector_all("a[href^='/view/']", "links => links.map(link => link.href)")
    return [f"{example.own}/", *views[:1], f"{example.other}/"]


@browser_test
def test_a_phone_scrolls_no_page_sideways(example: Any, open_page: Callable[..., Page], trait: Any) -> None:
    upload(example, trait, f"{'a-very-long-name-without-a-break' * 4}.jpg", b"\xff\xd8\xff")
    page = open_page(viewport=PHONE, is_mobile=True, has_touch=True)
    for address in every_page(example, page):
        page.goto(address, wait_until="load")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], address


@browser_test
def test_dark_mode_changes_the_background_and_keeps_text_readable(example: Any, open_page: Callable[..., Page]) -> None:
    for address in every_page(example, open_page(viewport=DESKTOP)):
        brightness = {}
        for scheme in ("light", "dark"):
            page = open_page(viewport=DESKTOP, color_scheme=scheme)
            page.goto(address)
            for part in ("backgroundColor", "color"):
                said = page.evaluate("part => getComputedStyle(document.body)[part]", part)
                brightness[scheme, part] = sum(map(int, re.findall(r"\d+", said)[:3])) / 3
        assert brightness["light", "backgroundColor"] - brightness["light", "color"] > 120, address
        assert brightness["dark", "color"] - brightness["dark", "backgroundColor"] > 120, address


@browser_test
def test_pages_load_nothing_from_elsewhere_and_every_control_has_a_name(example: Any, open_page: Callable[..., Page]) -> None:
    page = open_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(example.own, wait_until="load")
    assert asked and all(url.startswith(f"{example.own}/") for url in asked)
    nameless = page.eval_on_selector_all(
        "button, a, input:not([type=hidden]), img, iframe",
        """elements => elements.filter(element => !(element.ariaLabel || element.alt || element.title
            || element.textContent.trim() || (element.labels && element.labels.length))).map(element => element.outerHTML)""",
    )
    assert nameless == []
