"""Writes the table of docs/policies.md from the policies that are shipped; a test holds the page to it."""

from pathlib import Path

from services.session.policy import Policy, load_policies

PAGE = Path(__file__).resolve().parents[1] / "docs/policies.md"
_START, _END = "<!-- table -->\n", "<!-- end -->"
_COLUMNS = (
    "policy",
    "version",
    "cycle",
    "stake cap, minor units",
    "named in the launch",
    "autoplay / turbo / bonus buy",
    "check, rest",
    "silence",
    "other",
    "display",
)
_HEAD = f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}\n"


def page() -> str:
    """The page's text with the table as it is now."""
    before, _, rest = PAGE.read_text().partition(_START)
    _, end, after = rest.partition(_END)
    rows = [_row(name, one.policy) for name, one in load_policies().items()]
    return "".join([before, _START, _HEAD, *rows, end, after])


def _row(name: str, policy: Policy) -> str:
    caps = [
        f"{currency}: {', '.join(f'{tier} {cap}' for tier, cap in tiers.items())}"
        for currency, tiers in policy.stake_max_minor.items()
    ]
    check = _time(policy.reality_check_ms) + (f", {_time(policy.lock_out_ms)}" if policy.lock_out_ms else "")
    other = [f"only {', '.join(policy.currency_codes)}"] if policy.currency_codes else []
    other += [f"RTP {policy.rtp_min} or more"] if policy.rtp_min != "0" else []
    other += [f"sessions up to {_time(policy.session_max_ms)}"] if policy.session_max_ms < 86_400_000 else []
    other += ["relaunch joins"] if policy.on_relaunch == "join" else []
    other += ["close keeps open rounds"] if policy.on_close == "keep" else []
    features = (policy.autoplay, policy.turbo, policy.bonus_buy)
    cells = (
        f"`{name}`",
        policy.version,
        _time(policy.cycle_min_ms),
        "; ".join(caps) or "-",
        ", ".join(policy.launch_names) or "-",
        " / ".join("yes" if allowed else "no" for allowed in features),
        check,
        _time(policy.idle_max_ms),
        "; ".join(other) or "-",
        ", ".join(policy.display) or "-",
    )
    return f"| {' | '.join(map(str, cells))} |\n"


def _time(ms: int | None) -> str:
    if not ms:
        return "-"
    return f"{ms // 60_000} min" if ms % 60_000 == 0 else f"{ms / 1000:g} s"


if __name__ == "__main__":
    PAGE.write_text(page())
