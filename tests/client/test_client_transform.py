"""The builder: what the server reads is what was meant, for every chain there can be."""

from __future__ import annotations

import inspect
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live import Server, picture

from secure_delivery.client import Client, SigningError, Transform, TransformError, transform
from secure_delivery.gate.policy import Policy, SignedPolicy, verify
from secure_delivery.gate.tasksource import SourceKind
from secure_delivery.gate.taskurl import TaskURL, parse

KEY = "AclientClientClientCl1"
HANDLE = "handlehandlehandle01"
SECRET = "a-secret-of-the-tests"
client = Client("https://files.test/deep", api_key=KEY, secret=SECRET, clock=lambda: 1000.0)


def read(url: str) -> TaskURL:
    """A URL as the server reads it."""
    assert url.startswith("https://files.test/deep/")
    parts = urlsplit(url)
    assert parts.query == ""
    assert parts.fragment == ""
    return parse(parts.path.removeprefix("/deep"), known_key=lambda text: text == KEY)


# -------------------------------------------------------------------------------------------------------------- every chain

letters = st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\\")
texts = st.text(letters, max_size=30)
scalars = st.one_of(texts, st.integers(-(10**12), 10**12), st.booleans(), st.floats(allow_nan=False, allow_infinity=False))
options = st.recursive(scalars, lambda inner: st.lists(inner, min_size=1, max_size=3), max_leaves=5).filter(
    lambda value: _depth(value) <= 3
)
keys = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,10}", fullmatch=True)
names = st.from_regex(r"[a-z][a-z0-9_]{0,22}", fullmatch=True).filter(lambda name: name not in ("security", "b64", "debug"))
tasks = st.tuples(names, st.dictionaries(keys, options, max_size=3))


def _depth(value: Any) -> int:
    return 1 + max(map(_depth, value)) if isinstance(value, list) else 0


def _text(value: Any) -> Any:
    """What a value is as text, by other means than the code's."""
    if isinstance(value, list):
        return tuple(map(_text, value))
    if isinstance(value, bool):
        return {True: "true", False: "false"}[value]
    return value if isinstance(value, str) else float(value)


def _same(read_value: Any, meant: Any) -> bool:
    if isinstance(meant, tuple):
        return isinstance(read_value, tuple) and len(read_value) == len(meant) and all(map(_same, read_value, meant))
    return float(read_value) == meant if isinstance(meant, float) else read_value == meant


@given(st.lists(tasks, min_size=1, max_size=4), st.booleans())
def test_what_was_meant_is_what_is_read(chain: list[tuple[str, dict[str, Any]]], sign: bool) -> None:
    built = transform
    for name, given_options in chain:
        built = built.task(name, **given_options)
    signed = SignedPolicy("cG9saWN5", "0" * 64) if sign else None
    url = Client("https://files.test/deep", api_key=KEY).url(HANDLE, built, signed=signed)
    found = read(url)
    assert found.source is not None
    assert found.source.text == HANDLE
    assert found.signed == signed
    assert [task.name for task in found.tasks] == [name for name, _ in chain]
    for task, (_, meant) in zip(found.tasks, chain, strict=True):
        assert [key for key, _ in task.options] == list(meant)
        assert all(_same(value, _text(meant[key])) for key, value in task.options)


URLS = st.from_regex(r"https?://[a-z]{1,8}\.test/[A-Za-z0-9%&=?#,:;()\[\] é_~+-]{0,30}", fullmatch=True)


@given(st.one_of(URLS, st.just(HANDLE), st.lists(st.one_of(URLS, st.just(HANDLE)), min_size=1, max_size=4)))
def test_the_source_that_was_meant_is_the_one_that_is_read(source: str | list[str]) -> None:
    found = read(Client("https://files.test/deep", api_key=KEY).url(source, transform.resize(width=3)))
    assert found.source is not None
    if isinstance(source, str):
        assert found.source.text == source
        assert found.api_key == (None if source == HANDLE else KEY)
    else:
        assert found.source.kind is SourceKind.LIST
        assert [item.text for item in found.source.items] == source


@pytest.mark.parametrize(
    "value",
    ["a/b", "a,b", "a:b", "[a]", "a]b", 'say "x"', "%22", "%2F", "a%2fb", "?x=1", "#x", " ", "", "true",
     "🦄", "a+b", "=", "&", "..", "/.."],
)  # fmt: skip
def test_nothing_in_a_value_breaks_out_of_it(value: str) -> None:
    (task,) = read(client.url(HANDLE, transform.task("watermark", text=value))).tasks
    assert task.options == (("text", value),)


def test_a_chain_is_written_as_the_documentation_writes_it() -> None:
    chain = transform.resize(width=300, fit="crop", align=["top", "left"]).rotate(deg=90).output(format="webp")
    assert str(chain) == "resize=width:300,fit:crop,align:%5Btop,left%5D/rotate=deg:90/output=format:webp"
    assert str(transform.rotate(deg="exif").flip().cache(False)) == "rotate=deg:exif/flip/cache=false"
    assert str(transform.sharpen(amount=2.5).blur(amount=3.0)) == "sharpen=amount:2.5/blur=amount:3"


def test_a_chain_is_never_changed() -> None:
    first = transform.resize(width=3)
    second = first.flip()
    assert len(transform.tasks) == 0
    assert (len(first.tasks), len(second.tasks)) == (1, 2)
    assert first + transform.flip() == second
    assert hash(first) == hash(transform.resize(width=3))


@pytest.mark.parametrize(
    "build",
    [
        lambda: transform.resize(),
        lambda: transform.resize(fit="crop"),
        lambda: transform.pdfconvert(),
        lambda: transform.task("security", policy="a", signature="b"),
        lambda: transform.task("b64"),
        lambda: transform.task("debug"),
        lambda: transform.task("Resize"),
        lambda: transform.task("a/b"),
        lambda: transform.task("a=b"),
        lambda: transform.task("x", **{"a:b": 1}),
        lambda: transform.task("x", **{"": 1}),
        lambda: transform.task("x", a="\\"),
        lambda: transform.task("x", a="\n"),
        lambda: transform.task("x", a="\ud800"),
        lambda: transform.task("x", a=[]),
        lambda: transform.task("x", a=[[[[1]]]]),
        lambda: transform.task("x", a=float("nan")),
        lambda: transform.task("x", a=float("inf")),
        lambda: transform.task("x", a=b"bytes"),
        lambda: transform.task("x", a={"b": 1}),
        lambda: transform.task("x", a=object()),
        lambda: transform.crop(dim=(1, 2, 3)),  # type: ignore[arg-type]
        lambda: transform.collage(files="abc", width=1, height=1),
        lambda: transform.doc_to_images(pages="1-3"),
        lambda: sum([transform.flip()] * 33, Transform()),
    ],
)
def test_what_no_url_can_carry_is_refused_here(build: Any) -> None:
    with pytest.raises(TransformError):
        build()


@pytest.mark.parametrize(
    "source", ["", "short", "ftp://a.test/x", 'http://a.test/"', "http://a.test/../x", [], [["x"]], ["short"], "\n"]
)
def test_a_source_that_is_none_is_refused_here(source: Any) -> None:
    with pytest.raises((TransformError, TypeError)):
        client.url(source, transform.flip())


def test_a_url_longer_than_servers_take_is_refused_here() -> None:
    with pytest.raises(TransformError, match="8192"):
        client.url(HANDLE, transform.task("watermark", text="é" * 2000))


# ------------------------------------------------------------------------------------------------------------- the policy


def policy_of(url: str) -> Policy:
    signed = read(url).signed
    assert signed is not None
    assert verify(signed.encoded, signed.signature, [SECRET.encode()]) == 0
    return Policy.decode(signed.encoded)


@pytest.mark.parametrize(
    ("chain", "calls"),
    [
        (transform, {"read"}),
        (transform.flip(), {"convert"}),
        (transform.flip().store(path="/x/"), {"convert", "store", "pick"}),
        (transform.task("run_workflow", id="x"), {"convert", "runWorkflow"}),
        (transform.pjpg(metadata=True), {"convert", "exif"}),
        (transform.pjpg(metadata=False), {"convert"}),
    ],
    ids=["plain", "chain", "store", "workflow", "exif", "no exif"],
)
def test_a_url_grants_what_it_needs_for_its_file_and_time_and_nothing_else(chain: Transform, calls: set[str]) -> None:
    policy = policy_of(client.url(HANDLE, chain, expires_in=60))
    assert policy == Policy(expiry=1060, call=frozenset(policy.call or ()), handle=HANDLE)
    assert policy.call == calls


def test_a_url_elsewhere_is_bound_to_exactly_that_url() -> None:
    source = "https://a.test/x.png?y=1&z=(2)"
    policy = policy_of(client.url(source, transform.flip()))
    assert policy.handle is None
    assert policy.matches("url", source)
    assert not policy.matches("url", source.replace(".png", "xpng"))
    assert not policy.matches("url", source + "&more")


@pytest.mark.parametrize(
    ("source", "chain"),
    [
        (HANDLE, transform.watermark(file="another-handle-000001")),
        (HANDLE, transform.collage(files=["another-handle-000001"], width=1, height=1)),
        (HANDLE, transform.fallback(handle="another-handle-000001")),
        ([HANDLE, "another-handle-000001"], transform.task("zip")),
        ("src://media/a.jpg", transform.flip()),
    ],
    ids=["watermark", "collage", "fallback", "list", "alias"],
)
def test_a_policy_for_all_files_is_only_made_when_that_is_said(source: Any, chain: Transform) -> None:
    with pytest.raises(TransformError, match="bind=False"):
        client.url(source, chain)
    policy = policy_of(client.url(source, chain, bind=False))
    assert (policy.handle, policy.url) == (None, None)


def test_rounding_gives_the_same_url_for_a_while() -> None:
    times = iter([1000.0, 1500.0, 4000.0])
    moving = Client("https://files.test/deep", api_key=KEY, secret=SECRET, clock=lambda: next(times))
    first, second, third = (moving.url(HANDLE, expires_in=60, round_to=3600) for _ in range(3))
    assert first == second
    assert first != third


def test_without_a_secret_nothing_is_signed_and_what_was_given_is_shown() -> None:
    given_policy = SignedPolicy("cG9saWN5", "0" * 64)
    assert read(Client("https://files.test/deep", api_key=KEY).url(HANDLE)).signed is None
    assert read(Client("https://files.test/deep", api_key=KEY, signed=given_policy).url(HANDLE)).signed == given_policy
    for without in (Client("https://files.test", api_key=KEY), Client("https://files.test", api_key=KEY, signed=given_policy)):
        with pytest.raises(SigningError):
            without.sign(expires_in=60, call="read")


def test_sign_makes_exactly_the_policy_that_was_asked_for() -> None:
    signed = client.sign(expires_in=60, call=["read", "convert"], handle=HANDLE, min_size=1, max_size=2, path="/a/.*")
    assert Policy.decode(signed.encoded) == Policy(
        expiry=1060, call=frozenset({"read", "convert"}), handle=HANDLE, min_size=1, max_size=2, path="/a/.*"
    )  # type: ignore[arg-type]
    grant = client.grant(expires_in=60, call="read")
    assert grant["expiry"] == 1060
    assert verify(grant["policy"], grant["signature"], [SECRET.encode()]) == 0


@pytest.mark.parametrize(
    "limits",
    [{"call": "fly"}, {"call": "read", "path": "("}, {"call": "read", "min_size": -1}, {"call": "read", "expires_in": 0}],
)
def test_a_policy_that_the_server_would_refuse_is_not_signed(limits: dict[str, Any]) -> None:
    with pytest.raises(SigningError):
        client.sign(**{"expires_in": 60} | limits)


def test_a_handle_that_is_none_is_not_signed_for() -> None:
    with pytest.raises(ValueError, match="handle"):
        client.sign(expires_in=60, call="read", handle="https://files.test/x")


# ---------------------------------------------------------------------------------------------- the server knows them all

OTHER = "another-handle-000001"
#: For each method, arguments that name every option of it.
EVERY: dict[str, dict[str, Any]] = {
    "resize": {"width": 30, "height": 20, "fit": "crop", "align": ["top", "left"]},
    "crop": {"dim": (0, 0, 10, 10)},
    "smart_crop": {"width": 10, "height": 10, "mode": "auto", "fill_color": "red", "coords": False},
    "rotate": {"deg": 90, "background": "red"},
    "flip": {},
    "flop": {},
    "watermark": {"file": OTHER, "size": 30, "position": ["top", "left"]},
    "rounded_corners": {"radius": "max", "blur": 0.5, "background": "red"},
    "vignette": {"amount": 20, "blurmode": "linear", "background": "red"},
    "polaroid": {"rotate": 10, "color": "snow", "background": "red"},
    "torn_edges": {"spread": (1, 10), "background": "red"},
    "shadow": {"blur": 4, "opacity": 60, "vector": (4, -4), "color": "black", "background": "white"},
    "circle": {"background": "red"},
    "border": {"width": 2, "color": "black", "background": "white"},
    "sharpen": {"amount": 2},
    "blur": {"amount": 2},
    "monochrome": {},
    "blackwhite": {"threshold": 50},
    "sepia": {"tone": 80},
    "pixelate": {"amount": 10},
    "oil_paint": {"amount": 2},
    "negative": {},
    "modulate": {"brightness": 110, "hue": 10, "saturation": 90},
    "partial_pixelate": {"objects": [(0, 0, 5, 5)], "amount": 10, "blur": 4, "type": "oval"},
    "partial_blur": {"objects": [(0, 0, 5, 5), [1, 2, 3, 4]], "amount": 10, "blur": 4, "type": "rect"},
    "collage": {"files": [OTHER], "width": 100, "height": 100, "margin": 5, "color": "white", "fit": "auto",
                "autorotate": True},
    "upscale": {"upscale": True, "noise": "low", "style": "photo"},
    "enhance": {"preset": "vivid"},
    "redeye": {},
    "ascii": {"background": "white", "foreground": "black", "colored": False, "size": 20, "reverse": False},
    "auto_image": {},
    "no_metadata": {},
    "quality": {"value": "input"},
    "compress": {"metadata": True},
    "pjpg": {"quality": 80, "metadata": False},
    "output": {
        "format": "pdf", "background": "white", "page": 1, "density": 72, "compress": True, "quality": "input", "strip": True,
        "colorspace": "rgb", "secure": True, "docinfo": False, "pageformat": "a4", "pageorientation": "portrait",
    },
    "pdfinfo": {"colorinfo": True},
    "pdfconvert": {"pages": [1, "2-3"], "pageformat": "a4", "pageorientation": "landscape"},
    "doc_to_images": {"pages": ["1-2"], "format": "png", "quality": 80, "density": 72, "hidden_slides": False},
    "cache": {"expiry": 60},
    "store": {"filename": "a.png", "location": "s3", "path": "/x/", "container": "c", "region": "eu-test-1",
              "access": "private"},
    "fallback": {"handle": OTHER, "cache": 60},
}  # fmt: skip


def methods() -> set[str]:
    found = {name for name, _ in inspect.getmembers(Transform, inspect.isfunction) if not name.startswith("_")}
    return found - {"task"}


def test_every_method_is_tried_below() -> None:
    assert set(EVERY) == methods()


@pytest.mark.parametrize("name", sorted(EVERY))
def test_the_server_understands_every_method_with_every_option(name: str, server: Server) -> None:
    """`debug` says what would be done, in the server's own words, and refuses what it does not know."""
    application = server.application()
    link, other = (server.put(application, picture(60, 40, "PNG"), "a.png") for _ in range(2))
    with Client(server.url, api_key=application.api_key, secret=application.secrets.signing.value) as real:
        given_options = {
            key: [other.handle] if value == [OTHER] else other.handle if value == OTHER else value
            for key, value in EVERY[name].items()
        }
        chain = getattr(transform, name)(**given_options)
        target = urlsplit(real.url(link.handle, chain, bind=False, debug=True)).path
    reply = server.get(target)
    assert reply.status == 200, reply.body
    said = reply.json()
    assert name in str(said)


def test_a_signed_url_is_good_for_what_it_says_and_nothing_else(server: Server) -> None:
    application = server.application(require_policy=True)
    link, other = (server.put(application, picture(60, 40), "a.jpg") for _ in range(2))
    real = Client(server.url, api_key=application.api_key, secret=application.secrets.signing.value)
    path = urlsplit(real.url(link.handle, transform.resize(width=30).output(format="png"))).path
    assert server.get(path).headers["content-type"] == "image/png"
    assert server.get(path.replace(link.handle, other.handle)).code == "not_permitted"
    plain = urlsplit(real.url(link.handle)).path
    assert server.get(plain).status == 200
    assert server.get(plain.replace(link.handle, "flip/" + link.handle)).code == "not_permitted"
    late = Client(
        server.url,
        api_key=application.api_key,
        secret=application.secrets.signing.value,
        clock=lambda: time.time() - 100,
    )
    assert server.get(urlsplit(late.url(link.handle, expires_in=50)).path).code == "policy_expired"
