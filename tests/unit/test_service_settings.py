"""What of an operator's settings is refused, and how it is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.service.policy import StoragePolicy
from pipeline.service.settings import Limits, Settings, read_settings
from pipeline.spec import JobError


def test_every_setting_is_documented() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "service.md").read_text()
    written = yaml.safe_load(page.partition("## Settings")[2].partition("```yaml\n")[2].partition("```")[0])
    Settings.model_validate(written)
    assert {*written} == {*Settings.model_fields}
    assert {*written["limits"]} == {*Limits.model_fields}
    assert {*written["storage"]} == {*StoragePolicy.model_fields}


def test_a_password_of_the_cluster_s_is_refused_and_not_shown(tmp_path: Path) -> None:
    given = {"home": str(tmp_path / "home"), "data": str(tmp_path / "data")}
    for userinfo in ("user:s3cret@", "user@", ":s3cret@"):
        with pytest.raises(JobError, match="^ray: holds a name or a password") as caught:
            read_settings(None, {"CRAWLMILL_RAY": f"http://{userinfo}head:8265"}, given)
        assert "s3cret" not in str(caught.value)
    assert str(read_settings(None, {"CRAWLMILL_RAY": "http://head:8265"}, given).ray) == "http://head:8265/"


@pytest.mark.parametrize("address", ["proxy", "*", "10.0.0.1/8", ""])
def test_proxies_are_addresses(tmp_path: Path, address: str) -> None:
    (tmp_path / "s.yaml").write_text(f"home: {tmp_path}/home\ndata: {tmp_path}/data\nproxies: ['{address}']\n")
    with pytest.raises(JobError, match="proxies"):
        read_settings(tmp_path / "s.yaml", {}, {})
