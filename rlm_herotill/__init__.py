"""Packet time: the Python module that FreeRADIUS loads.

Imports only the standard library, psycopg2 and the rules; never waits for anything without a bound.
"""
