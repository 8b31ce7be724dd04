import pytest
import yaml
from redteam_doubles import SET, train_guard


@pytest.fixture(scope="session")
def guard(tmp_path_factory):
    return train_guard(tmp_path_factory.mktemp("kraut-guard"))


@pytest.fixture(scope="session")
def questions(tmp_path_factory):
    path = tmp_path_factory.mktemp("kraut-set") / "kraut.yaml"
    path.write_text(yaml.safe_dump(SET.model_dump(mode="json")), encoding="utf-8")
    return path
