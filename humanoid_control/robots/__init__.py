"""Drivers: one protocol, and what speaks it - MuJoCo, hardware, a fake for tests."""
