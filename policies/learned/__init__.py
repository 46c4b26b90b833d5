"""Policies that are learned from demonstrations: what they see and what they say. Nothing here imports torch."""
