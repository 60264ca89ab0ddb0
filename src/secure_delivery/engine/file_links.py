"""Signed addresses of one file, for people who hand them out.

Knows: what an address is for, the narrowest policy that lets it do that. Must not know: HTTP, who asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from ..gate.errors import BadRequest, ConfigurationError, TaskURLError
from ..gate.model import Application
from ..gate.policy import Call, Policy, SignedPolicy
from ..gate.tasksource import Source, SourceKind
from ..gate.taskurl import MAX_PATH, TaskURL
from ..plugin.manager import Registry
from . import tryout
from .policy_warnings import Caution, warnings


class Use(StrEnum):
    """What the address of a file is for."""

    READ = "read"
    DOWNLOAD = "download"
    CONVERT = "convert"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAddress:
    """An address below the origin of the service, the credential in it, when that ends (unix seconds), and what a person should
    know before it is handed out."""

    path: str = field(repr=False)  # the credential is in it
    signed: SignedPolicy = field(repr=False)
    expiry: int
    warnings: tuple[Caution, ...]


def address_of(
    registry: Registry, application: Application, handle: str, use: Use, *, tasks: str = "", expires_in: int, now: float
) -> FileAddress:
    """Sign an address of a file for one use and no other, for so many seconds. `tasks` is the chain of a conversion as it
    stands in an address, `resize=width:300/sepia`.

    Raises `TaskURLError` for tasks that are wrong, that need other files, or none where a conversion is wanted; `BadRequest`
    for a life that no policy has.
    """
    source = Source(kind=SourceKind.HANDLE, text=handle)
    calls, chain = frozenset({Call.READ}), None
    if use is Use.CONVERT:
        chain = tryout.chain_of(registry, tryout.tasks_of(registry, tryout.typed_of(tasks)), source)
        if not chain.tasks:
            raise TaskURLError(public="Give at least one task, as resize=width:300.")
        if chain.plan.references:
            raise TaskURLError(public="This chain needs other files too. The playground signs an address for it.")
        calls = chain.plan.calls
    try:
        signed = application.sign(expires_in=expires_in, now=now, call=sorted(calls), handle=handle)
    except ConfigurationError as fault:
        raise BadRequest(str(fault), public=f"No policy can say this: {fault}.") from None
    policy = Policy.decode(signed.encoded)
    if chain is not None:
        path = TaskURL(tasks=chain.tasks, source=source, signed=signed).format()
    else:
        path = f"/{handle}?{signed.as_query()}" + ("&dl=true" if use is Use.DOWNLOAD else "")
    if len(path) > MAX_PATH:
        raise TaskURLError(public=f"The address is longer than the {MAX_PATH} characters that a server takes.")
    return FileAddress(path=path, signed=signed, expiry=policy.expiry, warnings=warnings(policy, application, now=now))
