"""The suite of queues holds on every broker that is tested."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from secure_delivery.plugin.testing import QueueContract


class _OnBroker(QueueContract):
    queue = "celery"
    shared = True
    table: Mapping[str, Any]

    def make_settings(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"celery": self.table}


class TestRedis(_OnBroker):
    @pytest.fixture(autouse=True)
    def here(self, redis_settings: dict[str, Any]) -> Iterator[None]:
        self.table = redis_settings
        yield


class TestRabbitMQ(_OnBroker):
    @pytest.fixture(autouse=True)
    def here(self, rabbitmq_settings: dict[str, Any]) -> Iterator[None]:
        self.table = rabbitmq_settings
        yield


class TestQuorumQueues(_OnBroker):
    """RabbitMQ's replicated queues refuse some of what others allow."""

    @pytest.fixture(autouse=True)
    def here(self, rabbitmq_settings: dict[str, Any]) -> Iterator[None]:
        self.table = rabbitmq_settings | {"quorum": True}
        yield
        with Connection(rabbitmq_settings["broker"]) as connection:  # what Celery made for delays
            channel = connection.channel()
            for number in range(28):
                channel.queue_delete(f"celery_delayed_{number}")
                channel.exchange_delete(f"celery_delayed_{number}")
            channel.exchange_delete("celery_delayed_delivery")
