"""Is a model that learns what a table leaves open, or a blend with it, ever worse than the table alone?

Studies drawn at random: General or European Social Survey, three to five items, 15 to 45 training respondents, and the training shares or a regression as what is known already.
The embedded model learns with that as an offset (the demo's settings); a blend of it and the regression takes its weights from 40 validation respondents; 80 others are the test.
The residual model is compared with its own offset, the blend with the regression; differences are paired, answer by answer, with intervals over respondents.
Both once as they are and once by `stack(keep=...)`: the rival stays unless the validation respondents show that it is beaten.
Run: python benchmarks/random_studies.py [--studies 20] [--quick]. What is done lies under runs/random_studies, and it goes on there. Writes benchmarks/random_studies.json."""
import json
from pathlib import Path
import numpy as np
import pandas as pd
from alignsurvey.all import Survey, baseline_predictions, load_model, predict, sft, stack
from alignsurvey.prediction import with_offsets
from alignsurvey.prediction.offsets import baseline_says
from alignsurvey.study.study import ordered, study_records
from alignsurvey.training.rival import beside_shares
from learning_curve import METHODS, demo_study_of, log_scores, of, people
from options import Options

VALIDATION, TEST = 40, 80    # respondents
COMPARED = ('residual', 'residual, or its offset', 'blend', 'blend, or the regression')
SETTINGS = METHODS['offset, lr 1e-4'][0]


def drawn(seed, quick):
    "What a study is about, and its training, validation and test records."
    rng = np.random.default_rng(seed)
    survey = str(rng.choice(['gss', 'ess']))
    every = list(demo_study_of(survey).survey.codebook.items)
    about = dict(study=seed, survey=survey, items=sorted(rng.permutation(every)[:rng.integers(3, 6)].tolist()),
        known=str(rng.choice(['marginal', 'logistic'])), training_people=int(rng.integers(15, 46)))
    study = demo_study_of(survey, sample=None, items=about['items'])
    records = study_records(study)
    sizes = [3, 3, 3] if quick else [about['training_people'], VALIDATION, TEST]
    chosen = np.split(rng.permutation(people(records))[:sum(sizes)], np.cumsum(sizes)[:-1])
    return about, [ordered(study, of(records, who)) for who in chosen]


def paired(own, rival, records):
    found = beside_shares(own, rival, records)
    return {name: round(found[name], 12) for name in ('difference', 'ci_low', 'ci_high')}    # of the same forecast it is 0


def one_study(lm, seed, folder, quick):
    "The row of one study."
    file = folder/f'{seed}.json'
    if file.exists():
        return json.loads(file.read_text(encoding='utf-8'))
    about, parts = drawn(seed, quick)
    train, validation, test = parts
    told = with_offsets(*parts, baseline=about['known'], lm=lm)
    tuned = sft(lm, told[0], folder/str(seed), overwrite=True, seed=seed, **SETTINGS)
    said = [predict(tuned, records) for records in told[1:]]
    known = [baseline_says(train, records, about['known']) for records in parts[1:]]
    tables = [baseline_predictions(train, records, names=['logistic'])['logistic'] for records in parts[1:]]
    blended = {keep: stack(validation, dict(tuned=said[0], rival=tables[0]), test, dict(tuned=said[1], rival=tables[1]), keep=keep) for keep in (None, 'rival')}
    kept = stack(validation, dict(tuned=said[0], rival=known[0]), test, dict(tuned=said[1], rival=known[1]), keep='rival')
    beside = {'residual': (said[1], known[1]), 'residual, or its offset': (kept, known[1]),
        'blend': (blended[None], tables[1]), 'blend, or the regression': (blended['rival'], tables[1])}
    about |= dict(training_answers=len(train), test_answers=len(test), weight=blended[None].attrs['weights']['tuned'])
    about |= {name: paired(*(log_scores(test, frame) for frame in pair), test) for name, pair in beside.items()}
    file.write_text(json.dumps(about), encoding='utf-8')
    return about


def summary(rows, name):
    "How one method fared against its rival over all studies."
    gap = pd.DataFrame([row[name] for row in rows])
    return dict(method=name, mean_difference=float(gap.difference.mean()), error=float(gap.difference.sem()), worst=float(gap.difference.max()),
        worse_by_more=int((gap.difference > .003).sum()), shown_worse=int((gap.ci_low > 0).sum()), shown_better=int((gap.ci_high < 0).sum()))


if __name__ == '__main__':
    ask = Options(__file__, __doc__)
    ask.size('--studies', 20, quick=2)
    given = ask.parse_args()
    folder = given.out.parent/'runs' if given.quick else Path('runs/random_studies')
    folder.mkdir(parents=True, exist_ok=True)
    lm, rows = load_model(), []
    for seed in range(given.studies):
        rows.append(one_study(lm, seed, folder, given.quick))
        print(rows[-1], flush=True)
    found = [summary(rows, name) for name in COMPARED]
    print(pd.DataFrame(found).to_string())
    given.out.write_text(json.dumps(dict(studies=rows, summary=found), indent=1) + '\n', encoding='utf-8')
