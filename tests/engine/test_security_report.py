"""The security report: every code appears for what it is about, and goes when that is mended, by its own command if it has one.

Each test says by `finds` which codes it provokes and mends; the last one compares them with all there are.
"""

from __future__ import annotations

import re
import shlex
import shutil
import string
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa
from buckets import READING, S3Server, bucket_server, bucket_settings, options
from live import running
from typer.testing import CliRunner

from secure_delivery.cli import cli
from secure_delivery.engine import Engine, build, confine, tables, totp
from secure_delivery.engine.audit import CLI
from secure_delivery.engine.files import Target
from secure_delivery.engine.policies_seen import LIVES, note, seen
from secure_delivery.engine.secret_strength import ENOUGH, strength
from secure_delivery.engine.security_applications import is_wide
from secure_delivery.engine.security_report import CODES, SEVERITIES, Finding, report, report_of
from secure_delivery.engine.settings import PREFIX, Settings
from secure_delivery.gate.errors import NotFound
from secure_delivery.gate.model import KINDS, Application, new_secret
from secure_delivery.gate.policy import Policy
from secure_delivery.gate.whitelist import Whitelist

PASSWORD = "seven quiet lamps walk home"
DAY = 86_400
PROVOKED: set[str] = set()
Test = TypeVar("Test", bound=Callable[..., Any])


def finds(*codes: str) -> Callable[[Test], Test]:
    """Says which codes a test sees come and go."""
    PROVOKED.update(codes)
    return lambda test: test


class House:
    """An engine on data of its own, with a clock that is `offset` seconds ahead, and commands on the same data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.offset = 0.0
        self.file = folder / "secure-delivery.toml"
        self.settings()
        self.engine = self.build()

    def settings(self, text: str = "") -> None:
        """The settings besides the data folder; `again` makes them count."""
        self.file.write_text(f'data = "{self.folder / "data"}"\n{text}')

    def build(self) -> Engine:
        return build(Settings.load(self.file, environ={}), clock=lambda: time.time() + self.offset)

    def again(self, text: str = "") -> None:
        """The same service with other settings."""
        self.engine.close()
        self.settings(text)
        self.engine = self.build()

    def shop(self, **switches: Any) -> str:
        return self.engine.administration.create_application(CLI, "shop", **switches)[0].api_key

    def change(self, key: str, **changes: Any) -> Application:
        return self.engine.administration.change_application(CLI, key, **changes)

    def of(self, code: str, subject: str | None = None, *, check: bool = False) -> list[Finding]:
        """What the report says under this code; each is of a severity that its code is documented with."""
        findings = report(self.engine, check=check)
        for each in findings:
            assert each.severity in CODES[each.code].severities, each
            assert all((each.subject, each.what, each.why, each.fix)), each
            assert each.link is None or re.fullmatch(r"[a-z]+(?:/[A-Za-z0-9_-]+)*", each.link), each
        return [each for each in findings if each.code == code and subject in (None, each.subject)]

    def one(self, code: str, subject: str | None = None, *, check: bool = False) -> Finding:
        (only,) = self.of(code, subject, check=check)
        return only

    def run(self, line: str, typed: str = "y\n") -> None:
        """Run a command as the report prints it."""
        program, *words = shlex.split(line)
        assert program == "secure-delivery"
        done = CliRunner().invoke(cli, [*words, "--config", str(self.file)], input=typed)
        assert done.exit_code == 0, (line, done.output, done.exception)

    def mended_by_its_command(self, code: str, subject: str | None = None) -> Finding:
        """The finding is there, its command is run as it stands, and it is there no more."""
        finding = self.one(code, subject)
        assert finding.command is not None
        self.run(finding.command)
        assert self.of(code, subject) == []
        return finding


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    import os

    for name in [name for name in os.environ if name.startswith(PREFIX) and not name.startswith(PREFIX + "TEST_")]:
        monkeypatch.delenv(name)
    house = House(tmp_path)
    yield house
    house.engine.close()


@pytest.fixture(scope="module")
def provider() -> Iterator[S3Server]:
    with bucket_server() as server:
        yield server


@pytest.fixture
def bucket(provider: S3Server) -> Iterator[S3Server]:
    yield provider
    provider.denied.clear()
    provider.objects.clear()
    provider.seen.clear()


@pytest.fixture
def stocked(house: House, bucket: S3Server) -> Iterator[tuple[House, str]]:
    """An application on the server's storage, in a service that may connect to the bucket."""
    allow = bucket_settings(bucket)
    house.again(f'storage_allow = ["{allow["storage_allow"]}"]\nstorage_ports = [{allow["storage_ports"]}]\n')
    yield house, house.shop(storage="server")


# ------------------------------------------------------------------------------------------------------ without a policy


@finds("unsigned_upload", "unsigned_delivery", "unsigned_conversion", "unsigned_metadata")
@pytest.mark.parametrize("kind", KINDS)
def test_what_needs_no_policy_is_told_until_one_is_required(house: House, kind: str) -> None:
    key = house.shop()
    finding = house.mended_by_its_command(f"unsigned_{kind}", kind)
    assert finding.application == key and finding.link == f"applications/{key}/settings"


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_that_is_required_by_itself_is_not_told_and_the_others_are(house: House, kind: str) -> None:
    house.shop(required=(kind,))
    told = {each.subject for each in report(house.engine) if each.code.startswith("unsigned_")}
    assert told == set(KINDS) - {kind}
    for number, other in enumerate(sorted(told), 2):
        house.mended_by_its_command(f"unsigned_{other}")
        (application,) = house.engine.records.applications()
        assert len(application.required) == number, "what was required stays so"


def test_uploads_without_a_policy_are_less_urgent_behind_a_whitelist(house: House) -> None:
    key = house.shop()
    assert house.one("unsigned_upload").severity == "high"
    house.change(key, upload_whitelist=Whitelist(["www.example.org"]))
    assert house.one("unsigned_upload").severity == "medium"


# -------------------------------------------------------------------------------------------------------------- whitelists


@finds("whitelist_off")
@pytest.mark.parametrize("side", ["upload", "delivery"])
def test_a_whitelist_that_is_off_is_told_until_it_is_on(house: House, side: str) -> None:
    key = house.shop(require_policy=True)
    assert house.one("whitelist_off", side).severity == "info"
    house.change(key, require_policy=False)
    assert house.one("whitelist_off", side).severity == "low"
    house.mended_by_its_command("whitelist_off", side)


@finds("whitelist_wide")
@pytest.mark.parametrize("side", ["upload", "delivery"])
def test_a_wide_pattern_is_told_and_its_command_keeps_the_others(house: House, side: str) -> None:
    key = house.shop(**{f"{side}_whitelist": Whitelist(["www.example.org", "*.com"])})
    finding = house.mended_by_its_command("whitelist_wide", side)
    assert "*.com" in finding.what and "www.example.org" not in finding.what
    kept = getattr(house.engine.records.application(key), f"{side}_whitelist")
    assert kept.patterns == ("www.example.org",)
    house.change(key, **{f"{side}_whitelist": Whitelist(["*.com"])})
    house.mended_by_its_command("whitelist_wide", side)


@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "*.com",
        "*.*",
        "www.*.com",
        "*.co.uk",
        "*.github.io",
        "{www.example.org,*.net}",
        "*.com:8443",
        "example.*",
        "a.*:81",
    ],
)
def test_patterns_that_strangers_can_be_under_are_wide(pattern: str) -> None:
    assert is_wide(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "example.org", "*.example.org", "*.*.example.org", "{www,shop}.example.com", "shop-[a-d].example.io", "localhost:3000",
        "192.168.1.*", "192.168.*.*:8080", "example.{com,org,net}", "my-pages.github.io", "[::1]:8080",
    ],
)  # fmt: skip
def test_patterns_of_names_of_ones_own_are_not_wide(pattern: str) -> None:
    assert not is_wide(pattern)


@finds("whitelist_missing")
@pytest.mark.parametrize(("side", "missing"), [("upload", "allow"), ("delivery", "allow"), ("delivery", None)])
def test_requests_from_nowhere_that_pass_are_told_until_they_are_denied(house: House, side: str, missing: Any) -> None:
    house.shop(**{f"{side}_whitelist": Whitelist(["www.example.org"], missing=missing)})
    assert house.one("whitelist_missing", side).severity == ("medium" if side == "upload" else "info")
    house.mended_by_its_command("whitelist_missing", side)


def test_an_upload_whitelist_that_says_nothing_of_it_denies_them(house: House) -> None:
    house.shop(upload_whitelist=Whitelist(["www.example.org"]))
    assert house.of("whitelist_missing", "upload") == []


# ----------------------------------------------------------------------------------------------------------------- secrets


@finds("secret_weak")
@pytest.mark.parametrize(
    "secret",
    [
        "the-quick-brown-fox-jumps-over", "MyCompany Secret Key For Filestack 2024", "abcdefghijklmnopqrstuvwxyz0123456789",
        "s3cr3t-K9s3cr3t-K9s3cr3t-K9s3cr3t-K9",
    ],
)  # fmt: skip
def test_a_secret_that_can_be_guessed_is_told_until_it_is_rotated(house: House, secret: str) -> None:
    house.shop(secret=secret)
    finding = house.mended_by_its_command("secret_weak")
    assert finding.severity == "high"
    assert not any(secret[:6] in str(value) for value in asdict(finding).values())


def test_what_was_drawn_at_random_is_never_called_weak() -> None:
    import random

    drawn = random.Random(20260315)

    def text(letters: str, length: int) -> bytes:
        return "".join(drawn.choice(letters) for _ in range(length)).encode()

    for _ in range(3000):
        for secret in (
            new_secret().encode(),
            text(string.ascii_uppercase + string.digits, 26),  # as the original service made them
            text("0123456789abcdef", 64),
            text("0123456789abcdef", 32),
            text(string.ascii_lowercase, 28),
            text(string.digits, 40),
            drawn.randbytes(32),
        ):
            assert strength(secret) >= ENOUGH, secret


@pytest.mark.parametrize(
    ("value", "least", "most"), [(b"", 0, 0), (b"a", 0, 0), (b"aaaaaaaaaaaaaaaa", 0, 1), (b"ab" * 40, 0, 2)]
)
def test_what_hardly_says_anything_has_hardly_any_strength(value: bytes, least: float, most: float) -> None:
    assert least <= strength(value) <= most


@finds("secret_old")
def test_a_secret_older_than_a_year_is_told_until_it_is_rotated(house: House) -> None:
    house.offset = -364 * DAY
    key = house.shop()
    house.offset = 0
    assert house.of("secret_old") == []
    house.offset = 2 * DAY
    finding = house.one("secret_old")
    assert finding.application == key and "366 days" in finding.what
    house.mended_by_its_command("secret_old")


@finds("secret_grace")
def test_a_grace_that_runs_is_told_until_it_is_ended_or_over(house: House) -> None:
    key = house.shop()
    house.engine.administration.rotate_secret(CLI, key, grace=3600)
    assert "UTC" in house.one("secret_grace").what
    house.offset = 3601
    assert house.of("secret_grace") == []
    house.offset = 0
    house.mended_by_its_command("secret_grace")


@finds("application_unreadable")
def test_an_application_whose_secrets_do_not_open_is_told_and_hides_no_other(house: House) -> None:
    lost, fine = house.shop(), house.shop()
    secret = tables.application_secret
    with house.engine.database.write() as connection:
        mine = secret.c.application == lost
        good = connection.execute(sa.select(secret.c.sealed).where(mine)).scalar_one()
        connection.execute(sa.update(secret).where(mine).values(sealed=good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB")))
        house.engine.database.bump(connection)
    assert house.one("application_unreadable").application == lost
    assert [each.code for each in report_of(house.engine, lost)] == ["application_unreadable"]
    assert [each.application for each in house.of("unsigned_upload")] == [fine]
    with house.engine.database.write() as connection:
        connection.execute(sa.update(secret).where(mine).values(sealed=good))
        house.engine.database.bump(connection)
    assert house.of("application_unreadable") == []


# ------------------------------------------------------------------------------------------------------------- policies


@finds("regex_search", "unknown_keys_ignored", "expiry_leeway", "public_cache", "standard_base64")
@pytest.mark.parametrize(
    ("code", "switches"),
    [
        ("regex_search", {"regex": "search"}),
        ("unknown_keys_ignored", {"unknown_keys": "ignore"}),
        ("expiry_leeway", {"leeway": 30}),
        ("public_cache", {"public_cache": True}),
        ("standard_base64", {"standard_base64": True}),
    ],
)
def test_a_lenient_switch_is_told_until_it_is_strict(house: House, code: str, switches: dict[str, Any]) -> None:
    key = house.shop(standard_base64=False)
    assert house.of(code) == []
    house.change(key, **switches)
    house.mended_by_its_command(code)


@pytest.mark.parametrize(
    ("left", "life"),
    [
        (-5, "hour"), (1, "hour"), (3600, "hour"), (3601, "day"), (DAY, "day"), (DAY + 1, "week"), (7 * DAY, "week"),
        (7 * DAY + 1, "year"), (366 * DAY, "year"), (366 * DAY + 1, "longer"), (2**62, "longer"),
    ],
)  # fmt: skip
def test_a_policy_is_of_the_class_of_what_it_has_left(left: int, life: str) -> None:
    counts: dict[tuple[str, str, str], int] = {}
    note(counts, "Aone", Policy(expiry=1_000_000 + left, handle="H"), 1_000_000.0)
    note(counts, "Aone", Policy(expiry=1_000_000 + left, handle="H"), 1_000_000.0)
    assert counts == {("Aone", "policies", life): 2}


def test_only_a_policy_that_names_neither_calls_nor_a_file_is_global() -> None:
    counts: dict[tuple[str, str, str], int] = {}
    note(counts, "Aone", Policy(expiry=10, call=frozenset()), 0)
    note(counts, "Aone", Policy(expiry=10, handle=""), 0)
    note(counts, "Aone", Policy(expiry=10, path="x"), 0)
    assert counts == {("Aone", "policies", "hour"): 3, ("Aone", "policies", "global"): 1}


@finds("policy_long", "policy_global")
def test_policies_that_a_server_let_in_are_told_and_those_it_refused_are_not(tmp_path: Path) -> None:
    now = time.time()
    with running(tmp_path) as server:
        application, quiet = server.application(), server.application()
        link = server.put(application, b"x" * 100)

        def ask(owner: Application, wanted: str, *, secret: bytes | None = None, **policy: Any) -> int:
            signed = Policy(**policy).sign(secret or owner.secrets.signing.value)
            return server.get(f"/{wanted}?{signed.as_query()}").status

        for left, times in ((600, 1), (DAY, 2), (5 * DAY, 1), (300 * DAY, 2), (1000 * DAY, 1)):
            for turn in range(times):  # each another policy, so that none is answered from memory
                assert ask(application, link.handle, expiry=int(now) + left - turn, handle=link.handle) == 200
        assert ask(application, link.handle, expiry=int(now) + 900) == 200
        other = server.put(quiet, b"y" * 100)
        assert ask(quiet, other.handle, expiry=int(now) + 1000 * DAY, secret=b"another secret than this one") == 403
        assert ask(quiet, other.handle, expiry=int(now) - 10) == 403
        assert ask(quiet, other.handle, expiry=int(now) + 1000 * DAY, handle=link.handle) == 403
        server.stop()  # it writes down what it has counted
        counted = seen(server.engine.database, since=now - DAY)
        assert counted == {
            (application.api_key, life): number
            for life, number in {"hour": 2, "day": 2, "week": 1, "year": 2, "longer": 1, "global": 1}.items()
        }
        told = {(one.code, one.subject): one for one in report(server.engine) if one.code.startswith("policy_")}
        assert set(told) == {("policy_long", "longer"), ("policy_long", "year"), ("policy_global", "global")}
        assert {one.application for one in told.values()} == {application.api_key}
        assert "2 times" in told["policy_long", "year"].what and "once" in told["policy_global", "global"].what
        assert [told["policy_long", life].severity for life in ("longer", "year")] == ["medium", "low"]


def count(house: House, key: str, *labels: str) -> None:
    for label in labels:
        house.engine.usage.add((key, "policies", label))
    house.engine.usage.flush()


@pytest.mark.parametrize(("code", "subject"), [("policy_long", "longer"), ("policy_long", "year"), ("policy_global", "global")])
def test_policies_that_were_seen_are_told_until_the_secret_is_rotated(house: House, code: str, subject: str) -> None:
    house.offset = -3 * DAY
    key = house.shop()
    count(house, key, *LIVES, subject)
    house.offset = 0
    assert {each.application for each in house.of(code, subject)} == {key}
    house.mended_by_its_command(code, subject)
    house.offset = 2 * 3600
    count(house, key, subject)
    assert "once" in house.one(code, subject).what, "those of the new secret are told, and no others"


def test_policies_of_a_secret_in_its_grace_are_still_told(house: House) -> None:
    house.offset = -3 * 3600
    key = house.shop()
    count(house, key, "longer")
    house.engine.administration.rotate_secret(CLI, key, grace=DAY)
    house.offset = 0
    assert len(house.of("policy_long")) == 1
    house.engine.administration.end_grace(CLI, key)
    assert house.of("policy_long") == []


def test_policies_that_were_not_seen_for_thirty_days_are_not_told(house: House) -> None:
    count(house, house.shop(), "longer", "global")
    house.offset = 29 * DAY
    assert len(house.of("policy_long")) == 1
    house.offset = 31 * DAY
    assert house.of("policy_long") == house.of("policy_global") == []


# ------------------------------------------------------------------------------------------------------------------- files


@finds("any_type")
def test_uploads_of_every_type_are_told_until_types_are_listed(house: House) -> None:
    key = house.shop(require_policy=True)
    assert house.one("any_type").severity == "info"
    house.change(key, require_policy=False)
    assert house.one("any_type").severity == "low"
    house.mended_by_its_command("any_type")


@finds("uploads_unscanned")
def test_open_uploads_that_nothing_scans_are_told_until_scanning_is_on(house: House, tmp_path: Path) -> None:
    house.shop()
    finding = house.one("uploads_unscanned")
    assert finding.command is None and "secure-delivery-clamav" in finding.fix, "without a scanner all would be refused"
    house.again(f'[plugins.clamav]\nsocket = "{tmp_path / "clamd.sock"}"\n')
    house.mended_by_its_command("uploads_unscanned")


def test_uploads_that_need_a_policy_may_go_unscanned(house: House) -> None:
    house.shop(require_policy=True)
    assert house.of("uploads_unscanned") == []


@finds("no_retention", "development_storage")
def test_files_are_lent_a_place_or_kept_for_ever_until_somebody_decides(house: House) -> None:
    house.shop()
    assert house.of("no_retention") == []
    house.mended_by_its_command("development_storage")
    house.mended_by_its_command("no_retention")


# --------------------------------------------------------------------------------------------------------------- storages


@finds("storage_readable")
def test_a_storage_that_only_takes_results_is_told_until_it_is_write_only(stocked: tuple[House, str], bucket: S3Server) -> None:
    house, key = stocked
    house.engine.administration.add_storage(CLI, key, "results", "s3", options(bucket))
    assert house.one("storage_readable", "results").application == key
    house.mended_by_its_command("storage_readable", "results")
    assert bucket.seen == [], "nobody outside was asked"


@pytest.mark.parametrize("why", ["usual", "alias", "files"])
def test_a_storage_that_files_are_read_from_may_be_readable(stocked: tuple[House, str], bucket: S3Server, why: str) -> None:
    house, key = stocked
    house.engine.administration.add_storage(CLI, key, "assets", "s3", options(bucket), usual=why == "usual")
    if why == "alias":
        house.change(key, aliases={"pics": "storage:assets/2026"})
    elif why == "files":
        application = house.engine.records.application(key)
        assert application is not None
        with house.engine.files.begin(application, Target(filename="a.txt", storage="assets")) as upload:
            upload.write(b"hello")
            house.engine.files.add(application, upload)
    assert house.of("storage_readable") == []


@finds("storage_rights")
def test_credentials_that_can_read_a_write_only_storage_are_told_by_a_check(
    stocked: tuple[House, str], bucket: S3Server
) -> None:
    house, key = stocked
    house.engine.administration.add_storage(CLI, key, "results", "s3", options(bucket, write_only="true"))
    assert house.of("storage_rights") == [] and bucket.seen == [], "only a check tells"
    assert house.one("storage_rights", "results", check=True).application == key
    assert bucket.objects == {}, "the probe is gone"
    bucket.denied.update(READING)
    assert house.of("storage_rights", check=True) == house.of("storage_unusable", check=True) == []


@finds("storage_unusable")
@pytest.mark.parametrize("write_only", ["false", "true"])
def test_a_storage_that_refuses_is_told_by_a_check_until_it_takes(
    stocked: tuple[House, str], bucket: S3Server, write_only: str
) -> None:
    house, key = stocked
    house.engine.administration.add_storage(CLI, key, "assets", "s3", options(bucket, write_only=write_only), usual=True)
    bucket.denied.add("PutObject")
    assert house.of("storage_unusable") == []
    assert "write" in house.one("storage_unusable", "assets", check=True).what
    bucket.denied.clear()
    assert house.of("storage_unusable", check=True) == []


def test_a_storage_whose_plugin_is_gone_is_told_without_a_check(stocked: tuple[House, str], bucket: S3Server) -> None:
    house, key = stocked
    house.engine.administration.add_storage(CLI, key, "assets", "s3", options(bucket), usual=True)
    house.again('plugins_blocked = ["s3"]\n')
    assert house.one("storage_unusable", "assets").application == key
    allow = bucket_settings(bucket)
    house.again(f'storage_allow = ["127.0.0.1"]\nstorage_ports = [{allow["storage_ports"]}]\n')
    assert house.of("storage_unusable") == []


# --------------------------------------------------------------------------------------------------------------- webhooks


@finds("webhook_http")
def test_a_webhook_by_plain_http_is_told_until_it_is_https(house: House) -> None:
    house.again("webhook_https_only = false\n")
    key = house.shop()
    made, _ = house.engine.administration.add_webhook(CLI, key, "http://hooks.example.org/in/here")
    house.mended_by_its_command("webhook_http", made.id)
    assert house.engine.webhooks.endpoints.get(key, made.id).url == "https://hooks.example.org/in/here"


def test_the_query_of_a_webhook_is_in_no_finding_and_one_on_this_machine_or_off_is_not_told(house: House) -> None:
    house.again('webhook_https_only = false\nwebhook_allow = ["127.0.0.1"]\n')
    key = house.shop()
    made, _ = house.engine.administration.add_webhook(CLI, key, "http://hooks.example.org/in?key=MARKER")
    house.engine.administration.add_webhook(CLI, key, "http://127.0.0.1/in")
    finding = house.one("webhook_http")
    assert finding.subject == made.id and "MARKER" not in str(finding) and finding.command is None
    house.engine.administration.change_webhook(CLI, key, made.id, active=False)
    assert house.of("webhook_http") == []


@finds("webhook_grace")
def test_a_long_grace_of_a_webhook_is_told_until_it_is_short(house: House) -> None:
    key = house.shop()
    made, _ = house.engine.administration.add_webhook(CLI, key, "https://hooks.example.org/in")
    house.engine.administration.rotate_webhook(CLI, key, made.id, grace=DAY)
    assert house.of("webhook_grace") == []
    house.engine.administration.rotate_webhook(CLI, key, made.id, grace=7 * DAY)
    house.mended_by_its_command("webhook_grace", made.id)


# ----------------------------------------------------------------------------------------------------------------- people


@finds("owner_without_second_factor", "single_owner")
def test_owners_are_told_of_until_there_are_two_with_a_second_factor(house: House) -> None:
    people = house.engine.people
    assert house.of("single_owner") == [], "nobody was set up yet"
    ann = people.accounts.add(CLI, "ann@example.org", "owner", PASSWORD)
    people.accounts.add(CLI, "dev@example.org", "developer", PASSWORD)
    assert [each.subject for each in house.of("owner_without_second_factor")] == ["ann@example.org"]
    people.second_factor.offer(ann.id)
    assert len(house.of("owner_without_second_factor")) == 1, "offered is not in force"
    with house.engine.database.write() as connection:
        sealed = connection.execute(sa.select(tables.account.c.totp).where(tables.account.c.id == ann.id)).scalar_one()
    secret = _opened(house, ann.id, sealed)
    people.second_factor.confirm(CLI, ann.id, totp.code_at(secret, int(time.time() // totp.STEP)))
    assert house.of("owner_without_second_factor") == []
    finding = house.one("single_owner")
    assert finding.subject == "ann@example.org" and finding.command is not None
    house.run(finding.command)
    assert len(house.of("single_owner")) == 1, "who is invited has not come yet"
    invited = people.accounts.named("another.owner@example.org")
    people.accounts.accept(people.accounts.invite_again(CLI, invited.id), PASSWORD, address="192.0.2.7")
    assert house.of("single_owner") == []


def _opened(house: House, account: str, sealed: str) -> bytes:
    from secure_delivery.engine import open_vault
    from secure_delivery.engine.second_factor import _place

    return open_vault(house.engine.settings).open(sealed, place=_place(account))


@finds("invitation_open")
def test_somebody_who_was_invited_and_never_came_is_told_until_removed(house: House) -> None:
    house.engine.people.accounts.add(CLI, "ann@example.org", "owner", PASSWORD)
    house.offset = -3 * DAY + 60
    house.engine.people.accounts.invite(CLI, "o'hara$HOME@example.org", "viewer")
    house.offset = 0
    assert house.of("invitation_open") == [], "the link is still good"
    house.offset = 120
    house.mended_by_its_command("invitation_open", "o'hara$home@example.org")


@finds("token_unending", "token_unused")
def test_tokens_without_an_end_and_unused_ones_are_told_until_revoked(house: House) -> None:
    people = house.engine.people
    house.offset = -91 * DAY
    ann = people.accounts.add(CLI, "ann@example.org", "owner", PASSWORD)
    ever, _ = people.tokens.create(CLI, ann.id, "ever", scopes=["read"], days=None)
    idle, _ = people.tokens.create(CLI, ann.id, "idle", scopes=["read"], days=1000)
    busy, text = people.tokens.create(CLI, ann.id, "busy", scopes=["read"], days=1000)
    people.tokens.create(CLI, ann.id, "over", scopes=["read"], days=10)
    house.offset = -DAY
    assert people.tokens.find(text) is not None
    house.offset = 0
    assert [each.subject for each in house.of("token_unending")] == [ever.id]
    assert {each.subject for each in house.of("token_unused")} == {ever.id, idle.id}
    house.mended_by_its_command("token_unused", idle.id)
    house.mended_by_its_command("token_unending", ever.id)
    assert house.of("token_unused") == []
    house.offset = 90 * DAY
    assert "last used" in house.one("token_unused", busy.id).what


def test_accounts_that_are_disabled_are_not_told(house: House) -> None:
    people = house.engine.people
    house.offset = -100 * DAY
    people.accounts.add(CLI, "ann@example.org", "owner", PASSWORD)
    bob = people.accounts.add(CLI, "bob@example.org", "owner", PASSWORD)
    people.tokens.create(CLI, bob.id, "t", scopes=["read"], days=None)
    eve, _ = people.accounts.invite(CLI, "eve@example.org", "viewer")
    for each in (bob, eve):
        people.accounts.disable(CLI, each.id)
    house.offset = 0
    about_people = {"owner_without_second_factor", "single_owner", "invitation_open", "token_unending", "token_unused"}
    told = {(each.code, each.subject) for each in report(house.engine) if each.code in about_people}
    assert told == {("owner_without_second_factor", "ann@example.org"), ("single_owner", "ann@example.org")}


# --------------------------------------------------------------------------------------------------------------- settings


@finds(
    "plain_http", "no_public_url", "metrics_open", "sandbox_weakened", "allow_list_wide", "master_key_beside_data",
    "plugin_failed",
)  # fmt: skip
@pytest.mark.parametrize(
    ("code", "subject", "bad", "good"),
    [
        ("plain_http", "host", 'host = "0.0.0.0"', 'host = "0.0.0.0"\npublic_url = "https://files.example.org"'),
        ("plain_http", "host", 'host = "::"\npublic_url = "http://files.example.org"', 'host = "::1"'),
        ("no_public_url", "public_url", "", 'public_url = "https://files.example.org"'),
        (
            "metrics_open",
            "metrics_token",
            'public_url = "https://files.example.org"',
            'public_url = "https://files.example.org"\nmetrics_token = "a-token-of-the-tests"',
        ),
        ("sandbox_weakened", "sandbox_floor", 'sandbox_floor = ["rlimits", "landlock"]', ""),
        ("allow_list_wide", "fetch_allow", 'fetch_allow = ["0.0.0.0/0"]', 'fetch_allow = ["10.1.0.0/16", "127.0.0.1"]'),
        ("allow_list_wide", "fetch_allow", 'fetch_allow = ["169.254.0.0/16"]', 'fetch_allow = ["files.example.internal"]'),
        ("allow_list_wide", "webhook_allow", 'webhook_allow = ["::/0"]', 'webhook_allow = ["fd12:3456::/32"]'),
        ("allow_list_wide", "storage_allow", 'storage_allow = ["*.com"]', 'storage_allow = ["*.example.com", "10.0.0.0/8"]'),
        ("allow_list_wide", "storage_allow", 'storage_allow = ["127.0.0.0/8:9000"]', 'storage_allow = ["127.0.0.1:9000"]'),
        ("plugin_failed", "nosuch", "[plugins.nosuch]\nkey = 1", ""),
        ("plugin_failed", "clamav", "[plugins.clamav]\nnonsense = 1", ""),
    ],
)
def test_a_setting_is_told_until_it_is_changed(house: House, code: str, subject: str, bad: str, good: str) -> None:
    house.again(f"{bad}\n")
    assert house.one(code, subject).application is None
    house.again(f"{good}\n")
    assert house.of(code, subject) == []


def test_a_master_key_beside_the_database_is_told_until_it_is_elsewhere(house: House) -> None:
    assert house.one("master_key_beside_data", "master_key_file").severity == "medium"
    (house.folder / "keys").mkdir(mode=0o700)
    shutil.move(house.folder / "data" / "master.key", house.folder / "keys" / "master.key")
    house.again(f'master_key_file = "{house.folder / "keys" / "master.key"}"\n')
    assert house.of("master_key_beside_data") == []


# ------------------------------------------------------------------------------------------------------------ confinement

_WITHOUT = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'


@finds("sandbox_missing")
def test_a_layer_that_the_machine_does_not_offer_is_told(house: House) -> None:
    """In a user namespace whose owner allows no further one, as containers do."""
    if not confine.available()["namespaces"] or shutil.which("unshare") is None:
        pytest.skip("this machine has no user namespaces to forbid")
    command = [sys.executable, "-m", "secure_delivery", "security", "--json", "--config", str(house.file)]
    for before, told in ((("unshare", "--map-root-user", "sh", "-c", _WITHOUT, "sh"), True), ((), False)):
        done = subprocess.run([*before, *command], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        assert ('"sandbox_missing"' in done.stdout) is told
        assert ('"namespaces"' in done.stdout) is told


def test_where_decoders_run_their_own_layers_are_told(house: House) -> None:
    house.engine.sandbox.start()
    lacking = {each.subject for each in house.of("sandbox_missing")}
    assert lacking == set(confine.LAYERS) - house.engine.sandbox.layers
    unconfined = replace(house.engine, sandbox=_Unconfined())  # type: ignore[arg-type]
    assert {each.subject for each in report(unconfined) if each.code == "sandbox_missing"} == set(confine.LAYERS)


class _Unconfined:
    """A pool that runs with nothing around it, which no machine of ours starts."""

    running = True
    layers: frozenset[str] = frozenset()


# --------------------------------------------------------------------------------------------------------------- the whole


def test_the_most_urgent_comes_first_and_the_order_is_always_the_same(house: House) -> None:
    for _ in range(3):
        house.shop(regex="search")
    first = report(house.engine)
    places = [SEVERITIES.index(each.severity) for each in first]
    assert places == sorted(places) and set(places) == {0, 1, 2, 3}
    house.again()
    assert report(house.engine) == first


def test_the_report_of_one_application_is_what_the_whole_says_of_it(house: House) -> None:
    one, other = house.shop(), house.shop(regex="search")
    whole = report(house.engine)
    for key in (one, other):
        assert report_of(house.engine, key) == [each for each in whole if each.application == key]
    with pytest.raises(NotFound):
        report_of(house.engine, "Anobody")
    with pytest.raises(NotFound):
        report_of(house.engine, "")


def test_the_report_changes_nothing(house: House) -> None:
    house.shop()
    before = house.engine.database.generations()
    entries = len(house.engine.people.audit.page(limit=100))
    report(house.engine)
    assert house.engine.database.generations() == before
    assert len(house.engine.people.audit.page(limit=100)) == entries


def test_no_secret_is_in_the_report(house: House) -> None:
    secret = "marker-words-that-nobody-else-ever-writes"
    key = house.shop(secret=secret)
    house.engine.administration.rotate_secret(CLI, key, grace=60)
    text = repr(report(house.engine))
    assert "secret_weak" in text and "secret_grace" in text
    application = house.engine.records.application(key)
    assert application is not None
    for each in application.secrets.secrets:
        value = each.value.decode()
        assert not any(value[at : at + 6] in text for at in range(len(value) - 5))


def test_both_kinds_of_database_say_the_same(database_url: str, tmp_path: Path) -> None:
    now = [time.time() - 400 * DAY]
    engine = build(Settings.read({"data": str(tmp_path / "data"), "database": database_url}), clock=lambda: now[0])
    try:
        key = engine.administration.create_application(CLI, "shop")[0].api_key
        engine.people.accounts.add(CLI, "ann@example.org", "owner", PASSWORD)
        now[0] += 400 * DAY
        engine.usage.add((key, "policies", "longer"), 3)
        told = {each.code for each in report(engine)}
        assert {"secret_old", "policy_long", "single_owner", "unsigned_upload", "development_storage"} <= told
        engine.administration.rotate_secret(CLI, key)
        assert not {"secret_old", "policy_long"} & {each.code for each in report(engine)}
    finally:
        engine.close()


def test_every_code_is_provoked_and_mended_by_a_test_and_stands_in_the_documentation() -> None:
    assert set(CODES) == PROVOKED
    page = (Path(__file__).parents[2] / "docs" / "security-report.md").read_text("utf-8")
    assert re.findall(r"^\| `([a-z_0-9]+)` \| (?:high|medium|low|info)", page, re.MULTILINE) == [*CODES]
