"""Changes told as they happen: over a real socket, with no browser between."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from events import Stream, session_of
from live import Server, running
from portal_site import DEVELOPER, OWNER, VIEWER, Site

from secure_delivery.engine import tables
from secure_delivery.engine.audit import CLI
from secure_delivery.gate.model import Application
from secure_delivery.server.portal.live import MOST, MOST_EACH

KIND = "test"  # of which no worker knows anything


def submit(server: Server, application: Application, **more: Any) -> str:
    return server.engine.jobs.jobs.submit(application.api_key, KIND, {}, delay=3600.0, **more)[0].id


def followed(site: Site, application: Application, query: str = "", **headers: str) -> Stream:
    path = f"/api/v1/applications/{application.api_key}/jobs/live{query}"
    if not {"Cookie", "Authorization"} & set(headers):
        headers["Authorization"] = f"Bearer {site.token(VIEWER)}"
    return Stream(site, path, **headers)


def test_events_tell_what_changed_and_nothing_else(site: Site) -> None:
    application = site.server.application()
    first = submit(site.server, application)
    with followed(site, application) as stream:
        assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert stream.headers["cache-control"] == "no-store"
        events = stream.events()
        assert set(next(events).data["changed"]) == {first}
        second = submit(site.server, application)
        assert set(next(events).data["changed"]) == {second}
        site.server.engine.jobs.jobs.cancel(first)
        changed = next(events).data["changed"]
        assert {name: job["state"] for name, job in changed.items()} == {first: "cancelled"}
        site.server.engine.jobs.jobs.delete(first)
        assert next(events).data == {"changed": {}, "gone": [first]}


def test_one_job_is_followed_through_its_steps(site: Site) -> None:
    application = site.server.application()
    job = submit(site.server, application)
    with followed(site, application, f"?job={job}") as stream:
        events = stream.events()
        assert set(next(events).data["changed"]) == {"job", "progress", "trace", "deliveries"}
        site.server.engine.jobs.jobs.cancel(job)
        assert set(next(events).data["changed"]) == {"job", "progress"}
        site.server.engine.jobs.jobs.delete(job)
        over = next(events)
        assert (over.name, over.data) == ("over", {"reason": "not_found"})
        assert list(events) == []


def test_who_comes_back_is_told_only_what_was_missed(site: Site) -> None:
    application = site.server.application()
    job = submit(site.server, application)
    page = site.call("GET", f"/applications/{application.api_key}/jobs", token=site.token(VIEWER)).json()
    with followed(site, application, f"?after={page['version']}") as stream:
        assert stream.comment() == "nothing was missed"
        second = submit(site.server, application)
        seen = next(stream.events())
        assert set(seen.data["changed"]) == {second}, "what the page showed is not told again"
    with followed(site, application, f"?after={page['version']}", Last_Event_ID=seen.number) as stream:
        assert stream.comment() == "nothing was missed"
        site.server.engine.jobs.jobs.cancel(job)
        assert set(next(stream.events()).data["changed"]) == {job}, "the newer of both counts"
    with followed(site, application, Last_Event_ID=seen.number) as stream:
        assert set(next(stream.events()).data["changed"]) == {job, second}, "something was missed"


def test_a_stream_ends_when_its_session_does(site: Site) -> None:
    application = site.server.application()
    token = session_of(site, VIEWER)
    with followed(site, application, Cookie=f"__Host-sd-session={token}") as stream:
        events = stream.events()
        assert next(events).name == "change"
        site.server.engine.people.sign_in.out(token)
        assert [(event.name, event.data) for event in events] == [("over", {"reason": "signed_out"})]
    with followed(site, application, Cookie=f"__Host-sd-session={token}") as stream:
        assert stream.status == 401


def test_a_stream_ends_with_its_token_and_with_its_application(site: Site) -> None:
    people = site.server.engine.people
    account = people.accounts.named(site.person(DEVELOPER))
    row, text = people.tokens.create(CLI, account.id, "one", scopes=["read"])
    application = site.server.application()
    job = submit(site.server, application)
    with followed(site, application, Authorization=f"Bearer {text}") as stream:
        events = stream.events()
        next(events)
        people.tokens.revoke(CLI, row.id)
        assert [event.name for event in events] == ["over"]
    with followed(site, application, f"?job={job}") as stream:
        events = stream.events()
        next(events)
        site.server.engine.administration.delete_application(CLI, application.api_key)
        assert [(event.name, event.data["reason"]) for event in events] == [("over", "not_found")]


def test_a_page_that_follows_along_keeps_no_session_from_ending(site: Site) -> None:
    application = site.server.application()
    token = session_of(site, VIEWER)
    session = site.server.engine.people.sessions.find(token)
    assert session is not None
    long_ago = session.used - 20 * 60_000
    with site.server.engine.database.write() as connection:
        this = sa.update(tables.session).where(tables.session.c.id == session.id)
        connection.execute(this.values(used=long_ago))

    def used() -> int:
        found = site.server.engine.people.sessions.find(token, using=False)
        assert found is not None
        return found.used

    cookie = f"__Host-sd-session={token}"
    with followed(site, application, Cookie=cookie) as stream:
        events = stream.events()
        next(events)
        submit(site.server, application)
        next(events)
        assert used() == long_ago
    path = f"/applications/{application.api_key}/jobs"
    assert site.call("GET", path, headers={"Cookie": cookie}).status == 200
    assert used() > long_ago


def test_streams_are_bounded_for_one_account_and_for_all(tmp_path: Path) -> None:
    with running(tmp_path) as server, ExitStack() as stack:
        site = Site(server)
        application = server.application()
        tokens = {role: site.token(role) for role in (OWNER, DEVELOPER, VIEWER)}

        def opened(role: str) -> Stream:
            return stack.enter_context(followed(site, application, Authorization=f"Bearer {tokens[role]}"))

        each = [opened(OWNER).status for _ in range(MOST_EACH)]
        one_more = opened(OWNER)
        assert ({*each}, one_more.status) == ({200}, 429)
        assert b"too_many_streams" in one_more.body
        rest = [opened(role).status for role in (DEVELOPER, VIEWER) for _ in range(MOST_EACH)]
        assert rest.count(200) == MOST - MOST_EACH
        assert rest.count(429) == 3 * MOST_EACH - MOST
        assert site.call("GET", f"/applications/{application.api_key}/jobs", token=tokens[VIEWER]).status == 200


def test_places_of_streams_that_were_left_are_free_again(site: Site) -> None:
    application = site.server.application()
    token = session_of(site, DEVELOPER)
    for _ in range(3):
        with ExitStack() as stack:
            for _ in range(MOST_EACH):
                next(stack.enter_context(_free(site, application, token)).events())


def _free(site: Site, application: Application, token: str) -> Stream:
    """A stream, as soon as there is a place for one: a server learns within moments of those who went away."""
    for _ in range(500):
        stream = followed(site, application, Cookie=f"__Host-sd-session={token}")
        if stream.status == 200:
            return stream
        stream.__exit__(None, None, None)
    raise AssertionError("no place was free again")


@pytest.mark.parametrize("runner", ["granian", "uvicorn"])
def test_a_server_that_is_stopped_waits_for_no_stream(tmp_path: Path, runner: str) -> None:
    with running(tmp_path, runner=runner) as server:
        site = Site(server)
        application = server.application()
        with followed(site, application) as stream:
            events = stream.events()
            next(events)
            assert server.process is not None
            server.process.send_signal(signal.SIGTERM)
            assert list(events) == []
            assert server.process.wait(60) in (0, -signal.SIGTERM)


def test_a_head_request_is_answered_at_once(site: Site) -> None:
    application = site.server.application()
    answer = site.call("HEAD", f"/applications/{application.api_key}/jobs/live", token=site.token(VIEWER))
    assert (answer.status, answer.body) == (200, b"")
