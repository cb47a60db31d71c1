"""Does a head on the model's untrained states reach what a regression finds?

General Social Survey 2018, 18 spending items, the embedded model as it comes. A head is fitted on top of the training shares, or of a regression's probabilities,
to as many respondents as give so many answers; 60 others choose its penalty, and 100 whom nothing has seen are the test; three draws of training respondents.
A second part leaves out each item once, two at a time, and starts from the pooled shares of the others: new people and new items.
Differences are paired, answer by answer, with intervals over respondents: the head less what it started from.
Run: python benchmarks/heads.py [--sizes 500 1500 4000] [--quick]. States are computed once (a quarter of an hour) and lie under runs/heads, in half precision.
Writes benchmarks/heads.json; the one that is there is of --people 250 --sizes 500 1500 --seeds 0."""
import json
from pathlib import Path
import numpy as np
import pandas as pd
from datasets import concatenate_datasets
from tqdm.auto import tqdm
from alignsurvey.all import Survey, baseline_predictions, load_model
from alignsurvey.models import option_states
from alignsurvey.prediction import fit_head, with_offsets
from alignsurvey.training import beside_shares
from alignsurvey.study.study import ordered, study_records
from learning_curve import demo_study_of, log_scores
from options import Options

VALIDATION, TEST, AT_A_TIME = 60, 100, 50    # respondents
RIVALS = ['marginal', 'logistic', 'boosting']


def of(records, people):
    "Places of the records of some respondents."
    return np.flatnonzero(np.isin(records['respondent_id'][:], list(people)))


def study(people):
    "Records of so many respondents, of whom none is in the demo's test, and these in a fixed random order."
    met = {who for part in demo_study_of().splits().values() for who in part['respondent_id']}
    study = demo_study_of(sample=None, items=list(Survey.load('gss2018').codebook.items))
    everyone = ordered(study, study_records(study))
    others = [p for p in dict.fromkeys(everyone['respondent_id'][:]) if p not in met]
    chosen = np.random.default_rng(0).permutation(others)[:people].tolist()
    return everyone.select(of(everyone, chosen)), chosen


def states_of(lm, records, people, folder):
    "The states of all records, computed for some respondents at a time and kept."
    folder.mkdir(parents=True, exist_ok=True)
    found = [None]*len(records)
    for i in tqdm(range(0, len(people), AT_A_TIME), desc='states'):
        rows, file = of(records, people[i:i + AT_A_TIME]), folder/f'{i}.npz'
        if not file.exists():
            some = option_states(lm, records.select(rows).to_list())
            np.savez(file.with_suffix('.part.npz'), *[s.astype(np.float16) for s in some])
            file.with_suffix('.part.npz').rename(file)
        with np.load(file) as kept:
            for row, name in zip(rows, kept.files):
                found[row] = kept[name].astype(np.float32)
    return found


def head_scores(head, records, states):
    rows = records.to_list()
    return np.array([-np.log(head.head.probabilities(r, s)[r['answer_index']]) for r, s in zip(rows, states)])


def paired(own, rival, records):
    found = beside_shares(own, rival, records)
    return [round(found[name], 5) for name in ('difference', 'ci_low', 'ci_high')]


def fitted(lm, parts, states, baseline, by='respondent'):
    "The head's and its offset's log scores of the test."
    told = with_offsets(*parts, baseline=baseline, by=by)
    head = fit_head(lm, told[0], told[1], states=states[:2])
    alone = fit_head(lm, told[0], told[1], states=states[:2], penalties=[np.inf])
    return head, head_scores(head, told[2], states[2]), head_scores(alone, told[2], states[2])


def taken(records, states, rows):
    return records.select(rows), [states[i] for i in rows]


def new_people(lm, records, people, states, sizes, seed):
    "Rows for each size: items of training, new people."
    test, validation, pool = people[:TEST], people[TEST:TEST + VALIDATION], people[TEST + VALIDATION:]
    pool = np.random.default_rng(seed).permutation(pool).tolist()
    answers = pd.Series(records['respondent_id'][:]).value_counts().reindex(pool).cumsum()
    for size in sizes:
        some = pool[:max(10, int((answers <= size).sum()))]
        parts, own = zip(*(taken(records, states, of(records, who)) for who in (some, validation, test)))
        rivals = {name: log_scores(parts[2], frame) for name, frame in baseline_predictions(parts[0], parts[2], names=RIVALS).items()}
        row = dict(part='new people', seed=seed, answers=len(parts[0]), people=len(some), test_answers=len(parts[2]))
        row |= {name: round(float(score.mean()), 5) for name, score in rivals.items()}
        row['logistic_less_marginal'] = paired(rivals['logistic'], rivals['marginal'], parts[2])
        for baseline in ('marginal', 'logistic'):
            head, score, start = fitted(lm, parts, own, baseline)
            row |= {f'head_on_{baseline}': round(float(score.mean()), 5), f'penalty_on_{baseline}': head.made['penalty'],
                f'gain_on_{baseline}': paired(score, start, parts[2])}
        yield row


def new_items(lm, records, people, states, seed):
    "One row: each item left out once, with another one; all items' answers of new people together."
    test, validation, pool = people[:TEST], people[TEST:TEST + VALIDATION], people[TEST + VALIDATION:]
    asked = np.array(records['question_id'][:])
    items = np.random.default_rng(seed).permutation(sorted(set(asked)))
    whole, scores, starts, penalties = [], [], [], []
    for i in range(0, len(items), 2):
        out, other = items[i:i + 2], np.roll(items, -i)[2:4]    # two to be asked, two by which the penalty is chosen
        rest = ~np.isin(asked, [*out, *other])
        rows = [of(records, pool)[rest[of(records, pool)]]]
        rows += [r[np.isin(asked[r], names)] for r, names in ((of(records, validation), other), (of(records, test), out))]
        parts, own = zip(*(taken(records, states, r) for r in rows))
        head, score, start = fitted(lm, parts, own, 'marginal', by='item')
        whole.append(parts[2])
        scores, starts, penalties = scores + [score], starts + [start], penalties + [head.made['penalty']]
    whole, score, start = concatenate_datasets(whole), np.concatenate(scores), np.concatenate(starts)
    return dict(part='new people and items', seed=seed, people=len(pool), items=len(items), test_answers=len(whole),
        pooled_items=round(float(start.mean()), 5), head=round(float(score.mean()), 5), gain=paired(score, start, whole), penalties=penalties)


if __name__ == '__main__':
    ask = Options(__file__, __doc__)
    ask.size('--sizes', [500, 1500, 4000], quick=[100], help='training answers')
    ask.size('--seeds', [0, 1, 2], quick=[0])
    ask.size('--people', 400, quick=12, help='respondents in all')
    given = ask.parse_args()
    if given.quick:
        VALIDATION, TEST = 3, 4
    records, people = study(given.people)
    lm = load_model()
    states = states_of(lm, records, people, given.out.parent/'states' if given.quick else Path('runs/heads'))
    rows = []
    for seed in given.seeds:
        rows += new_people(lm, records, people, states, given.sizes, seed)
        if not given.quick:
            rows.append(new_items(lm, records, people, states, seed))
        print(pd.DataFrame(rows).T.to_string(), flush=True)
        given.out.write_text(json.dumps(rows, indent=1) + '\n', encoding='utf-8')
