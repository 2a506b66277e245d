"""The colours that meet in the pages hold WCAG 2.2 AA, dark and light."""

import re

import pytest
from django.conf import settings

TOKENS = settings.BASE_DIR / "static" / "css" / "tokens.css"

#: WCAG 1.4.3 for text, 1.4.11 for the edges of controls and what carries meaning.
TEXT, CONTROL = 4.5, 3.0

GROUNDS = ["ground", "surface", "raised", "sunken"]
TEXT_PAIRS = [
    *((ink, ground) for ink in ("text", "text-soft") for ground in GROUNDS),
    *(
        (accent, ground)
        for accent in ("warm", "cool", "danger", "warning", "success", "cool-strong")
        for ground in ("ground", "surface", "raised")
    ),
    *(
        (accent, f"{accent}-ground")
        for accent in ("warm", "cool", "danger", "warning", "success")
    ),
    *(
        ("text", f"{accent}-ground")
        for accent in ("warm", "cool", "danger", "warning", "success")
    ),
    *((f"on-{accent}", accent) for accent in ("warm", "cool", "danger")),
    *((f"on-{accent}", f"{accent}-strong") for accent in ("warm", "cool")),
]
CONTROL_PAIRS = [
    *((line, ground) for line in ("line-strong", "focus") for ground in GROUNDS),
    ("cool", "line"),
    ("warm", "line"),
    ("success", "line"),
    ("warning", "line"),
    ("danger", "line"),
]


def schemes() -> dict[str, dict[str, str]]:
    css = TOKENS.read_text()
    dark, light = css.split("@media (prefers-color-scheme: light)")
    colours = re.compile(r"--color-([a-z-]+):\s*(#[0-9a-f]{6})")
    dark = dict(colours.findall(dark))
    return {"dark": dark, "light": dark | dict(colours.findall(light))}


def luminance(colour: str) -> float:
    """WCAG 2.2 relative luminance of #rrggbb."""
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_of_black_on_white_is_21():
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize(
    ("pairs", "least"), [(TEXT_PAIRS, TEXT), (CONTROL_PAIRS, CONTROL)]
)
def test_colours_that_meet_can_be_told_apart(scheme, pairs, least):
    colours = schemes()[scheme]
    weak = {
        f"{ink} on {ground}": round(contrast(colours[ink], colours[ground]), 2)
        for ink, ground in pairs
        if contrast(colours[ink], colours[ground]) < least
    }
    assert weak == {}


def test_light_changes_every_colour_of_dark_but_none_is_new():
    dark, light = (set(schemes()[name]) for name in ("dark", "light"))
    assert dark == light
