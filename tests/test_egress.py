"""Pictures of guarded sources leave this machine for no address that is not certainly allowed."""

from __future__ import annotations

import pytest

from medtrinity25m.description.egress import check_egress, is_loopback, origin
from medtrinity25m.errors import ConfigError
from medtrinity25m.registry import packaged_source

GUARDED, OPEN = (packaged_source(name) for name in ("mimic_cxr_jpg", "busi"))


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:8000/v1", "http://127.0.0.1", "https://localhost:8000/v1/", "http://LOCALHOST/v1"),
        *("http://127.255.255.254/v1", "http://[::1]:8000/v1"),
    ],
)
def test_this_machine_is_known_by_its_plain_addresses(url):
    """The loopback network, the name localhost, `::1`."""
    assert is_loopback(url)
    check_egress([GUARDED], {"describe.endpoint": url})


@pytest.mark.parametrize(
    "url",
    [
        *("https://api.example.com/v1", "http://localhost.evil.com/v1", "http://127.0.0.1.evil.com/v1"),
        *("http://evil.com/127.0.0.1", "http://evil-localhost/v1", "http://localhost./v1", "http://notlocalhost"),
        *("http://localhost@evil.com/v1", "http://127.0.0.1:80@evil.com", "http://evil.com@127.0.0.1/v1"),
        *("http://evil.com#@127.0.0.1/", "http://127.0.0.1#@evil.com/", "http://127.0.0.1\\@evil.com/"),
        *("http://127.0.0.1?@evil.com/", "http://evil.com?127.0.0.1", "http://127.0.0.1/%40evil.com"),
        *("http://0.0.0.0:8000/v1", "http://[::]/v1", "http://[::ffff:127.0.0.1]/v1", "http://[::ffff:7f00:1]/v1"),
        *("http://2130706433/v1", "http://0x7f000001/v1", "http://0x7f.0.0.1", "http://0177.0.0.1", "http://127.1/v1"),
        *("http://127.0.0.01/v1", "http://127.0.0.256/v1", "http://128.0.0.1/v1", "http://[::1%25eth0]/v1"),
        *("http://１２７.0.0.1/v1", "http://127。0。0。1/v1", "http://ⓛocalhost/v1", "http://localhost\u200b/v1"),
        *("http://127.0.0.1\n.evil.com/", "http://127.0.0.1 .evil.com", " http://127.0.0.1", "http://127.0.0.1/v1\n"),
        *("unix:///run/vllm.sock", "http+unix://%2Frun%2Fvllm.sock", "ftp://127.0.0.1", "//127.0.0.1", "127.0.0.1", ""),
        "http://10.0.0.1/v1",
    ],
)
def test_what_could_be_read_otherwise_is_not_this_machine(url):
    """Suffixes, user names, other notations, look-alikes, sockets: refused before anything is resolved or opened."""
    assert not is_loopback(url)
    with pytest.raises(ConfigError, match=r"describe\.endpoint: .* mimic_cxr_jpg may not be sent to others"):
        check_egress([OPEN, GUARDED], {"describe.endpoint": url})
    check_egress([OPEN], {"describe.endpoint": url})


def test_a_server_of_ones_own_is_allowed_by_its_origin():
    """Scheme, host and port all count; the usual port need not be said; case does not count."""
    url = "https://mllm.hospital.example/v1"
    for allow in (
        "https://mllm.hospital.example",
        "https://MLLM.hospital.example:443",
        "https://mllm.hospital.example/",
    ):
        check_egress([GUARDED], {"judge": url}, [allow])
    for other in (
        *("http://mllm.hospital.example", "https://mllm.hospital.example:8443", "https://hospital.example"),
        "https://mllm.hospital.example.evil.com",
    ):
        with pytest.raises(ConfigError, match="judge"):
            check_egress([GUARDED], {"judge": url}, [other])


@pytest.mark.parametrize("entry", ["mllm.hospital.example", "https://a/v1", "*", "https://user@a", ""])
def test_what_is_allowed_is_an_origin(entry):
    """A pattern or a bare name would allow more than somebody meant."""
    with pytest.raises(ConfigError, match="entry 2 is no origin"):
        check_egress([], {}, ["https://a", entry])


def test_every_endpoint_is_checked_and_none_is_shown_whole():
    """The second one is the fault; a password in it is not repeated."""
    endpoints = {"describe.endpoint": "http://127.0.0.1:8000/v1", "knowledge": "https://u:secret@db.example/"}
    with pytest.raises(ConfigError, match="knowledge") as refused:
        check_egress([GUARDED], endpoints)
    assert "secret" not in str(refused.value)


def test_an_origin_is_told_only_where_it_is_certain():
    """The port of the scheme where none is named."""
    assert origin("http://A.example/v1") == "http://a.example:80"
    assert origin("https://[::1]") == "https://[::1]:443"
    assert origin("https://a@b") is None
