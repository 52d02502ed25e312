"""What a page says: bytes → Page or Problem."""
