"""`night` described in Croissant (MLCommons, 1.0) with its responsible-AI part: a JSON file that other programs read.

It lies in the folder of the clips and names files by relative paths, so it moves with them. ``checksums.csv`` beside it
has the SHA-256 of each video and truth, and ``croissant.json`` those of the tables.
"""

import csv
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

from kdlab import __version__
from kdlab.night.folder import STREAMS, TRUTH, about, write_table
from kdlab.night.folder import is_own as is_video
from kdlab.night.spec import NightError
from kdlab.system.files import write_atomically
from kdlab.system.ours import begins_with, may_write

#: What :func:`describe` writes, and by what its own files are known.
FILES = {"croissant.json": "Drawn by kdlab", "checksums.csv": "path,sha256"}
_JSON, _SUMS = FILES

_STREAMS = {
    "dark": "Dark clips as people have them, H.264.",
    "dark_mpeg4": "The same clips as MPEG-4 part 2, groups of 12 pictures, no B-frames.",
    "bright": "Their well exposed twins without noise, MPEG-4 part 2, groups of 12 pictures, no B-frames.",
    TRUTH: "NumPy archives: the actor's masks and joints in pixels, the camera's light and noise.",
}
_FORMATS = {"dark": "video/mp4", TRUTH: "application/zip"}
_COLUMNS = {
    "path": "The dark video, from this folder; its twins and truth have the same name in the other folders.",
    "label": "The action.", "split": "train, val or test.", "group": "Actor and place; no group is in two splits.",
    "start": "Seconds from the beginning of the video.", "end": "Seconds from the beginning of the video.",
    "sha256": "Of the dark video's bytes, in hex.",
}
_RESPONSIBLE = {
    "dataCollection": "Nothing was recorded: kdlab draws people, places, light and a camera, and encodes the frames.",
    "dataCollectionType": "Others",
    "dataCollectionRawData": "A seed; every clip is a function of it and of the generator's sources.",
    "dataPreprocessingProtocol": "None after encoding.",
    "dataAnnotationProtocol": "Labels, times, masks and joints are those a clip was drawn from; nobody judged.",
    "annotationsPerItem": "1",
    "dataBiases": "Bodies, clothes, skin, hair, places and lamps are drawn by chance, whatever the action, over the "
                  "ranges of docs/night.md, not as often as they are in the world. With a context above 0 place and "
                  "props tell the action on purpose. The eleven actions are those of ARID.",
    "dataLimitations": "Synthetic and small: no motion blur, no shadow of the actor, no parallax of the backdrop, no "
                       "rolling shutter. Results are no statement about real video until they are repeated there.",
    "dataUseCases": "Research and teaching on distillation, low light, compressed video and attention. Not for finding,"
                    " following or judging people, nor for showing that a system is safe to use on them.",
    "dataSocialImpact": "Methods are compared without filming anybody. Recognition in the dark can serve surveillance.",
    "personalSensitiveInformation": "None: nobody was filmed, and no actor is modelled on a real person.",
    "dataReleaseMaintenancePlan": "`kdlab data night` makes it anew from its seed; another generator has another "
                                  "fingerprint.",
}
#: That of Croissant 1.0, which every such file repeats.
_CONTEXT = {
    "@language": "en", "@vocab": "https://schema.org/", "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/", "dct": "http://purl.org/dc/terms/", "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo", "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    **{name: {"@id": f"cr:{name}", "@type": "@json"} for name in ("data", "examples")},
    **{name: f"cr:{name}" for name in (
        "citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty", "fileSet", "format",
        "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references",
        "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform")},
}


def describe(folder: Path | str) -> Path:
    """Write ``croissant.json``, which is returned, and ``checksums.csv`` into a ``folder`` of `night`, trimmed or not.

    Raises :class:`kdlab.night.NightError` where no clips of `night` are finished there, and
    :class:`kdlab.system.ours.NotOurs` where somebody else's files have these names.
    """
    folder = Path(folder).expanduser()
    if not about(folder) or not (folder / "index.csv").is_file():
        raise NightError(f"{folder}: no finished clips of `night`; make some: kdlab data night --out {folder}")
    for name in FILES:
        may_write(folder / name, is_own, "description of clips")
    files = [file for stream in _STREAMS for file in sorted((folder / stream).glob("*/*")) if is_video(file.name)]
    write_table(folder / _SUMS, [["path", "sha256"], *([f.relative_to(folder).as_posix(), _sha256(f)] for f in files)])
    text = json.dumps(_described(folder), indent=1)
    write_atomically(folder / _JSON, lambda path: path.write_text(text + "\n", encoding="utf-8"))
    return folder / _JSON


def is_own(file: Path) -> bool:
    """Whether :func:`describe` wrote ``file``."""
    return file.name in FILES and begins_with(file, FILES[file.name])


def _described(folder: Path) -> dict:
    """The JSON-LD of a folder whose tables are written."""
    with open(folder / "index.csv", newline="", encoding="utf-8") as file:
        columns, *rows = csv.reader(file)
    known = ", ".join(f"{name} {value}" for name, value in about(folder).items())
    what = "actions in untrimmed videos" if "start" in columns else "clips of 2.4 s"
    actions = ", ".join(sorted({row[columns.index("label")] for row in rows}))
    made = datetime.fromtimestamp((folder / "night.json").stat().st_mtime, UTC).date().isoformat()
    tables = [name for name in ("index.csv", "videos.csv", _SUMS) if (folder / name).is_file()]
    return {
        "@context": _CONTEXT, "@type": "sc:Dataset", "name": folder.name,
        "description": f"Drawn by kdlab {__version__}: people performing ARID's actions in the dark, with bright twins "
                       f"and ground truth. {len(rows)} {what}, 160 x 128 pixels, 15 frames/s: {actions} ({known}).",
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "license": "https://spdx.org/licenses/MIT.html", "version": __version__, "datePublished": made,
        "creator": {"@type": "sc:Organization", "name": "The kdlab authors"},
        "citeAs": f"@software{{kdlab, title = {{kdlab}}, author = {{The kdlab authors}}, version = {{{__version__}}}}}",
        "keywords": ["action recognition", "video", "low light", "compressed video", "synthetic"],
        **{f"rai:{name}": value for name, value in _RESPONSIBLE.items()},
        "distribution": [*(_table(folder / name) for name in tables), *map(_videos, _STREAMS)],
        "recordSet": [_clips(columns)],
    }


def _table(file: Path) -> dict:
    return {"@type": "cr:FileObject", "@id": file.name, "name": file.name, "contentUrl": file.name,
            "encodingFormat": "text/csv", "sha256": _sha256(file)}


def _videos(stream: str) -> dict:
    return {"@type": "cr:FileSet", "@id": stream, "name": stream, "description": _STREAMS[stream],
            "encodingFormat": _FORMATS.get(stream, "video/x-msvideo"),
            "includes": f"{stream}/*/*{STREAMS.get(stream, '.npz')}"}


def _clips(columns: list[str]) -> dict:
    """A record for each row of ``index.csv``, and the checksum of its video."""
    fields = [_field(column, "index.csv") for column in columns]
    fields[0]["references"] = {"fileObject": {"@id": _SUMS}, "extract": {"column": "path"}}
    return {"@type": "cr:RecordSet", "@id": "clips", "name": "clips", "field": [*fields, _field("sha256", _SUMS)]}


def _field(column: str, table: str) -> dict:
    return {"@type": "cr:Field", "@id": f"clips/{column}", "name": column, "description": _COLUMNS[column],
            "dataType": "sc:Float" if column in ("start", "end") else "sc:Text",
            "source": {"fileObject": {"@id": table}, "extract": {"column": column}}}


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
