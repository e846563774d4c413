"""Files that were cut, and folders that were moved."""

from reliability import damage

WHERE = damage


def test_nothing_is_lost(inflict, fault):
    inflict(fault)
