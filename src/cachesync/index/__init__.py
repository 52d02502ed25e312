"""Stores and searches documents: one interface, several engines."""
