"""Code that does what was put together in the playground, for several languages.

Knows: how texts are quoted in each of them. Must not know: secrets, which code never holds: it says where to put one.
"""

from __future__ import annotations

import html
import json
import mimetypes
import re
import shlex
from collections.abc import Sequence

from ...gate.tasksource import Source, SourceKind
from ...gate.taskurl import Task, Value

_PICTURE = "image/"


def snippets(
    *,
    url: str,
    files: str,
    api_key: str,
    tasks: Sequence[Task],
    source: Source | None,
    life: int,
    signed: bool,
    bound: bool,
    mimetype: str,
) -> list[dict[str, str]]:
    """Name, title and text of each. `mimetype` is that of the result, if it is known."""
    picture = mimetype.startswith(_PICTURE) or not mimetype
    found = [
        ("curl", "curl", f"curl --fail --output result{_extension(mimetype)} {shlex.quote(url)}"),
        ("python", "Python", _python(files, api_key, tasks, source, life, signed=signed, bound=bound)),
        ("javascript", "JavaScript", _javascript(url, picture=picture)),
        ("html", "HTML", _html(url, picture=picture)),
    ]
    return [{"name": name, "title": title, "text": text} for name, title, text in found]


def _extension(mimetype: str) -> str:
    return (mimetypes.guess_extension(mimetype) or "") if mimetype else ""


def _python(
    files: str, api_key: str, tasks: Sequence[Task], source: Source | None, life: int, *, signed: bool, bound: bool
) -> str:
    lines = ["import os", ""] if signed else []
    lines += ["from secure_delivery.client import Client, transform", ""]
    secret = ', secret=os.environ["SECURE_DELIVERY_SECRET"]' if signed else ""
    lines.append(f"client = Client({json.dumps(files)}, api_key={json.dumps(api_key)}{secret})")
    if source is None:
        return "\n".join(
            [*lines[:-1], "# This task has no file, and the client makes addresses of files only: take the address above."]
        )
    steps = "".join(f"\n    .task({', '.join([json.dumps(task.name), *map(_option, task.options)])})" for task in tasks)
    lines.append(f"chain = (\n    transform{steps}\n)" if steps else "chain = transform")
    texts = [each.text for each in source.items] if source.kind is SourceKind.LIST else source.text
    more = "" if not signed else f", expires_in={life}" + ("" if bound else ", bind=False")
    lines.append(f"print(client.url({_literal(texts)}, chain{more}))")
    return "\n".join(lines)


def _option(option: tuple[str, Value]) -> str:
    return f"{option[0]}={_python_value(option[1])}"


def _python_value(value: Value) -> str:
    if not isinstance(value, str):
        return f"[{', '.join(map(_python_value, value))}]"
    if value in ("true", "false"):
        return value.capitalize()
    return value if re.fullmatch(r"0|-?[1-9][0-9]{0,11}", value) else _literal(value)


def _literal(value: str | list[str]) -> str:
    if isinstance(value, str):
        return json.dumps(value)
    return f"[{', '.join(map(json.dumps, value))}]"


def _javascript(url: str, *, picture: bool) -> str:
    text = json.dumps(url).replace("<", "\\u003c")
    if picture:
        return f'const picture = new Image();\npicture.src = {text};\npicture.alt = "";\ndocument.body.append(picture);'
    lines = (f"const answer = await fetch({text});", "if (!answer.ok) throw new Error(answer.status);")
    return "\n".join([*lines, "const result = await answer.blob();"])


def _html(url: str, *, picture: bool) -> str:
    address = html.escape(url)
    return f'<img src="{address}" alt="">' if picture else f'<a href="{address}">Download</a>'
