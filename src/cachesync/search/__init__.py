"""Questions to an index: text → tree → request → answer."""
