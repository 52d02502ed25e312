"""Generators of realistic example pages."""
