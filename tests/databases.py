"""Uniquely named databases on a test server, copied from one migrated template per service."""

import uuid
from concurrent.futures import ThreadPoolExecutor

from deploy.local.databases import Server

# A crash of the machine may cost a test its data; a killed process loses nothing. Without autovacuum a plan
# does not depend on when it came by.
TEST_SETTINGS = {"fsync": "off", "shared_buffers": "64MB", "autovacuum": "off"}


class Databases:
    """Makes databases and drops only what it made."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._templates: dict[str, str] = {}
        self._copies: dict[str, str] = {}

    def create(self, service: str) -> str:
        """URL of a new migrated database of the service, as the service's role."""
        name = f"{service}_{uuid.uuid4().hex[:12]}"
        url = self.server.create_database(service, name, template=self._template(service))
        self._copies[url] = name
        return url

    def copy(self, service: str, url: str) -> str:
        """URL of a new database with all that is in one that `create` gave, and nobody is connected to."""
        name = f"{service}_{uuid.uuid4().hex[:12]}"
        copied = self.server.create_database(service, name, template=self._copies[url])
        self._copies[copied] = name
        return copied

    def drop(self, url: str) -> None:
        """Removes a database that `create` gave, whoever is connected to it."""
        self.server.drop_database(self._copies.pop(url))

    def close(self) -> None:
        """Removes everything made."""
        for name in (*self._copies.values(), *self._templates.values()):
            self.server.drop_database(name)

    def _template(self, service: str) -> str:
        if service not in self._templates:
            # Only here, so that a test without a database does not need the services.
            from services.common.migrate import migrate

            name = f"template_{service}_{uuid.uuid4().hex[:12]}"
            self.server.create_role(service)
            url = self.server.create_database(service, name)
            # In a thread: a test that calls us may have an event loop running, and Alembic may want its own.
            with ThreadPoolExecutor(1) as pool:
                pool.submit(migrate, service, url).result()
            self._templates[service] = name
        return self._templates[service]
