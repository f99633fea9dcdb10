import pytest

from engine.bybit.endpoints import (
    HOSTS,
    default_root,
    environment_of,
    normalise_root,
    public_url,
    rest_root,
)
from schemas.errors import ConfigError
from schemas.names import Category, Environment


@pytest.mark.parametrize("category", list(Category))
def test_public_url_appends_the_path_of_the_category(category: Category) -> None:
    assert public_url("wss://stream.bybit.com", category) == f"wss://stream.bybit.com/v5/public/{category}"


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
