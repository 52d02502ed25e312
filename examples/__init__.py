"""Example pages, made up but true to life."""
