"""Kernels over every screen of a reel set.

`run` evaluates each grid whole, by `wins`; `walk` follows the prefixes of the reels and never looks at a
grid. They share only `table`, where both count. docs/maths.md.
"""
