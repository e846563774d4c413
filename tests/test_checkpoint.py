"""An agent in a folder flies on as it was, and a folder that was damaged, changed or forged is refused."""

import hashlib
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from stepped import Stepped

from gaelp_ray.agents import agent_types, make_agent, reference_bidder
from gaelp_ray.agents.registry import missing_extra
from gaelp_ray.checkpoint import FORMAT, Model, load_model, plain, save_model, write_json
from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.errors import ModelError
from gaelp_ray.market import load_market
from gaelp_ray.market.stream import STREAM
from gaelp_ray.simulator import AdCampaignVectorEnv
from gaelp_ray.training import fly

MARKET = load_market("airfrance-search")
SEEDS = ([1, 1], [1, 2])
CONSTANT = GAELPExperimentConfig(agent_type="constant")
LEARNER = GAELPExperimentConfig(agent_type="PPO", ppo={"hidden_size": 8}, team="search")


def trained(config: GAELPExperimentConfig) -> Model:
    """An agent after one update, so that a learner is no longer what its configuration says."""
    agent = make_agent(config, MARKET.landscape)
    agent.update(fly(AdCampaignVectorEnv(4, MARKET), agent, SEEDS, progress=0.0))
    return Model(agent, config, MARKET, {"trial": "t-00", "roas": math.nan})


@pytest.fixture(scope="module")
def learner() -> Model:
    return trained(LEARNER)


@pytest.fixture
def saved(learner, tmp_path) -> Path:
    """The folder of a learner."""
    save_model(tmp_path / "model", learner)
    return tmp_path / "model"


def describe(folder: Path, **changes) -> None:
    """Change what model.json says."""
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def forge(folder: Path, arrays: bytes) -> None:
    """Replace the arrays, and the checksum with theirs."""
    (folder / "model.npz").write_bytes(arrays)
    describe(folder, sha256=hashlib.sha256(arrays).hexdigest())


def npz(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize("name", agent_types())
def test_agent_read_back_acts_the_same(name, tmp_path):
    if missing := missing_extra(name):
        pytest.skip(missing)
    small = {"ppo": {"hidden_size": 8}, "sb3": {"gradient_steps": 4}, "cem": {"population": 4}}
    config = GAELPExperimentConfig(agent_type=name, **small)
    before = trained(config)
    save_model(tmp_path, before)
    after = load_model(tmp_path)
    observations = fly(AdCampaignVectorEnv(3, MARKET), Stepped(reference_bidder(MARKET.landscape)), SEEDS).obs
    actions = []
    for model in (before, after):
        model.agent.begin(3, np.random.default_rng(0))
        actions.append(np.stack([model.agent.act(obs) for obs in observations]))
    np.testing.assert_array_equal(*actions)


def test_everything_about_a_model_is_read_back(saved):
    model = load_model(saved)
    assert model.config == LEARNER
    assert model.config.to_dict()["team"] == "search"
    assert model.market.hash == MARKET.hash
    assert model.about == {"trial": "t-00", "roas": None}


def test_variant_of_a_market_is_read_back(tmp_path):
    nominal = MARKET.variant("nominal", 0.25, conversion_delay=24.0, fatigue_half_life=2.0)
    save_model(tmp_path, Model(make_agent(CONSTANT, nominal.landscape), CONSTANT, nominal, {}))
    assert load_model(tmp_path).market.hash == nominal.hash != MARKET.hash


def test_folder_holds_two_files_and_numbers_only(saved):
    assert sorted(path.name for path in saved.iterdir()) == ["model.json", "model.npz"]
    with np.load(saved / "model.npz", allow_pickle=False) as arrays:
        assert {array.dtype.kind for array in dict(arrays).values()} <= set("biuf")


def test_description_is_strict_json_without_nan(saved):
    def refuse(text):
        raise AssertionError(text)

    description = json.loads((saved / "model.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert description["about"]["roas"] is None
    assert description["format"] == FORMAT
    assert description["stream"] == STREAM == 2
    assert description["agent_type"] == "PPO"


def test_same_agent_gives_the_same_bytes(saved, tmp_path):
    save_model(tmp_path / "again", trained(LEARNER))
    for name in ("model.npz", "model.json"):
        assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes()


def test_saving_over_an_older_model_replaces_it(saved):
    save_model(saved, trained(CONSTANT))
    assert load_model(saved).config == CONSTANT
    assert sorted(path.name for path in saved.iterdir()) == ["model.json", "model.npz"]


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.99])
def test_one_flipped_bit_is_noticed(saved, place):
    content = bytearray((saved / "model.npz").read_bytes())
    content[int(place * len(content))] ^= 0b100
    (saved / "model.npz").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.npz is damaged: its SHA-256 is \w{12}.* says \w{12}.*Fetch"):
        load_model(saved)


def test_save_that_was_torn_between_its_files_is_noticed(saved, tmp_path):
    save_model(tmp_path / "newer", trained(GAELPExperimentConfig(ppo={"hidden_size": 8}, seed=1, learning_rate=0.01)))
    (saved / "model.npz").write_bytes((tmp_path / "newer" / "model.npz").read_bytes())
    with pytest.raises(ModelError, match="SHA-256"):
        load_model(saved)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.json", r"no model in .*: model\.json is missing.*gaelp-ray best SWEEP -o DIR"),
        ("model.npz", r"cannot read .*model\.npz: No such file.*Fetch"),
    ],
)
def test_missing_file_is_named_with_the_remedy(saved, name, words):
    (saved / name).unlink()
    with pytest.raises(ModelError, match=words):
        load_model(saved)


@pytest.mark.parametrize("content", [b"", b"{", b'{"format": 1', b"[]", b"null", b"5", b"\xff\xfe", b"{}"])
def test_damaged_description_is_refused(saved, content):
    (saved / "model.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.json is damaged .*Fetch"):
        load_model(saved)


def test_newer_format_is_refused_with_the_remedy(saved):
    describe(saved, format=FORMAT + 1)
    with pytest.raises(ModelError, match=rf"has format {FORMAT + 1}, this version reads format {FORMAT}: upgrade"):
        load_model(saved)


def test_edited_market_is_noticed(saved):
    market = MARKET.model_dump(mode="json")
    market["flight"]["budget"]["value"] *= 2
    describe(saved, market=market)
    with pytest.raises(ModelError, match="the market in it was changed after saving"):
        load_model(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"config": {"learning_rate": -1.0}},
        {"config": {"agent_type": "Oracle"}},
        {"config": None},
        {"config": LEARNER.replace({"ppo.hidden_size": 16}).to_dict()},
        {"market": {"name": "x"}},
        {"market": None},
    ],
    ids=["bad value", "unknown agent", "no config", "other network", "no market's fields", "no market"],
)
def test_description_that_does_not_fit_is_refused(saved, changes):
    describe(saved, **changes)
    with pytest.raises(ModelError, match="the model does not fit its description"):
        load_model(saved)


def test_arrays_of_another_agent_are_refused(saved):
    forge(saved, npz(parameter_0=np.zeros(3)))
    with pytest.raises(ModelError, match="the model does not fit its description"):
        load_model(saved)


class Trap:
    """Unpickling one raises, as unpickling anything may."""

    def __reduce__(self):
        return (pytest.fail, ("the file was unpickled",))


@pytest.mark.parametrize(
    "content",
    [npz(parameter_0=np.array([Trap()], dtype=object)), b"PK\x03\x04 no archive"],
    ids=["pickle", "no archive"],
)
def test_pickled_objects_and_foreign_files_are_never_loaded(saved, content):
    forge(saved, content)
    with pytest.raises(ModelError, match="holds no plain arrays"):
        load_model(saved)


def test_model_flies_in_markets_with_its_channels_only(saved):
    model = load_model(saved)
    for there in (load_market("airfrance-search"), MARKET.variant("nominal", heterogeneity=1.0)):
        model.require_market(there)
    other = load_market("kag-social")
    with pytest.raises(ModelError, match=r"the 7 channels of 'airfrance-search' \('Google - Global', .*\('916 F', "):
        model.require_market(other)
    swapped = MARKET.model_copy(
        update={
            "channels": MARKET.channels.model_copy(
                update={"rows": [*MARKET.channels.rows[:-2], *MARKET.channels.rows[:-3:-1]]}
            )
        }
    )
    with pytest.raises(ModelError, match="channels in their order"):
        model.require_market(swapped)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, None),
        (-math.inf, None),
        (np.float32(0.5), 0.5),
        (np.float64(math.nan), None),
        (np.int64(3), 3),
        (np.bool_(True), True),
        ({1: (np.float64(2.0), [math.inf])}, {"1": [2.0, [None]]}),
        ("NaN", "NaN"),
    ],
)
def test_plain_values_for_strict_json(value, expected):
    assert plain(value) == expected
    assert type(plain(value)) is type(expected)


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"x": object()})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"x": 1}


@pytest.mark.parametrize("checksum", [5, None])
def test_a_checksum_that_is_no_text_is_damage(saved, checksum):
    describe(saved, sha256=checksum)
    with pytest.raises(ModelError, match="sha256 is no text"):
        load_model(saved)


def test_arrays_that_are_no_archive_are_refused(saved):
    bare = io.BytesIO()
    np.save(bare, np.zeros(3))
    for content in (bare.getvalue(), b""):
        forge(saved, content)
        with pytest.raises(ModelError, match="holds no plain arrays"):
            load_model(saved)


def test_a_model_about_which_nothing_is_said_loads(saved):
    describe(saved, about=None)
    assert load_model(saved).about == {}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_by_the_name_of_their_array(saved, value):
    with np.load(saved / "model.npz") as stored:
        arrays = dict(stored)
    arrays["parameter_1"].flat[:2] = value
    forge(saved, npz(**arrays))
    with pytest.raises(ModelError) as caught:
        load_model(saved)
    size = arrays["parameter_1"].size
    assert str(caught.value) == (
        f"{saved / 'model.npz'}: parameter_1: 2 of {size} numbers are NaN or infinite: the training diverged. Choose "
        "another model, or train again with a lower learning_rate"
    )
