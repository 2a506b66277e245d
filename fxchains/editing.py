"""Every change of a person's chain. Presets are changed by `seeding` alone.

Each operation first touches the chain's row by a conditional update: that refuses
presets and chains just deleted, and makes two edits of one chain wait for each other,
so positions never collide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from django.db import transaction
from django.utils import timezone

from accounts.models import User

from .effects.catalogue import (
    MAX_STEPS,
    ChainError,
    Problem,
    Step,
    Value,
    validate_steps,
)
from .models import FxChain, FxStep

Direction = Literal["up", "down"]


class ChainNotEditable(Exception):
    """The chain is a preset, or it or its step is gone."""


def create_chain(
    user: User,
    name: str,
    *,
    description: str = "",
    steps: Sequence[Mapping[str, Any]] = (),
) -> FxChain:
    """Raises ChainError for steps that the catalogue refuses."""
    checked = validate_steps(steps)
    with transaction.atomic():
        chain = FxChain.objects.create(user=user, name=name, description=description)
        _write_steps(chain, checked)
    return chain


def copy_chain(user: User, chain: FxChain) -> FxChain:
    """A copy of a preset (or of one's own chain) that the user may change."""
    taken = set(FxChain.objects.owned_by(user).values_list("name", flat=True))
    return create_chain(
        user,
        _free_name(chain.name, taken),
        description=chain.description,
        steps=chain.definition()["steps"],
    )


def describe_chain(chain: FxChain, *, name: str, description: str) -> None:
    with transaction.atomic():
        _touch(chain, name=name, description=description)


def replace_steps(chain: FxChain, steps: Sequence[Mapping[str, Any]]) -> None:
    """Raises ChainError for steps that the catalogue refuses."""
    checked = validate_steps(steps)
    with transaction.atomic():
        _touch(chain)
        chain.steps.all().delete()
        _write_steps(chain, checked)


def delete_chain(chain: FxChain) -> None:
    """Songs that went through it go through none; their mixes keep what they were."""
    with transaction.atomic():
        _touch(chain)
        chain.delete()


def add_step(
    chain: FxChain, effect: str, parameters: Mapping[str, Value] | None = None
) -> FxStep:
    """Put an effect at the end of the rack, at its defaults where nothing is said.

    Raises ChainError for what the catalogue refuses and when the rack is full.
    """
    (step,) = validate_steps([{"effect": effect, "parameters": parameters or {}}])
    with transaction.atomic():
        _touch(chain)
        positions = list(chain.steps.values_list("position", flat=True))
        if len(positions) >= MAX_STEPS:
            raise ChainError([Problem(f"A chain holds at most {MAX_STEPS} effects.")])
        position = max(positions, default=-1) + 1
        return FxStep.objects.create(chain=chain, position=position, **_columns(step))


def update_step(step: FxStep, parameters: Mapping[str, Value]) -> None:
    """Set some of a step's parameters; the others stay.

    Raises ChainError for what the catalogue refuses.
    """
    with transaction.atomic():
        _touch(step.chain)
        current = _current(step)
        values = {**current.parameters, **parameters}
        (checked,) = validate_steps([current.as_dict() | {"parameters": values}])
        _write(step, parameters=dict(checked.parameters))


def bypass_step(step: FxStep, bypassed: bool) -> None:
    with transaction.atomic():
        _touch(step.chain)
        _write(step, bypassed=bypassed)


def remove_step(step: FxStep) -> None:
    with transaction.atomic():
        _touch(step.chain)
        _current(step).delete()
        # One by one and upwards: each moves into the place the one before it left.
        for position, left in enumerate(step.chain.steps.order_by("position")):
            if left.position != position:
                _write(left, position=position)


def move_step(step: FxStep, direction: Direction) -> None:
    """Swap a step with its neighbour; at the end of the rack it stays."""
    with transaction.atomic():
        _touch(step.chain)
        current = _current(step)
        steps = step.chain.steps
        if direction == "up":
            before = steps.filter(position__lt=current.position)
            neighbour = before.order_by("-position").first()
        else:
            after = steps.filter(position__gt=current.position)
            neighbour = after.order_by("position").first()
        if neighbour is None:
            return
        # No two steps may share a place, not even within the transaction.
        aside = steps.order_by("-position")[0].position + 1
        _write(current, position=aside)
        _write(neighbour, position=current.position)
        _write(current, position=neighbour.position)


def _touch(chain: FxChain, **changes: Any) -> None:
    mine = FxChain.objects.filter(pk=chain.pk).exclude(user=None)
    if not mine.update(updated_at=timezone.now(), **changes):
        raise ChainNotEditable


def _current(step: FxStep) -> FxStep:
    """The step as it is now that no other edit can come between."""
    current = FxStep.objects.filter(pk=step.pk, chain=step.chain).first()
    if current is None:
        raise ChainNotEditable
    return current


def _write(step: FxStep, **changes: Any) -> None:
    if not FxStep.objects.filter(pk=step.pk, chain=step.chain_id).update(**changes):
        raise ChainNotEditable


def _write_steps(chain: FxChain, steps: Sequence[Step]) -> None:
    FxStep.objects.bulk_create(
        FxStep(chain=chain, position=position, **_columns(step))
        for position, step in enumerate(steps)
    )


def _columns(step: Step) -> dict[str, Any]:
    return {
        "effect": step.effect.slug,
        "parameters": dict(step.parameters),
        "bypassed": step.bypassed,
    }


def _free_name(name: str, taken: set[str]) -> str:
    """The name itself, or with the first free number behind it."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        suffix = f" {number}"
        candidate = name[: 80 - len(suffix)] + suffix
    return candidate
