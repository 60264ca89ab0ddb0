"""The conformance suite of extractors.

Knows: the contract, JSON, JSON Schema. Must not know: the engine, any format.

    class TestMine(ExtractorContract):
        extractor = Mine()

        def sample_media(self):
            return MemoryFile(SAMPLE, "application/x-mine", "sample.mine")
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..gate.errors import SecureDeliveryError
from .media import MemoryFile
from .previewing import Extractor, Page, PageReading
from .protocols import Media, Workshop
from .testing_helpers import FileMedia, SimpleWorkshop, claim, content, rubbish, travels
from .testing_previews import NAME, claim_declared, claim_probes, extracted, is_for, work_on

_MOST_BYTES = 1 << 20  # of a section, as JSON
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_PROFILES = ("none", "copyright", "no_location", "all")  # each shows at least what the one before it does


class ExtractorContract:
    """What every extractor holds. Subclass it as `Test...`; override `extractor`, `sample_media` and, where the defaults have
    too little, `sample_shop`, `sample_options`, and for one that reads pages (`PageReading`) `sample_page`.

    It needs the library jsonschema.
    """

    extractor: Extractor

    def sample_media(self) -> Media:
        """A valid file, small, with something of everything that the section can say."""
        raise NotImplementedError

    def sample_shop(self, metadata: str) -> Workshop:
        """What the extractor may use, under a privacy profile."""
        return SimpleWorkshop(metadata=metadata)

    def sample_options(self) -> Mapping[str, Any]:
        """Options as a request would name them."""
        return {}

    def sample_page(self) -> Page:
        """For one that reads pictures of pages: a page with something on it."""
        raise NotImplementedError

    def _sample(self) -> MemoryFile:
        media = self.sample_media()
        return MemoryFile(content(media), media.mimetype, media.filename)

    def _section(self, media: Media | None = None, metadata: str = "none", **more: Any) -> Any:
        more = {"options": self.sample_options(), **more}
        return extracted(self.extractor, media or self._sample(), shop=self.sample_shop(metadata), **more)

    def test_it_satisfies_the_protocol(self) -> None:
        claim(isinstance(self.extractor, Extractor), "extractor is an Extractor")
        claim(NAME.fullmatch(self.extractor.section) is not None, "section is a word in lower case")
        claim(self.extractor.call in ("stat", "exif"), "call is stat or exif")
        claim_declared(self.extractor)

    def test_the_sample_is_of_a_type_it_is_for(self) -> None:
        claim(is_for(self.extractor, self.sample_media()), "a type or extension that it declares is that of the sample")

    def test_a_probe_judges_and_never_raises(self) -> None:
        claim_probes(self.extractor, self._sample())

    def test_the_schema_is_a_json_schema_that_stands_alone(self) -> None:
        from jsonschema import Draft202012Validator

        schema = self.extractor.schema
        claim(travels(_plain(schema)), "the schema is JSON")
        Draft202012Validator.check_schema(_plain(schema))
        claim(bool(schema), "it says something")
        for reference in _references(schema):
            claim(reference.startswith("#"), f"it refers to nothing outside itself: {reference}")

    def test_the_section_fits_the_schema_under_every_profile(self) -> None:
        for profile in _PROFILES:
            section = self._section(metadata=profile)
            reads_pages = isinstance(self.extractor, PageReading)  # and may say nothing of the file itself
            claim(section is not None or reads_pages, f"{profile}: the sample has something to say")
            self._fits(section, profile)

    def test_the_section_travels_as_json(self) -> None:
        for profile in _PROFILES:
            section = self._section(metadata=profile)
            claim(travels(section), f"{profile}: every value can be written as JSON")
            claim(
                json.loads(json.dumps(section)) == section, f"{profile}: and is read again as it was (no tuples, texts as keys)"
            )

    def test_the_section_is_bounded_and_printable(self) -> None:
        section = self._section(metadata="all")
        claim(len(json.dumps(section, ensure_ascii=False)) <= _MOST_BYTES, "a section takes a megabyte at most")
        for text in _texts(section):
            claim(_CONTROL.search(text) is None, f"{text[:40]!r} has no control characters but line break and tabulator")

    def test_the_same_file_gives_the_same_section(self) -> None:
        claim(self._section(metadata="all") == self._section(metadata="all"), "a job that runs twice says the same")

    def test_a_wider_privacy_profile_only_adds(self) -> None:
        sections = [self._section(metadata=profile) for profile in _PROFILES]
        for (narrow, wide), names in zip(pairwise(sections), pairwise(_PROFILES), strict=True):
            claim(_within(narrow, wide), f"what {names[0]} shows, {names[1]} shows too")

    def test_the_source_is_not_changed(self, tmp_path: Path) -> None:
        sample = self._sample()
        path = tmp_path / "source"
        path.write_bytes(sample.data)
        self._section(FileMedia(path, sample.mimetype, sample.filename), metadata="all")
        claim(path.read_bytes() == sample.data, "the source file is as it was")
        claim([file.name for file in tmp_path.iterdir()] == ["source"], "nothing was put beside the source")

    def test_rubbish_ends_in_a_fault_of_the_tree_or_a_section(self) -> None:
        sample = self._sample()
        for case, data in rubbish(sample.data).items():
            for profile in ("none", "all"):
                try:
                    section = self._section(MemoryFile(data, sample.mimetype, sample.filename), metadata=profile)
                except SecureDeliveryError:
                    continue
                except Exception as error:
                    raise AssertionError(f"{case}: a fault of secure_delivery.plugin is wanted, not {error!r}") from error
                claim(section is None or travels(section), f"{case}: what it says can be written as JSON")
                if section is not None:
                    self._fits(section, case)

    def test_odd_options_end_in_a_fault_of_the_tree_or_a_section(self) -> None:
        odd: tuple[Any, ...] = (None, -1, "", "x" * 5_000, [], {"a": [{}]})
        named = [{name: value} for name in self.sample_options() for value in odd]
        for options in ({}, {"no such option": "1"}, {"": None}, *named):
            try:
                claim(travels(self._section(options=options)), "what it says can be written as JSON")
            except SecureDeliveryError:
                continue
            except AssertionError:
                raise
            except Exception as error:
                raise AssertionError(
                    f"{str(options)[:60]}: a fault of secure_delivery.plugin is wanted, not {error!r}"
                ) from error

    def test_a_page_that_is_read_fits_the_schema(self) -> None:
        if not isinstance(self.extractor, PageReading):
            return
        said = self.extractor.read(self.sample_page(), work_on(self._sample(), shop=self.sample_shop("all")))
        claim(isinstance(said, Mapping) and "page" not in said, "read says what is on a page, without its number")
        self._fits([{"page": 1, **said}], "a page")

    def _fits(self, section: object, case: str) -> None:
        from jsonschema import Draft202012Validator

        faults = sorted(error.message for error in Draft202012Validator(_plain(self.extractor.schema)).iter_errors(section))
        claim(not faults, f"{case}: the section fits the schema; {'; '.join(faults)[:400]}")


def _plain(value: Any) -> Any:
    """The same with mappings as dicts and sequences as lists, however a plugin wrote its schema."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    return value


def _references(schema: Any) -> list[str]:
    if isinstance(schema, Mapping):
        own = [value for key, value in schema.items() if key in ("$ref", "$dynamicRef") and isinstance(value, str)]
        return own + [reference for value in schema.values() for reference in _references(value)]
    if isinstance(schema, Sequence) and not isinstance(schema, str | bytes):
        return [reference for value in schema for reference in _references(value)]
    return []


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for pair in value.items() for one in pair for text in _texts(one)]
    return [text for one in value for text in _texts(one)] if isinstance(value, list) else []


def _within(narrow: Any, wide: Any) -> bool:
    """Whether everything that one section says is in another, at its place."""
    if narrow is None:
        return True
    if isinstance(narrow, dict):
        return isinstance(wide, dict) and all(key in wide and _within(value, wide[key]) for key, value in narrow.items())
    if isinstance(narrow, list):
        return isinstance(wide, list) and all(any(_within(one, other) for other in wide) for one in narrow)
    return bool(narrow == wide)
