"""A spec finds exactly the binaries that satisfy it, however it is typed."""

import random
import re

from hypothesis import event, given, settings
from hypothesis import strategies as st

from cachesync.pages.version import version_key, version_range
from cachesync.search.conditions import conditions
from cachesync.search.parser import parse
from cachesync.search.spec import Between, Compiler, Exactly, GitRef, SpecQuery, Variant, Versions, Word, canonical
from cachesync.search.targets import expand
from tests.support import brute, spack
from tests.support.spack import Binary, document, read_version, satisfies, version_after

COMMIT = "0123456789abcdef" * 2 + "01234567"
PATCHES = [digit * 3 + "c0ffee" + digit * 55 for digit in "abcd"] + ["abc" + "d" * 61]
VALUES = ["c", "c++", "fortran", "a b", "x=y", "it's", 'say "x"', "none", "^%+~", "/usr/lib", "1.2:1.4", "\\d", "ü"]
TARGETS = [
    "x86_64",
    "x86_64_v3",
    "x86_64_v4",
    "haswell",
    "zen2",
    "zen3",
    "zen4",
    "neoverse_n1",
    "graviton2",
    "power9le",
]
KNOWN_TARGETS = [target for target in TARGETS if target != "graviton2"]
FEW_VERSIONS = [
    *("1.2", "1.2.9", "1.2-develop", "1.2rc1", "1.3rc1", "1.3", "1.02.0", "1.20", "2"),
    *("11.4.0", "develop", "main", "1.2a", "1.2-final3"),
]
REFS = ["main", "v1.2", "feature/x", COMMIT]
NAMES = ["hdf5", "zlib-ng", "py-pip", "_x"]
SWITCHES = ["mpi", "shared", "a-b", "x.y"]
KEYS = ["languages", "build_system", "cxxstd", "k-v"]
COMPILERS = ["gcc", "llvm", "intel-oneapi-compilers", "acfl", "cce"]
PLATFORMS = ["linux", "darwin"]
SYSTEMS = ["ubuntu22.04", "rhel8"]
OLD_NAMES = {new: old for old, new in spack.RENAMED.items()}

words = st.sampled_from(["develop", "main", "stable", "alpha", "beta", "rc", "final", "a", "z", "Z", "maim", "p"])
components = st.integers(0, 11).map(str) | words | st.sampled_from(["1.02", "20240722", "9" * 26])
versions = st.lists(st.tuples(components, st.sampled_from([".", "-", "_", ""])), min_size=1, max_size=4).map(
    lambda parts: "".join(map("".join, parts)).rstrip(".-") or "0"
)
few_versions = st.sampled_from(FEW_VERSIONS)
compiler_names = st.sampled_from(COMPILERS)
switch_names = st.sampled_from(SWITCHES)
key_names = st.sampled_from(KEYS)


def binary(choose: random.Random) -> Binary:
    """A plausible binary, drawn without Hypothesis, which would take most of the test's time."""
    version = choose.choice(FEW_VERSIONS)
    if choose.random() < 0.25:
        ref = choose.choice(REFS)
        version = f"{ref if ref == COMMIT else 'git.' + ref}={version}"
    variants: dict[str, bool | frozenset[str]] = {
        name: choose.random() < 0.5 for name in SWITCHES if choose.random() < 0.7
    }
    variants |= {name: some(choose, VALUES) for name in KEYS if choose.random() < 0.7}
    if choose.random() < 0.5:
        variants["patches"] = some(choose, PATCHES)
    compiler = choose.choice(COMPILERS)
    return Binary(
        package=choose.choice(NAMES),
        version=version,
        variants=variants,
        compiler=choose.choice(
            [None, (choose.choice([compiler, OLD_NAMES.get(compiler, compiler)]), choose.choice(FEW_VERSIONS))]
        ),
        platform=choose.choice(PLATFORMS),
        os=choose.choice(SYSTEMS),
        target=choose.choice(TARGETS),
        hash=(choose.choice(["a", "ab", "ba"]) * 32)[:32],
    )


def some(choose: random.Random, values: list[str]) -> frozenset[str]:
    return frozenset(choose.sample(values, choose.choice([1, 1, 2, 3])))


@st.composite
def ranges(draw: st.DrawFn) -> Between:
    low, high = draw(few_versions), draw(few_versions)
    if read_version(low) >= version_after(read_version(high)):
        low, high = high, low
    kept = draw(st.sampled_from(["both", "low", "high", "same"]))
    if kept == "same":
        return Between(low, low, 0)
    return Between(low if kept != "high" else None, high if kept != "low" else None, 0)


items: st.SearchStrategy[Versions] = ranges() | few_versions.map(lambda version: Exactly(version, 0))
assigned = st.none() | ranges() | few_versions.map(lambda version: Exactly(version, 0))
version_lists = st.lists(
    items | st.builds(GitRef, st.sampled_from(["main", COMMIT]), st.none(), st.just(0)), min_size=1, max_size=3
)
root_versions = (
    st.just(())
    | version_lists.map(tuple)
    | st.builds(GitRef, st.sampled_from(REFS), assigned, st.just(0)).map(lambda ref: (ref,))
)
compiler_versions = st.just(()) | st.lists(items, min_size=1, max_size=2).map(tuple)


@st.composite
def key_variants(draw: st.DrawFn, name: str) -> Variant:
    values = draw(st.frozensets(st.sampled_from(VALUES), max_size=3))
    return Variant(name, tuple(values), 0, draw(st.booleans()) and bool(values), draw(st.booleans()))


@st.composite
def patches(draw: st.DrawFn) -> Variant:
    exact = draw(st.booleans())
    asked = draw(st.frozensets(st.sampled_from(PATCHES), min_size=1, max_size=2))
    return Variant("patches", tuple(each if exact else each[: draw(st.integers(1, 64))] for each in asked), 0, exact)


@st.composite
def asked_targets(draw: st.DrawFn) -> Word:
    name = draw(st.sampled_from(TARGETS))
    known = draw(st.sampled_from(KNOWN_TARGETS))
    other = draw(st.sampled_from(KNOWN_TARGETS))
    both = f"{known}:{other}"
    return Word(draw(st.sampled_from([name, f":{known}", f"{known}:", both if expand(both) else known, "*"])), 0)


@st.composite
def specs(draw: st.DrawFn) -> SpecQuery:
    """A spec that documents can answer, without positions."""
    switches = draw(st.dictionaries(switch_names, st.tuples(st.booleans(), st.booleans()), max_size=2))
    variants = [Variant(name, value, 0, propagated=all_over) for name, (value, all_over) in switches.items()]
    variants += [draw(key_variants(name)) for name in draw(st.sets(key_names, max_size=2))]
    if draw(st.integers(0, 4)) == 0:
        variants.append(draw(patches()))
    compilers = draw(
        st.lists(
            st.builds(Compiler, compiler_names.map(lambda name: Word(name, 0)), st.just(0), compiler_versions),
            max_size=1,
        )
    )
    return SpecQuery(
        name=draw(st.none() | st.sampled_from(NAMES).map(lambda name: Word(name, 0))),
        versions=draw(root_versions),
        variants=tuple(variants),
        platform=draw(st.none() | st.sampled_from([*PLATFORMS, "*"]).map(lambda name: Word(name, 0))),
        os=draw(st.none() | st.sampled_from([*SYSTEMS, "*"]).map(lambda name: Word(name, 0))),
        targets=tuple(draw(st.lists(asked_targets(), max_size=2))),
        hash=draw(st.none() | st.sampled_from(["a", "ab", "ba", "ab" * 16]).map(lambda start: Word(start, 0))),
        compilers=tuple(compilers),
    )


def typed(spec: SpecQuery, choose: random.Random) -> str:
    """Write a spec as people might: in any order, with or without spaces, with old names and other quotes."""
    text = choose.choice(["*", "", ""]) if spec.name is None else spec.name.text
    for piece in _in_any_order(spec, choose):
        # A value ends at the next space, as do a name before a key or a dash, and a git reference before a slash.
        runs_on = re.search(r"=[^'\"]*$", text.rpartition(" ")[2]) or "@git." in text.rpartition(" ")[2]
        starts_anew = not re.match("[@+~%/]", piece) or runs_on
        text += (choose.choice([" ", "  "]) if starts_anew and text else choose.choice(["", " "])) + piece
    return text


def _in_any_order(spec: SpecQuery, choose: random.Random) -> list[str]:
    pieces = [_typed_variant(variant, choose) for variant in spec.variants]
    if spec.platform and spec.os and len(spec.targets) == 1 and choose.random() < 0.5:
        pieces.append(f"{choose.choice(['arch', 'architecture'])}={spec.platform}-{spec.os}-{spec.targets[0]}")
    else:
        pieces += [f"platform={spec.platform}"] if spec.platform else []
        pieces += [f"{choose.choice(['os', 'operating_system'])}={spec.os}"] if spec.os else []
        pieces += [f"target={','.join(map(str, spec.targets))}"] if spec.targets else []
    pieces += [f"/{spec.hash}"] if spec.hash else []
    for compiler in spec.compilers:
        name = choose.choice([compiler.name.text, OLD_NAMES.get(compiler.name.text, compiler.name.text)])
        language = choose.choice(["", "", "c=", "c,cxx=", "fortran="])
        pieces.append(f"%{language}{name}{_typed_versions(compiler.versions, choose)}")
    choose.shuffle(pieces)
    # After a compiler, a version would be the compiler's.
    return [written, *pieces] if (written := _typed_versions(spec.versions, choose)) else pieces


def _typed_versions(versions: tuple[Versions, ...], choose: random.Random) -> str:
    if not versions:
        return ""
    if isinstance(versions[0], GitRef) and len(versions) > 1:
        return "@=" + choose.choice([",", " , "]).join(map(str, versions))
    return "@" + choose.choice([",", ", "]).join(map(str, versions))


def _typed_variant(variant: Variant, choose: random.Random) -> str:
    equals = "==" if variant.propagated else "="
    if isinstance(variant.value, bool):
        if choose.random() < 0.2:
            return f"{variant.name}{equals}{choose.choice([variant.value, str(variant.value).upper()])}"
        sign = "+" if variant.value else choose.choice("~-")
        return sign * (2 if variant.propagated else 1) + choose.choice(["", "", " "]) + variant.name
    if not variant.value:
        return f"{variant.name}{equals}*"
    values = list(variant.value)
    choose.shuffle(values)
    text = ",".join(values)
    quote = choose.choice("'\"")
    if not re.fullmatch(r"[\w.,:=%^+~/*\\-]+", text, re.ASCII) or text[0] == "=" or choose.random() < 0.3:
        text = quote + text.replace(quote, "\\" + quote) + quote
    return f"{variant.name}{':' if variant.exact else ''}{equals}{text}"


def each_alone(spec: SpecQuery) -> list[SpecQuery]:
    """The spec, and each of its conditions alone, since few binaries meet all of them."""
    alone = [SpecQuery(**{name: value}) for name, value in spec._asdict().items() if value and name != "variants"]
    return [spec, *alone, *(SpecQuery(variants=(variant,)) for variant in spec.variants)]


@settings(max_examples=200, deadline=None)
@given(spec=specs(), seed=st.integers(0, 2**32))
def test_a_spec_finds_the_binaries_that_satisfy_it(spec: SpecQuery, seed: int) -> None:
    choose = random.Random(seed)
    there = [binary(choose) for _ in range(30)]
    for asked in each_alone(spec):
        query = conditions(parse(typed(asked, choose))).query
        right = [satisfies(each, asked) for each in there]
        assert [brute.matches(document(each), query) for each in there] == right
        event("some of them" if any(right) and not all(right) else "all or none of them")


@settings(max_examples=100, deadline=None)
@given(spec=specs(), seed=st.integers(0, 2**16))
def test_the_canonical_spec_has_the_same_conditions(spec: SpecQuery, seed: int) -> None:
    read = parse(typed(spec, random.Random(seed)))
    again = parse(canonical(read))
    assert canonical(again) == canonical(read)
    assert repr(conditions(again).query) == repr(conditions(read).query)
    assert not again.tail


@settings(max_examples=300, deadline=None)
@given(one=versions, other=versions)
def test_keys_sort_as_versions_do(one: str, other: str) -> None:
    assert (version_key(one) < version_key(other)) == (read_version(one) < read_version(other))
    assert (version_key(one) == version_key(other)) == (read_version(one) == read_version(other))


@settings(max_examples=300, deadline=None)
@given(low=st.none() | versions, high=st.none() | versions, version=versions)
def test_the_keys_of_a_range_contain_its_versions(low: str | None, high: str | None, version: str) -> None:
    end = version_after(read_version(high)) if high else None
    right = (not low or read_version(low) <= read_version(version)) and (not end or read_version(version) < end)
    try:
        at_least, below = version_range(low, high)
    except ValueError:
        assert low
        assert end
        assert read_version(low) >= end
        return
    key = version_key(version)
    assert ((at_least is None or at_least <= key) and (below is None or key < below)) == right
