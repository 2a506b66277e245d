"""Verifying a take: every layer measures, the policy decides, the rows say so.

A worker of the default cluster does it within about two seconds of the last chunk; the
take is "being checked" until then, and joins nothing. Layers that need a network run
beside each other.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from django.conf import settings
from django.db import transaction

from consent import auditing
from consent.models import ConsentGrant
from voiceplatform.audio.waveform import AudioError
from voiceplatform.jobs import IN_PROGRESS, Claim, ClaimLost, Status
from voiceplatform.working import at_work

from . import challenging, fingerprinting, locking
from .advice import NOTES, told
from .intake import erase_replaced
from .judging import advice_on_kept, level_rules
from .models import Assessment, Prompt, Recording, SpokenConsent
from .verification.deciding import Decision, Outcome, Rule, decide, with_thresholds
from .verification.levels import Levels
from .verification.measuring import Layer, Measurement
from .verification.policy import RULES, SUNG
from .verification.voiceprints import from_bytes, to_bytes

if TYPE_CHECKING:
    from voiceplatform.audio.waveform import Waveform

    from .verification.authenticity.inference import Authenticity
    from .verification.fingerprint import Fingerprint
    from .verification.speaker import Heard as Someone
    from .verification.words import Heard

logger = logging.getLogger(__name__)

Kind = Prompt.Kind
VERDICT_OF = {
    Outcome.KEEP: Recording.Verdict.KEEP,
    Outcome.RETAKE: Recording.Verdict.RETAKE,
    Outcome.REVIEW: Recording.Verdict.REVIEW,
    Outcome.REFUSE: Recording.Verdict.REFUSED,
}
#: A day; the next take with all but the name right goes to a moderator.
MOST_NAMES_MISSED = 2
TAKE_IS_SAFE = "Your take is safe."


@dataclass(frozen=True)
class Listened:
    """What all layers say of one take."""

    measurements: tuple[Measurement, ...]
    heard: str
    authenticity: Authenticity
    fingerprint: Fingerprint
    #: None where nobody is heard.
    voiceprint: bytes | None


@dataclass(frozen=True)
class Layers:
    """What the layers that need nothing but the sound say of it."""

    signal: list[Measurement]
    fingerprint: Fingerprint
    authenticity: Authenticity
    someone: Someone | None
    heard: Heard


def ask(take: Recording) -> Assessment:
    """The take's assessment; one is made, and a worker woken, if there is none."""
    with transaction.atomic():
        assessment, made = Assessment.objects.get_or_create(recording=take)
        if made:
            assessment.enqueue()
    return assessment


def assess(claim: Claim[Assessment]) -> None:
    """Work a claimed assessment off, from the take in storage to its verdict."""
    try:
        with at_work(claim, kept=TAKE_IS_SAFE):
            began = time.monotonic()
            take = Recording.objects.select_related(
                *("prompt", "ticket", "session__grant__user", "session__microphone")
            ).get(pk=claim.job.recording_id)
            listened = listen(take)
            decision = decide(
                listened.measurements, take.prompt.kind, rules=rules_for(take.prompt)
            )
            if _is_hard_name(take, decision):
                decision = replace(decision, outcome=Outcome.REVIEW)
            settle(claim, take, listened, decision, took_s=time.monotonic() - began)
    finally:
        release_unchecked()


def rules_for(prompt: Prompt) -> tuple[Rule, ...]:
    """The policy for takes of this prompt, with the operator's own thresholds."""
    return (
        *level_rules(prompt),
        *with_thresholds(RULES, settings.VERIFICATION_THRESHOLDS),
    )


def listen(take: Recording) -> Listened:
    """Run every layer over the take as it lies in storage."""
    from voiceplatform.audio.files import read_audio

    with take.audio.open("rb") as file:
        sound = read_audio(cast(BinaryIO, file))
    found = run_layers(
        sound, text=take.prompt.text, source_rate_hz=take.source_sample_rate_hz
    )
    known = fingerprinting.find(found.fingerprint, excluding=take)
    someone = found.someone
    return Listened(
        measurements=(
            *_level_measurements(take),
            *found.signal,
            *fingerprinting.measurements(known),
            *_word_measurements(take, found.heard),
            *_speaker_measurements(take, someone),
            *found.authenticity.measurements(),
        ),
        heard=found.heard.text,
        authenticity=found.authenticity,
        fingerprint=found.fingerprint,
        voiceprint=to_bytes(someone.embedding) if someone else None,
    )


def run_layers(
    sound: Waveform, *, text: str, source_rate_hz: int | None = None
) -> Layers:
    """What each layer makes of the sound alone, two of them at a time."""
    from .verification import fingerprint, signal, words
    from .verification.authenticity import inference

    with ThreadPoolExecutor(1) as beside:
        # CTranslate2 lets go of the interpreter while it computes.
        hearing = beside.submit(words.hear, sound)
        return Layers(
            signal=signal.measure(sound, text=text, source_rate_hz=source_rate_hz),
            fingerprint=fingerprint.fingerprint(sound),
            authenticity=inference.classify(sound),
            someone=_who(sound),
            heard=hearing.result(),
        )


def settle(
    claim: Claim[Assessment],
    take: Recording,
    listened: Listened,
    decision: Decision,
    *,
    took_s: float,
) -> None:
    """Write down what was found and what follows; all of it or nothing.

    Raises ClaimLost if the take, its consent or the claim went meanwhile.
    """
    user = take.session.grant.user
    outcome = decision.outcome
    if outcome == Outcome.KEEP:
        remarks = [NOTES[note] for note in decision.notes if NOTES[note]]
        advice = " ".join([advice_on_kept(_levels(take), take.prompt), *remarks])
    else:
        advice = told(decision.reason, heard=listened.heard)
    with transaction.atomic():
        _hold_grant(take)
        finished = claim.finish(
            outcome=str(outcome),
            reason=decision.reason,
            findings=_device_findings(take)
            + [finding.as_dict() for finding in decision.findings],
            heard=listened.heard,
            label=listened.authenticity.label,
            confidence=listened.authenticity.confidence,
            scores=listened.authenticity.scores,
            model_version=listened.authenticity.model,
            fingerprint_digest=listened.fingerprint.digest,
            voiceprint=listened.voiceprint,
            took_s=took_s,
        )
        if not finished:
            raise ClaimLost(f"Assessment {claim.pk}")
        is_kept = outcome == Outcome.KEEP and not _is_outdated(take)
        if is_kept:
            _takes_of_prompt(take).filter(is_kept=True).update(is_kept=False)
        Recording.objects.filter(pk=take.pk).update(
            verdict=VERDICT_OF[outcome], advice=advice, is_kept=is_kept
        )
        if outcome in (Outcome.KEEP, Outcome.REVIEW):
            # What is refused or said again is not part of what was heard here.
            fingerprinting.store(take, listened.fingerprint)
        if take.prompt.kind == Kind.CONSENT and outcome != Outcome.REVIEW:
            challenging.settle(
                take, outcome=str(outcome), voiceprint=listened.voiceprint
            )
        auditing.record(
            locking.REFUSED if outcome == Outcome.REFUSE else "take.assessed",
            subject=user,
            take_sha256=take.sha256,
            fingerprint_sha256=listened.fingerprint.digest,
            grant=take.session.grant_id,
            outcome=str(outcome),
            rule=decision.reason,
            label=listened.authenticity.label,
            model=listened.authenticity.model,
        )
    # Apart from the take's own transaction: what was found stands whatever becomes of
    # these, and the next take of the prompt comes by here again.
    take.refresh_from_db()
    erase_replaced(take)
    if outcome == Outcome.REFUSE:
        locking.lock_if_too_many(user)


def release_unchecked() -> int:
    """Takes whose assessment ended without a result: to be recorded again."""
    ended = Assessment.objects.exclude(status__in=[*IN_PROGRESS, Status.DONE])
    waiting = Recording.objects.filter(
        verdict=Recording.Verdict.CHECKING, assessment__in=ended
    )
    consents = SpokenConsent.objects.filter(ticket__recording__in=waiting)
    consents.filter(state=SpokenConsent.State.REVEALED).update(
        state=SpokenConsent.State.FAILED
    )
    return waiting.update(verdict=Recording.Verdict.RETAKE, advice=told("failed"))


def load_models() -> None:
    """Load what the layers need, so that the first take does not wait for it."""
    from .verification import speaker, words
    from .verification.authenticity import inference

    words.load()
    speaker.load()
    inference.load()


# --- the parts


def _is_hard_name(take: Recording, decision: Decision) -> bool:
    """Not every name is one Whisper can write: the third time, somebody listens."""
    missed = challenging.names_missed(take.session.grant.user)
    return decision.reason == "name_not_said" and missed >= MOST_NAMES_MISSED


def _device_findings(take: Recording) -> list[dict[str, Any]]:
    """What was found when the session's microphone was verified."""
    microphone = take.session.microphone
    return list(microphone.findings) if microphone else []


def _level_measurements(take: Recording) -> list[Measurement]:
    """What was measured of the sound as it came, before it was resampled."""
    from .verification.signal import as_measurements

    return as_measurements(_levels(take))


def _levels(take: Recording) -> Levels:
    names = [field.name for field in fields(Levels)]
    return Levels(**{name: take.measurements[name] for name in names})


def _word_measurements(take: Recording, heard: Heard) -> list[Measurement]:
    from .verification import words

    if take.prompt.kind != Kind.CONSENT:
        return words.compare_prompt(heard, take.prompt.text)
    spoken = take.ticket.spoken_consent
    assert spoken.revealed_s is not None, "words were shown before they were said"
    return words.compare_consent(
        heard,
        name=spoken.name,
        date=spoken.date,
        words=spoken.words,
        revealed_s=spoken.revealed_s,
    )


def _speaker_measurements(take: Recording, heard: Someone | None) -> list[Measurement]:
    from .verification import speaker

    enrolled = _enrolled(take)
    is_heard = Measurement(
        Layer.SPEAKER, "is_heard", heard is not None, "", speaker.VERSION
    )
    of_the_take = [is_heard, *speaker.consistency(heard)]
    if enrolled is None:
        return of_the_take
    return [
        *of_the_take,
        *speaker.compare(
            heard.embedding if heard else None,
            from_bytes(enrolled),
            sung=take.prompt.kind in SUNG,
            speech_s=heard.speech_s if heard else 0.0,
        ),
    ]


def _who(sound: Waveform) -> Someone | None:
    from .verification import speaker

    try:
        return speaker.hear(sound)
    except AudioError:
        return None


def _enrolled(take: Recording) -> bytes | memoryview | None:
    """Whose voice the take must be: who spoke the session's consent.

    A spoken consent itself is compared with the account's latest earlier one.
    """
    consents = SpokenConsent.objects.standing()
    if take.prompt.kind == Kind.CONSENT:
        earlier = consents.filter(session__grant__user=take.session.grant.user_id)
        found = earlier.exclude(session=take.session_id).order_by("-accepted_at")
    else:
        found = consents.filter(session=take.session_id)
    spoken = found.first()
    return spoken.voiceprint if spoken else None


def _hold_grant(take: Recording) -> None:
    """Withdrawing waits for us, or we find it done. Raises ClaimLost."""
    grants = ConsentGrant.objects.standing().filter(pk=take.session.grant_id)
    if grants.select_for_update(of=("self",)).first() is None:
        raise ClaimLost(f"the consent to take {take.pk}")


def _takes_of_prompt(take: Recording) -> Any:
    takes = Recording.objects.filter(session=take.session_id, prompt=take.prompt_id)
    return takes.exclude(pk=take.pk)


def _is_outdated(take: Recording) -> bool:
    """Whether a later good take of the prompt was checked first."""
    later = _takes_of_prompt(take).filter(recorded_at__gt=take.recorded_at)
    return later.filter(is_kept=True).exists()
