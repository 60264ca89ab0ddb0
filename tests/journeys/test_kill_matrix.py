"""What is killed loses nothing: the worker that is part of the server, and `secure-delivery worker` processes on PostgreSQL.

The cases are in `kill_suite`; those with a broker are in `test_kill_matrix_celery`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kill_matrix import House, own_database
from kill_processes import COMMAND, EMBEDDED
from kill_suite import KillMatrix, WithCommand
from sqlalchemy.engine import URL


class TestEmbeddedOnSQLite(KillMatrix):
    @pytest.fixture(scope="class")
    @classmethod
    def house(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
        house = House(tmp_path_factory.mktemp("embedded"), EMBEDDED)
        yield house
        house.close()


@pytest.mark.postgres
class TestWorkersOnPostgreSQL(KillMatrix, WithCommand):
    @pytest.fixture(scope="class")
    @classmethod
    def house(cls, tmp_path_factory: pytest.TempPathFactory, lasting_postgres_url: URL) -> Iterator[House]:
        with own_database(lasting_postgres_url) as database:
            house = House(tmp_path_factory.mktemp("workers"), COMMAND, database)
            yield house
            house.close()
