"""The wallet's statements with one guard taken out: what a test must see fail to mean anything."""

from sqlalchemy import text
from sqlalchemy.sql.elements import TextClause

from services.wallet import sql


def mutant(*changes: tuple[str, str], of: TextClause = sql.SETTLE) -> TextClause:
    """The shipped statement with each `old` replaced by its `new`, wherever it stands."""
    statement = of.text
    for old, new in changes:
        assert old in statement, f"the statement no longer says {old!r}"
        statement = statement.replace(old, new)
    return text(statement)


# A verdict on the balance as the statement's snapshot shows it.
WITHOUT_LOCK = mutant((" for no key update", ""))
# A transfer or a rollback on a balance that others may move meanwhile.
WITHOUT_ACCOUNT_LOCK = mutant((" for no key update", ""), of=sql.LOCK_ACCOUNT)
# A freeze that the verdict of a stake does not ask about.
WITHOUT_FREEZE = mutant((" and not l.frozen", ""))
# A freeze that is recorded whether or not it changed anything.
WITHOUT_CHANGE_OF_STATE = mutant((" and frozen <> cast(:frozen as boolean)", ""), of=sql.UPDATE_FROZEN)
# Two statements that insert one key.
WITHOUT_ARBITER = mutant(("on conflict (round_id, step_key) do nothing", ""))
# Accounts locked in the order in which the items come.
WITHOUT_LOCK_ORDER = mutant(
    (
        "order by account_id for no key update",
        "order by array_position(cast(:account_ids as bigint[]), account_id) for no key update",
    )
)
# Several items of one account judged on the same balance.
WITHOUT_ONE_PER_ACCOUNT = mutant(
    ("where i.rn < 2", "where true"),
    ("on i.account_id = n.account_id and i.rn < 2 having", "on i.round_id = n.round_id having"),
    ("on n.account_id = i.account_id and i.rn < 2", "on n.round_id = i.round_id"),
)
# An event for each item of the batch that names the round.
WITHOUT_ONE_EVENT = mutant(
    ("on i.account_id = n.account_id and i.rn < 2 having", "on i.round_id = n.round_id having")
)
# Nested loops, N^2.
WITH_ROW_NUMBER_ONE = mutant(("rn < 2", "rn = 1"))
