"""A signed policy as people use it: addresses, lines for curl, code that makes the same one elsewhere.

Knows: the addresses of the service, which of them a call is for. Must not know: secrets; code reads them from the environment.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pprint import pformat
from typing import Any
from urllib.parse import quote

from ...gate.policy import Call, Policy, SignedPolicy

SECRET = "SECURE_DELIVERY_SECRET"  # noqa: S105 - the name of a variable
_HANDLE = "HANDLE"  # where a policy names no file


def ready(
    policy: Policy, signed: SignedPolicy, members: dict[str, Any], *, files: str, key: str, life: int
) -> list[dict[str, str]]:
    """What can be copied, each with its `group`, a `label` and the `text`.

    `files` is the origin of the service, `life` the seconds from the moment of signing for which policies made by the code
    are good.
    """
    named = [
        {"group": group, "label": label, "text": text}
        for group, label, text in (*_addresses(policy, signed, files, key), *_curl(policy, signed, files, key))
    ]
    return [
        *named,
        {"group": "code", "label": "Python, with this package", "text": _package(members, life)},
        {"group": "code", "label": "Python, standard library alone", "text": _python(members, life)},
        {"group": "code", "label": "JavaScript (Node.js)", "text": _javascript(members, life)},
    ]


def _uploads(policy: Policy) -> bool:
    return policy.grants(Call.PICK) and policy.handle is None


def _addresses(policy: Policy, signed: SignedPolicy, files: str, key: str) -> Iterator[tuple[str, str, str]]:
    handle, query, task = quote(policy.handle or _HANDLE, safe=""), signed.as_query(), signed.as_task()
    if policy.grants(Call.READ):
        yield "address", "The file, policy in the query", f"{files}/{handle}?{query}"
        yield "address", "The file, policy in the path", f"{files}/{task}/{handle}"
    if policy.grants(Call.CONVERT):
        yield "address", "The picture, 300 pixels wide", f"{files}/resize=width:300/{task}/{handle}"
        if policy.url is not None:
            source = "https%3A%2F%2Fexample.org%2Fphoto.jpg"
            yield "address", "A picture from elsewhere", f"{files}/{key}/resize=width:300/{task}/{source}"
    if policy.grants(Call.STAT):
        exif = "exif=true&" if policy.call is not None and Call.EXIF in policy.call else ""
        yield "address", "Facts about the file", f"{files}/{handle}/metadata?{exif}{query}"
    if _uploads(policy):
        yield "address", "The upload page", f"{files}/upload/{key}?{query}"


def _curl(policy: Policy, signed: SignedPolicy, files: str, key: str) -> Iterator[tuple[str, str, str]]:
    handle, query = quote(policy.handle or _HANDLE, safe=""), signed.as_query()
    if policy.grants(Call.READ):
        yield "curl", "Download", f"curl -o file '{files}/{handle}?{query}'"
    if _uploads(policy):
        body = "curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg'"
        yield "curl", "Upload", f"{body} '{files}/api/store/S3?key={key}&filename=photo.jpg&{query}'"
    if policy.grants(Call.WRITE):
        yield "curl", "Overwrite", f"curl --data-binary @photo.jpg '{files}/api/file/{handle}?{query}'"
    if policy.grants(Call.REMOVE):
        yield "curl", "Delete", f"curl -X DELETE '{files}/api/file/{handle}?key={key}&{query}'"


def _package(members: dict[str, Any], life: int) -> str:
    names = {"minSize": "min_size", "maxSize": "max_size"}
    lines = [f"    {names.get(name, name)}={value!r}," for name, value in members.items() if name != "expiry"]
    return "\n".join(
        [
            "import os, time",
            "from secure_delivery import Application, SecretRing",
            "",
            f'application = Application(secrets=SecretRing.of(os.environ["{SECRET}"]))',
            "signed = application.sign(",
            f"    expires_in={life}, now=time.time(),",
            *lines,
            ")",
            "print(signed.as_query())",
        ]
    )


def _python(members: dict[str, Any], life: int) -> str:
    others = {name: value for name, value in members.items() if name != "expiry"}
    return "\n".join(
        [
            "import base64, hashlib, hmac, json, os, time",
            "from urllib.parse import urlencode",
            "",
            f"policy = {pformat(others, sort_dicts=False, width=100)}",
            f'policy["expiry"] = int(time.time()) + {life}',
            "encoded = base64.urlsafe_b64encode(json.dumps(policy).encode()).decode()  # keep the padding",
            f'secret = os.environ["{SECRET}"].encode()',
            "signature = hmac.new(secret, encoded.encode(), hashlib.sha256).hexdigest()",
            'print(urlencode({"policy": encoded, "signature": signature}))',
        ]
    )


def _javascript(members: dict[str, Any], life: int) -> str:
    others = {name: value for name, value in members.items() if name != "expiry"}
    return "\n".join(
        [
            'import { createHmac } from "node:crypto";',
            "",
            f"const policy = {json.dumps(others, ensure_ascii=False, indent=2)};",
            f"policy.expiry = Math.floor(Date.now() / 1000) + {life};",
            'const encoded = Buffer.from(JSON.stringify(policy)).toString("base64").replaceAll("+", "-").replaceAll("/", "_");',
            f'const signature = createHmac("sha256", process.env.{SECRET}).update(encoded).digest("hex");',
            "console.log(new URLSearchParams({ policy: encoded, signature }).toString());",
        ]
    )


__all__ = ["ready"]
