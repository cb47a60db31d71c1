"""Why does a tuned model not get further? One setting at a time changed from plain fine-tuning.

General Social Survey 2018, the demo's six items, as many of its training respondents as give so
many answers; 80 validation respondents, who are in no test, judge. Each try is trained anew from
the embedded model. Its log score stands beside that of plain fine-tuning and of the training
shares; differences are paired, answer by answer, with intervals over respondents.
Run: python benchmarks/factors.py [--size 250] [--tries 'plain' 'rank 32' ...] [--quick].
What is done lies under runs/factors, and it goes on there. Writes benchmarks/factors.json."""
import time
from pathlib import Path
import pandas as pd
from alignsurvey.all import (average_orders, baseline_predictions, load_model, predict,
    read_predictions, reorder, sft, write_predictions)
from alignsurvey.files.strict import read_json
from alignsurvey.files.writing import write_json
from alignsurvey.prediction import with_offsets
from alignsurvey.study.study import ordered, study_records
from alignsurvey.training.rival import beside_shares
from learning_curve import (OFFSET, PLAIN, demo_study_of, difference, first_answers, log_scores,
    of, people, splits)
from options import Options

VALIDATION = 80    # respondents, at most
TOLD = demo_study_of().settings['background']
MORE = ['natenvir', 'natarms', 'natfare']    # answers of their own that respondents are told with
TURNED = 'three orders averaged'
QUICK = ['plain', 'letters alone', TURNED]

# name -> (the group that it stands in, what changes in training, what changes in the records)
TRIES = {
    'plain': ('', {}, {}),
    'learning rate 3e-4': ('steps', dict(lr=3e-4), {}),
    'learning rate 3e-3': ('steps', dict(lr=3e-3), {}),
    'three epochs': ('steps', dict(epochs=3), {}),
    'batch of 32': ('steps', dict(batch=32), {}),
    'rank 2': ('adapter', dict(rank=2, alpha=4), {}),
    'rank 32': ('adapter', dict(rank=32, alpha=64), {}),
    'dropout .1': ('adapter', dict(dropout=.1), {}),
    'whole answers': ('loss', dict(loss='answer', answer_share=0), {}),
    'options alone': ('loss', dict(answer_share=0), {}),
    'offset of the shares': ('loss', dict(OFFSET, lr=1e-4), {}),
    'letters alone': ('prompt', {}, dict(answer_form='label')),
    'options as asked': ('prompt', {}, dict(order='flip')),
    'no background': ('prompt', {}, dict(background=[])),
    'own answers told': ('prompt', {}, dict(background=[*TOLD, *MORE])),
    TURNED: ('asking', {}, {})}


def variant(changes, train_people, validation_people):
    "Training and validation records in a form of their own."
    study = demo_study_of(sample=None, **changes)
    records = study_records(study)
    return [ordered(study, of(records, who)) for who in (train_people, validation_people)]


def asked(lm, name, validation):
    "What a model says of the validation answers."
    if name != TURNED:
        return predict(lm, validation)
    turned = reorder(validation, 'cyclic')
    return average_orders(turned, predict(lm, turned))


def trained(lm, name, train, folder):
    "The model of a try; one that only asks in another way is the plain one."
    if name == TURNED:
        return load_model(adapter=folder.parent/'plain'/'adapter')
    settings = PLAIN | TRIES[name][1]
    return sft(lm, train, folder/'adapter', overwrite=True, seed=0, **settings)


def train_and_ask(lm, name, train, validation, folder):
    "Keep what a try's model says of the validation answers, and the minutes of its training."
    folder.mkdir(parents=True, exist_ok=True)
    if TRIES[name][1].get('loss') == 'residual':
        train, validation = with_offsets(train, validation, lm=lm)
    start = time.perf_counter()
    tuned = trained(lm, name, train, folder)
    minutes = (time.perf_counter() - start)/60
    write_predictions(asked(tuned, name, validation), folder/'validation.jsonl', overwrite=True)
    write_json(folder/'took.json', minutes)


def named(records):
    "Respondent and item of each answer."
    return pd.MultiIndex.from_arrays([records['respondent_id'][:], records['question_id'][:]])


def by_answer(records, frame):
    "Log scores named by respondent and item."
    return pd.Series(log_scores(records, frame), named(records))


def one_try(lm, name, who, folder):
    "Log score of each validation answer by respondent and item; minutes of training."
    folder = folder/name.replace(' ', '_')
    train, validation = variant(TRIES[name][2], *who)
    if not (folder/'took.json').exists():
        train_and_ask(lm, name, train, validation, folder)
    scores = by_answer(validation, read_predictions(folder/'validation.jsonl'))
    return scores, read_json(folder/'took.json')


def paired(own, rival, validation):
    "Difference of log scores, answer by answer in the order of the records, and its interval."
    index = named(validation)
    one, other = (scores.reindex(index).to_numpy() for scores in (own, rival))
    return difference(beside_shares(one, other, validation))


def run(size, names, folder, quick):
    "A row a try."
    _, pool, validation, _ = splits('gss', 'demo', quick)
    everyone = study_records(demo_study_of(sample=None))
    who = people(first_answers(everyone, pool, size)), people(validation)[:VALIDATION]
    train, validation = variant({}, *who)
    marginal = baseline_predictions(train, validation, names=['marginal'])['marginal']
    shares = by_answer(validation, marginal)
    lm = load_model()
    rows = []
    plain = None
    for name in names:
        own, minutes = one_try(lm, name, who, folder)
        if plain is None:
            plain = own
        rows.append(dict(change=name, about=TRIES[name][0], answers=len(train), people=len(who[0]),
            minutes=round(minutes, 2), log_score=float(own.mean()),
            versus_plain=paired(own, plain, validation),
            versus_shares=paired(own, shares, validation)))
        print(rows[-1], flush=True)
    return rows


if __name__ == '__main__':
    ask = Options(__file__, __doc__)
    ask.size('--size', 250, quick=12, help='training answers')
    ask.size('--tries', list(TRIES), quick=QUICK, choices=list(TRIES), help="'plain' first")
    given = ask.parse_args()
    folder = given.out.parent/'runs' if given.quick else Path('runs/factors')
    rows = run(given.size, given.tries, folder, given.quick)
    write_json(given.out, rows, end='\n')
