"""Labelled sound files: our own manifests, and the public sets against spoofing.

A manifest is a CSV file with at least the columns path, label, speaker and system;
paths are relative to it. The public sets keep their own layouts, which the readers
here turn into the same rows, so that an operator can train and score on real attacks.
None of those sets is needed, fetched or shipped by this project.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from voiceplatform.audio.waveform import AudioError

from .network import LABELS

SPLITS = ("train", "valid", "test", "unseen")


class ManifestError(AudioError):
    """A list of labelled sounds, or a data set's folder, is not as it should be."""


@dataclass(frozen=True)
class Clip:
    """One labelled sound file.

    `system` names what made an attack (a synthesizer, a loudspeaker, "A07") or, for
    genuine speech, how it was captured; `split` is one of SPLITS. `loudspeaker` is what
    played it, "none" if nothing did, "" if nobody knows.
    """

    path: Path
    label: str
    speaker: str
    system: str
    split: str = "test"
    loudspeaker: str = ""

    @property
    def is_played(self) -> bool | None:
        """Whether a loudspeaker was between voice and microphone; None: not known."""
        if self.label != "synthetic":
            return self.label == "replay"
        return self.loudspeaker != "none" if self.loudspeaker else None


def read_manifest(path: Path) -> list[Clip]:
    """The rows of a manifest, in its order.

    Raises ManifestError if it cannot be read, lacks a column, holds no row, names a
    label or split there is none of, or a file that is not there.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{path} cannot be read: {error}") from error
    if not rows:
        raise ManifestError(f"{path} lists no files")
    missing = {"path", "label", "speaker", "system"} - set(rows[0])
    if missing:
        raise ManifestError(f"{path} has no column {', '.join(sorted(missing))}")
    clips = []
    for number, row in enumerate(rows, start=2):
        if any(row[name] is None for name in ("path", "label", "speaker", "system")):
            raise ManifestError(f"{path}, line {number}: a column is missing")
        clips.append(
            Clip(
                path=path.parent / row["path"],
                label=row["label"].strip(),
                speaker=row["speaker"].strip(),
                system=row["system"].strip(),
                split=(row.get("split") or "test").strip(),
                loudspeaker=(row.get("loudspeaker") or "").strip(),
            )
        )
        _check(clips[-1], f"{path}, line {number}")
    return clips


def write_manifest(path: Path, clips: Iterable[Clip]) -> None:
    """Write rows that `read_manifest` reads; paths relative to it where they can be."""
    folder = path.parent.resolve()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "label", "speaker", "system", "split"])
        for clip in clips:
            sound = clip.path.resolve()
            if sound.is_relative_to(folder):
                sound = sound.relative_to(folder)
            writer.writerow([sound, clip.label, clip.speaker, clip.system, clip.split])


def read_dataset(source: str) -> list[Clip]:
    """The rows of a public set, named as "asvspoof2019-pa:FOLDER".

    Raises ManifestError for an unknown name, or a folder not laid out like that set.
    """
    name, colon, folder = source.partition(":")
    reader = DATASETS.get(name)
    if reader is None or not colon:
        raise ManifestError(
            f"{source!r} is not NAME:FOLDER with a name of {', '.join(DATASETS)}"
        )
    root = Path(folder)
    if not root.is_dir():
        raise ManifestError(f"{root} is no folder")
    clips = list(reader(root))
    if not clips:
        raise ManifestError(f"{root} holds no sound of {name}")
    return clips


def asvspoof2019_la(root: Path) -> Iterator[Clip]:
    """ASVspoof 2019 logical access (Wang et al. 2020): genuine and synthetic.

    `root` holds ASVspoof2019_LA_cm_protocols and ASVspoof2019_LA_{train,dev,eval}, as
    LA.zip does. Lines: speaker, file, "-", system, key.
    """
    yield from _asvspoof2019(root, "LA", attack="synthetic")


def asvspoof2019_pa(root: Path) -> Iterator[Clip]:
    """ASVspoof 2019 physical access: genuine, and replayed in simulated rooms.

    Lines: speaker, file, environment (room size, reverberation, distance), attack
    (distance of the attacker, quality of the loudspeaker), key.
    """
    yield from _asvspoof2019(root, "PA", attack="replay")


def asvspoof2021_la(root: Path) -> Iterator[Clip]:
    """ASVspoof 2021 logical access (Yamagishi et al. 2021), coded and transmitted.

    `root` holds ASVspoof2021_LA_eval/flac and, anywhere below, the keys' folder
    LA/CM/trial_metadata.txt. Lines: speaker, file, codec, transmission, system, key,
    trimming, subset.
    """
    yield from _asvspoof2021(root, "LA", attack="synthetic", system_column=4)


def asvspoof2021_df(root: Path) -> Iterator[Clip]:
    """ASVspoof 2021 deepfakes: speech through media codecs.

    Lines: speaker, file, codec, source set, system, key, trimming, subset, vocoder,
    and more. The sound comes in several archives: the flac folders are looked for
    anywhere below `root`.
    """
    yield from _asvspoof2021(root, "DF", attack="synthetic", system_column=4)


def asvspoof2021_pa(root: Path) -> Iterator[Clip]:
    """ASVspoof 2021 physical access: replayed in real rooms.

    Lines: speaker, file, room, microphone, distance, and the attacker's room,
    microphone, loudspeaker and distance ("-" where there is none), key, trimming,
    subset. The system is the attacker's loudspeaker.
    """
    yield from _asvspoof2021(root, "PA", attack="replay", system_column=7)


def asvspoof5(root: Path) -> Iterator[Clip]:
    """ASVspoof 5, track 1 (Wang et al. 2024): crowdsourced speech and its deepfakes.

    `root` holds ASVspoof5.{train,dev.track_1,eval.track_1}.tsv, in a folder or not,
    and the folders flac_T, flac_D, flac_E_eval. Lines, split by white space in spite
    of the name: speaker, file, gender, codec, codec quality, codec seed, attack tag,
    attack, key, reserved.
    """
    parts = {
        "train": ("ASVspoof5.train.tsv", "flac_T"),
        "valid": ("ASVspoof5.dev.track_1.tsv", "flac_D"),
        "test": ("ASVspoof5.eval.track_1.tsv", "flac_E_eval"),
    }
    for split, (protocol, folder) in parts.items():
        for listing in sorted(root.rglob(protocol)):
            sounds = _sounds_below(root, folder)
            for fields in _lines(listing, least=9):
                label = _label(fields[8], "synthetic", listing)
                sound = sounds.get(fields[1])
                if sound is not None:
                    yield Clip(
                        sound, label, fields[0], _system(fields[7], label), split
                    )


def replaydf(root: Path) -> Iterator[Clip]:
    """ReplayDF (Mueller et al. 2025): genuine and synthetic speech, all of it replayed.

    `root` (or its folder wav) holds one folder for each pair of loudspeaker and
    microphone, with benign/LANGUAGE/*.wav and spoof/MODEL/LANGUAGE/*.wav. What was
    genuine is a replay here, what was synthetic stays so; the set knows no live
    speech. The pair is the system of a replay, the model of a synthesis. All of it is
    a test: its licence (CC BY-NC 4.0) is for research.
    """
    for pair in sorted(path for path in _wav_folder(root).iterdir() if path.is_dir()):
        for sound in sorted((pair / "benign").rglob("*.wav")):
            yield Clip(sound, "replay", pair.name, pair.name)
        for sound in sorted((pair / "spoof").rglob("*.wav")):
            model = sound.relative_to(pair / "spoof").parts[0]
            yield Clip(sound, "synthetic", pair.name, model)


DATASETS: dict[str, Callable[[Path], Iterator[Clip]]] = {
    "asvspoof2019-la": asvspoof2019_la,
    "asvspoof2019-pa": asvspoof2019_pa,
    "asvspoof2021-la": asvspoof2021_la,
    "asvspoof2021-df": asvspoof2021_df,
    "asvspoof2021-pa": asvspoof2021_pa,
    "asvspoof5": asvspoof5,
    "replaydf": replaydf,
}

#: What genuine speech of these sets is called in the column system.
GENUINE = "genuine"


def _asvspoof2019(root: Path, access: str, attack: str) -> Iterator[Clip]:
    if (root / access).is_dir():
        root = root / access
    protocols = root / f"ASVspoof2019_{access}_cm_protocols"
    parts = {"train": "train.trn", "valid": "dev.trl", "test": "eval.trl"}
    for split, part in parts.items():
        listing = protocols / f"ASVspoof2019.{access}.cm.{part}.txt"
        if not listing.exists():
            continue
        name = part.partition(".")[0]
        sounds = root / f"ASVspoof2019_{access}_{name}" / "flac"
        for fields in _lines(listing, least=5):
            label = _label(fields[4], attack, listing)
            sound = sounds / f"{fields[1]}.flac"
            if sound.exists():
                yield Clip(sound, label, fields[0], _system(fields[3], label), split)


def _asvspoof2021(
    root: Path, access: str, attack: str, system_column: int
) -> Iterator[Clip]:
    listings = sorted(
        path
        for path in root.rglob("trial_metadata.txt")
        # The keys also list the trials of speaker verification, in a folder ASV.
        if path.parent.name == "CM" and path.parent.parent.name == access
    )
    if not listings:
        raise ManifestError(f"{root} holds no {access}/CM/trial_metadata.txt")
    sounds: dict[str, Path] = {}
    for folder in sorted(root.rglob(f"ASVspoof2021_{access}_eval/flac")):
        sounds |= {path.stem: path for path in folder.glob("*.flac")}
    # The key is the last of these words: LA writes "bonafide" as the system, too.
    key_column = 9 if access == "PA" else 5
    for fields in _lines(listings[0], least=key_column + 1):
        label = _label(fields[key_column], attack, listings[0])
        sound = sounds.get(fields[1])
        if sound is not None:
            yield Clip(sound, label, fields[0], _system(fields[system_column], label))


def _sounds_below(root: Path, folder: str) -> dict[str, Path]:
    """Files by name without suffix, of every folder of this name below `root`."""
    return {
        path.stem: path
        for found in sorted(root.rglob(folder))
        for path in found.glob("*.flac")
    }


def _wav_folder(root: Path) -> Path:
    return root / "wav" if (root / "wav").is_dir() else root


def _lines(listing: Path, least: int) -> Iterator[list[str]]:
    with listing.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            fields = line.split()
            if not fields:
                continue
            if len(fields) < least:
                raise ManifestError(
                    f"{listing.name}, line {number}: {least} columns expected"
                )
            yield fields


def _label(key: str, attack: str, listing: Path) -> str:
    if key not in ("bonafide", "spoof"):
        raise ManifestError(f"{listing.name}: {key!r} is neither bonafide nor spoof")
    return attack if key == "spoof" else "mic"


def _system(name: str, label: str) -> str:
    return GENUINE if label == "mic" else name


def _check(clip: Clip, where: str) -> None:
    if clip.label not in LABELS:
        raise ManifestError(f"{where}: {clip.label!r} is none of {', '.join(LABELS)}")
    if clip.split not in SPLITS:
        raise ManifestError(f"{where}: {clip.split!r} is none of {', '.join(SPLITS)}")
    if not clip.path.is_file():
        raise ManifestError(f"{where}: there is no file {clip.path}")
