"""What do more respondents buy? The embedded model, plainly tuned and tuned on what a table leaves open, beside the table and regression.

General Social Survey 2018, the six items of the demo, and the demo's test: its respondents are looked at once, by the rows that are written; with `--survey ess` the four items
of the demo's European Social Survey, of eleven points each. The weights of a blend
come from 200 validation respondents, who are in neither, and so does the choice between methods: `validation_versus_marginal` is the difference from the training
shares among them. Training grows by respondents, each size holding the smaller ones. Differences are paired, answer by answer, with intervals over respondents.
With `--items all` training, validation and test are about all 18 items of that survey, by the same test respondents.
Run: python benchmarks/learning_curve.py [--survey ess] [--sizes 250 491 1000] [--methods tuned 'offset, lr 3e-4' ...] [--items all] [--quick]. What is done lies under runs/learning_curve, and it goes on there.
Puts the rows of these sizes into benchmarks/learning_curve.json, and leaves those of other sizes."""
import json
from pathlib import Path
import numpy as np
import pandas as pd
from datasets import concatenate_datasets
from alignsurvey.all import Survey, baseline_predictions, load_model, predict, read_predictions, sft, write_predictions
from alignsurvey.cli.demo import DEMOS, TRAINING, demo_study
from alignsurvey.prediction.forecasts import read_forecast
from alignsurvey.prediction.offsets import with_offsets
from alignsurvey.records.answers import read_answers
from alignsurvey.evaluation.stacking import stack
from alignsurvey.training.rival import beside_shares
from alignsurvey.study.file import parse_study
from alignsurvey.study.study import Study, ordered, study_records
from options import Options

SEED = 0
VALIDATION = dict(demo=200, all=100)    # items -> validation respondents
PLAIN = dict(TRAINING, loss='option', answer_share=.1, lr=1e-3)
OFFSET = dict(TRAINING, loss='residual')
# name -> (settings, baseline whose logarithm is the offset or None, whether what the model says before training is taken off)
METHODS = {
    'tuned': (PLAIN, None, False),
    'tuned, 3 epochs': (dict(PLAIN, epochs=3), None, False),
    'offset, lr 1e-4': (dict(OFFSET, lr=1e-4), 'marginal', True),
    'offset, lr 3e-4': (dict(OFFSET, lr=3e-4), 'marginal', True),
    'offset, lr 3e-4, 3 epochs': (dict(OFFSET, lr=3e-4, epochs=3), 'marginal', True),
    'offset of regression': (dict(OFFSET, lr=3e-4), 'logistic', True),
    'offset of regression, lr 1e-4': (dict(OFFSET, lr=1e-4), 'logistic', True),
    'offset, model as it is': (dict(OFFSET, lr=1e-3), 'marginal', False)}
RIVALS = ['marginal', 'logistic', 'boosting']
DIFFERENCE = ('difference', 'ci_low', 'ci_high')


def people(records):
    return list(dict.fromkeys(records['respondent_id'][:]))


def of(records, some):
    "The records of some respondents."
    return records.select(np.flatnonzero(np.isin(records['respondent_id'][:], list(some))))


def demo_study_of(survey='gss', **other):
    "The study of a demo, or one that has other settings."
    settings = parse_study(demo_study(survey, seed=SEED)) | other
    return Study(Path('study.yaml'), settings, Survey.load(settings['survey']))


def splits(survey, items, quick):
    "Training records in the order in which they are taken, validation and test."
    study = demo_study_of(survey)
    asked = dict(items=list(study.survey.codebook.items)) if items == 'all' else {}
    demo, every = study.splits(), demo_study_of(survey, sample=None, **asked)
    everyone = ordered(every, study_records(every))
    first, test = people(demo['train']), set(people(demo['test']))
    others = [p for p in np.random.default_rng(SEED).permutation(people(everyone)) if p not in test and p not in set(first)]
    validation, pool = others[:VALIDATION[items]], first + others[VALIDATION['demo']:]
    test = of(everyone, people(demo['test'])) if items == 'all' else demo['test']
    if quick: validation, test = validation[:4], of(test, people(test)[:4])
    return everyone, pool, of(everyone, validation), test


def first_answers(everyone, pool, n):
    "Records of as many respondents as give n answers, or as the demo has where that is nearly n."
    answers = pd.Series(everyone['respondent_id'][:]).value_counts()
    total = answers.reindex(pool).cumsum()
    return of(everyone, pool[:int((total <= n).sum())])


def log_scores(records, frame):
    a = read_answers(records)
    return -np.log(read_forecast('one', frame, a).q[np.arange(len(a.y)), a.y])


def fitted(lm, name, train, validation, test, out):
    "Predictions of validation and test by a method; what training took."
    settings, baseline, own = METHODS[name]
    folder = out/f'{len(train)}'/name.replace(', ', '-').replace(' ', '_')
    if not (folder/'took.json').exists():
        if baseline: train, validation, test = with_offsets(train, validation, test, baseline=baseline, lm=lm if own else None, journal=out/'untrained.sqlite')
        tuned = sft(lm, train, folder/'adapter', overwrite=not (folder/'adapter'/'checkpoints').exists(), seed=SEED, **settings)
        card = json.loads((folder/'adapter'/'sft.json').read_text())
        for part, records in dict(validation=validation, test=test).items():
            write_predictions(predict(tuned, records, journal=folder/'answers.sqlite'), folder/f'{part}.jsonl', overwrite=True)
        (folder/'took.json').write_text(json.dumps(dict(steps=card['steps'], training_seconds=card['seconds'])))
    return {part: read_predictions(folder/f'{part}.jsonl') for part in ('validation', 'test')}, json.loads((folder/'took.json').read_text())


def rows(train, test, predictions, about):
    "A row a predictor: log score, and its paired differences from the training shares and from regression."
    scores = {name: log_scores(test, frame) for name, frame in predictions.items()}
    for name, own in scores.items():
        row = dict(survey=train['source'][0], answers=len(train), people=len(people(train)), items=len(train.unique('question_id')), predictor=name, test_answers=len(test), log_score=beside_shares(own, own, test)['log_score'])
        for rival in ('marginal', 'logistic'):
            found = beside_shares(own, scores[rival], test)
            row[f'versus_{rival}'] = [found[k] for k in DIFFERENCE]
        yield row | about.get(name, {})


def measured(lm, methods, train, validation, test, out):
    "Rows of one size: rivals, methods, each method stacked with regression, and the rivals that learn from validation too."
    known, new = (baseline_predictions(train, records, names=RIVALS) for records in (validation, test))
    found, about, shares = dict(new), {}, log_scores(validation, known['marginal'])
    for name in methods:
        said, about[name] = fitted(lm, name, train, validation, test, out)
        beside = beside_shares(log_scores(validation, said['validation']), shares, validation)
        about[name] |= dict(validation_log_score=beside['log_score'], validation_versus_marginal=[beside[k] for k in DIFFERENCE])
        blend = stack(validation, {name: said['validation'], 'logistic': known['logistic']}, test, {name: said['test'], 'logistic': new['logistic']})
        found |= {name: said['test'], f'{name} + logistic': blend}
        about[f'{name} + logistic'] = dict(weights=blend.attrs['weights'])
    best = min(methods, key=lambda name: about[name]['validation_log_score'])
    found['chosen by validation'], about['chosen by validation'] = found[best], dict(method=best)
    both = baseline_predictions(concatenate_datasets([train, validation]), test, names=['marginal', 'logistic'])
    found |= {f'{name}, validation too': frame for name, frame in both.items()}
    return list(rows(train, test, found, about))


def run(survey, sizes, methods, items, folder, quick):
    everyone, pool, validation, test = splits(survey, items, quick)
    lm, found = load_model(), []
    folder.mkdir(parents=True, exist_ok=True)
    for size in sizes:
        found += measured(lm, methods, first_answers(everyone, pool, size), validation, test, folder)
        print(pd.DataFrame(found).drop(columns='weights', errors='ignore').to_string(), flush=True)
    return found


def joined(file, found):
    "Rows of a file but for the sizes that were found anew (of the same survey and as many items), and these, the smallest size first."
    def size(row): return row['survey'], row['answers'], row['items']
    anew = {size(row) for row in found}
    before = json.loads(file.read_text(encoding='utf-8')) if file.exists() else []
    return sorted([row for row in before if size(row) not in anew] + found, key=size)


if __name__ == '__main__':
    ask = Options(__file__, __doc__)
    ask.size('--sizes', [250, 491, 1000], quick=[24], help='training answers')
    ask.size('--methods', ['tuned', 'offset, lr 1e-4', 'offset, lr 3e-4'], quick=['tuned', 'offset, lr 1e-4'], choices=list(METHODS))
    ask.add_argument('--items', choices=list(VALIDATION), default='demo', help='the six of the demo, or all of the survey')
    ask.add_argument('--survey', choices=list(DEMOS), default='gss')
    given = ask.parse_args()
    folder = given.out.parent/'runs' if given.quick else Path('runs/learning_curve')/given.survey/given.items
    found = run(given.survey, given.sizes, given.methods, given.items, folder, given.quick)
    given.out.write_text(json.dumps(joined(given.out, found), indent=1) + '\n', encoding='utf-8')
