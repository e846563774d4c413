"""The key of W&B gets nowhere."""

from reliability import keys

WHERE = keys


def test_nothing_is_lost(inflict, fault):
    inflict(fault)
