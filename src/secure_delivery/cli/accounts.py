"""`secure-delivery user …`, `token …`, `audit …`: who may use the portal, tokens for programs, and who changed what."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.text import Text

from ..engine.account_rows import ROLES, SCOPES, Account
from ..engine.accounts import INVITATION, INVITATION_HOURS, SETUP, SETUP_HOURS
from ..engine.audit import CLI, Entry
from ..engine.people import People
from ..engine.settings import Settings
from ..engine.tokens import ApiToken
from .output import AsJson, Config, engine_for, moment_of, ms_of, out, say, say_json, say_table, shown

user = typer.Typer(help="Accounts of the portal: people, their roles, links to choose a password.", no_args_is_help=True)
token = typer.Typer(help="API tokens: made, listed, revoked.", no_args_is_help=True)
audit = typer.Typer(help="The audit log: who changed what, when, from where.", no_args_is_help=True)

Login = Annotated[str, typer.Argument(metavar="LOGIN", help="Login name, like an e-mail address.")]
Role = Annotated[str, typer.Option(help=f"What it may do: {', '.join(ROLES)}.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@contextmanager
def _people(config: Any) -> Iterator[People]:
    with engine_for(config) as engine:
        yield engine.people


@contextmanager
def _inviting(config: Any) -> Iterator[tuple[People, Settings]]:
    with engine_for(config) as engine:
        yield engine.people, engine.settings


def _password() -> str:
    """A password from the terminal, asked for twice, or the first line of standard input."""
    if sys.stdin.isatty():
        return str(typer.prompt("password", hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\n")


def _described(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "login": account.login,
        "role": account.role,
        "state": "disabled" if account.disabled is not None else "invited" if account.invited else "active",
        "second_factor": account.totp,
        "created": moment_of(account.created),
        "last_seen": moment_of(account.seen),
    }


def _url(settings: Settings, kind: str, link: str) -> str | None:
    """The whole address of a link, where there is a portal to open it in."""
    return f"{settings.portal_address}/{kind}/{link}" if settings.portal_address else None


def _show(account: Account, *, as_json: bool, link: str | None = None, url: str | None = None) -> None:
    values = _described(account)
    if as_json:
        say_json(values | ({} if link is None else {"invitation": link, "url": url, "hours": INVITATION_HOURS}))
        return
    for name, value in values.items():
        say(name, "never" if value is None else value)
    if link is not None:
        _once("invitation", url or link, INVITATION_HOURS)


def _once(what: str, link: str, hours: int) -> None:
    time = "an hour" if hours == 1 else f"{hours} hours"
    # Never broken into lines: what is cut by the width of a terminal cannot be clicked or copied.
    out.print(Text(f"{what}, good once and for {time}: ", style="bold") + Text(link, style="bold yellow"), soft_wrap=True)


@user.command("add")
def add(
    login: Login,
    role: Role = "developer",
    password: Annotated[bool, typer.Option("--password", help="Ask for a password now, instead of an invitation.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make an account, and print an invitation by which its person chooses a password."""
    link = url = None
    given = _password() if password else None
    with _inviting(config) as (people, settings):
        if given is not None:
            account = people.accounts.add(CLI, login, role, given)
        else:
            account, link = people.accounts.invite(CLI, login, role)
            url = _url(settings, INVITATION, link)
    _show(account, as_json=as_json, link=link, url=url)


@user.command("list")
def list_(config: Config = None, as_json: AsJson = False) -> None:
    """List all accounts."""
    with _people(config) as people:
        found = [_described(each) for each in people.accounts.all()]
    if as_json:
        say_json({"accounts": found})
        return
    columns = ("login", "role", "state", "second_factor", "created", "last_seen")
    rows = [[_cell(each[name]) for name in columns] for each in found]
    say_table(("login", "role", "state", "second factor", "created (UTC)", "last seen (UTC)"), rows)


def _cell(value: Any) -> object:
    return "yes" if value is True else "" if value in (None, False) else shown(value)


@user.command("show")
def show(login: Login, config: Config = None, as_json: AsJson = False) -> None:
    """Show one account."""
    with _people(config) as people:
        account = people.accounts.named(login)
    _show(account, as_json=as_json)


@user.command("role")
def role_(
    login: Login,
    role: Annotated[str, typer.Argument(metavar="ROLE", help=f"What it may do from now on: {', '.join(ROLES)}.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Give an account another role. Its sessions end."""
    with _people(config) as people:
        account = people.accounts.set_role(CLI, people.accounts.named(login).id, role)
    _show(account, as_json=as_json)


@user.command("password")
def password_(
    login: Login,
    link: Annotated[bool, typer.Option("--link", help="Print a link to choose one, instead of asking for it here.")] = False,
    second_factor: Annotated[
        bool, typer.Option("--no-second-factor", help="Take the second factor off as well, when it is lost.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Give an account another password: read from the terminal, or from standard input. Its sessions end."""
    given = None if link else _password()
    printed = url = None
    with _inviting(config) as (people, settings):
        known = people.accounts.named(login)
        if given is None:
            printed = people.accounts.invite_again(CLI, known.id)
            url = _url(settings, INVITATION, printed)
        else:
            people.accounts.set_password(CLI, known.id, given)
        if second_factor:
            people.second_factor.remove(CLI, known.id)
        account = people.accounts.get(known.id)
    _show(account, as_json=as_json, link=printed, url=url)


@user.command()
def disable(login: Login, config: Config = None, as_json: AsJson = False) -> None:
    """Have an account be of no use until it is enabled again. Its sessions end, its tokens do not count."""
    with _people(config) as people:
        account = people.accounts.disable(CLI, people.accounts.named(login).id)
    _show(account, as_json=as_json)


@user.command()
def enable(login: Login, config: Config = None, as_json: AsJson = False) -> None:
    """Let an account that was disabled be used again."""
    with _people(config) as people:
        account = people.accounts.enable(CLI, people.accounts.named(login).id)
    _show(account, as_json=as_json)


@user.command()
def remove(login: Login, yes: Yes = False, config: Config = None, as_json: AsJson = False) -> None:
    """Delete an account with its sessions and tokens. What it did stays in the audit log."""
    with _people(config) as people:
        account = people.accounts.named(login)
        if not yes:
            typer.confirm(f"Delete the account {account.login}?", abort=True, err=True)
        people.accounts.remove(CLI, account.id)
    if as_json:
        say_json({"removed": account.login})
    else:
        say("removed", account.login)


@user.command("setup-link")
def setup_link(config: Config = None, as_json: AsJson = False) -> None:
    """Print a one-time link by which the first owner chooses a name and a password. Links printed before end."""
    with _inviting(config) as (people, settings):
        made = people.accounts.setup_link(CLI)
        url = _url(settings, SETUP, made)
    if as_json:
        say_json({"setup": made, "url": url, "hours": SETUP_HOURS})
    else:
        _once("set-up", url or made, SETUP_HOURS)


def _told(each: ApiToken, logins: dict[str, str]) -> dict[str, Any]:
    return {
        "id": each.id,
        "account": logins.get(each.account, each.account),
        "name": each.name,
        "begins": each.prefix,
        "scopes": list(each.scopes),
        "created": moment_of(each.created),
        "expires": moment_of(each.expires),
        "last_used": moment_of(each.used),
    }


@token.command()
def create(
    login: Login,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the token is for.")],
    scope: Annotated[list[str] | None, typer.Option(help=f"What it may do: {', '.join(SCOPES)}; repeat it.")] = None,
    days: Annotated[float, typer.Option(help="Days for which it is good; 0 for ever.")] = 90,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make an API token for an account and print it, this once. Without scopes it may read."""
    with _people(config) as people:
        account = people.accounts.named(login)
        made, text = people.tokens.create(CLI, account.id, name, scopes=scope or ("read",), days=days or None)
    values = _told(made, {account.id: account.login})
    if as_json:
        say_json(values | {"token": text})
        return
    for label, value in values.items():
        say(label, ", ".join(value) if isinstance(value, list) else "never" if value is None else shown(value))
    out.print(Text("token, shown this once: ", style="bold") + Text(text, style="bold yellow"))


@token.command("list")
def list_tokens(
    login: Annotated[str | None, typer.Option(help="Only those of this account.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List API tokens; of each only how it begins."""
    with _people(config) as people:
        logins = {each.id: each.login for each in people.accounts.all()}
        account = None if login is None else people.accounts.named(login).id
        found = [_told(each, logins) for each in people.tokens.of(account)]
    if as_json:
        say_json({"tokens": found})
        return
    columns = ("id", "account", "name", "begins", "scopes", "created", "expires", "last_used")
    rows = [[", ".join(each[name]) if name == "scopes" else _cell(each[name]) for name in columns] for each in found]
    say_table(("id", "account", "name", "begins", "scopes", "created (UTC)", "expires", "last used"), rows)


@token.command()
def revoke(
    name: Annotated[str, typer.Argument(metavar="TOKEN", help="Id of the token: see `token list`.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Have a token count no longer, from this moment."""
    with _people(config) as people:
        people.tokens.revoke(CLI, name)
    if as_json:
        say_json({"revoked": name})
    else:
        say("revoked", name)


def _entry(entry: Entry) -> dict[str, Any]:
    values = {name: getattr(entry, name) for name in Entry.__slots__}
    return values | {"at": moment_of(entry.at)}


@audit.command("list")
def list_entries(
    actor: Annotated[str | None, typer.Option(help="Only what this account did (its login name), or `cli`.")] = None,
    app: Annotated[str | None, typer.Option(help="Only what concerns the application of this API key.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this action, or all of a kind: `secret.`.")] = None,
    since: Annotated[str | None, typer.Option(help="Only from this date or time on, in UTC.")] = None,
    until: Annotated[str | None, typer.Option(help="Only before this date or time, in UTC.")] = None,
    after: Annotated[str | None, typer.Option(help="Go on behind this entry.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 50,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show the audit log, newest first."""
    begin, end = ms_of(since, "--since"), ms_of(until, "--until")
    with _people(config) as people:
        who = people.accounts.named(actor).id if actor and "@" in actor else actor
        page = people.audit.page(actor=who, application=app, action=action, since=begin, until=end, after=after, limit=limit)
    if as_json:
        say_json({"entries": [_entry(each) for each in page], "next": page[-1].id if len(page) == limit else None})
        return
    rows = [
        (
            moment_of(each.at) or "",
            shown(each.name),
            each.address or "",
            each.action,
            each.application or "",
            shown(each.subject),
        )
        for each in page
    ]
    say_table(("when (UTC)", "who", "from", "what", "application", "to what"), rows)
