"""The simulated factory: its scene from a factory file, its people and belts, its cameras and its judge."""

from humanoid_control.simulation.gl_backend import select_gl_backend

select_gl_backend()
