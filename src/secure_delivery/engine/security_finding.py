"""What the security report can find: every code with what it means, why it matters and how it is mended.

Knows: the sentences. Must not know: how anything is found, where findings are shown.

Sentences are for people who have set the service up and know little else of it. They hold no secret, and of addresses no query.
docs/security-report.md is written from this table.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, get_args

__all__ = ["CODES", "SEVERITIES", "Code", "Finding", "Severity", "command", "found"]

Severity: TypeAlias = Literal["high", "medium", "low", "info"]
#: From what cannot wait to what is only worth knowing.
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing worth attention.

    `application` is an API key, None for what concerns the whole service; `subject` what it is about, as a kind of request, a
    storage, an account, a setting. `what` is so now, `why` it matters, `fix` how it is mended. `link` is the page of the portal
    where that is done, as a relative path; `command` the command that does it, where there is one.
    """

    code: str
    severity: Severity
    application: str | None
    subject: str
    what: str
    why: str
    fix: str
    link: str | None
    command: str | None


class Code(NamedTuple):
    """What all findings of one code have in common; `what` is the general form of it, for the documentation."""

    severities: tuple[Severity, ...]
    what: str
    why: str
    fix: str


def found(
    code: str,
    severity: Severity,
    what: str | None = None,
    *,
    subject: str,
    application: str | None = None,
    fix: str | None = None,
    link: str | None = None,
    command: str | None = None,
) -> Finding:
    """A finding with the reason of its code, and what it has no words of its own for."""
    general = CODES[code]
    return Finding(
        code=code,
        severity=severity,
        application=application,
        subject=subject,
        what=general.what if what is None else what,
        why=general.why,
        fix=general.fix if fix is None else fix,
        link=link,
        command=command,
    )


def command(*words: str) -> str:
    """A command of ours as a person types it into a shell."""
    return shlex.join(("secure-delivery", *words))


_ANYBODY = "Whoever has the address can do it as often as they like, from any program: nothing has to be shown."
_SIGN = "Have your server sign what your pages ask for. `app report` tells who would be refused; then require a policy."
_CLOSED = "List your own sites and no others, each with its full name."

CODES: dict[str, Code] = {
    # -- what needs no policy
    "unsigned_upload": Code(("high", "medium"), "Uploads need no policy.", _ANYBODY, _SIGN),
    "unsigned_conversion": Code(
        ("medium",),
        "Conversions need no policy.",
        "Whoever knows a file can have it converted in any way, and pictures of other sites too: that takes your processors.",
        _SIGN,
    ),
    "unsigned_delivery": Code(
        ("low",),
        "Files are delivered without a policy.",
        "An address that was passed on works for everybody, for as long as the file is there.",
        _SIGN,
    ),
    "unsigned_metadata": Code(
        ("low",), "Name, size and type of a file are told without a policy.", "File names can be private.", _SIGN
    ),
    # -- whitelists
    "whitelist_off": Code(
        ("low", "info"),
        "There is no whitelist of sites.",
        "Any web page can use your application with the browser of whoever looks at it.",
        _CLOSED,
    ),
    "whitelist_wide": Code(
        ("medium", "low"),
        "A pattern of a whitelist covers sites that strangers can have.",
        "A whitelist that lets in names anybody can register keeps nobody out.",
        _CLOSED,
    ),
    "whitelist_missing": Code(
        ("medium", "info"),
        "Requests that do not say where they come from pass the whitelist.",
        "Programs, and pages that ask browsers to, leave it out.",
        "Deny requests that do not say it. Browsers leave it out in some private modes and when an address is opened directly.",
    ),
    # -- secrets
    "secret_weak": Code(
        ("high",),
        "A secret is made of words, a pattern or repetitions.",
        "One signed address is enough to try secrets out, without asking the server, until the right one is found.",
        "Have the server make a new secret, and sign with it.",
    ),
    "secret_old": Code(
        ("medium",),
        "A secret is older than a year.",
        "The longer a secret is in use, the more people, backups and machines have had it.",
        "Rotate it. With a grace period the old one counts for a while, so that nothing breaks meanwhile.",
    ),
    "secret_grace": Code(
        ("low",),
        "An old secret still counts, because its grace period runs.",
        "If it was rotated because somebody has it, they can sign until then.",
        "Wait for the end, or revoke it once everything signs with the new one.",
    ),
    # -- how policies are read
    "regex_search": Code(
        ("medium",),
        "Patterns in policies are searched for, instead of spanning the whole value.",
        "A pattern `photos` then also lets in `private/photos-of-others`.",
        "Write patterns for the whole value, then have them span it.",
    ),
    "unknown_keys_ignored": Code(
        ("medium",),
        "Keys of a policy that nobody knows are ignored.",
        "A misspelt limit is no limit then.",
        "Have such policies refused.",
    ),
    "expiry_leeway": Code(
        ("low",),
        "Policies count for some time after their end.",
        "It is there for clocks that disagree; clocks of today rarely do.",
        "Set the leeway to 0.",
    ),
    "public_cache": Code(
        ("low",),
        "Shared caches may keep answers to signed requests.",
        "A cache that does not tell addresses apart by their whole query hands them to people without a policy.",
        "Switch it off, unless your CDN compares the whole query.",
    ),
    "standard_base64": Code(
        ("info",),
        "Policies in the standard alphabet of Base64 are read too.",
        "It is there for the official Node client. One spelling is easier to filter and to find in logs than two.",
        "Switch it off when nothing of yours signs that way.",
    ),
    # -- policies that were used
    "policy_long": Code(
        ("medium", "low"),
        "Policies with a long life were used.",
        "A signed address that gets out is good until it expires, and cannot be called back one by one.",
        "Sign for minutes or hours. To end those that are out, rotate the secret without grace.",
    ),
    "policy_global": Code(
        ("medium",),
        "Policies were used that name neither calls nor a file.",
        "Such a policy is good for uploading, overwriting and deleting, of every file.",
        "Name the calls, and for one file its handle. To end those that are out, rotate the secret without grace.",
    ),
    # -- what is taken in and kept
    "any_type": Code(
        ("low", "info"),
        "Files of every type may be uploaded.",
        "What you never use cannot help you, and programs that open files have faults.",
        "List the types that you want, as image/* or application/pdf.",
    ),
    "uploads_unscanned": Code(
        ("low",),
        "Strangers can upload, and no scanner looks at the files.",
        "Your server hands on what it was given, malware too.",
        "Switch scanning on.",
    ),
    "no_retention": Code(
        ("info",),
        "Files are kept for ever.",
        "What is not there any more cannot get out.",
        "Say after how many days files go by themselves, if yours may.",
    ),
    "development_storage": Code(
        ("low",),
        "Files are on the development storage.",
        "They go by themselves after some days, and there is a bound on how many there may be.",
        "Set a storage of your own up, or have the server keep the files for good.",
    ),
    "storage_readable": Code(
        ("low",),
        "A storage that only takes results can be read.",
        "Whoever gets hold of credentials that only write cannot see what is there.",
        "Mark it as write-only, and give its credentials no other right.",
    ),
    "storage_rights": Code(
        ("medium",),
        "The credentials of a write-only storage can read it. Only a check tells.",
        "The server never reads there, but whoever gets hold of the credentials can.",
        "Take the right to read away from them; `storage check` prints the rights that are enough.",
    ),
    "storage_unusable": Code(
        ("medium",),
        "A storage cannot be used. Whether it answers only a check tells.",
        "Files and results that are meant for it are refused, and those in it cannot be reached.",
        "See `storage check` for what is missing.",
    ),
    # -- webhooks
    "webhook_http": Code(
        ("medium",),
        "Events are sent to a webhook by plain http.",
        "Everybody on the way can read them.",
        "Give the address with https.",
    ),
    "webhook_grace": Code(
        ("low",),
        "The secret before the present one signs events of a webhook for more than another day.",
        "Whoever has the old secret can send you events until then.",
        "When your receiver has the new one, rotate again without grace, and give the receiver that one.",
    ),
    # -- people
    "owner_without_second_factor": Code(
        ("medium",),
        "An owner signs in with a password alone.",
        "Whoever learns the password can do everything.",
        "Set a second factor up in the portal, as that owner.",
    ),
    "single_owner": Code(
        ("low",),
        "There is only one owner.",
        "If that person is away or loses the second factor, nobody else can help.",
        "Invite another owner.",
    ),
    "invitation_open": Code(
        ("low",),
        "Somebody was invited and never came.",
        "The name may be misspelt, and an account that nobody has is one that nobody looks after.",
        "Remove the account, or hand over a new link by `user password LOGIN --link`.",
    ),
    "token_unending": Code(
        ("medium",),
        "An API token never expires.",
        "Tokens lie in files and in the settings of other services, and are forgotten there.",
        "Make one with an end, use that, and revoke this one.",
    ),
    "token_unused": Code(
        ("low",), "An API token was not used for 90 days.", "Nobody would notice if it were gone, or stolen.", "Revoke it."
    ),
    # -- the service
    "application_unreadable": Code(
        ("high",),
        "The secrets of an application do not open, so that all its requests fail.",
        "The master key that they are sealed under is missing, or the database was changed by hand.",
        "Bring the master key back, or restore the database from a backup.",
    ),
    "plain_http": Code(
        ("high",),
        "The server can be reached from other machines without https.",
        "Everybody on the way can read policies, secrets and files, and change them.",
        "Put a proxy with TLS in front, set public_url to its https:// address, and have the server listen on 127.0.0.1.",
    ),
    "no_public_url": Code(
        ("low",),
        "The server does not know its own address.",
        "In addresses that it hands out it repeats the host that each request names, and requests can name any.",
        "Set public_url to the https:// address that people use.",
    ),
    "metrics_open": Code(
        ("low",),
        "The numbers at /metrics are protected by nothing but where a request comes from.",
        "A proxy on the same machine can look like a program of it.",
        "Set metrics_token, and give it to Prometheus.",
    ),
    "sandbox_weakened": Code(
        ("high",),
        "The settings let files of strangers be decoded with less confinement than usual.",
        "Decoders have faults. One that was taken over can then read files, or reach the network.",
        "Set sandbox_floor as it is by default, or take it out of the settings.",
    ),
    "sandbox_missing": Code(
        ("high", "low"),
        "This machine does not offer a layer of confinement.",
        "Each layer holds when another fails. Without one of them there is one fence less around decoders.",
        "See `doctor`, and the manual of your container or kernel for how the layer is allowed.",
    ),
    "allow_list_wide": Code(
        ("high",),
        "A setting lets requests go to nearly every address, inside your network too.",
        "Whoever may have addresses fetched can then read what only your own machines should, credentials of the cloud too.",
        "Name the hosts that are needed, one by one.",
    ),
    "master_key_beside_data": Code(
        ("medium",),
        "The master key is in the same folder as the database.",
        "One copy of the folder, as a backup is, then holds all secrets and what opens them.",
        "Keep the key elsewhere, by the setting master_key_file or master_key, and leave it out of backups of the data.",
    ),
    "plugin_failed": Code(
        ("medium",),
        "A plugin does not work.",
        "What it is for does not happen: a scanner that is not there finds nothing.",
        "See `plugins` for the reason; install what is missing, or name the plugin in plugins_blocked.",
    ),
}
