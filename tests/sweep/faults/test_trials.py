"""Trials that fail."""

from reliability import trials

WHERE = trials


def test_nothing_is_lost(inflict, fault):
    inflict(fault)
