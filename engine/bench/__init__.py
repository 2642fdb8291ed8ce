"""Throughput benchmarking of an endpoint: how many calls at once are worth it."""
