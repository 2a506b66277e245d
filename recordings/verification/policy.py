"""The policy: what each measured value must be, for which prompts, and what follows.

Read it from top to bottom: of rules that ask for the same thing, the first broken one
is what the person is told. Thresholds were chosen on real speech (docs/verification.md
says how); an operator may move one by its reason (OWNVOICE_VERIFICATION).
"""

from __future__ import annotations

from .deciding import ALL, LOUD_OR_SOFT, READ, SPOKEN, SUNG, Outcome, Rule
from .voiceprints import CLEARLY_BELOW, LEAST_CONSISTENCY

CONSENT = frozenset({"consent"})
SCRIPT = ALL - CONSENT

RULES: tuple[Rule, ...] = (
    # It was here before: sent twice, another account's, or sung by this system.
    Rule(
        "fingerprint.is_known",
        "heard_before",
        Outcome.REFUSE,
        equals=False,
        required=True,
    ),
    # A voice that no mouth made, or that came out of a loudspeaker.
    Rule(
        "authenticity.mic_probability",
        "not_live",
        Outcome.REFUSE,
        at_least=0.1,
        kinds=READ,
        required=True,
    ),
    Rule(
        "authenticity.mic_probability",
        "doubtful",
        Outcome.REVIEW,
        at_least=0.4,
        kinds=READ,
        required=True,
    ),
    Rule(
        "authenticity.mic_probability",
        "doubtful_expressive",
        Outcome.NOTE,
        at_least=0.4,
        kinds=LOUD_OR_SOFT | SUNG,
    ),
    # Somebody else than who spoke the consent.
    Rule(
        "speaker.margin",
        "another_person",
        Outcome.REFUSE,
        at_least=-CLEARLY_BELOW,
        kinds=READ - CONSENT,
        required=True,
    ),
    Rule(
        "speaker.margin",
        "unlike_you",
        Outcome.RETAKE,
        at_least=0.0,
        kinds=READ - CONSENT,
    ),
    Rule(
        "speaker.similarity",
        "unlike_you_expressive",
        Outcome.REVIEW,
        at_least=0.05,
        kinds=LOUD_OR_SOFT,
    ),
    Rule(
        "speaker.similarity",
        "unlike_you_expressive",
        Outcome.REVIEW,
        at_least=-0.05,
        kinds=SUNG,
    ),
    # Two people taking turns; of what is sung or whispered that cannot be told.
    Rule(
        "speaker.consistency",
        "several_voices",
        Outcome.RETAKE,
        at_least=LEAST_CONSISTENCY,
        kinds=READ,
    ),
    # The account's own earlier consents, where there are any.
    Rule(
        "speaker.similarity",
        "another_voice_than_before",
        Outcome.REVIEW,
        at_least=0.35,
        kinds=CONSENT,
    ),
    Rule(
        "speaker.is_heard",
        "no_voice",
        Outcome.RETAKE,
        equals=True,
        kinds=CONSENT,
        required=True,
    ),
    # The words of the prompt, or of the consent.
    Rule(
        "words.word_error_rate",
        "other_words",
        Outcome.RETAKE,
        at_most=0.5,
        kinds=READ - CONSENT | {"whisper"},
        required=True,
    ),
    # Two of the three: Whisper mishears one in twelve, and nobody guesses two of 255.
    Rule(
        "words.challenge_words_heard",
        "words_not_said",
        Outcome.RETAKE,
        at_least=2,
        kinds=CONSENT,
        required=True,
    ),
    Rule(
        "words.words_said_after_s",
        "words_too_late",
        Outcome.RETAKE,
        at_most=12.0,
        kinds=CONSENT,
    ),
    Rule(
        "words.name_heard",
        "name_not_said",
        Outcome.RETAKE,
        equals=True,
        kinds=CONSENT,
        required=True,
    ),
    Rule(
        "words.date_heard",
        "date_not_said",
        Outcome.RETAKE,
        equals=True,
        kinds=CONSENT,
        required=True,
    ),
    # The sound itself: cut or made by something that dropped out; then remarks.
    Rule("signal.clicks", "spliced", Outcome.RETAKE, at_most=0),
    Rule("signal.cuts_to_zero", "cut_to_silence", Outcome.RETAKE, at_most=0),
    Rule(
        "signal.low_end_loss_db",
        "no_low_end",
        Outcome.REVIEW,
        at_most=18.0,
        kinds=SPOKEN,
    ),
    Rule("signal.drr_db", "far_away", Outcome.NOTE, at_least=0.0),
    Rule("signal.rt60_s", "reverberant", Outcome.NOTE, at_most=0.8),
    Rule("signal.unexplained_cutoff_hz", "narrow_band", Outcome.NOTE, at_least=8_000.0),
    Rule("signal.digital_silence_share", "gated", Outcome.NOTE, at_most=0.02),
    Rule("signal.floor_rise_db", "gated", Outcome.NOTE, at_most=25.0, kinds=READ),
    Rule(
        "signal.spectral_holes_share",
        "coded",
        Outcome.NOTE,
        at_most=0.005,
        kinds=SPOKEN,
    ),
    Rule("signal.floor_step_db", "background_changed", Outcome.NOTE, at_most=25.0),
    Rule("signal.dc_step", "background_changed", Outcome.NOTE, at_most=0.02),
)
