"""filestack-js 4.3.8 from npm, every method of it, over TLS under the host names of a CNAME, with security off and on.

One process of Node drives all calls of a mode; the tests here look at what came of them.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sdk_authority import make_authority
from sdk_wanted import JS, SAME, STORED, TASKS, check, content_of
from sdk_world import BIG, DOMAIN, FILES, HELPERS, PHOTO, Place, Said, needs_ffmpeg

#: What npm says of the archive of this version.
INTEGRITY = "sha512-MUTTcsapK5Uk9Y93GZrfspoO6aebix9m6Q2uigYLlNWaWvGZp7bY/1BmKw6PWgbJNrMcIwBmrUAONtcOJ6iT5Q=="
SaidOf = Callable[[str], Said]

#: Methods of Filelink whose address the driver opens. Names in between tell a second case from the first.
CHAINS = (
    "autoImage", "flip", "flop", "imagesize", "noMetadata", "pjpg", "smartCrop", "watermark", "watermark by URL", "enhance",
    "enhance by itself", "redeye", "monochrome", "compress", "negative", "animate", "store", "cache", "cache off", "resize",
    "crop", "rotate", "rotate by EXIF", "detectFaces", "detectFaces as JSON", "cropFaces", "pixelateFaces", "blurFaces",
    "roundedCorners", "roundedCorners at most", "polaroid", "vignette", "tornEdges", "shadow", "circle", "border", "sharpen",
    "blur", "blackwhite", "sepia", "pixelate", "oilPaint", "modulate", "partialPixelate", "partialBlur", "collage", "upscale",
    "ascii", "quality", "security", "output", "output of a PDF", "URLScreenshot", "PDFInfo", "PDFConvert", "fallback", "zip",
    "minifyCss", "minifyJs", "tags", "sfw", "addTask", "setBase64", "setBase64, from outside", "setBase64, a list",
    "setCname", "setCustomDomain", "setUseValidator", "setSource", "reset", "a source from outside",
    "a list with a source from outside", "a source from an alias", "four tasks",
)  # fmt: skip
#: Uploads of which nothing is asked but that the file arrives: the case, the name it has then, and its content.
UPLOADS: dict[str, tuple[str, bytes]] = {
    "upload a path": ("photo.jpg", PHOTO),
    "upload a buffer": ("given.jpg", PHOTO),
    "upload a buffer without a name": ("undefined", PHOTO),
    "upload a named buffer": ("na-me-d.jpg", PHOTO),
    "upload Base64": ("base.jpg", PHOTO),
    "upload with a name made by a function": (f"made-of-{len(PHOTO)}.jpg", PHOTO),
    "upload a large file": ("big.bin", BIG),
    "upload without integrity check": ("unchecked.jpg", PHOTO),
    "upload intelligently": ("big.bin", BIG),
    "upload intelligently as a fallback": ("big.bin", BIG),
    "upload intelligently after a failed part": ("fails.bin", BIG),
    "upload intelligently after a failed chunk": ("chunk.bin", BIG),
    "upload with tags": ("tagged.jpg", PHOTO),
    "upload with an alternative text": ("alt.jpg", PHOTO),
    "upload to a path": ("a.jpg", PHOTO),
    "upload without a storage key": ("b.jpg", PHOTO),
    "upload with a type": ("c.jpg", PHOTO),
    "upload with a workflow": ("w.jpg", PHOTO),
    "upload with a policy of its own": ("own.jpg", PHOTO),
    "upload, paused and resumed": ("resume.bin", BIG),
    "upload, with progress": ("progress.bin", BIG),
    "upload, retried after a failure of the server": ("again.jpg", PHOTO),
}
REFUSED = {  # by what is wrong with the credential: the code in the answer
    "no policy": "policy_required",
    "wrong secret": "signature_invalid",
    "expired": "policy_expired",
    "another call": "not_permitted",
    "another file": "not_permitted",
}


# ----------------------------------------------------------------------------------------------------------- the SDK itself


def test_the_client_is_the_registrys_byte_for_byte(node_sdk: Path) -> None:
    """The archive has the digest that npm publishes, and every file of the installed client is the archive's."""
    (archive,) = node_sdk.parent.glob("filestack-js-*.tgz")
    data = archive.read_bytes()
    assert f"sha512-{base64.b64encode(hashlib.sha512(data).digest()).decode()}" == INTEGRITY
    locked = json.loads((node_sdk.parent / "package-lock.json").read_text())["packages"]["node_modules/filestack-js"]
    assert locked["integrity"] == INTEGRITY
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        packed = {item.name.removeprefix("package/"): tar.extractfile(item) for item in tar.getmembers() if item.isfile()}
        for name, file in packed.items():
            assert file is not None and (node_sdk / "filestack-js" / name).read_bytes() == file.read(), name
    installed = {path.relative_to(node_sdk / "filestack-js").as_posix() for path in (node_sdk / "filestack-js").rglob("*")}
    assert {name for name in installed if (node_sdk / "filestack-js" / name).is_file()} == packed.keys()


def test_it_refuses_a_server_whose_authority_it_does_not_trust(place: Place, node_sdk: Path, tmp_path: Path) -> None:
    """Certificates are really checked in these tests."""
    stranger = make_authority(tmp_path, DOMAIN)
    call = (
        f"require('filestack-js').init('{'A' * 22}', {{cname: '{DOMAIN}'}}).metadata('{'B' * 20}')"
        ".then(() => console.log('trusted'), (error) => console.log(error.message))"
    )
    command = ["node", "--require", str(HELPERS / "sdk_loopback.cjs"), "--eval", call]
    said = {}
    for name, authority in (("stranger", stranger), ("ours", place.authority)):
        environment = place.environment(authority.certificate) | {"NODE_PATH": str(node_sdk)}
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
        said[name] = ran.stdout + ran.stderr
    assert "UNABLE_TO_VERIFY_LEAF_SIGNATURE" in said["stranger"] or "CERT" in said["stranger"], said
    assert said["ours"].startswith("Request error [object Object]"), said  # an answer: there is no such file


def test_it_asks_no_host_but_those_of_the_cname(js_said: SaidOf, mode: str) -> None:
    said = js_said(mode)
    assert set(said.end["hosts"]) == {f"{role}.{DOMAIN}" for role in ("cdn", "cloud", "control", "process", "upload", "www")}


def test_nothing_is_thrown_where_no_caller_can_catch_it(js_said: SaidOf, mode: str) -> None:
    """But for what the client itself does when it gives up a part: it goes on with the request that it ended."""
    cancelling = {"ERR_STREAM_DESTROYED", "ERR_SOCKET_CLOSED_BEFORE_CONNECTION"}
    assert {thrown["error"]["code"] for thrown in js_said(mode).uncaught} <= cancelling


# ---------------------------------------------------------------------------------------------------------------- Filelink


def _needs_browser(name: str) -> None:
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium for pictures of pages")
        pytest.skip(f"no Chromium: {name} is not tested")


@pytest.mark.parametrize("name", CHAINS)
def test_the_address_that_a_method_of_filelink_makes_gives_its_result(js_said: SaidOf, mode: str, name: str) -> None:
    if name == "URLScreenshot":
        _needs_browser(name)
    value = js_said(mode).value(f"Filelink {name}")
    check(name, JS.get(name, TASKS.get(name, SAME)), content_of(value), value["type"])


def test_keeping_metadata_needs_a_policy_even_where_nothing_else_does(js_said: SaidOf) -> None:
    """It would show EXIF, which the documentation gives to nobody without a policy that names it."""
    assert js_said("open").error("Filelink pjpg with metadata")["answer"]["status"] == 403
    value = js_said("secured").value("Filelink pjpg with metadata")
    assert b"Maker" in content_of(value)


def test_a_video_is_converted_by_the_address_that_begins_it(js_said: SaidOf, mode: str) -> None:
    """The same address is asked again until the answer has a result, which is a file."""
    needs_ffmpeg()
    value = js_said(mode).value("Filelink videoConvert")
    first, last, result = value["first"], value["last"], value["result"]
    assert first.keys() >= {"status", "uuid", "timestamp", "data", "metadata"}
    assert (last["status"], last["uuid"], last["timestamp"]) == ("completed", first["uuid"], first["timestamp"])
    assert last["data"].keys() >= {"url", "thumb", "thumb100x100", "thumb200x200"}
    assert last["data"]["url"].startswith(f"https://cdn.{DOMAIN}/")
    assert (result["type"], content_of(result)[4:8]) == ("video/mp4", b"ftyp")
    assert last["metadata"]["result"]["width"] == 320


@pytest.mark.parametrize("name", ["addTask, a workflow"])
def test_what_is_not_part_of_this_release_is_refused_in_a_sentence(js_said: SaidOf, mode: str, name: str) -> None:
    answer = js_said(mode).error(f"Filelink {name}")["answer"]
    assert 400 <= answer["status"] < 500 or answer["status"] == 501
    assert answer["data"]["error"].keys() >= {"code", "message"}


def test_a_link_keeps_its_books_without_a_server(js_said: SaidOf, mode: str) -> None:
    said = js_said(mode)
    value = said.value("Filelink bookkeeping")
    tasks = [{"name": "resize", "params": {"width": 10}}]
    assert value["tasks"] == value["valid"] == tasks and value["schema"] > 40
    assert value["url"] == f"https://cdn.{DOMAIN}/{said.order['key']}/resize=width:10/{said.order['files']['photo']}"


# ---------------------------------------------------------------------------------------------------------------- uploads


def _arrived(place: Place, mode: str, value: Any, name: str, content: bytes) -> None:
    """What a client is told of a file, and the file."""
    assert value["handle"] and value["url"] == f"https://cdn.{DOMAIN}/{value['handle']}"
    assert (value["name"], value["size"], value["status"]) == (name, len(content), "Stored")
    reply = place.read(mode, value["handle"])
    assert reply.status == 200, reply.body
    assert hashlib.sha256(reply.body).digest() == hashlib.sha256(content).digest()
    assert reply.headers["x-file-name"] == name


@pytest.mark.parametrize("name", UPLOADS)
def test_an_upload_arrives_whole(place: Place, js_said: SaidOf, mode: str, name: str) -> None:
    _arrived(place, mode, js_said(mode).value(name), *UPLOADS[name])


def test_a_data_url_is_decoded_wrongly_by_the_client_itself(place: Place, js_said: SaidOf, mode: str) -> None:
    """Under Node it decodes the whole text, `data:image/jpeg;base64,` included. What it sends is stored as it is."""
    value = js_said(mode).value("upload a data URL")
    assert value["size"] == len(place.read(mode, value["handle"]).body) > len(PHOTO)


def test_several_files_are_uploaded_at_once(place: Place, js_said: SaidOf, mode: str) -> None:
    files = js_said(mode).value("multiupload")["files"]
    for value, (name, content) in zip(files, [("photo.jpg", PHOTO), ("second.jpg", PHOTO), ("big.bin", BIG)], strict=True):
        _arrived(place, mode, value, name, content)
        assert value["uploadTags"] == {"many": "yes"}


def test_the_tags_of_an_upload_come_back(js_said: SaidOf, mode: str) -> None:
    assert js_said(mode).value("upload with tags")["uploadTags"] == {"colour": "grey", "place": "none"}


def test_progress_grows_to_no_more_than_all(js_said: SaidOf, mode: str) -> None:
    value = js_said(mode).value("upload, with progress")
    seen, percent = zip(*value["seen"], strict=True)
    assert seen[0] == 0 and list(seen) == sorted(seen) and list(percent) == sorted(percent)
    assert 0 < max(seen) <= len(BIG) and max(percent) <= 100
    assert value["events"] == ["start"]


def test_a_paused_upload_stands_where_it_was_and_goes_on(js_said: SaidOf, mode: str) -> None:
    value = js_said(mode).value("upload, paused and resumed")
    assert 0 < value["stopped"] < len(BIG) and value["stopped"] <= value["last"] <= len(BIG)


def test_a_cancelled_upload_stores_nothing(place: Place, js_said: SaidOf, mode: str) -> None:
    """The client hands over the file as the reason, as it does for every upload that fails."""
    error = js_said(mode).error("upload, cancelled")
    assert error["rejected"]["status"] == "Failed" and "handle" not in error["rejected"]
    started = [exchange for exchange in place.front.exchanges if b'"cancel.bin"' in exchange.request]
    assert started and not [exchange for exchange in started if "/multipart/complete" in exchange.line]


def test_a_part_that_failed_once_is_sent_again(place: Place, js_said: SaidOf, mode: str) -> None:
    """`onRetry` is taken and never called: this version of the client does not look at it."""
    assert js_said(mode).value("upload, retried after a failure of the server")["retries"] == 0
    assert place.front.faults == {}


def test_an_empty_file_is_refused_by_the_client(js_said: SaidOf, mode: str) -> None:
    assert js_said(mode).error("upload an empty file")["rejected"]["status"] == "Failed"


# --------------------------------------------------------------------------------------------------------------- File API


@pytest.mark.parametrize("name", ["storeURL", "storeURL with tags and headers", "storeURL with a workflow"])
def test_a_file_from_outside_is_taken_in(place: Place, js_said: SaidOf, mode: str, name: str) -> None:
    value = js_said(mode).value(name)
    assert value.keys() >= STORED - {"container"} and value["mimetype"] == "image/jpeg"
    assert value["url"] == f"https://cdn.{DOMAIN}/{value['handle']}"
    reply = place.read(mode, value["handle"])
    assert (reply.body, reply.headers["x-file-name"]) == (PHOTO, value["filename"])


def test_the_headers_and_tags_of_storing_from_outside_reach_whom_they_are_for(place: Place, js_said: SaidOf, mode: str) -> None:
    value = js_said(mode).value("storeURL with tags and headers")
    assert value["filename"] == "guarded.jpg" and value["uploadTags"] == {"by": "tag"}
    heads = [head for head in place.web.seen if head.startswith(b"GET /guarded.jpg ")]
    assert heads and all(b"x-wanted: yes" in head.lower() for head in heads)


def test_a_transformation_is_stored_by_its_address(place: Place, js_said: SaidOf, mode: str) -> None:
    value = js_said(mode).value("storeURL of a transformation")
    check("stored", (40, 20), place.read(mode, value["handle"]).body)


def test_what_cannot_be_fetched_is_an_error_of_the_caller(js_said: SaidOf, mode: str) -> None:
    answer = js_said(mode).error("storeURL of what is not there")["answer"]
    assert (answer["status"], answer["data"]["error"]["code"]) == (404, "not_found")


def test_metadata_has_the_names_asked_for(js_said: SaidOf, mode: str) -> None:
    said = js_said(mode)
    photo = FILES["photo"][1]
    facts = {"size": len(photo), "filename": "photo.jpg", "mimetype": "image/jpeg", "width": 400, "height": 200}
    facts |= {"md5": hashlib.md5(photo, usedforsecurity=False).hexdigest(), "sha256": hashlib.sha256(photo).hexdigest()}
    assert said.value("metadata") == facts | {"handle": said.order["files"]["photo"]}
    usual = {"size", "mimetype", "filename", "uploaded", "writeable"}
    assert said.value("metadata as usual").keys() >= usual and said.value("retrieve metadata").keys() >= usual
    assert said.value("metadata of EXIF")["exif"] == {"Make": "Maker"}


@pytest.mark.parametrize("name", ["retrieve", "retrieve with an extension", "retrieve without cache", "download"])
def test_a_file_is_read_as_it_is(js_said: SaidOf, mode: str, name: str) -> None:
    assert content_of(js_said(mode).value(name)) == FILES["photo"][1]


def test_headers_tell_of_a_file(js_said: SaidOf, mode: str) -> None:
    shown, saved = (js_said(mode).value(name) for name in ("retrieve head", "retrieve head for a download"))
    assert (shown["content-length"], shown["x-file-name"]) == (str(len(FILES["photo"][1])), "photo.jpg")
    assert shown["content-disposition"].startswith("inline") and saved["content-disposition"].startswith("attachment")


def test_a_removed_file_is_gone(place: Place, js_said: SaidOf, mode: str) -> None:
    said = js_said(mode)
    assert said.value("remove")["status"] == said.value("removeMetadata")["status"] == 200
    assert said.error("remove again")["answer"]["status"] == 404
    for handle in said.order["victims"][:2]:
        assert place.read(mode, handle).status == 404


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("transform", (100, 50)),
        ("transform in Base64", (100, 50)),
        ("transform from outside", (9, 5)),
        ("transform a list", "application/zip"),
    ],
)
def test_the_address_that_transform_makes_gives_its_result(js_said: SaidOf, mode: str, name: str, wanted: Any) -> None:
    value = js_said(mode).value(name)
    check(name, wanted, content_of(value), value["type"])


# ------------------------------------------------------------------------------------------------- security and set-up


def test_a_policy_made_by_the_client_is_good_here(js_said: SaidOf, mode: str) -> None:
    said = js_said(mode)
    assert said.value("getSecurity")["seen"]["size"] == len(FILES["photo"][1])


def test_a_policy_in_the_standard_alphabet_arrives_unharmed(js_said: SaidOf, mode: str) -> None:
    value = js_said(mode).value("getSecurity with + and / in it")
    assert "+" in value["made"]["policy"] and value["seen"]["size"] == len(FILES["photo"][1])


def test_the_signature_of_a_webhook_is_checked_by_the_clients_own_formula(js_said: SaidOf, mode: str) -> None:
    assert js_said(mode).value("validateWebhookSignature") == {"good": True, "bad": False}


def test_a_client_is_told_its_policy_and_host_later(js_said: SaidOf, mode: str) -> None:
    said = js_said(mode)
    assert said.value("setSecurity")["size"] == len(FILES["photo"][1])
    assert "Both policy and signature" in said.error("setSecurity with half of it")["message"]
    value = said.value("setCname")
    assert all(f".{DOMAIN}" in url for url in value["urls"].values())
    # Of clouds a client remembers the host that it was made with: give it the option, not the method.
    assert value["cloud"] == "https://cloud.filestackapi.com"


def test_the_clients_own_tools_need_no_server(js_said: SaidOf, mode: str) -> None:
    assert js_said(mode).value("utils") == {"type": "image/png", "version": "JS-4.3.8"}
    assert js_said(mode).value("cloud.token") == {"token": "a token", "inapp": False}


# ------------------------------------------------------------------------------------------------------- picker and clouds


def test_a_picker_is_told_what_it_may_do(js_said: SaidOf, mode: str) -> None:
    value = js_said(mode).value("prefetch")
    assert value["blocked"] is False and "inapp_browser" in value["settings"]
    assert value["permissions"].keys() >= {"transforms_ui", "intelligent_ingestion", "whitelabel"}
    assert value["pickerOptions"]["maxFiles"] == 3
    assert js_said(mode).value("prefetch with nothing")["blocked"] is False


@pytest.mark.parametrize("name", ["logout", "logout from one cloud"])
def test_logging_out_of_clouds_succeeds(js_said: SaidOf, mode: str, name: str) -> None:
    assert isinstance(js_said(mode).value(name), dict)


def test_the_files_of_the_servers_own_cloud_are_listed_and_stored(place: Place, js_said: SaidOf, mode: str) -> None:
    said = js_said(mode)
    cloud = said.order["cloud"]
    (shelf,) = said.value("cloud.list")[cloud]["contents"]
    (book,) = said.value("cloud.list of a folder")[cloud]["contents"]
    assert (shelf["path"], shelf["folder"]) == (said.order["folder"], True)
    assert (book["path"], book["folder"], book["size"]) == (said.order["listed"], False, len(PHOTO))
    stored = said.value("cloud.store")
    assert stored["upload_tags"] == {"by": "picker"}
    assert place.read(mode, stored["handle"]).body == PHOTO


def test_a_file_outside_is_described(js_said: SaidOf, mode: str) -> None:
    value = js_said(mode).value("cloud.metadata")
    assert (value["mimetype"], value["filename"]) == ("image/jpeg", "a.jpg")


@pytest.mark.parametrize("name", ["cloud.list of an unknown cloud", "cloud.tokInit", "cloud.tokStart", "cloud.tokStop"])
def test_clouds_and_recordings_that_are_not_offered_say_so(js_said: SaidOf, mode: str, name: str) -> None:
    answer = js_said(mode).error(name)["answer"]
    assert (answer["status"], answer["data"]["error"]["code"]) == (501, "not_provided")


def test_a_picker_is_for_browsers(js_said: SaidOf, mode: str) -> None:
    assert js_said(mode).error("picker")["message"] == "Load module is working only on browser env"


# --------------------------------------------------------------------------------------------------------------- refusals

CALLS = (
    "metadata", "retrieve", "download", "transform", "storeURL", "remove", "removeMetadata", "cloud.list", "cloud.store",
    "cloud.metadata",
)  # fmt: skip


@pytest.mark.parametrize("wrong", REFUSED)
@pytest.mark.parametrize("call", CALLS)
def test_a_refusal_says_why(js_said: SaidOf, wrong: str, call: str) -> None:
    """The client gives its caller the status and the parsed body of the answer."""
    error = js_said("secured").error(f"{wrong}: {call}")
    if wrong == "no policy" and call.startswith("remove"):  # the client does not even ask
        assert error["message"] == "Security policy and signature are required for remove"
        return
    assert error["code"] == "REQUEST" and error["answer"]["status"] in (401, 403), error
    assert REFUSED[wrong] in json.dumps(error["answer"]["data"])


@pytest.mark.parametrize("wrong", REFUSED)
def test_a_picker_without_a_good_policy_is_told_that_it_is_blocked(js_said: SaidOf, wrong: str) -> None:
    assert js_said("secured").value(f"{wrong}: prefetch")["blocked"] is True


@pytest.mark.parametrize("wrong", REFUSED)
def test_a_refused_head_is_a_status_and_nothing_else(js_said: SaidOf, wrong: str) -> None:
    error = js_said("secured").error(f"{wrong}: retrieve head")
    assert error["answer"] == {"status": 403, "data": {"base64": ""}}


@pytest.mark.parametrize("wrong", REFUSED)
def test_a_refused_upload_says_why_to_who_listens_for_errors(js_said: SaidOf, wrong: str) -> None:
    """The promise is rejected with the file and nothing else; the event has the answer."""
    value = js_said("secured").value(f"{wrong}: upload")
    assert value["rejected"]["status"] == "Failed"
    (event,) = value["events"]
    assert event["message"] == "FS-Cannot upload file. Start request failed"
    assert event["details"]["code"] in (401, 403) and REFUSED[wrong] in json.dumps(event["details"]["data"])
