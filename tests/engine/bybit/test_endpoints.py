import pytest

from engine.bybit.endpoints import (
    HOSTS,
    REGIONS,
    default_root,
    environment_of,
    normalise_root,
    public_url,
    rest_root,
    root_of,
    status_url,
    stream_domain,
)
from schemas.errors import ConfigError
from schemas.names import Category, Environment


@pytest.mark.parametrize("category", list(Category))
def test_public_url_appends_the_path_of_the_category(category: Category) -> None:
    assert public_url("wss://stream.bybit.com", category) == f"wss://stream.bybit.com/v5/public/{category}"


def test_the_status_has_a_path_of_its_own() -> None:
    assert status_url("ws://127.0.0.1:9001/") == "ws://127.0.0.1:9001/v5/public/misc/status"


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ("ws://127.0.0.1:9001", "http://127.0.0.1:9001"),
        ("wss://gateway.example:8443/", "https://gateway.example:8443"),
        ("ws://[::1]:9001", "http://[::1]:9001"),
        ("wss://stream.bybit.com", "https://api.bybit.com"),
        ("wss://stream-testnet.bybit.com", "https://api-testnet.bybit.com"),
        ("wss://stream.bybit.tr", "https://api.bybit.tr"),
        ("wss://stream.manepa.jp", "https://api.manepa.jp"),
    ],
)
def test_rest_root(root: str, expected: str) -> None:
    assert rest_root(root) == expected


@pytest.mark.parametrize(
    ("root", "environment"),
    [
        ("wss://stream.bybit.com", Environment.MAINNET),
        ("wss://STREAM.bybit.com:443", Environment.MAINNET),
        ("wss://stream.bybit.com.", Environment.MAINNET),
        ("wss://stream.bybit.kz", Environment.MAINNET),
        ("wss://stream-testnet.bybit.com", Environment.TESTNET),
        ("ws://127.0.0.1:9001", Environment.GATEWAY),
        ("ws://localhost:1", Environment.GATEWAY),
        ("wss://stream.bybit.com.example", Environment.GATEWAY),
    ],
)
def test_environment_of(root: str, environment: Environment) -> None:
    assert environment_of(root) is environment


def test_defaults_are_known_hosts_of_their_environment() -> None:
    for environment in (Environment.MAINNET, Environment.TESTNET):
        assert environment_of(default_root(environment)) is environment
    with pytest.raises(ConfigError, match="ws://127"):
        default_root(Environment.GATEWAY)


def test_every_published_host_makes_urls() -> None:
    for host in HOSTS:
        assert environment_of(f"wss://{host.stream}") is host.environment
        assert rest_root(f"wss://{host.stream}") == f"https://{host.rest}"


@pytest.mark.parametrize(
    "endpoint", [" wss://Host.Example:9 ", "wss://host.example:9/", "WSS://host.example:9"]
)
def test_normalise_root(endpoint: str) -> None:
    assert normalise_root(endpoint) == "wss://host.example:9"


@pytest.mark.parametrize(
    ("endpoint", "right"),
    [
        ("stream.bybit.com", "wss://stream.bybit.com"),
        ("", "wss://stream.bybit.com"),
        ("wss://", "wss://stream.bybit.com"),
        ("https://api.bybit.com", "wss://stream.bybit.com"),
        ("wss://api.bybit.com", "wss://stream.bybit.com"),
        ("http://localhost:9001", "ws://localhost:9001"),
        ("ftp://host.example", "wss://host.example"),
        ("ws://stream.bybit.com", "wss://stream.bybit.com"),
        ("wss://stream-demo.bybit.com", "wss://stream.bybit.com"),
        ("wss://stream.bybit.com/v5/public/linear", "wss://stream.bybit.com"),
        ("wss://host.example?x=1", "wss://host.example"),
        ("ws://host.example:0", "127.0.0.1:9001"),
        ("ws://host.example:99999", "127.0.0.1:9001"),
        ("ws://host.example:port", "127.0.0.1:9001"),
        ("ws://[::1", "127.0.0.1:9001"),
        ("ws://a b", "127.0.0.1:9001"),
        ("ws://ho\x00st", "127.0.0.1:9001"),
        ("ws://hôte.example", "127.0.0.1:9001"),
        ("ws://" + "a" * 600, "127.0.0.1:9001"),
    ],
)
def test_a_bad_endpoint_is_refused_with_a_right_one(endpoint: str, right: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        normalise_root(endpoint)
    assert right in str(refusal.value).split("a right one looks like")[1]
    assert len(str(refusal.value)) < 500


def test_credentials_are_refused_without_being_repeated() -> None:
    with pytest.raises(ConfigError, match="credentials") as refusal:
        normalise_root("wss://user:secret@host.example")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("environment", "region", "stream", "rest"),
    [
        ("", "", "wss://stream.bybit.com", "https://api.bybit.com"),
        ("mainnet", "global", "wss://stream.bybit.com", "https://api.bybit.com"),
        ("testnet", "", "wss://stream-testnet.bybit.com", "https://api-testnet.bybit.com"),
        ("", "tr", "wss://stream.bybit.tr", "https://api.bybit.tr"),
        ("mainnet", " TR ", "wss://stream.bybit.tr", "https://api.bybit.tr"),
        ("", "kz", "wss://stream.bybit.kz", "https://api.bybit.kz"),
        ("", "id", "wss://stream.bybit.id", "https://api.bybit.id"),
        ("", "ge", "wss://stream.bybitgeorgia.ge", "https://api.bybitgeorgia.ge"),
        ("", "jp", "wss://stream.manepa.jp", "https://api.manepa.jp"),
        ("", "eu", "wss://stream.bybit.eu", "https://api.bybit.eu"),
    ],
)
def test_root_of_an_environment_and_a_region(environment: str, region: str, stream: str, rest: str) -> None:
    assert root_of(environment, region) == stream
    assert rest_root(stream) == rest


def test_every_region_has_a_root() -> None:
    assert len({root_of(region=region) for region in REGIONS}) == len(REGIONS) == 7


@pytest.mark.parametrize(
    ("environment", "region", "words"),
    [
        (
            "",
            "turkey",
            "region 'turkey': expected one of global, tr, kz, ge, id, eu, jp; the nearest is 'tr'",
        ),
        ("", "uk", "the nearest is"),
        ("", "x" * 1_000, "the nearest is"),
        ("tesnet", "", "environment 'tesnet': expected one of mainnet, testnet; the nearest is 'testnet'"),
        ("gateway", "", "environment 'gateway': expected one of mainnet, testnet"),
        ("testnet", "tr", "region 'tr': it has no testnet that is published; leave --region away"),
        ("", "nl", "region 'nl': a REST host is published for it and no stream host"),
        ("", "AE", "no stream host"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(environment: str, region: str, words: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        root_of(environment, region)
    assert words in str(refusal.value)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    ("root", "domain"),
    [
        ("wss://stream.bybit.com", "stream.bybit.com"),
        ("wss://STREAM.bybit.com:443/", "stream.bybit.com"),
        ("ws://127.0.0.1:9001", "127.0.0.1:9001"),
        ("ws://[::1]:9001", "[::1]:9001"),
        ("wss://127.0.0.1:80", "127.0.0.1:80"),
    ],
)
def test_the_stream_domain_that_connections_are_counted_by(root: str, domain: str) -> None:
    assert stream_domain(root) == domain
