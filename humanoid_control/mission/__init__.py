"""Factories, orders and how they are carried out."""
