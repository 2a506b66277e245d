from importlib import import_module

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import migrations, models

landed = import_module("generation.migrations.0002_one_person_a_take")
(guard,) = landed.Migration.operations


def amount() -> models.FloatField:
    return models.FloatField(
        default=1.0, validators=[MinValueValidator(0), MaxValueValidator(2)]
    )


class Migration(migrations.Migration):
    """How a song is sung: every song so far as usual."""

    dependencies = [("generation", "0003_beat_belongs_to_the_mix")]

    operations = [
        # On SQLite the table is made anew, which its readers among the triggers forbid.
        migrations.RunPython(guard.reverse_code, guard.code),
        migrations.AddField("song", "vibrato", amount()),
        migrations.AddField("song", "portamento", amount()),
        migrations.AddField("song", "scoop", amount()),
        migrations.AddField("song", "dynamics", amount()),
        migrations.AddField(
            "song",
            "breath_db",
            models.FloatField(
                default=0.0, validators=[MinValueValidator(-12), MaxValueValidator(12)]
            ),
        ),
        migrations.AddConstraint(
            "song",
            models.CheckConstraint(
                condition=models.Q(
                    vibrato__range=(0, 2),
                    portamento__range=(0, 2),
                    scoop__range=(0, 2),
                    dynamics__range=(0, 2),
                    breath_db__range=(-12, 12),
                ),
                name="generation_song_expression_in_range",
            ),
        ),
        migrations.RunPython(guard.code, guard.reverse_code),
    ]
