"""Saying yes, and taking it back.

A yes is to one version of the statement for one scope. When new words are published,
or the person changes their legal name, the yes they gave stays good for what was
recorded under it, on the terms it was given; a new session needs a new yes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone
from django_q.tasks import async_task

from recordings.models import RecordingSession
from voices.models import VoiceModel

from . import erasing
from .auditing import record
from .models import ConsentGrant, ConsentStatement, ErasureReceipt, Scope

WITHDRAWN = "Consent withdrawn"


class CannotGrant(Exception):
    """This yes does not count; the message tells the person why."""


class ConsentNeeded(Exception):
    """The person has not said yes to the words as they are now."""

    def __init__(self, statement: ConsentStatement) -> None:
        super().__init__("Read the consent statement and agree to it first.")
        self.statement = statement


def current_statement() -> ConsentStatement:
    return ConsentStatement.objects.latest()


def open_grant(user: Any, scope: str = Scope.CLONE_LOCAL) -> ConsentGrant | None:
    """The person's yes to the words as they are now, if they gave it."""
    newest = ConsentStatement.objects.order_by("-version").values("pk")[:1]
    return (
        ConsentGrant.objects.open()
        .filter(user=user, scope=scope, statement=newest)
        .first()
    )


def require_open_grant(user: Any, scope: str = Scope.CLONE_LOCAL) -> ConsentGrant:
    """The grant a new session is recorded under. Raises ConsentNeeded."""
    if grant := open_grant(user, scope):
        return grant
    raise ConsentNeeded(current_statement())


def grant(
    user: Any, scope: str, *, evidence: Mapping[str, Any] | None = None
) -> ConsentGrant:
    """Write down the person's yes to the current words; asked twice, it is one yes.

    `evidence` shows that they agreed: the name they typed, which must be their legal
    name, and what the request tells. Raises CannotGrant.
    """
    evidence = dict(evidence or {})
    if scope not in Scope.values:
        raise CannotGrant("This is not something one can consent to here.")
    if not user.is_active:
        raise CannotGrant("This account is closed.")
    if user.adult_attested_at is None:
        raise CannotGrant("Ownvoice is for people aged 18 or older.")
    if not same_name(evidence.get("typed_name", ""), user.legal_name):
        raise CannotGrant("Type your full name exactly as it is shown.")
    with transaction.atomic():
        _one_at_a_time(user)
        if given := open_grant(user, scope):
            return given
        statement = current_statement()
        supersede(ConsentGrant.objects.filter(user=user, scope=scope))
        given = ConsentGrant.objects.create(
            user=user, scope=scope, statement=statement, evidence=evidence
        )
        record(
            "consent.granted",
            actor=user,
            subject=user,
            scope=scope,
            statement_version=statement.version,
            statement_sha256=statement.sha256,
        )
    return given


def supersede(grants: QuerySet[ConsentGrant]) -> int:
    """Let these grants stand for what is recorded, and no longer for new sessions."""
    return grants.filter(withdrawn_at=None, superseded_at=None).update(
        superseded_at=timezone.now()
    )


def withdraw(grant: ConsentGrant, *, actor: Any = None) -> bool:
    """Take a yes back, with every earlier yes for the same scope.

    Work under it stops at its next heartbeat: `permitted()` no longer finds it. All
    that was recorded and made under it is erased by a worker; the grant itself stays
    as the record of what was agreed. False: it was withdrawn already.
    """
    user = grant.user
    with transaction.atomic():
        standing = _same_scope(grant)
        taken_back = list(standing.select_for_update().values_list("pk", flat=True))
        if grant.pk not in taken_back:
            return False
        ConsentGrant.objects.filter(pk__in=taken_back).update(
            withdrawn_at=timezone.now()
        )
        record(
            "consent.withdrawn",
            actor=actor or user,
            subject=user,
            scope=grant.scope,
            grants=len(taken_back),
        )
        for pk in taken_back:
            transaction.on_commit(
                partial(async_task, "consent.tasks.erase_grant", pk), robust=True
            )
    return True


def holdings(user: Any, grants: Collection[ConsentGrant]) -> list[QuerySet[Any]]:
    """What goes when these grants are withdrawn: all their sessions and what was made
    of them, and the voices and microphones that nothing else stands behind.

    Songs stay, with their words; only what a voice sang goes.
    """
    sessions = RecordingSession.objects.filter(grant__in=grants)
    withdrawn_at = max((g.withdrawn_at or timezone.now() for g in grants), default=None)
    heard = VoiceModel.objects.filter(samples__recording__session__in=sessions)
    elsewhere = RecordingSession.objects.exclude(grant__in=grants)
    return [
        sessions,
        user.voices.filter(
            ~Exists(
                VoiceModel.objects.filter(voice=OuterRef("pk")).exclude(
                    pk__in=heard.values("pk")
                )
            ),
            created_at__lte=withdrawn_at,
        ),
        user.microphones.filter(
            ~Exists(elsewhere.filter(microphone=OuterRef("pk"))),
            first_used_at__lte=withdrawn_at,
        ),
    ]


def preview_withdrawal(grant: ConsentGrant) -> erasing.Preview:
    """What withdrawing this grant would erase, now."""
    return erasing.preview(holdings(grant.user, list(_same_scope(grant))))


def erase_grant(pk: int) -> ErasureReceipt | None:
    """Erase all that was recorded and made under a withdrawn grant, once."""
    with transaction.atomic():
        grant = (
            ConsentGrant.objects.select_for_update()
            .filter(pk=pk, withdrawn_at__isnull=False, erasure_receipt=None)
            .first()
        )
        if grant is None:
            return None
        receipt = erasing.delete(
            holdings(grant.user, [grant]), user=grant.user, reason=WITHDRAWN
        )
        ConsentGrant.objects.filter(pk=pk).update(erasure_receipt=receipt)
    return receipt


def erase_withdrawn() -> int:
    """Erase under every withdrawn grant whose message was lost or whose worker died."""
    waiting = ConsentGrant.objects.filter(
        withdrawn_at__isnull=False, erasure_receipt=None
    )
    return sum(
        erase_grant(pk) is not None for pk in waiting.values_list("pk", flat=True)
    )


def same_name(typed: str, legal_name: str) -> bool:
    """Whether a person typed their name, however they spaced and capitalised it."""
    return bool(typed.strip()) and normal_name(typed) == normal_name(legal_name)


def normal_name(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _one_at_a_time(user: Any) -> None:
    """Wait for what else is being agreed by this person.

    Without it, on PostgreSQL, a yes sent twice at once supersedes itself: the second
    finds no open grant, then sees the first one's row come in before it supersedes.
    """
    get_user_model().objects.select_for_update(no_key=True).get(pk=user.pk)


def _same_scope(grant: ConsentGrant) -> QuerySet[ConsentGrant]:
    return ConsentGrant.objects.filter(
        user=grant.user, scope=grant.scope, withdrawn_at=None
    )
