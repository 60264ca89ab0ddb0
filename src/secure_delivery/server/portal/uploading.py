"""Files taken in by the portal: in pieces that go on after a cut (tus), or from a plain form.

Knows: that whoever is let in here may store for this application. Must not know: cookies, roles, how bytes are kept.

The endpoints are those of the service with another judge: the session and its scope have let the visitor in before, so no
policy is asked for, and no whitelist. Limits, allowed types and scanners of the application hold as always, and each file that
comes of it has its entry in the audit log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...engine.account_rows import WRITE
from ...engine.files import Target, Upload, clean_name
from ...engine.records import FileLink
from ...gate.errors import BadRequest, NotFound, Reason
from ...gate.model import Application, Decision
from ...gate.policy import Call
from .. import counting
from ..http import Context
from ..tus import Tus
from ..uploads import Intake
from .file_told import told
from .frame import API, Ask, Raw
from .pictures import own_file

P = ParamSpec("P")
T = TypeVar("T")

_LET_IN = Decision(allowed=True, reason=Reason.OK, authenticated=True)
_HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",
}


class Inside(Context):
    """What endpoints of uploads need, for a visitor who may write and for one application. It shares all its bounds with the
    context of the server. What becomes a file by `keep` is told of in the audit log."""

    def __init__(self, ask: Ask, application: Application) -> None:
        vars(self).update(vars(ask.context))
        self._ask = ask
        self._application = application

    async def application(self, api_key: str | None) -> Application:
        """The application. Raises `NotFound` for any other."""
        if api_key != self._application.api_key:
            raise NotFound("uploads are for another application")
        return self._application

    def judge(self, request: Request, application: Application, *calls: Call, **facts: Any) -> Decision:
        """Let the visitor in. Raises `NotFound` for another application."""
        if application.api_key != self._application.api_key:
            raise NotFound("uploads are for another application")
        counting.belongs(request.scope, application.api_key)
        return _LET_IN

    async def keep(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As ever, in one thread with the entry."""

        def noted() -> T:
            made = work(*args, **kwargs)
            if isinstance(made, FileLink):
                self.engine.administration.uploaded(self._ask.actor, made)
            return made

        return await super().keep(noted)

    def base_url(self, request: Request) -> str:
        """The origin of files, which is not the one that was asked."""
        return self._ask.files


async def _tus(ask: Ask) -> Tus:
    return Tus(Inside(ask, await ask.context.run(ask.application)))


async def _begin(request: Request, ask: Ask) -> Response:
    response = await (await _tus(ask)).collection(request)
    if "location" in response.headers:  # the pieces come back here, with the session of the visitor
        token = response.headers["location"].rpartition("/")[2]
        response.headers["location"] = f"{ask.portal}{request.url.path}/{token}"
    return _ours(response)


async def _go_on(request: Request, ask: Ask) -> Response:
    return _ours(await (await _tus(ask)).one(request))


def _ours(response: Response) -> Response:
    """An answer of the service as one of the portal's, which no page of others may read."""
    for name in [name for name in response.headers if name.startswith("access-control-")]:
        del response.headers[name]
    response.headers.update(_HEADERS)
    return response


async def _store(request: Request, ask: Ask) -> Response:
    """One file from a form, or a body as it is."""
    engine = ask.engine
    application = await ask.context.run(ask.application)

    def begin(target: Target) -> Upload:
        return engine.files.begin(application, target, limit=engine.settings.max_bytes)

    given = ask.query.text("filename", label="The name", longest=1000)
    with Intake(request, _LET_IN, begin, base64decode=False) as intake:
        upload = await _received(intake, clean_name(given) if given else None)
        link = await Inside(ask, application).keep(engine.files.add, application, upload)
    return _answered(request, ask, application, link, 201)


async def _overwrite(request: Request, ask: Ask) -> Response:
    """New content under a handle. The name stays."""
    engine = ask.engine
    application = await ask.context.run(ask.application)
    link = await ask.context.run(lambda: own_file(ask, application, ask.path["handle"], held=True))

    def begin(target: Target) -> Upload:
        named = Target(filename=link.filename, mimetype=target.mimetype)
        return engine.files.begin(application, named, limit=engine.settings.max_bytes, over=link)

    with Intake(request, _LET_IN, begin, base64decode=False) as intake:
        upload = await _received(intake, link.filename)
        fresh = await ask.context.keep(engine.administration.overwrite_file, ask.actor, link, upload)
    return _answered(request, ask, application, fresh, 200)


async def _received(intake: Intake, filename: str | None) -> Upload:
    upload = await intake.receive(filename, None)
    if upload is None:  # the body named an address instead
        raise BadRequest("no file in the body", public="The body holds no file.")
    return upload


def _answered(request: Request, ask: Ask, application: Application, link: FileLink, status: int) -> Response:
    """What programs are told, and where people go."""
    if request.url.path.startswith(f"{API}/"):
        return JSONResponse(told(ask.engine, application, link), status, _HEADERS)
    return Response(None, 303, _HEADERS | {"location": f"/applications/{application.api_key}/files/{link.handle}"})


_ONE = "/applications/{key}"

RAWS = (
    Raw(
        path=f"{_ONE}/tus", method="POST", answer=_begin, scope=WRITE, command="store",
        says="Begin an upload that can be resumed (tus 1.0.0); `Location` is where its pieces go.",
    ),
    Raw(
        path=f"{_ONE}/tus/{{token}}", method="HEAD", answer=_go_on, scope=WRITE, command="store",
        says="How far an upload is.",
    ),
    Raw(
        path=f"{_ONE}/tus/{{token}}", method="PATCH", answer=_go_on, scope=WRITE, command="store",
        says="Send a piece of an upload.",
    ),
    Raw(
        path=f"{_ONE}/tus/{{token}}", method="DELETE", answer=_go_on, scope=WRITE, command="store",
        says="Give an upload up.",
    ),
    Raw(
        path=f"{_ONE}/tus/{{token}}", method="POST", answer=_go_on, scope=WRITE, command="store",
        says="The same for who cannot send these methods, with `X-HTTP-Method-Override`.",
    ),
    Raw(
        path=f"{_ONE}/upload", method="POST", answer=_store, scope=WRITE, command="store", by_form=True,
        says="Store one file: the body as it is, named by `filename`, or a multipart form.",
    ),
    Raw(
        path=f"{_ONE}/files/{{handle}}/upload", method="POST", answer=_overwrite, scope=WRITE, by_form=True,
        says="Put another content in the place of a file's; handle and name stay.",
    ),
)  # fmt: skip
