"""Who drives: the smallest policy that is sure of itself, and above it larger ones, the scripted skills, and a person."""
