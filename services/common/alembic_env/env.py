"""Run by alembic for every service's migrations; the database's address comes from migrate()."""

from alembic import context
from sqlalchemy import create_engine, pool, text

# Any constant: two migrators of one database take turns.
LOCK_ID = 7_263_001

engine = create_engine(context.config.attributes["url"], poolclass=pool.NullPool)
with engine.begin() as connection:
    connection.execute(text("select pg_advisory_xact_lock(:id)"), {"id": LOCK_ID})
    context.configure(connection=connection, target_metadata=None)
    context.run_migrations()
engine.dispose()
