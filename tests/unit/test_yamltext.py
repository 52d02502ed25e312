"""The YAML loader: scalars stay text, and input is bounded."""

import pytest

from cachesync.yamltext import MAX_DEPTH, Mapping, Repeated, YamlError, line_of, load


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1.10", {"a": "1.10"}),
        ("a: yes", {"a": "yes"}),
        ("a: 0x10", {"a": "0x10"}),
        ("a: 2025-03-23", {"a": "2025-03-23"}),
        ("a: ~", {"a": None}),
        ("a: null", {"a": None}),
        ("a:", {"a": None}),
        ("a: 'null'", {"a": "null"}),
        ("a: ''", {"a": ""}),
        ("a: [1, {b: c}]", {"a": ["1", {"b": "c"}]}),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ("a: &x [1]\nb: *x", {"a": ["1"], "b": ["1"]}),
        ("d: &d {x: 1, y: 2}\ne: {<<: *d, y: 3}", {"d": {"x": "1", "y": "2"}, "e": {"x": "1", "y": "3"}}),
        ("d: &d {x: 1}\ne: {'<<': *d}", {"d": {"x": "1"}, "e": {"<<": {"x": "1"}}}),
        ("d: &d {x: 1}\ne: {x: 2, <<: *d, <<: {x: 3, y: 4}}", {"d": {"x": "1"}, "e": {"x": "2", "y": "4"}}),
        (
            "a: {k: 1}\nb: {k: 1}\nk: [{k: 1}, {k: 1}]",
            {"a": {"k": "1"}, "b": {"k": "1"}, "k": [{"k": "1"}, {"k": "1"}]},
        ),
        ("d: &d {x: 1}\ne: {<<: [*d, {x: 2, z: 3}]}", {"d": {"x": "1"}, "e": {"x": "1", "z": "3"}}),
        (r'a: "\ud83d\ude00 \/"', {"a": "😀 /"}),
        (r"a: '\ud83d\ude00'", {"a": r"\ud83d\ude00"}),
        ("a: !!str 1", {"a": "1"}),
        ("", None),
    ],
)
def test_text_stays_text(text: str, value: object) -> None:
    assert load(text) == value


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nb: [1", 2, "broken YAML"),
        ("a: 1\nb", 2, "broken YAML"),
        ("{", 1, "broken YAML"),
        ("a: \x01", 1, "not allowed"),
        ("x: 1\na: !!python/object/apply:os.system [x]", 2, "a YAML tag is not accepted"),
        ("a: !mine x", 1, "needs quotes, at column 4"),
        ("a: *nothing", 1, "an alias without a complete anchor before it"),
        ("a: &a [*a]", 1, "an alias without a complete anchor"),
        ("? [x]\n: y", 1, "expected text as a key"),
        ("a: 1\n---\nb: 1", 2, "a second one"),
        (r'a: "\ud83d"', 1, "broken YAML"),
        ("é: 1\nb: \x01", 2, "U+0001"),
        ("a: 1\n%TAG !x! y", 2, "directives"),
        ("a: {<<: 1}", 1, "expected a mapping"),
        ("a: 1\nb:\na: 2", 3, "'a' is given twice, first on line 1, and again, at column 1"),
        ("a:\n- x\n- b: {c: 1,\n  'c': 2}", 4, "'a[1].b.c' is given twice, first on line 3"),
        (
            r'a: [{"hash": 1, "h\u0061sh": 2}]',
            1,
            "'a[0].hash' is given twice, first on line 1, and again, at column 17",
        ),
        ("{~: 1, '': 2}", 1, "'' is given twice"),
        ("a: &a {k: 1}\nb: {<<: *a, k: 2, k: 3}", 2, "'b.k' is given twice"),
        (f"{'a' * 900}: 1\n{'a' * 900}: 1", 2, f"'…{'a' * 60}' is given twice"),
    ],
)
def test_anything_else_is_an_error_with_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(YamlError) as caught:
        load(text)
    assert says in caught.value.message
    assert caught.value.line == line


@pytest.mark.parametrize("opening", ["[", "{", "- ", "? ", "a: {"])
def test_a_hundred_thousand_brackets_are_one_error(opening: str) -> None:
    with pytest.raises(YamlError):
        load(opening * 100_000)


@pytest.mark.parametrize("text", ["%TAG !{0}! x\n" * 300_000 + "--- {{}}", "a: [" + "[]," * 1_100_000 + "]"])
def test_input_that_would_exhaust_time_or_memory_is_one_error(text: str) -> None:
    with pytest.raises(YamlError, match=r"directives|more than 1,000,000 values"):
        load(text)


def test_depth_up_to_the_bound_is_fine() -> None:
    assert load("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(YamlError, match="nested deeper"):
        load("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))


def test_an_alias_bomb_is_one_error() -> None:
    levels = "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
    with pytest.raises(YamlError, match="alias bomb"):
        load(f"a0: &a0 [x]\n{levels}")


def test_every_value_has_its_line() -> None:
    front = load("a: 1\nb:\n  - x: 1\n    y: [1,\n      2]\n", first_line=5)
    assert isinstance(front, Mapping)
    assert line_of(front, ["b", 0, "x"], 0) == 7
    assert line_of(front, ["b", 0, "y", 1], 0) == 9
    assert line_of(front, ["b", 0, "missing"], 0) == 7


def test_a_duplicate_key_is_reported_but_not_one_that_replaces_a_merged_one() -> None:
    repeated: list[Repeated] = []
    text = "a: &a {k: 1}\nb: {<<: *a, k: 2}\nc:\n- {k: 1,\n   k: 2}\na: 3\nb: x"
    assert load(text, 1, repeated) == {"a": "3", "b": "x", "c": [{"k": "2"}]}
    assert repeated == [Repeated(("c", 0, "k"), 5, 4), Repeated(("a",), 6, 1), Repeated(("b",), 7, 2)]
    assert load("{<<: {a: 1}, <<: {b: 2}, a: 3}", 1, repeated := []) == {"a": "3", "b": "2"}
    assert repeated == []
