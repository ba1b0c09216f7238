"""`python -m sync_daemon` is the `herotill` command."""

from sync_daemon.cli import main

main(prog_name="herotill")
