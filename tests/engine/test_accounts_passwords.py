"""Passwords and codes: argon2id with the least that is promised, common ones refused, codes as RFC 6238 has them."""

from __future__ import annotations

import threading

import pytest
from argon2 import PasswordHasher, extract_parameters
from hypothesis import given
from hypothesis import strategies as st

from secure_delivery.engine import totp
from secure_delivery.engine.passwords import Passwords, check_password
from secure_delivery.gate.errors import BadRequest, Busy

SEEDS = {
    "sha1": b"12345678901234567890",
    "sha256": b"12345678901234567890123456789012",
    "sha512": b"1234567890123456789012345678901234567890123456789012345678901234",
}
#: RFC 6238, appendix B: the moment, then the codes of eight digits with each hash.
VECTORS = [
    (59, "94287082", "46119246", "90693936"),
    (1111111109, "07081804", "68084774", "25091201"),
    (1111111111, "14050471", "67062674", "99943326"),
    (1234567890, "89005924", "91819424", "93441116"),
    (2000000000, "69279037", "90698825", "38618901"),
    (20000000000, "65353130", "77737706", "47863826"),
]


@pytest.mark.parametrize(("moment", "sha1", "sha256", "sha512"), VECTORS)
def test_codes_are_those_of_the_standard(moment: int, sha1: str, sha256: str, sha512: str) -> None:
    wanted = {"sha1": sha1, "sha256": sha256, "sha512": sha512}
    for digest, seed in SEEDS.items():
        assert totp.code_at(seed, moment // 30, digits=8, digest=digest) == wanted[digest]


@given(secret=st.binary(min_size=20, max_size=20), moment=st.integers(60, 2**40), late=st.integers(-40, 40))
def test_a_code_counts_in_its_own_step_and_the_ones_beside_it_and_never_twice(secret: bytes, moment: int, late: int) -> None:
    code = totp.code_at(secret, moment // 30)
    found = totp.matching_step(secret, code, now=moment + late, last=-1)
    if abs((moment + late) // 30 - moment // 30) <= 1:
        assert found is not None
        assert totp.code_at(secret, found) == code
        assert totp.matching_step(secret, code, now=moment + late, last=(moment + late) // 30 + 1) is None
    elif found is not None:  # the codes of two steps can be equal
        assert totp.code_at(secret, found) == code


@given(st.binary(min_size=1, max_size=64))
def test_a_secret_survives_being_typed(secret: bytes) -> None:
    typed = totp.as_base32(secret).lower()
    assert totp.from_base32(" ".join(typed[start : start + 4] for start in range(0, len(typed), 4))) == secret


@pytest.mark.parametrize("code", ["", "12345", "abcdef", "１２３４５６", "\ud800", "0" * 5000])
def test_what_is_no_code_is_of_no_step(code: str) -> None:
    assert totp.matching_step(SEEDS["sha1"], code, now=59, last=-1) is None


def test_an_authenticator_is_told_the_name_and_the_secret_and_nothing_that_breaks_the_address() -> None:
    told = totp.address(b"\0" * 20, login="a&b=c@example.org", issuer="a service")
    assert told.startswith("otpauth://totp/a%20service:a%26b%3Dc%40example.org?secret=AAAAAAAA")


def test_hashes_take_at_least_what_is_promised() -> None:
    found = extract_parameters(Passwords().hash("seven quiet lamps"))
    assert (found.type.name, found.memory_cost >= 19 * 1024, found.time_cost >= 2, found.parallelism) == ("ID", True, True, 1)
    for weaker in ({"memory": 19 * 1024 - 1}, {"passes": 1}):
        with pytest.raises(ValueError, match="weaker"):
            Passwords(**weaker)


def test_a_password_is_verified_in_every_spelling_of_its_letters_and_no_other() -> None:
    passwords = Passwords()
    kept = passwords.hash("caf\u00e9 au lait, bitte")
    assert passwords.verify(kept, "cafe\u0301 au lait, bitte")
    assert not passwords.verify(kept, "cafe au lait, bitte")
    assert not passwords.verify("not a hash", "caf\u00e9 au lait, bitte")


@pytest.mark.parametrize("odd", ["", "x" * 129, "x" * 100_000, "\0\0\0\0\0\0\0\0", "\ud800" * 9, "nobody has this password"])
def test_odd_passwords_are_wrong_ones_after_the_same_work(odd: str) -> None:
    passwords = Passwords()
    kept = passwords.hash("seven quiet lamps")
    passwords.verify(kept, "x")
    before = passwords.computed
    assert not passwords.verify(kept, odd)
    assert not passwords.verify(None, odd)
    assert passwords.computed == before + 2


def test_hashes_of_weaker_parameters_are_outdated() -> None:
    old = PasswordHasher(time_cost=2, memory_cost=8 * 1024, parallelism=1).hash("seven quiet lamps")
    passwords = Passwords()
    assert passwords.verify(old, "seven quiet lamps")
    assert passwords.outdated(old)
    assert not passwords.outdated(passwords.hash("seven quiet lamps"))


def test_so_many_hashes_at_once_and_no_more() -> None:
    passwords = Passwords(at_once=1, wait=0)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with passwords._computing():
            held.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with pytest.raises(Busy):
        passwords.hash("seven quiet lamps")
    release.set()
    thread.join()
    assert passwords.hash("seven quiet lamps")


@pytest.mark.parametrize(
    "password",
    [
        *("password", "Password1!", "P@ssw0rd2024", "passwordpassword", "12345678", "19870612", "aaaaaaaa", "abcabcab"),
        *("qwertyuiop", "letmein123", "!!!welcome!!!", "Tr0ub", "iloveyou", "dragon99", "x" * 129, "sunshine1", "changeme"),
        *("anna.berg@example.org", "anna.berg", "example2024"),
        *("with\0nul in it", "with\nnew line", "\ud800 a surrogate"),
    ],
)
def test_short_long_and_common_passwords_are_refused(password: str) -> None:
    with pytest.raises(BadRequest):
        check_password(password, login="anna.berg@example.org")


@pytest.mark.parametrize(
    "password",
    [*("seven quiet lamps", "correct mule, wrong tent", "x7#kQz!m", "x" * 3 + "yzäöü🐎" * 9), "тихие лампы идут домой"],
)
def test_others_are_taken(password: str) -> None:
    check_password(password, login="anna.berg@example.org")
