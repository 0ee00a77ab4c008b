"""Brings the jars of jars.lock from Maven Central into a folder, and checks their hashes and that pom.xml asks for these versions.

    python jars.py FOLDER
"""

import hashlib
import re
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

from maven_artifact import Artifact, Downloader

here = Path(__file__).parent
folder = Path(sys.argv[1])
lock = {coordinates: sha256 for sha256, coordinates in (line.split() for line in (here / "jars.lock").read_text().splitlines())}

pom = xml.parse(here / "pom.xml").getroot()
for dependency in pom.iter(re.sub("project$", "dependency", pom.tag)):
    coordinates = ":".join(field.text for field in dependency)
    if coordinates not in lock:
        sys.exit(f"pom.xml asks for {coordinates}, and jars.lock has no hash of it")

folder.mkdir(parents=True, exist_ok=True)
for coordinates, sha256 in lock.items():
    jar = folder / f"{coordinates.split(':')[1]}.jar"
    Downloader().download(Artifact.parse(coordinates), str(jar))
    found = hashlib.sha256(jar.read_bytes()).hexdigest()
    if found != sha256:
        jar.unlink()
        sys.exit(f"{coordinates} has SHA-256 {found}, and jars.lock has {sha256}")
