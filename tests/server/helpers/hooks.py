"""Webhooks for tests: an engine room with a clock that tests turn, and what a receiver got, read and verified."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from outside import Outside

from secure_delivery.client import Event as Heard
from secure_delivery.client import receive_webhook
from secure_delivery.engine.database import Database
from secure_delivery.engine.records import Records
from secure_delivery.engine.vault import Vault
from secure_delivery.engine.webhooks import Schedule, Sender, Webhooks

NOW = 1_700_000_000.0
BODY = b'{"id": 1, "action": "fp.delete", "timestamp": 1, "text": {}}'
#: One key for every process of a test.
KEYS = f"tests:{base64.b64encode(hashlib.sha256(b'a key of the tests').digest()).decode()}"
#: The published example of an official client.
PUBLISHED = (
    "Y5cWb1rdRDSTSqEjF5pv",
    1559199901,
    b'{"id": 6844, "action": "fp.upload", "timestamp": 1559199901, "text": {"url": '
    b'"http://cdn.filestackapi.dev/xK88QArxRiyVvFzo4p33", "client": "Computer", "data": {"filename": "01 (1).png", '
    b'"type": "image/png", "size": 881855}}}',
    "14495b54b246e1352bb69cd91c5c1bfe2221f2d0330414b3df8f5fb2903db730",
)


class Clock:
    """Seconds since the epoch, as long as nobody turns it."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def on(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Room:
    """Webhooks on a database, with one application that may have its endpoints on loopback."""

    database: Database
    clock: Any = field(default_factory=Clock)
    delays: tuple[float, ...] = (10, 60, 300)
    seconds: float = 10.0
    senders: int = 8
    rebuild: Callable[[str, str], bytes | None] | None = None
    sending: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.vault = Vault.from_text(KEYS)
        self.records = Records(self.database, self.vault, self.clock)
        self.webhooks = self.fresh()

    def fresh(self, **more: Any) -> Webhooks:
        """Webhooks as another process has them."""
        sender = Sender(**({"seconds": self.seconds, "allow": ("127.0.0.0/8",), "ports": range(1, 65536)} | self.sending))
        options = {"clock": self.clock, "senders": self.senders, "base": "https://files.example.org", "rebuild": self.rebuild}
        return Webhooks(
            self.database,
            self.vault,
            self.records,
            sender,
            schedule=Schedule(delays=self.delays, keep=7.0),
            chance=lambda: 0.5,
            **(options | more),
        )

    def application(self, name: str = "shop") -> str:
        return self.records.create_application(name)[0].api_key

    def tell(self, application: str, event: str = "fp.delete", body: bytes = BODY, **more: Any) -> list[str]:
        with self.database.write() as connection:
            return self.webhooks.record(connection, application=application, event=event, body=body, **more)


@dataclass(frozen=True)
class Post:
    """One request that a receiver got."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def event_id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str, *, now: Callable[[], float] = time.time) -> Heard:
        """Verified by both families of headers, each by itself."""
        standard = {name: value for name, value in self.headers.items() if name.startswith("webhook-")}
        ours = {name: value for name, value in self.headers.items() if name.startswith("fs-")}
        assert len(standard) == 3 and len(ours) == 2
        receive_webhook(self.body, ours, secret, now=now)
        return receive_webhook(self.body, standard, secret, now=now)

    @property
    def signatures(self) -> list[str]:
        """The Standard Webhooks signatures, in hex."""
        return [base64.b64decode(each.removeprefix("v1,")).hex() for each in self.headers["webhook-signature"].split(" ")]


def posts(web: Outside) -> list[Post]:
    """What a receiver got so far."""
    found = []
    for head, body in zip(list(web.seen), list(web.bodies), strict=False):
        line, *fields = head.decode("latin-1").split("\r\n")
        named = (each.partition(":") for each in fields)
        found.append(Post(line, {name.lower(): value.strip() for name, _, value in named}, body))
    return found
