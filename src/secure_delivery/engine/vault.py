"""Envelope encryption for what the database keeps of secrets and storage credentials.

Knows: AES-256-GCM, the master keys, the text form of a sealed value. The only module that imports cryptography.
Must not know: the database, what a sealed value means, who asks for it.

A sealed value is the text `v1.<key id>.<Base64URL without padding>`; the last part is, in this order,

    12 bytes  nonce of the wrapping
    48 bytes  the record's data key, encrypted under the master key, with its tag
    12 bytes  nonce of the value
     n bytes  the value, encrypted under the data key, with its 16-byte tag

Both layers authenticate the version, the key id and the place (table, row, field, application) the value belongs to, so
a value that was altered or copied elsewhere does not open (security promise 57). A data key seals exactly one value,
hence its nonce cannot repeat. A master key wraps one data key per sealing with a random nonce; NIST SP 800-38D allows
2^32 of those, far beyond the number of secrets that a service ever stores under one key.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..gate.errors import ConfigurationError, VaultError

#: How operators name the two sources of master keys; every complaint names the one it is about.
FILE_SETTING = "master_key_file"
TEXT_SETTING = "master_key"

_VERSION = "v1"
_KEY = 32  # bytes: AES-256
_NONCE = 12  # bytes: the only length for which GCM needs no extra hashing (SP 800-38D, 5.2.1.1)
_TAG = 16  # bytes
_WRAPPED = _KEY + _TAG
_SHORTEST = _NONCE + _WRAPPED + _NONCE + _TAG
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")  # no dot, colon, comma or blank: those separate
_DISTINCT = 16  # 32 random bytes have about 30 different values and fewer than 16 about never
_FILE_LIMIT = 64 * 1024  # bytes; several hundred keys


class Place(NamedTuple):
    """Where a sealed value lives. It opens nowhere else.

    `row` is the primary key as text; `application` is the API key of the owner, or "" for what belongs to the service.
    """

    table: str
    row: str
    field: str
    application: str


class Vault:
    """Seals and opens small secrets under named master keys (security promises 57 and 58).

    `keys` maps key ids (1 to 32 of `A-Za-z0-9_-`) to 32 random bytes; `current` names the one that seals, the others
    only open; `setting` is what complaints are about. Raises `ConfigurationError` for no keys, an unknown `current`, a
    wrong length, two names for one key, and keys that are plainly not random. Thread-safe. A vault of a key file looks at the
    file again before it seals and when it meets a key it does not know, so that keys are rotated beside running servers.
    """

    __slots__ = ("_current", "_file", "_keys", "_seen")

    def __init__(
        self, keys: Mapping[str, bytes], *, current: str, setting: str = TEXT_SETTING, file: Path | None = None
    ) -> None:
        if not keys:
            raise ConfigurationError(f"{setting}: there is no master key")
        for key_id, key in keys.items():
            _check_key(key_id, key, setting)
        if len({bytes(key) for key in keys.values()}) != len(keys):
            raise ConfigurationError(f"{setting}: two key ids share one key, so rotating between them changes nothing")
        if current not in keys:
            raise ConfigurationError(f"{setting}: the current key id is not among the keys")
        self._keys = {key_id: AESGCM(bytes(key)) for key_id, key in keys.items()}
        self._current = current
        self._file = file
        self._seen = None if file is None else _stamp(file)

    def __repr__(self) -> str:
        return f"<Vault keys={sorted(self._keys)} current={self._current!r}>"

    @property
    def current(self) -> str:
        """The id of the key that new values are sealed under."""
        return self._current

    @property
    def key_ids(self) -> frozenset[str]:
        """The ids of all keys that can open."""
        return frozenset(self._keys)

    @classmethod
    def from_file(cls, path: Path, *, create: bool) -> Vault:
        """The vault whose keys are in a file: one `id:base64` per line, the last is current; `#` starts a comment line.

        The file must be a regular file of this user that nobody else can read or write (security promise 58). With
        `create`, a missing file is made with one new key, mode 0600, complete or not at all; when two processes race,
        both end up with the same key. Raises `ConfigurationError` naming the setting; never shows the file's content.
        """
        stamp = _stamp(path)
        try:
            data = _read_private(path)
        except FileNotFoundError:
            if not create:
                raise ConfigurationError(f"{FILE_SETTING}: there is no file {path}") from None
            _create_key_file(path)
            data = _read_private(path)
        try:
            lines = data.decode("ascii").splitlines()
        except UnicodeDecodeError:
            raise ConfigurationError(f"{FILE_SETTING}: {path} is not a text of id:base64 lines") from None
        entries = (line.strip() for line in lines)
        vault = cls._from_entries((line for line in entries if line and not line.startswith("#")), FILE_SETTING)
        vault._file, vault._seen = path, stamp
        return vault

    @classmethod
    def from_text(cls, text: str) -> Vault:
        """The vault whose keys are in an environment variable: `id:base64[,id:base64]`, the last one is current.

        Raises `ConfigurationError` naming the setting and the number of the entry, never its content.
        """
        return cls._from_entries((entry.strip() for entry in text.split(",") if entry.strip()), TEXT_SETTING)

    @classmethod
    def _from_entries(cls, entries: Iterable[str], setting: str) -> Vault:
        keys: dict[str, bytes] = {}
        current = ""
        for number, entry in enumerate(entries, 1):
            current, colon, encoded = entry.partition(":")
            if not colon:
                raise ConfigurationError(f"{setting}: entry {number} is not of the form id:base64")
            if current in keys:
                raise ConfigurationError(f"{setting}: entry {number} repeats a key id")
            try:
                keys[current] = base64.b64decode(encoded, validate=True)
            except ValueError:
                raise ConfigurationError(f"{setting}: the key of entry {number} is not Base64") from None
        return cls(keys, current=current, setting=setting)

    def seal(self, plain: bytes, *, place: Place) -> str:
        """`plain` encrypted for `place` under the current master key, as ASCII text without blanks.

        Sealing the same value twice gives different texts.
        """
        self._refresh()
        key_id = self._current
        bound = _frame(_VERSION, key_id, *place)
        fresh = secrets.token_bytes(_KEY + 2 * _NONCE)  # asked for at once: each request lets other threads go first
        data_key, wrap_nonce, nonce = fresh[:_KEY], fresh[_KEY : _KEY + _NONCE], fresh[_KEY + _NONCE :]
        wrapped = self._keys[key_id].encrypt(wrap_nonce, data_key, b"key" + bound)
        body = AESGCM(data_key).encrypt(nonce, plain, b"value" + bound)
        return f"{_VERSION}.{key_id}.{_encode(wrap_nonce + wrapped + nonce + body)}"

    def open(self, sealed: str, *, place: Place) -> bytes:
        """The value that was sealed for exactly this place.

        Raises `VaultError` for anything else: another place, any changed character, another version, a master key that
        is no longer configured. The message names the key id at most.
        """
        key_id, payload = _split(sealed)
        if key_id not in self._keys:
            self._refresh()
        master = self._keys.get(key_id)
        if master is None:
            raise VaultError(f"sealed under master key {key_id!r}, which is not configured")
        bound = _frame(_VERSION, key_id, *place)
        wrap_nonce, rest = payload[:_NONCE], payload[_NONCE:]
        wrapped, nonce, body = rest[:_WRAPPED], rest[_WRAPPED : _WRAPPED + _NONCE], rest[_WRAPPED + _NONCE :]
        try:
            data_key = master.decrypt(wrap_nonce, wrapped, b"key" + bound)
            return AESGCM(data_key).decrypt(nonce, body, b"value" + bound)
        except InvalidTag:
            raise VaultError("a sealed value was altered or belongs to another place") from None

    def _refresh(self) -> None:
        """Take the keys of the file as they are now, when it was changed. One that is away or damaged changes nothing."""
        if self._file is None or _stamp(self._file) == self._seen:
            return
        with suppress(ConfigurationError):
            fresh = Vault.from_file(self._file, create=False)
            # The keys before their name: whoever seals meanwhile finds the key that it takes.
            self._keys = {**self._keys, **fresh._keys}
            self._current, self._seen = fresh._current, fresh._seen

    def rewrap(self, sealed: str, *, place: Place) -> str:
        """The same value under the current master key; the very same text when it already is.

        Seals afresh, because the key id is authenticated together with the value. A rotation that is interrupted
        anywhere can simply run again. Raises `VaultError` like `open`.
        """
        self._refresh()
        plain = self.open(sealed, place=place)
        return sealed if _split(sealed)[0] == self._current else self.seal(plain, place=place)


def new_master_key(key_id: str) -> str:
    """One fresh `id:base64` entry with 256 bits from the system source, for a key file or the environment."""
    if not _KEY_ID.fullmatch(key_id):
        raise ConfigurationError("a key id is 1 to 32 characters of A-Z, a-z, 0-9, _ and -")
    return f"{key_id}:{base64.b64encode(secrets.token_bytes(_KEY)).decode()}"


def key_of(sealed: str) -> str:
    """The id of the master key that a sealed text is under. Raises `VaultError` for what is none."""
    return _split(sealed)[0]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes with a file's content."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def fresh_key_id(vault: Vault) -> str:
    """An id that no key of this vault has."""
    while (name := f"k{secrets.token_hex(4)}") in vault.key_ids:
        pass
    return name


def add_key(path: Path, entry: str) -> None:
    """Append an entry to a key file, which makes it the current key. A crash leaves the old file or the new one."""
    text = _read_private(path).decode("ascii")
    _replace_key_file(path, text.rstrip("\n") + f"\n{entry}\n")


def drop_keys(path: Path, *, keep: str) -> list[str]:
    """Take all keys but one out of a key file, in one step; returns the ids of those that went."""
    lines = _read_private(path).decode("ascii").splitlines()
    entries = [line for line in lines if line.strip() and not line.strip().startswith("#")]
    gone = [line for line in entries if line.strip().partition(":")[0] != keep]
    if gone and len(gone) < len(entries):
        _replace_key_file(path, "".join(f"{line}\n" for line in lines if line not in gone))
        return [line.strip().partition(":")[0] for line in gone]
    return []


def _replace_key_file(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ConfigurationError(f"{FILE_SETTING}: {path} cannot be written ({error.strerror})") from None


def _check_key(key_id: str, key: bytes, setting: str) -> None:
    if not _KEY_ID.fullmatch(key_id):
        raise ConfigurationError(f"{setting}: a key id is 1 to 32 characters of A-Z, a-z, 0-9, _ and -")
    if len(key) != _KEY:
        raise ConfigurationError(f"{setting}: key {key_id!r} has {len(key)} bytes, not {_KEY}")
    # Printable bytes only: a pass phrase or a hex text that somebody encoded, with far fewer than 256 bits in it.
    if len(set(key)) < _DISTINCT or all(0x20 <= byte < 0x7F for byte in key):
        raise ConfigurationError(f"{setting}: key {key_id!r} is weak; take {_KEY} bytes from the system's random source")


def _frame(*parts: str) -> bytes:
    """`parts` with their lengths in front, so that no two different lists give the same bytes."""
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _split(sealed: str) -> tuple[str, bytes]:
    """Key id and payload of a sealed text; anything that `seal` would not have written raises `VaultError`."""
    version, _, rest = sealed.partition(".")
    key_id, _, encoded = rest.partition(".")
    if version != _VERSION or not _KEY_ID.fullmatch(key_id):
        raise VaultError("not a sealed value of a known version")
    try:
        payload = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise VaultError("a sealed value is not Base64URL") from None
    # The decoder ignores spare bits and takes the standard alphabet too; one value has one text.
    if _encode(payload) != encoded or len(payload) < _SHORTEST:
        raise VaultError("a sealed value is cut short or not canonical")
    return key_id, payload


def _read_private(path: Path) -> bytes:
    """The content of a key file after checking, on the open descriptor, that it is ours alone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # non-blocking: a pipe must not hang us
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigurationError(f"{FILE_SETTING}: {path} cannot be read ({error.strerror})") from None
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise ConfigurationError(f"{FILE_SETTING}: {path} is not a regular file")
        if facts.st_uid != os.geteuid():
            raise ConfigurationError(f"{FILE_SETTING}: {path} belongs to another user")
        if facts.st_mode & 0o077:
            raise ConfigurationError(f"{FILE_SETTING}: {path} is open to group or others; run chmod 600 on it")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(_FILE_LIMIT + 1)
    finally:
        os.close(descriptor)
    if len(data) > _FILE_LIMIT:
        raise ConfigurationError(f"{FILE_SETTING}: {path} is too long for a key file")
    return data


def _create_key_file(path: Path) -> None:
    """Make `path` with one new key. Linking a finished file into place never overwrites and is never seen half done."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(new_master_key(f"k{secrets.token_hex(4)}") + "\n")
                file.flush()
                os.fsync(descriptor)
            os.link(temporary, path)
        except FileExistsError:
            pass  # another process was first: its key counts
        finally:
            temporary.unlink()
        _sync_folder(path.parent)
    except OSError as error:
        raise ConfigurationError(f"{FILE_SETTING}: {path} cannot be created ({error.strerror})") from None


def _sync_folder(folder: Path) -> None:
    """A new name survives a power loss only once its folder is on disk, and with this key everything else is lost."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
