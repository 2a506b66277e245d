from django.db import migrations

from voiceplatform.triggers import trigger

SAME_USER = """
    (SELECT voice.user_id FROM voices_voicemodel model
     JOIN voices_voice voice ON voice.id = model.voice_id
     WHERE model.id = NEW.model_id)
    {differs}
    (SELECT consent.user_id FROM recordings_recording take
     JOIN recordings_recordingsession session ON session.id = take.session_id
     JOIN consent_consentgrant consent ON consent.id = session.grant_id
     WHERE take.id = NEW.recording_id)
"""
MESSAGE = "a take may only join a voice of its own speaker"


class Migration(migrations.Migration):
    dependencies = [("voices", "0001_initial")]

    operations = [
        trigger(
            sqlite=(
                ";;".join(
                    f"""
                    CREATE TRIGGER voices_sample_same_user_{event.lower()}
                    BEFORE {event} ON voices_trainingsample
                    WHEN {SAME_USER.format(differs="IS NOT")}
                    BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END
                    """
                    for event in ("INSERT", "UPDATE")
                ),
                """
                DROP TRIGGER voices_sample_same_user_insert;;
                DROP TRIGGER voices_sample_same_user_update
                """,
            ),
            postgresql=(
                f"""
                CREATE FUNCTION voices_sample_same_user() RETURNS trigger AS $$
                BEGIN
                    IF {SAME_USER.format(differs="IS DISTINCT FROM")} THEN
                        RAISE EXCEPTION '{MESSAGE}' USING ERRCODE = 'check_violation';
                    END IF;
                    RETURN NEW;
                END $$ LANGUAGE plpgsql;;
                CREATE TRIGGER voices_sample_same_user
                BEFORE INSERT OR UPDATE ON voices_trainingsample
                FOR EACH ROW EXECUTE FUNCTION voices_sample_same_user()
                """,
                """
                DROP TRIGGER voices_sample_same_user ON voices_trainingsample;;
                DROP FUNCTION voices_sample_same_user()
                """,
            ),
        )
    ]
