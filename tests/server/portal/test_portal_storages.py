"""Storages in the portal, as their owner sets them up: credentials wrong and right, what they can do, what to paste."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from axe_core import violations
from buckets import KEY_ID, READING, SECRET, S3Server, bucket_server, bucket_settings, options, spellings
from live import Server, running
from portal_site import LOOKS, PASSWORD, VIEWER, Site, fits, pages

from secure_delivery.engine import tables

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

HOSTILE = '"><img src=x onerror=alert(1)>'


@pytest.fixture(scope="module")
def provider() -> Iterator[S3Server]:
    with bucket_server(smallest_part=1) as server:
        yield server


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, provider: S3Server) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("storages"), settings=bucket_settings(provider)) as server:
        yield server


@pytest.fixture
def site(place: Server) -> Site:
    """The portal of a server that may connect to the provider of this file."""
    return Site(place)


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    with pages(browser, site) as opened:
        yield opened


@pytest.fixture
def bucket(provider: S3Server) -> Iterator[S3Server]:
    yield provider
    for kept in (provider.denied, provider.objects, provider.uploads, provider.faults, provider.seen):
        kept.clear()


@pytest.fixture
def key(site: Site) -> str:
    return site.server.application().api_key


def added(site: Site, bucket: S3Server, key: str, **more: str) -> None:
    site.server.engine.storages.add(key, "assets", "s3", options(bucket, **more))


def states(page: Page) -> dict[str, str]:
    """Each right of a check with what it is."""
    rows = page.get_by_role("region", name="What the credentials can do").locator("tbody tr")
    return {row.locator("th").inner_text(): row.locator(".tag").inner_text() for row in rows.all()}


def test_a_newcomer_adds_a_bucket_with_a_wrong_secret_mends_it_and_has_new_files_go_there(
    visit: Callable[..., Page], site: Site, bucket: S3Server, key: str
) -> None:
    page = visit(f"/applications/{key}/storages")
    page.get_by_text("New files go to the development storage.").wait_for()
    page.get_by_role("link", name="Amazon S3").click()
    page.get_by_label("What you call it").fill("assets")
    page.get_by_label("Bucket", exact=True).fill("bucket")
    page.get_by_label("Access key ID").fill(KEY_ID)
    page.get_by_label("Secret access key").fill("wrong")
    page.get_by_text("More options").click()
    page.get_by_label("Endpoint").fill(bucket.endpoint)
    page.get_by_label("Insecure").select_option("yes")
    page.get_by_role("button", name="Add the storage").click()
    page.get_by_text("The storage is set up. Check it now").wait_for()

    page.get_by_role("button", name="Check now").click()
    page.get_by_text("Something is missing.").wait_for()
    assert states(page)["Write objects"] == "missing"
    assert "the credentials are not valid" in page.inner_text("main")
    assert page.get_by_role("button", name="Have new files go there").count() == 0

    page.get_by_role("link", name="Change its options").click()
    page.get_by_label("Secret access key").fill(SECRET)
    page.get_by_role("button", name="Save the options").click()
    page.get_by_role("button", name="Check now").click()
    page.get_by_text("Everything works").wait_for()
    assert set(states(page).values()) == {"there"}
    page.get_by_role("button", name="Have new files go there").click()
    page.get_by_text("From now on new files go there.").wait_for()
    assert site.server.current(key).storage == "assets"
    assert page.get_by_text("New files go to the development storage.").count() == 0
    stored = site.server.post(f"/api/store/S3?key={key}&filename=a.bin", b"content")
    assert stored.status == 200
    assert [blob.data for blob in bucket.objects.values()] == [b"content"]


def test_the_smaller_policy_stands_first_and_the_rule_names_the_pages_that_were_given(
    visit: Callable[..., Page], site: Site, bucket: S3Server, key: str
) -> None:
    added(site, bucket, key)
    page = visit(f"/applications/{key}/storages/assets")
    parts = page.locator("#paste > details")
    assert "Only write" in parts.first.locator("summary").inner_text()
    page.get_by_label("Pages for the CORS rule").fill("https://www.example.com\nhttps://shop.example.com")
    page.get_by_role("button", name="Show the rule for these pages").click()
    texts = page.locator("#paste pre").all_text_contents()
    small, small_cors, large, large_cors = (json.loads(text) for text in texts)
    assert small["Statement"][0]["Action"] == ["s3:PutObject", "s3:AbortMultipartUpload"]
    assert {"s3:GetObject", "s3:DeleteObject"} <= set(large["Statement"][0]["Action"])
    pages = ["https://www.example.com", "https://shop.example.com"]
    assert small_cors[0]["AllowedOrigins"] == large_cors[0]["AllowedOrigins"] == pages
    assert "GET" not in small_cors[0]["AllowedMethods"]


def test_a_storage_that_is_only_written_to_is_told_when_it_can_be_read_too(
    visit: Callable[..., Page], site: Site, bucket: S3Server, key: str
) -> None:
    added(site, bucket, key, write_only="true")
    page = visit(f"/applications/{key}/storages/assets")
    page.get_by_role("button", name="Check now").click()
    page.get_by_text("the credentials can do more than they need").wait_for()
    assert states(page)["Read objects"] == "too much"
    bucket.denied |= READING
    page.get_by_role("button", name="Check again").click()
    page.get_by_text("nothing is too much").wait_for()
    assert states(page)["Read objects"] == "left out"


def test_a_right_that_is_missing_is_named(visit: Callable[..., Page], site: Site, bucket: S3Server, key: str) -> None:
    added(site, bucket, key)
    bucket.denied |= {"GetObject"}
    page = visit(f"/applications/{key}/storages/assets")
    page.get_by_role("button", name="Check now").click()
    page.get_by_text("Something is missing.").wait_for()
    found = states(page)
    assert (found["Write objects"], found["Read objects"], found["Delete objects"]) == ("there", "missing", "there")


def test_a_storage_that_could_do_with_writing_alone_says_so(
    visit: Callable[..., Page], site: Site, bucket: S3Server, key: str
) -> None:
    added(site, bucket, key)
    page = visit(f"/applications/{key}/storages/assets")
    page.get_by_role("button", name="Check now").click()
    page.get_by_text("Everything works, and more than is needed.").wait_for()


def test_credentials_never_come_out_again(visit: Callable[..., Page], site: Site, bucket: S3Server, key: str) -> None:
    page = visit(f"/applications/{key}/storages?provider=s3")
    page.get_by_label("What you call it").fill("Not A Name")
    page.get_by_label("Bucket", exact=True).fill("bucket")
    page.get_by_label("Access key ID").fill(KEY_ID)
    page.get_by_label("Secret access key").fill(SECRET)
    page.get_by_role("button", name="Add the storage").click()
    page.get_by_role("alert").wait_for()
    assert page.get_by_label("Bucket", exact=True).input_value() == "bucket", "nothing else that was typed is lost"
    assert page.get_by_label("Secret access key").input_value() == ""
    seen = [page.content()]
    added(site, bucket, key)
    for path in ("", "/assets"):
        page.goto(f"{site.url}/applications/{key}/storages{path}")
        seen.append(page.content())
        seen.append(site.call("GET", f"/applications/{key}/storages{path}", token=site.token()).body.decode())
    seen.append(site.call("POST", f"/applications/{key}/storages/assets/check", {}, token=site.token()).body.decode())
    for text in seen:
        assert not [spelled for spelled in spellings(SECRET) if spelled in text.encode()]
    assert '"secrets":["secret_access_key"]' in seen[-1]


def test_the_password_is_given_before_credentials_are_and_no_page_repeats_them(
    visit: Callable[..., Page], site: Site, bucket: S3Server, key: str
) -> None:
    added(site, bucket, key, session_token="once")
    page = visit(f"/applications/{key}/storages/assets")
    page.get_by_label("Secret access key").fill("an0ther-s3cret-acc3ss-k3y")
    with site.server.engine.database.write() as connection:
        connection.execute(sa.update(tables.session).values(fresh=0))  # as after five minutes
    page.get_by_role("button", name="Save the options").click()
    page.get_by_role("alert").get_by_text("Give your password once more for this.").wait_for()
    assert "an0ther-s3cret" not in page.content()
    page.get_by_label("Your password").fill("not that one")
    page.get_by_role("button", name="Go on").click()
    page.get_by_role("alert").get_by_text("The password is not right.").wait_for()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url("**/storages/assets")
    page.get_by_label("Secret access key").fill("an0ther-s3cret-acc3ss-k3y")
    page.get_by_role("button", name="Save the options").click()
    page.get_by_text("The options are saved.").wait_for()


def test_an_empty_secret_is_kept_and_a_tick_forgets_one(
    visit: Callable[..., Page], site: Site, bucket: S3Server, key: str
) -> None:
    added(site, bucket, key, session_token="once")
    page = visit(f"/applications/{key}/storages/assets")
    page.get_by_label("Path", exact=True).fill("incoming/")
    page.get_by_label("Session token", exact=True).and_(page.locator("[type=checkbox]")).check()
    page.get_by_role("button", name="Save the options").click()
    page.get_by_text("The options are saved.").wait_for()
    row = site.server.engine.storages.named(key, "assets")
    assert row.secrets == ("secret_access_key",)
    assert row.options["path"] == "incoming/"
    assert site.call("POST", f"/applications/{key}/storages/assets/check", {}, token=site.token()).json()["good"]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"options": {"access_key_id": KEY_ID, "secret_access_key": SECRET}}, "options.bucket"),
        ({"options": {"bucket": "no bucket", "access_key_id": KEY_ID, "secret_access_key": SECRET}}, "options.bucket"),
        ({"options": {"bucket": "b" * 5000, "access_key_id": KEY_ID, "secret_access_key": SECRET}}, "options.bucket"),
        ({"options": {"bucket": "bucket", "access_key_id": KEY_ID, "secret_access_key": "x\n"}}, ""),
        ({"options": {"bucket": "bucket", "nonsense": "1"}}, "options.nonsense"),
        ({"options": {"bucket": ["bucket"]}}, "options.bucket"),
        ({"options": {"bucket": "bucket", "access_key_id": KEY_ID}}, "options.secret_access_key"),
        ({"provider": "floppy"}, "provider"),
        ({"name": ""}, "name"),
        ({"name": HOSTILE}, ""),
        ({"name": "server"}, ""),
    ],
    ids=["none", "blank", "long", "lines", "unknown", "list", "secret", "provider", "nameless", "hostile", "reserved"],
)
def test_what_a_storage_cannot_be_is_a_400_that_names_the_field_and_no_value(
    site: Site, bucket: S3Server, key: str, given: dict[str, Any], field: str
) -> None:
    whole = {"name": "assets", "provider": "s3", "options": options(bucket)} | given
    if whole["options"].get("secret_access_key") == "x\n":
        whole["options"]["endpoint"] = "ftp://x"
        field = "options.endpoint"
    reply = site.call("POST", f"/applications/{key}/storages", whole, token=site.token())
    assert reply.status == 400, reply.body
    assert reply.json()["error"]["field"] == field
    assert SECRET not in reply.body.decode()
    assert site.server.engine.storages.of(key) == ()


def test_a_storage_with_files_is_kept_and_one_without_is_forgotten_after_the_password(
    visit: Callable[..., Page], site: Site, bucket: S3Server, key: str
) -> None:
    added(site, bucket, key)
    site.server.engine.records.update_application(key, storage="assets")
    handle = site.server.post(f"/api/store/S3?key={key}&filename=a.bin", b"content").json()["url"].rpartition("/")[2]
    page = visit(f"/applications/{key}/storages/assets")
    page.get_by_text("Move or delete them first").wait_for()
    assert page.get_by_role("button", name="Forget assets").count() == 0
    refused = site.call("POST", f"/applications/{key}/storages/assets/remove", {}, token=site.token())
    assert refused.status == 400 and "files are in the storage" in refused.json()["error"]["message"]
    link = site.server.engine.files.find(handle)
    site.server.engine.files.remove(link)
    page.reload()
    page.get_by_role("button", name="Forget assets").click()
    site.give_password(page)
    page.get_by_text("its credentials are forgotten").wait_for()
    assert site.server.engine.storages.of(key) == ()
    assert site.server.current(key).storage == ""


def test_a_viewer_sees_and_changes_nothing(visit: Callable[..., Page], site: Site, bucket: S3Server, key: str) -> None:
    added(site, bucket, key)
    page = visit(f"/applications/{key}/storages", role=VIEWER)
    assert page.get_by_role("button", name="Save").count() == 0
    page.goto(f"{site.url}/applications/{key}/storages/assets")
    assert page.locator("main form[method=post]").count() == 0
    token, base = site.token(VIEWER), f"/applications/{key}/storages"
    assert site.call("GET", base, token=token).status == 200
    for path in (base, f"{base}/assets", f"{base}/assets/check", f"{base}/assets/remove", f"/applications/{key}/storage"):
        assert site.call("POST", path, {}, token=token).code == "not_allowed"


def test_storages_of_another_application_are_not_there(site: Site, bucket: S3Server, key: str) -> None:
    added(site, bucket, key)
    other, token = site.server.application().api_key, site.token()
    assert site.call("GET", f"/applications/{other}/storages/assets", token=token).status == 404
    for what in ("", "/check", "/remove"):
        assert site.call("POST", f"/applications/{other}/storages/assets{what}", {}, token=token).status == 404
    assert site.call("POST", f"/applications/{other}/storage", {"storage": "assets"}, token=token).code == "bad_field"
    assert site.call("GET", f"/applications/{key}/storages/assets?origins=javascript:alert(1)", token=token).status == 400


def test_changes_are_in_the_audit_log_without_secrets(site: Site, bucket: S3Server, key: str) -> None:
    token = site.token()
    body = {"name": "assets", "provider": "s3", "options": options(bucket), "usual": True}
    assert site.call("POST", f"/applications/{key}/storages", body, token=token).status == 201
    entries = site.server.engine.people.audit.page(application=key)
    assert "storage.add" in [entry.action for entry in entries]
    assert SECRET not in repr(entries)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("path", ["", "?provider=s3", "?provider=gcs", "?provider=azure", "/assets", "/assets check"])
def test_pages_are_accessible_and_fit(
    visit: Callable[..., Page], site: Site, bucket: S3Server, key: str, axe: str, path: str, look: str
) -> None:
    added(site, bucket, key, path="a/" * 50)
    where, _, then = path.partition(" ")
    page = visit(f"/applications/{key}/storages{where}", **LOOKS[look])
    if then:
        page.get_by_role("button", name="Check now").click()
        page.get_by_role("heading", name="What assets can do").wait_for()
    page.evaluate("document.querySelectorAll('main details').forEach(each => { each.open = true })")
    assert violations(page, axe) == []
    assert fits(page)
