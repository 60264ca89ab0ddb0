"""People: who may do what, invitations, and the API tokens of all.

Knows: which changes there are. Must not know: how accounts are kept, how anybody signs in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...engine.account_rows import ACCOUNTS, ROLES, Account
from ...engine.accounts import INVITATION_HOURS
from ...engine.tokens import ApiToken
from .frame import Action, Ask, Done, Room, View

MEANS = {
    "viewer": "looks",
    "developer": "changes applications and files, sees and renews secrets",
    "owner": "all that, and people",
}


def told(account: Account) -> dict[str, Any]:
    """An account as lists show it."""
    return {
        "id": account.id,
        "login": account.login,
        "role": account.role,
        "state": "disabled" if account.disabled is not None else "invited" if account.invited else "active",
        "second_factor": account.totp,
        "created": account.created,
        "seen": account.seen,
    }


def told_token(token: ApiToken, login: str = "") -> dict[str, Any]:
    """A token as lists show it; of its text only the beginning."""
    return {
        "id": token.id,
        "login": login,
        "name": token.name,
        "begins": token.prefix,
        "scopes": list(token.scopes),
        "created": token.created,
        "expires": token.expires,
        "used": token.used,
    }


def _all(ask: Ask) -> Mapping[str, Any]:
    people = ask.engine.people
    accounts = people.accounts.all()
    logins = {each.id: each.login for each in accounts}
    return {
        "people": [told(each) for each in accounts],
        "roles": [{"role": role, "means": MEANS[role]} for role in reversed(ROLES)],
        "tokens": [told_token(each, logins.get(each.account, "")) for each in people.tokens.of()],
    }


def _invite(ask: Ask) -> Done:
    ask.given.only("csrf", "password", "username", "login", "role")
    login = ask.given.text("login", label="The name", longest=300, needed=True)
    role = ask.given.choice("role", ROLES, label="The role", default="viewer")
    account, token = ask.engine.people.accounts.invite(ask.actor, login, role)
    return _link(ask, account, token, status=201)


def _again(ask: Ask) -> Done:
    people = ask.engine.people
    if ask.given.flag("no_second_factor"):
        people.second_factor.remove(ask.actor, ask.path["account"])
    token = people.accounts.invite_again(ask.actor, ask.path["account"])
    return _link(ask, people.accounts.get(ask.path["account"]), token)


def _link(ask: Ask, account: Account, token: str, *, status: int = 200) -> Done:
    values = {**told(account), "url": f"{ask.portal}/invitation/{token}", "hours": INVITATION_HOURS, "go_on": "/people"}
    return Done(values=values, page="link_once.html", title=f"A link for {account.login}", status=status)


def _role(ask: Ask) -> Done:
    role = ask.given.choice("role", ROLES, label="The role")
    account = ask.engine.people.accounts.set_role(ask.actor, ask.path["account"], role)
    return Done(values=told(account), to="/people", note=f"{account.login} is {role} now.")


def _changes(change: str, says: str) -> Callable[[Ask], Done]:
    def do(ask: Ask) -> Done:
        account = getattr(ask.engine.people.accounts, change)(ask.actor, ask.path["account"])
        return Done(values=told(account), to="/people", note=f"{account.login} {says}.")

    return do


def _remove(ask: Ask) -> Done:
    account = ask.engine.people.accounts.get(ask.path["account"])
    ask.engine.people.accounts.remove(ask.actor, account.id)
    return Done(values={"removed": account.login}, to="/people", note=f"{account.login} is gone, with sessions and tokens.")


def _revoke(ask: Ask) -> Done:
    ask.engine.people.tokens.revoke(ask.actor, ask.path["token"])
    return Done(values={"revoked": ask.path["token"]}, to="/people", note="The token counts no longer.")


_ONE = "/people/{account}"


def _action(path: str, do: Callable[[Ask], Done], command: str, says: str) -> Action:
    return Action(path=path, do=do, on="/people", scope=ACCOUNTS, fresh=True, command=command, says=says)


ROOM = Room(
    name="people",
    views=(
        View(
            path="/people",
            show=_all,
            page="people.html",
            title="People",
            scope=ACCOUNTS,
            command="user list",
            says="All accounts and all API tokens.",
        ),
    ),
    actions=(
        _action("/people", _invite, "user add", "Invite somebody; the link to choose a password is in the answer, this once."),
        _action(f"{_ONE}/link", _again, "user password", "Make a new link for somebody to choose a password."),
        _action(f"{_ONE}/role", _role, "user role", "Give somebody another role; their sessions end."),
        _action(f"{_ONE}/disable", _changes("disable", "cannot sign in now"), "user disable", "Have an account be of no use."),
        _action(f"{_ONE}/enable", _changes("enable", "can sign in again"), "user enable", "Take that back."),
        _action(f"{_ONE}/remove", _remove, "user remove", "Delete an account with its sessions and tokens."),
        _action("/tokens/{token}/revoke", _revoke, "token revoke", "Have anybody's API token count no longer."),
    ),
)
