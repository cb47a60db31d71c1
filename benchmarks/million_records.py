"""Does a million respondents fit through a laptop? 1,000,000 x 5 items, made up, from .parquet to Alpaca JSONL on disk.

Run: make bench, or python benchmarks/million_records.py. Prints seconds, peak memory and the file's size as JSON."""
import json, resource, tempfile, time
from pathlib import Path
import numpy as np, pandas as pd, yaml
from alignsurvey.records.reading import write_records
from alignsurvey.all import Survey

N, rng = 1_000_000, np.random.default_rng(0)


def survey_folder(folder):
    "A made-up survey: three background variables, five items with five options and a tenth missing."
    frame = pd.DataFrame(dict(id=np.arange(N), age=rng.integers(18, 90, N), sex=rng.integers(1, 3, N), region=rng.integers(1, 9, N), w=rng.gamma(2, size=N)))
    items = {}
    for i in range(5):
        frame[f'q{i}'] = rng.choice([1, 2, 3, 4, 5, 9], N, p=[.1, .2, .3, .2, .1, .1])
        items[f'q{i}'] = dict(question=f'How far do you agree with statement {i}?', scale='ordinal', missing={9: 'dont_know'},
                              options={1: 'disagree strongly', 2: 'disagree', 3: 'neither', 4: 'agree', 5: 'agree strongly'})
    background = dict(age=dict(question='your age', scale='numeric', bins=[18, 30, 60, 90]), sex=dict(question='your sex', options={1: 'male', 2: 'female'}),
                      region=dict(question='your region', options={i: f'region {i}' for i in range(1, 9)}))
    frame.to_parquet(folder/'million.parquet', index=False)
    (folder/'codebook.yaml').write_text(yaml.safe_dump(dict(id='million', respondent_id='id', weight='w', background=background, items=items), sort_keys=False))
    return folder/'million.parquet'


with tempfile.TemporaryDirectory() as tmp:
    path = survey_folder(Path(tmp))
    start = time.perf_counter()
    records = Survey.load(path).records('response')
    made = time.perf_counter()
    out = write_records(records, Path(tmp)/'million.jsonl')
    done = time.perf_counter()
    print(json.dumps(dict(respondents=N, records=len(records), load_and_build_s=round(made - start, 1), write_s=round(done - made, 1), total_s=round(done - start, 1),
                          file_gib=round(out.stat().st_size/2**30, 2), peak_gib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/2**20, 2))))
