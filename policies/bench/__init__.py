"""Benchmarks that need a policy to carry or an order to carry out; `humanoid bench` finds them here."""
