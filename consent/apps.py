from django.apps import AppConfig


class ConsentConfig(AppConfig):
    name = "consent"

    def ready(self):
        from .erasing import watch_deletions

        watch_deletions()
