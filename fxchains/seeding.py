"""The presets as rows, made equal to `presets.PRESETS` as often as one likes."""

from __future__ import annotations

from django.db import transaction

from .models import FxChain, FxStep
from .presets import PRESETS, Preset


def seed_presets() -> int:
    """Write the presets that differ from their data; returns how many did."""
    return sum(_seed(preset) for preset in PRESETS)


def _seed(preset: Preset) -> bool:
    wanted = [step.as_dict() for step in preset.steps]
    with transaction.atomic():
        chain, made = FxChain.objects.select_for_update().get_or_create(
            user=None, slug=preset.slug, defaults={"name": preset.name}
        )
        same = (
            not made
            and (chain.name, chain.description) == (preset.name, preset.description)
            and [step.as_dict() for step in chain.steps.all()] == wanted
        )
        if same:
            return False
        chain.name, chain.description = preset.name, preset.description
        chain.save(update_fields=["name", "description"])
        chain.steps.all().delete()
        FxStep.objects.bulk_create(
            FxStep(chain=chain, position=position, **columns)
            for position, columns in enumerate(wanted)
        )
        return True
