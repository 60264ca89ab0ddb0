"""What a room of the portal is made of: views that tell something, actions that change something.

Knows: plain values in, plain values out. Must not know: HTTP, templates, cookies.

A view gives values of JSON; an action takes the fields of a form and gives values of JSON. Each is there twice: as a page or a
form of the portal, and below `/api/v1` as JSON for programs. So whatever a page shows can be asked for, and whatever a form
does can be done, by a program with an API token.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ...engine import Engine
from ...engine.account_rows import READ, WRITE
from ...engine.applications import no_application
from ...engine.audit import Actor
from ...gate.model import Application
from ..http import Context
from .fields import Fields
from .visitor import Visitor

API = "/api/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is asked, and by whom.

    `path` holds the names in the address, `query` what is behind the question mark, `given` the fields of a form or of a JSON
    body. `portal` and `files` are the origins of the portal and of the service, without a slash at the end. `cookie` is the
    token of the session as the browser shows it, which may still wait for a code; `device` is that of a browser that was here
    before.
    """

    context: Context
    visitor: Visitor | None
    path: Mapping[str, str]
    query: Fields
    given: Fields
    address: str
    portal: str
    files: str
    device: str | None = field(default=None, repr=False)
    cookie: str = field(default="", repr=False)

    @property
    def engine(self) -> Engine:
        """The engine."""
        return self.context.engine

    @property
    def who(self) -> Visitor:
        """Who asks, where somebody has to be signed in."""
        if self.visitor is None:
            raise RuntimeError("a view for everybody asks who it is")
        return self.visitor

    @property
    def actor(self) -> Actor:
        """Who asks, for the audit log."""
        return self.who.actor

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        return self.context.engine.clock()

    def application(self) -> Application:
        """The application that the address names. Raises `NotFound`."""
        found = self.context.engine.records.application(self.path["key"])
        if found is None:
            raise no_application()
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What an action did: `values` for programs; for people, where to go next (`to`) and what is told there (`note`).

    With `page` a template is shown at once instead, for what is shown this once. `session` is a token that begins a session, or
    nothing at all ("") where one ends; `device` is for a lasting cookie.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    to: str = ""
    note: str = ""
    page: str = ""
    title: str = ""
    status: int = 200
    session: str | None = field(default=None, repr=False)
    device: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Something that is told. `show` gives the values, `page` is the template that shows them, `scope` what has to be allowed;
    nothing for who is not signed in. `says` is a sentence for the list of the API, `command` tells the same on the machine."""

    path: str
    show: Callable[[Ask], Mapping[str, Any]]
    page: str
    title: str
    says: str
    scope: str | None = READ
    command: str = ""
    api: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something that is changed. `on` is the path of the view that has the form: it is shown again with what was wrong.

    With `fresh` the password is asked for again, unless that was done within minutes (security promise 66): by a page of its
    own that repeats what was given, or, where credentials are given, by the page that has the form (`by_form`), so that
    nothing repeats them.
    """

    path: str
    do: Callable[[Ask], Done]
    says: str
    on: str = ""
    scope: str | None = WRITE
    fresh: bool = False
    by_form: bool = False
    command: str = ""
    api: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """An endpoint that answers for itself: files, streams. It is called for visitors with `scope` only, and changing ones with
    a token against forgery. One that pages ask `by_itself`, with nobody doing anything, keeps no session from ending. One that
    takes a file from a form (`by_form`) has that token in its address, because it reads its body itself."""

    path: str
    method: str
    answer: Callable[[Request, Ask], Awaitable[Response]]
    says: str
    scope: str = READ
    command: str = ""
    by_itself: bool = False
    by_form: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The views and actions about one subject."""

    name: str
    views: Sequence[View] = ()
    actions: Sequence[Action] = ()
    raws: Sequence[Raw] = ()
