"""How long does a full report take, how large is it, and how soon does a browser show it? 40,000 answers to 30 items by 1,334 made-up people in 12 subgroups, with training records.

Run: make bench, or python benchmarks/full_report.py [--keep FOLDER] [--quick]. Writes full_report.json beside itself. The browser is Chromium, where there is one."""
import json, shutil, subprocess, tempfile, time
from pathlib import Path
import numpy as np, pandas as pd
from alignsurvey.reporting.study_report import full_report
from alignsurvey.records.reading import make_records
from options import Options

OPTIONS, ITEMS = ['too little', 'about right', 'too much'], 30


def people(n, source, seed):
    "Records of n people, and a model that knows their chances but is too sure. Answers depend on age, region and a person's own lean."
    rng = np.random.default_rng(seed)
    base, rows, probs = np.random.default_rng(0).dirichlet([3, 3, 3], ITEMS), [], []
    for i in range(n):
        age, sex, region, lean, weight = rng.choice(['18-29', '30-44', '45-59', '60+']), rng.choice(['female', 'male']), rng.choice(['north', 'south', 'east', 'west', 'centre', 'islands']), rng.normal(), rng.uniform(.5, 2)
        for j in range(ITEMS):
            p = base[j]*np.exp(np.array([-1, 0, 1])*(.4*lean*(-1)**j + .3*(age == '60+') - .2*(region == 'north')))
            p, order = p/p.sum(), rng.permutation(3)
            y, q = rng.choice(3, p=p), p**1.5/(p**1.5).sum()
            rows.append(dict(task='response', instruction=f'Question {j}?', output=OPTIONS[y], options=[OPTIONS[k] for k in order], answer=OPTIONS[y], answer_index=int(np.flatnonzero(order == y)[0]), answer_form='text', scale='ordinal',
                positions=[float(k) for k in order], source='made_up', respondent_id=f'{source}{i}', question_id=f'q{j:02d}', weight=weight, groups=dict(age=age, sex=sex, region=region)))
            probs.append(q[order].tolist())
    records = make_records(rows)
    return records, pd.DataFrame(dict(record_id=records['record_id'][:], probs=probs, status='ok', elicitation='score'))


def browser(page):
    "Seconds from starting Chromium to a picture of the page, less those of an empty page; None without Chromium."
    program = shutil.which('chromium') or shutil.which('google-chrome')
    if not program: return None
    def shown(html, folder):
        start = time.perf_counter()
        subprocess.run([program, '--headless', '--no-sandbox', '--disable-gpu', f'--user-data-dir={folder}', f'--screenshot={folder}/page.png', '--window-size=1300,2200', f'file://{html}'], capture_output=True, check=True)
        return time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder)/'empty.html'
        empty.write_text('<!doctype html><title>empty</title>', encoding='utf-8')
        shown(empty, folder)    # the first start makes a profile
        nothing = min(shown(empty, folder) for _ in range(3))
        return dict(empty_page_s=round(nothing, 2), page_s=round(min(shown(page, folder) for _ in range(3)), 2))


def main():
    ask = Options(__file__, __doc__)
    ask.size('--people', 1334, quick=100)
    ask.add_argument('--keep', help='folder to which the report is copied')
    given = ask.parse_args()
    (test, model), (train, _) = people(given.people, 'p', 1), people(given.people//2, 't', 2)
    with tempfile.TemporaryDirectory() as folder:
        start, busy = time.perf_counter(), time.process_time()
        page = full_report(test, dict(model=model), folder, train=train, margin=.01, formula='q00 ~ age + sex + q01', overwrite=True)
        found = dict(answers=len(test), items=ITEMS, subgroups=12, training_answers=len(train), n_boot=500, seconds=round(time.perf_counter() - start, 1), cpu_seconds=round(time.process_time() - busy, 1),
            page_mb=round(page.stat().st_size/2**20, 2), csv_files=len(list(Path(folder).rglob('*.csv'))), browser=browser(page))
        if given.keep: shutil.copytree(folder, given.keep, dirs_exist_ok=True)
    given.out.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
    print(json.dumps(found, indent=1))


if __name__ == '__main__': main()
