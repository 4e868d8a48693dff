"""What `night` says of itself in Croissant is read by mlcroissant itself, and is true of the files."""

import hashlib
import json
import shutil

import pytest

from kdlab import paths
from kdlab.cli import cleaning
from kdlab.croissant import describe
from kdlab.night import Night, make_night
from kdlab.night.untrimmed import Untrimmed, make_untrimmed
from kdlab.system.ours import NotOurs


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("night")
    make_night(Night(("Jump", "Wave"), (1, 0, 1)), root / "trimmed", workers=1, progress=False)
    make_untrimmed(Untrimmed(videos=(0, 0, 1), seconds=(12, 13)), root / "untrimmed", workers=1, progress=False)
    return root


@pytest.fixture
def night(made, tmp_path):
    """A copy of each, elsewhere than where it was described."""
    for name in ("trimmed", "untrimmed"):
        describe(made / name)
    return shutil.copytree(made, tmp_path / "elsewhere")


def opened(file, caplog):
    mlcroissant = pytest.importorskip("mlcroissant", reason="needs the extra: pip install 'kdlab[croissant]'")
    found = mlcroissant.Dataset(file)  # raises where it is not valid
    assert not found.metadata.issues.errors and not found.metadata.issues.warnings and not caplog.messages
    return found


@pytest.mark.parametrize(("name", "columns"), [
    ("trimmed", ["path", "label", "split", "group", "sha256"]),
    ("untrimmed", ["path", "label", "split", "group", "start", "end", "sha256"]),
])
def test_mlcroissant_finds_it_valid_and_reads_its_clips(night, name, columns, caplog):
    records = list(opened(night / name / "croissant.json", caplog).records("clips"))
    lines = (night / name / "index.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert len(records) == len(lines) >= 1
    for record, line in zip(records, lines, strict=True):
        assert [key.removeprefix("clips/") for key in record] == columns
        values = [value.decode() if isinstance(value, bytes) else str(value) for value in record.values()]
        assert values[:4] == line.split(",")[:4] and [*map(float, values[4:-1])] == [*map(float, line.split(",")[4:])]
        assert values[-1] == hashlib.sha256((night / name / values[0]).read_bytes()).hexdigest()


def test_its_responsible_ai_part_is_understood(night, caplog):
    told = opened(night / "trimmed" / "croissant.json", caplog).metadata
    assert told.data_collection.startswith("Nothing was recorded") and told.annotations_per_item == "1"
    for values in (told.data_biases, told.data_limitations, told.data_use_cases, told.data_annotation_protocol,
                   told.personal_sensitive_information):
        assert len(values) == 1 and len(values[0]) > 50
    assert told.data_social_impact and told.data_release_maintenance_plan and told.data_collection_raw_data
    assert told.license == ["https://spdx.org/licenses/MIT.html"]


def test_every_file_has_its_checksum_and_stands_in_a_file_set(night):
    folder = night / "trimmed"
    rows = dict(line.split(",") for line in (folder / "checksums.csv").read_text().splitlines()[1:])
    files = {file.relative_to(folder).as_posix(): file for file in folder.glob("*/*/*")}
    assert rows == {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}
    assert len(rows) == 4 * 4
    told = json.loads((folder / "croissant.json").read_text(encoding="utf-8"))
    sets = [part for part in told["distribution"] if part["@type"] == "cr:FileSet"]
    assert sorted(file for part in sets for file in folder.glob(part["includes"])) == sorted(files.values())
    assert "Jump, Wave" in told["description"] and str(night) not in json.dumps(told)


def test_a_table_that_was_changed_is_refused_until_it_is_described_again(night, caplog):
    mlcroissant = pytest.importorskip("mlcroissant", reason="needs the extra: pip install 'kdlab[croissant]'")
    with open(night / "trimmed" / "index.csv", "a", encoding="utf-8") as file:
        file.write("dark/Jump/test-0000.mp4,Wave,test,g\n")
    with pytest.raises(mlcroissant.GenerationError) as raised:
        list(mlcroissant.Dataset(night / "trimmed" / "croissant.json").records("clips"))
    assert "not identical" in str(raised.value.__cause__)
    assert len(list(opened(describe(night / "trimmed"), caplog).records("clips"))) == 5


def test_bad_folders_are_told_in_a_sentence(night, tmp_path, command):
    code, out, _ = command("data", "croissant", night / "trimmed")
    assert (code, out) == (0, f"{night / 'trimmed' / 'croissant.json'}\n")
    for folder in (tmp_path / "none", tmp_path):
        code, _, error = command("data", "croissant", folder)
        assert code == 2 and error.endswith(f"make some: kdlab data night --out {folder}\n") and error.count("\n") == 1
    (night / "trimmed" / "croissant.json").write_text('{"mine": 1}')
    with pytest.raises(NotOurs, match=r"croissant\.json is there already"):
        describe(night / "trimmed")


def test_clean_takes_it_with_the_clips(night, monkeypatch):
    monkeypatch.setattr(paths, "data_dir", lambda: night)
    monkeypatch.setitem(cleaning.PLACES, "data", lambda: night)
    assert not cleaning.look("data").left
    cleaning.delete(cleaning.look("data"))
    assert not list(night.iterdir())
