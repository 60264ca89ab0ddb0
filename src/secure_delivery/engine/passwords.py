"""Passwords: which are good enough, and what is kept of them.

Knows: argon2id; what people choose too often. The only module that imports argon2. Must not know: accounts, sessions.

A hash takes memory and time on purpose, so only so many are computed at once; others wait, and are sent away when that takes
too long. Whoever verifies against no hash pays for one all the same: the time does not tell whether there is an account.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from ..gate.errors import BadRequest, Busy

SHORTEST, LONGEST = 8, 128  # characters (security promise 62)
MEMORY = 19 * 1024  # KiB: the least that OWASP's Password Storage Cheat Sheet takes for 2 passes and 1 lane
PASSES = 2
_WAIT = 10.0  # seconds for which a hash may wait for its turn
_LIST = Path(__file__).with_name("assets") / "common_passwords.txt"
_LOOKS = str.maketrans("0134578@$!+|l", "oieastbasitii")  # what stands for a letter; l and 1 and i are one
_NOT_LETTERS = re.compile(r"[^a-z]+")


class Passwords:
    """Hashes and verifies. Thread-safe. `memory` is in KiB, `at_once` how many hashes are computed at the same time.

    Raises `ValueError` below 19 MiB, 2 passes. `computed` counts the hashes so far.
    """

    def __init__(self, *, memory: int = MEMORY, passes: int = PASSES, at_once: int = 2, wait: float = _WAIT) -> None:
        if memory < MEMORY or passes < PASSES:
            raise ValueError("weaker than 19 MiB and 2 passes")
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory, parallelism=1, hash_len=32, type=Type.ID)
        self._turn = threading.BoundedSemaphore(at_once)
        self._wait = wait
        self._counting = threading.Lock()
        self._nobody = ""
        self.computed = 0

    def hash(self, password: str) -> str:
        """What is kept of a password. Raises `Busy`."""
        with self._computing():
            return self._hasher.hash(normal(password))

    def verify(self, kept: str | None, password: str) -> bool:
        """Whether a hash is of this password. None is of none, and takes as long to find out. Raises `Busy`."""
        if not self._nobody:
            self._nobody = self.hash("nobody has this password")
        text = normal(password)
        fits = len(text) <= LONGEST and not _odd(text)
        with self._computing():
            try:
                return self._hasher.verify(kept or self._nobody, text if fits else "") and fits and kept is not None
            except (VerificationError, InvalidHashError):
                return False

    def outdated(self, kept: str) -> bool:
        """Whether a hash was made with other parameters than are used now."""
        return self._hasher.check_needs_rehash(kept)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=self._wait):
            raise Busy("too many passwords are being hashed")
        try:
            with self._counting:
                self.computed += 1
            yield
        finally:
            self._turn.release()


def normal(password: str) -> str:
    """One spelling of a password, however a keyboard composes its letters (NIST SP 800-63B, 5.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def check_password(password: str, *, login: str = "") -> None:
    """Refuse a password that is too short, too long or too common. Raises `BadRequest` with a sentence for its owner.

    No rules of composition: they make passwords worse (NIST SP 800-63B, appendix A).
    """
    text = normal(password)
    if not SHORTEST <= len(text) <= LONGEST:
        raise BadRequest(public=f"A password has {SHORTEST} to {LONGEST} characters.")
    if _odd(text):
        raise BadRequest(public="The password contains characters that cannot be used.")
    if _is_common(text, login):
        raise BadRequest(public="This password is among those tried first. Take several words that do not belong together.")


def _odd(text: str) -> bool:
    return any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text)


def _is_common(text: str, login: str) -> bool:
    plain = text.casefold()
    if plain.isdigit() or len(set(plain)) < 5:  # numbers and dates; one thing again and again
        return True
    if login and plain in {part.casefold() for part in (login, login.partition("@")[0])}:
        return True
    word = _once(_core(plain))
    named = {_core(part) for part in re.split(r"[@.]", login.casefold()) if len(part) >= 4}
    return bool(word) and (word in _common() or word in named)


def _core(plain: str) -> str:
    """The letters in a password, without what is put around them and in their place to satisfy rules."""
    middle = re.sub(r"^[^a-z]+|[^a-z]+$", "", plain)
    return _NOT_LETTERS.sub("", middle.translate(_LOOKS))


def _once(word: str) -> str:
    """What a word repeats: `abcabc` is `abc`."""
    period = (word + word).find(word, 1)
    return word[:period]


@cache
def _common() -> frozenset[str]:
    return frozenset(_core(line) for line in _LIST.read_text(encoding="ascii").split())
