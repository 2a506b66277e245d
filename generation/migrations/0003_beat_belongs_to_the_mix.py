from importlib import import_module

from django.db import migrations, models

landed = import_module("generation.migrations.0002_one_person_a_take")
(guard,) = landed.Migration.operations


class Migration(migrations.Migration):
    """A beat changes nothing about a vocal: changing it mixes again, sings nothing."""

    dependencies = [("generation", "0002_one_person_a_take")]

    operations = [
        # On SQLite the table is made anew and loses its triggers.
        migrations.RunPython(guard.reverse_code, guard.code),
        migrations.RemoveField(model_name="generation", name="beat"),
        migrations.RunPython(guard.code, guard.reverse_code),
        migrations.AddField(
            model_name="mixdown",
            name="beat",
            field=models.SlugField(blank=True, db_index=False, default=""),
            preserve_default=False,
        ),
    ]
