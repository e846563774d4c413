"""Disks that are full or cannot be written."""

from reliability import disks

WHERE = disks


def test_nothing_is_lost(inflict, fault):
    inflict(fault)
