"""The progress bar of a training says which episodes its ROAS is of."""

from __future__ import annotations

import pytest

from gaelp_ray.tracking.bar import EpisodeRate, TrainingBar


@pytest.mark.parametrize(("count", "told"), [(4, "last 4: ROAS 2.50"), (25, "last 10: ROAS 20.50")])
def test_bar_names_the_episodes_of_its_roas_and_prints_the_name_as_it_is(capsys, count, told):
    episodes = [{"total_revenue": 10.0 * number, "total_cost": 10.0} for number in range(1, count + 1)]
    with TrainingBar("[/x]", 25) as bar:
        bar.advanced(episodes)
    printed = capsys.readouterr().err
    assert told in printed and "[/x]" in printed and f"{count}/25" in printed


def test_rate_is_that_since_the_first_count(monkeypatch):
    clock = iter([10.0, 12.0, 12.5])
    monkeypatch.setattr("gaelp_ray.tracking.bar.time.monotonic", lambda: next(clock))
    rate = EpisodeRate()
    assert [rate.of(episodes) for episodes in (1000, 1000, 103_600)] == ["", "", ", 41,000 episodes/s"]
