"""Run by alembic for every service's migrations; the database's address comes from migrate()."""

from alembic import context
from sqlalchemy import create_engine, pool, text

# Any constant: two migrators of one database take turns.
LOCK_ID = 7_263_001

engine = create_engine(context.config.attributes["url"], poolclass=pool.NullPool)
with engine.begin() as connection:
    connection.execute(text("select pg_advisory_xact_lock(:id)"), {"id": LOCK_ID})
    context.configure(connection=connection, target_metadata=None)
    # After a rollback a version's Job may come again: what a newer one made of the schema stays, and serves
    # it. Versions sort as text. alembic would look for the migration that it does not have.
    at = context.get_context().get_current_revision()
    if at is None or at <= str(context.get_head_revision()):
        context.run_migrations()
engine.dispose()
