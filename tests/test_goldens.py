"""What the library gave at an earlier time and must give now: records, keys, scores, files, runs.

The goldens lie in `tests/goldens`. Where a change of what is given is meant, write them anew:

    python tests/test_goldens.py write

That leaves the journals and the adapter as they are: they stand for what users have on disk.
Only where they are missing are they made anew. The two demos are compared with ALIGNSURVEY_SLOW=1.
"""
import contextlib
import csv
import functools
import hashlib
import io
import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from alignsurvey.all import (
    average_orders, calibrate, coefficients, connect, corp, correlations, crossings,
    describe_splits, difference_table, evaluate, export_records, foundation, Interviews, judge,
    judge_scores, kish_n, load_model, means, missing_answers, parse_answer, position_bias,
    ppi_mean, predict, rake, ratios, read_foreign_predictions, read_predictions, read_records,
    read_run, relative_gain, reliability, reorder, replicate_design, run_status, score_table, sft,
    shares, split_half, split_records, stereotyping, subgroup_scores, Survey, survey_design,
    temperature, temperature_scale, variance_ratio, worth, write_predictions, write_records)
from alignsurvey.cli.demo import run_demo
from alignsurvey.evaluation import aggregate
from alignsurvey.prediction import content_keys
from alignsurvey.records import join_records, make_records, records_hash
from alignsurvey.reporting import findings
from alignsurvey.surveys import data_folder

GOLDENS = Path(__file__).with_name('goldens')
REPLIES = Path(__file__).with_name('replies.jsonl')
STUB = Path(__file__).with_name('stub_server.py')
SLOW = os.environ.get('ALIGNSURVEY_SLOW') == '1'


# --- surveys and what is made of them

@functools.cache
def survey(name):
    "A bundled survey."
    return Survey.load(name)


@functools.cache
def talks(lang, who='survey'):
    "The invented interviews; the people as a survey, as a table or unknown."
    folder = data_folder('invented_interviews')
    people = dict(survey=survey('invented_interviews'), table=folder/'invented_interviews.csv')
    turns = folder/dict(en='turns_en.jsonl', zh='turns_zh.csv')[lang]
    return Interviews.load(turns, people.get(who), id='town', topic='buses', verbose=False)


def records(name, task='response', **how):
    "Records of a bundled survey, without a word."
    return survey(name).records(task, verbose=False, **how)


@functools.cache
def answers():
    "Shuffled answers to two items, in two splits."
    made = records('gss2018', items=['natroad', 'natsci'], variables=['age', 'sex', 'degree'],
                   respondents=120, answer_form='text')
    return split_records(reorder(made, 'shuffle'), test=.5)


@functools.cache
def weighted():
    "Answers from every sixth stratum of a survey with weights and strata."
    made = records('ess10no', items=['lrscale', 'imwbcnt', 'eu_vote'], variables=['female'])
    kept = sorted(set(made['stratum'][:]))[::6]
    return made.select([i for i, s in enumerate(made['stratum'][:]) if s in kept])


@functools.cache
def groups():
    "Shares of groups, in two splits."
    made = records('gss2018', level='group', items=['natroad', 'natsci'], min_n=40,
                   by=[['sex', 'degree'], ['partyid']])
    return split_records(made, test=.5)


# --- records

def fingerprint(rows):
    "Hash of plain rows, every field of them."
    lines = '\n'.join(json.dumps(row, ensure_ascii=False, default=str) for row in rows)
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def told(made):
    "Number of records, their hash and the hash of all their fields."
    return [len(made), records_hash(made), fingerprint(made.to_list())]


FORMS = ('label_text', 'label', 'text')
SHARE_FORMS = ('shares', 'json_percent', 'json_shares')
SMALL = {'gss2018': 10, 'ess10no': 10, 'invented_interviews': None}
BY = {'gss2018': ['sex', 'degree'], 'ess10no': ['female', 'region'],
      'invented_interviews': ['sex']}
ITEMS = {'gss2018': ['natspac', 'natroad', 'natsci'], 'ess10no': ['imwbcnt', 'eu_vote'],
         'invented_interviews': None}
LANGS = {'gss2018': ['en'], 'ess10no': ['en'], 'invented_interviews': ['en', 'zh']}


def each_individual(name, lang):
    "Names and records of single respondents, of all tasks and forms."
    how = dict(respondents=SMALL[name], items=ITEMS[name], lang=lang)
    for form in FORMS:
        yield f'response {form}', records(name, answer_form=form, **how)
        if name == 'invented_interviews':
            yield f'interview {form}', records(name, 'interview', answer_form=form, **how)
    yield 'interview 3 turns', records(name, 'interview', max_turns=3, **how)
    yield 'role', records(name, 'role', **how)
    yield 'role 4 turns', records(name, 'role', max_turns=4, **how)
    yield 'stance', records(name, 'stance', **how)
    yield 'another draw', records(name, seed=3, **how)


def each_group(name, lang):
    "Names and records of groups, of all tasks and forms."
    how = dict(level='group', by=BY[name], items=ITEMS[name], lang=lang)
    how['min_n'] = 1 if name == 'invented_interviews' else 30
    for form in FORMS + SHARE_FORMS if name != 'ess10no' else ('label', 'shares'):
        yield f'group response {form}', records(name, answer_form=form, **how)
        yield f'group stance {form}', records(name, 'stance', answer_form=form, **how)


def each_other():
    "Names and records that need arguments of their own."
    thirds = dict(stances='thirds', respondents=25)
    own = {'natroad': {'1': 'more', '0': 'as now', '-1': 'less'}}
    yield 'thirds', records('ess10no', 'stance', items=['lrscale'], **thirds)
    yield 'own stances', records('gss2018', 'stance', stances=own, respondents=25)
    for task in ('response', 'role', 'stance', 'interview'):
        yield f'all items, {task}', records('gss2018', task, respondents=10)
    yield 'all respondents', records('gss2018', items=['natsci'], variables=['age', 'sex'])
    yield 'chosen attributes', records('gss2018', 'role', attributes=['sex', 'age'],
                                       items=['natsci', 'natroad'], respondents=25)
    yield 'crossings', records('gss2018', level='group', items=['natsci'], min_n=50,
                               by=crossings(['sex', 'race', 'degree']))
    yield 'joined', join_records(*(records(n, respondents=5) for n in ('gss2018', 'ess10no')))


def each_dialogue():
    "Names and records of interviews."
    for lang in ('en', 'zh'):
        for who in ('survey', 'table'):
            named = None if who == 'survey' else {'district': 'exact', 'household': 'integer'}
            found = talks(lang, who)
            yield f'{lang} {who} role', found.records('role', attributes=named, lang=lang,
                                                      verbose=False)
            yield f'{lang} {who} interview', found.records('interview', lang=lang, verbose=False)
        short = talks(lang, 'nobody')
        yield f'{lang} 2 turns', short.records('interview', max_turns=2, lang=lang, verbose=False)


def each_corpus():
    "Names and records of a first stage of training."
    out = records('gss2018', items=['natsci'], respondents=20)
    for lang in ('en', 'zh'):
        town, invented = talks(lang), survey('invented_interviews')
        yield f'{lang} turns', foundation(town, lang=lang, verbose=False)
        yield f'{lang} both', foundation(town, lang=lang, speaker='both', max_turns=3,
                                         min_chars=30, verbose=False)
        yield f'{lang} answers', foundation(invented, kind='quantitative', lang=lang, verbose=False)
    yield 'left out', foundation(survey('gss2018'), kind='quantitative', leave_out=out,
                                 items=['natsci'], respondents=40, verbose=False)


def each_order():
    "Names and records in another order of their options."
    few = records('gss2018', items=['natsci', 'natroad'], respondents=10)
    long = records('ess10no', items=['lrscale'], respondents=5)
    grouped = records('gss2018', level='group', items=['natsci'], by='degree')
    asked = records('invented_interviews', 'interview', lang='zh')
    vote = records('ess10no', items=['eu_vote'], respondents=5)
    last = ['about the right amount']
    yield 'shuffle', reorder(few, 'shuffle')
    yield 'shuffle, seed 1', reorder(few, 'shuffle', seed=1)
    yield 'reverse', reorder(few, 'reverse')
    yield 'keep', reorder(few, 'keep', pin_last=last)
    yield 'cyclic', reorder(few, 'cyclic')
    yield 'all', reorder(few, 'all')
    yield 'pinned', reorder(reorder(few, 'keep', pin_last=last), 'all', pin_last=last)
    yield 'long', reorder(long, 'cyclic')
    yield 'groups', reorder(grouped, 'shuffle', seed=2)
    yield 'dialogue', reorder(asked, 'shuffle')
    yield 'default', reorder(few)
    yield 'default, seed 1', reorder(few, seed=1)
    yield 'default, nominal', reorder(vote)
    yield 'default, groups', reorder(grouped, seed=2)


def each_split():
    "Names and splits."
    made = records('gss2018', items=['natsci', 'natroad', 'natpark', 'natmass'], respondents=60)
    for by in ('respondent', 'item', 'sex', ['respondent', 'item']):
        yield f'by {by}', split_records(made, by, test=.4)
    yield 'seed', split_records(made, seed=5)
    yield 'validation', split_records(made, test=.25, validation=.25)
    yield 'strata', split_records(made, test=.3, stratify=['sex', 'degree'])
    yield 'groups', groups()


def taken_records():
    "Every kind of record."
    found = {}
    for name, langs in LANGS.items():
        for lang in langs:
            for each in (each_individual, each_group):
                found |= {f'{name} {lang} {k}': told(r) for k, r in each(name, lang)}
    for each in (each_other, each_dialogue, each_order):
        found |= {f'{each.__name__} {k}': told(r) for k, r in each()}
    for k, (made, left) in each_corpus():
        found[f'corpus {k}'] = told(made) + [left.values.tolist()]
    return found


def taken_splits():
    "Every kind of split."
    found = {}
    for k, splits in each_split():
        found[k] = {part: told(r) for part, r in splits.items()}
        found[k]['described'] = describe_splits(splits).to_dict('index')
    return found


# --- keys, replies and files

def asked_for():
    "Names and records that are asked in some way."
    yield 'response', answers()['test']
    yield 'interview', talks('zh').records('interview', lang='zh', verbose=False)
    yield 'role', records('invented_interviews', 'role', lang='zh')
    yield 'stance', records('gss2018', 'stance', respondents=5)
    yield 'shares', records('gss2018', level='group', items=['natsci'], by='degree',
                            answer_form='json_percent')


SETTINGS = dict(
    score=['score', 'abcd', None, 'torch.float32', 128, 4096, False],
    greedy=['greedy', 'abcd', 'ef01', 'torch.float32', 128, 0, False, 64],
    sample=['sample', 'server', 'some-model', {'top_p': .9}, 64, 1., 0],
    verbalize=['verbalize', 'server', 'ein Modell für Österreich', {}, 64])


def taken_keys():
    "Content keys: the first ones, and the hash of all."
    found = {}
    for name, made in asked_for():
        for how, settings in SETTINGS.items():
            keys = content_keys(made, settings)
            found[f'{name} {how}'] = [*keys[:2], fingerprint(keys)]
    return found


def taken_replies():
    "What every reply of the corpus is read as."
    cases = [json.loads(line) for line in REPLIES.read_text(encoding='utf-8').splitlines()]
    return [list(parse_answer(case['reply'], case)) for case in cases]


def of_file(path):
    "Hash of a file, byte by byte."
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:32]


def as_written(made, folder):
    "What is written of some records, and what is read back of it."
    found = {e: of_file(write_records(made, folder/f'r.{e}')) for e in ('json', 'jsonl')}
    found['back'] = told(read_records(folder/'r.jsonl'))
    found['exported'] = of_file(export_records(made, folder/'data', name='some'))
    found['more'] = of_file(export_records(made.select([0]), folder/'data', name='more'))
    found['info'] = of_file(folder/'data'/'dataset_info.json')
    alpaca = [{k: r[k] for k in ('instruction', 'input', 'output')} for r in made]
    (folder/'alpaca.json').write_text(json.dumps(alpaca, ensure_ascii=False), encoding='utf-8')
    with contextlib.suppress(ValueError):
        found['alpaca'] = told(read_records(folder/'alpaca.json'))
    return found


def as_predicted(made, folder):
    "What is written of predictions, and what another tool's replies are read as."
    found = {'predictions': of_file(write_predictions(guess(made), folder/'p.jsonl'))}
    found['chosen'] = of_file(write_predictions(choose(made), folder/'c.jsonl'))
    rows = [dict(prompt=r['instruction'], predict=r['output'] or 'none') for r in made]
    (folder/'f.jsonl').write_text('\n'.join(map(json.dumps, rows)), encoding='utf-8')
    with contextlib.suppress(ValueError):
        foreign = read_foreign_predictions(folder/'f.jsonl', made)
        found['foreign'] = fingerprint(foreign.to_dict('records'))
    return found


def taken_files():
    "Hashes of files, and tables as text."
    found = {}
    for name, made in asked_for():
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            found[name] = as_written(made, Path(folder))
            if all(made['options'][:]):
                found[name] |= as_predicted(made, Path(folder))
    for name in ('evaluate_response', 'evaluate_groups', 'evaluate_turns'):
        scores = SCORES[name]()
        found[f'{name} table'] = score_table(scores).to_string().splitlines()
        found[f'{name} differences'] = difference_table(scores).to_string().splitlines()
        found[f'{name} in words'] = findings(scores)
    return found


# --- a made-up predictor

FAILED = (('refused', 'refused'), ('unparsed', 'no_option'), ('nonresponse', 'dont_know'),
          ('error', 'timeout'))


def made_up(made, seed, lean):
    "Probabilities of each record's options; `lean` moves them towards the human answer."
    rng = np.random.default_rng(seed)
    for r in made:
        p = rng.random(len(r['options'])) + .05
        human = np.eye(len(p))[r['answer_index']] if r['answer_index'] is not None else 0*p
        p = p + lean*(human if r['target'] is None else np.array(r['target']))
        yield (p/p.sum()).tolist()


def prediction(record_id, elicitation, **more):
    "A row of predictions."
    row = dict(record_id=record_id, text=None, value=None, probs=None, coverage=None,
               elicitation=elicitation, status='ok', why=None, seconds=.25, tokens=17)
    return row | more


def as_frame(rows):
    "Predictions that have been in a file."
    with tempfile.TemporaryDirectory() as folder:
        path = write_predictions(pd.DataFrame(rows), Path(folder)/'p.jsonl')
        return read_predictions(path)


def guess(made, seed=0, lean=.5, elicitation='score', fails=11):
    "A predictor with probabilities; every so many records fail."
    rows = []
    for i, (r, p) in enumerate(zip(made, made_up(made, seed, lean))):
        row = prediction(r['record_id'], elicitation, probs=p, value=int(np.argmax(p)),
                         coverage=.5 + .4*max(p))
        if fails and i % fails == fails - 1:
            status, why = FAILED[i//fails % len(FAILED)]
            row = prediction(r['record_id'], elicitation, status=status, why=why)
        rows.append(row)
    return as_frame(rows)


def choose(made, seed=1):
    "A predictor that only chooses."
    rows = [prediction(r['record_id'], 'greedy', value=int(np.argmax(p)), text='…')
            for r, p in zip(made, made_up(made, seed, .6))]
    return as_frame(rows)


def three(made):
    "Three predictors: one good, one bad, one that only chooses."
    return dict(good=guess(made), bad=guess(made, 2, 0., 'sample', fails=7), chooser=choose(made))


def said(made, texts):
    "A predictor that writes; texts go round."
    return pd.DataFrame(dict(record_id=made['record_id'][:],
                             text=[texts[i % len(texts)] for i in range(len(made))]))


# --- scores

BOOT = dict(n_boot=100, seed=1)


def evaluate_response():
    "Answers, with baselines, a metric and a predictor of one's own."
    train, test = answers()['train'], answers()['test']
    return evaluate(test, three(test), train=train, versus='marginal', **BOOT,
                    metrics={'missed': lambda y, q, x: 1 - q[y]},
                    predictors={'first': lambda r: [.5, .3, .2]})


def evaluate_weighted():
    "Answers with weights and strata; failures as equal probabilities."
    made = weighted()
    both = dict(good=guess(made), chooser=choose(made))
    return evaluate(made, both, failure_rule='uniform', strata=True, alpha=.1, **BOOT)


def evaluate_boosting():
    "Gradient boosting among the baselines."
    made = records('gss2018', items=['natroad'], variables=['sex'], respondents=500)
    parts = split_records(made, test=.4)
    found = evaluate(parts['test'], {'good': guess(parts['test'])}, train=parts['train'],
                     baselines='boosting', failure_rule='wrong', **BOOT)
    return found[found.predictor.isin(['boosting', 'logistic'])]


def evaluate_groups():
    "Shares of groups."
    train, test = groups()['train'], groups()['test']
    people = records('gss2018', items=['natroad', 'natsci'], variables=['sex'], respondents=600)
    summed = aggregate(people, guess(people), test)
    given = dict(stated=guess(test, elicitation='verbalize'), summed=summed)
    return evaluate(test, given, train=train, failure_rule='uniform', min_n=40, **BOOT)


def evaluate_group_stances():
    "Shares of stances, without baselines."
    made = records('ess10no', 'stance', level='group', by='region', items=['eu_vote'])
    both = dict(good=guess(made), bad=guess(made, 3, 0.))
    return evaluate(made, both, baselines=False, versus='bad', **BOOT)


def evaluate_attributes():
    "Attributes of respondents of a survey, with baselines."
    made = records('gss2018', 'role', attributes=['sex', 'degree'], respondents=60,
                   items=['natroad', 'natsci'])
    parts = split_records(made, test=.5)
    texts = ["['male']", 'female', 'high school', "['graduate']", 'I cannot tell', '[']
    given = dict(writes=said(parts['test'], texts), scored=guess(parts['test'], 4))
    return evaluate(parts['test'], given, train=parts['train'], **BOOT)


def evaluate_roles():
    "Attributes of the people of interviews: options and whole numbers."
    made = talks('zh').records('role', lang='zh', verbose=False)
    texts = ["['4']", '男', '女性', '城区', '3口人', '二', '乡村', '不知道']
    given = dict(one=said(made, texts), two=said(made, texts[::-1]))
    return evaluate(made, given, failure_rule='wrong', **BOOT)


def evaluate_stances():
    "Stances written as JSON and scored."
    made = records('gss2018', 'stance', items=['natroad', 'natsci'], variables=['sex'],
                   respondents=50)
    parts = split_records(made, test=.5)
    texts = ['{"predict": "positive", "reason": "roads are bad"}', '{"predict": "neutral"}',
             'negative, because it costs money', "I don't know", '{"predict": "pos']
    given = dict(writes=said(parts['test'], texts), scored=guess(parts['test'], 5))
    return evaluate(parts['test'], given, train=parts['train'], failure_rule='wrong', **BOOT)


STANCES = dict(en=['negative', 'neutral', 'positive'], zh=['消极', '中立', '积极'])
REASONS = dict(en=['it is fair to all', 'it costs jobs here', None, 'nobody asked us'],
               zh=['这样很公平', '会增加大家的负担', None, '没有人问过我们'])


def reasoned(lang):
    "Stances with reasons, some of them missing."
    rows = []
    for i in range(16):
        answer = STANCES[lang][i % 3] if i % 7 else {'en': "don't know", 'zh': '不知道'}[lang]
        at = STANCES[lang].index(answer) if answer in STANCES[lang] else None
        rows.append(dict(task='stance', instruction=f'{i}?', output='{}', lang=lang, source='toy',
                         options=STANCES[lang], positions=[0, 1, 2], scale='ordinal',
                         answer=answer, answer_index=at, answer_form='json',
                         reason=REASONS[lang][i % 4], respondent_id=f'p{i//2}',
                         question_id='tax' if i % 2 else 'bus', weight=1 + i % 3))
    return make_records(rows)


def evaluate_reasons(lang='en'):
    "Stances with reasons."
    made = reasoned(lang)
    texts = [json.dumps(dict(predict=s, reason=r), ensure_ascii=False)
             for s, r in zip(STANCES[lang], [*REASONS[lang][:2], '公平 fair'])]
    given = dict(one=said(made, texts), two=said(made, [*texts[::-1], 'no idea']))
    found = evaluate(made, given, **BOOT)
    return found[found.question_id.isna()]


def evaluate_turns(lang='en'):
    "Turns of interviews as texts."
    made = talks(lang).records('interview', lang=lang, verbose=False)
    own = made['answer'][:]
    given = dict(late=said(made, own[1:] + own[:1]), echo=said(made, own),
                 silent=said(made, ['As an AI language model I cannot say.', '', *own[2:]]))
    return evaluate(made, given, versus='late', **BOOT)


def evaluate_dialogue():
    "A questionnaire as a dialogue, whose answers are options."
    made = records('gss2018', 'interview', items=['natroad', 'natsci'], respondents=30)
    return evaluate(made, {'good': guess(made)}, **BOOT)


def subgroups():
    "Scores by subgroup, of each metric."
    made = weighted()
    good = dict(good=guess(made))
    how = dict(n_boot=60, strata=True)
    parts = [subgroup_scores(made, good, by='region', metric=m, **how)
             for m in ('accuracy', 'brier', 'log_score', 'rps')]
    test = answers()['test']
    parts.append(subgroup_scores(test, dict(three(test)), by=['sex', 'degree'], min_n=6,
                                 metric='accuracy', failure_rule='wrong', n_boot=60))
    parts.append(stereotyping(made, good, by=['female'], **how))
    return pd.concat(parts, ignore_index=True)


def stated():
    "The two predictors that give probabilities."
    test = answers()['test']
    return test, dict(good=guess(test), bad=guess(test, 2, 0., 'sample', fails=7))


def calibrations():
    "Miscalibration, reliability curve and temperature."
    test, both = stated()
    made, how = weighted(), dict(n_boot=30)
    parts = [corp(test, both, failure_rule='uniform', **how), reliability(test, both, **how),
             temperature(test, both, **how), corp(made, {'good': guess(made)}, strata=True, **how)]
    return pd.concat(parts, ignore_index=True)


def scaled():
    "Probabilities at another temperature."
    parts = split_records(answers()['train'], test=.5)
    one, two = parts['train'], parts['test']
    parts = [calibrate(one, guess(one), two, guess(two)),
             temperature_scale(one, guess(one), guess(two, 6))]
    heads = pd.DataFrame([f.attrs for f in parts])
    return pd.concat([heads, *[f[['record_id', 'probs']].head(20) for f in parts]])


def structures():
    "Correlations, variances, regressions and missing answers."
    made = weighted()
    both = dict(good=guess(made), chooser=choose(made))
    how = dict(n_boot=30)
    parts = [correlations(made, both, strata=True, **how), variance_ratio(made, both, **how),
             missing_answers(made, both, **how)]
    some = dict(draws=3, n_boot=15)
    parts.append(coefficients(made, both, 'lrscale ~ female + imwbcnt', **some))
    parts.append(coefficients(made, both, 'eu_vote ~ female + lrscale', model='logit', **some))
    return pd.concat(parts, ignore_index=True)


def bounds():
    "Split halves, and how far a predictor came."
    test, both = stated()
    made = weighted()
    parts = [split_half(test, splits=50), split_half(made, splits=20, alpha=.1),
             relative_gain(test, both, base='bad', n_boot=60)]
    far = dict(base=guess(made, 2, 0.), good=guess(made, lean=3.))
    parts.append(relative_gain(made, far, base='base', strata=True, n_boot=60))
    return pd.concat(parts, ignore_index=True)


def rating(prompt, name):
    "A made-up judge: scores decided by the prompt, and now and then no scores."
    digits = hashlib.sha256((name + prompt).encode()).digest()
    if digits[0] < 40:
        return 'I would rather not say.'
    keys = ('naturalness', 'style', 'consistency')
    return json.dumps({k: 1 + digits[i + 1] % 5 for i, k in enumerate(keys)})


@functools.cache
def judged():
    "Turns rated by two judges, twice."
    made = talks('en').records('interview', verbose=False)
    own = made['answer'][:]
    frames = dict(late=own[1:] + own[:1], same=own)
    both = pd.concat([said(made, t).assign(predictor=n, status='ok') for n, t in frames.items()])
    both = both.reset_index(drop=True)
    both.loc[3, ['text', 'status']] = [None, 'refused']
    two = {n: functools.partial(rating, name=n) for n in ('strict', 'kind')}
    return judge(made, both, two, repeats=2, seed=4)


def judgements():
    "What two judges made of turns."
    return judged().drop(columns=['weight', 'reply'])


def judgement_scores():
    "Scores of turns that judges rated."
    return judge_scores(judged(), versus='late', n_boot=100)


def turned():
    "Records in several orders, and predictions of them."
    made = reorder(answers()['test'], 'cyclic')
    return made, guess(made, 7)


def positions():
    "How much the place of an option decides."
    return position_bias(*turned(), n_boot=60)


def averaged():
    "Answers from several orders as one."
    return average_orders(*turned()).head(60)


def town():
    "Respondents of a survey with weights and strata, as a table."
    frame = survey('ess10no').frame.copy()
    frame['told'] = np.where(frame.eduyrs.notna(), 1., 0.)
    frame['clusters'] = frame.index // 9
    frame['drawn'] = 400
    return frame


def designed():
    "Estimates under several designs."
    frame = town()
    own = survey_design(frame, weight='pspwght', stratum='stratum', psu='psu')
    fpc = survey_design(frame, psu=['clusters', 'psu'], fpc=['drawn'], lonely='adjust')
    parts = [shares(own, 'eu_vote', by='region'), means(own, 'lrscale', by='female'),
             ratios(own, 'lrscale', bottom='agea', where=frame.female == 1, alpha=.1),
             shares(fpc, 'eu_vote'), means(fpc, 'lrscale', by='region'),
             means(survey_design(frame), 'imwbcnt')]
    return pd.concat(parts, ignore_index=True)


def replicated():
    "Estimates with replicate weights."
    frame = town()
    rng, names = np.random.default_rng(8), [f'w{i}' for i in range(12)]
    more = {n: frame.pspwght*rng.choice([.5, 1.5], len(frame)) for n in names}
    frame = frame.assign(**more)
    kinds = dict(JK1={}, BRR={}, Fay=dict(rho=.3), bootstrap=dict(mse=True),
                 scales=dict(scales=np.full(12, .1)))
    parts = []
    for kind, how in kinds.items():
        d = replicate_design(frame, names, weight='pspwght', kind=kind, **how)
        parts += [means(d, 'lrscale'), shares(d, 'eu_vote', by='female')]
    return pd.concat(parts, ignore_index=True)


def combined():
    "Interviews and simulated answers together, raked weights, effective n."
    rng = np.random.default_rng(9)
    y, f, g, w, v = rng.random((5, 60))
    found = [ppi_mean(y, y + f, g + 1), ppi_mean(y, f, g, weight=w, more_weight=v),
             ppi_mean(y, f, g, trust=.4), ppi_mean(y, y, g, weight=w, fixed=True, alpha=.1)]
    rows = [dict(r, said=worth(r, 60)) for r in found]
    frame = town()
    margins = dict(female={0: .5, 1: .5}, polint={0: .3, 1: .7})
    raked = [rake(frame, margins), rake(frame, margins, weight=frame.pspwght)]
    rows += [dict(kish=kish_n(x), raked=x[:15].tolist()) for x in raked]
    return pd.DataFrame(rows)


SCORES = {f.__name__: f for f in (
    evaluate_response, evaluate_weighted, evaluate_boosting, evaluate_groups,
    evaluate_group_stances, evaluate_attributes, evaluate_roles, evaluate_stances,
    evaluate_reasons, evaluate_turns, evaluate_dialogue, subgroups, calibrations, scaled,
    structures, bounds, judgements, judgement_scores, positions, averaged, designed,
    replicated, combined)}
SCORES['evaluate_reasons_zh'] = functools.partial(evaluate_reasons, 'zh')
SCORES['evaluate_turns_zh'] = functools.partial(evaluate_turns, 'zh')
SCORES = {name: functools.cache(f) for name, f in SCORES.items()}
# digits that must agree, where fits make fewer than 12 the same on every processor
DIGITS = dict(evaluate_boosting=9, calibrations=9)


# --- tables as text, and what counts as equal

def cell(value):
    "A value as text, floats in full."
    if isinstance(value, (list, tuple, np.ndarray)):
        return ' '.join(map(cell, value))
    if value is None or value is pd.NA or value != value:
        return ''
    return repr(float(value)) if isinstance(value, (float, np.floating)) else str(value)


def table(frame):
    "A frame as lists of text, its head first."
    return [list(map(str, frame))] + [list(map(cell, row)) for row in frame.values.tolist()]


def close(a, b, digits):
    "Are two words equal, or the same number to so many significant digits?"
    if a == b:
        return True
    try:
        return math.isclose(float(a), float(b), rel_tol=10.**-digits, abs_tol=10.**-(digits + 2))
    except ValueError:
        return False


def same(a, b, digits=12):
    "Are two cells equal, word by word?"
    a, b = a.split(), b.split()
    return len(a) == len(b) and all(close(x, y, digits) for x, y in zip(a, b))


def differences(before, now, digits=12):
    "The first cells in which two tables differ, each in words."
    if [len(before), before[0]] != [len(now), now[0]]:
        return [f'{len(before)} rows of {before[0]}, now {len(now)} of {now[0]}']
    found = [f'row {i}, {name}: {a!r}, now {b!r}' for i, (x, y) in enumerate(zip(before, now))
             for name, a, b in zip(now[0], x, y) if not same(a, b, digits)]
    return found[:10] + [f'… {len(found)} cells in all']*bool(found)


def read_table(path):
    "A table from a file."
    with Path(path).open(encoding='utf-8', newline='') as f:
        return list(csv.reader(f))


def write_table(path, rows):
    "A table into a file."
    with path.open('w', encoding='utf-8', newline='') as f:
        csv.writer(f, lineterminator='\n').writerows(rows)


# --- what earlier versions left on disk: journals and an adapter

EMBEDDED = 'smollm2-135m'
JOURNALS = ('local.sqlite', 'server.sqlite', 'local_0.sqlite')    # the last has keys of before
RUNS = dict(score=dict(), greedy=dict(elicitation='greedy', max_new_tokens=4),
            sample=dict(elicitation='sample', draws=3, max_new_tokens=3, seed=2))


def model(adapter=None):
    "The embedded model on the processor, perhaps with an adapter."
    return load_model(EMBEDDED, adapter=adapter, device='cpu')


@functools.cache
def asked():
    "Six records for the model, and others to train on."
    made = records('gss2018', items=['natroad', 'natsci'], variables=['age', 'sex', 'degree'],
                   respondents=10, answer_form='text')
    return split_records(reorder(made, 'shuffle'), test=.3)


def prompts():
    "Six records for the server."
    rows = [dict(record_id=f'r{i}', respondent_id=f'r{i}', output='A', answer_form='label',
                 instruction=f'You are person {i}. Roads?\nA. too little\nB. too much')
            for i in range(6)]
    return make_records(rows, source='made')


def served_by(url):
    "How often a stub server has answered each prompt."
    with urllib.request.urlopen(url, timeout=60) as reply:
        return json.load(reply)['served']


@contextlib.contextmanager
def stub():
    "The address of a stub server, and what tells how often it was asked each prompt."
    process = subprocess.Popen([sys.executable, STUB, '{}'], stdout=subprocess.PIPE, text=True)
    try:
        url = f'http://127.0.0.1:{int(process.stdout.readline())}'
        yield f'{url}/v1', functools.partial(served_by, url)
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def within(folder):
    "Work in a folder, so that cards hold no path of this machine."
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def make_adapter():
    "A very small adapter: rank 1, on one kind of layer."
    import peft
    whole = peft.LoraConfig
    peft.LoraConfig = lambda **how: whole(**how | dict(target_modules=['v_proj']))
    try:
        sft(model(), asked()['train'], 'adapter', loss='option', rank=1, alpha=2, lr=.02, batch=8,
            epochs=1)
    finally:
        peft.LoraConfig = whole
    card = Path('adapter/adapter_config.json')
    plain = json.loads(card.read_text()) | dict(base_model_name_or_path=EMBEDDED)
    card.write_text(json.dumps(plain, indent=1))
    Path('adapter/README.md').unlink(missing_ok=True)


def make_journals():
    "Journals of the embedded model, with and without adapter, and of a server."
    for how in RUNS.values():
        predict(model(), asked()['test'], journal='local.sqlite', **how)
    predict(model('adapter'), asked()['test'], journal='local.sqlite')
    with stub() as (url, _):
        for how in RUNS.values():
            predict(connect('stub', base_url=url), prompts(), journal='server.sqlite', **how)
    for path in JOURNALS[:2]:
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute('vacuum')
            db.execute('pragma journal_mode=delete')


def runs_of(path):
    "Names of a journal's runs, in order."
    return [s['run'] for s in run_status(path)]


def lines_of(frame, folder):
    "Predictions as lines of a file."
    path = write_predictions(frame, Path(folder)/'now.jsonl', overwrite=True)
    return path.read_text(encoding='utf-8').splitlines()


def exported(path, folder):
    "Predictions of each run of a journal, as lines of a file."
    lines = []
    for name in runs_of(path):
        lines.append([name, lines_of(read_run(path, name), folder)])
    return lines


def make_old_files():
    "Make the journals and the adapter where they are missing, and write down what they hold."
    with within(GOLDENS), tempfile.TemporaryDirectory() as folder:
        if not Path('adapter').exists():
            make_adapter()
        if not Path('local.sqlite').exists():
            make_journals()
        copies = [shutil.copy(name, folder) for name in JOURNALS]
        dump('journals', {n: exported(c, folder) for n, c in zip(JOURNALS, copies)})


# --- writing

def dump(name, value):
    "A golden as JSON, an entry a line."
    entries = list(value.items()) if isinstance(value, dict) else value
    lines = ',\n'.join(json.dumps(e, ensure_ascii=False) for e in entries)
    (GOLDENS/f'{name}.json').write_text(f'[\n{lines}\n]\n', encoding='utf-8')


def golden(name):
    "A golden as plain values."
    return json.loads((GOLDENS/f'{name}.json').read_text(encoding='utf-8'))


def plain(value):
    "A value as its golden gives it."
    entries = list(value.items()) if isinstance(value, dict) else value
    return json.loads(json.dumps(entries))


TAKEN = dict(records=taken_records, splits=taken_splits, keys=taken_keys, replies=taken_replies,
             files=taken_files)


def write():
    "All goldens but the demos' scores, journals and adapter."
    (GOLDENS/'scores').mkdir(parents=True, exist_ok=True)
    for name, take in TAKEN.items():
        dump(name, take())
    for name, score in SCORES.items():
        write_table(GOLDENS/'scores'/f'{name}.csv', table(score()))
    make_old_files()


# --- tests

@pytest.fixture(autouse=True)
def few_threads(request):
    "One thread but for the demos: sums are small, and threads wait for each other when it is busy."
    with threadpool_limits(None if 'demo' in request.node.name else 1):
        yield


@pytest.mark.parametrize('name', TAKEN)
def test_what_is_made_is_what_it_was(name):
    before, now = golden(name), plain(TAKEN[name]())
    changed = [f'{a}, now {b}' for a, b in zip(before, now) if a != b]
    assert not changed, '\n'.join(changed[:10])
    assert len(before) == len(now)


@pytest.mark.parametrize('name', SCORES)
def test_scores_are_what_they_were(name):
    before, now = read_table(GOLDENS/'scores'/f'{name}.csv'), table(SCORES[name]())
    changed = differences(before, now, DIGITS.get(name, 12))
    assert not changed, '\n'.join(changed)


@pytest.fixture
def kept(tmp_path):
    "A folder with copies of the old journals, and with a place for what is exported."
    for name in JOURNALS:
        shutil.copy(GOLDENS/name, tmp_path/name)
    return tmp_path


@pytest.fixture(scope='module')
def lms():
    "The embedded model, without and with the old adapter."
    return model(), model(GOLDENS/'adapter')


def refuse(layer, inputs):
    "Stop a model at anything longer than the trial of a few tokens with which a run begins."
    assert inputs[0].numel() < 40, 'the model was asked again'


@contextlib.contextmanager
def silent(lm):
    "A model that must not be asked."
    hook = lm.model.get_input_embeddings().register_forward_pre_hook(refuse)
    try:
        yield lm
    finally:
        hook.remove()


def old_lines(name, run):
    "What an old journal gave for one of its runs."
    return dict(golden('journals'))[name][run][1]


@pytest.mark.parametrize('name', JOURNALS)
def test_an_old_journal_gives_the_same_rows(name, kept):
    assert exported(kept/name, kept) == dict(golden('journals'))[name]
    assert all(s['left'] == s['failed'] == 0 for s in run_status(kept/name))


def test_an_old_journal_of_a_model_goes_on_with_nothing_asked_again(kept, lms):
    path, before = kept/'local.sqlite', runs_of(kept/'local.sqlite')
    for run, (lm, how) in enumerate([*((lms[0], h) for h in RUNS.values()), (lms[1], {})]):
        with silent(lm):
            got = predict(lm, asked()['test'], journal=path, **how)
        assert lines_of(got, kept) == old_lines(path.name, run)
    assert runs_of(path) == before


def test_an_old_journal_of_a_server_goes_on_with_nothing_asked_again(kept):
    path, before = kept/'server.sqlite', runs_of(kept/'server.sqlite')
    with stub() as (url, served):
        for run, how in enumerate(RUNS.values()):
            got = predict(connect('stub', base_url=url), prompts(), journal=path, **how)
            assert lines_of(got, kept) == old_lines(path.name, run)
        assert not any(p.startswith('You are') for p in served())
    assert runs_of(path) == before


def test_an_old_adapter_gives_the_same_probabilities(lms):
    """Asked for the same records together: other company in a batch changes the last digits, and
    so does a processor of another make (5e-6 were seen), which adds in another order."""
    base, adapted = (np.array([json.loads(line)['probs'] for line in old_lines(JOURNALS[0], run)])
                     for run in (0, -1))
    found = np.array(predict(lms[1], asked()['test']).probs.tolist())
    assert abs(found - adapted).max() < 1e-5
    assert abs(found - base).max() > 1e-3, 'the adapter makes no difference'


@pytest.mark.skipif(not SLOW, reason='takes minutes: set ALIGNSURVEY_SLOW=1')
@pytest.mark.parametrize('name, quick', [('demo_quick_scores', True), ('demo_scores', False)])
def test_the_demo_gives_the_same_scores(name, quick, tmp_path):
    page = run_demo(tmp_path/'demo', quick=quick)
    now = read_table(page.parents[1]/'scores.csv')
    changed = differences(read_table(GOLDENS/f'{name}.csv'), now, digits=6)
    assert not changed, '\n'.join(changed)


if __name__ == '__main__' and sys.argv[1:] == ['write']:
    write()
