"""Storages: what opens, what is refused before any training, what a killed writer leaves, and that no message holds a password."""

import json
import os
import socket
import sqlite3
import sys
import tempfile
import threading
import traceback
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

optuna = pytest.importorskip("optuna", reason="optuna is not installed (extra tuning)")

from bertrec.core.errors import BertrecError, ConfigError, MissingExtraError  # noqa: E402
from bertrec.tuning.storages.address import parse_address  # noqa: E402
from bertrec.tuning.storages.open import open_storage, same_storage, storage_hint  # noqa: E402

optuna.logging.set_verbosity(optuna.logging.WARNING)
pytestmark = [
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed"),
]
SECRET = "Xyzzy42"


def square(trial):
    return trial.suggest_float("x", -1, 1) ** 2


def new_study(where, name="s"):
    return optuna.create_study(study_name=name, storage=open_storage(where), sampler=optuna.samplers.RandomSampler(seed=0))


def refused(where, *parts):
    """Return the one line with which a storage is refused."""
    with pytest.raises(BertrecError) as caught:
        open_storage(where)
    text = str(caught.value)
    assert "\n" not in text
    for part in parts:
        assert part in text
    return caught.value


def in_threads(count, action):
    """Run ``action(i)`` in so many threads that begin together; return what they returned."""
    barrier, results, errors = threading.Barrier(count), [None] * count, []

    def run(i):
        try:
            barrier.wait(30)
            results[i] = action(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not errors, errors
    return results


# Every kind


def test_what_was_written_is_read_again_by_us_and_by_plain_optuna(where):
    study = new_study(where)
    study.optimize(square, n_trials=4)
    values = [trial.value for trial in study.trials]
    again = optuna.load_study(study_name="s", storage=open_storage(where))
    assert [trial.value for trial in again.trials] == values
    url = same_storage(where)
    if "://" not in url:
        plain = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(url))
    elif url.startswith("redis"):
        plain = optuna.storages.JournalStorage(optuna.storages.journal.JournalRedisBackend(url))
    else:
        plain = url
    theirs = optuna.load_study(study_name="s", storage=plain)
    assert [trial.value for trial in theirs.trials] == values
    assert theirs.best_value == min(values)


def test_waiting_trials_are_taken_once_and_numbers_are_given_once(where):
    study = new_study(where)
    for i in range(12):
        study.enqueue_trial({"x": i / 12})

    def take(_):
        mine = optuna.load_study(study_name="s", storage=open_storage(where))
        return [mine.ask().number for _ in range(6)]

    taken = [number for numbers in in_threads(4, take) for number in numbers]
    assert sorted(taken) == list(range(24))


def test_workers_that_open_a_new_storage_together_all_get_it(where):
    def first(i):
        return new_study(where, f"s{i}").ask().number

    assert in_threads(4, first) == [0, 0, 0, 0]
    assert sorted(study.study_name for study in open_storage(where).get_all_studies()) == ["s0", "s1", "s2", "s3"]


def test_sql_storages_have_heartbeats_and_others_need_none(where):
    storage = open_storage(where, heartbeat_seconds=7)
    interval = getattr(storage, "get_heartbeat_interval", lambda: None)()
    assert interval == (7 if "sql" in where.partition("://")[0] and "://" in where else None)


def test_a_heartbeat_takes_time(tmp_path):
    with pytest.raises(ConfigError, match="heartbeat_seconds must be 1 or more"):
        open_storage(tmp_path / "j", heartbeat_seconds=0)


# Journal files


def test_the_folder_of_a_journal_is_made_and_a_path_may_be_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new_study(Path("a/b/study.journal")).optimize(square, n_trials=1)
    assert (tmp_path / "a/b/study.journal").stat().st_size > 0
    assert same_storage("a/b/study.journal") == str(tmp_path / "a/b/study.journal")


def test_what_is_no_file_is_refused(tmp_path):
    refused(tmp_path, "it is a folder", "study.journal")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file" / "study.journal", "folder that can be written")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "no plain file")


@contextmanager
def without_rights():
    """Root may write everywhere: for a moment, be nobody."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("prefix", ["", "sqlite:///"])
def test_what_may_not_be_written_is_refused(prefix):
    open_storage(f"{prefix}{tempfile.mkdtemp()}/warm")  # imports what a nobody might not be allowed to
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        with without_rights():
            refused(f"{prefix}{folder}/study", "folder that can be written")
            refused(f"{prefix}{folder}/deeper/study", "folder that can be written")
    if prefix == "":
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "study").touch(0o444)
            os.chmod(folder, 0o777)
            os.chmod(f"{folder}/study", 0o444)
            with without_rights():
                refused(f"{folder}/study", "Permission denied")


@pytest.mark.parametrize(
    "content",
    [
        b"just one line of text",
        b"just one line of text\n",
        b"name,value\na,1\n",
        b"PAR1\x00\xff\xfe\x80",
        b'{"trials": 20}\n',
        b'{"trials": 20}',
        b"[1, 2]\n",
        b"{",
        b'{"op_code":99,"worker_id":"w"}\n',
        b"\n",
        b"SQLite format 3\x00",
    ],
)
def test_a_file_that_is_no_journal_is_refused_and_left_as_it_is(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    if content == b"{":  # may be the beginning of a first record
        open_storage(path)
    else:
        refused(path, "is no Optuna journal", "choose another file")
    assert path.read_bytes() == content


def test_a_damaged_journal_is_refused_with_the_line_and_left_as_it_is(tmp_path):
    path = tmp_path / "study.journal"
    new_study(path).optimize(square, n_trials=3)
    lines = path.read_bytes().splitlines(keepends=True)
    for number in (2, len(lines)):
        damaged = b"".join([*lines[: number - 1], lines[number - 1][:20] + b"\x00\x00\n", *lines[number:]])
        path.write_bytes(damaged)
        refused(path, f"line {number} is damaged", "copy")
        assert path.read_bytes() == damaged
    path.write_bytes(b"".join(lines) + b'{"op_code":6,"worker_id":"w"}\n')
    refused(path, "do not follow from one another")


def test_a_record_torn_at_any_byte_is_dropped_and_the_study_goes_on(tmp_path):
    path = tmp_path / "study.journal"
    new_study(path).optimize(square, n_trials=2)
    whole = path.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    for cut in range(1, len(last)):
        path.write_bytes(whole[:-cut])
        study = optuna.load_study(study_name="s", storage=open_storage(path))
        assert path.read_bytes() == whole[:-cut]  # opening alone changes nothing
        study.set_user_attr("cut", cut)
        lines = path.read_bytes().splitlines(keepends=True)
        assert all(json.loads(line) and line.endswith(b"\n") for line in lines)
        assert b"".join(lines[:-1]) == (whole if cut == 1 else whole[: -len(last)])
    plain = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    assert len(optuna.load_study(study_name="s", storage=plain).trials) == 2


def test_a_torn_record_longer_than_a_block_is_dropped(tmp_path):
    path = tmp_path / "study.journal"
    study = new_study(path)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code":2,"worker_id":"' + b"x" * 20000)
    study.set_user_attr("a", 1)
    assert path.read_bytes().startswith(whole + b'{"op_code":2,')
    assert len(path.read_bytes()) < len(whole) + 200


def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path):
    resource = pytest.importorskip("resource", reason="this system does not limit the size of a file")
    path = tmp_path / "study.journal"
    study = new_study(path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, hard))  # the first ten bytes of the record are written
    try:
        with pytest.raises(BertrecError, match="cannot write the journal"):
            study.set_user_attr("name", "x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    study.set_user_attr("name", "y")
    assert optuna.load_study(study_name="s", storage=open_storage(path)).user_attrs == {"name": "y"}


def test_the_lock_of_a_killed_worker_is_broken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = new_study("out/study.journal")
    storage = open_storage("out/study.journal")
    lock = storage._backend._lock
    lock.grace_period = 1
    lock.acquire()  # and never released
    optuna.load_study(study_name="s", storage=storage).optimize(square, n_trials=1)
    assert len(study.trials) == 1


# SQLite


def test_sqlite_makes_its_folder_and_is_refused_where_it_is_no_database(tmp_path):
    new_study(f"sqlite:///{tmp_path}/a/b/study.db").optimize(square, n_trials=1)
    assert (tmp_path / "a/b/study.db").exists()
    (tmp_path / "text").write_text("name,value\n" * 100)
    refused(f"sqlite:///{tmp_path}/text", "file is not a database", "choose another file")
    refused(f"sqlite:///{tmp_path}", "it is a folder", "study.db")
    (tmp_path / "file").write_text("")
    refused(f"sqlite:///{tmp_path}/file/study.db", "folder that can be written")
    assert (tmp_path / "text").read_text() == "name,value\n" * 100


def test_a_database_of_another_release_is_refused(tmp_path):
    new_study(f"sqlite:///{tmp_path}/study.db")
    with sqlite3.connect(tmp_path / "study.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
    refused(f"sqlite:///{tmp_path}/study.db", "no longer compatible")


@pytest.mark.parametrize("where", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"])
def test_sqlite_in_memory_is_refused(where):
    with pytest.raises(ConfigError, match=r"name a file|three slashes"):
        open_storage(where)


def test_an_sqlite_path_may_be_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new_study("sqlite:///a/study.db")
    assert same_storage("sqlite:///a/study.db") == f"sqlite:///{tmp_path}/a/study.db"
    assert (tmp_path / "a/study.db").exists()


# Servers


def silent(error, secret):
    """No form of the error, its traceback included, holds the password."""
    assert secret not in str(error)
    assert secret not in "".join(traceback.format_exception(error))


@pytest.fixture
def nobody_listens():
    """A port of loopback that stays taken while nothing listens there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def never_answers():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_postgresql_that_cannot_be_reached_is_refused(nobody_listens, never_answers):
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra tuning-postgresql)")
    silent(
        refused(f"postgresql+psycopg://u:{SECRET}@127.0.0.1:{nobody_listens}/db", "refused", "u:***@127.0.0.1", "start the server"), SECRET
    )
    silent(refused(f"postgresql+psycopg://u:{SECRET}@127.0.0.1:{never_answers}/db?connect_timeout=2", "timeout"), SECRET)
    silent(refused(f"postgresql+psycopg://u@127.0.0.1:{nobody_listens}/db?password={SECRET}", "password=***"), SECRET)
    silent(refused(f"postgresql+psycopg://u:{SECRET}@127.0.0.1:port/db", "no URL of a database"), SECRET)


def test_postgresql_refuses_a_wrong_password_or_database(postgresql):
    silent(refused(postgresql.url("postgres", SECRET), "password authentication failed", "mend the address, user, password"), SECRET)
    silent(refused(postgresql.url("nowhere"), 'database "nowhere" does not exist'), "Tr0ub4dor")


def test_postgresql_that_may_not_make_tables_is_refused(postgresql_url, postgresql):
    import psycopg

    with psycopg.connect(postgresql_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE guest{postgresql.port} LOGIN PASSWORD '{SECRET}'")
    guest = postgresql_url.replace("tuner:Tr0ub4dor", f"guest{postgresql.port}:{SECRET}")
    silent(refused(guest, "permission denied"), SECRET)


def test_redis_that_cannot_be_reached_is_refused(nobody_listens, never_answers, monkeypatch):
    pytest.importorskip("redis", reason="redis is not installed (extra tuning-redis)")
    import bertrec.tuning.storages.redis

    monkeypatch.setattr(bertrec.tuning.storages.redis, "_PATIENCE", 1)
    silent(refused(f"redis://:{SECRET}@127.0.0.1:{nobody_listens}/0", "refused", "redis://:***@127.0.0.1", "start the server"), SECRET)
    silent(refused(f"redis://:{SECRET}@127.0.0.1:{never_answers}/0", "imeout"), SECRET)
    silent(refused(f"redis://127.0.0.1:{nobody_listens}/0?password={SECRET}", "password=***"), SECRET)
    silent(refused(f"redis://:{SECRET}@127.0.0.1:port/0", "no URL of a Redis server"), SECRET)


def test_redis_refuses_a_wrong_password_or_number(redis_server):
    silent(refused(redis_server.url(0, SECRET), "mend the address, user or password"), SECRET)
    refused(f"redis://127.0.0.1:{redis_server.port}/0", "mend the address, user or password")
    silent(refused(redis_server.url(99), "out of range"), "Tr0ub4dor")


def test_a_redis_journal_that_lost_records_is_refused_and_not_waited_for(redis_url, tmp_path):
    import redis

    new_study(redis_url).optimize(square, n_trials=2)
    with redis.Redis.from_url(redis_url) as client:
        third = client.get(":log:3")
        client.delete(":log:3")
        refused(redis_url, "records are gone", "another database number")
        client.set(":log:3", b"[1]")
        refused(redis_url, "its journal is damaged")
        client.set(":log:3", third)
        assert len(open_storage(redis_url).get_all_trials(0)) == 2
        client.set(":snapshot", f"cos\nsystem\n(S'touch {tmp_path}/ran'\ntR.")  # a pickle that would run a program
        assert len(open_storage(redis_url).get_all_trials(0)) == 2
        assert not (tmp_path / "ran").exists()
        client.delete(":log_number")
        client.set(":log_number", "many")
        refused(redis_url, "its journal is damaged")


@pytest.mark.parametrize(
    ("module", "where", "words"),
    [
        ("psycopg", f"postgresql+psycopg://u:{SECRET}@127.0.0.1:1/db", "pip install 'bertrec[tuning-postgresql]'"),
        ("redis", f"redis://:{SECRET}@127.0.0.1:1/0", "pip install 'bertrec[tuning-redis]'"),
        ("optuna", "study.journal", "pip install 'bertrec[tuning]'"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(module, where, words, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError) as caught:
        open_storage(where)
    assert words in str(caught.value)
    silent(caught.value, SECRET)


# Names


@pytest.mark.parametrize(
    ("where", "kind", "shown"),
    [
        ("/a/study.journal", "journal", "/a/study.journal"),
        ("sqlite:////a/study.db", "sqlite", "sqlite:////a/study.db"),
        ("sqlite:////a/study.db?timeout=9", "sqlite", "sqlite:////a/study.db?timeout=9"),
        ("postgresql+psycopg://me:pw@host:5/db", "postgresql", "postgresql+psycopg://me:***@host:5/db"),
        ("postgresql://me@host/db", "postgresql", "postgresql+psycopg://me@host/db"),
        ("postgresql+psycopg:///db?host=/run/pg&password=pw", "postgresql", "postgresql+psycopg:///db?host=/run/pg&password=***"),
        ("REDIS://:pw@host:6379/0", "redis", "redis://:***@host:6379/0"),
        ("rediss://host/1", "redis", "rediss://host/1"),
    ],
)
def test_names_of_storages(where, kind, shown):
    address = parse_address(where)
    assert (address.kind, address.shown) == (kind, shown)
    assert parse_address(address.url) == address


def test_names_that_are_none():
    for where in ("", "   "):
        with pytest.raises(ConfigError, match="no storage is named"):
            open_storage(where)
    with pytest.raises(ConfigError, match="did you mean 'postgresql'"):
        open_storage(f"postgres://u:{SECRET}@h/d")
    with pytest.raises(ConfigError, match="unknown kind of storage 'mysql'"):
        open_storage("mysql://u@h/d")
    with pytest.raises(ConfigError, match="needs two slashes"):
        open_storage(Path("sqlite:///study.db"))


def test_the_hint_is_a_command_line_without_the_password():
    assert storage_hint("/a/my study.journal") == "optuna-dashboard '/a/my study.journal'"
    assert storage_hint("postgresql://me:pw@h/d") == "optuna-dashboard 'postgresql+psycopg://me:***@h/d'"


@given(
    middle=st.text("@/?#:[]%&=+\\' {}!$ä", max_size=6),
    form=st.sampled_from(["redis://u:{}@127.0.0.1:1/0", "postgresql+psycopg://u:{}@127.0.0.1:1/d", "redis://127.0.0.1:1/0?password={}"]),
)
@example(middle="  ", form="redis://127.0.0.1:1/0?password={}")
@settings(max_examples=60, deadline=None)
def test_no_password_however_odd_is_printed(middle, form):
    where = form.format(f"AAAA{middle}BBBB")
    if "?password" in form and set(middle) & set("@&#"):
        return  # these end an option, by the rules of a URL: what follows is no part of a password
    try:
        address = parse_address(where)
    except ConfigError as error:
        text = str(error)
    else:
        text = address.shown + str(address.problem(f"no {where} and AAAA{middle}BBBB", "mend it"))
    assert "AAAA" not in text
    assert "BBBB" not in text
