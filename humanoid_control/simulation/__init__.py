"""The simulated factory: its scene from a factory file, its people and belts, its cameras and its judge."""
