from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from voiceplatform.deleting import confirm_deletion
from voiceplatform.jobs import Status
from voiceplatform.media import serve_audio
from voices.models import VoiceModel

from . import mixing_down, rendering
from .forms import NewSongForm, SongForm
from .models import Generation, Mixdown, Song
from .scoring import CannotScore, score_of, syllables_by_line

SONGS_A_PAGE = 50


@login_required
@require_http_methods(["GET", "POST"])
def song_list(request):
    form = NewSongForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.instance.user = request.user
        song = form.save()
        return redirect("generation:song_detail", song.pk)
    songs = (
        Song.objects.visible_to(request.user)
        .annotate(
            n_takes=Count("generations", filter=Q(generations__status=Status.DONE))
        )
        .defer("lyrics", "melody")
        .order_by("-updated_at", "-pk")
    )
    status = 422 if form.errors else 200
    page = Paginator(songs, SONGS_A_PAGE).get_page(request.GET.get("page"))
    context = {"songs": page.object_list, "page": page, "form": form}
    return render(request, "generation/song_list.html", context, status=status)


@login_required
@require_http_methods(["GET", "POST"])
def song_detail(request, pk):
    song = get_object_or_404(Song.objects.visible_to(request.user), pk=pk)
    if request.method == "GET":
        return _render_song(request, song, SongForm(instance=song, user=request.user))
    action, _, target = request.POST.get("action", "save").partition(":")
    data = request.POST.copy()
    if action == "suggest":
        data["melody"] = ""
        song.melody_seed += 1
    # A mix needs no score: it is of a take that was sung already.
    form = SongForm(data, instance=song, user=request.user, is_scored=action != "mix")
    if not form.is_valid():
        return _render_song(request, song, form)
    _write_down(song, form)
    at = ""
    if action == "suggest":
        at = "#melody"
    elif action == "take":
        at = _ask_for_take(form)
    elif action == "mix":
        at = _ask_for_mix(request, song, target)
    if form.errors:
        return _render_song(request, song, form)
    if action == "save":
        messages.success(request, "Saved.")
    return redirect(reverse("generation:song_detail", args=[song.pk]) + at)


def _write_down(song, form):
    song.updated_at = timezone.now()
    fields = [name for name in form._meta.fields if name in form.cleaned_data]
    song.save(update_fields=[*fields, "melody_seed", "updated_at"])


def _ask_for_take(form):
    """Ask for it, or say on the form why not; returns where on the page it is."""
    voice_model = form.cleaned_data["voice_model"]
    if voice_model is None:
        form.add_error("voice_model", "Choose the voice that is to sing it.")
        return ""
    try:
        take = rendering.ask_for_take(form.instance, voice_model)
    except CannotScore as error:
        form.add_error(error.field, str(error))
    except rendering.CannotRender as error:
        form.add_error("voice_model", str(error))
    else:
        return f"#take-{take.pk}"
    return ""


def _ask_for_mix(request, song, target):
    takes = song.generations.filter(pk=int(target) if target.isdecimal() else 0)
    take = get_object_or_404(takes)
    try:
        mixing_down.ask_for_mix(take)
    except mixing_down.CannotMix as error:
        messages.error(request, str(error))
    return f"#take-{take.pk}"


def _render_song(request, song, form):
    takes = list(song.generations.for_page())
    in_progress = any(take.in_progress or take.is_mixing for take in takes)
    context = {
        "song": song,
        "form": form,
        "takes": takes,
        "in_progress": in_progress,
        "is_training": VoiceModel.objects.visible_to(request.user).training().exists(),
    } | _score_context(form.instance if not form.errors else None)
    status = 422 if form.errors else 200
    return render(request, "generation/song_detail.html", context, status=status)


def _score_context(song):
    """The lyric cut into syllables, or why it cannot be; nothing for no song."""
    if song is None or not song.lyrics.strip():
        return {}
    try:
        score = score_of(song)
    except CannotScore as error:
        return {"problem": str(error)}
    return {"score": score, "lines": syllables_by_line(score)}


@login_required
@require_POST
def song_lines(request, pk):
    """The syllables of what is being typed; nothing is saved."""
    song = get_object_or_404(Song.objects.visible_to(request.user), pk=pk)
    form = SongForm(request.POST, instance=song, user=request.user, is_scored=False)
    form.is_valid()
    unreadable = {"tempo_bpm", "tonic", "mode", "style"} & set(form.errors)
    context = _score_context(None if unreadable else form.instance)
    return render(request, "generation/song_detail.html#lines", context)


@login_required
@require_http_methods(["GET", "POST"])
def song_delete(request, pk):
    song = get_object_or_404(Song.objects.visible_to(request.user), pk=pk)
    return confirm_deletion(
        request,
        song,
        name=f"“{song.title}”",
        reason="Song deleted",
        back=reverse("generation:song_detail", args=[song.pk]),
        done=reverse("generation:song_list"),
    )


@login_required
@require_GET
def take_detail(request, pk):
    takes = Generation.objects.visible_to(request.user).for_page()
    take = get_object_or_404(takes, pk=pk)
    if not request.htmx:
        return redirect(_take_url(take))
    response = render(request, "generation/song_detail.html#take", {"take": take})
    if not (take.in_progress or take.is_mixing):
        # It ended since the last look: not its progress changes, all of it does.
        response["HX-Retarget"] = response["HX-Reselect"] = f"#take-{take.pk}"
    return response


@login_required
@require_POST
def take_stop(request, pk):
    take = get_object_or_404(Generation.objects.visible_to(request.user), pk=pk)
    Generation.objects.request_stop(take.pk)
    return redirect(_take_url(take))


@login_required
@require_http_methods(["GET", "POST"])
def take_delete(request, pk):
    takes = Generation.objects.visible_to(request.user).for_page()
    take = get_object_or_404(takes, pk=pk)
    return confirm_deletion(
        request,
        take,
        name=f"take {take.number} of “{take.song.title}”",
        reason="Take deleted",
        back=_take_url(take),
        done=reverse("generation:song_detail", args=[take.song_id]),
    )


@login_required
@require_POST
def mix_stop(request, pk):
    mixes = Mixdown.objects.visible_to(request.user).select_related("generation")
    mix = get_object_or_404(mixes, pk=pk)
    Mixdown.objects.request_stop(mix.pk)
    return redirect(_take_url(mix.generation))


@login_required
@require_http_methods(["GET", "HEAD"])
def vocal_audio(request, name):
    takes = Generation.objects.visible_to(request.user).select_related("song")
    take = get_object_or_404(takes, vocal=f"vocals/{name}.wav")
    return serve_audio(
        request, take.vocal, download_name=_download_name(request, take.song, "dry")
    )


@login_required
@require_http_methods(["GET", "HEAD"])
def mix_audio(request, name):
    mixes = Mixdown.objects.visible_to(request.user).select_related("generation__song")
    mix = get_object_or_404(mixes, audio=f"mixes/{name}.wav")
    song = mix.generation.song
    return serve_audio(
        request, mix.audio, download_name=_download_name(request, song, "mix")
    )


def _download_name(request, song, kind):
    return f"{song.title} ({kind}).wav" if "download" in request.GET else None


def _take_url(take):
    return reverse("generation:song_detail", args=[take.song_id]) + f"#take-{take.pk}"
