"""What do more respondents buy? The embedded model, plainly tuned and tuned on what a table leaves
open, beside the table and regression.

General Social Survey 2018, the six items of the demo, and the demo's test: its respondents are
looked at once, by the rows that are written; with `--survey ess` the four items of the demo's
European Social Survey, of eleven points each. The weights of a blend come from 200 validation
respondents, who are in neither, and so does the choice between methods:
`validation_versus_marginal` is the difference from the training shares among them. Training grows
by respondents, each size holding the smaller ones. Differences are paired, answer by answer, with
intervals over respondents; `versus_smaller` is from the same way at the size before, where both
were asked for, and `told_apart` how far what is said of single people is from their item's average
(Kullback-Leibler, nats): 0 where everyone is thought the same. *apart* is trained on steps of eight
respondents, where the others have all answers of one or two. *matched* is a method whose averages
over training respondents are put back to their shares, or to what its offset says. With
`--items all` training, validation and test are about all 18 items of that survey, by the same test
respondents. `--seed` is that of training alone: its start and the order of records.
Run: python benchmarks/learning_curve.py [--survey ess] [--sizes 250 491 1000]
[--methods tuned 'offset, lr 3e-4' ...] [--items all] [--seed 1] [--quick].
What is done lies under runs/learning_curve, and it goes on there.
Puts its rows into benchmarks/learning_curve.json, and leaves the others."""
from pathlib import Path
import numpy as np
import pandas as pd
from datasets import concatenate_datasets
from scipy.special import rel_entr
from alignsurvey.all import (Survey, load_model, match_shares, predict, read_predictions, sft,
    write_predictions)
from alignsurvey.cli.demo import DEMOS, TRAINING, demo_study
from alignsurvey.evaluation.stacking import stack
from alignsurvey.files.strict import read_json
from alignsurvey.files.writing import write_json
from alignsurvey.prediction.forecasts import read_forecast
from alignsurvey.prediction.offsets import baseline_says, offsets_say, with_offsets
from alignsurvey.records.answers import read_answers
from alignsurvey.study.file import parse_study
from alignsurvey.study.study import Study, ordered, study_records
from alignsurvey.training.rival import beside_shares
from options import Options, joined

SEED = 0    # of the split
VALIDATION = dict(demo=200, all=100)    # items -> validation respondents
ONE_BY_ONE = dict(TRAINING, respondents=1)    # all answers of a respondent side by side
PLAIN = dict(ONE_BY_ONE, loss='option', answer_share=.1, lr=1e-3)
OFFSET = dict(ONE_BY_ONE, loss='residual')
# name -> (settings, baseline whose logarithm is the offset or None,
#     whether what the model says before training is taken off)
METHODS = {
    'tuned': (PLAIN, None, False),
    'tuned, 3 epochs': (dict(PLAIN, epochs=3), None, False),
    'tuned apart': (dict(PLAIN, lr=2e-3, respondents=8), None, False),
    'offset, lr 1e-4': (dict(OFFSET, lr=1e-4), 'marginal', True),
    'offset, lr 3e-4': (dict(OFFSET, lr=3e-4), 'marginal', True),
    'offset, lr 3e-4, 3 epochs': (dict(OFFSET, lr=3e-4, epochs=3), 'marginal', True),
    'offset of regression': (dict(OFFSET, lr=3e-4), 'logistic', True),
    'offset of regression, lr 1e-4': (dict(OFFSET, lr=1e-4), 'logistic', True),
    'offset, model as it is': (dict(OFFSET, lr=1e-3), 'marginal', False)}
USUAL = ['tuned', 'offset, lr 1e-4', 'offset, lr 3e-4']
RIVALS = ['marginal', 'logistic', 'boosting']
COMPARED = ['marginal', 'logistic']    # those that each row is compared with
CHOSEN = 'chosen by validation'
OF_TRAINING = ['steps', 'training_seconds', 'validation_log_score', 'validation_versus_marginal']
PARTS = ['train', 'validation', 'test']
QUICK = 40    # training answers: of two respondents at least, as one's offsets come from others


def people(records):
    "Respondents, each once."
    return list(dict.fromkeys(records['respondent_id'][:]))


def of(records, some):
    "The records of some respondents."
    return records.select(np.flatnonzero(np.isin(records['respondent_id'][:], list(some))))


def demo_study_of(survey='gss', **other):
    "The study of a demo, or one that has other settings."
    settings = parse_study(demo_study(survey, seed=SEED)) | other
    return Study(Path('study.yaml'), settings, Survey.load(settings['survey']))


def splits(survey, items, quick):
    "All records, training respondents as they are taken, validation and test records."
    study = demo_study_of(survey)
    demo = study.splits()
    asked = dict(items=list(study.survey.codebook.items)) if items == 'all' else {}
    every = demo_study_of(survey, sample=None, **asked)
    everyone = ordered(every, study_records(every))
    first, tested = people(demo['train']), people(demo['test'])
    seen = {*first, *tested}
    shuffled = np.random.default_rng(SEED).permutation(people(everyone))
    others = [p for p in shuffled if p not in seen]
    pool = first + others[VALIDATION['demo']:]
    validation = others[:VALIDATION[items]]
    test = of(everyone, tested) if items == 'all' else demo['test']
    if quick:
        validation = validation[:4]
        test = of(test, people(test)[:4])
    return everyone, pool, of(everyone, validation), test


def first_answers(everyone, pool, n):
    "Records of as many respondents as give n answers at most."
    answers = pd.Series(everyone['respondent_id'][:]).value_counts()
    total = answers.reindex(pool).cumsum()
    return of(everyone, pool[:int((total <= n).sum())])


def log_scores(records, frame):
    "The log score of each answer."
    a = read_answers(records)
    return -np.log(read_forecast('one', frame, a).q[np.arange(len(a.y)), a.y])


def told_apart(records, frame):
    "How far what is said of single people is from the average of the item, in nats."
    a = read_answers(records)
    q = read_forecast('one', frame, a).q
    found = np.zeros(len(q))
    for item in range(len(a.names)):
        rows = a.item == item
        found[rows] = rel_entr(q[rows], q[rows].mean(0)).sum(1)
    return float(found.mean())


def difference(beside):
    "A difference from a rival, and its interval."
    return [beside[k] for k in ('difference', 'ci_low', 'ci_high')]


def tables(names, train, records):
    "What each baseline says. Asked together, one that says the same as another may be left out."
    return {name: baseline_says(train, records, name) for name in names}


def train_and_ask(lm, settings, train, asked, folder, seed):
    "Trains a model, and keeps what it says of each part and, last, what training took."
    adapter = folder/'adapter'
    begun = (adapter/'checkpoints').exists()
    tuned = sft(lm, train, adapter, overwrite=not begun, seed=seed, **settings)
    for part, records in asked.items():
        unseen = None if part == 'train' else 'respondent'
        said = predict(tuned, records, journal=folder/'answers.sqlite', unseen=unseen)
        write_predictions(said, folder/f'{part}.jsonl', overwrite=True)
    card = read_json(adapter/'sft.json')
    write_json(folder/'took.json',
        dict(steps=card['steps'], training_seconds=card['seconds']))


def fitted(lm, name, train, validation, test, out, seed):
    "Predictions of training, validation and test by a method; what training took."
    settings, baseline, own = METHODS[name]
    folder = out/f'{len(train)}'/name.replace(', ', '-').replace(' ', '_')
    if seed:
        folder = folder/f'seed {seed}'
    if not (folder/'took.json').exists():
        told = [train, validation, test]
        if baseline:
            told = with_offsets(*told, baseline=baseline, lm=lm if own else None,
                journal=out/'untrained.sqlite')
        train_and_ask(lm, settings, told[0], dict(zip(PARTS, told)), folder, seed)
    said = [read_predictions(folder/f'{part}.jsonl') for part in PARTS]
    return *said, read_json(folder/'took.json')


def matched(name, train, at_home, records, said):
    "Predictions whose averages are put back; `at_home` are those of the training records."
    baseline, target = METHODS[name][1], None
    if baseline:
        target = offsets_say(*with_offsets(train, baseline=baseline))
    return match_shares(train, at_home, records, said, target)


def rows(train, test, scores, about, seed, smaller):
    """A row a predictor: log score, and its paired differences from the shares, from regression,
    and from what the same way said that learnt from fewer."""
    size = dict(survey=train['source'][0], answers=len(train), people=len(people(train)),
        items=len(train.unique('question_id')), seed=seed)
    found = []
    for name, own in scores.items():
        beside = {rival: beside_shares(own, scores[rival], test) for rival in COMPARED}
        row = dict(size, predictor=name, test_answers=len(test),
            log_score=beside['marginal']['log_score'])
        row |= {f'versus_{rival}': difference(one) for rival, one in beside.items()}
        if name in smaller:
            row['versus_smaller'] = difference(beside_shares(own, smaller[name], test))
        found.append(row | about.get(name, {}))
    return found


def measured(lm, methods, train, validation, test, out, seed):
    """Of one size, log scores of the test and what else is known: of rivals, methods, each method
    stacked with regression, and the rivals that learn from validation too."""
    known, found = (tables(RIVALS, train, records) for records in (validation, test))
    shares = log_scores(validation, known['marginal'])
    about, before = {}, {}
    for name in methods:
        at_home, before[name], found[name], took = fitted(lm, name, train, validation, test, out,
            seed)
        put_back = f'{name}, matched'
        before[put_back] = matched(name, train, at_home, validation, before[name])
        found[put_back] = matched(name, train, at_home, test, found[name])
        about |= {name: dict(took), put_back: dict(took)}
    for name, said in before.items():
        beside = beside_shares(log_scores(validation, said), shares, validation)
        about[name] |= dict(validation_log_score=beside['log_score'],
            validation_versus_marginal=difference(beside))
        both = f'{name} + logistic'
        found[both] = stack(validation, {name: said, 'logistic': known['logistic']},
            test, {name: found[name], 'logistic': found['logistic']})
        about[both] = dict(weights=found[both].attrs['weights'])
    more = tables(COMPARED, concatenate_datasets([train, validation]), test)
    found |= {f'{name}, validation too': frame for name, frame in more.items()}
    for name, frame in found.items():
        about.setdefault(name, {})['told_apart'] = told_apart(test, frame)
    return {name: log_scores(test, frame) for name, frame in found.items()}, about


def run(ask, folder):
    "The rows of all sizes."
    everyone, pool, validation, test = splits(ask.survey, ask.items, ask.quick)
    lm = load_model()
    folder.mkdir(parents=True, exist_ok=True)
    found, smaller = [], {}
    for size in sorted(ask.sizes):
        train = first_answers(everyone, pool, size)
        scores, about = measured(lm, ask.methods, train, validation, test, folder, ask.seed)
        found += rows(train, test, scores, about, ask.seed, smaller)
        smaller = scores
        shown = pd.DataFrame(found).drop(columns='weights', errors='ignore')
        print(shown.to_string(), flush=True)
    return found


def size_of(row):
    return row['survey'], row['answers'], row['items'], row.get('seed', 0)


def chosen(own):
    "Of the rows of one size, the one that validation respondents choose."
    tried = [row for row in own if 'validation_log_score' in row]
    best = min(tried, key=lambda row: row['validation_log_score'])
    row = {k: v for k, v in best.items() if k not in OF_TRAINING}
    return row | dict(predictor=CHOSEN, method=best['predictor'])


def which(row):
    return *size_of(row), row['predictor']


def with_chosen(file, found):
    "Rows of a file, those found anew replaced, the smallest size first."
    rows = [row for row in joined(file, found, which) if row['predictor'] != CHOSEN]
    done = []
    for size in sorted({size_of(row) for row in rows}):
        own = [row for row in rows if size_of(row) == size]
        done += [*own, chosen(own)]
    return done


if __name__ == '__main__':
    ask = Options(__file__, __doc__)
    ask.size('--sizes', [250, 491, 1000], quick=[QUICK], help='training answers')
    ask.size('--methods', USUAL, quick=USUAL[:2], choices=list(METHODS))
    ask.add_argument('--items', choices=list(VALIDATION), default='demo',
        help='the six of the demo, or all of the survey')
    ask.add_argument('--survey', choices=list(DEMOS), default='gss')
    ask.add_argument('--seed', type=int, default=0, help='of training; default 0')
    given = ask.parse_args()
    folder = Path('runs/learning_curve')/given.survey/given.items
    if given.quick:
        folder = given.out.parent/'runs'
    found = run(given, folder)
    write_json(given.out, with_chosen(given.out, found), end='\n')
