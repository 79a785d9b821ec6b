"""What operators read of the ledger: balances, statements, what moved under an id, the totals of a day."""
