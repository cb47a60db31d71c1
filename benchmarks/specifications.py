"""How long 48 specifications of a study take, beside separate runs of `predict` that share nothing.

    python benchmarks/specifications.py [--quick] [--respondents 40] [--separate 6]

Six items, two labels, two orders, two forms of the background and six wordings, asked zero-shot of the embedded model.
The whole study is run once. Then a balanced draw of its specifications is asked both ways in turns, so that whatever
else the machine does hits both alike: prompts that share their beginnings, and each prompt for itself in padded batches.
Beside wall time stands the processor's, of all threads. Writes specifications.json beside this file."""
import contextlib
import json
import os
import tempfile
import time
from pathlib import Path

import torch

from alignsurvey.files.writing import write_text
from alignsurvey.models.chat import prompt_ids
from alignsurvey.models.loading import load_model
from alignsurvey.models.prefix import grow_trie
from alignsurvey.prediction.elicitation import as_predictor, predict
from alignsurvey.study import Study
from alignsurvey.study.specifications import specified
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
    "Prompts of some records, each as its tokens, and how many tokens there are where a batch shares beginnings."
    prompts = [prompt_ids(lm, r['instruction'], r['input']) for r in asked]
    batches = as_predictor(lm).plan(asked)
    return prompts, sum(len(grow_trie([prompts[i] for i in rows])) for rows in batches)


def counted(lm, study, choices, test):
    "What could be shared, and what was."
    every, within = [], 0
    for _, row in choices.iterrows():
        prompts, shared = tokens(lm, specified(study, row, test))
        every, within = every + prompts, within + shared
    return dict(separate=sum(map(len, every)), shared_within_specifications=within,
        if_shared_between_them_too=len(grow_trie(every)))


def main(respondents, wordings, separate, out):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)/'study.yaml'
        path.write_text(STUDY.format(sample=2*respondents, wordings=', '.join(WORDINGS[:wordings])), encoding='utf-8')    # the other half trains the baselines
        study = Study.load(path)
        test, lm = study.splits()['test'], load_model()
        choices = list_specifications(study.settings['vary'])
        found = dict(specifications=len(choices), respondents=len(set(test['respondent_id'][:])), items=6,
            records=len(test), threads=torch.get_num_threads(), tokens=counted(lm, study, choices, test), whole={})
        print(json.dumps(found), flush=True)
        with timed(found['whole']), contextlib.redirect_stdout(None):
            study.run()
        found['load_then'] = os.getloadavg()[0]
        print(json.dumps(found['whole']), flush=True)
        drawn = list_specifications({**study.settings['vary'], 'take': separate})
        found['pairs'] = []
        for name, row in drawn.iterrows():
            asked, pair = specified(study, row, test), dict(specification=name, shared={}, separate={})
            for way in ('shared', 'separate'):
                with timed(pair[way]):
                    predict(lm, asked, share_prefixes=way == 'shared')
            found['pairs'].append(pair)
            print(json.dumps(pair), flush=True)
    for clock in ('wall_s', 'cpu_s'):
        shared, apart = (sum(pair[way][clock] for pair in found['pairs']) for way in ('shared', 'separate'))
        found[f'times_faster_{clock}'] = round(apart/shared, 2)
    write_text(out, json.dumps(found, indent=1) + '\n')
    print(json.dumps({k: v for k, v in found.items() if k != 'pairs'}, indent=1))


if __name__ == '__main__':
    parser = Options(__file__, __doc__)
    parser.size('--respondents', 40, quick=1, help='who are asked')
    parser.size('--wordings', len(WORDINGS), quick=2, help='how many of them')
    parser.size('--separate', 6, quick=1, help='specifications that are asked both ways')
    given = parser.parse_args()
    main(given.respondents, given.wordings, given.separate, given.out)
