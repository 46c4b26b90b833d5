"""Demonstrations: making them, the data set they lie in, and reading it."""
