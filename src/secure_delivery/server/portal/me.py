"""Oneself: password, sessions, second factor, API tokens.

Knows: what everybody may change of their own. Must not know: how any of it is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...engine.account_rows import READ, ROLES, SCOPES
from ...engine.tokens import MAX_DAYS
from ...gate.errors import NotFound
from .fields import BadField
from .frame import Action, Ask, Done, Room, View
from .people import told, told_token
from .visitor import NotAllowed


def _session_token(ask: Ask) -> str:
    """The token of the session. Raises `NotAllowed` for programs: sessions and passwords are of people."""
    if ask.who.session is None:
        raise NotAllowed("a program")
    return ask.who.token


def _me(ask: Ask) -> Mapping[str, Any]:
    people, account = ask.engine.people, ask.engine.people.accounts.get(ask.who.account.id)
    here = ask.who.session.id if ask.who.session is not None else ""
    return {
        **told(account),
        "sessions": [
            {"id": each.id, "address": each.address, "created": each.created, "used": each.used, "this": each.id == here}
            for each in people.sessions.of(account.id)
        ],
        "codes_left": people.second_factor.codes_left(account.id) if account.totp else 0,
        "tokens": [told_token(each) for each in people.tokens.of(account.id)],
        "scopes": [scope for scope in SCOPES if scope in ROLES[account.role]],
    }


def _password(ask: Ask) -> Done:
    token, new = _session_token(ask), ask.given.secret("new_password")
    if new != ask.given.secret("again"):
        raise BadField("again", "The two passwords differ.")
    signed = ask.engine.people.sign_in.change_password(token, ask.given.secret("old_password"), new, address=ask.address)
    return Done(to="/me", note="The password is changed; all other sessions have ended.", session=signed.token)


def _end(ask: Ask) -> Done:
    if not ask.engine.people.sessions.end_one(ask.who.account.id, ask.path["session"]):
        raise NotFound("no such session", public="There is no such session.")
    return Done(to="/me", note="The session has ended.")


def _end_others(ask: Ask) -> Done:
    people, here = ask.engine.people, ask.who.session.id if ask.who.session is not None else ""
    ended = [
        people.sessions.end_one(ask.who.account.id, each.id)
        for each in people.sessions.of(ask.who.account.id)
        if each.id != here
    ]
    return Done(values={"ended": sum(ended)}, to="/me", note="All other sessions have ended.")


def _offer(ask: Ask) -> Done:
    _session_token(ask)
    ask.engine.people.second_factor.offer(ask.who.account.id)
    return Done(to="/me/second-factor")


def _offered(ask: Ask) -> Mapping[str, Any]:
    """What was offered and is not in force yet, for the authenticator to take."""
    _session_token(ask)
    secret, address = ask.engine.people.second_factor.offered(ask.who.account.id)
    return {"secret": secret, "address": address}


def _confirm(ask: Ask) -> Done:
    token = _session_token(ask)
    codes = ask.engine.people.second_factor.confirm(ask.actor, ask.who.account.id, ask.given.text("code", longest=60))
    # What may be done has changed with what has to be shown for it (security promise 63).
    return _codes(codes, session=ask.engine.people.sessions.rotated(token))


def _renew(ask: Ask) -> Done:
    _session_token(ask)
    return _codes(ask.engine.people.second_factor.renew_codes(ask.actor, ask.who.account.id))


def _codes(codes: list[str], *, session: str | None = None) -> Done:
    return Done(values={"codes": codes, "go_on": "/me"}, page="codes.html", title="Recovery codes", session=session)


def _take_off(ask: Ask) -> Done:
    token = _session_token(ask)
    ask.engine.people.second_factor.remove(ask.actor, ask.who.account.id)
    session = ask.engine.people.sessions.rotated(token)
    return Done(to="/me", note="The password alone is asked for from now on.", session=session)


def _token(ask: Ask) -> Done:
    ask.given.only("csrf", "password", "username", "name", "scopes", "days")
    scopes = ask.given.several("scopes", label="What it may do")
    if beyond := [scope for scope in scopes if not ask.who.may(scope)]:  # a program makes none that may do more than itself
        raise BadField("scopes", f"You may not give {beyond[0][:40]}.")
    if not scopes:
        raise BadField("scopes", "Say what it may do.")
    days = ask.given.number("days", label="Days", most=MAX_DAYS, default=90)
    name = ask.given.text("name", label="The name", longest=100, needed=True)
    made, text = ask.engine.people.tokens.create(ask.actor, ask.who.account.id, name, scopes=scopes, days=days or None)
    values = {**told_token(made), "secret": text, "secret_name": "API token", "go_on": "/me"}
    return Done(values=values, page="secret_once.html", title="The new token", status=201)


def _revoke(ask: Ask) -> Done:
    ask.engine.people.tokens.revoke(ask.actor, ask.path["token"], account=ask.who.account.id)
    return Done(values={"revoked": ask.path["token"]}, to="/me", note="The token counts no longer.")


_FACTOR = "/me/second-factor"

ROOM = Room(
    name="me",
    views=(
        View(
            path="/me",
            show=_me,
            page="me.html",
            title="You",
            command="user list",
            says="Your account, sessions and API tokens.",
        ),
        View(path=_FACTOR, show=_offered, page="second_factor.html", title="A second factor", says="", api=False),
    ),
    actions=(
        Action(path="/me/password", do=_password, on="/me", scope=READ, api=False, says="Change your password."),
        Action(path="/me/sessions/end", do=_end_others, on="/me", scope=READ, api=False, says="End all other sessions."),
        Action(path="/me/sessions/{session}/end", do=_end, on="/me", scope=READ, api=False, says="End a session."),
        Action(path=f"{_FACTOR}/offer", do=_offer, on="/me", scope=READ, fresh=True, api=False, says="Set a second factor up."),
        Action(path=_FACTOR, do=_confirm, on=_FACTOR, scope=READ, fresh=True, api=False, says="Set a second factor up."),
        Action(path="/me/codes", do=_renew, on="/me", scope=READ, fresh=True, api=False, says="Make other recovery codes."),
        Action(
            path=f"{_FACTOR}/remove",
            do=_take_off,
            on="/me",
            scope=READ,
            fresh=True,
            api=False,
            says="Take the second factor off.",
        ),
        Action(
            path="/me/tokens",
            do=_token,
            on="/me",
            scope=READ,
            fresh=True,
            command="token create",
            says="Make an API token; its text is in the answer, this once.",
        ),
        Action(
            path="/me/tokens/{token}/revoke",
            do=_revoke,
            on="/me",
            scope=READ,
            command="token revoke",
            says="Have an API token of yours count no longer.",
        ),
    ),
)
