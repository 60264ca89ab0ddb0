"""File security and file processing that a Python team owns.

These are the public names of the gate: signed policies, domain whitelists, and the guard that the doors
`secure_delivery.wsgi.SecureDelivery` and `secure_delivery.asgi.SecureDelivery` ask. The framework for plugins is
`secure_delivery.plugin`; the standalone server is `secure_delivery.server`.
"""

from .gate.decide import CALLS, decide, explain
from .gate.errors import ConfigurationError, PolicyError, Reason, SecureDeliveryError
from .gate.guard import Guard
from .gate.heads import Reply
from .gate.model import Application, Decision, Limits, RequestFacts, Secret, SecretRing, SecretState, new_secret
from .gate.policy import Call, Policy, SignedPolicy
from .gate.rules import Rule
from .gate.whitelist import Whitelist

__version__ = "0.1.0"

__all__ = [
    "CALLS",
    "Application",
    "Call",
    "ConfigurationError",
    "Decision",
    "Guard",
    "Limits",
    "Policy",
    "PolicyError",
    "Reason",
    "Reply",
    "RequestFacts",
    "Rule",
    "Secret",
    "SecretRing",
    "SecretState",
    "SecureDeliveryError",
    "SignedPolicy",
    "Whitelist",
    "decide",
    "explain",
    "new_secret",
]
