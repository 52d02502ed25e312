"""Saved objects in Kibana's format: data views, searches and dashboards.

An import validates few of their fields (``import-export-server-internal/src/import`` in Kibana's sources), and nothing
inside strings that contain JSON: errors there appear only when a dashboard is opened. All fields are therefore looked
up in the index's mapping, and a field that doesn't exist raises KeyError when the object is made.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

SavedObject = dict[str, Any]
"""A line of the file that Kibana imports."""

Reference = dict[str, str]
"""A reference to another object: its type and id, and a name for the reference."""

DATA_VIEW: Final = "index-pattern"
"""The type of a data view, which Kibana still saves under its old name."""

_CORE_VERSION: Final = "8.8.0"
"""The version that every export since 8.8 contains. Kibana rejects versions above its own."""

_TYPE_VERSIONS: Final = {DATA_VIEW: "8.0.0", "search": "7.9.3", "dashboard": "8.9.0"}
"""The format version of each type. Kibana migrates older versions to its own, rejects newer ones, and takes a missing
version for the oldest. These follow the last migration that rewrites old formats, and every Kibana 9 supports them."""


@dataclass(frozen=True)
class DataView:
    """The documents of an alias and the formats of their fields. There is no time field: release tags have no date."""

    id: str
    alias: str
    name: str
    types: Mapping[str, str]
    """The Elasticsearch type of each field that can be displayed."""
    formats: Mapping[str, Any] = field(default_factory=dict)
    """The format of fields that need one: field → id and params of a field formatter."""
    descriptions: Mapping[str, str] = field(default_factory=dict)
    """Descriptions of fields, which Kibana limits to 300 characters."""
    left_out: tuple[str, ...] = ()
    """Fields that Discover hides by default but that can still be searched."""

    def reference(self, name: str) -> Reference:
        """Return a reference to this data view for use in another object."""
        return {"name": name, "type": DATA_VIEW, "id": self.id}

    def saved(self) -> SavedObject:
        """Return the saved object."""
        formats = {self.checked(name): each for name, each in self.formats.items()}
        described = {self.checked(name): {"customDescription": each} for name, each in self.descriptions.items()}
        attributes = {
            "title": self.alias,
            "name": self.name,
            "fieldAttrs": text_of(described),
            "sourceFilters": text_of([{"value": self.checked(name)} for name in self.left_out]),
            "fieldFormatMap": text_of(formats),
            "runtimeFieldMap": "{}",
        }
        return _saved(DATA_VIEW, self.id, attributes, [])

    def checked(self, name: str) -> str:
        """Return the name of a field, or raise KeyError if the field doesn't exist."""
        self.types[name]
        return name


def types_of(mapping: Mapping[str, Any]) -> dict[str, str]:
    """Return the types of a mapping's fields that can be displayed."""
    hidden = ("object", "binary")
    return {name: each["type"] for name, each in mapping["properties"].items() if each["type"] not in hidden}


@dataclass(frozen=True)
class SavedSearch:
    """A search in Discover, with a row for each document."""

    id: str
    title: str
    description: str
    view: DataView
    columns: tuple[str, ...]
    sort: tuple[tuple[str, str], ...]
    """Fields, each with ``asc`` or ``desc``."""
    query: str = ""
    """A query in Kibana's query language."""

    def saved(self) -> SavedObject:
        """Return the saved object. Kibana rejects a search with an unknown attribute."""
        index = "kibanaSavedObjectMeta.searchSourceJSON.index"
        source = {"query": kql(self.query), "filter": [], "indexRefName": index}
        attributes = {
            "title": self.title,
            "description": self.description,
            "columns": [self.view.checked(name) for name in self.columns],
            "sort": [[self.view.checked(name), direction] for name, direction in self.sort],
            "grid": {},
            "hideChart": False,
            "isTextBasedQuery": False,
            "kibanaSavedObjectMeta": {"searchSourceJSON": text_of(source)},
        }
        return _saved("search", self.id, attributes, [self.view.reference(index)])


@dataclass(frozen=True)
class Placed:
    """A visualization at its place on a dashboard, which is 48 columns wide and contains the saved visualization."""

    x: int
    y: int
    width: int
    height: int
    attributes: Mapping[str, Any]
    """The attributes under which Lens would save the visualization."""
    bare: bool = False
    """Whether to hide the panel's title because the visualization has its own."""


@dataclass(frozen=True)
class Dashboard:
    """Panels below a row of controls."""

    id: str
    title: str
    description: str
    view: DataView
    """The data view of the controls."""
    controls: Mapping[str, str]
    """Lists of fields' values to choose from: field → title. A choice in one control narrows the others."""
    panels: tuple[Placed, ...]

    def saved(self) -> SavedObject:
        """Return the saved object.

        A panel's references appear twice: within the panel, and in the dashboard with the panel's name as a prefix.
        Lens matches them by name. Kibana wrote ``controlGroupInput`` until 9.3; later versions read it if their own
        ``pinned_panels`` is missing (``transform_pinned_panels_out.ts``).
        """
        panels = [_panel(f"p{number}", each) for number, each in enumerate(self.panels, 1)]
        references = [
            {**reference, "name": f"{panel['panelIndex']}:{reference['name']}"}
            for panel in panels
            for reference in panel["embeddableConfig"]["attributes"]["references"]
        ]
        controls = {f"k{number}": each for number, each in enumerate(self.controls.items(), 1)}
        references += [self.view.reference(f"controlGroup_{id}:optionsListDataView") for id in controls]
        attributes = {
            "title": self.title,
            "description": self.description,
            "panelsJSON": text_of(panels),
            "optionsJSON": text_of({"useMargins": True, "syncColors": False, "hidePanelTitles": False}),
            "controlGroupInput": {
                "controlStyle": "oneLine",
                "chainingSystem": "HIERARCHICAL",
                "ignoreParentSettingsJSON": text_of(
                    dict.fromkeys(("ignoreFilters", "ignoreQuery", "ignoreTimerange", "ignoreValidations"), False)
                ),
                "panelsJSON": text_of(
                    {id: _control(id, order, *each, self.view) for order, (id, each) in enumerate(controls.items())}
                ),
            },
            "timeRestore": False,
            "version": 1,
            "kibanaSavedObjectMeta": {"searchSourceJSON": text_of({"query": kql(""), "filter": []})},
        }
        return _saved("dashboard", self.id, attributes, references)


def _panel(id: str, placed: Placed) -> dict[str, Any]:
    return {
        "type": "lens",
        "panelIndex": id,
        "gridData": {"x": placed.x, "y": placed.y, "w": placed.width, "h": placed.height, "i": id},
        "embeddableConfig": {
            "enhancements": {},
            "title": placed.attributes["title"],
            "hidePanelTitles": placed.bare,
            "attributes": placed.attributes,
        },
    }


def _control(id: str, order: int, field: str, title: str, view: DataView) -> dict[str, Any]:
    return {
        "order": order,
        "width": "small",
        "grow": True,
        "type": "optionsListControl",
        "explicitInput": {
            "id": id,
            "title": title,
            "fieldName": view.checked(field),
            "searchTechnique": "wildcard",
            "runPastTimeout": True,  # else Kibana stops after 100,000 documents or a second and lists what it found
            "selectedOptions": [],
            "enhancements": {},
        },
    }


def kql(query: str) -> dict[str, str]:
    """Return the saved form of a query in Kibana's query language. An empty query matches everything."""
    return {"query": query, "language": "kuery"}


def text_of(value: Any) -> str:
    """Encode a value as a JSON string, which Kibana uses for nested data that it doesn't index."""
    return msgspec.json.encode(value).decode()


def _saved(type: str, id: str, attributes: dict[str, Any], references: list[Reference]) -> SavedObject:
    """Return a line of an import for a ``managed`` object: users edit copies, which later imports don't overwrite."""
    return {
        "type": type,
        "id": id,
        "attributes": attributes,
        "references": references,
        "managed": True,
        "coreMigrationVersion": _CORE_VERSION,
        "typeMigrationVersion": _TYPE_VERSIONS[type],
    }
