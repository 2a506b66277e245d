"""Acoustic fingerprints of takes, sung takes and mixes, and the hashes that find them."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('generation', '0003_beat_belongs_to_the_mix'),
        ('recordings', '0004_spoken_consent_goes_with_its_take'),
    ]

    operations = [
        migrations.CreateModel(
            name='Fingerprint',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('version', models.CharField(max_length=40)),
                ('digest', models.CharField(max_length=64)),
                ('duration_s', models.FloatField()),
                ('peaks', models.BinaryField()),
                ('made_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('generation', models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='fingerprint', to='generation.generation')),
                ('mixdown', models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='fingerprint', to='generation.mixdown')),
                ('recording', models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='fingerprint', to='recordings.recording')),
            ],
        ),
        migrations.CreateModel(
            name='FingerprintMark',
            fields=[
                ('pk', models.CompositePrimaryKey('fingerprint_id', 'frame', 'hash', blank=True, editable=False, primary_key=True, serialize=False)),
                ('hash', models.IntegerField()),
                ('frame', models.IntegerField()),
                ('fingerprint', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='marks', to='recordings.fingerprint')),
            ],
        ),
        migrations.AddConstraint(
            model_name='fingerprint',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('generation__isnull', True), ('mixdown__isnull', True), ('recording__isnull', False)), models.Q(('generation__isnull', False), ('mixdown__isnull', True), ('recording__isnull', True)), models.Q(('generation__isnull', True), ('mixdown__isnull', False), ('recording__isnull', True)), _connector='OR'), name='recordings_fingerprint_of_one_sound'),
        ),
        migrations.AddIndex(
            model_name='fingerprintmark',
            index=models.Index(fields=['hash', 'fingerprint', 'frame'], name='recordings_mark_lookup'),
        ),
    ]
