"""From a sung take to a mix: its chain, its beat, its loudness."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import BinaryIO, cast

from django.db import transaction
from django.utils import timezone

from recordings import fingerprinting
from voiceplatform.jobs import IN_PROGRESS, Claim, JobError, Status
from voiceplatform.working import at_work, deliver, scratch_dir

from .models import Generation, Mixdown, mix_name

CHAIN_FRACTION, BEAT_FRACTION, MIX_FRACTION = 0.4, 0.6, 0.95
PEAKS = 800
#: Mixes of a take that stay, the latest first: enough to compare, and to go back to.
KEPT_MIXES = 5

TAKE_IS_SAFE = "The take itself and its other mixes are safe."


class CannotMix(Exception):
    """The mix cannot be asked for; the message tells the person what to do."""


def ask_for_mix(take: Generation) -> Mixdown:
    """A mix of a finished take by its song's settings as they are now.

    A mix made, or being made, of the very same things is brought to the front
    instead of made again; others still under way are stopped. Raises CannotMix.
    """
    song = take.song
    wanted = {
        "chain": song.fx_chain.definition() if song.fx_chain else {},
        "beat": song.beat,
        "vocal_gain_db": song.vocal_gain_db,
        "beat_gain_db": song.beat_gain_db,
    }
    with transaction.atomic():
        # Two requests at once queue up here.
        take = Generation.objects.select_for_update().get(pk=take.pk)
        if take.status != Status.DONE:
            raise CannotMix("This take is not finished yet; there is nothing to mix.")
        same: Mixdown | None = None
        for mix in take.mixdowns.filter(status__in=[*IN_PROGRESS, Status.DONE]):
            is_same = all(getattr(mix, name) == wanted[name] for name in wanted)
            if is_same and same is None and mix.stop_requested_at is None:
                same = mix
            elif mix.in_progress:
                Mixdown.objects.request_stop(mix.pk)
        if same is None:
            same = take.mixdowns.create(**wanted)
            same.enqueue()
        else:
            same.queued_at = timezone.now()
            same.save(update_fields=["queued_at"])
    return same


def mix_down(claim: Claim[Mixdown]) -> None:
    """Work a claimed mix off: the dry vocal through the chain, over the beat."""
    with at_work(claim, kept=TAKE_IS_SAFE):
        _mix_down(claim)


def _mix_down(claim: Claim[Mixdown]) -> None:
    from fxchains.effects.catalogue import ChainError, validate_steps
    from fxchains.effects.rendering import render_chain
    from recordings.verification.fingerprint import fingerprint
    from voiceplatform.audio.files import read_audio, write_wav
    from voiceplatform.audio.peaks import peaks
    from voiceplatform.audio.waveform import AudioError

    from .mixing import mix
    from .music.beats import BeatError, render_beat
    from .music.score import Score, ScoreError

    job = claim.job
    claim.heartbeat("Applying the effects", 0.0)
    with job.generation.vocal.open("rb") as file:
        dry = read_audio(cast(BinaryIO, file))
    try:
        score = Score.from_json(job.generation.score)
        steps = validate_steps(job.chain.get("steps", []))
        vocal = render_chain(steps, dry, tempo_bpm=score.tempo_bpm)
        claim.heartbeat("Playing the beat", CHAIN_FRACTION)
        beat = None
        if job.beat:
            beat = render_beat(
                job.beat,
                tempo_bpm=score.tempo_bpm,
                n_bars=score.n_bars,
                beats_per_bar=score.beats_per_bar,
                key=score.key,
            )
        claim.heartbeat("Mixing to loudness", BEAT_FRACTION)
        mixed = mix(
            vocal,
            beat,
            vocal_gain_db=job.vocal_gain_db,
            beat_gain_db=job.beat_gain_db,
        )
    except (AudioError, BeatError, ChainError, ScoreError) as error:
        raise JobError(f"This could not be mixed: {error}") from error
    claim.heartbeat("Writing the file", MIX_FRACTION)
    with tempfile.TemporaryDirectory(dir=scratch_dir()) as scratch:
        path = Path(scratch) / "mix.wav"
        write_wav(path, mixed.waveform, "PCM_16")
        name = mix_name(job, path.name)
        # The voice alone is not always found under effects and a beat.
        mark = fingerprint(mixed.waveform)

        def finish() -> bool:
            finished = claim.finish(
                audio=name,
                duration_s=mixed.waveform.duration_s,
                peaks=peaks(mixed.waveform, PEAKS),
                loudness_lufs=mixed.loudness_lufs,
                true_peak_dbtp=mixed.true_peak_dbtp,
            )
            if finished:
                fingerprinting.store(job, mark)
                _drop_old_mixes(job.generation)
            return finished

        deliver(claim, job.audio.storage, name, path, finish)


def _drop_old_mixes(take: Generation) -> None:
    ended = take.mixdowns.exclude(status__in=IN_PROGRESS).order_by("-queued_at")
    old = [mix.pk for mix in ended[KEPT_MIXES:]]
    if old:
        take.mixdowns.filter(pk__in=old).delete()
