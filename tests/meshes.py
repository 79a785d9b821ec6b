"""A running mesh for tests: fresh databases, free ports, two operators with API keys."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deploy.local.authority import Authority, Folder
from deploy.local.databases import SERVICES
from deploy.local.mesh import Mesh
from deploy.local.seed import seed
from tests.databases import Databases

API_KEY = f"rk_{'t' * 43}"
OTHER_API_KEY = f"rk_{'o' * 43}"
# Nobody waits for a load balancer to look away.
_ENVIRONMENT = {"REELMESH_DRAIN_WAIT_MS": "50", "OTEL_BSP_SCHEDULE_DELAY": "200"}


@contextmanager
def running_mesh(
    databases: Databases,
    *,
    replicas: Mapping[str, int] | None = None,
    environment: Mapping[str, str] | None = None,
    authority: Authority | None = None,
) -> Iterator[Mesh]:
    """Five services, ready; operators "dev" (API_KEY) and "other" (OTHER_API_KEY). Killed at the end.

    `authority`: over TLS, with certificates of it.
    """
    urls = {service: databases.create(service) for service in SERVICES}
    seed(urls["gateway"], API_KEY)
    seed(urls["gateway"], OTHER_API_KEY, operator_id="other")
    with tempfile.TemporaryDirectory(prefix="reelmesh-mesh-") as directory:
        tls = None
        if authority is not None:
            tls = Folder(Path(directory) / "tls", SERVICES)
            tls.renew(authority)
            tls.trust(authority)
        mesh = Mesh(
            Path(directory),
            urls,
            replicas=replicas,
            environment={**_ENVIRONMENT, **(environment or {})},
            tls=tls,
        )
        try:
            mesh.start()
            yield mesh
        finally:
            mesh.kill()
            for url in urls.values():
                databases.drop(url)
