"""The kinds of saved objects that we make, as Kibana writes them down: data view, search, dashboard.

An import checks little of them (``import-export-server-internal/src/import`` in Kibana's sources), and nothing within
the texts that are JSON once more: what is wrong there shows when a person opens the dashboard. So fields are looked up
in the mapping that they come from, and one that isn't there is a KeyError when the object is made.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

SavedObject = dict[str, Any]
"""A line of the file that Kibana imports."""

Reference = dict[str, str]
"""How an object names another: by a name of its own, type and id."""

DATA_VIEW: Final = "index-pattern"
"""A data view is still saved under its old name."""

_CORE_VERSION: Final = "8.8.0"
"""What every export since 8.8 says; Kibana refuses what is above its own version."""

_TYPE_VERSIONS: Final = {DATA_VIEW: "8.0.0", "search": "7.9.3", "dashboard": "8.9.0"}
"""The form that each type is written in. Kibana brings it up to its own; it refuses one that is newer, and takes one
that is left out for the oldest. These are above the last rewrite of old forms and known to every Kibana 9."""

_EVERYTHING: Final = {"query": "", "language": "kuery"}


@dataclass(frozen=True)
class DataView:
    """The documents behind an alias, and how their fields look. It has no time field: release tags have no date."""

    id: str
    alias: str
    name: str
    types: Mapping[str, str]
    """The Elasticsearch type of each field that can be shown."""
    formats: Mapping[str, Any] = field(default_factory=dict)
    """How a field's values are shown, where not as they are: field → id and params of a field formatter."""
    descriptions: Mapping[str, str] = field(default_factory=dict)
    """What a field is; Kibana takes 300 characters of each."""
    left_out: tuple[str, ...] = ()
    """Fields that Discover doesn't show unless somebody asks: they can be searched all the same."""

    def reference(self, name: str) -> Reference:
        """Name this data view in another object."""
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
        """Return the name of a field that is there."""
        self.types[name]
        return name


def types_of(mapping: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of a mapping that can be shown, each with its type."""
    hidden = ("object", "binary")
    return {name: each["type"] for name, each in mapping["properties"].items() if each["type"] not in hidden}


@dataclass(frozen=True)
class SavedSearch:
    """A search in Discover: one document a row."""

    id: str
    title: str
    description: str
    view: DataView
    columns: tuple[str, ...]
    sort: tuple[tuple[str, str], ...]
    """Fields, each with ``asc`` or ``desc``."""
    query: str = ""
    """In Kibana's query language."""

    def saved(self) -> SavedObject:
        """Return the saved object. Kibana refuses a search with an attribute that it doesn't know."""
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
class GridPosition:
    """Where a panel is on its dashboard, which is 48 columns wide."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Placed:
    """A visualization on a dashboard, saved within it."""

    place: GridPosition
    attributes: Mapping[str, Any]
    """What Lens would save of it."""
    bare: bool = False
    """Show no title above it: it says what it is by itself."""


@dataclass(frozen=True)
class Control:
    """A list of a field's values to choose from. What is chosen in one narrows the others."""

    field: str
    title: str


@dataclass(frozen=True)
class Dashboard:
    """Panels below a row of controls."""

    id: str
    title: str
    description: str
    view: DataView
    """What the controls choose from."""
    controls: tuple[Control, ...]
    panels: tuple[Placed, ...]

    def saved(self) -> SavedObject:
        """Return the saved object.

        References of a panel stand twice: within it, and here with the panel's name before theirs; Lens matches them by
        name. ``controlGroupInput`` is what Kibana wrote until 9.3 and what later ones read where their own
        ``pinned_panels`` is missing (``transform_pinned_panels_out.ts``).
        """
        panels = [_panel(f"p{number}", each) for number, each in enumerate(self.panels, 1)]
        references = [
            {**reference, "name": f"{panel['panelIndex']}:{reference['name']}"}
            for panel in panels
            for reference in panel["embeddableConfig"]["attributes"]["references"]
        ]
        controls = {f"k{number}": each for number, each in enumerate(self.controls, 1)}
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
                    {id: _control(id, order, each, self.view) for order, (id, each) in enumerate(controls.items())}
                ),
            },
            "timeRestore": False,
            "version": 1,
            "kibanaSavedObjectMeta": {"searchSourceJSON": text_of({"query": kql(""), "filter": []})},
        }
        return _saved("dashboard", self.id, attributes, references)


def _panel(id: str, placed: Placed) -> dict[str, Any]:
    place = placed.place
    return {
        "type": "lens",
        "panelIndex": id,
        "gridData": {"x": place.x, "y": place.y, "w": place.width, "h": place.height, "i": id},
        "embeddableConfig": {
            "enhancements": {},
            "title": placed.attributes["title"],
            "hidePanelTitles": placed.bare,
            "attributes": placed.attributes,
        },
    }


def _control(id: str, order: int, control: Control, view: DataView) -> dict[str, Any]:
    return {
        "order": order,
        "width": "small",
        "grow": True,
        "type": "optionsListControl",
        "explicitInput": {
            "id": id,
            "title": control.title,
            "fieldName": view.checked(control.field),
            "searchTechnique": "wildcard",
            "runPastTimeout": True,  # else Kibana looks at 100,000 documents or for a second, and lists what it met
            "selectedOptions": [],
            "enhancements": {},
        },
    }


def kql(query: str) -> dict[str, str]:
    """Return a query in Kibana's query language as it is saved; an empty one finds everything."""
    return {**_EVERYTHING, "query": query}


def text_of(value: Any) -> str:
    """Return JSON within JSON, as Kibana keeps what it doesn't look into."""
    return msgspec.json.encode(value).decode()


def _saved(type: str, id: str, attributes: dict[str, Any], references: list[Reference]) -> SavedObject:
    """Return a line of an import. ``managed``: people change copies, so the next import takes nothing from them."""
    return {
        "type": type,
        "id": id,
        "attributes": attributes,
        "references": references,
        "managed": True,
        "coreMigrationVersion": _CORE_VERSION,
        "typeMigrationVersion": _TYPE_VERSIONS[type],
    }
