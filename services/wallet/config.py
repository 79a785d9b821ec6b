"""Every setting of the wallet."""

from dataclasses import dataclass, field

from services.common.config import ServiceConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(ServiceConfig):
    """Read from REELMESH_WALLET_<FIELD>, else REELMESH_<FIELD>."""

    # Key that game and wallet share: game seals what it drew, the wallet believes nothing else (R11).
    seal_key: str = field(repr=False)
    # YAML file that names the operators who keep the money themselves (docs/external_wallet.md); "" for none.
    external_wallets_path: str = ""
    # How often the tails of the counter-accounts are rolled into their checkpoints.
    checkpoint_interval_ms: int = 1_000
    # How often what moved since the last time is audited; by one replica, whichever comes first.
    audit_interval_ms: int = 5_000
