"""Between HTTP and the engine: facts from a request, decisions and faults to responses.

Knows: Starlette requests and responses. Must not know: what any endpoint is for.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar
from urllib.parse import quote, unquote

import anyio
import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..engine import Engine, policies_seen
from ..engine.files import Target, effective_path
from ..engine.names import clean_name
from ..engine.storages import Room
from ..engine.types import HARMLESS, INLINE, PLAIN
from ..gate.credentials import one_credential, secret_from_authorization, signed_from_query
from ..gate.decide import decide, who_asks
from ..gate.errors import (
    BadRequest,
    CredentialConflict,
    HttpsRequired,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    Reason,
    SecureDeliveryError,
)
from ..gate.hosts import parse_origin
from ..gate.model import Application, Decision, RequestFacts
from ..gate.policy import Call, SignedPolicy
from ..gate.reading import PolicyCache
from ..gate.whitelist import Whitelist
from . import counting
from .transport import base_of, peer_of, plain_http

if TYPE_CHECKING:
    from ..engine.renditions import Rendition

logger = logging.getLogger("secure_delivery.server")

P = ParamSpec("P")
T = TypeVar("T")

_FETCHES, _FETCHES_EACH = 64, 16  # sources fetched at once, in all and for one application
_KEEPERS = 48  # requests that may wait for storages elsewhere at once
_API_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
#: Policies and signatures where they are named, in a query and in a path, and whatever else is as long as one: half of a
#: policy cut by its own slash, tasks in Base64. A policy in the standard alphabet may hold slashes.
_IN_QUERY = re.compile(r"((?:^|[?&])(?:policy|signature)=)([^&]{0,8})[^&]*", re.IGNORECASE)
_IN_PATH = re.compile(
    r"([,=]\s*(?:policy|signature|p|s)\s*:\s*\"?)([^&,/\"?]{0,8})[^&,/\"?]*(?:/[A-Za-z0-9+/_=-]*(?=,\s*s|\"))?", re.IGNORECASE
)
_LONG = re.compile(r"([A-Za-z0-9+_=-]{8})[A-Za-z0-9+_=-]{24,}")
_UNPRINTABLE = re.compile(r"[^ -~…]")

#: What strangers uploaded never runs as a page of ours, opened directly or framed (security promise 53).
CONTENT_HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'",
    "cross-origin-resource-policy": "cross-origin",
    "referrer-policy": "no-referrer",
}


#: What is told of a secret that came in the clear: it should be renewed.
SHIELDED = "Secrets are taken by https only. Whoever is on the way has read this one: make a new one."

#: Statuses of faults that are refusals too.
REFUSING = frozenset({401, 403, 429})

#: Where uploads begin: the upload whitelist is for these.
UPLOAD_PATHS = ("/v2/previews", "/api/store/", "/multipart/", "/tus/", "/folder/", "/recording/", "/auth/")
_UPLOADS = frozenset({"/process", "/prefetch", "/store/", "/metadata"})


class Denied(Exception):
    """Carries a refusal from the depth of an endpoint to the one place that answers it."""

    def __init__(self, decision: Decision, application: Application | None = None) -> None:
        super().__init__(decision.reason.value)
        self.decision = decision
        self.application = application


class Context:
    """What endpoints need besides the request: the engine, and the memory of policies that were read before."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.policies = PolicyCache()
        self._fetchers = anyio.CapacityLimiter(_FETCHES)
        self._keepers = anyio.CapacityLimiter(_KEEPERS)
        self._drawers = anyio.CapacityLimiter(max(1, engine.settings.decoders // 2))
        self._fetching: dict[str, int] = {}
        self.noticed: set[str] = set()  # applications whose development storage the log has spoken of

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking work in a thread."""
        return await anyio.to_thread.run_sync(lambda: work(*args, **kwargs))

    async def query(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a short query: in place on SQLite, where a thread costs more than the query and readers never wait."""
        if self.engine.database.sqlite:
            return work(*args, **kwargs)
        return await self.run(work, *args, **kwargs)

    async def application(self, api_key: str | None) -> Application:
        """The application of a key. Raises `Denied` for none or an unknown one."""
        found = None
        if api_key is not None and _API_KEY.fullmatch(api_key):
            found = await self.query(self.engine.records.application, api_key)
        if found is None:
            raise Denied(Decision(allowed=False, reason=Reason.UNKNOWN_APPLICATION))
        return found

    async def owner(self, api_key: str) -> Application:
        """The application that a record names. It is there, unless it was deleted this very moment."""
        found = await self.query(self.engine.records.application, api_key)
        if found is None:
            raise NotFound(f"the application {api_key} is gone")
        return found

    def secret(self, request: Request) -> str | None:
        """The secret of an application that a request shows by HTTP Basic. Raises what `shield` raises."""
        shown = secret_from_authorization(single(request, "authorization"))
        if shown is not None:
            self.shield(request)
        return shown

    def shield(self, request: Request) -> None:
        """Raise `HttpsRequired` for a secret that came in the clear from another machine (security promise 68)."""
        settings = self.engine.settings
        if settings.plain_secrets:
            return
        peer = peer_of(request.scope, settings)
        if peer.scheme != "https" and not plain_http(peer):
            raise HttpsRequired(f"a secret by plain HTTP from {peer.address[:60]}", public=SHIELDED)

    def judge(self, request: Request, application: Application, *calls: Call, **facts: Any) -> Decision:
        """Decide about a request. Raises `Denied` with the decision when it falls against it.

        The credential is that of the query (unless `use_query` is false), of HTTP Basic (unless `use_basic` is), or `signed`
        from elsewhere; more than one is a 400.
        """
        counting.belongs(request.scope, application.api_key)
        shown = one_credential(
            signed_from_query(raw_query(request)) if facts.pop("use_query", True) else None,
            self.secret(request) if facts.pop("use_basic", True) else None,
            facts.pop("signed", None),
        )
        now = self.engine.clock()
        asked = RequestFacts(
            calls=frozenset(calls),
            signed=shown if isinstance(shown, SignedPolicy) else None,
            secret=shown if isinstance(shown, str) else None,
            origin=single(request, "origin"),
            referer=single(request, "referer"),
            **facts,
        )
        decision = decide(application, asked, now=now, cache=self.policies)
        if not decision.allowed:
            raise Denied(decision, application)
        if decision.would_refuse:
            counting.reported(request.scope, application.api_key, decision.reported, who_asks(asked))
        if decision.policy is not None:
            policies_seen.note(self.engine.usage.counts(), application.api_key, decision.policy, now)
        return decision

    async def judge_store(
        self, request: Request, application: Application, target: Target, *calls: Call, **facts: Any
    ) -> tuple[Room, Decision]:
        """Decide about storing a file, by where it would really go. Raises `Denied`, and `BadRequest` for a place that the
        application does not have."""
        room, needed = await self.query(self.engine.files.wanted, application, target)
        wanted = sorted({*calls, *needed})
        decision = self.judge(request, application, *wanted, container=room.container, path=effective_path(room.path), **facts)
        return room, decision

    async def fetch(self, application: Application, work: Callable[[], T]) -> T:
        """Run a fetch from outside in a thread of those that are for it: sources that never answer must not stop deliveries.

        Raises `Overloaded` when one application waits for too many at once.
        """
        waiting = self._fetching.get(application.api_key, 0)
        if waiting >= _FETCHES_EACH:
            raise Overloaded(f"{application.api_key} waits for {waiting} sources", public="Too many sources are being fetched.")
        self._fetching[application.api_key] = waiting + 1
        try:
            return await anyio.to_thread.run_sync(work, limiter=self._fetchers)
        finally:
            self._fetching[application.api_key] -= 1
            if not self._fetching[application.api_key]:
                del self._fetching[application.api_key]

    async def keep(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what may wait for a storage elsewhere in a thread of those that are for it."""
        return await anyio.to_thread.run_sync(lambda: work(*args, **kwargs), limiter=self._keepers)

    async def draw(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what the portal has decoders do in one of few threads, so that half of them are left for deliveries."""
        return await anyio.to_thread.run_sync(lambda: work(*args, **kwargs), limiter=self._drawers)

    def base_url(self, request: Request) -> str:
        """Scheme, host and prefix for the URLs we hand out, without a slash at the end."""
        settings = self.engine.settings
        if settings.public_url:
            return settings.public_url.rstrip("/")
        root = request.scope.get("root_path", "")
        if settings.proxies and (base := base_of(peer_of(request.scope, settings), root)) is not None:
            return base
        return f"{request.url.scheme}://{request.url.netloc}{quote(root)}"


# -------------------------------------------------------------------------------------------------------------- reading


def single(request: Request, name: str) -> str | None:
    """A header's value; one that was sent twice is joined so that no parser accepts it."""
    values = request.headers.getlist(name)
    return ", ".join(values) if values else None


def raw_query(request: Request) -> str:
    """The query string as received."""
    query: bytes = request.scope["query_string"]
    return query.decode("latin-1")


def raw_path(request: Request) -> str:
    """The path as received, still percent-encoded, without the prefix we are mounted under.

    Servers differ in whether `raw_path` carries the query string; ours never does.
    """
    raw = request.scope.get("raw_path") or quote(request.scope["path"], safe="/%:=,@!$&'()*+;~").encode()
    path: str = raw.decode("latin-1").partition("?")[0]
    root = quote(request.scope.get("root_path", ""), safe="/")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :] or "/"
    return path


def parameters(request: Request) -> dict[str, str]:
    """The query parameters, decoded once. One that is given twice is refused: two parsers would take different ones."""
    found: dict[str, str] = {}
    for part in raw_query(request).split("&"):
        name, _, value = part.partition("=")
        if not name:
            continue
        if name in found and name in ("policy", "signature"):
            raise CredentialConflict(f"{name} is given twice")
        if name in found:
            raise BadRequest(f"{name!r} is given twice", public="A query parameter is given twice.")
        try:
            found[name] = unquote(value.replace("+", " "), errors="strict")
        except UnicodeDecodeError:
            raise BadRequest("query is not UTF-8", public="The query string is not UTF-8.") from None
    return found


def flag(values: Mapping[str, str], name: str) -> bool:
    """Whether a query parameter is switched on: given as `true`, `1`, or without a value."""
    return values.get(name, "false").lower() in ("true", "1", "")


def redact(text: str) -> str:
    """A path or query fit for a log: one printable line, policies and signatures cut to eight characters however they are
    spelled (security promises 60 and 61)."""
    text = unquote(text, errors="replace")
    for pattern in (_IN_QUERY, _IN_PATH):
        text = pattern.sub(r"\1\2…", text)
    text = _LONG.sub(r"\1…", text)
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)[:512]


# ------------------------------------------------------------------------------------------------------------ answering


def error_response(status: int, code: str, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """Every refusal and fault: JSON with a stable code and a sentence, never kept by a cache."""
    return JSONResponse(
        {"error": {"code": code, "message": sentence}},
        status,
        {"cache-control": "no-store", "x-content-type-options": "nosniff", **(headers or {})},
    )


async def on_denied(request: Request, error: Exception) -> Response:
    """Answer a refusal. Pages of an approved origin may read why."""
    denied = error if isinstance(error, Denied) else Denied(Decision(allowed=False, reason=Reason.MISSING))
    decision, application = denied.decision, denied.application
    logger.info("refused %s %s: %s", request.method, redact(raw_path(request)), decision.reason.value)
    counting.refused(request.scope, decision.reason.value, None if application is None else application.api_key)
    headers = {"vary": ", ".join(decision.vary)} if decision.vary else {}
    headers |= cors_headers(request, application)
    public = decision.public
    return error_response(public.status, public.code, public.sentence, headers)


async def on_fault(request: Request, error: Exception) -> Response:
    """Answer a fault of the tree; what it says for operators goes to the log."""
    fault = error if isinstance(error, SecureDeliveryError) else SecureDeliveryError()
    level = logging.ERROR if fault.status >= 500 else logging.INFO
    logger.log(level, "%s %s: %s %s", request.method, redact(raw_path(request)), fault.code, redact(json.dumps(str(fault))))
    if fault.status in REFUSING:
        counting.refused(request.scope, fault.code)
    headers = {"retry-after": "2"} if fault.status in (429, 503) else {}
    if fault.status == 401:
        headers["www-authenticate"] = 'Basic realm="secure_delivery", charset="UTF-8"'
    return error_response(fault.status, fault.code, fault.public, headers | cors_headers(request, None))


async def on_http(request: Request, error: Exception) -> Response:
    """Answer what routing refuses, in the words of all other refusals."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    headers = (error.headers if isinstance(error, HTTPException) else None) or {}
    if status == 405:
        return error_response(405, MethodNotAllowed.code, MethodNotAllowed.sentence, headers)
    return error_response(404, NotFound.code, "There is nothing here.", headers)


async def on_disconnect(request: Request, error: Exception) -> Response:
    """A body that ended before its time, by a client that may still listen. Nothing of it is kept, and it is no fault."""
    logger.info("%s %s: the client went away", request.method, redact(raw_path(request)))
    return error_response(400, BadRequest.code, "The body of the request ended too early.")


async def on_crash(request: Request, error: Exception) -> Response:
    """Answer what nobody foresaw, without a word about it to the client. Starlette raises it again for the server's log."""
    logger.error("%s %s failed: %s", request.method, redact(raw_path(request)), type(error).__name__)
    return error_response(500, "internal", SecureDeliveryError.sentence)


def whitelist_for(request: Request, application: Application | None) -> Whitelist | None:
    """The whitelist that this request is a matter of; None where there is none or an empty one."""
    if application is None:
        return None
    path = raw_path(request)
    uploads = path.startswith(UPLOAD_PATHS) or path in _UPLOADS
    return (application.upload_whitelist if uploads else application.delivery_whitelist) or None


_EXPOSED = (
    "ETag, Content-Length, Content-Disposition, X-File-Name, Location, Upload-Offset, Upload-Length, Upload-Expires, "
    "Upload-Concat, Upload-Metadata, Upload-Defer-Length, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, "
    "Tus-Checksum-Algorithm, Filestack-Handle, Filestack-Url, Retry-After"
)


def cors_headers(request: Request, application: Application | None) -> dict[str, str]:
    """What lets a page read the answer: its own origin when a whitelist approved it, anyone where there is no whitelist.

    No cookies are involved anywhere in these APIs, so `*` gives nothing that a plain request would not get. It is said
    without an Origin too: a browser may use the copy it kept of a plain request for the next page's script.
    """
    exposed = {"access-control-expose-headers": _EXPOSED}
    whitelist = whitelist_for(request, application)
    if whitelist is None:
        return {"access-control-allow-origin": "*", **exposed}
    origin = single(request, "origin")
    host = parse_origin(origin) if origin is not None else None
    if origin is not None and host is not None and whitelist.allows(host):
        return {"access-control-allow-origin": origin, **exposed}
    return {}


def cache_control(
    decision: Decision, application: Application, *, open_age: int, now: float, asked: int | Literal[False] | None = None
) -> str:
    """The Cache-Control of an allowed answer: for the asker alone when a credential was shown (pitfall c6).

    `asked` is what the URL says about it, in seconds; it never outlives the credential. False: nobody keeps the answer.
    """
    if asked is False:
        return "no-store"
    if decision.authenticated:
        scope = "public" if application.public_cache else "private"
        limit = application.max_age if asked is None else asked
        return f"{scope}, max-age={decision.max_age(limit, now)}"
    return f"public, max-age={open_age if asked is None else asked}"


def disposition(filename: str, *, attachment: bool) -> str:
    """A Content-Disposition that cannot break out of its header: RFC 6266, with an ASCII fallback that keeps its extension."""
    kind = "attachment" if attachment else "inline"
    plain = re.sub(r"[^ -~]|[\"\\%]", "_", filename)
    if plain == filename:
        return f'{kind}; filename="{plain}"'
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='', errors='replace')}"


def content_headers(mimetype: str, filename: str, *, download: bool) -> dict[str, str]:
    """The headers of user content: its type, whether a browser may show it, and what it may do when it does.

    Scripts, style sheets and the like are handed out under a type that no page can run or apply.
    """
    kind = HARMLESS.get(mimetype, mimetype)
    name = clean_name(filename)  # a decoder process may have named it, or a version of this server that knew less of names
    return {
        "content-type": f"{kind}; charset=utf-8" if kind in (PLAIN, "application/json") else kind,
        "content-disposition": disposition(name, attachment=download or mimetype not in INLINE),
        "x-file-name": quote(name, safe=" !#$&'()+,;=@[]^`{}~"),
        **CONTENT_HEADERS,
    }


_POLICY_TEXT = re.compile(r"[A-Za-z0-9 ;:/.'*=+_-]{0,2000}")
_CODINGS = ("gzip",)


def result_headers(rendition: Rendition) -> dict[str, str]:
    """Headers that a result asks for: a page made by a task may be shown, in an origin of its own, with the scripts that its
    policy names; a script or style sheet that was asked for by a task may be used as one; and a result that is compressed
    says so.

    What a decoder process reports is not to be trusted, so a page is sandboxed first, whatever its own policy says: of two
    `sandbox` directives the first counts (CSP level 3, section 2.2.1), and it does not grant our origin.
    """
    headers: dict[str, str] = {}
    policy, coding = rendition.extra.get("csp"), rendition.extra.get("encoding")
    if rendition.mimetype == "text/html" and isinstance(policy, str) and _POLICY_TEXT.fullmatch(policy):
        scripts = "sandbox allow-scripts allow-modals" if "script-src" in policy else "sandbox"
        headers["content-security-policy"] = f"{scripts}; {policy}"
        headers["content-type"] = "text/html; charset=utf-8"
        headers["content-disposition"] = disposition(rendition.filename, attachment=False)
    if rendition.mimetype in ("text/javascript", "text/css"):
        headers["content-type"] = rendition.mimetype
    if coding in _CODINGS:
        headers["content-encoding"] = str(coding)
    return headers


async def body_pieces(request: Request) -> AsyncIterator[bytes]:
    """The body, piece by piece. A client that goes away ends it with `ClientDisconnect`."""
    async for piece in request.stream():
        if piece:
            yield piece
