"""The whole chain, row by row, with small real WAV files in storage.

Each factory makes what it needs to the left of itself: `make_generation(user)` alone
gives a grant, a session, takes, a voice, a trained model, a song and its vocal. Rows
are written directly, past the operations: tests of an operation call the operation.
"""

from __future__ import annotations

import hashlib
import io
import secrets
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import soundfile
from django.core.files.base import ContentFile
from django.db.models import Max
from django.utils import timezone

from accounts.models import User
from consent.models import ConsentGrant, Scope
from fxchains.models import FxChain, FxStep
from generation.models import Generation, Mixdown, Song
from generation.scoring import score_of
from recordings.loading import put_consent_first
from recordings.models import (
    Assessment,
    LiveTicket,
    Microphone,
    Prompt,
    Recording,
    RecordingSession,
    Script,
    SpokenConsent,
)
from recordings.starting import device_hash
from voiceplatform.audio.peaks import peaks
from voiceplatform.audio.waveform import SAMPLE_RATE_HZ, Waveform
from voiceplatform.jobs import Status
from voices.models import TrainingJob, TrainingSample, Voice, VoiceModel, VoiceSample

from .people import make_grant

LYRICS = """Morning light is on the water
Every wave is coming home
I will sing it to my daughter
Nobody has to walk alone"""


def make_tone(
    duration_s: float = 1.0, *, f0_hz: float = 220.0, channels: int = 1
) -> Waveform:
    """A soft tone with six harmonics at 44.1 kHz: small, audible, in key."""
    time_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tone = sum(np.sin(2 * np.pi * f0_hz * n * time_s) / n for n in range(1, 7))
    fade = np.minimum(1.0, np.minimum(time_s, time_s[::-1]) / 0.02)
    samples = (0.1 * tone * fade).astype(np.float32)
    return Waveform(np.tile(samples, (channels, 1)), SAMPLE_RATE_HZ)


def wav_file(waveform: Waveform, name: str = "take.wav") -> ContentFile:
    """The waveform as an uploaded 16-bit WAV file; the storage chooses the name."""
    file = io.BytesIO()
    soundfile.write(
        file,
        waveform.samples.T,
        waveform.sample_rate_hz,
        format="WAV",
        subtype="PCM_16",
    )
    return ContentFile(file.getvalue(), name)


def open_grant(user: User, scope: str = Scope.CLONE_LOCAL) -> ConsentGrant:
    """The person's open grant, made if there is none."""
    return ConsentGrant.objects.open().filter(
        user=user, scope=scope
    ).first() or make_grant(user, scope)


def make_script(slug: str = "test-script", n_prompts: int = 3, **fields: Any) -> Script:
    script, made = Script.objects.get_or_create(
        slug=slug, defaults={"title": "A short script"} | fields
    )
    if made:
        for position in range(1, n_prompts + 1):
            make_prompt(script, position=position)
    return script


def make_prompt(script: Script | None = None, **fields: Any) -> Prompt:
    script = script or make_script()
    if "position" not in fields:
        last = script.prompts.aggregate(last=Max("position"))["last"] or 0
        fields["position"] = last + 1
    fields = {"text": f"Prompt number {fields['position']} is read aloud."} | fields
    return Prompt.objects.create(script=script, **fields)


#: How a browser describes the microphone of `make_microphone`.
DEVICE: dict[str, Any] = {
    "label": "Studio microphone",
    "kind": "audioinput",
    "device_id": hashlib.sha256(b"a device in a test").hexdigest(),
    "is_listed": True,
    "track": {"sampleRate": 48_000, "channelCount": 1, "echoCancellation": False},
    "capabilities": {"echoCancellation": [True, False]},
    "supported": ["echoCancellation", "noiseSuppression", "autoGainControl"],
}


def make_microphone(user: User, **fields: Any) -> Microphone:
    """An accepted one; another one of the person's needs a `device_hash` of its own."""
    fields = {
        "label": DEVICE["label"],
        "device_hash": device_hash(user, DEVICE["device_id"]),
        "settings": DEVICE["track"],
        "is_accepted": True,
    } | fields
    return Microphone.objects.create(user=user, **fields)


def make_session(
    user: User,
    *,
    grant: ConsentGrant | None = None,
    is_spoken: bool = True,
    **fields: Any,
) -> RecordingSession:
    """A session at the person's microphone, its consent spoken (`is_spoken`)."""
    fields = {"script": fields.get("script") or make_script()} | fields
    if "microphone" not in fields:
        fields["microphone"] = user.microphones.first() or make_microphone(user)
    session = RecordingSession.objects.create(grant=grant or open_grant(user), **fields)
    if is_spoken:
        make_spoken_consent(session)
    return session


def make_voiceprint(seed: int = 0) -> np.ndarray:
    """Somebody's voice, a unit vector (256,) float32: another seed, another person."""
    vector = np.random.default_rng(seed).normal(size=256)
    return (vector / np.linalg.norm(vector)).astype("<f4")


def make_spoken_consent(session: RecordingSession, **fields: Any) -> SpokenConsent:
    """An accepted one, in the session's own person's voice (a seed of theirs)."""
    user = session.grant.user
    prompt = put_consent_first(session.script)
    now = timezone.now()
    fields = {
        "ticket": make_ticket(session, prompt, state=LiveTicket.State.SPENT),
        "state": SpokenConsent.State.ACCEPTED,
        "name": user.legal_name,
        "date": timezone.localdate(),
        "words": ["harbour", "violet", "ladder"],
        "revealed_at": now,
        "revealed_s": 0.5,
        "accepted_at": now,
        "voiceprint": make_voiceprint(user.pk).tobytes(),
    } | fields
    return SpokenConsent.objects.create(session=session, **fields)


def make_ticket(session: RecordingSession, prompt: Prompt, **fields: Any) -> LiveTicket:
    now = timezone.now()
    fields = {
        "token_hash": secrets.token_hex(32),
        "expires_at": now + timedelta(minutes=2),
    } | fields
    return LiveTicket.objects.create(session=session, prompt=prompt, **fields)


def make_recording(
    user: User,
    *,
    session: RecordingSession | None = None,
    prompt: Prompt | None = None,
    waveform: Waveform | None = None,
    **fields: Any,
) -> Recording:
    """A kept take in the person's latest session, of a prompt not yet kept."""
    session = (
        session
        or RecordingSession.objects.filter(grant=open_grant(user)).first()
        or make_session(user)
    )
    waveform = waveform or make_tone()
    if prompt is None:
        kept = session.recordings.filter(is_kept=True).values("prompt")
        prompt = session.script.prompts.to_voice().exclude(pk__in=kept).first()
        prompt = prompt or make_prompt(session.script)
    audio = wav_file(waveform)
    fields = {
        "ticket": make_ticket(session, prompt, state=LiveTicket.State.SPENT),
        "audio": audio,
        "sha256": hashlib.sha256(audio.read()).hexdigest(),
        "source_sample_rate_hz": 48_000,
        "source_channels": 1,
        "duration_s": waveform.duration_s,
        "speech_s": 0.9 * waveform.duration_s,
        "peaks": peaks(waveform, 60),
        "verdict": Recording.Verdict.KEEP,
    } | fields
    audio.seek(0)
    return Recording.objects.create(session=session, prompt=prompt, **fields)


def make_assessment(recording: Recording, **fields: Any) -> Assessment:
    """A finished one that found nothing amiss, unless `fields` say otherwise."""
    outcome = fields.get("outcome", Assessment.Outcome.KEEP)
    fields = {
        "status": Status.DONE,
        "outcome": outcome,
        "reason": "good" if outcome == Assessment.Outcome.KEEP else "doubtful",
        "findings": [
            {
                "layer": "authenticity",
                "name": "mic_probability",
                "value": 0.97,
                "unit": "probability",
                "version": "test",
                "threshold": 0.3,
                "bound": "at_least",
                "outcome": "keep",
                "reason": "",
            }
        ],
        "heard": recording.prompt.text,
        "label": Assessment.Label.MIC,
        "confidence": 0.97,
        "scores": {"mic": 0.97, "replay": 0.02, "synthetic": 0.01},
        "model_version": "test",
        "voiceprint": make_voiceprint(recording.session.grant.user_id).tobytes(),
        "took_s": 1.0,
        "finished_at": timezone.now(),
    } | fields
    return Assessment.objects.create(recording=recording, **fields)


def make_voice(user: User, name: str = "My voice") -> Voice:
    return Voice.objects.create(user=user, name=name)


def make_voice_model(
    user: User,
    *,
    voice: Voice | None = None,
    recordings: Iterable[Recording] | None = None,
    checkpoint: bytes = b"a checkpoint in a test",
    **fields: Any,
) -> VoiceModel:
    """A ready model (its checkpoint is a file, but nothing that sings) on its takes.

    One of the engine `vendor` has no checkpoint.
    """
    fields = {
        "status": VoiceModel.Status.READY,
        "quality": {"minutes": 4.0, "range_hz": [110.0, 440.0]},
    } | fields
    is_here = fields.get("engine") != VoiceModel.Engine.VENDOR
    if is_here and fields["status"] == VoiceModel.Status.READY:
        fields.setdefault("checkpoint", ContentFile(checkpoint, "voice.safetensors"))
    model = VoiceModel.objects.create(voice=voice or make_voice(user), **fields)
    takes = list(recordings) if recordings is not None else [make_recording(user)]
    TrainingSample.objects.bulk_create(
        [TrainingSample(model=model, recording=take) for take in takes]
    )
    return model


def make_training_job(
    user: User, *, model: VoiceModel | None = None, **fields: Any
) -> TrainingJob:
    """A queued job of a model still in training."""
    model = model or make_voice_model(user, status=VoiceModel.Status.TRAINING)
    return TrainingJob.objects.create(model=model, **fields)


def make_voice_sample(job: TrainingJob, **fields: Any) -> VoiceSample:
    """A second of what the voice is by now, a third through its training."""
    fields = {"fraction": 0.33} | fields
    fields.setdefault("audio", wav_file(make_tone(1.0), "sample.wav"))
    return VoiceSample.objects.create(job=job, **fields)


def make_song(user: User, **fields: Any) -> Song:
    fields = {"title": "Coming home", "lyrics": LYRICS} | fields
    return Song.objects.create(user=user, **fields)


def make_generation(
    user: User,
    *,
    song: Song | None = None,
    voice_model: VoiceModel | None = None,
    waveform: Waveform | None = None,
    **fields: Any,
) -> Generation:
    """A finished take, two seconds long unless `waveform` says otherwise."""
    song = song or make_song(user)
    waveform = waveform or make_tone(2.0)
    fields = {"status": Status.DONE, "score": score_of(song).to_json()} | fields
    if fields["status"] == Status.DONE:
        now = timezone.now()
        fields = {
            "vocal": wav_file(waveform, "vocal.wav"),
            "fraction": 1.0,
            "duration_s": waveform.duration_s,
            "peaks": peaks(waveform, 60),
            "lines": lines_over(LYRICS.splitlines(), waveform.duration_s),
            "started_at": now,
            "finished_at": now,
        } | fields
    return Generation.objects.create(
        song=song,
        voice_model=voice_model or make_voice_model(user),
        **fields,
    )


def lines_over(lines: Sequence[str], duration_s: float) -> list[dict[str, Any]]:
    each_s = duration_s / len(lines)
    return [
        {"text": text, "start_s": index * each_s, "end_s": (index + 1) * each_s}
        for index, text in enumerate(lines)
    ]


def make_mixdown(
    user: User,
    *,
    generation: Generation | None = None,
    waveform: Waveform | None = None,
    **fields: Any,
) -> Mixdown:
    """A finished stereo mix of a take."""
    waveform = waveform or make_tone(2.0, channels=2)
    fields = {"status": Status.DONE} | fields
    if fields["status"] == Status.DONE:
        now = timezone.now()
        fields = {
            "audio": wav_file(waveform, "mix.wav"),
            "fraction": 1.0,
            "duration_s": waveform.duration_s,
            "peaks": peaks(waveform, 60),
            "loudness_lufs": -14.0,
            "true_peak_dbtp": -1.2,
            "chain": {"name": "Plain", "steps": []},
            "started_at": now,
            "finished_at": now,
        } | fields
    return Mixdown.objects.create(
        generation=generation or make_generation(user), **fields
    )


def make_chain(
    user: User | None, *, effects: Sequence[str] = ("compressor",), **fields: Any
) -> FxChain:
    """A chain at each effect's defaults; without a user it is a preset."""
    fields = {"name": "Test chain"} | fields
    if user is None:
        fields.setdefault("slug", f"preset-{secrets.token_hex(4)}")
    chain = FxChain.objects.create(user=user, **fields)
    FxStep.objects.bulk_create(
        [
            FxStep(chain=chain, position=position, effect=effect)
            for position, effect in enumerate(effects)
        ]
    )
    return chain
