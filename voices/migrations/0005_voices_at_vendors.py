import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from voiceplatform.triggers import lifted


class Migration(migrations.Migration):

    dependencies = [
        ('consent', '0005_vendor_grants'),
        ('recordings', '0005_fingerprints'),
        ('voices', '0004_samples_and_presets'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        # On SQLite tables are made anew, which triggers that read them forbid.
        lifted(),
        migrations.CreateModel(
            name='VendorAccount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('vendor', models.SlugField(unique=True)),
                ('credits_left', models.PositiveIntegerField(null=True)),
                ('voices_left', models.PositiveIntegerField(null=True)),
                ('asked_at', models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name='VendorCharge',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('vendor', models.SlugField()),
                ('job', models.CharField(max_length=80)),
                ('key', models.CharField(max_length=120, unique=True)),
                ('credits', models.PositiveIntegerField()),
                ('request_id', models.CharField(blank=True, max_length=120)),
                ('is_settled', models.BooleanField(default=False)),
                ('made_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                'ordering': ['-pk'],
            },
        ),
        migrations.RemoveConstraint(
            model_name='voicemodel',
            name='voices_ready_model_has_checkpoint',
        ),
        migrations.AddField(
            model_name='voicemodel',
            name='vendor',
            field=models.SlugField(blank=True, default=''),
        ),
        migrations.AddField(
            model_name='voicemodel',
            name='vendor_grant',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='vendor_models', to='consent.consentgrant'),
        ),
        migrations.AddField(
            model_name='voicemodel',
            name='vendor_key',
            field=models.UUIDField(editable=False, null=True, unique=True),
        ),
        migrations.AddField(
            model_name='voicemodel',
            name='vendor_voice_id',
            field=models.CharField(blank=True, default='', max_length=64),
        ),
        migrations.AlterField(
            model_name='voicemodel',
            name='engine',
            field=models.CharField(choices=[('local', 'On this site'), ('vendor', 'At a voice vendor')], default='local', max_length=12),
        ),
        migrations.AddConstraint(
            model_name='voicemodel',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('engine', 'local'), ('status', 'ready'), _negated=True), models.Q(('checkpoint', ''), _negated=True), _connector='OR'), name='voices_ready_model_has_checkpoint'),
        ),
        migrations.AddConstraint(
            model_name='voicemodel',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('engine', 'vendor'), ('status', 'ready'), _negated=True), models.Q(('vendor_voice_id', ''), _negated=True), _connector='OR'), name='voices_ready_vendor_model_has_voice_id'),
        ),
        migrations.AddConstraint(
            model_name='voicemodel',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('engine', 'local'), ('vendor', ''), ('vendor_grant', None), ('vendor_key', None), ('vendor_voice_id', '')), models.Q(('checkpoint', ''), ('engine', 'vendor'), ('vendor_grant__isnull', False), ('vendor_key__isnull', False), models.Q(('vendor', ''), _negated=True)), _connector='OR'), name='voices_vendor_model_says_which_and_why'),
        ),
        migrations.AddField(
            model_name='vendorcharge',
            name='user',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='vendor_charges', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddIndex(
            model_name='vendorcharge',
            index=models.Index(fields=['vendor', 'made_at'], name='voices_vend_vendor_c0d91a_idx'),
        ),
    ]
