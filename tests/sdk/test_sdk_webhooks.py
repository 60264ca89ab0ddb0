"""The helpers of both official clients, unmodified, verify what really arrives at a receiver; and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hooks import Post, Room, posts
from outside import Outside, ok

from secure_delivery.engine.database import Database
from secure_delivery.plugin.protocols import Event

PYTHON = """
import json, sys
from filestack.helpers import verify_webhook_signature
print(json.dumps([
    verify_webhook_signature(each["secret"], each["body"].encode(), each["headers"])[0] for each in json.load(sys.stdin)
]))
"""
NODE = """
const { validateWebhookSignature } = require("filestack-js");
const cases = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(cases.map(({ secret, body, headers }) =>
  validateWebhookSignature(secret, body, { signature: headers["fs-signature"], timestamp: headers["fs-timestamp"] }))));
process.exit(0);
"""


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Post], str, str]]:
    """What arrived of an event of a file, of a preview, and of both during a rotation; the secret then, and the one before."""
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('hooks') / 'service.db'}")
    database.migrate()
    room = Room(database, clock=time.time)
    with Outside({"/hook": ok()}) as web:
        mine = room.application()
        endpoint, old = room.webhooks.endpoints.add(mine, web.url("/hook"))
        new = room.webhooks.endpoints.rotate(mine, endpoint.id, grace=600)[1]
        data = {"handle": "HANDLE", "filename": "ümläut ✓.png", "type": "image/png", "size": 5, "container": "c", "key": "k"}
        room.webhooks.on_event(Event(name="fp.upload", application=mine, data=data))
        preview = {"id": "j", "status": "success", "text": "naïve"}
        room.tell(mine, "fp.preview", json.dumps(preview, ensure_ascii=False).encode())
        for each in room.webhooks.log.page(mine):
            assert room.webhooks.deliver(each.id)
    yield posts(web), new, old
    database.close()


def cases(delivered: tuple[list[Post], str, str]) -> tuple[list[dict[str, Any]], list[bool]]:
    got, new, old = delivered
    asked: list[dict[str, Any]] = []
    right: list[bool] = []
    for post in got:
        true = {"secret": new, "body": post.body.decode(), "headers": post.headers}
        asked += [true, true | {"body": true["body"] + " "}, true | {"secret": old}]
        asked += [true | {"headers": post.headers | {"fs-timestamp": "1"}}]
        right += [True, False, False, False]
    return asked, right


def answers(command: list[str], asked: Any, environment: dict[str, str]) -> Any:
    done = subprocess.run(
        command, input=json.dumps(asked), capture_output=True, text=True, timeout=120, check=False, env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_helper_of_the_python_client_verifies_what_arrives(delivered: Any, python_sdk: Path) -> None:
    asked, right = cases(delivered)
    assert len(right) == 8
    assert answers([sys.executable, "-W", "ignore", "-c", PYTHON], asked, {"PYTHONPATH": str(python_sdk)}) == right


def test_the_helper_of_the_javascript_client_verifies_what_arrives(delivered: Any, node_sdk: Path) -> None:
    asked, right = cases(delivered)
    assert answers(["node", "-e", NODE], asked, {"NODE_PATH": str(node_sdk)}) == right


def test_the_library_of_standard_webhooks_verifies_what_arrives_with_either_secret(delivered: Any) -> None:
    from standardwebhooks.webhooks import Webhook

    got, new, old = delivered
    for post in got:
        for secret in (new, old, f"whsec_{new}"):
            assert Webhook(secret).verify(post.body, post.headers) == json.loads(post.body)
