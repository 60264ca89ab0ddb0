"""A plugin says which library it lacks, and imports none to find out."""

from __future__ import annotations

import sys

import pytest

from secure_delivery.plugin import ConfigurationError, check_installed


def test_what_is_there_is_no_reason_and_is_not_imported() -> None:
    before = set(sys.modules)
    check_installed({"json": "json", "xml.sax.expatreader": "expat", "this": "this"})
    assert "this" not in set(sys.modules) - before


@pytest.mark.parametrize("module", ["no_such_module", "no_such_package.inner", "json.no_such_module"])
def test_the_first_that_is_missing_is_named_as_it_is_installed(module: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^its-name is not installed$"):
        check_installed({"json": "json", module: "its-name"})


def test_a_library_that_is_blocked_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "json", None)
    with pytest.raises(ConfigurationError, match="JSON"):
        check_installed({"json": "JSON"})
