"""A NAS in Python: for tests, the demo, and an operator's smoke test."""
