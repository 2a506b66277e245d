"""What a take's levels say at once: good enough to be checked, or record it again.

The same bounds stand in the policy as rules, so that an assessment tells them too.
"""

from __future__ import annotations

from dataclasses import dataclass

from .models import Prompt, Recording
from .verification.deciding import Outcome, Rule
from .verification.levels import Levels

Kind = Prompt.Kind


@dataclass(frozen=True)
class Bounds:
    """What a take of one kind of prompt must stay within."""

    #: Speech quieter than this cannot be told from the converter's own noise.
    least_dbfs: float = -50.0
    #: Below this it is kept, with the advice to come closer.
    quiet_dbfs: float = -40.0
    #: A voice learns the room along with the speaker below this.
    least_snr_db: float = 12.0
    good_snr_db: float = 25.0
    most_clipped_share: float = 0.001
    #: Less speech than this share of what the prompt takes: cut short.
    least_expected_share: float = 0.35


#: A whisper is quiet; a shout may touch full scale; what is sung leaves few pauses to
#: measure the room in.
BOUNDS = {
    Kind.WHISPER: Bounds(least_dbfs=-60.0, quiet_dbfs=-52.0, least_snr_db=6.0),
    Kind.SHOUT: Bounds(most_clipped_share=0.005),
    Kind.SCALE: Bounds(least_snr_db=10.0),
    Kind.SIREN: Bounds(least_snr_db=10.0),
}
#: More than this, as a share of full scale, is a fault of the microphone or its cable.
MOST_DC_OFFSET = 0.3
#: Speech this short is a cough or a click.
LEAST_SPEECH_S = 0.3


@dataclass(frozen=True)
class Judgement:
    verdict: Recording.Verdict
    #: For programs and tests: which bound decided, or "good".
    reason: str
    #: For the person: what was heard, and what to do.
    advice: str


def level_rules(prompt: Prompt) -> tuple[Rule, ...]:
    """The bounds of `judge` for takes of this prompt, as rules of the policy."""
    bounds = BOUNDS.get(Kind(prompt.kind), Bounds())
    least_s = max(LEAST_SPEECH_S, bounds.least_expected_share * prompt.expected_s)
    retake = Outcome.RETAKE
    return (
        Rule("signal.is_digital_silence", "muted", retake, equals=False),
        Rule(
            "signal.clipped_share",
            "clipped",
            retake,
            at_most=bounds.most_clipped_share,
        ),
        Rule("signal.dc_offset", "dc_offset", retake, at_most=MOST_DC_OFFSET),
        Rule("signal.dc_offset", "dc_offset", retake, at_least=-MOST_DC_OFFSET),
        Rule("signal.level_dbfs", "too_quiet", retake, at_least=bounds.least_dbfs),
        Rule("signal.snr_db", "too_noisy", retake, at_least=bounds.least_snr_db),
        Rule("signal.speech_s", "too_short", retake, at_least=least_s),
    )


def judge(levels: Levels, prompt: Prompt) -> Judgement:
    """Keep the take or ask for another. The first thing to put right is said alone."""
    bounds = BOUNDS.get(Kind(prompt.kind), Bounds())
    if levels.is_digital_silence:
        return _again(
            "muted",
            "The microphone sent nothing at all. Look for a mute switch on it, and at "
            "the input volume in your system's sound settings.",
        )
    if levels.clipped_share > bounds.most_clipped_share:
        return _again(
            "clipped",
            "Too loud: the sound was cut off at full scale. Move back a hand's width, "
            "or turn the microphone's input volume down.",
        )
    if abs(levels.dc_offset) > MOST_DC_OFFSET:
        return _again(
            "dc_offset",
            "The microphone's signal is off centre, which is a fault of the device or "
            "its cable. Plug it in again, or choose another microphone.",
        )
    if levels.speech_s < LEAST_SPEECH_S:
        if levels.level_dbfs > bounds.quiet_dbfs:
            return _again(
                "drowned",
                "No voice stood out from the noise in the room. Record where it is "
                "quieter, close to the microphone, and leave a short pause before you "
                "begin.",
            )
        return _again(
            "silent",
            "We heard the room, but no voice. Check that the right microphone is "
            "chosen, move closer and try again.",
        )
    if levels.level_dbfs < bounds.least_dbfs:
        return _again(
            "too_quiet",
            "Too quiet: move closer to the microphone, or turn its input volume up.",
        )
    if levels.snr_db < bounds.least_snr_db:
        return _again(
            "too_noisy",
            "Too much noise behind your voice. Turn off fans and music, close the "
            "window, or move closer to the microphone.",
        )
    if levels.speech_s < bounds.least_expected_share * prompt.expected_s:
        return _again(
            "too_short",
            "That was shorter than the prompt. Read or sing all of it, and stop the "
            "recording a moment after the last word.",
        )
    return Judgement(Recording.Verdict.KEEP, "good", _hint(levels, bounds))


def advice_on_kept(levels: Levels, prompt: Prompt) -> str:
    """What is said of a take that passed everything."""
    return _hint(levels, BOUNDS.get(Kind(prompt.kind), Bounds()))


def _hint(levels: Levels, bounds: Bounds) -> str:
    if levels.level_dbfs < bounds.quiet_dbfs:
        return "Kept. A little quiet: the next one may be closer to the microphone."
    if levels.snr_db < max(bounds.good_snr_db, bounds.least_snr_db) and (
        bounds.least_snr_db >= Bounds.least_snr_db
    ):
        return "Kept. Some noise behind it: a quieter room makes a clearer voice."
    return "Kept. Clean and at a good level."


def _again(reason: str, advice: str) -> Judgement:
    return Judgement(Recording.Verdict.RETAKE, reason, advice)
