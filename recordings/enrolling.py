"""Whose voice an account is: enrolled with the spoken consent, one account a voice.

The voiceprint of an accepted spoken consent is the account's enrolled voice. An account
that comes with a voice another account enrolled first may not train until a moderator
has looked at it (`VoiceMatch`). The first account is never held up by a later one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, cast

import numpy as np
from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from consent import auditing

from .models import Assessment, Prompt, Recording, SpokenConsent, VoiceMatch
from .verification import voiceprints
from .verification.voiceprints import Manner

#: Voiceprints read from the database at once: four megabytes of them.
BATCH = 4096
#: So many of the likest accounts are noted; a moderator needs no more of them.
MOST_MATCHES = 5


#: How each kind of prompt uses the voice.
MANNERS = {
    Prompt.Kind.CONSENT: Manner.SPOKEN,
    Prompt.Kind.SENTENCE: Manner.SPOKEN,
    Prompt.Kind.QUESTION: Manner.SPOKEN,
    Prompt.Kind.RAP: Manner.SPOKEN,
    Prompt.Kind.WHISPER: Manner.WHISPERED,
    Prompt.Kind.SHOUT: Manner.SHOUTED,
    Prompt.Kind.SCALE: Manner.SUNG,
    Prompt.Kind.SIREN: Manner.SUNG,
}


class CannotDecide(Exception):
    """This decision was not taken; the message tells the moderator why."""


def enrolled() -> QuerySet[SpokenConsent]:
    """Every enrolled voice. Also of suspended accounts: their people may come again."""
    return SpokenConsent.objects.accepted().filter(session__grant__withdrawn_at=None)


def enrol(spoken: SpokenConsent) -> list[VoiceMatch]:
    """Look for an accepted consent's voice among all accounts; the new matches.

    Asked again it finds the same and notes nothing twice.
    """
    user = spoken.session.grant.user
    likest = _others_first(spoken)
    matches = []
    with transaction.atomic():
        for other, similarity in likest:
            match, made = VoiceMatch.objects.get_or_create(
                user=user,
                other_id=other,
                defaults={"spoken_consent": spoken, "similarity": similarity},
            )
            if made:
                matches.append(match)
        # Last: who has the head of the audit log waits for no row.
        for match in matches:
            auditing.record(
                "voice_match.found",
                subject=user,
                match=match.pk,
                similarity_percent=round(100 * match.similarity),
            )
    return matches


def check_again(user: Any) -> VoiceMatch | None:
    """Search for all the account's voices once more, then answer as `may_train`.

    Two people who enrol at the same moment do not see each other's row; a session that
    is deleted takes its matches along while another session of that voice stays. Both
    come out here, before anything is trained.
    """
    for spoken in enrolled().filter(session__grant__user=user):
        enrol(spoken)
    return may_train(user)


def may_train(user: Any) -> VoiceMatch | None:
    """What stands in the way of this person's training; None if nothing does.

    A match that was upheld goes before one that waits.
    """
    matches = VoiceMatch.objects.standing_in_the_way().filter(user=user)
    return matches.order_by("-state", "found_at").first()


def in_words(match: VoiceMatch) -> str:
    """What the person is told: nothing about the other account."""
    if match.state == VoiceMatch.State.UPHELD:
        return (
            "A person on our team has listened, and decided that no voice may be made "
            "from these recordings on this account. If that is wrong, write to us: "
            "your recordings are kept, and nothing is deleted."
        )
    return (
        "Before this voice is made, a person on our team has to look at it: it sounds "
        "very much like a voice we already know. That can happen by chance. Your "
        "recordings are kept; come back in a day or two."
    )


def decide(match: VoiceMatch, *, cleared: bool, reason: str, actor: Any) -> None:
    """A moderator's word on a match, as they saw it. Raises CannotDecide.

    It may be taken back later by deciding the other way.
    """
    reason = reason.strip()
    if not reason:
        raise CannotDecide("Give a reason: it is kept with the decision.")
    state = VoiceMatch.State.CLEARED if cleared else VoiceMatch.State.UPHELD
    if actor == match.user:
        raise CannotDecide("Nobody decides on their own voice.")
    if match.state == state:
        raise CannotDecide("That is how it was decided already.")
    with transaction.atomic():
        decided = VoiceMatch.objects.filter(pk=match.pk, state=match.state).update(
            state=state,
            decision_reason=reason,
            decided_by=actor,
            decided_at=timezone.now(),
        )
        if not decided:
            raise CannotDecide("Somebody else has decided this meanwhile. Look again.")
        auditing.record(
            f"voice_match.{state}",
            actor=actor,
            subject=match.user,
            match=match.pk,
            reason_sha256=hashlib.sha256(reason.encode()).hexdigest(),
        )
    match.refresh_from_db()


# --- a set of takes


def voiceprints_of(takes: Collection[Recording]) -> dict[int, np.ndarray]:
    """What is stored of these takes, by their keys; nothing of older ones."""
    stored = Assessment.objects.filter(recording__in=takes, voiceprint__isnull=False)
    return {
        pk: voiceprints.from_bytes(print_)
        for pk, print_ in stored.values_list("recording", "voiceprint")
        if print_ is not None
    }


def strangers(
    takes: Collection[Recording], prints: Mapping[int, np.ndarray]
) -> list[Recording]:
    """Those takes of a set that are not the person's voice, the least like it first.

    Each is compared with the other takes of its session, which one microphone made, and
    with the voice of the session's spoken consent. What a moderator let through stays
    out of it, and so does a take in which nobody was heard (it has no voiceprint).
    """
    approved = set(
        Assessment.objects.filter(
            recording__in=takes, decision=Assessment.Decision.APPROVED
        ).values_list("recording", flat=True)
    )
    by_session: dict[int, list[Recording]] = {}
    for take in takes:
        if take.pk in prints and take.pk not in approved:
            by_session.setdefault(take.session_id, []).append(take)
    enrolled_in = dict(
        enrolled().filter(session__in=by_session).values_list("session", "voiceprint")
    )
    found = []
    for session, among in by_session.items():
        stored = enrolled_in.get(session)
        found += [
            among[index]
            for index in voiceprints.strangers(
                [
                    voiceprints.Print(
                        prints[take.pk],
                        take.speech_s,
                        MANNERS[Prompt.Kind(take.prompt.kind)],
                    )
                    for take in among
                ],
                enrolled=voiceprints.from_bytes(stored) if stored else None,
            )
        ]
    return found


# --- the parts


def _others_first(spoken: SpokenConsent) -> list[tuple[int, float]]:
    """Accounts that enrolled this voice before this account did, the likest first.

    Before: earlier than the account's own first consent in this very voice, so a person
    who records again is not held up by whoever came after their first time.
    """
    assert spoken.voiceprint is not None, "an accepted consent has a voice"
    user = spoken.session.grant.user
    voice = voiceprints.from_bytes(spoken.voiceprint)
    least = settings.VOICE_MATCH_SIMILARITY
    assert spoken.accepted_at is not None
    own = [(spoken.accepted_at, spoken.pk)]
    others: list[tuple[int, float, tuple[datetime, int]]] = []
    for owners, enrolled_at, prints in _voices():
        for found in voiceprints.matches(voice, prints, least=least):
            owner, since = owners[found.index], enrolled_at[found.index]
            if owner == user.pk:
                own.append(since)
            else:
                others.append((owner, found.similarity, since))
    first = min(own)
    likest: dict[int, float] = {}
    for owner, similarity, since in sorted(others, key=lambda other: -other[1]):
        if since < first:
            likest.setdefault(owner, similarity)
    return list(likest.items())[:MOST_MATCHES]


def _voices() -> Iterator[tuple[list[int], list[tuple[datetime, int]], np.ndarray]]:
    """All enrolled voices in batches: owners, (when, pk) each, prints (n, 256)."""
    rows = enrolled().values_list(
        "session__grant__user", "accepted_at", "pk", "voiceprint"
    )
    # The database holds accepted consents to having both a time and a voice.
    found = cast(
        "Iterator[tuple[int, datetime, int, bytes]]",
        rows.order_by().iterator(BATCH),
    )
    while batch := list(islice(found, BATCH)):
        owners = [owner for owner, _, _, _ in batch]
        enrolled_at = [(at, pk) for _, at, pk, _ in batch]
        yield owners, enrolled_at, voiceprints.stacked(print_ for *_, print_ in batch)
