from django.template import Context, Template

from voiceplatform.templatetags import sound


def rendered(source: str, **context) -> str:
    return Template("{% load sound %}" + source).render(Context(context)).strip()


def test_durations_read_like_a_tape_counter():
    assert [sound.duration(s) for s in (0, 7.4, 59.6, 200, 3725, None)] == [
        "0:00",
        "0:07",
        "1:00",
        "3:20",
        "1:02:05",
        "",
    ]


def test_time_left_is_said_as_one_would():
    assert [sound.time_left(s) for s in (3, 34, 58, 130, 5400, None)] == [
        "a few seconds left",
        "about 40 seconds left",
        "about 1 minute left",
        "about 2 minutes left",
        "about 1.5 hours left",
        "",
    ]


def test_decibels_have_a_real_minus_and_no_negative_zero():
    assert sound.decibels(-14, "LUFS") == "−14.0\N{NO-BREAK SPACE}LUFS"
    assert sound.decibels(-0.04) == "0.0\N{NO-BREAK SPACE}dB"


def test_hertz_become_the_nearest_note():
    assert [sound.hertz_to_note(f) for f in (440, 261.63, 110, 0, None)] == [
        "A4",
        "C4",
        "A2",
        "",
        "",
    ]


def test_waveform_draws_at_most_its_bars_scaled_to_the_loudest():
    svg = rendered("{% waveform p 'take 3' 2.0 %}", p=[0.1] * 599 + [0.5])
    assert svg.count("z") == sound.WAVEFORM_BARS
    assert 'aria-label="Waveform of take 3, 0:02"' in svg
    assert "v100.0" in svg  # the loudest fills the height
    assert "v20.0" in svg  # a fifth of it, a fifth


def test_waveform_of_nothing_is_a_line_and_names_are_escaped():
    svg = rendered("{% waveform p name %}", p=[], name='<b>"')
    assert svg.count("z") == 1
    assert "<b>" not in svg


def test_no_drawing_needs_an_inline_style():
    drawn = rendered(
        "{% waveform p %}{% keyboard 45 69 %}{% loss_curve c %}",
        p=[0.2, 0.4],
        c=[[1, 3.0], [50, 0.4]],
    )
    assert "style=" not in drawn


def test_keyboard_shades_the_range_and_names_its_ends():
    svg = rendered("{% keyboard 45 57 %}")
    assert svg.count("key-in") == 13
    assert 'aria-label="Piano keyboard: from A2 to A3"' in svg
    assert ">A2</text>" in svg
    assert ">A3</text>" in svg


def test_loss_curve_falls_from_left_to_right():
    svg = rendered("{% loss_curve c %}", c=[[10, 4.0], [20, 2.0], [30, 1.0]])
    assert 'points="0.00,4.00 50.00,50.00 100.00,96.00"' in svg
    assert "from 4 to 1 in 30 steps" in svg


def test_loss_curve_of_one_point_or_none_is_drawn():
    assert "nothing measured yet" in rendered("{% loss_curve c %}", c=[])
    assert 'points="0.00,96.00"' in rendered("{% loss_curve c %}", c=[[5, 2.0]])
