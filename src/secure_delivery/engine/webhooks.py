"""Webhooks: events written down, signed, sent, and sent again until they arrive or are given up.

Knows: the order of these steps, who sends how much at once. Must not know: HTTP frameworks, what a job is, how rows look.

Any number of processes deliver side by side: each has one thread that looks what is due and one for each delivery on its way.
What they agree by is in the database, so that a process which is killed loses nothing: a receiver may get an event twice, with
the same id, and gets it at least once unless it never answers.

A dead receiver keeps the threads it has for as long as a try may take. So a lane that failed last has one thread until
something arrives, others a few, and one application never has more than half of all (security promise 72).
"""

from __future__ import annotations

import hashlib
import logging
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from ..gate.errors import BadRequest, ConfigurationError, Conflict, NotFound
from ..plugin.protocols import Event
from .applications import Applications
from .database import Database
from .sealed import WEBHOOKS, Sealed
from .vault import Vault
from .webhook_endpoints import ACTIVE, Endpoint, Endpoints
from .webhook_log import DELIVERED, Claim, Deliveries, Delivery, Full, Message
from .webhook_sending import Outcome, Sender
from .webhook_sign import EVENTS, TEST, callback_secret, envelope, event_id_of, headers, new_number, text_of

__all__ = ["EVENTS", "TEST", "Deliveries", "Delivery", "Endpoint", "Endpoints", "Outcome", "Schedule", "Sender", "Webhooks"]

logger = logging.getLogger("secure_delivery.engine")

#: Makes the body of a preview again, from an application and a job; None when the job is not known any more.
Rebuild = Callable[[str, str], bytes | None]

_LOOK = 1.0  # seconds between looks at what other processes wrote down
_SPARE = 20.0  # seconds that a lease lasts beyond the longest try: for the database, and a machine under load
_LANE = 4  # deliveries of one lane at once, as long as they arrive
_LANES = 4096  # lanes whose last try is remembered
_TESTING = 60.0  # seconds that a test is left to who asked for it
_LEAVE = 5.0  # seconds that `close` waits for what is on its way
_DAY = 86_400_000  # ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When to try again: seconds after each failed try, so that there is one try more than delays; each is spread by a fifth,
    so that what failed together does not come back together. `keep` is how many days the log remembers what is over."""

    delays: Sequence[float] = (10, 60, 300, 900, 3600, 43_200)
    spread: float = 0.2
    keep: float = 7.0

    def after(self, tries: int, chance: float) -> float | None:
        """Seconds to wait after so many tries, None to give up. `chance` is from 0 to 1."""
        if tries > len(self.delays):
            return None
        return self.delays[tries - 1] * (1 + self.spread * (2 * chance - 1))


class Webhooks:
    """The webhooks of all applications. Thread-safe.

    `base` begins the addresses of files in what is sent. `senders` is how many deliveries one process has on their way at once.
    `rebuild` makes bodies again that were not kept; it may be set later. `chance` spreads delays, `clock` gives seconds since
    the epoch. `tried` is told the application and how each try ended: delivered, failed, given_up. `endpoints` and `log` are
    for looking and changing.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        applications: Applications,
        sender: Sender,
        *,
        clock: Callable[[], float],
        schedule: Schedule | None = None,
        senders: int = 32,
        base: str = "",
        rebuild: Rebuild | None = None,
        chance: Callable[[], float] = random.random,
        tried: Callable[[str, str], None] = lambda application, outcome: None,
    ) -> None:
        self.endpoints = Endpoints(database, vault, clock, check=sender.check)
        self.log = Deliveries(database, vault, clock, lease=sender.seconds + _SPARE)
        self.sealed = Sealed(database, vault, WEBHOOKS)
        self.rebuild = rebuild
        self._database = database
        self._applications = applications
        self._sender = sender
        self._clock = clock
        self._schedule = schedule or Schedule()
        self._base = base
        self._chance = chance
        self._tried = tried
        self._traffic = _Traffic(senders)
        self._wanted, self._over = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    # -- writing down

    def check_url(self, url: str) -> None:
        """Whether an address may be one that events are sent to. Raises `BadRequest`."""
        self._sender.check(url)

    def record(
        self,
        connection: Connection,
        *,
        application: str,
        event: str,
        body: bytes,
        job: str | None = None,
        callback_url: str | None = None,
        event_id: str | None = None,
        hold: float = 0.0,
    ) -> list[str]:
        """Write down, in the caller's transaction, what is to be delivered: to every endpoint that takes the event, and to the
        address that the request named. Returns the ids of the deliveries, none when nobody wants it.

        `body` goes as it is; see `enveloped`. `callback_url` was checked before (`check_url`). For `hold` seconds only
        `deliver` sends it, for callers that make the first try themselves. After the commit call `deliver` or `wake`.
        """
        message = Message(application=application, event=event, body=body, event_id=event_id or event_id_of(), job=job)
        made = [
            self.log.add(connection, message, lane=endpoint.id, webhook=endpoint.id, hold=hold)
            for endpoint in self.endpoints.taking(connection, application, event)
        ]
        if callback_url is not None:
            lane = self._lane(application, callback_url)
            made.append(self.log.add(connection, message, lane=lane, url=callback_url, hold=hold))
        return made

    def enveloped(self, event: str, text: dict[str, object]) -> tuple[bytes, str]:
        """The body of an event that is no preview, and the event id that goes with it."""
        number = new_number()
        return envelope(event, text, number=number, timestamp=int(self._clock())), event_id_of(number)

    def on_event(self, event: Event) -> None:
        """Have an event of a file delivered. Never raises: what happened has happened."""
        try:
            if event.name not in EVENTS or not self.endpoints.wants(event.application, event.name):
                return
            body, event_id = self.enveloped(event.name, text_of(event.name, event.data, self._base))
            with self._database.write() as connection:
                self.record(connection, application=event.application, event=event.name, body=body, event_id=event_id)
        except Exception:
            logger.exception("the event %s of %s could not be written down", event.name, event.application)
            return
        self.wake()

    def test(self, application: str, webhook: str) -> Delivery:
        """Send an event of our own to one endpoint, once, also when it is switched off; returns what came of it. Raises
        `NotFound`."""
        endpoint = self.endpoints.get(application, webhook)
        body, event_id = self.enveloped(TEST, {"webhook": endpoint.id})
        message = Message(application=application, event=TEST, body=body, event_id=event_id)
        with self._database.write() as connection:
            name = self.log.add(connection, message, lane=endpoint.id, webhook=endpoint.id, hold=_TESTING)
        self.deliver(name)
        return self.log.one(name)

    def redeliver(self, delivery: str, *, application: str | None = None) -> Delivery:
        """Send a delivery that is over once more, with the same event id and all tries anew; one that waits is sent now.
        Returns it as it waits. Raises `NotFound`, `Conflict` when its endpoint is switched off or its body can not be made
        again."""
        found = self.log.one(delivery, application=application)
        off = found.webhook is not None and self.endpoints.get(found.application, found.webhook).state != ACTIVE
        if off and found.event != TEST:
            raise Conflict(public="The webhook is switched off.")
        again = self.log.again(delivery, application=application, body=self._rebuilt)
        self.wake()
        return again

    def _rebuilt(self, delivery: Delivery) -> bytes | None:
        if delivery.job is None or self.rebuild is None:
            return None
        try:
            return self.rebuild(delivery.application, delivery.job)
        except NotFound:
            return None

    # -- sending

    def deliver(self, delivery: str) -> bool:
        """Make one try now, in this thread; whether it is delivered. A try that somebody else is making is not waited for."""
        try:
            claim = self.log.claim_one(delivery)
            if claim is None:
                return self.log.one(delivery).state == DELIVERED
        except NotFound:  # its endpoint was removed
            return False
        return self._try(claim).delivered

    def first_tries(self, deliveries: Sequence[str]) -> None:
        """One try of each, side by side: for whoever waits for them, it takes as long as one."""
        threads = [threading.Thread(target=self._first_try, args=(name,), name="webhook", daemon=True) for name in deliveries]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _first_try(self, delivery: str) -> None:
        try:
            self.deliver(delivery)
        except Exception:  # it is written down, and will be tried again
            logger.exception("webhook delivery %s", delivery)

    def _try(self, claim: Claim) -> Outcome:
        started = self.log.now()
        try:
            outcome = self._sent(claim, started // 1000)
        except Exception:  # it is written down as a try like any other, so that it ends at some time
            logger.exception("webhook delivery %s", claim.id)
            outcome = Outcome(status=None, answer="This server failed.")
        once = outcome.final or outcome.gone or claim.event == TEST
        again = None if once else self._schedule.after(claim.tries, self._chance())
        webhook = claim.webhook
        gone = None if webhook is None or not outcome.gone else lambda connection: self.endpoints.mark_gone(connection, webhook)
        if not self.log.settle(claim, outcome, started=started, again=again, also=gone):
            logger.warning("webhook delivery %s: the lease was lost, and what came of try %d with it", claim.id, claim.number)
        elif not outcome.delivered and again is None:
            logger.warning("webhook delivery %s of %s was given up: %s", claim.id, claim.application, outcome.status)
        self._tried(claim.application, "delivered" if outcome.delivered else "failed" if again is not None else "given_up")
        return outcome

    def _sent(self, claim: Claim, timestamp: int) -> Outcome:
        """Sign and send, with the second that the log tells of this try. Who held the delivery for so long that the lease may
        end meanwhile sends nothing."""
        if self.log.now() + self._sender.seconds * 1000 >= claim.ends:
            return Outcome(status=None, answer="This server was too slow.")
        try:
            url, keys = self._address(claim)
        except (NotFound, ConfigurationError):
            return Outcome(status=None, answer="There is no such webhook any more.", final=True)
        if not url:
            return Outcome(status=None, answer="The webhook is switched off.", final=True)
        fields = headers(claim.event_id, timestamp, claim.body, keys)
        return self._sender.send(url, fields, claim.body)

    def _address(self, claim: Claim) -> tuple[str, list[str]]:
        """Where it goes, empty for an endpoint that is switched off, and the secrets that sign, newest first."""
        if claim.webhook is None:
            application = self._applications.application(claim.application)
            if application is None:
                raise NotFound("the application is gone")
            now = self._clock()
            signing = application.secrets.signing
            others = (secret for secret in application.secrets.in_force(now) if secret.id != signing.id)
            return claim.url or "", [callback_secret(secret.value) for secret in (signing, *others)]
        endpoint = self.endpoints.get(claim.application, claim.webhook)
        active = endpoint.state == ACTIVE or claim.event == TEST
        return endpoint.url if active else "", self.endpoints.keys(endpoint)

    def _lane(self, application: str, url: str) -> str:
        """What an address has in common with others of the same host."""
        try:
            url = self._sender.check(url).authority
        except BadRequest:  # settings have changed since it was checked: its tries will say so
            pass
        return hashlib.sha256(f"{application} {url}".encode()).hexdigest()[:32]

    # -- the thread

    def start(self) -> None:
        """Begin to deliver what is due, if that has not happened yet."""
        if self._thread is None:
            self._over.clear()
            self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Say that something may be due."""
        self._wanted.set()

    def close(self) -> None:
        """Take nothing more, and wait a moment for what is on its way. What is not answered by then is sent again by whoever is
        there when its lease ends."""
        self._over.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(_LEAVE)
            self._thread = None
        self._traffic.wait(_LEAVE)

    def sweep(self) -> int:
        """Forget what has been over for longer than the log is kept; returns how much."""
        return self.log.forget(before=self.log.now() - int(self._schedule.keep * _DAY))

    def _run(self) -> None:
        while not self._over.is_set():
            self._wanted.clear()
            try:
                pause = self._round()
            except Exception:  # a database that is away now is there the next time
                logger.exception("webhooks")
                pause = _LOOK
            self._wanted.wait(pause)

    def _round(self) -> float:
        """Send off what is due and has room; returns the seconds after which to look again, unless woken."""
        room, full = self._traffic.room(), Full(*self._traffic.full())
        if not room:
            return _LOOK
        due = self.log.next_due(but=full)
        if due is None:
            return _LOOK
        if (wait := (due - self.log.now()) / 1000) > 0:
            return min(_LOOK, wait)
        admitted: list[tuple[str, str]] = []

        def admit(lane: str, application: str) -> bool:
            if not self._traffic.enter(lane, application):
                return False
            admitted.append((lane, application))
            return True

        try:
            claims = self.log.claim(room, but=full, admit=admit)
        except BaseException:
            for lane, application in admitted:
                self._traffic.leave(lane, application, None)
            raise
        for claim in claims:
            admitted.remove((claim.lane, claim.application))
            threading.Thread(target=self._send_off, args=(claim,), name="webhook", daemon=True).start()
        for lane, application in admitted:  # those that could not be opened
            self._traffic.leave(lane, application, None)
        return 0.0 if claims else _LOOK

    def _send_off(self, claim: Claim) -> None:
        delivered: bool | None = None
        try:
            delivered = self._try(claim).delivered
        except Exception:
            logger.exception("webhook delivery %s", claim.id)
        finally:
            self._traffic.leave(claim.lane, claim.application, delivered)
            self.wake()


class _Traffic:
    """How much of what is on its way in this process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._each = max(1, most // 2)
        self._lock = threading.Condition()
        self._lanes: Counter[str] = Counter()
        self._applications: Counter[str] = Counter()
        self._failed: dict[str, None] = {}

    def room(self) -> int:
        """How many more there may be."""
        with self._lock:
            return self._most - self._lanes.total()

    def full(self) -> tuple[list[str], list[str]]:
        """The lanes and the applications that have all they may have."""
        with self._lock:
            lanes = [lane for lane, count in self._lanes.items() if count >= self._limit(lane)]
            return lanes, [application for application, count in self._applications.items() if count >= self._each]

    def enter(self, lane: str, application: str) -> bool:
        """Count one more, if there may be one."""
        with self._lock:
            if self._lanes[lane] >= self._limit(lane) or self._applications[application] >= self._each:
                return False
            self._lanes[lane] += 1
            self._applications[application] += 1
            return True

    def leave(self, lane: str, application: str, delivered: bool | None) -> None:
        """Count one less, and remember how it went."""
        with self._lock:
            for counter, key in ((self._lanes, lane), (self._applications, application)):
                counter[key] -= 1
                if counter[key] <= 0:
                    del counter[key]
            if delivered:
                self._failed.pop(lane, None)
            elif delivered is False:
                self._failed[lane] = None
                if len(self._failed) > _LANES:
                    del self._failed[next(iter(self._failed))]
            self._lock.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait until nothing is on its way; whether that came."""
        with self._lock:
            return self._lock.wait_for(lambda: not self._lanes, seconds)

    def _limit(self, lane: str) -> int:
        return 1 if lane in self._failed else _LANE
