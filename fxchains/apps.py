from django.apps import AppConfig


class FxchainsConfig(AppConfig):
    name = "fxchains"
