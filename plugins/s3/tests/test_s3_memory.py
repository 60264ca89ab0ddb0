"""Memory of a long upload, measured in a process of its own."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import pytest
from s3_bench import KEY_ID, SECRET
from s3_server import S3Server

SIZE, PIECE = 300, 1 << 20
ALLOWED = 64 << 20

#: Writes `SIZE` pieces, each filled with its number, after a first small file that loads all code; says its peaks.
_SCRIPT = """
import json, socket, sys
from secure_delivery_s3.options import S3Options
from secure_delivery_s3.storage import S3Storage
import secure_delivery_s3.draft as draft_module

endpoint, key_id, secret, count, piece, first = sys.argv[1:]
if first != "small":
    draft_module._SMALL_PARTS = 0  # as in the last thousands of parts
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
options = S3Options(buckets=("bucket",), endpoint=endpoint, path_style=True, access_key_id=key_id, secret_access_key=secret)
storage = S3Storage(options, lambda host, port, seconds: socket.create_connection((host, port), seconds))
storage.place("bucket/small", mimetype="text/plain").publish()
idle = peak()
draft = storage.place("bucket/large", mimetype="text/plain")
for number in range(int(count)):
    draft.write(number.to_bytes(2, "big") * (int(piece) // 2))
draft.publish()
print(json.dumps([idle, peak()]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peaks are read from /proc")
@pytest.mark.parametrize(("parts", "part"), [("small", 8), ("large", 16)])
def test_300_megabytes_are_streamed_in_less_than_64_megabytes(parts: str, part: int) -> None:
    with S3Server({KEY_ID: SECRET}, {"bucket": "us-east-1"}, keep=False) as server:
        command = [sys.executable, "-c", _SCRIPT, server.endpoint, KEY_ID, SECRET, str(SIZE), str(PIECE), parts]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        idle, peak = json.loads(done.stdout)
        assert peak - idle <= ALLOWED, f"{(peak - idle) >> 20} MiB"
        sums, whole = b"", bytearray()
        for number in range(SIZE):
            whole += number.to_bytes(2, "big") * (PIECE // 2)
            if len(whole) == part << 20 or number == SIZE - 1:
                sums, whole = sums + hashlib.md5(whole).digest(), bytearray()
        blob = server.objects["bucket", "large"]
        assert blob.size == SIZE * PIECE
        assert blob.etag == f'"{hashlib.md5(sums).hexdigest()}-{-(-SIZE // part)}"'
