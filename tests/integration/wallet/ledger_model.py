"""The ledger in a hundred lines: what every call must answer, without locks, batches or a database."""

from dataclasses import dataclass, field

Answer = tuple[object, ...]


@dataclass
class LedgerModel:
    """Accounts are named by number, and hold nothing at first; rounds and requests by number too."""

    balances: dict[int, int] = field(default_factory=dict)
    versions: dict[int, int] = field(default_factory=dict)
    stakes: dict[int, dict[str, object]] = field(default_factory=dict)
    payouts: dict[int, dict[str, object]] = field(default_factory=dict)
    transfers: dict[int, tuple[object, Answer]] = field(default_factory=dict)
    reviews: dict[int, str] = field(default_factory=dict)  # OPEN, SETTLED or REVERSED

    def _move(self, account: int, amount: int) -> None:
        self.balances[account] = self.balances.get(account, 0) + amount
        self.versions[account] = self.versions.get(account, 0) + 1

    def transfer(self, account: int, request: int, amount: int) -> Answer:
        """A deposit (above zero) or withdrawal."""
        if request in self.transfers:
            body, answer = self.transfers[request]
            return answer if body == (account, amount) else ("ID_REUSED",)
        if self.balances.get(account, 0) + amount < 0:
            answer = ("INSUFFICIENT_FUNDS", self.balances.get(account, 0))
        else:
            self._move(account, amount)
            answer = ("APPLIED", self.balances[account])
        self.transfers[request] = ((account, amount), answer)
        return answer

    def settle(self, account: int, round_id: int, step: str, stake: int, win: int) -> Answer:
        """FUSED, STAKE, PAYOUT, or VOID."""
        rows = self.payouts if step == "PAYOUT" else self.stakes
        row = rows.get(round_id)
        if row is not None:
            same = row["account"] == account and (
                "VOID" in (step, row["step"]) or (row["step"], row["stake"], row["win"]) == (step, stake, win)
            )
            return (row["status"], row["after"]) if same else ("ID_REUSED",)
        status = "APPLIED" if step != "VOID" else "VOID"
        if step == "PAYOUT":
            of = self.stakes.get(round_id)
            if of is None:
                return ("STAKE_UNKNOWN",)
            if of["step"] == "FUSED" or of["account"] != account:
                return ("ID_REUSED",)
            status = "APPLIED" if of["status"] == "APPLIED" else "REVERSED"
        elif self.balances.get(account, 0) < stake:
            status = "REFUSED"
        if status == "APPLIED" and stake + win:
            self._move(account, win - stake)
        after = self.balances.get(account, 0)
        rows[round_id] = dict(account=account, step=step, stake=stake, win=win, status=status, after=after)
        return (status, after)

    def roll_back(self, account: int, round_id: int) -> Answer:
        """The whole round."""
        known = self.settle(account, round_id, "VOID", 0, 0)
        if known[0] != "APPLIED":
            return known[:1]
        if self.reviews.get(round_id) == "SETTLED":
            return ("APPLIED",)
        row, payout = self.stakes[round_id], self.payouts.get(round_id)
        amount = int(str(row["stake"])) - int(str(row["win"])) - (int(str(payout["win"])) if payout else 0)
        if self.balances[account] + amount < 0:
            self.reviews[round_id] = "OPEN"
            return ("NEEDS_REVIEW",)
        if round_id in self.reviews:
            self.reviews[round_id] = "REVERSED"
        self._move(account, amount)
        row["status"] = "REVERSED"
        if payout:
            payout["status"] = "REVERSED"
        elif row["step"] == "STAKE":
            after = self.balances[account]
            self.payouts[round_id] = dict(
                account=account, step="VOID", stake=0, win=0, status="REVERSED", after=after
            )
        return ("REVERSED",)

    def roll_back_bet(self, account: int, round_id: int) -> Answer:
        """Only a stake whose payout is still to come."""
        known = self.settle(account, round_id, "VOID", 0, 0)
        if known[0] != "APPLIED":
            return known[:1]
        if self.stakes[round_id]["step"] == "FUSED" or round_id in self.payouts:
            return ("APPLIED", "UNCHANGED_ROUND_SETTLED")
        return self.roll_back(account, round_id)

    def resolve(self, round_id: int, verdict: str) -> Answer:
        """An operator's SETTLED or REVERSED."""
        if round_id not in self.stakes:
            return ("ROUND_NOT_FOUND",)
        if self.reviews.get(round_id) not in ("OPEN", verdict):
            return ("ROUND_NOT_IN_REVIEW",)
        if verdict == "SETTLED":
            self.reviews[round_id] = verdict
        return self.roll_back(int(str(self.stakes[round_id]["account"])), round_id)
