"""A page that shows exactly what a deletion takes along, and then deletes it."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib import messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from consent import erasing

#: What people call the rows that a deletion may reach; others go unmentioned.
WORDS = {
    "recordings.Recording": ("take you recorded", "takes you recorded"),
    "voices.Voice": ("voice", "voices"),
    "voices.VoiceModel": ("trained voice model", "trained voice models"),
    "generation.Song": ("song", "songs"),
    "generation.Generation": ("sung take", "sung takes"),
    "generation.Mixdown": ("mix", "mixes"),
}


def confirm_deletion(
    request: HttpRequest,
    target: models.Model,
    *,
    name: str,
    reason: str,
    back: str,
    done: str,
) -> HttpResponse:
    """Show what goes with `target` (GET); delete it and give the receipt (POST).

    `name` is what its owner calls it; `back` and `done` are URLs.
    """
    if request.method == "POST":
        receipt = erasing.delete(target, user=request.user, reason=reason)
        messages.success(
            request, f"{name} is deleted. Your receipt is {receipt.reference}."
        )
        return redirect(done)
    preview = erasing.preview(target)
    going = [
        f"{count} {WORDS[label][count != 1]}"
        for label, count in preview.rows.items()
        if label in WORDS and not isinstance(target, apps.get_model(label))
    ]
    context: dict[str, Any] = {
        "name": name,
        "going": going,
        "files": preview.items,
        "back": back,
    }
    return render(request, "confirm_deletion.html", context)
