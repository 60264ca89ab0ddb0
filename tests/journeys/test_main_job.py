"""The main job, end to end, as a newcomer meets it: start the demo, open the address it prints, see the other one refused."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from secure_delivery.engine.settings import PREFIX

START = 60  # seconds a first start may take on a slow, busy machine


class Demo:
    """`secure-delivery serve --demo` in a folder, and the lines it prints."""

    def __init__(self, folder: Path) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        env |= {"SECURE_DELIVERY_DATA": str(folder / "data"), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "secure_delivery", "serve", "--demo", "--port", "0"],
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            self.lines.extend(lines)

    def printed(self, label: str) -> str:
        """What stands behind a label, as soon as it is printed."""
        deadline = time.monotonic() + START
        while time.monotonic() < deadline and self.reader.is_alive():
            for line in list(self.lines):
                if line.startswith(label + ":"):
                    return line.partition(":")[2].strip()
            time.sleep(0.05)
        pytest.fail(f"{label!r} was not printed in:\n{''.join(self.lines)}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise
        finally:
            self.reader.join(5)


@pytest.fixture
def demos(tmp_path: Path) -> Iterator[list[Demo]]:
    started: list[Demo] = []
    yield started
    for demo in started:
        if demo.process.poll() is None:
            demo.stop()


def fetch(url: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    """GET, trying again while the server is coming up."""
    parts = urlsplit(url)
    deadline = time.monotonic() + START
    while True:
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
        try:
            connection.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path, headers=headers or {})
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        except ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        finally:
            connection.close()


def test_the_signed_address_is_a_picture_300_wide_and_the_unsigned_one_is_refused(tmp_path: Path, demos: list[Demo]) -> None:
    demos.append(demo := Demo(tmp_path))
    works, refused = demo.printed("this one works"), demo.printed("this one is refused")
    status, headers, body = fetch(works)
    assert (status, headers["content-type"]) == (200, "image/jpeg"), body
    with Image.open(io.BytesIO(body)) as picture:
        picture.load()
        assert picture.width == 300
    assert headers["cache-control"].startswith("private")

    status, headers, body = fetch(refused)
    assert (status, headers["content-type"]) == (403, "application/json")
    assert json.loads(body)["error"]["code"] == "policy_required"

    status, _, body = fetch(works.replace("width:300", "width:200"))
    assert status == 200, "the policy names calls and the file, not the size"
    with Image.open(io.BytesIO(body)) as picture:
        assert picture.width == 200
    handle = refused.rpartition("/")[2]
    other = works.replace(handle, "Z" * len(handle))
    assert fetch(other)[0] == 404
    bad = re.sub(r"(signature|s):[0-9a-f]{2}", r"\1:00", works)
    assert json.loads(fetch(bad)[2])["error"]["code"] == "signature_invalid"

    secret = demo.printed("secret (shown once)")
    assert len(secret) == 43
    assert demo.stop() == 0
    told = [line.partition(":")[0].strip() for line in demo.lines if secret in line]
    assert told == ["secret (shown once)", "preview it"], "shown by itself and in the line to copy; no log repeats it"

    # The second start shows the same picture and no secret.
    demos.append(again := Demo(tmp_path))
    again_works = again.printed("this one works")
    assert again_works.rpartition("/")[2] == handle
    assert fetch(again_works)[0] == 200
    assert "was shown when it was made" in again.printed("secret")
    assert secret not in "".join(again.lines)
