"""Is what the demo tells the luck of its seed? The demo, with other respondents, another split and
another start of training at each seed.

Each row is the difference in log score from the training shares on the test respondents of that
seed: of the tuned model, of the same as it is before its averages are matched to those shares, and
of a regression. `wandered` is by how much the average probability of an item's first option is more
than its share; `in_training` how the model stands against what it began at among the respondents
that it was trained on. The seeds' respondents overlap, since all are drawn from the same survey, so
the rows are not independent.
Run: python benchmarks/demo_seeds.py [--seeds 0 1 2] [--quick].
What is done lies under runs/demo_seeds, and it goes on there.
Writes benchmarks/demo_seeds.json."""
import dataclasses
from pathlib import Path
import pandas as pd
from alignsurvey.cli.demo import run_demo
from alignsurvey.files.writing import write_json
from alignsurvey.prediction.elicitation import predict
from alignsurvey.prediction.forecasts import read_forecast
from alignsurvey.prediction.offsets import baseline_says, offsets_say
from alignsurvey.records.answers import read_answers
from alignsurvey.study import Study
from alignsurvey.study.askers import answers, asker, journal_path, learns_from
from alignsurvey.training.rival import beside_shares
from learning_curve import difference, log_scores
from options import Options

TUNED = 'tuned'


def finished(folder, seed, quick):
    "The demo with a seed, run where it was not yet."
    folder = folder/f'seed {seed}'
    if not (folder/'report'/'report.html').exists():
        run_demo(folder, seed=seed, quick=quick)
    return Study.load(folder/'study.yaml')


def as_it_is(study, splits):
    "The tuned model's answers, not calibrated; all of them are in its journal."
    own = dict(study.settings['predictors'][TUNED], calibrate=None)
    predictors = dict(study.settings['predictors'], **{TUNED: own})
    plain = dataclasses.replace(study, settings=dict(study.settings, predictors=predictors))
    return answers(plain, TUNED, asker(plain, TUNED, splits), splits)


def in_training(study, splits):
    "The tuned model against what it began at, of the training respondents' own answers."
    lm = asker(study, TUNED, splits)
    taught = learns_from(study, TUNED, splits, asker(study, 'zero-shot', splits))
    said = predict(lm, taught, journal=journal_path(study, TUNED), unseen=None)
    began = offsets_say(learns_from(study, TUNED, splits))
    train = splits['train']
    return difference(beside_shares(log_scores(train, said), log_scores(train, began), train))


def wandered(frame, shares, records):
    "How much more of each item's first option predictions give on average than the shares do."
    a = read_answers(records)
    own, table = (read_forecast('one', some, a).q[:, 0] for some in (frame, shares))
    return {name: float((own - table)[a.item == j].mean()) for j, name in enumerate(a.names)}


def rows(study, seed):
    "How each predictor stands against the training shares."
    splits = study.splits()
    train, test = splits['train'], splits['test']
    found = {TUNED: study.answers()[TUNED], f'{TUNED}, not matched': as_it_is(study, splits),
        'logistic': baseline_says(train, test, 'logistic')}
    shares = baseline_says(train, test, 'marginal')
    made = []
    for name, frame in found.items():
        beside = beside_shares(log_scores(test, frame), log_scores(test, shares), test)
        made.append(dict(seed=seed, predictor=name, training_answers=len(train),
            test_answers=len(test), log_score=beside['log_score'],
            versus_marginal=difference(beside), wandered=wandered(frame, shares, test)))
    made[1]['in_training'] = in_training(study, splits)
    return made


if __name__ == '__main__':
    ask = Options(__file__, __doc__)
    ask.size('--seeds', [0, 1, 2, 3], quick=[0], help='of everything that the demo draws')
    given = ask.parse_args()
    folder = given.out.parent/'runs' if given.quick else Path('runs/demo_seeds')
    found = []
    for seed in given.seeds:
        found += rows(finished(folder, seed, given.quick), seed)
        print(pd.DataFrame(found).to_string(), flush=True)
    write_json(given.out, found, end='\n')
