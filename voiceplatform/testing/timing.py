"""How long pages take with two hundred songs in the database."""

from __future__ import annotations

import statistics
import time
from typing import Any

from django.test import Client
from django.urls import reverse

from generation.models import Song

from . import factories

N_SONGS = 200
REPEATS = 9


def fill(user: Any) -> dict[str, str]:
    """Two hundred songs, a voice, takes and a mix; the pages to ask for, by name."""
    session = factories.make_session(user)
    takes = [factories.make_recording(user, session=session) for _ in range(12)]
    model = factories.make_voice_model(user, recordings=takes)
    generation = factories.make_generation(user, voice_model=model)
    for _ in range(4):
        factories.make_generation(user, song=generation.song, voice_model=model)
    factories.make_mixdown(user, generation=generation)
    Song.objects.bulk_create(
        Song(user=user, title=f"Song {number}", lyrics=factories.LYRICS)
        for number in range(N_SONGS - 1)
    )
    return {
        "home": reverse("home"),
        "Record": reverse("recordings:home"),
        "a session": reverse("recordings:session", args=[session.pk]),
        "voices": reverse("voices:list"),
        "a voice": reverse("voices:detail", args=[model.voice_id]),
        "songs": reverse("generation:song_list"),
        "a song": reverse("generation:song_detail", args=[generation.song_id]),
        "effects": reverse("fxchains:list"),
        "My data": reverse("consent:my_data"),
    }


def median_ms(client: Client, url: str) -> float:
    """Median milliseconds of answering the URL, after one that warms up."""
    times = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        response = client.get(url)
        times.append(1000 * (time.perf_counter() - started))
        assert response.status_code == 200, f"{url} answered {response.status_code}"
    return statistics.median(times[1:])
