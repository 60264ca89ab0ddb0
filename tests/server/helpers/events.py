"""Server-Sent Events as they come over a socket."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, NamedTuple

from portal_site import Site

PATIENCE = 30  # seconds without anything: nothing will come


class Event(NamedTuple):
    """One event, its data read as JSON."""

    name: str
    number: str
    data: Any


class Stream:
    """One stream, open from the start. `status` and `headers` are those of the answer, `body` what is no stream."""

    def __init__(self, site: Site, path: str, **headers: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", site.server.port, timeout=PATIENCE)
        sent = {"Host": site.host, "Accept": "text/event-stream"} | {
            name.replace("_", "-"): text for name, text in headers.items()
        }
        self._connection.request("GET", path, headers=sent)
        self._answer = self._connection.getresponse()
        self.status = self._answer.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in self._answer.getheaders()}

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._connection.close()
        self._answer.close()

    @property
    def body(self) -> bytes:
        return self._answer.read()

    def comment(self) -> str:
        """The next comment, with no event before it."""
        for line in iter(self._answer.readline, b""):
            assert not line.startswith(b"event"), "an event came first"
            if line.startswith(b":"):
                return line.decode().strip(": \n")
        raise AssertionError("the stream ended")

    def events(self) -> Iterator[Event]:
        """Every event until the stream ends. Comments are passed over."""
        name, number, data = "message", "", ""
        for line in iter(self._answer.readline, b""):
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "id":
                number = value
            elif field == "data":
                data = value
            elif not field and data:
                yield Event(name, number, json.loads(data))
                name, data = "message", ""


def session_of(site: Site, role: str) -> str:
    """The token of a new session of somebody with a role."""
    from portal_site import PASSWORD

    return site.server.engine.people.sign_in.password(site.person(role), PASSWORD, address="127.0.0.1", device=None).token
