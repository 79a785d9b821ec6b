"""deploy/Dockerfile: linted, and each service run from what it copies, by its ENTRYPOINT, as its user."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local.databases import Server
from deploy.local.mesh import Ports
from deploy.local.ports import free_ports
from deploy.local.seed import seed
from services.common import VERSION
from tests.k8s.image import (
    DOCKERFILE,
    Image,
    build,
    build_stage,
    instructions,
    interpreter,
    lets_through,
    stages,
)
from tests.k8s.manifests import BASE, ROOT, SERVICES, Manifest, container
from tests.mesh.players import Client, Player, amount
from tests.meshes import API_KEY
from tools.call_graph import callees

# Longer than anything takes on a busy machine.
SECONDS_MAX = 300.0
# The user of the image, where we may be another and a Python is there for others; else ourselves.
AS_USER = os.geteuid() == 0 and interpreter() is not None


# Packages are installed and five services started: 30 s of a free machine, ten times that of a crowded one.
pytestmark = pytest.mark.timeout(900)


# What the file says


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, "--no-color", DOCKERFILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    worse = DOCKERFILE.read_text().replace("USER 65532:65532", "USER root")
    done = subprocess.run([hadolint, "-"], input=worse, capture_output=True, text=True)
    assert "DL3002" in done.stdout


def test_the_last_stage_has_no_build_tool_and_no_way_to_write() -> None:
    first, last = stages(DOCKERFILE.read_text()).values()
    assert "pip" in str(first) and "pip" not in str(last)
    assert all("from" in step.flags for step in last if step.name == "COPY")
    [user] = [step.text for step in last if step.name == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "a number: Kubernetes cannot tell whether a name is root"
    pods = yaml.safe_load((BASE / "wallet" / "deployment.yaml").read_text())["spec"]["template"]["spec"]
    context_of_pods = pods["securityContext"]
    assert user == f"{context_of_pods['runAsUser']}:{context_of_pods['runAsGroup']}"


def test_packages_are_those_of_the_lock_by_their_hashes() -> None:
    [install] = [step.text for step in instructions(DOCKERFILE.read_text()) if " install " in step.text]
    assert "--require-hashes -r lock/runtime.txt" in install
    lock = (ROOT / "lock" / "runtime.txt").read_text()
    for entry in re.split(r"\n(?=\S)", lock.strip()):
        assert entry.startswith("#") or "--hash=sha256:" in entry, entry


def test_the_context_holds_what_is_copied_and_no_more() -> None:
    for name in (
        "services/call_graph.yaml",
        "services/gateway/page/index.html",
        "clients/javascript/money.js",
    ):
        assert (ROOT / name).exists() and lets_through(name), name
    for name in (
        ".git/config",
        ".reelmesh/keys.json",
        ".venv/bin/python",
        "deploy/local/run.py",
        "tests/tools.py",
    ):
        assert not lets_through(name), name
    for name in ("lock/dev.txt", "clients/javascript/package.json", "services/game/__pycache__/a.pyc"):
        assert not lets_through(name), name


# What it makes


@dataclass
class Running:
    """One service of the image."""

    process: subprocess.Popen[bytes]
    image: Image
    ports: Ports
    log: Path

    def serving(self, health: str) -> bool:
        """What its admin port answers now."""
        with grpc.insecure_channel(
            f"127.0.0.1:{self.ports.admin}", options=[("grpc.enable_http_proxy", 0)]
        ) as channel:
            ask = health_pb2.HealthCheckRequest(service=health)
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(ask, timeout=5)  # type: ignore[no-untyped-call]
            except grpc.RpcError:
                return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def wait(self, health: str) -> None:
        """Until it serves under this name."""
        end = time.monotonic() + SECONDS_MAX
        while not self.serving(health):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """Others can enter it, as the image's user has to."""
    path = Path(tempfile.mkdtemp(prefix="reelmesh-image-"))
    path.chmod(0o755)
    yield path
    subprocess.run(["chmod", "-R", "u+w", path], check=True)
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def images(directory: Path) -> dict[str, Image]:
    """The image of each service; nobody can write in it."""
    built = {"build": build_stage("build", directory / "build")}
    arguments = {"VERSION": VERSION, "REVISION": "0" * 40, "SOURCE": "https://example.com/reelmesh"}
    made = {
        service: build(directory / service, {**arguments, "SERVICE": service}, built=built)
        for service in SERVICES
    }
    subprocess.run(
        ["chmod", "-R", "a-w", directory / "build", *(image.root for image in made.values())], check=True
    )
    return made


@pytest.fixture(scope="module")
def urls(server: Server) -> Iterator[dict[str, str]]:
    """An empty database of each service."""
    names = {service: f"image_{service}_{os.urandom(6).hex()}" for service in SERVICES}
    for service in SERVICES:
        server.create_role(service)
    yield {service: server.create_database(service, name) for service, name in names.items()}
    for name in names.values():
        server.drop_database(name)


def deployed(service: str) -> Manifest:
    """The container of its Deployment."""
    return container(yaml.safe_load((BASE / service / "deployment.yaml").read_text()))


def settings(service: str, ports: Mapping[str, Ports], url: str) -> dict[str, str]:
    """Those of the base, but for addresses; every secret that the Deployment reads."""
    lines = (BASE / service / "settings.env").read_text().splitlines()
    found = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    found |= {each["name"]: "a-secret-for-this-test-only" for each in deployed(service)["env"]}
    prefix = f"REELMESH_{service.upper()}_"
    found |= {
        f"REELMESH_{peer.upper()}_TARGET": f"dns:///127.0.0.1:{ports[peer].grpc}" for peer in callees(service)
    }
    found |= {
        "REELMESH_HOST": "127.0.0.1",
        f"{prefix}DATABASE_URL": url,
        f"{prefix}GRPC_PORT": str(ports[service].grpc),
        f"{prefix}ADMIN_PORT": str(ports[service].admin),
    }
    if service == "gateway":
        found |= {f"{prefix}REST_PORT": str(ports[service].rest), f"{prefix}PAGE": "on"}
    return found


def start(
    image: Image, command: tuple[str, ...], environ: Mapping[str, str], log: IO[bytes]
) -> subprocess.Popen[bytes]:
    """As in the pod: the image's variables and the pod's, its user, its folder; only /tmp can be written."""
    options: dict[str, Any] = {}
    temporary = Path(tempfile.mkdtemp(prefix="tmp-", dir=image.root.parent))
    if AS_USER:
        user, _, group = image.user.partition(":")
        os.chown(temporary, int(user), int(group))
        options = {"user": int(user), "group": int(group), "extra_groups": []}
    environment = {**image.environ(), **environ, "TMPDIR": str(temporary)}
    # Found as the kernel's exec would, by the image's own PATH.
    program = shutil.which(command[0], path=environment["PATH"])
    assert program is not None and program.startswith(str(image.folder))
    return subprocess.Popen(
        [program, *command[1:]],
        cwd=image.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        **options,
    )


def files(root: Path) -> dict[str, int]:
    """Each name with its time."""
    return {
        path: os.lstat(path).st_mtime_ns
        for folder, folders, names in os.walk(root)
        for path in (os.path.join(folder, name) for name in (*folders, *names))
    }


@pytest.fixture(scope="module")
def mesh(images: dict[str, Image], urls: dict[str, str], directory: Path) -> Iterator[dict[str, Running]]:
    """All five, started on empty databases, which the Jobs of the base then migrate. Ended by SIGTERM."""
    ports = {service: Ports(*free_ports(3 if service == "gateway" else 2)) for service in SERVICES}
    before = {service: files(images[service].root) for service in SERVICES}
    running: dict[str, Running] = {}
    try:
        for service, image in images.items():
            log = directory / f"{service}.log"
            with log.open("wb") as file:
                environ = settings(service, ports, urls[service])
                process = start(image, image.entrypoint, environ, file)
            running[service] = Running(process, image, ports[service], log)
        for one in running.values():
            one.wait("startup")
            one.wait("liveness")
            # What the rollout waits for: the schema is not there yet.
            assert not one.serving("readiness")
        _migrate(images, urls, directory)
        for one in running.values():
            one.wait("readiness")
        yield running
        for one in running.values():
            one.process.send_signal(signal.SIGTERM)
        for service, one in running.items():
            assert one.process.wait(SECONDS_MAX) == 0, one.log.read_text()
            assert files(one.image.root) == before[service], service
    finally:
        for one in running.values():
            if one.process.poll() is None:
                one.process.kill()
                one.process.wait()


def _migrate(images: dict[str, Image], urls: dict[str, str], directory: Path) -> None:
    """By the command of each Job."""
    jobs = {}
    for service, image in images.items():
        only = container(yaml.safe_load((BASE / service / "migrate.yaml").read_text()))
        environ = {variable["name"]: urls[service] for variable in only["env"]}
        with (directory / f"{service}-migrate.log").open("wb") as file:
            jobs[service] = start(image, tuple(only["command"]), environ, file)
    for service, process in jobs.items():
        assert process.wait(SECONDS_MAX) == 0, (directory / f"{service}-migrate.log").read_text()


def test_labels_say_what_it_is(images: dict[str, Image]) -> None:
    for service, image in images.items():
        labels = {
            name.removeprefix("org.opencontainers.image."): value for name, value in image.labels.items()
        }
        assert labels.pop("description")
        assert labels == {
            "title": f"reelmesh-{service}",
            "version": VERSION,
            "revision": "0" * 40,
            "source": "https://example.com/reelmesh",
            "licenses": "Apache-2.0",
        }


def test_a_wrong_service_fails_the_build(images: dict[str, Image], directory: Path) -> None:
    built = {"build": images["wallet"]}
    with pytest.raises(subprocess.CalledProcessError):
        build(directory / "nothing", {"SERVICE": "nothing"}, built=built)


def test_each_service_waits_for_its_schema_and_is_then_ready_and_alive(mesh: dict[str, Running]) -> None:
    for service, one in mesh.items():
        # The same process: it was never started again.
        assert one.process.poll() is None
        assert one.serving("readiness") and one.serving("liveness"), service


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
def test_the_process_is_python_itself_as_the_user_of_the_image(mesh: dict[str, Running]) -> None:
    for service, one in mesh.items():
        of = Path(f"/proc/{one.process.pid}")
        assert of.joinpath("exe").resolve().name.startswith("python"), service
        status = dict(line.split(":", 1) for line in of.joinpath("status").read_text().splitlines())
        uid = one.image.user.partition(":")[0] if AS_USER else str(os.geteuid())
        assert set(status["Uid"].split()) == {uid}
        # What a pod asks for is more than it has when nobody plays.
        [only] = yaml.safe_load((BASE / service / "deployment.yaml").read_text())["spec"]["template"]["spec"][
            "containers"
        ]
        assert int(status["VmRSS"].split()[0]) < 1024 * int(
            only["resources"]["requests"]["memory"].removesuffix("Mi")
        )


def test_the_gateway_serves_the_page_and_its_client(mesh: dict[str, Running]) -> None:
    url = f"http://127.0.0.1:{mesh['gateway'].ports.rest}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{url}/", timeout=SECONDS_MAX) as page:
        assert page.read() == (ROOT / "services/gateway/page/index.html").read_bytes()
    for path in (ROOT / "clients/javascript").glob("*.js"):
        with opener.open(f"{url}/page/{path.name}", timeout=SECONDS_MAX) as module:
            assert module.read() == path.read_bytes()


async def test_a_spin_is_played_with_the_settings_of_the_base(
    mesh: dict[str, Running], urls: dict[str, str]
) -> None:
    await asyncio.to_thread(seed, urls["gateway"], API_KEY)
    client = Client([f"http://127.0.0.1:{mesh['gateway'].ports.rest}"], timeout_s=SECONDS_MAX)
    try:
        player = Player(client, API_KEY, "p-of-the-image", "harbour-lights")
        assert (await player.fund(50_000)).status == 200
        # Real money, so under a policy that is no laptop's.
        launched = await player.launch(jurisdiction="default", stake_max=amount(500))
        assert launched.status == 200, launched
        played = await player.spin(100)
        assert played.status == 200 and played.body["round"]["state"] == "SETTLED", played
    finally:
        await client.close()
