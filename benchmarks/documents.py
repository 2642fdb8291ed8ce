"""Documents: reading beside bare pdfium, cutting beside synthetic-data-kit and ragas, on manuals that Debian packages.

python benchmarks/documents.py [--files 1000] [--rounds 3] [--peers PYTHON]

The manuals come by `apt-get install bash-doc developers-reference debian-policy` where they are missing. PYTHON is
of an environment with `pip install ragas==0.4.3 'langchain-community<0.4'` and `pip install --no-deps
synthetic-data-kit==0.0.5`; without it, only the control, which cuts anywhere, stands beside.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import orjson

from common import ROOT, folder, result, table

MANUALS = (
    "/usr/share/doc/bash/bashref.pdf",
    "/usr/share/developers-reference/developers-reference.pdf",
    "/usr/share/doc/debian-policy/policy.epub",
    "/usr/share/doc/bash/bashref.html",
)
_BARE = """
import glob, sys, time, resource
import pypdfium2
pages, began = 0, time.perf_counter()
for name in sorted(glob.glob(sys.argv[1] + "/*.pdf")):
    pdf = pypdfium2.PdfDocument(name)
    for number in range(len(pdf)):
        page = pdf[number]
        text = page.get_textpage()
        text.get_text_range()
        text.close()
        page.close()
        pages += 1
    pdf.close()
print(pages, time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
_OURS = """
import sys, time, resource
from engine.config.documents import DocumentsConfig
from engine.documents.collection import collected
began = time.perf_counter()
shelf = collected(DocumentsConfig(path=(sys.argv[1],)))
seconds = time.perf_counter() - began
files = shelf.files()
assert all(file.is_read for file in files)
peak = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
print(sum(file.pages or 0 for file in files), seconds, peak)
"""


def manuals() -> list[Path]:
    missing = [name for name in MANUALS if not Path(name).is_file()]
    if missing and shutil.which("apt-get"):
        packages = ["bash-doc", "developers-reference", "debian-policy"]
        subprocess.run(["apt-get", "install", "--yes", "--no-install-recommends", *packages], check=False)  # noqa: S607
    there = [Path(name) for name in MANUALS if Path(name).is_file()]
    if not there:
        sys.exit("the manuals cannot be installed here")
    return there


def split_up(pdfs: Sequence[Path], count: int, place: Path) -> None:
    """So many PDFs of 5 to 40 pages each, cut out of these."""
    import pypdfium2

    chance = random.Random(1)
    sources = [pypdfium2.PdfDocument(path) for path in pdfs]
    for number in range(count):
        source = sources[number % len(sources)]
        pages = chance.randint(5, 40)
        start = chance.randrange(len(source) - pages)
        part = pypdfium2.PdfDocument.new()
        part.import_pages(source, list(range(start, start + pages)))
        part.save(place / f"{number}.pdf")
        part.close()


def read_all(place: Path, rounds: int) -> None:
    """Both ways in turn, each a process of its own."""
    figures: dict[str, list[tuple[float, float, float]]] = {"pdfium alone": [], "datagen documents": []}
    for _ in range(rounds):
        for name, code in zip(figures, (_BARE, _OURS), strict=True):
            ran = subprocess.run(
                [sys.executable, "-c", code, str(place)], cwd=ROOT, capture_output=True, text=True, check=True
            )
            pages, seconds, peak = map(float, ran.stdout.split())
            figures[name].append((pages, pages / seconds, peak))
    rows = [
        [
            name,
            f"{runs[0][0]:,.0f}",
            f"{median(run[1] for run in runs):,.0f}",
            f"{max(run[2] for run in runs):.0f}",
        ]
        for name, runs in figures.items()
    ]
    bare, ours = (median(run[1] for run in runs) for runs in figures.values())
    table("Reading", ["", "pages", "pages a second", "MB at most"], rows)
    print(f"\n{ours / bare:.2f} of bare pdfium, with text mended, cut, and compared for repeats")
    result(
        "documents_reading",
        bare=bare,
        ours=ours,
        ratio=ours / bare,
        mb=max(run[2] for run in figures["datagen documents"]),
    )


def cut_all(paths: Sequence[Path], peers: str | None) -> None:
    """The same texts through each tool's own way of cutting."""
    from engine.documents.cutting import cut
    from engine.documents.process import Reader

    with Reader(120) as reader:
        documents = [reader.read(path) for path in paths]
    made: dict[str, list[list[str]]] = {
        "datagen": [[each.text[start:end] for start, end in cut(each, 1200, 2000)] for each in documents],
        "control: every 1,200 characters": [
            [each.text[start : start + 1200] for start in range(0, len(each.text), 1200)]
            for each in documents
        ],
    }
    if peers is not None:
        given = b"\n".join(
            orjson.dumps({"text": each.text, "headings": [head.title for head in each.headings]})
            for each in documents
        )
        script = str(ROOT / "benchmarks" / "peers" / "document_splitters.py")
        ran = subprocess.run([peers, script], input=given, capture_output=True, check=True)
        for line in ran.stdout.splitlines():
            for name, chunks in orjson.loads(line).items():
                made.setdefault(name, []).append(chunks)
    texts = [each.text for each in documents]
    rows = [[name, *quality(texts, chunks).values()] for name, chunks in made.items()]
    heads = [
        "",
        "pieces",
        "shortest",
        "median",
        "longest",
        "begin or end in a word",
        "end a sentence or block",
    ]
    table("Cutting " + ", ".join(path.name for path in paths), heads, rows)
    result(
        "documents_cutting", **{name.split(":")[0]: quality(texts, chunks) for name, chunks in made.items()}
    )


_ENDS = re.compile(r"[.!?:;。][\"'”’)\]]*\s*\Z")


def quality(texts: Sequence[str], pieces: Sequence[Sequence[str]]) -> Mapping[str, object]:
    """Of all pieces: lengths, and where they begin and end in their text."""
    lengths = sorted(len(each) for chunks in pieces for each in chunks)
    torn = ended = 0
    for text, chunks in zip(texts, pieces, strict=True):
        flat = " ".join(text.split())
        blocks = {" ".join(block.split())[-30:] for block in text.split("\n") if block.strip()}
        place = 0
        for chunk in chunks:
            plain = " ".join(chunk.split())
            found = flat.find(plain[:80], max(0, place - 3000))
            start = found if found >= 0 else place
            end = start + len(plain)
            place = end
            before, after = flat[start - 1 : start + 1], flat[end - 1 : end + 1]
            torn += (len(before) == 2 and before.isalnum()) or (len(after) == 2 and after.isalnum())
            ended += bool(_ENDS.search(plain)) or plain[-30:] in blocks
    count = len(lengths)
    return {
        "pieces": count,
        "shortest": lengths[0],
        "median": lengths[count // 2],
        "longest": lengths[-1],
        "torn": f"{torn / count:.0%}",
        "ended": f"{ended / count:.0%}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", help="the Python of an environment with the peers")
    options = parser.parse_args()
    paths = manuals()
    cut_all(paths, options.peers)
    with folder() as place:
        split_up([path for path in paths if path.suffix == ".pdf"], options.files, place)
        read_all(place, options.rounds)


if __name__ == "__main__":
    main()
