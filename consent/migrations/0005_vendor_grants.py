from django.conf import settings
from django.db import migrations, models

from voiceplatform.triggers import lifted


class Migration(migrations.Migration):

    dependencies = [
        ('consent', '0004_link_withdrawn_grant_to_receipt'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        # On SQLite tables are made anew, which triggers that read them forbid.
        lifted(),
        migrations.RemoveConstraint(
            model_name='consentgrant',
            name='consent_one_open_grant_per_scope',
        ),
        migrations.AddField(
            model_name='consentgrant',
            name='expires_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='consentgrant',
            name='vendor',
            field=models.SlugField(blank=True, default=''),
        ),
        migrations.AddField(
            model_name='consentstatement',
            name='scope',
            field=models.CharField(choices=[('clone_local', 'Make a voice from my recordings on this site'), ('clone_vendor', 'Send my recordings to a voice vendor')], default='clone_local', max_length=20),
        ),
        migrations.AlterField(
            model_name='consentstatement',
            name='version',
            field=models.PositiveIntegerField(),
        ),
        migrations.AddConstraint(
            model_name='consentgrant',
            constraint=models.UniqueConstraint(condition=models.Q(('superseded_at', None), ('withdrawn_at', None)), fields=('user', 'scope', 'vendor'), name='consent_one_open_grant_per_scope'),
        ),
        migrations.AddConstraint(
            model_name='consentgrant',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('expires_at__isnull', False), ('scope', 'clone_vendor'), models.Q(('vendor', ''), _negated=True)), models.Q(models.Q(('scope', 'clone_vendor'), _negated=True), ('vendor', '')), _connector='OR'), name='consent_vendor_grant_names_vendor_and_end'),
        ),
        migrations.AddConstraint(
            model_name='consentstatement',
            constraint=models.UniqueConstraint(fields=('scope', 'version'), name='consent_one_statement_per_version'),
        ),
    ]
