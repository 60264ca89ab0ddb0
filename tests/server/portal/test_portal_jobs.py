"""Jobs in the portal: ordered, followed while they run, cancelled, tried again; by people and by programs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from axe_core import violations
from live import Server, picture, running
from portal_site import LOOKS, VIEWER, Site, fits, pages

from secure_delivery.engine import tables
from secure_delivery.engine.job_records import Job
from secure_delivery.engine.preview_job import KIND
from secure_delivery.engine.records import FileLink
from secure_delivery.gate.model import Application

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

HOSTILE = '"><img src=x onerror=alert(1)>\u202egnp.exe'
Visit = Callable[..., "Page"]


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The portal of a server that works on no job: they stand as a test leaves them."""
    with running(tmp_path_factory.mktemp("still"), settings={"job_workers": "0"}) as server:
        server.engine.job_sandbox.start_once()
        yield Site(server)


@pytest.fixture(autouse=True)
def nothing_left(still: Site) -> Iterator[None]:
    """No job of one test is at hand when the next one works."""
    yield
    while jobs := still.server.engine.jobs.jobs.page(states=("waiting", "queued"))[0]:
        for job in jobs:
            still.server.engine.jobs.jobs.cancel(job.id)


@pytest.fixture
def look(browser: Browser, still: Site) -> Iterator[Visit]:
    with pages(browser, still) as opened:
        yield opened


def submit(server: Server, application: Application, link: FileLink | None = None, **more: Any) -> Job:
    """A preview that was ordered by a program."""
    link = link or server.put(application, picture(60, 40, "PNG"), "small.png")
    request = {
        "url": f"{server.url}/{link.handle}",
        "handle": link.handle,
        "sizes": [{"width": 20, "name": "20"}],
        "metadata": more.pop("metadata", []),
    }
    return server.engine.jobs.jobs.submit(application.api_key, KIND, request, **more)[0]


def work(server: Server, job: Job) -> Job:
    """Do a job in this process, as a worker does."""
    claimed = server.engine.jobs.leases.claim("test", 50)
    for one in claimed:
        server.engine.jobs.runner.run(one)
    return server.engine.jobs.jobs.get(job.id)


def give_up(server: Server, job: Job) -> Job:
    """Begin a job as often as its workers may die of it, each without a word; the next one gives it up."""
    leases = server.engine.jobs.leases
    for _ in range(leases.most_attempts):
        assert [one.id for one in leases.claim("test", 1)] == [job.id]
        with server.engine.database.write() as connection:
            connection.execute(sa.update(tables.job).where(tables.job.c.id == job.id).values(lease=1))
        leases.promote()
    return work(server, job)


def rows(page: Page) -> Any:
    return page.locator("#jobs tbody tr")


# ----------------------------------------------------------------------------------------------------------- ordering


def test_a_preview_is_ordered_finishes_before_ones_eyes_and_shows_its_thumbnails(visit: Visit, site: Site) -> None:
    application = site.server.application()
    link = site.server.put(application, picture(640, 480, "PNG"), "Owls at noon.png")
    seen = visit(f"/applications/{application.api_key}/jobs")
    seen.get_by_text("There is no job yet.").wait_for()
    seen.get_by_text("Changes show by themselves.").wait_for()
    seen.evaluate("window.never = 'loaded again'")

    page = visit(f"/applications/{application.api_key}/jobs")
    page.get_by_label("One of your newest files").select_option(link.handle)
    page.get_by_label("Sizes").fill("120, 60x30>")
    page.get_by_text("Metadata and where results go").click()
    page.get_by_label("image", exact=True).check()
    page.get_by_role("button", name="Order a preview").click()
    page.get_by_role("heading", name="Results").wait_for()
    assert page.get_by_role("heading", level=1).inner_text() == "Owls at noon.png"
    pictures = page.locator(".thumbs img")
    pictures.last.evaluate("picture => picture.decode()")
    assert pictures.count() == 2
    assert pictures.first.evaluate("picture => picture.naturalWidth") == 120
    assert page.get_by_role("region", name="Section image").get_by_role("row", name="width").inner_text().split() == [
        "width",
        "640",
    ]
    page.locator("#way li.done", has_text="Everything deleted").wait_for()

    row = rows(seen).filter(has_text="Owls at noon.png")
    row.locator(".tag.good").wait_for()
    assert "drawn by" in row.inner_text()
    assert seen.evaluate("window.never") == "loaded again"
    assert seen.locator("#none").is_hidden()


def test_a_job_page_follows_its_steps_until_everything_is_deleted(look: Visit, still: Site) -> None:
    application = still.server.application()
    job = submit(still.server, application)
    page = look(f"/applications/{application.api_key}/jobs/{job.id}")
    page.get_by_text("Changes show by themselves.").wait_for()
    assert page.locator("#way li.done").count() == 1
    work(still.server, job)
    page.get_by_role("heading", name="Results").wait_for()
    page.locator("#way li.done", has_text="Everything deleted").wait_for()
    assert page.locator("#way li.none").inner_text().startswith("Webhook told")


def test_without_scripts_everything_is_there_and_a_link_loads_again(look: Visit, still: Site) -> None:
    application = still.server.application()
    link = still.server.put(application, picture(60, 40, "PNG"), "plain.png")
    page = look(f"/applications/{application.api_key}/jobs", java_script_enabled=False)
    page.get_by_label("Or a handle, or a web address").fill(
        f"{still.server.url}/{link.handle}".replace("127.0.0.1", "localhost")
    )
    page.get_by_role("button", name="Order a preview").click()
    page.get_by_text("It waits for its turn.").wait_for()
    job = still.server.engine.jobs.jobs.page(application.api_key)[0][0]
    assert still.server.engine.jobs.jobs.request(job)["handle"] == link.handle, "an address of our own means the file"
    work(still.server, job)
    page.get_by_role("link", name="Reload").click()
    page.get_by_text("It is done.").wait_for()


@pytest.mark.parametrize(
    ("label", "text", "said"),
    [
        ("Sizes", "300, banana", "A size is WIDTHxHEIGHT"),
        ("Pages", "some", "A number, a span"),
        ("Or a handle, or a web address", "ftp://example.org/a", "web address"),
        ("Or a handle, or a web address", "A" * 21, "no file with this handle"),
        ("Tell also this address", "http://127.0.0.1/hook", "https"),
    ],
    ids=["sizes", "pages", "scheme", "handle", "callback"],
)
def test_what_is_wrong_with_an_order_stands_at_its_field(look: Visit, still: Site, label: str, text: str, said: str) -> None:
    application = still.server.application()
    still.server.put(application, b"x", "some.txt")
    page = look(f"/applications/{application.api_key}/jobs")
    page.get_by_text("Metadata and where results go").click()
    page.get_by_label(label).fill(text)
    page.get_by_role("button", name="Order a preview").click()
    assert said in page.get_by_role("alert").inner_text()
    field = page.get_by_label(label)
    assert field.input_value() == text
    assert field.get_attribute("aria-invalid") == "true"
    assert still.server.engine.jobs.jobs.page(application.api_key)[0] == []


def test_an_order_names_files_and_storages_of_its_own_application_only(still: Site) -> None:
    mine, others = still.server.application(), still.server.application()
    link = still.server.put(others, b"theirs", "theirs.txt")
    token, path = still.token(), f"/applications/{mine.api_key}/jobs"
    for source in (link.handle, f"{still.url.replace('portal.', '')}/{link.handle}"):
        answer = still.call("POST", path, {"source": source}, token=token)
        assert (answer.status, answer.json()["error"]["field"]) == (400, "source")
    own = still.server.put(mine, b"mine", "mine.txt")
    wrong = still.call("POST", path, {"source": own.handle, "storage": "theirs"}, token=token)
    assert (wrong.status, wrong.json()["error"]["field"]) == (400, "storage")
    assert still.call("POST", path, {"source": own.handle, "storage": "server", "data": {"a": [1]}}, token=token).json()[
        "data"
    ] == {"a": [1]}


# ----------------------------------------------------------------------------------------------------------- changing


def test_a_waiting_job_is_cancelled_from_the_list(look: Visit, still: Site) -> None:
    application = still.server.application()
    job = submit(still.server, application)
    page = look(f"/applications/{application.api_key}/jobs")
    page.get_by_role("button", name="Cancel small.png").click()
    page.get_by_text("The job is cancelled.").wait_for()
    assert rows(page).first.locator(".tag").inner_text() == "cancelled"
    assert still.server.engine.jobs.jobs.get(job.id).state == "cancelled"
    page.get_by_role("button", name="Try again small.png").click()
    page.get_by_text("The job is queued again.").wait_for()
    entries = still.server.engine.people.audit.page(application=application.api_key, subject=job.id)
    assert [(each.action, each.name) for each in entries] == [
        ("job.retry", "owner@example.org"),
        ("job.cancel", "owner@example.org"),
    ]


def test_a_job_that_ended_its_worker_each_time_says_why_and_is_tried_again(look: Visit, still: Site) -> None:
    application = still.server.application()
    jobs = [submit(still.server, application) for _ in range(2)]
    other = submit(still.server, application)
    still.server.engine.jobs.jobs.cancel(other.id)
    for job in jobs:
        still.server.engine.jobs.jobs.cancel(job.id)
    for job in jobs:
        still.server.engine.jobs.retry(job.id)
        assert (give_up(still.server, job).error or {})["code"] == "abandoned"
    page = look(f"/applications/{application.api_key}/jobs")
    page.get_by_role("heading", name="Given up").wait_for()
    page.get_by_role("link", name="Look at them").click()
    page.get_by_text("ended its worker every time it was begun").first.wait_for()
    assert rows(page).count() == 2
    page.get_by_role("link", name="small.png").first.click()
    page.get_by_text("may need more memory than there is").wait_for()
    page.go_back()
    page.get_by_role("button", name="Try all of them again").click()
    page.get_by_text("2 jobs are queued again.").wait_for()
    assert page.get_by_role("heading", name="Given up").count() == 0
    page.get_by_text("Changes show by themselves.").wait_for()
    for job in jobs:
        work(still.server, job)
    page.locator("#jobs .tag.good").nth(1).wait_for()
    assert still.server.engine.jobs.jobs.get(other.id).state == "cancelled"


def test_a_job_that_has_ended_is_forgotten(look: Visit, still: Site) -> None:
    application = still.server.application()
    job = work(still.server, submit(still.server, application))
    followed = look(f"/applications/{application.api_key}/jobs")
    followed.get_by_text("Changes show by themselves.").wait_for()
    page = look(f"/applications/{application.api_key}/jobs/{job.id}")
    page.get_by_role("button", name="Forget this job").click()
    page.get_by_text("The job is forgotten.").wait_for()
    assert rows(page).count() == 0
    rows(followed).first.wait_for(state="detached")


# ------------------------------------------------------------------------------------------------------------ looking


def test_jobs_are_filtered_and_paged(look: Visit, still: Site) -> None:
    application = still.server.application(limits=_limits())
    for number in range(53):
        submit(still.server, application, delay=3600.0 if number == 0 else 0.0)
    page = look(f"/applications/{application.api_key}/jobs")
    assert rows(page).count() == 50
    page.get_by_role("link", name="Older jobs").click()
    assert rows(page).count() == 3
    page.get_by_role("link", name="Newest").click()
    page.get_by_label("State").select_option("waiting")
    page.get_by_role("button", name="Show").click()
    assert rows(page).count() == 1
    page.get_by_label("Kind").select_option("conversion")
    page.get_by_role("button", name="Show").click()
    page.get_by_text("There are no such jobs.").wait_for()
    token, path = still.token(), f"/applications/{application.api_key}/jobs"
    first = still.call("GET", path, token=token).json()
    rest = still.call("GET", f"{path}?cursor={first['next']}", token=token).json()
    assert len({job["id"] for job in first["jobs"] + rest["jobs"]}) == 53
    assert (rest["next"], first["counts"]["queued"]) == (None, 52)
    assert still.call("GET", f"{path}?state=nonsense", token=token).status == 400
    assert still.call("GET", f"{path}?cursor=nonsense", token=token).status == 404


def _limits() -> Any:
    from secure_delivery.gate.model import Limits

    return Limits(max_queue=1000)


def test_hostile_names_faults_and_metadata_are_text(look: Visit, still: Site) -> None:
    application, server = still.server.application(), still.server
    named = submit(server, application, server.put(application, picture(40, 30, "PNG"), HOSTILE), metadata=["image"])
    long = submit(server, application, server.put(application, b"\0", "n" * 250 + ".bin"))
    work(server, named)
    error = {"code": "internal", "message": f"{HOSTILE} {'m' * 5000}"}
    values = {"state": "failure", "error": error, "finished": 1}
    _write(server, long, **values)
    result = {**(server.engine.jobs.jobs.get(named.id).result or {})}
    result["original"] = {**result["original"], "name": HOSTILE + "x" * 5000, "mimetype": HOSTILE}
    result["previewer"] = HOSTILE
    _write(server, named, result=result, data={"a": HOSTILE})
    page = look(f"/applications/{application.api_key}/jobs")
    shown = rows(page).filter(has_text="onerror=alert(1)")
    shown.first.wait_for()
    assert page.locator("main img").count() == 0
    assert fits(page)
    page.get_by_text("Changes show by themselves.").wait_for()
    _write(server, named, attempts=7)
    page.get_by_text("begun 7 times").wait_for()  # the row that the script made
    assert page.locator("main img").count() == 0
    assert "\u202e" not in page.inner_text("main").split("How it stands")[1].split("drawn by")[0]
    for job in (named, long):
        page.goto(f"{still.url}/applications/{application.api_key}/jobs/{job.id}")
        page.get_by_text("onerror=alert(1)").first.wait_for()
        assert page.locator("main img[src=x]").count() == 0
        assert fits(page)


def test_sections_are_text_whatever_a_file_says(look: Visit, still: Site) -> None:
    application, server = still.server.application(), still.server
    link = server.put(application, b"<title>not read</title>", "page.txt")
    job = work(server, submit(server, application, link, metadata=["checksum"]))
    put = (job.result or {})["metadata"]
    sections = {"checksum": {HOSTILE: [{"deep": f"{HOSTILE} {'v' * 5000}"}], "many": [{"n": n} for n in range(300)]}}
    kept = server.engine.files.find(put["handle"])
    with server.engine.files.begin(application, _target(), over=kept) as upload:
        upload.write(_json({"original_file": {"metadata": sections}}))
        server.engine.files.overwrite(kept, upload)
    page = look(f"/applications/{application.api_key}/jobs/{job.id}")
    section = page.get_by_role("region", name="Section checksum")
    section.get_by_text("onerror=alert(1)").first.wait_for()
    assert section.locator("img").count() == 0
    page.get_by_text("This is the beginning; the whole is in metadata.json.").wait_for()
    assert section.get_by_role("row").count() == 101
    assert fits(page)


def _target() -> Any:
    from secure_delivery.engine.files import Target

    return Target(filename="metadata.json", mimetype="application/json")


def _json(value: Any) -> bytes:
    import json

    return json.dumps(value).encode()


def _write(server: Server, job: Job, **values: Any) -> None:
    with server.engine.database.write() as connection:
        connection.execute(sa.update(tables.job).where(tables.job.c.id == job.id).values(**values))


def test_webhooks_of_a_job_are_listed_with_it(look: Visit, still: Site) -> None:
    application, server = still.server.application(), still.server
    server.engine.webhooks.endpoints.add(application.api_key, "https://hooks.example.invalid/here", events=["fp.preview"])
    job = work(server, submit(server, application))
    page = look(f"/applications/{application.api_key}/jobs/{job.id}")
    table = page.get_by_role("region", name="Webhooks of this job")
    name = server.engine.webhooks.log.page(application.api_key, job=job.id)[0].id
    link = table.get_by_role("link", name="fp.preview")
    assert link.get_attribute("href") == f"/applications/{application.api_key}/webhooks/deliveries/{name}"
    assert page.locator("#way li.now", has_text="Webhook told").count() == 1


@pytest.mark.parametrize("look_name", LOOKS)
def test_pages_are_accessible_and_fit(look: Visit, still: Site, axe: str, look_name: str) -> None:
    application, server = still.server.application(), still.server
    done = work(server, submit(server, application, metadata=["image", "checksum"]))
    open_one = submit(server, application)
    failed = work(server, submit(server, application, server.put(application, b"\0", HOSTILE), metadata=["checksum"]))
    _write(server, failed, state="failure", error={"code": "abandoned", "message": "It was given up."})
    _write(server, open_one, state="queued")
    page = look(f"/applications/{application.api_key}/jobs", **LOOKS[look_name])
    page.get_by_text("Preview a file").click()
    page.get_by_text("Metadata and where results go").click()
    page.get_by_text("Changes show by themselves.").wait_for()
    assert violations(page, axe) == []
    assert fits(page)
    for job in (done, open_one, failed):
        page.goto(f"{still.url}/applications/{application.api_key}/jobs/{job.id}")
        page.get_by_text("Changes show by themselves.").wait_for()
        assert violations(page, axe) == []
        assert fits(page)


# --------------------------------------------------------------------------------------------------------- who may what


def test_a_viewer_looks_only(look: Visit, still: Site) -> None:
    application = still.server.application()
    job = submit(still.server, application)
    page = look(f"/applications/{application.api_key}/jobs", role=VIEWER)
    assert rows(page).count() == 1
    page.get_by_text("Changes show by themselves.").wait_for()
    _write(still.server, job, attempts=2)
    page.get_by_text("begun 2 times").wait_for()
    assert page.locator("main").get_by_role("button").all_inner_texts() == ["Show"]
    page.get_by_role("link", name="small.png").click()
    page.get_by_role("heading", name="small.png").wait_for()
    assert page.locator("main form").count() == 0
    token, path = still.token(VIEWER), f"/applications/{application.api_key}/jobs"
    for address in (path, f"{path}/retry", f"{path}/{job.id}/cancel", f"{path}/{job.id}/retry", f"{path}/{job.id}/delete"):
        assert still.call("POST", address, {}, token=token).code == "not_allowed"
    assert still.call("GET", f"{path}/{job.id}", token=token).json()["job"]["id"] == job.id


@pytest.mark.parametrize("name", ["theirs", "no id", "unknown"])
def test_a_job_of_another_application_is_not_there(still: Site, name: str) -> None:
    mine, theirs = still.server.application(), still.server.application()
    job = submit(still.server, theirs)
    job_id = {"theirs": job.id, "no id": "x%20y", "unknown": "3f2b8a9e-9a0e-4f4e-8f43-0d3f9f5f6a11"}[name]
    token, path = still.token(), f"/applications/{mine.api_key}/jobs"
    answers = [
        still.call("GET", f"{path}/{job_id}", token=token),
        still.call("GET", f"{path}/live?job={job_id}", token=token),
        still.call("GET", f"{path}?cursor={job_id}", token=token),
        *(still.call("POST", f"{path}/{job_id}/{what}", {}, token=token) for what in ("cancel", "retry", "delete")),
    ]
    assert [answer.status for answer in answers] == [404] * 6
    assert still.server.engine.jobs.jobs.get(job.id).state == "queued"


def test_no_answer_holds_what_an_address_hides(still: Site) -> None:
    application = still.server.application()
    source = "https://user:hunter2@files.example.org/deep/path/report.pdf?token=hunter2#hunter2"
    token, path = still.token(), f"/applications/{application.api_key}/jobs"
    made = still.call("POST", path, {"source": source, "callback_url": "https://example.org/?hunter2"}, token=token)
    assert made.status == 201
    assert (made.json()["title"], made.json()["host"]) == ("report.pdf", "files.example.org")
    job = made.json()["id"]
    answers = [made, *(still.call("GET", address, token=token) for address in (path, f"{path}/{job}"))]
    entries = still.server.engine.people.audit.page(application=application.api_key)
    assert [each.action for each in entries][:1] == ["job.order"]
    assert not re.search("hunter2", repr(entries) + "".join(answer.body.decode() for answer in answers))
