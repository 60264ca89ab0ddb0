"""Policies on the wire: signing, verifying, strict decoding, and what a decoded policy grants."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import os
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from secure_delivery.gate.errors import ConfigurationError, PolicyError, Reason
from secure_delivery.gate.policy import (
    CALL_NAMES,
    MAX_ENCODED,
    MAX_VALUE,
    Call,
    Policy,
    SignedPolicy,
    compile_pattern,
    sign,
    verify,
)

SECRET = b"a secret that is long enough to count"
EXPIRY = 1_900_000_000

#: No deadline per example: a busy machine is no finding.
relaxed = settings(deadline=None)

# The example that the Filestack "Security" document publishes.
PUBLISHED = (
    "ewogICJleHBpcnkiOiAxNTIzNTk1NjAwLAogICJjYWxsIjogWyJyZWFkIiwgImNvbnZlcnQiXSwKICAiaGFuZGxlIjogImJmVE5DaWdSTHEwUU1Pcn"
    "NGS3piIgp9"
)
PUBLISHED_SIGNATURE = "5191e4c6c304c08296eab217ee05236a5bacaab9b581b535d5922a41079b77e0"


def b64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


# ---------------------------------------------------------------------------------------------------------------- sign


def test_published_example() -> None:
    """The policy, secret and signature of the document fit together, and the policy reads as it is printed there."""
    assert sign(PUBLISHED, b"mysecret") == PUBLISHED_SIGNATURE
    assert verify(PUBLISHED, PUBLISHED_SIGNATURE, [b"mysecret"]) == 0
    assert Policy.decode(PUBLISHED) == Policy(
        expiry=1_523_595_600, call=frozenset({Call.READ, Call.CONVERT}), handle="bfTNCigRLq0QMOrsFKzb"
    )


@relaxed
@given(text=st.text(max_size=200), secret=st.binary(min_size=1, max_size=150))
def test_signature_is_plain_hmac(text: str, secret: bytes) -> None:
    """Any HMAC-SHA256 of any other program makes the same 64 lower-case digits."""
    assert sign(text, secret) == hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def test_empty_secret_signs_nothing() -> None:
    """Security promise 4: an empty secret can not be used, not even by calling the function directly."""
    with pytest.raises(ConfigurationError):
        sign("text", b"")


def test_empty_key_verifies_nothing() -> None:
    """A ring that somehow held an empty key would still not accept what was signed with it."""
    signature = hmac.new(b"", PUBLISHED.encode(), hashlib.sha256).hexdigest()
    assert verify(PUBLISHED, signature, [b""]) == -1
    assert verify(PUBLISHED, PUBLISHED_SIGNATURE, [b"", b"mysecret"]) == 1


def test_verify_names_the_key() -> None:
    """The index of the key that signed is returned: the first of equal ones, whichever place it has."""
    keys = [b"one", b"two", b"three", b"two"]
    assert [verify("text", sign("text", key), keys) for key in keys] == [0, 1, 2, 1]
    assert verify("text", sign("text", b"four"), keys) == -1
    assert verify("text", sign("text", b"one"), []) == -1


def test_verify_refuses_long_texts_unhashed() -> None:
    """4,096 characters are the most that is hashed for a stranger."""
    longest = "A" * MAX_ENCODED
    assert verify(longest, sign(longest, SECRET), [SECRET]) == 0
    assert verify(longest + "A", sign(longest + "A", SECRET), [SECRET]) == -1


@relaxed
@given(text=st.text(max_size=50), signature=st.text(max_size=70))
@example(text="é", signature="é" * 64)
@example(text="\ud800", signature="\ud800" * 64)
@example(text="x", signature="０" * 64)
def test_verify_never_raises(text: str, signature: str) -> None:
    """Security promise 3: signatures outside ASCII, surrogates and other nonsense are a plain refusal."""
    assert verify(text, signature, [SECRET]) == -1


@relaxed
@given(data=st.data())
def test_one_changed_character_is_refused(data: st.DataObject) -> None:
    """Security promise 5: replacing, inserting or removing one character of policy or signature breaks the pair."""
    signed = Policy(expiry=EXPIRY, call=frozenset({Call.READ}), handle="bfTNCigRLq0QMOrsFKzb").sign(SECRET)
    texts = [signed.encoded, signed.signature]
    which = data.draw(st.integers(0, 1))
    text = texts[which]
    at = data.draw(st.integers(0, len(text) - 1))
    alphabet = st.one_of(st.sampled_from("ABCDEFabcdef0123456789-_+/= \n"), st.characters())
    character = data.draw(alphabet.filter(lambda each: each != text[at]))
    texts[which] = data.draw(
        st.sampled_from([text[:at] + character + text[at + 1 :], text[:at] + character + text[at:], text[:at] + text[at + 1 :]])
    )
    assert verify(texts[0], texts[1], [SECRET]) == -1


@pytest.mark.skipif(os.environ.get("SECURE_DELIVERY_TEST_TIMING") != "1", reason="SECURE_DELIVERY_TEST_TIMING=1 runs it")
def test_comparison_is_constant_time() -> None:
    """Security promise 3: a wrong first digit takes as long as a wrong last one (Welch's t over 100,000 timings)."""
    right = sign(PUBLISHED, SECRET)
    wrong = {digit: ("0" if right[digit] != "0" else "1") for digit in (0, 63)}
    candidates = [wrong[0] + right[1:], right[:63] + wrong[63]]
    timings: list[list[int]] = [[], []]
    order = [index % 2 for index in range(100_000)]
    random.Random(7).shuffle(order)
    for index in order:
        start = time.perf_counter_ns()
        verify(PUBLISHED, candidates[index], [SECRET])
        timings[index].append(time.perf_counter_ns() - start)
    # The slowest hundredth is the operating system's doing, not the comparison's.
    first, last = (sorted(each)[: len(each) * 99 // 100] for each in timings)
    spread = math.sqrt(statistics.variance(first) / len(first) + statistics.variance(last) / len(last))
    assert abs(statistics.fmean(first) - statistics.fmean(last)) / spread < 4.5


# -------------------------------------------------------------------------------------------------- as a policy travels


def test_query_form() -> None:
    """In a query both texts are percent-encoded, so that neither padding nor a plus is lost on the way."""
    signed = SignedPolicy("a+/=", "5f")
    assert signed.as_query() == "policy=a%2B%2F%3D&signature=5f"


def test_task_form() -> None:
    """In a path Base64URL and its padding stay readable."""
    assert SignedPolicy("a-_=", "5f").as_task() == "security=policy:a-_=,signature:5f"


@pytest.mark.parametrize("text", ["a+/=", "a,b", "a/b", 'a"b', "a%2Fb", ""])
def test_task_form_holds_no_bare_separators(text: str) -> None:
    """Whatever a policy text holds, it ends neither the option nor the segment it stands in."""
    task = SignedPolicy(text, "5f").as_task()
    assert "/" not in task
    assert task.count(",") == 1
    assert unquote(task.removeprefix("security=policy:").removesuffix(",signature:5f")).strip('"') == text.strip('"')


def test_fields_form() -> None:
    """Bodies carry the two texts unchanged."""
    assert SignedPolicy("a+/=", "5f").as_fields() == {"policy": "a+/=", "signature": "5f"}


def test_repr_is_cut_short() -> None:
    """A pair that is good for hours does not get into logs whole."""
    text = repr(SignedPolicy(PUBLISHED, PUBLISHED_SIGNATURE))
    assert PUBLISHED_SIGNATURE not in text
    assert PUBLISHED not in text


# ------------------------------------------------------------------------------------------------------- round tripping

_words = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_patterns = st.one_of(
    st.sampled_from(["", ".*", r"^/uploads/[a-z.]+$", r"(a|b){1,20}\d", "(?i)é", r"\pL+"]),
    st.from_regex(r"[a-z0-9/._-]{0,60}", fullmatch=True),
)
_sizes = st.one_of(st.integers(0, 2**70), st.just(0))
_policies = st.builds(
    Policy,
    expiry=st.integers(-(2**63) + 1, 2**63 - 1),
    call=st.none() | st.frozensets(st.sampled_from(Call)),
    handle=st.none() | _words,
    container=st.none() | _patterns,
    path=st.none() | _patterns,
    url=st.none() | _patterns,
    min_size=st.none() | _sizes,
    max_size=st.none() | _sizes,
)


@relaxed
@given(policy=_policies)
def test_policy_round_trips(policy: Policy) -> None:
    """Security promise 5: every legal policy is read back as it was written, verified by its own secret."""
    signed = policy.sign(SECRET)
    assert verify(signed.encoded, signed.signature, [SECRET]) == 0
    assert Policy.decode(signed.encoded) == policy
    assert Policy.decode(signed.encoded).encode() == signed.encoded


@relaxed
@given(policy=_policies, data=st.data())
def test_any_legal_json_spelling_reads_the_same(policy: Policy, data: st.DataObject) -> None:
    """Order of keys, white space and escapes are the signer's business: other programs write JSON in other ways."""
    members = json.loads(base64.urlsafe_b64decode(policy.encode()))
    keys = data.draw(st.permutations(list(members)))
    text = json.dumps(
        {key: members[key] for key in keys},
        indent=data.draw(st.sampled_from([None, 0, 2])),
        ensure_ascii=data.draw(st.booleans()),
        separators=data.draw(st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")])),
    )
    assert Policy.decode(b64(text + data.draw(st.sampled_from(["", "\n", " \r\n\t"])))) == policy


def test_encoding_is_compact_and_sorted() -> None:
    """One policy has one text, so that the same request has the same URL."""
    policy = Policy(expiry=5, call=frozenset({Call.STORE, Call.PICK}), min_size=0, max_size=1)
    assert base64.urlsafe_b64decode(policy.encode()) == b'{"expiry":5,"call":["pick","store"],"minSize":0,"maxSize":1}'


def test_encoding_keeps_padding() -> None:
    """The document asks for the padding to stay."""
    assert Policy(expiry=1).encode() == "eyJleHBpcnkiOjF9"
    assert Policy(expiry=10).encode() == "eyJleHBpcnkiOjEwfQ=="


@pytest.mark.parametrize("name", sorted(CALL_NAMES))
def test_every_spelling_of_a_call_is_read(name: str) -> None:
    """The nine calls and the two older names, in a list or as the bare text that official schemas allow."""
    for value in (name, [name]):
        assert Policy.decode(b64(json.dumps({"expiry": 1, "call": value}))).call == frozenset([CALL_NAMES[name]])


# ------------------------------------------------------------------------------------------------------------ strictness


@relaxed
@given(text=st.text(max_size=300))
@example(text="\ud800")
@example(text="A")
@example(text="=" * 5)
def test_arbitrary_text_is_a_policy_error_or_a_policy(text: str) -> None:
    """Security promise 11: whatever the text, the answer is a policy or the one exception of this family."""
    try:
        policy = Policy.decode(text)
    except PolicyError as error:
        assert error.status == 403
    else:
        assert policy.expiry is not None


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=15,
)
_members = st.dictionaries(
    st.sampled_from(["expiry", "call", "handle", "container", "path", "url", "minSize", "maxSize", "other", ""]), _json
)


@relaxed
@given(members=_members, ignore=st.booleans(), standard=st.booleans())
def test_arbitrary_members_are_a_policy_error_or_a_policy(members: dict[str, Any], ignore: bool, standard: bool) -> None:
    """Values of any kind under any key: read exactly or refused, and what was read is of the promised type."""
    text = json.dumps(members)
    try:
        policy = Policy.decode(b64(text), ignore_unknown=ignore, standard_alphabet=standard)
    except PolicyError:
        return
    assert type(policy.expiry) is int
    for value in (policy.handle, policy.container, policy.path, policy.url):
        assert value is None or type(value) is str
    for size in (policy.min_size, policy.max_size):
        assert size is None or (type(size) is int and size >= 0)
    assert policy.call is None or all(isinstance(call, Call) for call in policy.call)
    assert ignore or not policy.ignored


@relaxed
@given(raw=st.binary(max_size=300))
@example(raw=b"\xef\xbb\xbf{}")
@example(raw=b'{"expiry":1}'.decode().encode("utf-16"))
@example(raw=b"[" * 300)
def test_arbitrary_bytes_are_a_policy_error_or_a_policy(raw: bytes) -> None:
    """The same for bytes that are not even text."""
    try:
        Policy.decode(base64.urlsafe_b64encode(raw).decode())
    except PolicyError as error:
        assert error.reason.public.status == 403


def test_too_long_a_text_is_not_decoded() -> None:
    """4,096 characters at the most, for callers who decode without `verify`, too."""
    with pytest.raises(PolicyError) as caught:
        Policy.decode("A" * (MAX_ENCODED + 4))
    assert caught.value.reason is Reason.BAD_ENCODING


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("expiry", 1.0, Reason.BAD_EXPIRY),
        ("call", ["peek"], Reason.MALFORMED),
        ("handle", None, Reason.MALFORMED),
        ("minSize", -1, Reason.MALFORMED),
        ("path", "(", Reason.BAD_REGEX),
        ("calls", ["read"], Reason.UNKNOWN_KEY),
    ],
)
def test_error_says_which_rule_and_nothing_of_the_policy(key: str, value: object, reason: Reason) -> None:
    """Security promise 9: the reason is for the operator, and the sentence for the client holds no policy text."""
    with pytest.raises(PolicyError) as caught:
        Policy.decode(b64(json.dumps({"expiry": EXPIRY, key: value})))
    assert caught.value.reason is reason
    assert key == "expiry" or key not in caught.value.public


def test_ignored_keys_are_named_and_do_not_count() -> None:
    """With the switch for migration unknown keys limit nothing, are kept for `explain`, and make no other policy of it."""
    text = b64('{"expiry":5,"x":1,"note":"n"}')
    policy = Policy.decode(text, ignore_unknown=True)
    assert policy.ignored == ("x", "note")
    assert policy == Policy(expiry=5)


# ---------------------------------------------------------------------------------------- promise 2: verify, then decode

#: What runs once a policy is decoded, as (module, function) the way a profiler reports it.
_DECODING = {
    ("policy", "decode"),
    ("policy", "_decode_base64"),
    ("policy", "_decode_json"),
    ("policy", "_no_duplicates"),
    ("policy", "compile_pattern"),
    ("re2", "compile"),
    ("binascii", "a2b_base64"),
}


def _count_decoding(work: Callable[[], object]) -> Counter[tuple[str, str]]:
    """How often *work* entered Base64, JSON or regex code, as the interpreter itself reports it."""
    seen: Counter[tuple[str, str]] = Counter()

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            module, name = frame.f_globals.get("__name__", "").rpartition(".")[2], frame.f_code.co_name
        elif event == "c_call":
            module, name = getattr(argument, "__module__", None) or "", argument.__name__
        else:
            return
        if (module, name) in _DECODING:
            seen[module, name] += 1

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        work()
    finally:
        sys.setprofile(before)
    return seen


def test_nothing_is_decoded_before_the_signature_is_right() -> None:
    """Security promise 2: with a bad signature neither Base64 nor JSON nor regex code runs; with a good one all do."""
    from secure_delivery.gate.decide import decide
    from secure_delivery.gate.model import Application, RequestFacts, SecretRing

    application = Application(secrets=SecretRing.of(SECRET))
    signed = Policy(expiry=EXPIRY, container="a pattern of this test only").sign(SECRET)
    other = "f" if signed.signature[0] != "f" else "0"

    def work(encoded: str, signature: str) -> Callable[[], object]:
        shown = SignedPolicy(encoded, signature)
        return lambda: decide(application, RequestFacts(calls=frozenset({Call.READ}), signed=shown), now=1)

    for signature in (other + signed.signature[1:], "0" * 64, "not hex", "", signed.signature.upper()):
        assert not _count_decoding(work(signed.encoded, signature))
    assert not _count_decoding(work(signed.encoded + "=", signed.signature))
    assert set(_count_decoding(work(*(signed.encoded, signed.signature)))) == _DECODING


# -------------------------------------------------------------------------------------------------------------- patterns


def test_patterns_are_kept_compiled() -> None:
    """The same pattern is compiled once."""
    assert compile_pattern("kept [a-z]") is compile_pattern("kept [a-z]")


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(", "does not compile"),
        ("x" * 513, "512 bytes"),
        ("é" * 257, "512 bytes"),
        (r"(a)\1", "does not compile"),
        ("a{1,1000}{1,1000}", "does not compile"),
    ],
)
def test_bad_patterns_say_why(pattern: str, why: str) -> None:
    """The operator learns what is wrong with a pattern."""
    with pytest.raises(PolicyError, match=why) as caught:
        compile_pattern(pattern)
    assert caught.value.reason is Reason.BAD_REGEX


def test_absent_pattern_matches_everything() -> None:
    """A key that is not there limits nothing."""
    assert Policy(expiry=1).matches("path", "/anything")


@pytest.mark.parametrize(
    ("pattern", "value", "spanning", "found"),
    [
        ("b", "abc", False, True),
        ("abc", "abc", True, True),
        ("a|abc", "abc", True, True),
        ("", "", True, True),
        ("", "abc", False, True),
        ("^b", "abc", False, False),
        ("c$", "abc\n", False, False),
        ("abc$", "abc\n", False, False),
        (".*", "\ud800", False, False),
        ("x*", "x" * MAX_VALUE, True, True),
        ("x*", "x" * (MAX_VALUE + 1), False, False),
        (r"\C\C", "é", True, True),
    ],
)
def test_spanning_and_searching(pattern: str, value: str, spanning: bool, found: bool) -> None:
    """A pattern spans the whole value unless the application chose to search; `$` is the end of the text in both."""
    policy = Policy(expiry=1, path=pattern)
    assert policy.matches("path", value) is spanning
    assert policy.matches("path", value, search=True) is found


@relaxed
@given(pattern=st.text(max_size=40), value=st.text(max_size=40), search=st.booleans())
def test_any_pattern_on_any_value_is_an_answer(pattern: str, value: str, search: bool) -> None:
    """Security promise 18: a signed pattern is refused when it is read, or it answers; it never raises later."""
    try:
        policy = Policy.decode(b64(json.dumps({"expiry": 1, "url": pattern})))
    except PolicyError:
        return
    assert policy.matches("url", value, search=search) in (True, False)


# ---------------------------------------------------------------------------------------------------------------- grants


def test_grants_without_names() -> None:
    """Security promise 14: without `call` everything but `exif` is granted; with it exactly what it names."""
    assert {call for call in Call if Policy(expiry=1).grants(call)} == set(Call) - {Call.EXIF}
    named = Policy(expiry=1, call=frozenset({Call.EXIF}))
    assert {call for call in Call if named.grants(call)} == {Call.EXIF}
    assert not any(Policy(expiry=1, call=frozenset()).grants(call) for call in Call)


# --------------------------------------------------------------------------------------------------------------- lasting


@relaxed
@given(expires_in=st.integers(1, 10**7), now=st.floats(0, 4e9), round_to=st.integers(1, 86_400))
def test_lasting_covers_the_time_and_rounds_up(expires_in: int, now: float, round_to: int) -> None:
    """The policy is good for what was asked or a little longer, and ends on a multiple of the rounding."""
    policy = Policy.lasting(expires_in, now=now, round_to=round_to)
    assert policy.expiry % round_to == 0
    assert now + expires_in <= policy.expiry < now + expires_in + 1 + round_to


def test_lasting_is_stable_within_its_rounding() -> None:
    """Two page views in the same five minutes name the same URL, which is what browsers cache by."""
    first = Policy.lasting(3600, now=1_700_000_101, round_to=300)
    assert first == Policy.lasting(3600, now=1_700_000_400, round_to=300)
    assert first != Policy.lasting(3600, now=1_700_000_401, round_to=300)


@pytest.mark.parametrize("call", ["read", Call.READ, ["read"], ("read",), {Call.READ}, iter(["read", "read"])])
def test_lasting_takes_calls_in_any_form(call: Any) -> None:
    """One name, one call, or several of either."""
    assert Policy.lasting(1, now=0, call=call).call == frozenset([Call.READ])


def test_lasting_keeps_limits() -> None:
    """The other limits go in as they are."""
    policy = Policy.lasting(10, now=0, call=[], handle="h", path="/a.*", min_size=1, max_size=2)
    assert policy == Policy(expiry=10, call=frozenset(), handle="h", path="/a.*", min_size=1, max_size=2)


@pytest.mark.parametrize(
    "arguments",
    [
        {"expires_in": 0},
        {"expires_in": -5},
        {"expires_in": 5, "round_to": 0},
        {"expires_in": 2**63},
        {"expires_in": 5, "call": "peek"},
        {"expires_in": 5, "call": ["read", "peek"]},
        {"expires_in": 5, "path": "("},
        {"expires_in": 5, "handle": 5},
        {"expires_in": 5, "handle": "\ud800"},
        {"expires_in": 5, "max_size": -1},
        {"expires_in": 5, "min_size": True},
        {"expires_in": 5, "handle": "x" * 4096},
        {"expires_in": 5, "container": "\x01" * 512},
        {"expires_in": 5, "container": "\x01" * 300, "path": "\x01" * 300},
    ],
    ids=str,
)
def test_lasting_refuses_what_the_verifier_would(arguments: dict[str, Any]) -> None:
    """A mistake is found where it is made, not by the client who gets a URL that does not work."""
    with pytest.raises(ConfigurationError):
        Policy.lasting(**arguments, now=0)


@relaxed
@given(policy=_policies)
def test_repr_shows_the_policy_and_no_signature(policy: Policy) -> None:
    """A policy is no secret: its repr is for logs of the operator and can be read back by eye."""
    assert str(policy.expiry) in repr(policy)


@settings(deadline=None)
@given(key=st.binary(min_size=1, max_size=200), text=st.text(alphabet=st.characters(max_codepoint=0x7E), max_size=300))
def test_the_verifier_makes_the_mac_that_the_standard_library_makes(key: bytes, text: str) -> None:
    """Keys shorter and longer than a block of SHA-256, and any text: RFC 2104 by two implementations."""
    assert verify(text, hmac.new(key, text.encode(), "sha256").hexdigest(), [key]) == 0
