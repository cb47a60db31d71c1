"""The embedded model's answers that lessons read, each file with the card of its run.

    python nbs/course/make_predictions.py             all of them
    python nbs/course/make_predictions.py labels      one

Takes some half an hour on two busy cores, training for `test_tuned` the longest; a killed run goes on where it stopped.
"""
import sys
import tempfile
from pathlib import Path

from alignsurvey.files.writing import write_json
from alignsurvey.prediction import predict, write_predictions
from alignsurvey.reporting import model_facts, run_card
from alignsurvey.teaching import course_folder
from alignsurvey.teaching.data import course_model, course_records

RUNS = 'test', 'validation', 'wording', 'labels', 'languages', 'test_tuned'
JOURNALS = Path(tempfile.gettempdir())/'alignsurvey_course'


def main():
    out = course_folder()/'predictions'
    out.mkdir(exist_ok=True)
    JOURNALS.mkdir(exist_ok=True)
    for name in sys.argv[1:] or RUNS:
        records = course_records(name.removesuffix('_tuned'))
        lm = course_model(tuned=name.endswith('_tuned'))
        said = predict(lm, records, journal=JOURNALS/f'{name}.sqlite')
        print(write_predictions(said, out/f'{name}.parquet', overwrite=True))
        card = dict(run_card(records), **model_facts(dict(model=said))['answers of model'])
        card.pop('adapter', None)    # a folder of this run; its lineage says what it was
        write_json(out/f'{name}.json', card)


if __name__ == '__main__':
    main()
