"""The compiled player of a game: the serving engine's rounds, in whole coins, millions a second.

`draws` is where chance comes in, `tables` what a definition becomes, `wins` what a grid pays, `screens` one
stop of the reels with its falls, `features` hold-and-win and pick, `rounds` the loop. docs/simulation.md.
"""
