"""A test server with what it takes to use it: credentials, a dial that tells where it was asked to go, storages."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Any

from s3_server import S3Server

from secure_delivery_s3.options import S3Options, read_options
from secure_delivery_s3.patience import Patience
from secure_delivery_s3.provider import S3Provider
from secure_delivery_s3.storage import S3Storage

KEY_ID = "AKIAMARKERMARKERMARK"
SECRET = "marker/secret+marker/secret+marker/secret="
TOKEN = "marker-session-token-marker"


@dataclass
class Dialler:
    """A `Dial` that notes host and port, and connects to the test server wherever it is asked to go."""

    port: int
    asked: list[tuple[str, int]] = field(default_factory=list)
    trouble: OSError | None = None

    def __call__(self, host: str, port: int, seconds: float) -> socket.socket:
        self.asked.append((host, port))
        if self.trouble is not None:
            raise self.trouble
        return socket.create_connection(("127.0.0.1", self.port), seconds)


@dataclass
class Bench:
    """One server and what it takes to use it. `waited` are the pauses between tries, which nobody waits."""

    server: S3Server
    dial: Dialler
    waited: list[float] = field(default_factory=list)
    made: list[Any] = field(default_factory=list)

    def options(self, **options: str) -> S3Options:
        """Options, read from texts as an application's are."""
        given = {
            "bucket": "bucket",
            "endpoint": self.server.endpoint,
            "insecure": "true",
            "access_key_id": KEY_ID,
            "secret_access_key": SECRET,
            **options,
        }
        params = {param.name: param for param in S3Provider().params}
        read = {name: params[name].kind.read(value) for name, value in given.items()}
        return read_options({name: read.get(name, param.default) for name, param in params.items()})

    def patience(self, **seconds: float) -> Patience:
        return Patience(wait=self.waited.append, **seconds)

    def storage(self, *, read: float = 20.0, **options: str) -> S3Storage:
        made = S3Storage(self.options(**options), self.dial, self.patience(read=read))
        self.made.append(made)
        return made

    def close(self) -> None:
        for made in self.made:
            made.close()


def put(draft: Any, data: bytes, piece: int = 1 << 20) -> None:
    """Write a blob in pieces and publish it."""
    for start in range(0, len(data), piece):
        draft.write(data[start : start + piece])
    draft.publish()


def get(storage: Any, key: str, **window: Any) -> bytes:
    with storage.open(key, **window) as stream:
        return bytes(stream.read())
