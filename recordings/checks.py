"""What a deployment must not be left with."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register


@register(Tags.security, deploy=True)
def no_fake_microphones(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Only `check --deploy` asks: tests serve a production site with fake devices."""
    if not settings.ALLOW_FAKE_MICROPHONES:
        return []
    return [
        Warning(
            "Browsers' fake microphones may be recorded with.",
            hint="They play any file. Unset OWNVOICE_ALLOW_FAKE_MICROPHONES.",
            id="recordings.W001",
        )
    ]
