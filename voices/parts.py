"""The content encoder and the vocoder the operator chose, by setting."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from voiceplatform.audio.tensors import CheckpointError
from voiceplatform.jobs import JobError

if TYPE_CHECKING:
    from .engine.choices import Parts

logger = logging.getLogger(__name__)

#: For the person who waits: they can do nothing about it, and paths are not theirs.
SITE_AT_FAULT = (
    "This site is not set up to do it just now. Please tell whoever runs it: its log "
    "says why."
)
VOICE_OUT_OF_DATE = (
    "This voice was trained when the site was set up differently, and cannot sing here "
    "any more. Train it again: your recordings are all there."
)


def chosen_folder(setting: str) -> Path | None:
    """The folder a setting names, or None for what ships."""
    name = getattr(settings, setting)
    return settings.BASE_DIR / name if name else None


def chosen_parts() -> Parts:
    """What voices are trained with here. Raises CheckpointError for a wrong setting."""
    from .engine.choices import Parts

    return Parts.load(
        chosen_folder("CONTENT_ENCODER"),
        chosen_folder("VOCODER"),
        bases=settings.VAR_DIR / "base",
    )


def parts_at_work() -> Parts:
    """The same for a job, whose JobError is read by a person and not the operator."""
    try:
        return chosen_parts()
    except CheckpointError as error:
        raise site_at_fault(error) from error


def site_at_fault(error: CheckpointError, kept: str = "") -> JobError:
    """Tell the operator why in the log; what to tell the person, with what is kept."""
    logger.error("Voices cannot be trained or sung as the site is set up: %s", error)
    return JobError(f"{SITE_AT_FAULT} {kept}".strip())
