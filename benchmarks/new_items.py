"""Does the embedded model know more of questions that nobody in training was asked than tables do?

New people, new items, six tries. General Social Survey 2018, 18 spending items, each its own
family. In each of six folds three items are held out; three others, of the remaining, are neither
trained on nor asked, but choose a blend's weights and a head's penalty by validation respondents;
the model learns from the other twelve. Each seed draws training, validation and test respondents
anew, none of whom is of another seed or of the demo. The rivals are tables: the pooled shares of
the training items, and a regression on background over all of them at once.
Differences are paired, answer by answer, against the pooled shares; standard errors are clustered
both by respondent and by item (Cameron, Gelbach & Miller 2011), with the t distribution of as many
items less one, and p values are adjusted over the tries (Holm). Items of one fold share a trained
model, which these errors don't know.
Run: python benchmarks/new_items.py [--seeds 0 1 2] [--people 32] [--quick].
What is done lies under runs/new_items, and it goes on there.
Writes benchmarks/new_items.json; the one that is there is of --folds 4."""
import json
from pathlib import Path
import numpy as np
import pandas as pd
from scipy.stats import t
from statsmodels.stats.multitest import multipletests
from alignsurvey.all import (baseline_predictions, load_model, predict, read_predictions, sft,
    stack, write_predictions)
from alignsurvey.models import option_states
from alignsurvey.prediction import with_offsets
from heads import places, study, with_head
from learning_curve import log_scores
from options import Options

FOLDS = 6    # of items
VALIDATION = 16    # respondents of a seed
TEST = 60
TRAINING = dict(batch=16, micro=4, epochs=1, overwrite=True)
PLAIN = dict(TRAINING, loss='option', answer_share=.1, lr=1e-3)
OFFSET = dict(TRAINING, loss='residual', lr=1e-4)
TRIES = ['plain', 'offset', 'head', 'pooled + zero-shot', 'pooled + plain', 'pooled + offset']


def parts_of(records, people, items, seed, fold, many):
    "Records of a seed's and fold's training, validation and test."
    per_seed = many + VALIDATION + TEST
    who = np.split(people[seed*per_seed:(seed + 1)*per_seed], [many, many + VALIDATION])
    order = np.random.default_rng(seed).permutation(items)
    folds = np.array_split(order, FOLDS)
    out = folds[fold]
    other = folds[(fold + 1) % FOLDS]
    about = np.setdiff1d(order, [*out, *other]), other, out
    return [records.select(places(records, some, names)) for some, names in zip(who, about)]


def as_one_question(records):
    "The records with all questions called one, each answer a respondent of its own."
    def renamed(record):
        return dict(question_id='any', family='any', respondent_id=record['record_id'])

    return records.map(renamed, load_from_cache_file=False)


def pooled_shares(train, records):
    "Predictions without a model: the mean shares of the training items."
    return baseline_predictions(train, records, names=['pooled_items'])['pooled_items']


def pooled_regression(train, records):
    "Predictions of a regression on background over all training items at once."
    train, records = as_one_question(train), as_one_question(records)
    return baseline_predictions(train, records, names=['logistic'])['logistic']


def asked(lm, name, parts, folder, settings):
    "Predictions of validation and test by a trained model."
    files = [folder/f'{name}-{part}.jsonl' for part in ('validation', 'test')]
    if not files[1].exists():
        tuned = sft(lm, parts[0], folder/name, **settings)
        for file, records in zip(files, parts[1:]):
            write_predictions(predict(tuned, records), file, overwrite=True)
    return [read_predictions(file) for file in files]


def scored(lm, parts, folder):
    "Log scores of each test answer by every predictor."
    train, validation, test = parts
    journal = folder.parent/'untrained.sqlite'
    said = {'zero-shot': [predict(lm, records, journal=journal) for records in (validation, test)]}
    said['plain'] = asked(lm, 'plain', parts, folder, PLAIN)
    told = with_offsets(*parts, by='item', lm=lm, journal=journal)
    said['offset'] = asked(lm, 'offset', told, folder, OFFSET)
    pooled = [pooled_shares(train, records) for records in (validation, test)]
    scores = {'pooled': log_scores(test, pooled[1]),
        'pooled regression': log_scores(test, pooled_regression(train, test))}
    for name, (known, new) in said.items():
        blend = stack(validation, {'pooled': pooled[0], name: known}, test,
            {'pooled': pooled[1], name: new})
        scores[name] = log_scores(test, new)
        scores[f'pooled + {name}'] = log_scores(test, blend)
    states = [option_states(lm, records.to_list()) for records in parts]
    scores['head'], _ = with_head(lm, with_offsets(*parts, by='item'), states)
    return scores


def one_fold(lm, parts, folder):
    "Log scores of each test answer, a column a predictor, kept in a file."
    folder.mkdir(parents=True, exist_ok=True)
    file = folder/'scores.csv'
    if file.exists():
        return pd.read_csv(file, dtype={'respondent': str})
    train, _, test = parts
    about = dict(item=test['question_id'][:], respondent=test['respondent_id'][:],
        training_answers=len(train))
    frame = pd.DataFrame(about | scored(lm, parts, folder))
    frame.to_csv(file, index=False)
    return frame


def mean_variance(apart, codes):
    "Variance of a mean of deviations that go together by codes."
    many = codes.max() + 1
    return many/(many - 1)*(np.bincount(codes, apart)**2).sum()/len(apart)**2


def clustered_error(gap, one, other):
    "Standard error where answers go together in two ways; no smaller than by either way alone."
    apart = gap - gap.mean()
    by_one, by_other = (mean_variance(apart, pd.factorize(unit)[0]) for unit in (one, other))
    alone = mean_variance(apart, np.arange(len(gap)))
    return max(by_one, by_other, by_one + by_other - alone)**.5


def difference(scores, name):
    "A predictor's mean log score less that of the pooled shares."
    gap = (scores[name] - scores['pooled']).round(9)
    by_item, by_seed = (gap.groupby(scores[of]).mean().round(4) for of in ('item', 'seed'))
    mean = float(gap.mean())
    error = clustered_error(gap, scores['respondent'], scores['item'])
    df = len(by_item) - 1
    half = t.ppf(.975, df)*error
    p = float(2*t.sf(abs(mean/error), df)) if error else 1.
    return dict(predictor=name, log_score=float(scores[name].mean()), difference=mean,
        ci_low=mean - half, ci_high=mean + half, items_better=int((by_item < 0).sum()),
        by_item=by_item.to_dict(), by_seed=by_seed.to_dict(), p_holm=None, p=p)


def table(scores):
    "A row a predictor; p values of the tries are adjusted."
    rows = [difference(scores, name) for name in ('pooled regression', 'zero-shot', *TRIES)]
    tries = [row for row in rows if row['predictor'] in TRIES]
    adjusted = multipletests([row['p'] for row in tries], method='holm')[1]
    for row, p in zip(tries, adjusted):
        row['p_holm'] = float(p)
    return rows


def run(seeds, many, folds, folder):
    "Log scores of all seeds and folds; after each seed, the table so far."
    records, people = study(len(seeds)*(many + VALIDATION + TEST))
    items = sorted(set(records['question_id'][:]))
    lm = load_model()
    found = []
    for seed in seeds:
        for fold in range(folds):
            parts = parts_of(records, people, items, seed, fold, many)
            found.append(one_fold(lm, parts, folder/f'{seed}-{fold}').assign(seed=seed))
        rows = pd.DataFrame(table(pd.concat(found)))
        print(rows.drop(columns=['by_item', 'by_seed']).to_string(), flush=True)
    return pd.concat(found)


def summary(scores, people, seeds):
    "How much was trained on and asked, and the table."
    answers = scores['training_answers'].groupby(scores['seed']).mean().round()
    return dict(training_people=people, training_answers=answers.tolist(),
        test_people=scores['respondent'].nunique(), test_answers=len(scores),
        items=scores['item'].nunique(), seeds=seeds, pooled=float(scores['pooled'].mean()),
        rows=table(scores))


if __name__ == '__main__':
    ask = Options(__file__, __doc__)
    ask.size('--seeds', [0, 1, 2], quick=[0])
    ask.size('--people', 32, quick=3, help='training respondents of a seed')
    ask.size('--folds', FOLDS, quick=1, help='folds of items that are run')
    given = ask.parse_args()
    if given.quick:
        VALIDATION, TEST = 2, 3
    folder = given.out.parent/'runs' if given.quick else Path('runs/new_items')
    found = summary(run(given.seeds, given.people, given.folds, folder), given.people, given.seeds)
    given.out.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
