"""A W&B server that is away, fails, is busy or hangs."""

from reliability import servers

WHERE = servers


def test_nothing_is_lost(inflict, fault):
    inflict(fault)
