"""What documents say of hash and variants beside what is on the page, by an evaluation of its own."""

from typing import Any

import xxhash


def said(key: str, hash: str | None, variants: list[str]) -> dict[str, Any]:
    short = {"short_hash": hash[:7]} if hash else {}
    names: list[str] = []
    values: list[str] = []
    for variant in variants:
        name, sign, text = variant.lstrip("+~").replace(":=", "=").partition("=")
        names.append(name)
        listed = text.strip("'\"").split(",")
        if not sign:
            values += [variant] if variant[:1] in ("+", "~") else []
        else:
            values += [f"{name}={each}" for each in dict.fromkeys(listed)]
        if len(set(listed)) > 1:
            values += [f"{name}:=*", f"{name}:={','.join(sorted(set(listed)))}"]
    number = xxhash.xxh3_64_intdigest(key.encode()) // 4096
    return {"binary": key, "binary_number": number, **short, "variant_names": names, "variant_values": values}
