"""A game on one page, as a test laboratory reads it: `make par-sheet` (docs/maths.md)."""
