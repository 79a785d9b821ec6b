"""docs/settings.md is what the services read now."""

import dataclasses
import importlib

from services.common.identity import call_graph
from tools import settings_doc


def test_the_page_is_made_from_the_configs() -> None:
    assert settings_doc.PAGE.read_text() == settings_doc.page()


def test_the_page_has_every_setting_of_every_service() -> None:
    rows = {(setting.name, setting.services) for setting in settings_doc.settings()}
    for service in call_graph():
        for field in dataclasses.fields(importlib.import_module(f"services.{service}.config").Config):
            assert [
                1 for name, of in rows if name == field.name and (of == "all" or service in of.split(", "))
            ] == [1]


def test_each_says_its_unit_its_default_and_what_it_does() -> None:
    found = {setting.name: setting for setting in settings_doc.settings()}
    assert found["drain_grace_ms"][2:4] == ("ms", "`20_000`")
    assert found["database_url"].default == "**required**" and found["database_url"].what.endswith(" Secret.")
    assert found["seal_key"].services == "wallet, game"
    assert found["log_format"].unit == "auto or json or text"
    assert found["tls_key_path"].restart == "yes; a changed file no"
    for setting in found.values():
        assert all(setting), setting
