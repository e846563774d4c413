"""Other markets of a sweep: names are those of `evaluate`, and what cannot be flown there is refused with its place."""

from pathlib import Path

import pytest

from gaelp_ray.errors import SweepFileError
from gaelp_ray.market import load_market
from gaelp_ray.market.market import PRESETS
from gaelp_ray.sweep.planning.plan import plan_sweep

BASE = "method: random\nrun_cap: 3\nparameters: {learning_rate: {min: 0.001, max: 0.01}}\n"
AIRFRANCE = (PRESETS / "airfrance-search.yaml").read_text(encoding="utf-8")


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """Plans a sweep with these lines in a new working directory."""
    monkeypatch.chdir(tmp_path)

    def plan(lines: str, copies=None):
        Path("trip.yaml").write_text(f"{BASE}{lines}\n", encoding="utf-8")
        return plan_sweep(Path("trip.yaml"), copies=copies)

    return plan


def test_markets_are_those_that_evaluate_knows_in_the_order_of_the_file(plan):
    Path("mine.yaml").write_text(AIRFRANCE, encoding="utf-8")
    planned = plan("select: {markets: [mine.yaml@heterogeneity=1.0, airfrance-search@nominal, mine.yaml]}")
    market = load_market("airfrance-search")
    assert {name: found.hash for name, found in planned.other_markets.items()} == {
        "mine.yaml@heterogeneity=1.0": market.variant(heterogeneity=1.0).hash,
        "airfrance-search@nominal": market.variant("nominal").hash,
        "mine.yaml": market.hash,
    }
    assert list(planned.other_markets) == list(planned.spec.select.markets)
    assert plan("").other_markets == {}


def test_a_copy_is_read_in_place_of_its_file_as_it_is_or_changed(plan, tmp_path):
    copy = tmp_path / "a@b" / "copy.yaml"
    copy.parent.mkdir()
    copy.write_text(AIRFRANCE, encoding="utf-8")
    planned = plan("select: {markets: [gone.yaml, gone.yaml@nominal]}", {"gone.yaml": copy})
    market = load_market("airfrance-search")
    hashes = [found.hash for found in planned.other_markets.values()]
    assert hashes == [market.hash, market.variant("nominal").hash]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("select: {markets: [airfrance]}", "4:20: select.markets.0: unknown market 'airfrance'. Did you mean 'airf"),
        ("select:\n  markets:\n  - mars.yaml", "6:5: select.markets.0: cannot read the market file mars.yaml"),
        (
            "select: {markets: [airfrance-search@easy]}",
            "4:20: select.markets.0: market 'airfrance-search@easy': unknown",
        ),
        (
            "select: {markets: [airfrance-search, kag-social]}",
            "4:38: select.markets.1: the sweep's agents bid for the 7 channels of 'airfrance-search' ("
            "'Google - Global', ...), not for the 18 of 'kag-social' ('916 F', ...): name a market with these channels "
            "in their order",
        ),
        (
            "trial: {market: kag-social}\nselect: {markets: [kag-social@nominal, airfrance-search]}",
            "5:40: select.markets.1: the sweep's agents bid for the 18 channels of 'kag-social'",
        ),
        (
            "select: {markets: [airfrance-search@nominal, airfrance-search, airfrance-search@nominal]}",
            "4:64: select.markets.2: airfrance-search@nominal is given twice: keep one",
        ),
        (
            "select: {markets: [airfrance-search]}\ntrial: {env: 'gymnasium:Env', ppo.reference: none}",
            "4:10: select.markets: a sweep in an environment of your own has no other markets: leave the key out",
        ),
        ("select: {markets: airfrance-search}", "4:10: select.markets: "),
        ("select: {markets: [3]}", "4:20: select.markets.0: "),
    ],
)
def test_what_cannot_be_flown_is_refused_with_its_place(plan, lines, problem):
    with pytest.raises(SweepFileError) as refused:
        plan(lines)
    (told,) = refused.value.problems
    assert told.startswith(f"trip.yaml:{problem}")


def test_all_that_is_wrong_in_a_market_file_is_told(plan):
    Path("mine.yaml").write_text("name: mine\ncurrency: USD\n", encoding="utf-8")
    with pytest.raises(SweepFileError) as refused:
        plan("select: {markets: [mine.yaml]}")
    problems = refused.value.problems
    assert len(problems) > 3 and all(told.startswith("trip.yaml:4:20: select.markets.0: ") for told in problems)


def test_wrong_markets_are_told_together_with_other_mistakes(plan):
    with pytest.raises(SweepFileError) as refused:
        plan("trial: {market: mars, agent_type: PPPO}\nselect: {markets: [venus, airfrance-search]}")
    assert [told.split(" ")[1] for told in refused.value.problems] == [
        "trial.market:",
        "trial.agent_type:",
        "select.markets.0:",
    ]
