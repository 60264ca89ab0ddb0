"""What docs/client.md promises, beyond that its examples run: its endpoints work, and its tables are complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from live import picture

import secure_delivery.client
from secure_delivery.client import ClientError, StoreOptions

PAGE = Path(__file__).parent.parent.parent / "docs" / "client.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

#: Asks both endpoints of the page over ASGI and WSGI, and shows the server what they signed.
AFTER = """
import hashlib, hmac, json, time

outside = httpx.Client(transport=InProcess(app))

def judged(grant):
    path = f"/security=policy:{grant['policy']},signature:{grant['signature']}/resize=width:30/{file.handle}"
    return outside.get("http://files.test" + path).status_code

async def ask(handle):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(starlette_gallery)) as http:
        return await http.get("http://site.test/sign", params={"handle": handle, "tasks": ""})

assert judged(answer.json) == 200
assert gallery.test_client().get("/sign?handle=anotherHandle0000001").status_code == 403
assert judged(asyncio.run(ask(file.handle)).json()) == 200
assert asyncio.run(ask("anotherHandle0000001")).status_code == 403

body, moment = b'{"id": 1, "action": "fp.upload", "timestamp": 1, "text": {}}', str(int(time.time()))
signature = hmac.new(b"the secret of the webhook", moment.encode() + b"." + body, hashlib.sha256).hexdigest()
sent = site.test_client().post("/webhook", data=body, headers={"FS-Timestamp": moment, "FS-Signature": signature})
assert sent.json == {"seen": "fp.upload"}
print("all held")
"""


def test_the_examples_run_and_the_server_takes_what_their_endpoints_sign(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(picture(640, 480))
    *blocks, closing = BLOCK.findall(PAGE.read_text("utf-8"))
    script = tmp_path / "page.py"
    script.write_text("\n".join([*blocks, AFTER, closing]), "utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SECURE_DELIVERY_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", script.name],
        cwd=tmp_path,
        env=kept,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("all held\n")


def test_every_error_and_every_store_option_is_on_the_page() -> None:
    text = PAGE.read_text("utf-8")
    errors = {
        name
        for name, thing in vars(secure_delivery.client).items()
        if isinstance(thing, type) and issubclass(thing, ClientError)
    }
    for name in errors | set(StoreOptions.__annotations__):
        assert f"`{name}`" in text, name


@pytest.mark.parametrize("name", ["signed-urls.js"])
def test_the_script_is_where_the_page_says(name: str) -> None:
    assert f"/static/{name}" in PAGE.read_text("utf-8")
