"""Asking S3: one client of botocore for one storage, each request tried a few times, answers and refusals as values.

Knows: botocore, tries. Must not know: what is stored and why. It is loaded by the first request, because botocore is large.

The client has the given credentials and nothing else: variables, files and profiles of the environment are not read, unless
the options say that credentials come from there.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import botocore.session  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES  # type: ignore[import-untyped]
from botocore.loaders import create_loader  # type: ignore[import-untyped]

from secure_delivery.plugin import Dial, StorageFault

from .faults import Verdict, judge
from .options import S3Options
from .patience import Patience
from .transport import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What S3 said: its data, or the code of a refusal that was expected. `attempts` is how often it was asked."""

    code: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    attempts: int = 1


class Client:
    """Safe to share among threads."""

    def __init__(self, options: S3Options, dial: Dial, patience: Patience) -> None:
        self._patience = patience
        self._transport = Transport(dial, patience)
        self._client = _client(options)
        self._client.meta.events.register("before-send.s3", self._transport.send)
        self._client.meta.events.register("before-call.s3", _stay)

    def call(self, method: str, doing: str, *, expected: Collection[str] = (), **arguments: Any) -> Answer:
        """Ask, and ask again for what passes. Refusals with an expected code are values; the rest is raised as the faults of
        `judge`, with nothing of the original behind them: it may hold what must not be logged."""
        attempt = 1
        while True:
            outcome = self._once(method, doing, arguments)
            if not isinstance(outcome, Verdict):
                return Answer(data=outcome, attempts=attempt)
            if outcome.code in expected:
                return Answer(code=outcome.code, attempts=attempt)
            if attempt >= self._patience.attempts or not isinstance(outcome.fault, StorageFault):
                raise outcome.fault
            self._patience.before(attempt)
            attempt += 1

    def _once(self, method: str, doing: str, arguments: Mapping[str, Any]) -> Mapping[str, Any] | Verdict:
        try:
            answer: Mapping[str, Any] = getattr(self._client, method)(**arguments)
            return answer
        except Exception as error:
            return judge(error, doing)

    def presign(self, method: str, seconds: int, **arguments: Any) -> str:
        """A URL for a request that somebody else makes within so many seconds."""
        try:
            url: str = self._client.generate_presigned_url(method, Params=arguments, ExpiresIn=seconds)
            return url
        except Exception as error:
            verdict = judge(error, "signing a URL")
        raise verdict.fault

    def address(self, **where: Any) -> str:
        """The plain URL of an object. It is the place where botocore would send a request, by its rules for regions and hosts
        and for quoting, with the signature left off: a `?` of the key is quoted."""
        return self.presign("get_object", 1, **where).partition("?")[0]

    def close(self) -> None:
        self._transport.close()


def _stay(context: dict[str, Any], **_: Any) -> None:
    """Keep botocore from looking for a bucket's region with requests of its own, which write-only rights do not cover: it
    takes the request for one that was sent on before."""
    if "s3_redirect" in context:
        context["s3_redirect"]["redirected"] = True


def _client(options: S3Options) -> Any:
    _quiet()
    session = _session()
    if options.access_key_id == "":
        session.get_credentials = botocore.session.Session().get_credentials
    return session.create_client(
        "s3",
        region_name=options.region,
        endpoint_url=options.endpoint or None,
        aws_access_key_id=options.access_key_id or None,
        aws_secret_access_key=options.secret_access_key or None,
        aws_session_token=options.session_token or None,
        verify=True,
        config=Config(
            signature_version="s3v4",
            retries={"total_max_attempts": 1, "mode": "standard"},
            s3={
                "addressing_style": "path" if options.path_style else "virtual",
                "us_east_1_regional_endpoint": "regional",
            },
            # Content-MD5 goes with every part instead, which all providers know; the newer sums come as trailers.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            ignore_configured_endpoint_urls=True,
            use_dualstack_endpoint=False,
            use_fips_endpoint=False,
            user_agent="secure-delivery-s3",  # instead of the versions of everything here
        ),
    )


def _session() -> Any:
    """A session that knows no environment: each of its variables has the default, its files are empty."""
    variables = {name: (None, None, default, kind) for name, (_, _, default, kind) in BOTOCORE_DEFAUT_SESSION_VARIABLES.items()}
    for name in ("config_file", "credentials_file"):
        variables[name] = (None, None, os.devnull, None)
    session = botocore.session.Session(session_vars=variables)
    session.register_component("data_loader", _loader())
    return session


@cache
def _loader() -> Any:
    """The descriptions of services, read once for all clients: they are most of what making a client costs."""
    return create_loader()


def _quiet() -> None:
    """Keep botocore's debugging out of every log: it writes out session tokens, signed requests and answers."""
    logger = logging.getLogger("botocore")
    if logger.level < logging.INFO:
        logger.setLevel(logging.INFO)
