"""Keeps the workers alive: one process each, so that none can stall another.

`roster` says which workers there are, `worker_process` keeps one of them from outside, `worker_main` is what runs inside it,
`pulse` is the sign of life it gives, and `supervisor` looks after all of them.
"""
