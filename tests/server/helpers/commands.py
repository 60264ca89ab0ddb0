"""Commands run in the process of their test, as people run them, on a data folder of the test's own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from secure_delivery import cli
from secure_delivery.engine.settings import PREFIX


class Said(NamedTuple):
    """What one command printed, and its exit status."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Said]


def commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> Run:
    """Runs commands; settings are those of the folder and of what the test puts into the environment."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(PREFIX + "DATA", str(folder / "data"))
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.chdir(folder)

    def command(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["secure-delivery", *words])
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Said(status, said.out, said.err)

    return command
