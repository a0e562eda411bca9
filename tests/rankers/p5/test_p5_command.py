"""``bertrec rankers`` with several tasks: from tables to figures of one of them."""

from __future__ import annotations

import json

from tiny_encoders import tiny_masked

import bertrec
from bertrec.cli.main import main
from bertrec.rankers.p5.questions import Asked
from bertrec.rankers.p5.task import Task, library

TITLES = [f"{colour} {thing}" for colour in ("red", "blue") for thing in ("kettle", "shelf", "lamp", "rug", "poster")]


def write(root):
    root.mkdir()
    rows = ["user_id,item_id,timestamp,rating,text"]
    for user in range(12):
        for step in range(6):
            item, at = (3 * user + step) % 10, 100 * step + user
            stars = 5 if user % 2 == item // 5 else 2
            rows.append(f"{user},{item},{at},{stars},a {TITLES[item]}. it is {'good' if stars > 3 else 'bad'}")
    users = [f"{user},likes {'blue' if user % 2 else 'red'}" for user in range(12)]
    (root / "interactions.csv").write_text("\n".join(rows) + "\n")
    (root / "items.csv").write_text("\n".join(["item_id,title", *(f"{row},{title}" for row, title in enumerate(TITLES))]) + "\n")
    (root / "users.csv").write_text("\n".join(["user_id,text", *users]) + "\n")


def test_from_tables_to_figures(tmp_path, capsys, monkeypatch):
    write(tmp_path / "data")
    counts, plain = {}, Asked.questions

    def counted(self, task):
        found = plain(self, task)
        counts.setdefault(task.name, len(found)) if self.fitting else None
        return found

    monkeypatch.setattr(Asked, "questions", counted)
    words = [*TITLES, "yes no likes good bad it a 1 2 3 4 5", *(Task.load(name).text for name in library())]
    encoder = tiny_masked(tmp_path / "encoder", words)
    small = ["--set", f"encoder.name={encoder}", "--set", "encoder.max_length=60", "--set", "train.epochs=1"]
    train = ["rankers", "train", str(tmp_path / "data"), "--ranker", "p5", "--pairs", "ratings", *small]
    tasks = ["--set", "tasks=rating,sequential,direct,review", "--set", "weights=2,1,1,1", "--set", "task=rating"]
    assert main([*train, *tasks, "--out", str(tmp_path / "run")]) == 0
    (member,) = json.loads((tmp_path / "run" / "run.json").read_text())["members"]
    assert member["learned"] == ["rating", "sequential", "direct", "review"]
    past = bertrec.load(tmp_path / "data").interactions
    (first, _) = json.loads((tmp_path / "run" / "run.json").read_text())["pairs"]["moments"]
    trained = int((past.timestamp < first).sum())
    assert trained > 50
    assert [counts[name] for name in ("rating", "sequential", "review")] == [trained] * 3  # every rated pair, each once
    assert not any("without" in note for note in member["notes"])
    assert member["costs"]["tuning"] == "option"
    assert set(member["costs"]["of_each_task"]) == set(member["learned"])
    figures = tmp_path / "figures.json"
    assert main(["rankers", "evaluate", str(tmp_path / "run"), "--bootstrap", "0", "--json", str(figures)]) == 0
    metrics = json.loads(figures.read_text())["slices"]["all"]["metrics"]
    assert 0 <= metrics["RMSE"]["mean"] <= 4
    capsys.readouterr()
    assert main([*train, "--set", "tasks=ratings", "--out", str(tmp_path / "other")]) == 2
    assert "unknown task 'ratings'" in capsys.readouterr().err
