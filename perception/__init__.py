"""From camera images to poses: one interface, and the rungs that fill it."""
