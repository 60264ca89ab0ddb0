"""For tests of the engine: the helpers' folder, a table of jobs and accounts with a clock that tests turn."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from secure_delivery.engine.database import Database

sys.path.insert(0, str(Path(__file__).parent / "helpers"))

if TYPE_CHECKING:
    from job_stand import Stand
    from people_stand import PeopleStand


@pytest.fixture
def stand(database: Database) -> Iterator[Stand]:
    """Jobs and leases on both kinds of database."""
    from job_stand import Stand

    yield Stand(database)


@pytest.fixture
def people(database: Database) -> PeopleStand:
    """Accounts on both kinds of database."""
    from people_stand import PeopleStand

    return PeopleStand(database)
