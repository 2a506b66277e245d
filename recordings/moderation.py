"""The review queue in the admin: what was found in a take, and a moderator's decision.

Staff see a take as pictures and figures. They hear it only after saying so, and that
is in the audit log before the sound is.
"""

from __future__ import annotations

from django import forms
from django.contrib import admin, messages
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_GET, require_POST

from voiceplatform.media import serve_audio

from . import enrolling, locking, reviewing
from .fingerprints import SOUNDS
from .models import Assessment, Fingerprint, RecordingLock, SpokenConsent, VoiceMatch

#: A page that was let to play a take may do so for this long, in seconds.
HEARD_FOR_S = 600
SALT = "recordings.moderation.hear"


class Evidence(admin.ModelAdmin):
    def has_add_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        # It goes with its take or account; without this the admin would refuse those.
        return super().has_delete_permission(request, obj)

    def get_actions(self, request):
        return {}

    def delete_view(self, request, object_id, extra_context=None):
        raise PermissionDenied


class DecisionForm(forms.Form):
    reason = forms.CharField(
        max_length=1000, widget=forms.Textarea(attrs={"rows": 3, "cols": 80})
    )


class WaitingFilter(admin.SimpleListFilter):
    """Opens on what waits for a decision."""

    title = "decision"
    parameter_name = "waiting"

    def lookups(self, request, model_admin):
        return [("all", "All"), ("decided", "Decided"), ("refused", "Refused")]

    def choices(self, changelist):
        yield {
            "selected": self.value() is None,
            "query_string": changelist.get_query_string(remove=["waiting"]),
            "display": "Waiting for a decision",
        }
        for value, title in self.lookup_choices:
            yield {
                "selected": self.value() == value,
                "query_string": changelist.get_query_string({"waiting": value}),
                "display": title,
            }

    def queryset(self, request, queryset):
        match self.value():
            case "all":
                return queryset
            case "decided":
                return queryset.exclude(decided_at=None)
            case "refused":
                return queryset.filter(outcome=Assessment.Outcome.REFUSE)
        return queryset.awaiting_review()


@admin.register(Assessment)
class AssessmentAdmin(Evidence):
    list_display = (
        *("recording", "person", "prompt_kind", "outcome", "reason"),
        *("label", "confidence", "decision", "queued_at"),
    )
    list_filter = (WaitingFilter, "outcome", "label", "recording__prompt__kind")
    list_select_related = ("recording__session__grant__user", "recording__prompt")
    search_fields = ("recording__session__grant__user__email", "recording__sha256")
    date_hierarchy = "queued_at"
    change_form_template = "admin/recordings/assessment/review.html"
    fields = ("status", "error", "took_s", "attempt", "queued_at", "finished_at")

    def has_change_permission(self, request, obj=None):
        """Nothing on the row is edited; the permission is to decide."""
        return False

    def may_decide(self, request):
        return request.user.has_perm("recordings.change_assessment")

    @admin.display(ordering="recording__session__grant__user__email")
    def person(self, assessment):
        return assessment.recording.session.grant.user

    @admin.display(description="prompt")
    def prompt_kind(self, assessment):
        return assessment.recording.prompt.get_kind_display()

    def get_urls(self):
        def named(view):
            return f"recordings_assessment_{view.__name__}"

        pages = (self.decide, self.hear, self.sound, self.spectrogram)
        return [
            path(
                f"<int:pk>/{page.__name__}/",
                self.admin_site.admin_view(page),
                name=named(page),
            )
            for page in pages
        ] + super().get_urls()

    def change_view(self, request, object_id, form_url="", extra_context=None):
        found = self.get_object(request, object_id)
        context = dict(extra_context or {})
        if found is not None:
            take = found.recording
            is_open = found.outcome in reviewing.REVIEWABLE and not found.decided_at
            context |= {
                "assessment": found,
                "take": take,
                "user_of_take": take.session.grant.user,
                "spoken": SpokenConsent.objects.filter(ticket=take.ticket_id).first(),
                "findings": sorted(
                    found.findings, key=lambda finding: finding["outcome"] == "keep"
                ),
                "form": DecisionForm(),
                "can_decide": is_open and self.may_decide(request),
                "pass": request.GET.get("pass", ""),
            }
        return super().change_view(request, object_id, form_url, context)

    @method_decorator(require_POST)
    def decide(self, request, pk):
        if not self.may_decide(request):
            raise PermissionDenied
        assessment = get_object_or_404(Assessment, pk=pk)
        form = DecisionForm(request.POST)
        try:
            if not form.is_valid():
                raise reviewing.CannotDecide("Say why, in at most 1000 characters.")
            decide = (
                reviewing.approve if "approve" in request.POST else reviewing.reject
            )
            decide(assessment, reason=form.cleaned_data["reason"], actor=request.user)
        except reviewing.CannotDecide as refusal:
            messages.error(request, str(refusal))
            return redirect("admin:recordings_assessment_change", pk)
        messages.success(request, "Decided. The person sees it beside their take.")
        return redirect("admin:recordings_assessment_changelist")

    @method_decorator(require_POST)
    def hear(self, request, pk):
        assessment = self._viewed(request, pk)
        reviewing.note_listening(assessment, actor=request.user)
        ticket = signing.dumps([request.user.pk, pk], salt=SALT)
        page = reverse("admin:recordings_assessment_change", args=[pk])
        return redirect(f"{page}?pass={ticket}#sound")

    @method_decorator(require_GET)
    def sound(self, request, pk):
        assessment = self._viewed(request, pk)
        try:
            told = signing.loads(
                request.GET.get("pass", ""), salt=SALT, max_age=HEARD_FOR_S
            )
        except signing.BadSignature:
            raise PermissionDenied("Ask to hear the take first.") from None
        if told != [request.user.pk, pk]:
            raise PermissionDenied("Ask to hear the take first.")
        return serve_audio(request, assessment.recording.audio)

    @method_decorator(require_GET)
    def spectrogram(self, request, pk):
        from voiceplatform.audio.files import read_audio
        from voiceplatform.audio.spectrogram import png

        audio = self._viewed(request, pk).recording.audio
        try:
            with audio.open("rb") as file:
                picture = png(read_audio(file))
        except FileNotFoundError:
            raise Http404("This sound is gone.") from None
        response = HttpResponse(picture, content_type="image/png")
        response["Cache-Control"] = "private, no-store"
        return response

    def _viewed(self, request, pk):
        if not self.has_view_permission(request):
            raise PermissionDenied
        assessments = Assessment.objects.select_related(
            "recording__session__grant__user"
        )
        return get_object_or_404(assessments, pk=pk)


@admin.register(SpokenConsent)
class SpokenConsentAdmin(Evidence):
    list_display = ("pk", "person", "state", "date", "issued_at", "accepted_at")
    list_filter = ("state",)
    list_select_related = ("session__grant__user",)
    search_fields = ("session__grant__user__email",)
    date_hierarchy = "issued_at"
    exclude = ("voiceprint",)

    def has_change_permission(self, request, obj=None):
        return False

    @admin.display(ordering="session__grant__user__email")
    def person(self, spoken):
        return spoken.session.grant.user


@admin.register(Fingerprint)
class FingerprintAdmin(Evidence):
    """What takes and songs are known again by; the peaks themselves are no reading."""

    list_display = ("digest", "version", *SOUNDS)
    list_filter = ("version",)
    search_fields = ("=digest",)
    date_hierarchy = "made_at"
    exclude = ("peaks",)

    def has_change_permission(self, request, obj=None):
        return False


class MatchForm(forms.ModelForm):
    class Meta:
        model = VoiceMatch
        fields = ()

    decision = forms.ChoiceField(
        choices=[
            ("", "No decision yet"),
            ("cleared", "Cleared: they may train"),
            ("upheld", "Upheld: they may not"),
        ],
        required=False,
    )
    reason = forms.CharField(max_length=1000, required=False, widget=forms.Textarea)

    def clean(self):
        told = super().clean()
        if told.get("decision") and not (told.get("reason") or "").strip():
            raise forms.ValidationError("Say why: the decision is kept with it.")
        return told


@admin.register(VoiceMatch)
class VoiceMatchAdmin(Evidence):
    list_display = ("pk", "user", "other", "similarity", "state", "found_at")
    list_filter = ("state",)
    list_select_related = ("user", "other")
    search_fields = ("user__email", "other__email")
    date_hierarchy = "found_at"
    form = MatchForm
    readonly_fields = (
        *("user", "other", "similarity", "state", "found_at"),
        *("decided_by", "decided_at", "decision_reason"),
    )
    fields = (*readonly_fields, "decision", "reason")

    def get_fields(self, request, obj=None):
        if not self.has_change_permission(request, obj):
            return self.readonly_fields
        return self.fields

    def save_model(self, request, obj, form, change):
        decision = form.cleaned_data["decision"]
        if not decision:
            return
        try:
            enrolling.decide(
                obj,
                cleared=decision == "cleared",
                reason=form.cleaned_data["reason"],
                actor=request.user,
            )
        except enrolling.CannotDecide as refusal:
            messages.error(request, str(refusal))


@admin.register(RecordingLock)
class RecordingLockAdmin(Evidence):
    list_display = ("user", "locked_at", "until", "refusals", "lifted_at")
    list_filter = (("lifted_at", admin.EmptyFieldListFilter),)
    list_select_related = ("user",)
    search_fields = ("user__email",)
    date_hierarchy = "locked_at"
    actions = ("lift",)

    def has_change_permission(self, request, obj=None):
        return False

    def get_actions(self, request):
        if not request.user.has_perm("recordings.change_recordinglock"):
            return {}
        return {"lift": self.get_action("lift")}

    @admin.action(description="Lift the selected locks")
    def lift(self, request, queryset):
        lifted = sum(
            locking.lift(lock, actor=request.user)
            for lock in queryset.select_related("user")
        )
        messages.success(request, f"{lifted} lifted.")
