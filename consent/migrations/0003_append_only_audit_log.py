from django.db import migrations

from voiceplatform.triggers import trigger

#: (name, table, event, when it is refused, what the database says)
REFUSALS = [
    (
        "consent_event_{event}_refused",
        "consent_auditevent",
        ("UPDATE", "DELETE"),
        "",
        "the audit log is append-only",
    ),
    (
        "consent_head_{event}_refused",
        "consent_audithead",
        ("DELETE",),
        "",
        "the head of the audit log stays",
    ),
    (
        "consent_head_{event}_backwards_refused",
        "consent_audithead",
        ("UPDATE",),
        "NEW.sequence <> OLD.sequence + 1",
        "the head of the audit log moves forward by one",
    ),
    (
        "consent_statement_{event}_refused",
        "consent_consentstatement",
        ("UPDATE", "DELETE"),
        "",
        "published words stay as they are: publish a new version",
    ),
]


def each():
    for name, table, events, condition, message in REFUSALS:
        for event in events:
            yield name.format(event=event.lower()), table, event, condition, message


TRUNCATED = ("consent_auditevent", "consent_audithead")

SQLITE = (
    ";;".join(
        f"""
        CREATE TRIGGER {name} BEFORE {event} ON {table}
        {f"WHEN {condition}" if condition else ""}
        BEGIN SELECT RAISE(ABORT, '{message}'); END
        """
        for name, table, event, condition, message in each()
    ),
    ";;".join(f"DROP TRIGGER {name}" for name, *_ in each()),
)
POSTGRESQL = (
    ";;".join(
        [
            """
            CREATE FUNCTION consent_refuse() RETURNS trigger AS $$
            BEGIN
                RAISE EXCEPTION '%', TG_ARGV[0]
                USING ERRCODE = 'integrity_constraint_violation';
            END $$ LANGUAGE plpgsql
            """,
            *(
                f"""
                CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW
                {f"WHEN ({condition})" if condition else ""}
                EXECUTE FUNCTION consent_refuse('{message}')
                """
                for name, table, event, condition, message in each()
            ),
            *(
                f"""
                CREATE TRIGGER {table}_truncate_refused BEFORE TRUNCATE ON {table}
                EXECUTE FUNCTION consent_refuse('the audit log is append-only')
                """
                for table in TRUNCATED
            ),
        ]
    ),
    ";;".join(
        [
            *(f"DROP TRIGGER {name} ON {table}" for name, table, *_ in each()),
            *(f"DROP TRIGGER {table}_truncate_refused ON {table}" for table in TRUNCATED),
            "DROP FUNCTION consent_refuse()",
        ]
    ),
)


class Migration(migrations.Migration):
    dependencies = [("consent", "0002_supersede_grants_and_head_the_log")]

    operations = [trigger(sqlite=SQLITE, postgresql=POSTGRESQL)]
