"""What is asked for by what somebody types."""

from cachesync.index.base import Reader
from cachesync.search.aliases import load_aliases
from cachesync.search.names import Names
from cachesync.search.reading import read
from cachesync.search.request import Request


def asked(reader: Reader, typed: str) -> Request:
    reading = read(typed, "auto", reader, lambda: Names(reader.packages(), load_aliases()))
    return Request(reading.query, reading.ranks)
