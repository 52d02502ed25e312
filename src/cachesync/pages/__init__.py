"""Pages: which files are pages, and how they are parsed (bytes → Page or Problem)."""
