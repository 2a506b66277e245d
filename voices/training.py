"""From a person's takes to a voice that sings: asking for it, doing it, ending it."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from django.conf import settings
from django.db import transaction
from django.db.models import Count, QuerySet, Sum
from django.utils.text import Truncator

from accounts.models import User
from recordings import enrolling, fingerprinting
from recordings.models import Recording
from voiceplatform.jobs import IN_PROGRESS, Claim, JobError, Status
from voiceplatform.working import at_work, deliver, scratch_dir

from . import choosing, machines, vendors
from .models import (
    TrainingJob,
    TrainingSample,
    Voice,
    VoiceModel,
    VoiceSample,
    checkpoint_name,
    sample_name,
)
from .picking import best_takes

if TYPE_CHECKING:
    from voiceplatform.audio.waveform import Waveform

    from .engine.synthesis import LocalVoice
    from .engine.training import TrainingConfig, TrainingProgress

#: Less speech than this and the engine has nothing to learn a voice from.
MIN_SPEECH_S = 60.0
#: Points of the loss curve that are kept: enough to draw, little to send.
MAX_CURVE_POINTS = 300
#: The curve is written this often; plain heartbeats come in between.
CURVE_INTERVAL_S = 6.0
#: Takes the finished voice is compared on, and how much of each: enough to tell.
MEASURED_TAKES, MEASURED_S = 4, 8.0
#: Shares of the whole, for the person who waits.
READING_FRACTION, TRAINED_FRACTION = 0.02, 0.98

#: The engine's stages, for the person who waits.
STAGES = {
    "listening": "Listening to your takes",
    "acoustic": "Learning how you form sounds",
    "vocoder": "Learning your timbre",
}

#: So many takes that are not the person's voice are named in full.
MOST_NAMED = 3

TAKES_ARE_SAFE = "Your recordings are safe."


class CannotTrain(Exception):
    """This training cannot be started; the message tells the person what to do."""


class StrangeTakes(CannotTrain):
    """Some takes are not the person's voice; `takes`, the least like them first."""

    def __init__(self, takes: Sequence[Recording]) -> None:
        super().__init__(strange_in_words(takes))
        self.takes = takes


def usable_takes(user: User) -> QuerySet[Recording]:
    """The takes a voice of this person may be trained on now."""
    takes = Recording.objects.visible_to(user).permitted().kept()
    return takes.select_related("prompt")


@dataclass(frozen=True)
class Material:
    """What there is to train on, and what is still missing."""

    n_takes: int
    speech_s: float

    @property
    def missing_s(self) -> float:
        return max(0.0, MIN_SPEECH_S - self.speech_s)


def material(user: User) -> Material:
    found = usable_takes(user).aggregate(
        n_takes=Count("pk"), speech_s=Sum("speech_s", default=0.0)
    )
    return Material(**found)


def start_training(
    user: User,
    *,
    voice: Voice | None = None,
    name: str = "My voice",
    recordings: Iterable[Recording] | None = None,
    preset: str = TrainingJob.Preset.QUICK,
    seed: int = 0,
) -> TrainingJob:
    """A new model of the voice (a new voice without one) and the job that trains it.

    It hears the recordings given, or all the person's kept takes; a vendor, chosen in
    voices/choosing.py, hears the best of them. Raises CannotTrain when there is too
    little, a take is not theirs to use or not their voice, the voice is in training, a
    moderator has to look at it first, or the chosen vendor cannot be used.
    """
    _check_person(user)
    choice = choosing.choose(user)
    if choice.obstacle:
        raise CannotTrain(f"{choice.reason} {choice.obstacle}")
    with transaction.atomic():
        if voice is None:
            voice = Voice.objects.create(user=user, name=name)
        else:
            # Two trainings asked for at once queue up here.
            voice = Voice.objects.visible_to(user).select_for_update().get(pk=voice.pk)
            if TrainingJob.objects.filter(model__voice=voice).in_progress().exists():
                raise CannotTrain(
                    f"“{voice.name}” is in training already. Wait until it is done, "
                    "or stop it first."
                )
        takes = _checked_takes(user, recordings)
        if strange := enrolling.strangers(takes, enrolling.voiceprints_of(takes)):
            raise StrangeTakes(strange)
        if choice.is_local:
            model = VoiceModel.objects.create(voice=voice)
        else:
            model = _model_at_vendor(voice, choice.engine)
            longest_s = vendors.vendor(choice.engine).limits.samples_s
            takes = best_takes(takes, longest_s)
            if not takes:
                raise CannotTrain(
                    f"Each of your takes is longer than the {longest_s:.0f} seconds "
                    f"that {model.maker} is sent. Record some shorter ones."
                )
        TrainingSample.objects.bulk_create(
            TrainingSample(model=model, recording=take) for take in takes
        )
        job = TrainingJob.objects.create(model=model, preset=preset, seed=seed)
        job.enqueue()
    return job


def _model_at_vendor(voice: Voice, vendor: str) -> VoiceModel:
    """Its key is written down before anything is sent, so that it is made once."""
    grant = choosing.grant_to(voice.user, vendor)
    if grant is None:
        raise CannotTrain(choosing.obstacle_to(voice.user, vendor))
    return VoiceModel.objects.create(
        voice=voice,
        engine=VoiceModel.Engine.VENDOR,
        vendor=vendor,
        vendor_grant=grant,
        vendor_key=uuid.uuid4(),
    )


def _checked_takes(
    user: User, recordings: Iterable[Recording] | None
) -> list[Recording]:
    usable = list(usable_takes(user))
    if recordings is not None:
        wanted = {take.pk for take in recordings}
        usable = [take for take in usable if take.pk in wanted]
        if len(usable) < len(wanted):
            raise CannotTrain(
                "Some of these takes cannot be used: they were deleted or set aside, "
                "or you have withdrawn your consent for them."
            )
    speech_s = sum(take.speech_s for take in usable)
    if speech_s < MIN_SPEECH_S:
        raise CannotTrain(
            f"You have {math.floor(speech_s)} seconds of speech; a voice needs at "
            f"least {MIN_SPEECH_S:.0f}. Record about "
            f"{math.ceil(MIN_SPEECH_S - speech_s)} seconds more."
        )
    return usable


def _check_person(user: User) -> None:
    """Raises CannotTrain while the voice may be somebody else's."""
    if match := enrolling.check_again(user):
        raise CannotTrain(enrolling.in_words(match))


def strange_in_words(takes: Sequence[Recording]) -> str:
    """Which takes, as the script numbers them, and what to do."""
    named = [
        f"Take {take.prompt.position}, “{Truncator(take.prompt.text).words(5)}”"
        for take in takes[:MOST_NAMED]
    ]
    if len(takes) == 1:
        return f"{named[0]}, does not sound like you: record it again or leave it out."
    more = f" and {len(takes) - MOST_NAMED} more" if len(takes) > MOST_NAMED else ""
    return (
        f"{len(takes)} takes do not sound like you: {'; '.join(named)}{more}. Record "
        "them again or leave them out."
    )


def stop_training(job: TrainingJob) -> bool:
    """Ask for the training to end; it may be taken up again from where it was."""
    stopped = TrainingJob.objects.request_stop(job.pk)
    settle_models()
    return stopped


def resume_training(job: TrainingJob) -> None:
    """Take an ended training up again from its last checkpoint. Raises CannotTrain."""
    _check_person(job.model.voice.user)
    with transaction.atomic():
        voice = Voice.objects.select_for_update().get(models__training_job=job)
        if TrainingJob.objects.filter(model__voice=voice).in_progress().exists():
            raise CannotTrain(f"“{voice.name}” is in training already.")
        resumed = (
            TrainingJob.objects.resumable()
            .permitted()
            .filter(pk=job.pk)
            .update(
                status=Status.QUEUED,
                stop_requested_at=None,
                finished_at=None,
                error="",
                stage="",
            )
        )
        if not resumed:
            raise CannotTrain(
                "This training cannot go on any more. Start a new one: your "
                "recordings are all there."
            )
        VoiceModel.objects.filter(
            training_job=job, status=VoiceModel.Status.FAILED
        ).update(status=VoiceModel.Status.TRAINING)
        job.enqueue()


def settle_models() -> int:
    """Mark models whose job ended without a result; returns how many there were."""
    ended = TrainingJob.objects.exclude(status__in=[*IN_PROGRESS, Status.DONE])
    return VoiceModel.objects.filter(
        status=VoiceModel.Status.TRAINING, training_job__in=ended
    ).update(status=VoiceModel.Status.FAILED)


def work_dir(job: TrainingJob) -> Path:
    return Path(settings.WORK_DIR) / "training" / str(job.work_name)


def budget_s(preset: str) -> int:
    """How long a voice may train, in seconds."""
    studio = preset == TrainingJob.Preset.STUDIO
    return settings.STUDIO_SECONDS if studio else settings.TRAINING_SECONDS


def training_config(preset: str) -> TrainingConfig:
    """The operator's budget, shared out; the rest of it is spent on listening."""
    from .engine.training import TrainingConfig

    return TrainingConfig(
        acoustic_seconds=0.6 * budget_s(preset),
        vocoder_seconds=0.35 * budget_s(preset),
        device=training_device(),
    )


def training_device() -> str:
    """The operator's choice; "auto" is a GPU where torch finds one."""
    chosen: str = settings.TRAINING_DEVICE
    if chosen != "auto":
        return chosen
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def train(claim: Claim[TrainingJob]) -> None:
    """Work a claimed training off: from the takes in storage to a ready model.

    The engine leaves its state in the job's working directory as it goes, so the
    next claim on this machine goes on from there.
    """
    try:
        with at_work(claim, kept=TAKES_ARE_SAFE):
            _train(claim)
    finally:
        settle_models()
        clear_work_dirs()


def clear_work_dirs() -> None:
    """Remove this machine's working directories that no job will need again."""
    root = Path(settings.WORK_DIR) / "training"
    present = {path.name for path in root.glob("*")}
    needed = TrainingJob.objects.exclude(status=Status.DONE).values_list(
        "work_name", flat=True
    )
    for name in present - {str(name) for name in needed}:
        shutil.rmtree(root / name, ignore_errors=True)


def _train(claim: Claim[TrainingJob]) -> None:
    from voiceplatform.audio.tensors import CheckpointError
    from voiceplatform.audio.waveform import AudioError

    from .engine.synthesis import LocalVoice
    from .engine.training import train as train_engine
    from .parts import chosen_parts, site_at_fault

    job = claim.job
    directory = work_dir(job)
    directory.mkdir(parents=True, exist_ok=True)
    takes = list(read_takes(claim))
    check_voice(claim, takes)
    reporter = _Reporter(claim)
    config = training_config(job.preset)
    machines.note(config.device)

    def heard(sound: Waveform) -> None:
        keep_sample(claim, sound, reporter.fraction)

    try:
        parts = chosen_parts()
        checkpoint = train_engine(
            takes,
            directory,
            config=config,
            seed=job.seed,
            on_progress=reporter,
            on_sample=heard,
            parts=parts,
        )
    except CheckpointError as error:
        # Of a wrong setting, or base weights that do not fit: no take is to blame.
        raise site_at_fault(error, TAKES_ARE_SAFE) from error
    except AudioError as error:
        raise JobError(f"{error} {TAKES_ARE_SAFE}") from error

    def measuring() -> None:
        claim.heartbeat("Measuring the voice", TRAINED_FRACTION)

    measuring()
    quality = measured(LocalVoice.load(checkpoint, parts), takes, measuring)
    quality["device"] = config.device
    name = checkpoint_name(job.model, checkpoint.name)

    def finish() -> bool:
        return claim.finish(loss_curve=reporter.curves) and bool(
            VoiceModel.objects.filter(pk=job.model_id).update(
                status=VoiceModel.Status.READY, checkpoint=name, quality=quality
            )
        )

    deliver(claim, job.model.checkpoint.storage, name, checkpoint, finish)


def keep_sample(claim: Claim[TrainingJob], sound: Waveform, fraction: float) -> None:
    """Let the person hear what their voice is by now, in place of the last sample.

    Its fingerprint is kept as that of anything sung here, so that it is known if it is
    played into a microphone. Raises ClaimLost when the training must end.
    """
    from recordings.verification.fingerprint import fingerprint
    from voiceplatform.audio.files import write_wav

    mark = fingerprint(sound)
    sample = VoiceSample(job_id=claim.pk, fraction=fraction)
    name = sample_name(sample, "")

    def finish() -> bool:
        if not claim.keep():
            return False
        sample.audio.name = name
        sample.save()
        fingerprinting.store(sample, mark)
        VoiceSample.objects.filter(job=claim.pk).exclude(pk=sample.pk).delete()
        return True

    with tempfile.TemporaryDirectory(dir=scratch_dir()) as scratch:
        path = Path(scratch) / "sample.wav"
        write_wav(path, sound, "PCM_16")
        deliver(claim, sample.audio.storage, name, path, finish)


def measured(
    voice: LocalVoice,
    takes: list[Waveform],
    on_progress: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """What the quality card tells: what takes cover, how good copies of some are.

    The longest takes are said again by the voice. `similarity` is between who is heard
    in takes and copies (cosine of speaker embeddings), `takes_similarity` between each
    take and the others; `clarity` the share of the words heard in the takes that are
    heard in the copies too (Whisper tiny.en; None if the takes have none); `dnsmos` and
    `takes_dnsmos` the mean DNSMOS, 1 to 5. `on_progress` may raise to stop.
    """
    from voiceplatform.audio.speakers import similarity, speaker_embedding
    from voiceplatform.audio.waveform import Waveform
    from voiceplatform.audio.words import plain_words, transcribe, word_error_rate

    from .engine.features import extract
    from .engine.metrics import dnsmos

    longest = [
        Waveform(
            take.samples[:, : round(MEASURED_S * take.sample_rate_hz)],
            take.sample_rate_hz,
        )
        for take in sorted(takes, key=lambda take: take.duration_s)[-MEASURED_TAKES:]
    ]
    person = speaker_embedding(longest)
    likenesses, own_likenesses, errors = [], [], []
    natural: dict[str, list[float]] = {"dnsmos": [], "takes_dnsmos": []}
    for index, take in enumerate(longest):
        on_progress()
        copy = voice.sing(extract(take, encoder=voice.encoder))
        likenesses.append(similarity(copy, person))
        if others := longest[:index] + longest[index + 1 :]:
            own_likenesses.append(similarity(take, speaker_embedding(others)))
        on_progress()
        words = transcribe(take)
        if plain_words(words):
            errors.append(min(1.0, word_error_rate(transcribe(copy), words)))
        for name, sound in (("dnsmos", copy), ("takes_dnsmos", take)):
            if (guess := dnsmos(sound)) is not None:
                natural[name].append(guess)
    return {
        **voice.summary,
        "similarity": _mean(likenesses, 3),
        "takes_similarity": _mean(own_likenesses, 3),
        "clarity": _mean([1 - error for error in errors], 3),
        **{name: _mean(values, 2) for name, values in natural.items()},
    }


def _mean(values: Sequence[float], digits: int) -> float | None:
    return round(sum(values) / len(values), digits) if values else None


def check_voice(claim: Claim[TrainingJob], waveforms: Sequence[Waveform]) -> None:
    """Every take once more before any is learned from. Raises JobError naming them.

    Takes from before voiceprints were kept are listened to here.
    """
    from recordings.verification import speaker
    from voiceplatform.audio.waveform import AudioError

    if match := enrolling.may_train(claim.job.model.voice.user):
        raise JobError(enrolling.in_words(match))
    takes = list(takes_of(claim))
    prints = enrolling.voiceprints_of(takes)
    for take, waveform in zip(takes, waveforms, strict=True):
        if take.pk not in prints:
            claim.heartbeat("Reading your takes", READING_FRACTION)
            with suppress(AudioError):  # nobody is heard, as in some whispers
                prints[take.pk] = speaker.embed(waveform)
    if strange := enrolling.strangers(takes, prints):
        raise JobError(f"{strange_in_words(strange)} {TAKES_ARE_SAFE}")


def takes_of(claim: Claim[TrainingJob]) -> QuerySet[Recording]:
    return claim.job.model.recordings.select_related("prompt").order_by("pk")


def read_takes(claim: Claim[TrainingJob]) -> Iterator[Waveform]:
    from voiceplatform.audio.files import read_audio

    recordings = list(takes_of(claim))
    for index, recording in enumerate(recordings):
        claim.heartbeat(
            "Reading your takes", READING_FRACTION * index / len(recordings)
        )
        with recording.audio.open("rb") as file:
            yield read_audio(cast(BinaryIO, file))


class _Reporter:
    """Hands the engine's progress on to the row; raises ClaimLost to end it."""

    def __init__(self, claim: Claim[TrainingJob]) -> None:
        self.claim = claim
        self.curves: dict[str, list[list[float]]] = dict(claim.job.loss_curve)
        self.written_at = float("-inf")
        #: Of the whole, as told last.
        self.fraction = READING_FRACTION

    def __call__(self, progress: TrainingProgress) -> None:
        span = TRAINED_FRACTION - READING_FRACTION
        self.fraction = READING_FRACTION + span * progress.fraction
        fields = {}
        if progress.loss is not None:
            curve = self.curves.get(progress.stage, [])
            self.curves[progress.stage] = with_point(
                curve, progress.step, progress.loss
            )
            if time.monotonic() - self.written_at >= CURVE_INTERVAL_S:
                self.written_at = time.monotonic()
                fields = {"loss_curve": self.curves}
        self.claim.heartbeat(
            STAGES[progress.stage],
            self.fraction,
            progress.seconds_left,
            **fields,
        )


def with_point(curve: list[list[float]], step: int, loss: float) -> list[list[float]]:
    """The curve and one more point, thinned to every other one when it gets long.

    Points at or after `step` are from work that was lost, and are taken back.
    """
    kept = [point for point in curve if point[0] < step]
    kept.append([step, round(loss, 5)])
    return kept[:-1:2] + kept[-1:] if len(kept) > MAX_CURVE_POINTS else kept
