"""docker-compose.yml and the image, as far as they can be judged without starting them; `tests/acceptance/compose.sh`
does that.
"""

from __future__ import annotations

import fnmatch
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
DEPLOY = PROJECT / "deploy"
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
COMPOSE = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())


def test_only_the_service_is_published_and_on_loopback() -> None:
    published = {name: each["ports"] for name, each in COMPOSE["services"].items() if "ports" in each}
    assert published == {"service": ["127.0.0.1:${CRAWLMILL_PORT:-8321}:8321"]}
    assert not any("privileged" in each or "cap_add" in each for each in COMPOSE["services"].values())
    assert COMPOSE["networks"]["database"] == {"internal": True}
    assert {name for name, each in COMPOSE["services"].items() if "database" in each.get("networks", ())} == {
        "postgres",
        "service",
    }


@pytest.mark.parametrize("name", sorted({*COMPOSE["services"]} - {"init"}))
def test_what_runs_is_watched_and_started_again(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] == "unless-stopped"
    assert all(each["condition"] != "service_started" for each in service["depends_on"].values())
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_workers_do_not_see_the_services_secrets() -> None:
    for name in ("head", "worker"):
        mounted = [volume.split(":")[0] for volume in COMPOSE["services"][name]["volumes"]]
        assert "cluster-secrets" in mounted
        assert "service-secrets" not in mounted


def test_compose_gives_no_secret_a_value() -> None:
    """`NAME` passes on what the environment has; `NAME_PATH=` and files name places."""
    variables = [each for service in COMPOSE["services"].values() for each in service.get("environment", ())]
    for each in variables:
        name, _, value = each.partition("=")
        if re.search("TOKEN|PASSWORD|SECRET|KEY", name):
            assert not value or value.startswith("/secrets/"), each
        assert not re.search("://[^/]*:[^/]*@", value), each


def test_every_variable_of_compose_is_documented() -> None:
    page = (PROJECT / "docs/deploy/one-machine.md").read_text()
    text = (PROJECT / "docker-compose.yml").read_text()
    variables = {*re.findall(r"\$\{([A-Z_]+)", text), *re.findall(r"^ *- ([A-Z_]+)$", text, re.M)}
    assert len(variables) >= 10
    assert [name for name in sorted(variables) if f"`{name}`" not in page] == []


def test_the_image_builds_without_buildkit_and_runs_as_nobody() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    instructions = [line for line in dockerfile.splitlines() if not line.startswith("#")]
    assert not re.search(
        r"--mount|--chmod|--link|<<|^# *syntax", dockerfile.split("\n", 1)[0] + "\n".join(instructions)
    )
    assert [line for line in instructions if line.startswith("USER")] == ["USER 10001:10001"]


def test_the_image_has_what_pyproject_pins() -> None:
    def names(lines: list[str]) -> dict[str, str]:
        pairs = (re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[.*\])?==(\S+)", line.strip()) for line in lines)
        return {re.sub(r"[-_.]+", "-", pair[1]).lower(): pair[2] for pair in pairs if pair}

    command = [sys.executable, str(DEPLOY / "image" / "requirements.py"), str(PROJECT / "pyproject.toml"), "s3"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    project = PYPROJECT["project"]
    wanted, constraints = names(printed), names((DEPLOY / "constraints.txt").read_text().splitlines())
    assert len(wanted) == len(printed) == len(project["dependencies"]) + len(project["optional-dependencies"]["s3"])
    assert {name: constraints.get(name) for name in wanted} == wanted


def test_ray_up_installs_the_code_that_was_shipped(tmp_path: Path) -> None:
    """Also when it has the version of the code that is there, and where other wheels were shipped before."""
    commands = yaml.safe_load((DEPLOY / "ray" / "cluster.yaml").read_text())["setup_commands"]
    environment = {"HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PIP_NO_INDEX": "1"}
    dist = tmp_path / "crawlmill" / "dist"
    dist.mkdir(parents=True)
    (tmp_path / "crawlmill" / "constraints.txt").touch()
    (tmp_path / ".profile").touch()
    os.utime(shipped(dist, "0.2.0", "long ago"), (0, 0))
    found = []
    for code in ("first", "second"):
        shipped(dist, "0.1.0", code)
        for command in commands:
            if not command.startswith("sudo "):
                subprocess.run(["bash", "-c", command], env=environment, check=True)
        python = tmp_path / "crawlmill" / "env" / "bin" / "python"
        asked = [python, "-c", "import crawlmill_code; print(crawlmill_code.IS)"]
        found.append(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    assert found == ["first", "second"]


def shipped(dist: Path, version: str, code: str) -> Path:
    """A wheel that needs nothing, with one module."""
    info = f"crawlmill-{version}.dist-info"
    files = {
        "crawlmill_code.py": f"IS = {code!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: crawlmill\nVersion: {version}\nProvides-Extra: s3\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    path = dist / f"crawlmill-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"]))
    return path


def test_every_file_of_the_packages_is_installed_with_them() -> None:
    """The image holds an installed crawlmill: a template that no pattern names would be missing there alone."""
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]
    installed = [f"{package.replace('.', '/')}/{each}" for package, some in patterns.items() for each in some]
    files = [
        path
        for package in ("pipeline", "stages")
        for path in (PROJECT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    data = [str(path.relative_to(PROJECT)) for path in files if path.suffix not in (".py", ".pyc")]
    assert len(data) > 20
    assert [file for file in data if not any(fnmatch.fnmatch(file, pattern) for pattern in installed)] == []
