"""The ASGI door under a short name: `from secure_delivery.asgi import SecureDelivery`."""

from .gate.asgi import SecureDelivery

__all__ = ["SecureDelivery"]
