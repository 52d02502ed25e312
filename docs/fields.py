"""Print ``docs/fields.md``, made from the table of fields.

python docs/fields.py > docs/fields.md
"""

import json
from collections.abc import Iterable
from typing import Any, Final

from cachesync.documents import ABOUT, FIELDS, HELPERS, Field
from cachesync.pages.version import version_key, version_range

_KEYS: Final = {name for name in HELPERS if not FIELDS[name].counted}
INFINITY: Final = ("stable", "nightly", "trunk", "head", "master", "main", "develop")
VERSIONS: Final = ("1.14.5", "1.14.4-3", "2025.07.13", "develop", "develop-1.14", "2.0rc1", "9e")
RANGES: Final = (
    ("@1.14", "1.14", "1.14", "1.14 and what comes after it, before 1.15"),
    ("@1.12:1.14", "1.12", "1.14", "1.12 and what comes after it, before 1.15"),
    ("@1.12:", "1.12", None, "no end: it includes `develop`, too"),
    ("@:1.14.4", None, "1.14.4", "no beginning; it includes 1.14.4-3, which begins like 1.14.4"),
)


def manual() -> str:
    """Return the page of the manual."""
    return f"""\
<!-- Made by `python docs/fields.py > docs/fields.md` from the table in src/cachesync/documents.py. -->

# Fields

A document is a binary in a tag. Its `_id` is the page's path without `_cache/` and `/specs.md`, then `/` and the hash:
`{_id()}`. A field without a value is left out; lists may be
empty. `cachesync search --filter FIELD=VALUE` accepts the same fields, on either engine. This page is for querying
Elasticsearch directly.

{_table(("field", "type", "meaning", "from", "example"), map(_described, FIELDS.values()))}

Types are those of Elasticsearch. A keyword matches its whole value, case-sensitively except in `package`. A list has
any number of values and matches each of them. `from` names keys of an entry in `spec_details`, or of the page.

## How to ask

In Kibana, use its language KQL with the data view *Specs*; with curl, use a query:

{_table(("field", "KQL", "query"), (row for field in FIELDS.values() for row in _asked(field)))}

`binary_number` can't be searched: it only serves to count binaries instead of documents, with `aggs` next to `query`.
`package.text` has the words of a name, and KQL matches their beginnings, too: `package.text : (intel and mk*)`.

KQL combines conditions with `and`, `or` and `not`, a query with `bool`. `not compiler_name : *` finds what was built
without a compiler. Send a query like this:

```
curl -s http://127.0.0.1:9200/spack-specs/_search -H 'Content-Type: application/json' -d '
  {json.dumps({"query": {"bool": {"filter": [_term("package"), _term("target"), _term("variant_values")]}}})}'
```

The same in one line, in Lucene's query syntax:

```
curl -sG http://127.0.0.1:9200/spack-specs/_search --data-urlencode \\
  'q={" AND ".join(f'{name}:"{ABOUT[name].example}"' for name in ("package", "target", "variant_values"))}'
```

`spack-specs` is `index.name`. A secured cluster also needs `--cacert ca.crt` and `-u USER`, or an API key in
`-H 'Authorization: ApiKey KEY'`.

## Variants

`variants` has them as the page writes them: `languages='c,c++'` up to 2025-03-23, `languages:='c,c++'` from
2025-03-30 on. `variant_values` and `variant_names` have one form for all pages:

| Spack | KQL |
| --- | --- |
| `+mpi` | `variant_values : "+mpi"` |
| `~mpi` | `variant_values : "~mpi"` |
| `build_type=Release` | `variant_values : "build_type=Release"` |
| `languages=c,c++`, these among others | `variant_values : "languages=c" and variant_values : "languages=c++"` |
| `languages:=c,c++`, these and no other | `variant_values : "languages:=c,c++"`; the values are sorted, by ASCII |
| `languages:=c`, this and no other | `variant_values : "languages=c" and not variant_values : "languages:=*"` |
| `languages=*`, any | `variant_names : "languages"` |

`"languages:=*"` is a value like the others: documents have it if `languages` has several values. In quotes, KQL takes
`*` literally.

## Versions

`version` is only useful for complete versions: as strings, 1.9 comes after 1.14. `version_key` and
`compiler_version_key` are strings that sort byte by byte in Spack's order of versions; equal keys are equal versions.
Use them to sort and for ranges. To make a key:

1. Of a version like `git.REF=1.2`, use only the part after `=`.
2. Split it into runs of digits and runs of letters; everything else only separates them. If it ends in `alpha`, `beta`,
   `rc` or `final`, with or without a number after it, and that isn't the whole version, this is the pre-release, and
   comes last.
3. Write each run with a prefix for its kind:

   | run | prefix | |
   | --- | --- | --- |
   | letters | `1` | `p` gives `{_run("p")}` |
   | a number | `2` and a letter for its number of digits, without leading zeros: `a` for one, `b` for two, … | `14` gives `{_run("14")}` |
   | {" ".join(f"`{word}`" for word in INFINITY)} | `3`, and {" ".join(f"`{_run(word)[1:]}`" for word in INFINITY)} instead of the word | `develop` gives `{_run("develop")}` |

   Numbers of more than 25 digits (`y`) have `z` and their number of digits, in three digits: `z026`.
4. Write `0` and the pre-release: `a`, `b`, `r` or `z` for alpha, beta, rc or final, then its number, if it has one,
   with the letter for its digits. Without a pre-release write `0z`.

{_table(("version", "key"), ((f"`{version}`", f"`{version_key(version)}`") for version in VERSIONS))}

### Ranges by hand

Spack's `@A:B` is everything from A up to, but not including, B with its last number raised by one. So it includes
everything that begins like B, and `@B` is short for `@B:B`. (`@1.14` therefore matches 1.15rc1, in Spack as here, and
not 1.14rc1.)

{_table(("Spack", "from", "before", "meaning"), map(_range, RANGES))}

`@1.12:1.14` step by step:

1. 1.12 has the numbers 1 and 12, `{_run("1")}` and `{_run("12")}`, and no pre-release: `{version_key("1.12")}`.
2. 1.14 raised by one is 1.15, `{_run("1")}` and `{_run("15")}`, without a pre-release: `{version_key("1.15")}`.
3. KQL: `{_kql_range("version_key", *version_range("1.12", "1.14"))}`
4. Query: `{json.dumps(_range_query("version_key", *version_range("1.12", "1.14")))}`

If B ends in letters, raise the last letter (`9e`: `9f`); if it ends in a word such as `main`, take the next word of the
table; if it ends in a pre-release, raise its number. `@=1.14.5`, exactly this version, is `version : "1.14.5"`.

A server with `search.allow_expensive_queries: false` refuses ranges of keywords: query each version by itself.
"""


def _id() -> str:
    page, hash = ABOUT["page"].example, ABOUT["hash"].example
    return f"{page.removeprefix('_cache/').removesuffix('/specs.md')}/{hash}"


def _run(text: str) -> str:
    """Return how a run of digits or letters stands in a key."""
    return version_key(text).removesuffix("0z")


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = tuple(head)
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _described(field: Field) -> tuple[str, ...]:
    about = ABOUT[field.name]
    kind = f"{field.kind}, list" if field.many else field.kind
    if field.words:
        kind += f"; `{field.name}.text`: text"
    return f"`{field.name}`", kind, about.meaning, about.source, f"`{about.example}`"


def _asked(field: Field) -> Iterable[tuple[str, str, str]]:
    """Yield a row for each way to ask for a field."""
    yield f"`{field.name}`", _code(_kql(field.name)), _code(json.dumps(_query(field)))
    if field.words:
        text = f"{field.name}.text"
        match = {"match": {text: {"query": "intel mkl", "operator": "and"}}}
        yield f"`{text}`", f"`{text} : (intel and mkl)`", f"`{json.dumps(match)}`"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _kql(name: str) -> str:
    """Return how Kibana is asked for the example of a field; nothing for what can't be searched for."""
    field, example = FIELDS[name], _example(name)
    if field.counted:
        return ""
    if name in _KEYS:
        return _kql_range(name, *_around(name))
    if field.kind in {"date", "long"}:
        return f"{name} >= {json.dumps(example) if field.kind == 'date' else example}"
    return f"{name} : {json.dumps(example)}"


def _query(field: Field) -> dict[str, Any]:
    """Return what Elasticsearch is asked for the example of a field."""
    example = _example(field.name)
    if field.counted:
        return {"aggs": {"binaries": {"cardinality": {"field": field.name}}}}
    if field.name in _KEYS:
        return _range_query(field.name, *_around(field.name))
    if field.kind in {"date", "long"}:
        return {"range": {field.name: {"gte": example if field.kind == "date" else int(example)}}}
    return {"match_phrase": {field.name: example}} if field.kind == "text" else _term(field.name)


def _example(name: str) -> str:
    """Return the example of a field; of one of words, the first."""
    example = ABOUT[name].example
    return example.split()[0] if FIELDS[name].kind == "text" else example


def _term(name: str) -> dict[str, Any]:
    return {"term": {name: ABOUT[name].example}}


def _around(name: str) -> tuple[str | None, str | None]:
    """Return the keys between which the versions lie that begin like the example of a field."""
    version = next(ABOUT[each.name].example for each in FIELDS.values() if each.order_by == name != each.name)
    begin = version.rpartition(".")[0]
    return version_range(begin, begin)


def _kql_range(name: str, least: str | None, below: str | None) -> str:
    parts = [f'{name} >= "{least}"' if least else "", f'{name} < "{below}"' if below else ""]
    return " and ".join(filter(None, parts))


def _range_query(name: str, least: str | None, below: str | None) -> dict[str, Any]:
    return {"range": {name: {bound: key for bound, key in (("gte", least), ("lt", below)) if key}}}


def _range(row: tuple[str, str | None, str | None, str]) -> tuple[str, ...]:
    text, first, last, why = row
    least, below = version_range(first, last)
    return f"`{text}`", _code(least or ""), _code(below or ""), why


if __name__ == "__main__":
    print(manual(), end="")
