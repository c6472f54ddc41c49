import pytest

from adapters.openadr2.config import Profile, read_config

PLAIN = {"insecure": True, "listen": "127.0.0.1:0"}


def test_defaults_and_vens() -> None:
    config = read_config(PLAIN | {"vens": [{"ven_name": "a", "profile": "lenient"}]})
    assert config.address == ("127.0.0.1", 0)
    assert config.vens[0].profile is Profile.LENIENT
    assert config.vtn_id == "GRIDPARLEY"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"poll_frequence_s": 1}, "did you mean poll_frequency_s"),
        ({"poll_frequency_s": "1"}, "poll_frequency_s: int is needed"),
        ({"poll_frequency_s": True}, "poll_frequency_s: int is needed"),
        ({"poll_frequency_s": 0}, "at least 1"),
        ({"listen": "0.0.0.0:80"}, "loopback addresses only"),
        ({"listen": "8081"}, "address:port is needed"),
        ({"listen": "127.0.0.1:99999"}, "address:port is needed"),
        ({"insecure": False}, "tls_certificate, tls_key and tls_client_ca are needed"),
        ({"tls_key": "x"}, "exclude each other"),
        ({"vtn_id": "vtn"}, "upper-case"),
        ({"vtn_id": "42"}, "upper-case"),
        ({"vens": [{"ven_name": "a"}, {"ven_name": "a"}]}, "'a' stands twice"),
        ({"vens": [{"ven_id": "a"}]}, "ven_name is missing"),
        ({"vens": [{"ven_name": "a", "profile": "loose"}]}, "strict or lenient"),
        ({"vens": "a"}, "a list of tables"),
    ],
)
def test_what_is_wrong_is_named(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_config(PLAIN | wrong)


def test_everything_wrong_is_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"report_interval_s.*lisen"):
        read_config({"insecure": True, "report_interval_s": "x", "lisen": 1})
