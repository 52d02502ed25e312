"""Match typed names with packages, and rank the packages.

An index of a million specs has only a few thousand package names, so names are matched here, in memory, and the engine
is asked for exact names: every engine finds the same packages in the same order, and typos cost an engine nothing.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, chain, groupby
from typing import Final, Literal, NamedTuple

from cachesync.search.affixes import LANGUAGES, Core, cores
from cachesync.search.aliases import Aliases
from cachesync.search.typos import LONG, MIN_LETTERS, mistyped, parts, plain_all

MAX_GROUPS: Final = 32
"""The maximum number of groups of equal fit. The last group also contains all packages that fit less well."""

Why = Literal["name", "alias", "prefix", "part", "typo"]
"""How the typed words match a package. ``alias`` also stands for a name with more or fewer decorations."""


class Match(NamedTuple):
    """A package that the typed words may mean."""

    package: str
    why: Why
    fit: int
    """The number of the match's group: 0 is the best, and packages of equal fit are equally good."""
    tier: int = 0
    """The kind of match: by name, by alias, by beginning and so on."""


class Suggestion(NamedTuple):
    """A package that may be meant, suggested while a person is still typing."""

    package: str
    specs: int
    why: Why


class Split(NamedTuple):
    """Several words, split into a package's name and other conditions. Without a name, all words are conditions."""

    name: tuple[str, ...]
    others: tuple[str, ...]
    matches: tuple[Match, ...] = ()
    """The packages that the name may mean, the best first."""

    @property
    def is_mistyped(self) -> bool:
        """Whether the name has typos."""
        return bool(self.matches) and self.matches[0].why == "typo"


_Fit = tuple[int, ...]
"""How well a package fits: the smaller, the better. The first number is one of the tiers below."""

_Hit = tuple[str, _Fit]

_NAME, _ALIAS, _UNDECORATED, _BEGINNING, _DECORATED, _PART, _ALIAS_BEGINNING, _LOOSE, _TYPO = range(9)
_WHY: Final[tuple[Why, ...]] = ("name", "alias", "alias", "prefix", "alias", "part", "alias", "alias", "typo")

_WHOLE_PARTS, _BEGINS_A_PART, _ENDS_A_PART, _SOME_PARTS, _OTHER_ORDER, _INSIDE = range(6)
"""The ways in which typed text can be a part of a name, the best first."""

_PREFIXES: Final = {"py-": 2, "r-": 1, "perl-": 4, "lua-": 3, "ruby-": 4, "lib": 3}
"""The prefixes of names that many people leave out, with the number of letters of each, without the hyphen."""

_LOOSE_FROM: Final = 3
"""The total cost of decorations from which it is uncertain whether the package is meant."""

_SHORT_ALIAS: Final = 3
"""Aliases of at most this many letters match only without typos and as one part, because ``r-g`` isn't ``rg``."""

_MAX_WORDS: Final = 6
"""The maximum number of words that can form a name."""

_MAX_TRIED: Final = 8
"""The most runs of words tried as a part of a name or with typos, each at a hundred times the cost of a whole name."""

_NOT_A_NAME: Final = re.compile(r"[\W\d]*|\w")
"""Numbers and single letters. Many names begin with these, but among other words they don't mean a package."""


class PackageNames:
    """The package names of an index."""

    def __init__(self, counts: Mapping[str, int], aliases: Aliases) -> None:
        """Prepare the names. ``counts`` maps the packages of an index to their numbers of specs."""
        packages = list(counts)
        self._counts = counts
        self._aliases = aliases
        self._spelled = dict(zip(packages, plain_all(packages), strict=True))
        self._named: dict[str, list[str]] = {}
        for package, spelled in self._spelled.items():
            self._named.setdefault(spelled, []).append(package)
        self._longest = max(map(len, chain(self._named, aliases)), default=0)

    def find(self, words: Sequence[str]) -> list[Match]:
        """Return the packages that the words may mean as one name, the best first.

        Whole names come first, then aliases, names without their decorations (``numpy``), beginnings, decorated names
        (``hdf5-devel``) and parts. Typos are considered only if none of these match. The more of a name the words
        cover, the better. Among names that are covered equally, names with more specs come first if the counts differ
        by more than about two to one.
        """
        found = next(filter(None, map(_best, self._ways(words))), {})
        fits = {package: (*fit, -self._counts[package].bit_length()) for package, fit in found.items()}
        groups = {fit: min(number, MAX_GROUPS - 1) for number, fit in enumerate(sorted(set(fits.values())))}
        ordered = sorted((fit, package) for package, fit in fits.items())
        return [Match(package, _WHY[fit[0]], groups[fit], fit[0]) for fit, package in ordered]

    def is_name(self, words: Sequence[str]) -> bool:
        """Whether the words are a package's name, an alias, or a name with other decorations.

        A number at the end doesn't count as a decoration because it may be a version, as in ``gcc12``.
        """
        if len(words) > _MAX_WORDS or sum(map(len, words)) > 2 * self._longest:
            return False
        fits = (fit for core in cores(words) if not core.numberless for _, fit in self._named_like(core))
        return any(fit[0] != _LOOSE for fit in fits)

    def suggest(self, text: str, limit: int = 10) -> list[Suggestion]:
        """Return the packages that the text typed so far may mean, the best first."""
        words = text.split()
        found = self.find(words)
        if not found and len(words) > 1:
            found = list(next(split(words, self)).matches)
        found.sort(key=lambda match: (match.fit, -self._counts[match.package], match.package))
        return [Suggestion(each.package, self._counts[each.package], each.why) for each in found[:limit]]

    def _ways(self, words: Sequence[str]) -> Iterator[Iterable[_Hit]]:
        """Yield the hits of each way of matching. A way is used only if the ways before it find nothing."""
        typed = cores(words)
        if not typed or len(typed[0].text) > 2 * self._longest:
            return
        yield chain(self._containing(typed[0]), self._named_least_decorated(typed))
        if len(words) > 1:
            yield self._in_several_parts(typed[0])
        yield self._mistyped(typed, min(map(_letters, words)) if len(words) > 1 else LONG)
        yield chain.from_iterable(map(self._containing, typed[1:]))
        if len(words) == 1:
            yield self._in_several_parts(typed[0])
        yield self._anywhere(typed[0].text)

    def _named_least_decorated(self, typed: Sequence[Core]) -> list[_Hit]:
        """Find packages with the typed names and the fewest decorations removed: ``hdf5`` doesn't also mean ``hdf``."""
        for _, alike in groupby(sorted(typed, key=lambda core: core.cost), key=lambda core: core.cost):
            if found := [hit for core in alike for hit in self._named_like(core)]:
                return found
        return []

    def _named_like(self, core: Core) -> Iterator[_Hit]:
        """Find the packages with a core's name: by whole name, by alias, or with more or fewer decorations."""
        if not core.language:
            for package in self._named.get(core.text, ()):
                yield package, (_tier(core), core.cost, 0) if core.cost else (_NAME,)
        for place, package in enumerate(self._aliased(core)):
            yield package, (_tier(core), core.cost, place) if core.cost else (_ALIAS, place)
        for place, affix in enumerate(core.affixes(), start=1):
            for package in self._named.get(affix.around(core.text), ()):
                if affix.is_around(package):
                    yield package, (_tier(core, affix.cost), core.cost + affix.cost, place)

    def _aliased(self, core: Core) -> Iterator[str]:
        """Yield the packages of which a core is an alias."""
        if len(core.parts) == 1 or len(core.text) > _SHORT_ALIAS:
            for package in self._aliases.get(core.text, ()):
                if package in self._counts and package.startswith(core.language):
                    yield package

    def _containing(self, core: Core) -> Iterator[_Hit]:
        """Find names that begin with a core or have it as a part, and packages with an alias that begins with it."""
        typed = core.text
        bare = core.parts[0] not in LANGUAGES
        for package, spelled in self._spelled.items():
            if typed in spelled and package.startswith(core.language):
                fit = _fit_within(package, spelled, typed, bare=bare)
                if fit is not None:
                    yield package, fit
        if len(typed) >= MIN_LETTERS:
            for alias, packages in self._aliases.items():
                if alias.startswith(typed):
                    left = len(alias) - len(typed)
                    yield from ((each, (_ALIAS_BEGINNING, left)) for each in packages if each in self._counts)

    def _in_several_parts(self, core: Core) -> Iterator[_Hit]:
        """Find names of which a core is several parts or their beginnings, as in ``intel mkl`` or ``mkl intel``."""
        typed = core.text
        for package, spelled in self._spelled.items():
            left = len(spelled) - len(typed)
            if left < 0:
                continue
            if typed[:2] in spelled and typed[-2:] in spelled and _is_run_of_parts(typed, parts(package)):
                yield package, (_PART, _SOME_PARTS, left)
            elif len(core.parts) > 1 and all(word in spelled for word in core.parts) and _has_each(package, core.parts):
                yield package, (_PART, _OTHER_ORDER, left)

    def _mistyped(self, typed: Sequence[Core], fewer_than: int) -> Iterator[_Hit]:
        """Find the names and aliases with the fewest typos, if they have fewer than ``fewer_than``.

        For several words, the limit is the length of the shortest word because as many typos could replace that word.
        """
        spellings, meant = self._spellings
        found = []
        for core in typed:
            if core.numberless or core.text in self._aliases or len(core.text) > self._longest + 2:
                continue
            for distance, place in mistyped(core.text, spellings):
                package, cost = meant[place]
                is_near = distance < fewer_than and _each_part_is_near(core.parts, package)
                if is_near and package.startswith(core.language):
                    other_start = spellings[place][0] != core.text[0]
                    found.append((package, (_TYPO, distance, cost + 2 * core.cost, other_start)))
        fewest = min((fit[1] for _, fit in found), default=0)
        yield from (hit for hit in found if hit[1][1] == fewest)

    @cached_property
    def _spellings(self) -> tuple[list[str], list[tuple[str, int]]]:
        """All spellings that can be mistyped, each with its package, and a cost if the spelling is not a whole name."""
        names = [(spelled, (package, 0)) for package, spelled in self._spelled.items()]
        bare = [
            (self._spelled[package][letters:], (package, 1))
            for start, letters in _PREFIXES.items()
            for package in self._spelled
            if package.startswith(start)
        ]
        aliases = [
            (alias, (package, 2))
            for alias, packages in self._aliases.items()
            for package in packages
            if len(alias) > _SHORT_ALIAS and package in self._counts
        ]
        everything = [*names, *bare, *aliases]
        return [spelled for spelled, _ in everything], [meant for _, meant in everything]

    def _anywhere(self, typed: str) -> Iterator[_Hit]:
        """Find names that contain the typed text anywhere, even where no part begins or ends."""
        if len(typed) >= MIN_LETTERS:
            for package, spelled in self._spelled.items():
                if typed in spelled:
                    yield package, (_PART, _INSIDE, len(spelled) - len(typed))


def _each_part_is_near(typed: Sequence[str], package: str) -> bool:
    """Whether no part has too many typos: ``mpi`` isn't ``mkl``. Parts are compared only if there are equally many."""
    meant = parts(package)
    if len(typed) == 1 or len(typed) != len(meant):
        return True
    pairs = (pair for pair in zip(typed, meant, strict=True) if min(map(len, pair)) >= MIN_LETTERS)
    return all(one == other or any(mistyped(one, [other])) for one, other in pairs)


def grouped(matches: Sequence[Match]) -> list[list[str]]:
    """Return the packages in at most :data:`MAX_GROUPS` groups of equal fit, the best first."""
    return [[each.package for each in group] for _, group in groupby(matches, key=lambda match: match.fit)]


def split(words: Sequence[str], names: PackageNames) -> Iterator[Split]:
    """Yield lazily the ways to split several words, the most likely first."""
    yield from by_names(words, names)
    yield from by_parts(words, names)


def by_names(words: Sequence[str], names: PackageNames) -> Iterator[Split]:
    """Yield the splits in which a run of words is a package's whole name, the longest and leftmost run first."""
    words = tuple(words)
    for start, end in _runs(words):
        if names.is_name(words[start:end]):
            yield _split(words, start, end, names)


def by_parts(words: Sequence[str], names: PackageNames) -> Iterator[Split]:
    """Yield the splits of words in which no run is a whole name.

    Runs that may mean a package in another way come first, then mistyped runs. In the last split, all words are
    conditions.
    """
    words = tuple(words)
    some = [run for run in _runs(words) if _may_be_a_part(words[slice(*run)]) and not names.is_name(words[slice(*run)])]
    mistyped_ones = []
    for start, end in some[-_MAX_TRIED:]:
        found = _split(words, start, end, names)
        if found.is_mistyped:
            mistyped_ones.append(found)
        elif found.matches:
            yield found
    yield from mistyped_ones
    yield Split((), words)


def _runs(words: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each run of words that can be a name, the longest run first."""
    for size in range(min(len(words), _MAX_WORDS), 0, -1):
        for start in range(len(words) - size + 1):
            yield start, start + size


def _may_be_a_part(words: Sequence[str]) -> bool:
    return not _NOT_A_NAME.fullmatch("".join(words))


def _split(words: tuple[str, ...], start: int, end: int, names: PackageNames) -> Split:
    name = words[start:end]
    return Split(name, words[:start] + words[end:], tuple(names.find(name)))


def _best(hits: Iterable[_Hit]) -> dict[str, _Fit]:
    """Return the best fit of each package."""
    best: dict[str, _Fit] = {}
    for package, fit in hits:
        if package not in best or fit < best[package]:
            best[package] = fit
    return best


def _letters(word: str) -> int:
    """Count letters and digits."""
    return sum(map(str.isalnum, word))


def _tier(core: Core, left_out: int = 0) -> int:
    """Return the tier of a name that has more or fewer decorations than the typed words."""
    if core.cost + left_out >= _LOOSE_FROM:
        return _LOOSE
    return _DECORATED if core.cost else _UNDECORATED


def _fit_within(package: str, spelled: str, typed: str, *, bare: bool) -> _Fit | None:
    """Return how well a name fits text that begins or ends one of its parts. If ``bare``, a prefix may come first."""
    left = len(spelled) - len(typed)
    if spelled.startswith(typed):
        return _BEGINNING, left, 0
    if bare and any(package.startswith(start) and spelled.startswith(typed, at) for start, at in _PREFIXES.items()):
        return _BEGINNING, left, 1
    if len(typed) == 1:
        return None
    name = parts(package)
    ends = list(accumulate(map(len, name)))
    fits = []
    for part, end in zip(name, ends, strict=True):
        start = end - len(part)
        if spelled.startswith(typed, start):
            fits.append(_WHOLE_PARTS if start + len(typed) in ends else _BEGINS_A_PART)
        elif len(part) > len(typed) >= MIN_LETTERS and spelled.endswith(typed, start, end):
            fits.append(_ENDS_A_PART)
    return (_PART, min(fits), left) if fits else None


def _is_run_of_parts(typed: str, name: Sequence[str]) -> bool:
    """Whether typed text consists of parts of a name in order, or of their beginnings with three or more letters."""
    reached = {0}
    for part in name:
        for start in tuple(reached):
            for size in range(1, len(part) + 1):
                if not typed.startswith(part[:size], start):
                    break
                if size >= MIN_LETTERS or size == len(part):
                    reached.add(start + size)
    return len(typed) in reached


def _has_each(package: str, words: Iterable[str]) -> bool:
    """Whether each of the words is a part of the package's name or the beginning of a part."""
    name = parts(package)
    return all(any(part.startswith(word) for part in name) for word in words)
