"""Every error is a status and one line."""

from __future__ import annotations

import shutil
import threading

import pytest
from pydantic import ValidationError
from served import KEY, SHOWN, client_of, service_of

from bertrec.cli.main import main
from bertrec.service import answers, app, schemas
from bertrec.service.run import bound, key_for

JSON = {"content-type": "application/json"}


def refused(answer, status, said):
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    line = answer.json()["error"]
    assert said in line
    assert "\n" not in line
    assert "Traceback" not in line


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/recommend", {}, 400, "say for whom: one of user, history, titles, or a profile"),
        ("/recommend", {"user": 1, "history": []}, 400, "say for whom"),
        ("/recommend", {"history": ["p1"], "k": 0}, 422, "k: "),
        ("/recommend", {"history": ["p1"], "k": 101}, 422, "k: "),
        ("/recommend", {"history": ["p1"], "k": True}, 422, "k: "),
        ("/recommend", {"history": ["p1"], "many": 3}, 422, "many: no such field: GET /openapi.json lists"),
        ("/recommend", {"history": "p1"}, 422, "history: "),
        ("/recommend", {"history": ["p1"] * 1001}, 422, "history: "),
        ("/recommend", {"history": [{"id": 1}]}, 422, "history.0"),
        ("/recommend", {"history": ["p1"], "diversity": 2}, 422, "diversity: "),
        ("/recommend", {"history": ["x", "y"]}, 404, "none of the 2 items of the history is known, such as 'x'"),
        ("/recommend", {"user": "99"}, 404, "no user has the id '99'"),
        ("/recommend", {"titles": ["Kettle"]}, 400, "fits 2 items: Red Kettle; Blue Kettle"),
        ("/recommend", {"titles": ["Kettel"]}, 404, "no item has the title 'Kettel': GET /titles"),
        ("/recommend", {"history": ["p1"], "filter": "prize < 5"}, 400, "did you mean 'price'?"),
        ("/recommend", {"history": ["p1"], "filter": "price <"}, 400, "cannot be read"),
        ("/recommend", {"history": ["p1"], "filter": "__import__('os')"}, 400, "filter"),
        ("/recommend", {"history": ["p1"], "at_most": {"brand": 1}}, 400, "unknown attribute 'brand'"),
        ("/recommend", {"history": ["p1"], "boost": {"kind": 1}}, 400, "'kind' is text"),
        ("/recommend", {"history": ["p1"], "boost": {"price": 1e300}}, 400, "take smaller weights"),
        ("/recommend", {"history": ["p1"], "only": ["x"]}, 400, "only: none of its 1 ids is an item"),
        ("/recommend", {"profile": "lamp", "diversity": 0.5}, 400, "a list by profile takes filter"),
        ("/similar", {}, 400, "name the item: one of item and title"),
        ("/similar", {"item": "x"}, 404, "no item has the id 'x'"),
        ("/similar", {"item": "p1", "by": "txt"}, 422, "by: "),
        ("/search", {"text": ""}, 422, "text: "),
        ("/search", {"text": " "}, 400, "an empty query"),
        ("/search", {"text": "rug", "user": "99"}, 404, "no user has the id '99'"),
        ("/search", {"text": "rug", "user": "1", "history": []}, 400, "whose taste"),
    ],
)
def test_a_body_that_cannot_be_used(client, path, body, status, said):
    refused(client.post(path, json=body), status, said)


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"{", 422, "the body is no JSON"),
        (b"[" * 100_000, 400, "the body cannot be read: it is nested"),
        (b"[1]", 422, "the body is no JSON object"),
        (b'{"history": ["\\ud800"]}', 422, "history"),
        (b'{"history": ["p1"], "diversity": NaN}', 422, "diversity"),
        (b"\xff\xfe", 422, "the body is no JSON"),
        (b'{"history": [' + b"9" * 5000 + b"]}", 400, "the body cannot be read: it is nested"),
    ],
)
def test_what_is_hardly_json(client, content, status, said):
    refused(client.post("/recommend", content=content, headers=JSON), status, said)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({f"k{number}": 1 for number in range(50_000)}, schemas.RecommendBody),
        ({"boost": {f"k{number}": "x" for number in range(50_000)}}, schemas.RecommendBody),
        ({"at_most": {f"k{number}": "x" for number in range(50_000)}}, schemas.RecommendBody),
        ({"exclude": [None] * 10_000, "only": [None] * 10_000}, schemas.RecommendBody),
        ({"history": [None] * 1_000, "titles": [None] * 100}, schemas.RecommendBody),
        ({"text": "a", "history": [[]] * 1_000}, schemas.SearchBody),
        ({"items": [{"item_id": 1, **{f"c{number}": {} for number in range(150)}}] * 1_000}, schemas.ItemsBody),
    ],
)
def test_a_body_of_many_mistakes_is_not_a_list_of_all_of_them(body, kind):
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(body)
    assert caught.value.error_count() <= 200


def test_other_paths_and_methods(client):
    refused(client.get("/nowhere"), 404, "no such path: /nowhere")
    refused(client.get("/recommend"), 405, "GET does not go with /recommend")
    refused(client.get("/items/none"), 404, "no item has the id 'none'")
    refused(client.get("/titles"), 422, "starts: ")
    refused(client.get("/titles?starts=a&k=500"), 422, "k: ")
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


def test_no_script_but_the_pages_own_may_run(client):
    for path in ("/", "/health", "/nowhere"):
        policy = client.get(path).headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


@pytest.fixture(scope="module")
def keyed(trained):
    with client_of(service_of(trained, index=False, key=KEY)) as client:
        yield client


class TestKey:
    @pytest.mark.parametrize(
        "shown", [{}, {"authorization": "Bearer x"}, {"authorization": KEY}, {"x-api-key": KEY[:-1]}, {"x-api-key": ""}]
    )
    def test_without_it_nothing_is_answered(self, keyed, shown):
        for answer in (keyed.get("/items/p1", headers=shown), keyed.get("/metrics", headers=shown), keyed.get("/none", headers=shown)):
            refused(answer, 401, "Authorization: Bearer KEY")
            assert answer.headers["www-authenticate"] == "Bearer"

    @pytest.mark.parametrize("shown", [SHOWN, {"authorization": f"bearer  {KEY}"}, {"x-api-key": KEY}])
    def test_with_it_all_is(self, keyed, shown):
        assert keyed.get("/items/p1", headers=shown).status_code == 200
        assert keyed.get("/openapi.json", headers=shown).status_code == 200

    def test_health_is_open(self, keyed):
        assert keyed.get("/health").json()["writes"] is True

    def test_health_shows_strangers_no_values_and_no_places(self, trained, tmp_path):
        place = shutil.copytree(trained, tmp_path / "place")
        service = service_of(place, key=KEY)
        with client_of(service) as client:
            (place / "run").rename(place / "away")
            service.holder.refresh()
            stranger, known = client.get("/health"), client.get("/health", headers=SHOWN)
        assert "kitchen" in known.text
        assert str(place) in known.text
        assert "kitchen" not in stranger.text
        assert str(tmp_path) not in stranger.text
        assert stranger.json()["notes"] == ["a newer state cannot be served: the key shows why"]

    def test_with_a_key_any_host_may_be_named(self, keyed):
        assert keyed.get("/items/p1", headers={**SHOWN, "host": "shop.example"}).status_code == 200

    def test_without_a_key_set_only_this_machine_is_answered(self, client):
        for host in ("localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000"):
            assert client.get("/health", headers={"host": host}).status_code == 200
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8000"):
            refused(client.get("/health", headers={"host": host}), 403, "BERTREC_API_KEY")

    def test_without_a_key_set_nothing_is_written(self, client):
        refused(client.put("/items", json={"items": [{"item_id": "p9", "title": "a"}]}), 403, "writes are off")

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "shop.example"])
    def test_another_host_needs_a_key(self, trained, host, monkeypatch, capsys):
        monkeypatch.delenv("BERTREC_API_KEY", raising=False)
        assert main(["serve", str(trained / "run"), "--host", host]) == 2
        assert "set BERTREC_API_KEY to a key that they must show" in capsys.readouterr().err
        monkeypatch.setenv("BERTREC_API_KEY", KEY)
        assert key_for(host) == KEY

    @pytest.mark.parametrize("key", ["", " ", " x", "ключ"])
    def test_a_key_that_is_none(self, trained, key, monkeypatch, capsys):
        monkeypatch.setenv("BERTREC_API_KEY", key)
        assert main(["serve", str(trained / "run")]) == 2
        assert "BERTREC_API_KEY is empty" in capsys.readouterr().err


def test_the_page_is_open_and_its_calls_are_not(trained, tmp_path, monkeypatch):
    (tmp_path / "index.html").write_text("<title>ours</title>", encoding="utf-8")
    (tmp_path / "page.js").write_text("1", encoding="utf-8")
    (tmp_path.parent / "secret").write_text("not for you", encoding="utf-8")
    monkeypatch.setattr(app, "_PAGE", tmp_path)
    with client_of(service_of(trained, index=False, key=KEY)) as client:
        page = client.get("/")
        assert (page.status_code, page.text) == (200, "<title>ours</title>")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert client.get("/page/page.js").headers["content-security-policy"] == page.headers["content-security-policy"]
        for path in ("/page/none.js", "/page/../secret", "/page/%2e%2e/secret", "/page/..%2fsecret"):
            assert client.get(path).status_code in (401, 404), path
        refused(client.get("/page/none.js"), 404, "no such path")
        refused(client.get("/titles?starts=a"), 401, "the key is missing")


class TestLimits:
    def test_a_body_that_is_too_large(self, client):
        refused(client.post("/recommend", content=b" " * (1 << 20) + b"  ", headers=JSON), 413, "larger than 1048576 bytes")

        def parts():
            for _ in range(5):
                yield b" " * (1 << 18)

        refused(client.post("/recommend", content=parts(), headers=JSON), 413, "larger than 1048576 bytes")

    def test_what_takes_too_long(self, trained, monkeypatch):
        over = threading.Event()
        monkeypatch.setattr(answers, "similar", lambda *_: over.wait(5))
        with client_of(service_of(trained, index=False, seconds=0.2)) as client:
            refused(client.post("/similar", json={"item": "p1"}), 504, "no answer within 0.2 seconds")
            over.set()
            assert client.get("/items/p1").status_code == 200

    def test_more_at_once_than_may_be(self, trained, monkeypatch):
        over, begun = threading.Event(), threading.Event()
        monkeypatch.setattr(answers, "similar", lambda *_: begun.set() or over.wait(5) or {})
        with client_of(service_of(trained, index=False, at_once=1)) as client:
            slow = threading.Thread(target=client.post, args=("/similar",), kwargs={"json": {"item": "p1"}})
            slow.start()
            assert begun.wait(5)
            answer = client.get("/items/p1")
            refused(answer, 503, "all at once that may be")
            assert answer.headers["retry-after"] == "1"
            assert client.get("/health").status_code == 200
            over.set()
            slow.join()
            assert client.get("/items/p1").status_code == 200

    def test_a_fault_of_ours_says_nothing_of_itself(self, client, monkeypatch, caplog):
        monkeypatch.setattr(answers, "one_item", lambda *_: 1 / 0)
        refused(client.get("/items/p1"), 500, "fault inside bertrec: the log of the service says what happened")
        assert "ZeroDivisionError" in caplog.text


def test_a_model_of_ids_says_what_it_cannot(trained, tmp_path):
    import json

    data = json.loads((trained / "run" / "run.json").read_text(encoding="utf-8"))["data_path"]
    words = ["train", data, "--model", "idrec", "--epochs", "1", "--set", "item.width=8", "--out", str(tmp_path / "run")]
    assert main(words) == 0
    with client_of(service_of(tmp_path, index=False, key=KEY), headers=SHOWN) as client:
        refused(client.post("/search", json={"text": "rug"}), 400, "this IDRec reads no text")
        refused(client.post("/similar", json={"item": "p1", "by": "text"}), 400, "this IDRec reads no text")
        refused(
            client.put("/items", json={"items": [{"item_id": "p9", "title": "Rug", "kind": "floor"}]}), 400, "cannot move to other items"
        )
        assert client.get("/health").json()["reads_text"] is False
        assert len(client.post("/recommend", json={"user": 1, "k": 3, "why": True}).json()["items"]) == 3


class TestStart:
    def test_a_port_that_is_taken(self, trained, capsys):
        with bound("127.0.0.1", 0) as sock:
            port = sock.getsockname()[1]
            assert main(["serve", str(trained / "run"), "--port", str(port)]) == 2
        assert f"cannot listen on 127.0.0.1, port {port}: Address already in use: choose another --port" in capsys.readouterr().err

    def test_no_run(self, tmp_path, capsys):
        assert main(["serve", str(tmp_path / "none"), "--port", "0"]) == 2
        assert "no such run" in capsys.readouterr().err

    def test_an_index_of_another_run(self, trained, tmp_path, capsys):
        import numpy as np

        from bertrec.retrieval.index import ItemIndex

        ItemIndex.build(np.eye(8, 16), [f"p{row}" for row in range(1, 9)], model_hash="another").save(tmp_path / "other")
        assert main(["serve", str(trained / "run"), "--index", str(tmp_path / "other"), "--port", "0"]) == 2
        assert "was built from another model" in capsys.readouterr().err
