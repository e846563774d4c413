"""The sections of a configuration: frozen, strict, bounded, and with the plain methods as defaults."""

import math
from typing import get_args

import pytest
from pydantic import BaseModel, ValidationError

from gaelp_ray import sections
from gaelp_ray.agents import make_agent
from gaelp_ray.config import SECTIONS, GAELPExperimentConfig
from gaelp_ray.market import load_market
from gaelp_ray.sections import REFERENCES, DualConfig, PPOConfig, Sb3Config, Section

MODELS = {name: type(getattr(GAELPExperimentConfig(), name)) for name in SECTIONS}
NUMBERS = [
    pytest.param(model, name, id=f"{section}.{name}")
    for section, model in MODELS.items()
    for name, field in model.model_fields.items()
    if field.annotation in (int, float)
]

every_section = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def test_every_section_of_the_module_is_one_of_the_configuration():
    defined = {model for model in vars(sections).values() if isinstance(model, type) and issubclass(model, BaseModel)}
    assert defined - {BaseModel, Section} == set(MODELS.values())


@every_section
def test_a_section_is_frozen_and_knows_no_other_fields(model):
    name = next(iter(model.model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(model(), name, getattr(model(), name))
    with pytest.raises(ValidationError, match="Extra inputs"):
        model(unheard_of=1.0)


@every_section
def test_defaults_are_within_their_own_bounds(model):
    assert model(**model().model_dump()) == model()


@pytest.mark.parametrize(("model", "name"), NUMBERS)
def test_a_number_has_bounds_and_is_finite(model, name):
    for wrong in (math.nan, math.inf, -math.inf, "1", True, -1e9):
        with pytest.raises(ValidationError):
            model(**{name: wrong})


def test_planner_starts_as_the_plain_method():
    plain = DualConfig().model_dump()
    factors = {"prior_strength", "volume_prior_strength", "price_tracking", "traffic_noise"}
    assert plain.pop("traffic") == "counts"
    assert plain == {name: 1.0 if name in factors else 0.0 for name in plain}


@pytest.mark.parametrize("model", [PPOConfig, Sb3Config])
def test_references_are_what_a_learner_may_correct(model):
    assert set(REFERENCES) == set(get_args(model.model_fields["reference"].annotation))
    assert model().reference == "BayesDual"


@pytest.mark.parametrize("name", [name for name in REFERENCES if name != "none"])
def test_every_reference_is_a_bidder_of_the_registry(name):
    bidder = make_agent(GAELPExperimentConfig(agent_type=name), load_market("airfrance-search").landscape)
    assert bidder.state_dict() == {}
