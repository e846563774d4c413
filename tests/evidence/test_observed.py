"""A log of flights: what is used of it, and what is told of its damaged lines."""

import math

import pytest

from gaelp_ray.errors import StorageError
from gaelp_ray.evidence.observed import read_flights


@pytest.fixture
def log(tmp_path):
    """Writes a log and reads it."""

    def read(text: str | bytes):
        path = tmp_path / "flights.jsonl"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_flights(path)

    return read


def test_flights_come_in_their_order_and_other_keys_are_ignored(log):
    found = log('{"cost": 10, "revenue": 45.5, "at": "Monday"}\n\n{"revenue": 0, "cost": 5, "budget": 20}\r\n')
    assert (found.cost.tolist(), found.revenue.tolist()) == ([10.0, 5.0], [45.5, 0.0])
    assert math.isnan(found.budget[0]) and found.budget[1] == 20.0
    assert found.damaged == () and len(found) == 2


def test_delivery_is_of_flights_with_a_budget(log):
    found = log('{"cost": 10, "revenue": 1, "budget": null}\n{"cost": 5, "revenue": 0, "budget": 20}')
    assert found.delivery == 0.25
    assert math.isnan(log('{"cost": 10, "revenue": 1}').delivery)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"cost": 10, "reven', "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[10, 45]", "no JSON object"),
        (b'{"cost": 10}', "revenue is missing"),
        (b'{"cost": null, "revenue": 1}', "cost is missing"),
        (b'{"cost": -1, "revenue": 1}', "cost is no finite number of at least 0"),
        (b'{"cost": 1, "revenue": NaN}', "revenue is no finite number of at least 0"),
        (b'{"cost": true, "revenue": 1}', "cost is no finite number of at least 0"),
        (b'{"cost": "12", "revenue": 1}', "cost is no finite number of at least 0"),
        (b'{"cost": [1], "revenue": 1}', "cost is no finite number of at least 0"),
        (b'{"cost": 1, "revenue": 1' + b"0" * 400 + b"}", "revenue is no finite number of at least 0"),
        (b'{"cost": 1, "revenue": 2, "budget": "no"}', "budget is no finite number of at least 0"),
    ],
)
def test_damaged_lines_are_told_by_their_number_and_left_out(log, line, problem):
    found = log(b'{"cost": 1, "revenue": 2}\n\n' + line + b'\n{"cost": 3, "revenue": 4}')
    assert found.damaged == ((3, problem),)
    assert found.cost.tolist() == [1.0, 3.0]


def test_a_log_without_flights_or_no_log_is_refused(log, tmp_path):
    with pytest.raises(StorageError, match="has no flight: write one JSON object per line"):
        log("")
    with pytest.raises(StorageError, match="line 2: revenue is missing"):
        log('\n{"cost": 1}\n')
    with pytest.raises(StorageError, match=r"cannot read the log .*: No such file"):
        read_flights(tmp_path / "none.jsonl")
