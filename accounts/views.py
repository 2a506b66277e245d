"""The account: name, API token, a copy of everything, closing it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from consent.models import ConsentGrant

from . import closing, exporting, naming, tokens
from .forms import CloseForm, NameForm
from .models import ApiToken


@login_required
@require_http_methods(["GET", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    form = NameForm(request.POST or None, initial={"legal_name": user.legal_name})
    if request.method == "POST" and form.is_valid():
        had_agreed = ConsentGrant.objects.open().visible_to(user).exists()
        if naming.change_legal_name(user, form.cleaned_data["legal_name"]):
            messages.success(request, "Your name is changed.")
            if had_agreed and not ConsentGrant.objects.open().visible_to(user).exists():
                messages.info(
                    request,
                    "Before you record more, agree to the consent statement under "
                    "your new name. What you recorded stays.",
                )
        return redirect("accounts:profile")
    return _profile(request, form, status=422 if form.errors else 200)


def _profile(
    request: HttpRequest, form: NameForm, *, key: str = "", status: int = 200
) -> HttpResponse:
    context = {
        "form": form,
        "token": ApiToken.objects.filter(user=request.user).first(),
        "key": key,
    }
    return render(request, "accounts/profile.html", context, status=status)


@login_required
@never_cache
@require_POST
def token_create(request: HttpRequest) -> HttpResponse:
    """Make a new key and show it, once.

    The one form here that answers with a page instead of a redirect: to show the key
    on the next page it would have to be put away somewhere in the meantime.
    """
    user: Any = request.user
    key = tokens.create(user)
    form = NameForm(initial={"legal_name": user.legal_name})
    return _profile(request, form, key=key)


@login_required
@require_POST
def token_revoke(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    if tokens.revoke(user):
        messages.success(request, "The API token is revoked and stopped working.")
    return redirect("accounts:profile")


@login_required
@require_POST
def export(request: HttpRequest) -> StreamingHttpResponse:
    user: Any = request.user
    response = StreamingHttpResponse(
        exporting.export(user), content_type="application/zip"
    )
    name = f"ownvoice-{timezone.localdate():%Y-%m-%d}.zip"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "no-store"
    return response


@sensitive_post_parameters("password")
@login_required
@require_http_methods(["GET", "POST"])
def close(request: HttpRequest) -> HttpResponse:
    """Show what goes with the account; ask for the password; delete all of it."""
    user: Any = request.user
    form = CloseForm(request.POST or None, user=user)
    if request.method == "POST" and form.is_valid():
        receipt = closing.close(user)
        logout(request)
        return redirect("consent:receipt", receipt.reference)
    preview = closing.preview(user)
    context = {
        "title": "Close your account?",
        "button": "Close the account and delete everything",
        "is_closing": True,
        "form": form,
        "preview": preview,
        "going": preview.going,
        "back": reverse("consent:my_data"),
    }
    status = 422 if form.errors else 200
    return render(request, "consent/confirm.html", context, status=status)
