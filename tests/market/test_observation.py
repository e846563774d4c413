"""The layout of an observation: what pack() writes, View reads."""

import numpy as np
import pytest

from gaelp_ray.market.observation import GLOBAL, PER_CHANNEL, View, pack, size

FLIGHTS, CHANNELS = 4, 3


def features(seed: int = 0) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    per_channel = {name: rng.standard_normal((FLIGHTS, CHANNELS)) for name in PER_CHANNEL}
    return per_channel, {name: rng.standard_normal(FLIGHTS) for name in GLOBAL}


def test_packed_observation_is_float32_of_the_stated_size():
    obs = pack(*features())
    assert obs.dtype == np.float32
    assert obs.shape == (FLIGHTS, size(CHANNELS))


@pytest.mark.parametrize("name", PER_CHANNEL)
def test_view_reads_every_channel_feature_back(name):
    per_channel, overall = features()
    read = View(pack(per_channel, overall)).channel(name)
    assert read.dtype == np.float64
    np.testing.assert_array_equal(read, per_channel[name].astype(np.float32))


@pytest.mark.parametrize("name", GLOBAL)
def test_view_reads_every_flight_feature_back(name):
    per_channel, overall = features()
    read = View(pack(per_channel, overall)).overall(name)
    assert read.dtype == np.float64
    np.testing.assert_array_equal(read, overall[name].astype(np.float32))


@pytest.mark.parametrize("channels", [1, 2, 7])
def test_view_finds_the_number_of_channels_by_itself(channels):
    assert View(np.zeros((2, size(channels)), np.float32)).channel("win_rate").shape == (2, channels)


def test_missing_feature_is_an_error():
    per_channel, overall = features()
    del per_channel["win_rate"]
    with pytest.raises(KeyError, match="win_rate"):
        pack(per_channel, overall)


def test_feature_of_a_wrong_name_is_an_error():
    with pytest.raises(ValueError):
        View(pack(*features())).channel("win_rates")
