"""How far a session is: each prompt with its take, what is next, how long it takes."""

from __future__ import annotations

from dataclasses import dataclass

from .models import Prompt, Recording, RecordingSession

#: With this many good takes a first voice can be made.
ENOUGH_FOR_A_FIRST_VOICE = 12
#: Reading, pressing keys and a retake now and then, for each second of prompt.
PACE = 1.6


@dataclass(frozen=True)
class Line:
    """One prompt of the script and its takes, newest first."""

    prompt: Prompt
    takes: tuple[Recording, ...]

    @property
    def kept(self) -> Recording | None:
        """The good take that stands for the prompt."""
        return next((take for take in self.takes if take.is_kept), None)

    @property
    def is_open(self) -> bool:
        """Whether its newest take waits for its checks, or for a moderator."""
        verdict = self.latest.verdict if self.latest else ""
        return verdict in (Recording.Verdict.CHECKING, Recording.Verdict.REVIEW)

    @property
    def latest(self) -> Recording | None:
        return self.takes[0] if self.takes else None


@dataclass(frozen=True)
class Progress:
    lines: tuple[Line, ...]
    current: Line | None

    @property
    def total(self) -> int:
        return len(self.lines)

    @property
    def kept(self) -> int:
        return sum(line.kept is not None for line in self.lines)

    @property
    def is_complete(self) -> bool:
        return self.total > 0 and self.kept == self.total

    @property
    def first_voice_needs(self) -> int:
        """How many good takes make a first voice, in this script."""
        return min(ENOUGH_FOR_A_FIRST_VOICE, self.total)

    @property
    def speech_s(self) -> float:
        return sum(line.kept.speech_s for line in self.lines if line.kept)

    @property
    def seconds_left(self) -> float:
        """How long it takes to record what is left."""
        return PACE * sum(
            line.prompt.expected_s for line in self.lines if line.kept is None
        )

    @property
    def next(self) -> Line | None:
        """The next prompt without a good take, from the current one round to it.

        One whose take is still being looked at comes after all others: it may be good.
        """
        start = self.lines.index(self.current) + 1 if self.current else 0
        later = self.lines[start:] + self.lines[: max(start - 1, 0)]
        missing = [line for line in later if line.kept is None]
        return min(missing, key=lambda line: line.is_open, default=None)


def progress_of(session: RecordingSession, prompt_pk: int | None = None) -> Progress:
    """Where the session stands; the current line is the one asked for, or the next.

    Two queries. Raises Prompt.DoesNotExist if the script has no such prompt.
    """
    takes: dict[int, list[Recording]] = {}
    for take in (
        session.recordings.select_related("prompt", "assessment")
        .defer("assessment__findings", "assessment__voiceprint")
        .order_by("-recorded_at", "-pk")
    ):
        takes.setdefault(take.prompt_id, []).append(take)
    lines = tuple(
        Line(prompt, tuple(takes.get(prompt.pk, ())))
        for prompt in session.script.prompts.to_voice()
    )
    progress = Progress(lines, None)
    if prompt_pk is None:
        current = progress.next or (lines[-1] if lines else None)
    else:
        current = next((line for line in lines if line.prompt.pk == prompt_pk), None)
        if current is None:
            raise Prompt.DoesNotExist
    return Progress(lines, current)
