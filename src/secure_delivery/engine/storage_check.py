"""Whether a storage of an application does what it is for: a probe is written, read and deleted, and what is missing explained.

Knows: the abilities of storages. Must not know: what a provider calls its rights; its `advice` does.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..gate.errors import SecureDeliveryError
from ..plugin.protocols import Advising, Multipart, Placing, Presigned, Storage
from .storages import StorageRow, Storages

_PROBE = b"secure_delivery checks whether this place can be written.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that was tried. `good` is None for what was left out; `says` is for the storage's owner."""

    name: str
    good: bool | None
    says: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What came of a check. `advice` are texts to paste at the provider."""

    steps: tuple[Step, ...]
    advice: Mapping[str, str] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether everything that was tried went well."""
        return all(step.good is not False for step in self.steps)


def check_storage(storages: Storages, row: StorageRow, *, origins: tuple[str, ...] = ("*",)) -> CheckReport:
    """Try a storage out. Never raises for what the storage does; raises `VaultError`, `ConfigurationError` for a row that is no
    use."""
    storage = storages.connect(row)
    readable = storage.readable if isinstance(storage, Placing) else True
    name = f"secure-delivery-probe-{secrets.token_hex(8)}.txt"
    key = f"{storage.containers[0]}/{name}" if isinstance(storage, Placing) else secrets.token_hex(20)
    steps = [_tried("write", lambda: _write(storage, key))]
    if steps[0].good:
        steps.append(_tried("read", lambda: _read(storage, key)) if readable else _left_out("read", "it is only written to"))
        steps.append(_tried("delete", lambda: storage.remove(key)))
        if steps[-1].good is False and not readable:
            steps[-1] = _left_out("delete", f"not allowed, which is fine where it is only written to; {name} is left there")
    if isinstance(storage, Multipart):
        steps.append(_tried("parts", lambda: _parts(storage, key)))
    if isinstance(storage, Presigned) and readable:
        steps.append(_tried("signed addresses", lambda: storage.presigned_url(key, seconds=60, headers={})))
    advice = dict(storage.advice(origins)) if isinstance(storage, Advising) else {}
    return CheckReport(steps=tuple(steps), advice=advice)


def _tried(name: str, work: Callable[[], Any]) -> Step:
    try:
        work()
    except SecureDeliveryError as fault:
        return Step(name=name, good=False, says=str(fault))
    return Step(name=name, good=True)


def _left_out(name: str, why: str) -> Step:
    return Step(name=name, good=None, says=why)


def _write(storage: Storage, key: str) -> None:
    draft = (
        storage.place(key, mimetype="text/plain")
        if isinstance(storage, Placing)
        else storage.create(key, mimetype="text/plain")
    )
    try:
        draft.write(_PROBE)
        draft.publish()
    finally:
        draft.discard()


def _read(storage: Storage, key: str) -> None:
    with storage.open(key) as stream:
        if stream.read() != _PROBE:
            raise SecureDeliveryError("what was read is not what was written")


def _parts(storage: Any, key: str) -> None:
    upload = storage.begin_parts(key, mimetype="text/plain")
    storage.part_url(key, upload, 1, size=storage.part_sizes[0], md5=None, seconds=60)
    storage.abort_parts(key, upload)
