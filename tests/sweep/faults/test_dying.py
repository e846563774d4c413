"""Processes that die or are stopped."""

from reliability import dying

WHERE = dying


def test_nothing_is_lost(inflict, fault):
    inflict(fault)
