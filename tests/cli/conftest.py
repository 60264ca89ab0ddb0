"""Commands run in this process write as wide as these tests read, whoever imported them first, and with which terminal."""

from __future__ import annotations

import pytest

from secure_delivery.cli import output


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output.out, "_width", 250)
    monkeypatch.setattr(output.out, "_height", 50)
