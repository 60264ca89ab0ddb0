"""Settings: read once, checked whole, and every complaint names the setting."""

from __future__ import annotations

import base64
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from secure_delivery.engine import build
from secure_delivery.engine.settings import PREFIX, Settings
from secure_delivery.gate.errors import ConfigurationError

KEY = "k1:" + base64.b64encode(bytes(range(32))).decode()


def test_the_defaults_are_those_of_the_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.load(environ={})
    assert (settings.max_bytes, settings.max_pixels) == (256 * 2**20, 100_000_000)
    assert settings.host == "127.0.0.1"
    assert settings.database_url == f"sqlite:///{tmp_path}/data/secure-delivery.sqlite"
    assert settings.sandbox_floor == ("rlimits", "seccomp", "landlock")


def test_overrides_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('host = "file"\nport = 1\nworkers = 2\n[gate]\nwhatever = 1\n[plugins.images]\nx = 1\n')
    environ = {"SECURE_DELIVERY_CONFIG": str(file), "SECURE_DELIVERY_PORT": "2", "SECURE_DELIVERY_HOST": "environment"}
    settings = Settings.load(environ=environ, host="override", workers=None)
    assert (settings.host, settings.port, settings.workers) == ("override", 2, 2)
    assert settings.plugins == {"images": {"x": 1}}


def test_a_file_in_the_working_folder_is_found_without_being_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secure-delivery.toml").write_text("port = 4321\n")
    assert Settings.load(environ={}).port == 4321


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max_byte = 5", "there is no setting called max_byte; did you mean max_bytes?"),
        ("zzz = 5", "there is no setting called zzz"),
        ("port = 70000", "port: a number from 0 to 65535 is wanted"),
        ("port = true", "port: a number is wanted"),
        ("port = 1.5", "port: a number is wanted"),
        ("port = [1]", "port: a number is wanted"),
        ("decode_seconds = nan", "decode_seconds: a number from"),
        ("host = 5", "host: text is wanted"),
        ('quiet = "perhaps"', "quiet: true or false is wanted"),
        ("plugins_blocked = [1]", "plugins_blocked: a list of names is wanted"),
        ('plugins = "images"', "plugins: one table per plugin"),
        ('public_url = "files.example.org"', "public_url: https://"),
        ('public_url = "javascript:alert(1)"', "public_url: https://"),
        ('public_url = "https://example.org/?a=b"', "public_url: https://"),
        ("= 5", "settings.toml"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(text + "\n")
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(file, environ={})
    assert says in str(caught.value)
    assert "settings.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SECURE_DELIVERY_MAX_BYTES", "lots", "environment variable SECURE_DELIVERY_MAX_BYTES: max_bytes"),
        ("SECURE_DELIVERY_MAX_BYTES", "0", "max_bytes: a number from 1"),
        ("SECURE_DELIVERY_MAXBYTES", "1", "there is no setting called maxbytes; did you mean max_bytes?"),
        ("SECURE_DELIVERY_PLUGINS", "images", "plugins: one table per plugin"),
        ("SECURE_DELIVERY_QUIET", "", "quiet: true or false"),
    ],
)
def test_a_variable_that_cannot_be_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=f"(?s).*{name}") as caught:
        Settings.load(environ={name: value})
    assert says in str(caught.value)


def test_variables_that_are_no_settings_of_the_server_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"SECURE_DELIVERY_SECRET": "x", "SECURE_DELIVERY_TEST_POSTGRES": "y", "SECURE_DELIVERY_CONFIG": ""}
    assert Settings.load(environ=environ) == Settings()


def test_lists_and_switches_can_be_given_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"SECURE_DELIVERY_PLUGINS_BLOCKED": "one, two,", "SECURE_DELIVERY_QUIET": "YES"}
    settings = Settings.load(environ=environ)
    assert (settings.plugins_blocked, settings.quiet) == (("one", "two"), True)


@pytest.mark.parametrize("file", ["missing.toml", "."])
def test_a_file_that_is_named_but_cannot_be_read_stops_the_start(tmp_path: Path, file: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Settings.load(tmp_path / file, environ={})


def test_no_secret_of_the_settings_is_in_their_repr() -> None:
    assert KEY not in repr(Settings(master_key=KEY))


def test_every_setting_has_a_sentence_and_a_default_that_it_would_accept_itself() -> None:
    assert list(Settings.names()) == [item.name for item in fields(Settings)]
    assert all(text.endswith(".") for text in Settings.names().values())
    plain: dict[str, Any] = {
        name: str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
        for name, value in Settings.defaults().items()
    }
    assert Settings.read(plain) == Settings()


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"master_key": "k1:c2hvcnQ="}, "master"),
        ({"master_key": "k1:" + base64.b64encode(bytes(32)).decode()}, "master"),
        ({"master_key": "nonsense"}, "master"),
        ({"storage": "gcs"}, "storage: no installed plugin provides 'gcs'; there is: local"),
        ({"sandbox_floor": ["landlok"]}, "sandbox_floor: there is no layer landlok"),
        ({"database": "sqlite:///missing/folder/x.db"}, "database"),
        ({"database": "mysql://me:hunter22@localhost/x"}, "database"),
        ({"database": "postgresql+psycopg://me:hunter22@127.0.0.1:1/x"}, "database"),
    ],
)
def test_what_should_stop_a_start_does_and_says_which_setting(tmp_path: Path, values: dict[str, Any], names: str) -> None:
    settings = Settings.read({"data": str(tmp_path / "data"), **values})
    with pytest.raises(ConfigurationError) as caught:
        build(settings)
    assert names in str(caught.value)
    assert "hunter22" not in str(caught.value)
    assert (
        values.get("master_key", "k1:secret").partition(":")[2] not in str(caught.value) or values["master_key"] == "nonsense"
    )


def test_a_master_key_that_others_can_read_stops_the_start(tmp_path: Path) -> None:
    settings = Settings.read({"data": str(tmp_path / "data")})
    build(settings).close()
    assert settings.key_file.stat().st_mode & 0o777 == 0o600
    settings.key_file.chmod(0o644)
    with pytest.raises(ConfigurationError, match=r"master\.key"):
        build(settings)


def test_a_data_folder_that_cannot_be_made_stops_the_start_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="data: "):
        build(Settings.read({"data": str(tmp_path / "file" / "data")}))


def test_data_is_for_its_owner_only(tmp_path: Path) -> None:
    settings = Settings.read({"data": str(tmp_path / "data")})
    build(settings).close()
    open_to_others = [path for path in [settings.data, *settings.data.rglob("*")] if path.stat().st_mode & 0o077]
    assert open_to_others == []


def test_every_setting_can_be_said_in_the_environment_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in Settings.defaults().items():
        if name != "plugins":
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            assert getattr(Settings.load(environ={PREFIX + name.upper(): text}), name) == value
