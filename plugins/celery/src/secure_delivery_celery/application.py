"""The Celery application: every setting that decides what is lost when something is killed.

Knows: Celery's settings. Must not know: workers, the job table.

The defaults of Celery acknowledge a message before its task runs and take four times as many as there are hands: what is
killed then is lost or stuck for an hour (measured for this project with kill -9). Each setting below says what it is for.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from celery import Celery  # type: ignore[import-untyped]
from kombu.entity import Exchange, Queue
from kombu.pools import ProducerPool

from .settings import Options

_CONNECTIONS = 10  # that one process announces on at the same time
_HEARTBEAT = 30  # seconds; RabbitMQ's own default is 60


class _Application(Celery):  # type: ignore[misc]
    """Connects to the broker of the settings, whatever stands in CELERY_BROKER_URL for other programs of the machine."""

    place: Options

    def connection_for_read(self, url: str | None = None, **more: Any) -> Any:
        return super().connection_for_read(url or self.place.broker, **more)

    def connection_for_write(self, url: str | None = None, **more: Any) -> Any:
        options = {**self.conf.broker_transport_options, **_writing(self.place), **(more.pop("transport_options", None) or {})}
        return super().connection_for_write(url or self.place.broker, transport_options=options, **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """An application with connections of its own: those that Celery keeps for everybody cannot be closed by anybody."""

    process: int
    application: Celery
    connections: Any
    producers: Any

    @classmethod
    def opened(cls, options: Options) -> Desk:
        """Nothing is connected before the first use."""
        made = application(options)
        connections = made.connection_for_write().Pool(_CONNECTIONS)
        return cls(
            process=os.getpid(),
            application=made,
            connections=connections,
            producers=ProducerPool(connections, limit=_CONNECTIONS),  # type: ignore[no-untyped-call]
        )


def application(options: Options) -> Celery:
    """A Celery application with these settings, and no other: no module `celeryconfig` is looked for."""
    made = _Application("secure-delivery", set_as_current=False, autofinalize=True, fixups=[])
    made.place = options
    # The broker's own exchange: a queue is addressed by its name.
    exchange = Exchange("", type="direct")  # type: ignore[no-untyped-call]
    arguments = {"x-queue-type": "quorum"} if options.quorum else None
    made.conf.update(
        broker_url=options.broker,
        broker_use_ssl=_tls(options),
        broker_connection_timeout=options.patience,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # a worker waits for its broker for as long as it takes
        broker_heartbeat=_HEARTBEAT,
        broker_transport_options=_transport(options),
        # Only ids travel: nothing to unpickle, nothing to keep.
        accept_content=["json"],
        task_serializer="json",
        result_backend=None,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_queues=[
            Queue(name, exchange=exchange, routing_key=name, queue_arguments=arguments)  # type: ignore[no-untyped-call]
            for name in options.queues.values()
        ],
        task_default_queue=options.queues["light"],
        task_default_exchange="",
        task_default_routing_key=options.queues["light"],
        task_create_missing_queues=False,
        task_default_delivery_mode="persistent",
        # Acknowledged when it is over, and given back when its process is lost: nothing is lost with a worker.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_acks_on_failure_or_timeout=True,  # the table knows of failures; the message has done its part
        # A worker holds what it works on and nothing more, so that others can have the rest.
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,  # a job does not end because the broker did
        # With threads, the count is raised again by the thread that has ended a task: it waits for RabbitMQ's answer, which
        # the loop has read meanwhile, and the worker acknowledges nothing any more (seen with 5.7.0).
        worker_enable_prefetch_count_reduction=False,
        worker_soft_shutdown_timeout=0.0,  # threads are waited for; see `serving`
        # Nobody commands workers through the broker, and nobody listens to them.
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        task_send_sent_event=False,
        # Logging is the server's.
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return made


def _transport(options: Options) -> dict[str, Any]:
    common: dict[str, Any] = {}
    if options.scheme in ("redis", "rediss"):
        common = {
            "visibility_timeout": options.visibility,
            "unacked_restore_interval": 5,  # what a killed worker held comes back within seconds of its time, not minutes
            "unacked_restore_throttle": 1,
            "priority_steps": [0],  # one list for each queue: the table decides what goes first
            "queue_order_strategy": "round_robin",
            "socket_connect_timeout": options.patience,
            "socket_timeout": max(5.0, options.patience),  # more than the second for which workers wait for a message
            "socket_keepalive": True,
        }
    elif options.scheme == "sqs":
        common = {"visibility_timeout": options.visibility, "wait_time_seconds": 10}
    return {**common, **options.extra}


def _writing(options: Options) -> dict[str, Any]:
    """What holds for connections on which ids are sent, and would break those on which they are waited for."""
    if not options.scheme.startswith("amqp"):
        return {}
    # The broker says that it has the message, and if it does not say so in time the announcement has failed.
    return {"confirm_publish": True, "read_timeout": options.patience, "write_timeout": options.patience}


def _tls(options: Options) -> dict[str, Any] | None:
    """TLS means that the certificate is looked at, which both libraries leave to whoever uses them."""
    if options.scheme == "rediss":
        given: dict[str, Any] = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}
        return given | ({"ssl_ca_certs": options.ca} if options.ca else {})
    if options.scheme == "amqps":
        host = urlsplit(options.broker).hostname
        given = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": host}
        return given | ({"ca_certs": options.ca} if options.ca else {})
    return None
