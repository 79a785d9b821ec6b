"""The whole log verified, from the first record of every chain to its head."""
