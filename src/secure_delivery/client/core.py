"""Every request that the client makes, but for multipart uploads, as flows.

Knows: the endpoints, their parameters and answers, and which call each needs. Must not know: how requests travel.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

from ..gate.errors import TaskURLError
from ..gate.policy import Call, Policy, SignedPolicy
from ..gate.tasksource import HANDLE, Source, SourceKind, read_source
from ..gate.taskurl import MAX_PATH, TaskURL
from ..gate.taskvalues import check_text
from .content import Content
from .errors import NetworkError, ProtocolError, TransformError
from .signing import Calls, Signer
from .state import File, StoreOptions
from .transform import Transform
from .wire import Flow, Reply, Request, Retry, Sink, exchange, succeed

Sources = str | Sequence[str]

_MERGE = 300.0  # seconds that a server may take to put a file together or to fetch one from elsewhere
_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: Options that name another file, which a policy bound to the source does not cover.
_OTHER_FILES = frozenset({"file", "f", "files", "handle"})
_NAMING_TASKS = frozenset({"watermark", "collage", "fallback"})


def _version() -> str:
    try:
        return version("secure-delivery")
    except PackageNotFoundError:  # run from a folder, not installed
        return "0"


AGENT = f"secure-delivery-python/{_version()}"


class Core:
    """What both clients share: where the server is, who asks, how often to try."""

    def __init__(self, base: str, api_key: str, signer: Signer, retry: Retry) -> None:
        parts = urlsplit(base)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
            raise ValueError("the address of the server is http(s)://host[:port][/prefix], nothing else")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", api_key):
            raise ValueError("an API key has letters and digits only")
        self.base = base.rstrip("/")
        self.api_key = api_key
        self.signer = signer
        self.retry = retry

    # -- addresses

    def address(self, path: str, query: Mapping[str, str] | None = None, signed: SignedPolicy | None = None) -> str:
        """The URL of an endpoint."""
        text = urlencode(query or {}, quote_via=quote)
        query_text = "&".join(filter(None, [text, signed.as_query() if signed is not None else ""]))
        return f"{self.base}{path}{'?' if query_text else ''}{query_text}"

    def pointed(self, place: str, *, relative_to: str | None = None) -> str:
        """Where the server points. Raises `ProtocolError` for what a careful client does not follow.

        From HTTPS nothing leads to plain HTTP, where anybody could read or change what goes on. A server that does not know
        of the TLS in front of it names itself with the wrong scheme; that is put right.
        """
        try:
            url = urljoin(relative_to or f"{self.base}/", place)
            parts = urlsplit(url)
        except ValueError:
            raise ProtocolError("The server points to a place that is no URL.") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ProtocolError("The server points to a place that is not on the web.")
        own = urlsplit(self.base)
        if parts.scheme == "http" and own.scheme == "https":
            if parts.netloc == own.netloc:
                return parts._replace(scheme="https").geturl()
            raise ProtocolError("The server points from HTTPS to plain HTTP.")
        return url

    def headers(self, **more: str) -> dict[str, str]:
        return {"filestack-source": AGENT, **more}

    def json_request(self, what: str, url: str, members: Mapping[str, Any], *, patience: float | None = None) -> Request:
        body = json.dumps(members, separators=(",", ":")).encode()
        headers = self.headers(**{"content-type": "application/json", "accept": "application/json"})
        return Request(what=what, method="POST", url=url, headers=headers, body=body, patience=patience)

    def file_url(self, handle: str) -> str:
        return f"/api/file/{checked(handle)}"

    # -- in

    def store(self, content: Content, options: StoreOptions) -> Flow[File]:
        """The whole file in one request. Not repeated when the answer was lost: there would be two files."""
        signed = self.signer.credential(Call.PICK, Call.STORE)
        query = {"key": self.api_key, "mimetype": content.mimetype}
        if content.filename:
            query["filename"] = content.filename
        query |= {name: str(options[name]) for name in ("path", "container", "region", "access") if name in options}
        if options.get("workflows"):
            query["workflows"] = ",".join(options["workflows"])
        url = self.address(f"/api/store/{quote(options.get('location', 'S3'), safe='')}", query, signed)
        reply = yield from succeed(self._raw("storing the file", url, content), self.retry, once=True)
        return File.read(reply.object())

    def overwrite(self, handle: str, content: Content) -> Flow[dict[str, Any]]:
        signed = self.signer.credential(Call.WRITE, handle=handle)
        url = self.address(self.file_url(handle), {"key": self.api_key, "mimetype": content.mimetype}, signed)
        reply = yield from succeed(self._raw("overwriting the file", url, content), self.retry)
        return reply.object()

    def _raw(self, what: str, url: str, content: Content) -> Request:
        # Always as octets: a form or a JSON document that is a file must not be taken for a form or JSON about a file.
        headers = self.headers(**{"content-type": "application/octet-stream", "accept": "application/json"})
        return Request(what=what, method="POST", url=url, headers=headers, body=content, patience=_MERGE)

    def upload_url(
        self, source: str, headers: Mapping[str, str] | None, options: StoreOptions, tags: Mapping[str, str] | None
    ) -> Flow[File]:
        """The server fetches and keeps it."""
        signed = self.signer.credential(Call.PICK, Call.STORE)
        tasks: list[dict[str, Any]] = [{"name": "store", "params": dict(options)}]
        if signed is not None:
            tasks.append({"name": "security", "params": signed.as_fields()})
        members: dict[str, Any] = {
            "apikey": self.api_key,
            "sources": [{"source": source, "headers": dict(headers)} if headers else source],
            "tasks": tasks,
        }
        if tags:
            members["upload_tags"] = dict(tags)
        request = self.json_request("fetching the URL", self.address("/process"), members, patience=_MERGE)
        reply = yield from succeed(request, self.retry, once=True)
        return File.read(reply.object())

    def keep(self, source: Sources, chain: Transform, options: StoreOptions) -> Flow[File]:
        """Run a chain and keep the result."""
        stored = chain.task("store", **options)
        signed = self.signer.credential(*self._calls(stored))
        path = self.path(self._source(source), stored, None)
        request = Request(
            what="running the tasks",
            method="POST",
            url=self.address(path, None, signed),
            headers=self.headers(accept="application/json"),
            body=b"",
            patience=_MERGE,
        )
        reply = yield from succeed(request, self.retry, once=True)
        return File.read(reply.object())

    # -- out

    def metadata(self, handle: str, names: Sequence[str]) -> Flow[dict[str, Any]]:
        calls = (Call.STAT, Call.EXIF) if "exif" in names else (Call.STAT,)
        signed = self.signer.credential(*calls, handle=handle)
        url = self.address(f"{self.file_url(handle)}/metadata", dict.fromkeys(names, "true"), signed)
        headers = self.headers(accept="application/json")
        request = Request(what="reading metadata", method="GET", url=url, headers=headers)
        return (yield from succeed(request, self.retry)).object()

    def read(self, handle: str) -> Flow[bytes]:
        return (yield from self._followed(handle, None)).body

    def download(self, handle: str, sink: Sink) -> Flow[None]:
        yield from self._followed(handle, sink)

    def _reading(self, handle: str, sink: Sink | None) -> Request:
        signed = self.signer.credential(Call.READ, handle=handle)
        url = self.address(self.file_url(handle), {"key": self.api_key}, signed)
        headers = self.headers(**{"accept": "*/*", "accept-encoding": "identity"})
        return Request(what="reading the file", method="GET", url=url, headers=headers, sink=sink)

    def _followed(self, handle: str, sink: Sink | None) -> Flow[Reply]:
        """The file, also through redirects: a server may send readers on to its storage for a moment.

        When a read that began is refused later, the permission ran out meanwhile: it is asked for once more.
        """
        request = self._reading(handle, sink)
        renewed = False
        for _ in range(_MAX_REDIRECTS):
            reply = yield from exchange(request, self.retry)
            if reply.good:
                return reply
            if reply.status in _REDIRECTS:
                request = self._redirected(request, reply)
            elif reply.status in (401, 403) and sink is not None and sink.taken and not renewed:
                request, renewed = self._reading(handle, sink), True
            else:
                raise reply.error()
        raise ProtocolError("The server redirects without end.")

    def _redirected(self, request: Request, reply: Reply) -> Request:
        """The request that a redirect asks for: to another place, without what was meant for this one."""
        url = self.pointed(reply.headers.get("location", ""), relative_to=request.url)
        kept = {name: value for name, value in request.headers.items() if name != "filestack-source"}
        return Request(what=request.what, method="GET", url=url, headers=kept, sink=request.sink, ours=False)

    def delete(self, handle: str, *, keep_object: bool) -> Flow[None]:
        signed = self.signer.credential(Call.REMOVE, handle=handle)
        query = {"key": self.api_key} | ({"skip_storage": "true"} if keep_object else {})
        url = self.address(self.file_url(handle), query, signed)
        request = Request(what="deleting the file", method="DELETE", url=url, headers=self.headers())
        lost: list[NetworkError] = []
        reply = yield from exchange(request, self.retry, lost=lost)
        if not reply.good and not (lost and reply.status in (404, 410)):  # the answer that was lost was the success
            raise reply.error()

    # -- signed URLs

    def url(
        self,
        source: Sources,
        chain: Transform,
        *,
        expires_in: int,
        round_to: int,
        call: Calls,
        bind: bool,
        signed: SignedPolicy | None,
        debug: bool,
    ) -> str:
        """A URL to give away."""
        names = self._source(source)
        if signed is None:
            limits = self._limits(names, chain) if bind and self.signer.signs else {}
            signed = self.signer.link(expires_in, call=call or self._calls(chain), round_to=round_to, **limits)
        return self.base + self.path(names, chain, signed, debug=debug)

    def path(self, source: Source, chain: Transform, signed: SignedPolicy | None, *, debug: bool = False) -> str:
        """The path of a transformation URL, as the gate writes it. The API key tells whose task it is where no handle does."""
        key = None if source.kind is SourceKind.HANDLE else self.api_key
        path = TaskURL(api_key=key, tasks=chain.tasks, source=source, signed=signed, debug=debug).format()
        if len(path) > MAX_PATH:
            raise TransformError(f"The URL is longer than the {MAX_PATH} characters that a server takes.")
        return path

    def _source(self, source: Sources) -> Source:
        try:
            if isinstance(source, str):
                return read_source(check_text(source), percent=False)
            items = tuple(read_source(check_text(item), percent=False) for item in source)
        except TaskURLError as error:
            raise TransformError(error.public) from None
        if not items or any(item.kind is SourceKind.LIST for item in items):
            raise TransformError("A list of sources has one at least, and no list in it.")
        return Source(kind=SourceKind.LIST, items=items)

    def _limits(self, source: Source, chain: Transform) -> dict[str, str]:
        """What binds a policy to this source. Raises `TransformError` where a policy cannot be bound to all that is used."""
        others = any(
            task.name in _NAMING_TASKS and not _OTHER_FILES.isdisjoint(key for key, _ in task.options) for task in chain.tasks
        )
        if others or source.kind in (SourceKind.LIST, SourceKind.ALIAS, SourceKind.WORKFLOW):
            raise TransformError(
                "A policy can be bound to one file only, and this URL uses others. Say bind=False for a policy that covers "
                "all files of the application, or give one as signed=."
            )
        if source.kind is SourceKind.HANDLE:
            return {"handle": source.text}
        return {"url": re.escape(source.text)}

    @staticmethod
    def _calls(chain: Transform) -> tuple[Call, ...]:
        """What a chain must be granted, and no more."""
        if not chain:
            return (Call.READ,)
        calls = {Call.CONVERT}
        for task in chain.tasks:
            if task.name == "store":
                calls |= {Call.STORE, Call.PICK}
            elif task.name in ("run_workflow", "workflow_status"):
                calls.add(Call.RUN_WORKFLOW)
            elif task.name == "exif" or "true" in (task.get("metadata"), task.get("m")):  # shows what the camera noted
                calls.add(Call.EXIF)
        return tuple(sorted(calls))


def checked(handle: str) -> str:
    """The handle itself. Raises `ValueError` for what is none, a URL of one for instance."""
    if HANDLE.fullmatch(handle) is None:
        raise ValueError("a handle has 20 to 64 letters, digits, - and _")
    return handle


def expiry_of(signed: SignedPolicy) -> int:
    """Unix seconds until which a policy of ours is good."""
    return Policy.decode(signed.encoded).expiry


def known_names(names: Iterable[str]) -> list[str]:
    """Names for `metadata`, checked to be such."""
    found = list(names)
    if not all(re.fullmatch(r"[A-Za-z0-9_]{1,32}", name) for name in found):
        raise ValueError("metadata takes names such as 'size', 'md5', 'width'")
    return found
