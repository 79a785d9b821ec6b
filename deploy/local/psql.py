"""`make psql`: a service's database in psql, to look at: what writes has to say so itself."""

import os
import shutil
from collections.abc import Mapping

from sqlalchemy.engine import make_url

from deploy.local import binaries
from deploy.local.errors import LocalError

_READ_ONLY = "-c default_transaction_read_only=on"


def environment(url: str, environ: Mapping[str, str]) -> dict[str, str]:
    """How psql is told where the database is: not by arguments, for the process list shows those."""
    where = make_url(url)
    named = {
        "PGHOST": where.host,
        "PGPORT": str(where.port or 5432),
        "PGUSER": where.username,
        "PGPASSWORD": where.password,
        "PGDATABASE": where.database,
        "PGOPTIONS": _READ_ONLY,
    }
    return {**environ, **{name: value for name, value in named.items() if value}}


def psql(url: str) -> None:
    """Becomes psql. Raises LocalError where there is none."""
    program = shutil.which("psql", path=str(binaries.find().directory)) or shutil.which("psql")
    if program is None:
        raise LocalError("no psql found: apt-get install --no-install-recommends postgresql-client")
    os.execve(program, [program, "--no-psqlrc"], environment(url, os.environ))
