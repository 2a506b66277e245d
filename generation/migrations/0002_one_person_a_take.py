from django.db import migrations

from voiceplatform.triggers import trigger

SAME_USER = """
    (SELECT song.user_id FROM generation_song song WHERE song.id = NEW.song_id)
    {differs}
    (SELECT voice.user_id FROM voices_voicemodel model
     JOIN voices_voice voice ON voice.id = model.voice_id
     WHERE model.id = NEW.voice_model_id)
"""
MESSAGE = "a song may only be sung by the voice of its owner"


class Migration(migrations.Migration):
    dependencies = [("generation", "0001_initial"), ("voices", "0001_initial")]

    operations = [
        trigger(
            sqlite=(
                f"""
                CREATE TRIGGER generation_take_same_user_insert
                BEFORE INSERT ON generation_generation
                WHEN {SAME_USER.format(differs="IS NOT")}
                BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END;;
                CREATE TRIGGER generation_take_same_user_update
                BEFORE UPDATE OF song_id, voice_model_id ON generation_generation
                WHEN {SAME_USER.format(differs="IS NOT")}
                BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END
                """,
                """
                DROP TRIGGER generation_take_same_user_insert;;
                DROP TRIGGER generation_take_same_user_update
                """,
            ),
            postgresql=(
                f"""
                CREATE FUNCTION generation_take_same_user() RETURNS trigger AS $$
                BEGIN
                    IF {SAME_USER.format(differs="IS DISTINCT FROM")} THEN
                        RAISE EXCEPTION '{MESSAGE}' USING ERRCODE = 'check_violation';
                    END IF;
                    RETURN NEW;
                END $$ LANGUAGE plpgsql;;
                CREATE TRIGGER generation_take_same_user
                BEFORE INSERT OR UPDATE OF song_id, voice_model_id
                ON generation_generation
                FOR EACH ROW EXECUTE FUNCTION generation_take_same_user()
                """,
                """
                DROP TRIGGER generation_take_same_user ON generation_generation;;
                DROP FUNCTION generation_take_same_user()
                """,
            ),
        )
    ]
