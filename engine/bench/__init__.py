"""Benchmarks an endpoint's throughput: how many concurrent calls are worthwhile."""
