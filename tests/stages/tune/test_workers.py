from types import SimpleNamespace

import pytest

from ich_mlflow.stages.tune.workers import Workers


@pytest.mark.parametrize(("is_over", "started"), [(False, [0]), (True, [])])
def test_a_process_that_ran_its_share_is_followed_by_another_until_the_search_is_over(
    monkeypatch, is_over, started
):
    workers = Workers.__new__(Workers)
    ended = SimpleNamespace(is_alive=lambda: False, join=lambda: None, exitcode=0)
    report = SimpleNamespace(poll=lambda: False, close=lambda: None)
    workers._processes, workers._told = {0: (ended, report)}, [None]
    found = []
    monkeypatch.setattr(workers, "_start", found.append, raising=False)
    workers._look(0, SimpleNamespace(is_over=is_over))
    assert found == started
    assert workers._processes == {}
