"""A job's code is all that its module imports, whether somebody thought of it or not."""

import re
from pathlib import Path

import pytest

from experiments import sources

EXPERIMENTS = Path(sources.__file__).parent
CALLED = {
    "adapters/jobs.py": ["adapters/adapters.py", "adapters/questions.py", "baselines.py"],
    "detectors/jobs.py": ["dense/scenes.py", "detectors/yolo.py", "baselines.py"],
    "field/jobs.py": ["novelty/measures.py", "tasks/task_zoo.py", "baselines.py"],
    "field/scale.py": ["field/jobs.py", "imagenet/networks.py"],
    "own/suggested.py": ["tasks/measures.py", "tasks/task_zoo.py", "baselines.py"],
    "sweeps/cells.py": ["pipeline.py", "sweeps/memory.py", "baselines.py"],
    "tasks/asked.py": ["hypernetwork.py", "tasks/unseen.py", "tasks/task_zoo.py"],
    "tasks/unseen.py": ["tasks/finetuning.py", "tasks/task_zoo.py", "baselines.py"],
}
"""By module of jobs, some of what computing these calls."""


@pytest.mark.parametrize("module", CALLED)
def test_what_a_job_calls_is_of_its_code(module):
    found = {path.relative_to(EXPERIMENTS).as_posix() for path in sources.files_of(EXPERIMENTS / module)}
    assert {module, *CALLED[module]} <= found
    assert not [name for name in found if re.search(r"(tables|figures|study|profiles|settings)\.py", name)]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """job.py imports a package's module, a name of another module, and, inside a function, a third one."""
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    texts = {
        "job": "from experiments import near\nfrom experiments.part import there\nfrom experiments.profiles import A\n",
        "near": "def late():\n    import experiments.part.late\n",
        "part/there": "from experiments.job import back\n",
        "part/late": "",
        "part/unused": "",
        "profiles": "A = 1\n",
    }
    for name, text in texts.items():
        path = tmp_path / "experiments" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "experiments"


def test_imports_are_followed_to_their_end(project):
    found = [path.relative_to(project).as_posix() for path in sources.files_of(project / "job.py")]
    assert found == ["job.py", "near.py", "part/late.py", "part/there.py"]


@pytest.mark.parametrize(("name", "seen"), [("part/late", True), ("part/unused", False), ("profiles", False)])
def test_the_fingerprint_follows_the_code_alone(project, name, seen):
    before = sources.code_of(project / "job.py")
    (project / f"{name}.py").write_text("# changed\n")
    sources._imported.cache_clear()
    sources.sources_digest.cache_clear()
    assert (sources.code_of(project / "job.py") != before) is seen
