"""What the security report finds about the service as a whole: its people, its settings, its confinement and plugins.

Knows: accounts, settings, health. Must not know: applications, how findings are shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url

from . import confine
from .account_rows import OWNER
from .accounts import INVITATION_HOURS
from .addresses import Entry
from .health import health
from .sandbox import FLOOR
from .security_finding import Finding, command, found

if TYPE_CHECKING:
    from . import Engine

__all__ = ["is_loopback", "of_service"]

_UNUSED = 90 * 86_400_000  # ms
#: A network with fewer bits than this is most of somebody's network: by the version of the protocol.
_WIDE = {4: 8, 6: 16}
#: Where clouds tell machines their credentials, and the whole of the machine itself.
_INSIDE = tuple(ip_network(text) for text in ("169.254.169.254/32", "fd00:ec2::254/128", "127.0.0.0/8"))
_ALLOW = ("fetch_allow", "webhook_allow", "storage_allow")


def of_service(engine: Engine) -> Iterator[Finding]:
    """Everything worth attention, in no order."""
    yield from _owners(engine)
    yield from _invitations_and_tokens(engine)
    yield from _settings(engine)
    yield from _confinement(engine)
    for report in engine.registry.reports:
        if report.problem is not None:
            yield found("plugin_failed", "medium", "The plugin does not work.", subject=report.name, link="health")


# ------------------------------------------------------------------------------------------------------------------ people


def _owners(engine: Engine) -> Iterator[Finding]:
    owners = [account for account in engine.people.accounts.all() if account.role == OWNER and account.usable]
    for account in owners:
        if not account.totp:
            what = "This owner signs in with a password alone."
            yield found("owner_without_second_factor", "medium", what, subject=account.login, link="people")
    if len(owners) == 1:
        another = command("user", "add", "another.owner@example.org", "--role", OWNER)
        yield found("single_owner", "low", subject=owners[0].login, link="people", command=another)


def _invitations_and_tokens(engine: Engine) -> Iterator[Finding]:
    now = int(engine.clock() * 1000)
    accounts = {account.id: account for account in engine.people.accounts.all() if account.disabled is None}
    for account in accounts.values():
        if account.invited and now - account.created > INVITATION_HOURS * 3_600_000:
            what = f"Invited {_days(now - account.created)} ago, and has not come yet; the link is over."
            gone = command("user", "remove", account.login)
            yield found("invitation_open", "low", what, subject=account.login, link="people", command=gone)
    for token in engine.people.tokens.of():
        if token.account not in accounts or (token.expires is not None and token.expires <= now):
            continue
        revoked = command("token", "revoke", token.id)
        whose = f"The token {token.name!r} of {accounts[token.account].login}"
        if token.expires is None:
            what = f"{whose} never expires."
            yield found("token_unending", "medium", what, subject=token.id, link="people", command=revoked)
        if now - (token.used or token.created) > _UNUSED:
            last = "was last used" if token.used else "was never used since it was made"
            what = f"{whose} {last} {_days(now - (token.used or token.created))} ago."
            yield found("token_unused", "low", what, subject=token.id, link="people", command=revoked)


def _days(ms: int) -> str:
    return f"{ms // 86_400_000} days"


# ---------------------------------------------------------------------------------------------------------------- settings


def _settings(engine: Engine) -> Iterator[Finding]:
    settings = engine.settings
    safe = settings.public_url.startswith("https://")
    if not is_loopback(settings.host) and not safe:
        what = f"The server listens on {settings.host}, and public_url is no https:// address."
        yield found("plain_http", "high", what, subject="host")
    if not settings.public_url:
        yield found("no_public_url", "low", subject="public_url")
    elif not settings.metrics_token:
        yield found("metrics_open", "low", subject="metrics_token")
    for name in _ALLOW:
        if wide := [text for text in getattr(settings, name) if _is_wide(text)]:
            what = f"{name} lets in nearly everything, by {', '.join(wide)}."
            yield found("allow_list_wide", "high", what, subject=name)
    if not settings.master_key and engine.database.sqlite:
        database = make_url(settings.database_url).database or ""
        if Path(database).resolve().parent == settings.key_file.resolve().parent:
            yield found("master_key_beside_data", "medium", subject="master_key_file")


def _is_wide(text: str) -> bool:
    """Whether an entry of an allow-list covers most of a network, the machine itself, or all names below a top-level domain."""
    entry = Entry.read(text)
    if entry.network is None:
        return entry.suffix and "." not in entry.host
    inside = any(own.version == entry.network.version and own.subnet_of(entry.network) for own in _INSIDE)  # type: ignore[arg-type]
    return inside or entry.network.prefixlen < _WIDE[entry.network.version]


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


# ------------------------------------------------------------------------------------------------------------- confinement


def _confinement(engine: Engine) -> Iterator[Finding]:
    if lacking := sorted(FLOOR - set(engine.settings.sandbox_floor)):
        what = f"sandbox_floor does not ask for {', '.join(lacking)}: without, files are decoded all the same."
        yield found("sandbox_weakened", "high", what, subject="sandbox_floor")
    for layer, there in _layers(engine).items():
        if not there:
            what = f"Decoders work without the layer {layer}: this machine does not offer it."
            yield found("sandbox_missing", "high" if layer in FLOOR else "low", what, subject=layer, link="health")


def _layers(engine: Engine) -> dict[str, bool]:
    """The layers of confinement, and whether they are in effect; where no decoder runs, whether they would be."""
    running = [pool.layers for pool in health(engine).pools.values() if pool.running]
    if running:
        return {layer: all(layers.get(layer, False) for layers in running) for layer in confine.LAYERS}
    there = confine.available()
    return {layer: bool(there.get(layer)) for layer in confine.LAYERS}
