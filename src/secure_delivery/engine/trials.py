"""What the server would judge for a request head, without a server: for `secure-delivery explain` and the portal's debugger.

Knows: which path is which call, as the server's endpoints have it. Must not know: how a judgement is shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from ..gate.credentials import one_credential, signed_from_query
from ..gate.errors import ConfigurationError, NotFound
from ..gate.model import Application, RequestFacts
from ..gate.policy import Call, SignedPolicy
from ..gate.tasksource import Source
from ..gate.taskurl import SourceKind, TaskURL, parse
from .convert import NOTHING, Plan, bind
from .files import Target, effective_path

if TYPE_CHECKING:
    from . import Engine

_ISSUED_KEY = re.compile(r"[A-Za-z0-9]{22}")
_CHANGES = {"POST": Call.WRITE, "PUT": Call.WRITE, "DELETE": Call.REMOVE}

_NO_KEY = "It names no API key: the server answers 401 before it judges."
_OTHER_KEY = "The API key in it is not that of this application, by whose rules it is judged here."
_NO_FILE = "This application has no file with this handle: where nobody has one, the server answers 404 before it judges."


class Trial(NamedTuple):
    """One judgement: whose rules are asked, on what, and what was noticed while the request was read."""

    application: Application
    facts: RequestFacts
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    """A request as far as its judgement goes: `path` and `query` as they are requested, and `said`, what else it says
    (headers, size, a secret)."""

    path: str
    query: str = ""
    method: str = "GET"
    said: RequestFacts = field(default_factory=lambda: RequestFacts(calls=frozenset()))


def trials(engine: Engine, head: RequestHead) -> list[Trial]:
    """The judgements that a request has to pass, in order.

    Raises what the server answers before it judges (a malformed URL, no such file), and `ConfigurationError` for what concerns
    nobody.
    """
    return _Reader(engine, None).read(head)


def trial_for(engine: Engine, application: Application, head: RequestHead) -> Trial:
    """How a request is judged by the rules of one application, whatever else it names: files and keys that are not the
    application's are told as remarks. Raises what the server answers before it judges, but for files that are not there."""
    return _Reader(engine, application).read(head)[0]


class _Reader:
    """Reads requests; with `mine`, by the rules of that application alone."""

    def __init__(self, engine: Engine, mine: Application | None) -> None:
        self._engine = engine
        self._mine = mine

    def read(self, head: RequestHead) -> list[Trial]:
        query = head.query
        pairs = (part.partition("=") for part in query.split("&"))
        values = {name: unquote(value.replace("+", " ")) for name, _, value in pairs}
        facts = replace(head.said, signed=signed_from_query(query))
        one_credential(facts.signed, facts.secret)
        segments = [unquote(segment) for segment in head.path.strip("/").split("/")]
        key = values.get("key")
        if segments[:2] == ["api", "store"]:
            return [self._upload(key, facts, _target(values, segments[2] if len(segments) > 2 else None))]
        if len(segments) > 1 and segments[0] in ("upload", "tus"):
            return [self._upload(segments[1], facts, _target(values, values.get("location")))]
        if len(segments) > 1 and segments[-1] == "metadata" and (len(segments) == 2 or segments[:2] == ["api", "file"]):
            exif = values.get("exif", "false").lower() in ("true", "1", "")
            return [self._file(segments[-2], key, facts, {Call.STAT, Call.EXIF} if exif else {Call.STAT})]
        if segments[:2] == ["api", "file"] and len(segments) == 3:
            return [self._file(segments[2], key, facts, {_CHANGES.get(head.method, Call.READ)})]
        return self._delivery(head, facts)

    def _upload(self, key: str | None, facts: RequestFacts, target: Target) -> Trial:
        if key is None and self._mine is None:
            raise ConfigurationError("the URL names no API key, so nobody's rules apply to it")
        application, remarks = self._acting(key)
        room, needed = self._engine.files.wanted(application, target)
        calls = frozenset({Call.PICK}) | needed
        placed = replace(facts, calls=calls, container=room.container, path=effective_path(room.path))
        return Trial(application, placed, remarks)

    def _file(self, named: str, key: str | None, facts: RequestFacts, calls: set[Call]) -> Trial:
        owner, handle, remarks = self._owner(named.partition("+")[0], key)
        return Trial(owner, replace(facts, calls=frozenset(calls), handle=handle), remarks)

    def _acting(self, key: str | None) -> tuple[Application, tuple[str, ...]]:
        """The application that a request names."""
        if self._mine is not None:
            if key is None:
                return self._mine, (_NO_KEY,)
            return self._mine, () if key == self._mine.api_key else (_OTHER_KEY,)
        found = self._engine.records.application(key or "")
        if found is None:
            raise ConfigurationError(f"there is no application with the API key {key}")
        return found, ()

    def _owner(self, handle: str, key: str | None = None) -> tuple[Application, str, tuple[str, ...]]:
        """The application that a file belongs to."""
        link = self._engine.records.file(handle)
        if self._mine is not None:
            theirs = link is None or link.application != self._mine.api_key
            remarks: tuple[str, ...] = (_NO_FILE,) if theirs else ()
            if key is not None:
                remarks += self._acting(key)[1]
            return self._mine, handle, remarks
        if link is None:
            raise NotFound(f"there is no file {handle}: the server answers 404")
        if key is not None and key != link.application:
            raise NotFound(f"the file {handle} is not one of the application {key}: the server answers 404")
        return self._acting(link.application)[0], handle, ()

    def _delivery(self, head: RequestHead, facts: RequestFacts) -> list[Trial]:
        engine = self._engine
        url = parse(head.path, query=head.query, known_key=self._is_key)
        plan = bind(engine.registry, url.tasks) if url.tasks else NOTHING
        shown = one_credential(None if url.takes_query else facts.signed, url.signed, facts.secret)
        facts = replace(facts, signed=shown if isinstance(shown, SignedPolicy) else None)
        facts = replace(facts, authenticate=plan.authenticated)
        source = url.source
        if source is None or source.kind is not SourceKind.HANDLE:
            return [self._outside(url, plan, facts, source)]
        if not url.tasks:
            owner, handle, remarks = self._owner(source.text, url.api_key)
            return [Trial(owner, replace(facts, calls=frozenset({Call.READ}), handle=handle), remarks)]
        owner, handle, remarks = self._owner(source.text)
        acting, more = (owner, ()) if url.api_key is None else self._acting(url.api_key)
        found = [Trial(acting, self._chain(acting, plan, replace(facts, handle=handle)), (*remarks, *more))]
        if acting.api_key != owner.api_key:  # another application's file: its own rules hold for reading it
            found.append(Trial(owner, replace(facts, calls=frozenset({Call.READ}), handle=handle, signed=None)))
        return found

    def _is_key(self, text: str) -> bool:
        # What has the shape of a key is one, as the server has it.
        return _ISSUED_KEY.fullmatch(text) is not None or self._engine.records.application(text) is not None

    def _outside(self, url: TaskURL, plan: Plan, facts: RequestFacts, source: Source | None) -> Trial:
        """A chain on something that is no stored file: an address, a list, nothing."""
        if url.api_key is None and self._mine is None:
            raise ConfigurationError("the URL names neither a stored file nor an API key, so nobody's rules apply to it")
        acting, remarks = self._acting(url.api_key)
        place = None
        if source is not None and source.kind in (SourceKind.EXTERNAL, SourceKind.ALIAS):
            place = source.text if source.kind is SourceKind.EXTERNAL else f"src://{source.text}"
        if source is not None and source.kind is SourceKind.LIST:
            remarks += ("Each file and address of the list is judged by itself too; here the request as a whole is.",)
        facts = self._chain(acting, plan, replace(facts, url=place))
        if plan.stores and not plan.steps and place is not None:
            facts = replace(facts, calls=frozenset({Call.PICK}))  # taking a file in as it is
        return Trial(acting, facts, remarks)

    def _chain(self, acting: Application, plan: Plan, facts: RequestFacts) -> RequestFacts:
        """What a chain of tasks asks for, and where its result goes if it is kept."""
        calls = plan.calls
        if (store := plan.controls.store) is not None:
            target = Target(container=store.get("container"), path=store.get("path"), storage=store.get("location"))
            room, needed = self._engine.files.wanted(acting, target)
            facts = replace(facts, container=room.container, path=effective_path(room.path))
            if room.storage not in self._engine.storages.own:
                calls |= needed
        return replace(facts, calls=calls)


def _target(values: dict[str, str], provider: str | None) -> Target:
    return Target(container=values.get("container") or None, path=values.get("path") or None, storage=provider)
