"""The spoken consent: three words nobody knew before, told once the microphone runs.

begin -> (the first chunk arrives) reveal -> say them -> (the take is assessed) settle.
A recording made earlier cannot hold the words, and the words count for the one take
they were told in. Every step is a conditional update of the challenge's row.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import date as Date
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from consent import auditing
from consent.models import AuditEvent, ConsentGrant

from . import enrolling, intake, spool
from .intake import Refused
from .loading import put_consent_first
from .models import LiveTicket, Prompt, Recording, RecordingSession, SpokenConsent

#: Ours: common words of two and three syllables that Whisper tiny.en hears well.
WORDS_FILE = Path(__file__).parent / "data" / "challenge_words.txt"
N_WORDS = 3
#: Fewer words than this could be guessed.
FEWEST_WORDS = N_WORDS
#: From when they are shown to the end of the last of them.
SAY_WITHIN_S = 12.0
#: The sound may fall behind the clock by this much once the words are known: a network
#: that stutters. Longer, and the words could be put together by a machine meanwhile.
MOST_LAG_S = 10.0
#: Challenges of one account: within how long, how many.
LIMITS = ((timedelta(hours=1), 5), (timedelta(days=1), 15))
CHALLENGED = "consent.challenged"

State = SpokenConsent.State


class WordsFileInvalid(ValueError):
    """The file of challenge words cannot be used; the message says why."""


@dataclass(frozen=True)
class Told:
    """What the recorder shows once the microphone runs."""

    words: tuple[str, ...]
    say_within_s: float


def begin(session: RecordingSession) -> tuple[LiveTicket, str, SpokenConsent]:
    """A ticket for the session's spoken consent, its token, and a new challenge.

    Its words are drawn now and told to nobody. Raises intake.Refused.
    """
    words = secrets.SystemRandom().sample(challenge_words(), N_WORDS)
    user = session.grant.user
    with transaction.atomic():
        # Those that come at once queue up here, so that none slips past the limit.
        grants = ConsentGrant.objects.filter(pk=session.grant_id)
        grants.select_for_update(of=("self",)).first()
        if is_accepted(session):
            raise Refused(
                "consent_spoken", "Your consent is spoken already. Go on to the script."
            )
        _stay_within_limits(user)
        ticket, token = intake.issue(session, prompt_of(session))
        # What was begun before and not finished never counts any more.
        _unfinished().filter(session=session).exclude(
            ticket__state=LiveTicket.State.SPENT
        ).update(state=State.FAILED)
        spoken = SpokenConsent.objects.create(
            session=session,
            ticket=ticket,
            name=user.legal_name,
            date=timezone.localdate(),
            words=words,
        )
        # Counted in the log rather than by rows, which go with a deleted session.
        auditing.record(CHALLENGED, actor=user, subject=user, grant=session.grant_id)
    return ticket, token, spoken


def reveal(ticket: LiveTicket) -> Told:
    """The words, once sound has come in; told again, they are the same.

    Told at the first chunk alone, and asked for again only when its answer was lost.
    Raises intake.Refused.
    """
    spoken = SpokenConsent.objects.get(ticket=ticket)
    if ticket.chunks == 0:
        raise Refused("not_started", "The microphone was not announced yet.")
    SpokenConsent.objects.filter(
        pk=spoken.pk,
        state=State.OPEN,
        ticket__in=LiveTicket.objects.receiving(),
    ).update(
        state=State.REVEALED,
        revealed_at=timezone.now(),
        revealed_s=ticket.received_s,
    )
    spoken.refresh_from_db()
    if spoken.state != State.REVEALED:
        raise _too_late()
    return Told(tuple(spoken.words), SAY_WITHIN_S)


def keep_pace(ticket: LiveTicket) -> None:
    """Refuse a consent whose sound stopped coming after its words were shown.

    Closes the ticket: within the pause the words could be put into another's mouth.
    """
    spoken = SpokenConsent.objects.filter(ticket=ticket, state=State.REVEALED).first()
    if spoken is None or spoken.revealed_at is None or spoken.revealed_s is None:
        return
    passed_s = (timezone.now() - spoken.revealed_at).total_seconds()
    heard_s = ticket.received_s - spoken.revealed_s
    if passed_s - heard_s <= MOST_LAG_S:
        return
    LiveTicket.objects.open().filter(pk=ticket.pk).update(
        state=LiveTicket.State.REFUSED, refusal="challenge_late"
    )
    _unfinished().filter(pk=spoken.pk).update(state=State.FAILED)
    spool.remove(ticket.work_name)
    raise _too_late()


def finish(ticket: LiveTicket, **told: Any) -> Recording:
    """End the take of a challenge (intake.finish); one that is too quiet or clipped is
    not even listened to, and its words are spent."""
    keep_pace(ticket)
    take = intake.finish(ticket, **told)
    if take.verdict == Recording.Verdict.RETAKE:
        settle(take, outcome="retake", voiceprint=None)
    return take


def settle(recording: Recording, *, outcome: str, voiceprint: bytes | None) -> None:
    """The take of a challenge was assessed: it counts ("keep"), or it does not.

    Whoever settles it first decides, and a consent withdrawn meanwhile is none. Raises
    ValueError for a good take without a voice.
    """
    is_good = outcome == "keep"
    if is_good and not voiceprint:
        raise ValueError("an accepted consent says whose voice it is")
    session = recording.session
    user = session.grant.user
    waiting = SpokenConsent.objects.filter(
        ticket=recording.ticket_id,
        state=State.REVEALED,
        session__in=RecordingSession.objects.permitted(),
    )
    with transaction.atomic():
        if is_good and not is_accepted(session):
            settled = waiting.update(
                state=State.ACCEPTED,
                accepted_at=timezone.now(),
                voiceprint=voiceprint,
                recording=recording,
            )
        else:
            is_good = False
            settled = waiting.update(state=State.FAILED)
        if not settled:
            return
        if is_good:
            # Before the event: nobody waits for the head of the log while it searches.
            enrolling.enrol(SpokenConsent.objects.get(ticket=recording.ticket_id))
        auditing.record(
            "consent.spoken" if is_good else "consent.not_spoken",
            actor=user,
            subject=user,
            grant=session.grant_id,
            take_sha256=recording.sha256,
            **(
                {"voiceprint_sha256": hashlib.sha256(voiceprint).hexdigest()}
                if is_good and voiceprint
                else {}
            ),
        )


def sweep() -> int:
    """Challenges whose ticket ended without a take count no more."""
    ended = LiveTicket.objects.filter(
        state__in=[LiveTicket.State.EXPIRED, LiveTicket.State.REFUSED]
    )
    return _unfinished().filter(ticket__in=ended).update(state=State.FAILED)


# --- questions


def accepted(session: RecordingSession) -> SpokenConsent | None:
    """The consent that was spoken in this session."""
    return SpokenConsent.objects.accepted().filter(session=session).first()


def is_accepted(session: RecordingSession) -> bool:
    return SpokenConsent.objects.accepted().filter(session=session).exists()


def is_needed(session: RecordingSession) -> bool:
    """Whether nothing else may be recorded in the session before it is spoken."""
    grant = session.grant
    return (
        session.finished_at is None
        and grant.withdrawn_at is None
        and grant.superseded_at is None
        and not is_accepted(session)
    )


def latest(session: RecordingSession) -> SpokenConsent | None:
    """The newest challenge with a take, and that take; the accepted one if there is."""
    spoken = SpokenConsent.objects.filter(session=session).select_related(
        "ticket__recording__assessment"
    )
    done = spoken.filter(ticket__recording__isnull=False).order_by("-issued_at", "-pk")
    return spoken.accepted().first() or done.first()


def prompt_of(session: RecordingSession) -> Prompt:
    """The session's consent prompt; scripts loaded before there was one get it."""
    prompt = session.script.prompts.to_consent().first()
    return prompt or put_consent_first(session.script)


def names_missed(user: Any) -> int:
    """How often a day the person's name was the one thing not heard: three, and
    somebody listens, for not every name is one Whisper can write."""
    return AuditEvent.objects.filter(
        subject=user.pseudonym,
        action="take.assessed",
        data__rule="name_not_said",
        at__gt=timezone.now() - timedelta(days=1),
    ).count()


# --- the words


def challenge_words() -> tuple[str, ...]:
    """The words that are drawn from: the operator's file, or ours."""
    return _words_of(Path(settings.CHALLENGE_WORDS_FILE or WORDS_FILE))


@lru_cache(maxsize=4)
def _words_of(path: Path) -> tuple[str, ...]:
    """One word a line; empty lines and lines after # are left out."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise WordsFileInvalid(f"{path} cannot be read: {error.strerror}") from error
    words = tuple(
        dict.fromkeys(line.strip() for line in lines if line.strip()[:1] not in "#")
    )
    if len(words) < FEWEST_WORDS:
        raise WordsFileInvalid(f"{path} holds fewer than {FEWEST_WORDS} words")
    if odd := [word for word in words if not word.isalpha()]:
        raise WordsFileInvalid(f"{path}: {odd[0]!r} is no single word")
    return words


def render_text(prompt: Prompt, spoken: SpokenConsent) -> str:
    """What is to be said, all of it."""
    before, after = sentence(prompt, name=spoken.name, date=spoken.date)
    return f"{before}{', '.join(spoken.words)}{after}".strip()


def sentence(prompt: Prompt, *, name: str, date: Date) -> tuple[str, str]:
    """The consent in words, as far as it is known before: what comes before the
    challenge words, and after them."""
    before, _, after = prompt.text.partition("{words}")
    return tuple(  # type: ignore[return-value]
        part.replace("{date}", in_words(date)).replace("{name}", name)
        for part in (before, after)
    )


def in_words(date: Date) -> str:
    return f"{date:%-d %B %Y}"


# --- the parts


def _unfinished() -> Any:
    return SpokenConsent.objects.filter(state__in=[State.OPEN, State.REVEALED])


def _too_late() -> Refused:
    return Refused("challenge_late", intake.CLOSED_BECAUSE["challenge_late"])


def _stay_within_limits(user: Any) -> None:
    """Raise when the account asked for too many challenges, and say until when."""
    now = timezone.now()
    asked = AuditEvent.objects.filter(subject=user.pseudonym, action=CHALLENGED)
    for window, most in LIMITS:
        times = list(
            asked.filter(at__gt=now - window).order_by("-at").values_list("at")[:most]
        )
        if len(times) == most:
            raise _too_many(times[-1][0] + window, now)


def _too_many(again_at: datetime, now: datetime) -> Refused:
    left_s = max(1, round((again_at - now).total_seconds()))
    minutes = -(-left_s // 60)
    wait = f"{minutes} minute{'s' if minutes > 1 else ''}"
    if minutes > 90:
        wait = f"{round(minutes / 60)} hours"
    return Refused(
        "too_many_challenges",
        f"That was often enough for now. Try again in {wait}; what you recorded "
        "before is safe.",
        retry_after_s=left_s,
    )
