"""Whatever rolls, compactions and checkpoints write: a part of the manifest is what the whole one says of that part."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recorder.manifest import (
    Manifest,
    append_manifest,
    manifest_around,
    manifest_path,
    parse_manifest,
    read_manifest,
    read_segments,
)
from recorder.manifest_checkpoint import shorten_manifest
from recorder.manifest_lines import same_directory
from recorder.upload import _changed
from recorder.waiting_days import waiting_days
from schemas.manifest import ManifestCompaction, ManifestFile
from tests.recorder.test_manifest import file_line, segment_line

SYMBOLS = ("ADAUSDT", "BTCUSDT", "ETHUSDT")

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("roll"), st.integers(1, 4), st.sets(st.sampled_from(SYMBOLS))),
        st.tuples(st.just("torn"), st.integers(1, 4), st.sets(st.sampled_from(SYMBOLS))),
        st.tuples(st.just("compact"), st.integers(0, 20), st.sets(st.sampled_from(SYMBOLS))),
        st.tuples(st.just("delete"), st.integers(0, 20), st.sets(st.sampled_from(SYMBOLS))),
        st.tuples(st.just("shorten"), st.just(0), st.just(set[str]())),
    ),
    max_size=14,
)


def own_file(segment: int, symbol: str, rows: int) -> ManifestFile:
    return file_line(
        f"linear-{segment}.parquet", symbol=symbol, segment=segment, rows=rows, receive_ns=(segment, segment)
    )


def do(archive: Path, step: tuple[str, int, set[str]], number: int) -> None:
    kind, value, symbols = step
    if kind in ("roll", "torn"):
        files = [own_file(value, symbol, number) for symbol in sorted(symbols)]
        for file in files:
            touch(archive, file)
        line = segment_line(segment=value, files=len(files), records=number)
        append_manifest(archive, "linear", files if kind == "torn" else [*files, line])
    elif kind == "compact":
        manifest, merged, removed = read_manifest(archive), [], []
        for symbol in sorted(symbols):
            own = [file for file in manifest.files if file.symbol == symbol]
            if not own:
                continue
            first = min(file.segment for file in own)
            last = max(file.last_segment or file.segment for file in own)
            name = f"linear-{first}-{last}-{number:012x}.parquet"
            merged.append(
                msgspec.structs.replace(
                    file_line(name, symbol=symbol, segment=first, rows=sum(file.rows for file in own)),
                    last_segment=last,
                )
            )
            touch(archive, merged[-1])
            removed += [file.path for file in own]
        if merged:
            taken = ManifestCompaction("linear", number, len(merged), removed, "test")
            append_manifest(archive, "linear", [*merged, taken])
    elif kind == "delete":
        for path in sorted(read_manifest(archive).replaced)[:value]:
            (archive / path).unlink(missing_ok=True)
    else:
        shorten_manifest(archive, "linear", least=1)


def touch(archive: Path, file: ManifestFile) -> None:
    path = archive / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def content(manifest: Manifest) -> object:
    return manifest.files, manifest.segments, manifest.links, manifest.pruned


@settings(deadline=None, max_examples=40)
@given(STEPS, st.sets(st.sampled_from(SYMBOLS)))
@example(
    [
        ("roll", 1, {"ADAUSDT"}),
        ("roll", 2, {"ADAUSDT"}),
        ("compact", 0, {"ADAUSDT"}),
        ("delete", 20, set()),
        ("shorten", 0, set()),
        ("roll", 2, {"ADAUSDT"}),
    ],
    {"ADAUSDT"},
)
def test_a_part_is_what_the_whole_says_of_it(
    steps: list[tuple[str, int, set[str]]], symbols: set[str]
) -> None:
    with TemporaryDirectory() as directory:
        archive = Path(directory)
        for number, step in enumerate(steps, 1):
            before = read_manifest(archive)
            do(archive, step, number)
            whole = read_manifest(archive)
            if step[0] == "shorten":
                assert content(whole) == content(before)
                on_disk = {path for path in before.replaced if (archive / path).exists()}
                assert whole.replaced.keys() in (on_disk, before.replaced.keys())
            part = read_manifest(
                archive, same_directory(lambda path: any(f"={symbol}/" in path for symbol in symbols))
            )
            assert part.files == [file for file in whole.files if file.symbol in symbols]
            assert part.replaced == {
                path: at
                for path, at in whole.replaced.items()
                if any(f"={symbol}/" in path for symbol in symbols)
            }
            assert (part.segments, part.links, part.listed) == (whole.segments, whole.links, whole.listed)
            assert [count for _, count in part.compactions] == [count for _, count in whole.compactions]
            light = read_segments(archive, replaced_since_ns=number // 2)
            assert (light.files, light.segments) == ([], whole.segments)
            assert light.replaced == {path: at for path, at in whole.replaced.items() if at >= number // 2}
            waiting = {file.path.rpartition("/")[0] for file in whole.files if file.last_segment is None}
            seeming = {day.directory for day in waiting_days(archive)}
            assert seeming >= waiting
            rolls = [value for kind, value, _ in steps[:number] if kind == "roll"]
            if len(rolls) == len(set(rolls)):
                assert seeming == waiting
            for segment in (1, 4):
                around = manifest_around(archive, ("linear", segment)).files
                assert [
                    file for file in around if file.segment <= segment <= (file.last_segment or file.segment)
                ] == [
                    file
                    for file in whole.files
                    if file.segment <= segment <= (file.last_segment or file.segment)
                ]


@settings(deadline=None, max_examples=40)
@given(STEPS, st.integers(0, 14), st.booleans())
@example([("roll", 1, {"ADAUSDT"}), ("roll", 1, {"BTCUSDT"})], 1, False)
def test_an_upload_looks_at_all_that_has_changed(
    steps: list[tuple[str, int, set[str]]], published_after: int, forgets: bool
) -> None:
    """Held against what both manifests say as a whole: what is new, what is gone, and what is asked of one file."""
    with TemporaryDirectory() as directory:
        archive = Path(directory)
        path = manifest_path(archive, "linear")
        path.parent.mkdir()
        path.touch()
        published, retired = b"", []
        for number, step in enumerate(steps, 1):
            do(archive, step, number)
            if number == published_after:
                published = path.read_bytes()
                retired = [] if forgets else sorted(read_manifest(archive).replaced)
        lines = path.read_bytes()
        wanted = _changed(path, lines, published, retired)
        here, there = parse_manifest(path, lines), parse_manifest(path, published)
        some_here, some_there = parse_manifest(path, lines, wanted), parse_manifest(path, published, wanted)
        assert some_here.segments == here.segments
        assert some_there.segments == there.segments
        assert some_there.files.keys() - some_here.files.keys() == there.files.keys() - here.files.keys()
        new = {name: file for name, file in here.files.items() if there.files.get(name) != file}
        assert {
            name: file for name, file in some_here.files.items() if some_there.files.get(name) != file
        } == new
        for name in retired:
            assert (name in some_here.files) == (name in here.files)
            assert (name in some_here.replaced) == (name in here.replaced)
