from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from voiceplatform.deleting import confirm_deletion
from voiceplatform.media import serve_audio

from . import charging, choosing, training, vendors
from .forms import NewVoiceForm, TrainingForm
from .models import TrainingJob, Voice, VoiceModel, VoiceSample


@login_required
@require_http_methods(["GET", "POST"])
def voice_list(request):
    form = NewVoiceForm(request.POST or None, initial={"name": "My voice"})
    if request.method == "POST" and form.is_valid():
        try:
            job = training.start_training(request.user, **form.cleaned_data)
        except training.CannotTrain as error:
            form.add_error(None, str(error))
        else:
            return redirect("voices:detail", job.model.voice_id)
    context = {
        "voices": Voice.objects.visible_to(request.user).with_models(),
        "material": training.material(request.user),
        "form": form,
        **_engine_context(request.user),
    }
    status = 422 if form.errors else 200
    return render(request, "voices/voice_list.html", context, status=status)


@login_required
@require_GET
def voice_detail(request, pk):
    voices = Voice.objects.visible_to(request.user).with_models()
    voice = get_object_or_404(voices, pk=pk)
    context = {"voice": voice, "job": voice.latest_job}
    if request.htmx:
        response = render(request, "voices/voice_detail.html#progress", context)
        sample = voice.latest_job and voice.latest_job.latest_sample
        if sample and request.GET.get("sample") != str(sample.pk):
            # Only then: a sample that is being listened to is left alone.
            context["is_out_of_band"] = True
            template = "voices/voice_detail.html#sample"
            response.write(render_to_string(template, context, request))
        if not (voice.latest_job and voice.latest_job.in_progress):
            # It ended since the last look: the page around the progress is another.
            response["HX-Refresh"] = "true"
        return response
    context["material"] = training.material(request.user)
    context["form"] = TrainingForm()

    context |= _engine_context(request.user)
    context["is_resumable"] = (
        TrainingJob.objects.resumable().filter(model=voice.latest_model).exists()
    )
    return render(request, "voices/voice_detail.html", context)


def _engine_context(user):
    """What makes this person's next voice, why, and what else could."""
    return {
        "choice": choosing.choose(user),
        "engines": choosing.options(),
        "wanted": choosing.wanted_by(user),
        "spending": [
            {
                "name": vendors.name_of(slug),
                "used": charging.used_by(user, slug),
                "limit": settings.VENDOR_CREDITS_PER_USER,
            }
            for slug in vendors.configured()
        ],
    }


@login_required
@require_POST
def choose_engine(request):
    """Keep what the person chose; nothing is made or sent by it."""
    try:
        choosing.remember(request.user, request.POST.get("engine", ""))
    except choosing.UnknownEngine as error:
        messages.error(request, str(error))
    url = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(
        url, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return redirect(url if is_ours else "voices:list")


@login_required
@require_POST
def voice_train(request, pk):
    voice = get_object_or_404(Voice.objects.visible_to(request.user), pk=pk)
    form = TrainingForm(request.POST)
    if not form.is_valid():
        messages.error(request, " ".join(form.errors["preset"]))
        return redirect("voices:detail", voice.pk)
    try:
        training.start_training(request.user, voice=voice, **form.cleaned_data)
    except training.CannotTrain as error:
        messages.error(request, str(error))
    return redirect("voices:detail", voice.pk)


@login_required
@require_POST
def training_stop(request, pk):
    job = _own_job(request, pk)
    if training.stop_training(job):
        messages.success(
            request, "Training is stopping. What it has learned so far is kept."
        )
    return redirect("voices:detail", job.model.voice_id)


@login_required
@require_POST
def training_resume(request, pk):
    job = _own_job(request, pk)
    try:
        training.resume_training(job)
    except training.CannotTrain as error:
        messages.error(request, str(error))
    return redirect("voices:detail", job.model.voice_id)


@login_required
@require_http_methods(["GET", "POST"])
def voice_delete(request, pk):
    voice = get_object_or_404(Voice.objects.visible_to(request.user), pk=pk)
    return confirm_deletion(
        request,
        voice,
        name=f"“{voice.name}”",
        reason="Voice deleted",
        back=reverse("voices:detail", args=[voice.pk]),
        done=reverse("voices:list"),
    )


@login_required
@require_http_methods(["GET", "POST"])
def model_delete(request, pk):
    models = VoiceModel.objects.visible_to(request.user).select_related("voice")
    model = get_object_or_404(models, pk=pk)
    detail = reverse("voices:detail", args=[model.voice_id])
    return confirm_deletion(
        request,
        model,
        name=f"the version of “{model.voice.name}” of {model.created_at:%-d %B %Y}",
        reason="Voice model deleted",
        back=detail,
        done=detail,
    )


@login_required
@require_http_methods(["GET", "HEAD"])
def sample_audio(request, name):
    samples = VoiceSample.objects.visible_to(request.user)
    sample = get_object_or_404(samples, audio=f"samples/{name}.wav")
    return serve_audio(request, sample.audio)


def _own_job(request, pk):
    jobs = TrainingJob.objects.visible_to(request.user).select_related("model")
    return get_object_or_404(jobs, pk=pk)
