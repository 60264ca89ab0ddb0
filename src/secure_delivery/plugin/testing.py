"""Conformance suites: what every storage and every transformation must hold, as classes for pytest.

Knows: the protocols. Must not know: any implementation. Imported by tests only; it needs no test library itself.

    class TestMyStorage(StorageContract):
        def make_storage(self, tmp_path):
            return MyStorage(tmp_path)

The project's own plugins pass the same suites.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..gate.errors import NotFound, SecureDeliveryError
from .media import MemoryFile
from .params import REQUIRED, Param
from .protocols import Checked, Detector, Media, Storage, Transformation, WorkLimits
from .testing_extractors import ExtractorContract
from .testing_helpers import FileMedia, SimpleWorkshop, claim, content, rubbish, seeded_bytes, travels
from .testing_previews import PreviewerContract, extracted, previewed, work_on
from .testing_queues import QueueContract
from .testing_scanners import ScannerContract

__all__ = [
    "ExtractorContract",
    "FileMedia",
    "MemoryFile",
    "PreviewerContract",
    "QueueContract",
    "ScannerContract",
    "SimpleWorkshop",
    "StorageContract",
    "TransformationContract",
    "bind",
    "content",
    "extracted",
    "previewed",
    "work_on",
]


def bind(transformation: Transformation, /, **options: Any) -> Mapping[str, Any]:
    """A value for every parameter, as the engine binds them: by name or alias, defaults filled in, `check` asked.

    Text, and tuples of text, are read as the value of a URL would be; anything else stands for a value already read. Raises
    `TypeError` for a parameter that is not there, given twice or missing, `ValueError` for a value that is not admitted.
    """
    by_name = {name: param for param in transformation.params for name in (param.name, *param.aliases)}
    bound: dict[str, Any] = {}
    for name, value in options.items():
        param = by_name.get(name)
        if param is None or param.name in bound:
            raise TypeError(f"{name}: {'given twice' if param else 'there is no such parameter'}")
        bound[param.name] = param.kind.read(value) if _spelled(value) else value
    for param in transformation.params:
        if param.name not in bound and param.default is REQUIRED:
            raise TypeError(f"{param.name} is required")
        bound.setdefault(param.name, param.default)
    if isinstance(transformation, Checked):
        transformation.check(bound)
    return MappingProxyType(bound)


def _spelled(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, tuple) and bool(value) and all(_spelled(item) for item in value))


def _missing(act: Callable[[], object], claim: str) -> None:
    try:
        act()
    except NotFound:
        return
    raise AssertionError(f"does not hold: {claim} (NotFound expected)")


# ------------------------------------------------------------------------------------------------------------ storages

_KEY = "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334"
_OTHER_KEY = "renditions/00112233445566778899aabbccddeeff"
_MEGABYTE = 1 << 20


def _put(storage: Storage, key: str, data: bytes, piece: int = _MEGABYTE) -> None:
    draft = storage.create(key, mimetype="application/octet-stream")
    for start in range(0, len(data), piece):
        draft.write(data[start : start + piece])
    draft.publish()


def _get(storage: Storage, key: str, **window: Any) -> bytes:
    with storage.open(key, **window) as stream:
        return stream.read()


class StorageContract:
    """What every storage holds. Subclass it as `Test...` and say how to make an empty storage; each test gets its own."""

    def make_storage(self, tmp_path: Path) -> Storage:
        """A new, empty storage. `tmp_path` is a folder of the test's own."""
        raise NotImplementedError

    def test_it_satisfies_the_protocol(self, tmp_path: Path) -> None:
        claim(isinstance(self.make_storage(tmp_path), Storage), "make_storage returns a Storage")

    def test_nothing_is_visible_before_publish(self, tmp_path: Path) -> None:
        storage = self.make_storage(tmp_path)
        draft = storage.create(_KEY, mimetype="text/plain")
        _missing(lambda: storage.open(_KEY), "an empty draft is not visible")
        draft.write(b"half")
        _missing(lambda: storage.open(_KEY), "a half written draft is not visible")
        draft.write(b"whole")
        draft.publish()
        claim(_get(storage, _KEY) == b"halfwhole", "publish makes all pieces visible in their order")

    def test_discard_leaves_nothing(self, tmp_path: Path) -> None:
        storage = self.make_storage(tmp_path)
        draft = storage.create(_KEY, mimetype="text/plain")
        draft.write(b"given up")
        draft.discard()
        draft.discard()
        _missing(lambda: storage.open(_KEY), "a discarded draft is not visible")
        _put(storage, _KEY, b"later")
        claim(_get(storage, _KEY) == b"later", "the key of a discarded draft can be used")

    def test_discard_of_an_empty_draft_leaves_an_older_blob_alone(self, tmp_path: Path) -> None:
        storage = self.make_storage(tmp_path)
        _put(storage, _KEY, b"old")
        storage.create(_KEY, mimetype="text/plain").discard()
        claim(_get(storage, _KEY) == b"old", "what was published before a discarded draft stays")

    def test_discard_after_publish_is_harmless(self, tmp_path: Path) -> None:
        storage = self.make_storage(tmp_path)
        draft = storage.create(_KEY, mimetype="text/plain")
        draft.write(b"kept")
        draft.publish()
        draft.discard()
        draft.discard()
        claim(_get(storage, _KEY) == b"kept", "discard after publish has no effect")

    def test_a_window_is_what_was_asked_for_and_no_more(self, tmp_path: Path) -> None:
        storage = self.make_storage(tmp_path)
        data = seeded_bytes(300_000, 1)
        _put(storage, _KEY, data)
        size = len(data)
        for start in (0, 1, 255_999, size - 1, size, size + 5):
            for length in (None, 0, 1, 70_000, size, size * 2):
                end = size if length is None else start + length
                got = _get(storage, _KEY, start=start, length=length)
                claim(got == data[start:end], f"start={start}, length={length} gives exactly these bytes")

    def test_a_window_read_in_pieces_ends_where_it_should(self, tmp_path: Path) -> None:
        storage = self.make_storage(tmp_path)
        data = seeded_bytes(10_000, 2)
        _put(storage, _KEY, data)
        with storage.open(_KEY, start=100, length=5_001) as stream:
            pieces = []
            while piece := stream.read(512):
                claim(len(piece) <= 512, "read(n) gives at most n bytes")
                pieces.append(piece)
            claim(stream.read(1) == b"", "after the end there is nothing more")
        claim(b"".join(pieces) == data[100:5_101], "the pieces make up the window")

    def test_a_key_that_is_not_there_is_not_found(self, tmp_path: Path) -> None:
        storage = self.make_storage(tmp_path)
        _missing(lambda: storage.open(_KEY), "opening a key of an empty storage")
        _put(storage, _OTHER_KEY, b"other")
        _missing(lambda: storage.open(_KEY, start=3, length=1), "opening a window of an unknown key")

    def test_removing_twice_is_safe(self, tmp_path: Path) -> None:
        storage = self.make_storage(tmp_path)
        storage.remove(_KEY)
        _put(storage, _KEY, b"gone soon")
        storage.remove(_KEY)
        _missing(lambda: storage.open(_KEY), "a removed blob is not there")
        storage.remove(_KEY)
        _put(storage, _KEY, b"again")
        claim(_get(storage, _KEY) == b"again", "a removed key can be used again")

    def test_a_reader_keeps_its_version(self, tmp_path: Path) -> None:
        storage = self.make_storage(tmp_path)
        old, new = seeded_bytes(3 * _MEGABYTE, 3), seeded_bytes(2 * _MEGABYTE, 4)
        _put(storage, _KEY, old)
        with storage.open(_KEY) as reader, storage.open(_KEY, start=_MEGABYTE, length=_MEGABYTE) as part:
            head = reader.read(10)
            _put(storage, _KEY, new)
            claim(_get(storage, _KEY) == new, "a new reader gets the new version")
            storage.remove(_KEY)
            claim(head + reader.read() == old, "an old reader gets the old version to its end")
            claim(part.read() == old[_MEGABYTE : 2 * _MEGABYTE], "an old reader of a window too")

    def test_an_empty_blob_is_a_blob(self, tmp_path: Path) -> None:
        storage = self.make_storage(tmp_path)
        storage.create(_KEY, mimetype="text/plain").publish()
        claim(_get(storage, _KEY) == b"", "it opens, and is empty")
        claim(_get(storage, _KEY, start=1, length=1) == b"", "so is every part of it")

    def test_five_megabytes_in_odd_pieces_come_back(self, tmp_path: Path) -> None:
        storage = self.make_storage(tmp_path)
        data = seeded_bytes(5 * _MEGABYTE + 17, 5)
        _put(storage, _KEY, data, piece=65_537)
        digest = hashlib.sha256()
        with storage.open(_KEY) as stream:
            while piece := stream.read(99_991):
                digest.update(piece)
        claim(digest.digest() == hashlib.sha256(data).digest(), "a large blob comes back as it was written")

    def test_many_keys_do_not_meet(self, tmp_path: Path) -> None:
        storage = self.make_storage(tmp_path)
        keys = [hashlib.sha256(b"%d" % number).hexdigest()[:40] for number in range(100)]
        keys += [f"renditions/{key}" for key in keys[:20]]
        for key in keys:
            _put(storage, key, key.encode())
        for key in keys[::3]:
            storage.remove(key)
        for number, key in enumerate(keys):
            if number % 3:
                claim(_get(storage, key) == key.encode(), "a key has its own bytes, whatever happens to others")
            else:
                _missing(lambda key=key: storage.open(key), "what was removed is gone")  # type: ignore[misc]

    def test_drafts_of_one_key_do_not_mix(self, tmp_path: Path) -> None:
        storage = self.make_storage(tmp_path)
        first, second = (storage.create(_KEY, mimetype="text/plain") for _ in range(2))
        for _ in range(3):
            first.write(b"1")
            second.write(b"2")
        second.publish()
        claim(_get(storage, _KEY) == b"222", "the draft that is published is the one that is seen")
        first.publish()
        claim(_get(storage, _KEY) == b"111", "publishing over a blob replaces it")

    def test_concurrent_writers_leave_whole_blobs(self, tmp_path: Path) -> None:
        storage = self.make_storage(tmp_path)
        versions = [seeded_bytes(200_000 + number, number) for number in range(8)]

        def write(number: int) -> None:
            _put(storage, f"{number}{_KEY[1:]}", versions[number], piece=9_999)
            _put(storage, _OTHER_KEY, versions[number], piece=9_999)
            claim(_get(storage, _OTHER_KEY) in versions, "a reader never sees a mixture")

        with ThreadPoolExecutor(len(versions)) as pool:
            list(pool.map(write, range(len(versions))))
        for number, version in enumerate(versions):
            claim(_get(storage, f"{number}{_KEY[1:]}") == version, "each writer's own key has its bytes")
        claim(_get(storage, _OTHER_KEY) in versions, "the shared key has one writer's bytes, whole")


# ----------------------------------------------------------------------------------------------------- transformations

#: Values that a client can send and hardly any parameter admits: reading them gives a value or `ValueError`, nothing else.
_ODD: tuple[Any, ...] = (
    "", " ", "-", "-0", "1e9", "NaN", "inf", "9" * 400, "\0", "\x7f", "\u0663", "\u0131", "a" * 5_000,
    (), ("",), ("1",), ("1", "2"), ("1", ("2", ("3",))), ("a",) * 300,
)  # fmt: skip


class TransformationContract:
    """What every transformation holds. Subclass it as `Test...`; override `transformation`, `sample_media` and, where the
    defaults are not enough, `sample_options`. One subclass for each interesting set of options."""

    transformation: Transformation
    limits = WorkLimits()

    def sample_media(self) -> Media:
        """A valid source, small: it is transformed a few dozen times."""
        raise NotImplementedError

    def sample_options(self) -> Mapping[str, Any]:
        """Options for the sample, as `bind` takes them."""
        return {}

    def sample_others(self) -> Sequence[Media]:
        """The files that go with the sample, for tasks that take several."""
        return ()

    def sample_detectors(self) -> Mapping[str, Detector]:
        """The detectors that the sample needs, for tasks that ask some."""
        return {}

    def _sample(self) -> MemoryFile:
        media = self.sample_media()
        return MemoryFile(content(media), media.mimetype, media.filename)

    def _apply(self, media: Media, options: Mapping[str, Any] | None = None) -> Media:
        bound = bind(self.transformation, **self.sample_options()) if options is None else options
        shop = SimpleWorkshop(limits=self.limits, others=self.sample_others(), detectors=self.sample_detectors())
        return self.transformation.apply(media, bound, shop)

    def test_it_satisfies_the_protocol(self) -> None:
        claim(isinstance(self.transformation, Transformation), "transformation is a Transformation")
        version = self.transformation.version
        claim(isinstance(version, str) and bool(version), "version is text, and says something")

    def test_no_two_parameters_share_a_name(self) -> None:
        names = [name for param in self.transformation.params for name in (param.name, *param.aliases)]
        for name in names:
            claim(re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_]{0,63}", name) is not None, f"{name!r} can be written in a URL")
        claim(len(names) == len(set(names)), f"names and aliases are all different: {', '.join(names)}")

    def test_every_parameter_says_what_it_admits(self) -> None:
        for param in self.transformation.params:
            claim(bool(param.kind.allowed.strip()), f"{param.name} has words for what is allowed")

    def test_every_default_is_a_value_its_parameter_could_read(self) -> None:
        for param in self.transformation.params:
            default = param.default
            if default is REQUIRED or default is None:
                continue
            claim(travels(default), f"the default of {param.name} can travel as JSON")
            if isinstance(default, (str, int, float)):
                spelled = str(default).lower() if isinstance(default, bool) else str(default)
                claim(_read(param, spelled) == default, f"{param.name}: a URL can spell the default, {spelled}")

    def test_odd_values_are_read_or_refused(self) -> None:
        for param in self.transformation.params:
            for value in _ODD:
                try:
                    result = param.kind.read(value)
                except ValueError:
                    continue
                claim(travels(result), f"what {param.name} reads from {str(value)[:40]!r} can travel as JSON")

    def test_the_result_is_a_media_with_a_type(self) -> None:
        result = self._apply(self._sample())
        claim(isinstance(result, Media), "apply returns a Media")
        claim(re.fullmatch(r"[\w.+-]+/[\w.+-]+", result.mimetype) is not None, "its mimetype is type/subtype")
        claim(bool(result.filename), "it has a filename")
        data = content(result)
        claim(result.size in (None, len(data)), "its size, where known, is that of its bytes")

    def test_the_result_opens_more_than_once(self) -> None:
        result = self._apply(self._sample())
        with result.open() as first, result.open() as second:
            start = first.read(7)
            whole = second.read()
            claim(start + first.read() == whole, "two streams do not disturb each other and give the same bytes")
            second.seek(0)
            claim(second.read() == whole, "a stream can be read again from its start")

    def test_the_same_input_gives_the_same_bytes(self) -> None:
        claim(
            content(self._apply(self._sample())) == content(self._apply(self._sample())),
            "results are kept by input and options, so these decide every byte",
        )

    def test_options_that_travelled_as_json_give_the_same_bytes(self) -> None:
        bound = bind(self.transformation, **self.sample_options())
        travelled = MappingProxyType(json.loads(json.dumps(dict(bound))))
        claim(
            content(self._apply(self._sample(), travelled)) == content(self._apply(self._sample())),
            "options reach the worker process as JSON, where tuples become lists",
        )

    def test_the_source_is_not_changed(self, tmp_path: Path) -> None:
        sample = self._sample()
        path = tmp_path / "source"
        path.write_bytes(sample.data)
        content(self._apply(FileMedia(path, sample.mimetype, sample.filename)))
        claim(path.read_bytes() == sample.data, "the source file is as it was")
        claim([file.name for file in tmp_path.iterdir()] == ["source"], "nothing was put beside the source")

    def test_rubbish_ends_in_a_fault_of_the_tree_or_a_result(self) -> None:
        sample = self._sample()
        for case, data in rubbish(sample.data).items():
            try:
                content(self._apply(MemoryFile(data, sample.mimetype, sample.filename)))
            except SecureDeliveryError:
                continue
            except Exception as error:
                raise AssertionError(f"{case}: a fault of secure_delivery.gate.errors is wanted, not {error!r}") from error


def _read(param: Param, spelled: str) -> Any:
    try:
        return param.kind.read(spelled)
    except ValueError:
        return None
