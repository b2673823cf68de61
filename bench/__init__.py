"""The benchmark: ``make bench`` and ``make bench-quick``; see docs/benchmarks/."""
