"""A moderator's decision where verification alone does not decide.

Takes sent to review wait for one; a refused take may be decided otherwise on appeal.
Every decision has a reason, is made once, and is in the audit log.
"""

from __future__ import annotations

import hashlib
from typing import Any

from django.db import transaction
from django.utils import timezone

from consent import auditing
from consent.models import ConsentGrant

from .challenging import settle
from .models import Assessment, Prompt, Recording

#: What a moderator may decide on: everything else decided itself.
REVIEWABLE = (Assessment.Outcome.REVIEW, Assessment.Outcome.REFUSE)


class CannotDecide(Exception):
    """The decision does not count; the message says why."""


def approve(assessment: Assessment, *, reason: str, actor: Any) -> None:
    """The take is the person, live: it may join their voice. Raises CannotDecide."""
    _decide(assessment, Assessment.Decision.APPROVED, reason, actor)


def reject(assessment: Assessment, *, reason: str, actor: Any) -> None:
    """The take stays out for good; the person reads the reason. Raises CannotDecide."""
    _decide(assessment, Assessment.Decision.REJECTED, reason, actor)


def note_listening(assessment: Assessment, *, actor: Any) -> None:
    """A member of staff is about to hear a take: that is written down first."""
    take = assessment.recording
    auditing.record(
        "take.heard_by_staff",
        actor=actor,
        subject=take.session.grant.user,
        take_sha256=take.sha256,
    )


@transaction.atomic
def _decide(
    assessment: Assessment, decision: Assessment.Decision, reason: str, actor: Any
) -> None:
    reason = reason.strip()
    if not reason:
        raise CannotDecide("Say why: the decision is kept with its reason.")
    take = Recording.objects.select_related("prompt", "session__grant__user").get(
        pk=assessment.recording_id
    )
    user = take.session.grant.user
    if actor == user:
        raise CannotDecide("Nobody decides on their own takes.")
    standing = ConsentGrant.objects.standing().select_for_update(of=("self",))
    if standing.filter(pk=take.session.grant_id).first() is None:
        raise CannotDecide("The person has withdrawn their consent.")
    decided = Assessment.objects.filter(
        pk=assessment.pk, outcome__in=REVIEWABLE, decided_at=None
    ).update(
        decision=decision,
        decision_reason=reason,
        decided_by=actor,
        decided_at=timezone.now(),
    )
    if not decided:
        raise CannotDecide("This take needs no decision, or somebody made it already.")
    is_approved = decision == Assessment.Decision.APPROVED
    voice = bytes(assessment.voiceprint) if assessment.voiceprint else None
    if is_approved and voice is None and take.prompt.kind == Prompt.Kind.CONSENT:
        raise CannotDecide("No voice was made out in it, so it cannot say whose it is.")
    if is_approved:
        verdict, advice = Recording.Verdict.KEEP, "Kept: a moderator looked at it."
    else:
        verdict = Recording.Verdict.REFUSED
        advice = f"A moderator looked at this take and did not accept it: {reason}"
    fields: dict[str, Any] = {"verdict": verdict, "advice": advice}
    if is_approved and not _is_replaced(take):
        fields["is_kept"] = True
    Recording.objects.filter(pk=take.pk).update(**fields)
    if take.prompt.kind == Prompt.Kind.CONSENT:
        settle(
            take,
            outcome="keep" if is_approved else "refuse",
            voiceprint=voice,
        )
    auditing.record(
        f"take.{decision}",
        actor=actor,
        subject=user,
        take_sha256=take.sha256,
        grant=take.session.grant_id,
        rule=assessment.reason,
        reason_sha256=hashlib.sha256(reason.encode()).hexdigest(),
    )


def _is_replaced(take: Recording) -> bool:
    """Whether the person has recorded a good one of the same prompt meanwhile."""
    others = Recording.objects.filter(
        session=take.session_id, prompt=take.prompt_id, is_kept=True
    )
    return others.exclude(pk=take.pk).exists()
