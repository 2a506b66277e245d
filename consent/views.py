"""The consent statement, My data, deletions and their receipts."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.core.paginator import Paginator
from django.db.models import Count, Prefetch, Q, QuerySet, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from fxchains.models import FxChain
from generation.models import Generation, Mixdown, Song
from recordings.models import (
    Microphone,
    Recording,
    RecordingSession,
    SpokenConsent,
)
from voices import vendors
from voices.models import Voice, VoiceModel

from . import erasing, granting
from .forms import AgreeForm
from .models import (
    AuditEvent,
    ConsentGrant,
    ConsentStatement,
    Erasure,
    ErasureReceipt,
    Scope,
)
from .wording import actor_in_words, counts, event_in_words

#: Events and receipts on the page; the rest is in the export.
NEWEST = 50

SONGS_A_PAGE = 50


@login_required
@require_http_methods(["GET", "POST"])
def statement(request: HttpRequest) -> HttpResponse:
    """Read the words and agree to them, or see since when one does."""
    return _agree(request, Scope.CLONE_LOCAL, "", reverse("recordings:home"))


@login_required
@require_http_methods(["GET", "POST"])
def vendor_statement(request: HttpRequest, vendor: str) -> HttpResponse:
    """The same for one vendor that this site has an account at."""
    if not vendors.is_configured(vendor):
        raise Http404
    return _agree(request, Scope.CLONE_VENDOR, vendor, reverse("voices:list"))


def _agree(
    request: HttpRequest, scope: str, vendor: str, done_url: str
) -> HttpResponse:
    words = ConsentStatement.objects.for_scope(scope).first()
    if words is None:
        raise Http404("no statement is published: run manage.py seed")
    user: Any = request.user
    next_url = _next_url(request)
    form = AgreeForm(request.POST or None, legal_name=user.legal_name)
    if request.method == "POST" and form.is_valid():
        evidence = {
            "typed_name": form.cleaned_data["typed_name"],
            "user_agent": request.headers.get("User-Agent", "")[:300],
            "address": _address_digest(request),
        }
        try:
            granting.grant(user, scope, vendor=vendor, evidence=evidence)
        except granting.CannotGrant as error:
            form.add_error(None, str(error))
        else:
            return redirect(next_url or done_url)
    standing = ConsentGrant.objects.standing().visible_to(user)
    body = words.named_for(vendor) if vendor else words.body
    context = {
        "statement": words,
        "vendor": vendors.name_of(vendor) if vendor else "",
        "sections": [part.partition("\n")[::2] for part in body.split("\n\n")],
        "grant": granting.open_grant(user, scope, vendor),
        "has_older": standing.filter(scope=scope, vendor=vendor).exists(),
        "form": form,
        "next": next_url,
        "today": timezone.localdate(),
    }
    status = 422 if form.errors else 200
    return render(request, "consent/statement.html", context, status=status)


def _next_url(request: HttpRequest) -> str:
    url = request.POST.get("next") or request.GET.get("next") or ""
    is_ours = url_has_allowed_host_and_scheme(
        url, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return url if is_ours else ""


def _address_digest(request: HttpRequest) -> str:
    """Shows that two requests came from one address without telling which."""
    key = settings.SECRET_KEY.encode()
    address = request.META.get("REMOTE_ADDR", "").encode()
    return hmac.new(key, address, hashlib.sha256).hexdigest()


@login_required
@require_GET
def my_data(request: HttpRequest) -> HttpResponse:
    """Everything held about a person, and why."""
    user: Any = request.user
    takes = Recording.objects.select_related("prompt").defer("peaks", "measurements")
    models = (
        VoiceModel.objects.annotate(
            n_heard=Count("samples", distinct=True),
            n_sung=Count("generations", distinct=True),
        )
        .select_related("voice")
        .order_by("-created_at")
    )
    songs = (
        Song.objects.visible_to(user)
        .annotate(
            n_takes=Count("generations", distinct=True),
            n_mixes=Count("generations__mixdowns", distinct=True),
        )
        .defer("lyrics", "melody")
        .order_by("-updated_at", "-pk")
    )
    page = Paginator(songs, SONGS_A_PAGE).get_page(request.GET.get("page"))
    events = AuditEvent.objects.filter(subject=user.pseudonym).order_by("-sequence")
    context = {
        "grants": ConsentGrant.objects.visible_to(user).select_related(
            "statement", "erasure_receipt"
        ),
        "sessions": RecordingSession.objects.visible_to(user)
        .annotate(
            n_takes=Count("recordings"),
            speech_s=Sum("recordings__speech_s", default=0.0),
        )
        .select_related("script", "microphone")
        .prefetch_related(
            Prefetch("recordings", takes),
            Prefetch(
                "spoken_consents",
                SpokenConsent.objects.accepted().defer("voiceprint"),
                to_attr="consents",
            ),
        ),
        "microphones": Microphone.objects.filter(user=user).annotate(
            n_sessions=Count("sessions")
        ),
        "voices": Voice.objects.visible_to(user).prefetch_related(
            Prefetch("models", models)
        ),
        "songs": page.object_list,
        "page": page,
        "chains": FxChain.objects.owned_by(user).annotate(n_steps=Count("steps")),
        "receipts": ErasureReceipt.objects.filter(user=user).annotate(
            n_left=Count("items", filter=Q(items__erased_at=None))
        )[:NEWEST],
        "events": [
            {
                "at": event.at,
                "words": event_in_words(event),
                "by": actor_in_words(event, user.pseudonym),
            }
            for event in events[:NEWEST]
        ],
        "newest": NEWEST,
        "vendors_here": vendors.configured(),
    }
    return render(request, "consent/my_data.html", context)


#: What may be deleted from My data: the rows of one person, what goes on the receipt.
DELETABLE: dict[str, tuple[Any, str]] = {
    "take": (Recording.objects.visible_to, "Recordings deleted"),
    "session": (RecordingSession.objects.visible_to, "Recording session deleted"),
    "microphone": (
        lambda user: Microphone.objects.filter(user=user),
        "Microphone deleted, with what was recorded with it",
    ),
    "voice": (Voice.objects.visible_to, "Voice deleted"),
    "model": (VoiceModel.objects.visible_to, "Voice model deleted"),
    "song": (Song.objects.visible_to, "Song deleted"),
    "sung-take": (Generation.objects.visible_to, "Take deleted"),
    "mix": (Mixdown.objects.visible_to, "Mix deleted"),
    "chain": (FxChain.objects.owned_by, "Effect chain deleted"),
}


@login_required
@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, kind: str, pk: int) -> HttpResponse:
    """Show what goes with one thing; then delete it."""
    if kind not in DELETABLE:
        raise Http404
    rows, reason = DELETABLE[kind]
    row = get_object_or_404(rows(request.user), pk=pk)
    return _delete(request, [row], reason, f"Delete this {kind.replace('-', ' ')}?")


@login_required
@require_http_methods(["GET", "POST"])
def delete_everything(request: HttpRequest) -> HttpResponse:
    """Everything recorded and made; the account and the record of consent stay."""
    user: Any = request.user
    everything: list[QuerySet[Any]] = [
        RecordingSession.objects.visible_to(user),
        Microphone.objects.filter(user=user),
        Voice.objects.visible_to(user),
        Song.objects.visible_to(user),
        FxChain.objects.owned_by(user),
    ]
    return _delete(
        request, everything, "Everything deleted", "Delete everything you made?"
    )


def _delete(request: HttpRequest, rows: Any, reason: str, title: str) -> HttpResponse:
    if request.method == "POST":
        receipt = erasing.delete(rows, user=request.user, reason=reason)
        return redirect("consent:receipt", receipt.reference)
    context = {"title": title, "button": "Delete for good"}
    return _confirm(request, erasing.preview(rows), context)


@login_required
@require_http_methods(["GET", "POST"])
def withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    """Show what goes with a consent; then take it back."""
    grants = ConsentGrant.objects.visible_to(request.user)
    grant = get_object_or_404(grants.select_related("user"), pk=pk)
    if grant.withdrawn_at:
        messages.info(request, "This consent was withdrawn already.")
        return redirect("consent:my_data")
    if request.method == "POST":
        granting.withdraw(grant)
        messages.success(
            request,
            "Your consent is withdrawn. Work in progress stops now, and everything "
            "recorded and made under it is being deleted; the receipt appears here.",
        )
        return redirect("consent:my_data")
    context = {
        "title": "Withdraw your consent?",
        "button": "Withdraw and delete",
        "is_withdrawal": True,
    }
    return _confirm(request, granting.preview_withdrawal(grant), context)


def _confirm(
    request: HttpRequest, preview: erasing.Preview, context: dict[str, Any]
) -> HttpResponse:
    context |= {
        "preview": preview,
        "going": preview.going,
        "back": reverse("consent:my_data"),
    }
    return render(request, "consent/confirm.html", context)


@never_cache
@require_GET
def receipt(request: HttpRequest, reference: Any) -> HttpResponse:
    """What one deletion took along, and whether it is all gone.

    The receipt of a closed account has no owner left to sign in; whoever holds its
    unguessable reference may read it. It names nobody and nothing.
    """
    receipts = ErasureReceipt.objects.annotate(
        n_items=Count("items"), n_left=Count("items", filter=Q(items__erased_at=None))
    )
    found = receipts.filter(reference=reference).first()
    if found is None or found.user_id is not None:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        if found is None or found.user_id != request.user.pk:
            raise Http404
    at_vendors = found.items.filter(kind=Erasure.Kind.VENDOR_VOICE)
    context = {
        "receipt": found,
        "counts": counts(found.rows),
        "vendor_items": [
            {
                "vendor": vendors.name_of(item.target.split("/")[0]),
                "erased_at": item.erased_at,
                "attempts": item.attempts,
            }
            for item in at_vendors
        ],
    }
    return render(request, "consent/receipt.html", context)
