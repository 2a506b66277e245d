"""Chains of effects: a person's own, and the presets that ship."""

from __future__ import annotations

from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from .effects.catalogue import EFFECTS, Effect


class FxChainQuerySet(models.QuerySet["FxChain"]):
    def visible_to(self, user) -> Self:
        return self.filter(Q(user=user) | Q(user=None))

    def owned_by(self, user) -> Self:
        return self.filter(user=user)

    def presets(self) -> Self:
        return self.filter(user=None)


class FxChain(models.Model):
    """Effects in order. Without a user it is a preset that everyone may copy."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="fx_chains",
    )
    slug = models.SlugField(blank=True)
    name = models.CharField(max_length=80)
    description = models.CharField(max_length=200, blank=True)
    updated_at = models.DateTimeField(default=timezone.now)

    objects = FxChainQuerySet.as_manager()

    class Meta:
        ordering = ["name", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["slug"],
                condition=Q(user=None),
                name="fxchains_one_preset_per_slug",
            ),
            models.CheckConstraint(
                condition=Q(user__isnull=False) | ~Q(slug=""),
                name="fxchains_preset_has_slug",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_preset(self) -> bool:
        return self.user_id is None

    def definition(self) -> dict[str, Any]:
        """The chain as data, to be kept with what is rendered through it."""
        return {"name": self.name, "steps": [s.as_dict() for s in self.steps.all()]}


class FxStep(models.Model):
    """One effect of a chain with its settings, as the catalogue names them."""

    chain = models.ForeignKey(FxChain, models.CASCADE, related_name="steps")
    position = models.PositiveSmallIntegerField()
    effect = models.SlugField()
    parameters = models.JSONField(default=dict)
    bypassed = models.BooleanField(default=False)

    class Meta:
        ordering = ["chain", "position"]
        constraints = [
            models.UniqueConstraint(
                fields=["chain", "position"],
                name="fxchains_one_step_a_position",
            )
        ]

    def __str__(self) -> str:
        return f"{self.position}. {self.effect}"

    @property
    def kind(self) -> Effect:
        return EFFECTS[self.effect]

    def as_dict(self) -> dict[str, Any]:
        """As `effects.catalogue.validate_steps` takes it."""
        return {
            "effect": self.effect,
            "parameters": self.parameters,
            "bypassed": self.bypassed,
        }
