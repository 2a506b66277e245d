"""A ticket names its spool, its encoding and why it was refused; one open a session."""

import uuid

from django.db import migrations, models


def name_spools(apps, schema_editor):
    """Each ticket gets a directory of its own; open ones are closed.

    No stream outlives this migration (the server was stopped for it), and only one
    ticket of a session may stay open from now on.
    """
    tickets = apps.get_model("recordings", "LiveTicket").objects
    tickets.filter(state="open").update(state="refused")
    for ticket in tickets.filter(work_name=None).iterator():
        ticket.work_name = uuid.uuid4()
        ticket.save(update_fields=["work_name"])


class Migration(migrations.Migration):
    dependencies = [("recordings", "0001_initial")]

    operations = [
        migrations.RenameField("liveticket", "first_chunk_at", "started_at"),
        migrations.AddField(
            "liveticket",
            "encoding",
            models.CharField(
                blank=True,
                max_length=5,
                choices=[
                    ("f32le", "32-bit float, little-endian"),
                    ("s16le", "16-bit integer, little-endian"),
                ],
            ),
        ),
        migrations.AddField(
            "liveticket", "refusal", models.CharField(blank=True, max_length=40)
        ),
        migrations.AddField(
            "liveticket", "work_name", models.UUIDField(editable=False, null=True)
        ),
        migrations.RunPython(name_spools, migrations.RunPython.noop),
        migrations.AlterField(
            "liveticket",
            "work_name",
            models.UUIDField(default=uuid.uuid4, editable=False, unique=True),
        ),
        migrations.AlterField(
            "liveticket",
            "state",
            models.CharField(
                max_length=8,
                default="open",
                choices=[
                    ("open", "Open"),
                    ("spent", "Spent"),
                    ("refused", "Refused"),
                    ("expired", "Expired"),
                ],
            ),
        ),
        migrations.AddConstraint(
            "liveticket",
            models.UniqueConstraint(
                condition=models.Q(state="open"),
                fields=["session"],
                name="recordings_one_open_ticket_per_session",
            ),
        ),
        migrations.AddConstraint(
            "liveticket",
            models.CheckConstraint(
                condition=models.Q(chunks=0) | models.Q(started_at__isnull=False),
                name="recordings_chunks_only_after_start",
            ),
        ),
    ]
