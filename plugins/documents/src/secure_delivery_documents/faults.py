"""What the libraries of this plugin raise, as faults of the tree.

Knows: that anything may be raised by a decoder. Must not know: which library it was.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from secure_delivery.plugin import Corrupt, Encrypted, Media, ProcessingLimit, SecureDeliveryError, TooLarge, WorkLimits


@contextmanager
def faults(what: str) -> Iterator[None]:
    """Raises `ProcessingLimit` for memory, `Corrupt` for everything that is no fault of the tree already."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except SecureDeliveryError:
            raise
        except MemoryError as error:
            raise ProcessingLimit("out of memory") from error
        except RecursionError as error:
            raise Corrupt(f"{what}: nested too deeply") from error
        except Exception as error:
            raise Corrupt(f"{what}: {type(error).__name__}: {error}") from error


def encrypted() -> Encrypted:
    """The fault for files that only open with a password."""
    return Encrypted("encrypted", public="The document is encrypted: it opens only with a password.")


def data_of(media: Media, limits: WorkLimits) -> bytes:
    """All bytes of a file. Raises `TooLarge` over the limit."""
    with media.open() as stream:
        data = stream.read(limits.bytes + 1)
    if len(data) > limits.bytes:
        raise TooLarge(f"over {limits.bytes} bytes")
    return data
