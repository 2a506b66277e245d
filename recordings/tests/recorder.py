"""Pages of the recorder, and waiting for its states."""

from __future__ import annotations

from django.urls import reverse


def page_of(session):
    return reverse("recordings:session", args=[session.pk])


def check_page_of(session):
    return reverse("recordings:microphone", args=[session.pk])


def wait_for_state(page, state):
    page.wait_for_selector(f'[data-recorder][data-state="{state}"]', timeout=20_000)
