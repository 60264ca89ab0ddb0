"""A server that speaks S3 for each test, and the way to the helpers beside it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Tests are imported by path, so their folder is not where helpers are looked for.
sys.path.insert(0, str(Path(__file__).parent))

from s3_bench import KEY_ID, SECRET, Bench, Dialler
from s3_server import S3Server


@pytest.fixture
def bench() -> Iterator[Bench]:
    with S3Server({KEY_ID: SECRET}, {"bucket": "us-east-1", "other": "us-east-1", "far": "eu-west-3"}) as server:
        bench = Bench(server, Dialler(server.port))
        yield bench
        bench.close()
