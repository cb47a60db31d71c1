"""How long 48 specifications of a study take, beside separate runs of `predict` that share nothing.

    python benchmarks/specifications.py [--quick] [--respondents 40] [--separate 2]

Six items, two labels, two orders, two forms of the background and six wordings, asked zero-shot of the embedded model.
The whole study is run once. Then some wordings, drawn by lot, are asked in one form of the background, with both labels
and both orders, both ways in turns, so that whatever else the machine does hits both alike: together, as a study asks
them, and in separate runs of `predict` in which each prompt stands for itself in padded batches. Beside wall time stands
the processor's, of all threads. Writes specifications.json beside this file."""
import contextlib
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from datasets import concatenate_datasets

from alignsurvey.files.writing import write_text
from alignsurvey.models.chat import record_ids
from alignsurvey.models.loading import load_model
from alignsurvey.models.prefix import grow_trie
from alignsurvey.prediction.elicitation import as_predictor, predict
from alignsurvey.study import Study
from alignsurvey.study.specifications import all_specified
from alignsurvey.study.ways import list_specifications
from options import Options

STUDY = '''
survey: gss2018
items: [natroad, natsoc, natmass, natpark, natchld, natsci]
background: [age, sex, race, educ, degree, wrkstat]
sample: {sample}
predictors:
  zero-shot: {{model: smollm2-135m}}
baselines: [uniform, marginal]
primary: {{predictor: zero-shot, versus: marginal, metric: brier, margin: 0.05}}
vary:
  wording: [{wordings}]
  background: [lines, sentences]
  labels: [letters, numbers]
  order: [keep, reverse]
'''
WORDINGS = ['benchmark', 'second person', 'third person', 'interview', 'questionnaire', 'no persona']


@contextlib.contextmanager
def timed(found):
    "Wall and processor seconds of what is done inside, into a dict."
    wall, cpu = time.perf_counter(), sum(os.times()[:4])
    yield
    found['wall_s'], found['cpu_s'] = round(time.perf_counter() - wall, 2), round(sum(os.times()[:4]) - cpu, 2)


def tokens(lm, asked):
    "Tokens of some records' prompts, each for itself and where a batch shares beginnings."
    prompts = [record_ids(lm, r) for r in asked]
    shared = sum(len(grow_trie([prompts[i] for i in rows])) for rows in as_predictor(lm).plan(asked))
    return sum(map(len, prompts)), shared


def counted(lm, made):
    "What could be shared, and what was."
    apart = [tokens(lm, asked) for asked in made.values()]
    separate, within = (sum(column) for column in zip(*apart))
    whole = tokens(lm, concatenate_datasets(list(made.values())))[1]
    return dict(separate=separate, shared_within_each=within, shared_by_all=whole)


def pair(lm, made):
    "Some specifications, asked together and apart."
    found = dict(specifications=list(made), together={}, separate={})
    with timed(found['together']):
        predict(lm, concatenate_datasets(list(made.values())))
    with timed(found['separate']):
        for asked in made.values():
            predict(lm, asked, share_prefixes=False)
    return found


def main(respondents, wordings, separate, out):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)/'study.yaml'
        text = STUDY.format(sample=2*respondents, wordings=', '.join(WORDINGS[:wordings]))
        path.write_text(text, encoding='utf-8')    # the other half of the sample trains the baselines
        study = Study.load(path)
        splits, lm = study.splits(), load_model()
        test, choices = splits['test'], list_specifications(study.settings['vary'])
        made = all_specified(study, choices, splits, {})
        found = dict(specifications=len(choices), respondents=len(set(test['respondent_id'][:])), items=6,
            records=len(test), threads=torch.get_num_threads(), tokens=counted(lm, made), whole={})
        print(json.dumps(found), flush=True)
        with timed(found['whole']), contextlib.redirect_stdout(None):
            study.run()
        found['load_then'] = os.getloadavg()[0]
        print(json.dumps(found['whole']), flush=True)
        found['pairs'] = []
        for name in np.random.default_rng(0).choice(choices.wording.unique(), separate, replace=False):
            rows = choices[(choices.wording == name) & (choices.background == 'lines')]
            found['pairs'].append(pair(lm, {spec: made[spec] for spec in rows.index}))
            print(json.dumps(found['pairs'][-1]), flush=True)
    for clock in ('wall_s', 'cpu_s'):
        together, apart = (sum(p[way][clock] for p in found['pairs']) for way in ('together', 'separate'))
        found[f'times_faster_{clock}'] = round(apart/together, 2)
    write_text(out, json.dumps(found, indent=1) + '\n')
    print(json.dumps({k: v for k, v in found.items() if k != 'pairs'}, indent=1))


if __name__ == '__main__':
    parser = Options(__file__, __doc__)
    parser.size('--respondents', 40, quick=1, help='who are asked')
    parser.size('--wordings', len(WORDINGS), quick=2, help='how many of them')
    parser.size('--separate', 2, quick=1, help='wordings that are asked both ways')
    given = parser.parse_args()
    main(given.respondents, given.wordings, given.separate, given.out)
