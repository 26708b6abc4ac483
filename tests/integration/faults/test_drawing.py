"""The drawing of points: a quick run is a few of them, the same for the same seed, and a full one is all."""

from __future__ import annotations

from battery import drawn


def test_a_full_run_has_every_point() -> None:
    assert drawn("x", range(20), 3, seed="1", everything=True) == list(range(20))


def test_a_quick_run_has_a_few_that_the_seed_decides() -> None:
    one = drawn("x", range(200), 3, seed="1", everything=False)
    assert len(set(one)) == 3
    assert one == drawn("x", range(200), 3, seed="1", everything=False)
    assert {tuple(drawn("x", range(200), 3, seed=str(seed), everything=False)) for seed in range(20)} != {tuple(one)}


def test_different_faults_draw_differently() -> None:
    assert drawn("x", range(200), 5, seed="1", everything=False) != drawn(
        "y", range(200), 5, seed="1", everything=False
    )
