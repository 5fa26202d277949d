"""Manifests for Kubernetes and for Ray's launcher, as far as they can be judged without a cluster: others' schemas take
them, they agree with each other and with the project, and no secret or open door slipped in.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

from pipeline.service.settings import read_settings
from pipeline.spec import parse_job

PROJECT = Path(__file__).resolve().parents[2]
DEPLOY = PROJECT / "deploy"
KUBERAY = DEPLOY / "kuberay"
KUBERNETES = kubernetes_validate.latest_version()
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]


def documents() -> list[Any]:
    files = [file for file in sorted(KUBERAY.glob("*.yaml")) if file.name != "kustomization.yaml"]
    return [
        pytest.param(each, id=f"{file.name}-{each['kind']}")
        for file in files
        for each in yaml.safe_load_all(file.read_text())
    ]


def values(tree: Any, key: str) -> Iterator[Any]:
    """Every value that stands under `key`, however deep."""
    for name, below in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        if name == key:
            yield below
        yield from values(below, key)


def strict(schema: Any) -> Any:
    """The schema with what it does not name refused, as `kubectl apply` does with strict field validation."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: strict(each) for name, each in schema.items()}
    if isinstance(made.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


@pytest.fixture(scope="module")
def ray_cluster(corpora: Path) -> Draft202012Validator:
    """KubeRay's own definition of a RayCluster, strict."""
    path = corpora.parent / "schemas" / "kuberay" / "ray.io_rayclusters.yaml"
    if not path.is_file():
        pytest.skip(f"no corpora at {corpora} with KubeRay's definitions beside them, in schemas/kuberay")
    definition = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
    schema = next(v for v in definition["spec"]["versions"] if v["name"] == "v1")["schema"]["openAPIV3Schema"]
    schema["properties"]["metadata"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return Draft202012Validator(strict(schema))


def the_ray_cluster() -> Any:
    return yaml.safe_load((KUBERAY / "raycluster.yaml").read_text())


@pytest.mark.parametrize("document", documents())
def test_kubernetes_takes_every_manifest(document: Any) -> None:
    if document["apiVersion"].startswith("ray.io/"):
        for pod in values(document, "template"):
            whole = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "x", **pod["metadata"]},
                "spec": pod["spec"],
            }
            kubernetes_validate.validate(whole, KUBERNETES, strict=True)
    else:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_kuberay_takes_the_cluster(ray_cluster: Draft202012Validator) -> None:
    assert [error.message for error in ray_cluster.iter_errors(the_ray_cluster())] == []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("spec", "authOptions", "mode"), "tokens"),
        (("spec", "authOption"), {"mode": "token"}),
        (("spec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("spec", "workerGroupSpecs", 0, "template", "spec", "containers", 0, "imagePullPolicies"), "Always"),
        (("spec", "workerGroupSpecs", 0, "maxReplicas"), "20"),
    ],
)
def test_a_slip_in_the_cluster_would_be_seen(ray_cluster: Draft202012Validator, place: Any, value: Any) -> None:
    cluster = copy.deepcopy(the_ray_cluster())
    *above, last = place
    spot = cluster
    for step in above:
        spot = spot[step]
    spot[last] = value
    assert list(ray_cluster.iter_errors(cluster))


@pytest.mark.parametrize("document", documents())
def test_pods_keep_to_the_restricted_standard(document: Any) -> None:
    """What the namespace enforces (Pod Security Standards, restricted), and a read-only file system besides."""
    for pod in (each["spec"] for each in values(document, "template")):
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        assert all("hostPath" not in volume for volume in pod["volumes"])
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert container["resources"]["limits"].keys() >= {"cpu", "memory"}


def test_manifests_hold_no_secret_and_name_only_those_that_the_page_makes() -> None:
    page = (PROJECT / "docs/deploy/kubernetes.md").read_text()
    made = set(re.findall(r"create secret generic (\S+)", page))
    for document in (each.values[0] for each in documents()):
        assert document["kind"] != "Secret"
        named = [*values(document, "secretKeyRef"), *values(document, "secretRef")]
        assert {each["name"] for each in named} | set(values(document, "secretName")) <= made
        for variable in (each for env in values(document, "env") for each in env):
            if re.search("TOKEN|PASSWORD|SECRET|DATABASE", variable["name"]):
                assert "valueFrom" in variable, variable["name"]


def test_manifests_agree_with_the_project_and_each_other() -> None:
    everything = [each.values[0] for each in documents()]
    version, pins = PYPROJECT["version"], dict(each.split("==") for each in PYPROJECT["dependencies"])
    images = {image for each in everything for image in values(each, "image")}
    assert images == {f"crawlmill:{version}", f"registry.example/crawlmill:{version}"}
    assert the_ray_cluster()["spec"]["rayVersion"] == pins["ray[default]"]
    assert f"ray[default]=={pins['ray[default]']}" in (PROJECT / "docs/deploy/ray-cluster.md").read_text()
    kustomization = yaml.safe_load((KUBERAY / "kustomization.yaml").read_text())
    applied_by_hand = {"kustomization.yaml", "job.yaml", "token.yaml"}
    assert {*kustomization["resources"]} == {file.name for file in KUBERAY.glob("*.yaml")} - applied_by_hand
    assert [image["newTag"] for image in kustomization["images"]] == [version]
    there = {(each["kind"], each["metadata"]["name"]) for each in everything}
    wanted = {("PersistentVolumeClaim", name) for each in everything for name in values(each, "claimName")}
    wanted |= {("ConfigMap", each["name"]) for document in everything for each in values(document, "configMap")}
    assert wanted and wanted <= there
    head = f"http://{the_ray_cluster()['metadata']['name']}-head-svc:8265"  # the name that KubeRay gives it
    assert head in [env.get("value") for each in everything for some in values(each, "env") for env in some]


def test_what_the_programs_read_is_what_they_take(tmp_path: Path) -> None:
    maps = [each.values[0] for each in documents() if each.values[0]["kind"] == "ConfigMap"]
    settings = [data["service.yaml"] for data in (each["data"] for each in maps) if "service.yaml" in data]
    settings += [(DEPLOY / "service.yaml").read_text(), (DEPLOY / "ray" / "service.yaml").read_text()]
    settings += re.findall(r"```yaml\n(storage:.*?)```", (PROJECT / "docs/deploy/one-machine.md").read_text(), re.S)
    assert len(settings) == 4
    for number, text in enumerate(settings):
        (tmp_path / f"{number}.yaml").write_text(text)
        read_settings(tmp_path / f"{number}.yaml", {}, {})
    jobs = [data["job.yaml"] for data in (each["data"] for each in maps) if "job.yaml" in data]
    jobs += re.findall(r"```yaml\n(name:.*?)```", (PROJECT / "docs/deploy/ray-cluster.md").read_text(), re.S)
    assert len(jobs) == 2
    for text in jobs:
        parse_job(yaml.safe_load(text), "job")


def test_rays_launcher_takes_the_cluster() -> None:
    found = importlib.util.find_spec("ray")
    assert found is not None
    assert found.origin is not None
    schema = json.loads((Path(found.origin).parent / "autoscaler" / "ray-schema.json").read_text())
    cluster = yaml.safe_load((DEPLOY / "ray" / "cluster.yaml").read_text())
    assert [error.message for error in Draft202012Validator(schema).iter_errors(cluster)] == []


def test_kubernetes_sets_no_variable_that_a_pod_takes_for_a_setting() -> None:
    """Of a Service named crawlmill it would make CRAWLMILL_PORT=tcp://… in every pod."""
    pods = [
        spec
        for file in sorted(KUBERAY.glob("*.yaml"))
        for each in yaml.safe_load_all(file.read_text())
        for spec in [*values(each, "spec")]
        if "containers" in spec
    ]
    assert len(pods) >= 5
    assert all(spec.get("enableServiceLinks") is False for spec in pods)
