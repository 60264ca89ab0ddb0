"""Guards from settings: what each setting does, and that a wrong one is named before anything starts."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_delivery import ConfigurationError, Decision, Guard, Reply, SignedPolicy
from secure_delivery.gate.config import guard_from_file, guard_from_settings
from secure_delivery.gate.heads import Admission, Head
from secure_delivery.gate.policy import sign

SECRET = "settings-secret-Zq7Lw2Xv9Bn4Tf6Yh1Rm8J"
OTHER = "another-secret-Kp3Wc8Ns6Vb1Qx5Ge9Ut2O"
RULES: list[dict[str, Any]] = [
    {"pattern": "/photos/<handle>", "GET": "read", "DELETE": ["remove"]},
    {"pattern": "/up", "POST": "pick", "container": "uploads", "body": True},
]
LEAST: dict[str, Any] = {"secret": SECRET, "rules": RULES}


def make(**settings: Any) -> Guard:
    return guard_from_settings({**LEAST, **settings}, clock=lambda: 1000.0)


def status(guard: Guard, path: str = "/photos/x", query: str = "", **head: Any) -> int:
    verdict = guard.check(Head(head.pop("method", "GET"), path, query, **head))
    return verdict.status if isinstance(verdict, Reply) else 200


def signed(text: str = '{"expiry":1100}', secret: str = SECRET) -> str:
    encoded = base64.urlsafe_b64encode(text.encode()).decode()
    return SignedPolicy(encoded, sign(encoded, secret.encode())).as_query()


def test_the_least_settings_make_an_open_application() -> None:
    """A secret and a rule are enough; everything else has its documented default."""
    guard = make()
    assert (status(guard), status(guard, method="DELETE"), status(guard, "/other")) == (200, 403, 200)
    assert status(guard, query=signed(), method="DELETE") == 200
    application = guard.application()
    assert application is not None
    assert (application.regex, application.max_age, application.leeway, guard.report_only) == ("full", 3600, 0, False)


def test_every_setting_reaches_its_place() -> None:
    """Each switch changes what it is named after."""
    assert status(make(require_policy=True)) == 403
    assert status(make(require_policy=True, report_only=True)) == 200
    assert status(make(leeway=60), query=signed('{"expiry":999}')) == 200
    assert status(make(unknown_keys="ignore"), query=signed('{"expiry":1100,"later":1}')) == 200
    assert status(make(unknown_keys="refuse"), query=signed('{"expiry":1100,"later":1}')) == 403
    listed = make(delivery_whitelist=["a.example"])
    assert status(listed, origin="https://a.example") == 200
    assert status(listed, origin="https://b.example") == 403
    assert status(listed) == 200
    assert status(make(delivery_whitelist={"patterns": ["a.example"], "missing": "deny"})) == 403
    upload = make(upload_whitelist=["a.example"])
    assert status(upload, origin="https://b.example") == 200
    preflight = Head("OPTIONS", "/up", origin="https://b.example", preflight="POST")
    verdict = upload.check(preflight)
    assert isinstance(verdict, Reply)
    assert verdict.status == 403
    assert status(make(required=["delivery"])) == 403
    assert status(make(required=["upload"], reported=["delivery"])) == 200
    watching = make(reported=("delivery",)).check(Head("GET", "/photos/x"))
    assert isinstance(watching, Admission) and watching.decision.reported == ("delivery",)
    guard = make(api_key="A1", name="Shop", regex="search", standard_base64=False, max_age=9, public_cache=True)
    application = guard.application()
    assert application is not None
    assert (application.api_key, application.name, application.regex) == ("A1", "Shop", "search")
    assert (application.standard_base64, application.max_age, application.public_cache) == (False, 9, True)


def test_several_secrets_all_verify_and_the_first_signs() -> None:
    """Newest first, for rotation."""
    guard = guard_from_settings({"secrets": [OTHER, SECRET], "rules": RULES}, clock=lambda: 1000.0)

    assert [status(guard, query=signed(secret=secret)) for secret in (OTHER, SECRET)] == [200, 200]
    made = guard.sign(expires_in=10)
    assert made.signature == sign(made.encoded, OTHER.encode())


def test_facts_and_bodies_of_a_rule_come_from_its_table() -> None:
    """A rule in settings is the rule in Python."""
    guard = make()
    up = guard.rules.rules[1]

    assert (up.body, dict(up.facts), up.pattern) == (True, {"container": "uploads"}, "/up")


def test_what_only_code_can_say_is_given_beside_the_settings() -> None:
    """`on_denied` and `clock`."""

    def on_denied(decision: Decision, head: Head) -> Reply:
        return Reply(404, [], b"")

    assert status(guard_from_settings({**LEAST, "require_policy": True}, on_denied=on_denied)) == 404


WRONG = [
    ({"colour": "red"}, "gate.colour: there is no such setting"),
    ({"secret": "hunter2"}, "gate.secret: secret 1 is weaker than 128 bits"),
    ({"secret": ""}, "gate.secret: an empty secret"),
    ({"secret": 7}, "gate.secret: text is wanted"),
    ({"secrets": [SECRET]}, "gate.secret: give either secret or secrets"),
    ({"secret": None}, "gate.secret: text is wanted"),
    ({"api_key": 7}, "gate.api_key: text is wanted"),
    ({"require_policy": "yes"}, "gate.require_policy: true or false is wanted"),
    ({"require_policy": 1}, "gate.require_policy: true or false is wanted"),
    ({"required": "upload"}, r"gate.required: a list of kinds of request \(upload, delivery, conversion, metadata\) is wanted"),
    ({"required": ["uploads"]}, "gate.required: required lists kinds of request, each once"),
    ({"reported": [["upload"]]}, "gate.reported: reported lists kinds of request, each once"),
    ({"reported": True}, "gate.reported: a list of kinds of request"),
    ({"leeway": True}, "gate.leeway: a whole number of seconds is wanted"),
    ({"leeway": 61}, "gate.leeway: leeway is 0 to 60 seconds"),
    ({"leeway": 1.5}, "gate.leeway: a whole number of seconds is wanted"),
    ({"max_age": -1}, "gate.max_age: max_age is zero"),
    ({"regex": "glob"}, "gate.regex: regex is full or search"),
    ({"unknown_keys": "keep"}, "gate.unknown_keys: regex is full or search; unknown_keys is refuse or ignore"),
    ({"upload_whitelist": "a.example"}, "gate.upload_whitelist: a list of patterns"),
    ({"upload_whitelist": ["(a)"]}, r"gate.upload_whitelist: '\(a\)'"),
    ({"upload_whitelist": [7]}, "gate.upload_whitelist: 7"),
    ({"delivery_whitelist": ["a"] * 21}, "gate.delivery_whitelist: .* at most 20"),
    ({"delivery_whitelist": {"missing": "deny"}}, "gate.delivery_whitelist.patterns: a list"),
    ({"delivery_whitelist": {"patterns": "a.example"}}, "gate.delivery_whitelist.patterns: a list"),
    ({"delivery_whitelist": {"patterns": [], "missing": "maybe"}}, "gate.delivery_whitelist.missing: allow or deny"),
    ({"delivery_whitelist": {"patterns": [], "other": 1}}, "gate.delivery_whitelist.other: there is no such setting"),
    ({"rules": []}, "gate.rules: at least one"),
    ({"rules": "/photos"}, "gate.rules: a list is wanted"),
    ({"rules": [*RULES, {"GET": "read"}]}, r"gate.rules\[2\]: rules: each rule has a pattern"),
    ({"rules": [{"pattern": "/x"}]}, r"gate.rules\[0\]: .* at least one method"),
    ({"rules": [{"pattern": "/x", "GET": "fly"}]}, r"gate.rules\[0\]: .*'fly' is not a call"),
    ({"rules": [{"pattern": "/x", "GET": "read", "colour": "red"}]}, r"gate.rules\[0\]: .*colour"),
    ({"rules": [{"pattern": "/x", "GET": "read", "body": 1}]}, r"gate.rules\[0\]: .*body is true or false"),
    ({"rules": ["/photos"]}, r"gate.rules\[0\]: a table"),
]


@pytest.mark.parametrize(("settings", "complaint"), WRONG, ids=[f"{settings}"[:60] for settings, _ in WRONG])
def test_a_wrong_setting_is_named_and_nothing_starts(settings: dict[str, Any], complaint: str) -> None:
    """`ConfigurationError` with the path of the setting and what is wanted (style, principle 3)."""
    with pytest.raises(ConfigurationError, match=complaint):
        guard_from_settings({**LEAST, **settings})


def test_no_secret_at_all_is_refused() -> None:
    """Fail closed when unconfigured, and say where a secret may come from."""
    for settings in ({"rules": RULES}, {"rules": RULES, "secrets": []}):
        with pytest.raises(ConfigurationError, match="SECURE_DELIVERY_SECRET"):
            guard_from_settings(settings)


@given(
    st.dictionaries(
        st.sampled_from([*LEAST, "leeway", "regex", "max_age", "delivery_whitelist", "x"]),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(),
            st.text(max_size=40),
            st.lists(st.text(max_size=9), max_size=3),
            st.dictionaries(st.sampled_from(["patterns", "missing", "pattern", "GET"]), st.text(max_size=5)),
        ),
        max_size=4,
    )
)
def test_any_settings_give_a_guard_or_a_configuration_error(settings: dict[str, Any]) -> None:
    """A property: nothing else is ever raised, and no complaint repeats a secret."""
    try:
        guard_from_settings(settings)
    except ConfigurationError as error:
        secret = settings.get("secret")
        assert not (isinstance(secret, str) and len(secret) > 12 and secret in str(error))


# ---------------------------------------------------------------------------------------------------------------- files

TEXT = f"""
[server]
port = 8000

[gate]
secret = "{SECRET}"
delivery_whitelist = {{ patterns = ["*.a.example"], missing = "allow" }}

[[gate.rules]]
pattern = "/photos/<handle>"
GET = "read"
DELETE = ["remove"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secure-delivery.toml"
    path.write_text(TEXT)
    return path


def test_a_file_holds_the_settings_in_its_gate_table(file: Path) -> None:
    """Other tables are somebody else's."""
    guard = guard_from_file(file, {})

    assert (status(guard, origin="https://x.a.example"), status(guard, origin="https://a.example")) == (200, 403)
    assert guard.sign(expires_in=9).signature
    assert isinstance(guard.check(Head("GET", "/photos/x")), Admission)


def test_the_file_is_looked_for_where_one_works(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default `secure-delivery.toml` in the working folder, and the environment of the process."""
    monkeypatch.chdir(file.parent)
    monkeypatch.delenv("SECURE_DELIVERY_SECRET", raising=False)

    assert status(guard_from_file()) == 200


@pytest.mark.parametrize("line", ['secret = "weak"', f'secrets = ["{SECRET}"]', ""])
def test_the_environment_takes_the_place_of_secrets_in_the_file(file: Path, line: str) -> None:
    """So that the file can be committed; whatever secret it holds is not even looked at."""
    file.write_text(TEXT.replace(f'secret = "{SECRET}"', line))
    guard = guard_from_file(file, {"SECURE_DELIVERY_SECRET": OTHER}, clock=lambda: 1000.0)

    assert [status(guard, query=signed(secret=secret)) for secret in (OTHER, SECRET)] == [200, 403]


def test_an_empty_variable_is_a_mistake_and_no_absence(file: Path) -> None:
    """A deployment that lost its secret does not fall back to the file's."""
    with pytest.raises(ConfigurationError, match=r"gate\.secret: an empty secret"):
        guard_from_file(file, {"SECURE_DELIVERY_SECRET": ""})


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"[gate", "not TOML"),
        (b"\xff\xfe", "not TOML"),
        (b"", r"there is no \[gate\] table"),
        (b"gate = 1", r"there is no \[gate\] table"),
        (b"[gate]\nsecrt = 'x'", r"gate\.secrt: there is no such setting"),
    ],
)
def test_a_file_that_is_none_is_refused(file: Path, content: bytes, complaint: str) -> None:
    """With the name of the file or of the setting."""
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=complaint):
        guard_from_file(file, {})


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A missing file is a missing guard."""
    with pytest.raises(ConfigurationError, match="cannot be read"):
        guard_from_file(tmp_path / "nowhere.toml", {})
