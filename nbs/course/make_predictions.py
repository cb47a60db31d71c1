"""The embedded model's answers that lessons read, each file with the card of its run.

    python nbs/course/make_predictions.py

Takes some half an hour on two busy cores; a killed run goes on where it stopped.
"""
import tempfile
from pathlib import Path

from alignsurvey.files.writing import write_json
from alignsurvey.models import load_model
from alignsurvey.prediction import predict, write_predictions
from alignsurvey.reporting import model_facts, run_card
from alignsurvey.teaching import course_folder
from alignsurvey.teaching.data import course_records

JOURNALS = Path(tempfile.gettempdir())/'alignsurvey_course'


def main():
    out = course_folder()/'predictions'
    out.mkdir(exist_ok=True)
    JOURNALS.mkdir(exist_ok=True)
    lm = load_model()
    for part in 'test', 'validation', 'wording':
        records = course_records(part)
        said = predict(lm, records, journal=JOURNALS/f'{part}.sqlite')
        print(write_predictions(said, out/f'{part}.parquet', overwrite=True))
        write_json(out/f'{part}.json', dict(run_card(records), **model_facts(dict(model=said))['answers of model']))


if __name__ == '__main__':
    main()
