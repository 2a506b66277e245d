"""`manage.py bench`: its table, its report, what it refuses."""

from __future__ import annotations

import json

import pytest
from django.core.management import call_command


def test_the_report_goes_into_a_file_and_the_table_beside_it(tmp_path, capsys):
    file = tmp_path / "report.json"

    call_command("bench", "--only", "start-up", "--json", str(file))

    report = json.loads(file.read_text())
    assert list(report) == ["start-up"]
    took_ms = report["start-up"]["milliseconds"]
    assert took_ms > 0
    assert capsys.readouterr().out.split() == [
        "web",
        "start-up",
        f"{took_ms:.0f}",
        "ms",
    ]


def test_a_report_on_standard_output_stands_alone(capsys):
    call_command("bench", "--only", "start-up", "--json", "-")

    assert list(json.loads(capsys.readouterr().out)) == ["start-up"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "weather"], "invalid choice: 'weather'"),
        (["--repeats", "0"], "at least once"),
        (["--json", "nowhere/report.json"], "no folder to write nowhere/report.json"),
    ],
)
def test_unusable_arguments_are_refused_in_one_line(arguments, words, capsys):
    with pytest.raises(SystemExit) as ended:
        call_command("bench", *arguments)

    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
