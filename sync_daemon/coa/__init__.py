"""The Dynamic Authorization Client (RFC 5176): takes requests from the outbox and puts them to the NASes.

`packets` builds and verifies, `client` keeps the exchanges, `profiles` says how a session is named, `outbox` is the
database side, `worker` ties them together. Who is to be cut off, and why, is decided elsewhere.
"""
