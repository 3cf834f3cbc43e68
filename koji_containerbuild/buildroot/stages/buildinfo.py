"""Put the image's own Dockerfile, and the help page if there is one, into the image.

Takes:   the text of the Dockerfile so far; the original text; name-version-release for file names
Gives:   the text of the Dockerfile that is built: it copies the files in
Touches: the folder of added files
Fails:   never

The files come from a build context of their own, so .dockerignore does not reach them; COPY makes
them root's, whatever USER says.
"""

from __future__ import annotations

from pathlib import Path

CONTEXT = "koji-containerbuild"  # name of the build context, for COPY --from
FOLDER = "buildinfo"


def buildinfo(text: str, original: str, image: str, files: Path) -> str:
    """In the image: /root/buildinfo/Dockerfile-IMAGE as built, and as it was in git."""
    name = image.replace("/", "-")
    added = [f"COPY --from={CONTEXT} /{page.name} /" for page in sorted(files.glob("help.*"))]
    added.append(f"COPY --from={CONTEXT} /{FOLDER}/ /root/{FOLDER}/")
    built = "\n".join([text.rstrip(), *added]) + "\n"
    folder = files / FOLDER
    folder.mkdir()
    (folder / f"Dockerfile-{name}").write_text(built, encoding="utf-8")
    (folder / f"Dockerfile.original-{name}").write_text(original, encoding="utf-8")
    return built
