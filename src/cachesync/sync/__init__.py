"""The way of a page into the index: scan → plan → apply."""
