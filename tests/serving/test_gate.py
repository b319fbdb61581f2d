import asyncio
import json
from types import SimpleNamespace

import pytest

from ich_mlflow.serving import gate as module
from ich_mlflow.serving.gate import Gate


class Request:
    """As much of Starlette's as the gate looks at."""

    def __init__(self, body=b"{}", *, kind="application/json", announces=None, chunk=4, wait=None):
        length = {} if announces is None else {"content-length": announces}
        self.headers = {"content-type": kind, **length}
        self._chunks, self._wait = [body[k : k + chunk] for k in range(0, len(body), chunk)], wait

    async def stream(self):
        for chunk in self._chunks:
            if self._wait is not None:
                await self._wait.wait()
            yield chunk


async def echo(request):
    return SimpleNamespace(status_code=200, body=request._body)


def asked(gate, *requests):
    async def ask():
        return await asyncio.gather(*(gate.answer(one, echo) for one in requests))

    return asyncio.run(ask())


def test_a_body_gets_through_as_it_is():
    (answer,) = asked(Gate(), Request(b'{"a": [1, 2, 3]}'))
    assert (answer.status_code, answer.body) == (200, b'{"a": [1, 2, 3]}')
    (answer,) = asked(Gate(), Request(kind="Application/JSON; charset=utf-8"))
    assert answer.status_code == 200


@pytest.mark.parametrize("kind", ["", "text/csv", "application/vnd.apache.parquet", "application/jsonl"])
def test_what_is_not_json_is_not_read(kind):
    (answer,) = asked(Gate(), Request(kind=kind))
    assert (answer.status_code, json.loads(answer.body)["message"]) == (415, module.ONLY_JSON)


def test_a_body_is_not_longer_than_the_limit_whatever_it_announces(monkeypatch):
    monkeypatch.setattr(module, "MAX_BODY_BYTES", 10)
    for announces in ("11", "3", None, "many"):
        answer, sound = asked(
            Gate(), Request(b"x" * 11, announces=announces), Request(b"x" * 10, announces=announces)
        )
        assert answer.status_code == 413
        if announces != "11":
            assert sound.status_code == 200


def test_values_are_counted_before_they_are_made(monkeypatch):
    monkeypatch.setattr(module, "MAX_VALUES", 3)
    few, many = asked(Gate(), Request(b"[0,0,0,0]"), Request(b"[0,0,0,0,0]"))
    assert (few.status_code, many.status_code) == (200, 400)
    assert json.loads(many.body)["message"].startswith("the body has more than")


def test_one_too_many_is_sent_away_at_once_and_asked_to_come_again():
    gate = Gate(max_running=2)

    async def ask():
        go_on = asyncio.Event()
        slow = [asyncio.create_task(gate.answer(Request(wait=go_on), echo)) for _ in range(2)]
        await asyncio.sleep(0)
        late = await gate.answer(Request(), echo)
        go_on.set()
        return late, await asyncio.gather(*slow), await gate.answer(Request(), echo)

    late, slow, after = asyncio.run(ask())
    assert (late.status_code, late.headers["retry-after"], json.loads(late.body)["message"]) == (
        503,
        "1",
        module.BUSY,
    )
    assert [one.status_code for one in slow] == [200, 200]
    assert after.status_code == 200


def test_many_large_bodies_do_not_add_up():
    gate = Gate(max_held_bytes=10)
    first, second = asked(gate, Request(b"x" * 8, chunk=8), Request(b"x" * 8, chunk=8))
    assert {first.status_code, second.status_code} <= {200, 503}
    (after,) = asked(gate, Request(b"x" * 10))
    assert after.status_code == 200  # what was held is let go


def test_a_handler_that_fails_gives_its_place_back():
    gate = Gate(max_running=1)

    async def fails(request):
        raise ValueError("x")

    for _ in range(3):
        with pytest.raises(ValueError, match="x"):
            asyncio.run(gate.answer(Request(), fails))
