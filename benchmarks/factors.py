"""Why does a tuned model not get further? One setting at a time changed from plain fine-tuning,
then the best of them together.

General Social Survey 2018, the demo's six items, as many of its training respondents as give so
many answers; 80 validation respondents, who are in no test, judge; what is fitted to predictions,
such as a temperature, comes from 80 others. Each try is trained anew from the embedded model, but
for those that only ask another try's model in another way. *After another survey* learns as many
answers of the European Social Survey first; a head lies on the states of the tuned model. A log
score stands beside that of plain fine-tuning and of the training shares; differences are paired,
answer by answer, with intervals over respondents.
Run: python benchmarks/factors.py [--size 250] [--tries 'plain' 'rank 32' ...] [--quick].
What is done lies under runs/factors, and it goes on there. Puts its rows into
benchmarks/factors.json, and leaves the others; 'plain' comes first."""
import time
from dataclasses import dataclass, field
from pathlib import Path
import pandas as pd
from alignsurvey.all import (average_orders, baseline_predictions, calibrate, load_model,
    match_shares, predict, read_predictions, reorder, sft, write_predictions)
from alignsurvey.evaluation.stacking import stack
from alignsurvey.files.strict import read_json
from alignsurvey.files.writing import write_json
from alignsurvey.prediction import fit_head, with_offsets
from alignsurvey.study.study import ordered, study_records
from alignsurvey.training.rival import beside_shares
from learning_curve import (OFFSET, PLAIN, demo_study_of, difference, first_answers, log_scores,
    of, people, splits)
from options import Options, joined

VALIDATION = 80    # respondents who judge, at most, and as many for a temperature
TOLD = demo_study_of().settings['background']
MORE = ['natenvir', 'natarms', 'natfare']    # answers of their own that respondents are told with
ATTENTION = ['q_proj', 'k_proj', 'v_proj', 'o_proj']


@dataclass
class Try:
    "What is changed, and where."
    about: str = ''    # the group that it stands in
    training: dict = field(default_factory=dict)    # what `sft` is told
    records: dict = field(default_factory=dict)    # what the study is told
    turned: bool = False    # the training records are those of three orders
    layers: list = None    # that get an adapter; None: all linear ones
    first: str = ''    # another survey, from which it learns first
    model: str = ''    # the try whose model is asked; none: its own
    asked: str = ''    # in another way: turned, heated, matched, stacked or head


TRIES = {
    'plain': Try(),
    'learning rate 3e-4': Try('steps', dict(lr=3e-4)),
    'learning rate 3e-3': Try('steps', dict(lr=3e-3)),
    'constant rate': Try('steps', dict(trainer_args=dict(lr_scheduler_type='constant'))),
    'three epochs': Try('steps', dict(epochs=3)),
    'batch of 2': Try('steps', dict(batch=2, micro=2)),
    'batch of 32': Try('steps', dict(batch=32)),
    'answers apart': Try('steps', dict(respondents=8)),
    'rank 2': Try('adapter', dict(rank=2, alpha=4)),
    'rank 32': Try('adapter', dict(rank=32, alpha=64)),
    'attention alone': Try('adapter', dict(adapter_policy='continue'), layers=ATTENTION),
    'dropout .1': Try('adapter', dict(dropout=.1)),
    'whole answers': Try('loss', dict(loss='answer', answer_share=0)),
    'options alone': Try('loss', dict(answer_share=0)),
    'half whole answers': Try('loss', dict(answer_share=.5)),
    'offset of the shares': Try('loss', dict(OFFSET, lr=1e-4)),
    'after another survey': Try('stages', dict(adapter_policy='continue'), first='ess'),
    'letters alone': Try('prompt', records=dict(answer_form='label')),
    'options as asked': Try('prompt', records=dict(order='flip')),
    'three orders trained': Try('prompt', turned=True),
    'no background': Try('prompt', records=dict(background=[])),
    'own answers told': Try('prompt', records=dict(background=[*TOLD, *MORE])),
    'three orders averaged': Try('asking', model='plain', asked='turned'),
    'temperature': Try('asking', model='plain', asked='heated'),
    'averages matched': Try('asking', model='plain', asked='matched'),
    'blend with a regression': Try('asking', model='plain', asked='stacked'),
    'head on its states': Try('asking', model='plain', asked='head'),
    'three epochs, rank 32': Try('together', dict(epochs=3, rank=32, alpha=64)),
    'three epochs, rank 32, three orders averaged': Try('together',
        model='three epochs, rank 32', asked='turned'),
    'three epochs, rank 32, averages matched': Try('together',
        model='three epochs, rank 32', asked='matched'),
    'three epochs, own answers told': Try('together', dict(epochs=3),
        dict(background=[*TOLD, *MORE]))}
QUICK = ['plain', 'letters alone', 'attention alone', 'answers apart', 'three orders averaged',
    'temperature', 'averages matched', 'blend with a regression', 'head on its states',
    'after another survey']


def variant(changes, *groups):
    "Records of groups of respondents, in a form of their own."
    study = demo_study_of(sample=None, **changes)
    records = study_records(study)
    return [ordered(study, of(records, who)) for who in groups]


def on_layers(lm, layers, folder):
    "The model with an untrained adapter on some layers."
    from peft import LoraConfig, get_peft_model
    config = LoraConfig(r=8, lora_alpha=16, target_modules=layers, task_type='CAUSAL_LM')
    get_peft_model(lm.model, config).save_pretrained(folder)
    return load_model(adapter=folder)


def some_answers(survey, n):
    "Training records of another survey's demo, as many answers or a few less."
    _, pool, _, _ = splits(survey, 'demo', False)
    study = demo_study_of(survey, sample=None)
    return ordered(study, first_answers(study_records(study), pool, n))


def trained(one, train, folder):
    "The model of a try."
    lm = load_model()
    if one.layers:
        lm = on_layers(lm, one.layers, folder/'untrained')
    if one.first:
        lm = sft(lm, some_answers(one.first, len(train)), folder/'first', overwrite=True, seed=0,
            **PLAIN)
    if one.turned:
        train = reorder(train, 'cyclic')
    settings = PLAIN | one.training
    return sft(lm, train, folder/'adapter', overwrite=True, seed=0, **settings)


def says(lm, how, train, validation, others):
    "What a model says of the validation answers, asked in some way."
    if how == 'turned':
        turned = reorder(validation, 'cyclic')
        return average_orders(turned, predict(lm, turned))
    said = predict(lm, validation)
    if how == 'heated':
        return calibrate(others, predict(lm, others), validation, said)
    if how == 'matched':
        return match_shares(train, predict(lm, train, unseen=None), validation, said)
    if how == 'stacked':
        return stacked(train, others, predict(lm, others), validation, said)
    if how == 'head':
        told = with_offsets(train, others, validation)
        return predict(fit_head(lm, *told[:2]), told[2])
    return said


def stacked(train, others, of_others, validation, said):
    "A blend with a regression, weighted by other respondents."
    known, asked = (baseline_predictions(train, some, names=['logistic'])['logistic']
        for some in (others, validation))
    return stack(others, dict(own=of_others, logistic=known),
        validation, dict(own=said, logistic=asked))


def train_and_ask(name, train, validation, others, folder):
    "Keep what a try's model says of the validation answers, and the minutes of its training."
    one, own = TRIES[name], folder/name.replace(' ', '_')
    own.mkdir(parents=True, exist_ok=True)
    if one.training.get('loss') == 'residual':
        train, validation = with_offsets(train, validation, lm=load_model())
    start = time.perf_counter()
    if one.model:
        lm = load_model(adapter=folder/one.model.replace(' ', '_')/'adapter')
    else:
        lm = trained(one, train, own)
    minutes = (time.perf_counter() - start)/60
    said = says(lm, one.asked, train, validation, others)
    write_predictions(said, own/'validation.jsonl', overwrite=True)
    write_json(own/'took.json', minutes)


def named(records):
    "Respondent and item of each answer."
    return pd.MultiIndex.from_arrays([records['respondent_id'][:], records['question_id'][:]])


def by_answer(records, frame):
    "Log scores named by respondent and item."
    return pd.Series(log_scores(records, frame), named(records))


def one_try(name, who, folder):
    "Log score of each validation answer by respondent and item; minutes of training."
    own = folder/name.replace(' ', '_')
    train, validation, others = variant(TRIES[name].records, *who)
    if not (own/'took.json').exists():
        train_and_ask(name, train, validation, others, folder)
    scores = by_answer(validation, read_predictions(own/'validation.jsonl'))
    return scores, read_json(own/'took.json')


def paired(own, rival, validation):
    "Difference of log scores, answer by answer in the order of the records, and its interval."
    index = named(validation)
    one, other = (scores.reindex(index).to_numpy() for scores in (own, rival))
    return difference(beside_shares(one, other, validation))


def judges(validation):
    "Validation respondents who judge, and those on whom a temperature is fitted."
    who = people(validation)
    n = min(VALIDATION, len(who)//2)
    return who[:n], who[n:2*n]


def run(size, names, folder, quick):
    "A row a try."
    _, pool, validation, _ = splits('gss', 'demo', quick)
    everyone = study_records(demo_study_of(sample=None))
    who = people(first_answers(everyone, pool, size)), *judges(validation)
    train, validation, _ = variant({}, *who)
    marginal = baseline_predictions(train, validation, names=['marginal'])['marginal']
    shares = by_answer(validation, marginal)
    rows = []
    plain = None
    for name in names:
        own, minutes = one_try(name, who, folder)
        if plain is None:
            plain = own
        rows.append(dict(change=name, about=TRIES[name].about, answers=len(train),
            people=len(who[0]), minutes=round(minutes, 2), log_score=float(own.mean()),
            versus_plain=paired(own, plain, validation),
            versus_shares=paired(own, shares, validation)))
        print(rows[-1], flush=True)
    return rows


def in_order(rows):
    "In the order of the tries."
    return sorted(rows, key=lambda row: list(TRIES).index(row['change']))


if __name__ == '__main__':
    ask = Options(__file__, __doc__)
    ask.size('--size', 250, quick=12, help='training answers')
    ask.size('--tries', list(TRIES), quick=QUICK, choices=list(TRIES), help="'plain' first")
    given = ask.parse_args()
    folder = given.out.parent/'runs' if given.quick else Path('runs/factors')
    rows = run(given.size, given.tries, folder, given.quick)
    rows = in_order(joined(given.out, rows, lambda row: row['change']))
    write_json(given.out, rows, end='\n')
