"""Population-based training between made-up trials: who is copied, what is noted. test_schedulers.py has it on Tune."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import MagicMock

from gaelp_ray.config import GAELPExperimentConfig
from gaelp_ray.sweep.format.blocks import Population
from gaelp_ray.sweep.format.parameters import ParameterSpec
from gaelp_ray.sweep.search.exchange import PBT

PRIORS = {"learning_rate": ParameterSpec(min=0.001, max=0.5).prior}


class Member(SimpleNamespace):
    """A trial of Tune's, as far as PBT asks it."""

    __hash__ = object.__hash__

    def set_config(self, config):
        self.config = config


def member(name, rate):
    config = GAELPExperimentConfig(learning_rate=rate).to_dict()
    plan = {"name": name, "params": {"learning_rate": rate}, "config": config, "is_default": False, "seeds": [0]}
    return Member(
        trial_id=name,
        config={"trial": plan, "sweep": {}},
        status="RUNNING",
        set_experiment_tag=lambda tag: None,
        run_metadata=MagicMock(),
    )


def state(score, iteration, checkpoint="kept"):
    return SimpleNamespace(
        last_score=score,
        last_checkpoint=checkpoint,
        last_result={"training_iteration": iteration},
        last_perturbation_time=iteration,
        last_train_time=iteration,
        orig_tag="",
    )


def exploited(seed=0, without=(), rounds=1):
    """A PBT in which `bad` has looked for a source among six good ones, and `bad`."""
    pbt = PBT(Population(type="pbt", resample_probability=0.0), PRIORS, "max", seed)
    bad, good = member("bad", 0.2), [member(f"good{i}", 0.01 * (i + 1)) for i in range(6)]
    for _ in range(rounds):
        pbt._trial_state = {bad: state(0.1, 10, None)} | {
            one: state(9.0, 12, None if one.trial_id in without else "kept") for one in good
        }
        pbt._checkpoint_or_exploit(bad, MagicMock(), good, [bad])
    return pbt, bad


def test_an_exploit_is_noted_with_what_it_changed_and_what_was_copied():
    pbt, bad = exploited()
    (record,) = pbt.lineage
    copied = 0.01 * (int(record.source[-1]) + 1)
    old, new = record.changed["learning_rate"]
    assert (record.trial, record.iteration, record.source_iteration) == ("bad", 10, 12)
    assert old == 0.2 and record.copied == {"learning_rate": copied} and new in (copied * 0.8, copied * 1.2)
    assert bad.config["trial"]["params"] == {"learning_rate": new} and bad.config["trial"]["name"] == "bad"


def test_who_was_exploited_is_ranked_again_only_when_it_has_reported():
    pbt, bad = exploited()
    assert pbt._trial_state[bad].last_score is None


def test_the_source_comes_from_the_seed_and_differs_from_time_to_time():
    def sources(seed):
        return [record.source for record in exploited(seed, rounds=8)[0].lineage]

    assert sources(1) == sources(1) != sources(2)
    assert len(set(sources(1))) > 2


def test_only_a_source_with_a_checkpoint_is_copied():
    without = [f"good{i}" for i in range(5)]
    assert {exploited(seed, without)[0].lineage[0].source for seed in range(8)} == {"good5"}
    assert exploited(0, [*without, "good5"])[0].lineage == []
