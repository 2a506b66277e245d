"""Whether the content encoder and the vocoder of the settings can be used."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, register

from voiceplatform.audio.tensors import CheckpointError

from .engine.parts import (
    NsfHifiganConfig,
    PartFolder,
    SpeechEncoderConfig,
    read_config,
)
from .parts import chosen_folder

HINT = "docs/voice-engine.md, “An operator's own parts”, says what the folder holds."


@register()
def chosen_parts_look_right(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Folder, configuration and licence, at every start: it costs nothing."""
    errors: list[CheckMessage] = []
    kinds: tuple[tuple[str, Any], ...] = (
        ("CONTENT_ENCODER", SpeechEncoderConfig),
        ("VOCODER", NsfHifiganConfig),
    )
    for setting, kind in kinds:
        if path := chosen_folder(setting):
            try:
                read_config(kind, PartFolder.open(path).config)
            except CheckpointError as error:
                errors.append(_error(setting, error))
    return errors


@register(deploy=True)
def chosen_parts_load(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """The weights themselves, with `check --deploy`: it loads torch and all of them."""
    errors: list[CheckMessage] = []
    if chosen_parts_look_right(app_configs):
        return errors
    if path := chosen_folder("CONTENT_ENCODER"):
        from .engine.encoders import SpeechEncoder

        try:
            SpeechEncoder.load(path)
        except CheckpointError as error:
            errors.append(_error("CONTENT_ENCODER", error))
    if path := chosen_folder("VOCODER"):
        from .engine.nsf_hifigan import NsfHifigan

        try:
            NsfHifigan.load(path)
        except CheckpointError as error:
            errors.append(_error("VOCODER", error))
    return errors


def _error(setting: str, error: CheckpointError) -> CheckMessage:
    return Error(f"OWNVOICE_{setting}: {error}.", hint=HINT, id="voices.E001")
