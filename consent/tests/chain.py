"""Whole chains for tests, with real small files: consent, takes, voice, song, mix."""

from __future__ import annotations

import hashlib
import uuid
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.core.files.base import ContentFile
from django.utils import timezone

from consent.models import ConsentGrant
from fxchains.models import FxChain, FxStep
from generation.models import Generation, Mixdown, Song
from recordings.models import (
    LiveTicket,
    Microphone,
    Prompt,
    Recording,
    RecordingSession,
    Script,
)
from voiceplatform.jobs import Status
from voiceplatform.testing.people import make_grant
from voices.models import TrainingJob, TrainingSample, Voice, VoiceModel, VoiceSample


def make_prompt(position: int = 1) -> Prompt:
    script, _ = Script.objects.get_or_create(slug="test", defaults={"title": "Test"})
    return script.prompts.get_or_create(
        position=position, defaults={"text": f"Sentence {position}."}
    )[0]


def make_session(grant: ConsentGrant) -> RecordingSession:
    microphone, _ = Microphone.objects.get_or_create(
        user=grant.user,
        device_hash="d" * 64,
        defaults={"label": "Desk microphone", "is_accepted": True},
    )
    return RecordingSession.objects.create(
        grant=grant, script=make_prompt().script, microphone=microphone
    )


def make_take(session: RecordingSession) -> Recording:
    prompt = make_prompt(session.recordings.count() + 1)
    ticket = LiveTicket.objects.create(
        session=session,
        prompt=prompt,
        token_hash=uuid.uuid4().hex,
        state=LiveTicket.State.SPENT,
        expires_at=timezone.now() + timedelta(minutes=1),
    )
    sound = b"RIFF" + uuid.uuid4().bytes
    return Recording.objects.create(
        session=session,
        prompt=prompt,
        ticket=ticket,
        audio=ContentFile(sound, "take.wav"),
        sha256=hashlib.sha256(sound).hexdigest(),
        source_sample_rate_hz=48_000,
        source_channels=1,
        duration_s=4.0,
        speech_s=3.0,
        verdict=Recording.Verdict.KEEP,
    )


def make_voice(user, name: str = "Mara") -> Voice:
    return Voice.objects.create(user=user, name=name)


def make_model(voice: Voice, takes: list[Recording]) -> VoiceModel:
    """A ready model that has heard these takes, its job and its working directory."""
    model = VoiceModel.objects.create(
        voice=voice,
        status=VoiceModel.Status.READY,
        checkpoint=ContentFile(b"checkpoint", "model.safetensors"),
    )
    TrainingSample.objects.bulk_create(
        TrainingSample(model=model, recording=take) for take in takes
    )
    job = TrainingJob.objects.create(model=model, status=Status.DONE)
    work_directory(job).mkdir(parents=True)
    (work_directory(job) / "features.bin").write_bytes(b"features")
    VoiceSample.objects.create(
        job=job, audio=ContentFile(b"sample", "sample.wav"), fraction=1.0
    )
    return model


def work_directory(job: TrainingJob) -> Path:
    return Path(settings.WORK_DIR) / "training" / str(job.work_name)


def make_song(user, title: str = "Low tide") -> Song:
    return Song.objects.create(user=user, title=title, lyrics="Low tide, slow ride")


def make_generation(song: Song, model: VoiceModel) -> Generation:
    return Generation.objects.create(
        song=song,
        voice_model=model,
        status=Status.DONE,
        vocal=ContentFile(b"vocal", "vocal.wav"),
    )


def make_mixdown(generation: Generation) -> Mixdown:
    return Mixdown.objects.create(
        generation=generation,
        status=Status.DONE,
        audio=ContentFile(b"mix", "mix.wav"),
    )


def make_fx_chain(user) -> FxChain:
    chain = FxChain.objects.create(user=user, name="Mine")
    FxStep.objects.create(chain=chain, position=1, effect="reverb")
    return chain


class Chain:
    """One of each, from the grant to the mix."""

    def __init__(self, user) -> None:
        self.user = user
        self.grant = make_grant(user)
        self.session = make_session(self.grant)
        self.take = make_take(self.session)
        self.voice = make_voice(user)
        self.model = make_model(self.voice, [self.take])
        self.sample = self.model.training_job.latest_sample
        self.song = make_song(user)
        self.generation = make_generation(self.song, self.model)
        self.mixdown = make_mixdown(self.generation)

    def files(self) -> set[Path]:
        """Every file of the chain on this machine."""
        names = [
            self.take.audio.name,
            self.model.checkpoint.name,
            self.sample.audio.name,
            self.generation.vocal.name,
            self.mixdown.audio.name,
        ]
        return {Path(settings.MEDIA_ROOT) / name for name in names} | {
            work_directory(self.model.training_job) / "features.bin"
        }


def files_on_disk() -> set[Path]:
    """All that lies in the media and working directories of this test."""
    roots = (Path(settings.MEDIA_ROOT), Path(settings.WORK_DIR))
    return {path for root in roots for path in root.rglob("*") if path.is_file()}
