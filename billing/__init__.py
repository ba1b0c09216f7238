"""The books: what was sold, to whom, for how much. The source of truth; knows no packet and no shell."""
