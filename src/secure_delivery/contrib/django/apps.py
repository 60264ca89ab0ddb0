"""Django's entry to the app. Knows: the name Django lists it under. Must not know: anything of requests."""

from __future__ import annotations

from django.apps import AppConfig

from . import configured_guard


class SecureDeliveryConfig(AppConfig):  # type: ignore[misc]  # Django comes without types
    """Registers the template tags, and refuses to start without a guard."""

    name = "secure_delivery.contrib.django"
    label = "secure_delivery"
    verbose_name = "Secure delivery"

    def ready(self) -> None:
        configured_guard()
