"""Coming in and going out: set-up, signing in, the second factor, invitations.

Knows: in which order things are asked for. Must not know: how any of them is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ...engine.accounts import SETUP
from ...engine.sessions import CODE
from ...engine.sign_in import Signed
from ...engine.throttle import TooManyAttempts
from ...gate.errors import Busy
from .fields import BadField
from .frame import Action, Ask, Done, Room, View
from .wire import LONGEST_TO


def _to(ask: Ask) -> str:
    """Where somebody wanted to go; nothing for what cannot be a path of ours, which is no reason not to let them in."""
    for given in (ask.given, ask.query):
        to = given.get("to")
        if isinstance(to, str) and to.startswith("/") and len(to) <= LONGEST_TO and to.isprintable():
            return to
    return ""


def _sign_in(ask: Ask) -> Mapping[str, Any]:
    return {"to": _to(ask), "has_owner": ask.engine.people.accounts.has_owner()}


def _signed(ask: Ask, signed: Signed, to: str) -> Done:
    ask.engine.people.sessions.end(ask.cookie)  # the one that this browser was in before
    if signed.stage == CODE:
        return Done(to=f"/code?to={quote(to, safe='/')}", session=signed.token)
    return Done(to=to or "/", session=signed.token, device=signed.device)


def _enter(ask: Ask) -> Done:
    login, password = ask.given.text("login", longest=300), ask.given.secret("password")
    signed = ask.engine.people.sign_in.password(login, password, address=ask.address, device=ask.device)
    return _signed(ask, signed, _to(ask))


def _code(ask: Ask) -> Mapping[str, Any]:
    return {"to": _to(ask)}


def _enter_code(ask: Ask) -> Done:
    code = ask.given.text("code", longest=60)
    signed = ask.engine.people.sign_in.code(ask.cookie, code, address=ask.address, device=ask.device)
    return _signed(ask, signed, _to(ask))


def _again(ask: Ask) -> Done:
    """The password was given once more, for what comes next."""
    return Done(to=_to(ask) or "/")


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
    account = ask.engine.people.accounts.set_up(ask.path["token"], login, password, address=ask.address)
    return _begin(ask, account.login, password)


def _invitation(ask: Ask) -> Mapping[str, Any]:
    account = ask.engine.people.accounts.invited(ask.path["token"])
    return {"login": "" if account is None else account.login, "role": "" if account is None else account.role}


def _accept(ask: Ask) -> Done:
    password = _same(ask)
    account = ask.engine.people.accounts.accept(ask.path["token"], password, address=ask.address)
    return _begin(ask, account.login, password)


def _begin(ask: Ask, login: str, password: str) -> Done:
    """Sign in with a password that was chosen just now. Where that has to wait, the link is used up and the password counts."""
    try:
        signed = ask.engine.people.sign_in.password(login, password, address=ask.address, device=ask.device)
    except (Busy, TooManyAttempts):
        return Done(to="/sign-in", note="Your password is set. Sign in with it.")
    return _signed(ask, signed, "/")


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
        Action(path="/again", do=_again, says="Go on.", scope="read", fresh=True, api=False),
        Action(path="/sign-out", do=_leave, says="End the session.", scope="read", api=False),
        Action(path="/setup/{token}", do=_set_up, says="", on="/setup/{token}", scope=None, api=False),
        Action(path="/invitation/{token}", do=_accept, says="", on="/invitation/{token}", scope=None, api=False),
    ),
)
