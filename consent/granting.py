"""Saying yes, and taking it back.

A yes is to one version of the statement for one scope. When new words are published,
or the person changes their legal name, the yes they gave stays good for what was
recorded under it, on the terms it was given; a new session needs a new yes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone
from django_q.tasks import async_task

from recordings.models import RecordingSession
from voices import vendors
from voices.models import VoiceModel

from . import erasing
from .auditing import record
from .models import ConsentGrant, ConsentStatement, ErasureReceipt, Scope

WITHDRAWN = "Consent withdrawn"
#: A yes to a vendor is for so long, as its statement says.
VENDOR_GRANT_LASTS = timedelta(days=365)
#: The first version of its statement that names the words of a rap.
NAMES_WORDS_SINCE = 2


class CannotGrant(Exception):
    """This yes does not count; the message tells the person why."""


class ConsentNeeded(Exception):
    """The person has not said yes to the words as they are now."""

    def __init__(self, statement: ConsentStatement) -> None:
        super().__init__("Read the consent statement and agree to it first.")
        self.statement = statement


def current_statement(scope: str = Scope.CLONE_LOCAL) -> ConsentStatement:
    return ConsentStatement.objects.for_scope(scope).latest()


def open_grant(
    user: Any, scope: str = Scope.CLONE_LOCAL, vendor: str = ""
) -> ConsentGrant | None:
    """The person's yes to the words as they are now, if they gave it."""
    newest = ConsentStatement.objects.for_scope(scope).values("pk")[:1]
    return (
        ConsentGrant.objects.open()
        .filter(user=user, scope=scope, vendor=vendor, statement=newest)
        .first()
    )


def may_have_words(user: Any, vendor: str) -> bool:
    """Whether the person agreed that the vendor is sent the words of their raps.

    The yes that a voice was made under need not be the one: it is asked of any that
    still stands, so that agreeing again is enough for the voices that are there.
    """
    standing = ConsentGrant.objects.standing().visible_to(user)
    return standing.filter(
        scope=Scope.CLONE_VENDOR,
        vendor=vendor,
        statement__version__gte=NAMES_WORDS_SINCE,
    ).exists()


def require_open_grant(user: Any, scope: str = Scope.CLONE_LOCAL) -> ConsentGrant:
    """The grant a new session is recorded under. Raises ConsentNeeded."""
    if grant := open_grant(user, scope):
        return grant
    raise ConsentNeeded(current_statement(scope))


def grant(
    user: Any,
    scope: str,
    *,
    vendor: str = "",
    evidence: Mapping[str, Any] | None = None,
) -> ConsentGrant:
    """Write down the person's yes to the current words; asked twice, it is one yes.

    A yes to `clone_vendor` is for one `vendor` and ends after VENDOR_GRANT_LASTS.
    `evidence` shows that they agreed: the name they typed, which must be their legal
    name, and what the request tells. Raises CannotGrant.
    """
    evidence = dict(evidence or {})
    is_for_vendor = scope == Scope.CLONE_VENDOR
    if scope not in Scope.values or (vendor in vendors.adapters()) != is_for_vendor:
        raise CannotGrant("This is not something one can consent to here.")
    if not user.is_active:
        raise CannotGrant("This account is closed.")
    if user.adult_attested_at is None:
        raise CannotGrant("Ownvoice is for people aged 18 or older.")
    if not same_name(evidence.get("typed_name", ""), user.legal_name):
        raise CannotGrant("Type your full name exactly as it is shown.")
    with transaction.atomic():
        _one_at_a_time(user)
        if given := open_grant(user, scope, vendor):
            return given
        statement = current_statement(scope)
        supersede(ConsentGrant.objects.filter(user=user, scope=scope, vendor=vendor))
        given = ConsentGrant.objects.create(
            user=user,
            scope=scope,
            vendor=vendor,
            statement=statement,
            evidence=evidence,
            expires_at=timezone.now() + VENDOR_GRANT_LASTS if is_for_vendor else None,
        )
        record(
            "consent.granted_to_vendor" if is_for_vendor else "consent.granted",
            actor=user,
            subject=user,
            scope=scope,
            statement_version=statement.version,
            statement_sha256=statement.sha256,
            **({"vendor": vendor} if is_for_vendor else {}),
        )
    return given


def supersede(grants: QuerySet[ConsentGrant]) -> int:
    """Let these grants stand for what is recorded, and no longer for new sessions."""
    return grants.filter(withdrawn_at=None, superseded_at=None).update(
        superseded_at=timezone.now()
    )


def withdraw(grant: ConsentGrant, *, actor: Any = None) -> bool:
    """Take a yes back, with every earlier yes for the same scope and vendor.

    Work under it stops at its next heartbeat: `permitted()` no longer finds it. All
    that was recorded and made under it is erased by a worker; the grant itself stays
    as the record of what was agreed. False: it was withdrawn already.
    """
    return _take_back(grant, _same_scope(grant), actor or grant.user)


def expire() -> int:
    """Take back every yes that has run out; returns how many there were."""
    run_out = ConsentGrant.objects.filter(
        withdrawn_at=None, expires_at__lte=timezone.now()
    )
    return sum(
        _take_back(one, ConsentGrant.objects.filter(pk=one.pk, withdrawn_at=None), None)
        for one in run_out.select_related("user")
    )


def _take_back(
    grant: ConsentGrant, standing: QuerySet[ConsentGrant], actor: Any
) -> bool:
    """Withdraw these grants, if the one is among them, and have a worker erase."""
    with transaction.atomic():
        taken_back = list(standing.select_for_update().values_list("pk", flat=True))
        if grant.pk not in taken_back:
            return False
        ConsentGrant.objects.filter(pk__in=taken_back).update(
            withdrawn_at=timezone.now()
        )
        record(
            "consent.withdrawn" if actor else "consent.expired",
            actor=actor,
            subject=grant.user,
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

    Of a yes to a vendor it is the voices made there. Songs stay, with their words;
    only what a voice sang goes.
    """
    sessions = RecordingSession.objects.filter(grant__in=grants)
    withdrawn_at = max((g.withdrawn_at or timezone.now() for g in grants), default=None)
    made = VoiceModel.objects.filter(vendor_grant__in=grants)
    if grants and all(g.scope == Scope.CLONE_VENDOR for g in grants):
        theirs = Exists(made.filter(voice=OuterRef("pk")))
        return [made, user.voices.filter(theirs, ~_has_other_models(made))]
    heard = VoiceModel.objects.filter(samples__recording__session__in=sessions)
    elsewhere = RecordingSession.objects.exclude(grant__in=grants)
    return [
        sessions,
        user.voices.filter(~_has_other_models(heard), created_at__lte=withdrawn_at),
        user.microphones.filter(
            ~Exists(elsewhere.filter(microphone=OuterRef("pk"))),
            first_used_at__lte=withdrawn_at,
        ),
    ]


def _has_other_models(models: QuerySet[VoiceModel]) -> Exists:
    others = VoiceModel.objects.exclude(pk__in=models.values("pk"))
    return Exists(others.filter(voice=OuterRef("pk")))


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
    expire()
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
        user=grant.user, scope=grant.scope, vendor=grant.vendor, withdrawn_at=None
    )
