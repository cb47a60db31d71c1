"""How many respondents must a training step hold, so that a model learns how people differ?

General Social Survey 2018, the demo's six items and its training respondents, but the answers are
made up: whoever is of one party gives one answer, whoever is of the other the opposite, and all
others the one between, to every item. The rule is in the prompt for anyone to read, and perfect
knowledge scores 0. The embedded model learns from the same answers in steps of eight, of which
`respondents` are about how many people they come from: 1 has all answers of one side by side. Then
it is asked what new respondents say. `told_apart` is how far what it says of each is from the
average of the item, in nats; the shares of training answers tell nobody apart. One training each.
Run: python benchmarks/respondents_a_step.py [--respondents 1 4 8] [--rates .003] [--quick].
Puts its rows into benchmarks/respondents_a_step.json, and leaves the others."""
import time
from pathlib import Path
from alignsurvey.all import baseline_predictions, load_model, predict, sft
from alignsurvey.files.writing import write_json
from learning_curve import (PLAIN, first_answers, log_scores, of, people, splits,
    told_apart)
from options import Options, joined

TOLD = 'your party identification: '
RULE = {'Democrat': 'too little', 'Republican': 'too much'}
OTHERS = 'about the right amount'
ANSWERS = 491
TEST = 60    # respondents


def by_rule(record):
    "The record with the answer that the rule gives."
    party = record['instruction'].partition(TOLD)[2].partition('\n')[0]
    said = next((answer for name, answer in RULE.items() if name in party), OTHERS)
    return dict(answer_index=record['options'].index(said), output=said)


def row(train, test, respondents, lr, folder):
    "What a model has learnt in one way."
    start = time.perf_counter()
    lm = sft(load_model(), train, folder, overwrite=True, seed=0,
        **dict(PLAIN, respondents=respondents, lr=lr))
    seconds = time.perf_counter() - start
    said = predict(lm, test)
    scores = log_scores(test, said)
    return dict(respondents=respondents, lr=lr, batch=PLAIN['batch'], answers=len(train),
        people=len(people(train)), test_answers=len(test), seconds=round(seconds, 1),
        log_score=float(scores.mean()), told_apart=told_apart(test, said))


def which(row):
    return row['lr'], row['respondents']


if __name__ == '__main__':
    ask = Options(__file__, __doc__)
    ask.size('--respondents', [1, 4, 8], quick=[1, 8], help='in a step, about')
    ask.size('--rates', [3e-3], quick=[3e-3])
    ask.size('--answers', ANSWERS, quick=20, help='training answers')
    given = ask.parse_args()
    everyone, pool, _, test = splits('gss', 'demo', given.quick)
    train = first_answers(everyone, pool, given.answers).map(by_rule)
    test = of(test, people(test)[:TEST]).map(by_rule)
    folder = given.out.parent/'runs' if given.quick else Path('runs/respondents_a_step')
    shares = baseline_predictions(train, test, names=['marginal'])['marginal']
    found = []
    for lr in given.rates:
        for respondents in given.respondents:
            one = row(train, test, respondents, lr, folder/f'{lr:g}-{respondents}')
            one['training_shares'] = float(log_scores(test, shares).mean())
            found.append(one)
            print(one, flush=True)
            rows = joined(given.out, found, which)
            write_json(given.out, sorted(rows, key=which), end='\n')
