"""Parse Spack's query language: tokens → spec."""

import re
from typing import Final, NamedTuple

from cachesync.documents import todays_name
from cachesync.errors import QueryError
from cachesync.pages.version import git_ref, version_range
from cachesync.search.lexer import Kind, Token, tokens
from cachesync.search.spec import (
    Between,
    Compiler,
    Dependency,
    Exactly,
    Flags,
    GitRef,
    SpecQuery,
    Variant,
    Versions,
    Word,
)

MAX_CONDITIONS: Final = 64
"""The most names, versions, values and targets in a query. Nobody types this many, and each costs the engine time."""

HASH_LENGTH: Final = 32

_EDGES: Final = frozenset({Kind.DEPENDENCY, Kind.EDGE_START})
_NAMES: Final = frozenset({Kind.NAME, Kind.DOTTED_NAME})
_SYNONYMS: Final = {"operating_system": "os", "architecture": "arch"}
_ARCH_KEYS: Final = frozenset({"platform", "os", "target", "arch"})
_FLAGS: Final = frozenset({"cflags", "cppflags", "cxxflags", "fflags", "ldflags", "ldlibs"})
_NEVER_PROPAGATED: Final = _ARCH_KEYS | {"namespace", "patches", "dev_path"}
_EDGE_ATTRIBUTES: Final = frozenset({"virtuals", "deptypes", "when"})

_PLATFORM_OR_OS: Final = re.compile(r"\*|[A-Za-z0-9_.-]+")
_TARGET: Final = re.compile(r"\*|[A-Za-z0-9_.]*:?[A-Za-z0-9_.]*")
_VIRTUAL: Final = re.compile("[A-Za-z0-9_][A-Za-z0-9_-]*")
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_][A-Za-z0-9_-]*)*")


def parse(text: str) -> SpecQuery:
    """Parse a spec and its dependencies. An empty string is a spec without conditions.

    The result has the current names of compilers. Conditions after a compiler, up to the next ``^``, belong to the
    package.

    Raises:
        QueryError: the text is not a spec, or has more than :data:`MAX_CONDITIONS` conditions.
    """
    return _Parser(text).parse()


class _Edge(NamedTuple):
    """The beginning of a dependency: the sigil, and the attributes before the name."""

    sigil: str
    at: int
    virtuals: tuple[str, ...] = ()
    attributes: tuple[Word, ...] = ()
    name: Word | None = None
    """The name after ``=``, as in ``%c=gcc``."""


class _Parser:
    """Parses nodes and the edges between them."""

    def __init__(self, text: str) -> None:
        self._tokens = tokens(text)
        self._end = len(text) + 1
        self._conditions = _Conditions()
        self._next = next(self._tokens, None)

    def parse(self) -> SpecQuery:
        root = self._node(SpecQuery())
        dependencies = []
        while self._next:
            dependencies.append(self._dependency())
        return root._replace(dependencies=tuple(dependencies))

    def _take(self) -> Token:
        """Return the next token and advance."""
        token = self._next
        if token is None:
            raise QueryError(self._end, "the query ends too early; expected ] after the attributes of a dependency")
        self._next = next(self._tokens, None)
        return token

    def _node(self, node: SpecQuery) -> SpecQuery:
        """Parse a node up to ``^`` or the end of the query. The node may already have its name."""
        if not node.name and self._next and self._next.kind in _NAMES:
            node = self._named(node, Word(self._next.text, self._next.at))
            self._take()
        while self._next and not self._next.text.startswith("^"):
            if self._next.kind in _EDGES:
                compiler = self._compiler()
                _refuse_second(compiler, node.compilers)
                node = node._replace(compilers=(*node.compilers, compiler))
                continue
            token = self._take()
            node = self._conditions.add(node, token)
            if node.compilers:
                node = node._replace(tail=(*node.tail, Word(token.text, token.at)))
        return node

    def _named(self, node: SpecQuery, word: Word) -> SpecQuery:
        if word.text == "*":
            return node
        self._conditions.count(word.at)
        namespace, name = _split_name(word)
        return node._replace(name=name, namespace=namespace)

    def _dependency(self) -> Dependency:
        edge = self._edge()
        began = self._next
        node = SpecQuery()
        if edge.name:
            node = self._named(node, edge.name)
        node = self._node(node)
        if began is self._next and not edge.name:
            raise QueryError(began.at if began else self._end, "expected a package after ^")
        return Dependency(node, edge.at, edge.virtuals, edge.attributes)

    def _compiler(self) -> Compiler:
        edge = self._edge()
        word = edge.name
        if not word:
            if not self._next or self._next.kind not in _NAMES or self._next.text == "*":
                at = self._next.at if self._next else self._end
                raise QueryError(at, f"expected the name of a compiler after {edge.sigil}, such as %gcc or %gcc@11:")
            token = self._take()
            word = Word(token.text, token.at)
        self._conditions.count(word.at)
        namespace, name = _split_name(word)
        name = name._replace(text=todays_name(name.text))
        versions: tuple[Versions, ...] = ()
        if self._next and self._next.kind in (Kind.VERSIONS, Kind.GIT_VERSION):
            versions = self._conditions.versions(self._take())
        propagated = edge.sigil == "%%"
        return Compiler(name, edge.at, versions, edge.virtuals, edge.attributes, namespace, propagated)

    def _edge(self) -> _Edge:
        token = self._take()
        sigil = next(each for each in ("%%", "%", "^") if token.text.startswith(each))
        virtuals: list[str] = []
        attributes = []
        closing = token
        if token.kind is Kind.EDGE_START:
            while (closing := self._take()).kind is not Kind.EDGE_END:
                name, value = _attribute(closing)
                if name == "virtuals":
                    virtuals += _virtuals(value)
                else:
                    attributes.append(Word(closing.text, closing.at))
        used_as, _, package = closing.text.lstrip("^%]").strip().partition("=")
        word = Word(package, closing.end - len(package)) if package else None
        virtuals += filter(None, used_as.split(","))
        return _Edge(sigil, token.at, tuple(dict.fromkeys(virtuals)), tuple(attributes), word)


class _Conditions:
    """Adds conditions to nodes, and counts the conditions of the whole query."""

    def __init__(self) -> None:
        self._number = 0

    def count(self, at: int) -> None:
        """Count one condition.

        Raises:
            QueryError: the query has more than :data:`MAX_CONDITIONS` conditions.
        """
        self._number += 1
        if self._number > MAX_CONDITIONS:
            raise QueryError(at, f"expected at most {MAX_CONDITIONS} conditions")

    def add(self, node: SpecQuery, token: Token) -> SpecQuery:
        """Return a copy of the node with the condition that a token expresses."""
        match token.kind:
            case Kind.VERSIONS | Kind.GIT_VERSION:
                return self._add_versions(node, token)
            case Kind.SWITCH | Kind.PROPAGATED_SWITCH:
                return self._add_switch(node, token)
            case Kind.KEY | Kind.PROPAGATED_KEY:
                return self._add_key(node, token)
            case Kind.HASH:
                return self._add_hash(node, token)
            case _:
                raise QueryError(token.at, _misplaced(node, token))

    def _add_versions(self, node: SpecQuery, token: Token) -> SpecQuery:
        if node.versions:
            raise QueryError(token.at, "a second version; expected one @, with a list such as @1.2,1.4 for several")
        return node._replace(versions=self.versions(token))

    def _add_switch(self, node: SpecQuery, token: Token) -> SpecQuery:
        propagated = token.kind is Kind.PROPAGATED_SWITCH
        name = token.text[2 if propagated else 1 :].strip()
        if _SYNONYMS.get(name, name) in _ARCH_KEYS | _FLAGS | {"namespace"}:
            raise QueryError(token.at, f"{name} is not a switch; expected {name}=VALUE")
        self.count(token.at)
        return _with_variant(node, Variant(name, token.text[0] == "+", token.at, propagated=propagated))

    def _add_key(self, node: SpecQuery, token: Token) -> SpecQuery:
        key, value, propagated = _key_and_value(token)
        name = key.removesuffix(":")
        name = _SYNONYMS.get(name, name)
        if propagated and name in _NEVER_PROPAGATED:
            raise QueryError(token.at, f"{name} has no meaning for dependencies; expected {name}=VALUE")
        if name in _ARCH_KEYS:
            return self._add_arch(node, name, value)
        self.count(token.at)
        if name == "namespace":
            return _with_namespace(node, value)
        if name in _FLAGS:
            return _with_flags(node, Flags(name, value.text, token.at, propagated))
        values = self._values(name, value)
        exact = key.endswith(":") and isinstance(values, tuple) and values != ()
        return _with_variant(node, Variant(name, values, token.at, exact, propagated))

    def _add_hash(self, node: SpecQuery, token: Token) -> SpecQuery:
        if node.hash:
            raise QueryError(token.at, "a second hash; expected one")
        start = token.text[1:]
        if len(start) > HASH_LENGTH:
            raise QueryError(token.at + 1 + HASH_LENGTH, f"expected a hash of at most {HASH_LENGTH} characters")
        self.count(token.at)
        return node._replace(hash=Word(start, token.at))

    def _add_arch(self, node: SpecQuery, name: str, value: Word) -> SpecQuery:
        if name != "arch":
            return self._with_arch(node, name, value)
        parts = value.text.split("-")
        if len(parts) != 3:
            return self._with_arch(node, "target", value)
        at = value.at
        for name_of_part, part in zip(("platform", "os", "target"), parts, strict=True):
            if part != "None":  # Spack writes None for an unknown part
                node = self._with_arch(node, name_of_part, Word(part, at))
            at += len(part) + 1
        return node

    def _with_arch(self, node: SpecQuery, name: str, value: Word) -> SpecQuery:
        if name == "target":
            if node.targets:
                raise QueryError(value.at, "a second target; expected one target=, with a list such as zen2,zen3")
            return node._replace(targets=self._targets(value))
        given = node.platform if name == "platform" else node.os
        if given:
            raise QueryError(value.at, f"a second {name}; expected one")
        if not _PLATFORM_OR_OS.fullmatch(value.text) or value.text == "None":
            raise QueryError(value.at, f"{value.text!r:.80} is not a valid {name}; expected one name")
        self.count(value.at)
        return node._replace(platform=value) if name == "platform" else node._replace(os=value)

    def _targets(self, value: Word) -> tuple[Word, ...]:
        targets = _split_list(value)
        for each in targets:
            self.count(each.at)
            if not each.text or each.text == "None" or not _TARGET.fullmatch(each.text):
                expected = "a target such as zen3, a range such as :zen3, or platform-os-target after arch="
                raise QueryError(each.at, f"{each.text!r:.80} is not a target; expected {expected}")
        return targets

    def _values(self, name: str, value: Word) -> bool | tuple[str, ...]:
        """Return the value of a variant in the form that :class:`Variant` stores."""
        elements = _split_list(value)
        for each in elements:
            if not each.text and value.text:
                raise QueryError(each.at, f"expected a value of {name:.80} between commas")
            if each.text.endswith("\\"):
                raise QueryError(each.at, f"expected a value of {name:.80} that doesn't end in a backslash")
        values = tuple(dict.fromkeys(each.text for each in elements))
        if len(values) == 1 and values[0].lower() in ("true", "false"):
            return values[0].lower() == "true"
        if values == ("*",):
            return ()
        if "*" in values:
            raise QueryError(value.at, f"* is any value, and can't be one of several; expected {name:.80}=*")
        for each in elements[1:]:
            self.count(each.at)
        return values

    def versions(self, token: Token) -> tuple[Versions, ...]:
        """Parse the versions after ``@``."""
        word = Word(token.text[1:], token.at + 1)
        if token.kind is Kind.GIT_VERSION:
            self.count(word.at)
            return (_git_version(word),)
        items = _split_list(word)
        for each in items:
            self.count(each.at)
        return tuple(_version(each) for each in items)


def _misplaced(node: SpecQuery, token: Token) -> str:
    """Return a message that explains why a token can't occur at its position."""
    text = f"{token.text:.80}"
    if token.kind is Kind.FILE:
        return f"{text} is a file, and none is read here; expected a spec"
    if token.kind is Kind.EDGE_END:
        return "] closes nothing; expected it after %[ or ^["
    if node.name:
        return f"{text} would be a second package; expected conditions on {node.name.text:.80}"
    return f"expected the package {text} at the beginning"


def _refuse_second(compiler: Compiler, others: tuple[Compiler, ...]) -> None:
    """Reject a compiler that the query has already given for the same use.

    Raises:
        QueryError: the compiler is given twice.
    """
    for other in others:
        overlapping = not compiler.virtuals or not other.virtuals or {*compiler.virtuals} & {*other.virtuals}
        if other.name.text == compiler.name.text and overlapping:
            raise QueryError(compiler.at, f"a second %{compiler.name.text:.80}; expected one")


def _split_name(word: Word) -> tuple[Word | None, Word]:
    """Split ``builtin.zlib`` into the namespace and the name."""
    namespace, dot, name = word.text.rpartition(".")
    return Word(namespace, word.at) if dot else None, Word(name, word.at + len(namespace) + len(dot))


def _split_list(word: Word) -> tuple[Word, ...]:
    """Split a word at its commas, and ignore the whitespace around the elements."""
    elements = []
    at = word.at
    for text in word.text.split(","):
        elements.append(Word(text.strip(), at + len(text) - len(text.lstrip())))
        at += len(text) + 1
    return tuple(elements)


def _key_and_value(token: Token) -> tuple[str, Word, bool]:
    """Split ``key=value`` or ``key==value`` and remove quotes. A colon before the sign remains part of the key."""
    sign = "==" if token.kind is Kind.PROPAGATED_KEY else "="
    key, _, value = token.text.partition(sign)
    at = token.at + len(key) + len(sign)
    if value[0] in ("'", '"'):
        return key, Word(value[1:-1].replace("\\" + value[0], value[0]), at + 1), sign == "=="
    if value[0] == "=":
        raise QueryError(at + 1, f"expected a value of {key:.80} after ==")
    return key, Word(value, at), sign == "=="


def _attribute(token: Token) -> tuple[str, Word]:
    """Split an attribute in square brackets, such as ``virtuals=c,cxx``, into its name and value."""
    if token.kind is not Kind.KEY or (name := token.text.partition("=")[0].removesuffix(":")) not in _EDGE_ATTRIBUTES:
        raise QueryError(token.at, "expected virtuals=, deptypes= or when= in square brackets, and ] after them")
    return name, _key_and_value(token)[1]


def _virtuals(value: Word) -> list[str]:
    virtuals = _split_list(value)
    for each in virtuals:
        if not _VIRTUAL.fullmatch(each.text):
            raise QueryError(each.at, f"{each.text!r:.80} is not a virtual package; expected names such as c,cxx")
    return [each.text for each in virtuals]


def _with_variant(node: SpecQuery, variant: Variant) -> SpecQuery:
    if any(each.name == variant.name for each in node.variants):
        raise QueryError(variant.at, f"the variant {variant.name:.80} was given before; expected it once")
    return node._replace(variants=(*node.variants, variant))


def _with_flags(node: SpecQuery, flags: Flags) -> SpecQuery:
    if any(each.name == flags.name for each in node.flags):
        raise QueryError(flags.at, f"{flags.name} was given before; expected it once")
    return node._replace(flags=(*node.flags, flags))


def _with_namespace(node: SpecQuery, namespace: Word) -> SpecQuery:
    if node.namespace:
        raise QueryError(namespace.at, "a second namespace; expected one")
    if not _NAMESPACE.fullmatch(namespace.text):
        raise QueryError(namespace.at, f"{namespace.text!r:.80} is not a namespace; expected a name such as builtin")
    return node._replace(namespace=namespace)


def _version(word: Word) -> Versions:
    """Parse one item of a list of versions."""
    text, at = word
    low, colon, high = text.partition(":")
    if colon:
        return _between(low, high, at)
    if ref := git_ref(text.removeprefix("=")):
        return GitRef(ref, None, at)
    return Exactly(text[1:], at) if text.startswith("=") else _between(text, text, at)


def _git_version(word: Word) -> GitRef:
    """Parse ``git.main`` or 40 hexadecimal digits, with or without the version that this reference stands for."""
    written, sign, text = word.text.partition("=")
    ref = git_ref(written) or written
    at = word.at + len(written) + len(sign)
    low, colon, high = text.partition(":")
    if colon:
        return GitRef(ref, _between(low, high, at), word.at)
    return GitRef(ref, Exactly(text, at) if text else None, word.at)


def _between(low: str, high: str, at: int) -> Between:
    for end in (low, high):
        if end.startswith("=") or git_ref(end):
            raise QueryError(at, f"{end:.80} can't be the end of a range; expected versions, such as 1.2:1.4")
    try:
        version_range(low or None, high or None)
    except ValueError as error:
        raise QueryError(at, f"the range is empty, {error}") from None
    return Between(low or None, high or None, at)
