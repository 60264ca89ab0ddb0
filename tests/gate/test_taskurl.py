"""The grammar of transformation URLs: what each spelling means, what is refused, and that writing undoes reading."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secure_delivery.gate.errors import BadRequest, CredentialConflict, TaskURLError
from secure_delivery.gate.policy import SignedPolicy
from secure_delivery.gate.taskurl import (
    MAX_PATH,
    Source,
    SourceKind,
    Task,
    TaskURL,
    Value,
    parse,
    read_json_tasks,
)

KEY = "AbCdEfGhIjKlMnOpQrStUz"
HANDLE = "bfTNCigRLq0QMOrsFKzb"
OTHER = "KW9EJhYtS6y48Whm2S6D"
POLICY = "ewogICJleHBpcnkiOiAxNTIzNTk1NjAwfQ=="
SIGNATURE = "51" * 32
SIGNED = SignedPolicy(POLICY, SIGNATURE)


def handle(text: str = HANDLE) -> Source:
    return Source(kind=SourceKind.HANDLE, text=text)


def external(text: str) -> Source:
    return Source(kind=SourceKind.EXTERNAL, text=text)


def sources(*items: Source) -> Source:
    return Source(kind=SourceKind.LIST, items=items)


def task(name: str, /, **options: Value) -> Task:
    return Task(name=name, options=tuple(options.items()))


def b64(text: str, encode: Callable[[bytes], bytes] = base64.urlsafe_b64encode) -> str:
    return encode(text.encode()).decode()


def b64_tasks(tasks: object) -> str:
    return b64(json.dumps(tasks))


# ------------------------------------------------------------------------------------------------------------- vectors

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "urls.json").read_text())["cases"]


def tuples(value: Any) -> Any:
    return tuple(map(tuples, value)) if isinstance(value, list) else value


@pytest.mark.parametrize("case", VECTORS, ids=[case["id"] for case in VECTORS])
def test_every_vector_means_what_it_says_or_is_refused(case: dict[str, Any]) -> None:
    path = case["path"]
    if isinstance(path, dict):
        path = path["repeat"][0] * path["repeat"][1] + path["end"]
    if "refused" in case:
        with pytest.raises(BadRequest) as refusal:
            parse(path, query=case.get("query", ""))
        assert refusal.value.code == case["refused"]
        return
    means = case["means"]
    url = parse(path, query=case.get("query", ""))
    assert url.api_key == means["api_key"]
    assert [(t.name, t.options) for t in url.tasks] == [(name, tuples(options)) for name, options in means["tasks"]]
    assert url.source is not None
    assert (url.source.kind, url.source.text) == (means["source"]["kind"], means["source"]["text"])
    items = [(item["kind"], item["text"]) for item in means["source"].get("items", ())]
    assert [(item.kind, item.text) for item in url.source.items] == items
    assert url.signed == (SignedPolicy(*means["signed"]) if means["signed"] else None)
    assert (url.debug, url.takes_query) == (means["debug"], means["takes_query"])


# ----------------------------------------------------------------------------------------------------------- spellings

SRC_LIST = sources(
    Source(kind=SourceKind.ALIAS, text="test123/example.jpg"),
    Source(kind=SourceKind.ALIAS, text="test123/b-400dpi.jpg"),
)
CSS = task("preview", css="https://a.example/style.css")
RESIZE_ROTATE = (task("resize", w="10"), task("rotate", d="90"))
PIXELATE = task("partial_pixelate", objects=(("10", "20", "30", "40"), ("5", "5", "5", "5")))
MIXED_JSON = b64_tasks([{"name": "cache", "params": False}, {"name": "resize", "params": {"width": 80, "f": 1.5, "on": True}}])
SIGNED_JSON = b64_tasks([{"name": "security", "params": {"p": POLICY, "s": SIGNATURE}}, {"name": "flip", "params": None}])

SPELLINGS: dict[str, tuple[str, TaskURL]] = {
    # JavaScript
    "js security among the tasks": (
        f"/{KEY}/flip/security=policy:{POLICY},signature:{SIGNATURE}/flop/{HANDLE}",
        TaskURL(api_key=KEY, tasks=(task("flip"), task("flop")), source=handle(), signed=SIGNED),
    ),
    "js signature before policy": (
        f"/{KEY}/security=signature:{SIGNATURE},policy:{POLICY}/{HANDLE}",
        TaskURL(api_key=KEY, source=handle(), signed=SIGNED),
    ),
    "js quoted policy in the standard alphabet": (
        f"/security=policy:%22ab/cd+e==%22,signature:{SIGNATURE}/{HANDLE}",
        TaskURL(source=handle(), signed=SignedPolicy("ab/cd+e==", SIGNATURE)),
    ),
    "js raw brackets": (
        f"/{KEY}/crop=dim:[20,20,250,250]/{HANDLE}",
        TaskURL(api_key=KEY, tasks=(task("crop", dim=("20", "20", "250", "250")),), source=handle()),
    ),
    "js nested lists": (
        f"/partial_pixelate=objects:[[10,20,30,40],[5,5,5,5]]/{HANDLE}",
        TaskURL(tasks=(PIXELATE,), source=handle()),
    ),
    "js quoted values": (
        f"/store=path:%22a/b/%22,filename:%22x,y.png%22/{HANDLE}",
        TaskURL(tasks=(task("store", path="a/b/", filename="x,y.png"),), source=handle()),
    ),
    "js quoted style sheet": (
        f"/preview=css:%22https://a.example/style.css%22/{HANDLE}",
        TaskURL(tasks=(CSS,), source=handle()),
    ),
    "js quoted external source": (
        f"/{KEY}/upscale/%22https://a.example/x%20y.png%22",
        TaskURL(api_key=KEY, tasks=(task("upscale"),), source=external("https://a.example/x%20y.png")),
    ),
    "js list of quoted alias sources": (
        f"/{KEY}/zip/[%22src://test123/example.jpg%22,%22src://test123/b-400dpi.jpg%22]",
        TaskURL(api_key=KEY, tasks=(task("zip"),), source=SRC_LIST),
    ),
    "js cache switched off": (
        f"/cache=false/{HANDLE}",
        TaskURL(tasks=(Task(name="cache", options=(("", "false"),)),), source=handle()),
    ),
    "js b64 tasks and source": (
        f"/{KEY}/b64/W3sibmFtZSI6InVwc2NhbGUifV0=/b64://{b64(HANDLE)}",
        TaskURL(api_key=KEY, tasks=(task("upscale"),), source=handle()),
    ),
    "js b64 list of handles": (f"/b64://{b64(f'[{HANDLE},{OTHER}]')}", TaskURL(source=sources(handle(), handle(OTHER)))),
    "js workflow result, quoted": (
        f"/{KEY}/flip/%22wf://975092d5-2eb3/2ec47319/1c04%22",
        TaskURL(
            api_key=KEY, tasks=(task("flip"),), source=Source(kind=SourceKind.WORKFLOW, text="975092d5-2eb3/2ec47319/1c04")
        ),
    ),
    "js b64 params of every kind": (
        f"/b64/{MIXED_JSON}/{HANDLE}",
        TaskURL(
            tasks=(Task(name="cache", options=(("", "false"),)), task("resize", width="80", f="1.5", on="true")),
            source=handle(),
        ),
    ),
    # Python
    "python encoded brackets": (
        f"/crop=dim:%5B20,20,250,250%5D/{HANDLE}",
        TaskURL(tasks=(task("crop", dim=("20", "20", "250", "250")),), source=handle()),
    ),
    "python security between zip and its list": (
        f"/{KEY}/zip/security=p:{POLICY},s:{SIGNATURE}/%5B{HANDLE},{OTHER}%5D",
        TaskURL(api_key=KEY, tasks=(task("zip"),), source=sources(handle(), handle(OTHER)), signed=SIGNED),
    ),
    "python raw external source": (
        f"/{KEY}/resize=width:40/http://host.example/a%20b.png",
        TaskURL(api_key=KEY, tasks=(task("resize", width="40"),), source=external("http://host.example/a%20b.png")),
    ),
    "python workflow status without source": (
        f"/{KEY}/security=p:{POLICY},s:{SIGNATURE}/workflow_status=job_id:8f1b-22",
        TaskURL(api_key=KEY, tasks=(task("workflow_status", job_id="8f1b-22"),), signed=SIGNED),
    ),
    "python text sentiment without source": (
        "/text_sentiment=text:%22so, a/b: fine%22,language:en",
        TaskURL(tasks=(task("text_sentiment", text="so, a/b: fine", language="en"),)),
    ),
    # Java
    "java chain in one segment": (f"/resize=w:10%2Frotate=d:90/{HANDLE}", TaskURL(tasks=RESIZE_ROTATE, source=handle())),
    "java chain with everything encoded": (
        f"/resize%3Dw%3A10%2frotate%3Dd%3A90/{HANDLE}",
        TaskURL(tasks=RESIZE_ROTATE, source=handle()),
    ),
    "java encoded external source": (
        f"/{KEY}/flip/https:%2F%2Fhost.example%2Fa%2520b.png%3Fx%3D1",
        TaskURL(api_key=KEY, tasks=(task("flip"),), source=external("https://host.example/a%20b.png?x=1")),
    ),
    "java debug before the chain": (
        f"/{KEY}/debug/flip/{HANDLE}",
        TaskURL(api_key=KEY, tasks=(task("flip"),), source=handle(), debug=True),
    ),
    # Ruby, PHP, Go
    "ruby debug after the chain": (f"/flip/debug/{HANDLE}", TaskURL(tasks=(task("flip"),), source=handle(), debug=True)),
    "ruby security last, after store": (
        f"/{KEY}/store/security=s:{SIGNATURE},p:{POLICY}/https://host.example/a.png",
        TaskURL(api_key=KEY, tasks=(task("store"),), source=external("https://host.example/a.png"), signed=SIGNED),
    ),
    "php lists as JSON": (
        f"/pdfconvert=pages:%5B%221-3%22,%22-2%22%5D/{HANDLE}",
        TaskURL(tasks=(task("pdfconvert", pages=("1-3", "-2")),), source=handle()),
    ),
    "php force after the handle": (
        f"/video_convert=preset:h264/{HANDLE}&force=true",
        TaskURL(tasks=(task("video_convert", preset="h264", force="true"),), source=handle()),
    ),
    "go member names in capitals": (
        f"/b64/{b64_tasks([{'Name': 'resize', 'Params': {'width': 80}}])}/b64://{b64('https://a.example/é.png')}",
        TaskURL(tasks=(task("resize", width="80"),), source=external("https://a.example/é.png")),
    ),
    "go list of b64 sources": (
        f"/zip/[b64://{b64('https://a.example/1?x=2,3')},b64://{b64(HANDLE)}]",
        TaskURL(tasks=(task("zip"),), source=sources(external("https://a.example/1?x=2,3"), handle())),
    ),
    # By hand
    "b64 tasks carry security": (
        f"/b64/{SIGNED_JSON}/{HANDLE}",
        TaskURL(tasks=(task("flip"),), source=handle(), signed=SIGNED),
    ),
    "b64 source in the standard alphabet": (
        f"/flip/b64://{b64('https://a.example/???>>>', base64.b64encode)}",
        TaskURL(tasks=(task("flip"),), source=external("https://a.example/???>>>")),
    ),
    "b64 source without padding": (
        f"/flip/b64://{b64('src://alias/a.png').rstrip('=')}",
        TaskURL(tasks=(task("flip"),), source=Source(kind=SourceKind.ALIAS, text="alias/a.png")),
    ),
    "b64 tasks without source": (
        "/b64/" + b64_tasks([{"name": "text_sentiment", "params": {"text": 'he said "no"'}}]),
        TaskURL(tasks=(task("text_sentiment", text='he said "no"'),)),
    ),
    "alias path is decoded": (
        f"/{KEY}/src://my-alias/a%20b/c%3F.png",
        TaskURL(api_key=KEY, source=Source(kind=SourceKind.ALIAS, text="my-alias/a b/c?.png")),
    ),
    "metadata with a bare list": (
        f"/metadata=[size , md5]/{HANDLE}",
        TaskURL(tasks=(Task(name="metadata", options=(("", ("size", "md5")),)),), source=handle()),
    ),
    "value split at the first colon only": (
        f"/video_convert=clip_offset:00:01:30/{HANDLE}",
        TaskURL(tasks=(task("video_convert", clip_offset="00:01:30"),), source=handle()),
    ),
    "quoted value may be empty": (
        f"/store=filename:%22%22/{HANDLE}",
        TaskURL(tasks=(task("store", filename=""),), source=handle()),
    ),
    "plus stays a plus": (f"/store=filename:a+b/{HANDLE}", TaskURL(tasks=(task("store", filename="a+b"),), source=handle())),
    "one decoding, no more": (
        f"/store=filename:a%252Fb/{HANDLE}",
        TaskURL(tasks=(task("store", filename="a%2Fb"),), source=handle()),
    ),
    "slashes inside brackets": (
        f"/collage=files:[https://a.example/x.png,{OTHER}]/{HANDLE}",
        TaskURL(tasks=(task("collage", files=("https://a.example/x.png", OTHER)),), source=handle()),
    ),
    "b64 numbers stay as written": (
        "/b64/" + b64('[{"name":"border","params":{"width":1.50,"w":2e1}}]') + f"/{HANDLE}",
        TaskURL(tasks=(task("border", width="1.50", w="2e1"),), source=handle()),
    ),
    "three lists deep": (f"/x=o:[[[1]]]/{HANDLE}", TaskURL(tasks=(task("x", o=((("1",),),)),), source=handle())),
    "scheme in capitals": (f"/{KEY}/HTTPS://a.example/x", TaskURL(api_key=KEY, source=external("https://a.example/x"))),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_is_understood_and_survives_the_canonical_form(name: str) -> None:
    path, expected = SPELLINGS[name]
    assert parse(path) == expected
    assert parse(expected.format()) == expected


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        (TaskURL(source=handle()), f"/{HANDLE}"),
        (
            TaskURL(api_key=KEY, tasks=(task("resize", w="10"),), source=handle(), signed=SIGNED, debug=True),
            f"/{KEY}/debug/security=policy:{POLICY},signature:{SIGNATURE}/resize=w:10/{HANDLE}",
        ),
        (
            TaskURL(tasks=(task("crop", dim=("1", "a/b")),), source=external("https://a.example/?q")),
            "/crop=dim:%5B1,%22a%2Fb%22%5D/https%3A%2F%2Fa.example%2F%3Fq",
        ),
        (
            TaskURL(source=sources(handle(), external("http://a.example"))),
            f"/%5B{HANDLE},%22http%3A%2F%2Fa.example%22%5D",
        ),
    ],
)
def test_the_canonical_form_is_what_it_was_yesterday(url: TaskURL, canonical: str) -> None:
    assert url.format() == canonical


def test_options_are_found_by_name_and_in_the_order_given() -> None:
    (only,) = parse(f"/resize=height:2,width:1/{HANDLE}").tasks
    assert (only.get("width"), only.get("height"), only.get("depth")) == ("1", "2", None)
    assert str(only) == "resize=height:2,width:1"


def test_a_url_never_shows_its_signature_in_repr() -> None:
    url = parse(f"/security=p:{POLICY},s:{SIGNATURE}/{HANDLE}")
    assert SIGNATURE not in repr(url)
    assert POLICY not in repr(url)


# -------------------------------------------------------------------------------------------------------- query string


def test_the_query_string_belongs_to_a_raw_external_url() -> None:
    url = parse(f"/{KEY}/flip/http://a.example/x.png", query="w=1&policy=%7B100%")
    assert url.source == external("http://a.example/x.png?w=1&policy=%7B100%")
    assert url.takes_query
    assert not parse(url.format()).takes_query


@pytest.mark.parametrize(
    "source", [HANDLE, "%22http://a.example/x.png%22", "http:%2F%2Fa.example%2Fx.png", f"[{HANDLE}]", "src://a/b.png"]
)
def test_the_query_string_is_no_part_of_any_other_source(source: str) -> None:
    url = parse(f"/flip/{source}", query="policy=a&signature=b")
    assert not url.takes_query
    assert url == parse(f"/flip/{source}")


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        (
            f"/{KEY}/flip/%22http://a.example/x",
            "y=1%22",
            TaskURL(api_key=KEY, tasks=(task("flip"),), source=external("http://a.example/x?y=1")),
        ),
        (
            "/zip/[%22http://a.example/x",
            f"y=1%22,{HANDLE}]",
            TaskURL(tasks=(task("zip"),), source=sources(external("http://a.example/x?y=1"), handle())),
        ),
        (
            "/preview=css:%22https://a.example/s.css",
            f"v=1%22/{HANDLE}",
            TaskURL(tasks=(task("preview", css="https://a.example/s.css?v=1"),), source=handle()),
        ),
        (
            f"/{KEY}/preview=css:%22https://a.example/s.css",
            "v=1%22/http://a.example/x?y=1",
            TaskURL(
                api_key=KEY,
                tasks=(task("preview", css="https://a.example/s.css?v=1"),),
                source=external("http://a.example/x?y=1"),
            ),
        ),
    ],
    ids=["source", "list", "option", "option and source"],
)
def test_a_question_mark_inside_quotes_does_not_end_the_path(path: str, query: str, expected: TaskURL) -> None:
    url = parse(path, query=query)
    assert url == expected
    assert url.takes_query


def test_quotes_that_the_query_string_does_not_close_are_refused() -> None:
    with pytest.raises(TaskURLError):
        parse("/flip/%22http://a.example/x", query="y=1")


@pytest.mark.parametrize("query", ["a=\x00", "a\\b", "x" * MAX_PATH])
def test_a_query_string_that_becomes_part_of_the_source_keeps_its_rules(query: str) -> None:
    with pytest.raises(TaskURLError):
        parse(f"/{KEY}/http://a.example/x", query=query)
    assert parse(f"/{HANDLE}", query=query).source == handle()


# ---------------------------------------------------------------------------------------------------------------- keys


@pytest.mark.parametrize("key", ["A" * 20, "B1" * 11, "c" * 32])
def test_a_known_key_of_any_issued_length_leads_the_path(key: str) -> None:
    assert parse(f"/{key}/flip/{HANDLE}", known_key=key.__eq__).api_key == key


def test_a_first_segment_that_is_no_known_key_must_be_a_task() -> None:
    with pytest.raises(TaskURLError):
        parse(f"/{KEY}/{HANDLE}", known_key=lambda key: False)
    lower = "abcdefghijklmnopqrstuv"
    assert parse(f"/{lower}/{HANDLE}", known_key=lambda key: False).tasks == (task(lower),)


def test_a_segment_that_stands_alone_is_a_handle_even_when_it_looks_like_a_key() -> None:
    assert parse(f"/{KEY}", known_key=lambda key: True) == TaskURL(source=handle(KEY))


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    "path",
    [
        f"/security=p:{POLICY},s:{SIGNATURE}/security=p:{POLICY},s:{SIGNATURE}/{HANDLE}",
        f"/security=p:{POLICY},policy:{POLICY},s:{SIGNATURE}/{HANDLE}",
        f"/security=p:{POLICY},p:{POLICY},s:{SIGNATURE}/{HANDLE}",
        f"/security=p:a,s:b/b64/{b64_tasks([{'name': 'security', 'params': {'p': 'a', 's': 'b'}}])}/{HANDLE}",
    ],
    ids=["two tasks", "two names of an option", "an option twice", "path and b64"],
)
def test_two_credentials_are_a_conflict_even_when_they_agree(path: str) -> None:
    with pytest.raises(CredentialConflict):
        parse(path)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (f"/resize=width:1,width:2/{HANDLE}", ("'resize'", "'width'", "twice")),
        (f"/crop=dim:[[[[1]]]]/{HANDLE}", ("'crop'", "'dim'", "nested")),
        (f"/resize=/{HANDLE}", ("'resize'",)),
    ],
)
def test_a_refusal_names_the_task_and_the_option(path: str, words: tuple[str, ...]) -> None:
    with pytest.raises(TaskURLError) as refusal:
        parse(path)
    assert all(word in refusal.value.public for word in words)


# ------------------------------------------------------------------------------------------------------- JSON of others


def test_tasks_from_a_request_body_read_like_those_of_a_path() -> None:
    body = [{"name": "store", "params": {"location": "s3", "width": 1, "ratio": 0.5, "public": False, "ids": ["a", 2]}}]
    assert read_json_tasks(body) == (task("store", location="s3", width="1", ratio="0.5", public="false", ids=("a", "2")),)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**5000], ids=["nan", "infinity", "huge"])
def test_numbers_that_are_none_in_json_are_refused(number: float) -> None:
    with pytest.raises(TaskURLError):
        read_json_tasks([{"name": "resize", "params": {"width": number}}])
