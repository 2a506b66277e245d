"""Chains and the catalogue for programs: /api/v1/fx-chains/ and /api/v1/fx-effects/."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.http import Http404
from rest_framework import serializers, viewsets
from rest_framework.response import Response

from voiceplatform.api import router

from . import editing
from .effects.catalogue import EFFECTS, ChainError, Effect, Parameter, validate_steps
from .models import FxChain


class StepsField(serializers.Field):
    """A list of {"effect", "parameters", "bypassed"}, checked by the catalogue."""

    default_error_messages = {"invalid": "Expected a list of steps."}

    def to_representation(self, steps: Any) -> list[dict[str, Any]]:
        return [step.as_dict() for step in steps.all()]

    def to_internal_value(self, data: Any) -> list[dict[str, Any]]:
        try:
            return [step.as_dict() for step in validate_steps(data)]
        except ChainError as error:
            messages = [problem.message for problem in error.problems]
            raise serializers.ValidationError(messages) from error


class FxChainSerializer(serializers.ModelSerializer):
    steps = StepsField(required=False)
    is_preset = serializers.BooleanField(read_only=True)

    class Meta:
        model = FxChain
        fields = (
            *("id", "name", "description", "is_preset", "slug"),
            *("updated_at", "steps"),
        )
        read_only_fields = ("slug", "updated_at")

    def create(self, validated_data: dict[str, Any]) -> FxChain:
        return editing.create_chain(self.context["request"].user, **validated_data)

    def update(self, instance: FxChain, validated_data: dict[str, Any]) -> FxChain:
        try:
            if "steps" in validated_data:
                editing.replace_steps(instance, validated_data.pop("steps"))
            if validated_data:
                editing.describe_chain(
                    instance,
                    name=validated_data.get("name", instance.name),
                    description=validated_data.get("description", instance.description),
                )
        except editing.ChainNotEditable as error:
            raise Http404 from error
        return FxChain.objects.prefetch_related("steps").get(pk=instance.pk)


class FxChainViewSet(viewsets.ModelViewSet):
    """One's own chains, to read and change; the presets, to read."""

    serializer_class = FxChainSerializer

    def get_queryset(self):
        chains = FxChain.objects.prefetch_related("steps")
        if self.action in {"list", "retrieve"}:
            return chains.visible_to(self.request.user)
        return chains.owned_by(self.request.user)

    def perform_destroy(self, instance: FxChain) -> None:
        try:
            editing.delete_chain(instance)
        except editing.ChainNotEditable as error:
            raise Http404 from error


class FxEffectViewSet(viewsets.ViewSet):
    """Every effect with the ranges, units and defaults of its parameters."""

    def list(self, request):
        return Response([_described(effect) for effect in EFFECTS.values()])


def _described(effect: Effect) -> dict[str, Any]:
    return {
        "effect": effect.slug,
        "title": effect.title,
        "summary": effect.summary,
        "parameters": [
            {"kind": "number" if isinstance(p, Parameter) else "choice", **asdict(p)}
            for p in effect.parameters
        ],
    }


router.register("fx-chains", FxChainViewSet, basename="fx-chain")
router.register("fx-effects", FxEffectViewSet, basename="fx-effect")
