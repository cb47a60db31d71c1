"""Why does a tuned model not get further? One setting at a time changed from plain fine-tuning, judged by validation respondents.

General Social Survey 2018, the demo's six items, as many of its training respondents as give so many answers; 80 validation respondents, who are in no test. Each try is trained anew from
the embedded model. Its log score stands beside that of plain fine-tuning and of the training shares; differences are paired, answer by answer, with intervals over respondents.
Run: python benchmarks/factors.py [--size 250] [--tries 'plain' 'rank 32' ...] [--quick]. What is done lies under runs/factors, and it goes on there. Writes benchmarks/factors.json."""
import json
import time
from pathlib import Path
import numpy as np
import pandas as pd
from alignsurvey.all import average_orders, baseline_predictions, load_model, predict, read_predictions, reorder, sft, write_predictions
from alignsurvey.prediction import with_offsets
from alignsurvey.study.study import ordered, study_records
from alignsurvey.training.rival import beside_shares
from learning_curve import OFFSET, PLAIN, demo_study_of, first_answers, log_scores, of, people, splits
from options import Options

TOLD = demo_study_of().settings['background']

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
    'offset of the shares': ('loss', OFFSET | dict(lr=1e-4), {}),
    'letters alone': ('prompt', {}, dict(answer_form='label')),
    'options as asked': ('prompt', {}, dict(order='flip')),
    'no background': ('prompt', {}, dict(background=[])),
    'own answers told': ('prompt', {}, dict(background=[*TOLD, 'natenvir', 'natarms', 'natfare'])),
    'three orders averaged': ('asking', {}, {})}


def variant(changes, train_people, validation_people):
    "Training and validation records in a form of their own."
    study = demo_study_of(sample=None, **changes)
    records = study_records(study)
    return [ordered(study, of(records, who)) for who in (train_people, validation_people)]


def asked(lm, name, validation):
    "What a model says of the validation answers."
    if name != 'three orders averaged':
        return predict(lm, validation)
    turned = reorder(validation, 'cyclic')
    return average_orders(turned, predict(lm, turned))


def one_try(lm, name, who, folder):
    "Log score of each validation answer by respondent and item; minutes of training."
    _, training, records = TRIES[name]
    folder = folder/name.replace(' ', '_')
    train, validation = variant(records, *who)
    if not (folder/'took.json').exists():
        folder.mkdir(parents=True, exist_ok=True)
        told = with_offsets(train, validation, lm=lm) if training.get('loss') == 'residual' else (train, validation)
        start = time.perf_counter()
        if training or records or name == 'plain':
            tuned = sft(lm, told[0], folder/'adapter', overwrite=True, seed=0, **PLAIN | training)
        else:
            tuned = load_model(adapter=folder.parent/'plain'/'adapter')
        minutes = (time.perf_counter() - start)/60
        write_predictions(asked(tuned, name, told[1]), folder/'validation.jsonl', overwrite=True)
        (folder/'took.json').write_text(json.dumps(minutes), encoding='utf-8')
    frame = read_predictions(folder/'validation.jsonl')
    return by_answer(validation, frame), json.loads((folder/'took.json').read_text(encoding='utf-8'))


def by_answer(records, frame):
    "Log scores named by respondent and item."
    index = pd.MultiIndex.from_arrays([records['respondent_id'][:], records['question_id'][:]])
    return pd.Series(log_scores(records, frame), index)


def run(size, names, folder, quick):
    _, pool, validation, _ = splits('gss', 'demo', quick)
    everyone = study_records(demo_study_of(sample=None))
    chosen = people(first_answers(everyone, pool, size)), people(validation)[:80]
    train, validation = variant({}, *chosen)
    shares = by_answer(validation, baseline_predictions(train, validation, names=['marginal'])['marginal'])
    lm, rows, plain = load_model(), [], None
    for name in names:
        own, minutes = one_try(lm, name, chosen, folder)
        plain = own if plain is None else plain
        row = dict(change=name, about=TRIES[name][0], answers=len(train), people=len(chosen[0]), minutes=round(minutes, 2), log_score=float(own.mean()))
        for rival, scores in dict(plain=plain, shares=shares).items():
            found = beside_shares(own.reindex(shares.index).to_numpy(), scores.reindex(shares.index).to_numpy(), validation)
            row[f'versus_{rival}'] = [found[k] for k in ('difference', 'ci_low', 'ci_high')]
        rows.append(row)
        print(row, flush=True)
    return rows


if __name__ == '__main__':
    ask = Options(__file__, __doc__)
    ask.size('--size', 250, quick=12, help='training answers')
    ask.size('--tries', list(TRIES), quick=['plain', 'letters alone', 'three orders averaged'], choices=list(TRIES), help="'plain' first")
    given = ask.parse_args()
    rows = run(given.size, given.tries, given.out.parent/'runs' if given.quick else Path('runs/factors'), given.quick)
    given.out.write_text(json.dumps(rows, indent=1) + '\n', encoding='utf-8')
