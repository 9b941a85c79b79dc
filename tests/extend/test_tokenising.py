"""Text to token shards: the same bytes whatever the ranges, processes and kills; what changed is told."""

import gzip
import hashlib
import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from extend import recipe
from extend.blocks import HELD_OUT, TRAINING, DataIndex, Stream
from extend.config import load_settings
from extend.errors import CheckpointError, DataError, WorkerError
from extend.languages import resolve
from extend.recipe.corpora import split_corpus
from extend.recipe.data import encoded_lines, tokenise_corpora
from extend.recipe.tokenising import tokenise_text
from extend.tokenizer import special_ids
from tests.models import PIECES, tiny_tokenizer

WORDS = ("the", "house", "river", "walking", "stone", "walker", "a.b", "xyz", "[MASK]", "ჩემი")


def opened(directory: Path, **overrides: Any) -> recipe.Run:
    given = {"lang": "ka", "vocab.held_out_lines": 30, "pretrain.processes": 1, **overrides}
    return recipe.open_run(load_settings(None, given), directory / "run", resolve("ka"))


def lines_of(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [
        "" if draw.random() < 0.12 else " ".join(draw.choices(WORDS, k=draw.randint(1, 12)))
        for _ in range(count)
    ]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Plain text with blank lines and a blank beginning, records, and text in an archive."""
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "b.txt").write_text("\n\n" + "\n".join(lines_of(400, 1)), encoding="utf-8")
    (folder / "a.txt").write_text("\r\n".join(lines_of(90, 2)) + "\r\n", encoding="utf-8")
    records = [json.dumps({"text": line}) for line in lines_of(60, 3) if line]
    (folder / "c.jsonl").write_text("\n".join(records), encoding="utf-8")
    (folder / "d.txt.gz").write_bytes(gzip.compress("\n".join(lines_of(60, 4)).encode(), mtime=0))
    return folder


def tokenised(run: recipe.Run, text: Path, **more: Any) -> DataIndex:
    tokenizer: Tokenizer = more.pop("tokenizer", tiny_tokenizer())
    given = {"special": special_ids(tokenizer), "directory": run.pretraining / "data" / "ka", **more}
    given.setdefault("on_progress", lambda _: None)
    return tokenise_text(run, "ka", [str(text)], tokenizer, **given)


def streams(run: recipe.Run, index: DataIndex) -> dict[str, Stream]:
    folder = run.pretraining / "data" / "ka"
    return {part: index.stream(folder, "ka", part) for part in (TRAINING, HELD_OUT)}


def content(stream: Stream) -> tuple[list[int], list[bool], list[int], list[bool]]:
    starts = stream.read(0, len(stream.ids))[1]
    return stream.ids.tolist(), starts.tolist(), stream.lines.tolist(), stream.documents.tolist()


def hashes(run: recipe.Run) -> dict[str, str]:
    folder = run.pretraining / "data"
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".bad" not in path.as_posix()
    }


@pytest.mark.parametrize("range_bytes", [400, 1500, 1 << 24])
def test_tokens_are_those_of_the_text_whatever_the_ranges(
    text: Path, tmp_path: Path, range_bytes: int
) -> None:
    run, tokenizer = opened(tmp_path), tiny_tokenizer()
    found = streams(run, tokenised(run, text, range_bytes=range_bytes))
    corpus = split_corpus(run, "ka", [str(text)])
    for part, documents in ((TRAINING, corpus.training()), (HELD_OUT, corpus.unseen())):
        ids, starts, begins, flags = [], [], [0], []
        for line, words, begun in encoded_lines(tokenizer, documents):
            ids += [*line, 3]
            starts += [*words, True]
            begins.append(len(ids))
            flags.append(begun)
        assert content(found[part]) == (ids, starts, begins, flags)
        assert len(flags) > 20
        assert 5 < sum(flags) < len(flags)


def test_active_ids_are_those_that_occur_in_training(text: Path, tmp_path: Path) -> None:
    run = opened(tmp_path)
    stream = streams(run, tokenised(run, text, range_bytes=700))[TRAINING]
    assert np.flatnonzero(stream.active(len(PIECES))).tolist() == sorted(set(stream.ids.tolist()))


@pytest.mark.slow
def test_two_processes_write_the_bytes_of_one(text: Path, tmp_path: Path) -> None:
    one, two = (
        opened(tmp_path / name, **{"pretrain.processes": count}) for name, count in (("1", 1), ("2", 2))
    )
    for run in (one, two):
        tokenised(run, text, range_bytes=2000)
    assert hashes(one) == hashes(two)
    assert len([name for name in hashes(one) if name.endswith("facts.json")]) > 6


def test_a_killed_worker_is_told_and_what_was_done_is_kept(text: Path, tmp_path: Path) -> None:
    run = opened(tmp_path, **{"pretrain.processes": 2})

    def kill_one() -> None:
        while not multiprocessing.active_children():
            time.sleep(0.01)
        time.sleep(0.2)
        for process in multiprocessing.active_children()[:1]:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    with pytest.raises(WorkerError, match="a tokenising worker was killed") as told:
        tokenised(run, text, range_bytes=500)
    killer.join()
    assert (told.value.name, told.value.exit_code) == ("E-WORKER", 12)
    assert not list(run.pretraining.rglob(".*tmp*"))


def test_kills_at_any_moment_end_with_the_same_bytes(text: Path, tmp_path: Path) -> None:
    """Eight children are killed at random moments, and the same call then ends."""
    straight, killed = opened(tmp_path / "straight"), opened(tmp_path / "killed")
    began = time.monotonic()
    tokenised(straight, text, range_bytes=800)
    whole, draw, finished = time.monotonic() - began, random.Random(5), [0]
    for _ in range(8):
        child = os.fork()
        if not child:
            try:
                tokenised(killed, text, range_bytes=800)
            finally:
                os._exit(0)
        time.sleep(draw.uniform(0.05, 0.4) * whole)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        finished.append(len(list((killed.pretraining / "data").glob("ka/shards/[!.]*/MANIFEST.json"))))
    assert finished == sorted(finished), "what was finished stays"
    assert finished[-1] > 0
    tokenised(killed, text, range_bytes=800)
    assert hashes(killed) == hashes(straight)
    assert not list(killed.pretraining.rglob(".*tmp*"))


def test_what_is_there_is_not_made_again(text: Path, tmp_path: Path) -> None:
    run = opened(tmp_path)
    first = tokenised(run, text, range_bytes=900)
    times = {path: path.stat().st_mtime_ns for path in run.pretraining.rglob("*")}
    assert tokenised(run, text, range_bytes=900) == first
    assert {path: path.stat().st_mtime_ns for path in run.pretraining.rglob("*")} == times
    (text / "a.txt").touch()
    assert tokenised(run, text, range_bytes=900).ranges == first.ranges
    noted = json.loads((run.pretraining / "data" / "ka" / "index.json").read_text())["files"]
    assert noted[0]["modified"] == (text / "a.txt").stat().st_mtime_ns, "it is not read again the next time"


def test_files_of_other_names_with_the_same_text_are_the_same_text(text: Path, tmp_path: Path) -> None:
    run = opened(tmp_path)
    first = tokenised(run, text)
    assert tokenised(run, text.rename(tmp_path / "moved")).ranges == first.ranges


@pytest.mark.parametrize(
    "change", ["content", "more", "fewer", "order", "tokenizer", "seed", "held-out", "strict"]
)
def test_other_text_or_another_way_of_reading_is_told(text: Path, tmp_path: Path, change: str) -> None:
    run = opened(tmp_path)
    tokenised(run, text)
    before, more, expected = hashes(run), {}, ""
    if change == "content":
        lines = (text / "b.txt").read_text(encoding="utf-8").replace("house", "hause", 1)
        (text / "b.txt").write_text(lines, encoding="utf-8")
        expected = "other contents: b.txt"
    elif change == "more":
        (text / "e.txt").write_text("more", encoding="utf-8")
        expected = "4 files then, 5 now: e.txt"
    elif change == "fewer":
        (text / "c.jsonl").unlink()
        expected = "4 files then, 3 now: c.jsonl"
    elif change == "order":
        (text / "a.txt").rename(text / "z.txt")
        expected = "other contents: b.txt"
    elif change == "tokenizer":
        more, expected = {"tokenizer": tiny_tokenizer((*PIECES, "stone."))}, "tokenizer: "
    elif change == "seed":
        run, expected = opened(tmp_path, seed=2), "held_out: [0.02, 30, 1] then, [0.02, 30, 2] now"
    elif change == "held-out":
        run, expected = opened(tmp_path, **{"vocab.held_out_lines": 31}), "held_out: [0.02, 30, 1] then"
    else:
        run, expected = opened(tmp_path, **{"reading.strict": True}), "reading: "
    with pytest.raises(CheckpointError) as told:
        tokenised(run, text, **more)
    assert (told.value.name, told.value.exit_code) == ("E-DATA-CHANGED", 8)
    assert told.value.why.startswith(expected)
    assert hashes(run) == before, "nothing was changed"


def test_an_accepted_change_is_tokenised_anew_and_the_rest_is_kept(text: Path, tmp_path: Path) -> None:
    run, tokenizer = opened(tmp_path), tiny_tokenizer()
    first = tokenise_corpora(run, {"ka": [str(text)]}, tokenizer, lambda _: None)
    folder = run.pretraining / "data" / "ka"
    times = {path.name: path.stat().st_mtime_ns for path in (folder / "shards").iterdir()}
    with (text / "d.txt").open("a", encoding="utf-8") as file:
        file.write("the river house\n")
    with pytest.raises(CheckpointError, match="not the text of this run"):
        tokenise_corpora(run, {"ka": [str(text)]}, tokenizer, lambda _: None)
    again = tokenise_corpora(run, {"ka": [str(text)]}, tokenizer, lambda _: None, accept_change=True)
    assert len(again.training["ka"].ids) > len(first.training["ka"].ids)
    assert again.training["ka"].sha256 != first.training["ka"].sha256
    now = {path.name: path.stat().st_mtime_ns for path in (folder / "shards").iterdir()}
    assert set(times.items()) <= set(now.items())
    assert len(now) == len(times) + 1
    assert (folder / "index.json.bad").is_file()


def damages() -> Iterator[tuple[str, str]]:
    for name in ("ids.bin", "starts.bin", "lines.bin", "documents.bin"):
        yield TRAINING, f"00000/{name}"
    yield HELD_OUT, "00000/ids.bin"
    yield TRAINING, "active.bin"


@pytest.mark.parametrize(("part", "name"), damages())
def test_a_damaged_shard_is_named_set_aside_and_alone_made_anew(
    text: Path, tmp_path: Path, part: str, name: str
) -> None:
    run = opened(tmp_path)
    index = tokenised(run, text, range_bytes=2500)
    sound = hashes(run)
    expected = {part: content(stream) for part, stream in streams(run, index).items()}
    folders = run.pretraining / "data" / "ka" / "shards"
    hit = folders / next(entry.folder for entry in index.ranges if entry.facts[part]["shards"])
    times = {path: path.stat().st_mtime_ns for path in folders.iterdir()}
    path = hit / part / name
    flipped = bytearray(path.read_bytes())
    flipped[-1] ^= 64
    path.chmod(0o600)
    path.write_bytes(flipped)
    touched = streams(run, tokenised(run, text, range_bytes=2500))[part]
    with pytest.raises(DataError, match=f"{part}/{name}") as told:
        _ = content(touched), touched.active(len(PIECES))
    assert (told.value.name, told.value.exit_code) == ("E-DATA-DAMAGED", 3)
    assert hit.name in told.value.what
    assert (folders / f"{hit.name}.bad").is_dir()
    mended = tokenised(run, text, range_bytes=2500)
    assert hashes(run) == sound
    assert {part: content(stream) for part, stream in streams(run, mended).items()} == expected
    assert all(path.stat().st_mtime_ns == at for path, at in times.items() if path.is_dir() and path != hit)


def test_a_damaged_index_is_told_and_made_anew_from_what_is_there(text: Path, tmp_path: Path) -> None:
    run = opened(tmp_path)
    tokenised(run, text)
    sound, path = hashes(run), run.pretraining / "data" / "ka" / "index.json"
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match="damaged") as told:
        tokenised(run, text)
    assert told.value.name == "E-DATA-DAMAGED"
    path.unlink()
    tokenised(run, text)
    assert hashes(run) == sound


def test_ranges_of_another_text_are_removed_and_what_was_set_aside_stays(text: Path, tmp_path: Path) -> None:
    run = opened(tmp_path)
    shards = run.pretraining / "data" / "ka" / "shards"
    for name in ("old", "odd.bad"):
        (shards / name).mkdir(parents=True)
    tokenised(run, text)
    assert not (shards / "old").exists()
    assert (shards / "odd.bad").exists()


def test_a_text_without_tokens_is_told(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("\n \n")
    run = opened(tmp_path)
    with pytest.raises(DataError, match="holds no token"):
        streams(run, tokenised(run, tmp_path / "text"))


def test_progress_goes_from_nothing_to_all(text: Path, tmp_path: Path) -> None:
    told: list[Any] = []
    tokenised(opened(tmp_path), text, range_bytes=900, on_progress=told.append)
    done = [progress.done for progress in told]
    assert done[0] == 0
    assert done == sorted(done)
    assert done[-1] == told[-1].total == sum(path.stat().st_size for path in text.iterdir())
