"""Public sets of speech and singing in their own layouts, to train a base on.

None of them is needed, fetched or shipped by this project: an operator who has one
names its folder, and a reader here turns it into rows. Every row carries the licence of
its set, which `train_base` writes into the weights. What is there is taken, even if it
is not all of the set: they come in parts.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from voiceplatform.audio.waveform import AudioError

Style = Literal["speech", "sung"]
#: Of a folder that is no set known here: see `read_folder`.
UNKNOWN_LICENCE = "licence not known to this program"


class DatasetError(AudioError):
    """A data set's folder, or what was asked of it, is not as it should be."""


@dataclass(frozen=True)
class Clip:
    """One sound file of one person.

    `speaker` is "SET/NAME": nobody of one set is taken for somebody of another.
    `licence` says under which terms, and whom to credit.
    """

    path: Path
    speaker: str
    style: Style
    licence: str

    @property
    def dataset(self) -> str:
        return self.speaker.partition("/")[0]


def read_dataset(source: str) -> list[Clip]:
    """The rows of a public set, named as "vctk:FOLDER".

    The folder is the one the set unpacks to, or the one above it. Raises DatasetError
    for an unknown name, or a folder not laid out like that set.
    """
    name, colon, folder = source.partition(":")
    known = DATASETS.get(name)
    if known is None or not colon:
        raise DatasetError(
            f"{source!r} is not NAME:FOLDER with a name of {', '.join(DATASETS)}"
        )
    root = _existing(Path(folder))
    clips = list(known.read(root))
    if not clips:
        raise DatasetError(
            f"{root} holds no sound of {name}, which would be at {known.layout}"
        )
    return clips


def read_folder(root: Path) -> list[Clip]:
    """FLAC and WAV files right in `root`, named SPEAKER-anything; speech of set "own".

    Raises DatasetError if there are none.
    """
    clips = [
        Clip(path, f"own/{path.stem.split('-')[0]}", "speech", UNKNOWN_LICENCE)
        for path in _sounds(_existing(root).glob("*"))
    ]
    if not clips:
        raise DatasetError(f"{root} holds no FLAC or WAV file")
    return clips


def without(clips: Iterable[Clip], held_out: Iterable[str]) -> list[Clip]:
    """The rows of everybody but these speakers.

    Raises DatasetError for a speaker of whom there is no row: a misspelt name would
    train on somebody who was to be kept for judging.
    """
    rows, names = list(clips), set(held_out)
    there = sorted({clip.speaker for clip in rows})
    if missing := sorted(names - set(there)):
        raise DatasetError(
            f"there is no speaker {', '.join(missing)} to hold out; "
            f"those there are: {', '.join(there[:3])} and so on"
        )
    return [clip for clip in rows if clip.speaker not in names]


def limited(clips: Iterable[Clip], minutes: float, seed: int) -> list[Clip]:
    """At most this many minutes of each speaker, drawn from all of theirs by `seed`.

    Nobody is lost: of a speaker whose every file is longer, one is kept. The rows keep
    their order. Raises DatasetError for a file whose length cannot be read.
    """
    by_speaker: dict[str, list[int]] = defaultdict(list)
    rows = list(clips)
    for index, clip in enumerate(rows):
        by_speaker[clip.speaker].append(index)
    kept: list[int] = []
    for number, speaker in enumerate(sorted(by_speaker)):
        random = np.random.default_rng([seed, number])
        left_s = minutes * 60
        chosen: list[int] = []
        for index in random.permutation(by_speaker[speaker]):
            left_s -= duration_s(rows[index].path)
            if left_s < 0 and chosen:
                break
            chosen.append(int(index))
        kept += chosen
    return [rows[index] for index in sorted(kept)]


def vctk(root: Path) -> Iterator[Clip]:
    """CSTR VCTK (Yamagishi, Veaux, MacDonald 2019): 110 readers of English, 48 kHz.

    Version 0.92 (doi 10.7488/ds/2645) has wav48_silence_trimmed/p225/p225_001_mic2.flac
    and the same sentence by _mic1; the second microphone is taken, a condenser of wide
    band, but of p280 and p315, whom it failed, the first. Version 0.80 has
    wav48/p225/p225_001.wav and another licence.
    """
    newer = "CC BY 4.0, Yamagishi, Veaux and MacDonald 2019 (VCTK 0.92)"
    older = "ODC-By 1.0, Veaux, Yamagishi and MacDonald 2012 (VCTK 0.80)"
    name = re.compile(r"([ps]\d+)_\d+(_mic[12])?")
    for part, licence in (("wav48_silence_trimmed", newer), ("wav48", older)):
        sentences: dict[str, Path] = {}
        for folder in _folders(root, part):
            # In this order the second microphone of a sentence replaces the first.
            for path in _sounds(folder.glob("*/*")):
                match = name.fullmatch(path.stem)
                if match and match[1] == path.parent.name:
                    sentences[path.stem.partition("_mic")[0]] = path
        for path in sentences.values():
            yield Clip(path, f"vctk/{path.parent.name}", "speech", licence)
        if sentences:
            return


def libritts(root: Path) -> Iterator[Clip]:
    """LibriTTS (Zen et al. 2019, OpenSLR 60) or LibriTTS-R (141): English, 24 kHz.

    SUBSET/SPEAKER/CHAPTER/SPEAKER_CHAPTER_PARAGRAPH_SENTENCE.wav, for example
    train-clean-100/19/198/19_198_000000_000000.wav. Its readers are LibriSpeech's, by
    the same numbers: hold one out of both.
    """
    licence = "CC BY 4.0, Zen et al. 2019 (LibriTTS)"
    name = re.compile(r"(\d+)_(\d+)_\d+_\d+")
    for path in _sounds(root.rglob("*")):
        match = name.fullmatch(path.stem)
        if match and _ends(path, match[1], match[2]):
            yield Clip(path, f"libritts/{match[1]}", "speech", licence)


def librispeech(root: Path) -> Iterator[Clip]:
    """LibriSpeech (Panayotov et al. 2015, OpenSLR 12): readers of English, 16 kHz.

    SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac, or such files in one folder.
    """
    licence = "CC BY 4.0, Panayotov, Chen, Povey and Khudanpur 2015 (LibriSpeech)"
    name = re.compile(r"(\d+)-(\d+)-\d+")
    for path in _sounds(root.rglob("*")):
        match = name.fullmatch(path.stem)
        if match and (_ends(path, match[1], match[2]) or path.parent == root):
            yield Clip(path, f"librispeech/{match[1]}", "speech", licence)


def openslr(root: Path) -> Iterator[Clip]:
    """The crowdsourced sets of Google at OpenSLR, in some 30 languages.

    High-quality ones at 48 kHz (OpenSLR 32, 41-44, 61, 63-66, 69-80, 83, 86): one or
    more line_index*.tsv or .csv, of whose columns one is the name of a file without its
    suffix, LOCALE_SPEAKER_LINE as in irm_02484_00388340153; a number is a speaker's
    only together with the locale. Those for recognition at 16 kHz (35, 36, 52-54):
    utt_spk_text.tsv of file, speaker, words. The sounds may lie anywhere below `root`.
    """
    licence = "CC BY-SA 4.0, Google (OpenSLR crowdsourced speech)"
    speakers: dict[str, str] = {}
    name = re.compile(r"([a-z]+_\d+)_\d+")
    for listing in sorted(root.rglob("line_index*.[ct]sv")):
        for fields in _table(listing):
            for field in fields:
                if match := name.fullmatch(field):
                    speakers[field] = match[1]
    for listing in sorted(root.rglob("utt_spk_text.tsv")):
        for number, fields in enumerate(_table(listing), start=1):
            if len(fields) < 2:
                raise DatasetError(f"{listing}, line {number}: no speaker")
            speakers[fields[0]] = fields[1]
    for path in _sounds(root.rglob("*")) if speakers else ():
        if speaker := speakers.get(path.stem):
            yield Clip(path, f"openslr/{speaker}", "speech", licence)


def vocalset(root: Path) -> Iterator[Clip]:
    """VocalSet (Wilkins, Seetharaman, Wahl, Pardo 2018): 20 singers, 44.1 kHz.

    FULL/SINGER/CONTEXT/TECHNIQUE/*.wav (Zenodo 1193957 and later versions, which may
    have the same tree as data_by_singer), for example
    FULL/female1/arpeggios/breathy/f1_arpeggios_breathy_a.wav. The folder says who
    sings: some files bear another's name. Excerpts in the folder "spoken" are speech.
    Lip trills and singing while breathing in are left out: no word is sung so.
    """
    licence = "CC BY 4.0, Wilkins, Seetharaman, Wahl and Pardo 2018 (VocalSet)"
    for part in ("FULL", "data_by_singer"):
        found = False
        for folder in _folders(root, part):
            for path in _sounds(folder.glob("*/*/*/*")):
                singer, _, technique = path.relative_to(folder).parts[:3]
                if not re.fullmatch(r"(fe)?male\d+", singer):
                    continue
                if technique in ("lip_trill", "inhaled"):
                    continue
                style: Style = "speech" if technique == "spoken" else "sung"
                yield Clip(path, f"vocalset/{singer}", style, licence)
                found = True
        if found:
            return


def gtsinger(root: Path) -> Iterator[Clip]:
    """GTSinger (Zhang et al. 2024): 20 singers of nine languages, 48 kHz, 24 bits.

    LANGUAGE/SINGER/TECHNIQUE/SONG/GROUP/*.wav, for example
    English/EN-Alto-1/Glissando/my love/Control_Group/0000.wav. Paired_Speech_Group is
    the words of the song read aloud, every other group is sung. Not for commercial use,
    and what is made from it goes under the same licence.
    """
    licence = "CC BY-NC-SA 4.0, Zhang et al. 2024 (GTSinger): no commercial use"
    singer = re.compile(r"[A-Z]{2}-(Alto|Bass|Soprano|Tenor)-\d+")
    for path in _sounds(root.rglob("*_Group/*")):
        name = path.parts[-5] if len(path.parts) >= 5 else ""
        if not singer.fullmatch(name):
            continue
        spoken = path.parent.name == "Paired_Speech_Group"
        style: Style = "speech" if spoken else "sung"
        yield Clip(path, f"gtsinger/{name}", style, licence)


def m4singer(root: Path) -> Iterator[Clip]:
    """M4Singer (Zhang et al. 2022): 20 singers of Mandarin.

    SINGER#SONG/*.wav beside meta.json, for example Alto-1#newboy/0000.wav. Had from its
    makers by signed agreement; not for commercial use, and what is made from it goes
    under the same licence.
    """
    licence = "CC BY-NC-SA 4.0, Zhang et al. 2022 (M4Singer): no commercial use"
    song = re.compile(r"((?:Alto|Bass|Soprano|Tenor)-\d+)#.+")
    for path in _sounds(root.rglob("*#*/*")):
        if match := song.fullmatch(path.parent.name):
            yield Clip(path, f"m4singer/{match[1]}", "sung", licence)


@dataclass(frozen=True)
class PublicSet:
    """How a set is read, and where one of its files would be."""

    read: Callable[[Path], Iterator[Clip]]
    layout: str


DATASETS = {
    "vctk": PublicSet(vctk, "wav48_silence_trimmed/p225/p225_001_mic2.flac"),
    "libritts": PublicSet(libritts, "train-clean-100/19/198/19_198_000000_000000.wav"),
    "librispeech": PublicSet(librispeech, "train-clean-100/19/198/19-198-0000.flac"),
    "openslr": PublicSet(openslr, "irm_02484_00388340153.wav, with line_index_all.csv"),
    "vocalset": PublicSet(
        vocalset, "FULL/female1/arpeggios/breathy/f1_arpeggios_breathy_a.wav"
    ),
    "gtsinger": PublicSet(
        gtsinger, "English/EN-Alto-1/Glissando/my love/Control_Group/0000.wav"
    ),
    "m4singer": PublicSet(m4singer, "Alto-1#newboy/0000.wav"),
}


def _existing(root: Path) -> Path:
    if not root.is_dir():
        raise DatasetError(f"{root} is no folder")
    return root.resolve()


def _folders(root: Path, name: str) -> list[Path]:
    """Folders of this name: `root` itself, in it, or one level further down."""
    found = [root] if root.name == name else []
    return found + sorted(p for p in (*root.glob(name), *root.glob(f"*/{name}")))


def _sounds(paths: Iterable[Path]) -> list[Path]:
    """The FLAC and WAV files among these, sorted; no sidecars that macOS archives."""
    return sorted(
        path
        for path in paths
        if path.suffix.lower() in (".flac", ".wav") and not path.name.startswith(".")
    )


def _ends(path: Path, *folders: str) -> bool:
    return path.parts[-1 - len(folders) : -1] == folders


def _table(listing: Path) -> Iterator[list[str]]:
    delimiter = "," if listing.suffix == ".csv" else "\t"
    try:
        with listing.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE)
            for fields in reader:
                yield [field.strip() for field in fields]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{listing} cannot be read: {error}") from error


def duration_s(path: Path) -> float:
    """Of a sound file, by its header. Raises DatasetError if it cannot be read."""
    try:
        return float(soundfile.info(path).duration)
    except (OSError, soundfile.LibsndfileError) as error:
        raise DatasetError(f"{path} cannot be read as sound: {error}") from error
