"""docs/errors.md is what the contract says now."""

from services.common.errors import spec_of
from tests.contract.test_reasons import REASONS
from tools import errors_doc


def test_the_page_is_made_from_the_contract() -> None:
    assert errors_doc.PAGE.read_text() == errors_doc.page()


def test_the_page_names_every_reason_with_its_keys() -> None:
    rows = {line.split("`")[1]: line for line in errors_doc.page().splitlines() if line.startswith("| `")}
    assert rows.keys() > REASONS
    for reason in REASONS:
        assert all(f"`{key}`" in rows[reason] for key in spec_of(reason).metadata_keys)
        assert f"| {spec_of(reason).http_status} |" in rows[reason]
