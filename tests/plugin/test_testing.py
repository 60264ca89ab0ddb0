"""The conformance suites fail for what breaks the contract: each fault here is caught by the test that is meant for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from secure_delivery.builtin.local_storage import LocalDraft, LocalStorage
from secure_delivery.gate.errors import Corrupt
from secure_delivery.plugin import Param, choice, listing, text
from secure_delivery.plugin.testing import MemoryFile, StorageContract, TransformationContract, content


class Eager(LocalDraft):
    """Publishes with the first byte."""

    __slots__ = ()

    def write(self, data: bytes) -> None:
        self._target.parent.mkdir(parents=True, exist_ok=True)
        with self._target.open("ab") as file:
            file.write(data)
        super().write(data)


class EagerStorage(LocalStorage):
    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.begun: list[LocalDraft] = []

    def create(self, key: str, *, mimetype: str) -> LocalDraft:
        draft = super().create(key, mimetype=mimetype)
        draft.__class__ = Eager
        self.begun.append(draft)
        return draft


class GenerousStorage(LocalStorage):
    """Ignores the length of a window."""

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> BinaryIO:
        return super().open(key, start=start)


class InPlaceStorage(LocalStorage):
    """Replaces a blob by writing over it."""

    def create(self, key: str, *, mimetype: str) -> LocalDraft:
        path = self._path(key)
        if path.exists():
            path.write_bytes(b"")
        return super().create(key, mimetype=mimetype)


class StrictStorage(LocalStorage):
    """Minds when there is nothing to remove."""

    def remove(self, key: str) -> None:
        self.locate(key)
        super().remove(key)


@pytest.mark.parametrize(
    ("broken", "caught_by"),
    [
        (EagerStorage, "test_nothing_is_visible_before_publish"),
        (EagerStorage, "test_discard_leaves_nothing"),
        (GenerousStorage, "test_a_window_is_what_was_asked_for_and_no_more"),
        (InPlaceStorage, "test_a_reader_keeps_its_version"),
        (InPlaceStorage, "test_discard_of_an_empty_draft_leaves_an_older_blob_alone"),
    ],
)
def test_a_broken_storage_fails_the_suite(broken: type[LocalStorage], caught_by: str, tmp_path: Path) -> None:
    storage = broken(tmp_path)

    class Suite(StorageContract):
        def make_storage(self, tmp_path: Path) -> LocalStorage:
            return storage

    with pytest.raises(AssertionError, match="does not hold"):
        getattr(Suite(), caught_by)(tmp_path)
    for draft in getattr(storage, "begun", ()):
        draft.discard()


def test_a_storage_that_minds_removing_twice_fails_the_suite(tmp_path: Path) -> None:
    class Suite(StorageContract):
        def make_storage(self, tmp_path: Path) -> LocalStorage:
            return StrictStorage(tmp_path)

    with pytest.raises(Exception, match="no blob"):
        Suite().test_removing_twice_is_safe(tmp_path)


class Upper:
    """An honest transformation to break in single ways."""

    version = "1"
    params: tuple[Param, ...] = (Param("pair", listing(choice("a"), choice("b")), default=("a", "b")),)

    def apply(self, media: Any, options: Mapping[str, Any], shop: Any) -> Any:
        data = content(media)
        if not data.isascii():
            raise Corrupt("only letters")
        return MemoryFile(data.upper(), media.mimetype, media.filename)


class Suite(TransformationContract):
    def __init__(self, broken: Any) -> None:
        self.transformation = broken

    def sample_media(self) -> MemoryFile:
        return MemoryFile(b"sample text, long enough to be cut", "text/plain", "a.txt")


class Counting(Upper):
    calls = 0

    def apply(self, media: Any, options: Mapping[str, Any], shop: Any) -> Any:
        self.calls += 1
        return MemoryFile(b"%d" % self.calls, media.mimetype, media.filename)


class Fragile(Upper):
    def apply(self, media: Any, options: Mapping[str, Any], shop: Any) -> Any:
        return MemoryFile(content(media).decode().encode(), media.mimetype, media.filename)


class Typeless(Upper):
    def apply(self, media: Any, options: Mapping[str, Any], shop: Any) -> Any:
        return MemoryFile(content(media), "picture", media.filename)


class Once(Upper):
    def apply(self, media: Any, options: Mapping[str, Any], shop: Any) -> Any:
        stream: BinaryIO = super().apply(media, options, shop).open()

        class Result:
            mimetype, filename, size = media.mimetype, media.filename, None

            def open(self) -> BinaryIO:
                return stream

        return Result()


class Tuples(Upper):
    def apply(self, media: Any, options: Mapping[str, Any], shop: Any) -> Any:
        return MemoryFile(repr(options["pair"]).encode(), media.mimetype, media.filename)


class Overwriting(Upper):
    def apply(self, media: Any, options: Mapping[str, Any], shop: Any) -> Any:
        if hasattr(media, "path"):
            media.path.write_bytes(b"")
        return media


class Doubled(Upper):
    params = (Param("width", text(3), aliases=("w",)), Param("wide", text(3), aliases=("w",)))


class Unspellable(Upper):
    params = (Param("fit", choice("clip", "crop"), default="scale"),)


class Careless(Upper):
    params = (Param("fit", choice("clip")._replace(read=lambda value: {"clip": 1}[value])),)  # type: ignore[index]


@pytest.mark.parametrize(
    ("broken", "caught_by"),
    [
        (Counting, "test_the_same_input_gives_the_same_bytes"),
        (Fragile, "test_rubbish_ends_in_a_fault_of_the_tree_or_a_result"),
        (Typeless, "test_the_result_is_a_media_with_a_type"),
        (Once, "test_the_result_opens_more_than_once"),
        (Tuples, "test_options_that_travelled_as_json_give_the_same_bytes"),
        (Overwriting, "test_the_source_is_not_changed"),
        (Doubled, "test_no_two_parameters_share_a_name"),
        (Unspellable, "test_every_default_is_a_value_its_parameter_could_read"),
        (Careless, "test_odd_values_are_read_or_refused"),
    ],
)
def test_a_broken_transformation_fails_the_suite(broken: type[Upper], caught_by: str, tmp_path: Path) -> None:
    arguments = (tmp_path,) if caught_by == "test_the_source_is_not_changed" else ()
    with pytest.raises((AssertionError, KeyError, TypeError, ValueError)):
        getattr(Suite(broken()), caught_by)(*arguments)
    getattr(Suite(Upper()), caught_by)(*arguments)
