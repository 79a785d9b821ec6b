"""One spin, model-checked: client, gateways, session, game, wallet, reconciler, under crash, copy and delay.

Read in this order: `state` (the words), `protocol` (what session, game and wallet do), `world` (what
happens around them), `invariants`, `rules` (R1-R14, and what each clause prevents), `explore` (the search).
`python -m tests.model` prints why each rule is needed, then what was explored with all of them in force.

Every scenario of `rules` is explored to its end: all interleavings of calls, retries, crashes and clocks
within its budget. Clocks are free: a deadline may pass, and the reconciler may come, at any moment, so
nothing shown here rests on a time-out being long enough.

Not modelled: R12 (a batch is only its items, and here each item travels alone; a cancel is a crash of the
caller); R13 (counters, arithmetic on events; only its premise that an ended authorisation never draws is
checked, R4.end); of R1 the cap on wins; of R2 the channels (spans, logs, feed), which are one reader who
may look at any moment; of R3 the delay and the drop of a call; of R7 that game alone may void; of R8 the
freeze; of R11 a taken-over gateway that withholds a settle, which only the metric of R7 discloses.
"""
