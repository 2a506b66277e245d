from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate

from . import triggers


class VoiceplatformConfig(AppConfig):
    name = "voiceplatform"

    def ready(self) -> None:
        # Sent once for each app that has models: the first time does it.
        pre_migrate.connect(lift_triggers)
        post_migrate.connect(put_triggers_back)


def lift_triggers(using: str, plan: list[Any], **kwargs: Any) -> None:
    triggers.lift(using, plan)


def put_triggers_back(using: str, **kwargs: Any) -> None:
    triggers.put_back(using)
