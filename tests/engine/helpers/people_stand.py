"""Accounts on a database, with a clock that tests turn."""

from __future__ import annotations

import secrets

from secure_delivery.engine.database import Database
from secure_delivery.engine.people import people
from secure_delivery.engine.settings import Settings
from secure_delivery.engine.sign_in import Signed
from secure_delivery.engine.vault import Vault

GOOD = "seven quiet lamps walk home"
HOME, CAFE = "192.0.2.7", "198.51.100.20"


class PeopleStand:
    """`now` is in seconds since the epoch."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = 1_800_000_000.0
        self.keys = {"k1": secrets.token_bytes(32)}
        self.vault = Vault(self.keys, current="k1")
        self.people = people(Settings(), database, self.vault, self.clock)

    def clock(self) -> float:
        return self.now

    def sign_in(self, login: str, password: str = GOOD, address: str = HOME, device: str | None = None) -> Signed:
        return self.people.sign_in.password(login, password, address=address, device=device)
