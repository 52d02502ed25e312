"""Translate specs into queries for documents, and reject conditions that documents can't answer."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from cachesync.errors import QueryError, UnanswerableError
from cachesync.pages.version import version_key, version_range
from cachesync.search import targets
from cachesync.search.informal import names_and_versions
from cachesync.search.parser import HASH_LENGTH
from cachesync.search.query import All, And, Exists, In, Not, Or, Prefix, Query, Range, Term
from cachesync.search.spec import (
    Between,
    Compiler,
    Exactly,
    GitRef,
    SpecQuery,
    Variant,
    Versions,
    Word,
    ordered,
    written_versions,
)

PATCH_LENGTH: Final = 7
"""The number of characters of a patch's digest that pages contain."""

LANGUAGES: Final = frozenset({"c", "cxx", "fortran"})

COMPILERS: Final = frozenset(
    {
        *("acfl", "aocc", "apple-clang", "cce", "dpcpp", "fj", "gcc", "intel-oneapi-compilers"),
        *("intel-oneapi-compilers-classic", "llvm", "llvm-amdgpu", "msvc", "nag", "nvhpc", "pgi", "xl", "xl_r"),
    }
)
"""Spack's compilers, by their current names and by names that were never replaced."""

_BY_COMMAND: Final = {
    **dict.fromkeys(("icx", "icpx", "ifx"), "oneapi"),
    **dict.fromkeys(("icc", "icpc", "ifort"), "intel"),
    **dict.fromkeys(("cray", "craycc", "crayftn"), "cce"),
    **dict.fromkeys(("nvc", "nvfortran", "pgcc"), "nvhpc"),
    "gfortran": "gcc",
    "flang": "clang",
    "armclang": "arm",
}
"""Commands, each with the compiler to which the command belongs."""

_HOST_DEPENDENT: Final = frozenset({"fe", "be", "frontend", "backend", "default_os", "default_target"})


class Piece(NamedTuple):
    """One condition of a spec."""

    text: str
    """The condition as Spack writes it."""
    at: int
    query: Query


class Conditions(NamedTuple):
    """The conditions of a spec. A document must meet all of them."""

    pieces: tuple[Piece, ...]
    notes: tuple[str, ...]
    """Sentences about conditions that may be interpreted differently from what the user meant."""

    @property
    def query(self) -> Query:
        """The query for documents that meet all conditions."""
        return _all_of([each.query for each in self.pieces]) if self.pieces else All()


def conditions(spec: SpecQuery, compilers: Collection[str] = COMPILERS) -> Conditions:
    """Translate a spec with the meaning that it has in Spack 1.1.

    ``compilers`` are the names that may follow ``%``. Spack accepts any direct dependency after ``%``, but documents
    contain only the compiler.

    Raises:
        UnanswerableError: the spec asks for something that documents don't contain. The error names the first such
            part.
        QueryError: the spec has a range of targets that is empty or has an unknown bound.
    """
    refusals = sorted(_refusals(spec, compilers), key=lambda refusal: refusal.at)
    if refusals:
        raise refusals[0]
    return Conditions(tuple(_pieces(spec)), tuple(_notes(spec)))


def _pieces(spec: SpecQuery) -> Iterator[Piece]:
    if spec.name:
        yield Piece(spec.name.text, spec.name.at, Term("package", spec.name.text))
    if written := written_versions(spec.versions):
        query = _any_of([_version(each, "version_key") for each in spec.versions])
        yield Piece(written, spec.versions[0].at, query)
    for variant in ordered(spec.variants):
        yield Piece(str(variant), variant.at, _variant(variant))
    if spec.platform:
        yield Piece(f"platform={spec.platform}", spec.platform.at, _term_or_any("platform", spec.platform))
    if spec.os:
        yield Piece(f"os={spec.os}", spec.os.at, _term_or_any("os", spec.os))
    if spec.targets:
        text = f"target={','.join(map(str, spec.targets))}"
        yield Piece(text, spec.targets[0].at, _targets(spec.targets))
    if spec.hash:
        yield Piece(f"/{spec.hash}", spec.hash.at, of_hash(spec.hash.text))
    for compiler in spec.compilers[:1]:  # other compilers are equal to the first, or were rejected
        yield Piece(str(compiler), compiler.at, _compiler(compiler))


def _version(version: Versions, field: str) -> Query:
    match version:
        case Between(low, high):
            return _between(version_range(low, high), field)
        case Exactly(text):
            return And((Term(field, version_key(text)), Not(Exists("git_ref"))))
        case GitRef(ref, None):
            return Term("git_ref", ref)
        case GitRef(ref, Exactly(text)):
            return And((Term("git_ref", ref), Term(field, version_key(text))))
        case GitRef(ref, Between(low, high)):
            return And((Term("git_ref", ref), _between(version_range(low, high), field)))
    raise AssertionError(version)


def _between(keys: tuple[str | None, str | None], field: str) -> Query:
    return Range(field, *keys) if any(keys) else All()


def _variant(variant: Variant) -> Query:
    name, value = variant.name, variant.value
    if isinstance(value, bool):
        if variant.propagated:
            return Not(Term("variant_values", ("~" if value else "+") + name))
        return Term("variant_values", ("+" if value else "~") + name)
    query = _values(variant, value) if value else Term("variant_names", name)
    return Or((Not(Term("variant_names", name)), query)) if variant.propagated else query


def _values(variant: Variant, values: tuple[str, ...]) -> Query:
    name = variant.name
    if name == "patches":
        values = tuple(dict.fromkeys(each[:PATCH_LENGTH] for each in values))
    if variant.exact and len(values) > 1:
        return Term("variant_values", f"{name}:={','.join(sorted(values))}")
    queries: list[Query] = [_value(name, each) for each in values]
    if variant.exact:
        queries.append(Not(Term("variant_values", f"{name}:=*")))
    return _all_of(queries)


def _value(name: str, value: str) -> Query:
    if name == "patches" and len(value) < PATCH_LENGTH:
        return Prefix("variant_values", f"{name}={value}")
    return Term("variant_values", f"{name}={value}")


def _term_or_any(field: str, word: Word) -> Query:
    return Exists(field) if word.text == "*" else Term(field, word.text)


def _targets(words: tuple[Word, ...]) -> Query:
    names: set[str] = set()
    for word in words:
        if word.text in targets.ANY:
            continue
        try:
            found = targets.expand(word.text)
        except targets.UnknownTargetError as error:
            raise QueryError(word.at, str(error)) from None
        if not found:
            low, _, high = word.text.partition(":")
            problem = (
                f"no target runs what {low} runs and is run by {high}; expected a range from the lower to the higher"
            )
            raise QueryError(word.at, problem)
        names.update(found)
    if any(word.text in targets.ANY for word in words):
        return Exists("target")
    return In("target", tuple(sorted(names)))


def of_hash(start: str) -> Query:
    """Return the query for binaries whose hash begins with ``start``."""
    start = start.lower()
    return Term("hash", start) if len(start) == HASH_LENGTH else Prefix("hash", start)


def _compiler(compiler: Compiler) -> Query:
    name = Term("compiler_name", compiler.name.text)
    if not written_versions(compiler.versions):
        return name
    return And((name, _any_of([_compiler_version(each) for each in compiler.versions])))


def _compiler_version(version: Versions) -> Query:
    if isinstance(version, Exactly):  # compilers never have git versions
        return Term("compiler_version_key", version_key(version.version))
    return _version(version, "compiler_version_key")


def _any_of(queries: list[Query]) -> Query:
    return queries[0] if len(queries) == 1 else Or(tuple(queries))


def _all_of(queries: list[Query]) -> Query:
    return queries[0] if len(queries) == 1 else And(tuple(queries))


# Conditions that documents can't answer


def _refusals(spec: SpecQuery, compilers: Collection[str]) -> Iterator[UnanswerableError]:
    if spec.namespace:
        instead = _without_namespace(spec.namespace, spec.name) if spec.name else ""
        yield _unanswerable(spec.namespace.at, f"the namespace {spec.namespace}", "namespaces", instead)
    for flags in spec.flags:
        yield _unanswerable(flags.at, str(flags), "flags of compilers")
    for dependency in spec.dependencies:
        yield _unanswerable(dependency.at, str(dependency), "dependencies")
    for variant in spec.variants:
        if variant.name == "patches" and variant.exact and isinstance(variant.value, tuple):
            yield from _short_patches(variant, variant.value)
    for word in (spec.os, *spec.targets):
        if word and (words := _HOST_DEPENDENT.intersection(word.text.split(":"))):
            problem = f"{min(words)} means the machine that asks, which isn't known here; expected its name"
            yield UnanswerableError(word.at, f"{problem}, as `spack arch` prints it")
    for compiler in spec.compilers:
        yield from _compiler_refusals(compiler, compilers)
    yield from _several_compilers(spec.compilers)


def _unanswerable(at: int, part: str, kind: str, instead: str = "") -> UnanswerableError:
    return UnanswerableError(
        at, f"{part:.80} can't be answered, since documents have no {kind}{instead or '; leave it out'}"
    )


def _without_namespace(namespace: Word, name: Word) -> str:
    """Return what was expected: the name alone, or a name with a version if the dot was part of a version."""
    ways = list(names_and_versions(f"{namespace.text}.{name.text}")) if name.text[:1].isdigit() else []
    return f"; expected {ways[-1][0]:.80}@{ways[-1][1]:.80}" if ways else f"; expected {name.text:.80} alone"


def _short_patches(variant: Variant, values: tuple[str, ...]) -> Iterator[UnanswerableError]:
    for value in values:
        if len(value) < PATCH_LENGTH:
            problem = f"{value!r} may be several patches; expected at least {PATCH_LENGTH} characters of each after :="
            yield UnanswerableError(variant.at, problem)


def _compiler_refusals(compiler: Compiler, compilers: Collection[str]) -> Iterator[UnanswerableError]:
    name = compiler.name.text
    if compiler.namespace:
        problem = f"the namespace {compiler.namespace}"
        yield _unanswerable(compiler.namespace.at, problem, "namespaces", f"; expected {name:.80} alone")
    for attribute in compiler.attributes:
        yield _unanswerable(attribute.at, attribute.text, "dependencies")
    for virtual in compiler.virtuals:
        if virtual not in LANGUAGES:
            yield _unanswerable(compiler.at, str(compiler), "dependencies but the compiler")
    if name in LANGUAGES:
        problem = (
            f"%{name} can't be answered, since documents don't contain what a compiler is used for; expected its name"
        )
        yield UnanswerableError(compiler.at, problem)
    elif name not in compilers:
        problem = f"%{name:.80} can't be answered, since documents have no direct dependencies but the compiler"
        meant = f"%{_BY_COMMAND[name]}" if name in _BY_COMMAND else "one, such as %gcc, %llvm or %oneapi"
        yield UnanswerableError(compiler.name.at, f"{problem}; expected {meant}")
    for version in compiler.versions:
        if isinstance(version, GitRef):
            yield _unanswerable(version.at, str(version), "compilers from git")


def _several_compilers(compilers: tuple[Compiler, ...]) -> Iterator[UnanswerableError]:
    for compiler in compilers[1:]:
        if _without_virtuals(compiler) != _without_virtuals(compilers[0]):
            problem = f"{compilers[0]!s:.80} and {compiler!s:.80} can't be asked for together, since a document has one"
            yield UnanswerableError(compiler.at, f"{problem} compiler; expected one of them")


def _without_virtuals(compiler: Compiler) -> str:
    return f"%{compiler.name}{written_versions(compiler.versions)}"


# Conditions that may be interpreted differently from what the user meant


def _notes(spec: SpecQuery) -> Iterator[str]:
    at = {variant.at for variant in spec.variants}
    if tail := [part for part in spec.tail if part.at in at]:
        yield _tail_note(spec, tail)
    for compiler in spec.compilers:
        if compiler.virtuals:
            which = "that of C, else of C++, else of Fortran"
            yield f"{compiler} is read as {_without_virtuals(compiler)}: documents have one compiler each, {which}."
    for variant in spec.variants:
        yield from _variant_notes(variant)


def _tail_note(spec: SpecQuery, variants: Sequence[Word]) -> str:
    tail = " ".join(map(str, variants))
    owner = f"{spec.name}'s" if spec.name else "the package's"
    since = "as Spack did up to 0.23: documents have no variants of compilers"
    return f"{tail} after %{spec.compilers[0].name} is read as {owner}, {since}."


def _variant_notes(variant: Variant) -> Iterator[str]:
    if variant.propagated:
        yield f"{variant} finds packages without the variant {variant.name}, too, as in Spack."
    values = () if isinstance(variant.value, bool) else variant.value
    if variant.name == "patches" and any(len(each) > PATCH_LENGTH for each in values):
        yield f"Patches are told apart by their first {PATCH_LENGTH} characters: pages have no more."
    if any("%" in each or "^" in each for each in values):
        yield f"{variant} is one value up to the next space; put a space before a compiler or a dependency."
