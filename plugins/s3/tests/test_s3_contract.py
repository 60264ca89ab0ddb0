"""The contract of storages, on two servers that know nothing of each other."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from s3_bench import KEY_ID, SECRET, Bench, get, put

from secure_delivery.plugin import BadRequest, NotFound, Storage
from secure_delivery.plugin.protocols import Advising, Multipart, Placing, Presigned
from secure_delivery.plugin.testing import StorageContract
from secure_delivery_s3.options import S3Options
from secure_delivery_s3.storage import S3Storage, ServerStorage

#: Prints where it listens, and ends with its standard input.
_MOTO = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0)
server.start()
print("port", server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


class Placed:
    """A `Placing` storage as the contract uses one: with a bucket before each key."""

    def __init__(self, storage: S3Storage) -> None:
        self._storage = storage

    def create(self, key: str, *, mimetype: str) -> Any:
        return self._storage.place(f"bucket/{key}", mimetype=mimetype)

    def open(self, key: str, **window: Any) -> Any:
        return self._storage.open(f"bucket/{key}", **window)

    def remove(self, key: str) -> None:
        self._storage.remove(f"bucket/{key}")


class TestServerStorage(StorageContract):
    @pytest.fixture(autouse=True)
    def _bench(self, bench: Bench) -> None:
        self.bench = bench

    def make_storage(self, tmp_path: Path) -> Storage:
        made = ServerStorage(self.bench.options(), self.bench.dial, self.bench.patience(), prefix="files")
        self.bench.made.append(made)
        return made

    def test_it_can_hand_out_urls_and_take_parts_but_not_place(self, tmp_path: Path) -> None:
        storage = self.make_storage(tmp_path)
        assert isinstance(storage, Presigned) and isinstance(storage, Multipart) and isinstance(storage, Advising)
        assert not isinstance(storage, Placing)

    def test_its_keys_are_below_its_prefix(self, tmp_path: Path) -> None:
        put(self.make_storage(tmp_path).create("abcdef0123", mimetype="text/plain"), b"here")
        assert list(self.bench.server.objects) == [("bucket", "files/abcdef0123")]


class TestPlacedStorage(StorageContract):
    @pytest.fixture(autouse=True)
    def _bench(self, bench: Bench) -> None:
        self.bench = bench

    def make_storage(self, tmp_path: Path) -> Storage:
        return Placed(self.bench.storage())


@pytest.fixture(scope="module")
def moto() -> Iterator[int]:
    if importlib.util.find_spec("moto") is None or importlib.util.find_spec("flask_cors") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("moto[server] is not installed")
        pytest.skip("moto[server] is not installed: the contract runs on our own test server only")
    command = [sys.executable, "-c", _MOTO]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        yield next(int(line.split()[1]) for line in process.stdout if line.startswith("port "))
        process.stdin.close()


class TestServerStorageOnMoto(StorageContract):
    @pytest.fixture(autouse=True)
    def _moto(self, moto: int) -> Iterator[None]:
        self.port = moto
        self._control("PUT", "/bucket")
        self.made: list[Any] = []
        yield
        for made in self.made:
            made.close()
        self._control("POST", "/moto-api/reset")

    def _control(self, method: str, path: str) -> None:
        with urlopen(Request(f"http://127.0.0.1:{self.port}{path}", method=method)) as answer:
            assert answer.status == 200

    def _options(self) -> S3Options:
        return S3Options(
            buckets=("bucket",),
            endpoint=f"http://127.0.0.1:{self.port}",
            path_style=True,
            access_key_id=KEY_ID,
            secret_access_key=SECRET,
        )

    def _connect(self, host: str, port: int, seconds: float) -> socket.socket:
        return socket.create_connection((host, port), seconds)

    def make_storage(self, tmp_path: Path) -> Storage:
        self.made.append(ServerStorage(self._options(), self._connect))
        return self.made[-1]  # type: ignore[no-any-return]

    def test_a_large_file_goes_in_parts(self, tmp_path: Path) -> None:
        data = bytes(range(256)) * (1 << 16) + b"the rest"
        storage = self.make_storage(tmp_path)
        put(storage.create("0123456789", mimetype="text/plain"), data)
        assert get(storage, "0123456789") == data
        with urlopen(f"http://127.0.0.1:{self.port}/bucket/0123456789") as answer:
            assert answer.headers["ETag"].endswith('-3"')
            assert answer.headers["Content-Type"] == "text/plain"

    def test_parts_of_others_become_a_file_or_are_refused(self, tmp_path: Path) -> None:
        self.made.append(storage := S3Storage(self._options(), self._connect))
        key = "bucket/Bücher & Bilder/été.bin"
        upload = storage.begin_parts(key, mimetype="text/plain")
        etags = []
        for number, data in enumerate((b"1" * (5 << 20), b"end"), 1):
            url, headers = storage.part_url(key, upload, number, size=len(data), md5=None, seconds=60)
            with urlopen(Request(url, data, {**headers, "Content-Type": "application/octet-stream"}, method="PUT")) as answer:
                etags.append((number, answer.headers["ETag"]))
        with pytest.raises(BadRequest):
            storage.finish_parts(key, upload, [(1, '"0123"')])
        storage.finish_parts(key, upload, etags)
        assert get(storage, key) == b"1" * (5 << 20) + b"end"
        storage.abort_parts(key, upload)

    @pytest.mark.parametrize("size", [0, 9 << 20])
    def test_a_result_handed_over_opens_at_its_address_with_its_headers(self, size: int) -> None:
        self.made.append(storage := S3Storage(self._options(), self._connect))
        key = "bucket/results/400x300> été+1?#%41.png"
        headers = {
            "Cache-Control": "public, max-age=60",
            "Content-Disposition": 'attachment; filename="a b.png"',
            "Content-Language": "fr",
            "Expires": "Wed, 21 Oct 2065 07:28:00 GMT",
        }
        put(storage.hand_over(key, mimetype="image/png", access="public", headers=headers), bytes(size))
        with urlopen(storage.address(key)) as answer:
            assert len(answer.read()) == size
            said = {name: answer.headers[name] for name in headers}
            assert said == headers and answer.headers["Content-Type"] == "image/png"

    def test_an_upload_given_up_leaves_nothing(self, tmp_path: Path) -> None:
        storage = self.make_storage(tmp_path)
        draft = storage.create("0123456789", mimetype="text/plain")
        draft.write(bytes(9 << 20))
        draft.discard()
        with pytest.raises(NotFound):
            storage.open("0123456789")
        with urlopen(f"http://127.0.0.1:{self.port}/bucket?uploads") as answer:
            assert b"<UploadId>" not in answer.read()


def test_advice_is_json_with_what_was_asked_for(bench: Bench) -> None:
    storage = bench.storage(buckets="other")
    policy = json.loads(storage.advice()["policy"])["Statement"]
    assert policy[0]["Resource"] == ["arn:aws:s3:::bucket/*", "arn:aws:s3:::other/*"]
    assert sorted(policy[0]["Action"]) == ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    (rule,) = json.loads(storage.advice(["https://a.example", "https://b.example"])["cors"])
    assert rule["AllowedOrigins"] == ["https://a.example", "https://b.example"]
    assert rule["AllowedMethods"] == ["GET", "HEAD", "PUT"]
    assert "Content-MD5" in rule["AllowedHeaders"] and "ETag" in rule["ExposeHeaders"]


def test_advice_for_a_write_only_bucket_reads_nothing(bench: Bench) -> None:
    storage = bench.storage(write_only="true", access="public", sse="aws:kms", kms_key="0f1e", region="cn-north-1")
    objects, key = json.loads(storage.advice()["policy"])["Statement"]
    assert objects["Action"] == ["s3:PutObject", "s3:AbortMultipartUpload", "s3:PutObjectAcl"]
    assert objects["Resource"] == ["arn:aws-cn:s3:::bucket/*"]
    assert key["Resource"] == ["arn:aws-cn:kms:cn-north-1:*:key/0f1e"]
    assert json.loads(storage.advice()["cors"])[0]["AllowedMethods"] == ["PUT"]
