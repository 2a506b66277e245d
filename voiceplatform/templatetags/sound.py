"""What pages draw and say of sound: outlines, keyboards, durations, levels, notes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from django import template

register = template.Library()

NOTE_NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
BLACK_KEYS = frozenset({1, 3, 6, 8, 10})

#: Bars of a drawn waveform: two pixels each on a phone, seven on a desk.
WAVEFORM_BARS = 160
#: Share of a bar's step that is ink; the rest is the gap to the next.
BAR_INK = 0.62

WHITE_WIDTH, WHITE_HEIGHT = 16.0, 64.0
BLACK_WIDTH, BLACK_HEIGHT = 10.0, 40.0
KEY_NAMES_HEIGHT = 20.0


def note_name(midi: int) -> str:
    """60 is C4, as everywhere in this project."""
    return f"{NOTE_NAMES[midi % 12]}{midi // 12 - 1}"


@register.filter
def midi_to_note(midi: float) -> str:
    return note_name(round(float(midi)))


@register.filter
def hertz_to_midi(frequency_hz: float) -> int | str:
    """The nearest key of the piano, or nothing where there is no pitch."""
    if not frequency_hz or float(frequency_hz) <= 0:
        return ""
    return round(69 + 12 * math.log2(float(frequency_hz) / 440.0))


@register.filter
def hertz_to_note(frequency_hz: float) -> str:
    midi = hertz_to_midi(frequency_hz)
    return "" if midi == "" else note_name(int(midi))


@register.filter
def duration(seconds: float | None) -> str:
    """Minutes and seconds, as on a tape machine: 0:07, 3:20, 1:02:05."""
    if seconds is None or seconds == "":
        return ""
    whole = max(0, round(float(seconds)))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}"


@register.filter
def time_left(seconds: float | None) -> str:
    """How long is left, as one says it: about 3 minutes, under a minute."""
    if seconds is None or seconds == "":
        return ""
    seconds = float(seconds)
    if seconds < 10:
        return "a few seconds left"
    if seconds < 55:
        return f"about {math.ceil(seconds / 10) * 10} seconds left"
    minutes = max(1, round(seconds / 60))
    if minutes < 60:
        return f"about {minutes} minute{'' if minutes == 1 else 's'} left"
    hours = round(minutes / 60, 1)
    return f"about {hours:g} hour{'' if hours == 1 else 's'} left"


@register.filter
def decibels(value: float | None, unit: str = "dB") -> str:
    """One decimal, a real minus sign, the unit kept on the line."""
    if value is None or value == "":
        return ""
    number = round(float(value), 1) + 0.0  # adding zero turns -0.0 into 0.0
    return f"{number:.1f}\N{NO-BREAK SPACE}{unit}".replace("-", "\N{MINUS SIGN}")


def _bars(peaks: Sequence[float], n_bars: int) -> list[float]:
    """The highest peak of each of at most `n_bars` equal stretches."""
    n_bars = min(n_bars, len(peaks))
    edges = [round(i * len(peaks) / n_bars) for i in range(n_bars + 1)]
    return [max(peaks[a:b]) for a, b in zip(edges, edges[1:], strict=False)]


@register.inclusion_tag("partials/waveform.html")
def waveform(
    peaks: Sequence[float] | None,
    name: str = "",
    duration_s: float | None = None,
    extra_class: str = "",
) -> dict[str, object]:
    """The outline of a sound from its peaks (0.0 to 1.0), in the current colour.

    Drawn to its own loudest peak, so that a quiet take is still seen.
    """
    bars = _bars(peaks or [0.0], WAVEFORM_BARS)
    loudest = max(*bars, 1e-3)
    path = "".join(
        f"M{i} {50 - half:.1f}h{BAR_INK}v{2 * half:.1f}h-{BAR_INK}z"
        for i, half in enumerate(max(1.0, 50 * bar / loudest) for bar in bars)
    )
    label = f"Waveform of {name}" if name else "Waveform"
    if duration_s:
        label += f", {duration(duration_s)}"
    return {
        "path": path,
        "width": len(bars),
        "label": label,
        "extra_class": extra_class,
    }


@register.inclusion_tag("partials/keyboard.html")
def keyboard(low_midi: float, high_midi: float) -> dict[str, object]:
    """A piano with the keys from low to high (MIDI numbers) shaded and named."""
    low, high = sorted((round(float(low_midi)), round(float(high_midi))))
    first = low // 12 * 12
    last = max(-(-high // 12) * 12, first + 24)
    white, black, centres = [], [], {}
    x = 0.0
    for midi in range(first, last + 1):
        inside = low <= midi <= high
        if midi % 12 in BLACK_KEYS:
            black.append({"x": x - BLACK_WIDTH / 2, "inside": inside})
            centres[midi] = x
        else:
            white.append({"x": x, "inside": inside})
            centres[midi] = x + WHITE_WIDTH / 2
            x += WHITE_WIDTH
    names = []
    for midi in (low, high) if high > low else (low,):
        centre = centres[midi]
        anchor = "middle"
        if centre < WHITE_WIDTH:
            centre, anchor = 0.0, "start"
        elif centre > x - WHITE_WIDTH:
            centre, anchor = x, "end"
        names.append({"x": centre, "anchor": anchor, "text": note_name(midi)})
    return {
        "white": white,
        "black": black,
        "names": names,
        "width": x,
        "height": WHITE_HEIGHT + KEY_NAMES_HEIGHT,
        "white_width": WHITE_WIDTH,
        "white_height": WHITE_HEIGHT,
        "black_width": BLACK_WIDTH,
        "black_height": BLACK_HEIGHT,
        "label": f"Piano keyboard: from {note_name(low)} to {note_name(high)}",
    }


@register.inclusion_tag("partials/loss_curve.html")
def loss_curve(points: Sequence[Sequence[float]]) -> dict[str, object]:
    """How the loss fell: points of (step, loss), the loss on a logarithmic axis."""
    points = [(float(step), max(float(loss), 1e-9)) for step, loss in points]
    if not points:
        return {"points": "", "label": "Loss curve: nothing measured yet"}
    logs = [math.log(loss) for _, loss in points]
    low, span = min(logs), (max(logs) - min(logs)) or 1.0
    first, steps = points[0][0], (points[-1][0] - points[0][0]) or 1.0
    return {
        "points": " ".join(
            f"{100 * (step - first) / steps:.2f},{96 - 92 * (log - low) / span:.2f}"
            for (step, _), log in zip(points, logs, strict=True)
        ),
        "label": (
            f"Loss curve: from {points[0][1]:.3g} to {points[-1][1]:.3g} "
            f"in {points[-1][0]:.0f} steps"
        ),
    }
