"""Release workflow and docs/release.md say the same, and fit Dockerfile and base. No test runs it."""

import re

import pytest
import yaml

from tests.k8s.image import DOCKERFILE, instructions
from tests.k8s.manifests import BASE, ROOT, SERVICES, Manifest, of_kind, render

PAGE = (ROOT / "docs" / "release.md").read_text()


@pytest.fixture(scope="module")
def job() -> Manifest:
    """The workflow's only job."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    assert workflow["permissions"] == {}, "nothing is allowed that a job does not ask for"
    [only] = workflow["jobs"].values()
    assert isinstance(only, dict)
    return only


def script(job: Manifest) -> str:
    """What it runs."""
    return "\n".join(step.get("run", "") for step in job["steps"])


def words(text: str) -> list[str]:
    """Without continuation lines and margins."""
    return text.replace("\\\n", " ").split()


def test_it_builds_an_image_of_each_service(job: Manifest) -> None:
    assert set(job["strategy"]["matrix"]["service"]) == set(SERVICES)
    given = set(re.findall(r'--build-arg "(\w+)=', script(job)))
    assert given == {
        step.text.partition("=")[0] for step in instructions(DOCKERFILE.read_text()) if step.name == "ARG"
    }


def test_each_has_a_list_of_its_parts_and_is_signed_by_its_digest(job: Manifest) -> None:
    text = script(job)
    assert "--sbom=true" in text and "--provenance=mode=max" in text
    [signed] = re.findall(r"cosign sign --yes (\S+)", text)
    assert signed == '"$IMAGE@$digest"'
    assert job["permissions"] == {"contents": "read", "packages": "write", "id-token": "write"}
    # What a tag's name holds reaches the shell as a variable, never as part of the script.
    assert "${{" not in text


def test_platforms_that_are_not_the_runners_are_emulated(job: Manifest) -> None:
    [platforms] = re.findall(r"--platform (\S+)", script(job))
    others = {each.removeprefix("linux/") for each in platforms.split(",")} - {"amd64"}
    steps = [step.get("uses", "run").partition("@")[0] for step in job["steps"]]
    # Before anything is built.
    at = steps.index("docker/setup-qemu-action")
    assert at < steps.index("run")
    assert others and set(job["steps"][at]["with"]["platforms"].split(",")) == others


def test_the_base_image_is_built_upon_by_its_digest(job: Manifest) -> None:
    default = next(
        step.text for step in instructions(DOCKERFILE.read_text()) if step.name == "ARG"
    ).partition("=")[2]
    assert f"base={default}\n" in script(job) and '--build-arg "PYTHON_IMAGE=$base"' in script(job)


def test_the_page_shows_the_command_of_the_workflow(job: Manifest) -> None:
    [command] = re.findall(r"docker buildx build .*?--push \.", script(job), re.DOTALL)
    [shown] = re.findall(r"docker buildx build .*?--push \.", PAGE, re.DOTALL)
    assert words(shown) == words(command)


def test_the_selectors_of_the_page_find_the_jobs_and_the_deployments() -> None:
    selectors = [each.split("=") for each in re.findall(r" -l (\S+)", PAGE)]
    found = [
        {
            each["metadata"]["name"]
            for each in of_kind(render(BASE), kind).values()
            if each["metadata"]["labels"].get(key) == value
        }
        for kind, (key, value) in zip(("Job", "Deployment"), selectors, strict=True)
    ]
    assert [len(names) for names in found] == [len(SERVICES), len(SERVICES)]
