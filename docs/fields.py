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
    ("@1.12:", "1.12", None, "no end: `develop` is in it, too"),
    ("@:1.14.4", None, "1.14.4", "no beginning; 1.14.4-3 is in it, since it begins like 1.14.4"),
)


def manual() -> str:
    """Return the page of the manual."""
    return f"""\
<!-- Made by `python docs/fields.py > docs/fields.md` from the table in src/cachesync/documents.py. -->

# Fields

A document is a binary in a tag. Its `_id` is the page's path without `_cache/` and `/specs.md`, then `/` and the hash:
`{_id()}`. A field without a value is left out; lists may be
empty. `cachesync search --filter FIELD=VALUE` asks for the same fields, of either engine. What follows is for those who
ask Elasticsearch without it.

{_table(("field", "type", "meaning", "from", "example"), map(_described, FIELDS.values()))}

Types are those of Elasticsearch. A keyword is found by its whole value, and capitals count; in `package` they don't. A
list has any number of values and is found by each. `from` names keys of an entry in `spec_details`, or of the page.

## How to ask

In Kibana, in its language KQL, over the data view *Specs*; with curl, by a query:

{_table(("field", "KQL", "query"), (row for field in FIELDS.values() for row in _asked(field)))}

`binary_number` isn't searched for: it serves to count binaries instead of documents, by `aggs`, which stand beside
`query`. `package.text` has the words of a name, and KQL takes their beginnings, too: `package.text : (intel and mk*)`.

`and`, `or` and `not` join conditions in KQL, `bool` does in a query. `not compiler_name : *` is what was built without a
compiler. A query is sent so:

```
curl -s http://127.0.0.1:9200/spack-specs/_search -H 'Content-Type: application/json' -d '
  {json.dumps({"query": {"bool": {"filter": [_term("package"), _term("target"), _term("variant_values")]}}})}'
```

The same in one line, in Lucene's language:

```
curl -sG http://127.0.0.1:9200/spack-specs/_search --data-urlencode \\
  'q={" AND ".join(f'{name}:"{ABOUT[name].example}"' for name in ("package", "target", "variant_values"))}'
```

`spack-specs` is `index.name`. A secured cluster also wants `--cacert ca.crt` and `-u USER`, or an API key in
`-H 'Authorization: ApiKey KEY'`.

## Variants

`variants` has them as the page writes them: `languages='c,c++'` up to 2025-03-23, `languages:='c,c++'` from
2025-03-30 on. `variant_values` and `variant_names` are the same for all pages:

| Spack | KQL |
| --- | --- |
| `+mpi` | `variant_values : "+mpi"` |
| `~mpi` | `variant_values : "~mpi"` |
| `build_type=Release` | `variant_values : "build_type=Release"` |
| `languages=c,c++`, these among others | `variant_values : "languages=c" and variant_values : "languages=c++"` |
| `languages:=c,c++`, these and no other | `variant_values : "languages:=c,c++"`; the values are sorted, by ASCII |
| `languages:=c`, this and no other | `variant_values : "languages=c" and not variant_values : "languages:=*"` |
| `languages=*`, any | `variant_names : "languages"` |

`"languages:=*"` is a value like the others: it stands where `languages` has several. KQL takes a `*` in quotes as it is.

## Versions

`version` is good for whole versions only: as text, 1.9 comes after 1.14. `version_key` and `compiler_version_key` are
texts that sort, byte by byte, as Spack sorts versions; equal keys are equal versions. Sort by them, and ask them for
ranges. A key is made so:

1. Of a version like `git.REF=1.2`, only what is behind `=` counts.
2. Take the runs of digits and the runs of letters; all else only separates them. If `alpha`, `beta`, `rc` or `final`, with
   or without a number behind it, is the end and not the whole, it is the pre-release, and comes last.
3. Write each run with what it is in front:

   | run | in front | |
   | --- | --- | --- |
   | letters | `1` | `p` gives `{_run("p")}` |
   | a number | `2` and a letter for how many digits it has, leading zeros left out: `a` for one, `b` for two, … | `14` gives `{_run("14")}` |
   | {" ".join(f"`{word}`" for word in INFINITY)} | `3`, and {" ".join(f"`{_run(word)[1:]}`" for word in INFINITY)} instead of the word | `develop` gives `{_run("develop")}` |

   Numbers of more than 25 digits (`y`) have `z` and their number of digits, in three digits: `z026`.
4. Write `0` and the pre-release: `a`, `b`, `r` or `z` for alpha, beta, rc or final, and its number, if it has one, with the
   letter for its digits. Without a pre-release write `0z`.

{_table(("version", "key"), ((f"`{version}`", f"`{version_key(version)}`") for version in VERSIONS))}

### Ranges by hand

Spack's `@A:B` is everything from A on that comes before B with its last number raised by one. So all that begins like B
is in it, and `@B` is short for `@B:B`. (This makes 1.15rc1 a `@1.14`, in Spack as here; 1.14rc1 is none.)

{_table(("Spack", "from", "before", "so"), map(_range, RANGES))}

`@1.12:1.14` step by step:

1. 1.12 is the numbers 1 and 12, `{_run("1")}` and `{_run("12")}`, and no pre-release: `{version_key("1.12")}`.
2. 1.14 raised by one is 1.15, `{_run("1")}` and `{_run("15")}`, and no pre-release: `{version_key("1.15")}`.
3. KQL: `{_kql_range("version_key", *version_range("1.12", "1.14"))}`
4. Query: `{json.dumps(_range_query("version_key", *version_range("1.12", "1.14")))}`

Where B ends in letters, the last letter is raised (`9e`: `9f`); where in a word such as `main`, the next one of the table
is taken; where in a pre-release, its number is raised. `@=1.14.5`, this version and no other, is `version : "1.14.5"`.

A server that has `search.allow_expensive_queries: false` refuses ranges of keywords: ask it for each version.
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
