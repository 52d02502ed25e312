"""Questions have complete answers, the same on every engine."""

from collections.abc import Sequence
from typing import Any

import pytest
from archspec import cpu  # type: ignore[import-untyped]

from cachesync.errors import IndexUnavailableError, UsageError
from cachesync.index.base import Index
from cachesync.index.generation import Reader
from cachesync.search.aliases import load_aliases
from cachesync.search.answer import Answer, as_object, ask, show_binary
from cachesync.search.difference import as_object as difference_as_object
from cachesync.search.difference import difference
from cachesync.search.install import MIRROR_URL
from cachesync.search.interpretation import Mode
from cachesync.search.question import Question
from cachesync.search.request import LATEST, Facet, Filter, parse_order
from cachesync.search.targets import Machine
from cachesync.search.vocabulary import Vocabulary
from tests.contract.conftest import Filled
from tests.support.filling import fill
from tests.support.pages import entry, page, path_of

OLD, NEW = "develop-2025-06-29", "develop-2025-07-06"


def build(name: str, version: str = "1.14.6", **fields: Any) -> dict[str, Any]:
    """A binary with a hash of Spack's length: the name, padded."""
    return entry(name.ljust(32, "z"), versions=[version], **fields)


HDF5 = [
    build("hdfa", "1.14.6", variants=["+mpi", "build_system=cmake", "languages='c,c++'"], target="zen3"),
    build("hdfb", "1.14.5", variants=["~mpi", "build_system=cmake"], target="x86_64_v3", os="rhel8"),
    build("hdfc", "1.12.3", variants=["+mpi", "+cxx"], target="zen4", compiler="gcc@12.3.0"),
    build("hdfd", "1.10.11", variants=["+mpi"], target="neoverse_v1", compiler="clang@17.0.6"),
    build("hdfe", "develop", variants=["+mpi"], target="x86_64", compiler="none"),
]
PAGES = {
    path_of("hdf5", OLD): page(*HDF5[1:], title="hdf5", tag=OLD),
    path_of("hdf5", NEW): page(*HDF5[:4], title="hdf5", tag=NEW),
    path_of("hdf5", "develop"): page(HDF5[0], title="hdf5"),
    path_of("gcc", NEW): page(build("gcca", "12.3.0", variants=["+binutils"]), title="gcc", tag=NEW),
    path_of("py-torch", NEW): page(build("torch", "2.7.1", variants=["+cuda"]), title="py-torch", tag=NEW),
    path_of("intel-oneapi-mkl", NEW): page(build("mkla", "2024.2.2"), title="intel-oneapi-mkl", tag=NEW),
    path_of("netcdf-c", NEW): page(build("netc", "4.9.3", variants=["+hdf5"]), title="netcdf-c", tag=NEW),
}
ALIASES = load_aliases()


@pytest.fixture(scope="module")
def reader(filled: Filled) -> Reader:
    return filled(PAGES)


def answered(reader: Reader, text: str = "", **more: Any) -> Answer:
    question = Question(text, **{"limit": 100, **more})
    return ask(question, reader, Vocabulary(reader, ALIASES), MIRROR_URL)


def found(answer: Answer) -> list[str]:
    """The hits: their packages, and for hdf5 which binary."""
    return [hit["hash"].rstrip("z") for hit in answer.found.hits]


@pytest.mark.parametrize(
    ("text", "hashes", "canonical"),
    [
        ("", "gcca hdfa hdfb hdfc hdfd hdfe mkla netc torch", "*"),
        ("hdf5", "hdfa hdfb hdfc hdfd hdfe", "hdf5"),
        ("HDF5", "hdfa hdfb hdfc hdfd hdfe", "hdf5"),
        ("hdff5", "hdfa hdfb hdfc hdfd hdfe", "hdf5"),
        ("hdf", "hdfa hdfb hdfc hdfd hdfe", "hdf"),
        ("hdf5@1.12:", "hdfa hdfb hdfc hdfe", "hdf5@1.12:"),
        ("hdf5@1.12:1.14.5", "hdfb hdfc", "hdf5@1.12:1.14.5"),
        ("hdf5 @1.14 +mpi", "hdfa", "hdf5@1.14+mpi"),
        ("hdf5+mpi%gcc@12", "hdfc", "hdf5+mpi %gcc@12"),
        ("hdf5 %clang", "hdfd", "hdf5 %llvm"),
        ("hdf5 target=:zen3", "hdfa hdfb hdfe", "hdf5 target=:zen3"),
        ("hdf5 target=zen3,zen4", "hdfa hdfc", "hdf5 target=zen3,zen4"),
        ("hdf5 languages=c++", "hdfa", "hdf5 languages='c++'"),
        ("hdf5 languages:=c", "", "hdf5 languages:=c"),
        ("hdf5 languages:=c++,c", "hdfa", "hdf5 languages:='c++,c'"),
        ("hdf5 -mpi", "hdfb", "hdf5~mpi"),
        ("hdf5==1.14.6", "hdfa", "hdf5@1.14.6"),
        ("hdf5-1.14.6", "hdfa", "hdf5@1.14.6"),
        ("HDF5-v1.14", "hdfa hdfb", "hdf5@1.14"),
        ("netcdf-c4", "netc", "netcdf-c@4"),
        ("gcc12", "gcca", "gcc@12"),
        ("hdf5 gcc12", "hdfc", "hdf5 %gcc@12"),
        ("/hdfa", "hdfa", "/hdfa"),
        ("hdf5/hdfb", "hdfb", "hdf5/hdfb"),
        ("pytorch", "torch", "py-torch"),
        ("py torch", "torch", "py-torch"),
        ("mkl@2024:", "mkla", "intel-oneapi-mkl@2024:"),
        ("intel mkl 2024", "mkla", "intel-oneapi-mkl 2024"),
        ("hdf5 zen4 +mpi", "hdfc", "hdf5+mpi target=zen4"),
        ("hdf5 1.12", "hdfc", "hdf5 1.12"),
        ("rhel8 hdf5", "hdfb", "hdf5 os=rhel8"),
        ("hdf5 gcc 12", "hdfc", "hdf5 12 %gcc"),
        (f"tag={OLD} hdf5 1.10", "hdfd", f"hdf5 1.10 tag={OLD}"),
        ("gcc", "gcca", "gcc"),
        ("hdf5 cmake", "hdfa hdfb", "hdf5 build_system=cmake"),
        ("hdf5 +binutils", "", "hdf5+binutils"),
        ("hdf5@9:10", "", "hdf5@9:10"),
        ("nothing-like-it", "", "nothing-like-it"),
        ("hdf5-1.14.6 +mpi", "hdfa", "hdf5@1.14.6+mpi"),
        ("hdf5-1.14+mpi", "hdfa", "hdf5@1.14+mpi"),
        ("hdf5-1.14 gcc", "hdfa hdfb", "hdf5@1.14 %gcc"),
        ("hdf5 - mpi", "hdfb", "hdf5~mpi"),
        ("hdf5 1.12:", "hdfa hdfb hdfc hdfe", "hdf5 @1.12:"),
        ("hdf5 1.12:1.14.5", "hdfb hdfc", "hdf5 @1.12:1.14.5"),
        ("hdf5 gcc@12", "hdfc", "hdf5 %gcc@12"),
        ("gcc@12 hdf5", "hdfc", "hdf5 %gcc@12"),
        ("hdf5@1.12: gcc@12", "hdfc", "hdf5@1.12: %gcc@12"),
        ("hdf5 gcc==12", "hdfc", "hdf5 %gcc@12"),
        ("hdf5@1.12, 1.10", "hdfc hdfd", "hdf5@1.12,1.10"),
        ("hdf5==1.14+mpi", "hdfa", "hdf5@1.14+mpi"),
        ("hdf5,+mpi", "hdfa hdfc hdfd hdfe", "hdf5+mpi"),
        ("hdf5 compiler=clang", "hdfd", "hdf5 %llvm"),
        ("hdf5%gcc==12", "hdfc", "hdf5 %gcc@12"),
        ("hdf5 %gcc/12", "hdfc", "hdf5 %gcc@12"),
        ("hdf5 compiler_name=clang", "hdfd", "hdf5 compiler_name=clang"),
        ("hdf5 12", "hdfc", "hdf5 12"),
        ("hdf5:1.14", "hdfa hdfb", "hdf5@1.14"),
        ("hdf5_1_14", "hdfa hdfb", "hdf5@1.14"),
        ("hdf5-1.12.3-gcc-12.3.0-hdfczzz", "hdfc", "hdf5@1.12.3 /hdfczzz %gcc@12.3.0"),
        ("pip install hdf5", "hdfa hdfb hdfc hdfd hdfe", "hdf5"),
        ("module load hdf5/1.14.6-gcc", "hdfa", "hdf5@1.14.6 %gcc"),
    ],
)
def test_queries_find_binaries_and_are_shown_as_read(reader: Reader, text: str, hashes: str, canonical: str) -> None:
    answer = answered(reader, text, distinct=True)
    assert sorted(found(answer)) == hashes.split()
    assert answer.reading.canonical == canonical
    assert answer.found.binaries == len(hashes.split())


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("hdff5", "No package is called hdff5; hdf5 is near."),
        ("mkl", "mkl is read as intel-oneapi-mkl."),
        ("hdf5 +mpii", "No package has a variant mpii; did you mean mpi?"),
        ("hdf5 targt=zen4", "No package has a variant targt; did you mean target?"),
        ("hdf5==1.14.6", "hdf5==1.14.6 is read as hdf5@1.14.6."),
        ("gcc", "9 specs of other packages have gcc in other fields: search for %gcc to see those."),
        ("hdf5 gcc@12", "gcc@12 next to a package is read as %gcc@12."),
        ("gcc@12 hdf5", "gcc@12 next to a package is read as %gcc@12."),
        ("hdf5 tag=developp", "No document has tag=developp; did you mean develop?"),
        ("hdf5 tag=develop*", "No document has tag=develop*; did you mean develop?"),
        ("hdf5 tag=latest", "No document has tag=latest; --tag latest is the newest tag with a date."),
        ("hdf5 os=rhel9", "No document has os=rhel9; did you mean rhel8?"),
        ("hdf5 stacks=none,no", "No document has stacks=none,no."),
        ("hdf5 +mpi~cxx", "No document has ~cxx."),
        ("hdf5=1.14.6", "No document has hdf5=1.14.6; did you mean hdf5@1.14.6?"),
        ("hdf5 build_system=Cmake", "No document has build_system=Cmake; did you mean build_system=cmake?"),
        ("hdf5 target=zen2", "No document has target=zen2; 3 run on zen2: ask for target=:zen2."),
        ("hdf5 zen2", "No document has zen2; 3 run on zen2: ask for target=:zen2."),
        ("hdf5 target=power9le", "No document has target=power9le, and none runs on power9le."),
        ("hdf5 linux-rhel8-zen2", "No document has linux-rhel8-zen2; --arch linux-rhel8-zen2 finds what runs on such"),
        ("hdf5 %intel", "No document has %intel-oneapi-compilers-classic; Intel's current compiler is %oneapi."),
        ("hdfazzz", "No document has hdfazzz; /hdfazzz finds hashes that begin with it."),
        ("spack install hdf5 +mpi", "spack install is left out: only what follows it is searched for."),
        ("spack find -l hdf5", "spack find -l is left out: only what follows it is searched for."),
        ("hdf5/1.14.6-gcc-11.4.0", "hdf5/1.14.6-gcc-11.4.0 is read as hdf5@1.14.6%gcc@11.4.0."),
        ("builtin.hdf5", "builtin.hdf5 is read as hdf5."),
        ('"hdf5",', "Quotes, commas and stars around words are left out."),
        ("hdf*", "Quotes, commas and stars around words are left out."),
        ("hdf5#1.14", "hdf5#1.14 is read as hdf5@1.14."),
        ("hdf5_1_14", "hdf5_1_14 is read as hdf5@1.14."),
        (
            "hdf5 ~mpi languages=c target=zen4",
            "No single condition stands in the way: whichever is left out, nothing is",
        ),
        ("hdf5 %nvhpc", "No document has %nvhpc."),
        ("hdf5 build_system=meson", "No document has build_system=meson."),
        ("hdf5 blah", "No document has blah."),
        ("hash=HDFA", "hash=HDFA asks for a whole hash; /hdfa finds hashes that begin with it."),
        ("hdf5 %gcc +mpi", "+mpi after %gcc is read as the package's, as Spack did up to 0.23: "),
    ],
)
def test_doubtful_readings_are_noted(reader: Reader, text: str, note: str) -> None:
    assert any(each.startswith(note) for each in answered(reader, text).notes), answered(reader, text).notes


@pytest.mark.parametrize(
    "text", ["hdf5@1.14", "hdf5+mpi", "hdf5 tag=develop,latest", "stacks=e4s,e5s", "short_hash=HDFAZZZ"]
)
def test_unknown_values_are_not_noted_if_there_are_hits(reader: Reader, text: str) -> None:
    answer = answered(reader, text)
    assert answer.found.total
    assert answer.notes == ()


def test_misspelt_filters_are_noted_too(reader: Reader) -> None:
    filtered = answered(reader, "hdf5+mpi", filters=(Filter("os", ("ubuntu2204",)),), tag="develpo")
    assert filtered.notes == (
        "No document has tag=develpo; did you mean develop?",
        "No document has os=ubuntu2204; did you mean ubuntu22.04?",
    )


@pytest.mark.parametrize("mode", ["auto", "text", "spec"])
@pytest.mark.parametrize("text", ["hdf5<1.12", "hdf5 > 1.14", "hdf5>=1.14", "cmake>3.20", "hdf5 <=1.14"])
def test_comparison_signs_of_other_tools_are_refused(reader: Reader, text: str, mode: Mode) -> None:
    with pytest.raises(UsageError, match="character"):
        answered(reader, text, mode=mode)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("numpy>=1.24", r"character 6 .*'>=' compares nothing here; .* such as numpy@1.24:$"),
        ("hdf5 <1.12", r"character 6 .*'<' compares nothing here; .* such as @:1.12 \(1.12 itself is in it\)"),
        ("hdf5~=1.14", r"'~=' .* such as hdf5@1.14:"),
        ("hdf5@>=1.14", r"'>=' .* such as hdf5@1.14:"),
    ],
)
def test_errors_show_how_to_write_a_range(reader: Reader, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        answered(reader, text)


@pytest.mark.parametrize(("word", "versions"), [("12", ["12.0", "13.1"]), ("cuda", ["12.0", "13.1"])])
def test_the_closest_sense_of_a_word_comes_first(filled: Filled, word: str, versions: list[str]) -> None:
    """The version of the package comes before that of the compiler, and a variant before a part of a stack's name."""
    builds = [
        build("a", "13.1", compiler="gcc@12.3.0", variants=["~cuda"], stacks=["ml-cuda"]),
        build("b", "12.0", variants=["+cuda"]),
    ]
    found = answered(filled({path_of("cmake"): page(*builds, title="cmake")}), f"cmake {word}").found.hits
    assert [hit["version"] for hit in found] == versions


def test_specs_of_other_packages_are_counted_within_the_filters(reader: Reader) -> None:
    (note,) = answered(reader, "gcc", tag=NEW, filters=(Filter("os", ("rhel8",)),)).notes[:1]
    assert note == "1 spec of another package has gcc in other fields: search for %gcc to see those."


def test_mode_spec_has_no_aliases(reader: Reader) -> None:
    assert found(answered(reader, "mkl", mode="spec")) == []
    assert len(found(answered(reader, "hdf5@1.14:", mode="spec", distinct=True))) == 3
    with pytest.raises(UsageError, match="character 6"):
        answered(reader, "hdf5 zlib", mode="spec")
    assert found(answered(reader, "+mpi", mode="text", tag=NEW))


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("hdf5@9:10 +mpi", [("@9:10", None, 7)]),
        ("hdf5 +binutils", [("hdf5", None, 1), ("+binutils", None, 9)]),
        ("hdf5 %gcc@11 +cuda", [("hdf5", None, 1), ("+cuda", None, 4), (None, None, 0)]),
    ],
)
def test_searches_without_hits_list_what_is_near(
    reader: Reader, text: str, near: list[tuple[str | None, str | None, int]]
) -> None:
    answer = answered(reader, text)
    assert answer.found.total == 0
    found_near = [(each.without, each.package, each.total) for each in answer.near if each.without]
    assert found_near == [each for each in near if each[0]]
    assert as_object(answer)["near"][0] == {"total": near[0][2], "without": near[0][0]}


def test_each_binary_comes_once_with_its_tags(reader: Reader) -> None:
    answer = answered(reader, "hdf5@1.14.6", distinct=True)
    assert [(hit["tags"], hit["tag"]) for hit in answer.found.hits] == [([NEW, "develop"], NEW)]
    assert (answer.found.total, answer.found.binaries) == (2, 1)
    narrowed = answered(reader, "hdf5@1.14.6", distinct=True, filters=(Filter("tag", ("develop",)),))
    assert [hit["tags"] for hit in narrowed.found.hits] == [["develop"]]
    assert "tags" not in answered(reader, "hdf5@1.14.6").found.hits[0]


def test_the_latest_tag_is_the_newest_with_a_date(reader: Reader) -> None:
    assert {hit["tag"] for hit in answered(reader, tag=LATEST).found.hits} == {NEW}
    assert {hit["tag"] for hit in answered(reader, tag="develop").found.hits} == {"develop"}


@pytest.mark.parametrize("tag", [LATEST, "develop"])
def test_a_chosen_tag_does_not_narrow_the_facet_of_tags(reader: Reader, tag: str) -> None:
    counts = answered(reader, facets=(Facet("tag"), Facet("package"))).found.facets["tag"]
    chosen = answered(reader, tag=tag, facets=(Facet("tag"), Facet("package"))).found
    assert len(counts) > 1
    assert chosen.facets["tag"] == counts
    assert sum(each.documents for each in chosen.facets["package"]) == chosen.total


@pytest.mark.parametrize("target", ["zen2", "zen3", "zen4", "x86_64_v3", "x86_64", "haswell", "neoverse_v1", "neoverse_v2", "aarch64", "power9le"])  # fmt: skip
def test_a_machine_finds_the_targets_that_archspec_lists(reader: Reader, target: str) -> None:
    runs = {target, *(each.name for each in cpu.TARGETS[target].ancestors)}
    everything = answered(reader).found.hits
    answer = answered(reader, machine=Machine("linux", "ubuntu22.04", target))
    assert sorted(hit["_id"] for hit in answer.found.hits) == sorted(
        hit["_id"] for hit in everything if hit["target"] in runs
    )
    marks = [hit["runs"] for hit in answer.found.hits]
    assert marks == sorted(marks, reverse=True), "same os first"
    assert all((hit["runs"] == "same os") == (hit["os"] == "ubuntu22.04") for hit in answer.found.hits)


@pytest.mark.parametrize("os", ["rocky8", "almalinux8", "rhel8", "centos8", "rocky8.10"])
def test_systems_of_the_same_source_come_before_others(reader: Reader, os: str) -> None:
    found = answered(reader, "hdf5", machine=Machine("linux", os, "zen4")).found.hits
    assert [hit["os"] for hit in found] == ["rhel8"] * 2 + ["ubuntu22.04"] * 5
    assert {hit["runs"] for hit in found[:2]} == {"same os" if os == "rhel8" else "other os"}


def test_a_requested_order_replaces_all_ranks(reader: Reader) -> None:
    machine = Machine("linux", "rhel8", "zen4")
    answer = answered(reader, "hdf5", machine=machine, order=parse_order("version:desc"), distinct=True)
    assert [hit["version"] for hit in answer.found.hits] == ["develop", "1.14.6", "1.14.5", "1.12.3"]


def test_an_answer_has_install_commands(reader: Reader) -> None:
    (hit,) = answered(reader, "py-torch").found.hits
    assert hit["install"] == {
        "mirror": f"https://binaries.spack.io/{NEW}/e4s",
        "commands": [
            f"spack mirror add {NEW}-e4s https://binaries.spack.io/{NEW}/e4s",
            "spack buildcache keys --install --trust",
            f"spack install --cache-only /{'torch'.ljust(32, 'z')}",
        ],
    }


def test_a_facet_is_narrowed_by_all_filters_but_its_own(reader: Reader) -> None:
    answer = answered(
        reader, "hdf5 +mpi", filters=(Filter("target", ("zen4",)),), facets=(Facet("target"), Facet("os")), limit=0
    )
    assert answer.found.facets == {
        "target": [("neoverse_v1", 2), ("zen3", 2), ("zen4", 2), ("x86_64", 1)],
        "os": [("ubuntu22.04", 2)],
    }


@pytest.mark.parametrize("name", ["/hdfa", "hdfa", f"{NEW}/hdf5/{'hdfa'.ljust(32, 'z')}"])
def test_a_binary_is_shown_with_all_its_documents(reader: Reader, name: str) -> None:
    binary = show_binary(name, reader, MIRROR_URL)
    assert binary.tags == [NEW, "develop"]
    assert binary.stacks == ["e4s", "root"]
    assert [each["tag"] for each in binary.documents] == [NEW, "develop"]
    assert binary.newest["install"]["commands"][0].startswith(f"spack mirror add {NEW}-e4s ")


def test_no_binary_and_several_binaries_are_errors(reader: Reader) -> None:
    with pytest.raises(UsageError, match="no binary has the id '/nope' or a hash that begins with it"):
        show_binary("/nope", reader, MIRROR_URL)
    with pytest.raises(UsageError, match=r"hdf fits 5 binaries: type more of it\n/hdf.*zz? hdf5@"):
        show_binary("hdf", reader, MIRROR_URL)
    with pytest.raises(UsageError, match=r"hdf5 is a package: `cachesync search hdf5` finds .* with it, write /hdf5"):
        show_binary("hdf5", reader, MIRROR_URL)


@pytest.mark.parametrize(("os", "is_noted"), [("ubuntu22.04", False), ("nosuch1", True)])
def test_a_note_if_nothing_is_built_for_the_machines_system(reader: Reader, os: str, is_noted: bool) -> None:
    answer = answered(reader, "hdf5", machine=Machine("linux", os, "zen4"))
    assert answer.found.total
    note = f"nothing of this is built for {os}; binaries of other systems may need a newer C library"
    assert (note in answer.notes) is is_noted
    assert note not in answered(reader, "nosuchpackage", machine=Machine("linux", os, "zen4")).notes


@pytest.mark.parametrize("name", ["ABCD1234", "/ABCD", "abcd1234", "abcd12345", "ABCE"])
def test_a_hash_is_found_as_written_and_in_lowercase(index: Index, name: str) -> None:
    """A whole hash means that binary, even if others begin with it."""
    fill(index, {path_of(): page(*(entry(hash) for hash in ("ABCD1234", "abcd1234", "abcd12345", "abce1")))})
    binary = show_binary(name, index.reader(), MIRROR_URL)
    assert binary.documents[0]["hash"] == {"/ABCD": "ABCD1234", "ABCE": "abce1"}.get(name, name)


def test_two_tags_are_compared(reader: Reader) -> None:
    compared = difference_as_object(difference(reader, OLD, NEW, ()))
    assert [each["hash"].rstrip("z") for each in compared["added"]] == ["gcca", "hdfa", "mkla", "netc", "torch"]
    assert [each["hash"].rstrip("z") for each in compared["gone"]] == ["hdfe"]
    assert {"package": "hdf5", "added": 1, "gone": 1} in compared["packages"]
    only = difference(reader, OLD, NEW, (Filter("package", ("gcc",)),))
    assert ([each.package for each in only.added], only.gone) == (["gcc"], [])
    with pytest.raises(UsageError, match="no page has the tag 'nope'"):
        difference(reader, OLD, "nope", ())


def test_an_index_of_another_version_raises_instead_of_finding_nothing(reader: Reader) -> None:
    """The error names the missing fields."""
    lacking = {"variant_values", "variant_names", "binary", "binary_number"}

    class Older:
        outdated = True
        fields = frozenset(reader.fields) - lacking
        search = staticmethod(reader.search)
        count = staticmethod(reader.count)
        packages = staticmethod(reader.packages)

        @staticmethod
        def vocabularies(fields: Sequence[str]) -> dict[str, list[str]]:
            return {field: [] if field in lacking else reader.vocabulary(field) for field in fields}

    def asked(text: str) -> Answer:
        return ask(Question(text, distinct=True), Older(), Vocabulary(Older(), ALIASES), MIRROR_URL)

    assert asked("hdf5@1.14").found.total == 4
    assert any("`cachesync reindex` brings it up to date" in note for note in asked("hdf5@1.14").notes)
    for text in ("hdf5 +mpi", "nothing-like-it", "hdf5@9:10"):
        with pytest.raises(IndexUnavailableError, match="`cachesync reindex` brings it up to date"):
            asked(text)


def test_documents_of_another_version_are_noted(reader: Reader) -> None:
    class Older:
        outdated = True
        fields = reader.fields
        search = staticmethod(reader.search)
        count = staticmethod(reader.count)

    answer = ask(Question("hdf5"), Older(), Vocabulary(reader, ALIASES), MIRROR_URL)
    assert answer.found.total
    assert answer.notes[-1].startswith("another version of cachesync made this index, so not all may be found: ")
