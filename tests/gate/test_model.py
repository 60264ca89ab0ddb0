"""Secrets, rings, applications, decisions: what they refuse to hold and what they never show."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_delivery.gate.errors import ConfigurationError, Reason
from secure_delivery.gate.model import (
    KINDS,
    MAX_GRACE,
    MAX_SECRETS,
    Application,
    Decision,
    Limits,
    RequestFacts,
    Secret,
    SecretRing,
    SecretState,
    judge_size,
    new_secret,
    secret_bits,
)
from secure_delivery.gate.policy import Call, Policy, verify

STRONG = "correct-horse-battery-staple-of-some-length"
NOW = 1_700_000_000


def secret(value: str = STRONG, *, state: SecretState = SecretState.ACTIVE, until: int | None = None, name: str = "") -> Secret:
    return Secret(value=value.encode(), state=state, until=until, id=name)


# --------------------------------------------------------------------------------------------------------------- secrets


def test_an_empty_secret_cannot_be_made() -> None:
    """Security promise 4."""
    with pytest.raises(ConfigurationError, match="empty"):
        Secret(value=b"")
    with pytest.raises(ConfigurationError, match="empty"):
        SecretRing.of("", allow_weak=True)


def test_a_verify_only_secret_has_an_end() -> None:
    """An older secret that verifies for ever would be a rotation that never happened."""
    with pytest.raises(ConfigurationError, match="date"):
        Secret(value=b"x", state=SecretState.VERIFY_ONLY)


def test_when_a_secret_verifies() -> None:
    """Active: always. Verify-only: strictly before its end. Revoked: never."""
    assert secret().verifies(NOW)
    ending = secret(state=SecretState.VERIFY_ONLY, until=NOW)
    assert [ending.verifies(NOW - 1), ending.verifies(NOW - 0.001), ending.verifies(NOW)] == [True, True, False]
    assert not secret(state=SecretState.VERIFY_ONLY, until=0).verifies(NOW)
    assert not secret(state=SecretState.REVOKED).verifies(NOW)


def test_generated_secrets_have_256_bits() -> None:
    """43 characters of Base64URL, never twice the same, and strong enough for a ring."""
    made = {new_secret() for _ in range(20)}
    assert len(made) == 20
    assert all(len(each) == 43 for each in made)
    SecretRing.of(*list(made)[:MAX_SECRETS])


@pytest.mark.parametrize(
    ("value", "enough"),
    [
        (b"mysecret", False),
        (b"changeme-changeme", False),
        (b"x" * 64, False),
        (b"x" * 300, False),
        (b"ab" * 100, False),
        (b"ab" * 150, True),
        (b"0123456789" * 3, False),
        (b"0123456789" * 4, True),
        (b"0123456789abcdef", False),
        (b"0123456789abcdef" * 2, True),
        (b"0123456789ABCDEF" * 2, True),
        (b"0123456789ABCDEf" * 2, True),
        (b"abcdefghijklmnopqrstuvwxy", False),
        (b"abcdefghijklmnopqrstuvwxyz", True),
        (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", True),
        (b"aBcdefghijklmnopqrstu", False),
        (b"aBcdefghijklmnopqrstuv", True),
        (bytes(range(128, 143)), False),
        (bytes(range(128, 144)), True),
        (STRONG.encode(), True),
    ],
)
def test_weak_secrets_are_told_apart(value: bytes, enough: bool) -> None:
    """128 bits at least, by length and alphabet: words, short digits and repeated characters are refused at start-up."""
    assert (secret_bits(value) >= 128) is enough
    if enough:
        assert SecretRing.of(value).signing.value == value
    else:
        with pytest.raises(ConfigurationError, match="weaker than 128 bits"):
            SecretRing.of(value)


def test_the_refusal_of_a_weak_secret_names_it_without_its_value() -> None:
    """An error message goes to logs."""
    with pytest.raises(ConfigurationError) as caught:
        SecretRing(secrets=(secret("hunter2hunter2", name="portal"),))
    assert "portal" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="unnamed"):
        SecretRing(secrets=(secret("hunter2hunter2"),))


@settings(deadline=None)
@given(value=st.binary(max_size=400))
def test_strength_is_a_number_for_any_bytes(value: bytes) -> None:
    """An upper bound: never more than eight bits a byte."""
    assert 0 <= secret_bits(value) <= 8 * len(value)


def test_no_repr_shows_a_secret() -> None:
    """Secrets never get into a log by way of a repr, however deep they are nested."""
    ring = SecretRing.of(STRONG)
    application = Application(secrets=ring, api_key="key")
    facts = RequestFacts(calls=frozenset({Call.READ}), secret=STRONG)
    for each in (ring.secrets[0], ring, application, facts):
        assert STRONG not in repr(each)
        assert "correct-horse" not in str(each)
        assert ring.version not in repr(each)


# ----------------------------------------------------------------------------------------------------------------- rings


def test_a_ring_holds_five() -> None:
    """Every verification tries them all; five bounds what that costs."""
    values = [f"{STRONG} {index}" for index in range(6)]
    assert len(SecretRing.of(*values[:5]).in_force(NOW)) == 5
    with pytest.raises(ConfigurationError, match="at most 5"):
        SecretRing.of(*values)


def test_text_and_bytes_are_the_same_secret() -> None:
    """Text is taken as UTF-8, byte for byte: blanks at its ends count."""
    assert SecretRing.of("schlüssel-" + STRONG).signing.value == ("schlüssel-" + STRONG).encode()
    assert SecretRing.of(f" {STRONG} ".encode()) == SecretRing.of(f" {STRONG} ")


def test_the_newest_active_secret_signs() -> None:
    """Newest first; what only verifies or is revoked is passed over."""
    ring = SecretRing(
        secrets=(
            secret("a" + STRONG, state=SecretState.REVOKED),
            secret("b" + STRONG, state=SecretState.VERIFY_ONLY, until=NOW + 5),
            secret("c" + STRONG),
            secret("d" + STRONG),
        )
    )
    assert ring.signing.value.startswith(b"c")
    assert [each.value[:1] for each in ring.in_force(NOW)] == [b"b", b"c", b"d"]
    assert [each.value[:1] for each in ring.in_force(NOW + 5)] == [b"c", b"d"]


@pytest.mark.parametrize("secrets", [(), (secret(state=SecretState.REVOKED),)], ids=["none", "revoked"])
def test_without_an_active_secret_nothing_is_signed(secrets: tuple[Secret, ...]) -> None:
    """A ring may be empty or revoked as a whole; signing with it is a mistake that is said."""
    ring = SecretRing(secrets=secrets)
    assert not ring.in_force(NOW)
    with pytest.raises(ConfigurationError, match="no active secret"):
        _ = ring.signing


def test_regenerating_revokes_at_once() -> None:
    """Security promise 6: without a grace period the older signatures fail from that moment."""
    old = SecretRing.of(STRONG)
    new = old.rotated(secret("fresh " + STRONG), now=NOW)
    assert [each.value for each in new.secrets] == [b"fresh " + STRONG.encode()]
    assert new.version != old.version


def test_regenerating_with_grace() -> None:
    """The older secret verifies for as long as the owner asked, and signs no more."""
    old = SecretRing.of(STRONG)
    new = old.rotated(secret("fresh " + STRONG), now=NOW + 0.7, grace=60)
    assert new.signing.value.startswith(b"fresh")
    assert [each.value for each in new.in_force(NOW + 59)] == [b"fresh " + STRONG.encode(), STRONG.encode()]
    assert len(new.in_force(NOW + 60)) == 1
    assert new.secrets[1].until == NOW + 60


def test_grace_is_never_prolonged() -> None:
    """A second rotation does not give a secret that was to end earlier a longer life."""
    once = SecretRing.of(STRONG).rotated(secret("second " + STRONG), now=NOW, grace=60)
    twice = once.rotated(secret("third " + STRONG), now=NOW + 10, grace=MAX_GRACE)
    assert [each.until for each in twice.secrets] == [None, NOW + 10 + MAX_GRACE, NOW + 60]


def test_rotation_keeps_the_ring_at_five_and_drops_the_dead() -> None:
    """The newest five stay; revoked ones and those whose time is over leave."""
    ring = SecretRing.of(STRONG)
    for index in range(7):
        ring = ring.rotated(secret(f"{STRONG} {index}"), now=NOW + index, grace=MAX_GRACE)
    assert len(ring.secrets) == MAX_SECRETS
    assert ring.signing.value.endswith(b"6")
    later = ring.rotated(secret("last " + STRONG), now=NOW + 2 * MAX_GRACE, grace=60)
    assert [each.value[-1:] for each in later.secrets[1:]] == [b"6"]


@pytest.mark.parametrize("grace", [-1, MAX_GRACE + 1])
def test_grace_is_bounded(grace: int) -> None:
    """At most 24 hours (security promise 6)."""
    with pytest.raises(ConfigurationError, match="grace"):
        SecretRing.of(STRONG).rotated(secret("fresh " + STRONG), now=NOW, grace=grace)


def test_weakness_stays_allowed_where_it_was() -> None:
    """Rotating a ring of published test secrets needs no other switch."""
    ring = SecretRing.of("mysecret", allow_weak=True).rotated(Secret(value=b"other"), now=NOW, grace=5)
    assert [each.value for each in ring.secrets] == [b"other", b"mysecret"]


def test_the_version_changes_with_anything_that_changes_a_verdict() -> None:
    """Remembered verifications are keyed by it: value, state, end and order all count; names do not."""
    a, b = secret("a" + STRONG), secret("b" + STRONG)
    rings = [
        SecretRing(secrets=(a,)),
        SecretRing(secrets=(b,)),
        SecretRing(secrets=(a, b)),
        SecretRing(secrets=(b, a)),
        SecretRing(secrets=(secret("a" + STRONG, state=SecretState.REVOKED),)),
        SecretRing(secrets=(secret("a" + STRONG, state=SecretState.VERIFY_ONLY, until=1),)),
        SecretRing(secrets=(secret("a" + STRONG, state=SecretState.VERIFY_ONLY, until=2),)),
        SecretRing(secrets=()),
    ]
    assert len({ring.version for ring in rings}) == len(rings)
    assert SecretRing(secrets=(secret("a" + STRONG, name="named"),)).version == rings[0].version


# ---------------------------------------------------------------------------------------------------------- applications


@pytest.mark.parametrize(
    "switch",
    [{"leeway": -1}, {"leeway": 61}, {"max_age": -1}, {"regex": "match"}, {"regex": ""}, {"unknown_keys": "keep"}],
    ids=str,
)
def test_bad_switches_are_refused_at_start_up(switch: dict[str, object]) -> None:
    """A switch that nobody knows is not a default."""
    with pytest.raises(ConfigurationError):
        Application(secrets=SecretRing.of(STRONG), **switch)  # type: ignore[arg-type]


@pytest.mark.parametrize("leeway", [0, 60])
def test_leeway_has_inclusive_bounds(leeway: int) -> None:
    """Nought to sixty seconds (security promise 12)."""
    assert Application(secrets=SecretRing.of(STRONG), leeway=leeway).leeway == leeway


@pytest.mark.parametrize("name", ["required", "reported"])
@pytest.mark.parametrize("kinds", [("uploads",), ("upload", "upload"), ["upload"], "upload", ("exif",), ([],), None])
def test_kinds_of_request_are_those_there_are_each_once(name: str, kinds: Any) -> None:
    """A misspelt kind would leave open what somebody meant to close."""
    with pytest.raises(ConfigurationError, match=f"{name} lists kinds of request, each once; there are upload, delivery"):
        Application(secrets=SecretRing.of(STRONG), **{name: kinds})


def test_what_an_application_requires() -> None:
    """Kinds by themselves, or every request at once. What is reported is not required."""
    made = Application(secrets=SecretRing.of(STRONG), required=("upload", "metadata"), reported=KINDS)
    assert [kind for kind in KINDS if made.requires(kind)] == ["upload", "metadata"]
    every = Application(secrets=SecretRing.of(STRONG), require_policy=True)
    assert all(every.requires(kind) for kind in KINDS)
    assert not any(Application(secrets=SecretRing.of(STRONG)).requires(kind) for kind in KINDS)


def test_only_what_is_allowed_would_be_refused() -> None:
    """A refusal is one already."""
    assert Decision(allowed=True, reason=Reason.OPEN, reported=("upload",)).would_refuse
    assert not Decision(allowed=True, reason=Reason.OPEN).would_refuse
    assert not Decision(allowed=False, reason=Reason.TOO_BIG, reported=("upload",)).would_refuse


def test_an_application_signs_with_its_newest_secret() -> None:
    """What it signs, its own ring verifies, and the policy holds what was asked."""
    application = Application(secrets=SecretRing.of("new " + STRONG, "old " + STRONG))
    signed = application.sign(expires_in=60, now=NOW, call="read", handle="h")
    assert verify(signed.encoded, signed.signature, [each.value for each in application.secrets.secrets]) == 0
    assert Policy.decode(signed.encoded) == Policy(expiry=NOW + 60, call=frozenset({Call.READ}), handle="h")


def test_limits_are_the_documents() -> None:
    """256 binary megabytes, a hundred million pixels."""
    limits = Application(secrets=SecretRing.of(STRONG)).limits
    assert (limits.max_bytes, limits.max_pixels) == (256 * 1024 * 1024, 100_000_000)


# ------------------------------------------------------------------------------------------------------------- decisions


@pytest.mark.parametrize(
    ("size", "low", "high", "reason"),
    [
        (5, None, None, None),
        (5, 5, 5, None),
        (4, 5, None, Reason.TOO_SMALL),
        (6, None, 5, Reason.TOO_BIG),
        (7, 10, 5, Reason.TOO_BIG),
        (4, 10, 5, Reason.TOO_SMALL),
        (0, 0, 0, None),
        (1, 0, 0, Reason.TOO_BIG),
        (2**70, 2**70, 2**70, None),
    ],
)
def test_sizes_are_inclusive(size: int, low: int | None, high: int | None, reason: Reason | None) -> None:
    """Security promise 17, the same while deciding and while streaming."""
    assert judge_size(size, low, high) is reason
    assert Decision(allowed=True, reason=Reason.OK, min_size=low, max_size=high).admits_size(size) is reason


@pytest.mark.parametrize(
    ("expiry", "now", "age"),
    [
        (None, NOW, 3600),
        (NOW + 10, NOW, 10),
        (NOW + 9999, NOW, 3600),
        (NOW, NOW, 0),
        (NOW - 5, NOW, 0),
        (NOW + 1, NOW + 0.5, 0),
    ],
)
def test_an_answer_is_not_kept_past_the_policy(expiry: int | None, now: float, age: int) -> None:
    """Security promise 25: an age no longer than the policy has left, whole seconds rounded down."""
    assert Decision(allowed=True, reason=Reason.OK, expiry=expiry).max_age(3600, now) == age


@settings(deadline=None)
@given(expiry=st.integers(NOW, NOW + 10_000), now=st.floats(NOW, NOW + 10_000))
def test_no_age_outlives_a_policy(expiry: int, now: float) -> None:
    """Whatever the fraction of a second: now plus the age is never after the expiry."""
    age = Decision(allowed=True, reason=Reason.OK, expiry=expiry).max_age(10**6, now)
    assert age == 0 or now + age <= expiry


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_public_answer(reason: Reason) -> None:
    """Security promise 9: a code of a short list, a status, a sentence; the operator's value is not in it by accident."""
    public = Decision(allowed=False, reason=reason).public
    assert public.status in (200, 401, 403, 413)
    assert public.sentence.endswith(".")
    assert Decision(allowed=False, reason=reason).as_json() == {"error": {"code": public.code, "message": public.sentence}}


def test_restrictions_that_fail_look_alike() -> None:
    """Which of the hidden checks failed is nobody's business: an unknown handle looks like a forbidden one."""
    hidden = ("call_not_allowed", "exif_not_explicit", "handle_mismatch", "container_mismatch", "path_mismatch", "url_mismatch")
    assert len({Reason(name).public for name in hidden}) == 1
    unread = ("bad_encoding", "bad_json", "not_an_object", "unknown_key", "malformed", "bad_regex")
    assert len({Reason(name).public for name in unread}) == 1


@pytest.mark.parametrize("bounds", [{"max_bytes": 0}, {"max_bytes": -1}, {"max_pixels": 0}, {"max_animation_pixels": 0}])
def test_limits_that_admit_nothing_are_refused_at_start(bounds: dict[str, int]) -> None:
    """A limit of nothing is a mistake, and one below it would pass every comparison the wrong way."""
    with pytest.raises(ConfigurationError, match="one or more"):
        Limits(**bounds)


@pytest.mark.parametrize("profile", ["", "some", "ALL"])
def test_a_metadata_profile_is_one_of_four(profile: str) -> None:
    with pytest.raises(ConfigurationError, match="metadata_profile"):
        Application(secrets=SecretRing.of(STRONG), metadata_profile=profile)  # type: ignore[arg-type]


@pytest.mark.parametrize("target", ["https://assets.example.org/", "http://a/b", "folder:media", "folder:media/2026/may/"])
def test_an_alias_is_the_beginning_of_a_url_or_a_named_folder(target: str) -> None:
    assert Application(secrets=SecretRing.of(STRONG), aliases={"shop": target}).aliases == {"shop": target}


@pytest.mark.parametrize(
    ("name", "target"),
    [("", "folder:a"), ("../x", "folder:a"), ("a/b", "folder:a"), ("a", "/etc"), ("a", "file:///etc"), ("a", "folder:a/b\\c")],
)
def test_an_alias_that_is_neither_is_refused(name: str, target: str) -> None:
    with pytest.raises(ConfigurationError, match="alias"):
        Application(secrets=SecretRing.of(STRONG), aliases={name: target})


# ------------------------------------------------------------------------------------------------------- taking files in


@pytest.mark.parametrize("name", ["", "server", "a", "assets-2", "a_b"])
def test_a_storage_is_named_or_left_to_the_server(name: str) -> None:
    assert Application(secrets=SecretRing.of(STRONG), storage=name).storage == name


@pytest.mark.parametrize("name", ["Assets", "a b", "-a", "a/b", "a" * 65, "ä"])
def test_what_is_no_name_of_a_storage_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="storage"):
        Application(secrets=SecretRing.of(STRONG), storage=name)


@pytest.mark.parametrize("kind", ["", "image", "image/", "/png", "*/*", "image/*x", "IMAGE/png", "image/png; q=1"])
def test_what_is_no_type_is_refused_among_allowed_types(kind: str) -> None:
    with pytest.raises(ConfigurationError, match="allowed_types"):
        Application(secrets=SecretRing.of(STRONG), allowed_types=("image/png", kind))


@pytest.mark.parametrize("value", [-1, 10**12])
@pytest.mark.parametrize("name", ["retention", "undo"])
def test_a_time_that_no_file_lives_is_refused(name: str, value: int) -> None:
    switches: dict[str, Any] = {name: value}
    with pytest.raises(ConfigurationError, match=name):
        Application(secrets=SecretRing.of(STRONG), **switches)


def test_types_are_admitted_by_themselves_by_family_or_all_of_them() -> None:
    every = Application(secrets=SecretRing.of(STRONG))
    some = Application(secrets=SecretRing.of(STRONG), allowed_types=("image/*", "application/pdf"))
    for mimetype in ("image/png", "image/x-canon-cr2", "application/pdf"):
        assert some.admits_type(mimetype) and every.admits_type(mimetype)
    for mimetype in ("application/zip", "imagery/png", "text/html"):
        assert not some.admits_type(mimetype) and every.admits_type(mimetype)
