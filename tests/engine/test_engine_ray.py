"""The Ray engine on a real cluster of two nodes, started on this machine."""

import os
import re
from functools import partial
from itertools import count, islice

import engine_workers as workers
import pytest

from custodes.engine import ENGINES
from custodes.errors import EngineError

pytest.importorskip("ray", reason="the extra 'ray' is not installed")

pytestmark = [
    pytest.mark.slow,
    # Ray leaves sockets, files and processes to the end of the process
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

LocalEngine = ENGINES.load("local")
SERIAL = LocalEngine(LocalEngine.Config(kind="serial"))


@pytest.fixture(scope="module")
def cluster():
    """The address of a cluster whose two nodes have one processor each."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray import cloudpickle
    from ray.cluster_utils import Cluster

    # the workers of the cluster do not know the folder of the tests
    cloudpickle.register_pickle_by_value(workers)
    node = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 200_000_000}
    two = Cluster(initialize_head=True, head_node_args=node)
    two.add_node(num_cpus=1, object_store_memory=200_000_000)
    yield two.address
    ray.shutdown()
    two.shutdown()


@pytest.fixture
def engine(cluster):
    def make(**settings):
        RayEngine = ENGINES.load("ray")
        return RayEngine(RayEngine.Config.parse({"address": cluster, "batch_size": 4, **settings}))

    return make


def test_no_cluster_at_the_address():
    RayEngine = ENGINES.load("ray")
    for address in ("127.0.0.1:1", "ray://[::1]:1", "somewhere"):
        lost = RayEngine(RayEngine.Config(address=address))
        with pytest.raises(EngineError, match=rf"no Ray cluster at address '{re.escape(address)}'"):
            list(lost.map(workers.squares, [1]))


@pytest.mark.parametrize("number", [0, 1, 1003])
def test_results_are_those_of_the_local_engine(engine, number):
    assert list(engine().map(workers.squares, range(number))) == list(
        SERIAL.map(workers.squares, range(number))
    )


def test_both_nodes_work_and_build_the_function_once(engine):
    results = list(engine(batch_size=1).map(workers.nodes, range(400)))
    assert [row for row, *_ in results] == list(range(400))
    assert len({node for _, node, *_ in results}) == 2
    assert {(pid, built) for *_, pid, built in results} == {(pid, "1") for *_, pid, _ in results}


def test_rows_are_read_a_window_at_a_time(engine):
    read = []

    def rows():
        for row in count():
            read.append(row)
            yield row

    results = engine(window=8).map(workers.squares, rows())
    assert read == []
    assert list(islice(results, 40)) == [row * row for row in range(40)]
    assert len(read) == 64
    results.close()


def test_an_exception_names_rows_and_cause(engine):
    results = engine().map(partial(workers.failing, 9), range(20))
    assert list(islice(results, 8)) == list(range(8))
    with pytest.raises(EngineError, match=r"^rows 8 to 11 could not.*ValueError: cannot do 9"):
        next(results)
    with pytest.raises(EngineError, match=r"rows 0 to 3 .*LookupError: no model here"):
        list(engine().map(workers.broken, range(20)))


@pytest.mark.parametrize("how", ["kill", "exit"])
def test_an_actor_that_dies_half_way_loses_nothing(engine, tmp_path, how):
    factory = partial(workers.dying_once, str(tmp_path / "died"), 501, how)
    assert list(engine().map(factory, range(1000))) == [row * row for row in range(1000)]
    assert (tmp_path / "died").exists()


def test_rows_that_kill_every_actor_end_in_an_error(engine):
    with pytest.raises(EngineError, match="Ray gave up with rows"):
        list(engine(retries=1).map(partial(workers.dying, 9), range(20)))


def test_what_no_node_can_hold_is_said(engine):
    with pytest.raises(EngineError, match="cannot hold one worker: it has 2 processors and 0 GPUs"):
        list(engine(num_gpus=1).map(workers.squares, [1]))
