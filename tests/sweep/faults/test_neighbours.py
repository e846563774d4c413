"""Others on the same machine."""

from reliability import neighbours

WHERE = neighbours


def test_nothing_is_lost(inflict, fault):
    inflict(fault)
