"""Walks through the pages of an answer return each hit once and miss none, on every engine."""

import random
from collections.abc import Iterator
from itertools import islice

import pytest

from cachesync.documents import FIELDS
from cachesync.index.base import Index
from cachesync.index.elastic import walk as elastic_walking
from cachesync.index.embedded import walk as embedded_walking
from cachesync.index.generation import Reader
from cachesync.search.added_tags import added_tags, tag_digests
from cachesync.search.aliases import load_aliases
from cachesync.search.answer import answer, onwards, read_question
from cachesync.search.cursor import beginning
from cachesync.search.install import MIRROR_URL
from cachesync.search.pagination import Position, ResultPage, cut, is_position, page_after, position_at, position_of
from cachesync.search.query import All, And, Exists, In, Not, Prefix, Query
from cachesync.search.question import Question
from cachesync.search.request import DEFAULT_ORDER, Filter, Hit, Request, parse_order
from cachesync.search.vocabulary import Vocabulary
from cachesync.search.walk import Walk
from examples.pages import tree
from tests.contract.conftest import Filled
from tests.support.filling import change_for, deletion_of, fill, write
from tests.support.pages import entry, page, path_of

CORPUS = dict(tree(tag_count=4, package_count=12, seed=5))
CORPUS |= {path_of("Cased"): page(*(entry(f"c{n}") for n in range(3)), title="CMake")}
CORPUS |= {
    path_of("twin", tag): page(*(entry(f"t{n}") for n in range(number)), title="twin", tag=tag)
    for tag, number in (("a", 2), ("b-2025-01-01", 4), ("c", 3))
}
CORPUS |= {path_of("sized"): page(*(entry(f"s{n}", size=n * 7 % 5, os=None) for n in range(9)), title="sized")}
SORTED = sorted(name for name, field in FIELDS.items() if field.is_asked_for and not field.many)


@pytest.fixture(scope="module")
def corpus(filled: Filled) -> Reader:
    return filled(CORPUS)


def pages_of(reader: Reader, request: Request) -> Iterator[ResultPage]:
    first = cut(reader, request, reader.search(request._replace(limit=request.limit + 1)).hits)
    yield first
    position = first.next
    while position:
        assert is_position(position, request)
        found = page_after(reader, request, position)
        yield found
        position = found.next


def walked(reader: Reader, request: Request) -> list[str]:
    """The ids of all hits, page by page."""
    pages = list(pages_of(reader, request))
    assert all(len(each.hits) == request.limit for each in pages[:-1])
    assert len(pages) == 1 or pages[-1].hits
    return [hit["_id"] for each in pages for hit in each.hits]


def whole(reader: Reader, request: Request) -> list[str]:
    return [hit["_id"] for hit in reader.search(request._replace(limit=5_000)).hits]


@pytest.mark.parametrize("seed", range(16))
def test_a_walk_equals_one_long_answer(corpus: Reader, seed: int) -> None:
    random_ = random.Random(seed)
    names = sorted(corpus.packages())
    ranks: tuple[Query, ...] = tuple(
        In("package", tuple(random_.sample(names, 3))) for _ in range(random_.randint(0, 3))
    )
    keys = random_.sample(SORTED, random_.randint(1, 2))
    request = Request(
        query=random_.choice((All(), Exists("os"), Not(Prefix("variants", "+m")))),
        ranks=ranks,
        filters=(Filter("stacks", ("root",)),) if random_.random() < 0.3 else (),
        order=tuple(key for name in keys for key in parse_order(f"{name}:{random_.choice(('asc', 'desc'))}")),
        limit=random_.choice((23, 50, 211)),
        distinct=seed % 2 == 1,
    )
    found = whole(corpus, request)
    assert len(found) > 100
    assert walked(corpus, request) == found


@pytest.mark.parametrize("distinct", [False, True])
def test_a_walk_hit_by_hit(corpus: Reader, distinct: bool) -> None:
    request = Request(In("package", ("twin", "cmake", "sized")), limit=1, distinct=distinct)
    assert walked(corpus, request) == whole(corpus, request)


@pytest.mark.parametrize("distinct", [False, True])
def test_unchanged_hits_are_returned_once_while_pages_change(index: Index, distinct: bool) -> None:
    """Between two steps of the walk pages are deleted and added, and once a new generation is promoted."""
    random_ = random.Random(7)
    stays = dict(list(CORPUS.items())[::2])
    changing = {path: data for path, data in CORPUS.items() if path not in stays}
    fill(index, stays)
    request = Request(And((Exists("package"),)), order=parse_order("os:desc"), limit=40, distinct=distinct)
    wanted = whole(index.reader(), request)
    met: list[str] = []
    there: dict[str, bytes] = {}
    position: Position | None = None
    for turn in range(1_000):
        reader = index.reader(refresh=True)
        if position is None:
            found = cut(reader, request, reader.search(request._replace(limit=41)).hits)
        else:
            found = page_after(reader, request, position)
        met += [hit["_id" if not distinct else "binary"] for hit in found.hits]
        position = found.next
        if position is None:
            break
        if turn == 3:
            fill(index, {**stays, **there})
            continue
        with index.writer(5) as writer:
            live = writer.live()
            assert live
            for path in random_.sample(sorted(changing), 2):
                change = deletion_of(path, there.pop(path)) if path in there else change_for(path, changing[path])
                if change.record:
                    there[path] = changing[path]
                write(live, [change])
    assert len(set(met)) == len(met)
    missing = {name if not distinct else name.rpartition("/")[2] for name in wanted} - set(met)
    assert not missing


@pytest.mark.parametrize("seed", range(12))
def test_a_walk_through_all_hits_equals_one_long_answer(
    corpus: Reader, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In small steps, with both ways in which embedded indices divide the hits: by values and by order."""
    monkeypatch.setattr(embedded_walking, "PART_SIZE", 11)
    monkeypatch.setattr(embedded_walking, "MOST_VALUES", 65_000 if seed % 2 else 3)
    monkeypatch.setattr(elastic_walking, "PART_SIZE", 11)
    monkeypatch.setattr(elastic_walking, "WALK_SIZE", 50)
    random_ = random.Random(seed)
    names = sorted(corpus.packages())
    ranks: tuple[Query, ...] = tuple(
        In("package", tuple(random_.sample(names, 3))) for _ in range(random_.randint(0, 3))
    )
    keys = ["size", *random_.sample(SORTED, 1)] if seed < 4 else random_.sample(SORTED, random_.randint(1, 2))
    request = Request(
        query=random_.choice((All(), Exists("os"), Not(Prefix("variants", "+m")))),
        ranks=ranks,
        filters=(Filter("stacks", ("root",)),) if seed % 3 == 0 else (),
        order=tuple(key for name in keys for key in parse_order(f"{name}:{random_.choice(('asc', 'desc'))}")),
    )
    if seed == 5:
        request = request._replace(order=DEFAULT_ORDER)
    parts = list(corpus.walk(request))
    found = whole(corpus, request)
    assert len(found) > 100
    assert [hit["_id"] for part in parts for hit in part.hits] == found
    for part in parts[:: len(parts) // 3]:
        assert position_at(part.rank, request, part.hits[-1]) == position_of(corpus, request, part.hits[-1])


def test_a_walk_without_hits(corpus: Reader) -> None:
    assert list(corpus.walk(Request(In("package", ("nonesuch",))))) == []


@pytest.mark.parametrize("distinct", [False, True])
@pytest.mark.parametrize("order", ["", "os:desc", "tag"])
def test_a_walk_continues_in_another_index_if_the_first_is_removed(
    corpus: Reader, order: str, distinct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each hit is returned once, with all tags of its binary, as if there had been only one index."""
    monkeypatch.setattr(embedded_walking, "PART_SIZE", 40)
    monkeypatch.setattr(elastic_walking, "PART_SIZE", 40)
    question = Question(distinct=distinct, order=parse_order(order) if order else (), limit=10_000)
    vocabulary = Vocabulary(corpus, load_aliases())
    asked = read_question(question, corpus, vocabulary)
    walk = Walk(asked, MIRROR_URL)
    found: list[Hit] = []
    for _ in range(3):
        for hits in islice(walk.hits(corpus), 4):
            found += hits
    found += [hit for hits in walk.hits(corpus) for hit in hits]
    assert found == answer(asked, corpus, vocabulary, MIRROR_URL).found.hits
    position = position_of(corpus, asked.request, found[200])
    middle = beginning(position, question, asked.request, vocabulary.values("tag"))
    rest = Walk(onwards(asked, vocabulary, middle), MIRROR_URL)
    assert [hit for hits in rest.hits(corpus) for hit in hits] == found[201:]


def test_new_tags_are_recognized_by_a_few_bytes() -> None:
    tags = [f"develop-{number}" for number in range(1_000)]
    note = tag_digests(tags)
    assert len(note) <= 3_000
    assert added_tags(note, [*tags, "new"]) == ("new",)
    assert tag_digests([*tags, "one too many"]) == b""
    assert added_tags(b"", tags) == ()
