"""The rules of HeroTill RADIUS: pure functions and frozen values.

Owns every decision: who may log in, what counts, what burns, when a grant ends. Refuses to own I/O, clocks, logging and
configuration: `now` is an argument, aware and UTC; octets, seconds and money are integers; intervals are half-open.
"""
