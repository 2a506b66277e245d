"""From a song and a voice to a sung take: asking for it, and doing it."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Max
from django.db.models.fields.files import FieldFile
from django.utils import timezone

from recordings import fingerprinting
from voiceplatform.jobs import MAX_ATTEMPTS, Claim, JobError, Status
from voiceplatform.working import at_work, deliver, scratch_dir
from voices.models import VoiceModel

from .mixing_down import ask_for_mix
from .models import Generation, Song, vocal_name
from .scoring import score_of

if TYPE_CHECKING:
    from voiceplatform.audio.waveform import Waveform
    from voices.engine.content import ContentEncoder

    from .guide.performing import LineSpan, Performance
    from .music.score import Score

logger = logging.getLogger(__name__)

#: Shares of the whole: performing the guide takes most of it, singing the rest.
GUIDE_FRACTION, SUNG_FRACTION = 0.55, 0.95
PEAKS = 800

SONG_IS_SAFE = "Your song and its other takes are safe."


class CannotRender(Exception):
    """The take cannot be asked for; the message tells the person what to do."""


def ask_for_take(
    song: Song, voice_model: VoiceModel, *, seed: int | None = None
) -> Generation:
    """A take of the song as it is now, in a voice of its owner; made by a worker.

    Without a seed it is the song's next one, so that each take is sung a little
    differently. Asked for twice while it waits, it is the same take; so is one that
    ended at a vendor before it was sung. Raises CannotScore (generation/scoring.py) or
    CannotRender.
    """
    # As the database gives it back: lists, not tuples.
    score = json.loads(json.dumps(score_of(song).to_json()))
    with transaction.atomic():
        # Two requests at once queue up here.
        song = Song.objects.select_for_update().get(pk=song.pk)
        usable = VoiceModel.objects.visible_to(song.user).permitted().ready()
        if not usable.filter(pk=voice_model.pk).exists():
            raise CannotRender(
                "This voice is not there to sing: it is still in training, was "
                "deleted, or its consent was withdrawn. Choose another one."
            )
        takes = song.generations
        same = takes.in_progress().filter(
            voice_model=voice_model, stop_requested_at=None
        )
        for take in same:
            if take.score == score and seed in (None, take.seed):
                return take
        if ended := _ended_at_vendor(song, voice_model, score, seed):
            return _queued_again(ended)
        if seed is None:
            last = takes.aggregate(last=Max("seed"))["last"]
            seed = 0 if last is None else last + 1
        take = takes.create(voice_model=voice_model, seed=seed, score=score)
        take.enqueue()
    return take


def _ended_at_vendor(
    song: Song, voice_model: VoiceModel, score: Any, seed: int | None
) -> Generation | None:
    """A take of just this that failed or was stopped, and may be tried again.

    What was paid for it there is not paid for again (generation/changing.py).
    """
    if not voice_model.is_at_vendor:
        return None
    ended = song.generations.filter(
        voice_model=voice_model,
        status__in=[Status.FAILED, Status.STOPPED],
        attempt__lt=MAX_ATTEMPTS,
    )
    return next(
        (
            take
            for take in ended.order_by("-pk")
            if take.score == score and seed in (None, take.seed)
        ),
        None,
    )


def _queued_again(take: Generation) -> Generation:
    Generation.objects.filter(
        pk=take.pk, status__in=[Status.FAILED, Status.STOPPED]
    ).update(
        status=Status.QUEUED,
        queued_at=timezone.now(),
        stop_requested_at=None,
        finished_at=None,
        error="",
        stage="",
        fraction=0.0,
    )
    take.refresh_from_db()
    take.enqueue()
    return take


def render(claim: Claim[Generation]) -> None:
    """Work a claimed take off: score, guide, voice, file; then ask for its mix."""
    with at_work(claim, kept=SONG_IS_SAFE):
        _render(claim)


def _render(claim: Claim[Generation]) -> None:
    from recordings.verification.fingerprint import fingerprint
    from voiceplatform.audio.files import write_wav
    from voiceplatform.audio.peaks import peaks
    from voiceplatform.audio.waveform import AudioError

    from .music.score import ScoreError

    take = claim.job
    claim.heartbeat("Warming up", 0.0)
    with tempfile.TemporaryDirectory(dir=scratch_dir()) as scratch:
        sing = _sing_there if take.voice_model.is_at_vendor else _sing_here
        try:
            score, lines, vocal = sing(claim, Path(scratch))
        except (AudioError, ScoreError) as error:
            raise JobError(f"This song could not be sung: {error}") from error
        claim.heartbeat("Writing the file", SUNG_FRACTION)
        path = Path(scratch) / "vocal.wav"
        write_wav(path, vocal, "PCM_24")
        name = vocal_name(take, path.name)
        # So that it is known if it is played into a microphone.
        mark = fingerprint(vocal)

        def finish() -> bool:
            finished = claim.finish(
                vocal=name,
                score=score.to_json(),
                duration_s=vocal.duration_s,
                peaks=peaks(vocal, PEAKS),
                lines=[
                    {"text": line.text, "start_s": line.start_s, "end_s": line.end_s}
                    for line in lines
                ],
            )
            if finished:
                fingerprinting.store(take, mark)
                ask_for_mix(Generation.objects.get(pk=take.pk))
            return finished

        deliver(claim, take.vocal.storage, name, path, finish)


Sung = tuple["Score", tuple["LineSpan", ...], "Waveform"]


def _sing_here(claim: Claim[Generation], scratch: Path) -> Sung:
    """By the engine on this site: the score as it was sung, its lines, the sound."""
    from voices.engine.choices import MissingPartError
    from voices.engine.synthesis import LocalVoice
    from voices.parts import VOICE_OUT_OF_DATE, parts_at_work

    take = claim.job
    checkpoint = scratch / "voice.safetensors"
    _fetch(take.voice_model.checkpoint, checkpoint)
    parts = parts_at_work()
    try:
        voice = LocalVoice.load(checkpoint, parts)
    except MissingPartError as error:
        logger.warning("Take %s: %s", take.pk, error)
        raise JobError(VOICE_OUT_OF_DATE) from error
    score = _in_range(claim, voice.range_hz)
    performance = _performed(claim, score, voice.encoder)
    vocal = voice.sing(
        performance.features,
        seed=take.seed,
        breath_db=score.expression.breath_db,
        on_progress=_reporter(claim, "Singing", GUIDE_FRACTION, SUNG_FRACTION),
    )
    return score, performance.lines, vocal


def _sing_there(claim: Claim[Generation], scratch: Path) -> Sung:
    """By the vendor that made the voice."""
    from .changing import rapped_by_vendor, sung_by_vendor

    model = claim.job.voice_model
    score = _in_range(claim, model.quality.get("range_hz"))
    if score.style == "rap":
        report = _reporter(claim, f"Rapping at {model.maker}", 0.0, SUNG_FRACTION)
        vocal, lines = rapped_by_vendor(claim, score, on_progress=report)
        return score, lines, vocal
    performance = _performed(claim, score)
    report = _reporter(
        claim, f"Singing at {model.maker}", GUIDE_FRACTION, SUNG_FRACTION
    )
    vocal = sung_by_vendor(claim, performance, on_progress=report)
    return score, performance.lines, vocal


def _in_range(claim: Claim[Generation], range_hz: Sequence[float] | None) -> Score:
    """The take's score where a voice of this range sings it."""
    from .music.score import Score

    score = Score.from_json(claim.job.score)
    return score.fitted_to_range((range_hz[0], range_hz[1])) if range_hz else score


def _performed(
    claim: Claim[Generation], score: Score, encoder: ContentEncoder | None = None
) -> Performance:
    """The score performed for a voice's encoder (default: what ships)."""
    from .guide.performing import perform

    return perform(
        score,
        seed=claim.job.seed,
        encoder=encoder,
        on_progress=_reporter(claim, "Working out how to sing it", 0.0, GUIDE_FRACTION),
    )


def _fetch(stored: FieldFile, path: Path) -> None:
    with stored.open("rb") as source, path.open("wb") as file:
        for chunk in source.chunks():
            file.write(chunk)


def _reporter(
    claim: Claim[Generation], stage: str, start: float, end: float
) -> Callable[[float], None]:
    """Hands a part's progress on to the row, with a guess of the time left."""
    began = time.monotonic()

    def report(share: float) -> None:
        elapsed_s = time.monotonic() - began
        left_s = elapsed_s * (1 - share) / share if share > 0.05 else None
        claim.heartbeat(stage, start + (end - start) * share, left_s)

    return report
