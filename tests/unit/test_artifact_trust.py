"""The trust list: what is on it, who may write it, and what happens to a damaged one."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor

import artifact_samples as samples
import pytest

from edgekit.artifact import is_trusted, list_path, list_trusted, read_artifact, trust, untrust, write_artifact
from edgekit.errors import ArtifactError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("EDGEKIT_HOME", str(home))
    return home


@pytest.fixture
def artifact(tmp_path):
    path = tmp_path / "m.edge"
    write_artifact(path, samples.manifest(), samples.members())
    return path


def test_trust_and_untrust(artifact):
    sha256 = read_artifact(artifact).sha256
    assert not is_trusted(sha256)
    assert list_trusted() == {}
    assert trust(artifact) == sha256
    assert is_trusted(sha256)
    assert list_trusted() == {sha256: "m.edge"}
    assert untrust(artifact)
    assert not is_trusted(sha256)
    assert not untrust(sha256)


def test_another_file_is_not_trusted(artifact, tmp_path):
    trust(artifact)
    other = tmp_path / "other.edge"
    write_artifact(other, samples.manifest(name="other"), samples.members())
    assert not is_trusted(read_artifact(other).sha256)


def test_a_damaged_artifact_cannot_be_trusted(artifact):
    artifact.write_bytes(artifact.read_bytes()[:-1])
    with pytest.raises(ArtifactError):
        trust(artifact)
    assert list_trusted() == {}


def test_only_the_user_may_read_and_write_the_list(artifact):
    trust(artifact)
    assert stat.S_IMODE(list_path().stat().st_mode) == 0o600
    list_path().chmod(0o622)
    with pytest.raises(ArtifactError, match="others may write to it; check it, then: chmod 600"):
        list_trusted()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"schema_version": 2, "trusted": {}}',
        '{"schema_version": 1, "trusted": []}',
        '{"schema_version": 1, "trusted": {"abc": "x"}}',
        '{"schema_version": 1, "trusted": {"' + "0" * 64 + '": 1}}',
    ],
)
def test_a_damaged_list_is_a_clear_error_and_stays(artifact, home, text):
    home.mkdir()
    list_path().write_text(text)
    for action in (list_trusted, lambda: is_trusted("0" * 64), lambda: trust(artifact)):
        with pytest.raises(ArtifactError, match=r"trust list .*trust\.json"):
            action()
    assert list_path().read_text() == text


def test_two_writers_lose_nothing(tmp_path):
    paths = [tmp_path / f"m{i}.edge" for i in range(8)]
    for i, path in enumerate(paths):
        write_artifact(path, samples.manifest(name=f"m{i}"), samples.members())
    with ThreadPoolExecutor(4) as pool:
        hashes = set(pool.map(trust, paths))
    assert set(json.loads(list_path().read_text())["trusted"]) == hashes
