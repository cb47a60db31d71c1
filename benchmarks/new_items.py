"""Does the embedded model know more of questions that nobody in training was asked than the other questions' mean shares do? New people, new items, six tries.

General Social Survey 2018, 18 spending items, each its own family. In each of six folds three items are held out; three others, of the remaining, are neither trained on nor asked,
but choose a blend's weights and a head's penalty by validation respondents; the model learns from the other twelve. Each seed draws training, validation and test respondents anew,
none of whom is of another seed or of the demo. The rivals are tables: the pooled shares of the training items, and a regression on background over all of them at once.
Differences are paired, answer by answer, against the pooled shares; standard errors are clustered both by respondent and by item (Cameron, Gelbach & Miller 2011), with the t
distribution of as many items less one, and p values are adjusted over the tries (Holm). Items of one fold share a trained model, which these errors don't know.
Run: python benchmarks/new_items.py [--seeds 0 1 2] [--people 32] [--quick]. What is done lies under runs/new_items, and it goes on there.
Writes benchmarks/new_items.json; the one that is there is of --folds 4."""
import json
from pathlib import Path
import numpy as np
import pandas as pd
from datasets import concatenate_datasets
from scipy.stats import t
from statsmodels.stats.multitest import multipletests
from alignsurvey.all import baseline_predictions, load_model, predict, read_predictions, sft, stack, write_predictions
from alignsurvey.models import option_states
from alignsurvey.prediction import fit_head, with_offsets
from heads import head_scores, of, study
from learning_curve import log_scores
from options import Options

FOLDS, VALIDATION, TEST = 6, 16, 60    # folds of items; respondents of a seed
TRAINING = dict(batch=16, micro=4, epochs=1, overwrite=True)
PLAIN = dict(TRAINING, loss='option', answer_share=.1, lr=1e-3)
OFFSET = dict(TRAINING, loss='residual', lr=1e-4)
TRIES = ['plain', 'offset', 'head', 'pooled + zero-shot', 'pooled + plain', 'pooled + offset']


def parts_of(records, people, items, seed, fold, many):
    "Records of a seed's and fold's training, validation and test."
    per_seed = many + VALIDATION + TEST
    own = people[seed*per_seed:(seed + 1)*per_seed]
    who = own[:many], own[many:many + VALIDATION], own[many + VALIDATION:]
    order = np.random.default_rng(seed).permutation(items)
    out, other = np.array_split(order, FOLDS)[fold], np.array_split(order, FOLDS)[(fold + 1) % FOLDS]
    asked = [np.setdiff1d(order, [*out, *other]), other, out]
    question = np.array(records['question_id'][:])
    rows = [of(records, some) for some in who]
    return [records.select(r[np.isin(question[r], names)]) for r, names in zip(rows, asked)]


def as_one_question(records):
    "The records with all questions called one, each answer a respondent of its own, so that a regression goes over all items."
    return records.map(lambda r: dict(question_id='any', family='any', respondent_id=r['record_id']), load_from_cache_file=False)


def tables(train, records):
    "Predictions without a model: the mean shares of the training items, and a regression over all of these."
    pooled = baseline_predictions(train, records, names=['pooled_items'])['pooled_items']
    return {'pooled': pooled, 'pooled regression': baseline_predictions(as_one_question(train), as_one_question(records), names=['logistic'])['logistic']}


def asked(lm, name, parts, folder, settings):
    "Predictions of validation and test by a trained model."
    if not (folder/f'{name}-test.jsonl').exists():
        tuned = sft(lm, parts[0], folder/name, **settings)
        for part, records in zip(('validation', 'test'), parts[1:]):
            write_predictions(predict(tuned, records), folder/f'{name}-{part}.jsonl', overwrite=True)
    return [read_predictions(folder/f'{name}-{part}.jsonl') for part in ('validation', 'test')]


def with_head(lm, told):
    "Log scores of the test by a head on the untrained model's states, on top of the pooled shares."
    states = [option_states(lm, records.to_list()) for records in told]
    return head_scores(fit_head(lm, *told[:2], states=states[:2]), told[2], states[2])


def one_fold(lm, parts, folder):
    "Log scores of each test answer, a column a predictor."
    folder.mkdir(parents=True, exist_ok=True)
    if (folder/'scores.csv').exists():
        return pd.read_csv(folder/'scores.csv', dtype={'respondent': str})
    validation, test = parts[1:]
    journal = folder.parent/'untrained.sqlite'
    said = {'zero-shot': [predict(lm, records, journal=journal) for records in parts[1:]], 'plain': asked(lm, 'plain', parts, folder, PLAIN)}
    told = with_offsets(*parts, by='item', lm=lm, journal=journal)
    said['offset'] = asked(lm, 'offset', told, folder, OFFSET)
    known = [tables(parts[0], records) for records in parts[1:]]
    scores = {name: log_scores(test, frame) for name, frame in known[1].items()}
    scores |= {name: log_scores(test, frames[1]) for name, frames in said.items()}
    for name, frames in said.items():
        both = [{'pooled': table['pooled'], name: frame} for table, frame in zip(known, frames)]
        scores[f'pooled + {name}'] = log_scores(test, stack(validation, both[0], test, both[1]))
    scores['head'] = with_head(lm, with_offsets(*parts, by='item'))
    frame = pd.DataFrame(dict(item=test['question_id'][:], respondent=test['respondent_id'][:], training_answers=len(parts[0])) | scores)
    frame.to_csv(folder/'scores.csv', index=False)
    return frame


def clustered_error(gap, *units):
    "Standard error of a mean whose answers go together in two ways; no smaller than that of either way alone."
    apart = gap - gap.mean()
    def variance(codes):
        many = codes.max() + 1
        return many/(many - 1)*(np.bincount(codes, apart)**2).sum()/len(gap)**2
    one, other = (variance(pd.factorize(unit)[0]) for unit in units)
    return max(one, other, one + other - variance(np.arange(len(gap))))**.5


def difference(scores, name):
    "A predictor's mean log score less that of the pooled shares; errors clustered by respondent and by item."
    gap = (scores[name] - scores['pooled']).round(9)
    by_item, by_seed = (gap.groupby(scores[c]).mean().round(4).to_dict() for c in ('item', 'seed'))
    mean, error, df = float(gap.mean()), clustered_error(gap, scores.respondent, scores['item']), len(by_item) - 1
    half, p = t.ppf(.975, df)*error, float(2*t.sf(abs(mean/error), df)) if error else 1.
    return dict(predictor=name, log_score=float(scores[name].mean()), difference=mean, ci_low=mean - half, ci_high=mean + half,
        p=p, items_better=int(sum(d < 0 for d in by_item.values())), by_item=by_item, by_seed=by_seed)


def table(scores):
    "A row a predictor; p values of the tries are adjusted."
    rows = [difference(scores, name) for name in ('pooled regression', 'zero-shot', *TRIES)]
    adjusted = multipletests([row['p'] for row in rows if row['predictor'] in TRIES], method='holm')[1]
    for row in rows:
        p = row.pop('p')
        row['p_holm'] = float(adjusted[TRIES.index(row['predictor'])]) if row['predictor'] in TRIES else None
        row['p'] = p
    return rows


def run(seeds, many, folds, folder):
    records, people = study(len(seeds)*(many + VALIDATION + TEST))
    items, lm, found = sorted(set(records['question_id'][:])), load_model(), []
    for seed in seeds:
        for fold in range(folds):
            parts = parts_of(records, people, items, seed, fold, many)
            found.append(one_fold(lm, parts, folder/f'{seed}-{fold}').assign(seed=seed))
        print(pd.DataFrame(table(pd.concat(found))).drop(columns=['by_item', 'by_seed']).to_string(), flush=True)
    return pd.concat(found)


if __name__ == '__main__':
    ask = Options(__file__, __doc__)
    ask.size('--seeds', [0, 1, 2], quick=[0])
    ask.size('--people', 32, quick=3, help='training respondents of a seed')
    ask.size('--folds', FOLDS, quick=1, help='folds of items that are run')
    given = ask.parse_args()
    if given.quick:
        VALIDATION, TEST = 2, 3
    scores = run(given.seeds, given.people, given.folds, given.out.parent/'runs' if given.quick else Path('runs/new_items'))
    size = dict(training_people=given.people, training_answers=scores.training_answers.groupby(scores.seed).mean().round().tolist(),
        test_people=scores.respondent.nunique(), test_answers=len(scores), items=scores.item.nunique(), seeds=given.seeds)
    given.out.write_text(json.dumps(size | dict(pooled=float(scores.pooled.mean()), rows=table(scores)), indent=1) + '\n', encoding='utf-8')
