"""Reconcile: what the books say RADIUS should have, what it has, the difference, and mending it (rule R30).

`relations` says what is compared, `comparing` finds differences, `planning` makes a plan of them, `mending` applies one,
`adopting` takes rows over, `worker` does it continuously.
"""
