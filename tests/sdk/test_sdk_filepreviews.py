"""The official FilePreviews clients, unmodified: every method and command of both, against a server of the test.

The Python client is told where the server is; the Node client, and both commands, have the host name as a constant and are led
here by a proxy and a certificate of the test. The tables of the documentation are held against what was run.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from previews_world import HOST, PreviewPlace, previews_standing
from sdk_world import HELPERS, PHOTO, Said, drive

ROOT = Path(__file__).parents[2]
KEYS = {"id", "url", "status", "preview", "thumbnails", "original_file", "user_data"}
LANGUAGES = ("python", "node")
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def there() -> Iterator[PreviewPlace]:
    with tempfile.TemporaryDirectory(prefix="previews") as folder, previews_standing(Path(folder)) as there:
        yield there


@pytest.fixture(scope="module")
def python(there: PreviewPlace, python_previews: Path) -> Said:
    """What came of every call of the Python client."""
    there.released.clear()
    command = [sys.executable, str(HELPERS / "drive_filepreviews.py")]
    said = drive(command, there.order(), there.environment({"PYTHONPATH": str(python_previews)}))
    there.released.set()
    return said


@pytest.fixture(scope="module")
def node(there: PreviewPlace, node_previews: Path) -> Said:
    """What came of every call of the Node client."""
    there.released.clear()
    command = ["node", str(HELPERS / "drive_filepreviews.cjs")]
    said = drive(command, there.order(), there.environment({"NODE_PATH": str(node_previews)}))
    there.released.set()
    return said


@pytest.fixture(params=LANGUAGES)
def said(request: pytest.FixtureRequest) -> Said:
    """Both clients, one after the other."""
    found: Said = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=LANGUAGES)
def command(request: pytest.FixtureRequest, there: PreviewPlace) -> Run:
    """The console command of each client; the host name is a constant in both."""
    folder: Path = request.getfixturevalue(f"{request.param}_previews")
    keys = there.order()
    if request.param == "python":
        start = [sys.executable, str(folder / "bin" / "filepreviews")]
        flags = ["--api_key", keys["key"], "--api_secret", keys["secret"]]
    else:
        start, flags = ["node", str(folder / ".bin" / "filepreviews")], ["-K", keys["key"], "-S", keys["secret"]]
    library = {"PYTHONPATH": str(folder)} if request.param == "python" else {"NODE_PATH": str(folder)}

    def run(*arguments: str, known: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*start, *(flags if known else []), *arguments],
            capture_output=True, text=True, timeout=60, env=there.environment(library), check=False,
        )  # fmt: skip

    run.language = request.param  # type: ignore[attr-defined]
    return run


def made(said: Said, case: str) -> dict[str, Any]:
    """The object that was answered at once."""
    value = said.value(case)["made"]
    return dict(value.get("dict", value))


def ended(said: Said, case: str) -> dict[str, Any]:
    """The object at the end of the job."""
    value = said.value(case)["ended"]
    return dict(value.get("dict", value))


def refusal(said: Said, case: str) -> dict[str, Any]:
    """The `error` object that came back."""
    error = said.error(case)
    answer = error.get("json_body") or error.get("answer")
    return dict(answer["error"])


def sizes(answer: dict[str, Any]) -> list[tuple[str, int, str, str]]:
    return [(one["requested_size"], one["page"], one["size"]["width"], one["size"]["height"]) for one in answer["thumbnails"]]


# ------------------------------------------------------------------------------------------------------------- generate


def test_generate_is_answered_at_once_and_retrieve_tells_the_end(said: Said, there: PreviewPlace) -> None:
    first, last = made(said, "generate"), ended(said, "generate")
    assert set(first) == KEYS
    assert (first["status"], first["preview"], first["thumbnails"], first["original_file"]) == ("pending", None, None, None)
    assert first["url"] == f"https://{HOST}/v2/previews/{first['id']}/"
    assert (last["id"], last["status"]) == (first["id"], "success")
    assert sizes(last) == [("original", 1, "400", "200")]
    original = last["original_file"]
    assert (original["name"], original["extension"], original["mimetype"]) == ("photo", "jpg", "image/jpeg")
    assert (original["type"], original["size"], original["total_pages"]) == ("image", len(PHOTO), 1)
    reply = there.fetched(last["preview"]["url"])
    assert (reply.status, Image.open(BytesIO(reply.body)).format) == (200, "PNG"), "png is what nobody asked for"


@pytest.mark.parametrize(
    ("case", "wanted"),
    [
        ("generate size", [("250x200", 1, "250", "125")]),
        ("generate width", [("120", 1, "120", "60")]),  # both clients send the number
        ("generate height", [("x90", 1, "180", "90")]),
        ("generate no side", [("original", 1, "400", "200")]),  # an empty text, or nothing at all
        ("generate sizes", [("40x30", 1, "40", "20"), ("5000>", 1, "400", "200"), ("original", 1, "400", "200")]),
    ],
)
def test_sizes_are_those_that_were_asked_for(said: Said, case: str, wanted: list[Any]) -> None:
    assert sizes(ended(said, case)) == wanted


def test_pages_are_those_that_were_asked_for(said: Said) -> None:
    last = ended(said, "generate pages")
    assert [(name, page, width) for name, page, width, _ in sizes(last)] == [("60", 1, "60"), ("60", 2, "60")]
    assert last["original_file"]["total_pages"] == 2


def test_metadata_is_read(said: Said) -> None:
    metadata = ended(said, "generate metadata")["original_file"]["metadata"]
    assert set(metadata) == {"checksum", "exif", "sketch"}
    assert metadata["checksum"] == hashlib.md5(PHOTO).hexdigest()
    assert metadata["sketch"] is None, "what does not apply to the file is null"
    assert not ended(said, "generate")["original_file"]["metadata"]


def test_the_format_is_the_one_that_was_asked_for(said: Said, there: PreviewPlace) -> None:
    reply = there.fetched(ended(said, "generate format")["preview"]["url"])
    assert Image.open(BytesIO(reply.body)).format == "JPEG"


def test_data_comes_back_untouched(said: Said) -> None:
    for answer in (made(said, "generate data"), ended(said, "generate data")):
        assert answer["user_data"] == {"order": 17, "tags": ["ä"]}


def test_settings_for_the_upload_are_taken(said: Said) -> None:
    assert ended(said, "generate uploader")["status"] == "success"


def test_the_webhook_of_a_job_is_what_retrieve_says(said: Said, there: PreviewPlace) -> None:
    last = ended(said, "generate callback_url")
    assert there.received(last["id"]) == last
    assert last["original_file"]["metadata"] == {"checksum": hashlib.md5(PHOTO).hexdigest()}


def test_a_job_that_fails_says_why(said: Said) -> None:
    last = ended(said, "generate failing")
    assert (last["status"], last["preview"], last["original_file"]) == ("failure", None, None)
    assert last["error"]["code"] == "not_found" and last["error"]["message"]


# --------------------------------------------------------------------------------------------------------- python alone


def test_a_result_of_the_python_client_is_a_dict_with_attributes_and_a_json_text(python: Said) -> None:
    found = python.value("generate size")["ended"]
    assert found["kind"] == "PreviewResult"
    assert found["dict"] == found["attributes"] == json.loads(found["text"])
    assert found["repr"].startswith("<PreviewResult at ")
    assert found["preview_url"] == found["dict"]["preview"]["url"]
    assert python.error("preview_url of a pending one")["name"] == "AttributeError", "there is no preview yet"


@pytest.mark.parametrize(
    ("case", "name", "status", "param"),
    [
        ("wrong secret", "AuthenticationError", 401, None),
        ("wrong secret, retrieve", "AuthenticationError", 401, None),
        ("built-in host alone", "AuthenticationError", 401, None),
        ("blank url", "InvalidRequestError", 400, "url"),
        ("no web address", "InvalidRequestError", 400, "url"),
        ("wrong size", "InvalidRequestError", 400, "sizes"),
        ("unknown id", "InvalidRequestError", 404, "task_id"),
        ("unknown uuid", "InvalidRequestError", 404, "task_id"),
        ("too many", "APIError", 429, None),
    ],
)
def test_each_refusal_is_the_exception_of_the_python_client_that_is_meant_for_it(
    python: Said, case: str, name: str, status: int, param: str | None
) -> None:
    error = python.error(case)
    assert (error["name"], error["http_status"], error["param"], error["ours"]) == (name, status, param, True)
    assert error["message"] == error["json_body"]["error"]["message"], "our sentence, not one about a strange answer"
    assert json.loads(error["http_body"]) == error["json_body"]


def test_the_python_client_with_its_own_host_name_is_led_here(python: Said) -> None:
    assert sizes(ended(python, "built-in host")) == [("40", 1, "40", "20")]


def test_the_python_client_logs_what_it_does_when_asked_to(python: Said) -> None:
    assert "filepreviews:Initializing FilePreviews" in python.errors


# ----------------------------------------------------------------------------------------------------------- node alone


def test_the_constructor_of_the_node_client_wants_both_keys(node: Said) -> None:
    assert node.error("FilePreviews without a key")["message"] == "Missing required apiKey."
    assert node.error("FilePreviews without a secret")["message"] == "Missing required apiSecret."
    assert node.error("FilePreviews without anything")["message"] == "Missing required apiKey."


@pytest.mark.parametrize(
    ("case", "code", "param"),
    [
        ("generate with a wrong secret", "unauthorized", None),
        ("retrieve with a wrong secret", "unauthorized", None),
        ("generate a blank url", "invalid_field", "url"),
        ("generate with a wrong size", "invalid_field", "sizes"),
        ("retrieve an unknown id", "not_found", "task_id"),
        ("request without a body", "bad_request", None),
        ("too many", "queue_full", None),
    ],
)
def test_the_callback_of_the_node_client_gets_each_refusal(node: Said, case: str, code: str, param: str | None) -> None:
    error = refusal(node, case)
    assert (error["type"], error["code"], error.get("param")) == ("invalid_request_error", code, param)
    assert error["message"]


def test_an_address_of_ones_own_is_asked_by_request(node: Said) -> None:
    assert sizes(ended(node, "request")) == [("44", 1, "44", "22")]
    assert len(node.value("request a list")["results"]) == 2


def test_a_preview_that_nobody_waits_for_is_made(node: Said, there: PreviewPlace) -> None:
    assert node.value("generate without a callback") == {"undefined": True}
    there.asked_for("/quiet.jpg")


def test_retrieve_says_the_same_twice(node: Said) -> None:
    assert node.value("retrieve")["again"] == node.value("retrieve")["ended"]


def test_what_the_node_client_does_by_itself_is_as_it_is(node: Said) -> None:
    data = node.value("getAPIRequestData")
    assert data["both"] == {"url": "http://a/b", "format": "jpg", "sizes": ["250x200"]}
    assert (data["width"]["sizes"], data["height"]["sizes"]) == ([250], ["x200"])
    assert data["alone"] == data["callback"] == {"url": "http://a/b"}
    assert node.value("log")["same"] is True
    assert node.value("log")["logged"][0] == "a word"
    assert any("404" in line for line in node.value("log")["logged"])


# -------------------------------------------------------------------------------------------------------- the way in


def test_the_requests_are_those_of_unmodified_clients(python: Said, node: Said, there: PreviewPlace) -> None:
    """They came through the proxy and TLS, to the name that is built in."""
    heads = [exchange.request.lower() for exchange in there.front.exchanges]
    assert {exchange.host for exchange in there.front.exchanges} == {HOST}
    for agent in ("PythonBindings/2.0.2", "NodeBindings/2.0.1"):
        mine = [head for head in heads if f"\r\nuser-agent: filepreviews/v2 {agent}".lower().encode() in head]
        assert mine
        assert all(b"\r\nx-filepreviews-client-user-agent: {" in head and b"\r\nauthorization: basic " in head for head in mine)
        assert any(head.startswith(b"get /v2/previews/") for head in mine)


# -------------------------------------------------------------------------------------------------------- the commands


def test_the_commands_generate_and_retrieve(command: Any, there: PreviewPlace) -> None:
    url = there.web.url("/photo.jpg")
    options = {
        "python": ["--metadata", "checksum,exif", "--width", "90", "--height", "80", "--format", "jpg"],
        "node": ["-m", "checksum,exif", "-w", "90", "-h", "80", "-f", "jpg"],  # its own slip: it drops all four
    }[command.language]
    asked = command("generate", *([*options, url] if command.language == "python" else [url, *options]))
    assert asked.returncode == 0, asked.stderr
    first = json.loads(asked.stdout)
    assert (set(first), first["status"]) == (KEYS, "pending")
    ends = time.monotonic() + 60
    while (last := json.loads(command("retrieve", first["id"]).stdout))["status"] in ("pending", "started"):
        assert time.monotonic() < ends
    assert last["status"] == "success"
    if command.language == "python":
        assert sizes(last) == [("90x80", 1, "90", "45")]
        assert set(last["original_file"]["metadata"]) == {"checksum", "exif"}
        assert last["preview"]["url"] and there.fetched(last["preview"]["url"]).headers["content-type"] == "image/jpeg"
    else:
        assert sizes(last) == [("original", 1, "400", "200")]


def test_the_commands_say_their_version_and_fail_as_their_makers_have_it(command: Any) -> None:
    version = command("--version", known=False)
    assert ("2.0.2" if command.language == "python" else "2.0.1") in version.stdout + version.stderr
    failed = command("retrieve", "123")
    if command.language == "python":
        assert failed.returncode == 1
        assert "InvalidRequestError: There is no preview with the id 123." in failed.stderr
    else:
        assert (failed.returncode, failed.stdout) == (0, "undefined\n"), "the client has no word for an error"


# ---------------------------------------------------------------------------------------------------------- the tables

PAGE = (ROOT / "docs" / "sdks.md").read_text("utf-8")
VERSIONS = {"python": "filepreviews 2.0.2 (Python)", "node": "filepreviews 2.0.1 (Node)"}


def rows(language: str) -> dict[str, str]:
    """The table of a client: what works, by name."""
    part = PAGE.split("\n## FilePreviews clients")[1].split("\n## ")[0].split(f"\n### {VERSIONS[language]}\n")[1]
    found = re.findall(r"^\| `([^`]+)` \| (yes|local) \| .* \|$", part.split("\n### ")[0], re.MULTILINE)
    lines = [line for line in part.split("\n### ")[0].splitlines() if line.startswith("| `")]
    assert len(found) == len(lines) == len(dict(found)), "every line is a row, none is there twice"
    return dict(found)


def test_the_rows_are_what_the_clients_have(python: Said, node: Said) -> None:
    has = python.end["has"]
    commands = {f"filepreviews {name}" for name in has["commands"]}
    mine = {"FilePreviews", *has["FilePreviews"], *has["PreviewResult"], "str", *has["errors"], *commands}
    assert rows("python").keys() == mine
    assert rows("node").keys() == {"FilePreviews", *node.end["has"], "filepreviews generate", "filepreviews retrieve"}


def test_every_method_of_the_clients_ran_and_worked(python: Said, node: Said) -> None:
    """The interpreter's profiler saw the calls of the one; each method of the other has a case of its name."""
    wanted = {f"FilePreviews.{name}" for name in python.end["has"]["FilePreviews"]}
    wanted |= {"FilePreviews.__init__", "PreviewResult.__str__", "PreviewResult.preview_url"}
    assert wanted <= set(python.end["ran"])
    raised = {case["error"]["name"] for case in python.cases.values() if not case["ok"]}
    assert {name for name in python.end["has"]["errors"] if name != "FilePreviewsError"} <= raised
    for name in ("FilePreviews", *node.end["has"]):
        assert node.cases[name]["ok"], name


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_is_about_the_versions_that_were_driven(language: str, request: pytest.FixtureRequest) -> None:
    assert request.getfixturevalue(language).end["version"] in VERSIONS[language]
