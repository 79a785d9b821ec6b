"""One database and one role per service, on any PostgreSQL that we administer."""

import hashlib
import hmac
from dataclasses import dataclass

import psycopg
from psycopg import sql

SERVICES = ("gateway", "session", "wallet", "game", "events")


@dataclass(frozen=True, slots=True)
class Server:
    """A PostgreSQL server with a superuser. Passwords of the service roles are derived from `secret`."""

    host: str
    port: int
    superuser: str
    password: str
    secret: str

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """A superuser connection in autocommit mode; raises psycopg.OperationalError."""
        return psycopg.connect(
            host=self.host,
            port=self.port,
            user=self.superuser,
            password=self.password,
            dbname=database,
            autocommit=True,
            connect_timeout=10,
        )

    def role_password(self, service: str) -> str:
        """Derived, so that nothing needs to be stored beside the one secret."""
        return hmac.new(self.secret.encode(), service.encode(), hashlib.sha256).hexdigest()[:32]

    def url(self, service: str, database: str) -> str:
        """SQLAlchemy URL of a database as its service's role."""
        password = self.role_password(service)
        return f"postgresql+psycopg://{role_name(service)}:{password}@{self.host}:{self.port}/{database}"

    def create_role(self, service: str) -> None:
        """The service's login role without any right of its own; does nothing when it exists."""
        with self.connect() as connection:
            query = "select 1 from pg_roles where rolname = %s"
            if connection.execute(query, [role_name(service)]).fetchone() is None:
                connection.execute(
                    sql.SQL("create role {} login password {}").format(
                        sql.Identifier(role_name(service)), sql.Literal(self.role_password(service))
                    )
                )

    def create_database(self, service: str, database: str, *, template: str = "template0") -> str:
        """A database owned by the service's role, closed to every other role. Returns its URL."""
        name = sql.Identifier(database)
        with self.connect() as connection:
            connection.execute(
                sql.SQL("create database {} owner {} template {}").format(
                    name, sql.Identifier(role_name(service)), sql.Identifier(template)
                )
            )
            connection.execute(sql.SQL("revoke all on database {} from public").format(name))
        return self.url(service, database)

    def drop_database(self, database: str) -> None:
        """Ends the sessions of the database and removes it."""
        with self.connect() as connection:
            statement = sql.SQL("drop database if exists {} with (force)")
            connection.execute(statement.format(sql.Identifier(database)))

    def create_service_databases(self, services: tuple[str, ...] = SERVICES) -> dict[str, str]:
        """One database and one role per service; what exists is kept. Returns the URL per service."""
        with self.connect() as connection:
            # By default every role may connect to these two and look around.
            connection.execute("revoke connect on database postgres, template1 from public")
            existing = {row[0] for row in connection.execute("select datname from pg_database")}
        for service in services:
            self.create_role(service)
            if role_name(service) not in existing:
                self.create_database(service, role_name(service))
        return {service: self.url(service, role_name(service)) for service in services}


def role_name(service: str) -> str:
    """The service's role; also the name of its database outside tests."""
    return f"reelmesh_{service}"
