"""Games that are published as outcome tables: every round they can have, written down with its weight."""
