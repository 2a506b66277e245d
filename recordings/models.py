"""Scripts, microphones, sessions, live tickets, takes, and what was found in them."""

from __future__ import annotations

import uuid
from pathlib import PurePosixPath
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Count, F, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from consent.models import ConsentGrant, Erasure, HoldsFiles
from voiceplatform.jobs import Job, JobQuerySet

# Django looks for an app's tables here.
from .fingerprints import Fingerprint, FingerprintMark  # noqa: F401
from .pcm import PcmFormat

#: No take is longer than this, in seconds, whatever its prompt says.
LONGEST_TAKE_S = 120.0
#: Not even the shortest prompt is cut off before this, in seconds.
SHORTEST_LIMIT_S = 10.0


class ScriptQuerySet(models.QuerySet["Script"]):
    def active(self) -> Self:
        """Scripts a new session may be started with."""
        return self.filter(is_active=True).order_by("pk")

    def with_length(self) -> Self:
        """`n_prompts` in the script and `expected_s` to say them all."""
        script = ~Q(prompts__kind=Prompt.Kind.CONSENT)
        return self.annotate(
            n_prompts=Count("prompts", filter=script),
            expected_s=Coalesce(Sum("prompts__expected_s", filter=script), 0.0),
        )


class Script(models.Model):
    """What a person is asked to say and sing; rows, so another can be loaded."""

    slug = models.SlugField(unique=True)
    title = models.CharField(max_length=120)
    is_active = models.BooleanField(default=True)

    objects = ScriptQuerySet.as_manager()

    def __str__(self) -> str:
        return self.title


class PromptQuerySet(models.QuerySet["Prompt"]):
    def to_voice(self) -> Self:
        """The script itself: what a voice is made of."""
        return self.exclude(kind=Prompt.Kind.CONSENT)

    def to_consent(self) -> Self:
        """What is said first, before the script."""
        return self.filter(kind=Prompt.Kind.CONSENT)


class Prompt(models.Model):
    """One thing to say or sing, at its place in a script."""

    class Kind(models.TextChoices):
        CONSENT = "consent", "Spoken consent"
        SENTENCE = "sentence", "Sentence"
        QUESTION = "question", "Question"
        WHISPER = "whisper", "Whisper"
        SHOUT = "shout", "Shout"
        SCALE = "scale", "Sung scale"
        SIREN = "siren", "Siren"
        RAP = "rap", "Rap on a click"

    script = models.ForeignKey(Script, models.CASCADE, related_name="prompts")
    #: From 1; the spoken consent, which is not part of the script, has 0.
    position = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.SENTENCE)
    #: Of a spoken consent, a pattern: {name}, {date} and {words} are filled in.
    text = models.TextField()
    instruction = models.CharField(max_length=200, blank=True)
    #: About how long it takes, in seconds; a take may be three times as long.
    expected_s = models.FloatField(default=6.0)
    #: Clicks a minute heard in the headphones; for rap on a click.
    click_bpm = models.PositiveSmallIntegerField(null=True, blank=True)

    objects = PromptQuerySet.as_manager()

    class Meta:
        ordering = ["script", "position"]
        constraints = [
            models.UniqueConstraint(
                fields=["script", "position"], name="recordings_prompt_position"
            ),
            models.CheckConstraint(
                condition=Q(kind="consent", position=0)
                | (~Q(kind="consent") & Q(position__gt=0)),
                name="recordings_consent_comes_first",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.position}. {self.text[:40]}"

    @property
    def longest_s(self) -> float:
        """The longest take of this prompt that is accepted, in seconds."""
        return min(max(3 * self.expected_s, SHORTEST_LIMIT_S), LONGEST_TAKE_S)


class Microphone(models.Model):
    """An input device as the browser reports it; its id is hashed."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="microphones"
    )
    label = models.CharField(max_length=200)
    device_hash = models.CharField(max_length=64)
    settings = models.JSONField(default=dict)  # the track's own report
    #: What was found when it was last verified, and whether it may be recorded with.
    findings = models.JSONField(default=list)
    is_accepted = models.BooleanField(default=False)
    first_used_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "device_hash"], name="recordings_one_row_a_microphone"
            )
        ]

    def __str__(self) -> str:
        return self.label


class RecordingSessionQuerySet(models.QuerySet["RecordingSession"]):
    def visible_to(self, user) -> Self:
        return self.filter(grant__user=user)

    def permitted(self) -> Self:
        return self.filter(grant__withdrawn_at=None, grant__user__is_active=True)

    def with_progress(self) -> Self:
        """`prompts` in the script, `kept` ones, and their speech `kept_s`."""
        good = Q(
            ~Q(recordings__prompt__kind=Prompt.Kind.CONSENT),
            recordings__is_kept=True,
            recordings__verdict=Recording.Verdict.KEEP,
        )
        prompts = Prompt.objects.to_voice().filter(script=OuterRef("script"))
        return self.annotate(
            prompts=Subquery(
                prompts.order_by().values("script").values(total=Count("pk"))
            ),
            kept=Count("recordings", filter=good),
            kept_s=Coalesce(Sum("recordings__speech_s", filter=good), 0.0),
        )


class RecordingSession(models.Model):
    """One sitting at one microphone, under one open grant. Its user is the grant's."""

    grant = models.ForeignKey(
        ConsentGrant, models.CASCADE, related_name="recording_sessions"
    )
    script = models.ForeignKey(Script, models.PROTECT, related_name="sessions")
    microphone = models.ForeignKey(
        Microphone, models.CASCADE, null=True, related_name="sessions"
    )
    #: The microphone check: room noise and level in dBFS, clipping, advice.
    check_report = models.JSONField(default=dict)
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = RecordingSessionQuerySet.as_manager()

    class Meta:
        ordering = ["-started_at"]

    def __str__(self) -> str:
        return f"Session {self.pk} of {self.started_at:%Y-%m-%d}"


class LiveTicketQuerySet(models.QuerySet["LiveTicket"]):
    def visible_to(self, user) -> Self:
        return self.filter(session__grant__user=user)

    def permitted(self) -> Self:
        # Not by a join: an update would then test the ticket's own columns on a copy
        # read before it waited for the row, and PostgreSQL would let two pass.
        return self.filter(session__in=RecordingSession.objects.permitted())

    def open(self) -> Self:
        return self.filter(state=LiveTicket.State.OPEN)

    def expired(self) -> Self:
        return self.open().filter(expires_at__lte=timezone.now())

    def receiving(self) -> Self:
        """Tickets a chunk or the end of a take may still be written to."""
        return self.open().permitted().filter(expires_at__gt=timezone.now())


class LiveTicket(HoldsFiles):
    """Leave to stream one take of one prompt, once, now."""

    owner_path = "session__grant__user"

    class State(models.TextChoices):
        OPEN = "open", "Open"
        SPENT = "spent", "Spent"
        REFUSED = "refused", "Refused"
        EXPIRED = "expired", "Expired"

    class Encoding(models.TextChoices):
        FLOAT_32 = "f32le", "32-bit float, little-endian"
        INTEGER_16 = "s16le", "16-bit integer, little-endian"

    session = models.ForeignKey(
        RecordingSession, models.CASCADE, related_name="tickets"
    )
    prompt = models.ForeignKey(Prompt, models.CASCADE, related_name="+")
    token_hash = models.CharField(max_length=64, unique=True)
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    #: The code of what was wrong with the stream, if it was refused.
    refusal = models.CharField(max_length=40, blank=True)
    #: Names the directory its chunks wait in, on the web server's own disk.
    work_name = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    # Declared once, when the microphone starts, before the first chunk.
    encoding = models.CharField(max_length=5, choices=Encoding.choices, blank=True)
    sample_rate_hz = models.PositiveIntegerField(null=True)
    channels = models.PositiveSmallIntegerField(null=True)
    chunks = models.PositiveIntegerField(default=0)
    samples = models.PositiveIntegerField(default=0)  # per channel
    issued_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField()

    objects = LiveTicketQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["session"],
                condition=Q(state="open"),
                name="recordings_one_open_ticket_per_session",
            ),
            models.CheckConstraint(
                condition=Q(chunks=0) | Q(started_at__isnull=False),
                name="recordings_chunks_only_after_start",
            ),
        ]

    def __str__(self) -> str:
        return f"Ticket {self.pk} ({self.state})"

    @property
    def format(self) -> PcmFormat | None:
        """What the microphone delivers, once it has been declared."""
        if self.sample_rate_hz is None or self.channels is None:
            return None
        return PcmFormat(self.encoding, self.sample_rate_hz, self.channels)

    @property
    def received_s(self) -> float:
        """Seconds of sound received so far."""
        return self.samples / self.sample_rate_hz if self.sample_rate_hz else 0.0

    def held_items(self) -> list[tuple[str, str]]:
        if self.state != self.State.OPEN:
            return []
        return [(Erasure.Kind.WORK_DIRECTORY, f"live/{self.work_name}")]


def take_name(instance: Recording, filename: str) -> str:
    return f"takes/{uuid.uuid4()}.wav"


class RecordingQuerySet(models.QuerySet["Recording"]):
    def visible_to(self, user) -> Self:
        return self.filter(session__grant__user=user)

    def permitted(self) -> Self:
        return self.filter(
            session__grant__withdrawn_at=None, session__grant__user__is_active=True
        )

    def kept(self) -> Self:
        """The takes that may join a voice: the person's choice, and all checks passed.

        Not the spoken consent: it is evidence, and holds a name.
        """
        return self.filter(is_kept=True, verdict=Recording.Verdict.KEEP).exclude(
            prompt__kind=Prompt.Kind.CONSENT
        )

    def in_no_model(self) -> Self:
        """Takes no voice has heard."""
        return self.filter(training_samples=None)

    def total_s(self) -> float:
        return self.aggregate(total=Sum("speech_s"))["total"] or 0.0


class Recording(HoldsFiles):
    """One take of one prompt, as it came from the microphone at 44.1 kHz mono."""

    owner_path = "session__grant__user"

    class Verdict(models.TextChoices):
        CHECKING = "checking", "Being checked"
        KEEP = "keep", "Good take"
        RETAKE = "retake", "Please record again"
        REVIEW = "review", "A person looks at it"
        REFUSED = "refused", "Refused"

    session = models.ForeignKey(
        RecordingSession, models.CASCADE, related_name="recordings"
    )
    prompt = models.ForeignKey(Prompt, models.PROTECT, related_name="recordings")
    ticket = models.OneToOneField(LiveTicket, models.CASCADE, related_name="recording")
    audio = models.FileField(upload_to=take_name, max_length=200)
    sha256 = models.CharField(max_length=64)
    #: What the microphone delivered, before resampling.
    source_sample_rate_hz = models.PositiveIntegerField()
    source_channels = models.PositiveSmallIntegerField()
    duration_s = models.FloatField()
    speech_s = models.FloatField(default=0.0)
    #: level_dbfs, peak_dbfs, clipped_share, noise_floor_dbfs, snr_db, speech span...
    measurements = models.JSONField(default=dict)
    peaks = models.JSONField(default=list)
    verdict = models.CharField(max_length=8, choices=Verdict.choices)
    #: Why, and what to do, in words for the person.
    advice = models.TextField(blank=True)
    is_kept = models.BooleanField(default=True)
    recorded_at = models.DateTimeField(default=timezone.now)

    objects = RecordingQuerySet.as_manager()

    class Meta:
        ordering = ["prompt__position", "-recorded_at"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(audio=""), name="recordings_take_has_audio"
            ),
            models.CheckConstraint(
                condition=Q(speech_s__lte=F("duration_s")),
                name="recordings_speech_within_take",
            ),
            models.UniqueConstraint(
                fields=["session", "prompt"],
                condition=Q(is_kept=True),
                name="recordings_one_kept_take_per_prompt",
            ),
        ]

    def __str__(self) -> str:
        return f"Take {self.pk} of prompt {self.prompt_id}"

    @property
    def outline(self) -> list[float]:
        """The peaks drawn small: the highest of each of 32 stretches."""
        step = -(-len(self.peaks) // 32) or 1
        return [max(self.peaks[i : i + step]) for i in range(0, len(self.peaks), step)]

    @property
    def audio_id(self) -> str:
        """The name nobody can guess, under which the take's owner hears it."""
        return PurePosixPath(self.audio.name).stem


class SpokenConsentQuerySet(models.QuerySet["SpokenConsent"]):
    def visible_to(self, user) -> Self:
        return self.filter(session__grant__user=user)

    def accepted(self) -> Self:
        return self.filter(state=SpokenConsent.State.ACCEPTED)

    def standing(self) -> Self:
        """Accepted, under a grant that was not taken back."""
        return self.accepted().filter(
            session__grant__withdrawn_at=None, session__grant__user__is_active=True
        )


class SpokenConsent(models.Model):
    """The person's yes in their own voice: name, date, and words told that moment.

    One row is one challenge: its words are shown once the microphone runs, and count
    for the one take streamed under its ticket. The accepted one says whose voice every
    take of the session must be.
    """

    class State(models.TextChoices):
        OPEN = "open", "Open"
        REVEALED = "revealed", "Words shown"
        ACCEPTED = "accepted", "Accepted"
        FAILED = "failed", "Not accepted"

    session = models.ForeignKey(
        RecordingSession, models.CASCADE, related_name="spoken_consents"
    )
    ticket = models.OneToOneField(
        LiveTicket, models.CASCADE, related_name="spoken_consent"
    )
    #: Once accepted, the take it was heard in: without it nothing shows the consent,
    #: and the voice that was taken from it goes too.
    recording = models.OneToOneField(
        Recording,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="spoken_consent",
    )
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    #: What is to be said: their name, today, and the words nobody knew before.
    name = models.CharField(max_length=200)
    date = models.DateField()
    words = models.JSONField(default=list)
    issued_at = models.DateTimeField(default=timezone.now)
    revealed_at = models.DateTimeField(null=True, blank=True)
    #: How far into the take the words were shown, in seconds.
    revealed_s = models.FloatField(null=True, blank=True)
    accepted_at = models.DateTimeField(null=True, blank=True)
    #: Whose voice it is: 256 float32, little-endian, a unit vector (verification/).
    voiceprint = models.BinaryField(null=True)

    objects = SpokenConsentQuerySet.as_manager()

    class Meta:
        ordering = ["-issued_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["session"],
                condition=Q(state="accepted"),
                name="recordings_one_accepted_consent_per_session",
            ),
            models.CheckConstraint(
                condition=~Q(state="accepted")
                | Q(voiceprint__isnull=False, accepted_at__isnull=False),
                name="recordings_accepted_consent_has_a_voice",
            ),
            models.CheckConstraint(
                condition=Q(state="open")
                | Q(revealed_at__isnull=False)
                | Q(state="failed"),
                name="recordings_consent_words_were_shown",
            ),
        ]

    def __str__(self) -> str:
        return f"Spoken consent {self.pk} ({self.state})"


class AssessmentQuerySet(JobQuerySet["Assessment"]):
    def visible_to(self, user) -> Self:
        return self.filter(recording__session__grant__user=user)

    def permitted(self) -> Self:
        return self.filter(
            recording__in=Recording.objects.permitted(),
        )

    def awaiting_review(self) -> Self:
        """What a moderator is asked to decide."""
        return self.filter(outcome=Assessment.Outcome.REVIEW, decided_at=None)


class Assessment(Job):
    """All that verification found in one take, and what follows from it.

    The job runs the layers; a moderator may decide where it says "review".
    """

    task_name = "recordings.tasks.assess"
    cluster = "default"

    class Outcome(models.TextChoices):
        KEEP = "keep", "Keep"
        RETAKE = "retake", "Retake"
        REVIEW = "review", "Review"
        REFUSE = "refuse", "Refuse"

    class Label(models.TextChoices):
        MIC = "mic", "Live microphone"
        REPLAY = "replay", "Replayed recording"
        SYNTHETIC = "synthetic", "Synthetic voice"

    class Decision(models.TextChoices):
        APPROVED = "approved", "Approved"
        REJECTED = "rejected", "Rejected"

    recording = models.OneToOneField(
        Recording, models.CASCADE, related_name="assessment"
    )
    outcome = models.CharField(max_length=6, choices=Outcome.choices, blank=True)
    #: The rule that decided, or "good".
    reason = models.CharField(max_length=60, blank=True)
    #: Every measured value with its unit, threshold, outcome and version.
    findings = models.JSONField(default=list)
    heard = models.TextField(blank=True)
    label = models.CharField(max_length=9, choices=Label.choices, blank=True)
    confidence = models.FloatField(null=True, blank=True)
    scores = models.JSONField(default=dict)
    model_version = models.CharField(max_length=60, blank=True)
    fingerprint_digest = models.CharField(max_length=64, blank=True)
    #: Who is heard: 256 float32, little-endian, a unit vector (verification/).
    voiceprint = models.BinaryField(null=True)
    #: How long the layers took, in seconds.
    took_s = models.FloatField(null=True, blank=True)
    decision = models.CharField(max_length=8, choices=Decision.choices, blank=True)
    decision_reason = models.TextField(blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
    )
    decided_at = models.DateTimeField(null=True, blank=True)

    objects = AssessmentQuerySet.as_manager()

    class Meta:
        ordering = ["-queued_at"]
        constraints = [
            models.CheckConstraint(
                condition=~Q(status="done") | ~Q(outcome=""),
                name="recordings_done_assessment_has_outcome",
            ),
            models.CheckConstraint(
                condition=Q(decided_at=None, decision="")
                | (
                    Q(decided_at__isnull=False)
                    & ~Q(decision="")
                    & ~Q(decision_reason="")
                ),
                name="recordings_decision_has_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"Assessment of take {self.recording_id}"


class VoiceMatchQuerySet(models.QuerySet["VoiceMatch"]):
    def standing_in_the_way(self) -> Self:
        """Those whose user may not train."""
        return self.exclude(state=VoiceMatch.State.CLEARED)


class VoiceMatch(models.Model):
    """An account whose voice is like the enrolled voice of an earlier account."""

    class State(models.TextChoices):
        OPEN = "open", "Waiting for review"
        CLEARED = "cleared", "Two people, or one person's own accounts"
        UPHELD = "upheld", "Another person's voice"

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="voice_matches"
    )
    other = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="voice_matched_by"
    )
    spoken_consent = models.ForeignKey(
        SpokenConsent, models.CASCADE, related_name="voice_matches"
    )
    similarity = models.FloatField()  # cosine
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    found_at = models.DateTimeField(default=timezone.now)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
    )
    decision_reason = models.TextField(blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)

    objects = VoiceMatchQuerySet.as_manager()

    class Meta:
        ordering = ["-found_at"]
        verbose_name_plural = "voice matches"
        constraints = [
            models.UniqueConstraint(
                fields=["user", "other"], name="recordings_one_match_a_pair"
            ),
            models.CheckConstraint(
                condition=~Q(user=F("other")), name="recordings_match_of_two"
            ),
            models.CheckConstraint(
                condition=Q(state="open", decided_at=None)
                | (
                    ~Q(state="open")
                    & Q(decided_at__isnull=False)
                    & ~Q(decision_reason="")
                ),
                name="recordings_match_decision_has_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"Voice match {self.pk} ({self.state})"


class RecordingLock(models.Model):
    """No recording for a while: too much of what this account sent was refused."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="recording_locks"
    )
    locked_at = models.DateTimeField(default=timezone.now)
    until = models.DateTimeField()
    refusals = models.PositiveSmallIntegerField()
    lifted_at = models.DateTimeField(null=True, blank=True)
    lifted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
    )

    class Meta:
        ordering = ["-locked_at"]

    def __str__(self) -> str:
        return f"Lock until {self.until:%Y-%m-%d %H:%M}"
