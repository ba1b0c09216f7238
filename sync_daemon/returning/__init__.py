"""What is born at RADIUS comes back to the books, where these have a database of their own (rules R15, R29, R30).

`regions` joins a RADIUS database to the books, `relations` says what returns and how it is written, `carrying` moves a
batch, `worker` does it continuously, beside the worker `reconcile` that carries the other way.
"""
