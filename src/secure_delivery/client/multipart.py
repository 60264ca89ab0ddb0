"""One multipart upload: start, a flow for each part, complete. What is done and what is missing is kept here.

Knows: the protocol of the upload endpoints. Must not know: threads or event loops, though parts may run in either at the
same time. Memory is bounded by the parts that are under way.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..gate.policy import Call, SignedPolicy
from .content import Content, Octets
from .core import Core
from .errors import ClientError, Denied, NetworkError, NotFound, ProtocolError, ResponseError, UploadError
from .state import File, Part, State, StoreOptions
from .wire import Flow, Pause, Reply, Request, exchange, succeed

MIB = 1 << 20
LEAST_PART = 5 * MIB  # buckets refuse smaller ones, except for the last
MOST_PARTS = 10_000  # so do they more parts
PART = 8 * MIB
SMALL = MIB  # bytes up to which one request does the work of four

_FRESH_URLS = 4  # times a part is given another address before its refusal is taken for final
_EXPIRED = frozenset({401, 403, 410})
_MERGE = 300.0  # seconds that a server may take to put a file together
_WAIT = 1.0  # seconds between questions whether it is ready
_MOST_WAITS = 1800

Progress = Callable[[int, int], object]
Checkpoint = Callable[[State], object]


class Piece(NamedTuple):
    """A part to be sent: its number, its bytes and their MD5 in Base64."""

    number: int
    data: bytes
    md5: str


class Upload:
    """An upload under way, new or resumed.

    The order of use: `begin`; then `take` and `send` until `take` gives None, from as many threads or tasks as one likes;
    then `finish`. `failure` makes the error of a fault on the way.
    """

    def __init__(
        self,
        core: Core,
        content: Content,
        options: StoreOptions,
        *,
        part_size: int = PART,
        tags: Mapping[str, str] | None = None,
        resume: State | None = None,
        progress: Progress | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        if part_size < LEAST_PART:
            raise ValueError(f"a part has at least {LEAST_PART} bytes")
        if resume is not None and resume.size != content.size:
            raise ValueError(f"this upload was begun with a file of {resume.size} bytes, not {content.size}")
        self._core = core
        self._content = content
        self._options = options
        self._part_size = _grown(part_size, content.size)
        self._tags = dict(tags or {})
        self._progress = progress
        self._checkpoint = checkpoint
        self._state = resume  # but for its parts, which grow
        self._parts = dict(resume.parts) if resume is not None else {}
        self._done = resume.done if resume is not None else 0
        self._signed: SignedPolicy | None = None
        self._suspect = False
        self._gone = False
        self._next = 1
        self._told = -1
        self._reading = threading.Lock()  # held while a part is read
        self._noting = threading.Lock()  # held for moments only

    @property
    def state(self) -> State | None:
        """How far it came; None before it began, and when going on is of no use."""
        if self._state is None or self._gone:
            return None
        with self._noting:
            return self._state.with_parts({} if self._suspect else self._parts)

    @property
    def small(self) -> bool:
        """Whether one request does: few bytes, and nothing that only the longer way carries."""
        return self._state is None and not self._tags and self._content.size <= SMALL

    def single(self) -> Flow[File]:
        """The short way."""
        file = yield from self._core.store(self._content, self._options)
        self._content.check_end()
        self._tell(self._content.size)
        return file

    def failure(self, fault: ClientError) -> ClientError:
        """The error to raise for a fault: with the state, once there is something to go on with."""
        if self._state is None or isinstance(fault, UploadError):
            return fault
        return UploadError(fault, self.state)

    # -- start

    def begin(self) -> Flow[None]:
        """Announce the upload, if it is a new one."""
        if self._state is None:
            self._state = yield from self._start()
        self._note()

    def _start(self) -> Flow[State]:
        content = self._content
        filename = content.filename or "file"
        store: StoreOptions = {"location": "s3", **self._options}
        self._signed = self._credential()
        members: dict[str, Any] = {
            "apikey": self._core.api_key,
            "filename": filename,
            "mimetype": content.mimetype,
            "size": content.size,
            "store": store,
            **(self._signed.as_fields() if self._signed is not None else {}),
        }
        url = self._core.address("/multipart/start")
        request = self._core.json_request("starting the upload", url, members)
        answer = (yield from succeed(request, self._core.retry)).object()
        named = {name: answer.get(name) for name in ("uri", "region", "upload_id", "location_url")}
        texts = {name: value for name, value in named.items() if isinstance(value, str) and value}
        if len(texts) != len(named):
            raise ProtocolError("The server began an upload and did not say how to go on.")
        return State(
            uri=texts["uri"],
            region=texts["region"],
            upload_id=texts["upload_id"],
            location_url=texts["location_url"],
            filename=filename,
            mimetype=content.mimetype,
            size=content.size,
            part_size=self._part_size,
            store=store,
            tags=self._tags,
        )

    def _credential(self) -> SignedPolicy | None:
        return self._core.signer.credential(Call.PICK, Call.STORE)

    # -- parts

    def take(self) -> Piece | None:
        """Read the next part that is missing; None when there is none. Parts come in order, each one once.

        Of a resumed upload the parts that are done are read too: one whose bytes are not what was sent is sent again.
        """
        state = self._begun()
        with self._reading:
            while self._next <= state.count:
                number = self._next
                self._next += 1
                data = self._content.read(state.offset(number), state.length(number))
                md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
                done = self._parts.get(number)
                if done is not None and done.md5 == md5:
                    continue
                if done is not None:
                    self._forget(number)
                return Piece(number, data, md5)
        return None

    def send(self, piece: Piece) -> Flow[None]:
        """Ask where a part goes, and put it there. An address that ran out is replaced by a fresh one."""
        for attempt in range(1, _FRESH_URLS + 1):
            target = yield from self._target(piece)
            reply = yield from exchange(target, self._core.retry)
            if reply.good:
                etag = reply.headers.get("etag", "")
                if not etag:
                    raise ProtocolError("The storage took a part and gave no ETag for it.")
                self._note(piece.number, Part(etag, piece.md5))
                return
            wait = self._core.retry.wait(attempt) if reply.status in _EXPIRED else None
            if wait is None or attempt == _FRESH_URLS:
                raise self._refused(reply)
            yield Pause(wait)

    def _target(self, piece: Piece) -> Flow[Request]:
        members = self._members() | {"part": piece.number, "size": len(piece.data), "md5": piece.md5}
        request = self._core.json_request(f"announcing part {piece.number}", self._place("upload"), members)
        reply = yield from exchange(request, self._core.retry)
        if not reply.good:
            raise self._refused(reply)
        answer = reply.object()
        url, headers = answer.get("url"), answer.get("headers", {})
        texts = isinstance(headers, dict) and all(isinstance(value, str) for value in headers.values())
        if not isinstance(url, str) or not texts:
            raise ProtocolError("The server did not say where a part goes.")
        return Request(
            what=f"sending part {piece.number}",
            method="PUT",
            url=self._core.pointed(url),
            headers={name.lower(): value for name, value in headers.items()},
            body=Octets(piece.data),
            ours=False,
        )

    # -- complete

    def finish(self) -> Flow[File]:
        """Have the parts put together."""
        self._content.check_end()
        state = self._begun()
        parts = [{"part_number": number, "etag": part.etag} for number, part in sorted(self._parts.items())]
        members = self._members() | {
            "filename": state.filename,
            "mimetype": state.mimetype,
            "size": state.size,
            "parts": parts,
            **({"upload_tags": dict(state.tags)} if state.tags else {}),
        }
        renewed = False
        for _ in range(_MOST_WAITS):
            signed = self._signed or self._credential()
            shown = members | (signed.as_fields() if signed is not None else {})
            request = self._core.json_request("completing the upload", self._place("complete"), shown, patience=_MERGE)
            reply = yield from exchange(request, self._core.retry)
            if reply.status == 200:
                return File.read(reply.object())
            if reply.status == 202:  # not ready yet
                yield Pause(_WAIT)
            elif reply.status in (401, 403) and self._core.signer.signs and not renewed:
                self._signed, renewed = None, True  # a long upload outlives the policy that it began with
            else:
                raise self._refused(reply, at_end=True)
        raise NetworkError("The server did not finish putting the file together.")

    # -- common

    def _begun(self) -> State:
        if self._state is None:
            raise RuntimeError("begin() comes first")
        return self._state

    def _members(self) -> dict[str, Any]:
        state = self._begun()
        return {
            "apikey": self._core.api_key,
            "uri": state.uri,
            "region": state.region,
            "upload_id": state.upload_id,
            "store": state.store,
        }

    def _place(self, step: str) -> str:
        """Where the later requests go: a bare host, with the scheme that we speak ourselves, or a whole address."""
        place = self._begun().location_url.rstrip("/")
        own = urlsplit(self._core.base)
        if place == own.netloc:  # this very server, which may live under a prefix
            base = self._core.base
        else:
            base = place if place.startswith(("http://", "https://")) else f"{own.scheme}://{place}"
        return self._core.pointed(f"{base}/multipart/{step}")

    def _refused(self, reply: Reply, *, at_end: bool = False) -> ResponseError:
        """The error of an answer, having noted what it means for going on later."""
        error = reply.error()
        if isinstance(error, NotFound):
            self._gone = True
        elif at_end and reply.status < 500 and not isinstance(error, Denied):
            self._suspect = True  # the parts are not what they should be: going on sends all of them again
        return error

    def _forget(self, number: int) -> None:
        with self._noting:
            del self._parts[number]
            self._done -= self._begun().length(number)

    def _note(self, number: int | None = None, part: Part | None = None) -> None:
        """Record a part, and tell who wants to know. Callers' functions run one at a time and see numbers that only grow."""
        with self._noting:
            state = self._begun()
            if number is not None and part is not None:
                self._parts[number] = part
                self._done += state.length(number)
            if self._checkpoint is not None:
                self._checkpoint(state.with_parts(self._parts))
            self._tell(self._done)

    def _tell(self, done: int) -> None:
        if self._progress is not None and done > self._told:
            self._told = done
            self._progress(done, self._content.size)


def _grown(part_size: int, size: int) -> int:
    """A part size with which the file has no more parts than allowed, in whole MiB where it had to grow."""
    if size <= part_size * MOST_PARTS:
        return part_size
    least = -(-size // MOST_PARTS)
    return -(-least // MIB) * MIB
