"""Make what an archive hands out, a data file of codes and its DDI, from ess10no.csv and codebook.yaml beside it.

    python data/ess10no/make_archive.py

Same input, same bytes. Regions get numbers in the order of the alphabet; a blank answer becomes 88, declared missing.
"""
from pathlib import Path
from xml.sax.saxutils import escape

import pandas as pd
import yaml

HERE = Path(__file__).parent
ITEMS = {
    "imwbcnt": ("Immigrants make country worse or better place to live", "Worse place to live", "Better place to live"),
    "imueclt": ("Country's cultural life undermined or enriched by immigrants", "Cultural life undermined", "Cultural life enriched"),
}
LABELS = dict(idno="Respondent number", pspwght="Post-stratification weight", agea="Age of respondent", gndr="Gender", region="Region")


def read_extract(): # the frame of codes; the names of the regions in their order
    "What is handed out: an identifier, a weight, three background variables and two items."
    extract = pd.read_csv(HERE/"ess10no.csv")
    names = sorted(extract.region.unique())
    frame = pd.DataFrame(dict(idno=extract.idno, pspwght=extract.pspwght, agea=extract.agea.astype("Int64"),
        gndr=extract.female + 1, region=extract.region.map(names.index) + 1))
    for item in ITEMS:
        frame[item] = extract[item].fillna(88).astype(int)
    return frame, names


def variable(
    name, # of the column
    label, # short name of the variable
    options=(), # (code, label) of each category; 88 is missing
    question="", # as it was asked
): # one <var> as text
    "A variable in DDI-Codebook 2.5."
    weight = ' wgt="wgt"' if name == "pspwght" else ""
    kind = "discrete" if options else "contin"
    asked = f"<qstn><qstnLit>{escape(question)}</qstnLit></qstn>" if question else ""
    categories = "".join(f'\n  <catgry missing="{"Y" if code == 88 else "N"}"><catValu>{code}</catValu>'
        f"<labl>{escape(text)}</labl></catgry>" for code, text in options)
    return f'<var name="{name}" intrvl="{kind}"{weight}><labl>{escape(label)}</labl>{asked}{categories}</var>'


def describe(
    regions, # names in the order of their codes
    book, # contents of codebook.yaml
): # a DDI-Codebook file as text
    "Title, citation and every variable."
    coded = dict(gndr=list(enumerate(["Male", "Female"], 1)), region=list(enumerate(regions, 1)))
    variables = [variable(name, label, coded.get(name, ())) for name, label in LABELS.items()]
    for name, (label, low, high) in ITEMS.items():
        options = [(0, low), *((i, str(i)) for i in range(1, 10)), (10, high), (88, "Don't know")]
        question = " ".join(book["items"][name]["question"]["en"].split())
        variables.append(variable(name, label, options, question))
    head = (f"<stdyDscr><citation><titlStmt><titl>{escape(book['title'])}</titl></titlStmt>"
        f"<biblCit>{escape(' '.join(book['citation'].split()))}</biblCit></citation></stdyDscr>")
    body = "\n".join(variables)
    return ('<?xml version="1.0" encoding="UTF-8"?>\n<codeBook xmlns="ddi:codebook:2_5" version="2.5" xml:lang="en">\n'
        f"{head}\n<dataDscr>\n{body}\n</dataDscr>\n</codeBook>\n")


def make(
    folder, # where to write
):
    "Both files."
    frame, regions = read_extract()
    book = yaml.safe_load((HERE/"codebook.yaml").read_text(encoding="utf-8"))
    folder.mkdir(exist_ok=True)
    frame.to_csv(folder/"ess10.csv", index=False, lineterminator="\n", encoding="utf-8")
    (folder/"ess10.xml").write_text(describe(regions, book), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    make(HERE/"archive")
