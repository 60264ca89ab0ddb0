"""Buckets of customers for the tests: the server of plugins/s3 that speaks S3, and what it takes to set a storage up there."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "plugins" / "s3" / "tests"))

from s3_server import Blob, S3Server

__all__ = ["KEY_ID", "READING", "SECRET", "Blob", "S3Server", "bucket_server", "bucket_settings", "options", "spellings"]

KEY_ID = "AKIAMARKERMARKERMARK"
SECRET = "marker/secret+marker/secret+marker/secret="
#: What a bucket that may only be written to forbids.
READING = frozenset({"GetObject", "HeadObject", "DeleteObject", "GetBucket", "HeadBucket", "ListParts"})


@contextmanager
def bucket_server(**options: object) -> Iterator[S3Server]:
    """A provider with two buckets in one region and one elsewhere."""
    with S3Server({KEY_ID: SECRET}, {"bucket": "us-east-1", "other": "us-east-1", "far": "eu-west-3"}, **options) as server:  # type: ignore[arg-type]
        yield server


def bucket_settings(server: S3Server) -> dict[str, str]:
    """Settings of a delivery server that may connect to this provider, which is on this machine."""
    return {"storage_allow": "127.0.0.1", "storage_ports": str(server.port)}


def options(server: S3Server, **more: str) -> dict[str, str]:
    """Options of a storage in the first bucket; an empty text leaves one out."""
    given = {
        "bucket": "bucket",
        "endpoint": server.endpoint,
        "insecure": "true",
        "access_key_id": KEY_ID,
        "secret_access_key": SECRET,
    } | more
    return {name: value for name, value in given.items() if value != ""}


def spellings(secret: str) -> list[bytes]:
    """A secret as it may be found in a dump: plain, in hex, and in Base64 wherever in a longer text it began."""
    plain = secret.encode()
    found = [plain, plain.hex().encode(), plain.hex().upper().encode()]
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(b"\0" * shift + plain)
            found.append(text[4:-4])  # what stands beside it changes the first and the last characters
    return found
