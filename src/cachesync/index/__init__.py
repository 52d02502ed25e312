"""Where documents are kept and found: one interface, several engines."""
