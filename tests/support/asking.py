"""What is asked for by what somebody types."""

from cachesync.index.generation import Reader
from cachesync.search.aliases import load_aliases
from cachesync.search.interpretation import read
from cachesync.search.request import Request
from cachesync.search.vocabulary import Vocabulary


def asked(reader: Reader, typed: str) -> Request:
    reading = read(typed, "auto", reader, Vocabulary(reader, load_aliases()))
    return Request(reading.query, reading.ranks)
