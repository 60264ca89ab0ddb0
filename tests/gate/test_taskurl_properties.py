"""The grammar of transformation URLs against any text: writing undoes reading, refusals are of one family, no path is slow."""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from secure_delivery.gate.errors import BadRequest, CredentialConflict, TaskURLError
from secure_delivery.gate.policy import SignedPolicy
from secure_delivery.gate.taskurl import MAX_PATH, MAX_SOURCES, MAX_TASKS, Source, SourceKind, Task, TaskURL, Value, parse

KEY = "AbCdEfGhIjKlMnOpQrStUz"
HANDLE = "bfTNCigRLq0QMOrsFKzb"
SIGNED = SignedPolicy("ewogICJleHBpcnkiOiAxNTIzNTk1NjAwfQ==", "51" * 32)


def handle(text: str = HANDLE) -> Source:
    return Source(kind=SourceKind.HANDLE, text=text)


def external(text: str) -> Source:
    return Source(kind=SourceKind.EXTERNAL, text=text)


def sources(*items: Source) -> Source:
    return Source(kind=SourceKind.LIST, items=items)


def b64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


# -------------------------------------------------------------------------------------------------------------- limits


def test_a_chain_has_at_most_32_tasks_not_counting_security_and_debug() -> None:
    extra = "/debug/security=p:a,s:b"
    assert len(parse(f"/{KEY}{extra}{'/flip' * MAX_TASKS}/{HANDLE}").tasks) == MAX_TASKS
    with pytest.raises(TaskURLError):
        parse("/flip" * (MAX_TASKS + 1) + f"/{HANDLE}")
    for count in (MAX_TASKS + 1, 2 * MAX_TASKS):
        with pytest.raises(TaskURLError, match="at most 32"):
            parse(f"/b64/{b64(json.dumps([{'name': 'flip'}] * count))}/{HANDLE}")


def test_a_path_has_at_most_8192_characters() -> None:
    start = f"/{KEY}/http://a.example/"
    assert parse(start + "x" * (MAX_PATH - len(start))).source is not None
    with pytest.raises(TaskURLError):
        parse(start + "x" * (MAX_PATH - len(start) + 1))


def test_a_list_has_at_most_a_hundred_sources() -> None:
    found = parse(f"/zip/[{','.join([HANDLE] * MAX_SOURCES)}]").source
    assert found is not None and len(found.items) == MAX_SOURCES
    with pytest.raises(TaskURLError):
        parse(f"/zip/[{','.join([HANDLE] * (MAX_SOURCES + 1))}]")


ROOM = MAX_PATH - 64
HEAVY = {
    "slashes": "/" * MAX_PATH,
    "encoded slashes": "/" + "%2F" * (ROOM // 3),
    "short tasks": "/a" * (ROOM // 2) + f"/{HANDLE}",
    "open brackets": f"/x=o:{'[' * ROOM}",
    "brackets in pairs": f"/x=o:{'[]' * (ROOM // 2)}/{HANDLE}",
    "quotes": f"/x=o:{'%22' * (ROOM // 3)}",
    "options": f"/x={','.join(f'k{n}:1' for n in range(1100))}/{HANDLE}"[:MAX_PATH],
    "blanks in a list": f"/x=o:[{' ' * ROOM}]",
    "commas in a list": f"/zip/[{',' * ROOM}]",
    "quotes in a list": f"/zip/[{'%22' * (ROOM // 3)}]",
    "schemes": "/" + "http:/" * (ROOM // 6),
    "dots in a URL": f"/{KEY}/http://a.example/{'%2e/' * (ROOM // 4)}",
    "deep JSON": f"/b64/{b64('[' * 6000)}",
    "deep JSON, closed": f"/b64/{b64('[' * 3000 + ']' * 3000)}",
    "escaped quotes in JSON": "/b64/" + b64('["' + '\\"' * 2900),
    "a number of 6000 digits": "/b64/" + b64('[{"name":"x","params":{"n":' + "9" * 6000 + "}}]"),
    "equals signs": f"/b64://{'=' * ROOM}",
}


@pytest.mark.parametrize("name", HEAVY)
def test_no_path_of_legal_length_takes_long(name: str) -> None:
    path = HEAVY[name]
    assert len(path) <= MAX_PATH
    max_ms = 500  # a quadratic reader needs seconds for most of these, this one about a millisecond
    started = time.process_time()
    for query in ("", "x" * 20):
        try:
            parse(path, query=query)
        except BadRequest:
            pass
    assert (time.process_time() - started) * 1000 < max_ms


# ---------------------------------------------------------------------------------------------------------- properties

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\\"), max_size=20)
UNQUOTED = TEXT.map(lambda text: text.replace('"', ""))
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,11}", fullmatch=True).filter(lambda name: name not in ("b64", "debug", "security"))
LEAVES: st.SearchStrategy[Value] = TEXT
VALUES: st.SearchStrategy[Value] = LEAVES | st.lists(
    LEAVES | st.lists(LEAVES | st.lists(LEAVES, min_size=1, max_size=2).map(tuple), min_size=1, max_size=2).map(tuple),
    min_size=1,
    max_size=3,
).map(tuple)
BARE = st.sampled_from([Task(name="cache", options=(("", "false"),)), Task(name="metadata", options=(("", ("size", 'm"d5')),))])
TASKS = BARE | st.builds(
    Task,
    name=NAMES | st.sampled_from(["abcdefghijklmnopqrstuv"]),
    options=st.dictionaries(st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,9}", fullmatch=True), VALUES, max_size=3).map(
        lambda options: tuple(options.items())
    ),
)
HANDLES = st.from_regex(r"[A-Za-z0-9_-]{20,64}", fullmatch=True).map(handle)
CLIMBS = {"", ".", ".."}
URLS = UNQUOTED.filter(
    lambda path: not any(part.lower().replace("%2e", ".") in (".", "..") for part in path.split("?")[0].split("/"))
).map(lambda path: external(f"https://a.example/{path}"))
ALIASES = UNQUOTED.filter(lambda path: CLIMBS.isdisjoint(path.split("/"))).map(
    lambda path: Source(kind=SourceKind.ALIAS, text=f"my-alias/{path}")
)
RESULTS = st.from_regex(r"[A-Za-z0-9=+_-]{1,30}", fullmatch=True).map(lambda text: Source(kind=SourceKind.WORKFLOW, text=text))
SINGLE = HANDLES | URLS | ALIASES | RESULTS
SOURCES = SINGLE | st.lists(SINGLE, min_size=1, max_size=4).map(lambda items: sources(*items))
CREDENTIALS = st.builds(SignedPolicy, UNQUOTED.filter(bool), UNQUOTED.filter(bool))
TASK_URLS = st.builds(
    TaskURL,
    api_key=st.none() | st.from_regex(r"[A-Za-z0-9]{22}", fullmatch=True),
    tasks=st.lists(TASKS, max_size=4).map(tuple),
    source=SOURCES | st.none(),
    signed=CREDENTIALS | st.none(),
    debug=st.booleans(),
).filter(lambda url: url.source is not None or bool(url.tasks))


@given(TASK_URLS)
@example(TaskURL(tasks=(Task(name="zip"),)))
@example(TaskURL(tasks=(Task(name="abcdefghijklmnopqrstuv"),), source=handle()))
@example(TaskURL(tasks=(Task(name="text", options=(("text", '"'),)),), source=handle(), signed=SIGNED, debug=True))
def test_reading_what_was_written_gives_the_same_url(url: TaskURL) -> None:
    path = url.format()
    if len(path) <= MAX_PATH:
        assert parse(path) == url
        assert parse(path).format() == path


def spelled(source: Source, how: str) -> str:
    """A single source in one of the spellings that clients use."""
    schemes = {SourceKind.ALIAS: "src://", SourceKind.WORKFLOW: "wf://"}
    text = schemes.get(source.kind, "") + source.text
    match how:
        case "encoded":
            return quote(text, safe="")
        case "quoted":
            return f"%22{quote(text, safe='')}%22"
        case "slashes":
            return quote(text, safe=":=")
        case _:
            return f"b64://{b64(text)}"


@settings(max_examples=300)
@given(SINGLE, st.sampled_from(["encoded", "quoted", "slashes", "b64"]))
def test_every_spelling_of_a_source_is_that_source(source: Source, how: str) -> None:
    path = f"/{KEY}/flip/{spelled(source, how)}"
    if len(path) <= MAX_PATH:
        assert parse(path) == TaskURL(api_key=KEY, tasks=(Task(name="flip"),), source=source)


@given(st.lists(st.tuples(SINGLE, st.sampled_from(["encoded", "quoted", "slashes", "b64"])), min_size=1, max_size=5))
def test_a_list_may_spell_each_of_its_members_in_its_own_way(members: list[tuple[Source, str]]) -> None:
    # Commas and brackets part a list however they travelled; only quotes and Base64 keep them from it.
    safe = [(source, "quoted" if set(source.text) & set(",[]") and how != "b64" else how) for source, how in members]
    listed = ",".join(spelled(source, how) for source, how in safe)
    wanted = sources(*(source for source, _ in members))
    for path in (f"/{KEY}/zip/[{listed}]", f"/{KEY}/zip/%5B{listed.replace(',', '%2C')}%5D"):
        if len(path) <= MAX_PATH:
            assert parse(path).source == wanted


@given(
    st.from_regex(r"[A-Za-z0-9._~!$&'()*+;=:@/-]{1,40}", fullmatch=True).filter(
        lambda path: not any(part in (".", "..") for part in path.split("/"))
    ),
    st.from_regex(r"[A-Za-z0-9._~!$&'()*+,;=:@/?-]{1,40}", fullmatch=True),
)
def test_a_raw_address_is_taken_as_it_came_with_the_query_of_the_request(path: str, query: str) -> None:
    url = parse(f"/{KEY}/flip/https://a.example/{path}", query=query)
    assert url.source == external(f"https://a.example/{path}?{query}")
    assert url.takes_query


PIECES = st.sampled_from(
    [
        *("/", "%2F", "//", ":", "=", ",", '"', "%22", "[", "]", "%5B", "%5D", "?", " ", "a", "é"),
        *("..", "%2e", "%", "%00", "\\", "\udc80"),
        *("http://", "https:%2F%2F", "src://", "wf://", "b64://", "b64/", "&force=true"),
        *("security=p:a,s:b", "debug", "cache=false", "metadata=[a]", "resize=w:1", "video_convert"),
        *(KEY, HANDLE, b64('[{"name":"flip"}]'), b64("http://a.example")),
    ]
)


@settings(max_examples=500)
@given(st.lists(PIECES | st.text(max_size=5), max_size=12).map("".join), st.just("") | st.text(max_size=20))
def test_any_text_is_understood_or_refused_and_nothing_else_happens(text: str, query: str) -> None:
    try:
        url = parse("/" + text, query=query)
    except (TaskURLError, CredentialConflict):
        return
    path = url.format()
    assert path.isascii()
    if len(path) <= MAX_PATH:
        assert parse(path, known_key=lambda key: key == url.api_key) == url
