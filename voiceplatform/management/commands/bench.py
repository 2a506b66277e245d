from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

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


#: Seconds of takes that are learned from, and of the song that is sung from.
TAKES_S, SONG_S = 20.0, 10.0
#: The parts of the report, in their order.
PARTS = ("start-up", "pages", "sound", "checks", "voice")


class Command(BaseCommand):
    help = "Prints how long start-up, pages, sound and voices take on this machine."

    def add_arguments(self, parser):
        parser.error = _refuse
        parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
        parser.add_argument(
            "--repeats", type=int, default=3, help="of each stage of a voice"
        )
        parser.add_argument(
            "--json", nargs="?", const="-", help="the report: a file, or - for stdout"
        )

    def handle(self, **options):
        file = options["json"]
        if file not in (None, "-") and not Path(file).parent.is_dir():
            _refuse(f"there is no folder to write {file} in")
        if options["repeats"] < 1:
            _refuse("each stage has to be repeated at least once")
        self._table = file != "-"
        self._repeats = options["repeats"]
        measure = {
            "start-up": self._start_up,
            "pages": self._pages,
            "sound": self._sound,
            "checks": self._checks,
            "voice": self._voice,
        }
        report = {part: measure[part]() for part in PARTS if part in options["only"]}
        text = json.dumps(report, indent=2)
        if file == "-":
            self.stdout.write(text)
        elif file is not None:
            Path(file).write_text(text + "\n")

    def _start_up(self):
        took_ms = _start_up_ms()
        self._row("web start-up", f"{took_ms:.0f} ms")
        return {"milliseconds": took_ms}

    def _pages(self):
        report = {}
        for name, took_ms in _pages():
            self._row(f"page: {name}", f"{took_ms:.0f} ms")
            report[name] = {"milliseconds": took_ms}
        return report

    def _sound(self):
        report = {}
        for name, took_s in _sound():
            factor = took_s / SOUND_S
            self._row(name, f"{took_s:.2f} s, {factor:.3f} x real time")
            report[name] = {"seconds": took_s, "real_time_factor": factor}
        return report

    def _checks(self):
        report = {}
        for name, took_s in _verification():
            self._row(f"check of a take: {name}", f"{1000 * took_s:.0f} ms")
            report[name] = {"milliseconds": 1000 * took_s}
        return report

    def _voice(self):
        from voiceplatform.testing.voice_timing import (
            Sizes,
            compare,
            in_own_process,
            rows,
        )

        report = compare(
            _reading(TAKES_S, seed=0),
            _reading(SONG_S, seed=100),
            Sizes(repeats=self._repeats),
            run=in_own_process,
            on_progress=self._tell,
        )
        for name, figure in rows(report):
            self._row(name, figure)
        return report

    def _tell(self, what):
        self.stderr.write(f"{time.strftime('%H:%M:%S')} {what}")

    def _row(self, name, figure):
        if self._table:
            self.stdout.write(f"{name:<38} {figure}")
            self.stdout.flush()


def _refuse(message: str) -> NoReturn:
    sys.stderr.write(" ".join(message.split()) + "\n")
    sys.exit(2)


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


def _reading(duration_s: float, seed: int):
    """A synthetic voice that reads TEN_SECONDS over and over, never twice alike."""
    import numpy as np

    from recordings.verification.authenticity.synthesizers import hibari
    from voiceplatform.audio.resampling import resample
    from voiceplatform.audio.waveform import SAMPLE_RATE_HZ, Waveform

    n_samples = round(duration_s * SAMPLE_RATE_HZ)
    pieces = []
    while sum(map(len, pieces)) < n_samples:
        spoken = hibari(TEN_SECONDS, 0, seed + len(pieces))
        pieces.append(resample(spoken, SAMPLE_RATE_HZ).mono())
    return Waveform(np.concatenate(pieces)[:n_samples], SAMPLE_RATE_HZ)


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
