"""EXIF as JSON: what a camera wrote, and whatever a stranger made of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from secure_delivery.plugin import SecureDeliveryError, json_file
from secure_delivery.plugin.testing import MemoryFile, bind, content
from secure_delivery_images.exif_task import Exif, told_value
from secure_delivery_images.tasks import transformations

MAKER, COPYRIGHT, TIME, PLACE = 0x010F, 0x8298, 0x829A, 0x8825


def told(media: Any, chain: Callable[..., Any]) -> Any:
    return json.loads(content(chain(media, "exif")))


def test_it_needs_a_policy_that_names_the_call() -> None:
    assert Exif().demands(bind(Exif())) == ("exif",)
    assert "exif" in transformations()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_every_directory_is_told_by_name(form: str, saved: Any, chain: Any) -> None:
    exif = Image.Exif()
    exif[MAKER], exif[COPYRIGHT] = "Acme", "Jane Doe"
    exif.get_ifd(0x8769)[TIME] = 0.25
    exif.get_ifd(PLACE)[1] = "N"
    found = told(saved(Image.new("RGB", (20, 10)), form, exif=exif), chain)
    assert found.items() >= {"Make": "Acme", "Copyright": "Jane Doe", "ExposureTime": 0.25, "GPSLatitudeRef": "N"}.items()


def test_a_picture_without_any_has_none(saved: Any, chain: Any) -> None:
    assert told(saved(Image.new("RGB", (20, 10)), "JPEG"), chain) == {}


@given(st.binary(max_size=400))
def test_no_block_of_bytes_is_more_than_a_fault_or_json(block: bytes) -> None:
    from io import BytesIO

    out = BytesIO()
    Image.new("RGB", (4, 4)).save(out, "JPEG", exif=b"Exif\0\0" + block)
    task = Exif()
    from secure_delivery.plugin.testing import SimpleWorkshop

    try:
        made = task.apply(MemoryFile(out.getvalue(), "image/jpeg", "a.jpg"), bind(task), SimpleWorkshop())
    except SecureDeliveryError:
        return
    assert isinstance(json.loads(content(made)), dict)


@given(
    st.recursive(st.none() | st.floats() | st.integers() | st.text() | st.binary(), lambda inner: st.lists(inner).map(tuple))
)
def test_any_value_is_json_or_nothing(value: Any) -> None:
    assert json.loads(json_file(told_value(value), "x.json").data) == json.loads(json.dumps(told_value(value)))
