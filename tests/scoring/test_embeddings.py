import sqlite3

import numpy as np
import pytest

from paretoken.scoring.embeddings import Embeddings


def vectors(value, n=4):
    return np.full((n, 8), value, np.float32)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "cache" / "embeddings.db"


def held(file):
    with sqlite3.connect(file) as connection:
        return {key for (key,) in connection.execute("SELECT key FROM embeddings")}


def test_another_process_finds_what_was_kept(file):
    Embeddings(file).keep({"a": vectors(1), "b": vectors(2, n=3)}, {"a"})
    found = Embeddings(file).find({"a": 4, "b": 3, "c": 4}, {"a"})
    assert set(found) == {"a", "b"}
    assert (found["a"] == vectors(1)).all()
    assert found["b"].shape == (3, 8)


def test_the_file_stays_below_its_bound_and_loses_what_was_not_used_for_longest(file):
    body = vectors(0).nbytes + 8
    store = Embeddings(file, disk_bytes=10 * body)
    for k in range(10):
        store.keep({f"k{k}": vectors(k)}, ())
    Embeddings(file, disk_bytes=10 * body).find({"k0": 4}, ())
    store.keep({"new": vectors(11)}, ())
    assert held(file) == {"k0", *(f"k{k}" for k in range(3, 10)), "new"}


def test_answers_do_not_drive_references_out_of_memory():
    store = Embeddings(None, memory_bytes=4 * vectors(0).nbytes)
    store.keep({"reference": vectors(1)}, {"reference"})
    for k in range(50):
        store.keep({f"answer {k}": vectors(k)}, ())
    assert set(store.find({"reference": 4, **{f"answer {k}": 4 for k in range(50)}}, ())) == {
        "reference", "answer 46", "answer 47", "answer 48", "answer 49",
    }  # fmt: skip
    store.keep({"huge": vectors(1, n=100)}, ())
    assert store.find({"huge": 100}, ()) == {}


def test_damage_is_seen_and_a_broken_file_is_done_without(file):
    Embeddings(file).keep({"a": vectors(1), "b": vectors(2)}, ())
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE embeddings SET body = zeroblob(length(body)) WHERE key = 'a'")
    assert set(Embeddings(file).find({"a": 4, "b": 4}, ())) == {"b"}
    file.write_bytes(b"this is no database" * 100)
    store = Embeddings(file)
    store.keep({"a": vectors(1)}, ())
    assert set(store.find({"a": 4}, ())) == {"a"}
    below = Embeddings(file / "below" / "a file")
    below.keep({"a": vectors(1)}, ())
    assert set(below.find({"a": 4}, ())) == {"a"}
