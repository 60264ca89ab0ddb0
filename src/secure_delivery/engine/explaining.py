"""A judgement in words: every step, what the client is told, what to do about a refusal, what the shown policy says.

Knows: what each reason means to a person who has to mend something. Must not know: how it is shown, HTTP.

For operators only (security promise 9). Nothing here tells which signature would have been right.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any

from ..gate.decide import explain
from ..gate.errors import PolicyError, Reason
from ..gate.model import Application, RequestFacts
from ..gate.policy import MAX_ENCODED, Policy, SignedPolicy
from ..gate.reading import read_policy
from .policy_warnings import warnings

#: The steps of a judgement, each as the question it answers.
QUESTIONS = {
    "credential": "Is there a credential where one is needed?",
    "signature": "Was the policy signed by a secret that counts?",
    "expiry": "Has it still time left?",
    "calls": "Does it grant what the request does?",
    "handle": "Is it for this file?",
    "places": "Do container, path and address satisfy its patterns?",
    "size": "Is the size within its bounds?",
    "origin": "Is the page that asks on the whitelist?",
}

#: What a step that passes has found where it has nothing to say.
_NOTHING = {
    "signature": "No policy was shown.",
    "expiry": "No policy was shown.",
    "calls": "No policy was shown.",
    "handle": "Nothing limits it to a file.",
    "places": "No pattern limits it.",
    "size": "No bound concerns it.",
}

_DAMAGED = "Make the policy anew and send it exactly as it was made."

#: What to do about each reason to refuse.
ADVICE = {
    Reason.MISSING: "Sign a policy and put both policy and signature into the request: ?policy=…&signature=…, or "
    "/security=policy:…,signature:…/ in the path.",
    Reason.BAD_SIGNATURE: "Sign the policy with the application's newest secret: HMAC-SHA256 over the encoded text, exactly as "
    "it is sent, written as 64 lower-case hexadecimal digits. If the secret was renewed since, sign older policies again.",
    Reason.BAD_SECRET: "Show the newest secret, by HTTP Basic with the user name 'app'. Older secrets only verify policies.",
    Reason.BAD_ENCODING: f"{_DAMAGED} It is Base64URL with its padding (the '=' at the end), percent-encoded in an address.",
    Reason.BAD_JSON: f"{_DAMAGED} It is one JSON object in UTF-8, without a key that comes twice.",
    Reason.NOT_AN_OBJECT: f'{_DAMAGED} It is a JSON object, such as {{"expiry": 1900000000}}.',
    Reason.UNKNOWN_KEY: "Leave out what is not one of expiry, call, handle, container, path, url, minSize and maxSize; or have "
    "the application read policies without such keys, in its settings.",
    Reason.MALFORMED: "Give call as a list of calls, handle and patterns as texts, sizes as whole numbers of bytes.",
    Reason.BAD_EXPIRY: "Give expiry as whole seconds since 1970, as a number: no text, no fraction.",
    Reason.BAD_REGEX: "Write the pattern for RE2: no look-around, no back-references, at most 512 bytes.",
    Reason.EXPIRED: "Sign a new policy. If it has just been made, compare the clock of the machine that signs.",
    Reason.CALL_NOT_ALLOWED: "Name every call that the request makes in the policy's call.",
    Reason.EXIF_NOT_EXPLICIT: "Name exif in the policy's call: a policy without call grants everything but that.",
    Reason.STORE_NEEDS_PICK: "Name pick beside store: saving to a storage of one's own is uploading too.",
    Reason.HANDLE_MISMATCH: "Sign a policy for this handle, or one without a handle. One with a handle covers no new upload.",
    Reason.CONTAINER_MISMATCH: "Compare the container that is really used with the pattern.",
    Reason.PATH_MISMATCH: "Compare the path that is really used, which begins with a slash, with the pattern.",
    Reason.URL_MISMATCH: "Compare the address that is really fetched with the pattern.",
    Reason.TOO_SMALL: "Send more bytes, or sign a policy with a lower minSize.",
    Reason.TOO_BIG: "Send fewer bytes, or sign a policy with a higher maxSize.",
    Reason.ORIGIN_MISSING: "Send the request from a page in a browser, or let requests without Origin in (page of whitelists).",
    Reason.ORIGIN_MALFORMED: "Send an Origin of scheme, host and port alone. A page in a file or in a sandboxed frame sends "
    "'null', which no list can approve.",
    Reason.ORIGIN_NOT_ALLOWED: "Add the page's domain to the whitelist, or ask from a page that is on it.",
    Reason.UNKNOWN_APPLICATION: "Name an API key that exists.",
}


def told(application: Application, facts: RequestFacts, *, now: float) -> dict[str, Any]:
    """The judgement on a request, as plain values: `allowed`, `reason`, `client_sees`, the `steps` each with its question and
    what to do, and what the shown policy says."""
    decision, steps = explain(application, facts, now=now)
    return {
        "allowed": decision.allowed,
        "reason": decision.reason.value,
        "client_sees": decision.public._asdict(),
        "todo": "" if decision.allowed else ADVICE[decision.reason],
        "steps": [
            {
                "name": step.name,
                "question": QUESTIONS[step.name],
                "verdict": step.verdict,
                "note": step.note or _NOTHING.get(step.name, ""),
                "todo": _todo(step.note) if step.verdict == "refuse" else "",
            }
            for step in steps
        ],
        "policy": None if facts.signed is None else shown_policy(application, facts.signed, now=now),
    }


def _todo(note: str) -> str:
    """What to do about a step: its note begins with the reason."""
    return ADVICE[Reason(note.partition(":")[0])]


def shown_policy(application: Application, signed: SignedPolicy, *, now: float) -> dict[str, Any]:
    """What a policy says. `verified` is whether a secret in force made its signature; where none did, `text` is only what the
    bytes decode to, by nobody's word. `remarks` tell what looks damaged, `warnings` what is too wide in a good one."""
    try:
        policy = read_policy(application, signed, now=now).policy
    except PolicyError as error:
        verified = error.reason is not Reason.BAD_SIGNATURE
        text = _loosely(signed.encoded)
        return {"verified": verified, "text": text, "remarks": _damage(signed), "warnings": [], "expiry": None}
    return {
        "verified": True,
        "text": json.dumps(members_of(policy), indent=2, ensure_ascii=False),
        "remarks": [],
        "warnings": [each._asdict() for each in warnings(policy, application, now=now)],
        "expiry": policy.expiry,
    }


def members_of(policy: Policy) -> dict[str, Any]:
    """The keys of a policy as they stand on the wire."""
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(policy.encode()))
    return found


def _loosely(encoded: str) -> str:
    """What a text that nobody vouches for decodes to, for people to look at; empty where it decodes to nothing."""
    text = "".join(encoded.split())[:MAX_ENCODED].replace("+", "-").replace("/", "_").rstrip("=")
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return ""
    said = raw.decode("utf-8", "replace")
    try:
        return json.dumps(json.loads(said), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return said if any(letter.isprintable() for letter in said) else ""


def _damage(signed: SignedPolicy) -> list[str]:
    """What is visibly wrong with the two texts of a credential."""
    found = []
    encoded, signature = signed.encoded, signed.signature
    if not encoded or not signature:
        found.append("One of the two is empty: policy and signature go together.")
    if any(letter.isspace() for letter in encoded):
        found.append("There are blanks in the policy: a '+' was decoded as a blank on its way.")
    if encoded and len(encoded.rstrip("=")) % 4 and len(encoded) % 4:
        found.append("The policy lacks the padding ('=') at its end, which is part of what is signed.")
    if "%" in encoded or "%" in signature:
        found.append("There are percent signs left: the address was encoded twice.")
    if len(encoded) > MAX_ENCODED:
        found.append(f"The policy is longer than {MAX_ENCODED} characters, and was cut for showing.")
    if signature and not re.fullmatch(r"[0-9a-f]{64}", signature):
        digits = re.fullmatch(r"[0-9A-Fa-f]{64}", signature)
        why = "it has capital letters" if digits else f"it has {len(signature)} characters"
        found.append(f"The signature is not 64 lower-case hexadecimal digits: {why}.")
    return found


__all__ = ["ADVICE", "QUESTIONS", "members_of", "shown_policy", "told"]
