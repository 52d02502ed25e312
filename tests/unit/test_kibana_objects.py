"""The saved objects, checked as thoroughly as is possible without Kibana: an import checks far less."""

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from cachesync.index.elastic.mapping import pages_mapping, specs_mapping
from cachesync.kibana.content import ndjson, saved_objects
from cachesync.kibana.lens import Visualization, count, top
from cachesync.kibana.objects import Dashboard, DataView, SavedSearch
from tests.support import lens

NAMES = ["spack-specs", "other_1.x"]
VERSIONS = {"index-pattern": "8.0.0", "search": "7.9.3", "dashboard": "8.9.0"}
"""Format versions that every Kibana 9 knows and that no later migration rewrites."""

Saved = dict[str, Any]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def objects(name: str) -> list[Saved]:
    """The saved objects, read back from the exported file."""
    return [json.loads(line) for line in ndjson(saved_objects(name)).decode().splitlines()]


def of_type(objects: list[Saved], type: str) -> list[Saved]:
    return [each for each in objects if each["type"] == type]


def unpacked(value: Any) -> Any:
    """A value with the JSON in its strings decoded, wherever Kibana keeps JSON in a string."""
    if isinstance(value, dict):
        return {
            key: unpacked(
                json.loads(each) if re.search("(JSON|Map|Attrs|Filters)$", key) and isinstance(each, str) else each
            )
            for key, each in value.items()
        }
    return [unpacked(each) for each in value] if isinstance(value, list) else value


def inside(value: Any, key: str) -> Iterator[Any]:
    """Every value of a key, at any depth."""
    if isinstance(value, dict):
        yield from (each for name, each in value.items() if name == key)
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from inside(each, key)


def fields_of(view_id: str, name: str) -> dict[str, Any]:
    mapping = {f"cachesync-specs-{name}": specs_mapping, f"cachesync-pages-{name}": pages_mapping}[view_id](name)
    return dict(mapping["properties"])


def layers(objects: list[Saved]) -> Iterator[tuple[Saved, Saved, str]]:
    """The attributes of every panel, its layer, and the id of its data view."""
    for dashboard in of_type(objects, "dashboard"):
        for panel in unpacked(dashboard)["attributes"]["panelsJSON"]:
            attributes = panel["embeddableConfig"]["attributes"]
            ((layer_id, layer),) = attributes["state"]["datasourceStates"]["formBased"]["layers"].items()
            (reference,) = attributes["references"]
            assert reference["name"] == f"indexpattern-datasource-layer-{layer_id}"
            yield attributes, layer, reference["id"]


def is_aggregatable(field: dict[str, Any]) -> bool:
    return field["type"] != "text" and field.get("doc_values") is not False and field.get("index") is not False


def test_all_objects_are_exported(objects: list[Saved], name: str) -> None:
    titles = [(each["type"], each["attributes"]["title"]) for each in objects]
    assert titles == [
        ("index-pattern", name),
        ("index-pattern", f"{name}-pages"),
        ("search", f"All binaries: {name}"),
        ("search", f"Versions from 1.12 to 1.14 of hdf5: {name}"),
        ("search", f"Problem pages: {name}"),
        ("dashboard", f"Build cache: {name}"),
        ("dashboard", f"Mirror health: {name}"),
    ]
    build_cache = of_type(objects, "dashboard")[0]
    assert list(lens.controls(build_cache)) == [
        "package", "version", "compiler", "os", "target", "stacks", "tag", "variants",
    ]  # fmt: skip


def test_the_export_is_reproducible(name: str) -> None:
    program = (
        f"import sys; from cachesync.kibana.content import *; sys.stdout.buffer.write(ndjson(saved_objects({name!r})))"
    )
    other = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, env={"PYTHONHASHSEED": "7"}
    )
    assert other.stdout == ndjson(saved_objects(name))


def test_ids_are_unique_and_name_the_index(objects: list[Saved], name: str) -> None:
    ids = [(each["type"], each["id"]) for each in objects]
    assert len(set(ids)) == len(ids)
    assert all(id.endswith(name) and "/" not in id for _, id in ids)
    others = {(each["type"], each["id"]) for each in saved_objects(f"{name}-pages")}
    assert not others & set(ids)


def test_every_line_is_accepted_by_an_import(objects: list[Saved]) -> None:
    for each in objects:
        assert set(each) == {
            "type", "id", "attributes", "references", "managed", "coreMigrationVersion", "typeMigrationVersion",
        }  # fmt: skip
        assert each["managed"] is True
        assert each["coreMigrationVersion"] == "8.8.0"
        assert each["typeMigrationVersion"] == VERSIONS[each["type"]]
        unpacked(each)
    for each in of_type(objects, "search"):  # its schema forbids attributes that it doesn't know
        assert set(each["attributes"]) == {
            "title", "description", "columns", "sort", "grid", "hideChart", "isTextBasedQuery", "kibanaSavedObjectMeta",
        }  # fmt: skip


def test_references_are_to_objects_in_the_file(objects: list[Saved]) -> None:
    there = {(each["type"], each["id"]) for each in objects}
    for each in objects:
        names = [reference["name"] for reference in each["references"]]
        assert len(set(names)) == len(names)
        assert all(set(reference) == {"name", "type", "id"} for reference in each["references"])
        assert {(reference["type"], reference["id"]) for reference in each["references"]} <= there


def test_references_are_where_kibana_expects_them_and_nowhere_else(objects: list[Saved]) -> None:
    for search in of_type(objects, "search"):
        assert [each["name"] for each in search["references"]] == list(inside(unpacked(search), "indexRefName"))
    for dashboard in of_type(objects, "dashboard"):
        attributes = unpacked(dashboard)["attributes"]
        expected = [
            {**reference, "name": f"{panel['panelIndex']}:{reference['name']}"}
            for panel in attributes["panelsJSON"]
            for reference in panel["embeddableConfig"]["attributes"]["references"]
        ]
        for id, control in attributes["controlGroupInput"]["panelsJSON"].items():
            assert control["explicitInput"]["id"] == id
            expected.append({"name": f"controlGroup_{id}:optionsListDataView", "type": "index-pattern"})
        (view,) = {each["id"] for each in dashboard["references"]}
        assert [{"id": view, **each} for each in expected] == dashboard["references"]


def test_panels_do_not_overlap(objects: list[Saved]) -> None:
    for dashboard in of_type(objects, "dashboard"):
        panels = unpacked(dashboard)["attributes"]["panelsJSON"]
        assert len({panel["panelIndex"] for panel in panels}) == len(panels)
        taken: set[tuple[int, int]] = set()
        for panel in panels:
            grid = panel["gridData"]
            assert grid["i"] == panel["panelIndex"]
            assert grid["x"] + grid["w"] <= 48
            cells = set(
                itertools.product(range(grid["x"], grid["x"] + grid["w"]), range(grid["y"], grid["y"] + grid["h"]))
            )
            assert not cells & taken
            taken |= cells
        bottom = max(panel["gridData"]["y"] + panel["gridData"]["h"] for panel in panels)
        assert len(taken) == 48 * bottom, "there are holes"


def test_columns_are_in_order_and_visualizations_refer_to_them(objects: list[Saved]) -> None:
    for attributes, layer, _ in layers(objects):
        columns, order = layer["columns"], layer["columnOrder"]
        assert sorted(columns) == sorted(order)
        buckets = [columns[id]["isBucketed"] for id in order]
        assert buckets == sorted(buckets, reverse=True), "buckets come first"
        shown = attributes["state"]["visualization"]
        one_value = [*inside(shown, "metricAccessor"), *inside(shown, "xAccessor"), *inside(shown, "columnId")]
        used = {*one_value, *itertools.chain(*inside(shown, "accessors"))}
        assert used == set(order)
        layer_ids = set(inside(shown, "layerId"))
        assert layer_ids == set(attributes["state"]["datasourceStates"]["formBased"]["layers"])
        for column in columns.values():
            by = column["params"].get("orderBy")
            if by:
                assert not columns[by["columnId"]]["isBucketed"]
            assert column["customLabel"], "Lens would use a label of its own"


def test_every_field_is_in_the_mapping_and_supports_its_operation(objects: list[Saved], name: str) -> None:
    types = {"keyword": "string", "text": "string", "date": "date", "long": "number", "integer": "number"}
    for _, layer, view in layers(objects):
        fields = fields_of(view, name)
        for column in layer["columns"].values():
            source, operation = column["sourceField"], column["operationType"]
            if source == lens.RECORDS:
                assert operation == "count"
                continue
            field = fields[source]
            if operation in ("terms", "max", "last_value", "date_histogram"):
                assert column["dataType"] == types[field["type"]]
            else:
                assert column["dataType"] == "number"
            if operation == "last_value":
                assert fields[column["params"]["sortField"]]["type"] == "date"
                assert field.get("enabled", True)
            else:
                assert is_aggregatable(field)
            if operation == "terms":
                assert field["type"] == "keyword"
            if operation == "date_histogram":
                assert field["type"] == "date"
            if operation == "sum":
                assert field["type"] in ("integer", "long")


def test_controls_searches_queries_and_formats_name_existing_fields(objects: list[Saved], name: str) -> None:
    for dashboard in of_type(objects, "dashboard"):
        fields = fields_of(dashboard["references"][0]["id"], name)
        for field in lens.controls(dashboard):
            assert fields[field]["type"] == "keyword"
            assert is_aggregatable(fields[field])
    for search in of_type(objects, "search"):
        fields = fields_of(search["references"][0]["id"], name)
        assert set(search["attributes"]["columns"]) <= set(fields)
        for field, direction in search["attributes"]["sort"]:
            assert is_aggregatable(fields[field])
            assert direction in ("asc", "desc")
    for view in of_type(objects, "index-pattern"):
        fields = fields_of(view["id"], name)
        assert set(unpacked(view)["attributes"]["fieldFormatMap"]) <= set(fields)
        assert "timeFieldName" not in view["attributes"]
        described = unpacked(view)["attributes"]["fieldAttrs"]
        assert set(described) == {field for field in fields if fields[field]["type"] not in ("object", "binary")}
        assert all(0 < len(each["customDescription"]) <= 300 for each in described.values())
    for each in objects:
        of_view = each["references"][0]["id"] if each["references"] else each["id"]
        for query in inside(unpacked(each), "query"):
            text = query["query"] if isinstance(query, dict) else query
            assert not text or text.partition(":")[0] in fields_of(of_view, name)


def test_helper_fields_are_hidden(objects: list[Saved]) -> None:
    specs, pages = (unpacked(view)["attributes"]["sourceFilters"] for view in of_type(objects, "index-pattern"))
    assert [each["value"] for each in specs] == ["version_key", "compiler_version_key", "binary_number"]
    assert [each["value"] for each in pages] == ["digest", "settled"]


def test_a_missing_field_is_an_error_when_objects_are_made() -> None:
    view = DataView("v", "a", "n", {"package": "keyword"}, {"nope": {}})
    number = count("n")
    with pytest.raises(KeyError):
        view.saved()
    for more in ({"descriptions": {"nope": "x"}}, {"left_out": ("nope",)}):
        with pytest.raises(KeyError):
            DataView("v", "a", "n", {"package": "keyword"}, **more).saved()
    with pytest.raises(KeyError):
        SavedSearch("s", "", "", view, ("nope",), ()).saved()
    with pytest.raises(KeyError):
        Visualization("", view, "bars", (top("x", "nope", 1, number), number)).attributes()
    with pytest.raises(KeyError):
        Dashboard("d", "", "", view, {"nope": ""}, ()).saved()
