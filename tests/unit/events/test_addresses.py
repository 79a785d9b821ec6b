"""Where webhooks may lead. What is inside can be written in many ways."""

import ipaddress

import pytest

from services.events.webhooks.addresses import check_url, is_public


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.1.1"),
        *("192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "fc00::1", "fe80::1", "ff02::1", "2001:db8::1"),
        # An IPv4 address inside: mapped, of 6to4, of Teredo, behind NAT64.
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
    ],
)
def test_an_address_of_a_machine_or_a_network_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "64:ff9b::101:101"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        *("https://casino.example/hooks", "https://casino.example:8443/hooks?key=1", "https://1.1.1.1/"),
        *("https://[2606:4700::1111]/", "https://xn--caf-dma.example/"),
    ],
)
def test_a_public_url_over_tls_is_allowed(url: str) -> None:
    check_url(url, development=False)


@pytest.mark.parametrize(
    "url",
    [
        *("", "casino.example", "http://casino.example/", "ftp://casino.example/", "file:///etc/passwd"),
        *("https://", "https:///hooks", "https://ada:secret@casino.example/", "https://casino.example/#a"),
        *("https://casino.example:0/", "https://casino.example:99999/", "https://casino.example/\nhost: x"),
        *("https://casino.example\\@10.0.0.1/", "https://café.example/", "https://a b.example/"),
        *("https://127.0.0.1/", "https://[::1]/", "https://10.0.0.1:443/", "https://169.254.169.254/latest/"),
        # The same address as a number, in octal, short.
        *(
            "https://2130706433/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://0x7f.1/",
            "https://127.0.0.1./",
        ),
        "https://casino.example/" + "a" * 2_000,
    ],
)
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        check_url(url, development=False)


def test_in_development_a_webhook_may_lead_to_this_machine() -> None:
    check_url("http://127.0.0.1:9000/hooks", development=True)
    check_url("https://localhost/hooks", development=True)
    with pytest.raises(ValueError, match="user"):
        check_url("http://ada@127.0.0.1/", development=True)
