"""The conformance suite of scanners, with a real clamd."""

from __future__ import annotations

from pathlib import Path

import pytest
from clamd_servers import Clamd

from secure_delivery.plugin import Scanner
from secure_delivery.plugin.testing import ScannerContract
from secure_delivery_clamav import ClamavScanner
from secure_delivery_clamav.settings import Options


class TestClamavScanner(ScannerContract):
    @pytest.fixture(autouse=True)
    def _clamd(self, clamd: Clamd) -> None:
        self.clamd = clamd

    def make_scanner(self, tmp_path: Path) -> Scanner:
        return ClamavScanner(Options(address=self.clamd.path))
