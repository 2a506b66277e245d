from typing import Any

from django.apps import AppConfig


class RecordingsConfig(AppConfig):
    name = "recordings"

    def ready(self) -> None:
        from django_q.signals import post_spawn

        from . import checks  # noqa: F401  (registers them)

        post_spawn.connect(warm_up)


def warm_up(**kwargs: Any) -> None:
    """In each worker of the cluster that checks takes: nobody waits for the models."""
    from django_q.conf import Conf

    from .models import Assessment

    if Assessment.cluster == Conf.CLUSTER_NAME:
        from .assessing import load_models

        load_models()
