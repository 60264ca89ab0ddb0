"""What is killed loses nothing where Celery tells of jobs, by Redis and by RabbitMQ: both are killed too, and come back empty.

Each has a server of its own: a `redis-server` without a disk, a RabbitMQ node whose folder goes when it is killed.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kill_brokers import PrivateRabbitMQ, PrivateRedis
from kill_matrix import House, own_database
from kill_processes import COMMAND
from kill_suite import KillMatrix, WithBroker, WithCommand
from sqlalchemy.engine import URL


class _OnCelery(KillMatrix, WithBroker, WithCommand):
    broker: type[PrivateRedis] | type[PrivateRabbitMQ]

    @pytest.fixture(scope="class")
    @classmethod
    def house(cls, tmp_path_factory: pytest.TempPathFactory, lasting_postgres_url: URL) -> Iterator[House]:
        broker = cls.broker(tmp_path_factory.mktemp("broker"))
        broker.start()
        with own_database(lasting_postgres_url) as database:
            house = House(tmp_path_factory.mktemp("celery"), COMMAND, database, broker)
            yield house
            house.close()


@pytest.mark.postgres
class TestCeleryWithRedis(_OnCelery):
    broker = PrivateRedis


@pytest.mark.postgres
class TestCeleryWithRabbitMQ(_OnCelery):
    broker = PrivateRabbitMQ
