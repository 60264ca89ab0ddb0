"""The framework: everything that the author of a plugin imports.

Knows: the contract. Must not know: how plugins are found (`secure_delivery.plugin.manager`) or tested
(`secure_delivery.plugin.testing`): both are imported by those who need them.

A plugin is a module in the entry-point group `secure_delivery` with functions marked `hookimpl`; `hookspecs` says what each
returns, `protocols` what a thing must be able to do, and the faults below are what it may raise.
"""

from ..gate.errors import (
    ConfigurationError,
    Corrupt,
    NotFound,
    ProcessingLimit,
    SecureDeliveryError,
    StorageFault,
    StorageFull,
    TooLarge,
    Unsupported,
)
from .hookspecs import hookimpl
from .params import REQUIRED, Kind, Param, Value, boolean, choice, either, integer, listing, number, text
from .protocols import (
    Checked,
    Demanding,
    Draft,
    Event,
    Extractor,
    Located,
    Media,
    Needs,
    Previewer,
    Queue,
    Scanner,
    Settings,
    Storage,
    Swept,
    Transformation,
    Warm,
    Work,
    WorkLimits,
)

__all__ = [
    "REQUIRED",
    "Checked",
    "ConfigurationError",
    "Corrupt",
    "Demanding",
    "Draft",
    "Event",
    "Extractor",
    "Kind",
    "Located",
    "Media",
    "Needs",
    "NotFound",
    "Param",
    "Previewer",
    "ProcessingLimit",
    "Queue",
    "Scanner",
    "SecureDeliveryError",
    "Settings",
    "Storage",
    "StorageFault",
    "StorageFull",
    "Swept",
    "TooLarge",
    "Transformation",
    "Unsupported",
    "Value",
    "Warm",
    "Work",
    "WorkLimits",
    "boolean",
    "choice",
    "either",
    "hookimpl",
    "integer",
    "listing",
    "number",
    "text",
]
