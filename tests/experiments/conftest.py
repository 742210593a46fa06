"""What tests of several experiments begin with."""

import pytest


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A project folder of the module's own, in which what is computed stays."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RPG_HOME", str(folder))
        yield folder
