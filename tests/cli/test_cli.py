"""The command line: what each command prints for people and for programs, its exit status, and its complaints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Run, commands
from live import Server, picture, running

from secure_delivery.engine import build
from secure_delivery.engine.convert import bind
from secure_delivery.engine.settings import PREFIX, Settings
from secure_delivery.engine.sources import SourceFile
from secure_delivery.gate.policy import verify as signature_index
from secure_delivery.gate.taskurl import parse


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Run]:
    """Runs commands in this process, on a data folder of the test's own."""
    return commands(monkeypatch, capsys, tmp_path)


@pytest.fixture
def made(run: Run) -> dict[str, Any]:
    """A secured application, as `app create --json` tells of it."""
    made: dict[str, Any] = run("app", "create", "shop", "--secured", "--json").json()
    return made


# ------------------------------------------------------------------------------------------------------------- help

COMMANDS = [
    (),
    ("serve",),
    ("app",),
    ("app", "create"),
    ("app", "list"),
    ("app", "show"),
    ("app", "set"),
    ("app", "rotate-secret"),
    ("app", "revoke-secrets"),
    ("app", "delete"),
    ("sign",),
    ("verify",),
    ("explain",),
    ("whitelist",),
    ("whitelist", "test"),
    ("store",),
    ("renditions",),
    ("renditions", "stats"),
    ("renditions", "purge"),
    ("plugins",),
    ("plugin",),
    ("plugin", "new"),
    ("doctor",),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_a_help_that_says_what_it_does_and_touches_nothing(
    run: Run, tmp_path: Path, words: tuple[str, ...]
) -> None:
    for flag in ("--help", "-h"):
        said = run(*words, flag)
        assert said.status == 0 and said.err == ""
        assert "Usage: " in said.out and re.search(r"[A-Z][^\n]+\.", said.out)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("words", [(), ("app",), ("whitelist",), ("renditions",)], ids=" ".join)
def test_a_group_without_a_command_shows_its_help(run: Run, words: tuple[str, ...]) -> None:
    said = run(*words)
    assert "Usage: " in said.out + said.err


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("app", "nonsense"),
        ("app", "create"),
        ("app", "create", "a", "--nonsense"),
        ("app", "set", "key", "--leeway", "much"),
        ("app", "rotate-secret", "key", "--grace", "long"),
        ("serve", "--port", "x"),
        ("store", "missing-file", "--app", "x"),
        ("store", ".", "--app", "x"),
        ("verify", "x"),
        ("renditions", "purge"),
        ("renditions", "purge", "handle", "--all"),
        ("renditions", "purge", "--all", "--app", "key"),
    ],
    ids=" ".join,
)
def test_wrong_use_is_status_2_and_says_so_on_standard_error(run: Run, words: tuple[str, ...]) -> None:
    said = run(*words)
    assert said.status == 2 and said.out == "" and said.err


# ------------------------------------------------------------------------------------------------------- applications


def test_an_application_is_created_shown_listed_changed_and_deleted(run: Run) -> None:
    made = run("app", "create", "shop", "--secured", "--upload-domain", "https://*.example.org", "--json").json()
    assert made["name"] == "shop" and made["require_policy"] is True
    assert made["upload_whitelist"] == ["*.example.org"]
    assert re.fullmatch(r"A[A-Za-z0-9]{20}z", made["api_key"]) and len(made["secret"]) == 43
    key = made["api_key"]

    shown = run("app", "show", key, "--json")
    assert shown.json() == {name: value for name, value in made.items() if name != "secret"}
    assert made["secret"] not in shown.out and shown.json()["secrets"][0]["ends_in"] == made["secret"][-4:]
    assert run("app", "list", "--json").json() == [{**shown.json(), "files": 0}]
    for words in (("app", "show", key), ("app", "list")):
        said = run(*words)
        assert said.status == 0 and key in said.out and "shop" in said.out and made["secret"] not in said.out

    changed = run(
        *("app", "set", key, "--name", "store", "--open", "--upload-domain", "", "--delivery-domain", "a.example.org"),
        *(
            "--delivery-missing",
            "deny",
            "--regex",
            "search",
            "--unknown-keys",
            "ignore",
            "--no-standard-base64",
            "--leeway",
            "5",
        ),
        *("--max-age", "60", "--public-cache", "--max-bytes", "1000", "--max-pixels", "2000", "--json"),
    ).json()
    expected = {
        "name": "store",
        "require_policy": False,
        "upload_whitelist": [],
        "delivery_whitelist": ["a.example.org"],
        "delivery_missing": "deny",
        "regex": "search",
        "unknown_keys": "ignore",
        "standard_base64": False,
        "leeway": 5,
        "max_age": 60,
        "public_cache": True,
        "max_bytes": 1000,
        "max_pixels": 2000,
    }
    assert {name: changed[name] for name in expected} == expected
    assert run("app", "set", key, "--secured", "--json").json() == {**changed, "require_policy": True}

    assert run("app", "delete", key, "--yes", "--json").json() == {"deleted": key, "files": 0}
    assert run("app", "list", "--json").json() == []


def test_what_results_keep_and_what_aliases_mean_is_set_and_cleared(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECURE_DELIVERY_FOLDERS", "media=/srv/media")
    web, disk = "assets=https://assets.example.org/img/", "disk=folder:media/2026"
    made = run("app", "create", "shop", "--metadata-profile", "copyright", "--alias", web, "--alias", disk, "--json").json()
    assert made["metadata_profile"] == "copyright"
    assert made["aliases"] == {"assets": "https://assets.example.org/img/", "disk": "folder:media/2026"}
    key = made["api_key"]
    assert f"{web}, {disk}" in run("app", "show", key).out

    run("app", "set", key, "--max-animation-pixels", "5000")
    changed = run("app", "set", key, "--max-pixels", "4000", "--metadata-profile", "all", "--json").json()
    assert (changed["max_pixels"], changed["max_animation_pixels"]) == (4000, 5000), "one limit leaves the others alone"
    changed = run("app", "set", key, "--max-jobs", "2", "--max-queue", "30", "--max-pages", "4", "--json").json()
    assert (changed["max_jobs"], changed["max_queue"], changed["max_pages"]) == (2, 30, 4)
    assert changed["max_pixels"] == 4000
    changed = run("app", "show", key, "--json").json()
    assert changed["metadata_profile"] == "all" and changed["aliases"] == made["aliases"]
    assert run("app", "set", key, "--alias", "other=http://h.example/", "--json").json()["aliases"] == {
        "other": "http://h.example/"
    }
    cleared = run("app", "set", key, "--alias", "", "--json").json()
    assert cleared["aliases"] == {} and "aliases:" in run("app", "show", key).out


def test_the_secret_is_shown_once_to_people_too(run: Run) -> None:
    said = run("app", "create", "shop")
    assert "shown this once" in said.out
    secret = said.out.rpartition("once: ")[2].strip()
    assert len(secret) == 43
    assert secret not in run("app", "list").out


def test_a_key_and_a_secret_can_be_brought_along_and_the_secret_is_not_printed(run: Run, tmp_path: Path) -> None:
    secret = "an own secret of more than a hundred and twenty-eight bits"
    (tmp_path / "secret").write_text(secret + "\n")
    said = run("app", "create", "moved", "--api-key", "AoldKey123", "--secret-file", str(tmp_path / "secret"), "--json")
    assert said.json()["api_key"] == "AoldKey123" and secret not in said.out + said.err
    signed = run("sign", "--app", "AoldKey123", "--json").json()
    assert signature_index(signed["policy"], signed["signature"], [secret.encode()]) == 0


IMPOSSIBLE: list[tuple[tuple[str, ...], str]] = [
    (("app", "show", "Anobody"), "no application with the API key Anobody"),
    (("app", "set", "Anobody", "--open"), "no application"),
    (("app", "rotate-secret", "Anobody"), "no such application"),
    (("app", "delete", "Anobody", "--yes"), "no application"),
    (("app", "set", "{key}"), "nothing to change"),
    (("app", "set", "{key}", "--leeway", "61"), "leeway is 0 to 60 seconds"),
    (("app", "set", "{key}", "--regex", "glob"), "regex"),
    (("app", "set", "{key}", "--unknown-keys", "maybe"), "unknown_keys"),
    (("app", "set", "{key}", "--max-age", "-1"), "max_age"),
    (("app", "set", "{key}", "--max-bytes", "-1"), "max_bytes"),
    (("app", "set", "{key}", "--max-pixels", "0"), "max_pixels"),
    (("app", "set", "{key}", "--max-animation-pixels", "0"), "max_animation_pixels"),
    (("app", "set", "{key}", "--max-queue", "0"), "max_queue"),
    (("app", "set", "{key}", "--metadata-profile", "some"), "no_location"),
    (("app", "set", "{key}", "--alias", "assets"), "NAME=TARGET"),
    (("app", "set", "{key}", "--alias", "a=https://a.example/", "--alias", "a=https://b.example/"), "once"),
    (("app", "set", "{key}", "--alias", "a=ftp://a.example/"), "'a'"),
    (("app", "set", "{key}", "--alias", "a b=https://a.example/"), "'a b'"),
    (("app", "set", "{key}", "--alias", "a=folder:unknown/x"), "no folder 'unknown'"),
    (("app", "set", "{key}", "--upload-missing", "maybe"), "allow or deny"),
    (("app", "set", "{key}", "--upload-domain", "a(b).example.org"), "a(b).example.org"),
    (("app", "set", "{key}", *[f"--upload-domain=a{n}.example.org" for n in range(21)]), "20"),
    (("app", "rotate-secret", "{key}", "--grace", "86401"), "86400"),
    (("app", "rotate-secret", "{key}", "--grace", "-1"), "86400"),
    (("app", "create", "x", "--api-key", "{key}"), "in use"),
    (("app", "create", "x", "--api-key", "a b"), "API key"),
    (("sign", "--app", "{key}", "--call", "fly"), "fly"),
    (("sign", "--app", "{key}", "--expires-in", "0"), "expires_in"),
    (("sign", "--app", "{key}", "--path", "(("), "pattern does not compile"),
    (("sign", "--app", "{key}", "--max-size", "-1"), "a size must be"),
    (("sign",), "--app"),
    (("explain", "/resize=width:5"), "neither a stored file nor an API key"),
    (("explain", "/flip/https://example.org/a.png"), "neither a stored file nor an API key"),
    (("explain", "/api/store/S3"), "names no API key"),
    (("explain", "/a//b"), "empty segment"),
    (("verify", "x", "y", "--app", "{key}", "--call", "fly"), "'fly' is not a call"),
    (("whitelist", "test", "https://a.example.org"), "--pattern"),
    (("whitelist", "test", "https://a.example.org", "--pattern", "a(b)"), "a(b)"),
]


def test_what_cannot_be_done_is_status_2_names_why_and_changes_nothing(run: Run, made: dict[str, Any]) -> None:
    before = run("app", "list", "--json").out
    for words, says in IMPOSSIBLE:
        said = run(*(word.replace("{key}", made["api_key"]) for word in words))
        assert (said.status, said.out) == (2, ""), words
        assert said.err.startswith("error: ") and says in said.err, words
        assert made["secret"] not in said.err
    assert run("app", "list", "--json").out == before


def test_rotating_ends_the_old_secret_at_once_or_after_the_grace(run: Run, made: dict[str, Any]) -> None:
    key = made["api_key"]
    old = run("sign", "--app", key, "--json").json()
    fresh = run("app", "rotate-secret", key, "--grace", "60", "--json").json()
    assert len(fresh["secret"]) == 43 and [item["state"] for item in fresh["secrets"]] == ["active", "verify_only"]
    assert abs(fresh["secrets"][1]["until"] - time.time() - 60) < 20
    assert run("verify", old["policy"], old["signature"], "--app", key).status == 0
    assert run("app", "rotate-secret", key).status == 0
    refused = run("verify", old["policy"], old["signature"], "--app", key, "--json")
    assert refused.status == 1 and refused.json()["reason"] == "bad_signature"


def test_a_grace_is_ended_at_once(run: Run, made: dict[str, Any]) -> None:
    key = made["api_key"]
    old = run("sign", "--app", key, "--json").json()
    run("app", "rotate-secret", key, "--grace", "60")
    assert run("verify", old["policy"], old["signature"], "--app", key).status == 0
    assert [item["state"] for item in run("app", "revoke-secrets", key, "--json").json()["secrets"]] == ["active"]
    assert run("verify", old["policy"], old["signature"], "--app", key).status == 1


def test_deleting_asks_first_and_takes_the_files_along(
    run: Run, made: dict[str, Any], tmp_path: Path, monkeypatch: Any
) -> None:
    import io

    (tmp_path / "a.txt").write_text("hello")
    assert run("store", "a.txt", "--app", made["api_key"]).status == 0
    blobs = [path for path in (tmp_path / "data" / "files").rglob("*") if path.is_file()]
    assert len(blobs) == 1
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    said = run("app", "delete", made["api_key"])
    assert said.status == 1 and "its 1 files?" in said.err and blobs[0].exists()
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert run("app", "delete", made["api_key"]).status == 0
    assert not blobs[0].exists()


# -------------------------------------------------------------------------------------------------- policies, whitelists


def test_a_signed_policy_is_printed_in_all_the_forms_that_requests_take(run: Run, made: dict[str, Any]) -> None:
    said = run(
        "sign", "--app", made["api_key"], "--call", "read", "--call", "convert", "--handle", "h", "--max-size", "5", "--json"
    ).json()
    assert signature_index(said["policy"], said["signature"], [made["secret"].encode()]) == 0
    assert (
        said["query"] == f"policy={said['policy'].replace('=', '%3D')}&signature={said['signature']}"
        or said["policy"] in said["query"]
    )
    assert said["task"].startswith("security=") and said["signature"] in said["task"]
    assert said["fields"]["signature"] == said["signature"]
    assert abs(said["expiry"] - time.time() - 3600) < 20
    text = run("sign", "--app", made["api_key"]).out
    assert all(label in text for label in ("policy:", "signature:", "query:", "task:"))
    rounded = run("sign", "--app", made["api_key"], "--round-to", "300", "--json").json()
    assert rounded["expiry"] % 300 == 0


def test_a_secret_in_the_environment_signs_and_verifies_without_a_server(run: Run, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("SECURE_DELIVERY_SECRET", "an own secret of more than a hundred and twenty-eight bits")
    signed = run("sign", "--call", "read", "--json").json()
    assert run("verify", signed["policy"], signed["signature"]).status == 0
    said = run("verify", signed["policy"], signed["signature"], "--call", "remove", "--json")
    assert (said.status, said.json()["allowed"], said.json()["reason"]) == (1, False, "call_not_allowed")
    assert not (tmp_path / "data").exists()
    monkeypatch.setenv("SECURE_DELIVERY_SECRET", "weak")
    weak = run("sign")
    assert weak.status == 2 and "128 bits" in weak.err


def test_a_whitelist_is_tried_on_origins_and_hosts(run: Run) -> None:
    words = ("whitelist", "test", "--pattern", "*.example.org", "--pattern", "a.example.net:8080")
    said = run(*words, "https://www.example.org", "www.example.org", "a.example.net:8080", "--json")
    assert said.status == 0 and [item["allowed"] for item in said.json()["results"]] == [True] * 3
    assert said.json()["results"][0]["pattern"] == "*.example.org"
    said = run(*words, "https://www.example.org", "https://example.org", "null", "https://", "a b", "--json")
    assert said.status == 1 and [item["allowed"] for item in said.json()["results"]] == [True, False, False, False, False]
    said = run(*words, "https://www.example.org", "https://evil.example.net")
    assert said.status == 1 and "allowed" in said.out and "refused" in said.out


def test_the_lists_of_an_application_are_tried_each_for_itself(run: Run) -> None:
    key = run(
        "app", "create", "x", "--upload-domain", "up.example.org", "--delivery-domain", "down.example.org", "--json"
    ).json()["api_key"]
    assert run("whitelist", "test", "https://up.example.org", "--app", key, "--uploads").status == 0
    assert run("whitelist", "test", "https://up.example.org", "--app", key).status == 1
    assert run("whitelist", "test", "https://down.example.org", "--app", key, "--delivery").status == 0


def test_without_any_pattern_everything_is_allowed_as_it_says(run: Run, made: dict[str, Any]) -> None:
    said = run("whitelist", "test", "https://anything.example.org", "--app", made["api_key"], "--json")
    assert (said.status, said.json()["patterns"], said.json()["results"][0]["allowed"]) == (0, [], True)


# ----------------------------------------------------------------------------------------------- explain, as the server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("explained")) as server:
        yield server


CASES: list[tuple[str, str, dict[str, str]]] = [
    ("GET", "/{mine}", {}),
    ("GET", "/{mine}?{signed}", {}),
    ("GET", "/{mine}?{read}", {}),
    ("GET", "/{mine}?{expired}", {}),
    ("GET", "/{mine}?{forged}", {}),
    ("GET", "/{key}/{mine}?{signed}", {}),
    ("GET", "/{task}/{mine}", {}),
    ("GET", "/{task}/{mine}?{signed}", {}),
    ("HEAD", "/api/file/{mine}?{read}", {}),
    ("GET", "/api/file/{mine}+jpg?{read}", {}),
    ("GET", "/resize=width:5/{mine}", {}),
    ("GET", "/resize=width:5/{mine}?{signed}", {}),
    ("GET", "/resize=width:5/{mine}?{read}", {}),
    ("GET", "/resize=width:5/{task}/{mine}", {}),
    ("GET", "/{key}/resize=width:5/{open}?{signed}", {}),
    ("GET", "/{key}/resize=width:5/{open}", {}),
    ("GET", "/{openkey}/resize=width:5/{mine}", {}),
    ("GET", "/{openkey}/resize=width:5/{mine}?{signed}", {}),
    ("GET", "/{openkey}/{mine}?{signed}", {}),
    ("GET", "/{key}/resize=width:5/https://example.org/a.png", {}),
    ("GET", "/{key}/resize=width:5/https://example.org/a.png?{read}", {}),
    ("GET", "/metadata=exif:true/{open}", {}),
    ("GET", "/metadata=[exif]/{open}", {}),
    ("GET", "/{mine}/metadata?{read}", {}),
    ("GET", "/{mine}/metadata?{signed}", {}),
    ("GET", "/api/file/{mine}/metadata?{signed}", {}),
    ("GET", "/{open}/metadata", {}),
    ("GET", "/{open}/metadata?exif=true", {}),
    ("GET", "/{mine}/metadata?exif=true&{signed}", {}),
    ("GET", "/{open}", {}),
    ("GET", "/api/file/{open}?key={openkey}", {}),
    ("GET", "/api/file/{open}?key={key}", {}),
    ("GET", "/ZZZZZZZZZZZZZZZZZZZZZ", {}),
    ("POST", "/api/file/{open}", {}),
    ("DELETE", "/api/file/{open}", {}),
    ("PUT", "/api/file/{mine}?{read}", {}),
    ("POST", "/api/store/S3?key={openkey}", {}),
    ("POST", "/api/store/S3?key={key}", {}),
    ("POST", "/api/store/S3?key={key}&{path}&path=/public/a", {}),
    ("POST", "/api/store/S3?key={key}&{path}&path=/private/a", {}),
    ("POST", "/api/store/S3?key={key}&{path}", {}),
    ("GET", "/{listed}", {}),
    ("GET", "/{listed}", {"origin": "https://app.example.org"}),
    ("GET", "/{listed}", {"origin": "https://evil.example.net"}),
    ("GET", "/{listed}", {"referer": "https://evil.example.net/page"}),
    ("POST", "/api/store/S3?key={listedkey}", {"origin": "https://app.example.org"}),
    ("POST", "/api/store/S3?key={listedkey}", {}),
    ("GET", "/resise=width:5/{mine}/{mine}", {}),
]


@pytest.fixture(scope="module")
def names(server: Server) -> dict[str, str]:
    from secure_delivery.gate.whitelist import Whitelist

    secured, opened = server.application(require_policy=True), server.application()
    sites = Whitelist(["app.example.org"])
    listed = server.application(upload_whitelist=sites, delivery_whitelist=sites)

    def query(*call: str, now: float = 0, **limits: Any) -> str:
        return secured.sign(expires_in=600, now=now or time.time(), call=list(call) or None, **limits).as_query()

    return {
        "key": secured.api_key,
        "openkey": opened.api_key,
        "listedkey": listed.api_key,
        "mine": server.put(secured, picture(20, 10), "a.jpg").handle,
        "open": server.put(opened, picture(20, 10), "a.jpg").handle,
        "listed": server.put(listed, b"x").handle,
        "signed": query(),
        "read": query("read"),
        "path": query("pick", path="/public/.*"),
        "expired": query(now=time.time() - 1000),
        "forged": query()[:-1] + "0",
        "task": secured.sign(expires_in=600, now=time.time()).as_task(),
    }


@pytest.mark.parametrize(("method", "target", "headers"), CASES)
def test_a_url_is_explained_as_the_server_would_judge_it(
    run: Run, monkeypatch: Any, server: Server, names: dict[str, str], method: str, target: str, headers: dict[str, str]
) -> None:
    monkeypatch.setenv("SECURE_DELIVERY_DATA", str(server.data))
    path = target.format(**names)
    said = run("explain", path, "--method", method, *(f"--{name}={value}" for name, value in headers.items()), "--json")
    body = b"content" if method in ("POST", "PUT") else None
    reply = server.request(method, path, body=body, headers={name.title(): value for name, value in headers.items()})
    if reply.status in (200, 415):  # 415: it was allowed, and then there was nothing that does it
        assert said.status == 0, (said, reply)
        assert said.json()["allowed"] is True
    elif reply.status == 403 or reply.code in ("too_large", "unknown_application"):
        assert said.status == 1, (said, reply)
        assert said.json()["allowed"] is False
        if method != "HEAD":
            assert said.json()["client_sees"]["code"] == reply.code
        assert said.json()["steps"]
    else:
        assert (reply.status in (400, 404)) and said.status == 2 and said.err.startswith("error: "), (said, reply)
    assert "policy=" not in said.err


def test_an_explanation_for_people_names_the_steps_and_takes_whole_addresses(
    run: Run, monkeypatch: Any, server: Server, names: dict[str, str]
) -> None:
    monkeypatch.setenv("SECURE_DELIVERY_DATA", str(server.data))
    said = run("explain", f"{server.url}/{names['mine']}?{names['expired']}")
    assert said.status == 1 and "expiry" in said.out and "refuse" in said.out and "The policy has expired." in said.out
    said = run("explain", f"{server.url}/{names['mine']}?{names['signed']}")
    assert said.status == 0 and "allowed" in said.out


# ----------------------------------------------------------------------------------------- store, plugins, doctor, serve


def test_a_file_is_stored_with_its_own_or_another_name(run: Run, made: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(picture(20, 10))
    said = run("store", "holiday.jpg", "--app", made["api_key"], "--json").json()
    assert (said["filename"], said["type"], len(said["handle"])) == ("holiday.jpg", "image/jpeg", 21)
    assert (
        run("store", "holiday.jpg", "--app", made["api_key"], "--filename", "../b.jpg", "--json").json()["filename"] == "b.jpg"
    )
    text = run("store", "holiday.jpg", "--app", made["api_key"]).out
    assert "handle:" in text and "image/jpeg" in text
    assert run("app", "list", "--json").json()[0]["files"] == 3


def test_a_file_over_the_limit_of_the_server_is_not_stored_from_the_command_line_either(
    run: Run, made: dict[str, Any], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("SECURE_DELIVERY_MAX_BYTES", "10")
    (tmp_path / "a.txt").write_text("eleven chars")
    said = run("store", "a.txt", "--app", made["api_key"])
    assert said.status == 2 and "10 bytes" in said.err
    assert run("app", "list", "--json").json()[0]["files"] == 0


def test_kept_results_are_counted_and_dropped_by_file_by_application_and_all(
    run: Run, made: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "holiday.jpg").write_bytes(picture(20, 10))
    handles = [run("store", "holiday.jpg", "--app", made["api_key"], "--json").json()["handle"] for _ in range(3)]
    engine = build(Settings.load())
    try:
        application = engine.records.application(made["api_key"])
        assert application is not None
        for handle in handles:
            source = SourceFile.stored(engine.files.find(handle), engine.files)
            plan = bind(engine.registry, parse(f"/resize=width:10/{handle}").tasks)
            engine.renditions.get(application, [source], plan)
    finally:
        engine.close()
    counted = run("renditions", "stats", "--json").json()
    assert counted["applications"][made["api_key"]]["results"] == 3
    assert 0 < counted["size"] < counted["budget"] == 10_737_418_240
    assert f"│ {made['api_key']} │ 3 " in run("renditions", "stats", "--app", made["api_key"]).out
    assert run("renditions", "purge", handles[0], "--json").json() == {"dropped": 1}
    assert run("renditions", "purge", handles[0], "--json").json() == {"dropped": 0}
    assert "1 results" in run("renditions", "purge", handles[1]).out
    assert run("renditions", "purge", "--app", made["api_key"], "--json").json() == {"dropped": 1}
    assert run("renditions", "purge", "--all", "--json").json() == {"dropped": 0}
    assert run("renditions", "stats", "--json").json()["size"] == 0


def test_plugins_are_listed_with_what_they_offer(run: Run) -> None:
    told = run("plugins", "--json").json()
    found = {item["name"]: item for item in told["plugins"]}
    assert found["builtin"]["offers"]["storages"] == ["local"] and found["builtin"]["problem"] is None
    assert "tags" in found["builtin"]["offers"]["transformations"]
    assert "resize" in found["images"]["offers"]["transformations"]
    said = run("plugins")
    assert said.status == 0 and "builtin" in said.out and "resize" in said.out
    for family in told["families"]:
        assert family["family"] in said.out
        assert all(one["name"] in said.out for one in family["previewers"]), "and how each family is previewed"
    assert all(item["install"] in said.out for item in told["missing"]), "what is missing is told with what brings it"


def test_a_doctor_finds_a_healthy_installation_healthy(run: Run, made: dict[str, Any]) -> None:
    said = run("doctor", "--json")
    found = {item["subject"]: item for item in said.json()}
    assert said.status == 0, said.out
    assert found["decoders"]["grade"] == "good" and "seccomp" in found["decoders"]["says"]
    assert {"version", "data", "database", "master key", "storage", "disk", "application shop"} <= set(found)
    assert made["secret"] not in said.out


@pytest.mark.parametrize(
    ("name", "value", "subject", "says"),
    [
        ("SECURE_DELIVERY_HOST", "0.0.0.0", "transport", "public_url is not https"),
        ("SECURE_DELIVERY_SANDBOX_FLOOR", "rlimits,landlok", "", "landlok"),
        ("SECURE_DELIVERY_STORAGE", "gcs", "", "gcs"),
    ],
)
def test_a_doctor_says_what_is_wrong_with_a_non_zero_status(
    run: Run, monkeypatch: Any, name: str, value: str, subject: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    said = run("doctor")
    assert said.status != 0 and says in said.out + said.err and subject in said.out


def test_a_doctor_finds_data_that_others_may_enter(run: Run, made: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "data").chmod(0o755)
    said = run("doctor", "--json")
    assert said.status == 1
    assert [item["subject"] for item in said.json() if item["grade"] == "bad"] == ["data"]


@pytest.mark.parametrize(
    ("toml", "environ", "says"),
    [
        ("max_byte = 1", {}, "max_byte"),
        ("port = 99999", {}, "port"),
        ("[unknown]\nx = 1", {}, "unknown"),
        ("this is no toml", {}, "secure-delivery.toml"),
        ("", {"SECURE_DELIVERY_MAX_PIXELS": "many"}, "SECURE_DELIVERY_MAX_PIXELS"),
        ("", {"SECURE_DELIVERY_MASTER_KEY": "k1:d2Vhaw=="}, "master_key"),
        ("", {"SECURE_DELIVERY_DATABASE": "nonsense"}, "database"),
        ("", {"SECURE_DELIVERY_CONFIG": "missing.toml"}, "missing.toml"),
    ],
)
def test_settings_that_cannot_be_stop_every_command_by_name(
    run: Run, monkeypatch: Any, tmp_path: Path, toml: str, environ: dict[str, str], says: str
) -> None:
    (tmp_path / "secure-delivery.toml").write_text(toml)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    for words in (("app", "list"), ("doctor",), ("serve", "--port", "0")):
        said = run(*words)
        assert (said.status, said.out) == (2, "")
        assert said.err.startswith("error: ") and says in said.err and "d2Vhaw" not in said.err


def test_a_settings_file_can_be_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(f'data = "{tmp_path / "elsewhere"}"\n')
    os.environ.pop("SECURE_DELIVERY_DATA")
    assert run("app", "create", "x", "--config", str(tmp_path / "other.toml")).status == 0
    assert (tmp_path / "elsewhere").is_dir() and not (tmp_path / "data").exists()


def test_the_installed_command_and_the_module_are_the_same_and_pipes_get_plain_text(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    env |= {"SECURE_DELIVERY_DATA": str(tmp_path / "data")}
    command = Path(sys.executable).with_name("secure-delivery")
    assert command.exists()
    for start in ([str(command)], [sys.executable, "-m", "secure_delivery"]):
        done = subprocess.run(
            [*start, "app", "create", "[bold]x[/bold]"], env=env, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 and "\x1b" not in done.stdout
        assert "[bold]x[/bold]" in done.stdout, "names are never taken for markup"
        done = subprocess.run(
            [*start, "app", "show", "nobody"], env=env, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2 and done.stdout == "" and done.stderr.startswith("error: ")


def test_a_server_on_a_port_that_is_taken_says_so_and_ends(server: Server, tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    env |= {"SECURE_DELIVERY_DATA": str(tmp_path / "data")}
    words = [sys.executable, "-m", "secure_delivery", "serve", "--port", str(server.port)]
    done = subprocess.run(words, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr and str(server.port) in done.stderr


def test_where_only_the_core_is_installed_the_command_says_what_it_needs() -> None:
    code = "import sys; sys.modules['typer'] = None; from secure_delivery.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "pip install 'secure-delivery[server]'" in done.stderr
    assert "Traceback" not in done.stderr
