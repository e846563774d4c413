"""Copies of market files: one for each that a sweep file names, which stays what it was while it is named."""

from pathlib import Path

import pytest

from gaelp_ray.sweep.store.markets import copies, copy_markets


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A sweep's folder, and market files of the same name in three others."""
    monkeypatch.chdir(tmp_path)
    for place in ("here", "there", "."):
        Path(place).mkdir(exist_ok=True)
        Path(place, "shop.yaml").write_text(f"of {place}", encoding="utf-8")
    Path("sweep").mkdir()
    return tmp_path / "sweep"


def spec(market: str, *others: str) -> dict:
    return {"trial": {"market": market}, "select": {"markets": list(others)}}


def texts(found) -> dict[str, str]:
    return {file: path.read_text(encoding="utf-8") for file, path in found.items()}


def test_files_of_one_name_have_copies_of_their_own(folder):
    written = spec("shop.yaml", "here/shop.yaml", "there/shop.yaml@nominal", "airfrance-search@nominal")
    names = copy_markets(folder, written, {})
    found = copies(folder, written)
    assert texts(found) == {
        "shop.yaml": "of .",
        "here/shop.yaml": "of here",
        "there/shop.yaml": "of there",
    }
    assert sorted(names) == sorted(str(path.relative_to(folder)) for path in found.values())
    assert found["shop.yaml"] == folder / "markets" / "shop.yaml"
    assert copies(folder.rename(folder.parent / "moved"), written).keys() == found.keys()


def test_a_file_that_is_the_trials_own_is_copied_once(folder):
    assert copy_markets(folder, spec("shop.yaml", "shop.yaml@nominal", "shop.yaml"), {}) == ["markets/shop.yaml"]


def test_a_copy_stays_while_its_file_is_named_and_is_made_anew_when_it_is_named_again(folder):
    first, other = spec("airfrance-search", "here/shop.yaml"), spec("airfrance-search", "there/shop.yaml")
    copy_markets(folder, first, {})
    Path("here/shop.yaml").write_text("changed", encoding="utf-8")
    both = spec("airfrance-search", "here/shop.yaml@nominal", "there/shop.yaml")
    assert len(copy_markets(folder, both, first)) == 1
    assert texts(copies(folder, both)) == {"here/shop.yaml": "of here", "there/shop.yaml": "of there"}
    assert copy_markets(folder, other, both) == []
    copy_markets(folder, first, other)
    assert texts(copies(folder, first)) == {"here/shop.yaml": "changed"}


def test_without_files_nothing_is_made(folder):
    assert copy_markets(folder, spec("airfrance-search", "kag-social@nominal"), {}) == []
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("damaged", [{}, {"trial": 3, "select": [1]}, {"trial": {}, "select": {"markets": "a.yaml"}}])
def test_of_a_damaged_file_there_are_none(folder, damaged):
    assert copies(folder, damaged) == {}


def test_a_file_that_was_never_copied_has_no_copy(folder):
    assert copies(folder, spec("shop.yaml", "here/shop.yaml")) == {}
