"""Sealed values open for their place and key only, and master keys are guarded like keys."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_delivery.engine.vault import Place, Vault, new_master_key
from secure_delivery.gate.errors import ConfigurationError, VaultError

OLD = bytes((11 * number + 5) % 256 for number in range(32))
NEW = bytes((7 * number + 3) % 256 for number in range(32))
HOME = Place(table="application_secret", row="s1", field="sealed", application="Aexample")
PLAIN = b"marker-5d1fe0b2"


def vault() -> Vault:
    return Vault({"old": OLD, "new": NEW}, current="new")


def entry(key_id: str, key: bytes) -> str:
    return f"{key_id}:{base64.b64encode(key).decode()}"


def key_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "master.keys"
    path.write_text(text)
    path.chmod(mode)
    return path


@given(plain=st.binary(max_size=300), parts=st.tuples(*[st.text(max_size=20)] * 4))
def test_every_value_comes_back_from_every_place(plain: bytes, parts: tuple[str, str, str, str]) -> None:
    place = Place(*parts)
    assert vault().open(vault().seal(plain, place=place), place=place) == plain


def test_a_sealed_value_names_version_and_key_and_shows_nothing_of_the_value() -> None:
    sealed = vault().seal(PLAIN, place=HOME)
    assert sealed.startswith("v1.new.")
    payload = base64.urlsafe_b64decode(sealed.split(".")[2] + "==")
    assert PLAIN not in payload
    assert OLD not in payload
    assert NEW not in payload


def test_sealing_twice_never_repeats_a_nonce_or_a_data_key() -> None:
    payloads = [base64.urlsafe_b64decode(vault().seal(PLAIN, place=HOME).split(".")[2] + "==") for _ in range(500)]
    for part in (slice(0, 12), slice(12, 60), slice(60, 72), slice(72, None)):
        assert len({payload[part] for payload in payloads}) == 500


def test_a_change_of_any_bit_of_any_character_is_noticed() -> None:
    subject, sealed = vault(), vault().seal(PLAIN, place=HOME)
    for position, character in enumerate(sealed):
        for bit in range(7):
            changed = sealed[:position] + chr(ord(character) ^ (1 << bit)) + sealed[position + 1 :]
            with pytest.raises(VaultError):
                subject.open(changed, place=HOME)


def test_a_change_of_any_byte_of_the_payload_is_noticed() -> None:
    subject, sealed = vault(), vault().seal(PLAIN, place=HOME)
    payload = base64.urlsafe_b64decode(sealed.split(".")[2] + "==")
    for position in range(len(payload)):
        changed = bytearray(payload)
        changed[position] ^= 0x01
        text = "v1.new." + base64.urlsafe_b64encode(changed).decode().rstrip("=")
        with pytest.raises(VaultError):
            subject.open(text, place=HOME)


def test_a_value_cut_or_extended_anywhere_does_not_open() -> None:
    subject, sealed = vault(), vault().seal(PLAIN, place=HOME)
    for length in range(len(sealed)):
        with pytest.raises(VaultError):
            subject.open(sealed[:length], place=HOME)
    for more in ("A", "=", "==", "\n", " ", ".", "AAAA"):
        with pytest.raises(VaultError):
            subject.open(sealed + more, place=HOME)


@pytest.mark.parametrize("part", Place._fields)
def test_a_value_moved_to_another_place_does_not_open(part: str) -> None:
    sealed = vault().seal(PLAIN, place=HOME)
    with pytest.raises(VaultError):
        vault().open(sealed, place=HOME._replace(**{part: getattr(HOME, part) + "x"}))


def test_places_whose_parts_only_run_together_alike_are_different_places() -> None:
    sealed = vault().seal(PLAIN, place=Place("ab", "c", "d", "e"))
    for other in (Place("a", "bc", "d", "e"), Place("abc", "", "d", "e"), Place("ab", "c", "", "de")):
        with pytest.raises(VaultError):
            vault().open(sealed, place=other)


def test_the_key_id_is_authenticated_even_between_keys_of_the_same_bytes() -> None:
    sealed = Vault({"a": NEW}, current="a").seal(PLAIN, place=HOME)
    with pytest.raises(VaultError):
        Vault({"b": NEW}, current="b").open(sealed.replace("v1.a.", "v1.b."), place=HOME)


@given(text=st.one_of(st.text(), st.from_regex(r"v1\.new\.[A-Za-z0-9_=-]{0,200}")))
def test_text_that_was_never_sealed_is_refused_with_the_one_fault(text: str) -> None:
    with pytest.raises(VaultError):
        vault().open(text, place=HOME)


def test_rewrapping_moves_to_the_current_key_and_the_old_one_can_be_removed() -> None:
    sealed = Vault({"old": OLD}, current="old").seal(PLAIN, place=HOME)
    moved = vault().rewrap(sealed, place=HOME)
    assert moved.startswith("v1.new.")
    assert Vault({"new": NEW}, current="new").open(moved, place=HOME) == PLAIN


def test_rewrapping_twice_changes_nothing_the_second_time() -> None:
    moved = vault().rewrap(Vault({"old": OLD}, current="old").seal(PLAIN, place=HOME), place=HOME)
    assert vault().rewrap(moved, place=HOME) == moved


def test_rewrapping_does_not_launder_a_value_from_another_place() -> None:
    sealed = vault().seal(PLAIN, place=HOME)
    with pytest.raises(VaultError):
        vault().rewrap(sealed, place=HOME._replace(application="Bother"))


def test_a_value_under_a_removed_key_says_which_key_is_missing() -> None:
    sealed = Vault({"old": OLD}, current="old").seal(PLAIN, place=HOME)
    with pytest.raises(VaultError, match="'old'"):
        Vault({"new": NEW}, current="new").open(sealed, place=HOME)


@pytest.mark.parametrize(
    ("keys", "current"),
    [
        pytest.param({}, "a", id="no key at all"),
        pytest.param({"a": NEW}, "b", id="current is unknown"),
        pytest.param({"a": b""}, "a", id="empty"),
        pytest.param({"a": NEW[:16]}, "a", id="128 bits"),
        pytest.param({"a": NEW + b"x"}, "a", id="too long"),
        pytest.param({"a": bytes(32)}, "a", id="zeros"),
        pytest.param({"a": b"\x01\x02\x03\x04" * 8}, "a", id="a short pattern"),
        pytest.param({"a": b"correct horse battery staple 123"}, "a", id="a pass phrase"),
        pytest.param({"a": b"0123456789abcdeffedcba9876543210"}, "a", id="hex digits as bytes"),
        pytest.param({"a": NEW, "b": NEW}, "a", id="two names for one key"),
        pytest.param({"a.b": NEW}, "a.b", id="a dot in the key id"),
        pytest.param({"": NEW}, "", id="an empty key id"),
        pytest.param({"a\n": NEW}, "a\n", id="a line end in the key id"),
        pytest.param({"a" * 33: NEW}, "a" * 33, id="a long key id"),
    ],
)
def test_weak_or_missing_master_keys_are_refused_naming_the_setting(keys: dict[str, bytes], current: str) -> None:
    with pytest.raises(ConfigurationError, match="master_key"):
        Vault(keys, current=current)


def test_fresh_master_keys_are_never_called_weak() -> None:
    for number in range(2000):
        Vault.from_text(new_master_key(f"k{number}"))


@pytest.mark.parametrize("key_id", ["", "a:b", "a,b", "a.b", "a b", "a\n", "a" * 33])
def test_a_master_key_is_not_made_under_a_name_that_could_not_be_read_back(key_id: str) -> None:
    with pytest.raises(ConfigurationError):
        new_master_key(key_id)


def test_the_last_key_of_the_environment_is_current_and_all_of_them_open() -> None:
    subject = Vault.from_text(f" {entry('old', OLD)} , {entry('new', NEW)},")
    assert subject.current == "new"
    assert subject.key_ids == {"old", "new"}
    assert subject.open(Vault({"old": OLD}, current="old").seal(PLAIN, place=HOME), place=HOME) == PLAIN


@pytest.mark.parametrize("text", ["", " , ", "abc", "a:", "a:!!!!", f"a:{'x' * 42}", entry("a", OLD) + "," + entry("a", NEW)])
def test_a_malformed_environment_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="master_key"):
        Vault.from_text(text)


@given(st.text())
def test_no_text_from_the_environment_raises_anything_but_the_configuration_fault(text: str) -> None:
    with pytest.raises(ConfigurationError):
        Vault.from_text(text)


@pytest.mark.parametrize("wrong", [OLD[:31], b"correct horse battery staple 123"])
def test_no_complaint_repeats_the_key(wrong: bytes) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Vault.from_text(entry("a", wrong))
    for shown in (str(caught.value), repr(caught.value), caught.value.public):
        assert base64.b64encode(wrong).decode() not in shown
        assert wrong.hex() not in shown
        assert repr(wrong) not in shown


def test_the_repr_names_key_ids_only() -> None:
    assert repr(vault()) == "<Vault keys=['new', 'old'] current='new'>"


def test_a_key_file_is_created_once_for_its_owner_only_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "master.keys"
    sealed = Vault.from_file(path, create=True).seal(PLAIN, place=HOME)
    assert path.stat().st_mode & 0o7777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
    assert Vault.from_file(path, create=True).open(sealed, place=HOME) == PLAIN
    assert Vault.from_file(path, create=False).open(sealed, place=HOME) == PLAIN


def test_a_generous_umask_does_not_open_the_created_file(tmp_path: Path) -> None:
    script = "import os,sys,pathlib; os.umask(0); from secure_delivery.engine.vault import Vault; "
    script += "Vault.from_file(pathlib.Path(sys.argv[1]), create=True)"
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "keys")], check=True)
    assert (tmp_path / "keys").stat().st_mode & 0o7777 == 0o600


def test_processes_that_create_the_key_file_at_once_end_up_with_the_same_key(tmp_path: Path) -> None:
    script = "import sys,pathlib; from secure_delivery.engine.vault import Vault; sys.stdin.read(); "
    script += "print(Vault.from_file(pathlib.Path(sys.argv[1]), create=True).current)"
    command = [sys.executable, "-c", script, str(tmp_path / "keys")]
    racers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.close()  # the start signal
    seen = set()
    for racer in racers:
        with racer:
            assert racer.stdout is not None
            seen.add(racer.stdout.read())
    assert [racer.returncode for racer in racers] == [0] * 4
    assert len(seen) == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "keys"]


def test_a_missing_key_file_is_an_error_unless_it_may_be_created(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="master_key_file"):
        Vault.from_file(tmp_path / "absent", create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_key_file_in_a_missing_folder_is_a_configuration_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="master_key_file"):
        Vault.from_file(tmp_path / "absent" / "keys", create=True)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666])
def test_a_key_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ConfigurationError, match="master_key_file"):
        Vault.from_file(key_file(tmp_path, entry("a", NEW), mode), create=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_a_key_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = key_file(tmp_path, entry("a", NEW))
    os.chown(path, 65534, 65534)
    with pytest.raises(ConfigurationError, match="another user"):
        Vault.from_file(path, create=False)


def test_a_pipe_or_folder_in_place_of_the_key_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    for name in ("pipe", "folder"):
        with pytest.raises(ConfigurationError, match="regular file"):
            Vault.from_file(tmp_path / name, create=True)


def test_comments_and_blank_lines_of_a_key_file_are_skipped_and_the_last_key_is_current(tmp_path: Path) -> None:
    text = f"# rotated in May\n\n{entry('old', OLD)}\r\n  {entry('new', NEW)}  \n\n# end\n"
    assert Vault.from_file(key_file(tmp_path, text), create=False).current == "new"


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "a\n", "ä:b\n", "x" * 70_000], ids=["empty", "comment", "form", "text", "long"]
)
def test_a_key_file_without_usable_keys_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    path = key_file(tmp_path, text)
    with pytest.raises(ConfigurationError, match="master_key_file"):
        Vault.from_file(path, create=True)
    assert path.read_text() == text
