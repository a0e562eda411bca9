"""Data at addresses: a file system in memory, paths as addresses, and a stand-in for S3."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bertrec.core.errors import DataError
from bertrec.data import places
from bertrec.data.load import load
from bertrec.data.one_table import Manner, read_interactions, read_items
from bertrec.data.places import Address, beside, place_of

EVENTS = {"user_id": ["v", "u", "v", "w", "u", "u"], "item_id": ["a", "b", "b", "c", "a", "c"], "timestamp": [5, 4, 3, 2, 1, 0]}
ITEMS = "item_id,title\na,A\nb,B\nc,C\n"
YAML = "interactions: clicks/*.parquet\nitems: shop/items.csv\n"


@pytest.fixture
def here(tmp_path):
    """A folder of tables, a description of the same, and MovieLens files."""
    (tmp_path / "shop" / "interactions").mkdir(parents=True)
    (tmp_path / "clicks").mkdir()
    (tmp_path / "shop" / "items.csv").write_text(ITEMS)
    for part in range(2):
        rows = pa.table(EVENTS).slice(part * 3, 3)
        pq.write_table(rows, tmp_path / "shop" / "interactions" / f"{part}.parquet")
        pq.write_table(rows, tmp_path / "clicks" / f"{part}.parquet")
    (tmp_path / "data.yaml").write_text(YAML)
    (tmp_path / "movies").mkdir()
    (tmp_path / "movies" / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,10,4.0,100\n1,11,5.0,101\n2,10,3.0,50\n")
    (tmp_path / "movies" / "movies.csv").write_text("movieId,title,genres\n10,Heat (1995),Action\n11,Babe (1995),Comedy\n")
    return tmp_path


@pytest.fixture
def memory(here):
    """The same in fsspec's file system in memory."""
    system = fsspec.filesystem("memory")
    system.put(str(here) + "/", "/lake/", recursive=True)
    yield "memory://lake"
    system.rm("/lake", recursive=True)


@pytest.fixture(scope="module")
def s3_server():
    server = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = server.ThreadedMotoServer(port=0)
    running.start()
    yield "http://{}:{}".format(*running.get_host_and_port())
    running.stop()


@pytest.fixture
def s3(here, s3_server, monkeypatch):
    """The same in an S3 stand-in, with keys in the environment."""
    for name, value in {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    boto3 = pytest.importorskip("boto3")
    client = boto3.client("s3", endpoint_url=s3_server)
    client.create_bucket(Bucket="lake")
    for path in here.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), "lake", str(path.relative_to(here)))
    return "s3://lake"


@pytest.fixture(params=["file", "memory", "s3"])
def lake(request, here):
    return f"file://{here}" if request.param == "file" else request.getfixturevalue(request.param)


def test_folders_descriptions_and_tables_at_an_address_are_the_same_data(lake, here):
    expected = load(here / "shop")
    assert load(f"{lake}/shop").content_hash == expected.content_hash
    assert load(f"{lake}/data.yaml").content_hash == expected.content_hash
    assert load(f"{lake}/movies").content_hash == load(here / "movies").content_hash
    assert read_items(f"{lake}/shop/items.csv", Manner(), like=expected.catalog).texts == ["A", "B", "C"]
    later = read_interactions(f"{lake}/clicks", Manner.of(f"{lake}/data.yaml"), expected.catalog)
    assert later.sequences.values.tolist() == expected.interactions.sequences.values.tolist()


def test_a_description_here_names_what_is_there(lake, here):
    (here / "mixed.yaml").write_text(f"interactions: {lake}/clicks/?.parquet\nitems: shop/items.csv\n")
    found = load(here / "mixed.yaml")
    assert found.content_hash == load(here / "shop").content_hash
    (here / "folder.yaml").write_text(f"folder: {lake}/shop\n")
    assert load(here / "folder.yaml").content_hash == found.content_hash


def test_a_path_made_of_an_address_is_one(memory, here):
    assert load(Path(f"{memory}/shop")).content_hash == load(here / "shop").content_hash


def test_messages_and_notes_name_the_address(memory):
    system = fsspec.filesystem("memory")
    system.pipe("/lake/bad/items.csv", b"item_id,title\na,A,extra\n")
    system.pipe("/lake/bad/interactions.csv", b"user_id;item_id\nu;a\n")
    with pytest.raises(DataError, match=r"^memory://lake/bad/items\.csv: .*line 2 has 3 columns where 2 are wanted"):
        load(f"{memory}/bad")
    system.pipe("/lake/bad/items.csv", b"item_id,title\na,A\n")
    assert "memory://lake/bad/interactions.csv: read with columns separated by 'semicolon'" in [
        note.replace("';'", "'semicolon'") for note in load(f"{memory}/bad").notes
    ]
    system.pipe("/lake/bad/interactions.parquet", b"no parquet")
    system.rm("/lake/bad/interactions.csv")
    with pytest.raises(DataError, match=r"^memory://.*lake/bad/interactions\.parquet: cannot be read as Parquet"):
        load(f"{memory}/bad")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("memory://lake/nothing", r"^memory://lake/nothing: no such folder or YAML file"),
        ("memory://lake/nothing.yaml", r"^memory://lake/nothing\.yaml: no such file or folder"),
        ("memory://lake/shop/items.csv", r"^memory://lake/shop/items\.csv: a file is no data set: name its folder"),
        ("memory://lake/clicks/*.parquet", r"^memory://lake/clicks/\*\.parquet: Parquet files alone are no data set"),
        ("sky://lake/shop", r"^sky://lake/shop: no file system is called sky: name one such as s3://, gs://, hdfs:// or file://$"),
        ("s3://key:secret@lake/shop", r"^s3://…: keys of access and passwords belong into the environment"),
        ("gcs://key@lake/shop", r"^gcs://…: keys .* into the environment \(for gs://"),
        ("hdfs://ann:word@host/shop", r"^hdfs://…: keys .* \(for hdfs://"),
        ("ftp://ann:word@host/shop", r"^ftp://…: keys of access and passwords belong into the environment or fsspec's own"),
        ("abfs://shop@ours/x?account_key=abc", r"^abfs://…: keys "),
        ("s3://lake/shop?region=x&secret_key=abc", r"^s3://…: keys "),
    ],
)
def test_addresses_that_hold_no_data_are_one_line(memory, address, message):
    with pytest.raises(DataError, match=message) as caught:
        load(address)
    assert "\n" not in str(caught.value)
    assert "secret@" not in str(caught.value)


def test_a_bucket_that_is_not_there_names_the_keys(s3):
    with pytest.raises(DataError, match=r"s3://nobody/shop: (no such folder|cannot be reached \(.*\): check the address and your access)"):
        load("s3://nobody/shop")


def test_without_access_the_message_says_what_is_wanted(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(DataError, match=r"^s3://lake/shop: cannot be reached \(.*\): .*AWS_ACCESS_KEY_ID") as caught:
        load("s3://lake/shop")
    assert "\n" not in str(caught.value)


def test_an_address_without_its_package_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "adlfs", None)
    with pytest.raises(DataError, match=r"^abfss?://|^az://lake/shop: .*adlfs.*install"):
        load("az://lake/shop")


def test_parts_of_an_address():
    address = Address("s3://lake/a/b.yaml?region=eu-central-1")
    assert (address.name, address.stem, address.suffix) == ("b.yaml", "b", ".yaml")
    assert str(address.parent / "c") == "s3://lake/a/c?region=eu-central-1"
    assert beside(address.parent, "gs://other/x") == Address("gs://other/x")
    assert beside(Path("/data"), "x/y") == Path("/data/x/y")
    assert place_of("file:///data/a%20b", "data") == Path("/data/a b")
    assert place_of("C:/data", "data") == Path("C:/data")


@pytest.mark.parametrize(
    ("pattern", "name", "is_meant"),
    [
        ("*.parquet", "a.parquet", True),
        ("*.parquet", "b/a.parquet", False),
        ("**", "b/a.parquet", True),
        ("**/*.parquet", "a.parquet", True),
        ("**/*.parquet", "b/c/a.parquet", True),
        ("a?[0-2].p*", "ab1.parquet", True),
        ("a?[!0-2].p*", "ab1.parquet", False),
        ("a.b", "aXb", False),
        ("[]", "[]", True),
        ("[z-a]", "[z-a]", True),
        ("[\\]", "\\", True),
        ("[[]a", "[a", True),
        ("[^a]", "^", True),
        ("[&&]", "&", True),
        ("[a-]", "-", True),
        ("a[!b]c", "a/c", False),
    ],
)
def test_patterns_mean_what_a_shell_means(pattern, name, is_meant):
    assert bool(places.re.fullmatch(places._translated(pattern.split("/")), name)) is is_meant


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        ("gs://bucket/shop", "gs://bucket?retry_limit_seconds=30"),
        ("gs://bucket/shop?retry_limit_seconds=5", "gs://bucket?retry_limit_seconds=5"),
        ("gs://bucket/shop?scheme=https", "gs://bucket?scheme=https&retry_limit_seconds=30"),
        ("s3://bucket/shop?region=eu-central-1", "s3://bucket?region=eu-central-1"),
    ],
)
def test_google_s_client_gives_up_in_time(monkeypatch, address, asked):
    class Client:
        asked = ""

        @classmethod
        def from_uri(cls, uri):
            cls.asked = uri
            return cls(), "bucket"

    monkeypatch.setattr("pyarrow.fs.FileSystem", Client)
    assert Address(address).held[1] == "bucket/shop"
    assert Client.asked == asked


def test_a_file_that_links_name_again_is_read_once(here):
    rows = len(load(here / "data.yaml").interactions)
    (here / "clicks" / "a-link.parquet").symlink_to("1.parquet")
    (here / "clicks" / "latest").symlink_to(".")
    for pattern in ("clicks", "clicks/*.parquet", "clicks/**/*.parquet"):
        (here / "data.yaml").write_text(YAML.replace("clicks/*.parquet", pattern))
        assert len(load(here / "data.yaml").interactions) == rows
    _, found = places.files_of(here / "clicks")
    assert [Path(path).name for path in found] == ["0.parquet", "1.parquet"]


@pytest.mark.parametrize("name", ["*" * 5_000, "log/*.parquet\0", "reference://x", "s3:///x", "[]"])
def test_a_place_that_cannot_be_is_one_line(here, name):
    (here / "data.yaml").write_text(json.dumps({"interactions": name, "items": "shop/items.csv"}))
    with pytest.raises(DataError) as caught:
        load(here / "data.yaml")
    assert "\n" not in str(caught.value)
