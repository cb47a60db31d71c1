"""How long does scoring take? 40,000 written answers to items, and 20,000 written stances with reasons, read and scored with intervals. All made up.

Run: make bench, or python benchmarks/scoring_speed.py [--quick]. Prints seconds as JSON."""
import json, random, time
import pandas as pd
from alignsurvey.evaluation.scoring import evaluate
from alignsurvey.records.reading import make_records
from alignsurvey.evaluation.free_answers import read_replies
from options import Options

RNG = random.Random(0)
STANCES, OPTIONS = ['积极', '中立', '消极'], ['too little', 'about the right amount', 'too much']
WORDS = '生活 收入 工作 孩子 教育 医疗 住房 政策 村里 城市 压力 比较 觉得 现在 以前 更好 一般 还是 需要 帮助'.split()


def reason(): return '，'.join(''.join(RNG.choices(WORDS, k=5)) for _ in range(RNG.randint(3, 8)))


def people(task, options, people, items, make):
    rows = []
    for i in range(people):
        for j in range(items):
            y = RNG.randrange(len(options))
            rows.append(dict(task=task, instruction=f'{i} {j}?', output=options[y], options=options, answer=options[y], answer_index=y, scale='ordinal', positions=[0., 1., 2.], source='made_up',
                respondent_id=str(i), question_id=f'q{j}', weight=RNG.uniform(.5, 2), **make()))
    return make_records(rows)


def timed(records, texts):
    frame = pd.DataFrame(dict(record_id=records['record_id'][:], text=texts))
    start = time.perf_counter()
    read = read_replies(records, frame)
    middle = time.perf_counter()
    evaluate(records, {'model': read}, baselines=False)
    return dict(records=len(records), read_s=round(middle - start, 2), score_s=round(time.perf_counter() - middle, 2), total_s=round(time.perf_counter() - start, 2))


def main():
    ask = Options(__file__, __doc__)
    ask.size('--people', 2500, quick=200)
    n = ask.parse_args().people
    answers = people('response', OPTIONS, n, 16, lambda: dict(answer_form='text'))
    stances = people('stance', STANCES, n, 8, lambda: dict(answer_form='json', lang='zh', reason=reason()))
    print(json.dumps(dict(
        response=timed(answers, [RNG.choice(['A', 'B. about the right amount', 'I would choose C.', 'too much', '(A)']) for _ in range(len(answers))]),
        stance=timed(stances, [json.dumps(dict(predict=RNG.choice(STANCES), reason=reason()), ensure_ascii=False) for _ in range(len(stances))])), indent=1))


if __name__ == '__main__': main()
