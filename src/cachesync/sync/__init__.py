"""How a page gets into the index: scan → plan → apply."""
