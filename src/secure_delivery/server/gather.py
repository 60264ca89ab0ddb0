"""From the sources that a URL names to files that a chain can work on, each judged before any byte of it is touched.

Knows: who may use which source (the three situations of the document on transformations and security; pitfall c10: the rules
hold for watermarks and members of lists as for the main source). Must not know: what the chain does.

* a file of the application that transforms needs no policy of its own, unless the one shown is bound to another file;
* a file of another application is read under that application's rules: `?policy=…&signature=…` in the URL that names it;
* an address outside is fetched under the transforming application's policy, whose `url` pattern is asked on every hop.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import quote, urlsplit

from starlette.requests import Request

from ..engine.fetched import FetchedFiles
from ..engine.outbound import read_url
from ..engine.records import FileLink
from ..engine.sources import Folders, SourceFile
from ..gate.credentials import one_credential, signed_from_query
from ..gate.errors import BadRequest, NotFound, Reason, TaskURLError
from ..gate.model import Application, Decision
from ..gate.policy import Call, SignedPolicy
from ..gate.tasksource import Source, SourceKind
from ..gate.taskurl import TaskURL, parse
from .http import Context, Denied

_FILE_PATH = re.compile(r"/api/file/([A-Za-z0-9_-]{20,64})(?:\+[A-Za-z0-9]{1,16})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """One source as a request names it: a stored file with the credential shown for it, or an address outside.

    `url` is what a policy's `url` pattern is asked about, and `told` what is said of it to those who ask: where a storage
    alias leads is the operator's business. `folder` says that it leads to a folder of this machine, and `path` where in it.
    """

    handle: str | None = None
    signed: SignedPolicy | None = field(default=None, repr=False)
    url: str | None = None
    told: str | None = None
    folder: str | None = None
    path: str = ""


class Gatherer:
    """Resolves sources for requests."""

    def __init__(self, context: Context, fetched: FetchedFiles, folders: Folders) -> None:
        self._context = context
        self._fetched = fetched
        self._folders = folders

    # -- naming

    def named(self, request: Request, application: Application | None, source: Source) -> Named:
        """What a source means here. URLs of this server's own files are those files, not addresses to be fetched.

        Results of workflows are not kept here: they are a handle that nothing has. Raises `BadRequest` for an alias nobody
        set up and for a URL that may not be written, `Denied` for an alias of no application.
        """
        if source.kind is SourceKind.HANDLE:
            return Named(handle=source.text)
        if source.kind is SourceKind.EXTERNAL:
            return stored_source(source.text, self._own(request)) or _outside(source.text)
        if source.kind is SourceKind.ALIAS:
            return self._alias(application, source.text)
        return Named(handle="")

    def made_here(self, request: Request, source: Source) -> TaskURL | None:
        """The transformation that a URL of our own names; None for every other source."""
        if source.kind is not SourceKind.EXTERNAL or authority(source.text) not in self._own(request):
            return None
        parts = urlsplit(source.text)
        if _FILE_PATH.fullmatch(parts.path):
            return None
        inner = parse(parts.path, query=parts.query)
        if not inner.tasks:
            return None
        shown = _only_signed(inner.signed, signed_from_query(parts.query) if not inner.takes_query else None)
        return replace(inner, signed=shown)

    def _own(self, request: Request) -> set[str | None]:
        """Hosts, with their ports where these are unusual, whose URLs mean files of this server."""
        handed_out = self._context.base_url(request)  # which names the host that a proxy was asked for
        return {authority(str(request.url)), authority(handed_out), *self._context.engine.settings.own_hosts} - {None}

    def _alias(self, application: Application | None, text: str) -> Named:
        alias, _, path = text.partition("/")
        if application is None:
            raise unknown_application()
        target = application.aliases.get(alias)
        if target is None:
            raise BadRequest(f"no alias {alias!r}", public=f"There is no storage alias '{alias}'.")
        if target.startswith(("folder:", "storage:")):
            return Named(url=f"src://{text}", told=f"src://{text}", folder=target, path=path)
        # The path is a name, not a piece of a URL: what it holds can neither add a query nor climb out of the target.
        return Named(url=read_url(f"{target.rstrip('/')}/{quote(path)}").url, told=f"src://{text}")

    # -- judging

    async def link(self, named: Named) -> FileLink:
        """The stored file that is meant. Raises `NotFound`."""
        if not named.handle:
            raise NotFound("no results of workflows are kept", public="This result of a workflow is not there any more.")
        return await self._context.query(self._context.engine.files.find, named.handle)

    async def admit(
        self, request: Request, application: Application, named: Named, decision: Decision | None = None
    ) -> FileLink | None:
        """The stored file of a source, which may be read: it belongs to the application, or its own rules let it be.

        `decision` is that on the request: where a policy bound to a file was shown, it vouches for that file alone, and
        others are read by their own rules. Raises `Denied`, `NotFound`. What is no stored file is judged by the caller.
        """
        if named.handle is None:
            return None
        link = await self.link(named)
        bound = decision.policy.handle if decision is not None and decision.policy is not None else None
        if link.application != application.api_key or bound not in (None, link.handle):
            owner = await self._context.owner(link.application)
            self._context.judge(
                request, owner, Call.READ, handle=link.handle, signed=named.signed, use_query=False, use_basic=False
            )
        return link

    # -- fetching

    async def fetch(
        self,
        request: Request,
        application: Application,
        named: Named,
        *,
        calls: tuple[Call, ...],
        facts: Mapping[str, object],
        headers: Mapping[str, str] | None = None,
    ) -> SourceFile:
        """The file behind an address or in a folder. Every hop is judged as the request was. Raises `Denied`, `SourceFault`,
        `NotFound`, `TooLarge`."""
        most = min(self._context.engine.settings.max_bytes, application.limits.max_bytes)
        if named.folder is not None and named.folder.startswith("storage:"):
            place, path = named.folder, named.path
            objects = self._context.engine.objects
            return await self._context.fetch(
                application, lambda: objects.open(application.api_key, place, path, max_bytes=most)
            )
        if named.folder is not None:
            return await self._context.run(lambda: self._folders.open(named.folder or "", named.path, max_bytes=most))

        def check(hop: str) -> None:
            self._context.judge(request, application, *calls, **{**facts, "url": hop})

        url = named.url or ""
        return await self._context.fetch(
            application, lambda: self._fetched.get(application.api_key, url, max_bytes=most, check=check, headers=headers)
        )


def stored_source(url: str, own: Container[str | None]) -> Named | None:
    """The stored file that a URL of our own names, with the credential in it; None for URLs of others. `own` are the hosts,
    with unusual ports (`authority`), whose URLs are ours. Raises `TaskURLError` for one that names no file."""
    if authority(url) not in own:
        return None
    parts = urlsplit(url)
    found = _FILE_PATH.fullmatch(parts.path)
    if found is not None:
        return Named(handle=found[1], signed=_only_signed(signed_from_query(parts.query)))
    inner = parse(parts.path)
    if inner.tasks or inner.source is None or inner.source.kind is not SourceKind.HANDLE:
        raise TaskURLError(public="A URL of this server names a stored file as a source, not another transformation.")
    return Named(handle=inner.source.text, signed=_only_signed(inner.signed, signed_from_query(parts.query)))


def _outside(text: str) -> Named:
    url = read_url(text).url
    return Named(url=url, told=url)


def _only_signed(*found: SignedPolicy | None) -> SignedPolicy | None:
    """The one credential of a nested URL. Raises `CredentialConflict` for two."""
    shown = one_credential(*found)
    return shown if isinstance(shown, SignedPolicy) else None


def authority(url: str) -> str | None:
    """Host and port of a URL, without the port that its scheme implies; None where there is no host."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    return host if port is None or port == {"http": 80, "https": 443}.get(parts.scheme) else f"{host}:{port}"


def unknown_application() -> Denied:
    """The refusal of a request that names no application and no file of one."""
    return Denied(Decision(allowed=False, reason=Reason.UNKNOWN_APPLICATION))
