"""Master keys are rotated while jobs wait: the requests of jobs come along, and the old key can be thrown away."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from secure_delivery import cli
from secure_delivery.engine import build, open_vault
from secure_delivery.engine.settings import PREFIX, Settings
from secure_delivery.engine.vault import add_key, drop_keys, new_master_key

REQUEST = {"url": "https://user:password@example.com/a.png"}


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any, str]:
    monkeypatch.setattr(sys, "argv", ["secure-delivery", *words])
    status = 0
    try:
        cli.main()
    except SystemExit as end:
        status = int(end.code or 0)
    said = capsys.readouterr()
    return status, json.loads(said.out) if said.out.startswith("{") else said.out, said.err


def test_queued_jobs_are_worked_on_after_the_key_they_were_sealed_under_is_gone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(f"{PREFIX}DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    settings = Settings.read({"data": str(tmp_path / "data")})
    engine = build(settings)
    application, _ = engine.records.create_application("a")
    waiting = [engine.jobs.jobs.submit(application.api_key, "preview", REQUEST)[0] for _ in range(3)]
    assert run(monkeypatch, capsys, "vault", "status", "--json")[1]["jobs"] == 3

    # A key that somebody added by hand: nothing may be thrown away before jobs were brought under it.
    add_key(settings.key_file, new_master_key("second"))
    status, _, complaint = run(monkeypatch, capsys, "vault", "prune")
    assert status == 2
    assert "rewrap" in complaint

    assert run(monkeypatch, capsys, "vault", "rotate", "--json")[1]["rewrapped"] == 4, "the secret and three jobs"
    current = open_vault(settings).current
    assert engine.jobs.jobs.sealed.keys() == {current}
    assert run(monkeypatch, capsys, "vault", "prune", "--json")[0] == 0
    assert drop_keys(settings.key_file, keep=current) == [], "it is the only one left"
    engine.close()

    engine = build(settings)
    assert [engine.jobs.jobs.request(engine.jobs.jobs.get(job.id)) for job in waiting] == [REQUEST] * 3
    claimed = engine.jobs.leases.claim("w", 1, ("preview",))
    assert engine.jobs.jobs.request(claimed[0]) == REQUEST
    engine.close()
