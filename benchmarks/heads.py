"""Does a head on the model's untrained states reach what a regression finds?

General Social Survey 2018, 18 spending items, the embedded model as it comes. A head is fitted on
top of the training shares, or of a regression's probabilities, to as many respondents as give so
many answers; 60 others choose its penalty, and 100 whom nothing has seen are the test; three draws
of training respondents.
A second part leaves out each item once, two at a time, and starts from the pooled shares of the
others: new people and new items.
Differences are paired, answer by answer, with intervals over respondents: the head less what it
started from.
Run: python benchmarks/heads.py [--sizes 500 1500 4000] [--quick].
States are computed once (a quarter of an hour) and lie under runs/heads, in half precision. Writes
benchmarks/heads.json; the one that is there is of --people 250 --sizes 500 1500 --seeds 0."""
from pathlib import Path
import numpy as np
import pandas as pd
from datasets import concatenate_datasets
from tqdm.auto import tqdm
from alignsurvey.all import Survey, baseline_predictions, load_model
from alignsurvey.files.writing import write_json
from alignsurvey.models import option_states
from alignsurvey.prediction import fit_head, with_offsets
from alignsurvey.study.study import ordered, study_records
from alignsurvey.training import beside_shares
from learning_curve import demo_study_of, difference, log_scores
from options import Options

VALIDATION = 60    # respondents
TEST = 100
FEWEST = 10    # training respondents
AT_A_TIME = 50    # respondents whose states are kept in one file
RIVALS = ['marginal', 'logistic', 'boosting']
STARTS = ['marginal', 'logistic']    # what a head is put on top of


def places(records, people, items=None):
    "Where the records of some respondents are, about some items or all."
    found = np.isin(records['respondent_id'][:], list(people))
    if items is not None:
        found &= np.isin(records['question_id'][:], list(items))
    return np.flatnonzero(found)


def study(people):
    "Records of so many respondents, none of them in the demo, and these in a fixed random order."
    met = set()
    for part in demo_study_of().splits().values():
        met.update(part['respondent_id'])
    wide = demo_study_of(sample=None, items=list(Survey.load('gss2018').codebook.items))
    everyone = ordered(wide, study_records(wide))
    others = [p for p in dict.fromkeys(everyone['respondent_id'][:]) if p not in met]
    chosen = np.random.default_rng(0).permutation(others)[:people].tolist()
    return everyone.select(places(everyone, chosen)), chosen


def states_of(lm, records, people, folder):
    "The states of all records, computed for some respondents at a time and kept."
    folder.mkdir(parents=True, exist_ok=True)
    found = [None]*len(records)
    for i in tqdm(range(0, len(people), AT_A_TIME), desc='states'):
        rows = places(records, people[i:i + AT_A_TIME])
        file = folder/f'{i}.npz'
        if not file.exists():
            part = file.with_suffix('.part.npz')
            some = option_states(lm, records.select(rows).to_list())
            np.savez(part, *[s.astype(np.float16) for s in some])
            part.rename(file)
        with np.load(file) as kept:
            for row, name in zip(rows, kept.files):
                found[row] = kept[name].astype(np.float32)
    return found


def with_head(lm, told, states, **how):
    "Log scores of the test by a head on top of offsets, and the penalty that validation chose."
    train, validation, test = told
    head = fit_head(lm, train, validation, states=states[:2], **how)
    scores = []
    for record, own in zip(test.to_list(), states[2]):
        scores.append(-np.log(head.head.probabilities(record, own)[record['answer_index']]))
    return np.array(scores), head.made['penalty']


def beside_start(lm, parts, states, baseline, by='respondent'):
    "Log scores of the test with a head and without one, and the head's penalty."
    told = with_offsets(*parts, baseline=baseline, by=by)
    scores, penalty = with_head(lm, told, states)
    start, _ = with_head(lm, told, states, penalties=[np.inf])
    return scores, start, penalty


def mean(scores):
    "To five digits."
    return round(float(scores.mean()), 5)


def paired(own, rival, records):
    "Difference of log scores, answer by answer, and its interval."
    return [round(x, 5) for x in difference(beside_shares(own, rival, records))]


def dealt(people):
    "Training, validation and test respondents."
    test, validation, train = np.split(people, [TEST, TEST + VALIDATION])
    return train, validation, test


def taken(records, states, rows):
    "Records and states of training, validation and test, by their places."
    parts = []
    own = []
    for some in rows:
        parts.append(records.select(some))
        own.append([states[i] for i in some])
    return parts, own


def one_size(lm, parts, states):
    "Log scores of the rivals and of heads, and what heads gain."
    train, _, test = parts
    said = baseline_predictions(train, test, names=RIVALS)
    rivals = {name: log_scores(test, frame) for name, frame in said.items()}
    row = {name: mean(scores) for name, scores in rivals.items()}
    row['logistic_less_marginal'] = paired(rivals['logistic'], rivals['marginal'], test)
    for baseline in STARTS:
        scores, start, penalty = beside_start(lm, parts, states, baseline)
        row[f'head_on_{baseline}'] = mean(scores)
        row[f'penalty_on_{baseline}'] = penalty
        row[f'gain_on_{baseline}'] = paired(scores, start, test)
    return row


def new_people(lm, records, people, states, sizes, seed):
    "Rows for each size: items of training, new people."
    pool, validation, test = dealt(people)
    pool = np.random.default_rng(seed).permutation(pool)
    answers = pd.Series(records['respondent_id'][:]).value_counts().reindex(pool).cumsum()
    for size in sizes:
        some = pool[:max(FEWEST, int((answers <= size).sum()))]
        rows = [places(records, who) for who in (some, validation, test)]
        parts, own = taken(records, states, rows)
        about = dict(part='new people', seed=seed, answers=len(parts[0]), people=len(some),
            test_answers=len(parts[2]))
        yield about | one_size(lm, parts, own)


def new_items(lm, records, people, states, seed):
    "One row: each item left out once, with another one; all items' answers of new people together."
    who = dealt(people)
    items = np.random.default_rng(seed).permutation(sorted(set(records['question_id'][:])))
    whole, scores, starts, penalties = [], [], [], []
    for i in range(0, len(items), 2):
        out = items[i:i + 2]
        other = np.roll(items, -i)[2:4]    # by which the penalty is chosen
        about = np.setdiff1d(items, [*out, *other]), other, out
        rows = [places(records, some, names) for some, names in zip(who, about)]
        parts, own = taken(records, states, rows)
        score, start, penalty = beside_start(lm, parts, own, 'marginal', by='item')
        whole.append(parts[2])
        scores.append(score)
        starts.append(start)
        penalties.append(penalty)
    whole = concatenate_datasets(whole)
    score = np.concatenate(scores)
    start = np.concatenate(starts)
    return dict(part='new people and items', seed=seed, people=len(who[0]), items=len(items),
        test_answers=len(whole), pooled_items=mean(start), head=mean(score),
        gain=paired(score, start, whole), penalties=penalties)


if __name__ == '__main__':
    ask = Options(__file__, __doc__)
    ask.size('--sizes', [500, 1500, 4000], quick=[100], help='training answers')
    ask.size('--seeds', [0, 1, 2], quick=[0])
    ask.size('--people', 400, quick=12, help='respondents in all')
    given = ask.parse_args()
    if given.quick:
        VALIDATION, TEST = 3, 4
    folder = given.out.parent/'states' if given.quick else Path('runs/heads')
    records, people = study(given.people)
    lm = load_model()
    states = states_of(lm, records, people, folder)
    rows = []
    for seed in given.seeds:
        rows += new_people(lm, records, people, states, given.sizes, seed)
        if not given.quick:
            rows.append(new_items(lm, records, people, states, seed))
        print(pd.DataFrame(rows).T.to_string(), flush=True)
        write_json(given.out, rows, end='\n')
