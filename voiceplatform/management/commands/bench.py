from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connection
from django.test import Client, override_settings

#: What a voice says in about ten seconds.
TEN_SECONDS = (
    "The early train rolled slowly out of the valley, past orchards, bridges and "
    "sleeping farms, and nobody on board had spoken a word since the last station, "
    "where the old conductor had waved to us."
)
#: Seconds of sound the effects and the mix are timed on.
SOUND_S = 30.0


class Command(BaseCommand):
    help = "Prints how long start-up, pages and sound take on this machine."

    def handle(self, **options):
        self._row("web start-up", f"{_start_up_ms():.0f} ms")
        for name, took_ms in _pages():
            self._row(f"page: {name}", f"{took_ms:.0f} ms")
        for name, took_s in _sound():
            self._row(name, f"{took_s:.2f} s, {took_s / SOUND_S:.3f} x real time")
        for name, took_s in _verification():
            self._row(f"check of a take: {name}", f"{1000 * took_s:.0f} ms")

    def _row(self, name, figure):
        self.stdout.write(f"{name:<28}{figure:>28}")
        self.stdout.flush()


def _start_up_ms() -> float:
    """Until the server could answer: a fresh interpreter loads the application."""
    code = (
        "from voiceplatform.wsgi import application\n"
        "from django.urls import get_resolver\n"
        "get_resolver().url_patterns\n"
    )
    times = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            cwd=settings.BASE_DIR,
            check=True,
        )
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def _pages():
    """Median answers with two hundred songs, in a database made for it and dropped."""
    from voiceplatform.testing.people import make_user
    from voiceplatform.testing.timing import fill, median_ms

    name = connection.creation.create_test_db(verbosity=0, serialize=False)
    plain = "django.contrib.staticfiles.storage.StaticFilesStorage"
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            override_settings(
                MEDIA_ROOT=Path(folder) / "media",
                STATIC_ROOT=folder,
                STORAGES=settings.STORAGES | {"staticfiles": {"BACKEND": plain}},
                ALLOWED_HOSTS=["testserver"],
                SECURE_SSL_REDIRECT=False,
            ),
        ):
            user = make_user()
            client = Client()
            client.force_login(
                user, backend="django.contrib.auth.backends.ModelBackend"
            )
            pages = fill(user)
            for page, url in pages.items():
                yield page, median_ms(client, url)
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)


def _verification():
    """Each layer on a read take of ten seconds, and all as a worker runs them."""
    from recordings import assessing
    from recordings.verification import fingerprint, signal, speaker, words
    from recordings.verification.authenticity import inference
    from recordings.verification.authenticity.synthesizers import hibari
    from voiceplatform.audio.resampling import resample

    assessing.load_models()
    take = resample(hibari(TEN_SECONDS, 0, 0))
    layers = {
        "signal": lambda: signal.measure(take, text=TEN_SECONDS),
        "fingerprint": lambda: fingerprint.fingerprint(take),
        "words": lambda: words.hear(take),
        "speaker": lambda: speaker.hear(take),
        "authenticity": lambda: inference.classify(take),
        "all layers": lambda: assessing.run_layers(take, text=TEN_SECONDS),
    }
    for name, run in layers.items():
        times = []
        for _ in range(5):
            started = time.perf_counter()
            run()
            times.append(time.perf_counter() - started)
        yield f"{name} ({take.duration_s:.0f} s)", statistics.median(times)


def _sound():
    """The preset with most to do, a beat and a mix, on half a minute of sound."""
    from fxchains.effects.rendering import render_chain
    from fxchains.presets import PRESETS
    from generation.mixing import mix
    from generation.music.beats import BUILT_IN_BEATS, render_beat
    from voiceplatform.testing.factories import make_tone

    vocal = make_tone(SOUND_S)
    longest = max(PRESETS, key=lambda preset: len(preset.steps))
    started = time.perf_counter()
    wet = render_chain(longest.steps, vocal, tempo_bpm=120)
    yield f"effects: {longest.name}", time.perf_counter() - started
    slug = next(iter(BUILT_IN_BEATS))
    started = time.perf_counter()
    # At 120 beats a minute a bar of four lasts two seconds.
    beat = render_beat(slug, tempo_bpm=120, n_bars=round(SOUND_S / 2))
    yield f"beat: {slug}", time.perf_counter() - started
    started = time.perf_counter()
    mix(wet, beat, vocal_gain_db=0.0, beat_gain_db=-3.0)
    yield "mix to loudness", time.perf_counter() - started
