"""The pages of the Record room."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from consent.granting import ConsentNeeded, open_grant
from voiceplatform.deleting import confirm_deletion
from voiceplatform.media import serve_audio
from voices.training import MIN_SPEECH_S

from . import challenging, deleting, starting
from .models import Prompt, Recording, RecordingSession, Script
from .progress import ENOUGH_FOR_A_FIRST_VOICE, progress_of


@login_required
@require_GET
def home(request):
    """The Record room: go on, begin, or agree first."""
    sessions = (
        RecordingSession.objects.visible_to(request.user)
        .with_progress()
        .select_related("script", "microphone")
    )
    grant = open_grant(request.user)
    going_on = {
        session.script_id: session
        for session in reversed(sessions)
        if grant and session.grant_id == grant.pk and session.finished_at is None
    }
    scripts = [
        (script, going_on.get(script.pk))
        for script in Script.objects.active().with_length()
    ]
    return render(
        request,
        "recordings/home.html",
        {
            "grant": grant,
            "scripts": scripts,
            "sessions": sessions,
            "enough": ENOUGH_FOR_A_FIRST_VOICE,
        },
    )


@login_required
@require_POST
def session_begin(request, slug):
    script = get_object_or_404(Script.objects.active(), slug=slug)
    try:
        session = starting.begin(request.user, script, anew="anew" in request.POST)
    except ConsentNeeded:
        return redirect("consent:statement")
    return redirect("recordings:microphone", pk=session.pk)


@login_required
@require_GET
def microphone(request, pk):
    return render(
        request, "recordings/microphone.html", {"session": _session(request, pk)}
    )


@login_required
@require_GET
def spoken_consent(request, pk):
    """What is said aloud before the script; asks for itself while it is checked."""
    session = _session(request, pk)
    if session.finished_at is not None:
        return redirect("recordings:session", pk=pk)
    if session.microphone is None or not session.microphone.is_accepted:
        return redirect("recordings:microphone", pk=pk)
    prompt = challenging.prompt_of(session)
    before, after = challenging.sentence(
        prompt, name=request.user.legal_name, date=timezone.localdate()
    )
    spoken = challenging.latest(session)
    accepted = spoken if spoken and spoken.state == spoken.State.ACCEPTED else None
    take = spoken.ticket.recording if spoken and not accepted else None
    assessment = getattr(take, "assessment", None)
    template = "recordings/consent.html"
    if request.htmx:
        template += "#room"
    context = {
        "session": session,
        "prompt": prompt,
        "before": before,
        "after": after,
        "accepted": accepted,
        "take": take,
        "heard": assessment.heard if assessment else "",
        "is_checking": take is not None and take.verdict == take.Verdict.CHECKING,
    }
    return render(request, template, context)


@login_required
@require_GET
def session(request, pk):
    session = _session(request, pk)
    if challenging.is_needed(session):
        return redirect("recordings:spoken_consent", pk=pk)
    asked = request.GET.get("prompt", "")
    try:
        progress = progress_of(session, int(asked) if asked.isdecimal() else None)
    except Prompt.DoesNotExist:
        raise Http404 from None
    template = "recordings/session.html"
    if request.htmx:
        template += "#room"
    context = {
        "session": session,
        "progress": progress,
        "is_enough": progress.kept >= progress.first_voice_needs
        and progress.speech_s >= MIN_SPEECH_S,
    }
    return render(request, template, context)


@login_required
@require_http_methods(["GET", "POST"])
def session_delete(request, pk):
    session = _session(request, pk)
    return confirm_deletion(
        request,
        session,
        name=f"The session of {session.started_at:%-d %B %Y}",
        reason=deleting.SESSION,
        back=reverse("recordings:home"),
        done=reverse("recordings:home"),
    )


@login_required
@require_GET
def take(request, pk):
    """One take's card, which asks for itself until the take has its verdict."""
    takes = Recording.objects.visible_to(request.user)
    found = get_object_or_404(takes.select_related("prompt", "assessment"), pk=pk)
    if not request.htmx:
        page = reverse("recordings:session", args=[found.session_id])
        return redirect(f"{page}?prompt={found.prompt_id}")
    response = render(request, "recordings/session.html#take", {"take": found})
    if found.verdict != Recording.Verdict.CHECKING:
        response["HX-Trigger-After-Settle"] = "take-settled"
    return response


@login_required
@require_http_methods(["GET", "POST"])
def take_delete(request, pk):
    takes = Recording.objects.visible_to(request.user)
    take = get_object_or_404(takes.select_related("prompt"), pk=pk)
    page = reverse("recordings:session", args=[take.session_id])
    return confirm_deletion(
        request,
        take,
        name=f"The take of prompt {take.prompt.position}",
        reason=deleting.TAKES,
        back=f"{page}?prompt={take.prompt_id}",
        done=f"{page}?prompt={take.prompt_id}",
    )


@login_required
@require_GET
def take_audio(request, name):
    take = get_object_or_404(
        Recording.objects.visible_to(request.user), audio=f"takes/{name}.wav"
    )
    return serve_audio(request, take.audio)


def _session(request, pk) -> Any:
    sessions = RecordingSession.objects.visible_to(request.user)
    return get_object_or_404(
        sessions.select_related("script", "grant__user", "microphone"), pk=pk
    )
