"""Beside a pooler: relay and auditor use the direct URL, the rest of the wallet the other."""

from pathlib import Path

from sqlalchemy.engine import make_url

from deploy.local.databases import Server, role_name
from deploy.local.mesh import Mesh
from tests.databases import Databases
from tests.waiting import until


async def test_relay_and_auditor_go_past_the_pooler(
    databases: Databases, server: Server, tmp_path: Path
) -> None:
    """Told apart by the role that each URL names."""
    url = databases.create("wallet")
    direct = make_url(url).set(username=server.superuser, password=server.password)
    environment = {"REELMESH_WALLET_DATABASE_DIRECT_URL": direct.render_as_string(hide_password=False)}
    mesh = Mesh(tmp_path, {"wallet": url}, environment=environment)
    try:
        mesh.start("wallet")
        with server.connect() as connection:

            def roles(application: str) -> set[str]:
                query = "select usename from pg_stat_activity where datname = %s and application_name = %s"
                return {role for (role,) in connection.execute(query, [direct.database, application])}

            # Of the wallet's own name is the relay, and what serves.
            await until(lambda: roles("wallet") == {server.superuser, role_name("wallet")}, seconds_max=60)
            await until(lambda: roles("wallet-auditor") == {server.superuser}, seconds_max=60)
        assert mesh.stop("wallet") == {"wallet": 0}
    finally:
        mesh.kill()
        databases.drop(url)
