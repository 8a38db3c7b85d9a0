"""Fetch the browser libraries of python/nextword/page/static/vendor/, unmodified, and record what they are.

Run: python tools/vendor.py            writes the files, their licences and vendor.toml
     python tools/vendor.py --check    compares what lies there with the registry, writes nothing
It needs npm (`npm pack` downloads a package, nothing of it is run). The integrity of each package stands below: a
package whose archive differs from it is refused. tests/page/test_static.py recomputes the hashes without a network.
"""

import base64
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "python" / "nextword" / "page" / "static" / "vendor"

# Package, version, licence, integrity of the archive as npm gives it, {file here: file in the package}.
PACKAGES = [
    (
        "preact",
        "11.2.0",
        "MIT",
        "sha512-/HfHI/7N84e6GrWBJ3J280z3mLaRJiDcSvj/A+y/4AbLnND/1UlGHe1sR6oYuTGwId0nP7dqDU9OnLxMPZ7xBg==",
        {"preact.mjs": "dist/preact.mjs", "hooks.mjs": "hooks/dist/hooks.mjs", "LICENSE.preact": "LICENSE"},
    ),
    (
        "htm",
        "3.1.1",
        "Apache-2.0",
        "sha512-983Vyg8NwUE7JkZ6NmOqpCZ+sh1bKv2iYTlUkzlWmA5JD2acKoxd4KVxbMmxX/85mtfdnDmTFoNKcg5DGAvxNQ==",
        {"htm.mjs": "dist/htm.mjs", "LICENSE.htm": "LICENSE"},
    ),
    (
        "@preact/signals-core",
        "1.14.5",
        "MIT",
        "sha512-vcRv7Ityz5JVmeiVqIluLFzT/PDS/AlhHUpw3/aUWqcVUs6bDGIPXE/6RSC4evBNWYvnniozg5Syfj33al3gkg==",
        {"signals-core.mjs": "dist/signals-core.mjs", "LICENSE.signals-core": "LICENSE"},
    ),
    (
        "@preact/signals",
        "2.11.4",
        "MIT",
        "sha512-Rb+5RPo9gWSaHtzJeauhHxiC8KP/IF2DEPkHPEOGOnuy2wnJzRqyeLRankUCYd6ADqtxS6GnWGv6Ie343d8aYw==",
        {"signals.mjs": "dist/signals.mjs", "LICENSE.signals": "LICENSE"},
    ),
]


def archive(package: str, version: str, integrity: str, into: Path) -> Path:
    """Download one package and return its archive; exits if its sha512 is not the recorded one."""
    done = subprocess.run(
        ["npm", "pack", "--silent", "--ignore-scripts", f"{package}@{version}"],
        cwd=into,
        check=True,
        capture_output=True,
        text=True,
    )
    path = into / done.stdout.split()[-1]
    found = "sha512-" + base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    if found != integrity:
        sys.exit(f"vendor: {package}@{version} must have integrity {integrity}, got {found}; compare the two")
    return path


def main() -> None:
    files: dict[str, bytes] = {}
    record = ["# Each file here is a file of a published package, unmodified. Written by tools/vendor.py.\n"]
    with tempfile.TemporaryDirectory() as folder:
        for package, version, licence, integrity, wanted in PACKAGES:
            with tarfile.open(archive(package, version, integrity, Path(folder))) as packed:
                for name, inside in wanted.items():
                    member = packed.extractfile(f"package/{inside}")
                    assert member is not None, f"{package} has no file {inside}"
                    files[name] = member.read()
            record.append(
                f'\n[[package]]\nname = "{package}"\nversion = "{version}"\nlicence = "{licence}"\n'
                f'integrity = "{integrity}"\n[package.files]\n'
                + "".join(
                    f'"{name}" = {{ from = "{inside}", sha256 = "{hashlib.sha256(files[name]).hexdigest()}" }}\n'
                    for name, inside in wanted.items()
                )
            )
    files["vendor.toml"] = "".join(record).encode()
    if "--check" in sys.argv[1:]:
        differ = [
            name for name, data in files.items() if not (path := FOLDER / name).is_file() or path.read_bytes() != data
        ]
        sys.exit(f"vendor: these files differ from the packages: {', '.join(differ)}" if differ else 0)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (FOLDER / name).write_bytes(data)


if __name__ == "__main__":
    main()
