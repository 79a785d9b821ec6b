"""The months of the ledger: made ahead, kept, and archived one by one."""
