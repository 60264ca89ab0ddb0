"""Where a credential stands in the head of a request.

Knows: query strings, HTTP Basic, `security=` segments. Must not know: whether a credential is any good.

Everything is read once, and what comes twice is refused: of two, the wrapped app or a proxy might take the other one
(security promise 7).
"""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote

from .errors import CredentialConflict
from .policy import SignedPolicy
from .taskvalues import read_task, split_security


def signed_from_query(query: str) -> SignedPolicy | None:
    """The credential in a raw query string: values percent-decoded once, a bare `+` left as it is.

    Form decoding would turn the `+` of a standard-alphabet policy into a blank; here it never becomes one. Raises
    `CredentialConflict` when `policy` or `signature` is given twice. Half a credential is a bad one, not none.
    """
    if "policy=" not in query and "signature=" not in query and "%" not in query:
        return None
    found: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if "%" in name:  # the wrapped app decodes names, so that an encoded one is the same parameter once more
            name = unquote(name)
        if name in ("policy", "signature"):
            if name in found:
                raise CredentialConflict(f"{name} is given twice in the query")
            if "%" in value:  # mostly padding and nothing else; "=" is no digit, so that no new escape comes about
                value = value.replace("%3D", "=")
            found[name] = unquote(value, errors="surrogateescape") if "%" in value else value
    if not found:
        return None
    return SignedPolicy(found.get("policy", ""), found.get("signature", ""))


def secret_from_authorization(header: str | None) -> str | None:
    """The application secret of HTTP Basic `app:SECRET`, or `None` when the header is not about us.

    Another user name belongs to the wrapped app's own authentication. Raises `CredentialConflict` for a header that came
    twice with HTTP Basic among it: which of them the app would read is not known here.
    """
    if header is None:
        return None
    if "," in header and "basic " in header.lower():
        raise CredentialConflict("several Authorization headers")
    if header[:6].lower() != "basic ":
        return None
    try:
        user, colon, secret = base64.b64decode(header[6:].strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError):
        return None
    return secret if user == "app" and colon else None


#: A `security=` segment; a value in quotes may hold slashes, as policies of the standard Base64 alphabet do.
_SECURITY = re.compile(r'/(security=(?:"[^"]*"|[^/])*)')


def signed_from_path(path: str) -> SignedPolicy | None:
    """The credential of the `security=` segment of a decoded path, if there is one."""
    if "/security=" not in path:
        return None
    found = _SECURITY.findall(path)
    if len(found) > 1:
        raise CredentialConflict("two security segments in one path")
    return split_security([read_task(found[0])])[1]


def without_security(path: str) -> str:
    """A decoded path as the wrapped app should see it: without its `security=` segments."""
    return _SECURITY.sub("", path) or "/" if "/security=" in path else path


def one_credential(*shown: SignedPolicy | str | None) -> SignedPolicy | str | None:
    """The only credential of a request. Raises `CredentialConflict` for more than one (security promise 7)."""
    found = [credential for credential in shown if credential is not None]
    if len(found) > 1:
        raise CredentialConflict("credentials in more than one place")
    return found[0] if found else None
