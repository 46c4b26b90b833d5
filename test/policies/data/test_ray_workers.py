"""A Ray cluster makes the same demonstrations as this process."""

import pytest

from humanoid_control.errors import FactoryError, HumanoidControlError
from policies.data.generation import FactoryText, Job, Plan, make_demonstration_worker

ray = pytest.importorskip("ray", reason="install it with: scripts/set_up.sh ray")


@pytest.fixture(scope="module")
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=100 * 2**20)
    yield
    ray.shutdown()


@pytest.fixture
def plan(penned_in_text):
    pen = FactoryText("pen.yaml", penned_in_text, "0" * 64)  # a file that no machine of a cluster has
    return Plan((pen,), fps=10, cameras=(), width=64, height=48, noise=0.2, layouts=False, learner="", checkpoint="", checkpoint_sha256="", keep_failures=True, sightings="", versions="{}", code_sha256="0" * 64)


@pytest.mark.slow
def test_two_workers_of_a_cluster_make_what_one_process_makes(cluster, plan):
    from policies.data.ray_workers import run_jobs_on_ray

    jobs = [Job(f"pen_{seed}", 0, seed) for seed in range(3)]
    worker = make_demonstration_worker(plan)
    alone = {job.name: worker(job) for job in jobs}
    made = {episode.name: episode for episode in run_jobs_on_ray(make_demonstration_worker, (plan,), jobs, workers=2)}
    assert made.keys() == alone.keys()
    for name, episode in made.items():
        assert episode.record["orders"] == alone[name].record["orders"]
        assert episode.files == alone[name].files and episode.files
    assert ray.is_initialized()  # a cluster that was there before is left alone


@pytest.mark.slow
def test_what_a_worker_refuses_is_told_as_by_this_machines(cluster, plan):
    from dataclasses import replace

    from policies.data.ray_workers import run_jobs_on_ray

    broken = replace(plan, factories=(FactoryText("bad.yaml", "version: 1\n", "1" * 64),))
    with pytest.raises(FactoryError):
        broken.check()
    with pytest.raises(HumanoidControlError, match="bad.yaml: name: missing"):
        list(run_jobs_on_ray(make_demonstration_worker, (broken,), [Job("bad_0", 0, 0)], workers=2))
