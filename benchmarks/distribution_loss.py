"""Does learning the shares of groups bring a model nearer to groups that it has not met?

Groups of the General Social Survey by age, sex and degree; none of them overlap. The embedded model learns the shares of some (`loss='distribution'`) and is scored on the others,
beside itself untrained, uniform shares, the training groups' majority and their marginal shares, and the distance that sampling alone gives.
Run: python benchmarks/distribution_loss.py [--items 4] [--epochs 2] [--quick]. Writes benchmarks/distribution_loss.json."""
import json, tempfile, time
from pathlib import Path
from alignsurvey.evaluation.groups import evaluate_groups
from alignsurvey.models.loading import load_model
from alignsurvey.prediction.elicitation import predict
from alignsurvey.records.splits import split_records
from alignsurvey.training.trainer import sft
from alignsurvey.all import Survey
from options import Options


def majority(train):
    "All mass on the option that most of the training groups' members chose."
    mass = {}
    for r in train:
        for o, t in zip(r['options'], r['target']): mass[r['question_id'], o] = mass.get((r['question_id'], o), 0) + t*r['n']
    def shares(r):
        n = [mass[r['question_id'], o] for o in r['options']]
        return [float(i == n.index(max(n))) for i in range(len(n))]
    return shares


if __name__ == '__main__':
    p = Options(__file__, __doc__)
    p.size('--items', 4, quick=1)
    p.size('--epochs', 2., quick=.25)
    p.add_argument('--seed', type=int, default=0)
    args, start = p.parse_args(), time.perf_counter()
    gss = Survey.load('gss2018')
    clear = [n for n, q in gss.codebook.items.items() if q.wording != 'mixed'][:args.items]    # one wording each
    groups = gss.records('response', level='group', by=['age', 'sex', 'degree'], items=clear, answer_form='text', verbose=False)
    parts = split_records(groups, test=.4, seed=args.seed)
    train, test, lm = parts['train'], parts['test'], load_model()
    with tempfile.TemporaryDirectory() as folder:
        tuned = sft(lm, train, Path(folder)/'a', loss='distribution', lr=1e-3, batch=8, epochs=args.epochs, seed=args.seed, held_out=test)
        said = {'tuned': predict(tuned, test), 'zero-shot': predict(lm, test)}
        card = json.loads((Path(folder)/'a'/'sft.json').read_text(encoding='utf-8'))
    scores = evaluate_groups(test, said, train=train, predictors={'majority': majority(train)}, versus=['zero-shot', 'marginal'], seed=args.seed)
    table = scores[(scores.metric == 'wasserstein') & scores.question_id.isna()][['predictor', 'versus', 'value', 'ci_low', 'ci_high', 'p_adj', 'n']].round(4)
    print(table.to_string(index=False))
    args.out.write_text(json.dumps(dict(items=clear, training_groups=len(set(train['respondent_id'])), held_out_groups=len(set(test['respondent_id'])), training_records=len(train),
        held_out_records=len(test), recipe=card['recipe'], steps=card['steps'], seconds=round(time.perf_counter() - start), wasserstein=json.loads(table.to_json(orient='records'))), indent=1) + '\n', encoding='utf-8')
