"""Minified scripts and sheets do what they did, in fewer bytes."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from secure_delivery.plugin import Corrupt, Media, MemoryFile, SecureDeliveryError, TooLarge, Unsupported, WorkLimits
from secure_delivery.plugin.testing import TransformationContract, bind, content
from secure_delivery_web import driver, transformations

JS, CSS = transformations()["minify_js"], transformations()["minify_css"]
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")

SWITCHES = [
    "booleans", "builtIns", "consecutiveAdds", "deadcode", "evaluate", "flipComparisons", "guards", "infinity",
    "memberExpressions", "mergeVars", "numericLiterals", "propertyLiterals", "regexpConstructors", "removeUndefined",
    "simplify", "simplifyComparisons", "typeConstructors", "undefinedToVoid",
]  # fmt: skip

SCRIPTS = {
    "closures": """
        // counts
        function makeCounter(initialValue) {
            let currentValue = initialValue || 0;
            return { increment: function () { currentValue += 1; return currentValue; }, reset() { currentValue = 0; } };
        }
        const counter = makeCounter(40);
        counter.increment(); counter.increment();
        console.log(counter.increment(), typeof counter.reset, undefined === void 0);
    """,
    "classes": """
        class Shape { #side = 2; static kind = 'shape'; constructor(name) { this.name = name; }
            get area() { return this.#side ** 2; }
            *[Symbol.iterator]() { for (let index = 0; index < 3; index++) yield index * this.area; } }
        class Square extends Shape { toString() { return `square ${super.area} ${this.name}`; } }
        const square = new Square("one");
        console.log(String(square), [...square], Square.kind, square instanceof Shape);
    """,
    "regular expressions and division": r"""
        var a = 8, b = 2, g = 2;
        console.log(a / b / g, "a/b//c".split(/[/]b\//), /["'`]/.test("'"), a++ / 2, `t${a / 2}${`n${b}`}`);
        if (a) /x/.exec("x") && console.log("block then regex");
    """,
    "no semicolons": """
        var x = 1
        var y = x
        ++x
        const f = () => {
            return
            x
        }
        console.log(x, y, f())
        ;[1, 2].forEach(n => console.log(n))
        label: for (;;) { for (;;) { break label } }
    """,
    "scopes": """
        var value = "outer";
        (function () { if (false) { var value = 1; } console.log(value); })();
        try { missing; } catch ({ name }) { console.log(name); }
        function hoisted() { return typeof later; var later = 1; }
        console.log(hoisted(), (function fact(n) { return n < 2 ? 1 : n * fact(n - 1); })(5));
        switch (value) { case "outer": let z = 1; console.log(z); default: console.log("fell through"); }
    """,
    "numbers and texts": r"""
        console.log(0.5, 1e21, 0xff, 0b11, 1_000, 10n ** 20n, -0 === 0, Object.is(-0, 0), 1000000, .1 + .2);
        console.log("a\
b", 'it\'s', "\u00e9\u{1F600}", 'quote"s', "</script>", `multi
line`, String.raw`\n`);
    """,
    "modern": """
        const { a: { b: deep = 5 } = {}, ...rest } = { c: 1, d: 2 };
        const maybe = null, list = [1, , 3, ...[4, 5]];
        console.log(deep, rest, maybe?.x ?? "none", list.length, (maybe ?? 0) || "or", [..."añ"].length);
        let assigned = null; assigned ??= 3; assigned **= 2; assigned ||= 9;
        (async () => { for await (const item of (async function* () { yield 1; yield 2; })()) console.log(item, assigned); })();
    """,
    "eval sees names": """
        function outer(argumentName) { var localName = 7; return eval("localName + argumentName"); }
        console.log(outer(3));
    """,
    "eval beside a template": "function outer(name) { return eval('name') + `  ${`  ${name}`}`; } console.log(outer(1)) // x",
    "a branch that is never taken": "var a = 1; (function () { if (!1) { var a = 2; } /* b */ console.log(a); })();",
    "with sees names": """
        function outer(box) { var inside = 1; with (box) { return inside; } }
        console.log(outer({ inside: 2 }), outer({}));
    """,
}


def script(text: str, **options: Any) -> str:
    media = MemoryFile(text.encode(), "application/javascript", "a.js")
    from secure_delivery.plugin.testing import SimpleWorkshop

    result = JS.apply(media, bind(JS, **options), SimpleWorkshop())
    assert (result.mimetype, result.filename) == ("text/javascript", "a.js")
    return content(result).decode()


def executed(text: str) -> str:
    done = subprocess.run(["node", "-"], input=text, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestMinifyJs(TransformationContract):
    transformation = JS

    def sample_media(self) -> Media:
        return MemoryFile(SCRIPTS["closures"].encode(), "text/javascript", "a.js")


class TestMinifyCss(TransformationContract):
    transformation = CSS

    def sample_media(self) -> Media:
        return MemoryFile(b"a { color: #ff0000; margin: 0px 0px 0px 0px }", "text/css", "a.css")

    def sample_options(self) -> dict[str, Any]:
        return {"level": "2", "gzip": "true"}


# ------------------------------------------------------------------------------------------------------------- scripts


@needs_node
@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("options", [{}, {"mangle": "false"}, {"keep_fn_name": "true", "targets": "esnext"}])
def test_a_minified_script_does_the_same(name: str, options: dict[str, str]) -> None:
    """The script prints what it printed, and is shorter."""
    text = SCRIPTS[name]
    short = script(text, **options)
    assert len(short) < len(text) or "</script>" in text
    assert executed(short) == executed(text)


def test_names_stay_for_other_scripts_and_for_people() -> None:
    """Variables, functions and classes of the whole script are there for other scripts; no name is shortened."""
    text = """var DEBUG = false, LEVEL = 2; let count = 0; const LIMIT = 5; var unused;
        function helper(parameter) { return parameter }
        class Tool {} if (DEBUG) { helper(LEVEL + count); } const named = function inner() { return 1; };"""
    for options in ({}, {"mangle": "false"}, {"keep_fn_name": "true", "keep_class_name": "true"}):
        short = script(text, **options)
        assert "sd_kept" not in short
        for name in (
            "DEBUG=",
            "LEVEL=",
            "count=",
            "LIMIT=",
            "unused",
            "function helper(parameter)",
            "class Tool",
            "function inner",
        ):
            assert name in short


@needs_node
@pytest.mark.parametrize(
    "text",
    [
        "'use strict'; console.log((function () { return this === undefined; })());",
        "console.log((function () { return this === undefined; })());",
        "function f() { 'use strict'; return this === undefined; } console.log(f(), 'use strict'.length);",
        "console.log(this === module.exports);",
        "undeclared = 3; console.log(delete globalThis.undeclared, typeof undeclared);",
        "function f(a) { arguments[0] = 2; return a; } console.log(f(1), 010);",
        "console.log('</script>', '<!-- ' + 1);",
        "throw_ = () => { throw 1; }; try { throw_(); } catch { console.log('caught'); }",
        "const a = 1; var b = a, c = b; { let b = 2; c = b; } console.log(a, b, c);",
    ],
)
def test_strictness_and_its_like_are_those_of_the_script(text: str) -> None:
    """A script is not taken for a module: what is strict stays strict, and nothing else becomes it."""
    assert executed(script(text)) == executed(text)


@needs_node
def test_modules_are_minified_too(tmp_path: Path) -> None:
    """Imports, exports and waiting outside functions are understood."""
    (tmp_path / "other.mjs").write_text(script("export const value = 1 ; export default function named( ) { return value }"))
    text = "import named, { value as v } from './other.mjs';  console.log( named() + v , import.meta.url.length > 3, await 4 )"
    (tmp_path / "main.mjs").write_text(script(text))
    assert script("export { };").strip() == "export{};"
    done = subprocess.run(["node", "main.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("2 true 4\n", "")


@needs_node
def test_the_line_that_names_an_interpreter_stays_a_line() -> None:
    """A script that can be started by itself still can."""
    text = "#!/usr/bin/env node\n// says hello\nconsole.log( 'hello' )\n"
    assert script(text).splitlines() == ["#!/usr/bin/env node", "console.log(`hello`);"]
    assert script("#!x") == "#!x\n"


@pytest.mark.parametrize("name", SWITCHES)
def test_switches_of_the_swift_client_are_taken(name: str) -> None:
    """Each single step that the Swift client can name is taken, on and off."""
    for value in ("true", "false"):
        assert script("var a = 1 ;", **{name: value}) == "var a=1;"


@pytest.mark.parametrize("name", ["use_babel_polyfill", "remove_console", "removeConsole", "removeDebugger"])
def test_what_cannot_be_done_is_refused_by_name(name: str) -> None:
    """An option that the minifier cannot follow is refused before anything is fetched, and is harmless when it is off."""
    assert bind(JS, **{name: "false"})
    with pytest.raises(ValueError, match=r"remove_?[cC]onsole|removeDebugger|use_babel_polyfill"):
        bind(JS, **{name: "true"})


def test_options_have_their_bounds_and_defaults() -> None:
    """Every documented option, its default, and a value it refuses."""
    defaults = {"gzip": False, "mangle": True, "merge_vars": True, "remove_console": False, "remove_undefined": True}
    defaults |= {"keep_fn_name": False, "keep_class_name": False, "use_babel_polyfill": False, "targets": "esnext"}
    bound = bind(JS)
    assert {name: bound[name] for name in defaults} == defaults
    for name in set(defaults) - {"targets"}:
        with pytest.raises(ValueError):
            bind(JS, **{name: "maybe"})
    for value in ("last 2 versions", "es5", ""):
        with pytest.raises(ValueError):
            bind(JS, targets=value)
    assert dict(bind(CSS)) == {"level": 1, "gzip": False}
    for value in ("0", "3", "1.5", "high"):
        with pytest.raises(ValueError):
            bind(CSS, level=value)


@pytest.mark.parametrize("text", ["var = 1", "function (", "`${", "a b c", "<p>no script<p>", "class {", "return 1", "'", "/a"])
def test_a_broken_script_is_told(text: str) -> None:
    """What is no script ends in a fault, and nothing of it gets into the sentence."""
    with pytest.raises(Corrupt) as caught:
        script(text)
    assert caught.value.public == "minify_js: the file is not a valid script."


# ----------------------------------------------------------------------------------------------------------------- both


@pytest.mark.parametrize("task", ["minify_js", "minify_css"])
def test_only_text_of_a_bounded_size_is_read(task: str, run: Any) -> None:
    """Not UTF-8, a NUL, or too long: refused. A mark of byte order is dropped, and nothing is nothing."""
    with pytest.raises(Unsupported):
        run(task, MemoryFile(b"\xff\xfea\0"))
    with pytest.raises(Unsupported):
        run(task, MemoryFile(b"a\0b"))
    with pytest.raises(TooLarge):
        run(task, MemoryFile(b" " * 101), limits=WorkLimits(bytes=100))
    with pytest.raises(TooLarge):
        run(task, MemoryFile(b" " * (8 * 1024 * 1024 + 1)))
    assert content(run(task, MemoryFile(b"\xef\xbb\xbf/* only */"))) == b""
    assert content(run(task, MemoryFile(b""))) == b""


@pytest.mark.parametrize(("task", "text"), [("minify_js", b"var a = 1 ;"), ("minify_css", b"a { b : c }")])
def test_packed_results_say_so(task: str, text: bytes, run: Any) -> None:
    """`gzip` is a coding of the same content: the type stays, the coding is told, the bytes are the same every time."""
    plain, packed = run(task, MemoryFile(text)), run(task, MemoryFile(text), gzip="true")
    assert gzip.decompress(content(packed)) == content(plain)
    assert (packed.mimetype, dict(packed.extra)) == (plain.mimetype, {"encoding": "gzip"})
    assert dict(plain.extra) == {}
    assert content(packed) == content(run(task, MemoryFile(text), gzip="true"))


@pytest.mark.parametrize("seed", range(40))
def test_rubbish_ends_in_a_fault_or_a_text(seed: int, run: Any) -> None:
    """Pieces of scripts and sheets in any order never end otherwise."""
    import random

    dice = random.Random(seed)
    pieces = [
        *SCRIPTS.values(),
        SHEET,
        "'",
        '"',
        "`",
        "/*",
        "*/",
        "//",
        "{",
        "}",
        "(",
        "[",
        "\\",
        "@media",
        "é",
        "\u2028",
        "<!--",
    ]
    text = "".join(
        piece[(at := dice.randrange(len(piece))) : at + dice.randrange(1, 80)] for piece in dice.choices(pieces, k=30)
    )
    for task, options in (("minify_js", {}), ("minify_css", {"level": "1"}), ("minify_css", {"level": "2"})):
        try:
            content(run(task, MemoryFile(text.encode()), **options))
        except SecureDeliveryError:
            pass


# --------------------------------------------------------------------------------------------------------------- sheets

SHEET = """
/* a comment */
@charset "utf-8";
:root { --main-color: #ff0000; --gap:  10px ; --empty: ; }
body { margin: 0px 0px 0px 0px; font-family: "Helvetica Neue", Arial, sans-serif; color: #000000; background-color: white; }
h1, h2 { color: var(--main-color); margin-top: calc( var(--gap) * 2 + 1px ); font-weight: bold; }
.box { width: calc(100% - 20px); padding: 10px 20px 10px 20px; border: 1px solid rgba(0, 0, 0, 0.50); opacity: 0.90; }
.box { padding-left: 5px; }
.box > p:not(.x):nth-child(2n + 1)::before { content: "a  \\201C b"; color: rgb(255, 0, 0); }
a[href^='http'] , a:hover { text-decoration: underline; transform: translate( -50% , 0px ) rotate( 45.0deg ); }
@media screen and (min-width: 100px) { .box { color: blue; } }
@supports (display: grid) { .box { display: grid; grid-template-areas: "a b" "c d"; } }
@keyframes move { from { left: 0px } 50.0% { left: 10px } to { left: 20px } }
.late { color: green !important; background: url( "picture.png" ) no-repeat; }
.late { color: red; }
"""

PAGE = """<!doctype html><style>{sheet}</style><body><h1>t</h1><h2>u</h2><div class=box><p>1<p class=x>2<p>3</div><a href=http://x>l</a>
<i class=late>g</i><script>
const seen = [...document.querySelectorAll('body, body *')].filter(e => e.tagName != 'SCRIPT').flatMap(e =>
  [null, '::before'].map(part => {{
    const s = getComputedStyle(e, part);
    return [...s].map(name => name + ':' + s[name]).join(';') }}));
document.body.replaceChildren(document.createTextNode(btoa(unescape(encodeURIComponent(JSON.stringify(seen))))));
</script></body>"""


def computed(sheet: str, tmp_path: Path) -> list[str]:
    """What Chromium makes of a sheet: all computed styles of all elements of a page."""
    browser = next((path for path in driver.BROWSERS if Path(path).exists()), None)
    if browser is None:
        pytest.skip("no Chromium on this machine")
    page = tmp_path / "page.html"
    page.write_text(PAGE.format(sheet=sheet), encoding="utf-8")
    words = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run([browser, *words], capture_output=True, text=True, timeout=60)
    text = done.stdout.partition("<body>")[2].partition("</body>")[0].strip()
    seen: list[str] = json.loads(base64.b64decode(text))
    return [style.replace("Helvetica Neue", "helvetica neue") for style in seen]  # families are named in any case


@pytest.mark.parametrize("level", ["1", "2"])
def test_a_minified_sheet_looks_the_same(level: str, run: Any, tmp_path: Path) -> None:
    """Every element of a page has the styles that it had, and the sheet is shorter."""
    short = content(run("minify_css", MemoryFile(SHEET.encode(), "text/css", "a.css"), level=level)).decode()
    assert len(short) < len(SHEET) * 0.9
    before = computed(SHEET, tmp_path)
    assert len(before) > 10 and any("rgb(0, 128, 0)" in style for style in before)
    assert computed(short, tmp_path) == before


def test_the_second_level_joins_rules(run: Any) -> None:
    """Level 2 is never longer than level 1, and puts together what belongs together."""
    text = b"a { margin-top: 1px; margin-right: 2px; margin-bottom: 1px; margin-left: 2px } b { color: red } c { color: red }"
    first, second = (content(run("minify_css", MemoryFile(text), level=level)) for level in ("1", "2"))
    assert len(second) < len(first)
    assert second.strip() == b"a{margin:1px 2px}b,c{color:red}"


def test_old_tricks_of_sheets_stay(run: Any) -> None:
    """What only old browsers understand is no fault, on either level."""
    text = b".a{*zoom:1;_height:1px;filter:alpha(opacity=50);color:red\\9}"
    for level in ("1", "2"):
        assert b"color:red" in content(run("minify_css", MemoryFile(text), level=level))


# ------------------------------------------------------------------------------------------------------------- confined


def test_both_run_in_confinement(confined: Any, run: Any) -> None:
    """Results are those from outside the worker, one after the other."""
    for _ in range(2):
        for name, text, options in (
            ("minify_js", SCRIPTS["classes"], {}),
            ("minify_css", SHEET, {"level": "1"}),
            ("minify_css", SHEET, {"level": "2", "gzip": "true"}),
        ):
            media = MemoryFile(text.encode(), "text/plain", "a")
            made, extra = confined(name, [media], **options)
            assert made.data == content(run(name, media, **options))
            assert extra == ({"encoding": "gzip"} if options.get("gzip") else {})
    for text in ("var = 1", "(" * 300_000, "x={" * 200_000, "a=>" * 300_000):
        with pytest.raises(SecureDeliveryError):
            confined("minify_js", [MemoryFile(text.encode())])


def test_the_largest_text_fits_into_a_worker(confined: Any) -> None:
    """8 MiB of script or sheet, the most that is taken, are minified within a worker's memory and time."""
    line = b"function name%d(argument) { var local = argument + %d; return local * 2; }\n"
    data = b"".join(line % (number, number) for number in range(230_000))[: 8 * 1024 * 1024]
    data = data[: data.rindex(b"\n")]
    made, _ = confined("minify_js", [MemoryFile(data)])
    assert 0 < len(made.data) < len(data)
    rule = b".name%d { color: #ff0000; margin: 0px 0px 0px 0px; }\n"
    sheet = b"".join(rule % number for number in range(300_000))[: 8 * 1024 * 1024]
    sheet = sheet[: sheet.rindex(b"\n")]
    made, _ = confined("minify_css", [MemoryFile(sheet)])
    assert 0 < len(made.data) < len(sheet)
