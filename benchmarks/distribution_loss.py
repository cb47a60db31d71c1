"""Does learning the shares of groups bring a model nearer to groups that it has not met?

Groups of the General Social Survey by age, sex and degree; none of them overlap. The embedded
model learns the shares of some (`loss='distribution'`) and is scored on the others, beside itself
untrained, uniform shares, the training groups' majority and their marginal shares, and the
distance that sampling alone gives.
Run: python benchmarks/distribution_loss.py [--items 4] [--epochs 2] [--quick].
Writes benchmarks/distribution_loss.json."""
import json
import tempfile
import time
from pathlib import Path
from alignsurvey.all import Survey
from alignsurvey.evaluation.groups import evaluate_groups
from alignsurvey.models.loading import load_model
from alignsurvey.prediction.elicitation import predict
from alignsurvey.records.splits import split_records
from alignsurvey.training.trainer import sft
from options import Options

TRAINING = dict(loss='distribution', lr=1e-3, batch=8)
SHOWN = ['predictor', 'versus', 'value', 'ci_low', 'ci_high', 'p_adj', 'n']


def group_records(many):
    "The first so many items that have one wording, and the records of groups about them."
    survey = Survey.load('gss2018')
    items = survey.codebook.items
    clear = [name for name, item in items.items() if item.wording != 'mixed'][:many]
    return clear, survey.records('response', level='group', by=['age', 'sex', 'degree'],
        items=clear, answer_form='text', verbose=False)


def majority(train):
    "All mass on the option that most of the training groups' members chose."
    mass = {}
    for record in train:
        for option, share in zip(record['options'], record['target']):
            key = record['question_id'], option
            mass[key] = mass.get(key, 0) + share*record['n']

    def shares(record):
        chosen = [mass[record['question_id'], option] for option in record['options']]
        most = chosen.index(max(chosen))
        return [float(i == most) for i in range(len(chosen))]

    return shares


def asked(lm, train, test, epochs, seed):
    "Predictions of the test with training and without, and the card of the training."
    with tempfile.TemporaryDirectory() as folder:
        adapter = Path(folder)/'a'
        tuned = sft(lm, train, adapter, epochs=epochs, seed=seed, held_out=test, **TRAINING)
        said = {'tuned': predict(tuned, test), 'zero-shot': predict(lm, test)}
        return said, json.loads((adapter/'sft.json').read_text(encoding='utf-8'))


def run(items, epochs, seed):
    "Distances from the held-out groups' shares, and what they were measured with."
    start = time.perf_counter()
    names, groups = group_records(items)
    parts = split_records(groups, test=.4, seed=seed)
    train, test = parts['train'], parts['test']
    said, card = asked(load_model(), train, test, epochs, seed)
    scores = evaluate_groups(test, said, train=train, predictors={'majority': majority(train)},
        versus=['zero-shot', 'marginal'], seed=seed)
    overall = (scores.metric == 'wasserstein') & scores.question_id.isna()
    table = scores.loc[overall, SHOWN].round(4)
    print(table.to_string(index=False))
    return dict(items=names, training_groups=len(set(train['respondent_id'])),
        held_out_groups=len(set(test['respondent_id'])), training_records=len(train),
        held_out_records=len(test), recipe=card['recipe'], steps=card['steps'],
        seconds=round(time.perf_counter() - start),
        wasserstein=json.loads(table.to_json(orient='records')))


if __name__ == '__main__':
    ask = Options(__file__, __doc__)
    ask.size('--items', 4, quick=1)
    ask.size('--epochs', 2., quick=.25)
    ask.add_argument('--seed', type=int, default=0)
    given = ask.parse_args()
    found = run(given.items, given.epochs, given.seed)
    given.out.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
