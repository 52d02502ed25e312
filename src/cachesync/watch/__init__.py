"""Notices that pages may have changed. What it says is a hint: a scan decides."""
