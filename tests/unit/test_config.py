"""The configuration: which values are accepted, and how mistakes are reported."""

import re
from pathlib import Path

import pytest

from cachesync.config import SECTIONS, Config
from cachesync.config_loader import load
from cachesync.errors import UsageError
from cachesync.yamltext import load as load_yaml

DOCUMENTED = Path(__file__).parents[2] / "config/cachesync.yml"


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "cachesync.yml"
    file.write_text(text)
    return file


def mistakes(tmp_path: Path, text: str, **environment: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        load(written(tmp_path, text), environment)
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


def test_without_a_file_there_are_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load(None, {})
    assert (loaded.config, loaded.file, loaded.base) == (Config(), None, tmp_path)


def test_the_option_precedes_the_variable_which_precedes_the_default_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config/cachesync.yml").write_text("index: {name: usual}")
    (tmp_path / "env.yml").write_text("index: {name: environment}")
    (tmp_path / "arg.yml").write_text("index: {name: named}")
    assert load(None, {}).config.index.name == "usual"
    assert load(None, {"CACHESYNC_CONFIG": "env.yml"}).config.index.name == "environment"
    assert load(Path("arg.yml"), {"CACHESYNC_CONFIG": "env.yml"}).config.index.name == "named"


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    loaded = load(written(tmp_path, "pages: {root: ../pages}"), {})
    assert loaded.path(loaded.config.pages.root) == tmp_path / "../pages"
    assert loaded.path(Path("/srv")) == Path("/srv")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5), ("0.25", 0.25), ("300ms", 0.3), ("5s", 5), ("5m", 300), ("2h", 7200), ("1 d", 86_400)],
)
def test_durations(tmp_path: Path, text: str, seconds: float) -> None:
    assert load(written(tmp_path, f"watch: {{debounce: {text}}}"), {}).config.watch.debounce == pytest.approx(seconds)


@pytest.mark.parametrize(("text", "cron"), [("''", None), ("' '", None), ("", None), ("0 4 * * SUN", "0 4 * * SUN")])
def test_an_empty_schedule_is_none(tmp_path: Path, text: str, cron: str | None) -> None:
    assert load(written(tmp_path, f"schedule: {{reindex: {text}}}"), {}).config.schedule.reindex == cron


@pytest.mark.parametrize("path", ["", "/x", "/x-1/y.z"])
def test_base_paths(tmp_path: Path, path: str) -> None:
    assert load(written(tmp_path, f"http: {{base_path: '{path}'}}"), {}).config.http.base_path == path


@pytest.mark.parametrize("url", ["http://h", "https://h:5601/kibana", "http://[::1]:5601"])
def test_a_kibana_may_have_a_base_path(tmp_path: Path, url: str) -> None:
    assert load(written(tmp_path, f"kibana: {{url: '{url}/'}}"), {}).config.kibana.url == url


def test_variables_are_substituted(tmp_path: Path) -> None:
    text = "pages: {root: '${BASE}/x${EMPTY:-y}', include: ['${P:-a}', b]}\nindex: {name: '${UNSET:-n}'}"
    config = load(written(tmp_path, text), {"BASE": "/srv", "EMPTY": "", "P": "${BASE}"}).config
    assert config.pages.root == Path("/srv/xy")
    assert config.pages.include == ("${BASE}", "b")
    assert config.index.name == "n"


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    environment = {
        "CACHESYNC_PAGES__INCLUDE": "[a, 'b/**']",
        "CACHESYNC_INDEX__URL": "http://127.0.0.1:9200",
        "CACHESYNC_INDEX__PASSWORD": "[not a list",
        "CACHESYNC_SAFETY__MAX_DELETE_FRACTION": "0.1",
        "CACHESYNC_TEST_ELSEWHERE": "ignored",
    }
    config = load(written(tmp_path, "pages: {include: x}\nsafety: {max_delete_fraction: 1}"), environment).config
    assert config.pages.include == ("a", "b/**")
    assert config.index.url == ("http://127.0.0.1:9200",)
    assert config.index.password is not None
    assert config.index.password.reveal() == "[not a list"
    assert config.safety.max_delete_fraction == 0.1


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CACHESYNC_PAGES_ROOT", "CACHESYNC_PAGES__ROOT"),
        ("CACHESYNC_pages_root", "CACHESYNC_PAGES__ROOT"),
        ("CACHESYNC_HTTP_MAX_LAG", "CACHESYNC_HTTP__MAX_LAG"),
        ("CACHESYNC_INDEX_API_KEY_FILE", "CACHESYNC_INDEX__API_KEY_FILE"),
        ("CACHESYNC_CONFG", "CACHESYNC_CONFIG"),
        ("CACHESYNC_CONFIGS", "CACHESYNC_CONFIG"),
        ("CACHESYNC_COFNIG", "CACHESYNC_CONFIG"),
    ],
)
def test_a_variable_that_resembles_a_key_is_reported(tmp_path: Path, name: str, meant: str) -> None:
    assert load(written(tmp_path, ""), {name: "x"}).misspelt == ((name, meant),)


@pytest.mark.parametrize(
    "name",
    ["CACHESYNC_TEST_ELASTICSEARCH_URL", "CACHESYNC_VERSION", "CACHESYNC_ROOT", "_CACHESYNC_COMPLETE", "PAGES_ROOT"],
)
def test_other_variables_are_not_reported(tmp_path: Path, name: str) -> None:
    assert load(written(tmp_path, ""), {name: "x", "CACHESYNC_PAGES__ROOT": "y"}).misspelt == ()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CACHESYNC_PAGE__ROOT", "CACHESYNC_PAGES__ROOT"),
        ("CACHESYNC__PAGES__ROOT", "CACHESYNC_PAGES__ROOT"),
        ("CACHESYNC_PAGES___ROOT", "CACHESYNC_PAGES__ROOT"),
        ("CACHESYNC_PAGES__ROTO", "CACHESYNC_PAGES__ROOT"),
        ("CACHESYNC_INDEX__PASSWORDS", "CACHESYNC_INDEX__PASSWORD"),
    ],
)
def test_an_unknown_key_is_refused_and_the_nearest_one_suggested(tmp_path: Path, name: str, meant: str) -> None:
    assert mistakes(tmp_path, "", **{name: "x"}) == [f"environment: {name}: no such key; did you mean {meant}?"]


def test_all_mistakes_are_reported_at_once_with_key_value_file_and_line(tmp_path: Path) -> None:
    text = "pages:\n  root: ${NOPE}\n  max_bytes: many\n  rooot: x\nwatch: {mode: fast}\nsafety: 3\nkibanna: {}\n"
    told = mistakes(tmp_path, text, CACHESYNC_HTTP__PORT="99999", CACHESYNC_PAGES__ROT="x")
    assert told[:2] == [
        "cachesync.yml:2: ${NOPE} is not set in the environment and has no default",
        "environment: CACHESYNC_PAGES__ROT: no such key; did you mean CACHESYNC_PAGES__ROOT?",
    ]
    expected = {
        "cachesync.yml:3: pages.max_bytes: .*integer.*'many'",
        "cachesync.yml:4: pages.rooot: no such key; expected one of root, include, exclude, ignore, max_bytes",
        "cachesync.yml:5: watch.mode: .*'auto', 'native' or 'polling', found 'fast'",
        "cachesync.yml:6: safety: expected keys below it, found a string",
        "cachesync.yml:7: kibanna: no such key; expected one of pages, watch, .*",
        "environment: CACHESYNC_HTTP__PORT: .*65535, found '99999'",
    }
    assert len(told) == 2 + len(expected)
    assert all(any(re.fullmatch(pattern, line) for line in told) for pattern in expected)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pages:\n  [\n", "cachesync.yml:3: broken YAML"),
        ("index:\n  password canary", "cachesync.yml:1: index: expected keys below it, found a string"),
        (
            "index: {password:canary, name: a}",
            "cachesync.yml:1: index.password…: no such key (a colon needs a space",
        ),
        ("index: {password:canary: x}", "cachesync.yml:1: index.password…: no such key (a colon needs a space"),
        ("index: {password=canary}", "cachesync.yml:1: index.password…: no such key"),
        ("index: {password canary}", "cachesync.yml:1: index.password…: no such key"),
        ("{index:password:canary, log: {}}", "cachesync.yml:1: index…: no such key (a colon needs a space"),
        ("index: {rooot: }", "cachesync.yml:1: index.rooot: no such key; expected one of url, name"),
        ("indexx:", "cachesync.yml:1: indexx: no such key; expected one of pages, watch"),
        ("index:\n  password: a${canary}b", "cachesync.yml:2: a variable is not set in the environment and has no"),
        ("- a", "cachesync.yml:1: expected sections like 'pages:', found a list"),
        ("index: {url: 'ftp://x'}", "index.url: expected http(s)://HOST:PORT, several of those, or one embedded:DIR"),
        ("index: {url: ['embedded:a', 'embedded:b']}", "index.url: expected"),
        ("index: {url: ['http://a', 'embedded:b']}", "index.url: expected"),
        ("index: {url: 'embedded:'}", "index.url: expected"),
        ("kibana: {public_url: 'http://user:canary@h'}", "kibana.public_url: expected no user and password in it"),
        ("kibana: {public_url: 'http://h/x?token=canary'}", "kibana.public_url: expected http(s)://HOST:PORT"),
        ("index: {url: 'http://user:canary@h:9200'}", "index.url: expected no user and password in it"),
        ("index: {url: 'http://h 9200'}", "index.url: expected no whitespace"),
        ("index: {url: 'http://localhost:99999'}", "index.url: expected a host and an optional port from 0 to 65535"),
        ("index: {url: 'http://localhost:x'}", "index.url: expected a host and an optional port"),
        ("index: {url: ['https://es', 'https://es:443']}", "index.url: expected each server once"),
        ("index: {url: ['http://a:1', 'http://a:1']}", "index.url: expected each server once"),
        ("index: {url: 'embedded:~nobody-of-this-name/x'}", "index.url: expected a path"),
        ('index: {url: "embedded:a\\0b"}', "index.url: expected no whitespace"),
        ("index: {name: 'Upper'}", "index.name: expected lowercase letters"),
        ("kibana: {url: 'kibana:5601'}", "kibana.url: expected http(s)://HOST:PORT"),
        ("kibana: {url: 'http://user:canary@h:5601'}", "kibana.url: expected no user and password in it"),
        ("kibana: {url: 'http://h:5601/a b'}", "kibana.url: expected http(s)://HOST:PORT"),
        ("kibana: {url: 'http://h:5601/?canary'}", "kibana.url: expected http(s)://HOST:PORT"),
        ("kibana: {space: 'My Space'}", "kibana.space: expected the space's identifier"),
        ("kibana: {space: '../x'}", "kibana.space: expected the space's identifier"),
        ("pages: {root: ''}", "pages.root: expected a path"),
        ('pages: {root: "a\\0b"}', "pages.root: expected a path"),
        ("pages: {root: '~nobody-of-this-name'}", "pages.root: expected a path"),
        ("pages: {include: []}", "pages.include"),
        ("pages: {include: ['']}", "pages.include: expected patterns"),
        ("pages: {include: ['!x']}", "pages.include: expected patterns"),
        ("pages: {include: ['[z-a]/x']}", "pages.include: invalid pattern"),
        ("pages: {root: '${NOPE'}", "unterminated '${'"),
        ("schedule: {timezone: Nowhere/Land}", "schedule.timezone: expected a time zone"),
        ("schedule: {reindex: '0 4 * *'}", "schedule.reindex: expected a cron expression like '0 4 * * 0'"),
        ("schedule: {reindex: '0 0 4 * * 0'}", "schedule.reindex: expected a cron expression"),
        ("schedule: {reindex: '0 25 * * 0'}", "schedule.reindex: expected a cron expression"),
        ("schedule: {reindex: '0 0 30 2 *'}", "schedule.reindex: expected a cron expression"),
        ("schedule: {reindex: hourly}", "found 'hourly'"),
        ("http: {host: ''}", "http.host: expected an address"),
        ("http: {host: '127.0.0.1 '}", "http.host: expected an address"),
        ("http: {host: '[::1]'}", "http.host: expected an address"),
        ("http: {base_path: x}", "http.base_path: expected nothing or a path like /cachesync"),
        ("http: {base_path: /}", "http.base_path: expected"),
        ("http: {base_path: /x/}", "http.base_path: expected"),
        ("http: {base_path: /x y}", "http.base_path: expected"),
        ("http: {base_path: '/x?y'}", "http.base_path: expected"),
        ("http: {base_path: '/x#y'}", "http.base_path: expected"),
        ("http: {base_path: /x/../y}", "http.base_path: expected"),
        ("http: {base_path: //x}", "http.base_path: expected"),
        ("watch: {debounce: -1}", "watch.debounce: expected seconds"),
        ("watch: {debounce: soon}", "watch.debounce: expected seconds"),
        ("watch: {rescan_interval: 0}", "cachesync.yml:1: watch.rescan_interval: expected at least 1s, found '0'"),
        ("watch: {rescan_interval: 999ms}", "watch.rescan_interval: expected at least 1s"),
        ("index: {refresh_interval: 0}", "index.refresh_interval: expected at least 0.1s, found '0'"),
        (f"http: {{max_lag: 1{'0' * 400}}}", "http.max_lag: expected seconds"),
        ("index: {shards: 1025}", "index.shards: expected an integer from 1 to 1024, found '1025'"),
        ("index: {keep_generations: -1}", "index.keep_generations: expected an integer of at least 0"),
        ("pages: {max_bytes: 0}", "pages.max_bytes: expected an integer of at least 1"),
        ("safety: {max_delete_fraction: 1.5}", "safety.max_delete_fraction: expected a number from 0 to 1"),
        ("safety: {max_delete_fraction: nan}", "safety.max_delete_fraction: expected a number from 0 to 1"),
        ("http: {port: 80.5}", "http.port: expected an integer from 0 to 65535, found '80.5'"),
        ("http: {port: [80]}", "http.port: expected an integer from 0 to 65535, found ['80']"),
        ("index: {auto_reindex: maybe}", "index.auto_reindex: expected true or false, found 'maybe'"),
        ("index: {username: [a]}", "index.username: expected one value, found ['a']"),
        ("pages: {exclude: {a: b}}", "pages.exclude: expected a list of values, or one value"),
        ("pages: {exclude: [[a]]}", "pages.exclude: expected a list of values, or one value"),
        ("pages: {include: []}", "pages.include: expected at least one pattern"),
        ("log: {level: loud}", "log.level"),
    ],
)
def test_a_mistake_is_reported_without_secrets(tmp_path: Path, text: str, says: str) -> None:
    told = mistakes(tmp_path, text)
    assert len(told) == 1
    assert says in told[0]
    assert "canary" not in told[0]


def test_repeated_keys_are_reported_with_both_lines_among_all_mistakes(tmp_path: Path) -> None:
    text = (
        "index: {name: a, name: b}\n"
        "watch:\n"
        "  debounce: 1\n"
        "  debounce: 1\n"
        "pages: {password:canary: x, password:canary: y}\n"
        "index:\n"
        "  shards: 0\n"
    )
    told = mistakes(tmp_path, text, CACHESYNC_HTTP__PORT="x")
    assert told[:4] == [
        "cachesync.yml:1: index.name: given twice (line 1)",
        "cachesync.yml:4: watch.debounce: given twice (line 3)",
        "cachesync.yml:5: pages.password…: given twice (line 5)",
        "cachesync.yml:6: index: given twice (line 1)",
    ]
    assert [line.split(": ")[1] for line in told[4:]] == ["pages.password…", "index.shards", "CACHESYNC_HTTP__PORT"]
    assert "canary" not in "".join(told)


def test_an_unreadable_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the configuration .*nowhere\.yml: No such file"):
        load(tmp_path / "nowhere.yml", {})
    (tmp_path / "latin.yml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="is not UTF-8"):
        load(tmp_path / "latin.yml", {})


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    file = written(tmp_path, "index: {api_key: {a: canary}}\nkibana: {api_key: [canary]}")
    with pytest.raises(UsageError) as caught:
        load(file, {})
    assert "canary" not in str(caught.value)
    config = load(written(tmp_path, "index: {api_key: canary}"), {}).config
    assert "canary" not in repr(config)
    assert "canary" not in str(config.shown())


def test_a_variable_in_a_secret_with_a_misspelt_key_is_not_shown(tmp_path: Path) -> None:
    told = mistakes(tmp_path, "index:\n  pasword: a${canary}b\nkibanna:\n  api_key: ['${canary}']\nkibana: ${canary}")
    assert [line for line in told if "a variable is not set" in line]
    assert "canary" not in "".join(told)


def test_every_key_is_documented_with_its_default() -> None:
    text = DOCUMENTED.read_text()
    for name, section in SECTIONS.items():
        for key in section.readers():
            assert re.search(rf"\b{key.removesuffix('_file')}\b", text), f"{name}.{key}"
    documented = load(DOCUMENTED, {}).config
    shown, usual = documented.shown(), Config().shown()
    for name, key in (("pages", "root"), ("index", "url")):
        assert shown[name].pop(key) != usual[name].pop(key)
    assert shown == usual
    assert isinstance(load_yaml(text), dict)
