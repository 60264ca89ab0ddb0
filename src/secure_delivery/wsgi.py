"""The WSGI door under a short name: `from secure_delivery.wsgi import SecureDelivery`."""

from .gate.wsgi import SecureDelivery

__all__ = ["SecureDelivery"]
