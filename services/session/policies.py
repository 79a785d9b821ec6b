"""Policies by version: what was served under one never changes, and a session is held to the one it pins."""

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.common import db
from services.session import policy_store
from services.session.policy import NamedPolicy, thaw
from services.session.policy_store import Recorded


class VersionRefused(ValueError):
    """A policy that may not be served under its version. The text is one line: what to do."""


class PolicyBook:
    """The policies that are served, and those that sessions of before are held to."""

    def __init__(self, served: Mapping[str, NamedPolicy]) -> None:
        self.served = served
        self.recorded = False
        """Whether their versions are known to be theirs (`record`); no session is opened before."""
        self._by_hash = {one.policy_hash: one for one in served.values()}

    async def record(self, engine: AsyncEngine) -> None:
        """Stores what is served, once. Then sessions may be opened. Errors: VersionRefused."""
        async with db.transaction(engine, "session.record_policies", links=()) as conn:
            await policy_store.append_policies(
                conn,
                [
                    Recorded(one.name, one.policy.version, one.policy_hash, one.canonical_json.decode())
                    for one in self.served.values()
                ],
            )
            # A statement of its own: it sees what another replica committed while the insert waited for it.
            stored = await policy_store.list_policies(conn)
            hashes = {(one.name, one.version): one.policy_hash for one in stored}
            for one in self.served.values():
                known = hashes.get((one.name, one.policy.version))
                if known != one.policy_hash:
                    raise VersionRefused(
                        f"policy {one.name}: version {one.policy.version} was served with other contents: "
                        "raise version"
                    )
        self.recorded = True

    async def find(self, conn: AsyncConnection, policy_hash: str) -> NamedPolicy | None:
        """The policy of a session. None: from before policies had versions, or not readable here."""
        if not policy_hash:
            return None
        if policy_hash not in self._by_hash:
            for one in await policy_store.list_policies(conn):
                thawed = thaw(one.canonical_json, policy_hash=one.policy_hash)
                if thawed is not None:
                    self._by_hash.setdefault(one.policy_hash, thawed)
        return self._by_hash.get(policy_hash)
