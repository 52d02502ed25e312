"""Notes in memory."""


class Notes(dict[str, bytes]):
    """What an index keeps beside it, without an index."""

    def put(self, key: str, text: bytes) -> None:
        self[key] = text

    def remove(self, key: str) -> None:
        self.pop(key, None)

    def list_keys(self) -> list[str]:
        return list(self)
