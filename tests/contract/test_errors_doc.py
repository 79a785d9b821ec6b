"""docs/errors.md is what the contract says now."""

from services.common.errors import spec_of
from tests.contract.test_reasons import REASONS, class_of
from tools import errors_doc


def test_the_page_is_made_from_the_contract() -> None:
    assert errors_doc.PAGE.read_text() == errors_doc.page()


def test_the_page_names_every_reason_with_its_keys() -> None:
    rows = {line.split("`")[1]: line for line in errors_doc.page().splitlines() if line.startswith("| `")}
    assert rows.keys() > REASONS
    for reason in REASONS:
        spec = spec_of(reason)
        told = [cell.strip() for cell in rows[reason].strip("| ").split(" | ")]
        keys = ", ".join(f"`{key}`" for key in spec.metadata_keys)
        assert told[:5] == [f"`{reason}`", class_of(reason), spec.grpc_code, str(spec.http_status), keys]
        # Why, and what to do, in words.
        assert len(told) == 7 and len(told[5]) > 10 and told[6]


def test_a_class_says_what_to_do() -> None:
    page = errors_doc.page()
    for reason in REASONS:
        assert f"| `{class_of(reason)}` | " in page
