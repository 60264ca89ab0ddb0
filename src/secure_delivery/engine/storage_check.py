"""Whether a storage of an application does what it is for: a probe is written, read and deleted, and what is missing explained.

Knows: the abilities of storages. Must not know: what a provider calls its rights; its `advice` does.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..gate.errors import ConfigurationError, SecureDeliveryError
from ..plugin.protocols import Advising, Multipart, Placing, Presigned, Storage
from .storages import StorageRow, Storages

_PROBE = b"secure_delivery checks whether this place can be written.\n"
#: The option of providers whose storages need not be read.
WRITE_ONLY = "write_only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that was tried. `good` is None for what was left out; `says` is for the storage's owner, `public` the same in
    a sentence without details. `surplus` is a right that is there and need not be."""

    name: str
    good: bool | None
    says: str = ""
    public: str = ""
    surplus: bool = False

    @property
    def state(self) -> str:
        """In a word or two: there, missing, too much, left out."""
        return "too much" if self.surplus else {True: "there", False: "missing", None: "left out"}[self.good]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What came of a check. `advice` are texts to paste at the provider."""

    steps: tuple[Step, ...]
    advice: Mapping[str, str] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether everything that was tried went well."""
        return all(step.good is not False for step in self.steps)


def check_storage(
    storages: Storages, row: StorageRow, *, origins: tuple[str, ...] = ("*",), thorough: bool = False
) -> CheckReport:
    """Try a storage out. Never raises for what the storage does; raises `VaultError`, `ConfigurationError` for a row that is no
    use. One that is only written to is read only when `thorough`: to see whether its credentials can do too much."""
    storage = storages.connect(row)
    readable = storage.readable if isinstance(storage, Placing) else True
    name = f"secure-delivery-probe-{secrets.token_hex(8)}.txt"
    key = f"{storage.containers[0]}/{name}" if isinstance(storage, Placing) else secrets.token_hex(20)
    steps = [_tried("write", lambda: _write(storage, key))]
    if steps[0].good:
        if readable:
            steps.append(_tried("read", lambda: _read(storage, key)))
        else:
            steps.append(_too_much(storages, row, key) if thorough else _left_out("read", "it is only written to"))
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
        return Step(name=name, good=False, says=str(fault), public=fault.public)
    return Step(name=name, good=True)


def _left_out(name: str, why: str) -> Step:
    return Step(name=name, good=None, says=why)


def _too_much(storages: Storages, row: StorageRow, key: str) -> Step:
    """Whether the probe can be read although nobody has to."""
    try:
        readable = storages.connect(replace(row, options={**row.options, WRITE_ONLY: "false"}))
        _read(readable, key)
    except ConfigurationError:  # options that only a write-only storage may have
        return _left_out("read", "it is only written to")
    except SecureDeliveryError:
        return _left_out("read", "not allowed, as it should be where it is only written to")
    return Step(name="read", good=None, says="allowed, and not needed where it is only written to", surplus=True)


def advice_of(storages: Storages, row: StorageRow, *, origins: tuple[str, ...] = ("*",)) -> dict[str, Mapping[str, str]]:
    """Texts to paste at the provider, least rights first: `write_only` where the provider has that, then `read`. Nothing is
    asked. Raises `VaultError`, `ConfigurationError`, `StorageFault` for a row that is no use."""
    provider = storages.providers.get(row.provider)
    found: dict[str, Mapping[str, str]] = {}
    if provider is None or not any(param.name == WRITE_ONLY for param in provider.params):
        storage = storages.connect(row)
        return {"read": dict(storage.advice(origins))} if isinstance(storage, Advising) else {}
    for name, word in (("write_only", "true"), ("read", "false")):
        try:
            storage = storages.connect(replace(row, options={**row.options, WRITE_ONLY: word}))
        except ConfigurationError:  # it cannot be that
            continue
        if isinstance(storage, Advising):
            found[name] = dict(storage.advice(origins))
    return found


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
