"""Configurations with mistakes of all kinds: all of them told, each with its place, and no secret among the words."""

import contextlib
import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import event, example, given
from hypothesis import strategies as st

from cachesync.cli import cachesync
from cachesync.config import SECTIONS
from cachesync.config_loader import Loaded, load
from cachesync.errors import UsageError
from cachesync.pages.pattern import Pattern
from cachesync.service.schedule import Schedule
from tests.hostile.fuzz import fuzzed, within

DOCUMENTED: Final = (Path(__file__).parents[2] / "config/cachesync.yml").read_text()
KEYS: Final = {name: [*section.readers()] for name, section in SECTIONS.items()}
CANARY: Final = "s3cr3tcanary"
MAX_LINE: Final = 1_000
SECONDS: Final = 1.0

_ODD: Final = (
    "", " ", "~", "null", "true", "0", "-1", "1", "1.5", "1e3", "1e400", "nan", "inf", "0x10", "1_000", "9" * 400, "x" * 5_000,
    "é", "\u2028", "${", "${}", "${VAR}", "${VAR:-}", "${VAR:-x}", "${UNSET}", "${UNSET:-${VAR}}", "$VAR", "${V A R}",
    "${VAR", "$${VAR}", "${LIST}", "*", "**", "[", "!x", "\\", "a/**/b", "[z-a]", "../..", "~nobody/x", "/dev/null", ".",
    "300ms", "5 s", "5sec", "-5s", "1e3s", ".5s", "9" * 400 + "d", "1d", "m", "0 4 * * 0", "* * * * *", "*/0 * * * *",
    "0 0 30 2 *", "0 0 29 2 *", "@daily", "60 * * * *", "1-0 * * * *", "0 0 L * *", "0 0 * * 1#5", "0 0 1W * *", "* * * * * *",
    "Europe/Berlin", "UTC", "../UTC", "/etc/localtime", "utc", "posixrules", "native", "auto", "DEBUG", "json",
    "http://h:9200", "https://h:9200", "http://h", "http://u:p@h:1", "http://[::1]:9200", "http://[", "http://h:99999",
    "embedded:", "embedded:x", "embedded:~/x", "ftp://h:1", "http://h:1/?a=b#c", "http://h:x", "http://é:1", "http://:1",
    "::", "0.0.0.0", "localhost", "/x", "//", "/x/", "spack-specs", "Spack", "-x", "a" * 101, "0.5", "2", "50%",
)  # fmt: skip
_ODD_YAML: Final = (
    "[]", "{}", "[a, b]", "{a: b}", "[[a]]", "&a [*a]", "*a", "!!python/name:os.system", "!x y", "|\n  text", ">\n  text",
    "'", '"', "\t", "<<: {a: b}", "? a", "- a", "[" * 200, "%YAML 1.1", "---", "...", "\ufeff", '"\\0"', "{<<: [a]}", "@", "`",
)  # fmt: skip
texts = st.sampled_from(_ODD) | st.text(max_size=6)
values: st.SearchStrategy[Any] = texts | st.lists(texts, max_size=3) | st.dictionaries(texts, texts, max_size=2)
_SECRET: Final = (
    CANARY, f"{CANARY} {CANARY}", f"[{CANARY}]", f"{{a: {CANARY}}}", f"{CANARY}\n", f"é{CANARY}", f"${{UNSET:-{CANARY}}}",
    f"*{CANARY}", f"!{CANARY}", f"&{CANARY}", f"!!{CANARY}", f"&{CANARY} *{CANARY}", f"%{CANARY}", f"@{CANARY}", f"'{CANARY}",
    f'"{CANARY}', f"{CANARY}: {CANARY}", f"[{CANARY}", f"${{{CANARY}", f"|{CANARY}", f"? {CANARY}", f"- {CANARY}", f'"\\{CANARY}"',
)  # fmt: skip
_SECRET_URL: Final = (
    f"http://u:{CANARY}@h:1", f"https://u:{CANARY}@h", f"u:{CANARY}@h:1", f"[http://u:{CANARY}@h:1]", f"http://h:1/?{CANARY}",
    f"{{http://u:{CANARY}@h:1}}", f"http:// u:{CANARY}@h:1", f"HTTP://u:{CANARY}@h:1", f"http://u:{CANARY}@[", f"${{U:-{CANARY}@}}",
)  # fmt: skip
SECRETS: Final = {
    **dict.fromkeys([("index", "api_key"), ("index", "password"), ("kibana", "api_key")], st.sampled_from(_SECRET)),
    **dict.fromkeys([("index", "url"), ("kibana", "url"), ("kibana", "public_url")], st.sampled_from(_SECRET_URL)),
}
"""What has a secret in it, and may not be told."""


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Any]:
    """Sections with a few keys each, some of them wrong."""
    tree: dict[str, Any] = {}
    for section in draw(st.lists(st.sampled_from([*KEYS, *KEYS, "pagess", ""]), max_size=4, unique=True)):
        if not draw(st.integers(0, 9)):
            tree[section] = draw(values)
            continue
        keys = st.sampled_from([*KEYS.get(section, []), "rooot"])
        tree[section] = {key: draw(values) for key in draw(st.lists(keys, max_size=4, unique=True))}
        for key in tree[section]:
            if (section, key) in SECRETS and draw(st.booleans()):
                tree[section][key] = draw(SECRETS[section, key])
    return tree


@st.composite
def files(draw: st.DrawFn) -> str:
    """The documented file with other values, or a file of its own, and perhaps something strange in it."""
    if draw(st.booleans()):
        text: str = yaml.safe_dump(draw(trees()), allow_unicode=draw(st.booleans()), sort_keys=False)
    else:
        lines = DOCUMENTED.splitlines()
        for at in draw(
            st.lists(st.sampled_from([at for at, line in enumerate(lines) if re.match(r"  \w+:", line)]), max_size=3)
        ):
            key = lines[at].partition(":")[0]
            usual = texts | st.sampled_from(_ODD_YAML)
            value = next((one for (_, name), one in SECRETS.items() if name == key.strip()), usual)
            lines[at] = f"{key}: {draw(value)}"
        text = "\n".join(lines)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(_ODD_YAML) | texts) + text[at + draw(st.sampled_from([0, 1, 5])) :]
    return text


names = st.sampled_from(
    [(section, key) for section, keys in KEYS.items() for key in keys] + [("pages", "rooot"), ("x", "y")]
)


@st.composite
def environments(draw: st.DrawFn) -> dict[str, str]:
    found = {"VAR": draw(texts), "LIST": "[a, b]", "CACHESYNC_TEST_ELSEWHERE": "x"}
    for section, key in draw(st.lists(names, max_size=3)):
        value = draw(SECRETS.get((section, key), texts | st.sampled_from(_ODD_YAML)))
        found[f"CACHESYNC_{section.upper()}__{key.upper()}"] = value
    return found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("config") / "cachesync.yml"


def is_placed(line: str, file: Path, lines: int) -> bool:
    """Whether a mistake is told with its place: a line of the file, or a variable of the environment."""
    if line.startswith("environment: CACHESYNC_"):
        return True
    match = re.match(rf"{re.escape(str(file))}:(\d+): \S", line)
    return bool(match) and 1 <= int(match[1]) <= lines  # type: ignore[index]  # it isn't None here


def used(loaded: Loaded) -> None:
    """What is accepted must work: commands make this of it."""
    config = loaded.config
    Pattern(config.pages.include, config.pages.exclude).matches("_cache/develop/zlib/specs.md")
    loaded.path(config.pages.root)
    Schedule(config.schedule.reindex, config.schedule.timezone)
    yaml.safe_dump(config.shown())


@fuzzed(200, 2_000)
@given(files(), environments())
@example(f"index: {{password: !{CANARY}}}", {})
@example(f"index: {{password: *{CANARY}}}", {})
@example(f"pages:\n  ? {'x' * 5_000}\n  : 1", {})
@example(f"? {'x' * 5_000}\n: 1", {})
def test_a_configuration_is_read_or_all_its_mistakes_are_told(
    file: Path, text: str, environment: dict[str, str]
) -> None:
    file.write_text(text, "utf-8", newline="")
    try:
        loaded = within(SECONDS, lambda: load(file, environment))
    except UsageError as error:
        event("refused")
        mistakes = str(error).split("\n")
        lines = 1 + len(re.findall("\r\n|[\n\r\x85\u2028\u2029]", text))
        for line in mistakes:
            assert is_placed(line, file, lines), line
            assert len(line) <= MAX_LINE, f"{len(line)} characters"
            assert CANARY not in line
    else:
        event("read")
        used(loaded)
        shown = repr(loaded.config.index) + repr(loaded.config.kibana)
        assert CANARY not in re.sub(r"(url|public_url)=.*?, (?=\w+=)", "", shown)


@fuzzed(60, 400)
@given(trees(), environments())
def test_all_mistakes_are_told_at_once(file: Path, tree: dict[str, Any], environment: dict[str, str]) -> None:
    """Each key that is wrong alone is told of among all others."""
    environment = {name: value for name, value in environment.items() if "__" not in name}

    def wrong(tree: dict[str, Any]) -> set[str]:
        file.write_text(yaml.safe_dump(tree, sort_keys=False), "utf-8")
        try:
            load(file, environment)
        except UsageError as error:
            return set(re.findall(r"^.*?:\d+: (\w+(?:\.\w+)?):", str(error), re.MULTILINE))
        return set()

    alone = set()
    for section, keys in tree.items():
        for key, value in keys.items() if isinstance(keys, dict) else ():
            alone |= wrong({section: {key: value}})
    assert alone <= wrong(tree)


@fuzzed(30, 300)
@given(st.binary(max_size=200) | st.text(max_size=50).map(str.encode))
def test_any_bytes_are_a_configuration_or_a_mistake(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with contextlib.suppress(UsageError):
        within(SECONDS, lambda: load(file, {}))


@fuzzed(30, 300)
@given(environments())
@example({"CACHESYNC_INDEX__PASSWORD": CANARY, "CACHESYNC_INDEX__API_KEY": CANARY})
def test_what_is_in_force_is_printed_without_secrets(file: Path, environment: dict[str, str]) -> None:
    file.write_text("")
    possible = {name: value for name, value in environment.items() if "\0" not in value and "URL" not in name}
    done = CliRunner(env=possible).invoke(cachesync, ["-c", str(file), "config"], standalone_mode=False)
    assert done.exception is None or isinstance(done.exception, UsageError), repr(done.exception)
    assert CANARY not in f"{done.output}{done.exception}"
