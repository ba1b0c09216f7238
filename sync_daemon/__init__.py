"""The keeper: the daemon and the `herotill` command."""
