"""A stored round derived again from its draw log, in game and as a command."""
