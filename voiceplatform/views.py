from dataclasses import dataclass

from django.db.models import Count, Q, Sum
from django.shortcuts import render
from django.views.decorators.http import require_GET

from consent.granting import open_grant
from generation.models import Generation, Song
from recordings.models import Recording
from voices.models import VoiceModel
from voices.training import MIN_SPEECH_S

from .jobs import Status


@require_GET
def home(request):
    if not request.user.is_authenticated:
        return render(request, "welcome.html")
    way = Way.of(request.user)
    songs = (
        Song.objects.visible_to(request.user)
        .annotate(
            n_takes=Count("generations", filter=Q(generations__status=Status.DONE))
        )
        .defer("lyrics", "melody")
        .order_by("-updated_at", "-pk")[:6]
    )
    latest = (
        Generation.objects.visible_to(request.user)
        .filter(status=Status.DONE)
        .for_page()
        .first()
    )
    context = {"way": way, "songs": songs, "latest": latest}
    return render(request, "home.html", context)


@dataclass(frozen=True)
class Way:
    """How far a person has come from the statement to a voice that sings."""

    has_agreed: bool
    n_takes: int
    speech_s: float
    is_training: bool
    has_voice: bool

    needed_s = MIN_SPEECH_S

    @classmethod
    def of(cls, user) -> "Way":
        takes = (
            Recording.objects.visible_to(user)
            .permitted()
            .kept()
            .aggregate(n=Count("pk"), speech_s=Sum("speech_s", default=0.0))
        )
        statuses = set(
            VoiceModel.objects.visible_to(user)
            .permitted()
            .order_by()
            .values_list("status", flat=True)
            .distinct()
        )
        return cls(
            has_agreed=open_grant(user) is not None,
            n_takes=takes["n"],
            speech_s=takes["speech_s"],
            is_training=VoiceModel.Status.TRAINING in statuses,
            has_voice=VoiceModel.Status.READY in statuses,
        )

    @property
    def has_enough(self) -> bool:
        return self.speech_s >= self.needed_s

    @property
    def next_step(self) -> str:
        """What to do now: consent, record, train, wait or sing."""
        if self.has_voice:
            return "sing"
        if self.is_training:
            return "wait"
        if self.has_enough:
            return "train"
        return "record" if self.has_agreed else "consent"


def not_found(request, exception):
    return render(request, "404.html", status=404)


def server_error(request):
    return render(request, "500.html", status=500)
