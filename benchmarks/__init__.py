"""Benchmarks: one script for each claim, run by `python -m benchmarks NAME` from a checkout.

Every ratio is measured in one run on one machine: the scenarios take turns, and medians of the rounds are compared.
"""
