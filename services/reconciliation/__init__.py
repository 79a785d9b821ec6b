"""Wallet, rounds and events held against each other: `make reconcile`. It serves nobody."""
