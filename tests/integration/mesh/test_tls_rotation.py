"""Certificates and their authority are replaced under load; what is half written is not taken."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

from deploy.local.authority import Authority, Folder
from deploy.local.errors import LocalError
from deploy.local.mesh import Mesh
from tests.databases import Databases
from tests.mesh.certified import reason, serial, serial_of
from tests.mesh.players import Answer, Player
from tests.mesh.stage import STAKE_MINOR, Stage
from tests.meshes import running_mesh
from tests.waiting import until

PLAYERS = 4
# A file is looked at once a second; a busy machine takes its time.
PATIENCE_S = 60.0
TAKEN, REFUSED = "TLS: certificate", "cannot be used"


@pytest.fixture(scope="module")
def first() -> Authority:
    """Whose certificates the mesh starts with."""
    return Authority("first")


@pytest.fixture(scope="module")
def mesh(databases: Databases, first: Authority) -> Iterator[Mesh]:
    """Two gateways, one of each other service. The last test leaves another authority."""
    with running_mesh(databases, authority=first, replicas={"gateway": 2}) as mesh:
        yield mesh
        assert set(mesh.stop().values()) == {0}


@pytest.fixture
async def stage(mesh: Mesh) -> AsyncIterator[Stage]:
    """The mesh as players use it."""
    stage = Stage(mesh)
    yield stage
    await stage.close()


def folder(mesh: Mesh) -> Folder:
    assert mesh.tls is not None
    return mesh.tls


class Load:
    """Players who spin all the time; every answer is kept."""

    def __init__(self, players: list[Player]) -> None:
        self._players = players
        self._stop = asyncio.Event()
        self.answers: list[Answer] = []

    async def run(self) -> None:
        """Until stop()."""
        await asyncio.gather(*(self._play(player) for player in self._players))

    async def _play(self, player: Player) -> None:
        while not self._stop.is_set():
            await player.spin(STAKE_MINOR)
            # With those that had to be repeated.
            self.answers += player.spins.pop().answers

    def stop(self) -> None:
        """Ends it after the spins under way."""
        self._stop.set()

    async def more(self, count: int = 20) -> None:
        """Until so many spins more were answered."""
        end = len(self.answers) + count
        await until(lambda: len(self.answers) >= end, seconds_max=PATIENCE_S)


class Taken:
    """How often every process has taken changed files since then."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh, self._before = mesh, {name: mesh.log(name).count(TAKEN) for name in mesh.names}

    async def wait(self, times: int) -> None:
        """Until it is so often."""

        def reached() -> bool:
            counts = {name: self._mesh.log(name).count(TAKEN) for name in self._mesh.names}
            return all(count >= self._before[name] + times for name, count in counts.items())

        await until(reached, seconds_max=PATIENCE_S)


async def shown(mesh: Mesh) -> dict[str, int]:
    """The serial number that each port shows, the gateways' REST included."""
    ports = {name: mesh.ports(name).grpc for name in mesh.names}
    ports |= {f"{name} REST": mesh.ports(name).rest for name in mesh.names if mesh.ports(name).rest}
    own = folder(mesh)
    return {name: await serial(port, own.ca_file, own.of("session")) for name, port in ports.items()}


async def wait_shown(mesh: Mesh) -> None:
    """Until every port shows what is in its service's directory."""

    async def current() -> bool:
        return all(
            number == serial_of(folder(mesh).of(name.split()[0].removesuffix("-2")))
            for name, number in (await shown(mesh)).items()
        )

    await until(current, seconds_max=PATIENCE_S)


async def said_often(mesh: Mesh, times: int) -> None:
    """Until the wallet has refused files so often."""
    await until(lambda: mesh.log("wallet").count(REFUSED) >= times, seconds_max=PATIENCE_S)


async def test_what_is_half_written_is_not_taken(stage: Stage, mesh: Mesh, first: Authority) -> None:
    own = folder(mesh)
    certificate, key = first.issue_for("wallet")
    before = serial_of(own.of("wallet"))
    old = {name: (own.of("wallet") / name).read_bytes() for name in ("tls.crt", "tls.key", "ca.crt")}
    broken = [
        {"tls.crt": certificate},
        {"tls.crt": b""},
        {"tls.key": b""},
        {"ca.crt": b""},
        {"tls.crt": certificate[:200], "tls.key": key},
        {"ca.crt": old["ca.crt"] + Authority().pem[:300]},
        # Whole, but not ours; and of an authority that we do not trust.
        dict(zip(("tls.crt", "tls.key"), first.issue_for("game"), strict=True)),
        dict(zip(("tls.crt", "tls.key"), Authority().issue_for("wallet"), strict=True)),
    ]
    for said, files in enumerate(broken, start=1):
        own.write("wallet", {**old, **files})
        await said_often(mesh, said)
        assert (await shown(mesh))["wallet"] == before
    (own.of("wallet") / "tls.key").unlink()
    await said_often(mesh, len(broken) + 1)
    player = await stage.player()
    assert (await player.spin(STAKE_MINOR)).status == 200
    # The other half arrives.
    own.write("wallet", {**old, "tls.crt": certificate, "tls.key": key})
    await wait_shown(mesh)
    assert (await player.spin(STAKE_MINOR)).status == 200
    log = mesh.log("wallet")
    assert log.count(REFUSED) == len(broken) + 1, "each was said once"
    assert log.count(TAKEN) == 1
    assert "PRIVATE KEY" not in log


async def test_a_service_does_not_start_with_a_certificate_that_has_expired(
    mesh: Mesh, first: Authority
) -> None:
    own = folder(mesh)
    mesh.stop("events")
    certificate, key = first.issue_for("events", valid_for=timedelta(seconds=-1))
    own.write("events", {"tls.crt": certificate, "tls.key": key})
    with pytest.raises(
        LocalError, match=r"events: the certificate in .* cannot be used: tls.crt has expired"
    ):
        mesh.start("events")
    own.renew(first)
    mesh.start("events")


async def test_all_are_replaced_twice_under_load_and_no_spin_fails(
    stage: Stage, mesh: Mesh, first: Authority
) -> None:
    own, second = folder(mesh), Authority("second")
    load = Load([await stage.player(funds_minor=10**9) for _ in range(PLAYERS)])
    playing = asyncio.create_task(load.run())
    await load.more()
    before, taken = await shown(mesh), Taken(mesh)

    # Certificates of the same authority.
    own.renew(first)
    await taken.wait(1)
    await wait_shown(mesh)
    between = await shown(mesh)
    await load.more()

    # Another authority: trusted first, then used, then trusted alone.
    own.trust(first, second)
    await taken.wait(2)
    await load.more()
    own.renew(second)
    await taken.wait(3)
    await wait_shown(mesh)
    await load.more()
    own.trust(second)
    await taken.wait(4)
    await load.more()

    load.stop()
    await playing
    failed = [answer for answer in load.answers if answer.status != 200]
    assert failed == [] and len(load.answers) >= 100
    assert not set(before.values()) & set(between.values())
    assert not set((await shown(mesh)).values()) & {*before.values(), *between.values()}
    # Callers use the new ones, too: to a new process nothing old is open, and it trusts the second only.
    assert await reason(mesh, first.issue_for("gateway")) == "UNAVAILABLE"
    for name in ("wallet", "session", "game"):
        await asyncio.to_thread(mesh.restart, name)
    player = await stage.player()
    assert (await player.spin(STAKE_MINOR)).status == 200
