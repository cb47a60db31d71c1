"""Is a model that learns what a table leaves open, or a blend with it, ever worse than the table
alone?

Studies drawn at random: General or European Social Survey, three to five items, 15 to 45 training
respondents, and the training shares or a regression as what is known already. The embedded model
learns with that as an offset (the demo's settings); a blend of it and the regression takes its
weights from 40 validation respondents; 80 others are the test. The residual model is compared with
its own offset, the blend with the regression; differences are paired, answer by answer, with
intervals over respondents. Both once as they are and once by `stack(keep=...)`: the rival stays
unless the validation respondents show that it is beaten. *matched* is the residual model whose
averages over training respondents are put back to those of its offset (`match_shares`).
Run: python benchmarks/random_studies.py [--studies 20] [--quick].
What is done lies under runs/random_studies, and it goes on there.
Puts their rows into benchmarks/random_studies.json, and leaves the others."""
from pathlib import Path
import numpy as np
import pandas as pd
from alignsurvey.all import load_model, match_shares, predict, sft, stack
from alignsurvey.files.strict import read_json
from alignsurvey.files.writing import write_json
from alignsurvey.prediction.offsets import baseline_says, offsets_say, with_offsets
from alignsurvey.study.study import ordered, study_records
from alignsurvey.training.rival import beside_shares
from learning_curve import METHODS, demo_study_of, log_scores, of, people
from options import Options

VALIDATION, TEST = 40, 80    # respondents
COMPARED = ('residual', 'residual, or its offset', 'matched', 'matched, or its offset', 'blend',
    'blend, or the regression')
SETTINGS = METHODS['offset, lr 1e-4'][0]


def drawn(seed, quick):
    "What a study is about, and its training, validation and test records."
    rng = np.random.default_rng(seed)
    survey = str(rng.choice(['gss', 'ess']))
    every = list(demo_study_of(survey).survey.codebook.items)
    items = sorted(rng.permutation(every)[:rng.integers(3, 6)].tolist())
    known = str(rng.choice(['marginal', 'logistic']))
    training_people = int(rng.integers(15, 46))
    study = demo_study_of(survey, sample=None, items=items)
    records = study_records(study)
    sizes = [3, 3, 3] if quick else [training_people, VALIDATION, TEST]
    chosen = np.split(rng.permutation(people(records))[:sum(sizes)], np.cumsum(sizes)[:-1])
    about = dict(study=seed, survey=survey, items=items, known=known,
        training_people=training_people)
    return about, [ordered(study, of(records, who)) for who in chosen]


def paired(own, rival, records):
    "A forecast's difference from another and its interval; 0 where the two are the same."
    found = beside_shares(log_scores(records, own), log_scores(records, rival), records)
    return {name: round(found[name], 12) for name in ('difference', 'ci_low', 'ci_high')}


def blend(asked, tuned, rival, keep=None):
    "A model and a rival as one forecast of the test; each is given for validation and test."
    validation, test = [dict(tuned=t, rival=r) for t, r in zip(tuned, rival)]
    return stack(asked[0], validation, asked[1], test, keep=keep)


def one_study(lm, seed, folder, quick):
    "The row of one study."
    file = folder/f'{seed}.json'
    if file.exists():
        return read_json(file)
    about, (train, *asked) = drawn(seed, quick)
    told_train, *told = with_offsets(train, *asked, baseline=about['known'], lm=lm)
    tuned = sft(lm, told_train, folder/str(seed), overwrite=True, seed=seed, **SETTINGS)
    said = [predict(tuned, records) for records in told]
    at_home = predict(tuned, told_train, unseen=None)
    began = offsets_say(*with_offsets(train, baseline=about['known']))
    matched = [match_shares(train, at_home, *pair, began) for pair in zip(asked, said)]
    known = [baseline_says(train, records, about['known']) for records in asked]
    regression = [baseline_says(train, records, 'logistic') for records in asked]
    blended = blend(asked, said, regression)
    beside = {
        'residual': (said[1], known[1]),
        'residual, or its offset': (blend(asked, said, known, 'rival'), known[1]),
        'matched': (matched[1], known[1]),
        'matched, or its offset': (blend(asked, matched, known, 'rival'), known[1]),
        'blend': (blended, regression[1]),
        'blend, or the regression': (blend(asked, said, regression, 'rival'), regression[1])}
    about |= dict(training_answers=len(train), test_answers=len(asked[1]),
        weight=blended.attrs['weights']['tuned'])
    about |= {name: paired(*pair, asked[1]) for name, pair in beside.items()}
    write_json(file, about)
    return about


def summary(rows, name):
    "How one method fared against its rival over all studies that have it."
    gap = pd.DataFrame([row[name] for row in rows if name in row])
    return dict(
        method=name, studies=len(gap), mean_difference=float(gap.difference.mean()),
        error=float(gap.difference.sem()), worst=float(gap.difference.max()),
        worse_by_more=int((gap.difference > .003).sum()),
        shown_worse=int((gap.ci_low > 0).sum()), shown_better=int((gap.ci_high < 0).sum()))


if __name__ == '__main__':
    ask = Options(__file__, __doc__)
    ask.size('--studies', 20, quick=2)
    given = ask.parse_args()
    folder = given.out.parent/'runs' if given.quick else Path('runs/random_studies')
    folder.mkdir(parents=True, exist_ok=True)
    lm = load_model()
    rows = []
    for seed in range(given.studies):
        rows.append(one_study(lm, seed, folder, given.quick))
        print(rows[-1], flush=True)
    before = read_json(given.out)['studies'] if given.out.exists() else []
    rows += before[len(rows):]
    found = [summary(rows, name) for name in COMPARED]
    print(pd.DataFrame(found).to_string())
    write_json(given.out, dict(studies=rows, summary=found), end='\n')
