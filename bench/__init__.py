"""How fast l8s is beside its rivals: real servers of the lab, a delay between, both measured in turn in one run.

``scripts/bench`` starts it. `bench.rows` says what is measured and what must hold; docs/performance.md shows what came
of it.
"""
