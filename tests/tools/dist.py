# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leaves dist/faultline-selfheal-VERSION.tar.gz and dist/selfheal.pyz, each a function of the sources alone.

``ansible-galaxy collection build`` does the building. Its archive carries the time of the day and the order of the file system, so it is
packed again here: sorted, one fixed time, no name in the gzip header. SOURCE_DATE_EPOCH is honoured.
The zip application is built from what was packed, not from the checkout beside it.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import types

ROOT = pathlib.Path(__file__).resolve().parents[2]
DIST = ROOT / "dist"
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "315532800"))  # 1980-01-01, the oldest time a zip file can say


def _galaxy_build(into: str) -> pathlib.Path:
    tool = pathlib.Path(sys.executable).with_name("ansible-galaxy")
    command = [str(tool), "collection", "build", "--output-path", into, str(ROOT)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        sys.exit("dist: ansible-galaxy collection build failed with %d:\n%s" % (done.returncode, done.stdout))
    return next(pathlib.Path(into).glob("*.tar.gz"))


def _json(document: dict) -> bytes:
    return json.dumps(document, indent=True).encode()  # the form ansible-galaxy writes


def _members(tarball: pathlib.Path) -> list[tuple[tarfile.TarInfo, bytes | None]]:
    with tarfile.open(tarball) as archive:
        return [(info, archive.extractfile(info).read() if info.isfile() else None) for info in archive]  # type: ignore[union-attr]


def _sorted_manifest(members: list[tuple[tarfile.TarInfo, bytes | None]]) -> list[tuple[tarfile.TarInfo, bytes | None]]:
    """FILES.json in one order, MANIFEST.json with its new checksum."""
    content = {info.name: data for info, data in members}
    files = json.loads(content["FILES.json"] or b"")
    files["files"].sort(key=lambda entry: entry["name"])
    listing = _json(files)
    manifest = json.loads(content["MANIFEST.json"] or b"")
    manifest["file_manifest_file"]["chksum_sha256"] = hashlib.sha256(listing).hexdigest()
    content.update({"FILES.json": listing, "MANIFEST.json": _json(manifest)})
    first = {"MANIFEST.json": 0, "FILES.json": 1}  # ansible-galaxy reads them first
    return sorted(((info, content[info.name]) for info, unused in members), key=lambda one: (first.get(one[0].name, 2), one[0].name))


def _pack(members: list[tuple[tarfile.TarInfo, bytes | None]]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in members:
            clean = tarfile.TarInfo(info.name)
            clean.type, clean.mode, clean.mtime, clean.linkname = info.type, info.mode, EPOCH, info.linkname
            clean.size = len(data or b"")
            archive.addfile(clean, None if data is None else io.BytesIO(data))
    packed = io.BytesIO()
    # Not gzip.compress: which header it writes depends on Python's version.
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=packed, mtime=0) as stream:
        stream.write(raw.getvalue())
    return packed.getvalue()


def _unpack(members: list[tuple[tarfile.TarInfo, bytes | None]], into: pathlib.Path) -> None:
    # By hand: Debian 12's Python does not know extractall's filter, and newer ones want it. What is no file is a directory (no links).
    for info, data in members:
        target = into / info.name
        if data is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        elif not info.isdir():
            sys.exit("dist: %s is a link; the collection ships real files only, replace it by the file" % info.name)


def _write(path: pathlib.Path, data: bytes) -> None:
    temporary = path.with_name(".%s.%d" % (path.name, os.getpid()))
    temporary.write_bytes(data)
    temporary.replace(path)
    print("%s  %s" % (hashlib.sha256(data).hexdigest(), path.relative_to(ROOT)))


def _archive_module(root: pathlib.Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("_archive", root / "plugins" / "plugin_utils" / "_archive.py")
    if spec is None or spec.loader is None:
        sys.exit("dist: %s has no plugins/plugin_utils/_archive.py" % root)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    sys.dont_write_bytecode = True
    DIST.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        built = _galaxy_build(scratch)
        members = _sorted_manifest(_members(built))
        packed = _pack(members)
        for old in DIST.glob("faultline-selfheal-*.tar.gz"):
            if old.name != built.name:
                old.unlink()
        _write(DIST / built.name, packed)
        tree = pathlib.Path(scratch) / "tree"
        _unpack(members, tree)
        archive_module = _archive_module(tree)
        try:
            application = archive_module.render(str(tree))
        except archive_module.ArchiveError as exc:
            sys.exit("dist: %s" % exc)
        _write(DIST / "selfheal.pyz", application)


if __name__ == "__main__":
    main()
