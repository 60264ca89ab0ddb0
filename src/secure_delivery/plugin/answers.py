"""Headers that stored objects answer with later: which there are, and what can be one.

Knows: names and the form of values. Must not know: storages, where a header was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..gate.errors import BadRequest

_KNOWN = frozenset({"cache-control", "content-disposition", "content-language", "expires"})
#: Visible ASCII and spaces (RFC 9110 section 5.5). Other names than ASCII have a spelling of their own (RFC 8187).
_VALUE = re.compile(r"[\x20-\x7e]{1,2000}")


def answer_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Those that `Receiving.hand_over` takes, by their names in lower case. Others are left out, and so are empty ones.

    Raises `BadRequest` for a value that would not arrive as it is, or would bring another header along.
    """
    wanted = {name.lower(): value.strip(" ") for name, value in headers.items() if name.lower() in _KNOWN}
    for name, value in wanted.items():
        if value and not _VALUE.fullmatch(value):
            raise BadRequest(f"a value of {name} that is none", public=f"The header {name} has no value that can be sent.")
    return {name: value for name, value in wanted.items() if value}
