"""What the server would judge for a request head: `secure-delivery explain` without a server.

Knows: which path is which call, as the server's endpoints have it. Must not know: how a judgement is shown.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import unquote

from ..engine import Engine
from ..engine.files import effective_path
from ..gate.credentials import one_credential, signed_from_query
from ..gate.errors import ConfigurationError, NotFound
from ..gate.model import Application, RequestFacts
from ..gate.policy import Call, SignedPolicy
from ..gate.taskurl import SourceKind, parse
from .output import known_application

_CHANGES = {"POST": Call.WRITE, "PUT": Call.WRITE, "DELETE": Call.REMOVE}

Trial = tuple[Application, RequestFacts]


def trials(engine: Engine, path: str, query: str, method: str, facts: RequestFacts) -> list[Trial]:
    """The judgements that a request has to pass, in order: who judges, and on what.

    `path` and `query` as they are requested, `facts` with what else the request says (headers, size). Raises what the
    server answers before it judges: a malformed URL, no such file; and `ConfigurationError` for what concerns nobody.
    """
    values = {name: unquote(value.replace("+", " ")) for name, _, value in (part.partition("=") for part in query.split("&"))}
    facts = replace(facts, signed=signed_from_query(query))
    segments = [unquote(segment) for segment in path.strip("/").split("/")]
    key = values.get("key")
    if segments[:2] == ["api", "store"]:
        if key is None:
            raise ConfigurationError("the URL names no API key, so nobody's rules apply to it")
        container = values.get("container") or engine.settings.storage
        place = effective_path(values.get("path"))
        return [(known_application(engine, key), replace(facts, calls=frozenset({Call.PICK}), container=container, path=place))]
    if len(segments) > 1 and segments[-1] == "metadata" and (len(segments) == 2 or segments[:2] == ["api", "file"]):
        exif = values.get("exif", "false").lower() in ("true", "1", "")
        return [_file_trial(engine, segments[-2], key, facts, {Call.STAT, Call.EXIF} if exif else {Call.STAT})]
    if segments[:2] == ["api", "file"] and len(segments) == 3:
        return [_file_trial(engine, segments[2], key, facts, {_CHANGES.get(method, Call.READ)})]
    return _delivery_trials(engine, path, query, facts)


def _file_trial(engine: Engine, named: str, key: str | None, facts: RequestFacts, calls: set[Call]) -> Trial:
    owner, handle = _owner(engine, named.partition("+")[0], key)
    return owner, replace(facts, calls=frozenset(calls), handle=handle)


def _owner(engine: Engine, handle: str, key: str | None = None) -> tuple[Application, str]:
    link = engine.records.file(handle)
    if link is None:
        raise NotFound(f"there is no file {handle}: the server answers 404")
    if key is not None and key != link.application:
        raise NotFound(f"the file {handle} is not one of the application {key}: the server answers 404")
    return known_application(engine, link.application), handle


def _delivery_trials(engine: Engine, path: str, query: str, facts: RequestFacts) -> list[Trial]:
    url = parse(path, query=query, known_key=lambda text: engine.records.application(text) is not None)
    if url.source is None or url.source.kind is not SourceKind.HANDLE:
        raise ConfigurationError("only URLs of stored files can be explained")
    shown = one_credential(None if url.takes_query else facts.signed, url.signed)
    facts = replace(facts, signed=shown if isinstance(shown, SignedPolicy) else None)
    if not url.tasks:
        owner, handle = _owner(engine, url.source.text, url.api_key)
        return [(owner, replace(facts, calls=frozenset({Call.READ}), handle=handle))]
    owner, handle = _owner(engine, url.source.text)
    acting = owner if url.api_key is None else known_application(engine, url.api_key)
    found = [(acting, replace(facts, calls=frozenset({Call.CONVERT}), handle=handle))]
    if acting.api_key != owner.api_key:  # another application's file: its own rules hold for reading it
        found.append((owner, replace(facts, calls=frozenset({Call.READ}), handle=handle, signed=None)))
    return found
