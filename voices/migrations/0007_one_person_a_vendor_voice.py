from django.db import migrations

from voiceplatform.triggers import trigger

UNFOUNDED = """
    NEW.vendor_grant_id IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM consent_consentgrant consent
        JOIN voices_voice voice ON voice.user_id = consent.user_id
        WHERE consent.id = NEW.vendor_grant_id
        AND voice.id = NEW.voice_id
        AND consent.scope = 'clone_vendor'
        AND consent.vendor = NEW.vendor
    )
"""
MESSAGE = "a vendor may only make a voice under its owner''s yes to this vendor"


class Migration(migrations.Migration):
    dependencies = [
        ("consent", "0005_vendor_grants"),
        ("voices", "0006_training_machines"),
    ]

    operations = [
        trigger(
            sqlite=(
                f"""
                CREATE TRIGGER voices_vendor_grant_same_user_insert
                BEFORE INSERT ON voices_voicemodel
                WHEN {UNFOUNDED}
                BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END;;
                CREATE TRIGGER voices_vendor_grant_same_user_update
                BEFORE UPDATE OF voice_id, vendor_grant_id, vendor
                ON voices_voicemodel
                WHEN {UNFOUNDED}
                BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END
                """,
                """
                DROP TRIGGER voices_vendor_grant_same_user_insert;;
                DROP TRIGGER voices_vendor_grant_same_user_update
                """,
            ),
            postgresql=(
                f"""
                CREATE FUNCTION voices_vendor_grant_same_user() RETURNS trigger AS $$
                BEGIN
                    IF {UNFOUNDED} THEN
                        RAISE EXCEPTION '{MESSAGE}' USING ERRCODE = 'check_violation';
                    END IF;
                    RETURN NEW;
                END $$ LANGUAGE plpgsql;;
                CREATE TRIGGER voices_vendor_grant_same_user
                BEFORE INSERT OR UPDATE OF voice_id, vendor_grant_id, vendor
                ON voices_voicemodel
                FOR EACH ROW EXECUTE FUNCTION voices_vendor_grant_same_user()
                """,
                """
                DROP TRIGGER voices_vendor_grant_same_user ON voices_voicemodel;;
                DROP FUNCTION voices_vendor_grant_same_user()
                """,
            ),
        )
    ]
