"""The meter: accounting journals become usage, exactly once.

`reading` finds what is new in the journal, `batch` applies it to accounts in memory with the rules, `statements` moves rows,
`worker` does it all in one transaction together with the journal position.
"""

from sync_daemon.meter.worker import run

__all__ = ["run"]
