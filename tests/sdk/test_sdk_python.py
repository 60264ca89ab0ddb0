"""filestack-python 4.0.0 from PyPI, every method of it, over TLS under the host names of a CNAME, with security off and on.

One process of Python drives all calls of a mode; the tests here look at what came of them.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sdk_authority import make_authority
from sdk_wanted import PYTHON, SAME, TASKS, check, content_of
from sdk_world import BIG, DOMAIN, FILES, HELPERS, PHOTO, Place, Said, needs_ffmpeg

SaidOf = Callable[[str], Said]
HTTP_ERROR = "filestack.exceptions.FilestackHTTPError"
#: The digest of the list of digests that the wheel on PyPI carries, without the lines that an installer writes.
RECORD = "3917a07b3021ab4404c39bcaef8fefa91e9c4478ba222acaa60c24d832061394"

#: Methods that add a task, and those of Client that make such a chain.
CHAINS = (
    "resize", "crop", "rotate", "rotate by EXIF", "flip", "flop", "watermark", "detect_faces", "crop_faces", "pixelate_faces",
    "round_corners", "vignette", "polaroid", "torn_edges", "shadow", "circle", "border", "sharpen", "blur", "monochrome",
    "blackwhite", "sepia", "pixelate", "oil_paint", "negative", "modulate", "partial_pixelate", "partial_blur", "collage",
    "upscale", "enhance", "redeye", "ascii", "filetype_conversion", "filetype_conversion of a PDF", "no_metadata", "quality",
    "zip", "fallback", "pdf_info", "pdf_convert", "minify_js", "minify_css", "auto_image", "doc_to_images", "smart_crop",
    "pdfcreate", "animate", "four tasks", "Client.transform_external", "Client.transform_external with a query",
    "Client.urlscreenshot",
)  # fmt: skip
#: Uploads of which nothing is asked but that the file arrives: the case, the name it has then, and its content.
UPLOADS: dict[str, tuple[str, bytes]] = {
    "Client.upload": ("photo.jpg", PHOTO),
    "Client.upload of a file object": ("unnamed_file", PHOTO),
    "Client.upload of a named file object": ("given.jpg", PHOTO),
    "Client.upload of a large file": ("big.bin", BIG),
    "Client.upload, intelligently": ("big.bin", BIG),
    "Client.upload, intelligently, after a failed chunk": ("again.jpg", PHOTO),
    "Client.upload with parameters": ("a.jpg", PHOTO),
    "Client.upload, intelligently, with parameters": ("b.jpg", PHOTO),
    "Client.upload with a policy of its own": ("photo.jpg", PHOTO),
}
REFUSED = {  # by what is wrong with the credential: the code in the answer
    "no policy": "policy_required",
    "wrong secret": "signature_invalid",
    "expired": "policy_expired",
    "another call": "not_permitted",
    "another file": "not_permitted",
}


# ----------------------------------------------------------------------------------------------------------- the SDK itself


def test_the_client_is_the_registrys_byte_for_byte(python_sdk: Path) -> None:
    """Every file has the digest that its wheel records, and the record is that of the published wheel."""
    (record,) = python_sdk.glob("filestack_python-4.0.0.dist-info/RECORD")
    rows = [row for row in csv.reader(record.read_text().splitlines()) if row[0].startswith("filestack/") and row[1]]
    for name, digest, size in rows:
        data = (python_sdk / name).read_bytes()
        found = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        assert (f"sha256={found}", str(len(data))) == (digest, size), name
    there = {path.relative_to(python_sdk).as_posix() for path in (python_sdk / "filestack").rglob("*.py")}
    assert {row[0] for row in rows} == there
    assert hashlib.sha256("\n".join(sorted(",".join(row) for row in rows)).encode()).hexdigest() == RECORD


def test_it_refuses_a_server_whose_authority_it_does_not_trust(place: Place, python_sdk: Path, tmp_path: Path) -> None:
    """Certificates are really checked in these tests."""
    stranger = make_authority(tmp_path, DOMAIN)
    program = (
        f"import sdk_loopback, filestack; filestack.config.CNAME = '{DOMAIN}'\n"
        "try: filestack.Filelink('B' * 20).get_content()\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    said = {}
    for name, authority in (("stranger", stranger), ("ours", place.authority)):
        paths = os.pathsep.join([str(python_sdk), str(HELPERS)])
        environment = place.environment(authority.certificate) | {"PYTHONPATH": paths}
        command = [sys.executable, "-c", program]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
        said[name] = ran.stdout + ran.stderr
    assert said["stranger"].startswith("SSLError") and "CERTIFICATE_VERIFY_FAILED" in said["stranger"], said
    assert said["ours"].startswith("FilestackHTTPError") and "not_found" in said["ours"], said


def test_it_asks_no_host_but_those_of_the_cname(python_said: SaidOf, mode: str) -> None:
    hosts = set(python_said(mode).end["hosts"])
    assert hosts == {f"{role}.{DOMAIN}" for role in ("cdn", "control", "upload", "www")}


# ------------------------------------------------------------------------------------------------------------------ chains


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_gives_its_result(place: Place, python_said: SaidOf, mode: str, name: str) -> None:
    """By the client, and by its printed address in whatever else opens it."""
    said = python_said(mode)
    outcome = said.cases[name]
    if name == "Client.urlscreenshot" and not outcome["ok"] and "not_provided" in outcome["error"]["message"]:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium for pictures of pages")
        pytest.skip("no Chromium: pictures of pages are not tested")
    value = said.value(name)
    check(name, PYTHON.get(name, TASKS.get(name, SAME)), content_of(value))
    assert place.server.get(value["url"].removeprefix(f"https://cdn.{DOMAIN}")).status == 200


def test_a_file_is_read_and_downloaded_as_it_is(python_said: SaidOf, mode: str) -> None:
    said = python_said(mode)
    photo = FILES["photo"][1]
    assert content_of(said.value("Filelink.get_content")) == photo
    assert said.value("Filelink.download")["size"] == len(photo) and content_of(said.value("Filelink.download")) == photo
    check("downloaded", (100, 50), content_of(said.value("Transformation.download")))
    archive = said.value("Client.zip")
    assert archive["size"] == len(content_of(archive))
    check("zip", "application/zip", content_of(archive))


def test_addresses_are_those_of_the_cname(place: Place, python_said: SaidOf, mode: str) -> None:
    said = python_said(mode)
    handle = said.order["files"]["photo"]
    plain = {"url": f"https://cdn.{DOMAIN}/{handle}", "chain": f"https://cdn.{DOMAIN}/resize=width:1/{handle}"}
    assert said.value("Filelink.url") == plain
    signed = said.value("Filelink.signed_url")["url"]
    assert place.server.get(signed.removeprefix(f"https://cdn.{DOMAIN}")).body == FILES["photo"][1]
    for case in ("Filelink.signed_url without security", "Filelink.tags without security"):
        assert said.error(case) == {"name": "builtins.ValueError", "message": "Security is required to sign url"}


def test_metadata_has_the_names_asked_for(python_said: SaidOf, mode: str) -> None:
    said = python_said(mode)
    photo = FILES["photo"][1]
    facts = {"size": len(photo), "filename": "photo.jpg", "mimetype": "image/jpeg", "width": 400, "height": 200}
    facts |= {"md5": hashlib.md5(photo, usedforsecurity=False).hexdigest(), "sha256": hashlib.sha256(photo).hexdigest()}
    assert said.value("Filelink.metadata") == facts
    usual = {"size", "mimetype", "filename", "uploaded", "writeable"}
    assert said.value("Filelink.metadata as usual").keys() >= usual
    assert said.value("Filelink.metadata of EXIF") == {"exif": {"Make": "Maker"}}


def test_intelligence_answers_in_the_documented_shapes(python_said: SaidOf, mode: str) -> None:
    said = python_said(mode)
    assert said.value("Filelink.tags")["tags"].keys() == {"auto", "user"}
    assert said.value("Filelink.sfw") == {"sfw": True}
    assert "Hello World" in said.value("Filelink.ocr")["text"]


# ------------------------------------------------------------------------------------------------- store, overwrite, delete


@pytest.mark.parametrize(("name", "filename", "size"), [
    ("Filelink.store", "again.jpg", (400, 200)), ("Transformation.store", "small.jpg", (20, 10)),
])  # fmt: skip
def test_a_chain_is_stored_in_an_open_application(
    place: Place, python_said: SaidOf, name: str, filename: str, size: Any
) -> None:
    value = python_said("open").value(name)
    reply = place.read("open", value["handle"])
    check(name, size, reply.body)
    assert reply.headers["x-file-name"] == filename


@pytest.mark.parametrize("name", ["Filelink.store", "Transformation.store"])
def test_store_cannot_work_in_a_secured_application(python_said: SaidOf, name: str) -> None:
    """The client shows neither key nor policy here, whatever it was given. The answer says what is missing."""
    error = python_said("secured").error(name)
    assert error["name"] == HTTP_ERROR and "policy_required" in error["message"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("with a path", b"new content"),
        ("with a file", b"newer content"),
        ("with Base64", b"newest content"),
        ("with a URL", PHOTO),
    ],
)
def test_a_file_is_overwritten_under_its_handle_and_name(
    place: Place, python_said: SaidOf, mode: str, name: str, content: bytes
) -> None:
    value = python_said(mode).value(f"Filelink.overwrite {name}")
    assert content_of(value) == content
    reply = place.read(mode, value["handle"])
    assert reply.body == content
    if name != "with a URL":
        assert reply.headers["x-file-name"] == "victim.txt", "the client calls every file `filename`: that is not a name"


def test_a_deleted_file_is_gone(place: Place, python_said: SaidOf, mode: str) -> None:
    said = python_said(mode)
    assert said.value("Filelink.delete") is None
    assert place.read(mode, said.order["victims"][4]).status == 404
    again = said.error("Filelink.delete again")
    assert again["name"] == HTTP_ERROR and "not_found" in again["message"]
    assert said.error("Filelink.delete without security")["message"] == "Security is required to delete filelink"
    assert "must be provided" in said.error("Filelink.overwrite with nothing")["message"]


# ---------------------------------------------------------------------------------------------------------------- uploads


@pytest.mark.parametrize("name", UPLOADS)
def test_an_upload_arrives_whole(place: Place, python_said: SaidOf, mode: str, name: str) -> None:
    value = python_said(mode).value(name)
    filename, content = UPLOADS[name]
    response = value["response"]
    assert value["url"] == response["url"] == f"https://cdn.{DOMAIN}/{value['handle']}"
    assert value["repr"] == f"<Filelink {value['handle']}>" and response["handle"] == value["handle"]
    assert (response["filename"], response["size"], response["status"]) == (filename, len(content), "Stored")
    reply = place.read(mode, value["handle"])
    assert hashlib.sha256(reply.body).digest() == hashlib.sha256(content).digest()
    assert reply.headers["x-file-name"] == filename


def test_the_tags_of_an_upload_come_back(python_said: SaidOf, mode: str) -> None:
    said = python_said(mode)
    tags = {"colour": "grey", "place": "none"}
    assert said.value("Client.upload with parameters")["response"]["upload_tags"] == tags
    assert said.value("Client.upload, intelligently, with parameters")["response"]["upload_tags"] == {"colour": "grey"}
    assert "list length is greater than 10" in said.error("Client.upload of more tags than there may be")["message"]


def test_a_chunk_that_failed_once_is_sent_again(place: Place, python_said: SaidOf, mode: str) -> None:
    assert python_said(mode).value("Client.upload, intelligently, after a failed chunk")["handle"]
    assert place.front.faults == {}


def test_an_empty_file_is_refused_in_a_sentence(python_said: SaidOf, mode: str) -> None:
    """This client sends it; the other one does not."""
    error = python_said(mode).error("Client.upload of an empty file")
    assert error["name"] == HTTP_ERROR and "size is" in error["message"]


@pytest.mark.parametrize("name", ["Client.upload_url", "Client.upload_url with a workflow"])
def test_a_file_from_outside_is_taken_in(place: Place, python_said: SaidOf, mode: str, name: str) -> None:
    value = python_said(mode).value(name)
    reply = place.read(mode, value["handle"])
    assert (reply.body, reply.headers["x-file-name"]) == (PHOTO, value["response"]["filename"])


def test_what_cannot_be_fetched_is_an_error_of_the_caller(python_said: SaidOf, mode: str) -> None:
    error = python_said(mode).error("Client.upload_url of what is not there")
    assert error["name"] == HTTP_ERROR and '"not_found"' in error["message"]


# ------------------------------------------------------------------------------------------------------ conversions


def test_a_conversion_is_begun_in_an_open_application(python_said: SaidOf) -> None:
    said = python_said("open")
    value = said.value("Filelink.av_convert")
    path = f"video_convert=preset:h264,width:320/{said.order['files']['video']}"
    assert value["url"] == f"https://cdn.{DOMAIN}/{path}"
    assert re.fullmatch("[0-9a-f]{32}", value["uuid"])
    assert abs(int(value["timestamp"]) - time.time()) < 3600


def test_a_conversion_without_its_policy_is_refused_in_a_secured_application(python_said: SaidOf) -> None:
    """The client shows none here, whatever it was given. In front of the handle it is sent along."""
    error = python_said("secured").error("Filelink.av_convert")
    assert error["name"] == HTTP_ERROR and "policy_required" in error["message"]


def test_a_conversion_ends_and_its_result_is_a_file(place: Place, python_said: SaidOf, mode: str) -> None:
    needs_ffmpeg()
    said = python_said(mode)
    assert said.value("AudioVisual.status") == "completed"
    value = said.value("AudioVisual.to_filelink")
    assert value["url"] == f"https://cdn.{DOMAIN}/{value['handle']}"
    assert value["metadata"]["mimetype"] == "video/mp4"
    reply = place.read(mode, value["handle"])
    assert reply.body == content_of(value)
    assert (reply.headers["content-type"], reply.body[4:8]) == ("video/mp4", b"ftyp")


def test_a_conversion_that_failed_is_no_link(python_said: SaidOf, mode: str) -> None:
    assert "not complete" in python_said(mode).error("AudioVisual.to_filelink of what failed")["message"]


# ------------------------------------------------------------------------------------------------------ what is left


def test_a_policy_made_by_the_client_is_written_as_the_documentation_says(python_said: SaidOf, mode: str) -> None:
    value = python_said(mode).value("Security.as_url_string")
    assert value["text"] == f"security=p:{value['policy']},s:{value['signature']}"
    assert value["given"] == python_said(mode).order["always"]["policy"]


def test_the_signature_of_a_webhook_is_checked_by_the_clients_own_formula(python_said: SaidOf, mode: str) -> None:
    said = python_said(mode)
    assert said.value("verify_webhook_signature") == [True, {}]
    for case in ("of another body", "with another time"):
        assert said.value(f"verify_webhook_signature {case}") is False


CALLS = (
    "Filelink.get_content", "Filelink.download", "Filelink.metadata", "Transformation.get_content", "Client.zip",
    "Client.upload_url", "Client.upload", "Client.upload, intelligently", "Client.transform_external",
)  # fmt: skip
SIGNED_CALLS = ("Filelink.overwrite", "Filelink.delete", "Filelink.sfw")  # the client asks for a policy itself


@pytest.mark.parametrize(
    ("wrong", "call"),
    [(wrong, call) for wrong in REFUSED for call in CALLS + (SIGNED_CALLS if wrong != "no policy" else ())],
)
def test_a_refusal_says_why(python_said: SaidOf, wrong: str, call: str) -> None:
    """The text of the exception is the body of the answer."""
    error = python_said("secured").error(f"{wrong}: {call}")
    assert error["name"] == HTTP_ERROR and REFUSED[wrong] in error["message"], error
