"""Sweeps in which trials depend on each other."""

from reliability import searchers

WHERE = searchers


def test_nothing_is_lost(inflict, fault):
    inflict(fault)
