"""Coming in and going out: set-up, signing in, the second factor, invitations.

Knows: in which order things are asked for. Must not know: how any of them is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...engine.accounts import SETUP
from ...engine.sessions import CODE
from ...engine.sign_in import Signed
from .fields import BadField
from .frame import Action, Ask, Done, Room, View


def _sign_in(ask: Ask) -> Mapping[str, Any]:
    to = ask.query.text("to") or ask.given.text("to")
    return {"to": to, "has_owner": ask.engine.people.accounts.has_owner()}


def _signed(signed: Signed, to: str) -> Done:
    if signed.stage == CODE:
        return Done(to=f"/code?to={to}", session=signed.token)
    return Done(to=to or "/", session=signed.token, device=signed.device)


def _enter(ask: Ask) -> Done:
    login, password = ask.given.text("login", longest=300), ask.given.secret("password")
    signed = ask.engine.people.sign_in.password(login, password, address=ask.address, device=ask.device)
    return _signed(signed, ask.given.text("to"))


def _code(ask: Ask) -> Mapping[str, Any]:
    return {"to": ask.query.text("to") or ask.given.text("to")}


def _enter_code(ask: Ask) -> Done:
    token = ask.cookie
    signed = ask.engine.people.sign_in.code(token, ask.given.text("code", longest=60), address=ask.address, device=ask.device)
    return _signed(signed, ask.given.text("to"))


def _leave(ask: Ask) -> Done:
    ask.engine.people.sign_in.out(ask.who.token)
    return Done(to="/sign-in", note="You are signed out.", session="")


def _setup(ask: Ask) -> Mapping[str, Any]:
    ask.engine.people.accounts.invited(ask.path["token"], kind=SETUP)
    return {}


def _same(ask: Ask) -> str:
    password = ask.given.secret("new_password")
    if password != ask.given.secret("again"):
        raise BadField("again", "The two passwords differ.")
    return password


def _set_up(ask: Ask) -> Done:
    password, login = _same(ask), ask.given.text("login", longest=300, label="The name", needed=True)
    people = ask.engine.people
    people.accounts.set_up(ask.path["token"], login, password, address=ask.address)
    return _signed(people.sign_in.password(login, password, address=ask.address, device=ask.device), "/")


def _invitation(ask: Ask) -> Mapping[str, Any]:
    account = ask.engine.people.accounts.invited(ask.path["token"])
    return {"login": "" if account is None else account.login, "role": "" if account is None else account.role}


def _accept(ask: Ask) -> Done:
    password, people = _same(ask), ask.engine.people
    account = people.accounts.accept(ask.path["token"], password, address=ask.address)
    return _signed(people.sign_in.password(account.login, password, address=ask.address, device=ask.device), "/")


ROOM = Room(
    name="entry",
    views=(
        View(path="/sign-in", show=_sign_in, page="sign_in.html", title="Sign in", says="", scope=None, api=False),
        View(path="/code", show=_code, page="code.html", title="Your code", says="", scope=None, api=False),
        View(path="/setup/{token}", show=_setup, page="setup.html", title="Welcome", says="", scope=None, api=False),
        View(
            path="/invitation/{token}",
            show=_invitation,
            page="invitation.html",
            title="Welcome",
            says="",
            scope=None,
            api=False,
        ),
    ),
    actions=(
        Action(path="/sign-in", do=_enter, says="", on="/sign-in", scope=None, api=False),
        Action(path="/code", do=_enter_code, says="", on="/code", scope=None, api=False),
        Action(path="/sign-out", do=_leave, says="End the session.", scope="read", api=False),
        Action(path="/setup/{token}", do=_set_up, says="", on="/setup/{token}", scope=None, api=False),
        Action(path="/invitation/{token}", do=_accept, says="", on="/invitation/{token}", scope=None, api=False),
    ),
)
