"""`secure-delivery transform`: the address of a transformation, and its result here and now.

Knows: words of the command line. Must not know: how a chain is read, made or signed.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Annotated

import typer

from ..engine import tryout
from ..gate.errors import ConfigurationError
from .output import AsJson, Config, Key, engine_for, known_application, say, say_json, shown


def transform(
    key: Key,
    source: Annotated[str, typer.Argument(help='Handle, or the address of a file elsewhere; several in quotes; "" for none.')],
    tasks: Annotated[list[str] | None, typer.Argument(help="Tasks as in an address: resize=width:300 sepia.")] = None,
    expires_in: Annotated[int, typer.Option(help="Seconds that the address is good for, where it needs a policy.")] = 3600,
    save: Annotated[Path | None, typer.Option("--save", "-o", help="Make the result, and write it to this file.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Print the signed address of a transformation; with --save also make its result."""
    with engine_for(config) as engine:
        application = known_application(engine, key)
        typed = [one for text in tasks or () for one in tryout.typed_of(text)]
        chain = tryout.chain_of(engine.registry, tryout.tasks_of(engine.registry, typed), tryout.source_of(source))
        engine.tryout.check(application, chain)
        link = tryout.link_of(application, chain, expires_in=expires_in, now=time.time())
        base = engine.settings.public_url.rstrip("/") or f"http://{engine.settings.host}:{engine.settings.port}"
        told: dict[str, object] = {"url": base + link.path, "expiry": link.expiry, "bound": link.bound}
        if save is not None:
            made = engine.tryout.make(application, chain)
            try:
                with engine.renditions.open(made.rendition) as stream, save.open("wb") as into:
                    shutil.copyfileobj(stream, into)
            except OSError as error:
                raise ConfigurationError(f"{shown(save)} cannot be written: {error.strerror}") from None
            told |= {"mimetype": made.rendition.mimetype, "bytes": made.rendition.size, "seconds": round(made.seconds, 3)}
            told |= {"kept": made.kept, "file": str(save)}
    if as_json:
        say_json(told)
        return
    for name, value in told.items():
        say(name, "never" if name == "expiry" and value is None else shown(value))
