"""Skills written by hand: the baseline that every learned policy is measured against."""
