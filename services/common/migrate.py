"""Brings a database to its service's newest version: python -m services.common.migrate <service>

The database is REELMESH_<SERVICE>_DATABASE_URL: not an argument, since the process list shows arguments.
"""

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config

from services.common.config import database_url

SERVICES = Path(__file__).parents[1]


def migrate(service: str, url: str, *, revision: str = "head") -> None:
    """Runs the missing versions of services/<service>/migrations in one transaction, forward only.

    Safe to run twice at once: the second waits, and finds nothing to do; nor does it in a schema of a newer
    version, after a rollback. `url` must be a direct connection.
    Up to a `revision` of before only tests go, to see what becomes of its rows.
    """
    versions = SERVICES / service / "migrations" / "versions"
    if not versions.is_dir():
        raise SystemExit(f"migrate: no service {service!r}")
    config = Config()
    # alembic interpolates its options: a path may hold a per cent sign.
    config.set_main_option("script_location", str(SERVICES / "common" / "alembic_env").replace("%", "%%"))
    config.set_main_option("version_locations", str(versions).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["url"] = url
    command.upgrade(config, revision)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m services.common.migrate <service>")
    migrate(sys.argv[1], database_url(sys.argv[1]))
