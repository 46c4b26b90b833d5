"""Whole-body control: contacts, the dynamics QP, walking and balance."""
